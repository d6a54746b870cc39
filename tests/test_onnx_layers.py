"""Which layers the reader makes of ONNX nodes, with which options and parameters."""

import json

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")

from onnx_models import answers, floats, model, node, written  # noqa: E402

from tinycnn import InputSpec, softmax  # noqa: E402
from tinycnn.formats.onnx import import_network, load_network  # noqa: E402
from tinycnn.layers import (  # noqa: E402
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
    Tanh,
)


def read(folder, nodes, shape, constants=None, **options):
    """The network of these nodes, on the reference."""
    return load_network(written(folder, model(nodes, shape, constants, **options)), backend="numpy")


def layers(folder, nodes, shape, constants=None, **options):
    return list(read(folder, nodes, shape, constants, **options).layers)


DENSE = [node("Flatten", "a", "flat"), node("MatMul", "flat wd", "y")]
"""What makes a network of anything that gives a tensor called a."""


def first(folder, nodes, shape, constants, n_values, **options):
    """The layers before the dense layer, which reads n_values."""
    constants = {**constants, "wd": floats(n_values, 3)}
    *before, flatten, dense = layers(folder, [*nodes, *DENSE], shape, constants, **options)
    assert (flatten, dense) == (Flatten(), Dense(3, use_bias=False))
    return before


# ---- windows ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "attributes, padding, n_out",
    [
        (dict(), "valid", (5, 4)),
        (dict(pads=[0, 0, 0, 0]), "valid", (5, 4)),
        (dict(auto_pad="VALID"), "valid", (5, 4)),
        (dict(auto_pad="SAME_UPPER"), "same", (7, 5)),
        (dict(auto_pad="SAME_LOWER"), ((1, 1), (1, 0)), (7, 5)),
        (dict(pads=[1, 0, 1, 1]), "same", (7, 5)),
        (dict(pads=[1, 1, 1, 0]), ((1, 1), (1, 0)), (7, 5)),
        (dict(pads=[3, 0, 0, 2]), ((3, 0), (0, 2)), (8, 6)),
    ],
)
def test_padding_of_a_convolution(tmp_path, attributes, padding, n_out):
    conv = node("Conv", "x w", "a", kernel_shape=[3, 2], **attributes)
    n_values = 4 * n_out[0] * n_out[1]
    found = first(tmp_path, [conv], [None, 2, 7, 5], {"w": floats(4, 2, 3, 2)}, n_values)
    assert found == [Conv2D(4, (3, 2), 1, padding, use_bias=False)]


def test_weights_and_strides_of_a_convolution(tmp_path):
    w, b = floats(4, 2, 3, 2), floats(4)
    nodes = [node("Conv", "x w b", "a", strides=[2, 1]), *DENSE]
    network = read(tmp_path, nodes, ["n", 2, 7, 5], {"w": w, "b": b, "wd": floats(48, 3)})
    assert network.input_spec.shape == (7, 5, 2)
    assert network.layers[0] == Conv2D(4, (3, 2), (2, 1), "valid")
    for f, c, i, k in np.ndindex(4, 2, 3, 2):
        assert network.parameters["conv1.w"][i, k, c, f] == w[f, c, i, k]
    assert (network.parameters["conv1.b"] == b).all()


def test_depthwise_with_a_multiplier(tmp_path):
    w = floats(6, 1, 3, 3)
    nodes = [node("Conv", "x w", "a", group=3, auto_pad="SAME_UPPER"), *DENSE]
    network = read(tmp_path, nodes, ["n", 3, 4, 4], {"w": w, "wd": floats(96, 3)})
    assert network.layers[0] == DepthwiseConv2D(3, 1, "same", 2, use_bias=False)
    for c, m, i, k in np.ndindex(3, 2, 3, 3):
        assert network.parameters["depthwise1.w"][i, k, c, m] == w[2 * c + m, 0, i, k]


def test_a_pad_is_part_of_the_window_behind_it(tmp_path):
    pad = node("Pad", "x pads", "padded")
    pads = np.array([0, 0, 1, 2, 0, 0, 0, 3])
    conv = node("Conv", "padded w", "a", pads=[0, 1, 1, 0])
    found = first(
        tmp_path, [pad, conv], ["n", 2, 6, 6], {"pads": pads, "w": floats(1, 2, 3, 3)}, 60
    )
    assert found == [Conv2D(1, 3, 1, ((1, 1), (3, 3)), use_bias=False)]


