"""The result of a check as text for a terminal, and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from ferdata.dataset import SPLITS
from ferdata.doctor.checks import Finding
from ferdata.doctor.inspected_dataset import InspectedDataset
from ferdata.doctor.teacher import Teacher
from tinycnn.ground.messages import aligned, plain

_N_SIZES = 3


def as_text(
    inspected: InspectedDataset, findings: Sequence[Finding], teachers: Sequence[Teacher]
) -> str:
    """What is in the data set, then one line for each finding."""
    notes = [f"note: {note}" for note in inspected.dataset.notes]
    lines = [heading(inspected), contents(inspected), *notes, "", *_table(class_table(inspected))]
    lines += [f"teacher {teacher.path}: {about_teacher(teacher)}" for teacher in teachers]
    if teachers:
        lines.append("")
    if findings:
        lines.append(f"{len(findings)} finding{'s' * (len(findings) > 1)}:")
        lines += [f"- {finding.message}" for finding in findings]
    else:
        lines.append("nothing suspicious")
    return "\n".join(plain(line) for line in lines) + "\n"


def as_json(
    inspected: InspectedDataset, findings: Sequence[Finding], teachers: Sequence[Teacher]
) -> str:
    """One JSON object; the ids are those of the data set."""
    header, *rows = class_table(inspected) or [[]]
    content = {
        "path": inspected.path,
        "source": inspected.source,
        "protocol": inspected.protocol,
        "why": inspected.why,
        "n_images": len(inspected.dataset),
        "n_unreadable": len(inspected.unreadable),
        "notes": list(inspected.dataset.notes),
        "not_read": _not_read(inspected),
        "n_subjects": n_subjects(inspected),
        "sizes": [{"height": h, "width": w, "n": n} for h, w, n in sizes(inspected)],
        "classes": {row[0]: dict(zip(header[1:], row[1:])) for row in rows},
        "counts": inspected.counts,
        "published": inspected.published,
        "votes": inspected.votes is not None,
        "teachers": [asdict(teacher) for teacher in teachers],
        "clean": not findings,
        "findings": [
            {"kind": f.kind, "message": f.message, "n": f.n, "ids": f.groups} for f in findings
        ],
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _not_read(inspected: InspectedDataset) -> dict[str, object] | None:
    """The files below the data set's folder that were not read; None without a folder."""
    unread = inspected.dataset.unread
    return None if unread is None else {**asdict(unread), "root": str(unread.root)}


# ---- also used by the html page --------------------------------------------------------------


def heading(inspected: InspectedDataset) -> str:
    """Path, source and protocol, and what the source was recognised by."""
    name = f"{inspected.source}, {inspected.protocol}" if inspected.protocol else inspected.source
    return f"{inspected.path or 'data set'}: {name} ({inspected.why})"


def contents(inspected: InspectedDataset) -> str:
    """Number of images, their sizes, subjects and unreadable files in one line."""
    found = sizes(inspected)
    shown = ", ".join(
        f"{w} x {h} px" + (f" ({n:,})" if len(found) > 1 else "") for h, w, n in found[:_N_SIZES]
    )
    if len(found) > _N_SIZES:
        shown += f" and {len(found) - _N_SIZES:,} other sizes"
    parts = [f"{len(inspected.dataset):,} images of {shown}"]
    if (n := n_subjects(inspected)) is not None:
        parts.append(f"{n:,} subjects")
    if inspected.unreadable:
        parts.append(f"{len(inspected.unreadable):,} files that cannot be read")
    if inspected.votes is not None:
        parts.append("FER+'s votes for each row")
    if (unread := inspected.dataset.unread) is not None:
        parts += [f"left out: {n:,} {what}" for what, n in unread.left_out.items()]
        if unread and not unread.look_wrong:  # else it is a finding
            parts.append(unread.summary())
    return "; ".join(parts)


def sizes(inspected: InspectedDataset) -> list[tuple[int, int, int]]:
    """(height, width, number of images), most frequent first."""
    found, counts = np.unique(inspected.sizes, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [(int(h), int(w), int(n)) for (h, w), n in zip(found[order], counts[order])]


def n_subjects(inspected: InspectedDataset) -> int | None:
    subjects = inspected.dataset.subjects
    return None if subjects is None else len(set(subjects.tolist()))


def class_table(inspected: InspectedDataset) -> list[list[str | int]]:
    """Images by class: a header, then a row for each class and one for all; [] without labels.

    The columns are the class's name, its images in each split, in all, and in the published data
    set. Splits without images and unknown published counts have no column.
    """
    dataset, labels = inspected.dataset, inspected.dataset.known_labels
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
    if inspected.published:
        header.append("published")
        for row in rows:
            name = "images" if row[0] == "all" else str(row[0])
            row.append(inspected.published.get(name, ""))
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
    shown = [[f"{c:,}" if isinstance(c, int) else plain(c) for c in row] for row in rows]
    return [aligned(shown, 1), ""] if rows else []
