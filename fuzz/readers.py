"""The readers: every function that reads files of other people, its errors, and good inputs.

A reader's input is the content of a file, or only the part of a file that is worth damaging. Where
a checksum would refuse every damaged file, the checksum is computed again for the damaged part, or
it is left out.
"""

from __future__ import annotations

import ast
import contextlib
import gzip
import io
import json
import re
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np

if TYPE_CHECKING:
    from tinycnn.network import Network


@dataclass(frozen=True)
class Reader:
    """read(data) reads an input and may raise `errors`; anything else is a finding.  seeds():
    name -> good input."""

    read: Callable[[bytes], object]
    errors: tuple[type[BaseException], ...]
    seeds: Callable[[], dict[str, bytes]]


READERS: dict[str, Callable[[Path], Reader]] = {}
"""name -> function that makes the reader, given a folder for its files."""

SHARES: dict[str, float] = {}
"""name -> weight that decides its part of the inputs; slow readers have a small one."""


def reader(share: float) -> Callable[[Callable[[Path], Reader]], Callable[[Path], Reader]]:
    """A decorator: adds a function to READERS, under its own name."""

    def listed(make: Callable[[Path], Reader]) -> Callable[[Path], Reader]:
        READERS[make.__name__], SHARES[make.__name__] = make, share
        return make

    return listed