def test_a_pad_of_an_nhwc_picture_before_the_transpose(tmp_path):
    nodes = [
        node("Pad", "x", "padded", mode="constant", pads=[0, 1, 0, 0, 0, 1, 0, 0]),
        node("Transpose", "padded", "nchw", perm=[0, 3, 1, 2]),
        node("Conv", "nchw w", "a"),
    ]
    found = first(tmp_path, nodes, ["n", 5, 6, 2], {"w": floats(1, 2, 3, 3)}, 20, opset=9)
    assert found == [Conv2D(1, 3, 1, ((1, 1), (0, 0)), use_bias=False)]


@pytest.mark.parametrize(
    "operator, attributes, expected, n_values",
    [
        (
            "MaxPool",
            dict(kernel_shape=[3, 2], strides=[2, 1]),
            MaxPool2D((3, 2), (2, 1), "valid"),
            30,
        ),
        ("MaxPool", dict(kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1), MaxPool2D(2), 24),
        ("MaxPool", dict(kernel_shape=[2, 2], auto_pad="SAME_UPPER"), MaxPool2D(2, 1), 84),
        ("AveragePool", dict(kernel_shape=[2, 2]), AveragePool2D(2, 1, "valid"), 60),
        (
            "AveragePool",
            dict(kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
            AveragePool2D(3, 1, "same", count_padding=True),
            84,
        ),
        ("AveragePool", dict(kernel_shape=[3, 3], pads=[1, 1, 1, 1]), AveragePool2D(3, 1), 84),
        (
            "AveragePool",
            dict(kernel_shape=[2, 2], strides=[2, 2], count_include_pad=1),
            AveragePool2D(2, 2, "valid"),
            18,
        ),
        (
            "AveragePool",
            dict(kernel_shape=[3, 3], strides=[3, 3], ceil_mode=1),
            AveragePool2D(3, 3, ((0, 2), (0, 0))),
            12,
        ),
        ("GlobalMaxPool", {}, MaxPool2D((7, 6), (7, 6), "valid"), 2),
    ],
)
def test_poolings(tmp_path, operator, attributes, expected, n_values):
    pool = node(operator, "x", "a", **attributes)
    assert first(tmp_path, [pool], ["n", 2, 7, 6], {}, n_values) == [expected]


def test_a_window_that_would_begin_in_the_padding_at_the_end_is_left_out(tmp_path):
    """As in PyTorch: of 5 pixels, windows of 1 with stride 3 begin at 0 and 3, not at 6."""
    pool = node("MaxPool", "x", "a", kernel_shape=[1, 1], strides=[3, 3], ceil_mode=1)
    assert first(tmp_path, [pool], ["n", 1, 5, 5], {}, 4) == [MaxPool2D(1, 3, "valid")]


def test_zeros_of_a_pad_before_a_max_pooling_count_only_beside_negative_values(tmp_path):
    relu = [node("Relu", "x", "r"), node("Pad", "r pads", "p")]
    pool = node("MaxPool", "p", "a", kernel_shape=[2, 2], strides=[2, 2])
    constants = {"pads": np.array([0, 0, 0, 0, 0, 0, 1, 1])}
    found = first(tmp_path, [*relu, pool], ["n", 1, 5, 5], constants, 9)
    assert found == [ReLU(), MaxPool2D(2)]


@pytest.mark.parametrize(
    "reduction",
    [
        node("GlobalAveragePool", "x", "a"),
        node("ReduceMean", "x", "a", axes=[2, 3]),
        node("ReduceMean", "x", "a", axes=[-1, -2], keepdims=0),
    ],
)
def test_the_mean_of_a_picture(tmp_path, reduction):
    nodes = [reduction, *DENSE]
    network = read(tmp_path, nodes, ["n", 2, 7, 5], {"wd": floats(2, 3)})
    assert list(network.layers) == [GlobalAveragePool2D(), Dense(3, use_bias=False)]


def test_the_mean_of_rows_and_then_of_columns(tmp_path):
    nodes = [
        node("ReduceMean", "x", "rows", axes=[3], keepdims=0),
        node("ReduceMean", "rows", "a", axes=[2], keepdims=0),
    ]
    found = layers(tmp_path, [*nodes, *DENSE], ["n", 2, 7, 5], {"wd": floats(2, 3)})
    assert found[0] == AveragePool2D((1, 5), (1, 5), "valid")
    assert found[1:] == [GlobalAveragePool2D(), Dense(3, use_bias=False)]


def test_windows_over_rows_are_windows_over_pictures_of_one_row(tmp_path):
    nodes = [
        node("Conv", "x w b", "c", strides=[2], pads=[2, 1]),
        node("MaxPool", "c", "a", kernel_shape=[2], strides=[2]),
    ]
    constants = {"w": floats(4, 3, 5), "b": floats(4)}
    found = first(tmp_path, nodes, ["n", 3, 12], constants, 12)
    assert found == [
        Conv2D(4, (1, 5), (1, 2), ((0, 0), (2, 1))),
        MaxPool2D((1, 2), (1, 2), "valid"),
    ]


# ---- weights ---------------------------------------------------------------------------------


@pytest.mark.parametrize("transposed", [0, 1])
def test_gemm(tmp_path, transposed):
    w, b = floats(4, 3), floats(3)
    stored = w.T if transposed else w
    gemm = node("Gemm", "x w b", "y", transB=transposed, alpha=0.5, beta=3.0)
    network = read(tmp_path, [gemm], [None, 4], {"w": stored, "b": b})
    assert list(network.layers) == [Flatten(), Dense(3)]
    assert network.input_spec.shape == (1, 1, 4)
    np.testing.assert_allclose(network.parameters["dense1.w"], 0.5 * w, rtol=1e-6)
    np.testing.assert_allclose(network.parameters["dense1.b"], 3 * b, rtol=1e-6)


def test_the_weights_behind_a_flatten_are_reordered(tmp_path):
    """ONNX flattens (C, H, W): the value of channel c at (i, k) is number (c * 3 + i) * 4 + k."""
    w = floats(24, 3)
    nodes = [node("Relu", "x", "a"), *DENSE]
    network = read(tmp_path, nodes, ["n", 2, 3, 4], {"wd": w})
    ours = network.parameters["dense1.w"].reshape(3, 4, 2, 3)
    for i, k, c in np.ndindex(3, 4, 2):
        # Relu and Flatten do not show the layout: (C, H, W) is assumed, as 2 is no usual last axis
        assert (ours[i, k, c] == w[(c * 3 + i) * 4 + k]).all()


def test_a_sum_behind_matmul_is_its_bias(tmp_path):
    nodes = [node("MatMul", "x w", "p"), node("Add", "b p", "y")]
    network = read(tmp_path, nodes, [None, 4], {"w": floats(4, 3), "b": floats(3)})
    assert list(network.layers) == [Flatten(), Dense(3)]
    assert (network.parameters["dense1.b"] == floats(3)).all()


def test_a_matmul_over_channels_last_is_a_convolution_of_1x1(tmp_path):
    nodes = [
        node("Transpose", "x", "t", perm=[0, 2, 3, 1]),
        node("Reshape", "t rows", "r"),
        node("MatMul", "r w", "m"),
        node("Reshape", "m back", "a"),
    ]
    constants = {"rows": [-1, 2], "w": floats(2, 5), "back": [-1, 3, 4, 5]}
    assert first(tmp_path, nodes, ["n", 2, 3, 4], constants, 60) == [
        Conv2D(5, 1, 1, "valid", use_bias=False)
    ]


def test_a_convolution_behind_a_global_mean_is_a_dense_layer(tmp_path):
    w = floats(5, 2, 3, 3)
    nodes = [
        node("GlobalAveragePool", "x", "g"),
        node("Conv", "g w b", "c", pads=[1, 1, 1, 1]),
        node("Squeeze", "c axes", "y"),
    ]
    constants = {"w": w, "b": floats(5), "axes": [2, 3]}
    network = read(tmp_path, nodes, ["n", 2, 4, 4], constants)
    assert list(network.layers) == [GlobalAveragePool2D(), Dense(5)]
    assert (network.parameters["dense1.w"] == w[:, :, 1, 1].T).all()


def test_batch_normalization(tmp_path):
    names = ("gamma", "beta", "running_mean", "running_var")
    constants = {name: np.abs(floats(2, seed=k)) for k, name in enumerate(names)}
    nodes = [
        node("BatchNormalization", f"x {' '.join(names)}", "a", epsilon=0.25, momentum=0.75),
        *DENSE,
    ]
    constants["wd"] = floats(24, 3)
    for producer, unbiased in (("pytorch", True), ("tf2onnx", False)):
        network = read(tmp_path, nodes, ["n", 2, 3, 4], constants, producer=producer)
        assert network.layers[0] == BatchNorm(0.75, 0.25, unbiased)
        arrays = {**network.parameters, **network.statistics}
        for name in names:
            assert (arrays[f"bn1.{name}"] == constants[name]).all()


def test_batch_normalization_behind_a_flatten_is_one_of_each_value(tmp_path):
    """Even if all values of a channel have the same parameters."""
    constants = {"s": np.ones(24, np.float32), "z": np.zeros(24, np.float32), "wd": floats(24, 3)}
    nodes = [
        node("Relu", "x", "r"),
        node("Flatten", "r", "f"),
        node("BatchNormalization", "f s z z s", "n"),
        node("MatMul", "n wd", "y"),
    ]
    network = read(tmp_path, nodes, ["n", 2, 3, 4], constants)
    assert list(network.layers[:3]) == [ReLU(), Flatten(), BatchNorm(0.9, 1e-5, False)]
    assert network.parameters["bn1.gamma"].shape == (24,)


def test_chains_of_products_and_sums_are_one_scale_and_shift(tmp_path):
    """((x - m) / s * g + b) - 1, as an exporter may write a BatchNorm."""
    m, g, b = floats(2, 1, 1), floats(2, 1, 1, seed=1), floats(1, 2, 1, 1)
    s = np.abs(floats(2, 1, 1, seed=2)) + 1
    nodes = [
        node("Sub", "x m", "1"),
        node("Div", "1 s", "2"),
        node("Mul", "g 2", "3"),
        node("Add", "3 b", "4"),
        node("Sub", "4 one", "5"),
        node("Neg", "5", "a"),
        *DENSE,
    ]
    constants = {"m": m, "s": s, "g": g, "b": b, "one": np.float32(1), "wd": floats(24, 3)}
    network = read(tmp_path, nodes, ["n", 2, 3, 4], constants)
    assert network.layers[0] == ScaleShift()
    scale = (-g.astype(float) / s).ravel()
    shift = (m.astype(float) / s * g).ravel() - b.ravel() + 1
    np.testing.assert_allclose(network.parameters["scale1.scale"], scale, rtol=1e-6)
    np.testing.assert_allclose(network.parameters["scale1.shift"], shift, rtol=1e-5)


def test_weights_that_are_computed_from_constants(tmp_path):
    """Stored in 8 bits, as (OIHW) in another order, with a scale for each filter."""
    stored = np.arange(-12, 12, dtype=np.int8).reshape(2, 2, 2, 3)  # (H, W, I, O)
    scale, point = np.array([0.5, 0.25, 2], np.float32), np.array([1, 0, -1], np.int8)
    nodes = [
        node("DequantizeLinear", "stored scale point", "hwio", axis=3),
        node("Transpose", "hwio", "oihw", perm=[3, 2, 0, 1]),
        node("Constant", "", "half", value_float=0.5),
        node("Mul", "oihw half", "w"),
        node("Conv", "x w", "a"),
        *DENSE,
    ]
    constants = {"stored": stored, "scale": scale, "point": point, "wd": floats(18, 3)}
    network = read(tmp_path, nodes, ["n", 2, 3, 4], constants)
    expected = (stored.astype(float) - point) * scale / 2
    np.testing.assert_array_equal(network.parameters["conv1.w"], expected)


# ---- activations -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "nodes, expected, opset",
    [
        ([node("Relu", "x", "a")], [ReLU()], 17),
        ([node("LeakyRelu", "x", "a", alpha=0.25)], [LeakyReLU(0.25)], 17),
        ([node("Sigmoid", "x", "a")], [Sigmoid()], 17),
        ([node("Tanh", "x", "a")], [Tanh()], 17),
        ([node("Clip", "x zero six", "a")], [ReLU(6)], 17),
        ([node("Clip", "x", "a", min=0.0, max=6.0)], [ReLU(6)], 7),
        ([node("Clip", "x", "a", min=0.0)], [ReLU()], 7),
        ([node("Clip", "x zero", "a")], [ReLU()], 17),
        ([node("Max", "x zero", "a")], [ReLU()], 17),
        ([node("Relu", "x", "r"), node("Min", "six r", "a")], [ReLU(6)], 17),
        ([node("Relu", "x", "r"), node("Clip", "r zero six", "a")], [ReLU(), ReLU(6)], 17),
        ([node("Clip", "x minus six", "a")], [ScaleShift(), ReLU(7), ScaleShift()], 17),
        ([node("Dropout", "x", "a", ratio=0.25)], [Dropout(0.25)], 7),
        ([node("Dropout", "x quarter", "a")], [Dropout(0.25)], 17),
        ([node("Identity", "x", "i"), node("Cast", "i", "a", to=11)], [], 17),
        ([node("Mul", "x one", "a")], [], 17),
    ],
)
def test_activations(tmp_path, nodes, expected, opset):
    values = {"zero": 0, "six": 6, "minus": -1, "quarter": 0.25, "one": 1}
    constants = {name: np.float32(value) for name, value in values.items()}
    assert first(tmp_path, nodes, ["n", 2, 3, 4], constants, 24, opset=opset) == expected


