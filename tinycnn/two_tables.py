"""Cuts the operations of prediction in two, for two threads that compute one image together.

The threads are called leader and partner.  Of each picture the leader computes the upper rows, its
partner the lower ones; of a vector the first and the last elements, which count as rows here.  What
cannot be cut, such as a global average, the leader does.  Each has a table of operations of its
own.  An operation on some rows is the same operation on a smaller picture: rows that follow one
another are one piece of memory, and some padding is left above or below.  So the kernels know
nothing of this, and the results have the same bits.

A record of the kind VIEW stands for the rows of another output that an operation needs.  These may
be more than its own thread has computed: a 3x3 convolution needs a row of the other half.  Then the
threads meet before it.  The operations between two meetings are called a run.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .kernels.conv2d_winograd import M_OUT
from .kernels.operations import (
    ACTIVATION,
    ADD,
    AVERAGEPOOL2D,
    CONV2D,
    DENSE,
    DEPTHWISE_CONV2D,
    DROPOUT,
    MAXPOOL2D,
    PRELU,
    RECORD,
    SCALE_SHIFT,
    STRIDE_1,
    STRIDE_2,
    VIEW,
    is_prepared,
)
from .plan import WORK_OF_ELEMENT
from .prediction_memory import shared_memory

WORK_OF_MEETING = 20_000
"""What a meeting takes, in multiply-adds: some 0.4 us."""

WORK_OF_CALL = 60_000
"""The same of calling the partner, once for each image."""

WORK_OF_WEIGHT = 4
"""What it takes to read a weight of a dense layer, which one image uses once, in multiply-adds."""

WORTH = 0.7
"""Two threads are worth it if by these counts they take at most this share of the time of one.
Measured: LeNet-5, with 0.82, and the autoencoder, with 0.74, take longer by two threads of one
core."""

COLUMNS = 16
"""A dense layer is cut at a multiple of so many columns, a line of the cache in float32; one with
packed weights between two panels."""

BY_ROWS = (CONV2D, DEPTHWISE_CONV2D, MAXPOOL2D, AVERAGEPOOL2D)
ALONE = (ACTIVATION, ADD, DROPOUT, PRELU, SCALE_SHIFT)  # each element for itself


class Rows(NamedTuple):
    """The rows begin <= i < end of a picture."""

    begin: int
    end: int

    def __bool__(self) -> bool:
        return self.begin < self.end

    def are_in(self, other: Rows) -> bool:
        return not self or (other.begin <= self.begin and self.end <= other.end)


class Windows(NamedTuple):
    """Rows of a picture and the padding around them, for some rows of output of a window."""

    rows: Rows
    above: int
    below: int


def windows_of(outputs: Rows, K: int, S: int, above: int, n_rows: int) -> Windows:
    """What a window of K rows with stride S needs of n_rows rows with padding above them."""
    begin, end = outputs.begin * S - above, (outputs.end - 1) * S - above + K
    inside = Rows(min(max(begin, 0), n_rows), max(min(end, n_rows), 0))
    return Windows(inside, max(-begin, 0), max(end - n_rows, 0))


class Part(NamedTuple):
    """What a thread does of an operation.

    op       the record, without the numbers of its inputs and the place of its output
    needs    the rows of its inputs that it needs
    gives    the rows of its output that it computes alone
    y_begin  the first element that it computes
    """

    op: np.record
    needs: Rows
    gives: Rows
    y_begin: int


class TwoTables(NamedTuple):
    """The tables of operations of the two threads.

    ends      the end of each run, in both tables
    n_values  elements of memory for the outputs, and for a copy of the network's input
    x_at      where the copy begins
    """

    operations: tuple[np.ndarray, np.ndarray]
    ends: list[int]
    n_values: int
    x_at: int


def cut_in_two(operations: np.ndarray, input_size: int) -> TwoTables | None:
    """The tables for two threads, from a table for prediction of one stage.  None if one thread is
    about as fast.

    input_size  elements of the network's input
    """
    work, longest, parts = 0, 0, []
    for op in operations:
        both = _parts(op)
        parts.append(both)
        work += _work(op)
        longest += max(_work(part.op) for part in both)
    begins = _runs(operations, parts)
    longest += WORK_OF_CALL + WORK_OF_MEETING * len(begins)
    if longest > WORTH * work:
        return None
    run_ends = [*begins[1:], operations.size]
    end_of_run = [next(end for end in run_ends if end > k) for k in range(operations.size)]
    offsets, x_at = shared_memory(operations, end_of_run)
    tables: tuple[list[np.record], list[np.record]] = ([], [])
    ends = []
    for k, op in enumerate(operations):
        if k in begins[1:]:
            ends.append(len(tables[0]))
        for table, part in zip(tables, parts[k]):
            views = [_view_of(source, part, op, offsets, x_at) for source in _sources(op)]
            made = part.op.copy()
            made.y_offset = offsets[k] + part.y_begin
            made.x_from, made.x2_from = len(table), len(table) + len(views) - 1
            table += [*views, made]
    if parts[-1][1].y_begin:  # the leader returns what both have computed
        ends.append(len(tables[0]))
    for table, rows in zip(tables, (Rows(0, 1), Rows(0, 0))):
        table.append(_view(offsets[-1], rows, int(operations[-1].F)))
    ends.append(len(tables[0]))
    leader, partner = (np.array(table, RECORD) for table in tables)
    return TwoTables((leader, partner), ends, x_at + input_size, x_at)


def _sources(op: np.record) -> list[int]:
    """The operations whose outputs an operation takes; -1: the network's input."""
    return [int(op.x_from), int(op.x2_from)] if op.kind == ADD else [int(op.x_from)]