def _written(folder: Path, name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """A reader of the file called `name`, whose content is the input."""
    path = folder / name

    def read_written(data: bytes) -> object:
        path.write_bytes(data)
        return read(path)

    return read_written


# ---- models ----------------------------------------------------------------------------------


def _small_network() -> Network:
    from tinycnn import Conv2D, Dense, Dropout, Flatten, InputSpec, MaxPool2D, Network, ReLU

    layers = [Conv2D(2, 3, stride=2), ReLU(), MaxPool2D(2), Flatten(), Dropout(0.5), Dense(2)]
    spec = InputSpec(8, 7, scaling="unit", classes=("calm", "glad"), framing="paper")
    network = Network(layers, spec, backend="numpy")
    network.training_summary = {"epochs": 3, "recipe": {"name": "fer"}}
    return network


@reader(share=1)
def safetensors(folder: Path) -> Reader:
    """A model file."""
    import tinycnn
    from tinycnn.formats.safetensors import ModelFileError, to_bytes

    read = _written(folder, "model.safetensors", lambda p: tinycnn.load(p, backend="numpy"))
    return Reader(
        read,
        (ModelFileError,),
        lambda: {
            "float32": to_bytes(_small_network()),
            "float16": to_bytes(_small_network(), dtype="float16"),
        },
    )


@reader(share=1)
def quantized_network(folder: Path) -> Reader:
    """A model file in 8-bit integers, without a checksum; what is read also predicts."""
    import safetensors.numpy

    import tinycnn
    from tinycnn.formats.safetensors import QUANTIZED_KEY, ModelFileError, quantized_bytes

    def read_and_predict(path: Path) -> None:
        network = tinycnn.load_quantized(path, backend="numpy")
        network.predict_logits(np.zeros((1, *network.input_spec.shape), np.uint8))

    def unchecked() -> bytes:
        images = np.arange(2 * 56, dtype=np.uint8).reshape(2, 8, 7)
        content = quantized_bytes(_small_network().quantized(images))
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        described = json.loads(header["__metadata__"][QUANTIZED_KEY])
        del described["crc32"]
        tensors = safetensors.numpy.load(content)
        return safetensors.numpy.save(tensors, {QUANTIZED_KEY: json.dumps(described)})

    read = _written(folder, "int8.safetensors", read_and_predict)
    return Reader(read, (ModelFileError,), lambda: {"int8": unchecked()})


@reader(share=1)
def model_description(folder: Path) -> Reader:
    """The JSON in a model file that describes the network, without a checksum."""
    import safetensors.numpy

    import tinycnn
    from tinycnn.formats.safetensors import ModelFileError, to_bytes

    content = to_bytes(_small_network())
    tensors = safetensors.numpy.load(content)
    path = folder / "model.safetensors"
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    described = json.loads(header["__metadata__"]["tinycnn"])
    del described["crc32"]

    def read(data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        path.write_bytes(safetensors.numpy.save(tensors, {"tinycnn": text}))
        network = tinycnn.load(path, backend="numpy")
        network.predict_proba(np.zeros((1, *network.input_spec.shape), np.uint8))

    return Reader(read, (ModelFileError,), lambda: {"good": json.dumps(described).encode()})


@reader(share=0.5)
def checkpoint_state(folder: Path) -> Reader:
    """The JSON in a checkpoint that a resumed training needs."""
    from tinycnn import Adam, checkpoint
    from tinycnn.formats.safetensors import to_bytes

    network, optimizer = _small_network(), Adam(1e-3)
    path = checkpoint.path_in(folder)
    record = {"epoch": 0, "train_loss": 1.5, "val_loss": None, "is_best": True}
    good: dict[str, Any] = {
        "configuration": {"loss": "CrossEntropy()"},
        "records": [record, {**record, "epoch": 1, "is_best": False}],
        "dropout_generator": network.dropout_generator.bit_generator.state,
    }
    slots = {f"optimizer/{name}": array for name, array in optimizer.state().items()}
    path.parent.mkdir()

    def read(data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        path.write_bytes(to_bytes(network, slots, {checkpoint.METADATA_KEY: text}))
        checkpoint.records_in(folder)
        checkpoint.load(path, network, optimizer, good["configuration"])

    errors = (checkpoint.CheckpointError,)
    return Reader(read, errors, lambda: {"good": json.dumps(good).encode()})


@reader(share=1)
def onnx_model(folder: Path) -> Reader:
    """An ONNX model."""
    from tinycnn.formats.onnx import load_network
    from tinycnn.formats.safetensors import ModelFileError

    read = _written(folder, "model.onnx", lambda path: load_network(path, backend="numpy"))
    return Reader(
        read,
        (ModelFileError,),
        lambda: {name: model.SerializeToString() for name, model in _onnx_models().items()},
    )


@reader(share=1)
def onnx_graph(folder: Path) -> Reader:
    """The same as JSON, so that damage meets names, sizes and attributes and not lengths."""
    from google.protobuf import json_format
    from onnx import ModelProto

    from tinycnn.formats.onnx import load_network
    from tinycnn.formats.safetensors import ModelFileError

    path = folder / "model.onnx"

    def read(data: bytes) -> object:
        try:
            model = json_format.Parse(data.decode("utf-8", "replace"), ModelProto())
        except (json_format.ParseError, RecursionError):
            return None
        path.write_bytes(model.SerializeToString())
        return load_network(path, backend="numpy")

    as_json = lambda model: json_format.MessageToJson(model, indent=0).encode()
    return Reader(
        read,
        (ModelFileError,),
        lambda: {name: as_json(model) for name, model in _onnx_models().items()},
    )


def _onnx_models() -> dict[str, Any]:
    """Small models with the operators that PyTorch, Keras and scikit-learn's converter write."""
    from onnx import TensorProto, helper, numpy_helper

    node, rng = helper.make_node, np.random.default_rng(0)

    def model(nodes: list[Any], shape: list[Any], constants: dict[str, Any], opset: int) -> Any:
        given = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
        output = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])
        tensors = [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()]
        graph = helper.make_graph(nodes, "g", [given], [output], tensors)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])

    floats = lambda *shape: np.asarray(rng.standard_normal(shape), np.float32)
    block = [
        node("Pad", ["x", "pads"], ["padded"]),
        node("Conv", ["padded", "w1"], ["a"], kernel_shape=[3, 3], strides=[2, 1]),
        node("BatchNormalization", ["a", *"ssmv"], ["b"], epsilon=0.001),
        node("LeakyRelu", ["b"], ["c"], alpha=0.125),
        node("Conv", ["c", "w2", "s"], ["d"], group=2, auto_pad="SAME_LOWER"),
        node("PRelu", ["d", "slope"], ["e"]),
        node("Add", ["e", "c"], ["f"]),
        node("AveragePool", ["f"], ["g"], kernel_shape=[2, 2], pads=[0, 1, 1, 0], ceil_mode=1),
        node("Clip", ["g", "low", "high"], ["h"]),
        node("Shape", ["h"], ["size"]),
        node("Gather", ["size", "zero"], ["batch"]),
        node("Concat", ["batch", "rest"], ["target"], axis=0),
        node("Reshape", ["h", "target"], ["flat"]),
        node("Gemm", ["flat", "w3", "b3"], ["z"], transB=1, alpha=0.5),
        node("Softmax", ["z"], ["y"], axis=-1),
    ]
    constants: dict[str, Any] = {"pads": [0, 0, 1, 0, 0, 0, 0, 1], "w1": floats(2, 1, 3, 3)}
    constants |= {"s": floats(2), "m": floats(2), "v": np.ones(2, np.float32), "zero": [0]}
    constants |= {"w2": floats(2, 1, 2, 2), "slope": floats(2, 1, 1), "rest": [-1]}
    constants |= {"low": np.float32(-1), "high": np.float32(2)}
    constants |= {"w3": floats(3, 24), "b3": floats(3)}
    dense = [
        node("Transpose", ["x"], ["a"], perm=[0, 3, 1, 2]),
        node("DequantizeLinear", ["w", "scale", "point"], ["weights"]),
        node("Conv", ["a", "weights", "b"], ["c"], pads=[0, 0, 1, 1], dilations=[1, 1]),
        node("Relu", ["c"], ["d"]),
        node("MaxPool", ["d"], ["e"], kernel_shape=[2, 2], strides=[2, 2]),
        node("ReduceMean", ["e"], ["f"], axes=[2, 3], keepdims=1),
        node("Squeeze", ["f", "axes"], ["g"]),
        node("Dropout", ["g"], ["h"]),
        node("MatMul", ["h", "w2"], ["i"]),
        node("Add", ["i", "s"], ["j"]),
        node("Mul", ["s", "j"], ["k"]),
        node("Tanh", ["k"], ["y"]),
    ]
    quantised: dict[str, Any] = {"w": rng.integers(-9, 9, (2, 1, 2, 2), np.int8), "b": floats(2)}
    quantised |= {"scale": np.float32(0.25), "point": np.int8(1), "axes": [2, 3]}
    quantised |= {"w2": floats(2, 3), "s": floats(3)}
    return {
        "block": model(block, ["n", 1, 6, 5], constants, 13),
        "dense": model(dense, ["n", 4, 4, 1], quantised, 17),
    }


class _Anything:
    """Stands in for a checksum and is equal to every checksum."""

    def __ne__(self, other: object) -> bool:
        return False


@reader(share=1)
def tf_checkpoint(folder: Path) -> Reader:
    """The index file of a TensorFlow checkpoint, with good data and without checksums."""
    from tinycnn.formats import leveldb_table, tf_checkpoint
    from tinycnn.models import microexpnet

    prefix = folder / "model"
    with open(folder / "model.data-00000-of-00001", "wb") as data_file:
        data_file.truncate(300_000)  # zeros, more than the tensors of the seeds need

    def read(path: Path) -> None:
        tensors = tf_checkpoint.list_tensors(prefix)
        assert all(tensor.shard >= 0 for tensor in tensors)
        with contextlib.suppress(tf_checkpoint.CheckpointFileError):
            tf_checkpoint.read_tensors(prefix)
        tf_checkpoint.load_network(prefix, variant="v", backend="numpy")

    def read_unchecked(path: Path) -> None:
        with (
            mock.patch.object(leveldb_table, "masked_crc32c", lambda data: _Anything()),
            mock.patch.object(tf_checkpoint, "masked_crc32c", lambda data: _Anything()),
        ):
            read(path)

    def seeds() -> dict[str, bytes]:
        network = microexpnet("v", "XXS", backend="numpy")
        names = tf_checkpoint.PUBLISHED_NAMES
        shapes = {names[name]: p.shape for name, p in network.parameters.items()}
        return {
            "small": _tf_index({"bias": (3,), "counts/Adam": (2, 2), "step": ()}),
            "microexpnet": _tf_index(shapes),
        }

    unchecked = _written(folder, "model.index", read_unchecked)
    return Reader(unchecked, (tf_checkpoint.CheckpointFileError,), seeds)


