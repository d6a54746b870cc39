"""exp(u) for u <= 0 in float64, without branches or calls, so that LLVM vectorises loops with it.

    u = n ln 2 + r,     n a whole number, |r| <= ln 2 / 2                                       (1)
    exp(u) = s * (1 + q),   s = 2^n,   q = exp(r) - 1 = r + r^2/2! + r^3/3! + ...               (2)
    exp(u) - 1 = s * q + (s - 1)                                                                (3)

The series ends with r^13/13!: what is left out is below 1e-17 of exp(r).  In (3) neither term
cancels the other, so it is as exact near u = 0 as elsewhere.
Source: Tang 1989, "Table-driven implementation of the exponential function", for (1) and (2).
"""

import math

import numpy as np

from ._jit import inline_helper

LOG2_E = 1 / math.log(2)
LN2_HIGH = float.fromhex("0x1.62e42fee00000p-1")
"""ln 2 with zeros for its last 21 bits: its products with n have no rounding error."""
LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
SHIFT = 1.5 * 2.0**52 + 1023
"""Added to a number, it rounds it to a whole number n, and the sum's lowest bits hold n + 1023: the
exponent bits of 2^n."""
LEAST = -708.396
"""exp(u) is a normal number down to u = -708.3964.  Below LEAST it counts as 0."""
C2, C3, C4, C5, C6, C7, C8, C9, C10, C11, C12, C13 = (1 / math.factorial(k) for k in range(2, 14))


@inline_helper
def exp_parts(u):
    """s and q of (2), float64, for u <= 0, float64; a NaN in u is one in q."""
    v = LEAST if u < LEAST else u
    shifted = np.float64(v * LOG2_E + SHIFT)
    n = shifted - SHIFT
    r = (v - n * LN2_HIGH) - n * LN2_LOW  # (1)
    bits = np.int64(shifted.view(np.int64) << 52)
    s = 0.0 if u < LEAST else bits.view(np.float64)
    t = C9 + r * (C10 + r * (C11 + r * (C12 + r * C13)))
    t = C4 + r * (C5 + r * (C6 + r * (C7 + r * (C8 + r * t))))
    q = r + r * r * (C2 + r * (C3 + r * t))  # (2)
    return s, q
