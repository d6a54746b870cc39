"""A second process that helps to compile the kernels of a network.

Compiling takes ten to fifty seconds of one core.  A second thread would not help, because Numba
holds Python's interpreter lock.  So another process compiles the same functions in the opposite
order, and keeps them in the cache.  This process takes from there what it has not yet compiled: the
two meet in the middle.

There is none where `ground/compiler_process.py` starts none, with one core or little memory,
without a cache folder that can be written to, and for networks with layers of the user's own.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .first_predictions import description, has_own_layers, kept_code
from .ground import compiler_process
from .ground.free_memory import free_bytes
from .ground.log_messages import tell
from .ground.usable_cores import usable_cores
from .plan import Plan

LOCK = "compiling-backwards.lock"
"""At most one such process works for a cache folder."""

LEAST_FREE_BYTES = 1 << 30
"""Memory that has to be free.  The process takes up to 0.4 GB, measured for residual48."""


class _Second(NamedTuple):
    """A process that this one has started.  training: whether it compiles for that, too"""

    training: bool
    process: compiler_process.Process


_running: dict[str, _Second] = {}
"""By the description of the network."""

_loaded: set[tuple[str, bool]] = set()
"""The networks whose kernels this process has loaded: their descriptions, and whether those of
training."""


def start(plan: Plan, dtype: np.dtype, training: bool, is_asked: bool = False) -> None:
    """Start a second process for the kernels of a network, unless they are in the cache already.

    training  whether for training and prediction, or for prediction alone
    is_asked  also in a process that may not start others by itself
    """
    if has_own_layers(plan) or not (is_asked or compiler_process.may_start()):
        return
    described = description(plan, dtype)
    code = kept_code(plan, dtype, "training" if training else "prediction")
    folder = code.folder()
    if described in _running or folder is None or usable_cores() < 2:
        return
    free = free_bytes()
    if code.is_kept() or not code.can_be_kept() or (free or LEAST_FREE_BYTES) < LEAST_FREE_BYTES:
        return
    with contextlib.suppress(OSError, ValueError):  # a system that refuses a new process
        function = "tinycnn.compile_network:compile_backwards"
        job = json.dumps({"description": described, "training": training})
        process = compiler_process.start(function, job, folder, LOCK)
        _running[described] = _Second(training, process)
        tell("tinycnn", f"another process begins to compile kernels (kept in {folder})")


@contextlib.contextmanager
def helping(plan: Plan, dtype: np.dtype, training: bool, is_asked: bool = False) -> Iterator[None]:
    """While the body compiles the kernels of a network, a second process compiles some of them.
    If the body succeeds, the cache has them, which is noted."""
    described = description(plan, dtype)
    if (described, training) in _loaded:
        yield
        return
    start(plan, dtype, training, is_asked)
    try:
        yield
    finally:
        second = _running.get(described)
        if second is not None and (training or not second.training):
            del _running[described]
            second.process.terminate()  # files have other names until they are complete
            second.process.wait()
    note(plan, dtype, training)
    _loaded.add((described, training))


def note(plan: Plan, dtype: np.dtype, training: bool) -> None:
    """Note in the cache that it has the kernels, which this process has loaded: those of prediction
    and, if so, of training."""
    from .kernels._jit import kept_in

    place = kept_in()
    if place is not None:
        for use in ("prediction", "training") if training else ("prediction",):
            kept_code(plan, dtype, use).note(place)
