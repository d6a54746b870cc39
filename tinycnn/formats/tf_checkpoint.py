"""Reads TensorFlow's checkpoints without TensorFlow: PREFIX.index, PREFIX.data-00000-of-00001, ...

The index is a table (leveldb_table.py) from a tensor's name to a BundleEntryProto: dtype, shape,
data file ("shard") and the place of its bytes there.  The empty name has the BundleHeaderProto.
Messages: tensorflow/core/protobuf/tensor_bundle.proto, framework/tensor_shape.proto, types.proto.

    tf_checkpoint.list_tensors("MicroExpNet_CK")              names and shapes, from the index alone
    network = tf_checkpoint.load_network("MicroExpNet_CK")    the published networks
    tensors = tf_checkpoint.read_tensors(prefix, ["a/kernel", "a/bias"])    any other checkpoint
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..ground.regular_file import open_regular
from ..models.microexpnet import SIZES, VARIANTS, check_variant_and_size, microexpnet
from ..network import Network
from .crc32c import masked_crc32c
from .leveldb_table import read_table
from .protobuf import BYTES, FIXED32, VARINT, DamagedData, fields

PUBLISHED_NAMES = {
    "conv1.w": "wc1",
    "conv1.b": "bc1",
    "conv2.w": "wc2",
    "conv2.b": "bc2",
    "dense1.w": "wfc",
    "dense1.b": "bfc",
    "dense2.w": "wo",
    "dense2.b": "bo",
}
"""A network's parameter -> its tensor in the checkpoints of the paper's authors."""

_NAMES = "float32 float64 int32 uint8 int16 int8 string complex64 int64 bool"
DTYPES = dict(enumerate(_NAMES.split(), start=1))
DTYPES |= {14: "bfloat16", 17: "uint16", 18: "complex128", 19: "float16"}
DTYPES |= {22: "uint32", 23: "uint64"}
"""TensorFlow's number of a dtype -> its name.  Any other dtype is listed by its number."""

IN_NUMPY = set(DTYPES.values()) - {"string", "bfloat16"}

MAX_INDEX_BYTES, MAX_TENSORS, MAX_AXES = 1 << 22, 20_000, 32
"""Larger than any checkpoint of a network that this engine could run."""


class CheckpointFileError(ValueError):
    """A checkpoint cannot be used; the message names the file and what is wrong."""


