"""Arrays parsed from source files, kept on disk so that the next run need not parse them again.

Folder: $FERDATA_CACHE_DIR, else $XDG_CACHE_HOME/ferdata, else ~/.cache/ferdata. It may be deleted
at any time. One entry per source file, per list of photos, and for the built-in faces: an
uncompressed .npz (no pickle) named after the source and a hash of its path. A stale entry is
replaced by the new one of the same name, so old entries do not pile up.

An entry holds the identity of the file it was made from: name, size, modification time in
nanoseconds, and a sha256 over up to 64 blocks of 64 KiB spread evenly over the file. Files up to
4 MiB are thus hashed whole. Hashing all of a 270 MB csv would take most of the time that the cache
saves. The one change that this can miss is an edit inside a large file that keeps both its size
and its modification time. The zip format's own CRC-32 finds damage to the entry itself.

If an entry is missing, stale or damaged, or the folder cannot be written, the source is parsed
again: that costs time and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ferdata.errors import DataError
from ferdata.files.npz_file import read_npz, save_npz
from ferdata.files.regular_file import named_errors
from tinycnn.ground.cache_folder import cache_folder_of, make_private

_N_BLOCKS, _BLOCK_BYTES = 64, 64 * 1024
_IDENTITY = "source_identity"


_warned = False


def cache_folder() -> Path | None:
    """The folder of the cache; see the module's docstring. It need not exist. None, and one warning
    in the log, if there is no home folder: then nothing is cached."""
    global _warned
    try:
        return cache_folder_of("ferdata")
    except RuntimeError as error:
        if not _warned:
            _warned = True
            logging.getLogger("ferdata").warning(
                "no cache (%s): each process reads and compiles again, unless FERDATA_CACHE_DIR "
                "names a folder that you may write to",
                error,
            )
        return None


def cached_arrays(
    source: Path, kind: str, build: Callable[[], dict[str, np.ndarray]], cache: bool = True
) -> dict[str, np.ndarray]:
    """The arrays that build() makes from the file `source`; from the cache if they are there.

    `kind` names the layout of the arrays: change it whenever build changes. cache=False: the cache
    is not used. Raises what build raises, and DataError if `source` cannot be read.
    """
    if not cache:
        return build()

    def identity() -> str:
        with named_errors(source):
            return source_identity(source, kind)

    return cached_by(source.name, f"{kind}\n{source.resolve()}", identity, build)


def cached_by(
    name: str,
    place: str,
    identity: Callable[[], str],
    build: Callable[[], dict[str, np.ndarray]],
) -> dict[str, np.ndarray]:
    """The arrays that build() makes; from the cache if its entry has the same identity.

    name, place  the entry's file is called `name` and a hash of `place`
    identity     returns text that changes with everything that build() depends on

    Raises what identity and build raise.
    """
    expected = identity()
    entry = _entry_path(name, place)
    arrays = None if entry is None else _read(entry, expected)
    if arrays is None:
        arrays = build()
        # If the source changed while it was parsed, the arrays belong to neither version.
        if entry is not None and identity() == expected:
            _write(entry, expected, arrays)
    return arrays


def source_identity(source: Path, kind: str) -> str:
    """Text that changes with the file: kind, name, size, mtime_ns and a sampled sha256."""
    digest = hashlib.sha256()
    with open(source, "rb") as file:
        stat = os.fstat(file.fileno())
        last = max(stat.st_size - _BLOCK_BYTES, 0)
        n_blocks = min(_N_BLOCKS, -(-stat.st_size // _BLOCK_BYTES))
        for i in range(n_blocks):
            file.seek(last * i // max(n_blocks - 1, 1))
            digest.update(file.read(_BLOCK_BYTES))
    return json.dumps([kind, source.name, stat.st_size, stat.st_mtime_ns, digest.hexdigest()])


def _entry_path(name: str, place: str) -> Path | None:
    folder = cache_folder()
    if folder is None:
        return None
    return folder / f"{name}-{hashlib.sha256(place.encode()).hexdigest()[:16]}.npz"


def _read(entry: Path, identity: str) -> dict[str, np.ndarray] | None:
    try:
        if str(read_npz(entry, (_IDENTITY,)).get(_IDENTITY)) != identity:
            return None
        arrays = read_npz(entry, None)
    except DataError:  # missing or damaged: the source is parsed instead
        return None
    arrays.pop(_IDENTITY)
    return arrays


def _write(entry: Path, identity: str, arrays: dict[str, np.ndarray]) -> None:
    with contextlib.suppress(OSError):  # not writable, or disk full: the next run parses again
        make_private(entry.parent)  # faces are private
        save_npz(entry, {_IDENTITY: np.array(identity), **arrays}, private=True)
