"""Vectors, loops and jumps in LLVM IR: what the inner loops of kernels are made of.

Vector instructions cannot be written in Python.  So the inner loops are Numba "intrinsics",
functions that emit LLVM IR themselves: `_tile.py`, `_row_product.py` and `_filter_rows.py` (sums of
products), `_channels_last.py` (the order of pictures), `_window_max.py`
(max-pooling), `_winner_lists.py` and `_winners.py` (its backward pass), `_winograd.py`,
`_winograd_tiles.py`, `_winograd_bands.py` and `_depthwise_rows.py`.
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
    """A constant of type int64."""
    return ir.Constant(I64, value)


class Vectors:
    """Loads, stores and arithmetic on vectors of `vector_bytes` (0: a single lane) of a dtype.

    The elements of a vector are called lanes.
    """

    def __init__(self, builder: ir.IRBuilder, dtype: Any, vector_bytes: int) -> None:
        self.builder, self.scalar_bytes = builder, dtype.bitwidth // 8
        self.lanes = max(vector_bytes // self.scalar_bytes, 1)
        self.scalar = ir.FloatType() if self.scalar_bytes == 4 else ir.DoubleType()
        self.type = ir.VectorType(self.scalar, self.lanes)
        # fmuladd: one instruction if the host has it, else a product and a sum
        self._multiply_add = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(self.type, [self.type] * 3),
            f"llvm.fmuladd.v{self.lanes}f{8 * self.scalar_bytes}",
        )

    def _address(self, pointer: ir.Value, v: int) -> ir.Value:
        element = self.builder.gep(pointer, [intp(self.lanes * v)])
        return self.builder.bitcast(element, self.type.as_pointer())

    def load(self, pointer: ir.Value, v: int = 0) -> ir.Value:
        """Vector number v, counted from a pointer to an array element, aligned or not."""
        value = self.builder.load(self._address(pointer, v))
        value.align = self.scalar_bytes
        return value

    def store(self, value: ir.Value, pointer: ir.Value, v: int = 0) -> None:
        self.builder.store(value, self._address(pointer, v)).align = self.scalar_bytes

    def at_least(self, floor: ir.Value, x: ir.Value) -> ir.Value:
        """x, or `floor` where x is not larger; NaN stays NaN."""
        return self.builder.select(self.builder.fcmp_ordered("<=", x, floor), floor, x)

    def multiply_add(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        return self.builder.call(self._multiply_add, [a, b, c])

    def broadcast(self, scalar: ir.Value) -> ir.Value:
        """A vector with `scalar`, of any type, in every lane."""
        undefined = ir.Constant(ir.VectorType(scalar.type, self.lanes), ir.Undefined)
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        in_lane_0 = self.builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
        return self.builder.shuffle_vector(in_lane_0, undefined, zeros)

    def register(self, value: ir.Value) -> ir.Value:
        """A variable with `value` in it: an alloca in the entry block, for LLVM a register."""
        variable = cgutils.alloca_once(self.builder, value.type)
        self.builder.store(value, variable)
        return variable


class FirstLanes(Vectors):
    """Vectors of which the first `n_lanes` lanes alone are loaded and stored."""

    def __init__(
        self, builder: ir.IRBuilder, dtype: Any, vector_bytes: int, n_lanes: ir.Value
    ) -> None:
        super().__init__(builder, dtype, vector_bytes)
        numbers = ir.Constant(ir.VectorType(I64, self.lanes), list(range(self.lanes)))
        self.mask = builder.icmp_signed("<", numbers, self.broadcast(n_lanes))
        i32, pointer = ir.IntType(32), self.type.as_pointer()
        self.alignment = ir.Constant(i32, self.scalar_bytes)
        suffix = f"v{self.lanes}f{8 * self.scalar_bytes}"
        suffix = f"{suffix}.p0{suffix}"
        self._load, self._store = (
            cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.{name}.{suffix}")
            for name, kind in (
                ("load", ir.FunctionType(self.type, [pointer, i32, self.mask.type, self.type])),
                (
                    "store",
                    ir.FunctionType(ir.VoidType(), [self.type, pointer, i32, self.mask.type]),
                ),
            )
        )

    def load(self, pointer: ir.Value, v: int = 0) -> ir.Value:
        zeros = ir.Constant(self.type, [0.0] * self.lanes)
        arguments = [self._address(pointer, v), self.alignment, self.mask, zeros]
        return self.builder.call(self._load, arguments)

    def store(self, value: ir.Value, pointer: ir.Value, v: int = 0) -> None:
        arguments = [value, self._address(pointer, v), self.alignment, self.mask]
        self.builder.call(self._store, arguments)


def for_first_lanes(
    builder: ir.IRBuilder,
    dtype: Any,
    vector_bytes: int,
    n_lanes: ir.Value,
    emit: Callable[[Vectors], None],
) -> None:
    """Emit code for the first `n_lanes` lanes of a vector.

    With 512 bits there is also a variant for half a vector, for n_lanes that fit in it: many
    processors do two operations on 256 bits in the time of one on 512.
    """
    if vector_bytes < 64:
        emit(FirstLanes(builder, dtype, vector_bytes, n_lanes))
        return
    half = vector_bytes // 2
    fits = builder.icmp_signed("<=", n_lanes, intp(half * 8 // dtype.bitwidth))
    with builder.if_else(fits) as (then, otherwise):
        with then:
            emit(FirstLanes(builder, dtype, half, n_lanes))
        with otherwise:
            emit(FirstLanes(builder, dtype, vector_bytes, n_lanes))


def for_whole_or_first_lanes(
    builder: ir.IRBuilder,
    dtype: Any,
    vector_bytes: int,
    n_lanes: ir.Value,
    emit: Callable[[Vectors], None],
) -> None:
    """As `for_first_lanes`, and a variant for a whole vector, for n_lanes that fill it."""
    whole = Vectors(builder, dtype, vector_bytes)
    fills = builder.icmp_signed(">=", n_lanes, intp(whole.lanes))
    with builder.if_else(fills) as (then, otherwise):
        with then:
            emit(whole)
        with otherwise:
            for_first_lanes(builder, dtype, vector_bytes, n_lanes, emit)


def element(
    context: Any, builder: ir.IRBuilder, array_type: Any, array: ir.Value, offset: ir.Value
) -> ir.Value:
    """Pointer to element `offset` of a flat array.  `array` may be a pointer to its data, too."""
    if isinstance(array.type, ir.PointerType):
        return builder.gep(array, [offset])
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [offset])


def opaque(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """`value` passed through empty assembly, so that LLVM cannot see how it was computed."""
    return builder.asm(ir.FunctionType(value.type, [value.type]), "", "=r,0", [value], False)


@contextmanager
def loop(
    builder: ir.IRBuilder, count: ir.Value, pointers: list[ir.Value], steps: list[ir.Value]
) -> Iterator[list[ir.Value]]:
    """Emit `for k in range(count)`; the body of the `with` statement is the loop's body.

    Yields the pointers of iteration k: pointers[p] + k * steps[p] elements.
    LLVM is told not to unroll the loop: its body is large, and copies of it would multiply the
    compile time of every kernel.
    """
    before = builder.block
    test, body, end = (
        builder.append_basic_block(f"loop.{name}") for name in ("test", "body", "end")
    )
    builder.branch(test)
    builder.position_at_end(test)
    k = builder.phi(I64)
    current = [builder.phi(pointer.type) for pointer in pointers]
    builder.cbranch(builder.icmp_signed("<", k, count), body, end)
    builder.position_at_end(body)
    yield current
    next_values = [builder.add(k, intp(1))]
    next_values += [builder.gep(pointer, [step]) for pointer, step in zip(current, steps)]
    for phi, first, later in zip([k, *current], [intp(0), *pointers], next_values):
        phi.add_incoming(first, before)
        phi.add_incoming(later, builder.block)
    no_unrolling = builder.module.add_metadata(
        [ir.MetaDataString(builder.module, "llvm.loop.unroll.disable")]
    )
    loop_id = builder.module.add_metadata([no_unrolling])
    loop_id.operands = (loop_id, no_unrolling)  # LLVM requires that a loop's id refers to itself
    builder.branch(test).set_metadata("llvm.loop", loop_id)
    builder.position_at_end(end)


def for_each_row_count(
    builder: ir.IRBuilder, rows: ir.Value, max_rows: int, emit: Callable[[int], None]
) -> None:
    """Emit a variant of the code, emit(n_rows), for each n_rows from 1 to max_rows, and a jump to
    the one for `rows`, a number known only at run time."""
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
    """Make the code of an intrinsic a separate LLVM function, which its callers call.

    For intrinsics that return nothing.  LLVM then compiles the code once for each module, however
    often it is called, and not as a part of a large function: compile time grows faster than the
    size of a function.  `codegen` gets pointers to the data instead of arrays, see `element`.
    """
    name = f"tinycnn.{codegen.__qualname__}.{id(codegen)}"  # a `make_` function makes several

    def call(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
        values = [
            context.make_array(kind)(context, builder, value).data
            if isinstance(kind, types.Array)
            else value
            for kind, value in zip(sig.args, args)
        ]
        signature = f"{name}({', '.join(str(value.type) for value in values)})"
        function = builder.module.globals.get(signature)
        if function is None:
            function_type = ir.FunctionType(ir.VoidType(), [value.type for value in values])
            function = ir.Function(builder.module, function_type, signature)
            function.linkage = "internal"
            function.attributes.add("noinline")
            inner = ir.IRBuilder(function.append_basic_block("entry"))
            codegen(context, inner, sig, function.args)
            inner.ret_void()
        builder.call(function, values)
        return context.get_dummy_value()

    return call
