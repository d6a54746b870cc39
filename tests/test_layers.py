"""Layers: output shapes, parameters, and refused arguments."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinycnn.layers import (
    LAYERS,
    AveragePool2D,
    BatchNorm,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePool2D,
    LeakyReLU,
    MaxPool2D,
    PReLU,
    ReLU,
    Residual,
    ScaleShift,
    Sigmoid,
    SpatialDropout2D,
    Tanh,
    layer_from_config,
)
from tinycnn.shapes import window_axis


def covered_positions(size, kernel, stride, before, after):
    """Left edges of all windows that fit a line of `size` pixels with that padding."""
    edges, edge = [], -before
    while edge + kernel <= size + after:
        edges.append(edge)
        edge += stride
    return edges


# ---- windows ---------------------------------------------------------------------------------


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 6))
def test_same_padding_is_tensorflows(size, kernel, stride):
    n_out, before, after = window_axis(size, kernel, stride, "same")
    assert n_out == len(range(0, size, stride))  # ceil(size / stride)
    assert after - before in (0, 1)  # the odd pixel goes to the bottom and right
    assert before + after == max((n_out - 1) * stride + kernel - size, 0)
    edges = covered_positions(size, kernel, stride, before, after)
    assert len(edges) == n_out or before + after == 0  # else pixels may be left over


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 6))
def test_valid_padding_counts_the_windows_that_fit(size, kernel, stride):
    if kernel > size:
        with pytest.raises(ValueError, match=f"window of {kernel} does not fit {size} pixels"):
            window_axis(size, kernel, stride, "valid")
    else:
        axis = window_axis(size, kernel, stride, "valid")
        assert axis == (len(covered_positions(size, kernel, stride, 0, 0)), 0, 0)


def test_the_windows_of_microexpnet():
    """By hand: 84 pixels are padded by 3/3, 21 by 1/2, 11 by 0/1."""
    assert window_axis(84, 8, 2, "same") == (42, 3, 3)
    assert window_axis(42, 2, 2, "same") == (21, 0, 0)
    assert window_axis(21, 4, 2, "same") == (11, 1, 2)
    assert window_axis(11, 2, 2, "same") == (6, 0, 1)


# ---- shapes and parameters -------------------------------------------------------------------


@pytest.mark.parametrize(
    "layer, given_shape, output_shape, parameter_shapes",
    [
        (Conv2D(16, 8, stride=2), (84, 84, 1), (42, 42, 16), {"w": (8, 8, 1, 16), "b": (16,)}),
        (Conv2D(3, (3, 2)), (7, 5, 2), (7, 5, 3), {"w": (3, 2, 2, 3), "b": (3,)}),
        (
            Conv2D(4, (3, 2), stride=2, padding="valid"),
            (7, 6, 2),
            (3, 3, 4),
            {"w": (3, 2, 2, 4), "b": (4,)},
        ),
        (
            Conv2D(4, 3, stride=(2, 1), padding=((1, 2), (0, 4)), use_bias=False),
            (7, 6, 2),
            (4, 8, 4),
            {"w": (3, 3, 2, 4)},
        ),
        (
            DepthwiseConv2D((3, 2), stride=(1, 2), depth_multiplier=4),
            (7, 5, 2),
            (7, 3, 8),
            {"w": (3, 2, 2, 4), "b": (8,)},
        ),
        (
            DepthwiseConv2D(3, padding="valid", use_bias=False),
            (5, 4, 3),
            (3, 2, 3),
            {"w": (3, 3, 3, 1)},
        ),
        (MaxPool2D(2), (11, 11, 32), (6, 6, 32), {}),
        (MaxPool2D((1, 4)), (3, 9, 2), (3, 3, 2), {}),
        (MaxPool2D((2, 3), stride=(1, 2), padding=((1, 0), (0, 2))), (4, 5, 2), (4, 3, 2), {}),
        (AveragePool2D((2, 3), padding="valid"), (5, 9, 4), (2, 3, 4), {}),
        (AveragePool2D(3, stride=2, padding=((1, 1), (1, 1))), (5, 6, 4), (3, 3, 4), {}),
        (GlobalAveragePool2D(), (5, 9, 4), (4,), {}),
        (MaxPool2D(2, padding="valid"), (11, 11, 32), (5, 5, 32), {}),
        (MaxPool2D(3, stride=1, padding="valid"), (5, 4, 2), (3, 2, 2), {}),
        (ReLU(), (4, 3, 2), (4, 3, 2), {}),
        (ReLU(), (9,), (9,), {}),
        (Flatten(), (6, 6, 32), (1152,), {}),
        (Flatten(), (7,), (7,), {}),
        (Dense(48), (1152,), (48,), {"w": (1152, 48), "b": (48,)}),
        (Dropout(0.5), (48,), (48,), {}),
        (Dropout(0.5), (4, 3, 2), (4, 3, 2), {}),
    ],
)
def test_shapes(layer, given_shape, output_shape, parameter_shapes):
    assert layer.output_shape(given_shape) == output_shape
    assert layer.parameter_shapes(given_shape) == parameter_shapes
    # weights before the bias, as in the parameter vector
    assert list(layer.parameter_shapes(given_shape)) == list(parameter_shapes)


def test_stride_of_a_pool_defaults_to_its_size():
    for pool in (MaxPool2D, AveragePool2D):
        assert pool(3).stride == 3
        assert pool(3, stride=1).stride == 1
        assert pool((3, 2)).stride == (3, 2)


# ---- refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Conv2D(0, 3), "filters is 0; expected a whole number of 1 or more"),
        (lambda: Conv2D(2.0, 3), "filters is 2.0"),
        (lambda: Conv2D(True, 3), "filters is True"),
        (lambda: Conv2D(2, 0), "kernel_size is 0"),
        (
            lambda: Conv2D(2, (3, -1)),
            r"kernel_size\[1\] is -1; expected a whole number of 1 or more",
        ),
        (
            lambda: Conv2D(2, (3, 3, 3)),
            r"is \(3, 3, 3\); expected a number or \(vertical, horizontal\)",
        ),
        (lambda: Conv2D(2, "3"), "kernel_size is '3'"),
        (lambda: Conv2D(2, (0, 3)), r"kernel_size\[0\] is 0; expected a whole number of 1 or more"),
        (lambda: Conv2D(2, 3, stride=0), "stride is 0"),
        (lambda: Conv2D(2, 3, stride=(1, 0)), r"stride\[1\] is 0"),
        (lambda: Conv2D(2, 3, stride=(1, 2, 3)), r"stride is \(1, 2, 3\); expected a number or"),
        (
            lambda: Conv2D(2, 3, padding=1),
            "padding is 1; expected one of same, valid, or .*in pixels",
        ),
        (lambda: Conv2D(2, 3, padding=((0, 1), (2, -1))), r"padding is \(\(0, 1\), \(2, -1\)\)"),
        (lambda: Conv2D(2, 3, padding=((0, 1), (2, 1.0))), r"padding is .*; expected one of same"),
        (lambda: Conv2D(2, 3, padding=(1, 1)), r"padding is \(1, 1\); expected one of same"),
        (lambda: DepthwiseConv2D(3, depth_multiplier=0), "depth_multiplier is 0"),
        (lambda: DepthwiseConv2D((3, 0)), r"kernel_size\[1\] is 0"),
        (
            lambda: MaxPool2D((2, 3), padding=((1, 0), (0, 3))),
            r"padding is .*; expected less than the window's size, 3",
        ),
        (lambda: AveragePool2D(2, padding=((2, 0), (0, 0))), "less than the window's size, 2"),
        (lambda: AveragePool2D((0, 2)), r"size\[0\] is 0"),
        (lambda: Conv2D(2, 3, padding="SAME"), "padding is 'SAME'; expected one of same, valid"),
        (lambda: MaxPool2D(0), "size is 0"),
        (lambda: MaxPool2D(2, stride=0), "stride is 0"),
        (lambda: MaxPool2D(2, padding="full"), "padding is 'full'"),
        (lambda: Dense(-3), "units is -3"),
        (lambda: Dense("8"), "units is '8'"),
        (lambda: Dropout(1.0), "rate is 1.0"),
        (lambda: Dropout(-0.1), "rate is -0.1"),
        (lambda: Dropout(float("nan")), "rate is nan"),
        (lambda: Dropout("half"), "rate is 'half'"),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "layer",
    [Conv2D(2, 3), DepthwiseConv2D(3), MaxPool2D(2), AveragePool2D(2), GlobalAveragePool2D()],
)
def test_convolution_and_pooling_refuse_vectors(layer):
    with pytest.raises(ValueError, match=r"takes pictures of shape \(H, W, C\).*\(9,\)"):
        layer.output_shape((9,))


def test_dense_refuses_pictures():
    with pytest.raises(ValueError, match=r"\(4, 4, 1\): put Flatten\(\) before it"):
        Dense(3).output_shape((4, 4, 1))
    with pytest.raises(ValueError, match="Flatten"):
        Dense(3).parameter_shapes((4, 4, 1))


def test_a_valid_window_must_fit():
    with pytest.raises(ValueError, match="window of 5 does not fit 4 pixels"):
        Conv2D(2, 5, padding="valid").output_shape((6, 4, 1))
    with pytest.raises(ValueError, match="window of 3 does not fit 2 pixels"):
        MaxPool2D(3, padding="valid").output_shape((2, 6, 1))
    with pytest.raises(ValueError, match="window of 6 does not fit 5 pixels"):
        Conv2D(2, 6, padding=((1, 1), (0, 1))).output_shape((4, 4, 1))


# ---- configuration ---------------------------------------------------------------------------

EVERY_KIND = [
    *(Conv2D(3, (3, 2), stride=2, padding="valid"), Conv2D(4, 3), MaxPool2D(3, stride=1)),
    *(ReLU(), Flatten(), Dense(5), Dropout(0.25)),
    Conv2D(3, 3, stride=(2, 1), padding=((1, 0), (2, 3)), use_bias=False),
    *(DepthwiseConv2D((3, 5), (1, 2), ((0, 0), (4, 4)), 2, False), GlobalAveragePool2D()),
    *(MaxPool2D((2, 3)), AveragePool2D((2, 1), padding=((1, 0), (0, 0)), count_padding=True)),
    *(ReLU(max_value=6), LeakyReLU(0.2), PReLU(), Sigmoid(), Tanh(), SpatialDropout2D(0.5)),
    *(BatchNorm(0.99, 1e-3, False), ScaleShift(), Residual([Conv2D(3, 3)], [Conv2D(3, 1)])),
]


def test_config_survives_json():
    assert {type(layer) for layer in EVERY_KIND} == set(LAYERS.values())
    for layer in EVERY_KIND:
        assert layer_from_config(json.loads(json.dumps(layer.config()))) == layer


def test_numpy_integers_make_the_same_layer():
    """Sizes may come from array arithmetic; layers must turn them into numbers JSON can write."""
    eight = np.int64(8)
    pairs = [
        (Conv2D(eight, eight, stride=eight), Conv2D(8, 8, stride=8)),
        (Conv2D(8, (eight, eight)), Conv2D(8, (8, 8))),
        (MaxPool2D(eight, stride=np.int32(2)), MaxPool2D(8, stride=2)),
        (Conv2D(8, 8, stride=(eight, eight)), Conv2D(8, 8, stride=(8, 8))),
        (
            AveragePool2D(8, padding=np.array([[1, 2], [3, 0]])),
            AveragePool2D(8, padding=((1, 2), (3, 0))),
        ),
        (Dense(eight), Dense(8)),
        (Dropout(np.float32(0.5)), Dropout(0.5)),
    ]
    for from_numpy, plain in pairs:
        assert from_numpy == plain
        assert json.dumps(from_numpy.config()) == json.dumps(plain.config())


@pytest.mark.parametrize(
    "config, message",
    [
        ({"kind": "Softmax"}, "layer kind is 'Softmax'; expected one of Conv2D, .*Dropout"),
        ({}, "layer kind is None"),
        ({"kind": "Dense"}, "layer Dense cannot be made from {}.*units"),
        ({"kind": "ReLU", "slope": 0.1}, "layer ReLU cannot be made from {'slope': 0.1}"),
        ({"kind": "Dense", "units": 0}, "units is 0"),
    ],
)
def test_a_wrong_config_is_refused(config, message):
    with pytest.raises(ValueError, match=message):
        layer_from_config(config)
    assert list(config) != ["units"]  # the caller's dictionary is not changed


def test_equal_layers_compare_equal():
    assert Conv2D(3, 3) == Conv2D(3, 3) and Conv2D(3, 3) != Conv2D(3, 3, stride=2)
    with pytest.raises(AttributeError):
        Dense(3).units = 4
