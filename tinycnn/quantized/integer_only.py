"""A quantised network in integers alone, as processors without floats compute it.

A sum becomes an integer of the output by an integer product and a shift, in the place of equation
(3) of quantization.py:

    q_out = clip(((total[f] M[f] + 2**(s[f]-1)) >> s[f]) + z_out, low, high)                    (6)

M[f] / 2**s[f] is m[f] of equation (4) without the rounding to float32: s is chosen so that M =
round(m 2**s) has 31 bits.  The product has 64 bits, and >> rounds down: the quotient is rounded to
the nearest integer, and a half upwards.  TensorFlow Lite and CMSIS-NN call this "single rounding".
s is at least 1 and at most 62: for an m too large for that M is 2**31 - 1, and for an m too small
it has fewer bits.

The mean of a window of n values has m = s / (s_out n).  Logits are integers of 32 bits with one
scale S for all classes: S is the largest s s_w[f], and m[f] = s s_w[f] / S; the logits of a mean
have S = s / n and m = 1.

An image that is standardized, with n values p, their sum A and the sum B of their squares:

    (p - mean) / deviation = (n p - A) / sqrt(D),    D = max(n B - A A, n)                      (7)
    q = clip((((n p - A) G + half) >> t) + z, 0, 255)                                           (8)
    G = floor(M 2**30 / R),  R = floor(sqrt(D 4**k)),  t = 30 + s - k,  half = 2**(t-1)         (9)

where M / 2**s is 1 / scale of the input, and k makes D 4**k at least 2**60 and less than 2**62.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..input_spec import InputSpec
from .calibration import pixel_table
from .program import WITH_WEIGHTS, Operation, Program
from .quantization import LARGEST, Quantization
from .reference_program import BATCH, ReferenceProgram, weighted_sums, window_sums

LARGEST_NUMERATOR = (1 << 31) - 1
LARGEST_SHIFT = 62
MOST_STANDARDIZED = 1 << 20
"""An image of more values has sums that (8) does not hold in 64 bits."""


class IntegerLogits(NamedTuple):
    """Logits as integers: values (N, K) int32; times `scale` they are the logits."""

    values: np.ndarray
    scale: float


class Factors(NamedTuple):
    """M and s of equation (6), int64 arrays of one shape."""

    numerators: np.ndarray
    shifts: np.ndarray


def factors_of(m: np.ndarray) -> Factors:
    """M and s for positive numbers m (float64)."""
    found = [_factor(float(one)) for one in np.ravel(m)]
    numerators, shifts = (np.array(column, np.int64).reshape(np.shape(m)) for column in zip(*found))
    return Factors(numerators, shifts)


def _factor(m: float) -> tuple[int, int]:
    fraction, exponent = math.frexp(m)  # m = fraction 2**exponent, 0.5 <= fraction < 1
    numerator, shift = round(math.ldexp(fraction, 31)), 31 - exponent
    if numerator > LARGEST_NUMERATOR:
        numerator, shift = numerator // 2, shift - 1
    if shift < 1:
        return LARGEST_NUMERATOR, 1
    if shift > LARGEST_SHIFT:
        return round(math.ldexp(m, LARGEST_SHIFT)), LARGEST_SHIFT
    return numerator, shift


def weight_factors(program: Program, operation: Operation) -> Factors:
    """The factors that bring the sums of each filter to the units of the operation's output."""
    units = _units(program, operation)
    if operation.output is None:
        return factors_of(units / units.max())
    return factors_of(units / float(operation.output.scale))


def mean_factors(program: Program, operation: Operation, counts: np.ndarray) -> Factors:
    """The factors that turn sums over windows into means in the units of the operation's output.

    counts: how many values each window has
    """
    if operation.output is None:
        return factors_of(np.ones(len(counts)))
    scale = float(program.quantization(operation.inputs[0]).scale)
    return factors_of(scale / (float(operation.output.scale) * np.asarray(counts, np.float64)))


def logit_scale(program: Program) -> float:
    """What an integer of the logits is worth."""
    last = program.operations[-1]
    if last.output is not None:
        return float(last.output.scale)
    if last.kind in WITH_WEIGHTS:
        return float(_units(program, last).max())
    H, W = last.step.input_shape[:2]
    return float(program.quantization(last.inputs[0]).scale) / (H * W)


def _units(program: Program, operation: Operation) -> np.ndarray:
    """s s_w[f], float64."""
    scale = float(program.quantization(operation.inputs[0]).scale)
    return scale * operation.arrays["scale"].astype(np.float64)


