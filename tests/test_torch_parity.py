"""The same training with PyTorch: the same weights and batches must give the same losses.

The torch network is written independently from the paper: NCHW, padding by hand, autograd.  Errors
are relative and per tensor: |ours - torch's| / |torch's| in the Euclidean norm.
"""

import numpy as np
import pytest

from tinycnn import Adam, CrossEntropy, Distillation, models
from tinycnn.testing import gradient_error, logit_error

torch = pytest.importorskip(
    "torch", reason="torch is not installed: pip install tinycnn[dev] brings it"
)
F = torch.nn.functional

TEMPERATURE, SOFT_WEIGHT, LEARNING_RATE, BATCH = 4.0, 0.5, 1e-3, 8


@pytest.fixture(autouse=True)
def one_thread():
    """More threads do not speed up small tensors, and torch's waiting threads would slow ours."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pad_same(x, kernel, stride, value=0.0):
    """TensorFlow's padding of NCHW: the odd pixel at the bottom and right."""
    pads = []
    for size in (x.shape[3], x.shape[2]):  # F.pad takes the last axis first
        n_out = -(-size // stride)
        total = max((n_out - 1) * stride + kernel - size, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads, value=value)


def torch_logits(parameters, pictures, variant, mask=None):
    """pictures (N, 1, 84, 84); parameters: our names and layouts, leaf tensors of autograd."""
    stride, pool1, pool2 = {
        "v": (4, False, False),
        "p1": (2, True, False),
        "p2": (4, False, True),
        "p12": (2, True, True),
    }[variant]
    y = pictures
    for name, kernel, step, pool in (("conv1", 8, stride, pool1), ("conv2", 4, 2, pool2)):
        w = parameters[f"{name}.w"].permute(3, 2, 0, 1)  # HWIO to OIHW
        y = F.conv2d(pad_same(y, kernel, step), w, parameters[f"{name}.b"], stride=step).relu()
        if pool:
            y = F.max_pool2d(pad_same(y, 2, 2, value=float("-inf")), 2, 2)
    y = y.permute(0, 2, 3, 1).reshape(len(y), -1)  # H, W, C
    y = (y @ parameters["dense1.w"] + parameters["dense1.b"]).relu()
    if mask is not None:
        y = y * mask
    return y @ parameters["dense2.w"] + parameters["dense2.b"]


def torch_loss(logits, labels, teacher, scale):
    hard = F.cross_entropy(logits, labels)
    soft_targets = F.softmax(teacher / TEMPERATURE, dim=1)
    soft = -(soft_targets * F.log_softmax(logits / TEMPERATURE, dim=1)).sum(dim=1).mean()
    factor = TEMPERATURE**2 if scale == "hinton" else 1.0
    return (1 - SOFT_WEIGHT) * hard + SOFT_WEIGHT * factor * soft


def leaves(network):
    """Copies of a network's parameters, as tensors with gradients."""
    copies = {name: torch.tensor(np.array(p)) for name, p in network.parameters.items()}
    return {name: copy.requires_grad_() for name, copy in copies.items()}


def a_batch(step, dtype):
    """Images, labels and teacher logits, the same on both sides; four batches in turn."""
    rng = np.random.default_rng([2, step % 4])
    images = rng.integers(0, 256, (BATCH, 84, 84), dtype=np.uint8)
    labels = rng.integers(0, 8, BATCH)
    return images, labels, (3 * rng.standard_normal((BATCH, 8))).astype(dtype)


def as_pictures(x):
    return torch.tensor(x).permute(0, 3, 1, 2)


def train_both(dtype, n_steps, scale, scaling, variant="p12", backend="numba", together=False):
    """Parameters after n_steps, and the loss of every step, for both sides.

    together: every step starts with our weights on both sides.  This compares single steps, and
    returns the largest difference.
    """
    network = models.microexpnet(variant, scaling=scaling, backend=backend, dtype=dtype, seed=7)
    theirs = leaves(network)
    optimizer = Adam(LEARNING_RATE, backend=backend)
    torch_optimizer = torch.optim.Adam(theirs.values(), lr=LEARNING_RATE)
    loss = Distillation(TEMPERATURE, SOFT_WEIGHT, scale)
    losses, worst = [], 0.0
    for step in range(n_steps):
        if together:
            with torch.no_grad():
                for name, leaf in theirs.items():
                    leaf.copy_(torch.tensor(np.array(network.parameters[name])))
        images, labels, teacher = a_batch(step, dtype)
        x = network.scale(images)
        value, dlogits = loss(network.forward(x, training=True), labels, teacher, backend=backend)
        network.backward(dlogits)
        optimizer.step(network.parameter_vector, network.gradient_vector)

        logits = torch_logits(theirs, as_pictures(x), variant)
        torch_value = torch_loss(logits, torch.tensor(labels), torch.tensor(teacher), scale)
        torch_optimizer.zero_grad()
        torch_value.backward()
        torch_optimizer.step()
        losses.append((value, torch_value.item()))
        worst = max(worst, *(distance(network, theirs).values()))
    if together:
        return worst, np.array(losses)
    return network, theirs, np.array(losses)


def distance(network, theirs):
    """For each tensor: the distance of ours from theirs, relative to its norm."""
    pairs = ((name, network.parameters[name], p.detach().numpy()) for name, p in theirs.items())
    return {name: np.linalg.norm(a - b) / np.linalg.norm(b) for name, a, b in pairs}


def moved(network, dtype):
    """How far training moved each tensor: agreement only counts if something moved."""
    start = models.microexpnet(backend="numpy", dtype=dtype, seed=7)
    pairs = zip(network.parameters.values(), start.parameters.values())
    return min(gradient_error(now, then) for now, then in pairs)


@pytest.mark.parametrize("scale", ["paper", "hinton"])
def test_two_hundred_steps_in_float64(scale):
    network, theirs, losses = train_both(np.float64, 200, scale, "standardized")
    assert max(distance(network, theirs).values()) <= 1e-6
    np.testing.assert_allclose(losses[:, 0], losses[:, 1], rtol=1e-6)
    assert losses[-4:, 0].mean() < 0.95 * losses[:4, 0].mean() and moved(network, np.float64) > 1e-3


def test_twenty_steps_on_raw_pixels_in_float64():
    """With raw pixels, the input of the paper."""
    network, theirs, losses = train_both(np.float64, 20, "paper", "raw")
    assert max(distance(network, theirs).values()) <= 1e-6
    np.testing.assert_allclose(losses[:, 0], losses[:, 1], rtol=1e-6)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("scale", ["paper", "hinton"])
def test_five_steps_in_float32(scale, backend):
    network, theirs, losses = train_both(np.float32, 5, scale, "standardized", backend=backend)
    assert max(distance(network, theirs).values()) <= 1e-5
    np.testing.assert_allclose(losses[:, 0], losses[:, 1], rtol=1e-5)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("scale", ["paper", "hinton"])
def test_twenty_steps_in_float32(scale, backend):
    """Step by step.  In float32, rounding decides near ties of a pooling and inputs near a ReLU's
    kink, and Adam turns such a difference into full steps, of up to 5e-5 of the norm of the
    weights.  Without a common start of every step, the two sides would diverge."""
    worst, losses = train_both(
        np.float32, 20, scale, "standardized", backend=backend, together=True
    )
    assert worst <= 2e-4
    np.testing.assert_allclose(losses[:, 0], losses[:, 1], rtol=1e-5)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("variant", ["v", "p1", "p2", "p12"])
def test_gradients_of_every_variant(variant, backend):
    """One backward pass with dropout (torch gets the same mask), with the gradient of the input."""
    network = models.microexpnet(
        variant, scaling="unit", dropout=0.5, backend=backend, dtype=np.float64, seed=2
    )
    images, labels, _ = a_batch(0, np.float64)
    x = network.scale(images)
    state = network.dropout_generator.bit_generator.state
    logits = network.forward(x, training=True)
    value, dlogits = CrossEntropy()(logits, labels, backend=backend)
    dx = network.backward(dlogits, input_gradient=True)
    network.dropout_generator.bit_generator.state = state
    mask = torch.tensor(network._masks.draw(BATCH)["dropout1"])

    theirs = leaves(network)
    pictures = as_pictures(x).requires_grad_()
    expected = torch_logits(theirs, pictures, variant, mask)
    torch_value = F.cross_entropy(expected, torch.tensor(labels))
    torch_value.backward()
    assert logit_error(logits, expected.detach().numpy()) <= 1e-12
    assert value == pytest.approx(torch_value.item(), rel=1e-12)
    for name, leaf in theirs.items():
        assert gradient_error(network.gradients[name], leaf.grad.numpy()) <= 1e-12, name
    assert gradient_error(dx, pictures.grad.permute(0, 2, 3, 1).numpy()) <= 1e-12
