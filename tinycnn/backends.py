"""What a `Network` needs of a backend, and the choice between the kernels and the reference.

Both backends run the same plan, on the network's flat arrays of parameters and gradients.  They do
not check their arguments: the network has done that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from . import second_compiler
from .backend_choice import either
from .losses import Loss, LossInputs
from .parallel import Threads
from .plan import Plan
from .reference_backend import ReferenceBackend


class Backend(Protocol):
    """What runs a network.  `masks` has the mask of each dropout layer, by the layer's name."""

    ready_to_train: bool
    """Whether everything that training needs is compiled."""

    parameters_may_change: bool
    """Whether parameters may change without a call of `parameters_have_changed`: see
    `parameter_arrays.py`."""

    def parameters_have_changed(self) -> None:
        """Compute anew what prediction derives from the parameters."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Logits of x (N, H, W, C).  A BatchNorm uses its running statistics.  Several threads may
        call this at the same time."""

    def forward(self, x: np.ndarray, masks: Mapping[str, np.ndarray]) -> np.ndarray:
        """Logits of x in training.  Saves what `backward` needs, including a reference to x, and
        updates the running statistics."""

    def backward(self, dlogits: np.ndarray, wants_dx: bool) -> np.ndarray | None:
        """Overwrites the gradients.  Returns the gradient of x if `wants_dx`, else None."""

    def step(
        self, x: np.ndarray, masks: Mapping[str, np.ndarray], loss: Loss, inputs: LossInputs
    ) -> tuple[float, np.ndarray]:
        """Mean loss and logits of x.  Overwrites the gradients and updates the running statistics
        if the loss is finite."""

    def scale_images(
        self, images: np.ndarray, scaling: int, normalization: np.ndarray, x_out: np.ndarray
    ) -> None:
        """See kernels/scale_images.py."""


def make_backend(
    backend: str,
    plan: Plan,
    parameters: np.ndarray,
    gradients: np.ndarray,
    threads: Threads,
    training: bool = False,
) -> Backend:
    """The backend of that name, see `tinycnn.backend_choice`.

    Everything that prediction needs, and with `training` also what training needs, is compiled
    before this returns.  So if compiling fails and "auto" uses NumPy instead, no work is lost.
    """

    def kernels() -> Backend:
        from .kernel_backend import KernelBackend

        with second_compiler.helping(plan, parameters.dtype, training):
            made = KernelBackend(plan, parameters, gradients, threads, backend)
            made.compile_prediction()
            if training:
                made.compile_training()
        return made

    return either(backend, kernels, lambda: ReferenceBackend(plan, parameters, gradients))
