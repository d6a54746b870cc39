"""Small charts as inline SVG, and pictures as PNG data URIs.

The functions return markup for a page whose CSS sets the colours of the classes `run0`, `run1`,
..., `grid`, `axis` and `leader`; without it the charts are complete, in the browser's default
colours.  Every text that is passed in is escaped here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..ground.html_page import escape, png

N_RUN_COLOURS = 6
_DASHES = ("none", "7 3", "2 3", "9 3 2 3")
_CHARACTER_PX = 7.0  # mean width of a bold character in the labels, whose font size is 12 px
_TICK_GAP_PX = 18.0  # least space from one temperature to the next
_LINE_PX = 13.5  # from one line of a label to the next


@dataclass(frozen=True)
class Axis:
    """Maps values low..high to pixels start_px..end_px; linear or logarithmic, with round ticks."""

    low: float
    high: float
    start_px: float
    end_px: float
    ticks: tuple[float, ...]
    log: bool = False

    def px(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.start_px + (value - low) / (high - low) * (self.end_px - self.start_px)


def round_ticks(low: float, high: float, n_steps: int = 5, integer: bool = False) -> list[float]:
    """Multiples of a step, 1, 2 or 5 times a power of ten, that reach from `low` to `high`.

    There are about n_steps steps.  integer: the step is at least 1.  Expects finite low < high.
    """
    rough = (high - low) / n_steps
    scale = 10.0 ** math.floor(math.log10(rough))
    step = next(m * scale for m in (1, 2, 5, 10) if m * scale >= rough * (1 - 1e-9))
    if integer:
        step = max(1.0, step)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(i * step, 12 - math.floor(math.log10(step))) for i in range(first, last + 1)]


def value_axis(values: Sequence[float], start_px: float, end_px: float) -> Axis:
    """An axis around finite values; logarithmic if all are positive and span a factor of 20 to 1e8.

    (The loss of the first epoch may be a hundred times that of the last.  On a linear axis most of
    the curve would then lie at the bottom.)
    """
    low, high = min(values), max(values)
    if low > 1e-300 and 20 * low < high <= 1e8 * low:
        return _log_axis(low, high, start_px, end_px)
    largest = max(abs(low), abs(high))
    if high - low <= max(1e-9 * largest, 1e-200):
        around = 0.05 * largest if largest > 1e-190 else 1.0
        low, high = low - around, high + around
    ticks = round_ticks(low, high)
    return Axis(ticks[0], ticks[-1], start_px, end_px, tuple(ticks))


def _log_axis(low: float, high: float, start_px: float, end_px: float) -> Axis:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    multiples = (1, 2, 5) if high / low < 1e4 else (1,)
    grid = [m * 10.0**d for d in decades for m in multiples]
    first = max(tick for tick in grid if tick <= low * (1 + 1e-9))
    last = min((tick for tick in grid if tick >= high * (1 - 1e-9)), default=grid[-1])
    ticks = tuple(tick for tick in grid if first <= tick <= last)
    return Axis(first, last, start_px, end_px, ticks, log=True)


def epoch_axis(epochs: Sequence[float], start_px: float, end_px: float) -> Axis:
    """An axis over the epochs with ticks at whole epochs; a single epoch is in the middle."""
    low, high = min(epochs), max(epochs)
    if low == high:
        return Axis(low - 1, high + 1, start_px, end_px, (low,))
    ticks = [tick for tick in round_ticks(low, high, integer=True) if low <= tick <= high]
    return Axis(low, high, start_px, end_px, tuple(ticks))


def temperature_axis(temperatures: Sequence[float], start_px: float, end_px: float) -> Axis:
    """A logarithmic axis with a tick at each temperature, but none close to the tick before."""
    values = sorted(set(temperatures))
    if len(values) == 1:
        return Axis(values[0] / 2, values[0] * 2, start_px, end_px, (values[0],), log=True)
    axis = Axis(values[0], values[-1], start_px, end_px, (), log=True)
    ticks = [values[0]]
    for value in values[1:]:
        if axis.px(value) - axis.px(ticks[-1]) >= _TICK_GAP_PX:
            ticks.append(value)
    return replace(axis, ticks=tuple(ticks))


@dataclass(frozen=True)
class XAxis:
    """What lies along x: its name, and the axis that `make` returns for values and the pixels of
    both ends."""

    name: str
    make: Callable[[Sequence[float], float, float], Axis]


EPOCHS = XAxis("epoch", epoch_axis)
TEMPERATURES = XAxis("temperature", temperature_axis)


@dataclass(frozen=True)
class Series:
    """One line: y over x.  NaN in y is a gap.  mark: index of the point with a ring, or None."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    mark: int | None = None

    def points(self) -> list[tuple[float, float]]:
        return [(x, y) for x, y in zip(self.x, self.y) if math.isfinite(y)]


