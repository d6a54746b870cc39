"""AffectNet (Mollahosseini et al. 2017, arXiv 1708.03985), in both forms in which it is given out.

As files: cropped faces of 224 x 224, and beside them a number in a file of its own.

    train_set/images/0.jpg    train_set/annotations/0_exp.npy    also 0_val, 0_aro and 0_lnd.npy
    val_set/images/0.jpg      val_set/annotations/0_exp.npy

As csv: lists of photos with the box of the face in each.

    training.csv, validation.csv       in any folder, such as Manually_Annotated_file_lists/
    Manually_Annotated_Images/689/....jpg

    subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,
    valence,arousal

The numbers of the expressions are 0 Neutral 1 Happiness 2 Sadness 3 Surprise 4 Fear 5 Disgust 6
Anger 7 Contempt 8 None 9 Uncertain 10 No-Face (AffectNet's readme). Images of 8, 9 and 10, or of
-2, which stands for "no value" elsewhere in the lists, have no expression to train on: they are
left out and counted. So are the files of valence, arousal and landmarks, which are not used.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ferdata.errors import DataError
from ferdata.files.npy_file import read_npy
from ferdata.files.path_traversal import SymlinkCheck, leaves_folder
from ferdata.files.quoted_csv import quoted_rows
from ferdata.labels import AFFECTNET7, AFFECTNET8, LabelSpace
from ferdata.sources.face_files import FaceFile, FaceFiles, face_files
from ferdata.sources.folder_tree import Tree, join
from tinycnn.ground.file_names import relative_name

NAME = "affectnet"
LOOKS_LIKE = "AffectNet: train_set/annotations/0_exp.npy, or training.csv and validation.csv"
N_TRAIN, N_VALIDATION = 287_651, 3_999
"""Images of the eight expressions; the lists' 4000 validation images hold one that is not in the
other form."""

MAX_ROWS = 1_000_000

_SETS = {"train_set": "train", "val_set": "validation", "test_set": "test"}
_LISTS = {"training.csv": "train", "validation.csv": "validation"}
_COLUMNS = ("subdirectory_filepath", "expression")
_BOX = ("face_x", "face_y", "face_width", "face_height")
_ANNOTATION = re.compile(r".+_(?:exp|val|aro|lnd)\.npy", re.IGNORECASE)
_WITHOUT_EXPRESSION = {
    -2: "rows without an expression (-2)",
    8: "rows of expression none (8)",
    9: "rows of expression uncertain (9)",
    10: "rows without a face (10)",
}
_NO_IMAGE = "rows without an image"
_OTHERS = "other annotations (valence, arousal, landmarks)"
_MAX_NPY_BYTES = 4096  # a number with its header has 136


def is_header(names: Sequence[str]) -> bool:
    """Whether these column names, in lower case, are those of AffectNet's lists."""
    return set(_COLUMNS) <= set(names)


def recognised(tree: Tree) -> str | None:
    """Why this looks like AffectNet, or None."""
    if sets := _sets(tree):
        return f"{tree.name(sets[0])}/ with images/ and annotations/ of AffectNet"
    if lists := _lists(tree):
        return f"AffectNet's list of images, {lists[0]}"
    return None


def list_files(
    path: str | os.PathLike[str], root: str | os.PathLike[str] | None = None
) -> FaceFiles:
    """The images that have one of AffectNet's eight expressions, in label space AFFECTNET8, or
    AFFECTNET7 if none of them is contempt.

    path  the folder of the data set, or one of its lists
    root  for lists: the folder that their paths are relative to; None: the folder in `path` (or
          beside the list) that has the first image

    The lists give the face's box in each photo, by which it is cut out (framing "fer2013"); the
    other form holds faces. Images and rows that are not taken are counted in `left_out`. Raises
    DataError for anything else that does not fit, naming the file or line.
    """
    path = Path(path)
    if not path.is_dir():
        return _from_lists({path: _LISTS.get(path.name.lower())}, root or path.parent)
    tree = Tree(path)
    sets, lists = _sets(tree), _lists(tree)
    if bool(sets) == bool(lists):
        found = ", ".join(str(tree.path(relpath)) for relpath in sets + lists) or "none"
        raise DataError(f"{tree.root}: expected one copy of {LOOKS_LIKE}; found {found}")
    if sets:
        return _from_sets(tree, sets)
    by_name: dict[str, str] = {}
    for relpath in lists:
        name = tree.name(relpath).lower()
        if name in by_name:
            raise DataError(
                f"{tree.path(relpath)}: the same name as {tree.path(by_name[name])}; give the path "
                "of one of them"
            )
        by_name[name] = relpath
    return _from_lists({tree.path(r): _LISTS[name] for name, r in by_name.items()}, root or path)