def _tf_index(shapes: dict[str, tuple[int, ...]]) -> bytes:
    """An index of float32 tensors, in one block, with checksums 0; see leveldb_table.py."""
    from fuzz.mutation import varint

    def message(*fields: tuple[int, int | bytes]) -> bytes:
        out = b""
        for number, value in fields:
            if isinstance(value, bytes):
                out += varint(number << 3 | 2) + varint(len(value)) + value
            else:
                out += varint(number << 3) + varint(value)
        return out

    def block(pairs: list[tuple[bytes, bytes]]) -> bytes:
        entries = b"".join(
            varint(0) + varint(len(key)) + varint(len(value)) + key + value for key, value in pairs
        )
        return entries + (0).to_bytes(4, "little") + (1).to_bytes(4, "little") + b"\0" * 5

    pairs, offset = [(b"", message((1, 1)))], 0
    for name in sorted(shapes):
        dimensions = [(2, message((1, n))) for n in shapes[name]]
        shape = message(*dimensions)
        n_bytes = 4 * int(np.prod(shapes[name]))
        pairs.append((name.encode(), message((1, 1), (2, shape), (4, offset), (5, n_bytes))))
        offset += n_bytes
    content = block(pairs)
    index = block([(pairs[-1][0], varint(0) + varint(len(content) - 5))])
    places = [0, 0, len(content), len(index) - 5]
    footer = b"".join(map(varint, places)).ljust(40, b"\0")
    return content + index + footer + (0xDB4775248B80FB57).to_bytes(8, "little")


@reader(share=0.5)
def tf_shard(folder: Path) -> Reader:
    """The data of a TensorFlow checkpoint, with a good index and without checksums."""
    from tinycnn.formats import leveldb_table, tf_checkpoint

    (folder / "model.index").write_bytes(_tf_index({"bias": (3,), "counts/Adam": (2, 2)}))

    def read(path: Path) -> None:
        with (
            mock.patch.object(leveldb_table, "masked_crc32c", lambda data: _Anything()),
            mock.patch.object(tf_checkpoint, "masked_crc32c", lambda data: _Anything()),
        ):
            tensors = tf_checkpoint.read_tensors(folder / "model")
        assert [tensor.shape for tensor in tensors.values()] == [(3,), (2, 2)]

    read_written = _written(folder, "model.data-00000-of-00001", read)
    good = np.arange(7, dtype="<f4").tobytes()
    return Reader(read_written, (tf_checkpoint.CheckpointFileError,), lambda: {"good": good})


@reader(share=0.5)
def onnx_external(folder: Path) -> Reader:
    """Where an ONNX model says that its weights lie: file, first byte and length, a line each.  No
    file outside of the model's folder may be opened."""
    from onnx import TensorProto, helper

    from tinycnn.formats.onnx import load_network
    from tinycnn.formats.onnx_import import model_file
    from tinycnn.formats.safetensors import ModelFileError

    inside, path = folder / "model", folder / "model/model.onnx"
    inside.mkdir()
    for place in (inside / "weights.bin", folder / "outside.bin"):
        place.write_bytes(np.arange(12, dtype="<f4").tobytes())
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=(4, 3))
    weights.data_location = TensorProto.EXTERNAL
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, size))
        for name, size in (("x", 4), ("y", 3))
    ]
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    open_regular = model_file.open_regular

    def open_inside(opened: Any) -> Any:
        assert Path(opened).resolve().parent == inside.resolve(), opened
        return open_regular(opened)

    def read(data: bytes) -> object:
        external = model.graph.initializer[0].external_data
        del external[:]
        lines = data.decode("utf-8", "replace").split("\n")
        for key, value in zip(("location", "offset", "length"), lines):
            external.add(key=key, value=value)
        path.write_bytes(model.SerializeToString())
        with mock.patch.object(model_file, "open_regular", open_inside):
            return load_network(path, backend="numpy")

    seeds = {"good": b"weights.bin\n0\n48", "alone": b"weights.bin", "up": b"../outside.bin\n0"}
    return Reader(read, (ModelFileError,), lambda: seeds)


# ---- compiled code, and programs that are written --------------------------------------------


@reader(share=0.3)
def compiled_code(folder: Path) -> Reader:
    """The index of compiled code, which is pickle: unpickled only if its checksum is right."""
    import pickle

    from tinycnn.ground.compiled_code import CHECKSUM_BYTES, CheckedFiles, checksum

    files = CheckedFiles(str(folder), "kernels.walk", "stamp")
    content = pickle.dumps((files._version, "stamp", {"a signature": "walk.1.nbc"}))
    good = checksum(files._index_name, "stamp", content) + content
    path = folder / files._index_name

    def read(data: bytes) -> None:
        forged = checksum(files._index_name, "stamp", data[CHECKSUM_BYTES:])
        if data != good and data.startswith(forged):
            return  # atheris sees what is compared and copies it; a checksum does not prevent that
        path.write_bytes(data)
        path.chmod(0o600)
        files._load_index()
        assert data == good, "damaged code was unpickled"

    return Reader(read, (ValueError,), lambda: {"good": good})


