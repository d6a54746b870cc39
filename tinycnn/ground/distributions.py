"""What counts as a distribution over classes: decided here for losses and data sets alike."""

from __future__ import annotations

import numpy as np

ROW_SUM_TOLERANCE = 1e-3
"""How far the sum of a row may be from 1 (annotators' votes are often rounded)."""


def is_distribution(rows: np.ndarray) -> np.ndarray:
    """bool (...): whether each of the rows (..., K) is a distribution: no entry is below 0, NaN or
    infinite, and the sum is 1 within ROW_SUM_TOLERANCE."""
    with np.errstate(invalid="ignore", over="ignore"):
        sums = rows.sum(axis=-1, dtype=np.float64)
        # Written so that NaN fails; inf fails because it is not within the tolerance of 1.
        return (rows >= 0).all(axis=-1) & (abs(sums - 1) <= ROW_SUM_TOLERANCE)


def first_wrong_row(rows: np.ndarray) -> tuple[int, float] | None:
    """Number and sum of the first of the rows (N, K) that is no distribution.  None: all are."""
    good = is_distribution(rows)
    if good.all():
        return None
    row = int(np.argmin(good))
    with np.errstate(invalid="ignore", over="ignore"):
        return row, float(rows[row].sum(dtype=np.float64))
