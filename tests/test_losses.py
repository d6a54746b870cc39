"""The losses as a user calls them: what they accept, refuse and return."""

import math
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinycnn.distillation import DecoupledDistillation, Distillation, RelationDistillation
from tinycnn.losses import (
    CrossEntropy,
    Loss,
    balanced_class_weights,
    check_temperature,
    log_softmax,
    softmax,
)

BACKENDS = pytest.mark.parametrize("backend", ["numba", "numpy"])
EIGHT = 8


def softmax_by_definition(logits, temperature=1.0):
    """Naive softmax; logits must be small enough that exp does not overflow."""
    exponentials = [[math.exp(float(z) / temperature) for z in row] for row in logits]
    return np.array([[e / math.fsum(row) for e in row] for row in exponentials])


def cross_entropy_by_definition(targets, probs):
    rows = [
        -math.fsum(float(y) * math.log(p) for y, p in zip(target, row))
        for target, row in zip(targets, probs)
    ]
    return math.fsum(rows) / len(rows)


@pytest.fixture
def batch():
    rng = np.random.default_rng(7)
    logits, teacher = 2 * rng.standard_normal((2, 5, EIGHT))
    return logits, rng.dirichlet(np.ones(EIGHT), 5), rng.integers(0, EIGHT, 5), teacher


# ---- values ------------------------------------------------------------------------------------


@BACKENDS
def test_cross_entropy_is_the_mean_over_the_batch(batch, backend):
    logits, targets, labels, _ = batch
    probs = softmax_by_definition(logits)
    loss, dlogits = CrossEntropy()(logits, targets, backend=backend)
    assert loss == pytest.approx(cross_entropy_by_definition(targets, probs), rel=1e-11)
    np.testing.assert_allclose(dlogits, (probs - targets) / 5, atol=1e-13)
    loss, dlogits = CrossEntropy()(logits, labels, backend=backend)
    one_hot = np.eye(EIGHT)[labels]
    assert loss == pytest.approx(cross_entropy_by_definition(one_hot, probs), rel=1e-11)
    np.testing.assert_allclose(dlogits, (probs - one_hot) / 5, atol=1e-13)
    assert type(loss) is float and dlogits.dtype == np.float64


@BACKENDS
def test_distillation_of_the_paper_and_of_hinton(batch, backend):
    logits, targets, labels, teacher = batch
    hard = cross_entropy_by_definition(targets, softmax_by_definition(logits))
    soft_targets = softmax_by_definition(teacher, 4)
    soft = cross_entropy_by_definition(soft_targets, softmax_by_definition(logits, 4))
    paper, dpaper = Distillation(4, 0.25)(logits, targets, teacher, backend=backend)
    hinton, dhinton = Distillation(4, 0.25, "hinton")(logits, targets, teacher, backend=backend)
    assert paper == pytest.approx(0.75 * hard + 0.25 * soft, rel=1e-11)
    assert hinton == pytest.approx(0.75 * hard + 0.25 * 16 * soft, rel=1e-11)
    dhard = (softmax_by_definition(logits) - targets) / 5
    dsoft = (softmax_by_definition(logits, 4) - soft_targets) / (4 * 5)
    np.testing.assert_allclose(dpaper, 0.75 * dhard + 0.25 * dsoft, atol=1e-13)
    np.testing.assert_allclose(dhinton, 0.75 * dhard + 0.25 * 16 * dsoft, atol=1e-13)


def test_the_scale_is_named():
    assert Distillation().scale == "paper"
    assert Distillation(8.0, scale="paper").soft_scale(8.0) == 1.0
    assert Distillation(8.0, scale="hinton").soft_scale(8.0) == 64.0
    assert Distillation.needs_soft_labels and not CrossEntropy.needs_soft_labels


@BACKENDS
@pytest.mark.parametrize("loss", [CrossEntropy(), Distillation(2.0)], ids=["ce", "distillation"])
def test_class_indices_equal_one_hot_distributions(batch, backend, loss):
    logits, _, labels, teacher = batch
    one_hot = np.eye(EIGHT)[labels]
    expected_loss, expected = loss(logits, one_hot, teacher, backend=backend)
    for integer in (np.int64, np.int32, np.uint8):
        got, dlogits = loss(logits, labels.astype(integer), teacher, backend=backend)
        assert got == pytest.approx(expected_loss, rel=1e-14)
        np.testing.assert_allclose(dlogits, expected, atol=1e-16)


