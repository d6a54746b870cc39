"""open(path) loads any known data set as a FaceDataset; recognise(path) says which one it is.

Each known data set, a "source", is a module of ferdata/sources. FER2013's csv has its own loader.
Every other source lists its image files (`list_files`), and `load_listed` reads the faces in them.
"""

from __future__ import annotations

import inspect
import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ferdata.arguments import checked_option
from ferdata.class_choice import Classes
from ferdata.dataset import FaceDataset
from ferdata.errors import DataError
from ferdata.files.regular_file import refuse_pipes
from ferdata.photos.faces import SIZE_PX
from ferdata.photos.preprocess import load_faces
from ferdata.sources import (
    affectnet,
    ck_folders,
    ck_plus,
    expw,
    fer2013,
    fer2013_folders,
    ferplus_folders,
    folders,
    jaffe,
    kdef,
    manifest,
    oulu_casia,
    raf_db,
    sfew,
    unrecognised,
)
from ferdata.sources.chosen_classes import with_classes
from ferdata.sources.csv_file import csv_header
from ferdata.sources.face_files import FaceFiles
from ferdata.sources.fer2013 import find_csv, is_fer2013
from ferdata.sources.ferplus import is_votes
from ferdata.sources.folder_tree import Tree, find_unread
from ferdata.sources.packed import is_packed, load_packed
from ferdata.unread_files import UnreadFiles
from tinycnn.ground.file_names import relative_name

# `folders` is not among them: it is tried only if none of these fits.
_FOLDER_SOURCES = (
    *(ck_plus, ck_folders, oulu_casia, raf_db, jaffe, kdef, sfew, expw, affectnet),
    *(ferplus_folders, fer2013_folders),
)
_FILE_SOURCES: dict[str, ModuleType] = {m.NAME: m for m in (*_FOLDER_SOURCES, folders, manifest)}
FER2013_CSV = "fer2013"
FER2013_LOOKS_LIKE = "FER2013: fer2013.csv, .csv.gz, .zip, .tar.gz, icml_face_data.csv, train.csv"
SOURCES = (FER2013_CSV, *_FILE_SOURCES)
"""What `source` may be."""

DEFAULT = "default"
"""framing="default" means the framing that the source needs."""


@dataclass(frozen=True)
class Recognition:
    """Which data set a path is: `source`, one of SOURCES, and `why`: what in it shows that."""

    source: str
    why: str


def recognise(path: str | os.PathLike[str], classes: Classes | None = None) -> Recognition:
    """Find out which data set a file or folder is, from the names of its files or a csv's header.

    classes  as for `open`; with them, folders with these names are class folders

    Raises DataError if it is no known data set, or if it could be more than one: then pass the
    `source` to `open`.
    """
    path = Path(path)
    if not os.path.isdir(path):
        return _recognise_file(path)
    tree = Tree(path)
    found, errors = [], []
    checks = [(m.NAME, m.recognised) for m in _FOLDER_SOURCES] + [(FER2013_CSV, _has_fer2013_csv)]
    for name, why_recognised in checks:
        try:
            why = why_recognised(tree)
        except DataError as error:
            errors.append(error)
            continue
        if why is not None:
            found.append(Recognition(name, why))
    if not found and errors:
        raise errors[0]
    if not found and (why := folders.recognised(tree, classes)) is not None:
        found = [Recognition(folders.NAME, why)]
    if not found:
        raise DataError(unrecognised.about_folder(tree, SOURCES, _sought()))
    if len(found) > 1:
        could_be = " and ".join(f"{r.source} ({r.why})" for r in found)
        raise DataError(
            f"{path}: more than one data set: {could_be}. Give the path of one, or name one: "
            f"source={found[0].source!r}"
        )
    return found[0]


def _sought() -> list[str]:
    """What the sources look for."""
    return [m.LOOKS_LIKE for m in _FILE_SOURCES.values()] + [FER2013_LOOKS_LIKE]