# ---- images with a number in a file of its own -----------------------------------------------


def _sets(tree: Tree) -> list[str]:
    """Relpaths of the folders train_set, val_set and test_set with images and annotations."""
    return [
        folder
        for folder in tree.find(lambda name: name.lower() in _SETS)
        if {"images", "annotations"} <= set(tree.scan(folder).folders)
        and any(_ANNOTATION.fullmatch(n) for n in _annotations(tree, folder))
    ]


def _annotations(tree: Tree, folder: str) -> tuple[str, ...]:
    return tree.scan(join(folder, "annotations")).files


def _from_sets(tree: Tree, sets: list[str]) -> FaceFiles:
    listed: list[FaceFile] = []
    left_out: dict[str, list[str]] = {}
    used: list[str] = []
    splits: dict[str, str] = {}
    for folder in sets:
        split = _SETS[tree.name(folder).lower()]
        if split in splits:
            raise DataError(
                f"{tree.path(folder)}: the same split as {tree.path(splits[split])}; give the path "
                "of one, or move one away"
            )
        splits[split] = folder
        names = {name.lower(): name for name in _annotations(tree, folder)}
        for image in tree.scan(join(folder, "images")).images:
            relpath = join(join(folder, "images"), image)
            name = names.pop(f"{os.path.splitext(image)[0].lower()}_exp.npy", None)
            if name is None:
                left_out.setdefault("images without an _exp.npy", []).append(relpath)
                continue
            used.append(join(join(folder, "annotations"), name))
            annotation = tree.path(used[-1])
            number = _number(_expression(annotation), str(annotation))
            if number in _WITHOUT_EXPRESSION:
                why = _WITHOUT_EXPRESSION[number].replace("rows", "images")
                left_out.setdefault(why, []).append(relpath)
            else:
                listed.append(FaceFile(relpath, number, split=split))
        for name in names.values():
            alone = name.lower().endswith("_exp.npy")
            why = "files _exp.npy without an image" if alone else _OTHERS
            left_out.setdefault(why, []).append(join(join(folder, "annotations"), name))
    space, published = _space(listed)
    return face_files(
        tree.root,
        listed,
        space,
        source=NAME,
        label_files=used,
        left_out=left_out,
        published=published | ({"in validation": N_VALIDATION} if published else {}),
    )


def _expression(file: Path) -> str:
    """What an _exp.npy holds: one number, or one text."""
    array = read_npy(file, _MAX_NPY_BYTES)
    if array.size != 1 or array.dtype.kind not in "iufUS":
        raise DataError(
            f"{file}: {array.dtype} of shape {array.shape}, expected the number of one expression"
        )
    value = array.reshape(-1)[0]
    if isinstance(value, bytes):
        return value.decode("ascii", "replace")
    return str(value)


# ---- lists -----------------------------------------------------------------------------------


def _lists(tree: Tree) -> list[str]:
    """Relpaths of the lists training.csv and validation.csv with AffectNet's columns."""
    found = [
        join(folder, name)
        for folder in tree.find(lambda name: True)
        for name in tree.scan(folder).files
        if name.lower() in _LISTS
    ]
    return [relpath for relpath in found if is_header(_header(tree.path(relpath)))]


def _header(file: Path) -> list[str]:
    try:
        return [name.strip().lower() for name in next(quoted_rows(file), (0, []))[1]]
    except DataError:
        return []


def _from_lists(lists: dict[Path, str | None], root: str | os.PathLike[str]) -> FaceFiles:
    """lists: {file: split, or None if its name does not tell}."""
    tree = Tree(root)
    images = _Images(tree)
    listed: list[FaceFile] = []
    left_out: Counter[str] = Counter()
    line_of: dict[str, str] = {}
    for file, split in lists.items():
        for n, (where, row) in enumerate(_rows(file)):
            number = _number(row["expression"], where)
            if number in _WITHOUT_EXPRESSION:
                left_out[_WITHOUT_EXPRESSION[number]] += 1
                continue
            relpath = images.find(row["subdirectory_filepath"], where)
            if relpath is None:
                left_out[_NO_IMAGE] += 1
                continue
            if relpath in line_of:
                raise DataError(f"{where}: {relpath} is already in {line_of[relpath]}")
            line_of[relpath] = where
            row_of_list = n if len(lists) == 1 else None
            listed.append(
                FaceFile(relpath, number, split=split, row=row_of_list, box=_box(row, where))
            )
    if not listed and left_out[_NO_IMAGE]:
        raise DataError(
            f"{tree.root}: none of the images of {', '.join(map(str, lists))} is in it; give the "
            "folder that their paths are relative to: root=..."
        )
    space, published = _space(listed)
    own = [relative_name(file, tree.root) for file in lists]
    return face_files(
        tree.root,
        listed,
        space,
        source=NAME,
        framing=None if any(f.box is None for f in listed) else "fer2013",
        label_files=own,
        rows_left_out=left_out,
        published=published,
    )


