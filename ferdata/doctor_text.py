"""A Diagnosis as text for a terminal, and as JSON for programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from ferdata.dataset import SPLITS
from ferdata.doctor_checks import own_labels
from ferdata.inspected_dataset import Specimen

if TYPE_CHECKING:
    from ferdata.doctor import Diagnosis

_N_SIZES = 3


def as_text(diagnosis: Diagnosis) -> str:
    """What is there and expected, then one line a finding, or that there is none."""
    specimen = diagnosis.specimen
    lines = [heading(specimen), what_is_there(specimen), ""]
    lines += _table(class_table(specimen))
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
    specimen = diagnosis.specimen
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
        "teachers": [asdict(teacher) for teacher in diagnosis.teachers],
        "clean": diagnosis.is_clean,
        "findings": [
            {"kind": f.kind, "message": f.message, "n": f.n, "ids": f.groups}
            for f in diagnosis.findings
        ],
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


# ---- the parts, which the page uses too ------------------------------------------------------


def heading(specimen: Specimen) -> str:
    """Where it is and what it was taken for."""
    name = f"{specimen.source}, {specimen.protocol}" if specimen.protocol else specimen.source
    return f"{specimen.path or 'data set'}: {name} ({specimen.why})"


def what_is_there(specimen: Specimen) -> str:
    """Images, their sizes and subjects in one line."""
    found = sizes(specimen)
    shown = ", ".join(
        f"{w} x {h} px" + (f" ({n:,})" if len(found) > 1 else "") for h, w, n in found[:_N_SIZES]
    )
    if len(found) > _N_SIZES:
        shown += f" and {len(found) - _N_SIZES:,} other sizes"
    parts = [f"{len(specimen.dataset):,} images of {shown}"]
    if n_subjects(specimen) is not None:
        parts.append(f"{n_subjects(specimen):,} subjects")
    if specimen.unreadable:
        parts.append(f"{len(specimen.unreadable):,} files that cannot be read")
    if specimen.votes is not None:
        parts.append("FER+'s votes for each row")
    return "; ".join(parts)


def sizes(specimen: Specimen) -> list[tuple[int, int, int]]:
    """(height, width, how many images), most frequent first."""
    found, counts = np.unique(specimen.sizes, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [(int(h), int(w), int(n)) for (h, w), n in zip(found[order], counts[order])]


def n_subjects(specimen: Specimen) -> int | None:
    subjects = specimen.dataset.subjects
    return None if subjects is None else len(set(subjects.tolist()))


def class_table(specimen: Specimen) -> list[list[Any]]:
    """Header, then a row for each class: its name, images by split and in all, and published.

    Columns that say nothing are left out; [] without labels.
    """
    dataset, labels = specimen.dataset, own_labels(specimen)
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
    published = specimen.published
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
