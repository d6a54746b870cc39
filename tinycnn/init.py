"""Initial values of parameters: `initializer(rng, shape, dtype=...)` -> a new array.

Independent weights of variance 2 / (fan_in + fan_out) (Xavier: Glorot and Bengio, AISTATS 2010,
eq. 12 and 16) or 2 / fan_in (He: He et al., arXiv:1502.01852, eq. 10) keep the variance of signals
about constant from layer to layer.  A uniform distribution on -a..a has variance a*a / 3.

Values are drawn in float64 and rounded to dtype: a seed gives the same network in both precisions.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan_in, fan_out): how many inputs feed an output, how many outputs an input feeds.

    shape  dense (fan_in, units), or convolution (KH, KW, C, F): KH*KW*C and KH*KW*F
    Raises ValueError for any other number of axes, or an axis of length 0.
    """
    if len(shape) not in (2, 4) or min(shape) < 1:
        raise ValueError(f"weight of shape {shape}: expected (fan_in, units) or (KH, KW, C, F)")
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


def xavier_uniform(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: DTypeLike = np.float32
) -> np.ndarray:
    """Uniform on -a..a with a = sqrt(6 / (fan_in + fan_out)).  Raises as `fans`."""
    limit = math.sqrt(6 / sum(fans(shape)))
    return rng.uniform(-limit, limit, shape).astype(dtype)


def xavier_normal(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: DTypeLike = np.float32
) -> np.ndarray:
    """Normal with standard deviation sqrt(2 / (fan_in + fan_out)).  Raises as `fans`."""
    return normal(rng, shape, math.sqrt(2 / sum(fans(shape))), dtype)


def he_uniform(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: DTypeLike = np.float32
) -> np.ndarray:
    """Uniform on -a..a with a = sqrt(6 / fan_in).  Raises as `fans`."""
    limit = math.sqrt(6 / fans(shape)[0])
    return rng.uniform(-limit, limit, shape).astype(dtype)


def he_normal(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: DTypeLike = np.float32
) -> np.ndarray:
    """Normal with standard deviation sqrt(2 / fan_in).  Raises as `fans`."""
    return normal(rng, shape, math.sqrt(2 / fans(shape)[0]), dtype)


def normal(
    rng: np.random.Generator, shape: tuple[int, ...], std: float, dtype: DTypeLike = np.float32
) -> np.ndarray:
    """Normal with mean 0 and standard deviation `std`, any shape (the paper's biases: 0.5).

    Raises ValueError unless std is 0 or more and finite.
    """
    if not 0 <= std < math.inf:
        raise ValueError(f"std={std}: expected 0 or more, finite")
    return (std * rng.standard_normal(shape)).astype(dtype)


def zeros(
    rng: np.random.Generator | None, shape: tuple[int, ...], dtype: DTypeLike = np.float32
) -> np.ndarray:
    """Zeros of any shape.  `rng` is not used: it is an argument of every initializer."""
    return np.zeros(shape, dtype)


WEIGHTS = {
    "xavier_uniform": xavier_uniform,
    "xavier_normal": xavier_normal,
    "he_uniform": he_uniform,
    "he_normal": he_normal,
}
"""The functions that draw weights, by name."""
