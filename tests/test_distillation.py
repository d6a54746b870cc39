"""Distillation losses beyond Hinton's: decoupled, relational, z-scores, several temperatures.

Values are compared with the definitions in plain Python (math.fsum over probabilities), gradients
with central differences in float64, kernels with the reference.
"""

import importlib
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinycnn import reference
from tinycnn.distillation import DecoupledDistillation, Distillation, RelationDistillation
from tinycnn.losses import CrossEntropy

BACKENDS = pytest.mark.parametrize("backend", ["numba", "numpy"])
LOSSES = {
    "several temperatures": Distillation((1.0, 3.0, 6.0), 0.6, "hinton"),
    "standardized": Distillation(2.0, 0.9, "hinton", standardize=True),
    "decoupled": DecoupledDistillation(3.0, 0.7, 2.5),
    "decoupled, standardized": DecoupledDistillation(2.0, 1.0, 4.0, 0.5, standardize=True),
    "warming up": DecoupledDistillation(3.0, 1.0, 2.0, n_warmup_epochs=4).at_epoch(1),
    "relational": RelationDistillation(2.0, 1.5, 0.5),
    "relational, soft alone": RelationDistillation(1.0, 0.0, 2.0, hard_weight=0.0),
}
EACH_LOSS = pytest.mark.parametrize("name", LOSSES)


def operations(backend, module):
    return reference if backend == "numpy" else importlib.import_module(f"tinycnn.kernels.{module}")


def batch(seed, n, k, size=1.5):
    rng = np.random.default_rng(seed)
    logits, teacher = size * rng.standard_normal((2, n, k))
    return logits, rng.dirichlet(np.ones(k), n), rng.integers(0, k, n), teacher


def softmax(row, temperature=1.0):
    exponentials = [math.exp(float(z) / temperature) for z in row]
    return [e / math.fsum(exponentials) for e in exponentials]


def divergence(q, p):
    return math.fsum(b * math.log(b / a) for a, b in zip(p, q))


def correlation(a, b):
    return float(np.corrcoef(a, b)[0, 1])


def run(function, logits, *arguments):
    loss, dlogits = np.full(len(logits), np.nan), np.full(logits.shape, np.nan)
    function(logits, *arguments, loss, dlogits)
    return loss, dlogits


# ---- values ------------------------------------------------------------------------------------


@BACKENDS
@pytest.mark.parametrize("n, k", [(1, 2), (3, 3), (5, 8), (4, 13)])
def test_decoupled_against_the_definition(backend, n, k):
    logits, _, labels, teacher = batch(1, n, k)
    kernel = operations(backend, "decoupled_distillation").decoupled_distillation
    loss, _ = run(kernel, logits, labels, teacher, 2.0, 0.7, 3.0, 4.0)
    for row in range(n):
        c = labels[row]
        p, q = softmax(logits[row], 2.0), softmax(teacher[row], 2.0)
        others_p = [x / (1 - p[c]) for j, x in enumerate(p) if j != c]
        others_q = [x / (1 - q[c]) for j, x in enumerate(q) if j != c]
        target = divergence([q[c], 1 - q[c]], [p[c], 1 - p[c]])
        expected = 4.0 * (0.7 * target + 3.0 * divergence(others_q, others_p))
        assert loss[row] == pytest.approx(expected, rel=1e-11, abs=1e-13)


@BACKENDS
def test_decoupled_soft_terms_are_scaled_by_the_square_of_the_temperature(backend):
    """With two classes the second term is 0, so 3 * 3 * 0.7 * KL(q || p) is left."""
    logits, _, labels, teacher = batch(12, 4, 2)
    loss = DecoupledDistillation(3.0, 0.7, 0.7, hard_weight=0.0)
    value, _ = loss(logits, labels, teacher, backend=backend)
    pairs = [(softmax(v, 3.0), softmax(z, 3.0)) for v, z in zip(teacher, logits)]
    assert value == pytest.approx(9 * 0.7 * math.fsum(divergence(*p) for p in pairs) / 4, rel=1e-11)


@BACKENDS
def test_decoupled_terms_add_up_to_the_divergence(backend):
    """Equation (1): with beta = 1 - q_c the terms add up to KL(q || p), and so do the gradients."""
    kernel = operations(backend, "decoupled_distillation").decoupled_distillation
    logits, _, labels, teacher = batch(2, 1, 7)
    p, q = softmax(logits[0], 3.0), softmax(teacher[0], 3.0)
    loss, dlogits = run(kernel, logits, labels, teacher, 3.0, 1.0, 1 - q[labels[0]], 1.0)
    assert loss[0] == pytest.approx(divergence(q, p), rel=1e-12)
    np.testing.assert_allclose(dlogits[0], (np.array(p) - q) / 3.0, rtol=1e-11)


