"""Networks with BatchNorm and residuals beside PyTorch, from the same weights and batches.

The torch networks are written in torch's own layers, NCHW.
"""

import numpy as np
import pytest

from tinycnn import Adam, Conv2D, CrossEntropy, Dense, Flatten, InputSpec, Network, ReLU
from tinycnn.layers import BatchNorm, Residual
from tinycnn.testing import gradient_error, logit_error

torch = pytest.importorskip(
    "torch", reason="torch is not installed: pip install tinycnn[dev] brings it"
)
nn = torch.nn
LEARNING_RATE, N_CLASSES, N_IMAGES = 1e-2, 4, 13
BACKENDS = pytest.mark.parametrize("backend", ["numba", "numpy"])


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class FlattenNHWC(nn.Module):
    def forward(self, x):
        return x.permute(0, 2, 3, 1).reshape(len(x), -1)


class Sum(nn.Module):
    def __init__(self, body, shortcut=()):
        super().__init__()
        self.body, self.shortcut = nn.Sequential(*body), nn.Sequential(*shortcut)

    def forward(self, x):
        return self.body(x) + self.shortcut(x)


def residual_network():
    """As ResNet: three residuals, one of them with a shortcut of its own."""

    def conv(filters, size, stride=1):
        return Conv2D(filters, size, stride, ((size // 2,) * 2,) * 2, use_bias=False)

    ours = [
        *(conv(5, 3), BatchNorm(), ReLU()),
        *(Residual([conv(5, 3), BatchNorm(), ReLU(), conv(5, 3), BatchNorm()]), ReLU()),
        Residual(
            [conv(7, 3, 2), BatchNorm(), ReLU(), conv(7, 3), BatchNorm()],
            [conv(7, 1, 2), BatchNorm()],
        ),
        *(ReLU(), Residual([BatchNorm(), ReLU(), conv(7, 3)]), Flatten(), Dense(N_CLASSES)),
    ]

    def torch_conv(c, f, size, stride=1):
        return nn.Conv2d(c, f, size, stride, size // 2, bias=False)

    def norm(c):
        return nn.BatchNorm2d(c)

    theirs = nn.Sequential(
        *(torch_conv(2, 5, 3), norm(5), nn.ReLU()),
        *(Sum([torch_conv(5, 5, 3), norm(5), nn.ReLU(), torch_conv(5, 5, 3), norm(5)]), nn.ReLU()),
        Sum(
            [torch_conv(5, 7, 3, 2), norm(7), nn.ReLU(), torch_conv(7, 7, 3), norm(7)],
            [torch_conv(5, 7, 1, 2), norm(7)],
        ),
        *(nn.ReLU(), Sum([norm(7), nn.ReLU(), torch_conv(7, 7, 3)]), FlattenNHWC()),
        nn.Linear(7 * 4 * 3, N_CLASSES),
    )
    return ours, theirs


def vector_network():
    """BatchNorm behind an activation, on pictures and on vectors; other options."""
    options = dict(momentum=0.7, epsilon=1e-3)
    theirs_options = dict(momentum=0.3, eps=1e-3)
    ours = [
        *(Conv2D(3, 3, padding=((1, 1), (1, 1))), ReLU(), BatchNorm(**options), Flatten()),
        *(Dense(6), BatchNorm(**options), ReLU(), Dense(5), ReLU(), BatchNorm(**options)),
        Dense(N_CLASSES),
    ]
    theirs = nn.Sequential(
        *(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(3, **theirs_options)),
        *(FlattenNHWC(), nn.Linear(3 * 7 * 6, 6), nn.BatchNorm1d(6, **theirs_options), nn.ReLU()),
        *(nn.Linear(6, 5), nn.ReLU(), nn.BatchNorm1d(5, **theirs_options)),
        nn.Linear(5, N_CLASSES),
    )
    return ours, theirs


NETWORKS = {"residuals": residual_network, "vectors": vector_network}
EVERY_NETWORK = pytest.mark.parametrize("name", NETWORKS)


def both(name, backend):
    """Our network, and torch's with the same values."""
    ours, theirs = NETWORKS[name]()
    network = Network(ours, InputSpec(7, 6, 2), backend=backend, dtype=np.float64, seed=4)
    rng = np.random.default_rng(1)
    network.initialise(rng, bias_std=0.2)
    for name, values in network.parameters.items():
        if name.endswith(("gamma", "beta")):
            values[:] += rng.uniform(-0.5, 0.5, values.shape)
    theirs = theirs.double()
    with torch.no_grad():
        for ours_array, tensor in pairs(network, theirs):
            tensor.copy_(torch.tensor(ours_array))
    return network, theirs


def in_torch_layout(array):
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    return array.T if array.ndim == 2 else array


def pairs(network, theirs, of_gradients=False):
    """Our arrays in torch's layout, and torch's tensors, in the order of the layers."""
    ours = network.gradients if of_gradients else network.parameters
    tensors = [p.grad if of_gradients else p for p in theirs.parameters()]
    return zip([in_torch_layout(a) for a in ours.values()], tensors, strict=True)


def batch(step):
    rng = np.random.default_rng([3, step % 5])
    return rng.standard_normal((N_IMAGES, 7, 6, 2)), rng.integers(0, N_CLASSES, N_IMAGES)


def as_tensor(x):
    return torch.tensor(x).permute(0, 3, 1, 2)


def statistics_of(theirs):
    return [b.numpy() for name, b in theirs.named_buffers() if "num_batches" not in name]


@BACKENDS
@EVERY_NETWORK
def test_values_and_gradients(name, backend):
    network, theirs = both(name, backend)
    x, labels = batch(0)
    logits = network.forward(x, training=True)
    value, dlogits = CrossEntropy()(logits, labels)
    dx = network.backward(dlogits, input_gradient=True)
    pictures = as_tensor(x).requires_grad_()
    expected = theirs(pictures)
    nn.functional.cross_entropy(expected, torch.tensor(labels)).backward()
    assert logit_error(logits, expected.detach().numpy()) <= 1e-12
    largest = max(np.linalg.norm(p.grad.numpy()) for p in theirs.parameters())
    for ours, gradient in pairs(network, theirs, of_gradients=True):
        # a bias before a BatchNorm has no gradient but rounding
        assert np.linalg.norm(ours - gradient.numpy()) <= 1e-12 * largest
    assert gradient_error(dx, pictures.grad.permute(0, 2, 3, 1).numpy()) <= 1e-11
    theirs.eval()
    predicted = theirs(as_tensor(x)).detach().numpy()
    assert logit_error(network.forward(x), predicted) <= 1e-12
    assert logit_error(network.folded().forward(x), predicted) <= 1e-12
    for ours, expected in zip(network.statistics.values(), statistics_of(theirs), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-14)


@EVERY_NETWORK
def test_two_hundred_steps_in_float64(name):
    network, theirs = both(name, "numba")
    start = network.trained_vector.copy()
    optimizer = Adam(LEARNING_RATE)
    torch_optimizer = torch.optim.Adam(theirs.parameters(), lr=LEARNING_RATE)
    losses = []
    for step in range(200):
        x, labels = batch(step)
        value, _ = network.loss_and_gradients(x, CrossEntropy(), labels)
        optimizer.step(network.trained_vector, network.trained_gradients)
        torch_value = nn.functional.cross_entropy(theirs(as_tensor(x)), torch.tensor(labels))
        torch_optimizer.zero_grad()
        torch_value.backward()
        torch_optimizer.step()
        losses.append((value, torch_value.item()))
    losses = np.array(losses)
    for ours, tensor in pairs(network, theirs):
        expected = tensor.detach().numpy()
        assert np.linalg.norm(ours - expected) <= 1e-6 * max(np.linalg.norm(expected), 0.1)
    for ours, expected in zip(network.statistics.values(), statistics_of(theirs), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(losses[:, 0], losses[:, 1], rtol=1e-6, atol=1e-8)
    assert losses[-5:, 0].mean() < 0.1 * losses[:5, 0].mean()
    assert gradient_error(network.trained_vector, start) > 0.1