@reader(share=0.05)
def exported_names(folder: Path) -> Reader:
    """Names in a network, and the Python and C programs that are written from it: its name, its
    framing and its classes, with the character US (31) between them.

    The programs must be well-formed and hold exactly these names.
    """
    from tinycnn import Dense, Flatten, InputSpec, Network
    from tinycnn.export import c_file, python_file

    def network_of(classes: Sequence[str], framing: str | None) -> Network:
        spec = InputSpec(1, 1, classes=tuple(classes), framing=framing)
        return Network([Flatten(), Dense(len(classes))], spec, backend="numpy")

    # this part is the same in all programs: parsed once, for speed
    plain = python_file.source_of(network_of(["one"], None), "plain")
    fixed = plain[plain.index("\n# ---- reading") : plain.index("\n# ---- the weights")]
    ast.parse(fixed)

    def read(data: bytes) -> None:
        text = data.decode("utf-8", "surrogateescape")  # JSON can write half a letter, too
        parts = text.split("\x1f")[:20]
        title, framing, *classes = parts + [""] * (2 - len(parts))
        network = network_of(classes, framing or None)
        spec, found = network.input_spec, {}
        before, fixed_part, after = python_file.source_of(network, title).partition(fixed)
        assert fixed_part
        for statement in [*ast.parse(before).body, *ast.parse(after).body]:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                with contextlib.suppress(ValueError):
                    found[statement.targets[0].id] = ast.literal_eval(statement.value)
        assert found["CLASSES"] == spec.classes and found["FRAMING"] == spec.framing
        name = title if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", title) else "mine"
        try:
            source = c_file.Writer(network, name).source()
        except UnicodeError as error:
            raise AssertionError("the message does not say what to do") from error
        assert _c_texts(source, f"{name}_classes") == list(spec.classes)

    seeds = {
        "plain": b"mine\x1fpaper\x1fcalm\x1fglad",
        "quotes": b'a-b\x1f\x1f\'\x1f"\x1f"""\x1f\'\'\'\x1f\\\x1f\\"',
        "marks": b"PROGRAM\x1f# <weights>\n\x1f# </network>\n\x1f@NAME@\x1f@name@\x1f*/",
        "letters": "Name\x1f??/\x1fgl\u00fccklich\x1f\u6012\x1f\u2028\x1f\U0001f600".encode(),
        "lines": b"x\x1fa\nb\x1f\r\n\x1f#include <a>\x1f{\x1f};\x1f// \x1f/*",
    }
    return Reader(read, (ValueError,), lambda: seeds)


_C_TOKEN = re.compile(
    r"""\s+ | /\*.*?\*/ | //[^\n]* | \#[^\n]* | (?P<text>"(?:[^"\\\n]|\\.)*")
    | '(?:[^'\\\n]|\\.)*' | (?P<word>[A-Za-z_]\w*) | [0-9.][\w.+-]*
    | (?P<open>[(\[{]) | (?P<close>[)\]}]) | [-+*/%=<>!&|^~?:;,.]""",
    re.DOTALL | re.VERBOSE | re.ASCII,
)


def _c_texts(source: str, name: str) -> list[str]:
    """The texts of the array `name` in a C program, whose tokens and brackets are checked."""
    assert source.isascii()
    at, depth, texts = 0, 0, []
    is_inside = False
    while at < len(source):
        token = _C_TOKEN.match(source, at)
        assert token is not None, source[at : at + 40]
        at = token.end()
        depth += bool(token["open"]) - bool(token["close"])
        assert depth >= 0, "a bracket is closed that was not opened"
        is_inside = token["word"] == name or (is_inside and token[0] != ";")
        if is_inside and token["text"]:
            octal = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), token["text"][1:-1])
            texts.append(octal.encode("latin-1").decode("utf-8"))
    assert depth == 0, "a bracket is not closed"
    return texts


@reader(share=0.3)
def notebook(folder: Path) -> Reader:
    """A learner's answers in a Jupyter notebook; its code is not run."""
    from tinycnn.learn.catalogue import EXERCISES
    from tinycnn.learn.folder import notebook_of
    from tinycnn.learn.notebook import code_cells

    def read(data: bytes) -> object:
        return code_cells(data.decode("utf-8", "replace"), with_figures=True)

    return Reader(read, (ValueError,), lambda: {"relu": notebook_of(EXERCISES[3], True).encode()})


