"""Folds: every image is tested once, subjects are never split, classes are balanced."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferdata import folds
from ferdata.dataset import FaceDataset
from ferdata.errors import DataError
from ferdata.folds import (
    Fold,
    check_split,
    leave_one_subject_out,
    random_folds,
    refuse_shared_subjects,
    shared_subjects,
    split_by,
    subject_folds,
)
from ferdata.labels import LabelSpace

THREE = LabelSpace("three", ("happy", "sad", "neutral"))


def dataset(subjects, labels=None, **parts):
    n = len(subjects)
    return FaceDataset(
        images=np.zeros((n, 2, 2), np.uint8),
        ids=np.array([str(i) for i in range(n)]),
        subjects=np.array(subjects, dtype=np.str_),
        label_space=THREE,
        labels=None if labels is None else np.array(labels),
        **parts,
    )


def people(n_subjects=40, seed=0):
    """Subjects with 1 to 9 images each, the third class rare; shuffled."""
    rng = np.random.default_rng(seed)
    subjects = np.repeat(np.arange(n_subjects), rng.integers(1, 10, n_subjects))
    rng.shuffle(subjects)
    labels = rng.choice(3, len(subjects), p=[0.6, 0.32, 0.08])
    return subjects.astype(str), labels


def assert_divides(found, n):
    """Each fold holds every image once; over all folds, each image is tested once."""
    for fold in found:
        assert fold.train.dtype == fold.validation.dtype == np.int64
        assert (np.diff(fold.train) > 0).all() and (np.diff(fold.validation) > 0).all()
        assert sorted([*fold.train.tolist(), *fold.validation.tolist()]) == list(range(n))
        assert fold.train.size and fold.validation.size
    assert sorted(np.concatenate([f.validation for f in found]).tolist()) == list(range(n))


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2)), min_size=13, max_size=90),
    st.integers(2, 6),
    st.integers(0, 5),
)
def test_subject_folds_never_split_a_subject(rows, n_folds, seed):
    rows = rows + [(s, 0) for s in range(n_folds)]
    subjects, labels = np.array(rows).T
    found = subject_folds(subjects, labels, n_folds, seed)
    assert len(found) == n_folds
    assert_divides(found, len(rows))
    for fold in found:
        assert not set(subjects[fold.train]) & set(subjects[fold.validation])


def imbalance(fold_of, subjects, labels, n_folds):
    """Mean squared difference between a fold's share of a class and 1 / n_folds."""
    counts = np.zeros((n_folds, 3))
    np.add.at(counts, (fold_of, labels), 1)
    return ((counts / counts.sum(axis=0) - 1 / n_folds) ** 2).mean()


def fold_numbers(found, n):
    fold_of = np.empty(n, dtype=int)
    for f, fold in enumerate(found):
        fold_of[fold.validation] = f
    return fold_of


@pytest.mark.parametrize("seed", range(4))
def test_classes_are_balanced_better_than_at_random(seed):
    """Compared with the best of 300 random divisions of the same people."""
    subjects, labels = people(seed=seed)
    found = fold_numbers(subject_folds(subjects, labels, 5, seed), len(labels))
    rng = np.random.default_rng(seed)
    names, subject_of = np.unique(subjects, return_inverse=True)
    by_chance = [
        imbalance((rng.permutation(len(names)) % 5)[subject_of], subjects, labels, 5)
        for _ in range(300)
    ]
    assert imbalance(found, subjects, labels, 5) < min(by_chance)


def test_balance_is_close_to_the_best_possible():
    """Seven people and two folds: all 126 divisions are tried."""
    ratios = []
    for seed in range(12):
        subjects, labels = people(7, seed)
        names, subject_of = np.unique(subjects, return_inverse=True)
        shares = folds._class_shares(subject_of, labels, 7)

        def loss(fold_of):
            return sum((shares[fold_of == f].sum(axis=0) ** 2).sum() for f in (0, 1))

        tried = [np.array(t) for t in itertools.product((0, 1), repeat=7)]
        best = min(loss(t) for t in tried)
        found = fold_numbers(subject_folds(subjects, labels, 2, seed), len(labels))
        ours = np.array([found[subject_of == s][0] for s in range(7)])
        ratios.append(loss(ours) / best)
    assert max(ratios) < 1.03 and np.median(ratios) < 1.0001


