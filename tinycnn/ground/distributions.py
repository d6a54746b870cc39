"""The check for distributions over classes, shared by losses and data sets."""

from __future__ import annotations

import numpy as np

ROW_SUM_TOLERANCE = 1e-3
"""The sum of a row may differ from 1 by this much, as annotators' votes are often rounded."""


def first_wrong_row(rows: np.ndarray) -> tuple[int, float] | None:
    """The number and the sum of the first of the rows (N, K), floating, that is not a distribution:
    an entry is negative, NaN or infinite, or the sum differs from 1 by more than ROW_SUM_TOLERANCE.
    None if all rows are distributions."""
    with np.errstate(invalid="ignore", over="ignore"):
        sums = rows.sum(axis=1, dtype=np.float64)
    # Written so that NaN fails; inf fails because it is not within the tolerance of 1.
    good = (rows >= 0).all(axis=1) & (abs(sums - 1) <= ROW_SUM_TOLERANCE)
    if good.all():
        return None
    row = int(np.argmin(good))
    return row, float(sums[row])
