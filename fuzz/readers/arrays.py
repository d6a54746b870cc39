"""Readers of files of arrays: soft labels, packed data sets, caches, images to evaluate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np

from fuzz.readers.archives import npy, npz, zip_of
from fuzz.readers.models import small_network
from fuzz.readers.registry import Reader, reader, written


def _one_array(
    folder: Path, arrays: dict[str, np.ndarray], read: Callable[[Path], object]
) -> tuple[Callable[[bytes], object], dict[str, bytes]]:
    """A reader of an .npz with one damaged array, and its seeds.

    The first byte of the input chooses the array, the rest is the content of its .npy file.
    """
    names, path = sorted(arrays), folder / "some.npz"
    members = {f"{name}.npy": npy(arrays[name]) for name in names}

    def read_with(data: bytes) -> object:
        which = f"{names[data[0] % len(names)] if data else names[0]}.npy"
        path.write_bytes(zip_of({**members, which: data[1:]}))
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

    read = written(folder, "teacher.npz", ferdata.load_soft_labels)
    return Reader(read, (ferdata.DataError,), lambda: {"rows": npz(TEACHER)})


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
        written(folder, "teacher.csv", ferdata.load_soft_labels),
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

    return Reader(read, (), lambda: {"good": npz(kept)})


@reader(share=0.4)
def evaluation_npz(folder: Path) -> Reader:
    """One array of the images and labels for `tinycnn convert --data`."""
    from tinycnn.cli.convert import read_data
    from tinycnn.ground.command_line import CannotError

    network = small_network()
    arrays = {"images": np.zeros((2, 8, 7), np.uint8), "labels": np.array([0, 1])}
    read, seeds = _one_array(folder, arrays, lambda path: read_data(str(path), network))
    return Reader(read, (CannotError,), lambda: seeds)