def test_perfect_balance_is_found():
    """Twelve people with the same labels: every fold gets the same number of each class."""
    subjects = np.repeat(np.arange(12), 6)
    labels = np.tile([0, 0, 1, 1, 1, 2], 12)
    for fold in subject_folds(subjects, labels, 4, seed=3):
        assert np.bincount(labels[fold.validation]).tolist() == [6, 9, 3]


def test_a_rare_class_is_spread_too():
    """A class with five of 405 images: each fold gets one, although the folds would be equally
    large without that."""
    subjects = np.concatenate([np.repeat(np.arange(80), 5), np.arange(200, 205)])
    labels = np.concatenate([np.tile([0, 0, 0, 1, 1], 80), np.full(5, 2)])
    for fold in subject_folds(subjects, labels, 5):
        assert np.bincount(labels[fold.validation]).tolist() == [48, 32, 1]


def test_the_seed_decides():
    subjects, labels = people()

    def numbers(seed):
        return fold_numbers(subject_folds(subjects, labels, 5, seed), len(labels)).tolist()

    assert numbers(1) == numbers(1) != numbers(2)

    def at_random(seed):
        return fold_numbers(random_folds(20, 4, seed), 20).tolist()

    assert at_random(1) == at_random(1) != at_random(2)


def test_folds_of_people_do_not_depend_on_the_order_of_images():
    subjects, labels = people()
    order = np.random.default_rng(5).permutation(len(labels))
    straight = fold_numbers(subject_folds(subjects, labels, 5), len(labels))
    shuffled = fold_numbers(subject_folds(subjects[order], labels[order], 5), len(labels))
    assert shuffled.tolist() == straight[order].tolist()


def test_subjects_and_labels_come_from_the_data_set():
    subjects, labels = people()
    given_apart = subject_folds(subjects, labels, 5)
    for data in (dataset(subjects, labels), dataset(subjects, labels, has_label=labels >= 0)):
        found = subject_folds(data, n_folds=5)
        assert all((a.train == b.train).all() for a, b in zip(found, given_apart))
    without = subject_folds(dataset(subjects), n_folds=5)
    sizes = [len(f.validation) for f in without]
    assert max(sizes) - min(sizes) <= 1


def test_images_without_a_label_are_balanced_like_a_class():
    subjects, labels = people()
    known = np.random.default_rng(0).random(len(labels)) < 0.7
    data = dataset(subjects, np.where(known, labels, 0), has_label=known)
    expected = subject_folds(subjects, np.where(known, labels, 3), 5)
    found = subject_folds(data, n_folds=5)
    assert all((a.train == b.train).all() for a, b in zip(found, expected))


def test_folds_inside_a_fold():
    subjects, labels = people()
    data = dataset(subjects, labels)
    outer = subject_folds(data, n_folds=5)[0]
    part = data.select(outer.train)
    inner = subject_folds(part, n_folds=4)
    assert_divides(inner, len(part))
    outside = set(subjects[outer.validation])
    assert not outside & set(part.subjects[inner[0].validation])


@given(st.integers(2, 60), st.integers(2, 9), st.integers(0, 3))
def test_random_folds_test_every_image_once(n, n_folds, seed):
    if n < n_folds:
        with pytest.raises(DataError, match=f"{n_folds} folds need as many images, found {n}"):
            random_folds(n, n_folds, seed)
        return
    found = random_folds(n, n_folds, seed)
    assert_divides(found, n)
    sizes = [len(f.validation) for f in found]
    assert max(sizes) - min(sizes) <= 1 and len(found) == n_folds