@pytest.mark.parametrize("shape", [(2, 1, 1), (1, 2, 1, 1), (1,), ()])
def test_prelu(tmp_path, shape):
    slope = floats(*shape)
    nodes = [node("PRelu", "x slope", "a"), *DENSE]
    network = read(tmp_path, nodes, ["n", 2, 3, 4], {"slope": slope, "wd": floats(24, 3)})
    assert network.layers[0] == PReLU()
    assert (network.parameters["prelu1.alpha"] == np.broadcast_to(slope.ravel(), (2,))).all()


# ---- sums ------------------------------------------------------------------------------------


def conv(inputs, output):
    return node("Conv", f"{inputs} w", output, auto_pad="SAME_UPPER")


CONV = Conv2D(2, 3, use_bias=False)
CONV_WEIGHTS = {"w": floats(2, 2, 3, 3)}


@pytest.mark.parametrize(
    "nodes, expected",
    [
        ([conv("x", "c"), node("Add", "c x", "a")], [Residual([CONV])]),
        ([conv("x", "c"), node("Add", "x c", "a")], [Residual([CONV])]),
        (
            [conv("x", "c"), node("Relu", "c", "r"), conv("x", "s"), node("Add", "s r", "a")],
            [Residual([CONV, ReLU()], [CONV])],
        ),
        (
            [
                *(conv("x", "1"), conv("1", "2"), node("Relu", "2", "3"), node("Add", "3 1", "4")),
                *(conv("4", "5"), node("Add", "5 x", "a")),
            ],
            [Residual([CONV, Residual([CONV, ReLU()]), CONV])],
        ),
        (  # the shortcut of the second sum begins before the first one
            [conv("x", "1"), node("Add", "1 x", "2"), node("Add", "2 x", "a")],
            [Residual([Residual([CONV])])],
        ),
        (
            [conv("x", "1"), node("Relu", "x", "2"), node("Sum", "1 2 x", "a")],
            [Residual([Residual([CONV], [ReLU()])])],
        ),
        ([node("Relu", "x", "r"), node("Add", "r r", "a")], [ReLU(), ScaleShift()]),
        (
            [node("Relu", "x", "r"), node("Sub", "x r", "a")],
            [Residual([ReLU(), ScaleShift()])],
        ),
    ],
)
def test_sums_are_residuals(tmp_path, nodes, expected):
    assert first(tmp_path, nodes, ["n", 2, 4, 4], CONV_WEIGHTS, 32) == expected