def open(
    path: str | os.PathLike[str],
    source: str | None = None,
    *,
    classes: Classes | None = None,
    framing: str | None = DEFAULT,
    on_missing: str = "error",
    size_px: int = SIZE_PX,
    n_workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> FaceDataset:
    """Load the data set at `path`: its images, labels, subjects and splits.

    path        the file or folder as it was published, or a file written by `save_packed`
    source      one of SOURCES; None: the one that `recognise` finds
    classes     which classes are used, under which names, in which order; other images are left out
                and counted in `notes`. The forms: see ferdata.class_choice. None: all classes
    framing     how faces are cut out of photos: one of ferdata.FRAMINGS; None: the whole
                image is resized; "default": "paper" for CK+, Oulu-CASIA, JAFFE and KDEF, "fer2013"
                for ExpW, AffectNet's csv and SFEW's film frames, which all hold photos; None for
                the others, which hold cropped faces
    size_px     the side of the images; those of FER2013's csv and of a packed data set keep their
                size, and batches resize them
    on_missing, n_workers, progress   see ferdata.load_faces
    options     keyword arguments of the source's `list_files`, such as protocol="last-frame" for
                ck_plus; for fer2013 those of load_fer2013: votes, target and cache

    FER2013's csv gives images uint8 (N, 48, 48). The others give (N, size_px, size_px), and the ids
    are paths relative to `path`.
    Raises DataError, naming the file or row, if something in the data is wrong; ValueError for an
    unknown source or option, or a wrong value of an option.
    """
    if source is None and is_packed(path):
        _check_options("a packed data set", options, ())
        if framing not in (DEFAULT, None):
            raise ValueError(
                f"framing={framing!r}: the faces of a packed data set are cut out already"
            )
        packed = load_packed(path)
        return packed if classes is None else packed.with_classes(classes)
    source = identify(path, source, classes, options).source
    if source != FER2013_CSV:
        return load_listed(
            list_files(path, source, classes=classes, **options),
            framing=framing,
            on_missing=on_missing,
            size_px=size_px,
            n_workers=n_workers,
            progress=progress,
        )
    if framing not in (DEFAULT, None):
        raise ValueError(
            f"framing={framing!r}: FER2013's csv holds cropped faces; expected framing=None"
        )
    _check_options(source, options, ("votes", "target", "cache"))
    csv = _fer2013_csv(Path(path))
    dataset = fer2013.load_fer2013(csv, progress=progress, **options)
    dataset = dataset if classes is None else dataset.with_classes(classes)
    return dataset if csv == Path(path) else replace(dataset, unread=_beside(path, csv, options))


def list_files(
    path: str | os.PathLike[str],
    source: str | None = None,
    *,
    classes: Classes | None = None,
    **options: Any,
) -> FaceFiles:
    """The image files that `open` would read, given the same arguments.

    Raises what `open` raises, and DataError for FER2013's csv, which has no image files.
    """
    source = identify(path, source, classes, options).source
    if source == FER2013_CSV:
        raise DataError(f"{path}: FER2013's csv holds its images; there are no files to list")
    lister = _FILE_SOURCES[source].list_files
    known = tuple(inspect.signature(lister).parameters)[1:]
    _check_options(source, options, known)
    if "classes" in known:
        return lister(path, classes=classes, **options)
    files = lister(path, **options)
    return files if classes is None else with_classes(files, classes)


def load_listed(
    files: FaceFiles,
    *,
    framing: str | None = DEFAULT,
    on_missing: str = "error",
    size_px: int = SIZE_PX,
    n_workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    boxes: np.ndarray | None = None,
) -> FaceDataset:
    """The faces in a list of files, uint8 (N, size_px, size_px), with the labels and so on of that
    list.

    boxes  where the face is in each photo, if it is known: whole numbers (N, 4), x, y, width,
           height. None: those of `files`; if it has none, faces are searched for

    The other arguments are those of `open`. Raises what ferdata.load_faces raises, and DataError
    for photos of several faces that are not to be cut out (framing None).
    """
    framing = files.framing if framing == DEFAULT else framing
    if boxes is None and framing is not None:
        boxes = files.boxes
    if framing is None and files.ids is not None:
        raise DataError(
            f"{files.root}: {files.source} has several faces in one photo; a whole photo has no "
            f"single label: framing='{files.framing}' cuts them out"
        )
    images = load_faces(
        files.files,
        framing=framing,
        cache_key=f"{files.source}\n{files.protocol}\n{files.root.resolve()}",
        n_workers=n_workers,
        progress=progress,
        on_missing=on_missing,
        size_px=size_px,
        boxes=boxes,
    )
    return with_images(files, images)


def with_images(files: FaceFiles, images: np.ndarray) -> FaceDataset:
    """The data set of these images, uint8 (N, H, W), and what is known about their files."""
    return FaceDataset(
        images=images,
        ids=np.array(files.names),
        label_space=files.label_space,
        labels=files.labels,
        has_label=files.has_label,
        targets=files.targets,
        subjects=files.subjects,
        split=files.split,
        rows=files.rows,
        unread=files.unread,
        notes=files.notes,
    )


def _has_fer2013_csv(tree: Tree) -> str | None:
    found = find_csv(tree)
    return f"FER2013's csv, {', '.join(found)}" if found else None


def _recognise_file(path: Path) -> Recognition:
    refuse_pipes(path)
    try:
        names = csv_header(path, fer2013.MEMBERS)  # as load_fer2013 chooses from an archive
    except DataError as error:
        if (why := manifest.recognised(path)) is not None:  # separated by tabs
            return Recognition(manifest.NAME, why)
        if not _is_zip(path):
            raise
        raise DataError(f"{error}; archives of other data sets have to be unpacked") from None
    shown = ",".join(names)[:80]
    for source, is_header in ((FER2013_CSV, is_fer2013), (affectnet.NAME, affectnet.is_header)):
        if is_header(names):
            return Recognition(source, f"a csv with the columns {shown}")
    if names == ["pixels"]:
        raise DataError(
            f"{path}: images without labels, as in the test.csv of FER2013's challenge; "
            "fer2013.csv and icml_face_data.csv have them with their labels"
        )
    if is_votes(names):
        raise DataError(
            f"{path}: FER+'s votes, which have no images; open FER2013's csv with "
            f"votes={str(path)!r}"
        )
    if (why := manifest.recognised(path)) is not None:
        return Recognition(manifest.NAME, why)
    raise DataError(unrecognised.about_file(path, names, FER2013_LOOKS_LIKE, manifest.LOOKS_LIKE))


def _is_zip(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # an archive in several parts
        return True


def _fer2013_csv(path: Path) -> Path:
    """The csv file itself: `path`, or the only one in the folder `path`."""
    if not os.path.isdir(path):
        return path
    tree = Tree(path)
    return tree.path(tree.only(find_csv(tree), "the path of a file, or one file of FER2013"))


def _beside(folder: str | os.PathLike[str], csv: Path, options: dict[str, Any]) -> UnreadFiles:
    """The files in a folder besides FER2013's csv, and the votes if they are among the options."""
    root = Path(folder)
    used = [csv, *([Path(options["votes"])] if options.get("votes") else [])]
    places = [relative_name(path, root) for path in used]
    return find_unread(root, places)


def identify(
    path: str | os.PathLike[str],
    source: str | None,
    classes: Classes | None,
    options: Mapping[str, Any],
) -> Recognition:
    """The data set that `open` reads, given these arguments: `source` if it is given, a list of
    images if one of the options is for lists alone, else what `recognise` finds."""
    if source is not None:
        return Recognition(checked_option("source", source, SOURCES), "as it was named")
    of_lists = [name for name in manifest.OPTIONS if options.get(name) is not None]
    if of_lists and not os.path.isdir(path):
        return Recognition(manifest.NAME, f"a list, as {of_lists[0]} was given")
    return recognise(path, classes)


def _check_options(source: str, options: dict[str, Any], known: tuple[str, ...]) -> None:
    for name in options:
        if name not in known:
            raise ValueError(
                f"{name}=...: {source} has no such argument; it has "
                f"{', '.join(f'{each}=...' for each in known) or 'none'}"
            )
