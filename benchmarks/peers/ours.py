"""tinycnn with its compiled kernels, or with its NumPy backend."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..problem import LEARNING_RATE, Problem, kd_loss, set_weights

if TYPE_CHECKING:
    from tinycnn.network import Network


def _network(problem: Problem, threads: int, backend: str = "numba") -> Network:
    from tinycnn.formats.safetensors import from_bytes
    from tinycnn.parallel import usable_cores

    n_threads = None if threads == usable_cores() else threads  # the default, as users have it
    return from_bytes(problem.network, n_threads=n_threads, backend=backend)


def forward(
    problem: Problem, batch: int, threads: int, backend: str = "numba"
) -> Callable[[], np.ndarray]:
    network, x = _network(problem, threads, backend), problem.x[:batch].copy()
    return lambda: network.forward(x)


def until_kernels_answer(problem: Problem, threads: int) -> None:
    """Predict with backend "auto" until the kernels answer, twenty times a second."""
    network, x = _network(problem, threads, "auto"), problem.x[:1].copy()
    while True:
        network.forward(x)
        if network.backend_in_use == "numba":
            return
        time.sleep(0.05)


class training:
    """See `peers.Training`."""

    def __init__(self, problem: Problem, threads: int) -> None:
        self.problem, self.network = problem, _network(problem, threads)
        self.loss = kd_loss()
        self.reset()

    def reset(self) -> None:
        from tinycnn.optim import Adam

        set_weights(self.network, self.problem)
        self.optimizer = Adam(LEARNING_RATE)

    def _forward_and_backward(self) -> float:
        p, network = self.problem, self.network
        if hasattr(network, "loss_and_gradients"):
            return network.loss_and_gradients(p.x, self.loss, p.labels, p.teacher_logits)[0]
        logits = network.forward(p.x, training=True)  # an older version, with --against
        loss, dlogits = self.loss(logits, p.labels, p.teacher_logits)
        network.backward(dlogits)
        return loss

    def step(self) -> float:
        loss = self._forward_and_backward()
        network = self.network
        if hasattr(network, "trained_vector"):
            self.optimizer.step(network.trained_vector, network.trained_gradients)
        else:  # an older version
            self.optimizer.step(network.parameter_vector, network.gradient_vector)
        return loss

    def gradients(self) -> dict[str, np.ndarray]:
        self.reset()
        self._forward_and_backward()
        return {name: g.copy() for name, g in self.network.gradients.items()}
