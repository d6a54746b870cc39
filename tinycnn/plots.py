"""Figures: accuracy by size and temperature, confusions, reliability, speed, any curves.

Each function takes plain numbers and returns a matplotlib Figure; `png(figure)` makes a file of it.
pyplot is not imported, so no window opens and no global setting changes.  Needs the extra `plots`.

An estimate is (mean, half_width) of a 95 % interval, in % or points; a half_width that is not
finite is not drawn.  The colours are those of Okabe and Ito, which colour-blind people can tell
apart.  Lines and bars also differ in markers, dashes and hatches.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Estimate = tuple[float, float]
Numbers = Sequence[float] | np.ndarray

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_MARKERS, _DASHES = "osD^vPX", ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)), "-")
_HATCHES = ("", "////", "....", "\\\\\\\\")
_WIDTH_IN, _HEIGHT_IN = 7.0, 3.6
_INK, _GRID = "#222222", "#d9d9d9"
_TEXT, _SMALL = 10, 8.5


class PlotsError(ImportError):
    """matplotlib is missing.  The message says how to install it."""


def distillation_by_size(
    sizes: Sequence[str],
    without: Sequence[Estimate],
    distilled: Sequence[Estimate],
    others: Mapping[str, Sequence[Estimate]] | None = None,
) -> Figure:
    """Two bars for each size: without a teacher and with one.

    others  other results, such as the paper's: name -> (without, with) for each size, as markers
    """
    figure, (axes,) = _figure()
    places = np.arange(len(sizes))
    for k, (name, values) in enumerate((("no teacher", without), ("distilled", distilled))):
        x = places + (k - 0.5) * 0.36
        _bars(axes, x, 0.34, [mean for mean, _ in values], name, k)
        _whiskers(axes, x, values, _INK)
    for k, (name, pairs) in enumerate((others or {}).items()):
        x = np.concatenate([places - 0.18, places + 0.18])
        y = [pair[0] for pair in pairs] + [pair[1] for pair in pairs]
        axes.scatter(
            x,
            y,
            label=name,
            marker="Dv"[k % 2],
            s=34,
            color="white",
            edgecolor=_INK,
            linewidth=1.2,
            zorder=4,
        )
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
    """A line for each size over the temperature, which has a logarithmic axis.

    without  accuracy without a teacher by size: thin horizontal lines in the same colours
    others   other results, such as the paper's: name -> lines without intervals, in panels below
    """
    panels: dict[str, Mapping[str, Sequence[Estimate | float]]] = {"": by_size, **(others or {})}
    figure, all_axes = _figure(len(others) if others else 1, 2 if others else 1, wide_first=True)
    sizes = list(by_size)
    for axes, (title, lines) in zip(all_axes, panels.items()):
        for k, size in enumerate(sizes):
            if size not in lines:
                continue
            # moved apart a little, so that the intervals of the sizes do not cover each other
            x = np.asarray(temperatures) * 1.025 ** (k - (len(sizes) - 1) / 2)
            _line(axes, x, lines[size], size, k)
            if not title and without and size in without:
                axes.axhline(without[size], color=COLOURS[k], linewidth=0.9, linestyle=_DASHES[k])
        axes.set_xscale("log", base=2)
        axes.set_xticks(temperatures, [f"{t:g}" for t in temperatures])
        axes.minorticks_off()
        axes.set_xlabel("temperature")
        axes.set_title(title or ("ours" if others else ""), fontsize=_TEXT, color=_INK)
        _percent_axis(axes, first=axes in all_axes[:2])
    if without:
        all_axes[0].plot([], [], color=_INK, linewidth=0.9, label="horizontal: no teacher")
    _legend(all_axes[0])
    return figure


def candidates_by_size(
    sizes: Sequence[str],
    panels: Mapping[str, Mapping[str, Sequence[Estimate]]],
    others: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
) -> Figure:
    """A line for each variant over the size, in a panel for each split.

    others  other results, such as the paper's: panels of lines without intervals, in a second row
    """
    rows: list[Mapping[str, Mapping[str, Sequence[Estimate | float]]]] = [panels]
    rows += [others] if others else []
    n_columns = max(map(len, rows))
    figure, all_axes = _figure(n_columns, len(rows))
    for r, row in enumerate(rows):
        axes_of_row = all_axes[r * n_columns : (r + 1) * n_columns]
        for axes in axes_of_row[len(row) :]:
            axes.set_axis_off()
        for axes, (title, lines) in zip(axes_of_row, row.items()):
            for k, (variant, values) in enumerate(lines.items()):
                places = np.arange(len(sizes)) + 0.05 * (k - (len(lines) - 1) / 2)
                _line(axes, places, values, variant, k)
            axes.set_xticks(np.arange(len(sizes)), sizes)
            axes.margins(x=0.12)
            if r == len(rows) - 1:
                axes.set_xlabel("size of the network")
            axes.set_title(title, fontsize=_TEXT, color=_INK)
            _percent_axis(axes, first=axes is axes_of_row[0])
    _legend(all_axes[0])
    return figure


def confusions(classes: Sequence[str], panels: Mapping[str, np.ndarray]) -> Figure:
    """Confusion matrices from counts (K, K), in % of each row; rows are the true classes."""
    shares = {name: _percent_of_rows(counts) for name, counts in panels.items()}
    return _matrices(classes, shares, "Blues", 0, 100, "% of the class", "{:.0f}")


def confusion_change(classes: Sequence[str], before: np.ndarray, after: np.ndarray) -> Figure:
    """The change of each cell in points, in % of its row; off the diagonal, negative is better."""
    change = _percent_of_rows(after) - _percent_of_rows(before)
    most = max(float(np.abs(change).max()), 1.0)
    return _matrices(classes, {"": change}, "PuOr_r", -most, most, "points", "{:+.0f}")


def _percent_of_rows(counts: np.ndarray) -> np.ndarray:
    return 100 * np.asarray(counts) / np.maximum(np.sum(counts, axis=1, keepdims=True), 1)


def reliability(
    panels: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]], n_bins: int = 10
) -> Figure:
    """Accuracy against confidence: panels of lines, name -> (confidence (N,), right (N,)), 0..1.

    On the diagonal a network is right as often as its confidence says; below, it is too confident.
    Larger markers stand for bins with more images.
    """
    figure, all_axes = _figure(len(panels))
    for axes, (title, lines) in zip(all_axes, panels.items()):
        axes.plot([0, 100], [0, 100], color=_INK, linewidth=0.9, linestyle="--")
        for k, (name, (confidence, right)) in enumerate(lines.items()):
            x, y, counts = _binned(np.asarray(confidence, float), np.asarray(right, float), n_bins)
            k %= len(COLOURS)
            axes.plot(x, y, linewidth=1.2, linestyle=_DASHES[k], color=COLOURS[k])
            axes.scatter(
                x,
                y,
                s=14 + 140 * counts / counts.max(initial=1),
                marker=_MARKERS[k],
                edgecolor="white",
                zorder=3,
                label=name,
                color=COLOURS[k],
            )
        axes.set(xlim=(0, 100), ylim=(0, 100), aspect="equal")
        axes.set_xlabel("confidence, %")
        if axes is all_axes[0]:
            axes.set_ylabel("accuracy, % of images")
        axes.set_title(title, fontsize=_TEXT, color=_INK)
    _legend(all_axes[0])
    return figure


def time_by_size(
    sizes: Sequence[str],
    ours_us: Sequence[tuple[float, float, float]],
    others_us: Mapping[str, Sequence[float]],
) -> Figure:
    """Bars of microseconds per image for each size: ours (median, lowest, highest) and others'."""
    figure, (axes,) = _figure()
    places = np.arange(len(sizes))
    n = 1 + len(others_us)
    width = 0.8 / n
    middle, low, high = (np.array(column, float) for column in zip(*ours_us))
    bars: dict[str, Numbers] = {"this engine": middle, **others_us}
    for k, (name, values) in enumerate(bars.items()):
        x = places + (k - (n - 1) / 2) * width
        _bars(axes, x, width * 0.94, values, name, k)
        for place, value, top in zip(x, values, values if k else high):
            axes.annotate(
                f"{value:,.0f}",
                (place, top),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                fontsize=_SMALL,
            )
    _error_bars(axes, places - (n - 1) / 2 * width, middle, [middle - low, high - middle], _INK)
    axes.set_xticks(places, sizes)
    axes.set_xlabel("size of the network")
    axes.set_ylabel("time per image, µs")
    axes.set_ylim(bottom=0)
    axes.margins(y=0.12)
    _legend(axes)
    return figure


