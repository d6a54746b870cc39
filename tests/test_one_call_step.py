"""Network.loss_and_gradients: forward, the loss and backward in one call, with the same bits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import ENGINE_NETWORKS, small_batch, small_network

from tinycnn import CrossEntropy, Distillation, RelationDistillation, kernel_backend
from tinycnn.ground.distributions import ROW_SUM_TOLERANCE, first_wrong_row
from tinycnn.kernels import program
from tinycnn.models import microexpnet

EVERY_NETWORK = pytest.mark.parametrize("name", ENGINE_NETWORKS)
BACKENDS = pytest.mark.parametrize("backend", ["numba", "numpy"])

IN_ONE_CALL = {
    "cross_entropy": CrossEntropy(),
    "smoothed": CrossEntropy(label_smoothing=0.1),
    "paper": Distillation(8.0, 0.5),
    "hinton": Distillation(4.0, 0.7, "hinton"),
    "teacher_alone": Distillation(2.0, 1.0),
    "no_teacher": Distillation(3.0, 0.0),
    "smoothed_distillation": Distillation(4.0, 0.7, label_smoothing=0.2),
    "weighted": CrossEntropy(class_weights=(0.5, 2.0, 0.0, 1.5)),
    "weighted_distillation": Distillation(4.0, 0.7, "hinton", class_weights=(0.5, 2.0, 0.0, 1.5)),
}
STEP_BY_STEP = {
    "several_temperatures": Distillation((2.0, 4.0), 0.5),
    "z_scores": Distillation(2.0, 0.5, standardize=True),
    "relations": RelationDistillation(),
    "smoothed_relations": RelationDistillation(label_smoothing=0.1),
    "weighted_relations": RelationDistillation(class_weights=(0.5, 2.0, 0.0, 1.5)),
}


def given_for(network, n_images, seed=1):
    """Labels, distributions and a teacher's logits."""
    rng, n_classes = np.random.default_rng(seed), len(network.classes)
    labels = rng.integers(0, n_classes, n_images)
    votes = rng.dirichlet(np.ones(n_classes), n_images).astype(network.dtype)
    return labels, votes, rng.normal(0, 3, (n_images, n_classes)).astype(network.dtype)


def step_by_step(network, x, loss, targets, teacher):
    """The separate calls that loss_and_gradients replaces."""
    logits = network.forward(x, training=True)
    value, dlogits = loss(logits, targets, teacher, backend=network.backend)
    network.backward(dlogits)
    return value, logits, network.gradient_vector.copy()


def in_one_call(network, x, loss, targets, teacher):
    network.gradient_vector[:] = 7.0  # these values must all be overwritten
    value, logits = network.loss_and_gradients(x, loss, targets, teacher)
    slots = [network.gradients[name].copy() for name in network.gradients]
    return value, logits, slots


def assert_same(network, x, loss, targets, teacher, other=None):
    """Compares one call with separate calls, on two networks that draw the same dropout masks."""
    value, logits, gradients = in_one_call(network, x, loss, targets, teacher)
    other = other or network
    expected, expected_logits, _ = step_by_step(other, x, loss, targets, teacher)
    assert value == pytest.approx(expected, rel=1e-14)
    np.testing.assert_array_equal(logits, expected_logits)
    for name, found in zip(network.gradients, gradients):
        np.testing.assert_array_equal(found, other.gradients[name], err_msg=name)


# ---- the same bits -----------------------------------------------------------------------------


@EVERY_NETWORK
@pytest.mark.parametrize("n_images", [1, 3, 5 * kernel_backend.N_GRADIENT_CHUNKS + 1])
def test_one_call_gives_the_bits_of_forward_loss_and_backward(name, n_images):
    """Every kind of operation, with chunks of one image and of more than table.BLOCK images."""
    network, other = small_network(name, "numba"), small_network(name, "numba")
    x = small_batch(name, n_images)
    labels, votes, teacher = given_for(network, n_images)
    for targets in (labels, votes):
        assert_same(network, x, IN_ONE_CALL["hinton"], targets, teacher, other)


@BACKENDS
@pytest.mark.parametrize("name", IN_ONE_CALL)
def test_every_loss_that_the_kernel_computes(name, backend):
    network, loss = small_network("dense_alone", backend), IN_ONE_CALL[name]
    assert loss.terms is not None
    x = small_batch("dense_alone", 11)
    labels, votes, teacher = given_for(network, 11)
    assert_same(network, x, loss, labels, teacher)
    if not loss.label_smoothing:
        assert_same(network, x, loss, votes, teacher)
        return
    # smoothing is a product and a sum, which the kernel may round only once
    value, logits, gradients = in_one_call(network, x, loss, votes, teacher)
    expected, _, _ = step_by_step(network, x, loss, votes, teacher)
    assert value == pytest.approx(expected, rel=1e-14)
    for name, found in zip(network.gradients, gradients):
        np.testing.assert_allclose(found, network.gradients[name], rtol=1e-12, atol=1e-15)