@BACKENDS
@pytest.mark.parametrize("n, k", [(2, 3), (5, 8), (7, 2)])
def test_relations_against_the_definition(backend, n, k):
    logits, _, labels, teacher = batch(3, n, k)
    loss = RelationDistillation(3.0, 1.5, 0.5, hard_weight=0.0)
    value, _ = loss(logits, labels, teacher, backend=backend)
    p = np.array([softmax(row, 3.0) for row in logits])
    q = np.array([softmax(row, 3.0) for row in teacher])
    rows = math.fsum(1 - correlation(a, b) for a, b in zip(p, q)) / n
    columns = math.fsum(1 - correlation(a, b) for a, b in zip(p.T, q.T)) / k
    assert value == pytest.approx(9 * (1.5 * rows + 0.5 * columns), rel=1e-6)


@BACKENDS
def test_relations_couple_the_samples_of_a_batch(backend):
    logits, _, labels, teacher = batch(4, 6, 5)
    loss = RelationDistillation(1.0, 0.0, 1.0, hard_weight=0.0)
    _, before = loss(logits, labels, teacher, backend=backend)
    moved = logits.copy()
    moved[5] += [3, 0, 0, 0, -3]
    _, after = loss(moved, labels, teacher, backend=backend)
    assert np.abs(after[0] - before[0]).max() > 1e-4
    within = RelationDistillation(1.0, 1.0, 0.0, hard_weight=0.0)
    rows = [within(z, labels, teacher, backend=backend)[1][0] for z in (logits, moved)]
    np.testing.assert_array_equal(*rows)


@BACKENDS
def test_standardizing_removes_shift_and_scale(backend):
    logits, _, labels, teacher = batch(5, 4, 7)
    loss = Distillation(2.0, 1.0, "hinton", standardize=True)
    value, dlogits = loss(logits, labels, teacher, backend=backend)
    other, dother = loss(5 * logits - 3, labels, 0.1 * teacher + 7, backend=backend)
    assert other == pytest.approx(value, rel=1e-10)
    np.testing.assert_allclose(dother, dlogits / 5, rtol=1e-7, atol=1e-12)
    z = [(row - row.mean()) / row.std() for row in logits]
    v = [(row - row.mean()) / row.std() for row in teacher]
    cross = [
        -math.fsum(b * math.log(a) for a, b in zip(softmax(zr, 2.0), softmax(vr, 2.0)))
        for zr, vr in zip(z, v)
    ]
    assert value == pytest.approx(4 * math.fsum(cross) / 4, rel=1e-10)


@BACKENDS
def test_decoupled_of_z_scores(backend):
    """The same as the loss without them, of rows of mean 0 and deviation 1."""
    logits, _, labels, teacher = batch(5, 4, 7)
    options = dict(temperature=2.0, alpha=0.7, beta=3.0, hard_weight=0.0)
    z, v = ([(row - row.mean()) / row.std() for row in rows] for rows in (logits, teacher))
    expected, _ = DecoupledDistillation(**options)(np.array(z), labels, np.array(v))
    loss = DecoupledDistillation(**options, standardize=True)
    assert loss(logits, labels, teacher, backend=backend)[0] == pytest.approx(expected, rel=1e-10)
    other, _ = loss(5 * logits - 3, labels, 0.1 * teacher + 7, backend=backend)
    assert other == pytest.approx(expected, rel=1e-10)


@BACKENDS
def test_the_authors_deviation_over_k_minus_1_is_another_temperature(backend):
    """Their loss at t is ours at t * sqrt(K / (K-1)): 6.9 % more at K = 8."""
    logits, _, _, teacher = batch(5, 7, 8)
    probs = []
    for x in (logits, teacher):
        z = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, ddof=1, keepdims=True) / 2.0
        probs.append(np.exp(z) / np.exp(z).sum(axis=1, keepdims=True))
    theirs = -(probs[1] * np.log(probs[0])).sum(axis=1).mean()
    factor = math.sqrt(8 / 7)
    assert round(100 * (factor - 1), 1) == 6.9
    loss = Distillation(2.0 * factor, 1.0, standardize=True)
    value, _ = loss(logits, np.zeros(7, int), teacher, backend=backend)
    assert value == pytest.approx(theirs, rel=1e-12)
    for kind in (Distillation, DecoupledDistillation):
        assert "standard deviation" in kind.__doc__
    assert "over K-1" in Distillation.__doc__ and "6.9 %" in Distillation.__doc__


