"""A Diagnosis as text for a terminal, and as JSON for programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from ferdata.dataset import SPLITS
from ferdata.doctor_checks import own_labels
from ferdata.inspected_dataset import InspectedDataset

if TYPE_CHECKING:
    from ferdata.doctor import Diagnosis

_N_SIZES = 3


def as_text(diagnosis: Diagnosis) -> str:
    """What is there and expected, then one line a finding, or that there is none."""
    inspected = diagnosis.inspected
    lines = [heading(inspected), what_is_there(inspected), ""]
    lines += _table(class_table(inspected))
    for teacher in diagnosis.teachers:
        lines.append(f"teacher {teacher.path}: {about_teacher(teacher)}")
    if diagnosis.teachers:
        lines.append("")
    if diagnosis.is_clean:
        lines.append("nothing suspicious")
    else:
        n = len(diagnosis.findings)
        lines.append(f"{n} finding{'s' * (n > 1)}:")
        lines += [f"- {finding.message}" for finding in diagnosis.findings]
    return "\n".join(printable(line) for line in lines) + "\n"


def as_json(diagnosis: Diagnosis) -> str:
    """One object; keys as below, ids as in the data set."""
    inspected = diagnosis.inspected
    header, *rows = class_table(inspected) or [[]]
    content = {
        "path": inspected.path,
        "source": inspected.source,
        "protocol": inspected.protocol,
        "why": inspected.why,
        "n_images": len(inspected.dataset),
        "n_unreadable": len(inspected.unreadable),
        "n_subjects": n_subjects(inspected),
        "sizes": [{"height": h, "width": w, "n": n} for h, w, n in sizes(inspected)],
        "classes": {row[0]: dict(zip(header[1:], row[1:])) for row in rows},
        "counts": inspected.counts,
        "published": inspected.published,
        "votes": inspected.votes is not None,
        "teachers": [asdict(teacher) for teacher in diagnosis.teachers],
        "clean": diagnosis.is_clean,
        "findings": [
            {"kind": f.kind, "message": f.message, "n": f.n, "ids": f.groups}
            for f in diagnosis.findings
        ],
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


# ---- the parts, which the page uses too ------------------------------------------------------


def heading(inspected: InspectedDataset) -> str:
    """Where it is and what it was taken for."""
    name = f"{inspected.source}, {inspected.protocol}" if inspected.protocol else inspected.source
    return f"{inspected.path or 'data set'}: {name} ({inspected.why})"


def what_is_there(inspected: InspectedDataset) -> str:
    """Images, their sizes and subjects in one line."""
    found = sizes(inspected)
    shown = ", ".join(
        f"{w} x {h} px" + (f" ({n:,})" if len(found) > 1 else "") for h, w, n in found[:_N_SIZES]
    )
    if len(found) > _N_SIZES:
        shown += f" and {len(found) - _N_SIZES:,} other sizes"
    parts = [f"{len(inspected.dataset):,} images of {shown}"]
    if n_subjects(inspected) is not None:
        parts.append(f"{n_subjects(inspected):,} subjects")
    if inspected.unreadable:
        parts.append(f"{len(inspected.unreadable):,} files that cannot be read")
    if inspected.votes is not None:
        parts.append("FER+'s votes for each row")
    return "; ".join(parts)


def sizes(inspected: InspectedDataset) -> list[tuple[int, int, int]]:
    """(height, width, how many images), most frequent first."""
    found, counts = np.unique(inspected.sizes, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [(int(h), int(w), int(n)) for (h, w), n in zip(found[order], counts[order])]


def n_subjects(inspected: InspectedDataset) -> int | None:
    subjects = inspected.dataset.subjects
    return None if subjects is None else len(set(subjects.tolist()))


def class_table(inspected: InspectedDataset) -> list[list[Any]]:
    """Header, then a row for each class: its name, images by split and in all, and published.

    Columns that say nothing are left out; [] without labels.
    """
    dataset, labels = inspected.dataset, own_labels(inspected)
    if labels is None:
        return []
    splits = [] if dataset.split is None else [s for s in SPLITS if (dataset.split == s).any()]
    columns = [labels[dataset.split == s] for s in splits] + [labels]
    names = [*dataset.classes]
    counts = [np.bincount(c[c >= 0], minlength=len(names)).tolist() for c in columns]
    rows = [[name, *(c[k] for c in counts)] for k, name in enumerate(names)]
    if (labels < 0).any():
        rows.append(["without a label", *(int((c < 0).sum()) for c in columns)])
    rows.append(["all", *(len(c) for c in columns)])
    header = ["class", *splits, "images"]
    published = inspected.published
    if published:
        header.append("published")
        for row in rows:
            row.append(published.get("images" if row[0] == "all" else row[0], ""))
    return [header, *rows]


def about_teacher(teacher: Any) -> str:
    """One line on a Teacher, without its path."""
    parts = [f"{teacher.n_entries:,} entries by {teacher.key}, {teacher.kind}"]
    if teacher.n_crops is not None:
        parts.append(f"{teacher.n_crops} crops each")
    if teacher.flipped:
        parts.append("mirror images too")
    covers = {"all": "fits every image", "train": "fits the training images, not all"}
    parts.append(covers.get(teacher.covers, "does not fit"))
    if teacher.accuracy is not None:
        share, recall = 100 * teacher.accuracy, 100 * teacher.mean_recall
        parts.append(
            f"agrees with {share:.1f} % of the labels, {recall:.1f} % of a class on average"
        )
    return "; ".join(parts)


def printable(text: str) -> str:
    """Without control characters and halves of surrogate pairs, which names of files can hold."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _table(rows: list[list[Any]]) -> list[str]:
    """Lines with the columns in line, and an empty one behind; [] for no rows."""
    if not rows:
        return []
    shown = [[f"{c:,}" if isinstance(c, int) else str(c) for c in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown)]
    lines = []
    for first, *others in shown:
        cells = [first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(others, widths[1:]))]
        lines.append("  ".join(cells).rstrip())
    return [*lines, ""]
