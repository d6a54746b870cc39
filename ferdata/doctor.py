"""The data set doctor: what is there, what was expected, what is suspicious.

    diagnosis = ferdata.check("fer2013.csv.gz", votes="fer2013new.csv", teachers=["t.npz"])
    print(diagnosis.as_text())

Nothing is changed and nothing is repaired. `Diagnosis.findings` is empty for a clean data set.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ferdata import doctor_checks as checks
from ferdata.dataset import FaceDataset
from ferdata.doctor_checks import Finding
from ferdata.doctor_teacher import Teacher, check_teacher
from ferdata.inspected_dataset import InspectedDataset, Progress, inspect_dataset, inspect_path

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
    """What the doctor found. `findings` in the order of the checks; `teachers` those readable."""

    inspected: InspectedDataset
    findings: tuple[Finding, ...]
    teachers: tuple[Teacher, ...]

    @property
    def is_clean(self) -> bool:
        return not self.findings

    def as_text(self) -> str:
        """For a terminal: what is there, then one line a finding."""
        from ferdata.doctor_text import as_text

        return as_text(self)

    def as_json(self) -> str:
        """For programs: the same, with the ids of all images concerned."""
        from ferdata.doctor_text import as_json

        return as_json(self)

    def as_html(self) -> str:
        """For a browser: one page that needs nothing else, with the images concerned."""
        from ferdata.doctor_page import as_html

        return as_html(self)


def check(
    path: str | os.PathLike[str],
    source: str | None = None,
    *,
    votes: str | os.PathLike[str] | None = None,
    teachers: Sequence[str | os.PathLike[str]] = (),
    progress: Progress | None = None,
    **options: object,
) -> Diagnosis:
    """Examine the data set at `path`.

    source, options  as ferdata.open takes them
    votes      fer2013new.csv (FER+), for FER2013's csv
    teachers   files of soft labels, each compared with the labels (or with the votes)
    progress   progress(what, done, total)

    Raises DataError where nothing can be read at all, ValueError for an unknown source or option.
    """
    inspected = inspect_path(path, source, votes, progress, **options)
    return _examined(inspected, teachers, progress)


def check_dataset(
    dataset: FaceDataset,
    teachers: Sequence[str | os.PathLike[str]] = (),
    progress: Progress | None = None,
) -> Diagnosis:
    """Examine a data set that is in memory. Raises DataError for one without images."""
    return _examined(inspect_dataset(dataset), teachers, progress)


def _examined(
    inspected: InspectedDataset,
    teachers: Sequence[str | os.PathLike[str]],
    progress: Progress | None,
) -> Diagnosis:
    findings = [finding for one in CHECKS for finding in one(inspected)]
    findings += checks.duplicates(inspected, progress)
    known = []
    for path in teachers:
        teacher, found = check_teacher(inspected, os.fspath(path))
        known += [] if teacher is None else [teacher]
        findings += found
    return Diagnosis(inspected, tuple(findings), tuple(known))
