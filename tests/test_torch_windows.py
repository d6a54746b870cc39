"""Convolutions and poolings against PyTorch: values and gradients in float64, 200 steps of Adam.

torch computes on (N, C, H, W) and with autograd.  Errors are relative and per tensor.
"""

import numpy as np
import pytest
from windows import make_window

from tinycnn import (
    Adam,
    AveragePool2D,
    Conv2D,
    CrossEntropy,
    Dense,
    DepthwiseConv2D,
    GlobalAveragePool2D,
    InputSpec,
    Network,
    ReLU,
    reference,
)
from tinycnn.kernels import averagepool2d, conv2d, depthwise_conv2d
from tinycnn.testing import gradient_error, logit_error

torch = pytest.importorskip(
    "torch", reason="torch is not installed: pip install tinycnn[dev] brings it"
)
F = torch.nn.functional
ALLOWANCE = 1e-12


def both(kernels):
    return pytest.mark.parametrize("operations", [kernels, reference], ids=["kernels", "reference"])


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def leaf(array, *axes):
    """A tensor with a gradient, from an array with its axes in another order."""
    return torch.tensor(np.ascontiguousarray(array.transpose(axes))).requires_grad_()


def as_nhwc(tensor):
    return tensor.detach().permute(0, 2, 3, 1).numpy()


def padded(x, padding):
    """x (N, C, H, W) with zeros around it; padding as in Conv2D."""
    (top, bottom), (left, right) = padding
    return F.pad(x, (left, right, top, bottom))


def backward(y, dy):
    y.backward(torch.tensor(dy).permute(0, 3, 1, 2))


STRIDES_AND_PADDINGS = [
    (1, ((0, 0), (0, 0))),
    ((2, 1), ((1, 1), (2, 2))),
    ((1, 3), ((2, 0), (1, 4))),
    (2, ((5, 4), (0, 6))),  # some windows see nothing but padding
]


@both(conv2d)
@pytest.mark.parametrize("stride, padding", STRIDES_AND_PADDINGS)
def test_conv2d(operations, stride, padding):
    x, w, b = normal(2, 7, 8, 3), normal(3, 2, 3, 5), normal(5)
    window, OH, OW = make_window(7, 8, (3, 2), stride, padding)
    y, dy = np.empty((2, OH, OW, 5)), normal(2, OH, OW, 5)
    dx, dw, db = np.empty_like(x), np.empty_like(w), np.empty_like(b)
    operations.conv2d_forward(x, w, b, window, y)
    operations.conv2d_backward_params(x, dy, window, dw, db)
    operations.conv2d_backward_input(dy, w.transpose(3, 0, 1, 2).copy(), window, dx)
    tx, tw, tb = leaf(x, 0, 3, 1, 2), leaf(w, 3, 2, 0, 1), leaf(b, 0)
    ty = F.conv2d(padded(tx, padding), tw, tb, stride)
    backward(ty, dy)
    assert gradient_error(y, as_nhwc(ty)) <= ALLOWANCE
    assert gradient_error(dx, as_nhwc(tx.grad)) <= ALLOWANCE
    assert gradient_error(dw, tw.grad.permute(2, 3, 1, 0).numpy()) <= ALLOWANCE
    assert gradient_error(db, tb.grad.numpy()) <= ALLOWANCE


@both(depthwise_conv2d)
@pytest.mark.parametrize("D", [1, 3])
@pytest.mark.parametrize("stride, padding", STRIDES_AND_PADDINGS)
def test_depthwise_conv2d(operations, stride, padding, D):
    """In torch, a convolution in as many groups as channels."""
    C = 5
    x, w, b = normal(2, 7, 8, C), normal(3, 2, C, D), normal(C * D)
    window, OH, OW = make_window(7, 8, (3, 2), stride, padding)
    y, dy = np.empty((2, OH, OW, C * D)), normal(2, OH, OW, C * D)
    dx, dw, db = np.empty_like(x), np.empty_like(w), np.empty_like(b)
    operations.depthwise_conv2d_forward(x, w, b, window, y)
    operations.depthwise_conv2d_backward_params(x, dy, window, dw, db)
    operations.depthwise_conv2d_backward_input(dy, w, window, dx)
    tx, tw, tb = leaf(x, 0, 3, 1, 2), leaf(w, 2, 3, 0, 1), leaf(b, 0)
    ty = F.conv2d(padded(tx, padding), tw.reshape(C * D, 1, 3, 2), tb, stride, groups=C)
    backward(ty, dy)
    assert gradient_error(y, as_nhwc(ty)) <= ALLOWANCE
    assert gradient_error(dx, as_nhwc(tx.grad)) <= ALLOWANCE
    assert gradient_error(dw, tw.grad.permute(2, 3, 0, 1).numpy()) <= ALLOWANCE
    assert gradient_error(db, tb.grad.numpy()) <= ALLOWANCE