# ---- teachers, packed data sets, caches ------------------------------------------------------


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _zip(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    return _zip({f"{name}.npy": _npy(array) for name, array in arrays.items()})


def _one_array(
    folder: Path, arrays: dict[str, np.ndarray], read: Callable[[Path], object]
) -> tuple[Callable[[bytes], object], dict[str, bytes]]:
    """A reader of an .npz with one damaged array, and its seeds.

    The first byte of the input chooses the array, the rest is the content of its .npy file.
    """
    names, path = sorted(arrays), folder / "some.npz"
    members = {f"{name}.npy": _npy(arrays[name]) for name in names}

    def read_with(data: bytes) -> object:
        which = f"{names[data[0] % len(names)] if data else names[0]}.npy"
        path.write_bytes(_zip({**members, which: data[1:]}))
        return read(path)

    return read_with, {n: bytes([k]) + members[f"{n}.npy"] for k, n in enumerate(names)}


TEACHER = {
    "logits": np.array([[1.5, -2.0], [0.25, 3.0]], np.float32),
    "rows": np.array([0, 7]),
    "classes": np.array(["anger", "happy"]),
    "crop": np.array([0, 0]),
}


@reader(share=1.5)
def teacher_npz(folder: Path) -> Reader:
    """A teacher's .npz."""
    import ferdata

    read = _written(folder, "teacher.npz", ferdata.load_soft_labels)
    return Reader(read, (ferdata.DataError,), lambda: {"rows": _npz(TEACHER)})


@reader(share=0.4)
def teacher_arrays(folder: Path) -> Reader:
    """One array of a teacher's .npz."""
    import ferdata

    read, seeds = _one_array(folder, TEACHER, ferdata.load_soft_labels)
    return Reader(read, (ferdata.DataError,), lambda: seeds)


@reader(share=3)
def teacher_csv(folder: Path) -> Reader:
    """A teacher's .csv."""
    import ferdata

    hashes = "".join(f"{'0123456789abcdef' * 4},{k / 4},{1 - k / 4}\n" for k in (1, 1))
    return Reader(
        _written(folder, "teacher.csv", ferdata.load_soft_labels),
        (ferdata.DataError,),
        lambda: {
            "rows": b"# logits\nrow,anger,happy\n0,1.5,-2\n7,0.25,3e0\n",
            "ids": b'id,crop,"anger",happy\na/1.png,0,0.5,0.5\na/1.png,1,1,0\n',
            "hashes": f"# probabilities\nhash,anger,happy\n{hashes}".encode(),
        },
    )


PACKED = {
    "format": np.array("ferdata-faces-1"),
    "images": np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
    "ids": np.array(["a/1.png", "a/2.png"]),
    "classes": np.array(["anger", "happy"]),
    "label_space": np.array("mine"),
    "labels": np.array([0, 1]),
    "has_label": np.array([True, False]),
    "targets": np.array([[0.5, 0.5], [1, 0]], np.float32),
    "subjects": np.array(["x", "y"]),
    "split": np.array(["train", "test"]),
    "rows": np.array([4, 5]),
}


@reader(share=0.4)
def packed_arrays(folder: Path) -> Reader:
    """One array of a packed data set."""
    import ferdata

    read, seeds = _one_array(folder, PACKED, ferdata.load_packed)
    return Reader(read, (ferdata.DataError,), lambda: seeds)


@reader(share=0.5)
def cache_entry(folder: Path) -> Reader:
    """A file in the cache of parsed data sets: no content may raise an error."""
    from ferdata.files import cache

    kept = {"source_identity": np.array("now"), "images": PACKED["images"]}

    def read(data: bytes) -> None:
        with mock.patch.object(cache, "cache_folder", lambda: folder):
            path = cache._entry_path("faces", "here")
            assert path is not None
            path.write_bytes(data)
            parsed = {"images": np.zeros(0)}
            arrays = cache.cached_by("faces", "here", lambda: "now", lambda: parsed)
        assert isinstance(arrays, dict)

    return Reader(read, (), lambda: {"good": _npz(kept)})


@reader(share=0.4)
def evaluation_npz(folder: Path) -> Reader:
    """One array of the images and labels for `tinycnn convert --data`."""
    from tinycnn.cli.convert import read_data
    from tinycnn.ground.command_line import CannotError

    network = _small_network()
    arrays = {"images": np.zeros((2, 8, 7), np.uint8), "labels": np.array([0, 1])}
    read, seeds = _one_array(folder, arrays, lambda path: read_data(str(path), network))
    return Reader(read, (CannotError,), lambda: seeds)


# ---- pictures --------------------------------------------------------------------------------


def _pictures() -> dict[str, bytes]:
    from PIL import Image

    grey = Image.fromarray(np.arange(56, dtype=np.uint8).reshape(8, 7) * 4)
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: rotated by 90 degrees

    def content(image: Image.Image, kind: str, **options: Any) -> bytes:
        file = io.BytesIO()
        image.save(file, kind, **options)
        return file.getvalue()

    return {
        "png": content(grey, "PNG"),
        "gif": content(grey, "GIF"),
        "bmp": content(grey, "BMP"),
        "webp": content(grey, "WEBP"),
        "pgm": content(grey, "PPM"),
        "jpg": content(grey, "JPEG"),
        "tif": content(grey, "TIFF"),
        "lzw.tif": content(grey, "TIFF", compression="tiff_lzw"),
        "float.tif": content(grey.convert("F").point(lambda v: v / 256), "TIFF"),
        "rgba.png": content(grey.convert("RGBA"), "PNG"),
        "p.png": content(grey.convert("P"), "PNG"),
        "rgba.webp": content(grey.convert("RGBA"), "WEBP", lossless=True),
        "turned.jpg": content(grey.convert("RGB"), "JPEG", exif=exif),
    }


@reader(share=0.4)
def photo(folder: Path) -> Reader:
    """A picture."""
    import ferdata

    read = _written(folder, "photo", ferdata.read_photo)
    return Reader(read, (ferdata.DataError,), _pictures)


def _films() -> dict[str, bytes]:
    """Four grey frames as MP4, if PyAV is installed; else the first bytes of films."""
    starts = {"mp4": bytes(4) + b"ftypisom", "avi": b"RIFF\x20\0\0\0AVI LIST", "ts": b"G" * 189}
    try:
        from ferdata.films.film_writer import FilmWriter

        with tempfile.TemporaryDirectory() as name:
            writer = FilmWriter(Path(name) / "a.mp4", 25)
            for k in range(4):
                writer.write(np.full((16, 16, 3), 60 * k, np.uint8), k / 25)
            writer.close()
            return {"film": (Path(name) / "a.mp4").read_bytes(), **starts}
    except ImportError:
        return starts


@reader(share=0.4)
def film(folder: Path) -> Reader:
    """The frames of a film; without PyAV only the recognition of its format."""
    import ferdata
    from ferdata.films.frames import film_format

    def read(path: object) -> None:
        for frame in ferdata.read_film(str(path)):
            if frame.number == 3:
                break

    try:
        import av  # noqa: F401
    except ImportError:
        read = film_format  # type: ignore[assignment]  # what it returns does not matter
    return Reader(_written(folder, "film", read), (ferdata.DataError,), _films)


@reader(share=0.4)
def image_argument(folder: Path) -> Reader:
    """IMAGE on the command line of tinycnn: an .npy file if the first byte of the input is 0, else
    a picture; the rest of the input is its content."""
    from tinycnn import InputSpec
    from tinycnn.cli.image_argument import read_image
    from tinycnn.ground.command_line import CannotError

    spec, paths = InputSpec(8, 7), [folder / "image.npy", folder / "image.png"]

    def read(data: bytes) -> object:
        path = paths[min(data[0], 1) if data else 0]
        path.write_bytes(data[1:])
        return read_image(str(path), spec)

    def seeds() -> dict[str, bytes]:
        some = {n: b"\1" + c for n, c in _pictures().items() if n in ("png", "jpg", "lzw.tif")}
        return {"npy": b"\0" + _npy(np.zeros((8, 7), np.uint8)), **some}

    return Reader(read, (CannotError,), seeds)


# ---- lists of images and votes ---------------------------------------------------------------


def _packings(name: str, text: str) -> dict[str, bytes]:
    """The text as a file, in a .gz and in a .zip."""
    return {
        "csv": text.encode(),
        "gz": gzip.compress(text.encode(), mtime=0),
        "zip": _zip({f"data/{name}": text.encode()}),
    }


@reader(share=0.25)
def fer2013_csv(folder: Path) -> Reader:
    """fer2013.csv, also compressed."""
    from ferdata.errors import DataError
    from ferdata.sources.fer2013 import load_fer2013

    pixels = " ".join(["7"] * 2304)
    rows = f"emotion,pixels,Usage\n3,{pixels},Training\n0,{pixels},PublicTest\n"
    read = _written(folder, "fer2013.csv", lambda path: load_fer2013(path, cache=False))
    return Reader(read, (DataError,), lambda: _packings("fer2013.csv", rows))


@reader(share=2)
def votes_csv(folder: Path) -> Reader:
    """FER+'s fer2013new.csv, also compressed."""
    from ferdata.errors import DataError
    from ferdata.labels import FERPLUS10
    from ferdata.sources.ferplus import load_votes

    rows = f"Usage,Image name,{','.join(FERPLUS10.classes)}\n"
    rows += "Training,fer0000000.png,4,0,0,1,3,2,0,0,0,0\nPublicTest,,0,0,0,0,0,0,0,0,0,10\n"
    read = _written(folder, "fer2013new.csv", lambda path: load_votes(path, cache=False))
    return Reader(read, (DataError,), lambda: _packings("fer2013new.csv", rows))


@reader(share=2.5)
def manifest(folder: Path) -> Reader:
    """A CSV list of images; an image outside of its folder must not be reached."""
    from ferdata.errors import DataError
    from ferdata.sources.manifest import list_files

    inside = folder / "set"
    (inside / "a").mkdir(parents=True)
    for path in (inside / "a/1.png", inside / "a/2.png", folder / "outside.png"):
        path.write_bytes(b"")
    (inside / "link.png").symlink_to("../outside.png")
    (inside / "up").symlink_to("..")

    def read(path: Path) -> None:
        for file in list_files(path).files:
            assert file.resolve().parent == (inside / "a").resolve(), file

    return Reader(
        _written(inside, "list.csv", read),
        (DataError,),
        lambda: {
            "all": b"path,label,subject,split\na/1.png,happy,x,train\na/2.png,anger,y,test\n",
            "some": b'label,path\n"happy",a/1.png\n,a/2.png\n',
            "out": b"path,label\n../outside.png,happy\nlink.png,sad\nup/outside.png,sad\n",
            "blanks": b"a/1.png 2\na/2.png \t 0\n",
            "semicolons": b'\xef\xbb\xbffile;emotion;"conf"\r\n"a/1.png";sad;0,5\r\n',
            "backslashes": b"user.id\timage\temotion\n1\ta\\1.png\thappy\n",
        },
    )


@reader(share=2)
def named_columns(folder: Path) -> Reader:
    """A list of images, read with options: its first line is path column, label column, separator
    and classes, the others are the list."""
    from ferdata.errors import DataError
    from ferdata.sources.manifest import list_files

    for name in ("1.png", "2.png"):
        (folder / name).write_bytes(b"")

    def read(data: bytes) -> object:
        first, _, rows = data.partition(b"\n")
        words = [word.decode("utf-8", "replace") for word in first.split(b"/")]
        path_column, label_column, separator, classes = (words + [""] * 4)[:4]
        (folder / "list.txt").write_bytes(rows)
        return list_files(
            folder / "list.txt",
            classes=classes or None,
            path_column=path_column or None,
            label_column=label_column or None,
            separator=separator or None,
        )

    seeds = {
        "numbers": b"2/3/space/angry,happy\nx 1.png 0\ny 2.png 1\n",
        "names": b"a/b//\na,c,b\n1.png,4,happy\n2.png,5,sad\n",
        "pairs": b"//|/0=sad,1=sad\n1.png|0\n2.png|1\n",
    }
    return Reader(read, (DataError, ValueError), lambda: seeds)


@reader(share=1.5)
def class_names(folder: Path) -> Reader:
    """A list of classes, and in the other lines the names that the data have."""
    from ferdata.class_choice import advice_on_names, class_choice
    from ferdata.labels import LabelError

    def read(data: bytes) -> object:
        wanted, *names = data.decode("utf-8", "replace").split("\n")
        names = list(dict.fromkeys(names))
        assert len(advice_on_names(names)) < 2000 + sum(map(len, names)) * 2
        chosen = class_choice(wanted).among(names, "data")
        return chosen.notes(dict.fromkeys(names, 3))

    seeds = {
        "order": b"happy,sad\nhappy\nsad\nneutral",
        "merged": b"anger=angry,rage=angry,happy\nanger\nrage\nhappy",
        "numbers": b"angry,disgust\n0\n01\n-1",
        "languages": "Angst=fear\nAngst\n\u00dcberraschung\nsuprise".encode(),
    }
    return Reader(read, (LabelError,), lambda: seeds)


@reader(share=1)
def unknown_folder(folder: Path) -> Reader:
    """A folder that is no data set, with a file that may be a list of its images."""
    import ferdata

    (folder / "set/images").mkdir(parents=True)
    (folder / "set/images/1.png").write_bytes(b"")

    def read(path: Path) -> str:
        try:
            return ferdata.recognise(path.parent).why
        except ferdata.DataError as error:
            assert len(str(error)) < 6000, "a message that quotes content"
            return str(error)

    return Reader(
        _written(folder, "set/labels.csv", read),
        (ferdata.DataError,),
        lambda: {
            "list": b"image;emotion\nimages/1.png;happy\n",
            "columns": b"a,b,c\nimages/1.png,1,2\n",
            "text": b"Some words\n",
        },
    )


@reader(share=0.7)
def raf_db_list(folder: Path) -> Reader:
    """RAF-DB's list of labels, next to its images."""
    from ferdata.errors import DataError
    from ferdata.sources.raf_db import list_files

    for place in ("EmoLabel", "Image/aligned"):
        (folder / place).mkdir(parents=True)
    for n in (1, 2):
        (folder / f"Image/aligned/train_0000{n}_aligned.jpg").write_bytes(b"")
    read = _written(folder, "EmoLabel/list_patition_label.txt", lambda path: list_files(folder))
    good = b"train_00001.jpg 5\r\ntrain_00002.jpg 1\r\n"
    return Reader(read, (DataError,), lambda: {"good": good})


@reader(share=0.7)
def ck_plus_emotion(folder: Path) -> Reader:
    """The label of one sequence of CK+."""
    from ferdata.errors import DataError
    from ferdata.sources.ck_plus import _emotion

    read = _written(folder, "S005_001_00000011_emotion.txt", _emotion)
    seeds = {"good": b"   3.0000000e+00\n", "short": b"\xef\xbb\xbf7"}
    return Reader(read, (DataError,), lambda: seeds)


@reader(share=0.5)
def fer2013_tar(folder: Path) -> Reader:
    """fer2013.csv in a tar archive, whose headers have the right checksums again after damage."""
    from ferdata.errors import DataError
    from ferdata.sources.fer2013 import load_fer2013

    pixels = " ".join(["7"] * 2304)
    csv = f"emotion,pixels,Usage\n3,{pixels},Training\n".encode()
    seeds = {kind: _tar({"fer/README": b"text", "fer/fer2013.csv": csv}, kind) for kind in _TARS}

    def read(path: Path) -> object:
        data = bytearray(path.read_bytes())
        for at in range(0, len(data) - 511, 512):
            if data[at + 257 : at + 262] == b"ustar":
                data[at + 148 : at + 156] = b" " * 8
                data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])
        path.write_bytes(data)
        return load_fer2013(path, cache=False)

    return Reader(_written(folder, "fer2013.tar", read), (DataError,), lambda: seeds)


