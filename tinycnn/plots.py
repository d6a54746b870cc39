"""Figures of a study: accuracy by size and temperature, confusions, reliability, speed.

Each function takes plain numbers and returns a matplotlib Figure with a canvas of its own: pyplot
is not imported, no window is opened, nothing global is changed.  `png(figure)` gives the file.
Needs the extra `plots`.

An estimate is (mean, half_width) of a 95 % interval, in % or points; a half_width that is not
finite is not drawn.  Colours are those of Okabe and Ito, which the colour-blind tell apart;
markers, dashes and hatches say the same again.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Estimate = tuple[float, float]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_MARKERS, _DASHES = "osD^vPX", ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)), "-")
_HATCHES = ("", "////", "....", "\\\\\\\\")
_WIDTH_IN, _HEIGHT_IN = 7.0, 3.6
_INK, _GRID = "#222222", "#d9d9d9"
_TEXT, _SMALL = 10, 8.5


class PlotsError(ImportError):
    """matplotlib is missing; the message names the extra."""


def distillation_by_size(
    sizes: Sequence[str],
    without: Sequence[Estimate],
    taught: Sequence[Estimate],
    others: Mapping[str, Sequence[Estimate]] | None = None,
) -> Figure:
    """Bars by size, without a teacher beside with one.

    others: name -> (without, with) for each size, as marks over the two bars: the paper's figures.
    """
    figure, (axes,) = _figure()
    places = np.arange(len(sizes))
    for k, (name, values) in enumerate((("no teacher", without), ("distilled", taught))):
        _bars(axes, places + (k - 0.5) * 0.36, 0.34, values, name, k)
    for k, (name, pairs) in enumerate((others or {}).items()):
        x = np.concatenate([places - 0.18, places + 0.18])
        y = [pair[0] for pair in pairs] + [pair[1] for pair in pairs]
        _marks(axes, x, y, name, k)
    axes.set_xticks(places, sizes)
    axes.set_xlabel("size of the network")
    _percent_axis(axes)
    _legend(axes)
    return figure


def accuracy_by_temperature(
    temperatures: Sequence[float],
    by_size: Mapping[str, Sequence[Estimate]],
    without: Mapping[str, float] | None = None,
    others: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
) -> Figure:
    """Lines over the temperature (on a logarithmic axis), one a size.

    without  accuracy without a teacher by size: a thin level line in the size's colour
    others   panels below, name -> lines without intervals: the paper's figures
    """
    panels = {"": by_size, **(others or {})}
    figure, all_axes = _figure(len(others) if others else 1, 2 if others else 1, wide_first=True)
    sizes = list(by_size)
    for axes, (title, lines) in zip(all_axes, panels.items()):
        for k, size in enumerate(sizes):
            if size not in lines:
                continue
            values = [v if isinstance(v, tuple) else (v, math.nan) for v in lines[size]]
            # a little apart, so that the intervals of several sizes stand beside each other
            x = np.asarray(temperatures) * 1.025 ** (k - (len(sizes) - 1) / 2)
            _line(axes, x, values, size, k)
            if not title and without and size in without:
                axes.axhline(without[size], color=COLOURS[k], linewidth=0.9, linestyle=_DASHES[k])
        axes.set_xscale("log", base=2)
        axes.set_xticks(temperatures, [f"{t:g}" for t in temperatures])
        axes.minorticks_off()
        axes.set_xlabel("temperature")
        _title(axes, title or ("ours" if others else ""))
        _percent_axis(axes, first=axes in all_axes[:2])
    if without:
        all_axes[0].plot([], [], color=_INK, linewidth=0.9, label="level: no teacher")
    _legend(all_axes[0])
    return figure


def candidates_by_size(
    sizes: Sequence[str],
    panels: Mapping[str, Mapping[str, Sequence[Estimate]]],
    others: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
) -> Figure:
    """Lines over the size, one a variant: a panel for each split.

    others: panels of numbers without intervals, in a second row: the paper's figures.
    """
    rows = [panels, *([others] if others else [])]
    n_columns = max(map(len, rows))
    figure, all_axes = _figure(n_columns, len(rows))
    for r, row in enumerate(rows):
        axes_of_row = all_axes[r * n_columns : (r + 1) * n_columns]
        for axes in axes_of_row[len(row) :]:
            axes.set_axis_off()
        for axes, (title, lines) in zip(axes_of_row, row.items()):
            for k, (variant, given) in enumerate(lines.items()):
                values = [v if isinstance(v, tuple) else (v, math.nan) for v in given]
                places = np.arange(len(sizes)) + 0.05 * (k - (len(lines) - 1) / 2)
                _line(axes, places, values, variant, k)
            axes.set_xticks(np.arange(len(sizes)), sizes)
            axes.margins(x=0.12)
            if r == len(rows) - 1:
                axes.set_xlabel("size of the network")
            _title(axes, title)
            _percent_axis(axes, first=axes is axes_of_row[0])
    _legend(all_axes[0])
    return figure


def confusions(classes: Sequence[str], panels: Mapping[str, np.ndarray]) -> Figure:
    """Matrices (K, K) of counts, shaded and lettered in % of each row; rows are the truth."""
    shares = {}
    for name, counts in panels.items():
        totals = np.maximum(np.asarray(counts).sum(axis=1, keepdims=True), 1)
        shares[name] = 100 * np.asarray(counts) / totals
    return _matrices(classes, shares, "Blues", 0, 100, "% of the class", "{:.0f}")


def confusion_change(classes: Sequence[str], before: np.ndarray, after: np.ndarray) -> Figure:
    """Points that each cell changed by, in % of its row: off the diagonal less is better."""
    shares = [
        100 * np.asarray(c) / np.maximum(np.asarray(c).sum(axis=1, keepdims=True), 1)
        for c in (before, after)
    ]
    change = shares[1] - shares[0]
    most = max(float(np.abs(change).max()), 1.0)
    return _matrices(classes, {"": change}, "PuOr_r", -most, most, "points", "{:+.0f}")


def reliability(
    panels: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]], n_bins: int = 10
) -> Figure:
    """Share right against confidence: panels of lines name -> (confidence (N,), right (N,)), 0..1.

    On the diagonal a network is right as often as it says; below it, it is too sure.  Marks grow
    with the number of images in their bin.
    """
    figure, all_axes = _figure(len(panels))
    for axes, (title, lines) in zip(all_axes, panels.items()):
        axes.plot([0, 100], [0, 100], color=_INK, linewidth=0.9, linestyle="--")
        for k, (name, (confidence, right)) in enumerate(lines.items()):
            x, y, counts = _binned(np.asarray(confidence, float), np.asarray(right, float), n_bins)
            look = dict(color=COLOURS[k % len(COLOURS)])
            axes.plot(x, y, linewidth=1.2, linestyle=_DASHES[k % len(_DASHES)], **look)
            axes.scatter(
                *(x, y),
                s=14 + 140 * counts / counts.max(initial=1),
                marker=_MARKERS[k % len(_MARKERS)],
                edgecolor="white",
                zorder=3,
                label=name,
                **look,
            )
        axes.set(xlim=(0, 100), ylim=(0, 100), aspect="equal")
        axes.set_xlabel("confidence, %")
        if axes is all_axes[0]:
            axes.set_ylabel("right, % of images")
        _title(axes, title)
    _legend(all_axes[0])
    return figure


def time_by_size(
    sizes: Sequence[str],
    ours_us: Sequence[tuple[float, float, float]],
    others_us: Mapping[str, Any],
) -> Figure:
    """Bars of microseconds an image (median, lowest, highest) beside others' (numbers)."""
    figure, (axes,) = _figure()
    places = np.arange(len(sizes))
    n = 1 + len(others_us)
    width = 0.8 / n
    middle, low, high = (np.array(column, float) for column in zip(*ours_us))
    rows = [("this engine", middle), *((name, np.array(v, float)) for name, v in others_us.items())]
    for k, (name, values) in enumerate(rows):
        x = places + (k - (n - 1) / 2) * width
        axes.bar(
            *(x, values, width * 0.94),
            label=name,
            color=COLOURS[k],
            hatch=_HATCHES[k],
            edgecolor="white",
        )
        for place, value, top in zip(x, values, values if k else high):
            axes.annotate(
                f"{value:,.0f}",
                (place, top),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                fontsize=_SMALL,
            )
    axes.errorbar(
        *(places - (n - 1) / 2 * width, middle, [middle - low, high - middle]),
        fmt="none",
        ecolor=_INK,
        capsize=2.5,
        linewidth=1,
    )
    axes.set_xticks(places, sizes)
    axes.set_xlabel("size of the network")
    axes.set_ylabel("time an image, µs")
    axes.set_ylim(bottom=0)
    axes.margins(y=0.12)
    _legend(axes)
    return figure


