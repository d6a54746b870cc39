"""What counts as a distribution over classes: decided here for losses and data sets alike."""

from __future__ import annotations

import numpy as np

ROW_SUM_TOLERANCE = 1e-3
"""How far the sum of a row may be from 1 (annotators' votes are often rounded)."""


def first_wrong_row(rows: np.ndarray) -> tuple[int, float] | None:
    """Number and sum of the first of the rows (N, K), floating, that is no distribution: an entry
    below 0, NaN or infinite, or a sum that is not 1 within ROW_SUM_TOLERANCE.  None: all are."""
    with np.errstate(invalid="ignore", over="ignore"):
        sums = rows.sum(axis=1, dtype=np.float64)
    # Written so that NaN fails; inf fails because it is not within the tolerance of 1.
    good = (rows >= 0).all(axis=1) & (abs(sums - 1) <= ROW_SUM_TOLERANCE)
    if good.all():
        return None
    row = int(np.argmin(good))
    return row, float(sums[row])
