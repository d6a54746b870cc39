"""Checks whether a teacher's soft labels fit a data set: its images, its classes, its labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ferdata.dataset import FaceDataset
from ferdata.doctor.checks import Finding, disagreement
from ferdata.doctor.inspected_dataset import InspectedDataset
from ferdata.errors import DataError
from ferdata.labels import FERPLUS8
from ferdata.sources.ferplus import plurality
from ferdata.teachers.agreement import agreement
from ferdata.teachers.soft_labels import (
    AlignReport,
    SoftLabels,
    align_soft_labels,
    load_soft_labels,
)


@dataclass(frozen=True)
class Teacher:
    """What a teacher's file holds, and how it fits.

    kind, key, n_entries, n_crops, flipped, classes  of the file (ferdata.SoftLabels)
    covers       "all" images, the "train" split alone, or "" if it does not fit
    accuracy     share of labelled images whose label is its first choice; None: not compared
    mean_recall  that share for each class, averaged over the classes; None: not compared
    percentages  its probabilities are percentages
    """

    path: str
    kind: str
    key: str
    n_entries: int
    n_crops: int | None
    flipped: bool
    classes: tuple[str, ...]
    covers: str
    accuracy: float | None
    mean_recall: float | None
    percentages: bool


def check_teacher(
    inspected: InspectedDataset, path: str, extra_classes: str = "error"
) -> tuple[Teacher | None, list[Finding]]:
    """Returns what the file of soft labels holds, or None if it cannot be read, and the findings.

    The teacher is compared with the plurality labels of FER+ if there are votes, else with the
    labels of the data set.  extra_classes: "error" if classes that the data set does not have are a
    finding, else as in `align_soft_labels`.
    """
    try:
        soft = load_soft_labels(path)
    except DataError as error:
        return None, [Finding("teacher-unreadable", f"teacher {error}", 1)]
    findings: list[Finding] = []
    covers, compared = "", None
    try:
        dataset, labels = _reference(inspected, soft)
        covers, part, values, report = _aligned(soft, dataset)
    except DataError as error:
        findings.append(Finding("teacher-does-not-fit", f"teacher {error}", 1))
    else:
        if extra_classes == "error":
            findings += _other_classes(path, report)
        if labels is not None:
            first_choice = values.argmax(axis=1)
            in_order = soft.key[0] != "hashes"
            compared = agreement(labels[part], first_choice, len(dataset.classes), in_order)
            findings += disagreement(
                "teacher", f"teacher {path}", "the labels", compared, dataset.classes
            )
    teacher = Teacher(
        path=path,
        kind=soft.kind,
        key=soft.key[0],
        n_entries=len(soft.values),
        n_crops=soft.n_crops,
        flipped=soft.flipped_values is not None,
        classes=soft.classes,
        covers=covers,
        accuracy=None if compared is None else compared.accuracy,
        mean_recall=None if compared is None else compared.mean_recall,
        percentages=soft.percentages,
    )
    return teacher, findings


def _reference(
    inspected: InspectedDataset, soft: SoftLabels
) -> tuple[FaceDataset, np.ndarray | None]:
    """What the teacher is compared with: (images without labels, labels with -1 for none).

    The labels are in the label space of the returned data set.
    """
    dataset = inspected.as_opened() if soft.key[0] == "hashes" else inspected.dataset
    labels, space = inspected.dataset.known_labels, dataset.label_space
    if inspected.votes is not None:
        plural, known = plurality(inspected.votes)
        labels, space = np.where(known, plural, -1), FERPLUS8
    images = FaceDataset(
        images=dataset.images,
        ids=dataset.ids,
        rows=dataset.rows,
        split=dataset.split,
        label_space=space,
    )
    return images, labels


def _aligned(
    soft: SoftLabels, dataset: FaceDataset
) -> tuple[str, np.ndarray, np.ndarray, AlignReport]:
    """(covers, indices, values, report) for all images or, if that fails, the training split.

    Raises the DataError of the first try if both fail.
    """
    crops = "error" if soft.n_crops is None else "mean"
    parts = [("all", np.arange(len(dataset)))]
    if dataset.split is not None and (dataset.split == "train").any():
        parts.append(("train", np.flatnonzero(dataset.split == "train")))
    errors = []
    for covers, part in parts:
        try:
            chosen = dataset if covers == "all" else dataset.select(part)
            values, report = align_soft_labels(soft, chosen, extra_classes="drop", crops=crops)
            return covers, part, values, report
        except DataError as error:
            errors.append(error)
    raise errors[0]


def _other_classes(path: str, report: AlignReport) -> list[Finding]:
    """A finding if the teacher has classes that the data set does not have."""
    if not report.dropped:
        return []
    names, one = ", ".join(report.dropped), len(report.dropped) == 1
    message = (
        f"teacher {path}: {names} {'is no class' if one else 'are no classes'} of this data set; "
        f"extra_classes='drop' leaves {'it' if one else 'them'} out"
    )
    if report.n_mostly_dropped:
        message += f"; for {report.n_mostly_dropped:,} images they have most of the probability"
    return [Finding("teacher-has-other-classes", message, len(report.dropped))]
