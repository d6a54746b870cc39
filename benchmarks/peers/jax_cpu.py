"""JAX on the CPU, jitted. It has as many threads as its process has cores."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from ..problem import LEARNING_RATE, SOFT_WEIGHT, TEMPERATURE, Problem


def _jax(threads: int) -> Any:
    flags = os.environ.get("XLA_FLAGS", "")
    if threads == 1:
        flags += " --xla_cpu_multi_thread_eigen=false"
    os.environ["XLA_FLAGS"], os.environ["JAX_PLATFORMS"] = flags, "cpu"
    import jax

    return jax


def _logits(p: dict[str, Any], x: Any) -> Any:
    from jax import lax
    from jax import numpy as jnp

    def conv(x: Any, name: str, pads: tuple[int, int]) -> Any:
        y = lax.conv_general_dilated(
            x, p[f"{name}.w"], (2, 2), [pads] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return jnp.maximum(y + p[f"{name}.b"], 0)

    def pool(x: Any) -> Any:
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "SAME")

    y = pool(conv(x, "conv1", (3, 3)))
    y = pool(conv(y, "conv2", (1, 2))).reshape(len(x), -1)
    y = jnp.maximum(y @ p["dense1.w"] + p["dense1.b"], 0)
    return y @ p["dense2.w"] + p["dense2.b"]


def forward(problem: Problem, batch: int, threads: int) -> Callable[[], np.ndarray]:
    jax = _jax(threads)
    parameters = {name: jax.numpy.asarray(w) for name, w in problem.weights.items()}
    run = jax.jit(_logits)
    x = problem.x[:batch].copy()
    return lambda: np.asarray(run(parameters, x))


class training:
    """See `peers.Training`."""

    def __init__(self, problem: Problem, threads: int) -> None:
        self.jax, self.problem = _jax(threads), problem
        jnp = self.jax.numpy
        self.x = jnp.asarray(problem.x)
        self.labels, self.teacher = jnp.asarray(problem.labels), jnp.asarray(problem.teacher_logits)
        self.update = self.jax.jit(self._update, donate_argnums=(0,))
        self.reset()

    def reset(self) -> None:
        jnp = self.jax.numpy
        p = {name: jnp.array(w) for name, w in self.problem.weights.items()}
        m, v = ({name: jnp.zeros_like(w) for name, w in p.items()} for _ in range(2))
        self.state = (p, m, v, jnp.zeros((), jnp.int32))

    def _loss(self, parameters: Any, x: Any, labels: Any, teacher: Any) -> Any:
        nn, jnp = self.jax.nn, self.jax.numpy
        logits = _logits(parameters, x)
        log_probs = nn.log_softmax(logits)
        hard = -jnp.take_along_axis(log_probs, labels[:, None], axis=1).mean()
        q = nn.softmax(teacher / TEMPERATURE)
        soft = -(q * nn.log_softmax(logits / TEMPERATURE)).sum(axis=1).mean()
        return (1 - SOFT_WEIGHT) * hard + SOFT_WEIGHT * TEMPERATURE**2 * soft

    def _update(self, state: Any, x: Any, labels: Any, teacher: Any) -> Any:
        jnp = self.jax.numpy
        p, m, v, n_steps = state
        loss, g = self.jax.value_and_grad(self._loss)(p, x, labels, teacher)
        n_steps = n_steps + 1
        m = {name: 0.9 * m[name] + 0.1 * g[name] for name in p}
        v = {name: 0.999 * v[name] + 0.001 * g[name] ** 2 for name in p}
        m_factor, v_factor = 1 / (1 - 0.9**n_steps), 1 / (1 - 0.999**n_steps)
        p = {
            name: p[name]
            - LEARNING_RATE * m_factor * m[name] / (jnp.sqrt(v_factor * v[name]) + 1e-8)
            for name in p
        }
        return (p, m, v, n_steps), loss

    def step(self) -> float:
        self.state, loss = self.update(self.state, self.x, self.labels, self.teacher)
        return float(loss)

    def gradients(self) -> dict[str, np.ndarray]:
        """Taken from Adam's first moment, 0.1 times the gradient after one step, so that JAX does
        not have to compile another function."""
        self.reset()
        self.step()
        return {name: np.asarray(m) / 0.1 for name, m in self.state[1].items()}
