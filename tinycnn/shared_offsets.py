"""Places arrays in one block of memory: those that are not needed at the same time may overlap."""

from __future__ import annotations

from collections.abc import Sequence

from .plan import aligned


def shared_offsets(
    sizes: Sequence[int], lifetimes: Sequence[tuple[int, int]]
) -> tuple[list[int], int]:
    """Where each array begins, and how much memory all of them need.

    One array after the other, in the given order, gets the lowest offset at which it overlaps none
    of those before that is needed at the same time.

    sizes      elements of each array
    lifetimes  when each array is needed: two numbers, both included, in any unit of time
    """
    offsets: list[int] = []
    total = 0
    for size, (first, last) in zip(map(aligned, sizes), lifetimes):
        begin = 0
        for other_begin, other_end in sorted(
            (offset, offset + aligned(other_size))
            for offset, other_size, (other_first, other_last) in zip(offsets, sizes, lifetimes)
            if other_first <= last and first <= other_last
        ):
            if begin + size <= other_begin:
                break
            begin = max(begin, other_end)
        offsets.append(begin)
        total = max(total, begin + size)
    return offsets, total
