"""FaceDataset: its arrays are checked, and stay in step when images are selected."""

import ast
import hashlib
from pathlib import Path

import numpy as np
import pytest

import ferdata
from ferdata.dataset import FaceDataset
from ferdata.errors import DataError
from ferdata.labels import FER2013, FERPLUS8, MICROEXPNET8, LabelError


def faces(n=4, **changes):
    """n tiny images; all pixels of image i are i, its label is i % 8 in FERPLUS8."""
    parts = dict(
        images=np.arange(n, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 3), dtype=np.uint8),
        ids=np.array([f"f{i}" for i in range(n)]),
        label_space=FERPLUS8,
        labels=np.arange(n) % 8,
        targets=np.eye(8, dtype=np.float32)[np.arange(n) % 8],
        soft_labels=np.arange(8, dtype=np.float32) + 10 * np.arange(n, dtype=np.float32)[:, None],
        subjects=np.array([f"s{i // 2}" for i in range(n)]),
        split=np.array(["train", "validation", "test", "train"] * n)[:n],
        rows=np.arange(n) + 100,
    )
    return FaceDataset(**{**parts, **changes})


def test_public_names_are_sorted_and_lazy():
    assert ferdata.__all__ == sorted(ferdata.__all__)
    assert ferdata.FaceDataset is FaceDataset and ferdata.DataError is DataError
    assert all(hasattr(ferdata, name) for name in ferdata.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        ferdata.nothing


def test_type_checkers_see_the_public_names():
    """The imports under TYPE_CHECKING are those that __getattr__ does."""
    (block,) = (n for n in ast.parse(Path(ferdata.__file__).read_text()).body if type(n) is ast.If)
    assert {alias.name: i.module for i in block.body for alias in i.names} == ferdata._MODULE_OF


def test_dtypes_and_read_only():
    data = faces(labels=np.array([3, 2, 1, 0], dtype=np.uint8))
    assert data.labels.dtype == np.int64 and data.rows.dtype == np.int64
    assert data.targets.dtype == np.float32 and len(data) == 4
    with pytest.raises(ValueError, match="read-only"):
        data.images[0, 0, 0] = 1


def test_callers_arrays_stay_writable():
    images = np.zeros((4, 2, 3), dtype=np.uint8)
    faces(images=images)
    images[0] = 1  # would raise


@pytest.mark.parametrize("which", [np.array([False, True, False, True]), np.array([1, 3])])
def test_select_applies_to_all_parts(which):
    part = faces().select(which)
    assert part.images[:, 0, 0].tolist() == [1, 3]
    assert part.ids.tolist() == ["f1", "f3"] and part.rows.tolist() == [101, 103]
    assert part.labels.tolist() == [1, 3] and part.subjects.tolist() == ["s0", "s1"]
    assert part.targets.argmax(1).tolist() == [1, 3] and part.soft_labels[:, 0].tolist() == [10, 30]
    assert part.split.tolist() == ["validation", "train"]


def test_select_nothing_and_in_another_order():
    assert len(faces().select(np.zeros(4, dtype=bool))) == 0
    assert faces().select(np.array([2, 0])).ids.tolist() == ["f2", "f0"]


@pytest.mark.parametrize(
    "which, message",
    [
        (np.array([True]), "mask of 1 for 4 images"),
        (np.array([4]), r"indices must lie in 0..3"),
        (np.array([-1]), r"indices must lie in 0..3"),
        (np.array([0.5]), "expected a bool mask or integer indices"),
        (np.array([1, 1]), "ids: 'f1' occurs more than once"),
    ],
)
def test_select_refuses(which, message):
    with pytest.raises(DataError, match=message):
        faces().select(which)


def test_in_split():
    assert faces().in_split("train").ids.tolist() == ["f0", "f3"]
    with pytest.raises(DataError, match="no images in split 'test'; splits present: train"):
        faces().in_split("train").in_split("test")
    with pytest.raises(DataError, match="has no splits"):
        faces(split=None).in_split("train")


def test_labelled_leaves_out_images_without_a_real_label():
    data = faces(has_label=np.array([True, False, True, True]))
    assert data.labelled().ids.tolist() == ["f0", "f2", "f3"]
    assert data.labelled().has_label is None
    assert len(faces().labelled()) == 4
    with pytest.raises(DataError, match="no labels"):
        faces(labels=None).labelled()


def test_to_label_space_converts_labels_targets_and_soft_labels():
    data = faces(8)
    moved = data.to_label_space(MICROEXPNET8)
    for i, name in enumerate(FERPLUS8.classes):
        j = MICROEXPNET8.index(name)
        assert moved.labels[i] == j and moved.targets[i, j] == 1
        np.testing.assert_array_equal(moved.soft_labels[:, j], data.soft_labels[:, i])
    mirrored = data.with_soft_labels(data.soft_labels, data.soft_labels + 1)
    np.testing.assert_array_equal(
        mirrored.to_label_space(MICROEXPNET8).flipped_soft_labels, moved.soft_labels + 1
    )
    assert mirrored.with_soft_labels(None).flipped_soft_labels is None
    assert moved.classes == MICROEXPNET8.classes


def test_a_lossy_conversion_drops_rows_and_renormalises():
    targets = np.zeros((3, 8), dtype=np.float32)
    targets[0, [0, 7]] = 0.75, 0.25  # neutral and contempt
    targets[1, 7] = 1.0  # only contempt: nothing is left
    targets[2, 1] = 1.0
    data = faces(3, labels=None, targets=targets)
    with pytest.raises(LabelError, match="no class for contempt"):
        data.to_label_space(FER2013)
    kept = data.to_label_space(FER2013, allow_lossy=True)
    assert kept.ids.tolist() == ["f0", "f2"] and kept.targets[0, 6] == 1
    assert kept.soft_labels.shape == (2, 7)
    labelled = faces(8, targets=None).to_label_space(FER2013, allow_lossy=True)
    assert labelled.ids.tolist() == [f"f{i}" for i in range(7)]


def test_soft_labels_for_a_new_class_are_refused():
    data = faces(7, label_space=FER2013, targets=None, soft_labels=np.zeros((7, 7)))
    with pytest.raises(LabelError, match="no values for contempt"):
        data.to_label_space(MICROEXPNET8)
    assert data.with_soft_labels(None).to_label_space(MICROEXPNET8).labels.tolist() == [
        *(1, 3, 4, 5, 6, 7, 0)
    ]


def test_content_hash_is_of_shape_and_bytes():
    data = faces()
    expected = hashlib.sha256(b"(4, 2, 3)" + data.images.tobytes()).hexdigest()
    assert data.content_hash() == expected
    assert faces(labels=np.array([1, 1, 1, 1])).content_hash() == expected
    assert faces(images=data.images.reshape(4, 3, 2)).content_hash() != expected
    changed = data.images.copy()
    changed[3, 1, 2] += 1
    assert faces(images=changed).content_hash() != expected


SOME_NAN = np.zeros((4, 8), dtype=np.float32)
SOME_NAN[2, 5] = np.nan


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(images=np.zeros((4, 2, 3))), r"images: expected uint8 of shape .*found float64"),
        (dict(images=np.zeros((4, 2, 3, 1), np.uint8)), r"images: .* found uint8 \(4, 2, 3, 1\)"),
        (dict(ids=np.arange(4)), "ids: expected 4 strings, found int64"),
        (
            dict(ids=np.array(["a", "b", "c"])),
            r"ids: expected 4 strings, found <U1 of shape \(3,\)",
        ),
        (dict(ids=np.array(["a", "b", "b", "c"])), "ids: 'b' occurs more than once"),
        (dict(subjects=np.array(["a"])), "subjects: expected 4 strings"),
        (dict(split=np.array(["train", "val", "test", "test"])), r"row 1 \(id 'f1'\) is in 'val'"),
        (dict(labels=np.array([0, 1, 2, 8])), r"label 8 \(entry 3\) is outside 'ferplus8'"),
        (dict(labels=np.array([0, 1, -1, 2])), r"label -1 \(entry 2\) is outside 'ferplus8'"),
        (dict(labels=np.zeros(4)), "labels: expected 4 integers, found float64"),
        (dict(labels=np.zeros(3, int)), "labels: expected 4 integers"),
        (dict(label_space=None), "labels: given without a label_space"),
        (
            dict(has_label=np.ones(3, bool)),
            r"has_label: expected 4 bools, and labels, found bool",
        ),
        (dict(has_label=np.ones(4, bool), labels=None), "no labels"),
        (dict(targets=np.zeros((4, 8), np.float32)), r"targets: row 0 \(id 'f0'\) is no distrib"),
        (dict(targets=SOME_NAN), r"targets: row 2 \(id 'f2'\) is not finite"),
        (dict(targets=np.ones((4, 7))), r"targets: expected floats of shape \(4, 8\) \(ferplus8\)"),
        (dict(flipped_soft_labels=SOME_NAN), r"flipped_soft_labels: row 2"),
        (dict(soft_labels=SOME_NAN), r"^soft_labels: row 2 \(id 'f2'\) is not finite"),
        (dict(soft_labels=np.zeros((3, 8))), r"soft_labels: expected floats of shape \(4, 8\)"),
        (dict(rows=np.zeros(4)), "rows: expected 4 integers, found float64"),
    ],
)
def test_construction_refuses(changes, message):
    with pytest.raises(DataError, match=message):
        faces(**changes)


def test_a_negative_target_is_not_a_distribution():
    targets = np.eye(8, dtype=np.float32)[:4]
    targets[1, :3] = 1.5, -0.5, 0.0
    with pytest.raises(DataError, match=r"row 1 \(id 'f1'\) is no distribution"):
        faces(targets=targets)


def test_mapping_needs_a_label_space():
    data = faces(label_space=None, labels=None, targets=None, soft_labels=None)
    with pytest.raises(DataError, match="no label space to map from"):
        data.to_label_space(FERPLUS8)
    with pytest.raises(DataError, match="no label space, so no classes"):
        data.classes
