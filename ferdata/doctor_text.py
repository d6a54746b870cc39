"""The result of a check as text for a terminal, and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from ferdata.dataset import SPLITS
from ferdata.doctor_checks import Finding, known_labels
from ferdata.doctor_teacher import Teacher
from ferdata.specimen import Specimen
from tinycnn.ground.messages import plain

_N_SIZES = 3


def as_text(specimen: Specimen, findings: Sequence[Finding], teachers: Sequence[Teacher]) -> str:
    """What is in the data set, then one line for each finding."""
    lines = [heading(specimen), contents(specimen), "", *_table(class_table(specimen))]
    lines += [f"teacher {teacher.path}: {about_teacher(teacher)}" for teacher in teachers]
    if teachers:
        lines.append("")
    if findings:
        lines.append(f"{len(findings)} finding{'s' * (len(findings) > 1)}:")
        lines += [f"- {finding.message}" for finding in findings]
    else:
        lines.append("nothing suspicious")
    return "\n".join(plain(line) for line in lines) + "\n"


def as_json(specimen: Specimen, findings: Sequence[Finding], teachers: Sequence[Teacher]) -> str:
    """One JSON object; the ids are those of the data set."""
    header, *rows = class_table(specimen) or [[]]
    content = {
        "path": specimen.path,
        "source": specimen.source,
        "protocol": specimen.protocol,
        "why": specimen.why,
        "n_images": len(specimen.dataset),
        "n_unreadable": len(specimen.unreadable),
        "n_subjects": n_subjects(specimen),
        "sizes": [{"height": h, "width": w, "n": n} for h, w, n in sizes(specimen)],
        "classes": {row[0]: dict(zip(header[1:], row[1:])) for row in rows},
        "counts": specimen.counts,
        "published": specimen.published,
        "votes": specimen.votes is not None,
        "teachers": [asdict(teacher) for teacher in teachers],
        "clean": not findings,
        "findings": [
            {"kind": f.kind, "message": f.message, "n": f.n, "ids": f.groups} for f in findings
        ],
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


# ---- also used by the html page --------------------------------------------------------------


def heading(specimen: Specimen) -> str:
    """Path, source and protocol, and what the source was recognised by."""
    name = f"{specimen.source}, {specimen.protocol}" if specimen.protocol else specimen.source
    return f"{specimen.path or 'data set'}: {name} ({specimen.why})"


def contents(specimen: Specimen) -> str:
    """Number of images, their sizes, subjects and unreadable files in one line."""
    found = sizes(specimen)
    shown = ", ".join(
        f"{w} x {h} px" + (f" ({n:,})" if len(found) > 1 else "") for h, w, n in found[:_N_SIZES]
    )
    if len(found) > _N_SIZES:
        shown += f" and {len(found) - _N_SIZES:,} other sizes"
    parts = [f"{len(specimen.dataset):,} images of {shown}"]
    if (n := n_subjects(specimen)) is not None:
        parts.append(f"{n:,} subjects")
    if specimen.unreadable:
        parts.append(f"{len(specimen.unreadable):,} files that cannot be read")
    if specimen.votes is not None:
        parts.append("FER+'s votes for each row")
    return "; ".join(parts)


def sizes(specimen: Specimen) -> list[tuple[int, int, int]]:
    """(height, width, number of images), most frequent first."""
    found, counts = np.unique(specimen.sizes, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [(int(h), int(w), int(n)) for (h, w), n in zip(found[order], counts[order])]


def n_subjects(specimen: Specimen) -> int | None:
    subjects = specimen.dataset.subjects
    return None if subjects is None else len(set(subjects.tolist()))


def class_table(specimen: Specimen) -> list[list[str | int]]:
    """Images by class: a header, then a row for each class and one for all; [] without labels.

    The columns are the class's name, its images in each split, in all, and in the published data
    set. Splits without images and unknown published counts have no column.
    """
    dataset, labels = specimen.dataset, known_labels(specimen)
    if labels is None:
        return []
    splits = [] if dataset.split is None else [s for s in SPLITS if (dataset.split == s).any()]
    columns = [labels[dataset.split == s] for s in splits] + [labels]
    counts = [np.bincount(c[c >= 0], minlength=len(dataset.classes)).tolist() for c in columns]
    header: list[str | int] = ["class", *splits, "images"]
    rows: list[list[str | int]] = [
        [name, *(c[k] for c in counts)] for k, name in enumerate(dataset.classes)
    ]
    if (labels < 0).any():
        rows.append(["without a label", *(int((c < 0).sum()) for c in columns)])
    rows.append(["all", *(len(c) for c in columns)])
    if specimen.published:
        header.append("published")
        for row in rows:
            name = "images" if row[0] == "all" else str(row[0])
            row.append(specimen.published.get(name, ""))
    return [header, *rows]


def about_teacher(teacher: Teacher) -> str:
    """One line on a teacher, without its path."""
    parts = [f"{teacher.n_entries:,} entries by {teacher.key}, {teacher.kind}"]
    if teacher.n_crops is not None:
        parts.append(f"{teacher.n_crops} crops each")
    if teacher.flipped:
        parts.append("mirror images too")
    covers = {"all": "fits every image", "train": "fits the training images, not all"}
    parts.append(covers.get(teacher.covers, "does not fit"))
    if teacher.accuracy is not None and teacher.mean_recall is not None:
        parts.append(
            f"agrees with {100 * teacher.accuracy:.1f} % of the labels, "
            f"{100 * teacher.mean_recall:.1f} % per class on average"
        )
    return "; ".join(parts)


def _table(rows: list[list[str | int]]) -> list[str]:
    """Lines with aligned columns, and an empty line at the end; [] for no rows."""
    if not rows:
        return []
    shown = [[f"{c:,}" if isinstance(c, int) else c for c in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown)]
    lines = []
    for first, *others in shown:
        cells = [first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(others, widths[1:]))]
        lines.append("  ".join(cells).rstrip())
    return [*lines, ""]
