"""The gradient checker: a wrong gradient fails, the right one passes, the message is right."""

import re

import numpy as np
import pytest
from small_networks import BATCH_NETWORKS, ENGINE_NETWORKS, small_batch, small_network

from tinycnn import CrossEntropy, Distillation, models, reference_backend
from tinycnn.testing import (
    TOLERANCE,
    GradientError,
    check_gradients,
    check_network,
    gradient_error,
    logit_error,
)

MODES = pytest.mark.parametrize("n_directions", [0, 3], ids=["every_entry", "directions"])
BACKENDS = pytest.mark.parametrize("backend", ["numba", "numpy"])
SEED = 20

# ---- a smooth loss whose gradient is known in closed form ------------------------------------


def smooth_problem():
    """loss = sum sin(a) + sum b*b*c / 2 + mean(a) * sum(c): tensors, gradients, loss."""
    rng = np.random.default_rng(3)
    tensors = {
        "a": rng.standard_normal((3, 4)),
        "b": rng.standard_normal((2, 2, 3)),
        "c": 1 + rng.random((2, 2, 3)),
    }
    a, b, c = tensors.values()

    def loss():
        return float(np.sin(a).sum() + (b * b * c).sum() / 2 + a.mean() * c.sum())

    gradients = {
        "a": np.cos(a) + c.sum() / a.size,
        "b": b * c,
        "c": b * b / 2 + a.mean(),
    }
    return loss, tensors, gradients


SMOOTH = ("a", "b", "c")
MESSAGE = re.compile(
    r"gradient of (?P<name>\S+): error (?P<error>\S+) exceeds (?P<tolerance>\S+); worst at index "
    r"\((?P<index>[^)]*)\): analytic (?P<analytic>\S+), numeric (?P<numeric>\S+) "
    r"\(seed (?P<seed>\d+)\)"
)


def parsed(error):
    """The failure message as values."""
    match = MESSAGE.fullmatch(str(error))
    assert match, str(error)
    found = match.groupdict()
    found["index"] = tuple(int(i) for i in found["index"].split(",") if i.strip())
    for name in ("error", "tolerance", "analytic", "numeric"):
        found[name] = float(found[name])
    found["seed"] = int(found["seed"])
    return found


@MODES
def test_the_right_gradient_passes(n_directions):
    errors = check_gradients(*smooth_problem(), n_directions=n_directions, seed=SEED)
    assert list(errors) == ["a", "b", "c"]
    assert all(0 <= error <= TOLERANCE == 1e-7 for error in errors.values())


def flip_sign(gradient):
    return -gradient


def scale_up(gradient):
    return 1.0005 * gradient


def scale_down(gradient):
    return 0.9995 * gradient


def forget(gradient):
    return np.zeros_like(gradient)