@BACKENDS
def test_several_temperatures_give_the_mean(backend):
    logits, targets, _, teacher = batch(6, 5, 8)
    single = [
        Distillation(t, 0.6, "hinton")(logits, targets, teacher, backend=backend) for t in (2.0, 5)
    ]
    value, dlogits = Distillation((2.0, 5), 0.6, "hinton")(
        logits, targets, teacher, backend=backend
    )
    assert value == pytest.approx((single[0][0] + single[1][0]) / 2, rel=1e-12)
    np.testing.assert_allclose(dlogits, (single[0][1] + single[1][1]) / 2, atol=1e-15)


@BACKENDS
@EACH_LOSS
def test_a_student_equal_to_its_teacher_only_learns_from_the_targets(backend, name):
    logits, targets, _, _ = batch(7, 5, 6)
    loss = LOSSES[name]
    _, dlogits = loss(logits, targets, logits.copy(), backend=backend)
    _, dhard = CrossEntropy()(logits, targets, backend=backend)
    weight = 1 - loss.soft_weight if isinstance(loss, Distillation) else loss.hard_weight
    # EPSILON in the denominator makes the correlation slightly less than 1
    np.testing.assert_allclose(dlogits, weight * dhard, atol=1e-6 if "rel" in name else 1e-12)


def test_warming_up():
    loss = DecoupledDistillation(n_warmup_epochs=4)
    assert [loss.at_epoch(epoch).ramp for epoch in (0, 1, 3, 4, 100)] == [0.25, 0.5, 1, 1, 1]
    assert DecoupledDistillation().at_epoch(0).ramp == 1.0
    logits, targets, _, teacher = batch(8, 5, 6)
    half, full, hard = (
        f(logits, targets, teacher) for f in (loss.at_epoch(1), loss, CrossEntropy())
    )
    np.testing.assert_allclose(2 * half[1] - full[1], hard[1], atol=1e-14)


# ---- gradients ---------------------------------------------------------------------------------


@BACKENDS
@EACH_LOSS
@pytest.mark.parametrize("n, k", [(1, 2), (2, 3), (5, 8), (7, 11)])
def test_gradient(backend, name, n, k):
    logits, targets, _, teacher = batch(11, n, k)

    def loss_of(z):
        return LOSSES[name](z, targets, teacher, backend=backend)

    numeric, step = np.empty_like(logits), 1e-5
    for index in np.ndindex(*logits.shape):
        up, down = logits.copy(), logits.copy()
        up[index] += step
        down[index] -= step
        numeric[index] = (loss_of(up)[0] - loss_of(down)[0]) / (2 * step)
    analytic = loss_of(logits)[1]
    error = np.linalg.norm(analytic - numeric)
    # with two classes or one sample, correlations and z-scores are +-1: gradients are 0
    assert error <= 1e-7 * max(np.linalg.norm(analytic), np.linalg.norm(numeric)) + 1e-9


@BACKENDS
def test_gradient_of_standardizing(backend):
    """Gradient of sum(g * Z) for any g.  A softmax gradient sums to 0: it would hide the mean."""
    module = operations(backend, "standardize_logits")
    logits, _, _, g = batch(13, 3, 5)
    g += 2

    def forward(x):
        z, deviation = np.empty_like(x), np.empty(len(x))
        module.standardize_logits_forward(x, z, deviation)
        return z, deviation

    numeric, step = np.empty_like(logits), 1e-5
    for index in np.ndindex(*logits.shape):
        change = np.zeros_like(logits)
        change[index] = step
        up, down = forward(logits + change)[0], forward(logits - change)[0]
        numeric[index] = (g * (up - down)).sum() / (2 * step)
    analytic = np.empty_like(logits)
    module.standardize_logits_backward(g, *forward(logits), analytic)
    np.testing.assert_allclose(analytic, numeric, rtol=1e-7, atol=1e-8)


# ---- kernels against the reference, dtypes, extremes -------------------------------------------