def png(figure: Figure, dpi: int = 150) -> bytes:
    """The figure as a PNG file; the same figure gives the same bytes."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi, metadata={"Software": None})
    return file.getvalue()


# ---- pieces ----------------------------------------------------------------------------------


def _figure(
    n_columns: int = 1, n_rows: int = 1, wide_first: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure as wide as a page's text, and its axes row by row; wide_first: the first row is one
    panel."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PlotsError(
            f'figures need matplotlib: pip install "tinycnn[plots]" ({error})'
        ) from None
    figure = Figure(figsize=(_WIDTH_IN, _HEIGHT_IN * n_rows * (1 if n_rows == 1 else 0.85)))
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained")
    grid = figure.add_gridspec(n_rows, n_columns)
    cells = [(r, c) for r in range(n_rows) for c in range(n_columns)]
    if wide_first:
        cells = [(0, slice(None)), *((r, c) for r, c in cells if r)]
    axes = [figure.add_subplot(grid[cell]) for cell in cells]
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(axis="y", color=_GRID, linewidth=0.7)
        one.set_axisbelow(True)
        one.tick_params(labelsize=_SMALL)
        one.xaxis.label.set_size(_TEXT)
        one.yaxis.label.set_size(_TEXT)
    return figure, axes


def _binned(x: np.ndarray, y: np.ndarray, n_bins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means in % of x and y, and the counts, in bins of x of equal width that are not empty."""
    bins = np.clip(np.ceil(x * n_bins).astype(int) - 1, 0, n_bins - 1)
    counts = np.bincount(bins, minlength=n_bins)
    has = counts > 0
    means = [100 * np.bincount(bins, v, n_bins)[has] / counts[has] for v in (x, y)]
    return means[0], means[1], counts[has]


