"""Accuracy against temperature, drawn: what a sweep was run for."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .. import plots
from .selection import mean_and_interval
from .table import Cells, grouped_scores, sizes_in_order

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_LONGEST = 80
"""Characters of a title in a file's name."""


def curves(results: Iterable[Mapping[str, Any]]) -> dict[str, Figure]:
    """File name -> figure: a line a size over the temperatures, with 95 % intervals over seeds and
    folds, and a level line without a teacher.

    A figure for every setting of the other options that differ ("curves.png", or
    "curves-variant-v.png", ..., with a number where that is long); none for fewer than two
    temperatures.  Raises `plots.PlotsError` without matplotlib.
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


def _curves(cells: Cells) -> Figure | None:
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
    """In %; no interval for one value."""
    if not values:
        return math.nan, math.inf
    mean, half_width = mean_and_interval(values)
    return 100 * mean, 100 * half_width if len(values) > 1 else math.inf