@dataclass(frozen=True)
class TensorInfo:
    """One tensor of a checkpoint, as the index describes it.

    dtype is a name, because NumPy does not have every dtype.  crc32c is masked.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    shard: int
    offset: int
    n_bytes: int
    crc32c: int
    partitioned: bool


def list_tensors(prefix: str | os.PathLike) -> list[TensorInfo]:
    """The tensors of the checkpoint PREFIX.index, by name, without reading their data.

    Raises FileNotFoundError where there is no index, CheckpointFileError for a damaged one.
    """
    return list(_read_index(prefix)[0].values())


def read_tensors(
    prefix: str | os.PathLike, names: Iterable[str] | None = None
) -> dict[str, np.ndarray]:
    """Tensors by name; their checksums are verified.

    names: by default all tensors of a dtype that NumPy has.  Takes no more memory than the size of
    the data files, whatever the index claims.  Raises FileNotFoundError where there is no index;
    CheckpointFileError for a damaged or missing data file and for a tensor that is missing or
    cannot be read.
    """
    index, n_shards = _read_index(prefix)
    if names is None:
        chosen = [t for t in index.values() if t.dtype in IN_NUMPY and not t.partitioned]
    else:
        chosen = _chosen(prefix, index, dict.fromkeys(names))
    paths = {t.shard: Path(f"{prefix}.data-{t.shard:05d}-of-{n_shards:05d}") for t in chosen}
    for shard, path in paths.items():
        if not path.is_file():
            raise CheckpointFileError(f"{path}: no such file; by the index it holds tensors")
        size = path.stat().st_size
        inside = [tensor for tensor in chosen if tensor.shard == shard]
        for tensor in inside:
            _check_place(tensor, path, size)
        claimed = sum(tensor.n_bytes for tensor in inside)
        if claimed > size:
            raise CheckpointFileError(
                f"{path}: by the index its tensors take {claimed} bytes, the file has {size}: "
                "they overlap"
            )
    return {tensor.name: _read_tensor(tensor, paths[tensor.shard]) for tensor in chosen}


def load_network(
    prefix: str | os.PathLike,
    *,
    variant: str = "p12",
    names: Mapping[str, str] | None = None,
    classes: Sequence[str] | None = None,
    scaling: str = "raw",
    framing: str | None = "paper",
    backend: str = "auto",
    n_threads: int | None = None,
) -> Network:
    """A network of the paper from the checkpoint PREFIX.index, such as "MicroExpNet_CK".

    variant   one of `models.VARIANTS`.  It must be given, because v and p1 have the same shapes and
              so have p12 and p2.  Size and number of classes are found from the shapes
    names     parameter ("conv1.w", ...) -> its tensor; by default PUBLISHED_NAMES.  Tensors have
              TensorFlow's layouts (HWIO; fan_in x units), which are tinycnn's too
    classes   names in the order of the logits; by default the published ones where there are 8
    The rest as in `microexpnet`.  Other tensors (Adam's moments) are ignored.
    Raises FileNotFoundError without an index; CheckpointFileError for damage, missing tensors or
    other shapes; ValueError for an unknown variant, wrong keys of `names` or other wrong options.
    """
    names = dict(PUBLISHED_NAMES if names is None else names)
    if set(names) != set(PUBLISHED_NAMES):
        raise ValueError(
            f"names has the keys {', '.join(sorted(names))}; expected {', '.join(PUBLISHED_NAMES)}"
        )
    check_variant_and_size(variant, SIZES[0])  # the size is found below
    index = {tensor.name: tensor for tensor in list_tensors(prefix)}
    try:
        chosen = _chosen(prefix, index, names.values())
    except CheckpointFileError as error:
        raise CheckpointFileError(
            f"{error}: not one of the paper's networks, or with other names of tensors "
            "(tf_checkpoint.load_network takes `names`); convert another network to ONNX first"
        ) from None
    shapes = {ours: tensor.shape for ours, tensor in zip(names, chosen)}
    size, n_classes = _size_of(prefix, variant, shapes, names)
    others = {tensor.dtype for tensor in chosen} - {"float16", "float32", "float64"}
    if others:
        raise CheckpointFileError(
            f"{_index_path(prefix)}: weights of dtype {', '.join(sorted(others))}; expected floats"
        )
    tensors = read_tensors(prefix, names.values())  # first: a false claim must not take memory
    network = microexpnet(
        variant,
        size,
        n_classes,
        classes=classes,
        scaling=scaling,
        framing=framing,
        backend=backend,
        n_threads=n_threads,
    )
    network.set_parameters({ours: tensors[theirs] for ours, theirs in names.items()})
    return network


def _size_of(
    prefix: str | os.PathLike,
    variant: str,
    shapes: Mapping[str, tuple[int, ...]],
    names: Mapping[str, str],
) -> tuple[str, int]:
    """(size, number of classes) of the network whose parameters have these shapes.

    Nothing is allocated.  Raises CheckpointFileError where no size fits.
    """
    fan_in = {}
    for name, candidate in VARIANTS.items():
        side = 84
        for stride in (candidate.conv1_stride, 1 + candidate.pool1, 2, 1 + candidate.pool2):
            side = -(-side // stride)
        fan_in[name] = side * side * 32
    n_classes = shapes["dense2.b"][0] if len(shapes["dense2.b"]) == 1 else 0
    expected: dict[str, tuple[int, ...]] = {"conv1.w": (8, 8, 1, 16), "conv1.b": (16,)}
    expected |= {"conv2.w": (4, 4, 16, 32), "conv2.b": (32,)}
    for size, units in zip(SIZES, VARIANTS[variant].dense_units):
        expected |= {"dense1.w": (fan_in[variant], units), "dense1.b": (units,)}
        expected |= {"dense2.w": (units, n_classes), "dense2.b": (n_classes,)}
        if shapes == expected and n_classes > 0:
            return size, n_classes
    fixed = {k: s for k, s in expected.items() if k.startswith("conv") and shapes[k] != s}
    if fixed:
        ours, wanted = next(iter(fixed.items()))
        what = f"{names[ours]!r} has shape {shapes[ours]}; expected {wanted}"
    else:
        sizes = " or ".join(map(str, VARIANTS[variant].dense_units))
        found = ", ".join(f"{names[k]!r} {s}" for k, s in shapes.items() if k.startswith("dense"))
        what = f"{found}; expected ({fan_in[variant]}, {sizes}), then (the same, n_classes)"
        fitting = [v for v in VARIANTS if shapes["dense1.w"][:1] == (fan_in[v],)]
        if fitting and variant not in fitting:
            choice = " or ".join(f"variant={v!r}" for v in fitting)
            what += f"; {choice} would fit {names['dense1.w']!r}"
    raise CheckpointFileError(f"{_index_path(prefix)}: no network of variant {variant}: {what}")


def _chosen(
    prefix: str | os.PathLike, index: Mapping[str, TensorInfo], names: Iterable[str]
) -> list[TensorInfo]:
    missing = [name for name in names if name not in index]
    if missing:
        raise CheckpointFileError(
            f"{_index_path(prefix)}: no tensor {', '.join(map(repr, missing))}; it holds "
            f"{_listed(index)}"
        )
    return [index[name] for name in names]


def _index_path(prefix: str | os.PathLike) -> Path:
    return Path(f"{os.fspath(prefix)}.index")


def _listed(index: Mapping[str, TensorInfo]) -> str:
    names = sorted(index)
    shown = ", ".join(map(repr, names[:20]))
    return f"{shown}, ... ({len(names)} in all)" if len(names) > 20 else shown or "none"


def _check_place(tensor: TensorInfo, path: Path, size: int) -> None:
    """Raise CheckpointFileError unless the tensor can be read and lies within its file."""
    about = f"{path}: tensor {tensor.name!r}"
    if tensor.partitioned:
        raise CheckpointFileError(f"{about} is partitioned into slices, which cannot be read")
    if tensor.dtype not in IN_NUMPY:
        raise CheckpointFileError(f"{about} has dtype {tensor.dtype}, which cannot be read")
    n_bytes = np.dtype(tensor.dtype).itemsize
    for length in tensor.shape:
        n_bytes *= length
    if n_bytes != tensor.n_bytes:
        raise CheckpointFileError(
            f"{about}: {tensor.dtype} of shape {tensor.shape} takes {n_bytes} bytes; the index "
            f"says {tensor.n_bytes}"
        )
    if tensor.offset + tensor.n_bytes > size:
        raise CheckpointFileError(
            f"{about} lies at bytes {tensor.offset} to {tensor.offset + tensor.n_bytes}; the file "
            f"has {size}: it is cut off"
        )


def _read_tensor(tensor: TensorInfo, path: Path) -> np.ndarray:
    with open_regular(path) as file:
        file.seek(tensor.offset)
        data = file.read(tensor.n_bytes)
    if len(data) != tensor.n_bytes or masked_crc32c(data) != tensor.crc32c:
        raise CheckpointFileError(
            f"{path}: the checksum of tensor {tensor.name!r} does not match: the file is damaged"
        )
    if tensor.dtype == "bool" and data.strip(b"\0\1"):
        raise CheckpointFileError(
            f"{path}: tensor {tensor.name!r} holds bytes other than 0 and 1, which no bool has"
        )
    values = np.frombuffer(data, np.dtype(tensor.dtype).newbyteorder("<"))
    return values.astype(tensor.dtype).reshape(tensor.shape)


def _read_index(prefix: str | os.PathLike) -> tuple[dict[str, TensorInfo], int]:
    """(tensors by name, number of data files); the errors of `list_tensors`."""
    path = _index_path(prefix)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such checkpoint index; give what the names of the checkpoint's files have "
            "in common: 'model' for model.index and model.data-00000-of-00001"
        )
    if path.stat().st_size > MAX_INDEX_BYTES:
        raise CheckpointFileError(f"{path}: the index has more than {MAX_INDEX_BYTES:,} bytes")
    tensors: dict[str, TensorInfo] = {}
    try:
        with open_regular(path) as file:
            table = read_table(file.read())
        first_key, header = next(table, (None, b""))  # keys are sorted: the empty one is first
        if first_key != b"":
            raise DamagedData("it has no header")
        n_shards = _header(header)
        for key, value in table:
            if len(tensors) == MAX_TENSORS:
                raise DamagedData(f"more than {MAX_TENSORS:,} tensors")
            tensor = _entry(key.decode("utf-8"), value)
            if tensor.shard >= n_shards:
                raise DamagedData(
                    f"tensor {tensor.name!r} is in data file {tensor.shard} of {n_shards}"
                )
            tensors[tensor.name] = tensor
    except UnicodeDecodeError as error:
        raise CheckpointFileError(f"{path}: a tensor's name is not UTF-8: {error}") from None
    except DamagedData as error:
        raise CheckpointFileError(f"{path}: not a checkpoint index, or damaged: {error}") from None
    return tensors, n_shards


def _last_values(message: bytes) -> dict[tuple[int, int], int | bytes]:
    """(number, wire type) -> value of each field; the last one counts where there are several."""
    return {(number, wire_type): value for number, wire_type, value in fields(message)}


def _header(message: bytes) -> int:
    """The number of data files.  Fields of BundleHeaderProto: num_shards 1, endianness 2."""
    values = _last_values(message)
    n_shards, endianness = (int(values.get((number, VARINT), 0)) for number in (1, 2))
    if not 1 <= n_shards < 100_000:
        raise DamagedData(f"{n_shards} data files; expected 1 to 99999")
    if endianness != 0:
        raise DamagedData("its numbers are big-endian; only little-endian ones are read")
    return n_shards


def _entry(name: str, message: bytes) -> TensorInfo:
    """Fields of BundleEntryProto: dtype 1, shape 2, shard_id 3, offset 4, size 5, crc32c 6,
    slices 7."""
    values = _last_values(message)
    dtype, shard, offset, n_bytes = (int(values.get((k, VARINT), 0)) for k in (1, 3, 4, 5))
    if max(dtype, shard, offset, n_bytes) >= 1 << 63:
        raise DamagedData(f"tensor {name!r} has a negative size or offset")
    shape = values.get((2, BYTES), b"")
    assert isinstance(shape, bytes)
    return TensorInfo(
        name=name,
        dtype=DTYPES.get(dtype, f"number {dtype} of TensorFlow"),
        shape=_shape(shape),
        shard=shard,
        offset=offset,
        n_bytes=n_bytes,
        crc32c=int(values.get((6, FIXED32), 0)),
        partitioned=(7, BYTES) in values,
    )


def _shape(message: bytes) -> tuple[int, ...]:
    """Fields of TensorShapeProto: dim 2, and in it size 1."""
    dims = [dim for number, _, dim in fields(message) if number == 2 and isinstance(dim, bytes)]
    sizes = [int(_last_values(dim).get((1, VARINT), 0)) for dim in dims]
    if len(sizes) > MAX_AXES or any(size >= 1 << 63 for size in sizes):
        raise DamagedData("a tensor's shape has too many axes or a negative size")
    return tuple(sizes)