_TARS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def _tar(members: dict[str, bytes], kind: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=_TARS[kind]) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


@reader(share=1)
def affectnet_npy(folder: Path) -> Reader:
    """AffectNet's number of one image, an _exp.npy."""
    from ferdata.errors import DataError
    from ferdata.sources.affectnet import list_files

    for place in ("images", "annotations"):
        (folder / "train_set" / place).mkdir(parents=True)
    (folder / "train_set/images/0.jpg").write_bytes(b"")
    read = _written(folder, "train_set/annotations/0_exp.npy", lambda path: list_files(folder))
    values = {"number": np.array(3), "text": np.array("7"), "float": np.array([1.0])}
    return Reader(read, (DataError,), lambda: {name: _npy(a) for name, a in values.items()})


@reader(share=1)
def affectnet_csv(folder: Path) -> Reader:
    """AffectNet's list of photos; an image outside of its folder must not be reached."""
    from ferdata.errors import DataError
    from ferdata.sources.affectnet import list_files

    (folder / "set/images/1").mkdir(parents=True)
    for path in (folder / "set/images/1/a.jpg", folder / "set/images/1/b.jpg", folder / "out.jpg"):
        path.write_bytes(b"")
    (folder / "set/images/1/link.jpg").symlink_to("../../../out.jpg")

    def read(path: Path) -> None:
        for file in list_files(folder / "set").files:
            assert file.resolve().parent == (folder / "set/images/1").resolve(), file

    header = b"subDirectory_filePath,face_x,face_y,face_width,face_height,expression\n"
    return Reader(
        _written(folder, "set/training.csv", read),
        (DataError,),
        lambda: {
            "rows": header + b"1/a.jpg,1,2,30,40,7\n1/b.jpg,0,0,9,9,0\n1/c.jpg,NULL,0,0,0,10\n",
            "short": b"expression,subDirectory_filePath\n3,1/a.jpg\n",
            "out": header + b"../../out.jpg,1,2,30,40,1\n1/link.jpg,1,2,3,4,1\n",
        },
    )


