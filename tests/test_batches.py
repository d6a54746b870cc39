"""Batches depend only on seed and epoch; images, targets and soft labels stay in step."""

from dataclasses import replace

import numpy as np
import pytest

from ferdata.augment import Augmentation
from ferdata.batches import Batches
from ferdata.dataset import FaceDataset
from ferdata.errors import DataError
from ferdata.labels import FERPLUS8
from ferdata.warp import resize_images


def faces(n=23, size=12, **changes):
    """All pixels of image i are i. No warp changes that, so an image shows its own number."""
    parts = dict(
        images=np.arange(n, dtype=np.uint8)[:, None, None] * np.ones((1, size, size), np.uint8),
        ids=np.array([str(i) for i in range(n)], dtype=np.str_),
        label_space=FERPLUS8,
        labels=np.arange(n) % 8,
        targets=np.eye(8, dtype=np.float32)[np.arange(n) % 8],
        soft_labels=np.arange(n, dtype=np.float32)[:, None] + np.arange(8, dtype=np.float32) / 8,
    )
    return FaceDataset(**{**parts, **changes})


def noisy(n=23, size=12):
    images = np.random.default_rng(0).integers(0, 256, (n, size, size), dtype=np.uint8)
    return faces(n, images=images)


def assert_same(first, second):
    first, second = list(first), list(second)
    assert len(first) == len(second)
    for a, b in zip(first, second):
        for x, y in zip(a, b):
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("augment", [None, Augmentation()])
@pytest.mark.parametrize("shuffle", [True, False])
def test_each_image_once_with_its_own_targets(augment, shuffle):
    batches = Batches(faces(), batch_size=5, size_px=16, augment=augment, shuffle=shuffle)
    assert (batches.n_images, batches.n_batches, batches.classes) == (23, 5, FERPLUS8.classes)
    parts = list(batches(3))
    assert [len(images) for images, _, _ in parts] == [5, 5, 5, 5, 3]
    images, labels, soft = (np.concatenate(p) for p in zip(*parts))
    which = images[:, 0, 0].astype(int)
    assert sorted(which) == list(range(23)) and (list(which) == list(range(23))) != shuffle
    assert (images == images[:, :1, :1]).all() and images.shape == (23, 16, 16)
    np.testing.assert_array_equal(labels, which % 8)
    np.testing.assert_array_equal(soft[:, 0], which)


def test_dtypes():
    images, labels, soft = next(Batches(faces())(0))
    assert (images.dtype, labels.dtype, soft.dtype) == (np.uint8, np.int64, np.float32)
    assert images.shape == (23, 84, 84) and soft.shape == (23, 8)
    _, targets, soft = next(Batches(faces(soft_labels=None), targets="distribution")(0))
    assert targets.dtype == np.float32 and targets.shape == (23, 8) and soft is None


def test_an_epoch_does_not_depend_on_what_came_before():
    settings = dict(batch_size=4, size_px=20, augment=Augmentation(), seed=5)
    used = Batches(noisy(), **settings)
    for epoch in (0, 1):
        list(used(epoch))
    half_way = used(2)
    next(half_way)
    assert_same(used(2), Batches(noisy(), **settings)(2))
    next(half_way)


def test_epochs_and_seeds_differ():
    def images(seed, epoch, **settings):
        return next(Batches(noisy(), batch_size=23, seed=seed, **settings)(epoch))[0]

    for settings in (dict(augment=None), dict(augment=Augmentation(), shuffle=False)):
        first = images(0, 0, **settings)
        assert (first != images(0, 1, **settings)).any()
        assert (first != images(1, 0, **settings)).any()
        assert (images(0, 1, **settings) != images(1, 0, **settings)).any()


def test_threads_do_not_change_anything():
    one, two = (
        Batches(noisy(), batch_size=7, augment=Augmentation(), n_threads=n)(1) for n in (1, 3)
    )
    assert_same(one, two)


def test_augmentation_does_not_depend_on_batch_size_or_order():
    data = noisy()
    settings = dict(size_px=20, augment=Augmentation(), seed=2)
    small, large, sorted_ = (
        Batches(data, **settings, **more)
        for more in (dict(batch_size=3), dict(batch_size=23), dict(batch_size=23, shuffle=False))
    )

    def by_image(batches):
        parts = [np.concatenate(p) for p in zip(*batches(4))]
        return parts[0][np.argsort(parts[2][:, 0])]

    np.testing.assert_array_equal(by_image(small), by_image(large))
    np.testing.assert_array_equal(by_image(sorted_), by_image(large))


