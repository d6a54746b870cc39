"""Which functions do an operation; puts their addresses into the records of a table.

To add an operation, give it a `kind` in `operations.py`, and its functions here.  They have the
arguments that `passes.py` lists.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import (
    activations,
    averagepool2d,
    batch_norm,
    batch_norm_maxpool2d,
    conv2d_1x1,
    conv2d_operation,
    dense,
    depthwise_conv2d,
    dropout,
    maxpool2d,
    prelu,
    scale_shift,
)
from ._calls import Pass
from .operations import (
    AVERAGEPOOL2D,
    BATCH_MOMENTS,
    BATCH_NORM,
    CLIPPED_RELU,
    COLUMNS_AND_POOL,
    CONV2D,
    DENSE,
    DEPTHWISE_CONV2D,
    DROPOUT,
    LEAKY_RELU,
    MAXPOOL2D,
    PRELU,
    RELU,
    SCALE_SHIFT,
    SIGMOID,
    STRIDE_1,
    STRIDE_2,
    TANH,
    is_prepared,
)
from .passes import ACTIVATE, ACTIVATE_BACKWARD, BACKWARD, COLLECT, FORWARD, PREPARE

Function = Callable[..., None]

_FORWARD: dict[int, Function] = {
    DEPTHWISE_CONV2D: depthwise_conv2d.depthwise_conv2d_operation_forward,
    MAXPOOL2D: maxpool2d.maxpool2d_operation_forward,
    AVERAGEPOOL2D: averagepool2d.averagepool2d_operation_forward,
    DENSE: dense.dense_operation_forward,
    PRELU: prelu.prelu_operation_forward,
    DROPOUT: dropout.dropout_operation_forward,
    SCALE_SHIFT: scale_shift.scale_shift_operation_forward,
    BATCH_NORM: batch_norm.batch_norm_operation_forward,
    BATCH_MOMENTS: batch_norm.batch_moments_operation_forward,
}

_BACKWARD: dict[int, Function] = {
    DEPTHWISE_CONV2D: depthwise_conv2d.depthwise_conv2d_operation_backward,
    MAXPOOL2D: maxpool2d.maxpool2d_operation_backward,
    AVERAGEPOOL2D: averagepool2d.averagepool2d_operation_backward,
    DENSE: dense.dense_operation_backward,
    PRELU: prelu.prelu_operation_backward,
    DROPOUT: dropout.dropout_operation_backward,
    SCALE_SHIFT: scale_shift.scale_shift_operation_backward,
    BATCH_NORM: batch_norm.batch_norm_operation_backward,
    BATCH_MOMENTS: batch_norm.batch_moments_operation_backward,
}

_ACTIVATE: dict[int, Function] = {
    RELU: activations.relu_activate,
    CLIPPED_RELU: activations.clipped_relu_activate,
    LEAKY_RELU: activations.leaky_relu_activate,
    SIGMOID: activations.sigmoid_activate,
    TANH: activations.tanh_activate,
}

_ACTIVATE_BACKWARD: dict[int, Function] = {
    RELU: activations.relu_activate_backward,
    CLIPPED_RELU: activations.clipped_relu_activate_backward,
    LEAKY_RELU: activations.leaky_relu_activate_backward,
    SIGMOID: activations.sigmoid_activate_backward,
    TANH: activations.tanh_activate_backward,
}


class Link(NamedTuple):
    """A field of the records with the address of a function of some kind."""

    field: str
    kind: Pass
    function_of: Callable[[np.record], Any]  # of an operation; None if it needs none


def link(operations: np.ndarray, dtype: np.dtype, links: Sequence[Link]) -> None:
    """Store the addresses of the functions in the records of a table.  A function is compiled, or
    loaded from the cache, if it is not yet.  Raises CompileError.

    dtype  of the network;  links  PREDICTION or TRAINING
    """
    for each in links:
        for op in operations:
            function = each.function_of(op)
            op[each.field] = 0 if function is None else each.kind.address(function, dtype)


def functions_of(operations: np.ndarray, links: Sequence[Link]) -> list[tuple[Pass, Any]]:
    """The functions whose addresses `link` stores, each once and in the same order."""
    pairs = [(each.kind, each.function_of(op)) for each in links for op in operations]
    return [pair for pair in dict.fromkeys(pairs) if pair[1] is not None]


_PACK_WEIGHTS: dict[int, Function] = {
    CONV2D: conv2d_operation.conv2d_operation_pack_weights,
    DENSE: dense.dense_operation_pack_weights,
}


def _prediction_of(op: np.record) -> Function | None:
    if op.kind == CONV2D and op.by_columns == COLUMNS_AND_POOL:
        return conv2d_operation.conv2d_operation_forward_columns
    return _forward_of(op)


def _forward_of(op: np.record) -> Function | None:
    if op.kind == CONV2D:
        if op.winograd == STRIDE_2:
            return conv2d_operation.conv2d_operation_forward_winograd
        if op.winograd == STRIDE_1:
            return conv2d_operation.conv2d_operation_forward_winograd_3x3
        if op.by_columns and op.pool:
            return conv2d_operation.conv2d_operation_forward_columns_pool
        if op.by_columns:
            return conv2d_operation.conv2d_operation_forward_columns
        if op.pool:
            return conv2d_operation.conv2d_operation_forward_pool
        return conv2d_operation.conv2d_operation_forward
    if op.kind == DEPTHWISE_CONV2D and op.is_3x3:
        return depthwise_conv2d.depthwise_conv2d_operation_forward_3x3
    if op.kind == BATCH_MOMENTS and op.pool:
        return batch_norm_maxpool2d.batch_moments_operation_forward_pool
    return _FORWARD.get(int(op.kind))


def _backward_of(op: np.record) -> Function | None:
    if op.kind == CONV2D:
        if op.pool:
            return conv2d_operation.conv2d_operation_backward_pool
        if op.backward_tile:
            return conv2d_operation.conv2d_operation_backward_winograd_3x3
        if conv2d_1x1.fits(op):
            return conv2d_operation.conv2d_operation_backward_1x1
        return conv2d_operation.conv2d_operation_backward
    if op.kind == DEPTHWISE_CONV2D and op.is_3x3_backward:
        return depthwise_conv2d.depthwise_conv2d_operation_backward_3x3
    if op.kind == BATCH_MOMENTS and op.pool:
        return batch_norm_maxpool2d.batch_moments_operation_backward_pool
    return _BACKWARD.get(int(op.kind))


def _activate_of(op: np.record) -> Function | None:
    return None if op.fuses_relu else _ACTIVATE.get(int(op.activation))


def _activate_backward_of(op: np.record) -> Function | None:
    fuses_both = op.kind == BATCH_NORM and op.fuses_relu
    return None if fuses_both else _ACTIVATE_BACKWARD.get(int(op.activation))


def _prepare_of(op: np.record) -> Function | None:
    if op.winograd == STRIDE_2:
        return conv2d_operation.conv2d_operation_winograd_weights
    if op.winograd == STRIDE_1:
        return conv2d_operation.conv2d_operation_winograd_3x3_weights
    return _PACK_WEIGHTS[int(op.kind)] if is_prepared(op) else None


def _transpose_of(op: np.record) -> Function | None:
    if op.backward_tile:
        return conv2d_operation.conv2d_operation_transpose_winograd_3x3
    if op.kind == CONV2D:
        return conv2d_operation.conv2d_operation_transpose
    return dense.dense_operation_transpose if op.kind == DENSE else None


def _collect_of(op: np.record) -> Function | None:
    if op.kind == CONV2D and op.pool:
        return conv2d_operation.conv2d_operation_collect_pool
    return dense.dense_operation_collect if op.kind == DENSE else None


PREDICTION = (
    Link("forward_function", FORWARD, _prediction_of),
    Link("activate_function", ACTIVATE, _activate_of),
    Link("prepare_function", PREPARE, _prepare_of),
)

TRAINING = (
    Link("forward_function", FORWARD, _forward_of),
    Link("activate_function", ACTIVATE, _activate_of),
    Link("prepare_function", PREPARE, _prepare_of),
    Link("transpose_function", PREPARE, _transpose_of),
    Link("backward_function", BACKWARD, _backward_of),
    Link("activate_backward_function", ACTIVATE_BACKWARD, _activate_backward_of),
    Link("collect_function", COLLECT, _collect_of),
)