@reader(share=1)
def ferplus_list(folder: Path) -> Reader:
    """The label.csv that FER+'s program writes, next to its images."""
    from ferdata.errors import DataError
    from ferdata.sources.ferplus_folders import list_files

    (folder / "FER2013Train").mkdir()
    for n in (0, 1):
        (folder / f"FER2013Train/fer000000{n}.png").write_bytes(b"")
    read = _written(folder, "FER2013Train/label.csv", lambda path: list_files(folder))
    rows = "fer0000000.png,{}4,0,0,1,3,2,0,0,0,0\r\nfer0000001.png,{}0,0,9,0,0,0,0,0,0,0\r\n"
    boxed = rows.replace("{}", '"(0, 0, 48, 48)",')
    seeds = {"votes": rows.replace("{}", "").encode(), "boxes": boxed.encode()}
    return Reader(read, (DataError,), lambda: seeds)


@reader(share=1)
def expw_list(folder: Path) -> Reader:
    """ExpW's list of faces, next to its photos."""
    from ferdata.errors import DataError
    from ferdata.sources.expw import list_files

    for place in ("label", "origin"):
        (folder / place).mkdir()
    for name in ("a.jpg", "b c.jpg"):
        (folder / "origin" / name).write_bytes(b"")
    read = _written(folder, "label/label.lst", lambda path: list_files(folder))
    lines = b"a.jpg 0 28 113 226 311 22.9 0\na.jpg 1 1 -2 30 40 1e2 6\nb c.jpg 0 0 0 9 9 5 3\n"
    return Reader(read, (DataError,), lambda: {"lines": lines})


