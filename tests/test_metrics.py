"""Metrics against counts by hand and naive loops."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinycnn.metrics import accuracy, confusion_matrix, per_class_recall


def test_accuracy_by_hand():
    logits = np.array([[1, 2, 0], [5, -1, 3], [0, 0, 7], [9, 8, 7.5]])
    assert accuracy(logits, np.array([1, 0, 2, 0])) == 1.0
    assert accuracy(logits, np.array([1, 0, 2, 1])) == 0.75
    assert accuracy(logits.astype(np.float32), [0, 1, 0, 2]) == 0.0


def test_accuracy_of_ties_nan_and_nothing():
    assert accuracy(np.array([[1.0, 1.0]]), np.array([0])) == 1.0
    assert accuracy(np.array([[1.0, 1.0]]), np.array([1])) == 0.0
    for label in (0, 1):
        assert accuracy(np.array([[np.nan, 1.0]]), np.array([label])) == 0.0
        assert accuracy(np.array([[1.0, np.nan]]), np.array([label])) == 0.0
    assert math.isnan(accuracy(np.empty((0, 8)), np.empty(0, int)))


def test_confusion_by_hand():
    """Rows are the truth: two of class 0 were taken for class 2."""
    labels = np.array([0, 0, 0, 1, 2])
    predicted = np.array([0, 2, 2, 1, 2])
    expected = [[1, 0, 2, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    confusion = confusion_matrix(labels, predicted, 4)
    assert confusion.dtype == np.int64
    np.testing.assert_array_equal(confusion, expected)
    np.testing.assert_array_equal(per_class_recall(confusion), [1 / 3, 1, 1, np.nan])


@given(
    n_classes=st.integers(1, 9),
    n=st.sampled_from([0, 1, 2, 5, 31]),
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from([np.int64, np.int32, np.uint8]),
)
def test_against_loops(n_classes, n, seed, dtype):
    rng = np.random.default_rng(seed)
    labels, predicted = rng.integers(0, n_classes, (2, n)).astype(dtype)
    labels.setflags(write=False)
    expected = [[0] * n_classes for _ in range(n_classes)]
    for truth, guess in zip(labels.tolist(), predicted.tolist()):
        expected[truth][guess] += 1
    confusion = confusion_matrix(labels, predicted, n_classes)
    assert confusion.tolist() == expected
    for class_, recall in enumerate(per_class_recall(confusion)):
        members = [g for truth, g in zip(labels.tolist(), predicted.tolist()) if truth == class_]
        if members:
            assert recall == members.count(class_) / len(members)
        else:
            assert math.isnan(recall)
    if n:
        right = sum(a == b for a, b in zip(labels.tolist(), predicted.tolist()))
        assert accuracy(np.eye(n_classes)[predicted], labels) == pytest.approx(right / n)


@pytest.mark.parametrize(
    "kind, expected, call",
    [
        (TypeError, "have dtype int64", lambda: accuracy(np.zeros((2, 3), int), np.zeros(2, int))),
        (ValueError, "expected (images, classes)", lambda: accuracy(np.zeros(3), np.zeros(3, int))),
        (ValueError, "expected (2,)", lambda: accuracy(np.zeros((2, 3)), np.zeros(3, int))),
        (TypeError, "labels have dtype float64", lambda: accuracy(np.zeros((2, 3)), np.zeros(2))),
        (ValueError, "labels[1] is 3: expected", lambda: accuracy(np.zeros((2, 3)), [0, 3])),
        (ValueError, "labels[0] is -1", lambda: confusion_matrix([-1], [0], 3)),
        (ValueError, "predicted_classes[0] is 3", lambda: confusion_matrix([1], [3], 3)),
        (ValueError, "expected (1,)", lambda: confusion_matrix([1], [1, 2], 3)),
        (ValueError, "n_classes=0", lambda: confusion_matrix([1], [1], 0)),
        (TypeError, "expected integer counts", lambda: per_class_recall(np.zeros((2, 2)))),
        (ValueError, "expected (classes, classes)", lambda: per_class_recall([[1, 2]])),
        (ValueError, "negative", lambda: per_class_recall([[1, -2], [0, 1]])),
    ],
)
def test_bad_arguments_are_named(kind, expected, call):
    with pytest.raises(kind, match=re.escape(expected)):
        call()
