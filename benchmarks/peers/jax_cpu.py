"""JAX on the CPU, jitted. It has as many threads as its process has cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graph import NETWORK_INPUT, Node
from ..problem import LEARNING_RATE, SOFT_WEIGHT, TEMPERATURE, Problem


def _jax(threads: int) -> Any:
    flags = os.environ.get("XLA_FLAGS", "")
    if threads == 1:
        flags += " --xla_cpu_multi_thread_eigen=false"
    os.environ["XLA_FLAGS"], os.environ["JAX_PLATFORMS"] = flags, "cpu"
    import jax

    return jax


def _logits(
    nodes: Sequence[Node], p: dict[str, Any], s: dict[str, Any], x: Any, training: bool
) -> Any:
    """Logits, and the running statistics of BatchNorm after this batch.  p, s: parameters and
    statistics by name."""
    from jax import lax
    from jax import numpy as jnp

    values, after = {NETWORK_INPUT: x}, dict(s)
    for k, node in enumerate(nodes):
        x, name = values[node.inputs[0]], node.name
        if node.kind in ("conv", "depthwise"):
            assert node.window is not None
            _, _, SH, SW, top, left, bottom, right = node.window
            w, C = p[f"{name}.w"], node.input_shape[2]
            groups = 1 if node.kind == "conv" else C
            y = lax.conv_general_dilated(
                x,
                w.reshape(*w.shape[:2], C // groups, -1),
                (SH, SW),
                [(top, bottom), (left, right)],
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
                feature_group_count=groups,
            )
            y = y + p[f"{name}.b"] if f"{name}.b" in p else y
        elif node.kind == "maxpool":
            assert node.window is not None
            KH, KW, SH, SW, top, left, bottom, right = node.window
            pads = ((0, 0), (top, bottom), (left, right), (0, 0))
            y = lax.reduce_window(x, -jnp.inf, lax.max, (1, KH, KW, 1), (1, SH, SW, 1), pads)
        elif node.kind == "batch_norm":
            mean, var = s[f"{name}.running_mean"], s[f"{name}.running_var"]
            if training:
                axes, old = tuple(range(x.ndim - 1)), node.momentum
                batch_mean, batch_var = x.mean(axes), x.var(axes)
                after[f"{name}.running_mean"] = old * mean + (1 - old) * batch_mean
                after[f"{name}.running_var"] = old * var + (1 - old) * batch_var
                mean, var = batch_mean, batch_var
            scale = p[f"{name}.gamma"] * lax.rsqrt(var + node.epsilon)
            y = (x - mean) * scale + p[f"{name}.beta"]
        elif node.kind == "dense":
            y = x @ p[f"{name}.w"] + p[f"{name}.b"]
        elif node.kind == "relu":
            y = jnp.maximum(x, 0)
        elif node.kind == "mean":
            y = x.mean((1, 2))
        elif node.kind == "flatten":
            y = x.reshape(len(x), -1)
        else:
            y = x + values[node.inputs[1]]
        values[k] = y
    return values[len(nodes) - 1], after


def _parameters_and_statistics(problem: Problem) -> tuple[dict[str, Any], dict[str, Any]]:
    from jax import numpy as jnp

    arrays = {name: jnp.array(w) for name, w in problem.weights.items()}
    s = {name: w for name, w in arrays.items() if ".running_" in name}
    return {name: w for name, w in arrays.items() if name not in s}, s


def forward(problem: Problem, batch: int, threads: int) -> Callable[[], np.ndarray]:
    jax = _jax(threads)
    p, s = _parameters_and_statistics(problem)
    nodes = problem.trained.nodes
    run = jax.jit(lambda p, s, x: _logits(nodes, p, s, x, False)[0])
    x = problem.x[:batch].copy()
    return lambda: np.asarray(run(p, s, x))


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
        p, s = _parameters_and_statistics(self.problem)
        m, v = ({name: jnp.zeros_like(w) for name, w in p.items()} for _ in range(2))
        self.state = (p, s, m, v, jnp.zeros((), jnp.int32))

    def _loss(self, parameters: Any, statistics: Any, x: Any, labels: Any, teacher: Any) -> Any:
        nn, jnp = self.jax.nn, self.jax.numpy
        nodes = self.problem.trained.nodes
        logits, after = _logits(nodes, parameters, statistics, x, True)
        log_probs = nn.log_softmax(logits)
        hard = -jnp.take_along_axis(log_probs, labels[:, None], axis=1).mean()
        q = nn.softmax(teacher / TEMPERATURE)
        soft = -(q * nn.log_softmax(logits / TEMPERATURE)).sum(axis=1).mean()
        return (1 - SOFT_WEIGHT) * hard + SOFT_WEIGHT * TEMPERATURE**2 * soft, after

    def _update(self, state: Any, x: Any, labels: Any, teacher: Any) -> Any:
        jnp = self.jax.numpy
        p, s, m, v, n_steps = state
        differentiated = self.jax.value_and_grad(self._loss, has_aux=True)
        (loss, s), g = differentiated(p, s, x, labels, teacher)
        n_steps = n_steps + 1
        m = {name: 0.9 * m[name] + 0.1 * g[name] for name in p}
        v = {name: 0.999 * v[name] + 0.001 * g[name] ** 2 for name in p}
        m_factor, v_factor = 1 / (1 - 0.9**n_steps), 1 / (1 - 0.999**n_steps)
        p = {
            name: p[name]
            - LEARNING_RATE * m_factor * m[name] / (jnp.sqrt(v_factor * v[name]) + 1e-8)
            for name in p
        }
        return (p, s, m, v, n_steps), loss

    def step(self) -> float:
        self.state, loss = self.update(self.state, self.x, self.labels, self.teacher)
        return float(loss)

    def gradients(self) -> dict[str, np.ndarray]:
        """Taken from Adam's first moment, 0.1 times the gradient after one step, so that JAX does
        not have to compile another function."""
        self.reset()
        self.step()
        return {name: np.asarray(m) / 0.1 for name, m in self.state[2].items()}