@BACKENDS
def test_label_smoothing(batch, backend):
    """Linear interpolation between the one-hot target and the uniform distribution."""
    logits, _, labels, _ = batch
    sharp = CrossEntropy()(logits, labels, backend=backend)
    uniform = CrossEntropy()(logits, np.full((5, EIGHT), 1 / EIGHT), backend=backend)
    smooth = CrossEntropy(label_smoothing=0.1)(logits, labels, backend=backend)
    assert smooth[0] == pytest.approx(0.9 * sharp[0] + 0.1 * uniform[0], rel=1e-12)
    np.testing.assert_allclose(smooth[1], 0.9 * sharp[1] + 0.1 * uniform[1], atol=1e-15)
    flat = CrossEntropy(label_smoothing=1)(logits, labels, backend=backend)
    assert flat[0] == pytest.approx(uniform[0], rel=1e-12)


@BACKENDS
def test_softmax_and_log_softmax(batch, backend):
    logits = batch[0]
    for temperature in (1.0, 0.5, 8):
        expected = softmax_by_definition(logits, temperature)
        probs = softmax(logits, temperature, backend=backend)
        np.testing.assert_allclose(probs, expected, rtol=1e-13)
        log_probs = log_softmax(logits, temperature, backend=backend)
        np.testing.assert_allclose(log_probs, np.log(expected), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(softmax(logits), softmax_by_definition(logits), rtol=1e-13)
    np.testing.assert_allclose(
        log_softmax(logits), np.log(softmax_by_definition(logits)), rtol=1e-12, atol=1e-14
    )
    far = np.array([[0.0, -1e4]])
    np.testing.assert_array_equal(softmax(far, backend=backend), [[1, 0]])
    np.testing.assert_array_equal(log_softmax(far, backend=backend), [[0, -1e4]])
    with pytest.raises(ValueError, match="temperature=0"):
        softmax(logits, 0, backend=backend)


# ---- dtypes, layouts, extremes -----------------------------------------------------------------


@BACKENDS
@given(
    n=st.sampled_from([0, 1, 2, 3, 7, 13]),
    k=st.integers(2, 17),
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_shape_and_dtype_and_inputs_are_not_changed(backend, n, k, seed, dtype):
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((n, k)).astype(dtype)
    labels = rng.integers(0, k, n)
    targets = rng.dirichlet(np.ones(k), n).astype(np.float32)
    teacher = rng.standard_normal((n, k)).astype(np.float32)
    before = [a.copy() for a in (logits, labels, targets, teacher)]
    for loss in (CrossEntropy(), CrossEntropy(0.2), Distillation()):
        for target in (labels, targets):
            value, dlogits = loss(logits, target, teacher, backend=backend)
            assert dlogits.shape == (n, k) and dlogits.dtype == dtype
            assert np.isfinite(dlogits).all() and 0 <= value < math.inf
            assert n or value == 0.0
    for now, then in zip((logits, labels, targets, teacher), before):
        np.testing.assert_array_equal(now, then)


@BACKENDS
def test_read_only_and_strided_inputs(batch, backend):
    logits, targets, labels, teacher = batch
    expected = Distillation()(logits, targets, teacher, backend=backend)
    hard = CrossEntropy()(logits, labels, backend=backend)
    for array in batch:
        array.setflags(write=False)
    for layout in (lambda a: a, np.asfortranarray, lambda a: np.repeat(a, 2, axis=0)[::2]):
        got = Distillation()(layout(logits), layout(targets), layout(teacher), backend=backend)
        assert got[0] == expected[0]
        np.testing.assert_array_equal(got[1], expected[1])
        got = CrossEntropy()(layout(logits), layout(labels), backend=backend)
        assert got[0] == hard[0]
        np.testing.assert_array_equal(got[1], hard[1])


@BACKENDS
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_logits_stay_finite(backend, dtype):
    logits = np.array([[1e4, -1e4, 0.0]], dtype)
    for loss in (CrossEntropy(), Distillation(0.5, 0.5, "hinton"), CrossEntropy(0.1)):
        value, dlogits = loss(logits, np.array([1]), -logits, backend=backend)
        assert 1e4 < value < 1e5 and np.isfinite(dlogits).all()


@BACKENDS
def test_nan_logits_make_the_loss_nan(batch, backend):
    logits, targets, labels, teacher = batch
    logits[3, 2] = np.nan
    for target in (targets, labels):
        assert math.isnan(CrossEntropy()(logits, target, backend=backend)[0])
        assert math.isnan(Distillation()(logits, target, teacher, backend=backend)[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("given", [np.float16, np.float32, np.float64])
def test_targets_and_soft_labels_get_the_dtype_of_the_logits(dtype, given):
    rows, loss = np.full((2, 4), 0.25, given), Distillation()
    inputs = loss.check(rows, rows, (2, 4), np.dtype(dtype))
    for checked in (inputs.targets, inputs.soft_labels):
        assert checked.dtype == dtype and checked.tolist() == rows.tolist()
    inputs = loss.check(np.array([3, 0], np.uint8), rows, (2, 4), np.dtype(dtype))
    assert inputs.labels.dtype == np.int64
    smoothed = inputs.smoothed(0.5).targets
    assert smoothed.dtype == dtype
    assert smoothed.tolist() == [[0.125, 0.125, 0.125, 0.625], [0.625, 0.125, 0.125, 0.125]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_not_given_is_empty_and_of_the_dtype_of_what_is(dtype):
    """So the kernels are compiled for the same types whatever is given."""
    rows, plain = np.full((2, 4), 0.25, dtype), CrossEntropy()
    inputs = plain.check(rows, None, (2, 4), np.dtype(dtype))
    assert inputs.labels.shape == (0,) and inputs.labels.dtype == np.int64
    assert inputs.soft_labels.shape == (0, 4) and inputs.soft_labels.dtype == dtype
    assert inputs.sample_weights.shape == (0,) and inputs.sample_weights.dtype == dtype
    inputs = plain.check(np.array([3, 0]), None, (2, 4), np.dtype(dtype))
    assert inputs.targets.shape == (0, 4) and inputs.targets.dtype == dtype
    assert inputs.sample_weights.shape == (0,) and inputs.sample_weights.dtype == dtype


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sample_weights_have_the_dtype_of_the_logits(dtype):
    loss = CrossEntropy(class_weights=(0.5, 3.0))
    rows = np.array([[0.25, 0.75], [1, 0], [0, 1]], dtype)
    for targets, expected in ((rows, [2.375, 0.5, 3.0]), (np.array([1, 0, 1]), [3.0, 0.5, 3.0])):
        weights = loss.check(targets, None, (3, 2), np.dtype(dtype)).sample_weights
        assert weights.dtype == dtype and weights.tolist() == expected


@BACKENDS
@pytest.mark.parametrize("loss", [CrossEntropy(), Distillation()], ids=["ce", "distillation"])
def test_with_one_class_the_loss_is_zero(loss, backend):
    one = np.array([[3.0], [-2.0]])
    value, dlogits = loss(one, np.array([0, 0]), -one, backend=backend)
    assert value == 0.0 and dlogits.tolist() == [[0.0], [0.0]]


# ---- refusals ----------------------------------------------------------------------------------


def refuses(kind, expected, loss, *arguments, **keywords):
    """`expected`: a part of the message that begins and ends at word boundaries."""
    with pytest.raises(kind, match=rf"(?<!\w){re.escape(expected)}(?!\w)"):
        loss(*arguments, **keywords)


@pytest.mark.parametrize("loss", [CrossEntropy(), Distillation()], ids=["ce", "distillation"])
def test_bad_arguments_are_named(batch, loss):
    logits, targets, labels, teacher = batch
    refuses(TypeError, "logits have dtype int64", loss, labels[:, None], labels, teacher)
    refuses(TypeError, "expected float32 or float64", loss, logits.astype("f2"), labels, teacher)
    refuses(ValueError, "logits have shape (8,)", loss, logits[0], labels, teacher)
    refuses(ValueError, "a class or more", loss, np.empty((5, 0)), labels, teacher)
    refuses(ValueError, "expected (5,) class indices", loss, logits, labels[:4], teacher)
    refuses(ValueError, "expected (5, 8) distributions", loss, logits, targets[:, :7], teacher)
    refuses(ValueError, "expected (5, 8) distributions", loss, logits, targets[:, 0], teacher)
    message = (
        "targets have dtype bool: expected integers (class indices) or floating point "
        "(distributions)"
    )
    refuses(TypeError, message, loss, logits, labels > 2, teacher)
    refuses(ValueError, "backend is 'torch'", loss, logits, labels, teacher, backend="torch")
    for wrong in (-1, 8):
        labels[:3] = (0, 1, wrong)
        message = f"targets[2] is {wrong}: expected a class from 0 to 7"
        refuses(ValueError, message, loss, logits, labels, teacher)


@pytest.mark.parametrize("loss", [CrossEntropy(), Distillation()], ids=["ce", "distillation"])
@pytest.mark.parametrize(
    "row",
    [
        [0.5, 0.498, 0],
        [0.5, 0.502, 0],
        [1.5, -0.5, 0],
        [1, np.nan, 0],
        [1, np.inf, 0],
        [np.inf, -np.inf, 0],
        [1e308, 1e308, 0],
        [0, 0, 0],
    ],
)
def test_rows_that_are_not_distributions_are_refused(loss, row):
    targets = np.array([[1.0, 0, 0], row])
    refuses(ValueError, "targets[1] is", loss, np.zeros((2, 3)), targets, np.zeros((2, 3)))


def test_float16_rows_are_added_in_float64():
    """1/2 + (1/2 - 5/4096) is 0.998779, too low; in float16 it would round to an accepted sum."""
    row = np.array([[0.5, 0.5 - 5 / 4096]], np.float16)
    refuses(ValueError, "(sum 0.998779): expected", CrossEntropy(), np.zeros((1, 2)), row)


def test_rows_within_the_tolerance_are_accepted():
    """Sums of 0.9995 and 1.0005 are accepted and not corrected: at z = 0 the loss is s * log(K)."""
    targets = np.array([[0.9995, 0.0], [0.5005, 0.5]])
    loss, _ = CrossEntropy()(np.zeros((2, 2)), targets)
    assert loss == pytest.approx((0.9995 + 1.0005) / 2 * math.log(2), rel=1e-12)


def test_soft_labels_are_checked(batch):
    logits, targets, _, teacher = batch
    loss = Distillation()
    message = "soft_labels are missing: distillation needs the teacher's logits, (images, classes)"
    refuses(ValueError, message, loss, logits, targets)
    refuses(ValueError, "expected (5, 8) like the logits", loss, logits, targets, teacher[:4])
    refuses(TypeError, "soft_labels have dtype int64", loss, logits, targets, teacher.astype(int))
    refuses(ValueError, "soft_labels[0] is", loss, logits.astype("f4"), targets, teacher * 1e300)
    teacher[1, 1] = -np.inf
    message = (
        f"soft_labels[1] is {teacher[1].tolist()}: expected finite logits or log-probabilities "
        "(replace probabilities of 0 by a small number before the logarithm)"
    )
    refuses(ValueError, message, loss, logits, targets, teacher)


@pytest.mark.parametrize(
    "options, expected",
    [
        (dict(temperature=0.0), "temperature=0.0: expected a finite number above 0"),
        (dict(temperature=-1.0), "temperature=-1.0"),
        (dict(temperature=math.nan), "temperature=nan"),
        (dict(temperature=math.inf), "temperature=inf"),
        (dict(soft_weight=-0.1), "soft_weight=-0.1: expected 0 to 1"),
        (dict(soft_weight=1.5), "soft_weight=1.5"),
        (dict(soft_weight=math.nan), "soft_weight=nan"),
        (dict(scale="square"), "scale='square': expected 'paper'"),
    ],
)
def test_options_out_of_range(options, expected):
    with pytest.raises(ValueError, match=re.escape(expected)):
        Distillation(**options)


@pytest.mark.parametrize("name", ["logits", "targets", "soft_labels"])
def test_arrays_with_masked_values_are_named(batch, name):
    logits, targets, labels, teacher = batch
    for truth in (targets, labels):
        arrays = dict(logits=logits, targets=truth, soft_labels=teacher)
        arrays[name] = np.ma.masked_array(arrays[name], np.arange(arrays[name].size) == 3)
        with pytest.raises(TypeError, match=f"^{name} has masked values, and every value would"):
            Distillation()(**arrays)


@pytest.mark.parametrize(
    "bad", [0, -1.0, math.nan, math.inf, -math.inf, 10**400, "4", "warm", None, [2.0], 1j]
)
def test_what_is_no_temperature_is_named(bad):
    expected = re.escape(": expected a finite number above 0")
    with pytest.raises(ValueError, match=rf"^temperature=.*{expected}$"):
        check_temperature(bad)
    with pytest.raises(ValueError, match=rf"^temperature=.*{expected}, at most 50$"):
        check_temperature(bad, 50)


def test_a_temperature_is_returned_as_a_float():
    for number, expected in ((4, 4.0), (np.float32(0.5), 0.5), (1e300, 1e300), (1e-300, 1e-300)):
        temperature = check_temperature(number)
        assert type(temperature) is float and temperature == expected
    assert check_temperature(50, 50) == check_temperature(50.0, 50) == 50.0
    with pytest.raises(ValueError, match="^temperature=50.5: expected .*, at most 50$"):
        check_temperature(50.5, 50)


def test_class_weights_that_do_not_fit_are_named():
    loss = CrossEntropy(class_weights=(1, 2, 3))
    message = "^class_weights has 3 weights: expected 2, one for each class$"
    for targets in (np.array([0, 1]), np.array([[1.0, 0], [0, 1]])):
        with pytest.raises(ValueError, match=message):
            loss(np.zeros((2, 2)), targets)


def test_class_weights_of_a_mapping_must_be_of_all_classes():
    assert CrossEntropy(class_weights={2: 3, 0: 0, 1: 0.5}).class_weights == (0.0, 0.5, 3.0)
    message = "class_weights has the keys [0, 2]: expected the indices of all classes, from 0 on"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        CrossEntropy(class_weights={2: 1, 0: 1})


@pytest.mark.parametrize("wrong", [-0.5, math.nan, math.inf])
def test_class_weights_out_of_range(wrong):
    message = f"class_weights=(1.0, {wrong}): expected finite numbers of 0 or more"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        CrossEntropy(class_weights=[1, wrong])


def test_balanced_weights_count_labels_exactly():
    """Of 6 images, 3 are of class 0, 1 of class 1, 2 of class 3; none is of classes 2 and 4."""
    weights = balanced_class_weights(np.array([0, 3, 0, 1, 3, 0], np.uint8), 5)
    assert weights == (6 / (3 * 3), 6 / (3 * 1), 1.0, 6 / (3 * 2), 1.0)
    assert {type(weight) for weight in weights} == {float}


def test_balanced_weights_add_the_shares_in_float64():
    """In float16, sums of 1/2 stop growing at 1024; in float64 each class has 2000 of 4000."""
    halves = np.full((4000, 2), 0.5, np.float16)
    assert balanced_class_weights(halves, 2) == (1.0, 1.0)


def test_balanced_weights_refuse_masked_values():
    masked = np.ma.masked_array([0, 1, 1], mask=[False, True, False])
    with pytest.raises(TypeError, match="^targets has masked values, and every value would"):
        balanced_class_weights(masked, 2)


def test_a_loss_that_cannot_be_called_is_refused_where_it_is_defined():
    message = (
        "Plain.value_and_gradient(self, logits, inputs): expected the arguments (self, logits, "
        "inputs, backend); a loss in plain NumPy may ignore backend"
    )
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):

        class Plain(Loss):
            def value_and_gradient(self, logits, inputs):
                return 0.0, np.zeros_like(logits)


def test_a_loss_of_the_users_own():
    """Any names of the four arguments will do.  The loss must be a number."""

    class Sum(Loss):
        def value_and_gradient(self, z, given, _, *rest):
            return self.value, np.ones_like(z)

    loss = Sum()
    for value in (2, np.float32(2), np.array([2.0])):
        loss.value = value
        found, dlogits = loss(np.zeros((1, 2)), np.array([0]))
        assert type(found) is float and found == 2.0 and dlogits.tolist() == [[1, 1]]
    loss.value = "2"
    with pytest.raises(TypeError, match="^the loss of Sum is '2'; expected a number$"):
        loss(np.zeros((1, 2)), np.array([0]))


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, math.nan])
def test_smoothing_out_of_range(smoothing):
    with pytest.raises(ValueError, match="label_smoothing"):
        CrossEntropy(smoothing)


def test_importing_the_training_modules_imports_no_numba():
    modules = "losses optim schedules init metrics".split()
    code = (
        f"import sys\nfrom tinycnn import {', '.join(modules)}\nimport numpy as np\n"
        "losses.CrossEntropy()(np.zeros((1, 2)), np.array([0]), backend='numpy')\n"
        "optim.Adam(backend='numpy').step(np.zeros(1), np.zeros(1))\n"
        "assert 'numba' not in sys.modules and 'scipy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# ---- smoothed targets --------------------------------------------------------------------------

LOSSES = [CrossEntropy(), Distillation(4.0, 0.7, "hinton"), DecoupledDistillation(3.0)]
LOSSES += [RelationDistillation(), Distillation((2.0, 5.0), 0.5, standardize=True)]


@BACKENDS
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_the_loss_gets_the_smoothed_targets(batch, loss, backend):
    logits, targets, labels, teacher = batch
    smoothed = replace(loss, label_smoothing=0.2)
    for truth, rows in ((targets, targets), (labels, np.eye(EIGHT)[labels])):
        expected_targets = [[0.8 * float(y) + 0.2 / EIGHT for y in row] for row in rows]
        expected = loss(logits, np.array(expected_targets), teacher, backend=backend)
        found = smoothed(logits, truth, teacher, backend=backend)
        assert found[0] == pytest.approx(expected[0], rel=1e-12)
        np.testing.assert_allclose(found[1], expected[1], atol=1e-14)
    assert smoothed.needs_soft_labels == loss.needs_soft_labels
    refuses(ValueError, "backend is 'torch'", smoothed, logits, labels, teacher, backend="torch")


def test_smoothing_by_zero_changes_nothing(batch):
    logits, targets, _, _ = batch
    value, dlogits = CrossEntropy(label_smoothing=0.0)(logits, targets)
    expected, dexpected = CrossEntropy()(logits, targets)
    assert value == expected
    np.testing.assert_array_equal(dlogits, dexpected)


@BACKENDS
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_gradient_with_smoothed_targets(batch, loss, backend):
    logits, _, labels, teacher = batch
    smoothed = replace(loss, label_smoothing=0.3)
    _, analytic = smoothed(logits, labels, teacher, backend=backend)
    numeric, step = np.zeros_like(logits), 1e-5
    for index in np.ndindex(logits.shape):
        up, down = logits.copy(), logits.copy()
        up[index] += step
        down[index] -= step
        values = [smoothed(z, labels, teacher, backend=backend)[0] for z in (up, down)]
        numeric[index] = (values[0] - values[1]) / (2 * step)
    error = np.linalg.norm(analytic - numeric) / np.linalg.norm(numeric)
    assert error < 1e-7


def test_smoothing_stays_from_epoch_to_epoch():
    loss = DecoupledDistillation(n_warmup_epochs=4, label_smoothing=0.1)
    assert loss.at_epoch(0).ramp == 0.25 and loss.at_epoch(9).ramp == 1
    assert loss.at_epoch(0).label_smoothing == 0.1
    plain = CrossEntropy(label_smoothing=0.1)
    assert plain.at_epoch(3) == plain


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, math.nan])
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_smoothed_targets_out_of_range(loss, smoothing):
    with pytest.raises(ValueError, match="label_smoothing="):
        replace(loss, label_smoothing=smoothing)
