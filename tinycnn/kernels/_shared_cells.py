"""Cells of memory, int32, through which threads tell each other something without Python."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ._simd import INTP, element

LINE = 16
"""Cells in a line of the cache: what several threads write is on different lines."""


@intrinsic
def value_of(typingctx, cells, k):
    """cells[k], with all that the other thread wrote before it."""

    def codegen(context, builder, sig, args):
        pointer = element(context, builder, sig.args[0], args[0], args[1])
        return builder.load_atomic(pointer, "acquire", 4)

    return types.int32(cells, INTP), codegen


@intrinsic
def replace(typingctx, cells, k, expected, value):
    """Whether cells[k] was `expected`; then it is now `value`.  One atomic instruction."""

    def codegen(context, builder, sig, args):
        pointer = element(context, builder, sig.args[0], args[0], args[1])
        result = builder.cmpxchg(pointer, args[2], args[3], "seq_cst", "seq_cst")
        return builder.zext(builder.extract_value(result, 1), ir.IntType(32))

    return types.int32(cells, INTP, types.int32, types.int32), codegen


@intrinsic
def add_one(typingctx, cells, k):
    """Add 1 to cells[k], after all that this thread wrote before.  One atomic instruction."""

    def codegen(context, builder, sig, args):
        pointer = element(context, builder, sig.args[0], args[0], args[1])
        return builder.atomic_rmw("add", pointer, ir.Constant(ir.IntType(32), 1), "seq_cst")

    return types.int32(cells, INTP), codegen


@intrinsic
def pause(typingctx):
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
