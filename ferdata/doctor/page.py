"""The result of a check as one html page: counts, findings with their images, contact sheets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ferdata.doctor.checks import Finding
from ferdata.doctor.html_page import page, picture
from ferdata.doctor.inspected_dataset import InspectedDataset
from ferdata.doctor.teacher import Teacher
from ferdata.doctor.text import about_teacher, class_table, contents, heading
from ferdata.image_grid import by_class, grid, in_shape, spread
from tinycnn.ground.html_page import escape, section, table

N_GROUPS = 12
"""Most groups of images shown for one finding; the JSON has all of them."""

N_PER_CLASS, N_COLUMNS, TILE_PX = 40, 20, 48
_N_IN_GROUP = 4
_SHOWN_PX = 96


def as_html(
    inspected: InspectedDataset, findings: Sequence[Finding], teachers: Sequence[Teacher]
) -> str:
    """The page. It is also well-formed XML, and depends on the arguments alone."""
    parts = [_head(inspected, len(findings))]
    if findings:
        items = "\n".join(f"<li>{escape(f.message)}</li>" for f in findings)
        parts.append(section("Findings", "", f'<ol class="findings">\n{items}\n</ol>'))
    parts.append(_counts(inspected, teachers))
    shown = [_pictures(inspected, f) for f in findings if f.indices]
    if shown:
        lede = f"At most {N_GROUPS} of each; <code>--json</code> lists all of them."
        parts.append(section("What the findings look like", lede, *shown))
    parts.append(_sheets(inspected))
    parts.append("<footer>Written by ferdata check.</footer>")
    return page(f"Data set check: {inspected.path or inspected.source}", "\n".join(parts))


def _head(inspected: InspectedDataset, n: int) -> str:
    """Name of the data set, number of findings, what is in it."""
    verdict = f"{n} finding{'s' * (n != 1)}" if n else "Nothing suspicious"
    notes = "".join(f"<br/>Note: {escape(note)}" for note in inspected.dataset.notes)
    name = inspected.path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] or inspected.source
    return (
        '<header>\n<p class="eyebrow">Data set check</p>\n'
        f"<h1>{escape(name)}</h1>\n"
        f'<p class="verdict {"bad" if n else "good"}">{verdict}</p>\n'
        f'<p class="lede">{escape(heading(inspected))}<br/>{escape(contents(inspected))}'
        f"{notes}</p>\n"
        "</header>"
    )


def _counts(inspected: InspectedDataset, teachers: Sequence[Teacher]) -> str:
    """The table of images by class, and a line on each teacher."""
    content = []
    counts = class_table(inspected)
    if counts:
        header, *rows = counts
        cells = [[escape(row[0]), *_cells(row[1:], "published" in header)] for row in rows]
        content.append(table("counts", [escape(name) for name in header], cells))
    for teacher in teachers:
        path, about = escape(teacher.path), escape(about_teacher(teacher))
        content.append(f'<p>Teacher <span class="code">{path}</span>: {about}.</p>')
    return section("Contents", "" if counts else "Images without labels.", *content)


def _cells(counts: list[str | int], has_published: bool) -> list[str]:
    """The counts as markup. The last but one is marked if it is not the published one, the last."""
    cells = [f"{n:,}" if isinstance(n, int) else escape(n) for n in counts]
    if has_published and counts[-1] not in ("", counts[-2]):
        cells[-2] = f'<span class="off">{cells[-2]}</span>'
    return cells


def _pictures(inspected: InspectedDataset, finding: Finding) -> str:
    """The images of a finding."""
    single = all(len(group) == 1 for group in finding.indices)
    groups = [finding.indices[i] for i in spread(len(finding.indices), N_GROUPS)]
    items = "\n".join(f"<li>{_group(inspected, group)}</li>" for group in groups)
    title = escape(finding.kind.replace("-", " ").capitalize())
    number = f"<small>{len(groups):,} of {len(finding.indices):,}</small>"
    kind = "groups single" if single else "groups"
    return f'<h3>{title} {number}</h3>\n<ul class="{kind}">\n{items}\n</ul>'


def _group(inspected: InspectedDataset, group: tuple[int, ...]) -> str:
    """The first images of a group side by side, with captions below."""
    images = "".join(_image(inspected, i) for i in group[:_N_IN_GROUP])
    captions = "".join(
        f"<small>{escape(_caption(inspected, i))}</small>" for i in group[:_N_IN_GROUP]
    )
    more = len(group) - _N_IN_GROUP
    captions += f"<small>and {more} more</small>" if more > 0 else ""
    return f'<div class="pair">{images}</div>{captions}'


def _image(inspected: InspectedDataset, i: int) -> str:
    height, width = inspected.sizes[i].tolist()
    image = inspected.dataset.images[i]
    shown = in_shape(image, height, width, min(_SHOWN_PX, max(image.shape)))
    return picture(shown, str(inspected.dataset.ids[i]))


def _caption(inspected: InspectedDataset, i: int) -> str:
    dataset = inspected.dataset
    parts = [str(dataset.ids[i])]
    if dataset.split is not None:
        parts.append(str(dataset.split[i]))
    if dataset.subjects is not None:
        parts.append(str(dataset.subjects[i]))
    if dataset.known_labels is not None:
        label = dataset.known_labels[i]
        parts.append(dataset.classes[label] if label >= 0 else "no label")
    return ", ".join(parts)


def _sheets(inspected: InspectedDataset) -> str:
    """A contact sheet of each class."""
    content = []
    for name, members in by_class(inspected.dataset):
        chosen = members[spread(len(members), N_PER_CLASS)]
        title = escape(name or "all images")
        number = f"<small>{len(chosen):,} of {len(members):,}</small>"
        content.append(f"<h3>{title} {number}</h3>")
        if len(chosen):
            sheet = grid(tiles(inspected, chosen, TILE_PX), N_COLUMNS)
            content.append(picture(sheet, f"{len(chosen)} images: {name or 'all'}", "sheet"))
    return section("Contact sheets", "Spread evenly over the data set.", *content)


def tiles(inspected: InspectedDataset, which: np.ndarray, size_px: int) -> np.ndarray:
    """uint8 (n, size_px, size_px): images in their original proportions, centred on white.

    which  their indices
    """
    out = np.full((len(which), size_px, size_px), 255, np.uint8)
    for tile, i in zip(out, which.tolist()):
        height, width = inspected.sizes[i].tolist()
        image = in_shape(inspected.dataset.images[i], height, width, size_px)
        top, left = (size_px - image.shape[0]) // 2, (size_px - image.shape[1]) // 2
        tile[top : top + image.shape[0], left : left + image.shape[1]] = image
    return out
