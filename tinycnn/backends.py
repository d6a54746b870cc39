"""Two ways to run one plan: the reference in NumPy, layer by layer, and the Numba kernels.

Both are a `Backend` to `Network`, on the same flat arrays of parameters and gradients.  Neither
checks its arguments: the network has done that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from .backend_choice import either
from .losses import Loss, LossInputs
from .plan import Plan
from .reference_backend import ReferenceBackend


class Backend(Protocol):
    """What computes for a network.  Masks are by name of the dropout layer."""

    ready_to_train: bool
    """Whether what training needs is compiled."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Logits of x (N, H, W, C); nothing is kept.  Several threads may call this at once."""

    def forward(self, x: np.ndarray, masks: Mapping[str, np.ndarray]) -> np.ndarray:
        """Logits of x in training; keeps what `backward` needs, x itself included."""

    def backward(self, dlogits: np.ndarray, wants_dx: bool) -> np.ndarray | None:
        """Overwrites the gradients; returns the gradient of x where it is wanted."""

    def step(
        self, x: np.ndarray, masks: Mapping[str, np.ndarray], loss: Loss, inputs: LossInputs
    ) -> tuple[float, np.ndarray]:
        """Mean loss and logits of x; overwrites the gradients where that loss is finite."""

    def scale_images(self, images: np.ndarray, scaling: int, x_out: np.ndarray) -> None:
        """See kernels/scale_images.py."""


def make_backend(
    backend: str,
    plan: Plan,
    parameters: np.ndarray,
    gradients: np.ndarray,
    n_threads: int,
    training: bool = False,
) -> Backend:
    """The backend of that name.

    All that prediction needs is compiled before this returns, and with `training` what training
    needs too: where "auto" takes NumPy instead, nothing has been computed yet.
    """

    def kernels() -> Backend:
        from .kernel_backend import KernelBackend

        made = KernelBackend(plan, parameters, gradients, n_threads, backend)
        made.compile_prediction()
        if training:
            made.compile_training()
        return made

    def numpy() -> Backend:
        return ReferenceBackend(plan, parameters, gradients)

    return either(backend, kernels, numpy)
