"""The calls of the C program of a quantised network, and where each value is in its arena."""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

from ..plan import NETWORK_INPUT
from ..quantized.program import Operation, Program
from .c_arena import Buffer, place

IN_PLACE = ("table", "add")
"""Kinds whose function may write over its first input."""


class Call(NamedTuple):
    """A call in the C program.

    number     of the operation whose output it gives
    operation  that operation, or the convolution before it that is computed in the same call
    pool       the max-pooling after that convolution; None: another call, or no pooling
    inputs     numbers of the operations whose outputs it reads, or NETWORK_INPUT
    """

    number: int
    operation: Operation
    pool: Operation | None
    inputs: tuple[int, ...]

    @property
    def n_row_bytes(self) -> int:
        """Of the row of the convolution's output that is kept for the pooling."""
        return 0 if self.pool is None else math.prod(self.operation.shape[1:])


def calls_of(program: Program) -> list[Call]:
    """The calls of a program in their order.

    Each operation is a call, except copies, and convolutions before a max-pooling in whose windows
    no row occurs twice: these are a call together.
    """
    operations = program.operations
    readers = Counter(number for operation in operations for number in operation.inputs)
    together = {
        k
        for k, operation in enumerate(operations)
        if operation.kind == "max_pool"
        and operation.inputs == (k - 1,)
        and k > 0
        and readers[k - 1] == 1
        and operations[k - 1].kind in ("convolution", "depthwise")
        and operation.step.window.KH <= operation.step.window.SH
    }
    calls = []
    for k, operation in enumerate(operations):
        if k in together:
            before = operations[k - 1]
            calls.append(Call(k, before, operation, _sources(program, before)))
        elif operation.kind != "copy" and k + 1 not in together:
            calls.append(Call(k, operation, None, _sources(program, operation)))
    return calls


def _sources(program: Program, operation: Operation) -> tuple[int, ...]:
    return tuple(source_of(program, number) for number in operation.inputs)


def source_of(program: Program, number: int) -> int:
    """The number of the operation that computes a value: not a copy."""
    while number != NETWORK_INPUT and program.operations[number].kind == "copy":
        number = program.operations[number].inputs[0]
    return number


class Places(NamedTuple):
    """Where values are in the arena.

    values   the C expression for each operation's output, and for NETWORK_INPUT
    rows     the C expression for the row of each call with a max-pooling, by the call's number
    n_bytes  of the arena
    """

    values: dict[int, str]
    rows: dict[int, str]
    n_bytes: int


def places_of(program: Program, calls: list[Call], is_image: bool) -> Places:
    """is_image: the integers of the input are the pixels, so the input needs no memory."""
    times = {NETWORK_INPUT: 0, **{call.number: k for k, call in enumerate(calls, 1)}}
    last = {source_of(program, len(program.operations) - 1): len(calls) + 1}
    for call in calls:
        for number in call.inputs:
            last[number] = max(last.get(number, 0), times[call.number])
    sharing: dict[int, list[int]] = {}  # the first value in some memory -> all values in it
    if not is_image:
        sharing[NETWORK_INPUT] = [NETWORK_INPUT]
    for call in calls:
        if call.operation.output is None:
            continue
        first = [owner for owner, values in sharing.items() if call.inputs[0] in values]
        overwrites = call.operation.kind in IN_PLACE and bool(first)
        if overwrites and max(last[k] for k in sharing[first[0]]) <= times[call.number]:
            sharing[first[0]].append(call.number)
        else:
            sharing[call.number] = [call.number]
    buffers = [
        Buffer(
            str(owner),
            math.prod(program.shape(owner)),
            times[owner],
            max(last.get(k, times[k]) for k in values),
        )
        for owner, values in sharing.items()
    ]
    rows = [call for call in calls if call.n_row_bytes]
    for call in rows:
        time = times[call.number]
        buffers.append(Buffer(f"row {call.number}", call.n_row_bytes, time, time))
    arena = place(buffers)
    found = {NETWORK_INPUT: "image"}
    for owner, values in sharing.items():
        found.update(dict.fromkeys(values, _at(arena.offsets[str(owner)])))
    for number, operation in enumerate(program.operations):
        if operation.output is None:
            found[number] = "logits"
        elif operation.kind == "copy":
            found[number] = found[source_of(program, number)]
    at_rows = {call.number: _at(arena.offsets[f"row {call.number}"]) for call in rows}
    return Places(found, at_rows, arena.n_bytes)


def _at(offset: int) -> str:
    return f"arena + {offset}" if offset else "arena"