def _rows_of_source(part: Part, op: np.record, source: np.record) -> Rows:
    """The rows of the output of `source` that a part of `op` needs: all, if it takes a picture as a
    vector."""
    if part.needs and _rows_in(op) != _rows_out(source):
        return _rows_out(source)
    return part.needs


def _rows_in(op: np.record) -> Rows:
    """All rows of an operation's input."""
    return Rows(0, int(op.C if op.H == op.W == 1 else op.H))


def _rows_out(op: np.record) -> Rows:
    """All rows of its output."""
    return Rows(0, int(op.F if op.OH == op.OW == 1 else op.OH))


def _view_of(source: int, part: Part, op: np.record, offsets: list[int], x_at: int) -> np.record:
    """The rows of the output of `source` that a part of `op` needs, as `op` sees them."""
    width = int(op.H * op.W * op.C) // _rows_in(op).end
    return _view(x_at if source < 0 else offsets[source], part.needs, width)


def _view(offset: int, rows: Rows, width: int) -> np.record:
    """Some rows of an output that begins at `offset` and has rows of `width` elements."""
    view = np.zeros(1, RECORD)[0]
    view.kind, view.x_from, view.x2_from, view.y_in_chunk = VIEW, -1, -1, 1
    view.y_offset = offset + rows.begin * width
    view.OH, view.OW, view.F = rows.end - rows.begin, 1, width
    return view


def _work(op: np.record) -> int:
    """About how long an operation takes, in multiply-adds: as `Plan.work`."""
    products = 0
    if op.kind == DENSE:
        products = WORK_OF_WEIGHT * int(op.w_size) * int(op.F) // int(op.w_columns)
    elif op.kind == CONV2D:
        products = int(op.w_size) * int(op.conv_OH * op.conv_OW)
    elif op.kind == DEPTHWISE_CONV2D:
        products = int(op.w_size) * int(op.OH * op.OW)
    return products + WORK_OF_ELEMENT * int(op.OH * op.OW * op.F)


# ---- the parts of an operation -----------------------------------------------------------------


def _parts(op: np.record) -> tuple[Part, Part]:
    """What each of the threads does of an operation."""
    if op.kind == DENSE or (op.kind in ALONE and op.OH == op.OW == 1):
        step = math.lcm(COLUMNS, int(op.panel)) if is_prepared(op) else COLUMNS
        cut, end = round(int(op.F) / (2 * step)) * step, int(op.F)
        if 0 < cut < end:
            return _columns_part(op, Rows(0, cut)), _columns_part(op, Rows(cut, end))
    elif cut := _cut(op):
        upper, lower = _rows_part(op, Rows(0, cut)), _rows_part(op, Rows(cut, int(op.OH)))
        if upper.needs and lower.needs:
            return upper, lower
    rest = op.copy()
    rest.kind, rest.forward_function, rest.activate_function, rest.OH = VIEW, 0, 0, 0
    return (
        Part(op.copy(), _rows_in(op), _rows_out(op), 0),
        Part(rest, Rows(0, 0), Rows(0, 0), 0),
    )


def _columns_part(op: np.record, columns: Rows) -> Part:
    """Some elements of a vector: columns of a dense layer, or each element for itself."""
    part = op.copy()
    part.F = columns.end - columns.begin
    part.w_offset += columns.begin
    part.b_offset += columns.begin
    if op.kind == DENSE:
        part.prepared_offset += columns.begin * int(op.H * op.W * op.C)  # whole panels
        return Part(part, _rows_in(op), columns, columns.begin)
    part.C = part.F
    return Part(part, columns, columns, columns.begin)


def _cut(op: np.record) -> int:
    """Where to cut the rows of an operation's output; 0 if that is not possible.

    Winograd's tiles have several rows, which belong together.
    """
    step = 1
    if op.winograd == STRIDE_1:
        step = int(op.tile) // (2 if op.pool else 1)
    elif op.winograd == STRIDE_2:
        step = math.lcm(M_OUT, 2) // 2 if op.pool else 2 * M_OUT
    cut = round(int(op.OH) / (2 * step)) * step
    return cut if 0 < cut < op.OH and op.kind in BY_ROWS + ALONE else 0


def _rows_part(op: np.record, rows: Rows) -> Part:
    """Some rows of an operation's output."""
    part = op.copy()
    part.OH = rows.end - rows.begin
    needs = rows
    if op.kind in (CONV2D, MAXPOOL2D) and op.pool:
        n_rows = int(op.conv_OH if op.kind == CONV2D else op.H)
        needs, part.pool_PT, part.pool_PB = windows_of(
            needs, int(op.pool_KH), int(op.pool_SH), int(op.pool_PT), n_rows
        )
    if op.kind == CONV2D:
        part.conv_OH = needs.end - needs.begin
    if op.kind in (CONV2D, DEPTHWISE_CONV2D, AVERAGEPOOL2D) and needs:
        needs, part.PT, part.PB = windows_of(needs, int(op.KH), int(op.SH), int(op.PT), int(op.H))
    part.H = needs.end - needs.begin
    return Part(part, needs, rows, rows.begin * int(op.OW * op.F))


# ---- when the threads meet ---------------------------------------------------------------------


def _runs(operations: np.ndarray, parts: list[tuple[Part, Part]]) -> list[int]:
    """The first operation of each run."""
    begins = [0]
    for k, op in enumerate(operations):
        since = [source for source in _sources(op) if source >= begins[-1]]
        if not all(
            _rows_of_source(part, op, operations[source]).are_in(parts[source][thread].gives)
            for source in since
            for thread, part in enumerate(parts[k])
        ):
            begins.append(k)
    return begins