@both(averagepool2d)
@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("size, stride, pad", [(2, 2, (0, 0)), ((3, 4), (2, 1), (1, 2))])
def test_average_pool(operations, size, stride, pad, counted):
    x = normal(2, 7, 9, 3)
    padding = tuple((p, p) for p in pad)
    y, dx, dy = average(operations, x, size, stride, padding, counted)
    tx = leaf(x, 0, 3, 1, 2)
    ty = F.avg_pool2d(tx, size, stride, pad, count_include_pad=counted)
    backward(ty, dy)
    assert gradient_error(y, as_nhwc(ty)) <= ALLOWANCE
    assert gradient_error(dx, as_nhwc(tx.grad)) <= ALLOWANCE


@both(averagepool2d)
def test_ceil_mode_of_an_average_pool_is_padding_that_does_not_count(operations):
    x = normal(2, 7, 8, 3)
    y, dx, dy = average(operations, x, 3, 3, ((0, 2), (0, 1)), False)
    tx = leaf(x, 0, 3, 1, 2)
    ty = F.avg_pool2d(tx, 3, 3, ceil_mode=True)
    backward(ty, dy)
    assert gradient_error(y, as_nhwc(ty)) <= ALLOWANCE
    assert gradient_error(dx, as_nhwc(tx.grad)) <= ALLOWANCE


def average(operations, x, size, stride, padding, counted):
    """y, dx and the dy that it is computed from."""
    window, OH, OW = make_window(*x.shape[1:3], size, stride, padding)
    y, dx, dy = np.empty((len(x), OH, OW, x.shape[3])), np.empty_like(x), normal(2, OH, OW, 3)
    operations.averagepool2d_forward(x, window, counted, y)
    operations.averagepool2d_backward(dy, window, counted, dx)
    return y, dx, dy


# ---- a whole network ---------------------------------------------------------------------------


def network_of(backend):
    """Depthwise separable blocks, as in MobileNet, on pictures of 12x9 pixels in colour."""
    layers = [
        *(Conv2D(8, 3, stride=(2, 1), padding=((1, 1), (1, 1)), use_bias=False), ReLU()),
        *(DepthwiseConv2D(3, padding=((1, 1), (1, 1))), ReLU(), Conv2D(9, 1), ReLU()),
        AveragePool2D(3, stride=2, padding=((1, 1), (1, 1)), count_padding=True),
        *(DepthwiseConv2D((3, 2), padding="valid", depth_multiplier=2, use_bias=False), ReLU()),
        *(Conv2D(7, 1), ReLU(), GlobalAveragePool2D(), Dense(4)),
    ]
    return Network(layers, InputSpec(12, 9, 3), backend=backend, dtype=np.float64, seed=3)


def torch_logits(p, x):
    def conv(y, name, groups=1, **options):
        w = p[f"{name}.w"]
        if groups == 1:
            w = w.permute(3, 2, 0, 1)
        else:
            w = w.permute(2, 3, 0, 1).reshape(-1, 1, *w.shape[:2])
        return F.conv2d(y, w, p.get(f"{name}.b"), groups=groups, **options).relu()

    y = conv(x, "conv1", stride=(2, 1), padding=1)
    y = conv(conv(y, "depthwise1", groups=8, padding=1), "conv2")
    y = F.avg_pool2d(y, 3, 2, 1)
    y = conv(conv(y, "depthwise2", groups=9), "conv3").mean(dim=(2, 3))
    return y @ p["dense1.w"] + p["dense1.b"]


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_two_hundred_steps_of_a_depthwise_network(backend):
    network = network_of(backend)
    start = {name: p.copy() for name, p in network.parameters.items()}
    theirs = {name: torch.tensor(p.copy()).requires_grad_() for name, p in start.items()}
    optimizer, torch_optimizer = (
        Adam(1e-3, backend=backend),
        torch.optim.Adam(theirs.values(), 1e-3),
    )
    rng, losses = np.random.default_rng(5), []
    for _ in range(200):
        x, labels = rng.standard_normal((6, 12, 9, 3)), rng.integers(0, 4, 6)
        value, logits = network.loss_and_gradients(x, CrossEntropy(), labels)
        optimizer.step(network.trained_vector, network.trained_gradients)
        expected = torch_logits(theirs, torch.tensor(x).permute(0, 3, 1, 2))
        torch_value = F.cross_entropy(expected, torch.tensor(labels))
        torch_optimizer.zero_grad()
        torch_value.backward()
        torch_optimizer.step()
        losses.append((value, torch_value.item()))
    assert logit_error(logits, expected.detach().numpy()) <= 1e-6
    np.testing.assert_allclose(*np.transpose(losses), rtol=1e-6)
    for name, p in network.parameters.items():
        assert gradient_error(p, theirs[name].detach().numpy()) <= 1e-6, name
        assert gradient_error(p, start[name]) > 1e-3, name