def line_chart(
    chart_id: str,
    title: str,
    description: str,
    series: Sequence[Series],
    y_unit: str,
    percent: bool = False,
    width_px: int = 360,
    x: XAxis = EPOCHS,
) -> str:
    """Lines with a label at the end of each; '' if no series has a finite point.

    chart_id  a name that is unique on the page.  percent: values are 0..1, ticks are in percent
    Series n has the colour and dashes of run n, even if earlier series are empty.
    """
    drawn = [(n, s, s.points()) for n, s in enumerate(series) if s.points()]
    if not drawn:
        return ""
    points = [point for _, _, own in drawn for point in own]
    labels = [_label_lines(s.name, n_lines=2 if len(drawn) <= 4 else 1) for _, s, _ in drawn]
    label_px = _LINE_PX * max(map(len, labels)) + 2
    height_px = round(max(250, 70 + label_px * len(drawn)))
    right = width_px - 10 - _CHARACTER_PX * max(len(line) for label in labels for line in label)
    top, bottom = 30, height_px - 40
    x_axis = x.make([at for at, _ in points], 40, right)
    y_axis = value_axis([y for _, y in points], bottom, top)

    unit = y_unit + (", log scale" if y_axis.log else "")
    parts = [f'<text class="unit" x="0" y="12">{escape(unit)}</text>']
    for tick in y_axis.ticks:
        y = y_axis.px(tick)
        text = f"{100 * tick if percent else tick:.6g}"
        parts.append(f'<line class="grid" x1="40" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="33" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    parts.append(f'<line class="axis" x1="40" x2="{right:.1f}" y1="{bottom}" y2="{bottom}"/>')
    for tick in x_axis.ticks:
        tick_x = f"{x_axis.px(tick):.1f}"
        parts.append(
            f'<line class="axis" x1="{tick_x}" x2="{tick_x}" y1="{bottom}" y2="{bottom + 4}"/>'
            f'<text x="{tick_x}" y="{bottom + 18}" text-anchor="middle">{tick:g}</text>'
        )
    parts.append(
        f'<text class="unit" x="{(40 + right) / 2:.1f}" y="{bottom + 35}" '
        f'text-anchor="middle">{escape(x.name)}</text>'
    )
    ends = [(x_axis.px(own[-1][0]), y_axis.px(own[-1][1])) for _, _, own in drawn]
    heights = _spread([y for _, y in ends], label_px, top, bottom)
    for (n, one, _), label, (end_x, end_y), label_y in zip(drawn, labels, ends, heights):
        parts.append(_line(n, one, x_axis, y_axis))
        if math.hypot(right + 6 - end_x, label_y - end_y) > 9:
            parts.append(
                f'<line class="leader run{n % N_RUN_COLOURS}" x1="{end_x + 3:.1f}" '
                f'y1="{end_y:.1f}" x2="{right + 6:.1f}" y2="{label_y:.1f}"/>'
            )
        first_y = label_y + 4 - _LINE_PX * (len(label) - 1) / 2
        lines = "".join(
            f'<tspan x="{right + 9:.1f}" y="{first_y + i * _LINE_PX:.1f}">{escape(line)}</tspan>'
            for i, line in enumerate(label)
        )
        parts.append(f'<text class="label run{n % N_RUN_COLOURS}">{lines}</text>')
    return (
        f'<svg class="chart" viewBox="0 0 {width_px} {height_px}" role="img" '
        f'aria-labelledby="{chart_id}-title {chart_id}-desc">'
        f'<title id="{chart_id}-title">{escape(title)}</title>'
        f'<desc id="{chart_id}-desc">{escape(description)}</desc>' + "".join(parts) + "</svg>"
    )


def _line(n: int, series: Series, x_axis: Axis, y_axis: Axis) -> str:
    """A path with a gap at every NaN, a dot for each point without neighbours, and the ring."""
    pieces: list[list[tuple[str, str]]] = [[]]  # the points between gaps
    for x, y in zip(series.x, series.y):
        if math.isfinite(y):
            pieces[-1].append((f"{x_axis.px(x):.1f}", f"{y_axis.px(y):.1f}"))
        else:
            pieces.append([])
    paths = ["M" + " L".join(map(",".join, piece)) for piece in pieces if len(piece) > 1]
    parts = []
    if paths:
        dash = _DASHES[n % len(_DASHES)]
        parts.append(f'<path class="line" d="{" ".join(paths)}" stroke-dasharray="{dash}"/>')
    for ((dot_x, dot_y),) in (piece for piece in pieces if len(piece) == 1):
        parts.append(f'<circle class="dot" cx="{dot_x}" cy="{dot_y}" r="2.5"/>')
    if series.mark is not None:
        x, y = x_axis.px(series.x[series.mark]), y_axis.px(series.y[series.mark])
        parts.append(f'<circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>')
    return f'<g class="run{n % N_RUN_COLOURS}">' + "".join(parts) + "</g>"


def _spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions close to the wanted ones, but `gap` apart, or less if low..high is too short."""
    if len(wanted) > 1:
        gap = min(gap, (high - low) / (len(wanted) - 1))
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = [0.0] * len(wanted)
    floor = low
    for i in order:
        placed[i] = max(wanted[i], floor)
        floor = placed[i] + gap
    ceiling = high
    for i in reversed(order):
        placed[i] = min(placed[i], ceiling)
        ceiling = placed[i] - gap
    return placed


def _label_lines(name: str, n_lines: int, n_characters: int = 17) -> list[str]:
    """`name` on one line, or on two if that is narrower.  Lines that are too long end in "…"."""
    spaces = [i for i, character in enumerate(name) if character == " "]
    lines = [name]
    if n_lines == 2 and len(name) > 8 and spaces:
        middle = min(spaces, key=lambda i: max(i, len(name) - 1 - i))
        lines = [name[:middle], name[middle + 1 :]]
    return [x if len(x) <= n_characters else x[: n_characters - 1] + "…" for x in lines]


def share_bar(description: str, share: float, low: float, high: float) -> str:
    """A bar that fills the fraction `share` of the width, with a thin line from low to high."""
    ends = f'x1="{100 * low:.2f}%" x2="{100 * high:.2f}%" y1="8" y2="8"'
    return (
        '<svg class="bar" width="100%" height="16" role="img">'
        f"<title>{escape(description)}</title>"
        '<rect class="track" x="0" y="3" width="100%" height="10" rx="2"/>'
        f'<rect class="run0" x="0" y="3" width="{100 * share:.2f}%" height="10" rx="2"/>'
        f'<line class="halo" {ends}/><line class="whisker" {ends}/>'
        "</svg>"
    )


def thumbnail(grey: np.ndarray, longest_px: int = 192) -> bytes:
    """uint8 (H, W) as a PNG file, scaled down so that no side exceeds longest_px."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(grey))
    image.thumbnail((longest_px, longest_px))
    return png(image)


def filter_pictures(w: np.ndarray) -> list[np.ndarray]:
    """Filters (KH, KW, C, F) as F uint8 pictures (C * (KH + 1) - 1, KW).

    The channels are below each other, separated by white lines.  Mid-grey (128) is 0; the filter's
    largest |w| is black (1) or white (255).  A weight that is not finite is drawn as 0.
    """
    w = np.where(np.isfinite(w), w, 0.0).astype(np.float64)
    KH, KW, C, F = w.shape
    largest = np.abs(w).max(axis=(0, 1, 2))
    grey = np.rint(128 + 127 * (w / np.where(largest, largest, 1.0)))
    sheets = np.full((F, C, KH + 1, KW), 255, np.uint8)
    sheets[:, :, :KH] = grey.transpose(3, 2, 0, 1)
    return list(sheets.reshape(F, C * (KH + 1), KW)[:, :-1])