def curves(
    x: Numbers,
    lines: Mapping[str, Numbers],
    *,
    x_label: str,
    y_label: str,
    log_x: bool = False,
) -> Figure:
    """Lines over the same x (N,), such as a loss or an accuracy over the steps of a training.

    lines  name -> values (N,);  log_x: a logarithmic axis of x
    """
    figure, (axes,) = _figure()
    for k, (name, values) in enumerate(lines.items()):
        k %= len(COLOURS)
        axes.plot(x, values, label=name, color=COLOURS[k], linestyle=_DASHES[k], linewidth=1.5)
    if log_x:
        axes.set_xscale("log")
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
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
    """A figure and its axes, row by row.  wide_first: the first row is one wide panel."""
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
    axes = [figure.add_subplot(grid[0, :])] if wide_first else []
    for row in range(1 if wide_first else 0, n_rows):
        axes += [figure.add_subplot(grid[row, column]) for column in range(n_columns)]
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(axis="y", color=_GRID, linewidth=0.7)
        one.set_axisbelow(True)
        one.tick_params(labelsize=_SMALL)
        one.xaxis.label.set_fontsize(_TEXT)
        one.yaxis.label.set_fontsize(_TEXT)
    return figure, axes


def _binned(x: np.ndarray, y: np.ndarray, n_bins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bins of equal width over x, without the empty ones: mean x and mean y in %, and counts."""
    bins = np.clip(np.ceil(x * n_bins).astype(int) - 1, 0, n_bins - 1)
    counts = np.bincount(bins, minlength=n_bins)
    has = counts > 0
    means = [100 * np.bincount(bins, v, n_bins)[has] / counts[has] for v in (x, y)]
    return means[0], means[1], counts[has]


def _bars(axes: Axes, x: np.ndarray, width: float, heights: Numbers, name: str, k: int) -> None:
    colour, hatch = COLOURS[k], _HATCHES[k]
    axes.bar(x, heights, width, label=name, color=colour, hatch=hatch, edgecolor="white")


def _line(axes: Axes, x: np.ndarray, values: Sequence[Estimate | float], name: str, k: int) -> None:
    k %= len(COLOURS)  # there are as many markers and dashes
    estimates = [v if isinstance(v, tuple) else (v, math.nan) for v in values]
    axes.plot(
        x,
        [mean for mean, _ in estimates],
        label=name,
        linestyle=_DASHES[k],
        linewidth=1.5,
        markersize=5,
        color=COLOURS[k],
        marker=_MARKERS[k],
    )
    _whiskers(axes, x, estimates, COLOURS[k])


def _whiskers(axes: Axes, x: np.ndarray, values: Sequence[Estimate], colour: str) -> None:
    errors = [half if math.isfinite(half) else 0.0 for _, half in values]
    if any(errors):
        _error_bars(axes, x, [mean for mean, _ in values], errors, colour)


def _error_bars(axes: Axes, x: np.ndarray, y: Numbers, errors: ArrayLike, colour: str) -> None:
    axes.errorbar(x, y, errors, fmt="none", ecolor=colour, capsize=2.5, linewidth=1)


def _percent_axis(axes: Axes, first: bool = True) -> None:
    """A percent axis around the values: it need not start at 0, because a few points matter."""
    if first:
        axes.set_ylabel("accuracy, % of images")
    if axes.patches:  # bars must start at 0, else their ratios mislead
        axes.set_ylim(0, 100)
        return
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -1), min(high, 101))


def _legend(axes: Axes) -> None:
    """A legend above all axes, where it covers nothing."""
    handles, labels = axes.get_legend_handles_labels()
    axes.figure.legend(
        handles,
        labels,
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
    """Matrices (K, K) as coloured cells with numbers; form: the format of a number."""
    figure, all_axes = _figure(len(panels))
    figure.set_size_inches(_WIDTH_IN, 4.0)
    for axes, (title, values) in zip(all_axes, panels.items()):
        image = axes.imshow(values, cmap=colours, vmin=low, vmax=high)
        axes.grid(False)
        axes.set_xticks(range(len(classes)), classes, rotation=90)
        axes.set_yticks(range(len(classes)), classes)
        axes.set_xlabel("predicted class")
        if axes is all_axes[0]:
            axes.set_ylabel("true class")
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
        axes.set_title(title, fontsize=_TEXT, color=_INK)
    bar = figure.colorbar(image, ax=all_axes, shrink=0.8)
    bar.set_label(unit, size=_SMALL)
    bar.ax.tick_params(labelsize=_SMALL)
    return figure
