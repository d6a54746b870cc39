"""Which compiled functions a network needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .folding import fold
from .plan import Plan

if TYPE_CHECKING:
    from .kernels._calls import Pass


def functions_of_network(
    plan: Plan, parameters: np.ndarray, training: bool
) -> list[tuple[Pass, Any]]:
    """What the operations need for prediction or, with `training`, for both: each function once, in
    the order in which a `KernelBackend` compiles them."""
    from .kernels.linking import PREDICTION, TRAINING, functions_of
    from .kernels.table import make_operations

    table = predicting = make_operations(plan, parameters.dtype)
    if table.sizes.n_moments:
        plan, _ = fold(plan, parameters, into_dense=False)
        predicting = make_operations(plan, parameters.dtype)
    found = functions_of(predicting.operations, PREDICTION)
    if training:
        found += functions_of(table.operations, TRAINING)
    return list(dict.fromkeys(found))


def prediction_is_compiled(plan: Plan, parameters: np.ndarray) -> bool:
    """Whether this process has compiled or loaded all that the operations need for prediction."""
    return all(
        kind.types(parameters.dtype) in getattr(function, "overloads", ())
        for kind, function in functions_of_network(plan, parameters, training=False)
    )
