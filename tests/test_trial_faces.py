"""TrialFaces: the training, validation and test parts of a trial, and what changes its key."""

import pickle
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import ferdata
from ferdata.labels import LabelSpace
from ferdata.training import trial_faces
from ferdata.training.trial_faces import TrialFaces, with_soft_labels_of_train

N_SUBJECTS, N_EACH = 12, 5
N = N_SUBJECTS * N_EACH
SPACE = LabelSpace("three", ("one", "two", "three"))


def dataset(size_px=84, **changes):
    """Random images; the first two pixels of each are its number, which identifies it."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (N, size_px, size_px), dtype=np.uint8)
    images[:, 0, 0] = np.arange(N)
    subjects = np.array([f"S{n // N_EACH:02d}" for n in range(N)])
    parts = dict(
        images=images,
        ids=np.array([f"image {n}" for n in range(N)]),
        label_space=SPACE,
        labels=np.arange(N) % 3,
        targets=np.eye(3, dtype=np.float32)[np.arange(N) % 3],
        soft_labels=rng.normal(0, 1, (N, 3)).astype(np.float32),
        subjects=subjects,
    )
    return ferdata.FaceDataset(**parts | changes)


def own_split(*names):
    return np.array([names[n // N_EACH % len(names)] for n in range(N)])


def parts(source, fold=None, n_threads=1, **options):
    settings = dict(
        seed=0, input_px=84, batch_size=7, augment=False, augment_strength=1.0, mixup=0.0
    )
    settings |= dict(cutmix=0.0, has_teacher=True, flipped_teacher=False, fold=fold)
    return source.parts(SimpleNamespace(**settings | options), n_threads)


def numbers(found):
    """The numbers of the images of each part, sorted."""
    train = np.concatenate([images[:, 0, 0] for images, _, _ in found.batches(0)])
    held_out = [() if p is None else p.images[:, 0, 0] for p in (found.validation, found.test)]
    return [sorted(map(int, part)) for part in (train, *held_out)]


def people(part):
    return {n // N_EACH for n in part}


# ---- the three parts -------------------------------------------------------------------------


@pytest.mark.parametrize("n_folds", [2, 3, 6, 12])
def test_by_subject_nobody_is_in_two_parts_and_all_are_tested_once(n_folds):
    source = TrialFaces(dataset(), protocol="subject", n_folds=n_folds)
    measured = []
    for fold in range(n_folds):
        train, validation, test = numbers(parts(source, fold))
        assert train and validation and test
        assert sorted(train + validation + test) == list(range(N))
        groups = [people(part) for part in (train, validation, test)]
        assert sum(map(len, groups)) == N_SUBJECTS == len(set.union(*groups))
        measured += test
        if n_folds > 2:  # the validation part is about as large as a fold
            assert 1 <= len(groups[1]) <= 2 * len(groups[2])
    assert sorted(measured) == list(range(N))


def test_at_random_no_image_is_in_two_parts():
    source = TrialFaces(dataset(), protocol="random", n_folds=5)
    measured = []
    for fold in range(5):
        train, validation, test = numbers(parts(source, fold))
        assert sorted(train + validation + test) == list(range(N))
        assert len(test) == N // 5 and len(validation) == N // 5
        assert people(train) & people(test)
        measured += test
    assert sorted(measured) == list(range(N))


def test_folds_depend_on_their_own_seed_not_on_the_trial():
    source = TrialFaces(dataset(), protocol="subject", n_folds=4)
    first = numbers(parts(source, 1))
    assert first == numbers(parts(source, 1, seed=5, batch_size=3))
    assert first == numbers(parts(replace(source), 1))
    assert first != numbers(parts(replace(source, seed=1), 1))


def test_the_data_sets_own_split_is_kept():
    names = own_split("train", "train", "validation", "test")
    train, validation, test = numbers(parts(TrialFaces(dataset(split=names))))
    for part, name in ((train, "train"), (validation, "validation"), (test, "test")):
        assert part == np.flatnonzero(names == name).tolist()
    found = parts(TrialFaces(dataset(split=own_split("train", "validation"))))
    assert found.test is None


@pytest.mark.parametrize("with_subjects", [True, False])
def test_without_a_validation_split_a_tenth_of_the_training_part_is_used(with_subjects):
    names = own_split("train", "test")
    data = dataset(split=names)
    data = data if with_subjects else replace(data, subjects=None)
    train, validation, test = numbers(parts(TrialFaces(data)))
    assert test == np.flatnonzero(names == "test").tolist()
    assert sorted(train + validation) == np.flatnonzero(names == "train").tolist()
    assert 1 <= len(validation) <= 6
    assert not with_subjects or not people(train) & people(validation)


def test_rows_without_a_real_label_are_not_used_for_scores_or_as_labels():
    has_label = np.arange(N) % 4 > 0
    names = own_split("train", "validation", "test")
    data = dataset(split=names, has_label=has_label)
    train, validation, test = numbers(parts(TrialFaces(data)))
    for part, name in ((train, "train"), (validation, "validation"), (test, "test")):
        assert part == np.flatnonzero((names == name) & has_label).tolist()
    train, validation, test = numbers(parts(TrialFaces(data, "distribution")))
    assert train == np.flatnonzero(names == "train").tolist()
    for part, name in ((validation, "validation"), (test, "test")):
        assert part == np.flatnonzero((names == name) & has_label).tolist()


# ---- what a trial gets -----------------------------------------------------------------------


def test_labels_targets_and_soft_labels_belong_to_their_images():
    data = dataset()
    for targets in ("labels", "distribution"):
        found = parts(TrialFaces(data, targets, protocol="subject", n_folds=3), 0)
        for images, truth, soft in found.batches(3):
            which = images[:, 0, 0]
            expected = data.labels if targets == "labels" else data.targets
            assert np.array_equal(truth, expected[which])
            assert np.array_equal(soft, data.soft_labels[which])
            assert np.array_equal(images, data.images[which])
        for part in (found.validation, found.test):
            which = part.images[:, 0, 0]
            assert np.array_equal(part.labels, data.labels[which])
            if targets == "labels":
                assert part.targets is None
            else:
                assert np.array_equal(part.targets, data.targets[which])
    for _, _, soft in parts(TrialFaces(data, protocol="random"), 0, has_teacher=False).batches(0):
        assert soft is None


def test_options_of_the_augmentation_are_used():
    other = np.random.default_rng(1).normal(0, 1, (N, 3)).astype(np.float32)
    data = dataset().with_soft_labels(dataset().soft_labels, other)
    source = TrialFaces(data, protocol="random")
    wanted = dict(augment=True, mixup=0.5, cutmix=1.0, flipped_teacher=True, augment_strength=0.3)
    train = source._rows(0)[0]
    for changes in ({}, *({name: value} for name, value in (("augment_strength", 1.0),
                    ("mixup", 0), ("cutmix", 0), ("flipped_teacher", False)))):  # fmt: skip
        options = wanted | changes
        faces = data.select(train)
        expected = ferdata.Batches(
            faces if options["flipped_teacher"] else faces.with_soft_labels(faces.soft_labels),
            batch_size=7,
            augment=ferdata.Augmentation.of_strength(options["augment_strength"]),
            mix=ferdata.Mixing(options["mixup"], options["cutmix"]),
        )
        for found, same in zip(parts(source, 0, **options).batches(2), expected(2)):
            for array, other_array in zip(found, same):
                assert np.array_equal(array, other_array)
    default = parts(source, 0, augment=True).batches(1)
    for found, same in zip(default, parts(source, 0, augment=True, mixup=0.0).batches(1)):
        assert all(np.array_equal(a, b) for a, b in zip(found, same))
    plain = TrialFaces(dataset(), protocol="random")
    with pytest.raises(ferdata.DataError, match="no answers for mirror images"):
        parts(plain, 0, flipped_teacher=True)


def test_images_have_the_size_of_the_network():
    source = TrialFaces(dataset(size_px=48), protocol="subject", n_folds=3)
    for size_px in (84, 48, 40):
        found = parts(source, 0, input_px=size_px)
        assert found.validation.images.shape[1:] == found.test.images.shape[1:]
        assert found.test.images.shape[1:] == (size_px, size_px)
        assert next(iter(found.batches(0)))[0].shape == (7, size_px, size_px)


def test_order_and_augmentation_depend_on_the_trials_seed_not_on_threads():
    source = TrialFaces(dataset(), protocol="subject", n_folds=3)

    def first(**options):
        return next(iter(parts(source, 0, augment=True, **options).batches(1)))[0]

    assert np.array_equal(first(), first(n_threads=2))
    assert not np.array_equal(first(), first(seed=1))
    plain = next(iter(parts(source, 0).batches(1)))[0]
    assert plain.shape == first().shape and not np.array_equal(plain, first())


# ---- the key ---------------------------------------------------------------------------------


def flipped(array):
    changed = array.copy()
    changed[-1] = changed[-1][..., ::-1]
    return changed


def test_the_key_only_changes_with_what_a_trial_uses():
    data = dataset(split=own_split("train", "validation"))
    base = TrialFaces(data)
    others = [
        TrialFaces(replace(data, images=flipped(data.images))),
        TrialFaces(replace(data, labels=(data.labels + 1) % 3)),
        TrialFaces(replace(data, targets=flipped(data.targets))),
        TrialFaces(replace(data, soft_labels=flipped(data.soft_labels))),
        TrialFaces(replace(data, soft_labels=None)),
        TrialFaces(data.with_soft_labels(data.soft_labels, data.soft_labels)),
        TrialFaces(replace(data, subjects=data.subjects[::-1].copy())),
        TrialFaces(replace(data, split=own_split("validation", "train"))),
        TrialFaces(replace(data, has_label=np.arange(N) > 0)),
        TrialFaces(replace(data, label_space=LabelSpace("three", ("one", "two", "four")))),
        TrialFaces(data, "distribution"),
        TrialFaces(data, protocol="subject"),
        TrialFaces(data, protocol="random"),
        TrialFaces(data, protocol="subject", n_folds=3),
        TrialFaces(data, protocol="subject", seed=1),
        TrialFaces(data, seed=1),
    ]
    keys = [source.key for source in (base, *others)]
    assert len(set(keys)) == len(keys) and all(len(key) == 64 for key in keys)
    same = [
        TrialFaces(replace(data, ids=data.ids[::-1].copy(), rows=np.arange(N))),
        TrialFaces(replace(data, subjects=data.subjects.astype("U40"))),
        TrialFaces(data, n_folds=3),  # not used with the data set's own split
    ]
    assert {source.key for source in same} == {base.key}


def test_the_key_changes_with_the_version_of_the_batches(monkeypatch):
    source = TrialFaces(dataset(), protocol="random")
    key = source.key
    assert replace(source).key == key
    monkeypatch.setattr(trial_faces, "BATCHES_VERSION", trial_faces.BATCHES_VERSION + 1)
    assert replace(source).key != key


def test_pickling_leaves_out_the_key_and_keeps_the_data():
    source = TrialFaces(dataset(), protocol="subject", n_folds=3)
    key = source.key
    arrived = pickle.loads(pickle.dumps(source))
    assert "key" not in vars(arrived) and arrived.key == key
    assert numbers(parts(arrived, 1)) == numbers(parts(source, 1))
    damaged = pickle.loads(pickle.dumps(source))
    object.__setattr__(damaged, "dataset", dataset(labels=np.zeros(N, np.int64)))
    assert damaged.key != key


# ---- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, options, words",
    [
        (dict(), dict(), "no split 'train': this dataset has no splits"),
        (dict(labels=None), dict(protocol="random"), "no labels"),
        (dict(targets=None), dict(protocol="random", targets="distribution"), "no distribution"),
        (dict(subjects=None), dict(protocol="subject"), "no subjects"),
    ],
)
def test_data_that_cannot_be_divided_are_refused_at_once(changes, options, words):
    with pytest.raises(ferdata.DataError, match=words):
        TrialFaces(dataset(**changes), **options)


def test_settings_out_of_range_are_refused():
    for options in (dict(protocol="mine"), dict(targets="votes")):
        with pytest.raises(ValueError, match="expected"):
            TrialFaces(dataset(), **options)
    source = TrialFaces(dataset(), protocol="subject", n_folds=3)
    for fold in (None, -1, 3):
        with pytest.raises(ferdata.DataError, match=f"fold {fold}: expected 0 to 2"):
            parts(source, fold)
    own = TrialFaces(dataset(split=own_split("train", "validation")))
    with pytest.raises(ferdata.DataError, match="own split has no folds"):
        parts(own, 0)
    with pytest.raises(ferdata.DataError, match="12 subjects|found 12"):
        parts(TrialFaces(dataset(), protocol="subject", n_folds=13), 0)
    untaught = TrialFaces(dataset(soft_labels=None), protocol="random")
    assert not untaught.has_teacher
    with pytest.raises(ferdata.DataError, match="needs soft labels"):
        parts(untaught, 0)


def test_with_the_own_split_a_teacher_only_needs_the_training_rows():
    names = own_split("train", "validation")
    data = dataset(split=names, soft_labels=None)
    rows = np.flatnonzero(names == "train")
    values = np.random.default_rng(1).normal(0, 1, (len(rows), 3)).astype(np.float32)
    taught = with_soft_labels_of_train(data, values)
    for images, _, soft in parts(TrialFaces(taught)).batches(0):
        assert np.array_equal(soft, values[np.searchsorted(rows, images[:, 0, 0])])
    both = with_soft_labels_of_train(data, values, values + 1)
    assert np.array_equal(both.flipped_soft_labels[rows], values + 1)
    with pytest.raises(ferdata.DataError, match="soft labels for 29 of 30 training images"):
        with_soft_labels_of_train(data, values, values[1:])
    with pytest.raises(ferdata.DataError, match="soft labels for 29 of 30 training images"):
        with_soft_labels_of_train(data, values[1:])