def test_leave_one_subject_out():
    subjects = np.array(["b", "a", "b", "c", "a"])
    found = list(leave_one_subject_out(subjects))
    assert [f.validation.tolist() for f in found] == [[1, 4], [0, 2], [3]]
    assert_divides(found, 5)
    assert_divides(list(leave_one_subject_out(dataset(subjects))), 5)


# A subject in both parts


def test_a_split_that_shares_a_subject_is_refused_unless_allowed():
    data = dataset(["a", "b", "a", "c"], [0, 1, 2, 0])
    mixed = Fold(np.array([0, 1]), np.array([2, 3]))
    with pytest.raises(DataError, match="^1 subject on both sides of the split: a; use subject_f"):
        check_split(data, mixed)
    with pytest.raises(DataError, match="1 subject on both sides of the split: a"):
        split_by(data, mixed)
    train, validation = split_by(data, mixed, shared_subjects=True)
    assert train.ids.tolist() == ["0", "1"] and validation.ids.tolist() == ["2", "3"]
    clean = Fold(np.array([0, 2]), np.array([1, 3]))
    check_split(data, clean)
    assert split_by(data, clean)[1].subjects.tolist() == ["b", "c"]


def test_an_image_in_both_parts_is_always_refused():
    data = dataset(["a", "b", "c"])
    with pytest.raises(DataError, match="1 images are on both sides; the first is number 1"):
        split_by(data, Fold(np.array([0, 1]), np.array([1, 2])), shared_subjects=True)


def test_random_folds_that_split_subjects_are_noticed():
    subjects, labels = people()
    fold = random_folds(dataset(subjects, labels), 5)[0]
    with pytest.raises(DataError, match=r"subjects on both sides of the split: .* and \d+ more;"):
        check_split(subjects, fold)


def test_a_data_set_whose_own_split_shares_subjects():
    split = np.array(["train", "train", "validation", "test"])
    data = dataset(["a", "b", "a", "c"], split=split)
    assert shared_subjects(data) == ["a"]
    with pytest.raises(DataError, match="1 subject on both sides of the split: a"):
        refuse_shared_subjects(data)
    for clean in (dataset(["a", "a", "b", "c"], split=split), dataset(["a", "a"])):
        assert shared_subjects(clean) == []
        refuse_shared_subjects(clean)
    nobody = FaceDataset(images=np.zeros((1, 2, 2), np.uint8), ids=np.array(["x"]))
    assert shared_subjects(nobody) == []


def test_the_splits_of_the_built_in_faces_share_no_subject():
    from ferdata.sources.rendered import render_faces

    data = render_faces(n_subjects=10, n_per_class=1, size_px=16)
    refuse_shared_subjects(data)
    for fold in subject_folds(data, n_folds=5):
        train, validation = split_by(data, fold)
        assert len(set(validation.subjects)) == 2 and np.bincount(train.labels).tolist() == [8] * 8


# Data that cannot be divided


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: subject_folds(["a", "b"], n_folds=3), DataError, "3 folds by subject need as m"),
        (lambda: subject_folds(["a"], n_folds=1), ValueError, "n_folds: expected a whole number"),
        (lambda: subject_folds(["a"], n_folds=2.0), ValueError, "n_folds: .* found 2.0"),
        (lambda: random_folds(9, 2, seed=-1), ValueError, "seed: expected .* 0 or more, found -1"),
        (lambda: subject_folds([0.5, 1]), DataError, "subjects: expected strings or whole numb"),
        (lambda: subject_folds(["a", "b"], [0]), DataError, "labels: expected 2 integers"),
        (lambda: subject_folds(["a", "b"], [0.0, 1]), DataError, "labels: expected 2 integers"),
        (lambda: subject_folds([]), DataError, "10 folds by subject .* found 0"),
        (lambda: leave_one_subject_out(["a", "a"]), DataError, "two or more, found 1"),
        (
            lambda: subject_folds(FaceDataset(images=np.zeros((1, 2, 2), np.uint8), ids=["a"])),
            DataError,
            "no subjects in this data set: only random_folds can divide it",
        ),
    ],
)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
