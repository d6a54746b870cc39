"""Whether a teacher's file fits a data set: its entries, its classes, and what it says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ferdata.agreement import Agreement, agreement
from ferdata.dataset import FaceDataset
from ferdata.doctor_checks import Finding, disagreement, own_labels
from ferdata.errors import DataError
from ferdata.inspected_dataset import InspectedDataset
from ferdata.labels import FERPLUS8
from ferdata.soft_labels import AlignReport, SoftLabels, align_soft_labels, load_soft_labels
from ferdata.sources.ferplus import plurality


@dataclass(frozen=True)
class Teacher:
    """What a teacher's file holds, and how it fits.

    kind, key, n_entries, n_crops, flipped, classes  of the file (ferdata.SoftLabels)
    covers       "all" images, the "train" split alone, or "" if it does not fit
    accuracy     share of labelled images where its first choice is the label; None: not compared
    mean_recall  the same as a mean over the classes
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


def check_teacher(inspected: InspectedDataset, path: str) -> tuple[Teacher | None, list[Finding]]:
    """(what it is, findings); None for a file that cannot be read.

    With FER+'s votes it is compared with their plurality label, else with the data set's labels.
    """
    try:
        soft = load_soft_labels(path)
    except DataError as error:
        return None, [Finding("teacher-unreadable", f"teacher {error}", 1)]
    findings: list[Finding] = []
    covers, compared = "", None
    try:
        dataset, labels = _judged(inspected, soft)
        covers, part, values, report = _aligned(soft, dataset)
    except DataError as error:
        findings.append(Finding("teacher-does-not-fit", f"teacher {error}", 1))
    else:
        findings += _other_classes(path, report)
        if labels is not None:
            said = values.argmax(axis=1)
            in_order = soft.key[0] != "hashes"
            compared = agreement(labels[part], said, len(dataset.classes), in_order)
            space = dataset.label_space
            findings += disagreement(f"teacher {path}", "the labels", compared, space)
    return _summary(path, soft, covers, compared), findings


def _summary(path: str, soft: SoftLabels, covers: str, compared: Agreement | None) -> Teacher:
    return Teacher(
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
    )


def _judged(inspected: InspectedDataset, soft: SoftLabels) -> tuple[FaceDataset, np.ndarray | None]:
    """(the images in the label space to compare in, labels with -1 for none)."""
    dataset = inspected.as_opened() if soft.key[0] == "hashes" else inspected.dataset
    labels, space = own_labels(inspected), dataset.label_space
    if inspected.votes is not None:
        plural, known = plurality(inspected.votes)
        labels, space = np.where(known, plural, -1), FERPLUS8
    bare = FaceDataset(
        images=dataset.images,
        ids=dataset.ids,
        rows=dataset.rows,
        split=dataset.split,
        label_space=space,
    )
    return bare, labels


def _aligned(
    soft: SoftLabels, dataset: FaceDataset
) -> tuple[str, np.ndarray, np.ndarray, AlignReport]:
    """(covers, indices, values, report): for all images or, failing that, those to train on."""
    crops = "error" if soft.n_crops is None else "mean"
    parts = [("all", np.arange(len(dataset)))]
    if dataset.split is not None and (dataset.split == "train").any():
        parts.append(("train", np.flatnonzero(dataset.split == "train")))
    first_error = None
    for covers, part in parts:
        try:
            chosen = dataset if covers == "all" else dataset.select(part)
            values, report = align_soft_labels(soft, chosen, extra_classes="drop", crops=crops)
            return covers, part, values, report
        except DataError as error:
            first_error = first_error or error
    raise first_error


def _other_classes(path: str, report: AlignReport) -> list[Finding]:
    if not report.dropped:
        return []
    names, one = ", ".join(report.dropped), len(report.dropped) == 1
    message = (
        f"teacher {path}: {names} {'is no class' if one else 'are no classes'} of this data set; "
        "extra_classes has to be 'drop' or 'renormalise'"
    )
    if report.n_mostly_dropped:
        message += f"; {report.n_mostly_dropped:,} images are mostly that to it"
    return [Finding("teacher-has-other-classes", message, len(report.dropped))]
