"""Places the values between the layers of a C program in one array, the arena: values that are not
needed at the same time share memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

N_ORDERS = 200
"""Random orders that are tried where the simple ones leave gaps."""


class Buffer(NamedTuple):
    """Memory that is needed from the call number `first` to the call number `last`, with both."""

    name: str
    n_bytes: int
    first: int
    last: int

    def meets(self, other: Buffer) -> bool:
        """Whether both are needed in some call."""
        return self.first <= other.last and other.first <= self.last


class Arena(NamedTuple):
    """Where each buffer begins in the arena, and the size of the arena in bytes."""

    offsets: dict[str, int]
    n_bytes: int


def most_alive(buffers: Sequence[Buffer]) -> int:
    """The bytes that the call with the most buffers needs: no arena is smaller."""
    alive = (
        sum(b.n_bytes for b in buffers if b.first <= call <= b.last)
        for call in {b.first for b in buffers}
    )
    return max(alive, default=0)


def place(buffers: Sequence[Buffer]) -> Arena:
    """The smallest arena that is found.

    Each buffer gets the lowest place that is free while it is needed.  That depends on the order:
    by size, by first use, then random ones, always the same, until no smaller arena is possible.
    """
    least, rng = most_alive(buffers), np.random.default_rng(0)
    best = _in_order(sorted(buffers, key=lambda b: -b.n_bytes))
    for k in range(N_ORDERS + 1):
        if best.n_bytes == least:
            break
        order = range(len(buffers)) if k == 0 else rng.permutation(len(buffers)).tolist()
        best = min(best, _in_order(buffers[number] for number in order), key=lambda a: a.n_bytes)
    return best


def _in_order(buffers: Iterable[Buffer]) -> Arena:
    placed: list[tuple[Buffer, int]] = []
    for buffer in buffers:
        offset = 0
        for other, start in sorted(placed, key=lambda one: one[1]):
            if other.meets(buffer) and offset + buffer.n_bytes > start:
                offset = max(offset, start + other.n_bytes)
        placed.append((buffer, offset))
    ends = [offset + buffer.n_bytes for buffer, offset in placed]
    return Arena({buffer.name: offset for buffer, offset in placed}, max(ends, default=0))
