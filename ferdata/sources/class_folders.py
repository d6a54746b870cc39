"""Folders named after classes, with or without train, validation and test above them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ferdata.errors import DataError
from ferdata.labels import LabelSpace, canonical_name, is_known_class
from ferdata.sources.face_files import FaceFile
from ferdata.sources.folder_tree import Tree, join

SPLIT_FOLDERS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "publictest"), "validation"),
    **dict.fromkeys(("test", "testing", "privatetest"), "test"),
}
"""Folder name in lower case: the split that it holds."""


@dataclass(frozen=True)
class Layout:
    """One arrangement of class folders: `tops` are (split or None, place of the class folders)."""

    place: str
    tops: tuple[tuple[str | None, str], ...]

    def class_folders(self, tree: Tree) -> Iterator[tuple[str | None, str, str]]:
        """(split, folder name, place) of every folder beside a class folder, sorted."""
        for split, top in self.tops:
            for name, place in tree.folders(top):
                yield split, name, place

    def class_names(self, tree: Tree) -> set[str]:
        return {name for _, name, _ in self.class_folders(tree)}


def layouts(tree: Tree, is_class: Callable[[str], bool] = is_known_class) -> list[Layout]:
    """The arrangements of class folders in the tree, those inside another's splits left out.

    A place counts from two folders named after classes.
    """
    tops = {
        place
        for place in tree.find(lambda name: True)
        if sum(is_class(name) for name in tree.scan(place).folders) >= 2
    }
    found, in_splits = [], set()
    for above in sorted({place.rpartition("/")[0] for place in tops if place}):
        splits = []
        for name, place in tree.folders(above):
            if place in tops and name.lower() in SPLIT_FOLDERS:
                splits.append((SPLIT_FOLDERS[name.lower()], place))
        if not splits:
            continue
        if above in tops:
            raise DataError(
                f"{tree.path(above)}: class folders beside {tree.name(splits[0][1])}/, which holds "
                f"class folders too; expected one or the other"
            )
        names = [split for split, _ in splits]
        if len(set(names)) < len(names):
            folders = ", ".join(tree.name(place) + "/" for _, place in splits)
            raise DataError(f"{tree.path(above)}: two folders of one split among {folders}")
        for name, place in tree.folders(above):
            if place in tops and name.lower() not in SPLIT_FOLDERS:
                raise DataError(
                    f"{tree.path(place)}: class folders of an unknown split; expected one of "
                    f"{', '.join(SPLIT_FOLDERS)}"
                )
        found.append(Layout(above, tuple(splits)))
        in_splits |= {place for _, place in splits}
    return found + [Layout(place, ((None, place),)) for place in sorted(tops - in_splits)]


def the_layout(
    tree: Tree,
    which: Callable[[Layout], bool],
    expected: str,
    is_class: Callable[[str], bool] = is_known_class,
) -> Layout:
    """The one layout that fits. Raises DataError if there are none, or several."""
    found = [layout for layout in layouts(tree, is_class) if which(layout)]
    if len(found) != 1:
        places = ", ".join(str(tree.path(layout.place)) for layout in found) or "none"
        raise DataError(f"{tree.root}: expected one folder with {expected}, found {places}")
    return found[0]


def listed_classes(
    tree: Tree,
    layout: Layout,
    label_space: LabelSpace,
    subject: Callable[[str, str], str | None] = lambda name, place: None,
) -> list[FaceFile]:
    """Every image of the class folders, sorted by split, class and name.

    subject  (file name, path below the root) -> the person shown

    Raises DataError for a folder that names no class of the label space, two folders of one class,
    a class folder that holds folders, a class without any image.
    """
    listed, n_images, seen = [], [0] * len(label_space), {}
    for split, name, folder in layout.class_folders(tree):
        label = _label(name, label_space, tree, folder)
        if (split, label) in seen:
            raise DataError(
                f"{tree.path(folder)}: the same class as {seen[split, label]}/ beside it"
            )
        seen[split, label] = name
        scan = tree.scan(folder)
        if scan.folders:
            raise DataError(
                f"{tree.path(join(folder, scan.folders[0]))}: a folder inside a class folder; "
                f"expected images alone"
            )
        n_images[label] += len(scan.images)
        for image in scan.images:
            path = join(folder, image)
            listed.append(FaceFile(path, label, subject(image, path), split))
    for label, n in enumerate(n_images):
        if not n:
            raise DataError(
                f"{tree.path(layout.place)}: no images of class {label_space.classes[label]!r}: is "
                f"the copy complete?"
            )
    return listed


def alphabetical(tree: Tree, layout: Layout, name: str) -> LabelSpace:
    """The label space of the class folders, in alphabetical order; two spellings are one class."""
    first: dict[str, str] = {}
    for folder in sorted(layout.class_names(tree)):
        first.setdefault(canonical_name(folder), folder)
    return LabelSpace(name, tuple(sorted(first.values(), key=str.lower)))


def _label(name: str, label_space: LabelSpace, tree: Tree, folder: str) -> int:
    try:
        return label_space.index(name)
    except DataError:
        raise DataError(
            f"{tree.path(folder)}: a folder of no known class; expected "
            f"{', '.join(label_space.classes)}"
        ) from None
