"""What the doctor looks at: every image of a data set, also of one that cannot be opened whole."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from ferdata import dataset_loading
from ferdata.dataset import FaceDataset
from ferdata.errors import DataError
from ferdata.image_hashes import content_ids
from ferdata.packed import is_packed, load_packed
from ferdata.photo import read_grey
from ferdata.sources.face_files import FaceFiles
from ferdata.sources.fer2013_folders import CLASSES as FER2013_COUNTS
from ferdata.sources.ferplus import load_votes

THUMBNAIL_PX = 64
Progress = Callable[[str, int, int], None]
"""progress(what, done, total)"""

_FER2013_SPLITS = {"in train": 28709, "in validation": 3589, "in test": 3589}


@dataclass(frozen=True, kw_only=True, eq=False)
class Specimen:
    """A data set under examination.

    path, source, why  where it is, which source, what says so;  protocol: which images it took
    dataset    FaceDataset of the N images that can be read: whole if they are small and of one
               size, else thumbnails of THUMBNAIL_PX squared, whatever their shape was
    names      str (N,)       hash of each image's own pixels (`content_ids`)
    sizes      int64 (N, 2)   height and width of each image's own pixels
    unreadable ((id, what is wrong), ...)
    counts     what -> how many;  published: the same of a complete copy, {} if unknown
    votes      uint8 (N, 10)  FER+'s votes in the order of FERPLUS10, or None
    votes_error  why the votes given could not be joined, or ""
    options    for ferdata.open to read the same
    """

    path: str
    source: str
    why: str
    dataset: FaceDataset
    names: np.ndarray
    sizes: np.ndarray
    unreadable: tuple[tuple[str, str], ...] = ()
    counts: dict[str, int]
    published: dict[str, int] = field(default_factory=dict)
    votes: np.ndarray | None = None
    votes_error: str = ""
    protocol: str = ""
    options: dict[str, object] = field(default_factory=dict)

    def as_opened(self) -> FaceDataset:
        """The images as ferdata.open gives them. Raises what it raises."""
        if self.source not in dataset_loading.SOURCES or self.source == dataset_loading.FER2013_CSV:
            return self.dataset
        return dataset_loading.open(self.path, self.source, **self.options)


def specimen_of(
    path: str | os.PathLike[str],
    source: str | None = None,
    votes: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    **options: object,
) -> Specimen:
    """Read the data set at `path`, as far as that is possible.

    source, options  as ferdata.open takes them;  votes: fer2013new.csv, for FER2013's csv alone

    A file that is no picture is noted in `unreadable`. Raises DataError where the layout itself or
    the csv cannot be read, or there is no image at all; ValueError for an unfitting option.
    """
    if source is None and is_packed(path):
        if votes is not None or options:
            raise ValueError(f"{path}: a packed data set takes no votes and no options")
        why = "an .npz with format, images and ids"
        return of_dataset(load_packed(path), path=str(path), source="packed", why=why)
    if source is None:
        recognised = dataset_loading.recognise(path)
        source, why = recognised.source, recognised.why
    else:
        why = "named by --source"
    if source == dataset_loading.FER2013_CSV:
        return _of_csv(path, why, votes, progress, options)
    if votes is not None:
        raise ValueError(f"votes: belong to FER2013's csv, and this is {source} ({why})")
    files = dataset_loading.list_files(path, source, **options)
    return _of_files(files, str(path), why, progress, options)


def of_dataset(
    dataset: FaceDataset, *, path: str = "", source: str = "a FaceDataset", why: str = "given"
) -> Specimen:
    """A data set that is in memory already."""
    n, (height, width) = len(dataset), dataset.images.shape[1:]
    if not n:
        raise DataError(f"{path or source}: no images")
    return Specimen(
        path=path,
        source=source,
        why=why,
        dataset=dataset,
        names=content_ids(dataset.images),
        sizes=np.tile(np.array([[height, width]], dtype=np.int64), (n, 1)),
        counts=_counts(dataset),
    )


def _counts(dataset: FaceDataset) -> dict[str, int]:
    """Named as FaceFiles.counts does it."""
    found = {"images": len(dataset)}
    if dataset.subjects is not None:
        found["subjects"] = len(set(dataset.subjects.tolist()))
    if dataset.split is not None:
        names, n = np.unique(dataset.split, return_counts=True)
        found |= {f"in {name}": int(k) for name, k in zip(names.tolist(), n)}
    if dataset.labels is not None:
        own = dataset.labels if dataset.has_label is None else dataset.labels[dataset.has_label]
        n = np.bincount(own, minlength=len(dataset.classes))
        found |= dict(zip(dataset.classes, n.tolist()))
    return found


# ---- FER2013's csv ---------------------------------------------------------------------------


def _of_csv(
    path: str | os.PathLike[str],
    why: str,
    votes: str | os.PathLike[str] | None,
    progress: Progress | None,
    options: dict[str, object],
) -> Specimen:
    told = None if progress is None else lambda done, total: progress("reading", done, total)
    dataset = dataset_loading.open(path, dataset_loading.FER2013_CSV, progress=told, **options)
    found = of_dataset(dataset, path=str(path), source=dataset_loading.FER2013_CSV, why=why)
    counts, error = None, ""
    if votes is not None:
        try:
            dataset_loading.open(
                path, dataset_loading.FER2013_CSV, votes=votes
            )  # the join, checked row by row
            counts, _ = load_votes(Path(votes))
        except DataError as e:
            error = str(e)
    published = {"images": sum(FER2013_COUNTS.values()), **_FER2013_SPLITS, **FER2013_COUNTS}
    return Specimen(
        **{
            **vars(found),
            "published": published,
            "votes": counts,
            "votes_error": error,
            "options": options,
        }
    )


# ---- image files -----------------------------------------------------------------------------


def _of_files(
    files: FaceFiles, path: str, why: str, progress: Progress | None, options: dict[str, object]
) -> Specimen:
    n = len(files)
    images = np.zeros((n, THUMBNAIL_PX, THUMBNAIL_PX), np.uint8)
    sizes, names = np.zeros((n, 2), np.int64), np.zeros(n, "<U64")
    wrong: dict[int, str] = {}

    def look(i: int) -> None:
        try:
            grey = read_grey(files.root / files.paths[i])
        except DataError as error:
            wrong[i] = str(error)
            return
        sizes[i] = grey.shape
        names[i] = hashlib.sha256(repr(grey.shape).encode() + grey.tobytes()).hexdigest()
        small = Image.fromarray(grey).resize(
            (THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX, reducing_gap=2.0
        )
        images[i] = np.asarray(small)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        try:
            for done, _ in enumerate(pool.map(look, range(n)), 1):
                if progress is not None:
                    progress("reading", done, n)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    if len(wrong) == n:
        raise DataError(f"{wrong[0]}; none of the {n} images can be read")
    dataset = FaceDataset(
        images=images,
        ids=np.array(files.paths),
        label_space=files.label_space,
        labels=files.labels,
        has_label=files.has_label,
        subjects=files.subjects,
        split=files.split,
        rows=files.rows,
    )
    kept = np.array([i not in wrong for i in range(n)])
    return Specimen(
        path=path,
        source=files.source,
        protocol=files.protocol,
        why=why,
        dataset=dataset.select(kept),
        names=names[kept],
        sizes=sizes[kept],
        unreadable=tuple((files.paths[i], wrong[i]) for i in sorted(wrong)),
        counts=files.counts,
        published=files.published,
        options=options,
    )
