"""Readers of TensorFlow's checkpoints."""

from __future__ import annotations

import contextlib
from pathlib import Path
from unittest import mock

import numpy as np

from fuzz.readers.registry import Reader, reader, written


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

    unchecked = written(folder, "model.index", read_unchecked)
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

    read_written = written(folder, "model.data-00000-of-00001", read)
    good = np.arange(7, dtype="<f4").tobytes()
    return Reader(read_written, (tf_checkpoint.CheckpointFileError,), lambda: {"good": good})
