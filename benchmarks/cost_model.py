"""The ways of a convolution against measured times: which one was chosen, which was fastest.

    python -m benchmarks cost-model [--images N] [--rounds N]

For every shape it times the direct convolution and Winograd's with tiles of 2x2 and 4x4 outputs:
forward with bias and ReLU, as in prediction, and backward, the gradients of weights, bias and
input.  The three take turns in every round, on one core.  Weights are transformed beforehand: a
network does that once for all its images.  `few_filters.py` has the other choice.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinycnn.kernels import (
    conv2d,
    conv2d_winograd_3x3,
    conv2d_winograd_3x3_backward,
    conv2d_winograd_3x3_tiles,
)
from tinycnn.kernels._jit import TILE, WINOGRAD
from tinycnn.kernels.conv2d_cost_model import (
    BACKWARD_TRANSFORM_COST,
    TILE_SIZES,
    TRANSFORM_COST,
    cost,
)
from tinycnn.plan import Window

from . import few_filters
from .measures import compared, median_times
from .roofline import TURN_S, one_core
from .table import render, significant

WAYS = (0, *TILE_SIZES)
"""Tile sizes; 0 is the direct convolution."""

NAMES = {m: f"F({m}x{m})" if m else "direct" for m in WAYS}


class Shape(NamedTuple):
    """A convolution with "same" padding: H x W pictures of C channels, F filters."""

    H: int
    W: int
    C: int
    F: int

    def __str__(self) -> str:
        return f"{self.H}x{self.W}, {self.C} -> {self.F}"


SHAPES = [
    *(Shape(48, 48, 1, 16), Shape(48, 48, 3, 16), Shape(24, 24, 16, 32), Shape(32, 32, 16, 16)),
    *(Shape(44, 44, 8, 8), Shape(12, 12, 32, 48), Shape(13, 13, 32, 64), Shape(12, 12, 24, 24)),
    *(Shape(8, 8, 64, 64), Shape(6, 6, 48, 64), Shape(5, 5, 40, 40), Shape(4, 4, 16, 16)),
    *(Shape(3, 3, 64, 64), Shape(2, 2, 64, 64), Shape(1, 1, 64, 64)),
]


TRANSFORM_COSTS = {"forward": TRANSFORM_COST, "backward": BACKWARD_TRANSFORM_COST}
"""For each pass that is timed, what the model takes for the transforms of a vector."""


class Calls(NamedTuple):
    """The passes of one convolution, computed in one way, and the arrays that they write."""

    forward: Callable[[], object]
    backward: Callable[[], object]
    outputs: dict[str, np.ndarray]


def make_calls(shape: Shape, m: int, n_images: int) -> Calls:
    """The calls with tiles of m x m outputs, directly for m = 0."""
    rng = np.random.default_rng(0)
    H, W, C, F = shape
    x, w, b, dy = (
        rng.standard_normal(size).astype(np.float32)
        for size in ((n_images, H, W, C), (3, 3, C, F), (F,), (n_images, H, W, F))
    )
    y, dx, dw, db = (np.zeros_like(a) for a in (dy, x, w, b))
    w_t = np.ascontiguousarray(w.transpose(3, 0, 1, 2))
    window = Window(3, 3, 1, 1, 1, 1, 1, 1)
    if m:
        tiles = conv2d_winograd_3x3_tiles
        U, U_exchanged = (
            np.zeros(tiles.weights_size(m, *sizes), np.float32) for sizes in ((C, F), (F, C))
        )
        for exchange, target in enumerate((U, U_exchanged)):
            tiles.conv2d_winograd_3x3_weights(w, m, exchange, target)
        scratch = np.zeros(tiles.scratch_size(m, C, F), np.float32)
        winners = np.zeros((0, 0, 0, 0), np.int32)

    def forward() -> None:
        if m:
            conv2d_winograd_3x3.conv2d_winograd_3x3_forward(
                x, w, U, b, window, m, 0, 1, scratch, y, winners
            )
        else:
            conv2d.conv2d_relu_forward(x, w.reshape(-1), w.shape[3], b, window, 1, y)

    def backward() -> None:
        if m:
            conv2d_winograd_3x3_backward.conv2d_winograd_3x3_backward(
                x, dy, w_t, U_exchanged, window, m, scratch, dw, db, dx
            )
        else:
            conv2d.conv2d_backward_params(x, dy, window, dw, db)
            conv2d.conv2d_backward_input(dy, w_t, window, dx)

    return Calls(forward, backward, dict(y=y, dx=dx, dw=dw, db=db))


def measure(
    shapes: list[Shape], n_images: int, n_rounds: int, turn_s: float = TURN_S
) -> list[dict[str, Any]]:
    """Two rows for each shape, one for each pass:

    shape, passes  which they are
    median_s       time of one call by way: "direct", "F(4x4)", "F(2x2)"
    model          cost of an image by way, in the model's products
    chosen, fastest  ways: of the least cost, and of the least time
    time_ratio     the time of the chosen way / that of the fastest: 1 is a right choice
    """
    rows, lanes = [], TILE.vector_bytes // 4
    with one_core():
        for shape in shapes:
            made = {m: make_calls(shape, m, n_images) for m in WAYS}
            for passes, transform_cost in TRANSFORM_COSTS.items():
                costs = {NAMES[m]: cost(m, *shape, lanes, transform_cost) for m in WAYS}
                calls = {NAMES[m]: getattr(made[m], passes) for m in WAYS}
                times = median_times(calls, n_rounds, turn_s)
                chosen = min(costs, key=costs.__getitem__)
                rows.append(
                    {
                        "shape": str(shape),
                        "passes": passes,
                        "model": costs,
                        **compared(times, chosen),
                    }
                )
    return rows


def text(rows: list[dict[str, Any]], n_images: int) -> str:
    """The rows of `measure` as two tables."""
    lines = [f"3x3 convolutions with stride 1, {n_images} images, one core"]
    for passes in TRANSFORM_COSTS:
        cells, ratios = [], []
        for row in rows:
            if row["passes"] == passes:
                us = [significant(row["median_s"][NAMES[m]] * 1e6) for m in WAYS]
                ratios.append(row["time_ratio"])
                cells.append(
                    (row["shape"], *us, row["chosen"], row["fastest"], f"{ratios[-1]:.2f}")
                )
        names = [f"{NAMES[m]} us" for m in WAYS]
        header = (passes, *names, "chosen", "fastest", "chosen / fastest")
        mean = math.exp(math.fsum(map(math.log, ratios)) / len(ratios))
        lines += ["", render(header, cells)]
        lines += [f"chosen / fastest: mean {mean:.2f}, worst {max(ratios):.2f}"]
    lines += ["", "backward: the gradients of weights, bias and input"]
    lines += ["chosen: of the least cost, see tinycnn/kernels/conv2d_cost_model.py"]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks cost-model",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--images", type=int, default=8, help="images of a call (default: 8)")
    parser.add_argument("--rounds", type=int, default=51, help="rounds (default: 51)")
    parser.add_argument("--json", metavar="FILE", help="also write the numbers to a JSON file")
    options = parser.parse_args(arguments)
    for name in ("images", "rounds"):
        if getattr(options, name) < 1:
            print(f"--{name} {getattr(options, name)}: expected 1 or more", file=sys.stderr)
            return 2
    if not WINOGRAD:
        print(
            "cost-model: Winograd's algorithm is switched off: expected neither TINYCNN_WINOGRAD=0 "
            "nor TINYCNN_TILE=plain nor NUMBA_DISABLE_JIT=1. Unset them",
            file=sys.stderr,
        )
        return 2
    rows = measure(SHAPES, options.images, options.rounds)
    print(text(rows, options.images))
    of_few = few_filters.measure(few_filters.SHAPES, options.images, options.rounds)
    print("\n" + few_filters.text(of_few, options.images))
    if options.json:
        found = {"winograd": rows, "few_filters": of_few}
        Path(options.json).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0
