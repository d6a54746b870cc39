"""Whether the default number of threads is the right one: against one thread, and against all.

    python -m benchmarks threads [NETWORK ...] [--rounds N]

The times of a prediction and of a training step, for batches of several sizes.  One thread, all
cores and the default take turns in every round.  `tinycnn.parallel` has the rule of the default.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from tinycnn import Conv2D, CrossEntropy, Dense, Flatten, InputSpec, MaxPool2D, Network, ReLU
from tinycnn.parallel import usable_cores

from .measures import quartiles, seconds_per_call
from .roofline import TURN_S
from .table import ms, render, significant
from .zoo_networks import ZOO

BATCHES = (1, 8, 16, 32, 64, 256)
DIGITS = "digits8"
NAMES = (DIGITS, *ZOO)
HEADER = ("what", "batch", "one thread", "default", "all cores", "one / default", "best / default")


def digits(n_threads: int | None = None) -> Network:
    """A network for digits of 8x8 pixels, as in scikit-learn: far less work than starting a
    thread takes, for a few images."""
    layers = [
        *(Conv2D(16, 3, padding="same"), ReLU(), MaxPool2D(2)),
        *(Conv2D(32, 3, padding="same"), ReLU(), Flatten(), Dense(10)),
    ]
    return Network(layers, InputSpec(8, 8, classes=tuple("0123456789")), n_threads=n_threads)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks threads", description=__doc__)
    parser.add_argument("networks", metavar="NETWORK", nargs="*", help=", ".join(NAMES))
    parser.add_argument("--rounds", metavar="N", type=int, default=9, help="(default: %(default)s)")
    options = parser.parse_args(arguments)
    names = options.networks or list(NAMES)
    if unknown := set(names) - set(NAMES):
        print(f"no network {min(unknown)!r}: expected some of {', '.join(NAMES)}", file=sys.stderr)
        return 2
    if options.rounds < 1:
        print(f"--rounds {options.rounds}: expected 1 or more", file=sys.stderr)
        return 2
    print(f"milliseconds; {usable_cores()} usable cores")
    for name in names:
        rows = [row for batch in BATCHES for row in measure(name, batch, options.rounds)]
        print(f"\n{name}\n{render(HEADER, rows)}", flush=True)
    return 0


def measure(name: str, batch: int, rounds: int) -> list[list[str]]:
    """Two rows of the table: a prediction, and a training step."""
    build = digits if name == DIGITS else ZOO[name].build
    networks = [build(n_threads=n) for n in (1, None, usable_cores())]
    for network in networks:
        network.load_kernels()
    x = np.random.default_rng(0).random((batch, *networks[0].input_spec.shape), np.float32)
    loss, labels = CrossEntropy(), np.zeros(batch, np.int64)
    predict = [partial(network.forward, x) for network in networks]
    train = [partial(n.loss_and_gradients, x, loss, labels) for n in networks]
    return [
        [what, str(batch), *compared(calls, rounds)]
        for what, calls in (("predict", predict), ("train", train))
    ]


def compared(calls: Sequence[Callable[[], object]], rounds: int) -> list[str]:
    """The cells for calls with one thread, with the default and with all cores."""
    counts = []
    for call in calls:
        call()
        counts.append(max(1, round(TURN_S / seconds_per_call(call, 2))))
    times: list[list[float]] = [[] for _ in calls]
    for turn in range(rounds):
        for k in np.roll(range(len(calls)), turn).tolist():
            times[k].append(seconds_per_call(calls[k], counts[k]))
    found = [quartiles(values) for values in times]
    one, default, cores = (q.median for q in found)
    ratios = (significant(one / default), significant(min(one, cores) / default))
    return [*map(ms, found), *ratios]
