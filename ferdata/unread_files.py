"""UnreadFiles: the files below a data set's folder that are not part of the data set.

Hidden files and folders (names that begin with a dot) and those of operating systems (Thumbs.db,
desktop.ini, __MACOSX) do not count: they hold no pictures that anybody put there.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tinycnn.ground.messages import short_repr

SYSTEM_NAMES = frozenset(("thumbs.db", "desktop.ini", "__macosx"))
DOCUMENT_SUFFIXES = frozenset(
    ".txt .md .rst .pdf .doc .docx .rtf .odt .htm .html .url .csv .tsv .xls .xlsx .json .jsonl "
    ".xml .yaml .yml .toml .ini .cfg .bib .log .py .m .ipynb .sh .md5 .sha256 .sum".split()
)
"""Files with these suffixes, in lower case, are expected beside pictures. They are counted and
named, but they are nothing that looks wrong."""
_DOCUMENT_NAMES = re.compile(r"(readme|licen[cs]e|copying|authors|changelog|makefile)\b.*", re.I)

_SUFFIX = re.compile(r"\.[0-9a-z_-]{1,10}")
_MOST_NAMED = 6


@dataclass(frozen=True, eq=False)
class UnreadFiles:
    """The files below a folder that were not read. Paths are relative to it, with forward slashes.

    root        the folder
    pictures    files that have the suffix of a picture or begin like one
    documents   texts and tables, by their suffix (DOCUMENT_SUFFIXES) or name (README, LICENSE)
    others      all others: videos, archives, unknown kinds
    unsearched  what was wrong with folders that could not be searched
    left_out    number of files that a source leaves out on purpose, by reason, such as
                {"frames that the protocol does not take": 9000}. They are in no other field
    """

    root: Path = Path()
    pictures: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    unsearched: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)

    __repr__ = short_repr

    def __len__(self) -> int:
        """Number of files that were not read, without those that are left out on purpose."""
        return len(self.pictures) + len(self.documents) + len(self.others)

    def __bool__(self) -> bool:
        return bool(len(self) or self.unsearched)

    @property
    def look_wrong(self) -> bool:
        """Whether there are files that nobody expects to be passed over."""
        return bool(self.pictures or self.others or self.unsearched)

    def summary(self) -> str:
        """What was not read, in words: "24 files not read: 21 .mov, 3 .heic, in val/ (24)"; "" for
        nothing."""
        told = []
        if len(self):
            paths = (*self.pictures, *self.others, *self.documents)
            n = f"{len(paths):,} file{'' if len(paths) == 1 else 's'} not read"
            told.append(f"{n}: {kinds(paths)}, in {_places(paths)}")
        if self.unsearched:
            more = f" (and {len(self.unsearched) - 1:,} more)" if len(self.unsearched) > 1 else ""
            told.append(f"not searched: {self.unsearched[0]}{more}")
        return "; ".join(told)


def is_document(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in DOCUMENT_SUFFIXES or bool(
        _DOCUMENT_NAMES.fullmatch(name)
    )


def is_ignored(name: str) -> bool:
    """Whether a file or folder of this name does not count: see the module's docstring."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def kind_of(name: str) -> str:
    """The suffix of a file in lower case, or "without a suffix"."""
    suffix = os.path.splitext(name)[1].lower()
    return suffix if _SUFFIX.fullmatch(suffix) else "without a suffix"


def kinds(paths: Iterable[str]) -> str:
    """The kinds of files, the most frequent first: ".jfif" if there is one, "21 .mov, 3 .heic"."""
    counted = Counter(map(kind_of, paths)).most_common()
    if len(counted) == 1:
        return counted[0][0]
    return _listed([f"{n:,} {kind}" for kind, n in counted])


def _places(paths: Iterable[str]) -> str:
    """The folders directly below the root that hold files: "val/ (20), the folder itself (2)"."""
    tops = Counter(path.split("/")[0] + "/" if "/" in path else "" for path in paths)
    counted = tops.most_common()
    if len(counted) == 1:
        return counted[0][0] or "the folder itself"
    return _listed([f"{top or 'the folder itself'} ({n:,})" for top, n in counted])


def _listed(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more:,} more kinds or folders" * (more > 0))
