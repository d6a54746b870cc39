"""The peak arithmetic rate of one core: fused multiply-adds on registers, without memory."""

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
"""Independent sums: enough to hide the latency of a multiply-add (4 cycles, with 2 started in each
cycle, need 8), few enough to fit into 16 registers together with the operands."""

N_TURNS = 200_000
"""Iterations of the loop: about a millisecond, as long as a kernel's turn in the roofline."""


def _make_multiply_adds(lanes: int) -> Any:
    """A Numba intrinsic (n_turns, start float32) -> float32, the sum of all lanes.

    It repeats n_turns times: one multiply-add on each of N_ACCUMULATORS vectors of `lanes` float32.
    """

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
            for k, a in enumerate(acc):  # different values, or LLVM would merge the accumulators
                start_k = builder.fadd(first, broadcast(ir.Constant(scalar, float(k))))
                builder.store(start_k, a)
            with cgutils.for_range(builder, n_turns):
                for a in acc:  # a = a/2 + start stays finite and never becomes denormal
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
    """The loop with the vector width that is fastest here; `rate()` runs it once."""

    def __init__(self) -> None:
        self.lanes, best = 4, 0.0
        self._run = _loop(4)
        for lanes in (4, 8, 16):
            loop = _loop(lanes)
            rate = max(self._rate(loop, lanes) for _ in range(5))
            if rate > 1.02 * best:
                self.lanes, self._run, best = lanes, loop, rate

    @staticmethod
    def _rate(loop: Callable[[int, np.float32], float], lanes: int) -> float:
        started = time.perf_counter()
        loop(N_TURNS, np.float32(1))
        return N_TURNS * N_ACCUMULATORS * lanes / (time.perf_counter() - started)

    def rate(self) -> float:
        """Multiply-adds per second of one run of the loop."""
        return self._rate(self._run, self.lanes)
