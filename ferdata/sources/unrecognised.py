"""The message on a file or folder that is no known data set: what was seen, what to do, what was
looked for. Of the content only short names are shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ferdata.class_choice import advice_on_names, is_number, shown_names
from ferdata.errors import DataError
from ferdata.photos.picture_formats import has_picture_suffix
from ferdata.sources import manifest
from ferdata.sources.class_folders import layouts
from ferdata.sources.folder_tree import Tree, join
from ferdata.unread_files import kind_of

_MOST_FOLDERS = 2000
_MOST_EXAMPLES = 3
_MOST_KINDS = 6
_MOST_CHARACTERS = 40
_LIST_SUFFIXES = (".csv", ".tsv", ".txt", ".lst", ".list")
_ARCHIVE_SUFFIXES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".bz2", ".xz")
_MOST_LISTS = 5


@dataclass
class _Seen:
    """What is in a folder.

    names      relpaths of a few files of different kinds;  n_of_kind  number of files by suffix
    n_folders  how many folders were looked into;  depth  of the deepest, 0 for the folder itself
    parents    {relpath of a folder: names of the folders with pictures directly in it}
    lists, archives  relpaths of files that may be lists of images, and of archives
    is_all     False if there are more folders than were looked into
    """

    names: list[str] = field(default_factory=list)
    n_of_kind: Counter[str] = field(default_factory=Counter)
    n_folders: int = 0
    depth: int = 0
    parents: dict[str, list[str]] = field(default_factory=dict)
    n_pictures: int = 0
    lists: list[str] = field(default_factory=list)
    archives: list[str] = field(default_factory=list)
    is_all: bool = True


def about_folder(tree: Tree, sources: Sequence[str], sought: Sequence[str]) -> str:
    """The message for a folder.  sources: the names of the known data sets; sought: what is looked
    for, which is left out if there is something nearer to do."""
    seen = _look_into(tree)
    step = _nearest_step(tree, seen)
    if step:
        known = f"The known data sets are {', '.join(sources)}; if it is one, name it: source=..."
    else:
        step = (
            "Nothing says which class its pictures are of: put them into one folder for each "
            "class, or write a csv with the columns path,label and open that."
            if seen.n_pictures
            else "There are no pictures in it: is the path right?"
        )
        known = f"Looked for {'; '.join(sought)}. If it is one of them, name it: source=..."
    if not seen.n_of_kind:
        known = ""
    return f"{tree.root}: no data set recognised. {_what_is_there(seen)}. {step} {known}".rstrip()


def about_file(path: Path, names: Sequence[str], *sought: str) -> str:
    """The message for a text file.  names: what stands between the commas of its first line."""
    columns = [name.strip()[:_MOST_CHARACTERS] for name in names]
    if len(columns) > 1:
        what = f"its first line has {len(columns):,} columns: {shown_names(columns)}"
    else:
        what = f"its first line is {names[0][:_MOST_CHARACTERS]!r}"
    return (
        f"{path}: no data set recognised; {what}, and no column has names of image files. If one "
        "has, name it: path_column=..., label_column=...; if the fields are not separated by "
        f"commas, semicolons, tabs or blanks: separator=... (looked for {'; '.join(sought)})"
    )


def _look_into(tree: Tree) -> _Seen:
    seen = _Seen()
    folders = [("", 0)]
    while folders:
        folder, depth = folders.pop(0)
        if seen.n_folders >= _MOST_FOLDERS:
            seen.is_all = False
            break
        try:
            scan = tree.scan(folder)
        except DataError:
            continue
        seen.n_folders += 1
        seen.depth = max(seen.depth, depth)
        folders += [(join(folder, name), depth + 1) for name in scan.folders]
        pictures = [name for name in scan.files if has_picture_suffix(name)] or scan.images
        seen.n_pictures += len(pictures)
        if pictures and folder:
            parent, _, name = folder.rpartition("/")
            seen.parents.setdefault(parent, []).append(name)
        for name in scan.files:
            kind = kind_of(name)
            seen.n_of_kind[kind] += 1
            if len(seen.names) < _MOST_EXAMPLES and (kind not in map(kind_of, seen.names)):
                seen.names.append(join(folder, name))
            if kind in _LIST_SUFFIXES:
                seen.lists.append(join(folder, name))
            if kind in _ARCHIVE_SUFFIXES:
                seen.archives.append(join(folder, name))
    return seen


def _what_is_there(seen: _Seen) -> str:
    n_files = sum(seen.n_of_kind.values())
    if not n_files:
        return "It holds no files"
    counted = ", ".join(f"{n:,} {kind}" for kind, n in seen.n_of_kind.most_common(_MOST_KINDS))
    if len(seen.n_of_kind) > _MOST_KINDS:
        counted += ", ..."
    text = f"It holds {n_files:,} file{'s' * (n_files != 1)} ({counted}), such as "
    text += ", ".join(_short(name) for name in seen.names)
    if seen.n_folders > 1:
        text += f", in {'' if seen.is_all else 'more than '}{seen.n_folders - 1:,} folder"
        text += f"{'s' * (seen.n_folders != 2)}, {seen.depth} level{'s' * (seen.depth != 1)} deep"
    return text


def _nearest_step(tree: Tree, seen: _Seen) -> str:
    """What can be done with what is there, "" if nothing in it says that."""
    for relpath in seen.lists[:_MOST_LISTS]:
        path = tree.path(relpath)
        try:
            why = manifest.recognised(path)
        except DataError as error:
            return f"It holds a list of images, to be opened by its own path: {error}."
        if why is not None:
            return f"It holds {why}: open {path}."
    if not seen.n_pictures:
        return f"No pictures in it; unpack {_short(seen.archives[0])}." if seen.archives else ""
    together = [(parent, names) for parent, names in seen.parents.items() if len(names) > 1]
    if not together:
        return ""
    parent, names = max(together, key=lambda found: len(found[1]))
    where = f" in {_short(parent)}/" if parent else ""
    if not layouts(tree, lambda name: name in names):  # choosing classes would not help
        return (
            f"Pictures are in the folders {shown_names(names)}{where}: if these are classes, class "
            "folders must be in the folder itself, or in train/, test/, ...; move them, or write "
            "a csv with the columns path,label,subject and open that."
        )
    text = f"Pictures are in the folders {shown_names(names)}{where}; if these are classes, "
    if all(map(is_number, names)):
        return (
            f"{text}name them in order: classes=..., or one by one: "
            f"classes='{names[0]}=happy,{names[1]}=sad'."
        )
    return f"{text}{advice_on_names(names)}."


def _short(name: str) -> str:
    return name if len(name) <= _MOST_CHARACTERS else f"{name[:_MOST_CHARACTERS]}..."