def _rows(file: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """("file line n", {column: field}) of each row."""
    rows = quoted_rows(file)
    header = [name.strip().lower() for name in next(rows, (1, []))[1]]
    for column in _COLUMNS:
        if header.count(column) != 1:
            raise DataError(
                f"{file} line 1: no column {column!r}, or more than one; expected AffectNet's "
                "header with subDirectory_filePath and expression"
            )
    for n, (line, fields) in enumerate(rows):
        where = f"{file} line {line}"
        if n >= MAX_ROWS:
            raise DataError(f"{where}: more than {MAX_ROWS:,} rows")
        if len(fields) != len(header):
            raise DataError(
                f"{where}: {len(fields)} fields, expected {len(header)} as in the header"
            )
        yield where, dict(zip(header, (field.strip() for field in fields)))


def _box(row: dict[str, str], where: str) -> tuple[int, int, int, int] | None:
    """The face's box, or None if there are no such columns."""
    if not set(_BOX) <= set(row):
        return None
    fields = [row[column] for column in _BOX]
    if not all(re.fullmatch(r"-?\d{1,6}", field) for field in fields):
        raise DataError(
            f"{where}: {', '.join(_BOX)} are {','.join(fields)[:60]!r}, expected whole numbers"
        )
    x, y, width, height = map(int, fields)
    if width < 1 or height < 1:
        raise DataError(f"{where}: a face of {width} x {height} px, expected 1 or more")
    return x, y, width, height


class _Images:
    """Finds images by the paths in a list.

    All paths are relative to one folder: the one in the tree that has the first image that can be
    found. That image is looked for in every folder, the others only there.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._top: str | None = None
        self._symlinks = SymlinkCheck(tree.root)

    def find(self, path: str, where: str) -> str | None:
        """Relpath in the tree; None if the image is not there. Raises DataError for a path that
        leads out of the folder, and if the first image is in two folders."""
        if not path or not path.isprintable() or leaves_folder(path):
            raise DataError(f"{where}: {path[:80]!r}: expected the path of an image in its folder")
        path = path.replace("\\", "/")
        if self._top is None:
            found = [top for top in self._tree.find(lambda name: True) if self._has(top, path)]
            if not found:
                return None
            self._top = self._tree.only(found, f"one folder with the image {path[:80]!r}")
        if not self._has(self._top, path):
            return None
        relpath = join(self._top, path)
        if not self._symlinks.is_inside(relpath):
            raise DataError(f"{where}: {path[:80]!r} is a link out of {self._tree.root}")
        return relpath

    def _has(self, top: str, path: str) -> bool:
        *folders, name = path.split("/")
        for part in folders:
            if part not in self._tree.scan(top).folders:
                return False
            top = join(top, part)
        return name in self._tree.scan(top).files


# ---- both ------------------------------------------------------------------------------------


def _number(text: str, where: str) -> int:
    """An expression's number: -2 or 0..10, written as 3 or 3.0."""
    match = re.fullmatch(r"(-?\d{1,2})(?:\.0{1,6})?", text.strip())
    number = int(match[1]) if match else None
    if number is None or (number not in _WITHOUT_EXPRESSION and not 0 <= number <= 7):
        raise DataError(
            f"{where}: expression {text[:40]!r}, expected 0..7, or 8, 9, 10 or -2 for none"
        )
    return number


def _space(listed: list[FaceFile]) -> tuple[LabelSpace, dict[str, int]]:
    """The label space of these images, and published counts for both splits with eight classes."""
    if all(f.label != AFFECTNET8.index("contempt") for f in listed):
        return AFFECTNET7, {}
    both = {"train", "validation"} <= {f.split for f in listed}
    return AFFECTNET8, {"in train": N_TRAIN} if both else {}