def test_a_sum_of_vectors_begins_behind_the_flatten(tmp_path):
    nodes = [node("MatMul", "x w", "p"), node("Add", "p x", "y")]
    assert layers(tmp_path, nodes, ["n", 4], {"w": floats(4, 4)}) == [
        Flatten(),
        Residual([Dense(4, use_bias=False)]),
    ]


def test_the_parameters_of_branches_are_those_of_their_nodes(tmp_path):
    constants = {f"w{k}": floats(2, 2, 1, 1, seed=k) for k in range(4)}
    nodes = [
        node("Conv", "x w0", "0"),
        node("Conv", "x w1", "1"),
        node("Conv", "1 w2", "2"),
        node("Add", "0 2", "s"),
        node("Conv", "s w3", "a"),
        *DENSE,
    ]
    network = read(tmp_path, nodes, ["n", 2, 2, 2], {**constants, "wd": floats(8, 3)})
    names = ["residual1.shortcut.conv1", "residual1.conv1", "residual1.conv2", "conv1"]
    for k, name in enumerate(names):
        expected = constants[f"w{k}"][:, :, 0, 0].T
        assert (network.parameters[f"{name}.w"][0, 0] == expected).all()


# ---- input, output, metadata -----------------------------------------------------------------


@pytest.mark.parametrize(
    "shape, arranged",
    [
        ((1, 28, 28), (28, 28, 1)),
        ((28, 28, 1), (28, 28, 1)),
        ((3, 8, 9), (8, 9, 3)),
        ((8, 9, 3), (8, 9, 3)),
        ((6, 8, 9), (8, 9, 6)),
        ((8, 9), (8, 9, 1)),
        ((7,), (1, 1, 7)),
    ],
)
def test_an_input_whose_layout_the_layers_do_not_show(tmp_path, shape, arranged):
    nodes = [node("Flatten", "x", "f"), node("MatMul", "f w", "y")]
    network = read(tmp_path, nodes, [None, *shape], {"w": floats(int(np.prod(shape)), 3)})
    assert network.input_spec.shape == arranged


