"""Convolutions of few filters against measured times: vectors of columns, or of filters.

A part of `python -m benchmarks cost-model`.  For every shape it times both ways of prediction, with
bias and ReLU, some with max-pooling over 2 x 2 behind them.  `conv2d_columns.is_faster` chooses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tinycnn import Conv2D, Dense, Flatten, MaxPool2D, ReLU
from tinycnn.kernels import conv2d, conv2d_columns, maxpool2d
from tinycnn.kernels.table import make_operations
from tinycnn.plan import Window, build_plan

from .measures import compared, median_times
from .roofline import TURN_S, one_core
from .table import render, significant

WAYS = ("columns", "filters")


class FewFilters(NamedTuple):
    """A convolution with K x K taps and "same" padding: H x W pictures of C channels, F filters."""

    H: int
    W: int
    C: int
    F: int
    K: int
    pools: bool

    def __str__(self) -> str:
        pooling = ", max-pooling" if self.pools else ""
        return f"{self.K}x{self.K}: {self.H}x{self.W}, {self.C} -> {self.F}{pooling}"


SHAPES = [
    FewFilters(H, W, C, F, K, pools)
    for H, W, C, K in (
        *((28, 28, 1, 5), (48, 48, 1, 3), (32, 32, 3, 3), (20, 20, 1, 7)),
        *((44, 44, 8, 3), (12, 12, 3, 3)),
    )
    for F in (2, 4, 6, 7, 8)
    for pools in (False, True)
]


def make_calls(shape: FewFilters, n_images: int) -> tuple[dict[str, Callable[[], np.ndarray]], str]:
    """The calls by way, which return the same outputs, in the same memory; the chosen way."""
    H, W, C, F, K, pools = shape
    layers = [Conv2D(F, K), ReLU(), *([MaxPool2D(2)] if pools else []), Flatten(), Dense(2)]
    plan = build_plan(layers, (H, W, C))
    record = make_operations(plan, np.dtype(np.float32)).operations[0]
    rng = np.random.default_rng(0)
    x, w, b = (
        rng.standard_normal(size).astype(np.float32)
        for size in ((n_images, H, W, C), (K, K, C, F), (F,))
    )
    z = np.zeros((n_images, H, W, F), np.float32)
    y = np.zeros((n_images, H // 2, W // 2, F), np.float32) if pools else z
    window, pool_window = plan.steps[0].window, Window(2, 2, 2, 2, 0, 0, 0, 0)
    scratch = np.zeros(conv2d_columns.scratch_size(record, x.itemsize), np.float32)

    def columns() -> np.ndarray:
        conv2d_columns.conv2d_columns_forward(x, w, b, window, int(pools), 1, scratch, y)
        return y

    def filters() -> np.ndarray:
        conv2d.conv2d_relu_forward(x, w.reshape(-1), w.shape[3], b, window, 1, z)
        if pools:
            maxpool2d.maxpool2d_largest(z, pool_window, y)
        return y

    chosen = "columns" if conv2d_columns.is_faster(record, x.itemsize) else "filters"
    return {"columns": columns, "filters": filters}, chosen


def measure(
    shapes: list[FewFilters], n_images: int, n_rounds: int, turn_s: float = TURN_S
) -> list[dict[str, Any]]:
    """A row for each shape, as those of `cost_model.measure`, without `passes` and `model`."""
    rows = []
    with one_core():
        for shape in shapes:
            calls, chosen = make_calls(shape, n_images)
            times = median_times(calls, n_rounds, turn_s)
            rows.append({"shape": str(shape), **compared(times, chosen)})
    return rows


def text(rows: list[dict[str, Any]], n_images: int) -> str:
    """The rows of `measure` as a table."""
    cells = [
        (
            row["shape"],
            *(significant(row["median_s"][way] * 1e6) for way in WAYS),
            *(row["chosen"], row["fastest"], f"{row['time_ratio']:.2f}"),
        )
        for row in rows
    ]
    header = ("forward", *(f"{way} us" for way in WAYS), "chosen", "fastest", "chosen / fastest")
    return "\n".join([f"few filters, {n_images} images, one core", "", render(header, cells)])
