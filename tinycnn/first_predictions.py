"""The first predictions of a network with backend "auto", while its kernels are not loaded.

Loading the kernels from their cache takes about 0.5 s, compiling them some ten.  NumPy needs a
few milliseconds for an image and a small network.  `ground/numpy_first.py` has the rule by which
NumPy answers, and `ground/compiler_process.py` the process that compiles the kernels meanwhile.

All images of a call get their answers from one of the two.  These differ by rounding, by less than
1e-5 of the largest logit.  With backend="numba", after `Network.load_kernels`, and with the
environment variable TINYCNN_WAIT_FOR_KERNELS=1 all answers come from the kernels.
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

import numpy as np

from .backend_choice import is_auto_with_kernels
from .ground.compiler_process import Compiler
from .ground.kept_code import KeptCode
from .ground.numpy_first import NumpyFirst
from .layers import CustomLayer
from .needed_functions import prediction_is_compiled
from .plan import Plan
from .reference_backend import ReferenceBackend

NUMPY_RATE = 0.8e9
"""Multiply-adds that the NumPy backend computes in a second.  Measured: 0.9e9, for 64 images and
MicroExpNet on two cores with AVX-512."""

LOADING_S = 0.5
"""Seconds to import Numba and to load the kernels of prediction from the cache, as measured."""

COMPILING_S = 8.0
"""Seconds to compile the kernels of prediction, as measured."""

NUMPY_BATCH = 8
"""NumPy gets so many images at once: with more, its arrays no longer fit the processor's cache."""


_loaded: set[str] = set()
"""The networks, as `description` has them, whose kernels this process has loaded."""


class FirstPredictions:
    """Decides whether NumPy answers a prediction, while the network has no kernels, and answers.

    backend  the name of the network's backend
    numpy    the NumPy backend for the network's plan and flat arrays
    numpy_has_answered  whether it has answered a prediction
    """

    def __init__(
        self, plan: Plan, parameters: np.ndarray, gradients: np.ndarray, backend: str
    ) -> None:
        self.plan, self.dtype, self.backend = plan, parameters.dtype, backend
        self.parameters = parameters
        self.numpy = ReferenceBackend(plan, parameters, gradients)
        self.numpy_has_answered = False
        self._seconds_per_image = sum(step.n_multiply_adds for step in plan.steps) / NUMPY_RATE
        self._fastest_s = np.inf  # measured, for an image
        self._rule: NumpyFirst | None = None
        self._n_loaded = 0  # networks that were loaded when this one's kernels were looked for

    @property
    def rule(self) -> NumpyFirst:
        if self._rule is None:
            described, code = description(self.plan, self.dtype), kept_code(self.plan, self.dtype)
            own = has_own_layers(self.plan)
            compiler = Compiler(
                code, "tinycnn.compile_network:compile_prediction", described,
                "the kernels of prediction", COMPILING_S,
            )  # fmt: skip
            self._rule = NumpyFirst(code, None if own else compiler, LOADING_S, COMPILING_S)
        return self._rule

    def numpy_answers(self, n_images: int) -> bool:
        """Whether NumPy answers a call with n_images.  If not, it is time to load the kernels."""
        if not is_auto_with_kernels(self.backend):
            return False
        if self._others_have_loaded_all():
            return False
        measured = self._fastest_s if np.isfinite(self._fastest_s) else 0.0
        return self.rule.takes(n_images * max(self._seconds_per_image, measured))

    def _others_have_loaded_all(self) -> bool:
        """Whether the networks that this process has used need all kernels of this one, too."""
        if len(_loaded) == self._n_loaded:
            return False
        self._n_loaded = len(_loaded)
        return description(self.plan, self.dtype) in _loaded or (
            not has_own_layers(self.plan) and prediction_is_compiled(self.plan, self.parameters)
        )

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The logits of x (N, H, W, C) from NumPy."""
        self.numpy_has_answered = True
        logits = np.empty((len(x), *self.plan.output_shape), self.dtype)
        with self.rule.working():
            started = time.perf_counter()
            for k in range(0, len(x), NUMPY_BATCH):
                part = slice(k, k + NUMPY_BATCH)
                logits[part] = self.numpy.predict(x[part])
            if len(x):
                seconds = (time.perf_counter() - started) / len(x)
                self._fastest_s = min(self._fastest_s, seconds)
        return logits

    def wait(self) -> None:
        """Wait for the process that compiles the kernels, if this process has started one."""
        if self._rule is not None:
            self._rule.wait()

    def kernels_are_loaded(self) -> None:
        """From now on in this process, the kernels answer for this and all equal networks."""
        _loaded.add(description(self.plan, self.dtype))


def description(plan: Plan, dtype: np.dtype) -> str:
    """What the kernels of a network depend on, as JSON.  Layers of the user's own run between the
    kernels: their names are enough."""
    layers: list[Any] = [type(step.layer).__name__ for step in plan.steps]
    if not has_own_layers(plan):
        layers = [layer.config() for layer in plan.layers]
    values = {"layers": layers, "input_shape": plan.input_shape, "dtype": dtype.name}
    return json.dumps(values, sort_keys=True, default=str)


def kept_code(plan: Plan, dtype: np.dtype, use: str = "prediction") -> KeptCode:
    """The kernels of a network in the cache.  use: "prediction" or "training" """
    digest = hashlib.sha256(description(plan, dtype).encode()).hexdigest()[:16]
    return KeptCode("tinycnn", ("tinycnn.kernels",), f"{use}-{digest}")


def has_own_layers(plan: Plan) -> bool:
    return any(isinstance(step.layer, CustomLayer) for step in plan.steps)