def check_integer_only(program: Program, spec: InputSpec) -> None:
    """Raise ValueError for a network that cannot be computed in integers alone: what, and where."""
    if in_floats := program.first_in_floats():
        raise ValueError(f"{in_floats}: it has no form in integers alone")
    n = math.prod(spec.shape)
    if spec.scaling == "standardized" and n > MOST_STANDARDIZED:
        raise ValueError(
            f"the input has {n:,} values, scaled 'standardized'; expected at most "
            f"{MOST_STANDARDIZED:,} for a network in integers alone"
        )


def rescaled(total: np.ndarray, factors: Factors) -> np.ndarray:
    """total M / 2**s, rounded as in (6): int64.  total: integers of 32 bits in any dtype."""
    numerators, shifts = factors
    half = np.left_shift(np.int64(1), shifts - 1)
    return np.asarray((total.astype(np.int64) * numerators + half) >> shifts)


def one_over(scale: np.float32) -> Factors:
    """M and s of 1 / scale, for (9)."""
    return factors_of(np.array(1.0 / float(scale)))


def standardized_tables(images: np.ndarray, x: Quantization) -> np.ndarray:
    """uint8 (N, 256): the integer of the input for each value of a pixel of each image, (7) to (9).

    images: uint8 (N, H, W, C)
    """
    numerator, shift = (int(part) for part in one_over(x.scale))
    pixels, tables = np.arange(LARGEST + 1), np.empty((len(images), LARGEST + 1), np.uint8)
    for image, table in zip(images, tables):
        n, A = image.size, int(image.sum(dtype=np.int64))
        D = max(n * int(np.square(image, dtype=np.int64).sum()) - A * A, n)
        k = (62 - D.bit_length()) // 2
        G = (numerator << 30) // math.isqrt(D << 2 * k)
        t = 30 + shift - k
        levels = ((n * pixels - A) * G + (1 << (t - 1))) >> t
        table[:] = np.clip(levels + x.zero_point, 0, LARGEST)
    return tables


class IntegerProgram(ReferenceProgram):
    """Runs a program in integers alone, in NumPy: what the C program for processors without floats
    is compared with.  Raises ValueError as `check_integer_only` does.

    spec  of the images
    """

    def __init__(self, program: Program, spec: InputSpec) -> None:
        check_integer_only(program, spec)
        super().__init__(program)
        self.pixel_table = pixel_table(spec, program.input)

    def logits_of(self, images: np.ndarray) -> IntegerLogits:
        """Of images (N, H, W, C) uint8."""
        n_classes = self.program.plan.output_shape[0]
        logits = np.empty((len(images), n_classes), np.int32)
        for k in range(0, len(images), BATCH):
            part = images[k : k + BATCH]
            if self.pixel_table is None:
                tables = standardized_tables(part, self.program.input)
                x = np.stack([table[image] for table, image in zip(tables, part)])
            else:
                x = self.pixel_table[np.arange(part.shape[3]), part]
            logits[k : k + BATCH] = self.outputs(x)[-1]
        return IntegerLogits(logits, logit_scale(self.program))

    def _logits(self, last: np.ndarray) -> np.ndarray:
        output = self.program.operations[-1].output
        return last if output is None else last.astype(np.int32) - output.zero_point

    def _output(self, operation: Operation, given: list[np.ndarray]) -> np.ndarray:
        x = self.program.quantization(operation.inputs[0])
        if operation.kind in WITH_WEIGHTS:
            total = weighted_sums(operation, given[0], x) + operation.arrays["b"]
            return self._rounded(total, weight_factors(self.program, operation), operation)
        if operation.kind == "average_pool":
            step = operation.step
            total, counts = window_sums(
                given[0], x, step.window, step.counts_padding, operation.shape
            )
            factors = mean_factors(self.program, operation, counts.ravel())
            found = Factors(*(part.reshape(*counts.shape, 1) for part in factors))
            return self._rounded(total, found, operation).reshape(-1, *operation.shape)
        return super()._output(operation, given)

    def _rounded(self, total: np.ndarray, factors: Factors, operation: Operation) -> np.ndarray:
        """Equation (6); int32 for the logits."""
        q = rescaled(total, factors)
        if operation.output is None:
            return q.astype(np.int32)
        return np.clip(q + operation.output.zero_point, *operation.limits).astype(np.uint8)
