"""What the vector kernels are emitted with: vectors, loops and jumps in LLVM IR.

Vectors cannot be written in Python.  `_tile.py`, `_window_max.py` and `_winners.py` each emit one
kind of inner loop as a Numba "intrinsic", from the pieces below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

INTP = types.intp
I64 = ir.IntType(64)


def intp(value: int) -> ir.Constant:
    return ir.Constant(I64, value)


class Vectors:
    """Loads, stores and arithmetic on vectors of `vector_bytes` (0: a single lane) of a dtype."""

    def __init__(self, builder: ir.IRBuilder, dtype: Any, vector_bytes: int) -> None:
        self.builder, self.scalar_bytes = builder, dtype.bitwidth // 8
        self.lanes = max(vector_bytes // self.scalar_bytes, 1)
        self.scalar = ir.FloatType() if self.scalar_bytes == 4 else ir.DoubleType()
        self.type = ir.VectorType(self.scalar, self.lanes)
        # fmuladd: one instruction where the host has it, a product and a sum where not.
        self._multiply_add = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(self.type, [self.type] * 3),
            f"llvm.fmuladd.v{self.lanes}f{8 * self.scalar_bytes}",
        )

    def _address(self, pointer: ir.Value, v: int) -> ir.Value:
        element = self.builder.gep(pointer, [intp(self.lanes * v)])
        return self.builder.bitcast(element, self.type.as_pointer())

    def load(self, pointer: ir.Value, v: int = 0) -> ir.Value:
        """The v-th vector behind a pointer to an array element, aligned or not."""
        value = self.builder.load(self._address(pointer, v))
        value.align = self.scalar_bytes
        return value

    def store(self, value: ir.Value, pointer: ir.Value, v: int = 0) -> None:
        self.builder.store(value, self._address(pointer, v)).align = self.scalar_bytes

    def multiply_add(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        return self.builder.call(self._multiply_add, [a, b, c])

    def broadcast(self, scalar: ir.Value) -> ir.Value:
        """A vector with `scalar`, of any type, in every lane."""
        undefined = ir.Constant(ir.VectorType(scalar.type, self.lanes), ir.Undefined)
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        one = self.builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
        return self.builder.shuffle_vector(one, undefined, zeros)

    def register(self, value: ir.Value) -> ir.Value:
        """A variable that holds `value`: an alloca in the entry block, which LLVM makes a
        register."""
        variable = cgutils.alloca_once(self.builder, value.type)
        self.builder.store(value, variable)
        return variable


def element(
    context: Any, builder: ir.IRBuilder, array_type: Any, array: ir.Value, offset: ir.Value
) -> ir.Value:
    """Pointer to element `offset` of a flat array argument, or behind a pointer to its elements."""
    if isinstance(array.type, ir.PointerType):
        return builder.gep(array, [offset])
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [offset])


def opaque(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """`value`, of whose origin LLVM knows nothing (an empty piece of assembly)."""
    return builder.asm(ir.FunctionType(value.type, [value.type]), "", "=r,0", [value], False)


@contextmanager
def loop(
    builder: ir.IRBuilder, count: ir.Value, pointers: list[ir.Value], steps: list[ir.Value]
) -> Iterator[list[ir.Value]]:
    """for k in range(count): yields pointers[p] + k * steps[p].

    LLVM is told not to unroll: the body is a whole tile already, and copies of it would multiply
    the time that every kernel takes to compile.
    """
    before = builder.block
    test, body, end = (
        builder.append_basic_block(f"loop.{name}") for name in ("test", "body", "end")
    )
    builder.branch(test)
    builder.position_at_end(test)
    k = builder.phi(I64)
    moving = [builder.phi(pointer.type) for pointer in pointers]
    builder.cbranch(builder.icmp_signed("<", k, count), body, end)
    builder.position_at_end(body)
    yield moving
    following = [builder.add(k, intp(1))]
    following += [builder.gep(pointer, [step]) for pointer, step in zip(moving, steps)]
    for phi, first, later in zip([k, *moving], [intp(0), *pointers], following):
        phi.add_incoming(first, before)
        phi.add_incoming(later, builder.block)
    no_unrolling = builder.module.add_metadata(
        [ir.MetaDataString(builder.module, "llvm.loop.unroll.disable")]
    )
    loop_id = builder.module.add_metadata([no_unrolling])
    loop_id.operands = (loop_id, no_unrolling)  # LLVM wants a loop's name to refer to itself
    builder.branch(test).set_metadata("llvm.loop", loop_id)
    builder.position_at_end(end)


def for_each_row_count(
    builder: ir.IRBuilder, rows: ir.Value, max_rows: int, emit: Callable[[int], None]
) -> None:
    """Code that does emit(rows) for the run-time number 1 <= rows <= max_rows: a variant for each,
    and a jump to it."""
    done = builder.append_basic_block("rows.done")
    switch = builder.switch(rows, done)
    for n_rows in range(1, max_rows + 1):
        block = builder.append_basic_block(f"rows.{n_rows}")
        switch.add_case(intp(n_rows), block)
        builder.position_at_end(block)
        emit(n_rows)
        builder.branch(done)
    builder.position_at_end(done)


def own_function(codegen: Callable) -> Callable:
    """The code of an intrinsic without a result as a function of its own, which is called.

    However many calls there are LLVM then compiles it once a module, and no large function around
    it makes that slow: its time for a function grows faster than the function.  `codegen` is given
    pointers to the elements in place of arrays, which `element` takes as well.
    """
    name = f"tinycnn.{codegen.__qualname__}.{id(codegen)}"  # of one `make_` there are several

    def call(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        plain = []
        for kind, value in zip(sig.args, args):
            is_array = isinstance(kind, types.Array)
            plain.append(
                context.make_array(kind)(context, builder, value).data if is_array else value
            )
        signature = f"{name}({', '.join(str(value.type) for value in plain)})"
        function = builder.module.globals.get(signature)
        if function is None:
            kind = ir.FunctionType(ir.VoidType(), [value.type for value in plain])
            function = ir.Function(builder.module, kind, signature)
            function.linkage = "internal"
            function.attributes.add("noinline")
            inner = ir.IRBuilder(function.append_basic_block("entry"))
            codegen(context, inner, sig, function.args)
            inner.ret_void()
        builder.call(function, plain)
        return context.get_dummy_value()

    return call
