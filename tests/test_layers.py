"""Layers: output shapes, parameters, and refused arguments."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinycnn.layers import (
    LAYERS,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    MaxPool2D,
    ReLU,
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
        (MaxPool2D(2), (11, 11, 32), (6, 6, 32), {}),
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
    assert MaxPool2D(3).stride == 3
    assert MaxPool2D(3, stride=1).stride == 1


# ---- refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Conv2D(0, 3), "filters is 0; expected a whole number of 1 or more"),
        (lambda: Conv2D(2.0, 3), "filters is 2.0"),
        (lambda: Conv2D(True, 3), "filters is True"),
        (lambda: Conv2D(2, 0), "kernel_size is 0"),
        (lambda: Conv2D(2, (3, -1)), "kernel_width is -1"),
        (lambda: Conv2D(2, (3, 3, 3)), "expected a number or .height, width."),
        (lambda: Conv2D(2, "3"), "kernel_size is '3'"),
        (lambda: Conv2D(2, (0, 3)), "kernel_height is 0"),
        (lambda: Conv2D(2, 3, stride=0), "stride is 0"),
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


@pytest.mark.parametrize("layer", [Conv2D(2, 3), MaxPool2D(2)])
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


# ---- configuration ---------------------------------------------------------------------------

EVERY_KIND = [
    *(Conv2D(3, (3, 2), stride=2, padding="valid"), Conv2D(4, 3), MaxPool2D(3, stride=1)),
    *(ReLU(), Flatten(), Dense(5), Dropout(0.25)),
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
