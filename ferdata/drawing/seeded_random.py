"""Random numbers that are the same on every machine and with every version of NumPy."""

from __future__ import annotations

import numpy as np


class SeededRandom:
    """Random numbers that depend only on `key` and the order of the calls.

    They are made from PCG64's raw words: NumPy may change Generator's methods, but not these.
    """

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(list(key)))

    def uniform(self) -> float:
        """Uniform in [0, 1), with 53 random bits."""
        return (int(self._bits.random_raw()) >> 11) * 2.0**-53

    def between(self, low: float, high: float) -> float:
        """Uniform in [low, high)."""
        return low + (high - low) * self.uniform()

    def around(self, centre: float, spread: float) -> float:
        """The mean of three numbers that are uniform in centre +- spread: bell-shaped."""
        total = self.uniform() + self.uniform() + self.uniform()
        return centre + spread * (total * (2.0 / 3.0) - 1.0)

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.uniform() < probability

    def grain(self, n: int) -> np.ndarray:
        """int32 (n,): noise of mean 0 and standard deviation 147.8; sums of 4 bytes, minus 510."""
        words = self._bits.random_raw((n + 1) // 2)
        words = words.astype("<u8").view("<u4")[:n]
        pairs = (words & 0x00FF00FF) + ((words >> 8) & 0x00FF00FF)
        return ((pairs & 0xFFFF) + (pairs >> 16)).astype(np.int32) - 510
