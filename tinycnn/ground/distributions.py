"""Distributions over classes: the check that losses and data sets share, and log_sum_exp."""

from __future__ import annotations

import numpy as np

ROW_SUM_TOLERANCE = 1e-3
"""The sum of a row may differ from 1 by this much, as annotators' votes are often rounded."""


def is_distribution(rows: np.ndarray) -> np.ndarray:
    """bool (...): whether each of the rows (..., K) is a distribution: no entry is negative, NaN or
    infinite, and the sum differs from 1 by at most ROW_SUM_TOLERANCE."""
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


def log_sum_exp(values: np.ndarray) -> np.ndarray:
    """log(sum(exp(values))) over the last axis, which is kept with size 1: float64."""
    values = values.astype(np.float64)
    highest = values.max(axis=-1, keepdims=True)
    return highest + np.log(np.exp(values - highest).sum(axis=-1, keepdims=True))
