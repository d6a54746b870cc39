"""Read many photos into one array of faces (N, 84, 84): in parallel, and cached on disk.

Threads do the work: decoding, resizing and face detection release the interpreter's lock. Memory is
needed for the result and for one photo per thread.

There is one cache entry (see `ferdata.files.cache`) for each list of paths, framing, size and
`cache_key`. It is stale if one of these has changed: this module's _VERSION, the size or
modification time of any file, or the content of 64 files spread evenly over the list. The one
change that this can miss is an edit that keeps both a file's size and its modification time.
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

from ferdata.arguments import check_whole_numbers, checked_option
from ferdata.errors import DataError
from ferdata.files.cache import cached_by, source_identity
from ferdata.files.regular_file import named_errors
from ferdata.photos.detect import largest_face
from ferdata.photos.faces import FRAMINGS, SIZE_PX, checked_boxes, frame_face, resized
from ferdata.photos.photo import read_grey
from ferdata.warp import resize_images
from tinycnn.ground.masked_arrays import unmasked
from tinycnn.ground.messages import short_repr
from tinycnn.ground.usable_cores import usable_cores

# Change it whenever a change to reading, detection, framing or resizing alters the pixels.
_VERSION = 2
_N_SAMPLED = 64

ON_MISSING = ("error", "whole")


@dataclass(frozen=True, eq=False)
class FramedPhotos:
    """One image per photo, in the order of the paths.

    images  uint8 (N, size_px, size_px)
    found   bool (N,)   False if no face was found: then the whole photo was cropped as if it were
                        the face's box, as in the paper's demo
    """

    images: np.ndarray
    found: np.ndarray

    __repr__ = short_repr


def load_faces(
    paths: Sequence[str | os.PathLike],
    *,
    framing: str | None,
    cache_key: str,
    on_missing: str = "error",
    n_workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    size_px: int = SIZE_PX,
    boxes: np.ndarray | None = None,
) -> np.ndarray:
    """The `images` of `frame_photos`, with the same arguments, if every photo shows a face.

    on_missing  if no face is found in some photos: "error" raises DataError, which names the first
                of them and their number; "whole" takes the whole photo for the face
    """
    checked_option("on_missing", on_missing, ON_MISSING)
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
            "photos; leave them out, or take the whole photo for the face: on_missing='whole'"
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
    """The face of every photo as a grey square; from the cache if it is there.

    framing    one of faces.FRAMINGS: how the largest face, or the box given, is cropped; None: the
               whole photo is resized, for data sets of cropped faces
    cache_key  names the source and its protocol; part of the cache entry's file name
    n_workers  number of threads; None: one for each processor that this process may use. The
               result does not depend on it
    progress   progress(done, total), called from the calling thread, unless the cache is used
    size_px    the side of a square: what the network takes
    boxes      where the face is in each photo: whole numbers (N, 4), x, y, width, height; None:
               faces are searched for

    Raises DataError for the first path that cannot be read or whose box does not fit, ValueError
    for settings out of range. Ctrl-C or an error leaves no cache entry.
    """
    files = [Path(path) for path in paths]
    if framing is not None:
        checked_option("framing", framing, FRAMINGS)
    check_whole_numbers(1, size_px=size_px)
    if n_workers is not None:
        check_whole_numbers(1, n_workers=n_workers)
    if boxes is not None:
        boxes = unmasked("boxes", boxes)
        if framing is None or boxes.shape != (len(files), 4):
            raise DataError(
                f"boxes: expected ({len(files)}, 4) and a framing, found {boxes.shape}, {framing}"
            )
    settings = [_VERSION, framing, size_px, None if boxes is None else boxes.tolist()]

    def build() -> dict[str, np.ndarray]:
        return _framed_photos(files, framing, size_px, boxes, n_workers, progress)

    place = json.dumps([cache_key, framing, size_px, [os.path.abspath(path) for path in files]])
    name = "".join(c if c.isalnum() or c in "-_." else "_" for c in cache_key)[:80] or "photos"
    arrays = cached_by(name, place, lambda: _identity(files, settings), build)
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
        images[i] = frame_face(grey, box, framing, size_px=size_px)

    in_threads(work, len(paths), n_workers, progress)
    return {"images": images, "found": found}


def in_threads(
    work: Callable[[int], object],
    n: int,
    n_threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Call work(0) to work(n - 1) in n_threads (None: one for each core that this process may use).
    The first error is raised, and nothing more is begun."""
    with ThreadPoolExecutor(n_threads or usable_cores()) as pool:
        try:
            for done, _ in enumerate(pool.map(work, range(n)), start=1):
                if progress is not None:
                    progress(done, n)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _whole(grey: np.ndarray, size_px: int) -> np.ndarray:
    """The whole photo: enlarged as in training, or shrunk with anti-aliasing (by Pillow, far faster
    than `resize_images`)."""
    if max(grey.shape) <= size_px:
        return resize_images(grey[None], size_px)[0]
    return resized(grey, size_px)


def _identity(paths: list[Path], settings: list) -> str:
    digest = hashlib.sha256()
    sampled = set(np.linspace(0, len(paths) - 1, min(_N_SAMPLED, len(paths))).astype(int).tolist())
    for i, path in enumerate(paths):
        with named_errors(path):
            if i in sampled and path.is_file():
                digest.update(source_identity(path, "photo").encode())
            else:
                stat = os.stat(path)
                digest.update(f"{stat.st_size} {stat.st_mtime_ns}\n".encode())
    return json.dumps([settings, len(paths), digest.hexdigest()])
