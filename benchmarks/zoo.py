"""Compares the engines on the networks of the zoo, one network after the other."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from . import engine_comparison, peers_report, zoo_report
from .engine_comparison import FULL, QUICK
from .zoo_networks import ZOO

QUICK_S = 50.0
"""With --quick the whole comparison takes about as long, divided over the networks."""

LEAST_S = 20.0
"""With --quick a network gets at least as long: its engines' imports alone take some seconds."""


def measure(networks: Sequence[str], engines: Sequence[str], quick: bool) -> dict[str, Any]:
    """Compare the engines on each network, and print a table for each and a summary.

    rows, control      as of `engine_comparison.compare`, of all networks
    engines, absent    likewise
    weights            by network;  without_time: networks that --quick had no time for
    """
    deadline = time.perf_counter() + QUICK_S if quick else None
    found: dict[str, Any] = {"rows": [], "control": [], "engines": {}, "absent": {}}
    found |= {"weights": {}, "without_time": []}
    for k, name in enumerate(networks):
        until = None
        if deadline is not None:
            now = time.perf_counter()
            share = max((deadline - now) / (len(networks) - k), LEAST_S)
            if now + share > deadline:
                found["without_time"].append(name)
                continue
            until = now + share
        of_network = engine_comparison.compare(QUICK if quick else FULL, engines, name, until)
        print(f"\n{ZOO[name].title}", flush=True)
        print(peers_report.text(of_network), flush=True)
        for key in ("rows", "control"):
            found[key] += of_network[key]
        for key in ("engines", "absent"):
            found[key] |= of_network[key]
        found["weights"][name] = of_network["weights"]
    found["geometric_means"] = zoo_report.geometric_means(found["rows"])
    return found