@pytest.mark.parametrize("batch", [None, "n", 1, 5])
def test_the_batch_may_have_any_size_in_the_file(tmp_path, batch):
    first_axis = 0 if batch is None else -1 if batch == "n" else batch
    nodes = [
        node("Relu", "x", "r"),
        node("Reshape", "r shape", "f"),
        node("MatMul", "f w", "y"),
    ]
    constants = {"shape": np.array([first_axis, 24]), "w": floats(24, 3)}
    assert layers(tmp_path, nodes, [batch, 2, 3, 4], constants)[-1] == Dense(3, use_bias=False)


def test_a_shape_that_is_computed_from_the_batch(tmp_path):
    nodes = [
        node("Relu", "x", "r"),
        node("Shape", "r", "shape"),
        node("Gather", "shape zero", "batch", axis=0),
        node("Unsqueeze", "batch zero", "batches"),
        node("Concat", "batches rest", "target", axis=0),
        node("Reshape", "r target", "f"),
        node("MatMul", "f w", "y"),
    ]
    constants = {"zero": np.array([0]), "rest": np.array([-1]), "w": floats(24, 3)}
    nodes[2].input[1] = "first"
    constants["first"] = np.array(0)
    assert layers(tmp_path, nodes, ["n", 2, 3, 4], constants)[-1] == Dense(3, use_bias=False)


