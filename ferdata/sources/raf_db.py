"""RAF-DB (Li et al. 2017): aligned faces of 100 x 100 with basic or with compound emotions.

    EmoLabel/list_patition_label.txt         (sic) lines such as "train_00001.jpg 5"
    Image/aligned/train_00001_aligned.jpg    some archives have aligned/ twice

or, in a copy without the list, DATASET/train/5/train_00001_aligned.jpg. Some copies have left out
"_aligned". The file names begin with the split, "train" or "test". People are not known. The
photos in Image/original are not read: several show more than one face.

The basic emotions are 15,339 images with labels 1 surprise 2 fear 3 disgust 4 happiness 5 sadness
6 anger 7 neutral. The compound emotions are other images, 3,954 of them, given out in the same
layout in a folder compound/; their labels are 1 happily surprised 2 happily disgusted 3 sadly
fearful 4 sadly angry 5 sadly surprised 6 sadly disgusted 7 fearfully angry 8 fearfully surprised
9 angrily surprised 10 angrily disgusted 11 disgustedly surprised (whdeng.cn/RAF). They come in
label space RAF_DB_COMPOUND, whose classes no other data set has.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from ferdata.errors import DataError
from ferdata.files.quoted_csv import utf8_lines
from ferdata.labels import RAF_DB, RAF_DB_COMPOUND, LabelSpace
from ferdata.sources.face_files import FaceFile, FaceFiles, face_files
from ferdata.sources.folder_tree import MAX_ENTRIES, Tree, join

NAME = "raf_db"
LOOKS_LIKE = (
    "RAF-DB: EmoLabel/list_patition_label.txt and Image/aligned, or train/1 to train/7 and test/"
)
CLASSES = dict(
    surprise=1619, fear=355, disgust=877, happiness=5957, sadness=2460, anger=867, neutral=3204
)
"""Images by class in a complete copy, both splits: 15,339."""
N_TRAIN, N_TEST = 12271, 3068
N_COMPOUND = 3954
_OTHER_FOLDERS = ("original", "annotation", "emolabel")
LISTS = ("list_patition_label.txt", "list_partition_label.txt")

_LINE = re.compile(r"(?P<stem>(?:train|test)_\d{1,9})\.jpg[ \t]+(?P<label>\d{1,9})")
_ALIGNED = re.compile(r"(?P<stem>(?P<split>train|test)_\d{1,9})(?:_aligned)?\.(?:jpe?g|png)")
_EXAMPLE = "train_00001_aligned.jpg"
_NUMBERS = tuple(str(n) for n in range(1, len(RAF_DB) + 1))
_COMPOUND_NUMBERS = tuple(str(n) for n in range(1, len(RAF_DB_COMPOUND) + 1))
_ONLY_COMPOUND = set(_COMPOUND_NUMBERS) - set(_NUMBERS)


def recognised(tree: Tree) -> str | None:
    """Why this looks like RAF-DB, or None."""
    if found := _lists(tree):
        return f"RAF-DB's list of labels, {found[0]}"
    if found := _numbered(tree):
        n = len(_numbered_space(tree, found))
        return f"{tree.name(found[0])}/ with RAF-DB's folders 1 to {n} of aligned faces"
    return None


def list_files(path: str | os.PathLike[str]) -> FaceFiles:
    """The aligned faces with their labels and splits.

    Raises DataError for anything that does not fit the layout, an image without a label, a label
    without an image, and a wrong line in the list.
    """
    tree = Tree(path)
    lists, numbered = _lists(tree), _numbered(tree)
    if len(lists) + bool(numbered) != 1:
        found = ", ".join(str(tree.path(relpath)) for relpath in lists + numbered) or "none"
        raise DataError(f"{tree.root}: expected one copy of {LOOKS_LIKE}; found {found}")
    if lists:
        space, listed = _from_list(tree, lists[0])
    else:
        space = _numbered_space(tree, numbered)
        listed = _from_folders(tree, numbered, space)
    published = {"images": N_COMPOUND}
    if space is RAF_DB:
        published = {"images": sum(CLASSES.values()), "in train": N_TRAIN, "in test": N_TEST}
        published |= CLASSES
    others = tree.find(lambda name: name.lower() in _OTHER_FOLDERS) if lists else []
    return face_files(
        tree.root,
        listed,
        space,
        source=NAME,
        protocol="" if space is RAF_DB else "compound emotions",
        published=published,
        label_files=lists,
        left_out={"original photos and further annotations": others},
    )


def _lists(tree: Tree) -> list[str]:
    """Relpaths of the files that list the labels."""
    return [
        join(folder, name)
        for folder in tree.find(lambda name: name.lower() == "emolabel")
        for name in tree.scan(folder).files
        if name.lower() in LISTS
    ]


def _numbered(tree: Tree) -> list[str]:
    """Relpaths of the folders train and test that contain folders 1 to 7, or more, of aligned
    faces."""
    return [
        folder
        for folder in tree.find(lambda name: name.lower() in ("train", "test"))
        if set(_NUMBERS) <= set(tree.scan(folder).folders)
        and any(_ALIGNED.fullmatch(n) for n in tree.scan(join(folder, _NUMBERS[0])).images[:1])
    ]


def _numbered_space(tree: Tree, splits: list[str]) -> LabelSpace:
    """RAF_DB_COMPOUND if the first split has all folders 1 to 11, else RAF_DB."""
    compound = set(_COMPOUND_NUMBERS) <= set(tree.scan(splits[0]).folders)
    return RAF_DB_COMPOUND if compound else RAF_DB


def _list_space(tree: Tree, list_relpath: str, labels: set[str]) -> LabelSpace:
    """RAF_DB_COMPOUND if the list is in a folder called compound, or has all labels 8 to 11. A list
    with only some of them may have a wrong label: it is read as RAF_DB, which refuses it."""
    folders = (tree.root.resolve() / list_relpath).parent.parts
    named = any(part.lower() in ("compound", "raf-compound") for part in folders)
    return RAF_DB_COMPOUND if named or _ONLY_COMPOUND <= labels else RAF_DB


def _from_list(tree: Tree, list_relpath: str) -> tuple[LabelSpace, list[FaceFile]]:
    """The label space, and the images in Image/aligned with the labels of the list."""
    base = list_relpath.rpartition("/")[0].rpartition("/")[0]
    folders = [
        folder
        for folder in tree.find(lambda name: name.lower() == "aligned")
        if (not base or folder.startswith(base + "/")) and tree.scan(folder).images
    ]
    folder = tree.only(folders, "one folder Image/aligned with images beside EmoLabel", base)
    list_file = tree.path(list_relpath)
    files: dict[str, str] = {}
    for name in tree.scan(folder).images:
        stem = tree.match(join(folder, name), _ALIGNED, _EXAMPLE)["stem"]
        if stem in files:
            raise DataError(f"{tree.path(folder)}: {files[stem]} and {name} are the same image")
        files[stem] = name
    lines = list(_lines(list_file))
    space = _list_space(tree, list_relpath, {label for _, _, label in lines})
    numbers = _NUMBERS if space is RAF_DB else _COMPOUND_NUMBERS
    listed = []
    for row, stem, label in lines:
        if label not in numbers:
            raise _wrong_line(list_file, row, f"{stem}.jpg {label}", len(numbers))
        if stem not in files:
            raise DataError(
                f"{list_file} line {row + 1}: no image {stem}_aligned.jpg in {tree.path(folder)}: "
                f"is the copy complete?"
            )
        relpath = join(folder, files.pop(stem))
        listed.append(FaceFile(relpath, int(label) - 1, split=stem.split("_")[0], row=row))
    if files:
        name = next(iter(files.values()))
        raise DataError(
            f"{tree.path(join(folder, name))}: no label in {list_file} ({len(files)} such images)"
        )
    return space, listed


def _wrong_line(file: Path, row: int, text: str, n_labels: int) -> DataError:
    return DataError(
        f"{file} line {row + 1}: {text[:60]!r}, expected an image and a label 1 to {n_labels} such "
        "as 'train_00001.jpg 5'"
    )


def _lines(file: Path) -> Iterator[tuple[int, str, str]]:
    """(0-based row, "train_00001", "5") of each line; a label is 1 to 11."""
    seen: dict[str, int] = {}
    blank = 0
    for row, line in enumerate(utf8_lines(file)):
        text = line.strip()
        if not text and row < MAX_ENTRIES:
            blank = blank or row + 1
            continue
        match = _LINE.fullmatch(text)
        if blank or match is None or match["label"] not in _COMPOUND_NUMBERS:
            wrong = blank - 1 if blank else row
            raise _wrong_line(file, wrong, "" if blank else text, len(RAF_DB))
        stem = match["stem"]
        if stem in seen:
            raise DataError(f"{file} line {row + 1}: {stem}.jpg is already in line {seen[stem]}")
        seen[stem] = row + 1
        yield row, stem, match["label"]


def _from_folders(tree: Tree, splits: list[str], space: LabelSpace) -> list[FaceFile]:
    """The images in train/1 ... test/7, whose labels are the folders' names."""
    numbers = re.compile("|".join(_COMPOUND_NUMBERS[: len(space)]))
    listed = []
    seen: dict[str, str] = {}
    for split in splits:
        for number, folder in tree.folders(split, numbers, f"1 to {len(space)}"):
            for name in tree.scan(folder).images:
                relpath = join(folder, name)
                file, match = tree.path(relpath), tree.match(relpath, _ALIGNED, _EXAMPLE)
                if match["split"] != tree.name(split).lower():
                    raise DataError(f"{file}: an image of {match['split']}/ by its name")
                if match["stem"] in seen:
                    raise DataError(f"{file}: the same image as {seen[match['stem']]}")
                seen[match["stem"]] = relpath
                listed.append(FaceFile(relpath, int(number) - 1, split=match["split"]))
    return listed