@BACKENDS
@pytest.mark.parametrize("name", STEP_BY_STEP)
def test_losses_that_the_kernel_does_not_compute(name, backend):
    """Losses without the fused kernel run forward and backward over the whole batch."""
    network, loss = small_network("dense_alone", backend), STEP_BY_STEP[name]
    assert loss.terms is None
    labels, _, teacher = given_for(network, 11)
    assert_same(network, small_batch("dense_alone", 11), loss, labels, teacher)


@pytest.mark.jit("MicroExpNet in Python takes minutes")
@pytest.mark.parametrize("n_threads", [1, 2, 3, 8])
def test_microexpnet_on_any_number_of_threads(n_threads):
    """In float32, where forward uses Winograd; 20 images are chunks of 3 and one of 2."""
    network, one = microexpnet(n_threads=n_threads, seed=3), microexpnet(n_threads=1, seed=3)
    x = np.random.default_rng(0).uniform(0, 255, (20, 84, 84, 1)).astype(np.float32)
    labels, _, teacher = given_for(network, 20)
    loss = IN_ONE_CALL["paper"]
    value, _, _ = in_one_call(network, x, loss, labels, teacher)
    assert value == one.loss_and_gradients(x, loss, labels, teacher)[0]
    assert_same(network, x, loss, labels, teacher, one)


def test_batches_of_other_sizes_in_between():
    """What a larger batch left in the workspaces has no effect."""
    network, loss = small_network("miniature", "numba"), IN_ONE_CALL["hinton"]
    for n_images in (40, 3, 17, 40, 1):
        other = small_network("miniature", "numba")
        other.dropout_generator.bit_generator.state = network.dropout_generator.bit_generator.state
        labels, _, teacher = given_for(network, n_images)
        x = small_batch("miniature", n_images)
        assert_same(network, x, loss, labels, teacher, other)
        step_by_step(network, x, loss, labels, teacher)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64])
def test_dtypes_are_converted(dtype):
    network = small_network("dense_alone", "numba")
    labels, _, teacher = given_for(network, 6)
    x = small_batch("dense_alone", 6)
    loss = IN_ONE_CALL["hinton"]
    assert_same(network, x, loss, labels.astype(dtype), teacher.astype(np.float32))
    assert_same(network, x[::-1], loss, labels[::-1].tolist(), teacher[::-1].tolist())


@BACKENDS
def test_no_images(backend):
    network = small_network("dense_alone", backend)
    labels, _, teacher = given_for(network, 0)
    value, logits, gradients = in_one_call(
        network, small_batch("dense_alone", 0), IN_ONE_CALL["hinton"], labels, teacher
    )
    assert value == 0 and logits.shape == (0, len(network.classes))
    assert not any(gradient.any() for gradient in gradients)


def test_backward_after_one_call_needs_a_new_forward():
    network = small_network("dense_alone", "numba")
    labels, _, teacher = given_for(network, 4)
    network.forward(small_batch("dense_alone", 4), training=True)
    network.loss_and_gradients(
        small_batch("dense_alone", 4), IN_ONE_CALL["hinton"], labels, teacher
    )
    with pytest.raises(RuntimeError, match="needs a forward"):
        network.backward(np.zeros((4, len(network.classes))))


# ---- invalid targets and soft labels -----------------------------------------------------------


def wrong_targets():
    """name: (function that makes row 9 invalid, "labels" or "votes": what the targets are)."""

    def label(value):
        return lambda labels, votes, teacher: labels.__setitem__(9, value), "labels"

    def vote(value):
        return lambda labels, votes, teacher: votes.__setitem__((9, 1), value), "votes"

    def soft(value):
        return lambda labels, votes, teacher: teacher.__setitem__((9, 2), value), "labels"

    return {
        "label_too_large": label(4),
        "label_below_0": label(-1),
        "label_far_below_0": label(np.iinfo(np.int64).min),
        "sum_not_1": vote(0.9),
        "vote_below_0": vote(-0.5),
        "vote_nan": vote(np.nan),
        "vote_inf": vote(np.inf),
        "teacher_nan": soft(np.nan),
        "teacher_inf": soft(np.inf),
        "teacher_minus_inf": soft(-np.inf),
    }


