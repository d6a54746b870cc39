"""Many photos to one array (N, 84, 84): in parallel, with progress, kept in the packed cache.

Threads do the work: decoding, resizing and the cascade release the interpreter's lock. A photo is
held only while it is worked on, so memory is the result's and one photo per worker.

The cache entry (see `ferdata.cache`) belongs to the list of paths, framing, size and `cache_key`.
It counts as stale if this module's _VERSION, any file's size or modification time, or the bytes of
one of 64 files spread evenly over the list have changed. What that can miss is an edit that leaves
a file's size *and* modification time as they were.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ferdata.cache import cached_by, source_identity
from ferdata.detect import largest_face
from ferdata.errors import DataError
from ferdata.faces import SIZE_PX, check_framing, checked_boxes, frame_face, resized
from ferdata.photo import read_grey
from ferdata.warp import resize_images

# Change it whenever the same photo would give other pixels: reading, finding, framing, resizing.
_VERSION = 2
_N_SAMPLED = 64

ON_MISSING = ("error", "whole")


@dataclass(frozen=True, eq=False)
class FramedPhotos:
    """One image per photo, in the order of the paths.

    images  uint8 (N, size_px, size_px)
    found   bool (N,)   False where no face was found: the image is then the whole photo, framed as
                        if it were the face's box (so does the paper's demo)
    """

    images: np.ndarray
    found: np.ndarray


def load_faces(
    paths: Sequence[str | os.PathLike],
    *,
    framing: str | None,
    cache_key: str,
    n_workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    size_px: int = SIZE_PX,
    boxes: np.ndarray | None = None,
    on_missing: str = "error",
) -> np.ndarray:
    """The `images` of `frame_photos`, every one with a face: uint8 (N, size_px, size_px).

    on_missing  what to do with photos in which no face is found: "error", DataError that names the
                first and says how many there are; "whole", take the whole photo for the face
    """
    if on_missing not in ON_MISSING:
        raise ValueError(
            f"on_missing: expected one of {', '.join(ON_MISSING)}, found {on_missing!r}"
        )
    framed = frame_photos(
        paths,
        framing=framing,
        cache_key=cache_key,
        n_workers=n_workers,
        progress=progress,
        size_px=size_px,
        boxes=boxes,
    )
    missing = np.flatnonzero(~framed.found)
    if on_missing == "error" and len(missing):
        raise DataError(
            f"{os.fspath(paths[missing[0]])}: no face found, as in {len(missing)} of {len(paths)} "
            f"photos; give their boxes, leave them out, or take each whole photo for the face "
            f"(on_missing='whole')"
        )
    return framed.images


def frame_photos(
    paths: Sequence[str | os.PathLike],
    *,
    framing: str | None,
    cache_key: str,
    n_workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    size_px: int = SIZE_PX,
    boxes: np.ndarray | None = None,
) -> FramedPhotos:
    """Every photo as a grey square, from the packed cache where that is possible.

    framing    one of faces.FRAMINGS: of the largest face found, or of the box given; None: the
               whole photo resized, for data sets that are cropped already
    cache_key  names source and protocol; part of the entry's file name
    n_workers  photos to work on at once; None: the processors this process may use. The result
               does not depend on it
    progress   progress(done, total), from the calling thread; not called if the cache answers
    size_px    84; any other only with framing None
    boxes      whole numbers (N, 4), x, y, width, height: one for each photo, instead of looking

    Raises DataError for the first path that cannot be read or whose box does not fit, ValueError
    for settings out of range. Ctrl-C or an error leave no entry.
    """
    paths = [Path(path) for path in paths]
    if framing is not None:
        check_framing(framing)
    if size_px < 1 or (framing is not None and size_px != SIZE_PX):
        raise ValueError(f"size_px: expected {SIZE_PX}, or 1 or more without framing: {size_px}")
    if n_workers is not None and n_workers < 1:
        raise ValueError(f"n_workers: expected 1 or more, found {n_workers}")
    if boxes is not None:
        boxes = np.asarray(boxes)
        if framing is None or boxes.shape != (len(paths), 4):
            raise DataError(
                f"boxes: expected ({len(paths)}, 4) and a framing, found {boxes.shape}, {framing}"
            )
    settings = [_VERSION, framing, size_px, None if boxes is None else boxes.tolist()]

    def build() -> dict[str, np.ndarray]:
        return _framed_photos(paths, framing, size_px, boxes, n_workers, progress)

    place = json.dumps([cache_key, framing, size_px, [os.path.abspath(path) for path in paths]])
    name = "".join(c if c.isalnum() or c in "-_." else "_" for c in cache_key)[:80] or "photos"
    arrays = cached_by(name, place, lambda: _identity(paths, settings), build)
    return FramedPhotos(arrays["images"], arrays["found"])


def _framed_photos(
    paths: list[Path],
    framing: str | None,
    size_px: int,
    boxes: np.ndarray | None,
    n_workers: int | None,
    progress: Callable[[int, int], None] | None,
) -> dict[str, np.ndarray]:
    images = np.empty((len(paths), size_px, size_px), np.uint8)
    found = np.ones(len(paths), bool)

    def work(i: int) -> None:
        grey = read_grey(paths[i])
        if framing is None:
            images[i] = _whole(grey, size_px)
            return
        if boxes is not None:
            (box,) = checked_boxes(boxes[i : i + 1], grey, os.fspath(paths[i]))
        else:
            face = largest_face(grey)
            found[i] = face is not None
            box = np.array([0, 0, grey.shape[1], grey.shape[0]]) if face is None else face
        images[i] = frame_face(grey, box, framing)

    with ThreadPoolExecutor(n_workers or _n_processors()) as pool:
        try:
            for done, _ in enumerate(pool.map(work, range(len(paths))), start=1):
                if progress is not None:
                    progress(done, len(paths))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return {"images": images, "found": found}


def _whole(grey: np.ndarray, size_px: int) -> np.ndarray:
    """Enlarged as in training; shrunk with anti-aliasing, and far faster than there."""
    if max(grey.shape) <= size_px:
        return resize_images(grey[None], size_px)[0]
    return resized(grey, size_px)


def _n_processors() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def _identity(paths: list[Path], settings: list) -> str:
    digest = hashlib.sha256()
    sampled = set(np.linspace(0, len(paths) - 1, min(_N_SAMPLED, len(paths))).astype(int).tolist())
    for i, path in enumerate(paths):
        try:
            if i in sampled and path.is_file():
                digest.update(source_identity(path, "photo").encode())
            else:
                stat = os.stat(path)
                digest.update(f"{stat.st_size} {stat.st_mtime_ns}\n".encode())
        except FileNotFoundError:
            raise DataError(f"{path}: no such file") from None
        except (OSError, ValueError) as error:
            raise DataError(f"{str(path)!r}: cannot be read ({error})") from error
    return json.dumps([settings, len(paths), digest.hexdigest()])
