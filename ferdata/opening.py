"""open(path): whichever data set it is, as a FaceDataset; recognise(path): which one, and why.

Every source is one file of ferdata/sources. `open` reads FER2013's csv with its own loader; all
others list files (`list_files`), and `load_listed` makes faces of them.
"""

from __future__ import annotations

import inspect
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from ferdata.dataset import FaceDataset
from ferdata.errors import DataError
from ferdata.packed import is_packed, load_packed
from ferdata.preprocess import load_faces
from ferdata.regular_file import refuse_pipes
from ferdata.sources import (
    ck_folders,
    ck_plus,
    fer2013,
    fer2013_folders,
    folders,
    jaffe,
    manifest,
    oulu_casia,
    raf_db,
)
from ferdata.sources.csv_file import csv_header
from ferdata.sources.face_files import FaceFiles
from ferdata.sources.fer2013 import find_csv, is_fer2013
from ferdata.sources.ferplus import is_votes
from ferdata.sources.folder_tree import Tree

# The order in which they are described; `folders` is what is left if none of the others fits.
_TREES = (ck_plus, ck_folders, oulu_casia, raf_db, jaffe, fer2013_folders)
_LISTING: dict[str, ModuleType] = {m.NAME: m for m in (*_TREES, folders, manifest)}
FER2013_CSV = "fer2013"
FER2013_LOOKS_LIKE = "FER2013: fer2013.csv, .csv.gz, .zip or icml_face_data.csv"
SOURCES = (FER2013_CSV, *_LISTING)
"""Names for `source`."""

DEFAULT = "default"
"""framing="default": the one that the source needs."""


@dataclass(frozen=True)
class Recognition:
    """Which source a path is (a name of SOURCES), and what in it says so."""

    source: str
    why: str


def recognise(path: str | os.PathLike[str]) -> Recognition:
    """Which data set this file or folder is, by its names; a csv also by its header.

    Raises DataError if it is none, or could be several: then a source has to be named.
    """
    path = Path(path)
    if not os.path.isdir(path):
        return _recognised_file(path)
    tree = Tree(path)
    found, errors = [], []
    for name, recognised in _tree_checks():
        try:
            why = recognised(tree)
        except DataError as error:
            errors.append(error)
            continue
        if why is not None:
            found.append(Recognition(name, why))
    if not found and errors:
        raise errors[0]
    found = found or [Recognition(folders.NAME, why) for why in [folders.recognised(tree)] if why]
    if not found:
        looked_for = "; ".join((*(m.LOOKS_LIKE for m in _LISTING.values()), FER2013_LOOKS_LIKE))
        raise DataError(f"{path}: no data set recognised. Looked for {looked_for}")
    if len(found) > 1:
        could_be = " and ".join(f"{r.source} ({r.why})" for r in found)
        raise DataError(
            f"{path}: more than one data set: {could_be}. Point at one of them, or name one: "
            f"source={found[0].source!r}"
        )
    return found[0]


def open(
    path: str | os.PathLike[str],
    source: str | None = None,
    *,
    framing: str | None = DEFAULT,
    on_missing: str = "error",
    n_workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    **options: object,
) -> FaceDataset:
    """The data set at `path`, as people have it: images, labels, subjects and splits.

    source      a name of SOURCES; None: the one that `recognise` finds
    framing     how photos become faces: a name of ferdata.faces.FRAMINGS; None: resize the whole
                image; "default": "paper" for photos (CK+, Oulu-CASIA, JAFFE), None for images that
                are faces already (all others)
    on_missing, n_workers, progress   as ferdata.preprocess.load_faces takes them
    options     of the source: see the `list_files` of its file, such as protocol="last-frame" for
                ck_plus; of fer2013: votes, target and cache as load_fer2013 takes them

    FER2013's csv gives uint8 (N, 48, 48), all others (N, 84, 84) with paths below `path` as ids. A
    file that `save_packed` wrote comes back as it was.
    Raises DataError, naming the file or row, for data that is not as it should be; ValueError for
    an unknown source, option, or value of one.
    """
    if source is None and is_packed(path):
        _check_options("a packed data set", options, ())
        return load_packed(path)
    source = _checked_source(path, source)
    if source != FER2013_CSV:
        return load_listed(
            _listed(path, source, options),
            framing=framing,
            on_missing=on_missing,
            n_workers=n_workers,
            progress=progress,
        )
    if framing not in (DEFAULT, None):
        raise ValueError(f"framing: FER2013's csv holds faces as they are, found {framing!r}")
    _check_options(source, options, ("votes", "target", "cache"))
    return fer2013.load_fer2013(_fer2013_csv(Path(path)), progress=progress, **options)


