"""Figures of a sweep: accuracy against temperature."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from .. import plots
from .selection import mean_and_interval
from .table import Cells, grouped_scores, sizes_in_order

_LONGEST = 80
"""Longest setting, in characters, that a file name contains."""


def curves(results: Iterable[Mapping[str, Any]]) -> dict[str, plots.Figure]:
    """Figures by file name.

    Each has a line for every size: mean accuracy at each temperature, with 95 % intervals over
    seeds and folds, and a horizontal line for training without a teacher.  There is a figure for
    every setting of the other options: "curves.png", or "curves-variant-v.png" and so on, with a
    number instead of a long setting.  There is none for settings with fewer than two temperatures.
    Raises `plots.PlotsError` without matplotlib.
    """
    figures = {}
    for number, (title, cells) in enumerate(grouped_scores(results).items(), start=1):
        figure = _curves(cells)
        if figure is not None:
            words = re.sub(r"[^0-9A-Za-z.]+", "-", title).strip("-")
            if len(words) > _LONGEST:
                words = str(number)
            figures["-".join(filter(None, ["curves", words])) + ".png"] = figure
    return figures


def _curves(cells: Cells) -> plots.Figure | None:
    temperatures = sorted({t for _, t in cells if isinstance(t, float)})
    if len(temperatures) < 2:
        return None
    by_size, without = {}, {}
    for size in sizes_in_order(cells):
        estimates = [_estimate(cells.get((size, t))) for t in temperatures]
        if any(math.isfinite(mean) for mean, _ in estimates):
            by_size[str(size)] = estimates
        if (size, None) in cells:
            without[str(size)] = _estimate(cells[size, None])[0]
    return plots.accuracy_by_temperature(temperatures, by_size, without)


def _estimate(values: list[float] | None) -> tuple[float, float]:
    """Mean and half the interval, in %: NaN without values, an infinite interval for one value."""
    if not values:
        return math.nan, math.inf
    mean, half_width = mean_and_interval(values)
    return 100 * mean, 100 * half_width if len(values) > 1 else math.inf
