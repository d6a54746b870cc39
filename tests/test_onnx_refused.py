"""ONNX models that cannot be read: what the message names, and that nothing large is allocated."""

import gc
import os
import re
import tracemalloc

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")

from onnx_models import floats, model, node, written  # noqa: E402

from tinycnn.cli import main  # noqa: E402
from tinycnn.formats.onnx import load_network  # noqa: E402
from tinycnn.formats.onnx_import import errors, model_file  # noqa: E402
from tinycnn.formats.safetensors import ModelFileError  # noqa: E402

W = {"w": floats(2, 2, 3, 3), "v": floats(4, 3), "two": floats(2)}


def refused(path):
    """What is wrong with the file, by the message of its error, which begins with its name."""
    with pytest.raises(ModelFileError) as raised:
        load_network(path, backend="numpy")
    message = str(raised.value)
    assert message.startswith(f"{path}: ") and "\n" not in message and len(message) < 1000
    return message.removeprefix(f"{path}: ")


# ---- what layers cannot express --------------------------------------------------------------


@pytest.mark.parametrize(
    "nodes, shape, expected",
    [
        (
            [node("ConvTranspose", "x w", "y", name="up")],
            [None, 2, 5, 5],
            "node 'up' (ConvTranspose): tinycnn has no layer for this operator; the nearest is "
            "Conv2D, which does not enlarge pictures",
        ),
        (
            [node("Conv", "x w", "y", name="c", dilations=[2, 2])],
            [None, 2, 9, 9],
            "node 'c' (Conv): attribute dilations = [2, 2]: windows with gaps; the nearest are "
            "windows without, dilations 1",
        ),
        (
            [node("Conv", "x grouped", "y", name="c", group=2)],
            [None, 4, 9, 9],
            "node 'c' (Conv): attribute group = 2: weights of shape (4, 2, 3, 3) for 4 channels; "
            "the nearest are group = 1 and, for a depthwise convolution, group = 4",
        ),
        (
            [node("Conv", "x x", "y")],
            [None, 2, 9, 9],
            "node number 1 (Conv): input 2, the weights, is computed from the network's input; the "
            "layers of tinycnn have constant weights",
        ),
        (
            [node("Conv", "x cubes", "y")],
            [None, 2, 4, 4, 4],
            "node number 1 (Conv): weights of shape (1, 2, 2, 2, 2) on an input of shape (1, 2, 4, "
            "4, 4); the nearest is a convolution over pictures",
        ),
        (
            [node("MaxPool", "x", "y indices", kernel_shape=[2, 2])],
            [None, 2, 4, 4],
            "its second output, the places of the maxima, is used; the first can be",
        ),
        (
            [node("MaxPool", "x", "y", kernel_shape=[2, 2], pads=[2, 0, 0, 0])],
            [None, 2, 4, 4],
            "padding is ((2, 0), (0, 0)); expected less than the window's size, 2",
        ),
        (
            [
                node(
                    *("AveragePool", "x", "y"),
                    **dict(kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, count_include_pad=1),
                )
            ],
            [None, 2, 5, 4],
            "attribute ceil_mode = 1: the last windows reach beyond padding that counts; the "
            "nearest is ceil_mode = 0",
        ),
        (
            [node("Pad", "x pads", "p"), node("MaxPool", "p", "y", kernel_shape=[2, 2])],
            [None, 2, 4, 4],
            "zeros that a Pad added would count as values; the nearest is padding that does not, "
            "attribute pads",
        ),
        (
            [node("Pad", "x pads", "p", mode="reflect"), node("Conv", "p w", "y")],
            [None, 2, 4, 4],
            "attribute mode = reflect: the nearest is padding with zeros, 'constant'",
        ),
        (
            [node("Pad", "x pads one", "p"), node("Conv", "p w", "y")],
            [None, 2, 4, 4],
            "it adds other values than 0; the nearest is padding with zeros",
        ),
        (
            [node("Pad", "x pads", "p"), node("Relu", "p", "y")],
            [None, 2, 4, 4],
            "its input is the output of a layer with zeros that a Pad added",
        ),
        (
            [node("LeakyRelu", "x", "y", alpha=-1.0)],
            [None, 4],
            "attribute alpha = -1.0: expected a slope from 0 on, below 1",
        ),
        (
            [node("PRelu", "x each", "y")],
            [None, 2, 4, 4],
            "a constant of shape (2, 4, 4) differs between the pixels of a channel of (4, 4, 2); "
            "the nearest is one number for each channel",
        ),
        (
            [node("Sigmoid", "x", "s"), node("Mul", "s x", "y")],
            [None, 4],
            "two tensors that depend on the input are multiplied",
        ),
        (
            [node("Conv", "x w", "c"), node("Concat", "c c", "y", axis=1)],
            [None, 2, 4, 4],
            "(Concat): tensors are put side by side; the nearest is the sum of branches of the",
        ),
        (  # all 1 - p, then all p: more rows than images
            [
                *(node("MatMul", "x column", "z"), node("Sigmoid", "z", "p")),
                *(node("Sub", "one p", "q"), node("Concat", "q p", "y", axis=0)),
            ],
            [None, 4],
            "(Concat): tensors are put side by side",
        ),
        (
            [node("GlobalAveragePool", "x", "g"), node("Add", "x g", "y")],
            [None, 2, 4, 4],
            "tensors of shapes (1, 2, 4, 4) and (1, 2, 1, 1) are added",
        ),
        (
            [node("MatMul", "x v", "z"), node("Softmax", "z", "s"), node("Relu", "s", "y")],
            [None, 4],
            "it reads what comes from node number 2 (Softmax); a softmax is read at the end only",
        ),
        (
            [node("Softmax", "x", "y", axis=1)],
            [None, 2, 4, 4],
            "over axes (1,) of (1, 2, 4, 4), a part of the values",
        ),
        (
            [node("Transpose", "x", "y", perm=[1, 0])],
            [None, 4],
            "attribute perm = [1, 0]: it moves the batch axis; expected 0 first",
        ),
        ([node("ReduceMean", "x", "y")], [None, 4], "it reduces over the images of a batch"),
        (
            [node("Conv", "x w", "c"), node("ReduceMean", "c", "y", axes=[1])],
            [None, 2, 4, 4],
            "it reduces 2 values of (1, 2, 2, 2) to one; the nearest is all pixels of a picture",
        ),
        ([node("Flatten", "x", "y", axis=0)], [None, 4], "it joins the images of a batch"),
        (
            [node("Reshape", "x joined", "y")],
            [None, 4],
            "a shape [2, -1] joins the images of a batch; the nearest begins with -1",
        ),
        (
            [node("Reshape", "x wide", "p"), node("Conv", "p w", "y")],
            [None, 2, 4, 4],
            "its input of shape (1, 2, 2, 8) is a rearranged output (4, 4, 2) (H, W, C) of a layer",
        ),
        (
            [node("BatchNormalization", "x two two two two", "y", training_mode=1)],
            [None, 2, 4, 4],
            "attribute training_mode = 1: the model was exported for training: export it for",
        ),
        (
            [node("BatchNormalization", "x two two two negative", "y")],
            [None, 2, 4, 4],
            "a variance is negative",
        ),
        (
            [node("Dropout", "x half true", "y")],
            [None, 4],
            "it drops values in prediction too (training_mode): export the model for evaluation",
        ),
        ([node("Cast", "x", "y", to=7)], [None, 4], "attribute to = 7: a conversion to int64"),
        (
            [node("Relu", "x", "y", alpha=1.0)],
            [None, 4],
            "attribute alpha = 1.0: tinycnn does not know this attribute of Relu",
        ),
        ([node("Relu", "x", "y", domain="mine")], [None, 4], "(mine.Relu): tinycnn has no layer"),
        (
            [node("Det", "square", "d"), node("Mul", "x d", "y")],
            [None, 4],
            "(Det): its inputs are constants, and tinycnn does not compute this operator",
        ),
        (
            # 1 reads x; 2 reads 1; the second sum has 1 and the first sum, which has 2 and x
            [
                *(node("Conv", "x k", "1"), node("Conv", "1 k", "2"), node("Add", "2 x", "3")),
                *(node("Add", "1 3", "4"), node("Conv", "4 k", "y")),
            ],
            [None, 2, 4, 4],
            "node number 1 (Conv): its output goes into sums that overlap; tinycnn adds branches "
            "that lie side by side or inside one another, as Residual does",
        ),
        (
            [node("Conv", "x w", "c"), node("Flatten", "c", "y")],
            [None, 2, 5, 5],
            "its output of shape (1, 18) lists channels before pixels",
        ),
        (
            [node("Relu", "x", "r"), node("Slice", "r begin end", "y")],
            [None, 4],
            "(Slice): tinycnn has no layer for this operator; the nearest is a convolution with",
        ),
    ],
)
def test_what_cannot_be_expressed_is_named(tmp_path, nodes, shape, expected):
    constants = {
        **W,
        **{"grouped": floats(4, 2, 3, 3), "cubes": floats(1, 2, 2, 2, 2), "each": floats(2, 4, 4)},
        **{"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "one": np.float32(1)},
        "column": floats(4, 1),
        **{"wide": np.array([-1, 2, 2, 8]), "joined": np.array([2, -1]), "k": floats(2, 2, 1, 1)},
        **{"negative": -np.abs(floats(2)), "half": np.float32(0.5), "true": np.array(True)},
        **{"square": floats(3, 3), "begin": np.array([0]), "end": np.array([2])},
    }
    path = written(tmp_path, model(nodes, shape, constants))
    assert expected in refused(path)


@pytest.mark.parametrize(
    "nodes, expected",
    [
        ([node("Reshape", "x half", "y")], "the shape is float32 (2,); expected a few whole num"),
        ([node("Gather", "four first", "g", axis=5)], "axis 5 of a tensor with 1 axes"),
        ([node("Gather", "four half", "g")], "indices of dtype float32"),
        ([node("Gather", "four", "g")], "input 2 is missing"),
        ([node("Reshape", "four three", "g")], "a tensor of shape (4,) cannot be given (3,)"),
        ([node("Reshape", "four many", "g")], "9 axes; at most 8 are read"),
        ([node("Unsqueeze", "four twice", "g")], "axes [0, 0] for a tensor of shape (4,)"),
        ([node("Pad", "x three_pads", "y")], "3 pads for 2 axes"),
        ([node("Cast", "four", "g", to=8)], "attribute to = 8: expected one of "),
        ([node("Slice", "four first twice", "g")], "starts, ends, axes and steps do not fit"),
        ([node("Constant", "", "g", value_string="a")], "a constant of a kind that is not read"),
    ],
)
def test_constants_that_do_not_fit_are_named(tmp_path, nodes, expected):
    constants = {
        **{"four": floats(4), "half": floats(2), "first": np.array([0]), "three": np.array([3])},
        **{"many": np.array([4] + [1] * 8), "twice": np.array([0, 0])},
        "three_pads": np.array([0, 0, 1]),
    }
    if nodes[0].output[0] == "g":
        nodes = [*nodes, node("Mul", "x g", "y")]
    message = refused(written(tmp_path, model(nodes, [None, 4], constants)))
    assert message.startswith(f"node number 1 ({nodes[0].op_type}): {expected}")


def test_the_command_line_says_it_in_one_line(tmp_path, capsys):
    nodes = [node("Elu", "x", "y", name="bad\x1b[31m")]
    path = written(tmp_path, model(nodes, [None, 4]))
    out = tmp_path / "out.safetensors"
    assert main(["convert", str(path), str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {path}: node 'bad\ufffd[31m' (Elu): tinycnn has no layer for")
    assert not out.exists()


# ---- the file --------------------------------------------------------------------------------


GOOD = [node("MatMul", "x v", "m"), node("Relu", "m", "y")]


def good(shape=(None, 4), **options):
    return model(GOOD, list(shape), W, **options)


@pytest.mark.parametrize(
    "data, expected",
    [
        (b"", "not an ONNX model, or damaged: it has no graph"),
        (b"hello, world", "not an ONNX model, or damaged: "),
        (b"\x3a\x04\x0a\x08", "not an ONNX model, or damaged: field 7 is cut off"),
        (good().SerializeToString()[:-9], "not an ONNX model, or damaged: "),
    ],
)
def test_files_that_are_no_models(tmp_path, data, expected):
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    assert refused(path).startswith(expected)


def test_a_file_that_does_not_exist(tmp_path):
    with pytest.raises(FileNotFoundError, match="m.onnx: no such model file"):
        load_network(tmp_path / "m.onnx")


def test_an_old_operator_set(tmp_path):
    assert refused(written(tmp_path, good(opset=6))).startswith("operator set 6; 7 and later are")


@pytest.mark.parametrize(
    "shape, expected",
    [
        ([None, None], "its input 'x' has the shape (?, ?); all sizes but the first, the batch,"),
        (
            [None, "width"],
            "its input 'x' has the shape (?, ?); all sizes but the first, the batch,",
        ),
        (None, "its input 'x' has the shape (); all sizes but the first, the batch, must be"),
        ([None, 0], "its input 'x' has 0 values; expected 1 to 4,194,304"),
        ([None, 1 << 30, 1 << 30, 3], "its input 'x' has 3,458,764,513,820,540,928 values; "),
        ([None] + [1] * 9, "'x' has 10 axes, or a negative size"),
    ],
)
def test_inputs_of_unknown_or_impossible_size(tmp_path, shape, expected):
    assert refused(written(tmp_path, model(GOOD, shape, W))).startswith(expected)


def test_several_inputs_and_outputs(tmp_path):
    made = good()
    made.graph.input.append(
        onnx.helper.make_tensor_value_info("other", onnx.TensorProto.FLOAT, [None, 4])
    )
    assert refused(written(tmp_path, made)).startswith("2 inputs ('x', 'other'); a network of")
    made = good()
    made.graph.output.append(
        onnx.helper.make_tensor_value_info("m", onnx.TensorProto.FLOAT, [None, 3])
    )
    assert refused(written(tmp_path, made)).startswith("its outputs are 'y', 'm'; a network of")


def test_constants_may_be_listed_as_inputs_as_well(tmp_path):
    """Up to IR version 3 all initialisers are."""
    made = good()
    made.graph.input.append(onnx.helper.make_tensor_value_info("v", onnx.TensorProto.FLOAT, [4, 3]))
    assert load_network(written(tmp_path, made), backend="numpy").n_parameters == 12


@pytest.mark.parametrize(
    "nodes, expected",
    [
        ([node("Add", "x b", "a"), node("Relu", "a", "b"), node("Relu", "b", "y")], "'b'"),
        ([node("Relu", "y", "y")], "'y'"),
        ([node("MatMul", "x missing", "y")], "'missing'"),
        ([node("Dropout", "x", "d mask"), node("Add", "d mask", "y")], "'mask'"),
    ],
)
def test_circles_and_missing_values(tmp_path, nodes, expected):
    message = refused(written(tmp_path, model(nodes, [None, 4], W)))
    assert f"its input {expected} is no initialiser, and no node before it gives it" in message


def test_values_that_have_two_sources(tmp_path):
    nodes = [node("Relu", "x", "y"), node("Tanh", "x", "y")]
    message = refused(written(tmp_path, model(nodes, [None, 4])))
    assert message == "node number 2 (Tanh): its output 'y' is also that of another node"
    made = good()
    made.graph.initializer.append(made.graph.initializer[0])
    assert refused(written(tmp_path, made)) == "damaged: two initialisers have the same name"


def test_an_output_that_does_not_depend_on_the_input(tmp_path):
    made = model([node("Relu", "two", "y")], [None, 4], W)
    message = refused(written(tmp_path, made))
    assert "(Relu): its inputs are constants" in message
    made = model([node("Neg", "two", "y")], [None, 4], W)
    assert refused(written(tmp_path, made)) == "its output 'y' does not depend on its input"


def test_weights_that_are_not_finite_or_do_not_fit(tmp_path):
    for bad in (np.nan, np.inf, 1e39):
        v = floats(4, 3).astype(float)
        v[1, 2] = bad
        path = written(tmp_path, model(GOOD, [None, 4], {"v": v}))
        assert refused(path) == "node number 1 (MatMul): its parameter w holds NaN or infinity"
    path = written(tmp_path, model(GOOD, [None, 4], {"v": floats(5, 3)}))
    assert "an input of shape (1, 4) times weights of shape (5, 3)" in refused(path)


def test_a_network_without_parameters(tmp_path):
    path = written(tmp_path, model([node("Relu", "x", "y")], [None, 4]))
    assert refused(path) == "a network needs a layer with parameters: Conv2D or Dense"


@pytest.mark.parametrize(
    "change, expected",
    [
        (lambda t: t.ClearField("raw_data"), "tensor 'v' is damaged: 0 values for shape (4, 3)"),
        (lambda t: t.dims.append(2), "tensor 'v' is damaged: 48 bytes for shape (4, 3, 2)"),
        (lambda t: t.dims.append(-1), "tensor 'v' is damaged or too large: shape (4, 3, -1)"),
        (lambda t: t.dims.append(1 << 40), "tensor 'v' is damaged or too large: shape (4, 3, "),
        (lambda t: setattr(t, "data_type", 17), "tensor 'v' has dtype number 17 of ONNX, which"),
    ],
)
def test_damaged_tensors(tmp_path, change, expected):
    made = good()
    change(made.graph.initializer[1])
    assert refused(written(tmp_path, made)).startswith(expected)


@pytest.mark.parametrize(
    "dtype", ["float16", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "uint64"]
)
def test_tensors_that_are_stored_as_lists_of_numbers(tmp_path, dtype):
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    values = np.arange(12).astype(dtype)
    tensor = onnx.helper.make_tensor("v", kind, [4, 3], values)
    assert not tensor.HasField("raw_data")
    found = model_file.array_of(tensor, None)
    assert found.dtype == dtype and (found == values.reshape(4, 3)).all()


def test_functions_and_sparse_initialisers(tmp_path):
    made = good()
    made.functions.append(
        onnx.helper.make_function(
            *("mine", "Twice", ["a"], ["b"], [node("Add", "a a", "b")]),
            [onnx.helper.make_opsetid("", 17)],
        )
    )
    made.graph.node.insert(0, node("Twice", "x", "t", domain="mine"))
    assert "a function that the model defines: onnx.inliner.inline_local_functions" in refused(
        written(tmp_path, made)
    )
    made = good()
    made.graph.sparse_initializer.add()
    assert refused(written(tmp_path, made)).startswith("it has sparse initialisers")


# ---- data in other files ---------------------------------------------------------------------


def outside(folder, location, content, **entries):
    """A model whose tensor v lies in another file; `content` of the file beside it."""
    made = good()
    tensor = made.graph.initializer[1]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)
    if content is not None:
        (folder / "weights.bin").write_bytes(content)
    return written(folder, made)


def test_weights_in_a_file_beside_the_model(tmp_path):
    v = W["v"].tobytes()
    path = outside(tmp_path, "weights.bin", b"12345678" + v, offset=8, length=len(v))
    network = load_network(path, backend="numpy")
    assert (network.parameters["dense1.w"] == W["v"]).all()


@pytest.mark.parametrize(
    "location",
    ["../weights.bin", "/etc/passwd", "sub/../../weights.bin", "link.bin", "up/x.bin", "..\\x.bin"],
)
def test_a_file_outside_of_the_folder_is_not_read(tmp_path, location):
    folder = tmp_path / "model"
    folder.mkdir()
    for path in (tmp_path / "weights.bin", tmp_path / "x.bin"):
        path.write_bytes(W["v"].tobytes())
    (folder / "link.bin").symlink_to("../weights.bin")
    (folder / "up").symlink_to("..")
    message = refused(outside(folder, location, None))
    assert "would lie outside of the model's folder: it is not read" in message


@pytest.mark.parametrize(
    "location, entries, expected",
    [
        ("missing.bin", {}, "no such file beside the model"),
        ("", {}, "its external data '' cannot be found"),
        ("a\0b", {}, "cannot be found"),
        (".", {}, "no such file beside the model"),
        (
            "weights.bin",
            {"offset": 8},
            "48 bytes from byte 8 on; the tensor has 48 and",
        ),
        ("weights.bin", {"offset": -8}, "48 bytes from byte -8 on"),
        ("weights.bin", {"length": 40}, "40 bytes from byte 0 on; the tensor has 48"),
        ("weights.bin", {"offset": "?"}, "offset and length are not numbers"),
    ],
)
def test_external_data_that_are_missing_or_do_not_fit(tmp_path, location, entries, expected):
    assert expected in refused(outside(tmp_path, location, W["v"].tobytes(), **entries))


# ---- sizes -----------------------------------------------------------------------------------


def field(number, content):
    """A field of a protobuf message that holds bytes."""
    from fuzz.mutation import varint

    return varint(number << 3 | 2) + varint(len(content)) + content


def peak_megabytes(path):
    tracemalloc.start()
    try:
        message = refused(path)
        return message, tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("number", [1, 5, 11])
def test_a_message_of_millions_of_empty_parts(tmp_path, monkeypatch, number):
    """Nodes, initialisers, inputs: two bytes each in the file, hundreds in memory."""
    path = tmp_path / "m.onnx"
    path.write_bytes(field(7, field(number, b"") * 3_000_000))
    assert refused(path).startswith("more than 1,048,576 parts")
    monkeypatch.setattr(model_file, "MAX_FIELDS", 1 << 16)  # to trace memory takes long
    message, megabytes = peak_megabytes(path)
    assert message.startswith("more than 65,536 parts") and megabytes < 20


def test_graphs_in_graphs(tmp_path):
    inner = b""
    for _ in range(40):
        inner = field(1, field(5, field(6, inner)))  # node, attribute, graph
    path = tmp_path / "m.onnx"
    path.write_bytes(field(7, inner))
    assert refused(path) == "its graphs lie more than a dozen deep in one another"


def test_more_nodes_than_any_small_network_has(tmp_path):
    nodes = [node("Relu", f"{k}" if k else "x", f"{k + 1}") for k in range(9000)]
    path = written(tmp_path, model(nodes, [None, 4], output="9000"))
    assert refused(path) == "9,000 nodes; at most 8,192 are read"


@pytest.mark.parametrize(
    "nodes, constants",
    [
        ([node("ConstantOfShape", "size", "c"), node("Mul", "x c", "y")], {"size": [1 << 40]}),
        ([node("Expand", "two size", "c"), node("Mul", "x c", "y")], {"size": [1 << 40, 2]}),
        ([node("Tile", "two size", "c"), node("Mul", "x c", "y")], {"size": [1 << 40]}),
        (
            [node("Range", "zero size one", "c"), node("Mul", "x c", "y")],
            {"zero": 0, "size": 1 << 40, "one": 1},
        ),
        ([node("Conv", "x w", "y")], {"w": np.ones((4096, 1, 1, 1), np.float32)}),
        (
            [node("Pad", "x size", "p"), node("Conv", "p w", "y")],
            {"size": [0, 0, 1 << 30, 1 << 30, 0, 0, 1 << 30, 1 << 30]},
        ),
        (
            [node("MaxPool", "x", "y", kernel_shape=[3, 3], pads=[1 << 40, 2, 2, 2])],
            {},
        ),
        (
            [node("ConstantOfShape", "size", "1")]
            + [node("Concat", f"{k} {k}", f"{k + 1}", axis=0) for k in range(1, 40)]
            + [node("Mul", "x 40", "y")],
            {"size": [1024]},
        ),
    ],
)
def test_small_files_that_describe_large_tensors(tmp_path, nodes, constants):
    shape = [None, 1, 2000, 2000]
    constants = {**W, **{name: np.asarray(values) for name, values in constants.items()}}
    message, megabytes = peak_megabytes(written(tmp_path, model(nodes, shape, constants)))
    expected = "tens of millions of values|tensor of [0-9,]+ values|padding is|do not fit"
    assert re.search(expected, message)
    assert megabytes < 4 * errors.Budget.MOST_VALUES / 1e6 + 200


@pytest.mark.parametrize(
    "nodes, constants",
    [
        ([node("Conv", "x w", "y")], {"w": np.ones((8, 1, 1, 1), np.float32)}),
        (
            [node("Pad", "x sides", "p"), node("Conv", "p w", "y")],
            {"sides": np.array([0, 0, 5000, 0, 0, 0, 0, 0]), "w": np.ones((1, 1, 1, 1), "f4")},
        ),
    ],
)
def test_a_tensor_larger_than_any_of_a_small_network(tmp_path, nodes, constants):
    """The fuzzer's find needed a gigabyte: a picture that is larger by its padding."""
    message, megabytes = peak_megabytes(
        written(tmp_path, model(nodes, [None, 1, 1024, 1024], constants))
    )
    assert re.search("a tensor of [0-9,]+ values for one image; the largest .* 4,194,304", message)
    assert megabytes < 50


def test_a_refused_model_leaves_no_arrays_behind(tmp_path):
    """Not even until the next garbage collection: else many files in a row take many times as
    much."""
    pads = np.array([0, 0, 700, 700, 0, 0, 700, 700])
    nodes = [node("Pad", "x pads", "p"), node("Relu", "p", "y")]
    path = written(tmp_path, model(nodes, [None, 1, 8, 8], {"pads": pads}))
    refused(path)  # imports what is imported late
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(3):
            assert refused(path).startswith("node number 2 (Relu): its input is the output of a")
        left, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert left < 1e6, f"{left:,} bytes"


def test_weights_that_are_signalling_nans(tmp_path, recwarn):
    """Casting them makes NumPy warn of an invalid value; the message about NaN is enough."""
    nan = np.array([0x7D00, 0x3C00], np.uint16).view(np.float16)
    made = model([node("Mul", "x nan", "y")], [None, 2], {"nan": nan})
    assert "NaN" in refused(written(tmp_path, made)) and not recwarn.list


def test_a_file_that_is_too_large(tmp_path):
    path = tmp_path / "m.onnx"
    with open(path, "wb") as file:
        file.truncate(model_file.MAX_FILE_BYTES + 1)  # it takes no space on the disk
    assert os.path.getsize(path) == model_file.MAX_FILE_BYTES + 1
    message, megabytes = peak_megabytes(path)
    assert message == "268,435,457 bytes; at most 268,435,456 are read" and megabytes < 1


def test_without_the_package_the_error_names_the_extra(tmp_path, monkeypatch):
    import builtins

    real = builtins.__import__

    def fake(name, *arguments, **options):
        if name == "onnx":
            raise ImportError("No module named 'onnx'")
        return real(name, *arguments, **options)

    path = written(tmp_path, good())
    monkeypatch.setattr(builtins, "__import__", fake)
    with pytest.raises(ImportError, match=r'pip install "tinycnn\[onnx\]"'):
        load_network(path)
