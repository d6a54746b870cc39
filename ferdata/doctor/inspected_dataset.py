"""A data set as the doctor reads it: every image is read, and files that cannot be are listed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ferdata.dataset import FaceDataset
from ferdata.errors import DataError
from ferdata.image_hashes import content_ids
from ferdata.photos.faces import checked_boxes
from ferdata.photos.photo import read_grey
from ferdata.photos.preprocess import in_threads
from ferdata.sources import dataset_loading
from ferdata.sources.face_files import FaceFiles, counts_of
from ferdata.sources.fer2013 import published_counts
from ferdata.sources.ferplus import load_votes
from ferdata.sources.packed import is_packed
from tinycnn.ground.messages import short_repr

THUMBNAIL_PX = 64
_OF_CUTTING = ("framing", "on_missing", "n_workers")
"""Arguments of ferdata.open that say how faces are cut out of the files, and not which files."""
Progress = Callable[[str, int, int], None]
"""progress(what, done, total)"""


@dataclass(frozen=True, kw_only=True, eq=False)
class InspectedDataset:
    """A data set with what the doctor needs to check it.

    path, source, why  where it is, which data set it is, and what in it shows that
    protocol   which of its images were read, in words
    dataset    FaceDataset of the N images that can be read. Images from files are shrunk to
               THUMBNAIL_PX squared, whatever their shape
    hashes     str (N,)       `content_ids` of each image in its full size
    sizes      int64 (N, 2)   height and width of each image in its full size; of the face's box, if
               the source gives one
    unreadable ((id, what is wrong), ...)
    counts     name -> number, such as {"images": 981};  published: the same numbers for a complete
               copy of the data set, {} if they are unknown
    votes      uint8 (N, 10)  FER+'s votes in the order of FERPLUS10, or None
    votes_error  why the given votes do not belong to this data set, or ""
    options    the options with which ferdata.open reads the same images
    """

    path: str
    source: str
    why: str
    dataset: FaceDataset
    hashes: np.ndarray
    sizes: np.ndarray
    unreadable: tuple[tuple[str, str], ...] = ()
    counts: dict[str, int]
    published: dict[str, int] = field(default_factory=dict)
    votes: np.ndarray | None = None
    votes_error: str = ""
    protocol: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    __repr__ = short_repr

    def as_opened(self) -> FaceDataset:
        """The images as ferdata.open returns them. Raises what it raises."""
        if self.source not in dataset_loading.SOURCES or self.source == dataset_loading.FER2013_CSV:
            return self.dataset
        return dataset_loading.open(self.path, self.source, **self.options)


def inspect_path(
    path: str | os.PathLike[str],
    source: str | None = None,
    votes: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> InspectedDataset:
    """Read the data set at `path`, as far as that is possible.

    source, options  see ferdata.open
    votes            fer2013new.csv, only for FER2013's csv

    An image file that cannot be read is noted in `unreadable`. Raises DataError if the folder or
    csv cannot be read at all, or there is no image; ValueError for an option that does not apply.
    """
    if source is None and is_packed(path):
        if votes is not None:
            options["votes"] = votes  # refused, as by ferdata.open
        dataset = dataset_loading.open(path, **options)
        why = "an .npz with format, images and ids"
        return inspect_dataset(dataset, path=str(path), source="packed", why=why)
    found = dataset_loading.identify(path, source, options.get("classes"), options)
    source, why = found.source, found.why
    if source == dataset_loading.FER2013_CSV:
        return _inspect_csv(path, why, votes, progress, options)
    if votes is not None:
        raise ValueError(f"votes: belong to FER2013's csv, and this is {source} ({why})")
    of_source = {k: v for k, v in options.items() if k not in _OF_CUTTING}
    files = dataset_loading.list_files(path, source, **of_source)
    return _inspect_files(files, str(path), why, progress, options)


def inspect_dataset(
    dataset: FaceDataset, *, path: str = "", source: str = "a FaceDataset", why: str = "given"
) -> InspectedDataset:
    """The same for a data set in memory. Raises DataError if it has no images."""
    n, (height, width) = len(dataset), dataset.images.shape[1:]
    if not n:
        raise DataError(f"{path or source}: no images")
    return InspectedDataset(
        path=path,
        source=source,
        why=why,
        dataset=dataset,
        hashes=content_ids(dataset.images),
        sizes=np.tile(np.array([[height, width]], dtype=np.int64), (n, 1)),
        counts=counts_of(dataset),
    )


def _inspect_csv(
    path: str | os.PathLike[str],
    why: str,
    votes: str | os.PathLike[str] | None,
    progress: Progress | None,
    options: dict[str, Any],
) -> InspectedDataset:
    fer2013 = dataset_loading.FER2013_CSV
    target = options.pop("target", None)
    if votes is None and target is not None:
        options = {**options, "target": target}  # "labels" is what there is; others are refused
    dataset = dataset_loading.open(path, fer2013, progress=_reading(progress), **options)
    counts, error = None, ""
    if votes is not None:
        try:  # raises if a row does not fit
            dataset_loading.open(path, fer2013, votes=votes, target=target)
            counts, _ = load_votes(Path(votes))
            if dataset.rows is not None:  # of the classes that were chosen
                counts = counts[dataset.rows]
        except DataError as e:
            error = str(e)
    return replace(
        inspect_dataset(dataset, path=str(path), source=fer2013, why=why),
        published=published_counts(dataset),
        votes=counts,
        votes_error=error,
        options=options,
    )


def _inspect_files(
    files: FaceFiles, path: str, why: str, progress: Progress | None, options: dict[str, Any]
) -> InspectedDataset:
    n = len(files)
    images, hashes, sizes, wrong = look_at(files.files, progress, files.boxes)
    if len(wrong) == n:
        raise DataError(f"{wrong[0]}; none of the {n} images can be read")
    kept = np.array([i not in wrong for i in range(n)])
    return InspectedDataset(
        path=path,
        source=files.source,
        protocol=files.protocol,
        why=why,
        dataset=dataset_loading.with_images(files, images).select(kept),
        hashes=hashes[kept],
        sizes=sizes[kept],
        unreadable=tuple((files.names[i], wrong[i]) for i in sorted(wrong)),
        counts=files.counts,
        published=files.published,
        options=options,
    )


class Looks(NamedTuple):
    """What the doctor keeps of N picture files: `images`, `hashes` and `sizes` as in
    InspectedDataset, and what was `wrong` with those that cannot be read, by index."""

    images: np.ndarray
    hashes: np.ndarray
    sizes: np.ndarray
    wrong: dict[int, str]


def look_at(
    paths: Sequence[Path], progress: Progress | None = None, boxes: np.ndarray | None = None
) -> Looks:
    """Read all pictures; of each only what is inside of its box, if there are boxes, ints (N, 4). A
    file that cannot be read has a black image and the hash ""."""
    n = len(paths)
    images = np.zeros((n, THUMBNAIL_PX, THUMBNAIL_PX), np.uint8)
    sizes, hashes = np.zeros((n, 2), np.int64), np.zeros(n, "<U64")
    wrong: dict[int, str] = {}

    def look(i: int) -> None:
        try:
            grey = read_grey(paths[i])
            if boxes is not None:
                grey = _inside(grey, boxes[i], str(paths[i]))
        except DataError as error:
            wrong[i] = str(error)
            return
        sizes[i] = grey.shape
        (hashes[i],) = content_ids(grey[None])
        small = Image.fromarray(grey).resize(
            (THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX, reducing_gap=2.0
        )
        images[i] = np.asarray(small)

    in_threads(look, n, progress=_reading(progress))
    return Looks(images, hashes, sizes, wrong)


def _inside(grey: np.ndarray, box: np.ndarray, name: str) -> np.ndarray:
    """The part of a photo inside of a face's box."""
    ((x, y, width, height),) = checked_boxes(box[None], grey, name).tolist()
    return np.ascontiguousarray(grey[max(y, 0) : y + height, max(x, 0) : x + width])


def _reading(progress: Progress | None) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress("reading", done, total)
