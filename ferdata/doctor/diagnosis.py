"""Checks a data set: what is in it, whether it is complete, and what looks wrong.

    diagnosis = ferdata.check("fer2013.csv.gz", votes="fer2013new.csv", teachers=["t.npz"])
    print(diagnosis.as_text())

Nothing is changed or repaired. `Diagnosis.findings` is empty if nothing looks wrong.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ferdata.arguments import checked_option
from ferdata.dataset import FaceDataset
from ferdata.doctor import checks, page, text
from ferdata.doctor.checks import Finding
from ferdata.doctor.inspected_dataset import (
    InspectedDataset,
    Progress,
    inspect_dataset,
    inspect_path,
)
from ferdata.doctor.teacher import Teacher, check_teacher
from ferdata.doctor.unread_pictures import unread_files
from ferdata.teachers.soft_labels import EXTRA_CLASSES
from tinycnn.ground.messages import short_repr

_Paths = Sequence[str | os.PathLike[str]]
CHECKS: tuple[Callable[[InspectedDataset], Iterator[Finding]], ...] = (
    checks.unreadable_images,
    checks.published_counts,
    checks.subjects_on_both_sides,
    checks.empty_classes,
    checks.constant_images,
    checks.odd_votes,
)


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """The result of a check.

    findings  what looks wrong, in the order of the checks
    teachers  the teachers' files that could be read
    """

    inspected: InspectedDataset
    findings: tuple[Finding, ...]
    teachers: tuple[Teacher, ...]

    __repr__ = short_repr

    @property
    def is_clean(self) -> bool:
        return not self.findings

    def as_text(self) -> str:
        """For a terminal: what is in the data set, then one line for each finding."""
        return text.as_text(self.inspected, self.findings, self.teachers)

    def as_json(self) -> str:
        """For programs: the same, with the ids of all images of a finding."""
        return text.as_json(self.inspected, self.findings, self.teachers)

    def as_html(self) -> str:
        """For a browser: one self-contained page that shows the images of the findings."""
        return page.as_html(self.inspected, self.findings, self.teachers)


def check(
    path: str | os.PathLike[str],
    source: str | None = None,
    *,
    votes: str | os.PathLike[str] | None = None,
    teachers: _Paths = (),
    extra_classes: str = "error",
    progress: Progress | None = None,
    **options: object,
) -> Diagnosis:
    """Check the data set at `path`.

    source    as for ferdata.open
    votes     fer2013new.csv (FER+), if the data set is FER2013's csv
    teachers  files of soft labels; each is compared with the votes, or else with the labels
    extra_classes  "error": a teacher's classes that the data set lacks are a finding; "drop" or
              "renormalise": they are to be left out, so they are not
    progress  progress(what, done, total)
    options   as for ferdata.open. The images are examined as they are in their files; only for a
              teacher that names them by hashes, faces are cut out as these options say

    Raises DataError if nothing can be read, ValueError for an unknown source or option.
    """
    checked_option("extra_classes", extra_classes, EXTRA_CLASSES)
    inspected = inspect_path(path, source, votes, progress, **options)
    return _diagnosis(inspected, teachers, progress, extra_classes)


def check_dataset(
    dataset: FaceDataset,
    teachers: _Paths = (),
    progress: Progress | None = None,
    *,
    extra_classes: str = "error",
) -> Diagnosis:
    """Check a data set that is in memory; extra_classes: see `check`. Raises DataError for one
    without images."""
    checked_option("extra_classes", extra_classes, EXTRA_CLASSES)
    return _diagnosis(inspect_dataset(dataset), teachers, progress, extra_classes)


def _diagnosis(
    inspected: InspectedDataset,
    teachers: _Paths,
    progress: Progress | None,
    extra_classes: str = "error",
) -> Diagnosis:
    findings = [finding for check in CHECKS for finding in check(inspected)]
    findings += checks.duplicates(inspected, progress)
    findings += unread_files(inspected, progress)
    readable = []
    for path in teachers:
        teacher, found = check_teacher(inspected, os.fspath(path), extra_classes)
        readable += [] if teacher is None else [teacher]
        findings += found
    return Diagnosis(inspected, tuple(findings), tuple(readable))
