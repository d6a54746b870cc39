"""How two threads compute one image together: they call each other and wait for each other in a few
cells of memory that both have, int32, without going back to Python.

The leader is the thread that predicts.  Its partner waits for a call in a loop, for some tenths of
a millisecond after each image, and then goes away: waking a thread would take as long as a small
network.  The cell DOOR says what the partner does:

    AWAY       there is none: the leader does the image alone
    WAITING    it waits for a call
    CALLED     the leader has called it
    WORKING    it has heard the call, so both do the image

Both go through the same runs of operations, each with a table of its own, and meet after each run:
each adds 1 to the cell ARRIVED and waits until the other has done so, too.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ._jit import helper
from ._simd import INTP, element

AWAY, WAITING, CALLED, WORKING = range(4)

LINE = 16  # cells in a line of the cache: what the two threads write is on different lines
DOOR, ARRIVED, LATE = 0, LINE, 2 * LINE
PATIENCE, IDLE, LONG, N_RUNS, ENDS = range(3 * LINE, 3 * LINE + 5)
"""Where the cells are.  LATE: how often the leader has waited for long.  Then come numbers that do
not change.  How often a thread looks at a cell: PATIENCE, the leader, until the partner hears its
call; IDLE, the partner, until it goes away; LONG, the leader in a meeting, until the wait was long.
N_RUNS: how many runs there are; from ENDS on, the end of each in the table of operations."""


@intrinsic
def _value(typingctx, cells, k):
    """cells[k], with all that the other thread wrote before it."""

    def codegen(context, builder, sig, args):
        pointer = element(context, builder, sig.args[0], args[0], args[1])
        return builder.load_atomic(pointer, "acquire", 4)

    return types.int32(cells, INTP), codegen


@intrinsic
def _replace(typingctx, cells, k, expected, value):
    """Whether cells[k] was `expected`; then it is now `value`.  One atomic instruction."""

    def codegen(context, builder, sig, args):
        pointer = element(context, builder, sig.args[0], args[0], args[1])
        result = builder.cmpxchg(pointer, args[2], args[3], "seq_cst", "seq_cst")
        return builder.zext(builder.extract_value(result, 1), ir.IntType(32))

    return types.int32(cells, INTP, types.int32, types.int32), codegen


@intrinsic
def _add_one(typingctx, cells, k):
    """Add 1 to cells[k], after all that this thread wrote before.  One atomic instruction."""

    def codegen(context, builder, sig, args):
        pointer = element(context, builder, sig.args[0], args[0], args[1])
        return builder.atomic_rmw("add", pointer, ir.Constant(ir.IntType(32), 1), "seq_cst")

    return types.int32(cells, INTP), codegen


@intrinsic
def _pause(typingctx):
    """Tell the processor that this is a loop that waits, where it has an instruction for that."""

    def codegen(context, builder, sig, args):
        name, arguments = {
            "x86": ("llvm.x86.sse2.pause", []),
            "aar": ("llvm.aarch64.hint", [ir.Constant(ir.IntType(32), 1)]),
        }.get(builder.module.triple[:3], ("", []))
        if name:
            kind = ir.FunctionType(ir.VoidType(), [value.type for value in arguments])
            function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
            builder.call(function, arguments)
        return context.get_dummy_value()

    return types.void(), codegen


@helper  # pragma: no cover: intrinsics only run compiled
def call_partner(cells):
    """The leader: 1 if the partner does the next image with it, 0 if it has to do it alone."""
    if _value(cells, DOOR) != WAITING:
        return 0
    cells[ARRIVED] = 0
    if not _replace(cells, DOOR, WAITING, CALLED):
        return 0
    for _ in range(cells[PATIENCE]):
        if _value(cells, DOOR) == WORKING:
            return 1
        _pause()
    return 1 - _replace(cells, DOOR, CALLED, WAITING)


@helper  # pragma: no cover: intrinsics only run compiled
def wait_for_call(cells):
    """The partner: 1 if it is called, 0 if it goes away."""
    _replace(cells, DOOR, AWAY, WAITING)
    for _ in range(cells[IDLE]):
        if _value(cells, DOOR) == CALLED and _replace(cells, DOOR, CALLED, WORKING):
            return 1
        _pause()
    while not _replace(cells, DOOR, WAITING, AWAY):
        if _replace(cells, DOOR, CALLED, WORKING):
            return 1
    return 0


@helper  # pragma: no cover: intrinsics only run compiled
def meet(cells, run, is_partner):
    """Both, after run number `run`: returns when the other has done it, too.

    After the last run the partner is ready for the next call, and does not wait: the leader may
    begin the next image before it would look.
    """
    if is_partner and run == cells[N_RUNS] - 1:
        _replace(cells, DOOR, WORKING, WAITING)
        _add_one(cells, ARRIVED)
        return
    _add_one(cells, ARRIVED)
    n_looks = 0
    while _value(cells, ARRIVED) < 2 * (run + 1):
        _pause()
        n_looks += 1
    if n_looks > cells[LONG] and not is_partner:
        cells[LATE] += 1
