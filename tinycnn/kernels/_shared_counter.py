"""A counter that threads share, to take chunks of work in turn without going back to Python."""

from __future__ import annotations

import threading

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ._jit import WITHOUT_JIT
from ._simd import I64, element, intp


@intrinsic
def _fetch_add(typingctx, counter):
    """The number in counter[0], which is raised by 1: one atomic instruction."""

    def codegen(context, builder, sig, args):
        pointer = element(context, builder, sig.args[0], args[0], intp(0))
        pointer = builder.bitcast(pointer, I64.as_pointer())
        return builder.atomic_rmw("add", pointer, ir.Constant(I64, 1), "monotonic")

    return types.int64(counter), codegen


_lock = threading.Lock()


def take_number_plain(counter):
    """The same for a run without the JIT."""
    with _lock:
        number = int(counter[0])
        counter[0] = number + 1
    return number


take_number = take_number_plain if WITHOUT_JIT else _fetch_add
