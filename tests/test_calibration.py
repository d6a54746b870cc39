"""fit_temperature against known temperatures and a grid search; where the result is stored."""

import json
import math
import re

import numpy as np
import pytest
import safetensors.numpy as safetensors_numpy
from hypothesis import given
from hypothesis import strategies as st

import tinycnn
from tinycnn import Dense, Flatten, InputSpec, Network, checkpoint
from tinycnn.calibration import HIGHEST, LOWEST, calibrate, fit_temperature
from tinycnn.formats import safetensors
from tinycnn.metrics import accuracy, expected_calibration_error
from tinycnn.optim import SGD

BACKENDS = pytest.mark.parametrize("backend", ["numba", "numpy"])


def softmax(z):
    weights = np.exp(z - z.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def nll(z, labels, t):
    """Mean negative log-likelihood by its definition."""
    z = z.astype(np.float64) / t
    z = z - z.max(axis=1, keepdims=True)
    return float((np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), labels]).mean())


def drawn(n=4000, n_classes=5, spread=2.0, seed=0):
    """Logits, and labels drawn from their softmax: calibrated at a temperature of 1."""
    rng = np.random.default_rng(seed)
    z = rng.normal(0, spread, (n, n_classes))
    labels = (softmax(z).cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return z, np.minimum(labels, n_classes - 1)


# ---- the fit ---------------------------------------------------------------------------------


@pytest.mark.parametrize("t", [0.2, 1.0, 1.7, 30.0])
def test_distributions_give_their_own_temperature_back(t):
    """Targets softmax(z / t) have the lowest loss exactly at t (Gibbs' inequality)."""
    z, _ = drawn(50)
    assert fit_temperature(z, softmax(z / t)) == pytest.approx(t, rel=1e-8)


def test_two_classes_by_hand():
    """Three of four are right, all with a margin of 2: p = 3/4, so exp(2/t) = 3."""
    z, labels = np.array([[2.0, 0]] * 4), np.array([0, 0, 1, 0])
    assert fit_temperature(z, labels) == pytest.approx(2 / math.log(3), rel=1e-8)


@pytest.mark.parametrize("factor", [0.25, 1.0, 8.0])
def test_overconfident_logits_become_calibrated(factor):
    z, labels = drawn()
    t = fit_temperature((factor * z).astype(np.float32), labels)
    assert t == pytest.approx(factor, rel=0.05)
    before = expected_calibration_error(softmax(factor * z), labels)
    after = expected_calibration_error(softmax(factor * z / t), labels)
    assert after < 0.03 and (factor == 1 or before > 0.2)


def test_a_temperature_that_makes_the_confidences_worse_is_not_used():
    """Labels drawn from the softmax itself: the best temperature is 1, and what is fitted to 60 of
    them is chance."""
    worse = []
    for seed in range(12):
        z, labels = drawn(60, seed=seed)
        found = calibrate(z, labels)
        assert found.fitted == fit_temperature(z, labels) and found.n_images == 60
        for k, t in enumerate((1.0, found.fitted)):
            assert found.nll[k] == pytest.approx(nll(z, labels, t), rel=1e-12)
            error = expected_calibration_error(softmax(z / t), labels)
            assert found.error[k] == pytest.approx(error, rel=1e-9)
        worse.append(found.error[1] > found.error[0])
        assert found.temperature == (1.0 if worse[-1] else found.fitted)
        assert str(found).startswith("none: temperature " if worse[-1] else "temperature ")
    assert set(worse) == {True, False}


def test_without_a_minimum_nothing_changes():
    found = calibrate(10 * np.eye(3), np.arange(3))
    assert found.temperature == 1.0 and not found.is_worse and found.error[0] == found.error[1]
    with pytest.raises((TypeError, ValueError), match="labels"):
        calibrate(np.eye(3), np.eye(3))  # distributions


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(2, 40),
    n_classes=st.integers(2, 6),
    factor=st.sampled_from([0.01, 0.3, 1.0, 5.0, 100.0]),
)
def test_no_other_temperature_has_a_lower_loss(seed, n, n_classes, factor):
    """Compared with a grid search over the whole range."""
    rng = np.random.default_rng(seed)
    z, labels = factor * rng.normal(size=(n, n_classes)), rng.integers(0, n_classes, n)
    t = fit_temperature(z, labels)
    assert LOWEST <= t <= HIGHEST
    if (z.argmax(axis=1) == labels).all():
        assert t == 1.0
        return
    others = np.exp(np.linspace(math.log(LOWEST), math.log(HIGHEST), 200))
    assert nll(z, labels, t) <= min(nll(z, labels, other) for other in others) + 1e-9


def test_indices_and_one_hot_rows_agree():
    z, labels = drawn(200)
    assert fit_temperature(z, np.eye(5)[labels]) == pytest.approx(
        fit_temperature(z, labels), rel=1e-9
    )


def test_adding_a_constant_to_a_row_changes_nothing():
    z, labels = drawn(200)
    shifted = z + np.random.default_rng(1).normal(0, 100, (200, 1))
    assert fit_temperature(shifted, labels) == pytest.approx(fit_temperature(z, labels), rel=1e-6)


def test_extreme_logits():
    eye = np.eye(3, dtype=np.float32)
    labels = np.arange(3)
    assert fit_temperature(eye, labels) == 1.0  # all are right: there is no minimum
    assert fit_temperature(np.zeros((3, 3)), labels) == 1.0  # equal logits: no effect
    assert fit_temperature(-eye, labels) == HIGHEST  # worse than chance: flattest is best
    assert fit_temperature(1e30 * eye, (labels + 1) % 3) == HIGHEST
    nearly = np.array([[1e-6, 0.0]] * 99 + [[0.0, 1e-6]])
    assert fit_temperature(nearly, np.zeros(100, int)) == LOWEST
    huge = np.array([[3e38, 0.0], [3e38, 0.0], [0.0, 3e38]], np.float32)
    assert fit_temperature(huge, np.array([0, 1, 1])) == HIGHEST