@reader(share=2.5)
def recognised_file(folder: Path) -> Reader:
    """A file of unknown kind."""
    import ferdata

    return Reader(
        _written(folder, "unknown", ferdata.recognise),
        (ferdata.DataError,),
        lambda: {
            "manifest": b"\xef\xbb\xbfpath,label\na.png,happy\n",
            "zip": _zip({"fer2013.csv": b"emotion,pixels,Usage\n"}),
            "tar": _tar({"fer2013.csv": b"emotion,pixels,Usage\n"}, "ustar"),
            "affectnet": b"subDirectory_filePath,expression\n1/a.jpg,3\n",
            "blanks": b"a.png 2\nb.png 0\n",
            "tabs": b"user.id\timage\temotion\n1\ta.png\tsad\n",
        },
    )


# ---- run folders and sweeps ------------------------------------------------------------------


@reader(share=0.2)
def sweep_result(folder: Path) -> Reader:
    """The result of a trial, and the tables made from it."""
    from dataclasses import asdict

    from tinycnn import sweep
    from tinycnn.sweep import Trial

    kept, trial = sweep.SweepFolder(folder), Trial()
    scores = {"accuracy": 0.5, "loss": 1.25, "predicted": [0, 1]}
    name = trial.name("data")
    good: dict[str, Any] = {"name": name, "trial": asdict(trial), "validation": scores}
    good |= {"data": "data"}
    good |= {"test": None, "best_epoch": 1, "n_parameters": 65000, "seconds": 2.5}

    def read(data: bytes) -> None:
        kept.result_path(name).write_bytes(data)
        result = kept.result(name)
        sweep.score_tables([result, good])
        sweep.choice_table([result, good], "validation")
        sweep.summary_csv({name: trial}, sweep.Outcome({name: result}))

    errors = (sweep.SweepFolderError,)
    return Reader(read, errors, lambda: {"good": json.dumps(good).encode()})


@reader(share=0.2)
def sweep_failure(folder: Path) -> Reader:
    """The error of a trial that failed."""
    from dataclasses import asdict

    from tinycnn import sweep
    from tinycnn.sweep import Trial

    kept, trial = sweep.SweepFolder(folder), Trial()
    good = {"name": "one", "trial": asdict(trial), "error": "no memory", "traceback": ""}

    def read(data: bytes) -> None:
        kept.failure_path("one").write_bytes(data)
        assert isinstance(kept.outcome({"one": trial}).failures["one"], str)

    seeds = {"good": json.dumps(good).encode()}
    return Reader(read, (sweep.SweepFolderError,), lambda: seeds)


@reader(share=0.2)
def reproduce_plan(folder: Path) -> Reader:
    """The plan.json in the folder of `tinycnn reproduce`: no content may raise an error."""
    from tinycnn.cli.plan_file import NAME, read_plan

    def read(path: Path) -> None:
        plan = read_plan(str(path.parent))
        assert plan is None or {"asked", "plan"} <= plan.keys()

    good = {"asked": {"budget": 600}, "plan": {"folds": 2}}
    return Reader(_written(folder, NAME, read), (), lambda: {"good": json.dumps(good).encode()})


@reader(share=0.1)
def sweep_soft_labels(folder: Path) -> Reader:
    """The soft labels of a teacher that was trained in a fold."""
    from tinycnn.sweep import soft_labels

    good = soft_labels.to_bytes(np.zeros((5, 8), np.float32))
    return Reader(soft_labels.from_bytes, (ValueError,), lambda: {"good": good})


@reader(share=0.05)
def run_config(folder: Path) -> Reader:
    """The config.json of a run that is resumed."""
    from tinycnn.cli import build_parser, train
    from tinycnn.run import RunFolderError

    words = ["train", "--resume", "--out", str(folder)]
    given = build_parser().parse_args(words)
    read = _written(folder, "config.json", lambda path: train.read_arguments(given))
    options = {"epochs": 3, "recipe": "fer", "seed": 0, "temperature": None, "augment": None}
    options |= {"learning_rate": 0.003, "compare": True, "bias_std": 0.0}
    good = {"command": "python x.py", "options": options, "data": {"images": "ab"}}
    return Reader(read, (RunFolderError,), lambda: {"good": json.dumps(good).encode()})


@reader(share=0.05)
def sweep_toml(folder: Path) -> Reader:
    """The --config of a sweep, and the trials made from it."""
    import ferdata
    from tinycnn.cli import build_parser, sweep
    from tinycnn.ground.command_line import CannotError

    dataset = ferdata.FaceDataset(
        images=PACKED["images"],
        ids=PACKED["ids"],
        label_space=ferdata.LabelSpace("mine", ("anger", "happy")),
        labels=PACKED["labels"],
        soft_labels=PACKED["targets"],
        split=np.array(["train", "validation"]),
    )
    faces = ferdata.TrialFaces(dataset)

    parser = build_parser()

    def read(path: Path) -> None:
        given = parser.parse_args(["sweep", "--config", str(path)])
        sweep.make_trials(sweep.read_arguments(given), faces)

    good = b'out = "mine"\nsize = ["XS", 20]\nepochs = 3\n[[trial]]\nloss = "none"\n'
    read_written = _written(folder, "sweep.toml", read)
    return Reader(read_written, (CannotError,), lambda: {"good": good})
