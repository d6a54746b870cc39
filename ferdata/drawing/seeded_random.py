"""Seeded random draws that are the same on every machine."""

from __future__ import annotations

import numpy as np


class SeededRandom:
    """Seeded random draws, a pure function of `key`: the same on every machine.

    PCG64 promises its stream of raw 64-bit words; NumPy's Generator methods promise no stream.
    """

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(list(key)))

    def uniform(self) -> float:
        """Uniform in [0, 1), 53 bits."""
        return (int(self._bits.random_raw()) >> 11) * 2.0**-53

    def between(self, low: float, high: float) -> float:
        """Uniform in [low, high)."""
        return low + (high - low) * self.uniform()

    def around(self, centre: float, spread: float) -> float:
        """Bell-shaped in centre +- spread: the mean of three uniforms."""
        return centre + spread * (
            (self.uniform() + self.uniform() + self.uniform()) * (2.0 / 3.0) - 1.0
        )

    def chance(self, probability: float) -> bool:
        return self.uniform() < probability

    def grain(self, n: int) -> np.ndarray:
        """(n,) int32 noise of mean 0: the sum of four bytes less 510; standard deviation 147.8."""
        words = self._bits.random_raw((n + 1) // 2)
        words = words.astype("<u8").view("<u4")[:n]
        pairs = (words & 0x00FF00FF) + ((words >> 8) & 0x00FF00FF)
        return ((pairs & 0xFFFF) + (pairs >> 16)).astype(np.int32) - 510