@pytest.mark.parametrize(
    "logits, labels, error, message",
    [
        (np.zeros((2, 3), int), [0, 1], TypeError, "logits have dtype int64"),
        (np.zeros(3), [0, 1, 2], ValueError, "expected (images, classes)"),
        (np.zeros((2, 3)), [0, 3], ValueError, "targets[1] is 3"),
        (np.zeros((2, 3)), np.full((2, 3), 0.5), ValueError, "sum to 1"),
        (np.zeros((2, 3)), [0], ValueError, "shape (1,)"),
        (np.zeros((0, 3)), np.zeros(0, int), ValueError, "one image or more"),
        ([[0.0, 1], [np.nan, 0]], [0, 0], ValueError, "logits[1] is [nan, 0.0]: expected finite"),
        ([[0.0, np.inf]], [0], ValueError, "logits[0]"),
    ],
)
def test_bad_arguments_are_named(logits, labels, error, message):
    with pytest.raises(error, match=re.escape(message)):
        fit_temperature(np.asarray(logits), np.asarray(labels))


# ---- what a network does with it -------------------------------------------------------------


def network(backend="numpy", **options):
    return Network([Flatten(), Dense(3)], InputSpec(4, 4), backend=backend, **options)


def images(n=6, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 4, 4), dtype=np.uint8)


@BACKENDS
def test_probabilities_use_the_temperature_and_logits_do_not(backend):
    small = network(backend)
    raw, plain = small.predict_logits(images()), small.predict_proba(images())
    np.testing.assert_allclose(plain, softmax(raw.astype(np.float64)), rtol=1e-5, atol=1e-30)
    small.calibration_temperature = 40
    np.testing.assert_array_equal(small.predict_logits(images()), raw)
    expected = softmax(raw.astype(np.float64) / 40)
    np.testing.assert_allclose(small.predict_proba(images()), expected, rtol=1e-5)
    assert abs(expected - plain).max() > 0.1
    for row, answer in zip(expected, small.classify(images())):
        assert answer.confidence == pytest.approx(row.max(), rel=1e-5)
        assert small.classes[row.argmax()] == answer.label
    labels = np.array([0, 1, 2, 0, 1, 2])
    assert accuracy(expected, labels) == accuracy(plain, labels)


@BACKENDS
def test_training_does_not_use_it(backend):
    found = []
    for temperature in (1.0, 5.0):
        small = network(backend)
        small.calibration_temperature = temperature
        logits = small.forward(small.scale(images()), training=True)
        small.backward(logits)
        found.append((logits, small.gradient_vector.copy()))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])


@pytest.mark.parametrize("temperature", [0, -1.0, math.inf, math.nan])
def test_only_numbers_above_0_are_accepted(temperature):
    small = network()
    assert small.calibration_temperature == 1.0
    with pytest.raises(ValueError, match="calibration_temperature is .*a finite number above 0"):
        small.calibration_temperature = temperature
    assert small.calibration_temperature == 1.0


def with_temperature(path, change):
    """Write the model file again with a changed description."""
    tensors, metadata = safetensors.read(path)
    description = json.loads(metadata[safetensors.METADATA_KEY])
    description.pop("crc32", None)  # without checksum, like older files
    change(description)
    metadata = {safetensors.METADATA_KEY: json.dumps(description)}
    path.write_bytes(safetensors_numpy.save(tensors, metadata))


def test_the_model_file_stores_it(tmp_path):
    small, path = network(), tmp_path / "model.safetensors"
    small.calibration_temperature = np.float32(2.5)
    tinycnn.save(small, path)
    again = tinycnn.load(path, backend="numpy")
    assert again.calibration_temperature == 2.5
    np.testing.assert_array_equal(again.predict_proba(images()), small.predict_proba(images()))


def test_a_file_without_it_is_not_calibrated(tmp_path):
    small, path = network(), tmp_path / "model.safetensors"
    small.calibration_temperature = 2.5
    tinycnn.save(small, path)
    with_temperature(path, lambda description: description.pop("calibration_temperature"))
    assert tinycnn.load(path, backend="numpy").calibration_temperature == 1.0


@pytest.mark.parametrize("value", [0, -2.5, "2.5", None, [1.0], math.nan, math.inf, 10**400])
def test_a_file_with_a_wrong_one_is_refused(tmp_path, value):
    path = tmp_path / "model.safetensors"
    tinycnn.save(network(), path)
    with_temperature(path, lambda description: description.update(calibration_temperature=value))
    with pytest.raises(safetensors.ModelFileError, match="its description is not usable") as raised:
        tinycnn.load(path, backend="numpy")
    assert str(path) in str(raised.value)


def test_a_checkpoint_restores_it(tmp_path):
    small, optimizer = network(), SGD(0.1, backend="numpy")
    small.calibration_temperature = 1.75
    checkpoint.save_epoch(tmp_path, small, optimizer, {"a": 1}, [{"epoch": 0}], is_best=True)
    again = network()
    checkpoint.load(checkpoint.path_in(tmp_path), again, optimizer, {"a": 1})
    assert again.calibration_temperature == 1.75
    best = tinycnn.load(tmp_path / checkpoint.BEST, backend="numpy")
    assert best.calibration_temperature == 1.75
