"""Size and speed of the sixteen networks of the paper."""

from __future__ import annotations

from typing import Any

import numpy as np

from .measures import quartiles, seconds_per_call
from .roofline import one_core
from .table import render, significant
from .workers import usable_cores

PAPER_MS = {"M": 0.89, "S": 0.78, "XS": 0.63, "XXS": 0.53}
"""Milliseconds per image on an Intel i7-7700HQ, from Cugu, Sener, Akbas, arXiv 1711.07011v4. The
paper gives one number for each size, not for each of the sixteen networks."""


def measure(n_rounds: int) -> list[dict[str, Any]]:
    """A row for each network.  Each round times all of them."""
    from tinycnn.formats.safetensors import to_bytes
    from tinycnn.models.microexpnet import SIZES, VARIANTS, microexpnet

    x = np.random.default_rng(0).integers(0, 256, (64, 84, 84, 1)).astype(np.float32)
    one = x[:1].copy()
    pairs = [(variant, size) for variant in VARIANTS for size in SIZES]
    on_one_core = [microexpnet(variant, size, n_threads=1) for variant, size in pairs]
    on_all_cores = [microexpnet(variant, size) for variant, size in pairs]
    seconds_1: list[list[float]] = [[] for _ in pairs]
    seconds_64: list[list[float]] = [[] for _ in pairs]
    for network in (*on_one_core, *on_all_cores):
        network.load_kernels()
    for k in range(n_rounds + 1):  # the first round warms up
        with one_core():
            for network, times in zip(on_one_core, seconds_1):
                network.forward(one)
                times.append(seconds_per_call(lambda: network.forward(one), 20))
        for network, times in zip(on_all_cores, seconds_64):
            network.forward(x)
            times.append(seconds_per_call(lambda: network.forward(x)))
    return [
        {
            "variant": variant,
            "size": size,
            "n_parameters": network.n_parameters,
            "file_bytes": len(to_bytes(network)),
            "batch_1_one_core_s": quartiles(times_1[1:]).median,
            "spread": quartiles(times_1[1:]).spread,
            "images_per_s": len(x) / quartiles(times_64[1:]).median,
            "paper_s": PAPER_MS[size] / 1e3,
        }
        for (variant, size), network, times_1, times_64 in zip(
            pairs, on_one_core, seconds_1, seconds_64
        )
    ]


def text(rows: list[dict[str, Any]]) -> str:
    """The rows of `measure` as a table."""
    header = (
        "network",
        "parameters",
        "file MB",
        "us an image",
        "±",
        "images/s",
        "paper's us",
        "paper's / ours",
    )
    cells = [
        (
            f"{row['variant']}-{row['size']}",
            f"{row['n_parameters']:,}",
            f"{row['file_bytes'] / 1e6:.2f}",
            significant(row["batch_1_one_core_s"] * 1e6),
            f"{row['spread']:.0%}",
            f"{row['images_per_s']:,.0f}",
            f"{row['paper_s'] * 1e6:.0f}",
            significant(row["paper_s"] / row["batch_1_one_core_s"]),
        )
        for row in rows
    ]
    lines = ["", render(header, cells)]
    lines += [f"us an image: batch 1, one core; images/s: batch 64, {len(usable_cores())} threads"]
    lines += ["paper's: for each size, on an Intel i7-7700HQ (Cugu et al., arXiv 1711.07011v4)"]
    return "\n".join(lines)
