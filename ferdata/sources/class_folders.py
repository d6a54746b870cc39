"""Lists images in folders named after classes, with or without train/, validation/ and test/."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ferdata.errors import DataError
from ferdata.labels import LabelSpace, canonical_name, is_known_class
from ferdata.sources.face_files import FaceFile
from ferdata.sources.folder_tree import Tree, join

SPLIT_FOLDERS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "publictest"), "validation"),
    **dict.fromkeys(("test", "testing", "privatetest"), "test"),
}
"""{folder name in lower case: the split it holds}"""


@dataclass(frozen=True)
class Layout:
    """Where in a tree a set of class folders is.

    top      relpath of the folder that holds the whole set
    parents  (split, relpath) of each folder that holds class folders; one with None for no splits
    """

    top: str
    parents: tuple[tuple[str | None, str], ...]

    @property
    def has_splits(self) -> bool:
        return self.parents[0][0] is not None

    def class_folders(self, tree: Tree) -> Iterator[tuple[str | None, str, str]]:
        """(split, name, relpath) of each class folder, sorted: of every folder in the parents that
        is not named after a split. A folder such as val/ beside class folders is no class: its
        files are counted as not read.
        """
        for split, parent in self.parents:
            for name, relpath in tree.folders(parent):
                if name.lower() not in SPLIT_FOLDERS:
                    yield split, name, relpath

    def class_names(self, tree: Tree) -> set[str]:
        return {name for _, name, _ in self.class_folders(tree)}


def layouts(tree: Tree, is_class: Callable[[str], bool] = is_known_class) -> list[Layout]:
    """All sets of class folders in the tree, those with splits first.

    A folder holds class folders if at least two of its folders are named after classes. Raises
    DataError for unknown splits, two folders of one split, and classes beside splits.
    """
    parents = {
        relpath
        for relpath in tree.find(lambda name: True)
        if sum(is_class(name) for name in tree.scan(relpath).folders) >= 2
    }
    found, in_splits = [], set()
    for top in sorted({relpath.rpartition("/")[0] for relpath in parents if relpath}):
        named = [(name.lower(), relpath) for name, relpath in tree.folders(top)]
        named = [(name, relpath) for name, relpath in named if relpath in parents]
        splits = [
            (SPLIT_FOLDERS[name], relpath) for name, relpath in named if name in SPLIT_FOLDERS
        ]
        if not splits:
            continue
        if top in parents:
            raise DataError(
                f"{tree.path(top)}: class folders beside {tree.name(splits[0][1])}/, which holds "
                f"class folders too; expected one or the other"
            )
        if len({split for split, _ in splits}) < len(splits):
            folders = ", ".join(tree.name(relpath) + "/" for _, relpath in splits)
            raise DataError(f"{tree.path(top)}: two folders of the same split among {folders}")
        for name, relpath in named:
            if name not in SPLIT_FOLDERS:
                raise DataError(
                    f"{tree.path(relpath)}: class folders of an unknown split; expected one of "
                    f"{', '.join(SPLIT_FOLDERS)}"
                )
        found.append(Layout(top, tuple(splits)))
        in_splits |= {relpath for _, relpath in splits}
    return found + [Layout(top, ((None, top),)) for top in sorted(parents - in_splits)]


def only_layout(
    tree: Tree,
    fits: Callable[[Layout], bool],
    expected: str,
    is_class: Callable[[str], bool] = is_known_class,
) -> Layout:
    """The only layout that `fits` (in words: `expected`). Raises DataError for none, or several."""
    found = [layout for layout in layouts(tree, is_class) if fits(layout)]
    tree.only([layout.top for layout in found], f"one folder with {expected}")
    return found[0]


def list_images(
    tree: Tree,
    layout: Layout,
    label_space: LabelSpace,
    subject_of: Callable[[str], str | None] = lambda relpath: None,
    label_of: Mapping[str, int | None] | None = None,
) -> list[FaceFile]:
    """All images in the class folders, sorted by split, folder and name.

    subject_of  relpath of an image -> the person shown, or None if unknown
    label_of    the label of each folder by its name, None if its images are left out: several
                folders may have one label, and a class may have no images. None: folders have the
                names of the classes

    Raises DataError for a folder whose name is not a class of the label space, two folders of one
    class, a folder inside a class folder, and a class without images.
    """
    listed, n_images = [], [0] * len(label_space)
    seen: dict[tuple[str | None, int], str] = {}
    for split, name, folder in layout.class_folders(tree):
        if label_of is None:
            label = label_of_folder(name, label_space, tree.path(folder))
        elif (chosen := label_of[name]) is None:
            continue
        else:
            label = chosen
        if (split, label) in seen and label_of is None:
            raise DataError(
                f"{tree.path(folder)}: the same class as {seen[split, label]}/ beside it"
            )
        seen[split, label] = name
        scan = tree.scan(folder)
        if scan.folders:
            raise DataError(
                f"{tree.path(join(folder, scan.folders[0]))}: a folder inside a class folder; "
                "expected only images. Move its images up or the folder away; or list all images "
                "in a csv with the columns path,label,subject and open that"
            )
        n_images[label] += len(scan.images)
        for image in scan.images:
            relpath = join(folder, image)
            listed.append(FaceFile(relpath, label, subject_of(relpath), split))
    for label, n in enumerate(n_images):
        if not n and label_of is None:
            raise DataError(
                f"{tree.path(layout.top)}: no images of class {label_space.classes[label]!r}: is "
                f"the copy complete?"
            )
    return listed


def alphabetical_label_space(name: str, class_names: Iterable[str]) -> LabelSpace:
    """The classes in alphabetical order. Of several spellings of one class the first is used."""
    first: dict[str, str] = {}
    for class_name in class_names:
        first.setdefault(canonical_name(class_name), class_name)
    return LabelSpace(name, tuple(sorted(first.values(), key=str.lower)))


def label_of_folder(name: str, label_space: LabelSpace, folder: Path) -> int:
    """The label of a class folder. Raises DataError if its name is no class of the label space."""
    try:
        return label_space.index(name)
    except DataError:
        raise DataError(
            f"{folder}: unexpected folder, expected one of {', '.join(label_space.classes)}"
        ) from None


def check_class_folder(tree: Tree, relpath: str, class_name: str) -> None:
    """Raise DataError if an image, of this class by its name, is in the folder of another class."""
    folder_name = tree.name(relpath.rpartition("/")[0])
    if is_known_class(folder_name) and canonical_name(folder_name) != canonical_name(class_name):
        raise DataError(
            f"{tree.path(relpath)}: {class_name} by its name, but in the folder {folder_name}/"
        )