def spoil_one(gradient):
    """Changes one entry of average size by a thousandth."""
    wrong = gradient.copy()
    wrong.flat[gradient.size // 2] += 1e-3 * np.sqrt(np.mean(gradient**2))
    return wrong


def lose_one(gradient):
    wrong = gradient.copy()
    wrong.flat[gradient.size // 2] = 0
    return wrong


def swap_two(gradient):
    wrong = gradient.copy()
    wrong.flat[[0, -1]] = wrong.flat[[-1, 0]]
    return wrong


def not_a_number(gradient):
    wrong = gradient.copy()
    wrong.flat[gradient.size // 2] = np.nan
    return wrong


def infinite(gradient):
    wrong = gradient.copy()
    wrong.flat[gradient.size // 2] = np.inf
    return wrong


WRONGS = (flip_sign, scale_up, scale_down, forget, spoil_one, lose_one, swap_two)
WRONG = pytest.mark.parametrize("wrong", WRONGS)
IN_ONE_ENTRY = (spoil_one, lose_one, not_a_number, infinite)


@MODES
@WRONG
@pytest.mark.parametrize("name", SMOOTH)
def test_a_wrong_gradient_fails_and_is_named(n_directions, wrong, name):
    loss, tensors, gradients = smooth_problem()
    right, gradients[name] = gradients[name], wrong(gradients[name])
    with pytest.raises(GradientError) as raised:
        check_gradients(loss, tensors, gradients, n_directions=n_directions, seed=SEED)
    said = parsed(raised.value)
    assert said["name"] == name and said["seed"] == SEED and said["tolerance"] == 1e-7
    assert said["analytic"] == pytest.approx(gradients[name][said["index"]], rel=1e-11, abs=1e-300)
    assert said["numeric"] == pytest.approx(right[said["index"]], rel=1e-8)
    # the entry that the message names is the worst one
    worst = np.abs(gradients[name] - right).max()
    assert abs(said["analytic"] - said["numeric"]) == pytest.approx(worst, rel=1e-6)
    if wrong in IN_ONE_ENTRY:
        assert said["index"] == np.unravel_index(right.size // 2, right.shape)
    if not n_directions:
        assert said["error"] == pytest.approx(gradient_error(gradients[name], right), rel=6e-3)


@MODES
@pytest.mark.parametrize("wrong", [not_a_number, infinite])
@pytest.mark.parametrize("name", SMOOTH)
def test_a_nan_gradient_fails_and_is_named(n_directions, wrong, name):
    loss, tensors, gradients = smooth_problem()
    gradients[name] = wrong(gradients[name])
    with pytest.raises(GradientError, match=f"gradient of {name}.*seed {SEED}") as raised:
        check_gradients(loss, tensors, gradients, n_directions=n_directions, seed=SEED)
    index = tuple(int(i) for i in np.unravel_index(gradients[name].size // 2, tensors[name].shape))
    value = "nan" if wrong is not_a_number else "inf"
    assert f"at index {index} is {value} " in str(raised.value)


@MODES
@pytest.mark.parametrize("name", SMOOTH)
def test_the_caller_can_choose_the_tolerance(n_directions, name):
    loss, tensors, gradients = smooth_problem()
    gradients[name] = scale_up(gradients[name])
    options = dict(n_directions=n_directions, seed=SEED)
    errors = check_gradients(loss, tensors, gradients, tolerance=6e-4, **options)
    assert errors[name] == pytest.approx(5e-4, rel=2e-3)
    with pytest.raises(GradientError, match="exceeds 4e-04"):
        check_gradients(loss, tensors, gradients, tolerance=4e-4, **options)


@MODES
@pytest.mark.parametrize("wrong", [None, flip_sign, forget])
def test_tensors_are_restored_bit_by_bit(n_directions, wrong):
    loss, tensors, gradients = smooth_problem()
    before = {name: tensor.copy() for name, tensor in tensors.items()}
    if wrong:
        gradients["b"] = wrong(gradients["b"])
        with pytest.raises(GradientError):
            check_gradients(loss, tensors, gradients, n_directions=n_directions)
    else:
        check_gradients(loss, tensors, gradients, n_directions=n_directions)
    for name in tensors:
        np.testing.assert_array_equal(tensors[name], before[name])


@MODES
def test_the_same_seed_repeats_a_check(n_directions):
    def message(seed):
        loss, tensors, gradients = smooth_problem()
        gradients["a"] = spoil_one(gradients["a"])
        with pytest.raises(GradientError) as raised:
            check_gradients(loss, tensors, gradients, n_directions=n_directions, seed=seed)
        return str(raised.value)

    assert message(5) == message(5)
    assert "seed 5" in message(5) and "seed 6" in message(6)


@MODES
def test_float32_is_refused(n_directions):
    loss, tensors, gradients = smooth_problem()
    tensors["b"] = tensors["b"].astype(np.float32)
    with pytest.raises(TypeError, match="b has dtype float32; differences need float64"):
        check_gradients(loss, tensors, gradients, n_directions=n_directions)


def test_a_float32_network_is_refused():
    network = small_network("dense_alone", "numpy", np.float32)
    with pytest.raises(TypeError, match="float32; differences need float64"):
        check_network(network, small_batch("dense_alone"), cross_entropy("numpy"))


@MODES
def test_a_gradient_of_another_shape_fails(n_directions):
    loss, tensors, gradients = smooth_problem()
    gradients["c"] = gradients["c"].reshape(4, 3)
    with pytest.raises(GradientError, match=r"c has shape \(4, 3\); the tensor has \(2, 2, 3\)"):
        check_gradients(loss, tensors, gradients, n_directions=n_directions)


@MODES
def test_a_nan_loss_is_an_error(n_directions):
    _, tensors, gradients = smooth_problem()
    with pytest.raises(GradientError, match="gradient of a"):
        check_gradients(lambda: float("nan"), tensors, gradients, n_directions=n_directions)


@MODES
def test_a_tensor_that_the_loss_does_not_use_has_gradient_zero(n_directions):
    loss, tensors, gradients = smooth_problem()
    tensors["idle"], gradients["idle"] = np.ones((2, 3)), np.zeros((2, 3))
    tensors["empty"], gradients["empty"] = np.ones((0, 3)), np.zeros((0, 3))
    errors = check_gradients(loss, tensors, gradients, n_directions=n_directions)
    assert errors["idle"] == errors["empty"] == 0
    gradients["idle"][1, 2] = 1e-3
    with pytest.raises(GradientError, match=r"idle.*index \(1, 2\): analytic 0.001, numeric 0 "):
        check_gradients(loss, tensors, gradients, n_directions=n_directions)


# ---- kinks -----------------------------------------------------------------------------------

ON_A_KINK = {3: 0.0, 11: 3e-5, 20: -1e-4 / 3, 29: 1e-13, 30: -0.0}
"""Entries of `relu_problem` that stand on the kink of ReLU, or nearer to it than a step."""


def relu_problem(n_values=40):
    """loss = sum k * max(w_k, 0): every entry has a different factor."""
    rng = np.random.default_rng(4)
    w = rng.uniform(0.1, 1, n_values) * rng.choice([-1, 1], n_values)
    for entry, value in ON_A_KINK.items():
        w[entry] = value
    weights = np.arange(1.0, n_values + 1)
    right = np.where(w > 0, weights, 0)
    return (lambda: float(weights @ np.maximum(w, 0))), {"w": w}, {"w": right}


def test_kinks_are_skipped():
    errors = check_gradients(*relu_problem())
    assert errors["w"] <= TOLERANCE


def test_skipping_does_not_depend_on_the_given_gradient():
    """A gradient that is wrong only at kinks passes.  One that is wrong anywhere else fails."""
    loss, tensors, gradients = relu_problem()
    right = gradients["w"]
    wrong = right.copy()
    wrong[list(ON_A_KINK)] = 1e3
    assert check_gradients(loss, tensors, {"w": wrong})["w"] <= TOLERANCE
    for entry in range(right.size):
        wrong = right.copy()
        wrong[entry] += 0.01
        if entry in ON_A_KINK:
            check_gradients(loss, tensors, {"w": wrong})
        else:
            with pytest.raises(GradientError) as raised:
                check_gradients(loss, tensors, {"w": wrong})
            assert parsed(raised.value)["index"] == (entry,)


@pytest.mark.parametrize("factor", [1.0, -1.0, 0.0, 7.0])
def test_too_many_kinks_are_an_error(factor):
    loss, tensors, gradients = relu_problem(n_values=31)  # 5 of 31
    gradients["w"] *= factor
    message = "5 of 31 differences met a kink .seed 9., so the check proves too little"
    with pytest.raises(GradientError, match=message):
        check_gradients(loss, tensors, gradients, max_skipped=0.16, seed=9)
    if factor == 1:
        check_gradients(loss, tensors, gradients, max_skipped=0.17, seed=9)


def test_directions_can_meet_kinks_too():
    """Every direction moves every entry, and five are at a kink, so no direction can be used."""
    loss, tensors, gradients = relu_problem()
    for factor in (1.0, -1.0, 0.0):
        wrong = {"w": factor * gradients["w"]}
        with pytest.raises(GradientError, match="3 of 3 differences met a kink"):
            check_gradients(loss, tensors, wrong, n_directions=3)


def test_directions_that_met_a_kink_are_replaced():
    """Two loss values are far off, in two different directions; enough directions remain."""
    loss, tensors, gradients = smooth_problem()
    calls = []

    def sometimes_broken():
        calls.append(0)
        return loss() + (1.0 if len(calls) in (3, 8) else 0.0)

    errors = check_gradients(sometimes_broken, tensors, gradients, n_directions=3)
    assert max(errors.values()) <= TOLERANCE
    # for each tensor one evaluation at its values, and four per direction
    assert len(calls) == 3 * (1 + 3 * 4) + 2 * 4


@MODES
def test_a_strongly_curved_loss_is_not_a_kink(n_directions):
    """A function with derivatives in the hundreds is still smooth."""
    w = np.linspace(0.5, 1.5, 12)
    right = {"w": 3 * np.exp(3 * w)}
    options = dict(n_directions=n_directions, max_skipped=0)
    errors = check_gradients(lambda: float(np.exp(3 * w).sum()), {"w": w}, right, **options)
    assert errors["w"] <= TOLERANCE


# ---- whole networks --------------------------------------------------------------------------


def cross_entropy(backend, n_images=2, n_classes=4):
    labels = np.arange(n_images) % n_classes
    return lambda logits: CrossEntropy()(logits, labels, backend=backend)


def distillation(backend, n_classes, n_images=2):
    rng = np.random.default_rng(6)
    targets = rng.dirichlet(np.ones(n_classes), n_images)
    teacher = 3 * rng.standard_normal((n_images, n_classes))
    loss = Distillation(temperature=4, soft_weight=0.6, scale="hinton")
    return lambda logits: loss(logits, targets, teacher, backend=backend)


@BACKENDS
@pytest.mark.parametrize("name", sorted(ENGINE_NETWORKS))
@pytest.mark.parametrize("loss_name", ["cross_entropy", "distillation"])
def test_every_entry_of_small_networks(name, backend, loss_name):
    network = small_network(name, backend)
    n_classes = len(network.classes)
    # normalised by a BatchNorm, two values are 1 and -1 whatever they were
    n_images = 5 if name in BATCH_NETWORKS else 2
    if loss_name == "cross_entropy":
        loss = cross_entropy(backend, n_images, n_classes)
    else:
        loss = distillation(backend, n_classes, n_images)
    errors = check_network(network, small_batch(name, n_images), loss)
    assert set(errors) == {*network.parameters, "x"}
    assert max(errors.values()) <= TOLERANCE


@BACKENDS
@pytest.mark.parametrize("variant", ["v", "p1", "p2", "p12"])
def test_microexpnets_real_shapes(variant, backend):
    """Along random directions, because 71,000 single entries would take hours."""
    network = models.microexpnet(
        variant, "XXS", scaling="standardized", dropout=0.3, backend=backend, dtype=np.float64
    )
    images = np.random.default_rng(8).integers(0, 256, (2, 84, 84), dtype=np.uint8)
    x = network.scale(images)
    for loss in (cross_entropy(backend, 2, 8), distillation(backend, 8, 2)):
        errors = check_network(network, x, loss, n_directions=2, seed=SEED)
        assert len(errors) == 9 and max(errors.values()) <= TOLERANCE


@pytest.mark.parametrize("variant", ["v", "p1", "p2", "p12"])
def test_microexpnets_real_shapes_on_raw_pixels(variant):
    """To 1e-6.  With pixels up to 255, a step of conv1.b changes the loss by only about 1e-7 of
    its value, so the rounding of the loss (1e-16) is a larger part of the difference."""
    network = models.microexpnet(variant, "XXS", dtype=np.float64)
    images = np.random.default_rng(8).integers(0, 256, (2, 84, 84), dtype=np.uint8)
    loss = cross_entropy("numba", 2, 8)
    options = dict(n_directions=2, seed=SEED, tolerance=1e-6)
    assert max(check_network(network, network.scale(images), loss, **options).values()) <= 1e-6


def sabotage(network, name, wrong):
    """Make network.backward return a wrong gradient for one tensor."""
    backward = network.backward

    def wrong_backward(dlogits, input_gradient=False):
        dx = backward(dlogits, input_gradient)
        if name == "x":
            return wrong(dx)
        network.gradients[name][:] = wrong(network.gradients[name])
        return dx

    network.backward = wrong_backward
    return network


TENSORS = ("conv1.w", "conv1.b", "conv2.w", "conv2.b", "dense1.w", "dense1.b", "dense2.w", "x")


@MODES
@WRONG
@pytest.mark.parametrize("name", TENSORS)
def test_a_wrong_gradient_of_a_network_fails_and_is_named(name, wrong, n_directions):
    network = small_network("miniature")
    x = small_batch("miniature")
    loss = distillation("numba", len(network.classes))
    sabotage(network, name, wrong)
    with pytest.raises(GradientError) as raised:
        check_network(network, x, loss, n_directions=n_directions, seed=SEED)
    said = parsed(raised.value)
    assert said["name"] == name and said["seed"] == SEED and said["error"] > 1e-7


def test_the_message_for_a_network_has_the_values():
    network = small_network("overlapping_pool")
    x = small_batch("overlapping_pool")
    loss = cross_entropy("numba", n_classes=3)
    _, dlogits = loss(network.forward(x, training=True))
    network.backward(dlogits)
    right = network.gradients["conv1.w"].copy()
    sabotage(network, "conv1.w", spoil_one)
    with pytest.raises(GradientError) as raised:
        check_network(network, x, loss)
    said = parsed(raised.value)
    assert said["index"] == np.unravel_index(right.size // 2, right.shape)
    assert said["analytic"] == pytest.approx(spoil_one(right)[said["index"]], rel=1e-11)
    assert said["numeric"] == pytest.approx(right[said["index"]], rel=1e-7)


def test_a_flipped_sign_in_the_arithmetic_is_caught(monkeypatch):
    """The sign is flipped in the ReLU of the reference, not in the reported gradient."""
    from tinycnn import reference

    def flipped(y, dy, dx_out):
        np.copyto(dx_out, np.where(y > 0, -dy, 0))

    monkeypatch.setattr(reference, "relu_backward", flipped)
    network = small_network("miniature", "numpy")
    with pytest.raises(GradientError):
        check_network(network, small_batch("miniature"), cross_entropy("numpy"))


def test_a_real_shape_with_one_lost_entry_fails():
    """One entry of average size, of the 55,296 of dense1.w, is set to 0."""
    network = models.microexpnet(scaling="standardized", dtype=np.float64)
    images = np.random.default_rng(8).integers(0, 256, (2, 84, 84), dtype=np.uint8)
    x, loss = network.scale(images), cross_entropy("numba", 2, 8)

    def lose_an_average_one(gradient):
        size = np.abs(gradient).reshape(-1)
        wrong = gradient.copy()
        wrong.flat[np.argmin(np.abs(size - np.sqrt(np.mean(size**2))))] = 0
        return wrong

    sabotage(network, "dense1.w", lose_an_average_one)
    with pytest.raises(GradientError, match="gradient of dense1.w"):
        check_network(network, x, loss, n_directions=2, check_input=False)


def test_a_check_leaves_the_network_as_it_was():
    network = small_network("miniature")
    before = network.parameter_vector.copy()
    x = small_batch("miniature")
    x_before = x.copy()
    check_network(network, x, cross_entropy("numba"), n_directions=1)
    np.testing.assert_array_equal(network.parameter_vector, before)
    np.testing.assert_array_equal(x, x_before)


# ---- measures --------------------------------------------------------------------------------


@BACKENDS
def test_a_check_leaves_running_statistics_as_they_were(backend):
    network = small_network("batch_norms", backend)
    before = network.parameter_vector.copy()
    check_network(network, small_batch("batch_norms", 5), cross_entropy(backend, 5, 3))
    np.testing.assert_array_equal(network.parameter_vector, before)


def test_a_batch_norm_that_forgets_the_mean_of_the_gradients_is_caught(monkeypatch):
    """A bias before a BatchNorm has no gradient then.  Noise is accepted there, and only noise."""
    right = reference_backend.reference.batch_norm_backward_input

    def without_the_mean(x, dy, moments, gamma, beta, epsilon, relu, dgamma, dbeta, *rest):
        right(x, dy, moments, gamma, beta, epsilon, relu, dgamma, 0 * dbeta, *rest)

    monkeypatch.setattr(reference_backend.reference, "batch_norm_backward_input", without_the_mean)
    network = small_network("batch_norms", "numpy")
    with pytest.raises(GradientError, match="gradient of conv1.w: error"):
        check_network(network, small_batch("batch_norms", 5), cross_entropy("numpy", 5, 3))
    monkeypatch.undo()
    errors = check_network(network, small_batch("batch_norms", 5), cross_entropy("numpy", 5, 3))
    assert errors["dense1.b"] == 0 < errors["dense1.w"]


def test_gradient_error_is_relative_and_symmetric():
    a, b = np.array([[3.0, 0.0]]), np.array([[3.0, 4.0]])
    assert gradient_error(a, b) == gradient_error(b, a) == pytest.approx(4 / 5)
    assert gradient_error(1e-100 * a, 1e-100 * b) == pytest.approx(4 / 5)
    assert gradient_error(a, -a) == 2
    assert gradient_error(a, 0 * a) == 1
    assert gradient_error(0 * a, 0 * a) == 0


def test_logit_error_is_relative_to_the_largest_logit():
    expected = np.array([[10.0, -90.0], [0.1, 0.0]])
    assert logit_error(expected + 0.9, expected) == pytest.approx(0.01)
    assert logit_error(expected, expected) == 0
    assert logit_error(np.zeros((0, 8)), np.zeros((0, 8))) == 0
    assert logit_error(np.zeros((2, 8)), np.zeros((2, 8))) == 0
    assert logit_error(np.ones((2, 8)), np.zeros((2, 8))) == np.inf
    assert np.isnan(logit_error(expected * np.nan, expected))