def test_without_augmentation_it_is_the_resize():
    data = noisy()
    for size_px in (12, 30, 7):
        images, _, _ = next(Batches(data, size_px=size_px, shuffle=False)(0))
        np.testing.assert_array_equal(images, resize_images(data.images, size_px))


def test_larger_images_are_reduced_once_before_augmentation(monkeypatch):
    calls, progress = [], []

    def resize(images, size_px, report):
        calls.append(size_px)
        return resize_images(images, size_px, report)

    monkeypatch.setattr("ferdata.batches.resize_images", resize)
    data = noisy(n=5, size=40)
    batches = Batches(
        data, size_px=10, augment=Augmentation(), progress=lambda i, n: progress.append((i, n))
    )
    assert calls == [10] and progress[-1] == (5, 5)
    images, _, _ = next(batches(0))
    assert images.shape == (5, 10, 10) and calls == [10]


def test_flip_does_not_change_soft_labels():
    data = noisy()
    augment = Augmentation(shift_px=0, rotation_deg=0, scale=(1.0, 1.0), flip=True)
    images, labels, soft = next(Batches(data, size_px=12, augment=augment, shuffle=False)(0))
    flipped = (images == data.images[:, :, ::-1]).all(axis=(1, 2))
    kept = (images == data.images).all(axis=(1, 2))
    assert flipped.sum() > 3 and kept.sum() > 3 and (flipped | kept).all()
    np.testing.assert_array_equal(soft, data.soft_labels)
    np.testing.assert_array_equal(labels, data.labels)


def test_a_mirrored_image_gets_the_soft_labels_of_its_mirror_image():
    other = np.random.default_rng(3).normal(0, 1, (23, 8)).astype(np.float32)
    data = replace(noisy(), flipped_soft_labels=other)
    for augment, size_px in (
        (Augmentation(shift_px=0, rotation_deg=0, scale=(1.0, 1.0)), 12),
        (Augmentation(shift_px=0, rotation_deg=10, scale=(0.8, 1.2)), 24),
    ):
        plain = replace(augment, flip=False)
        settings = dict(size_px=size_px, shuffle=False)
        images, _, soft = next(Batches(data, augment=augment, **settings)(0))
        unflipped = next(Batches(data, augment=plain, **settings)(0))[0]
        mirrored = (images != unflipped).any(axis=(1, 2))
        assert 3 < mirrored.sum() < 20
        expected = np.where(mirrored[:, None], other, data.soft_labels)
        np.testing.assert_array_equal(soft, expected)
    for settings in (dict(augment=None), dict(augment=None, size_px=12), dict(augment=plain)):
        soft = next(Batches(data, shuffle=False, **settings)(0))[2]
        np.testing.assert_array_equal(soft, data.soft_labels)
    assert next(Batches(data.with_soft_labels(None), augment=augment)(0))[2] is None


def test_changing_a_batch_does_not_change_the_data_set():
    batches = Batches(faces(), size_px=12)
    for part in next(batches(0)):
        part += 1
    assert_same(batches(0), Batches(faces(), size_px=12)(0))


def test_unsuitable_data_is_refused():
    with pytest.raises(DataError, match="no images to make batches of"):
        Batches(faces().select(np.zeros(23, dtype=bool)))
    with pytest.raises(DataError, match="targets='distribution': this dataset has no distribution"):
        Batches(faces(targets=None), targets="distribution")
    with pytest.raises(DataError, match="targets='labels': this dataset has no labels"):
        Batches(faces(labels=None))
    part = faces(has_label=np.arange(23) > 1)
    with pytest.raises(
        DataError, match=r"2 of 23 images have no label; use dataset.labelled\(\) to leave them out"
    ):
        Batches(part)
    assert Batches(part, targets="distribution").n_images == 23
    assert Batches(part.labelled()).n_images == 21


@pytest.mark.parametrize(
    "settings, message",
    [
        (dict(batch_size=0), "batch_size: expected a whole number of 1 or more, found 0"),
        (dict(size_px=0), "size_px: expected a whole number of 1 or more"),
        (dict(seed=-1), "seed: expected a whole number of 0 or more"),
        (dict(targets="votes"), "targets: expected one of labels, distribution, found 'votes'"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        Batches(faces(), **settings)
    with pytest.raises(ValueError, match="epoch: expected a whole number of 0 or more, found -1"):
        Batches(faces())(-1)