@BACKENDS
@pytest.mark.parametrize("name", wrong_targets())
@pytest.mark.parametrize("loss", ["hinton", "smoothed_distillation"])
def test_the_error_names_the_row_and_the_gradients_do_not_change(name, loss, backend):
    network, loss = small_network("dense_alone", backend), IN_ONE_CALL[loss]
    labels, votes, teacher = given_for(network, 20)
    spoil, which = wrong_targets()[name]
    spoil(labels, votes, teacher)
    targets = labels if which == "labels" else votes
    x = small_batch("dense_alone", 20)
    with pytest.raises(ValueError) as expected:
        loss(network.forward(x), targets, teacher, backend=backend)
    assert "[9]" in str(expected.value)
    network.gradient_vector[:] = 7.0
    with pytest.raises(ValueError) as found:
        network.loss_and_gradients(x, loss, targets, teacher)
    assert str(found.value) == str(expected.value)
    np.testing.assert_array_equal(network.gradient_vector, 7.0)


def test_a_sum_accepted_only_in_float64_is_accepted():
    """Votes are used in float32.  At the edge of the tolerance, a sum may be accepted in float64
    and not in float32.  The check of the loss, on the votes as given, decides, and dropout masks
    are drawn once."""
    votes = np.full((6, 4), 0.25)
    votes[2] -= [ROW_SUM_TOLERANCE * (1 - 1e-12), 0, 0, 0]
    assert first_wrong_row(votes) is None and first_wrong_row(votes.astype(np.float32))[0] == 2
    network, other = (small_network("miniature", "numba", np.float32) for _ in range(2))
    x = small_batch("miniature", 6).astype(np.float32)
    assert_same(network, x, CrossEntropy(), votes, None, other)
    states = [n.dropout_generator.bit_generator.state for n in (network, other)]
    assert states[0] == states[1]


@BACKENDS
@pytest.mark.parametrize(
    "spoil",
    [
        lambda labels, teacher: (labels[:-1], teacher),
        lambda labels, teacher: (labels, teacher[:, :-1]),
        lambda labels, teacher: (labels, None),
        lambda labels, teacher: (labels, teacher.astype(int)),
        lambda labels, teacher: (labels.astype(float), teacher),
        lambda labels, teacher: (labels > 1, teacher),
    ],
)
def test_wrong_shapes_and_dtypes_raise_the_errors_of_the_loss(spoil, backend):
    network, loss = small_network("dense_alone", backend), IN_ONE_CALL["hinton"]
    labels, _, teacher = given_for(network, 6)
    targets, soft_labels = spoil(labels, teacher)
    x = small_batch("dense_alone", 6)
    with pytest.raises((TypeError, ValueError)) as expected:
        loss(network.forward(x), targets, soft_labels, backend=backend)
    with pytest.raises(type(expected.value)) as found:
        network.loss_and_gradients(x, loss, targets, soft_labels)
    assert str(found.value) == str(expected.value)


@BACKENDS
@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_loss_that_is_not_finite_does_not_change_the_gradients(backend, n_threads):
    network = small_network("dense_alone", backend, n_threads=n_threads)
    labels, _, teacher = given_for(network, 20)
    x = small_batch("dense_alone", 20)
    x[13] = np.inf
    network.gradient_vector[:] = 7.0
    with np.errstate(invalid="ignore"):
        value, logits = network.loss_and_gradients(x, IN_ONE_CALL["hinton"], labels, teacher)
    assert not np.isfinite(value) and not np.isfinite(logits[13]).all()
    assert np.isfinite(np.delete(logits, 13, axis=0)).all()
    np.testing.assert_array_equal(network.gradient_vector, 7.0)


def test_pictures_are_checked():
    network = small_network("dense_alone", "numba")
    labels, _, teacher = given_for(network, 6)
    with pytest.raises(ValueError, match="x has shape"):
        network.loss_and_gradients(np.zeros((6, 2, 2, 2)), IN_ONE_CALL["hinton"], labels, teacher)


# ---- its kernels -------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    n=st.integers(1, 7),
    k=st.integers(1, 9),
    smoothing=st.floats(0, 0.99),
    first=st.integers(0, 3),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 2**32),
)
def test_target_distributions_equal_those_of_the_losses(n, k, smoothing, first, dtype, seed):
    rng, rows = np.random.default_rng(seed), np.empty((n, k), dtype)
    labels = rng.integers(0, k, first + n)
    votes = rng.dirichlet(np.ones(k), first + n).astype(dtype)
    for targets in (labels, votes):
        inputs = CrossEntropy().check(targets, None, (first + n, k), np.dtype(dtype))
        expected = inputs.smoothed(smoothing).distributions()
        program.target_distributions(inputs.labels, inputs.targets, smoothing, first, rows)
        np.testing.assert_allclose(rows, expected[first:], rtol=4 * np.finfo(dtype).eps)