@pytest.mark.parametrize("shape", [(4, 2, 3), (2, 3, 4)])
def test_a_picture_made_of_a_flat_input(tmp_path, shape):
    """In the order C, H, W, or H, W, C with a Transpose behind it."""
    nodes = [node("Reshape", "x shape", "p")]
    if shape == (2, 3, 4):
        nodes.append(node("Transpose", "p", "t", perm=[0, 3, 1, 2]))
    nodes += [node("Conv", f"{nodes[-1].output[0]} w", "a"), *DENSE]
    constants = {"shape": np.array([-1, *shape]), "w": floats(5, 4, 1, 1), "wd": floats(30, 3)}
    network = read(tmp_path, nodes, ["n", 24], constants)
    assert network.input_spec.shape == (2, 3, 4)
    assert network.layers[0] == Conv2D(5, 1, 1, "valid", use_bias=False)


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("opset, axis", [(9, 1), (17, -1), (17, 1)])
def test_a_last_softmax_is_left_out_and_that_is_said(tmp_path, caplog, operator, opset, axis):
    nodes = [node("MatMul", "x w", "z"), node(operator, "z", "s", axis=axis)]
    nodes.append(node("Identity", "s", "y"))
    path = written(tmp_path, model(nodes, ["n", 4], {"w": floats(4, 3)}, opset=opset))
    imported = import_network(path, backend="numpy")
    assert list(imported.network.layers) == [Flatten(), Dense(3, use_bias=False)]
    (note,) = imported.notes
    assert note.startswith(f"node number 2 ({operator}) at the end is left out")
    with caplog.at_level("INFO", "tinycnn"):
        load_network(path, backend="numpy")
    assert note in caplog.text


def test_an_output_that_is_a_picture(tmp_path):
    nodes = [node("Conv", "x w", "y", auto_pad="SAME_UPPER")]
    path = written(tmp_path, model(nodes, ["n", 2, 4, 5], {"w": floats(3, 2, 3, 3)}))
    imported = import_network(path, backend="numpy")
    assert list(imported.network.layers) == [Conv2D(3, 3, use_bias=False), Flatten()]
    assert imported.notes == ("its output is a picture (3, 4, 5): as a vector it runs H, W, C",)


