"""The most that one core can do: fused multiply-adds on registers, no memory touched."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

N_ACCUMULATORS = 12
"""Enough independent sums to hide the latency of one (4 cycles at 2 a cycle need 8), and few
enough to stay in 16 registers beside the operands."""

N_TURNS = 200_000
"""About a millisecond, as long as a kernel's turn."""


def _make_multiply_adds(lanes: int) -> Any:
    """An intrinsic (n_turns, start float32) -> float32: n_turns times a multiply-add on each of
    N_ACCUMULATORS vectors of `lanes` float32."""

    @intrinsic
    def multiply_adds(typingctx, n_turns, start):
        def codegen(context, builder, signature, args):
            n_turns, start = args
            scalar, i32 = ir.FloatType(), ir.IntType(32)
            vector = ir.VectorType(scalar, lanes)
            undefined = ir.Constant(vector, ir.Undefined)

            def broadcast(value):
                one = builder.insert_element(undefined, value, i32(0))
                zeros = ir.Constant(ir.VectorType(i32, lanes), [0] * lanes)
                return builder.shuffle_vector(one, undefined, zeros)

            multiply_add = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{lanes}f32"
            )
            half = broadcast(ir.Constant(scalar, 0.5))
            first = broadcast(start)
            acc = [cgutils.alloca_once(builder, vector) for _ in range(N_ACCUMULATORS)]
            for k, a in enumerate(acc):  # different, or LLVM would merge them into one
                start_k = builder.fadd(first, broadcast(ir.Constant(scalar, float(k))))
                builder.store(start_k, a)
            with cgutils.for_range(builder, n_turns):
                for a in acc:  # a = a/2 + start: stays finite, never denormal
                    total = builder.call(multiply_add, [builder.load(a), half, first])
                    builder.store(total, a)
            total = builder.load(acc[0])
            for a in acc[1:]:
                total = builder.fadd(total, builder.load(a))
            result = builder.extract_element(total, i32(0))
            for lane in range(1, lanes):
                result = builder.fadd(result, builder.extract_element(total, i32(lane)))
            return result

        return types.float32(types.intp, types.float32), codegen

    return multiply_adds


def _loop(lanes: int) -> Callable[[int, np.float32], float]:
    multiply_adds = _make_multiply_adds(lanes)

    @njit(nogil=True)
    def loop(n_turns, start):
        return multiply_adds(n_turns, start)

    loop(1, np.float32(1))
    return loop


class Peak:
    """The loop for this host; `rate()` runs it once."""

    def __init__(self) -> None:
        """Takes the width that is fastest here: wider vectors are not always."""
        self.lanes, best = 4, 0.0
        self._run = _loop(4)
        for lanes in (4, 8, 16):
            loop = _loop(lanes)
            rate = max(self._rate(loop, lanes) for _ in range(5))
            if rate > 1.02 * best:
                self.lanes, self._run, best = lanes, loop, rate

    @staticmethod
    def _rate(loop: Callable, lanes: int) -> float:
        started = time.perf_counter()
        loop(N_TURNS, np.float32(1))
        return N_TURNS * N_ACCUMULATORS * lanes / (time.perf_counter() - started)

    def rate(self) -> float:
        """Multiply-adds a second, now."""
        return self._rate(self._run, self.lanes)