def _errors(values: Sequence[Estimate]) -> list[float]:
    return [half if math.isfinite(half) else 0.0 for _, half in values]


def _bars(
    axes: Axes, places: np.ndarray, width: float, values: Sequence[Estimate], name: str, k: int
) -> None:
    means = [mean for mean, _ in values]
    axes.bar(
        *(places, means, width),
        label=name,
        color=COLOURS[k],
        hatch=_HATCHES[k],
        edgecolor="white",
    )
    _whiskers(axes, places, values, _INK)


def _line(axes: Axes, x: np.ndarray, values: Sequence[Estimate], name: str, k: int) -> None:
    look = dict(color=COLOURS[k % len(COLOURS)], marker=_MARKERS[k % len(_MARKERS)])
    axes.plot(
        *(x, [mean for mean, _ in values]),
        label=name,
        linestyle=_DASHES[k % len(_DASHES)],
        linewidth=1.5,
        markersize=5,
        **look,
    )
    _whiskers(axes, x, values, look["color"])


def _whiskers(axes: Axes, x: np.ndarray, values: Sequence[Estimate], colour: str) -> None:
    errors = _errors(values)
    if any(errors):
        means = [mean for mean, _ in values]
        axes.errorbar(x, means, errors, fmt="none", ecolor=colour, capsize=2.5, linewidth=1)


def _marks(axes: Axes, x: np.ndarray, y: Sequence[float], name: str, k: int) -> None:
    look = dict(marker="Dv"[k % 2], s=34, color="white", edgecolor=_INK, linewidth=1.2, zorder=4)
    axes.scatter(x, y, label=name, **look)


def _percent_axis(axes: Axes, first: bool = True) -> None:
    """Whole steps round the values, not from 0: what matters are a few points."""
    if first:
        axes.set_ylabel("accuracy, % of images")
    if axes.patches:  # bars that do not start at 0 would lie about ratios
        axes.set_ylim(0, 100)
        return
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -1), min(high, 101))


def _title(axes: Axes, text: str) -> None:
    if text:
        axes.set_title(text, fontsize=_TEXT, color=_INK)


def _legend(axes: Axes) -> None:
    """Above the axes, where it covers nothing."""
    handles, labels = axes.get_legend_handles_labels()
    axes.figure.legend(
        *(handles, labels),
        loc="outside upper center",
        ncols=min(len(labels), 5),
        fontsize=_SMALL,
        frameon=False,
    )


def _matrices(
    classes: Sequence[str],
    panels: Mapping[str, np.ndarray],
    colours: str,
    low: float,
    high: float,
    unit: str,
    form: str,
) -> Figure:
    figure, all_axes = _figure(len(panels))
    figure.set_size_inches(_WIDTH_IN, 4.0)
    for axes, (title, values) in zip(all_axes, panels.items()):
        image = axes.imshow(values, cmap=colours, vmin=low, vmax=high)
        axes.grid(False)
        axes.set_xticks(range(len(classes)), classes, rotation=90)
        axes.set_yticks(range(len(classes)), classes)
        axes.set_xlabel("said")
        if axes is all_axes[0]:
            axes.set_ylabel("truth")
        else:
            axes.set_yticklabels([])
        for (row, column), value in np.ndenumerate(values):
            text = form.format(value)
            if text in ("0", "+0", "-0"):
                continue
            red, green, blue, _ = image.cmap(image.norm(value))
            dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
            colour = "white" if dark else _INK
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
        _title(axes, title)
    bar = figure.colorbar(image, ax=all_axes, shrink=0.8)
    bar.set_label(unit, size=_SMALL)
    bar.ax.tick_params(labelsize=_SMALL)
    return figure