@pytest.mark.parametrize(
    "metadata, classes, n_notes",
    [
        ({}, ("0", "1", "2"), 0),
        ({"classes": json.dumps(["a", "b", "c"])}, ("a", "b", "c"), 0),
        ({"classes": json.dumps(["a", "b"])}, ("0", "1", "2"), 1),
        ({"classes": json.dumps(["a", "b", "b"])}, ("0", "1", "2"), 1),
        ({"classes": "a, b, c"}, ("0", "1", "2"), 1),
        ({"scaling": "of another program", "license": "MIT"}, ("0", "1", "2"), 0),
    ],
)
def test_class_names_in_the_metadata(tmp_path, metadata, classes, n_notes):
    nodes = [node("MatMul", "x w", "y")]
    path = written(tmp_path, model(nodes, ["n", 4], {"w": floats(4, 3)}, metadata=metadata))
    imported = import_network(path, backend="numpy")
    assert imported.network.classes == classes
    assert len(imported.notes) == n_notes


def test_names_and_scaling_may_be_given(tmp_path):
    path = written(tmp_path, model([node("MatMul", "x w", "y")], ["n", 4], {"w": floats(4, 2)}))
    network = load_network(
        path,
        classes=["a", "b"],
        scaling="unit",
        mean=[0.5] * 4,
        std=[0.25] * 4,
        framing="fer2013",
        backend="numpy",
    )
    expected = InputSpec(1, 1, 4, "unit", ("a", "b"), "fer2013", (0.5,) * 4, (0.25,) * 4)
    assert network.input_spec == expected
    with pytest.raises(ValueError, match="scaling is 'bright'; expected one of"):
        load_network(path, scaling="bright")


def test_a_classifier_of_scikit_learn(tmp_path):
    """skl2onnx: an integer output beside the probabilities, which are a map by class."""
    nodes = [
        node("Scaler", "x", "s", domain="ai.onnx.ml", offset=[1.0, 2.0], scale=[0.5, 4.0]),
        node("Cast", "s", "c", to=1),
        node("MatMul", "c w", "m"),
        node("Add", "m b", "z"),
        node("Softmax", "z", "p"),
        node("ArgMax", "p", "label", axis=1),
        node("ZipMap", "p", "y", domain="ai.onnx.ml", classlabels_strings=["no", "yes"]),
    ]
    made = model(nodes, [None, 2], {"w": floats(2, 2), "b": floats(2)})
    label = onnx.helper.make_tensor_value_info("label", onnx.TensorProto.INT64, None)
    made.graph.output.insert(0, label)
    network = load_network(written(tmp_path, made), backend="numpy")
    assert list(network.layers) == [Flatten(), ScaleShift(), Dense(2)]
    assert network.classes == ("no", "yes")
    assert network.parameters["scale1.scale"].tolist() == [0.5, 4.0]
    assert network.parameters["scale1.shift"].tolist() == [-0.5, -8.0]


@pytest.mark.parametrize("axis", [1, -1])
def test_a_classifier_of_scikit_learn_for_two_classes(tmp_path, axis):
    """It gives 1 - p and p; the network gives logits with these probabilities."""
    nodes = [
        node("MatMul", "x w", "m"),
        node("Add", "m b", "z"),
        node("Sigmoid", "z", "p"),
        node("Sub", "one p", "q"),
        node("Concat", "q p", "y", axis=axis),
    ]
    constants = {"w": floats(4, 1), "b": floats(1), "one": np.array([1], np.float32)}
    made = model(nodes, [None, 4], constants)
    imported = import_network(written(tmp_path, made), backend="numpy")
    assert list(imported.network.layers) == [Flatten(), Dense(1), Dense(2, use_bias=False)]
    assert "are left out: the network gives the logits 0 and z" in imported.notes[0]
    x = floats(5, 4)
    probs = softmax(imported.network.forward(x.reshape(5, 1, 1, 4)), backend="numpy")
    np.testing.assert_allclose(probs, answers(made, x), rtol=1e-5)


def test_an_input_of_float64_gives_a_network_of_float64(tmp_path):
    made = model([node("MatMul", "x w", "y")], ["n", 4], {"w": floats(4, 2).astype(float)})
    made.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    assert load_network(written(tmp_path, made), backend="numpy").dtype == np.float64
