"""The kinds of functions that operations have, and the arguments of each kind.

    op           the operation's record, see `operations.py`
    weights      `arrays.Weights`
    statistics   `arrays.BatchStatistics`
    x, y         its input and output for the images of the chunk, flat
    dy, dx       the gradients of y and x; an empty dx is not computed
    activations  `arrays.Activations`
    scratch      `arrays.ForwardScratch`, or `arrays.BackwardScratch`
    gradients    `arrays.Gradients`
    sums         (n_parameter_slots) overwritten by backward: gradients of the parameters, summed
                 over the images of the chunk
    chunk        `arrays.Chunk`
    training     1 in a training step, 0 in prediction

`linking.py` says which function does an operation.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._calls import Pass
from .arrays import (
    NO_STATISTICS,
    Activations,
    BackwardScratch,
    Chunk,
    ForwardScratch,
    Gradients,
    Weights,
)
from .operations import RECORD

_OP, _NO_INT32, _NO_CHUNK = np.zeros(1, RECORD)[0], np.zeros(0, np.int32), Chunk(0, 0, 0, 0, 0)


def _weights(no: np.ndarray) -> Weights:
    return Weights(np.zeros(0, RECORD), no, no, no, no)


def _activations(no: np.ndarray) -> Activations:
    return Activations(0, no, no, 0, no, _NO_INT32, 0, no)


def _gradients(no: np.ndarray) -> Gradients:
    return Gradients(no, no.reshape(0, 0), no)


def _forward(dtype: np.dtype) -> tuple[Any, ...]:
    no = np.zeros(0, dtype)
    scratch = ForwardScratch(no, no, no)
    return _OP, _weights(no), NO_STATISTICS, no, no, _activations(no), scratch, _NO_CHUNK, 0


def _backward(dtype: np.dtype) -> tuple[Any, ...]:
    no = np.zeros(0, dtype)
    scratch = BackwardScratch(
        0, no, no, no, no, no, no, no, _NO_INT32, np.zeros(0, np.int64), _NO_INT32, no
    )
    return (
        _OP, _weights(no), NO_STATISTICS, no, no, no, no, _activations(no), _gradients(no), scratch,
        no, _NO_CHUNK,
    )  # fmt: skip


def _activate(dtype: np.dtype) -> tuple[Any, ...]:
    return _OP, np.zeros(0, dtype)


def _activate_backward(dtype: np.dtype) -> tuple[Any, ...]:
    return _OP, np.zeros(0, dtype), np.zeros(0, dtype)


def _prepare(dtype: np.dtype) -> tuple[Any, ...]:
    return _OP, _weights(np.zeros(0, dtype))


def _collect(dtype: np.dtype) -> tuple[Any, ...]:
    no = np.zeros(0, dtype)
    return _OP, _weights(no), no, _gradients(no), 0, 0, 0, 0


FORWARD = Pass("forward", _forward)
BACKWARD = Pass("backward", _backward)
ACTIVATE = Pass("activate", _activate)
ACTIVATE_BACKWARD = Pass("activate backward", _activate_backward)
PREPARE = Pass("prepare", _prepare)
"""(op, weights): stores the operation's weights in another order, or transformed."""

COLLECT = Pass("collect", _collect)
"""(op, weights, x, gradients, n_images, capacity, share, n_shares): a share of the gradients of the
parameters for the whole batch, see `program_collect`."""
