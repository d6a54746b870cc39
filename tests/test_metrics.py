"""Metrics against counts by hand and naive loops."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinycnn.metrics import (
    accuracy,
    confusion_matrix,
    expected_calibration_error,
    per_class_recall,
)


def test_accuracy_by_hand():
    logits = np.array([[1, 2, 0], [5, -1, 3], [0, 0, 7], [9, 8, 7.5]])
    assert accuracy(logits, np.array([1, 0, 2, 0])) == 1.0
    assert accuracy(logits, np.array([1, 0, 2, 1])) == 0.75
    assert accuracy(logits.astype(np.float32), [0, 1, 0, 2]) == 0.0


def test_accuracy_of_ties_nan_and_no_rows():
    assert accuracy(np.array([[1.0, 1.0]]), np.array([0])) == 1.0
    assert accuracy(np.array([[1.0, 1.0]]), np.array([1])) == 0.0
    for label in (0, 1):
        assert accuracy(np.array([[np.nan, 1.0]]), np.array([label])) == 0.0
        assert accuracy(np.array([[1.0, np.nan]]), np.array([label])) == 0.0
    assert math.isnan(accuracy(np.empty((0, 8)), np.empty(0, int)))


def test_confusion_by_hand():
    """Rows are the true classes: two images of class 0 were predicted as class 2."""
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


def test_calibration_error_by_hand():
    """Two bins.  Lower: 0.4 and 0.5 (the border), one of two right.  Upper: 0.6, 0.9 and 1.0, two
    of three right.  The error is (|1 - 0.9| + |2 - 2.5|) / 5."""
    probs = np.array([[0.3, 0.4, 0.3], [0.5, 0.3, 0.2], [0.2, 0.2, 0.6], [0.9, 0.1, 0], [0, 1, 0]])
    labels = np.array([1, 2, 0, 0, 1])
    assert expected_calibration_error(probs, labels, n_bins=2) == pytest.approx(0.6 / 5)
    # one bin: |3 right - sum of confidences 3.4|; one bin per image: every gap counts separately
    assert expected_calibration_error(probs, labels, n_bins=1) == pytest.approx(0.4 / 5)
    gaps = 0.6 + 0.5 + 0.6 + 0.1 + 0
    assert expected_calibration_error(probs, labels, n_bins=1000) == pytest.approx(gaps / 5)


def test_calibration_error_of_over_and_underconfidence_does_not_cancel_between_bins():
    probs = np.array([[0.9, 0.1]] * 10 + [[0.6, 0.4]] * 10)
    labels = np.array([0] * 6 + [1] * 4 + [0] * 9 + [1])  # 60 % right at 0.9, 90 % right at 0.6
    assert expected_calibration_error(probs, labels) == pytest.approx(0.3)
    assert expected_calibration_error(probs, labels, n_bins=1) == pytest.approx(0.0, abs=1e-12)


def test_calibration_error_is_zero_if_calibrated_and_nan_for_no_rows():
    probs = np.array([[0.75, 0.25]] * 4)
    assert expected_calibration_error(probs, np.array([0, 0, 1, 0])) == pytest.approx(0)
    assert expected_calibration_error(probs.astype(np.float32), [0, 0, 1, 0]) == pytest.approx(0)
    assert math.isnan(expected_calibration_error(np.empty((0, 2)), np.empty(0, int)))


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 30), n_bins=st.integers(1, 20))
def test_calibration_error_against_loops(seed, n, n_bins):
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.ones(4), n)
    labels = rng.integers(0, 4, n)
    total = 0.0
    for b in range(n_bins):
        members = [k for k in range(n) if b / n_bins < probs[k].max() <= (b + 1) / n_bins]
        right = sum(int(probs[k].argmax()) == labels[k] for k in members)
        total += abs(right - sum(probs[k].max() for k in members))
    assert expected_calibration_error(probs, labels, n_bins) == pytest.approx(total / n)


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
        (ValueError, "n_bins is 0", lambda: expected_calibration_error(np.eye(2), [0, 1], 0)),
        (ValueError, "n_bins is 2.0", lambda: expected_calibration_error(np.eye(2), [0, 1], 2.0)),
        (ValueError, "n_bins is True", lambda: expected_calibration_error(np.eye(2), [0, 1], True)),
        (ValueError, "labels[1] is 2", lambda: expected_calibration_error(np.eye(2), [0, 2])),
        (ValueError, "probs[1] is", lambda: expected_calibration_error([[1.0, 0], [3, 1]], [0, 1])),
        (ValueError, "probs[0] is", lambda: expected_calibration_error([[1.5, -0.5]], [0])),
        (ValueError, "probs[0] is", lambda: expected_calibration_error([[np.nan, 1]], [0])),
        (TypeError, "expected integer counts", lambda: per_class_recall(np.zeros((2, 2)))),
        (ValueError, "expected (classes, classes)", lambda: per_class_recall([[1, 2]])),
        (ValueError, "negative", lambda: per_class_recall([[1, -2], [0, 1]])),
    ],
)
def test_bad_arguments_are_named(kind, expected, call):
    with pytest.raises(kind, match=re.escape(expected)):
        call()