@EACH_LOSS
@given(
    n=st.sampled_from([1, 2, 3, 7, 13]),
    k=st.sampled_from([2, 3, 5, 8, 17]),
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from([0.01, 1.0, 30.0]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_kernel_against_reference(name, n, k, seed, size, dtype):
    logits, targets, _, teacher = (
        a.astype(dtype) if a.dtype == np.float64 else a for a in batch(seed, n, k, size)
    )
    value, dlogits = LOSSES[name](logits, targets, teacher)
    expected, dexpected = LOSSES[name](logits, targets, teacher, backend="numpy")
    assert value == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert dlogits.dtype == dtype
    # in a nearly constant row, rounding decides the correlation and the z-scores
    steep = 1e-4 if size == 30.0 or "relational" in name else 1e-6
    np.testing.assert_allclose(dlogits, dexpected, rtol=1e-5, atol=steep)


@BACKENDS
@EACH_LOSS
def test_extremes_stay_finite(backend, name):
    """Logits of 1e4, equal logits, a teacher with equal logits, and an empty batch."""
    logits = np.array([[1e4, -1e4, 0], [2, 2, 2], [0, 1, 2]], np.float32)
    teacher = np.array([[-1e4, 1e4, 0], [5, -5, 0], [3, 3, 3]], np.float32)
    value, dlogits = LOSSES[name](logits, np.array([1, 0, 2]), teacher, backend=backend)
    assert math.isfinite(value) and np.isfinite(dlogits).all()
    nothing = np.empty((0, 3), np.float32)
    value, dlogits = LOSSES[name](nothing, np.empty(0, int), nothing, backend=backend)
    assert value == 0.0 and dlogits.shape == (0, 3)


def test_a_confident_teacher_keeps_its_digits():
    """1 - p_c of a class that leads by 60 is 2e-26; computed as a difference it would be 0."""
    kernel = operations("numba", "decoupled_distillation").decoupled_distillation
    logits, teacher = np.array([[60.0, 0, 0]]), np.array([[61.0, 0, 0]])
    loss, _ = run(kernel, logits, np.array([0]), teacher, 1.0, 1.0, 0.0, 1.0)
    p, q = 2 * math.exp(-60), 2 * math.exp(-61)
    assert loss[0] == pytest.approx(p - q + q * math.log(q / p), rel=1e-9, abs=1e-40)


@BACKENDS
@EACH_LOSS
def test_nan_logits_make_the_loss_nan(backend, name):
    logits, targets, _, teacher = batch(9, 5, 6)
    logits[3, 2] = np.nan
    assert math.isnan(LOSSES[name](logits, targets, teacher, backend=backend)[0])


# ---- refusals ----------------------------------------------------------------------------------


@EACH_LOSS
def test_bad_arguments_are_named(name):
    logits, targets, _, teacher = batch(10, 5, 6)
    for kind, expected, arguments in (
        (ValueError, "soft_labels are missing", (logits, targets)),
        (ValueError, "expected (5, 6) like the logits", (logits, targets, teacher[:4])),
        (ValueError, "targets[0] is", (logits, 2 * targets, teacher)),
        (TypeError, "logits have dtype int64", (logits.astype(int), targets, teacher)),
    ):
        with pytest.raises(kind, match=re.escape(expected)):
            LOSSES[name](*arguments)


@pytest.mark.parametrize(
    "make, expected",
    [
        (lambda: Distillation(()), "temperature: expected a number or several, found none"),
        (lambda: Distillation((2.0, -1.0)), "temperature=-1.0"),
        (lambda: DecoupledDistillation(temperature=0.0), "temperature=0.0"),
        (lambda: RelationDistillation(temperature=0.0), "temperature=0.0"),
        (lambda: DecoupledDistillation(beta=-1.0), "beta=-1.0: expected 0 or more"),
        (lambda: DecoupledDistillation(alpha=math.nan), "alpha=nan"),
        (lambda: DecoupledDistillation(n_warmup_epochs=-1), "n_warmup_epochs=-1"),
        (lambda: DecoupledDistillation(ramp=1.5), "ramp=1.5: expected 0 to 1"),
        (lambda: DecoupledDistillation(ramp=-0.5), "ramp=-0.5: expected 0 to 1"),
        (lambda: RelationDistillation(gamma=math.inf), "gamma=inf"),
        (lambda: RelationDistillation(hard_weight=-0.5), "hard_weight=-0.5"),
    ],
)
def test_options_out_of_range(make, expected):
    with pytest.raises(ValueError, match=rf"^{re.escape(expected)}(?!\w)"):
        make()


@pytest.mark.parametrize("kind", [Distillation, DecoupledDistillation, RelationDistillation])
def test_the_highest_temperature_is_1e9(kind):
    assert kind(temperature=1e9).temperature == 1e9
    message = r"^temperature=1000000001.0: expected a finite number above 0, at most 1e\+09$"
    with pytest.raises(ValueError, match=message):
        kind(temperature=1e9 + 1)


def test_temperatures_of_a_list_are_kept_as_a_tuple():
    """JSON returns a list.  As a tuple, equal options make losses that are equal and hashable."""
    loss = Distillation([2.0, 5.0])
    assert loss == Distillation((2.0, 5.0)) and hash(loss) == hash(Distillation((2.0, 5.0)))


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="2 classes or more"):
        DecoupledDistillation()(np.zeros((3, 1)), np.zeros(3, int), np.zeros((3, 1)))