def list_files(
    path: str | os.PathLike[str], source: str | None = None, **options: object
) -> FaceFiles:
    """What `open` would read, as files; `path`, `source` and `options` as there.

    Raises what `open` raises, and DataError for FER2013's csv, which lists no files.
    """
    source = _checked_source(path, source)
    if source == FER2013_CSV:
        raise DataError(f"{path}: FER2013's csv holds its images; there are no files to list")
    return _listed(path, source, options)


def load_listed(
    files: FaceFiles,
    *,
    framing: str | None = DEFAULT,
    on_missing: str = "error",
    n_workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    boxes: np.ndarray | None = None,
) -> FaceDataset:
    """The images of a listing, uint8 (N, 84, 84), with all that the listing knows of them.

    boxes  whole numbers (N, 4), x, y, width, height: one face a photo, instead of looking for it

    The rest is as for `open`. Raises what ferdata.preprocess.load_faces raises.
    """
    images = load_faces(
        files.files,
        framing=files.framing if framing == DEFAULT else framing,
        cache_key=f"{files.source}\n{files.protocol}\n{files.root.resolve()}",
        n_workers=n_workers,
        progress=progress,
        on_missing=on_missing,
        boxes=boxes,
    )
    return FaceDataset(
        images=images,
        ids=np.array(files.paths),
        label_space=files.label_space,
        labels=files.labels,
        has_label=files.has_label,
        subjects=files.subjects,
        split=files.split,
        rows=files.rows,
    )


def _tree_checks() -> list[tuple[str, Callable[[Tree], str | None]]]:
    def fer2013_csv(tree: Tree) -> str | None:
        found = find_csv(tree)
        return f"FER2013's csv, {', '.join(found)}" if found else None

    return [*((m.NAME, m.recognised) for m in _TREES), (FER2013_CSV, fer2013_csv)]


def _recognised_file(path: Path) -> Recognition:
    refuse_pipes(path)
    try:
        names = csv_header(path)
    except DataError as error:
        if not _is_zip(path):
            raise
        raise DataError(f"{error}; archives of other data sets have to be unpacked") from None
    shown = ",".join(names)[:80]
    if is_fer2013(names):
        return Recognition(FER2013_CSV, f"a csv with the columns {shown}")
    if manifest.is_header(names):
        return Recognition(manifest.NAME, f"a csv with the columns {shown}")
    if is_votes(names):
        raise DataError(
            f"{path}: FER+'s votes, which have no images; open FER2013's csv with "
            f"votes={str(path)!r}"
        )
    raise DataError(
        f"{path}: no data set recognised; looked for {FER2013_LOOKS_LIKE} (columns emotion, "
        f"pixels, Usage); {manifest.LOOKS_LIKE}; the file begins with {shown!r}"
    )


def _is_zip(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # one of several disks
        return True


def _fer2013_csv(path: Path) -> Path:
    """The csv itself, where `path` is the folder that holds it."""
    if not os.path.isdir(path):
        return path
    tree = Tree(path)
    found = find_csv(tree)
    if len(found) != 1:
        places = ", ".join(str(tree.path(p)) for p in found) or "none"
        raise DataError(f"{path}: expected one file of FER2013, found {places}; point at the file")
    return tree.path(found[0])


def _checked_source(path: str | os.PathLike[str], source: str | None) -> str:
    if source is None:
        return recognise(path).source
    if source not in SOURCES:
        raise ValueError(f"source: expected one of {', '.join(SOURCES)}, found {source!r}")
    return source


def _listed(path: str | os.PathLike[str], source: str, options: dict[str, object]) -> FaceFiles:
    lister = _LISTING[source].list_files
    known = tuple(inspect.signature(lister).parameters)[1:]
    _check_options(source, options, known)
    return lister(path, **options)


def _check_options(source: str, options: dict[str, object], known: tuple[str, ...]) -> None:
    for name in options:
        if name not in known:
            raise ValueError(
                f"{name}: no option of source {source!r}, which has {', '.join(known) or 'none'}"
            )
