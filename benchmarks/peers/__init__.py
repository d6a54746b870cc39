"""One file an engine, all with the same two functions, imported only in the engine's own process.

    forward(problem, batch, threads) -> call() -> logits (batch, 8) of problem.x[:batch]
    training(problem, threads) -> Training            only where `trains` says so

They raise ImportError where the engine is not installed, `Unable` where it cannot do what is asked.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np


class Unable(RuntimeError):
    """An engine cannot take part; the message says why."""


class Training(Protocol):
    """A network that trains on the whole batch of the problem."""

    def reset(self) -> None:
        """Back to the problem's weights and a fresh optimizer."""

    def step(self) -> float:
        """Forward, loss, backward, Adam.  Returns the loss before the step."""

    def gradients(self) -> dict[str, np.ndarray]:
        """Of the loss at the problem's weights, by tinycnn's names and in its layout."""


class Engine(NamedTuple):
    """module: its file here;  packages: what pip installs;  imports: what Python imports."""

    module: str
    packages: tuple[str, ...]
    imports: str
    trains: bool


ENGINES = {
    "tinycnn": Engine("ours", ("tinycnn",), "tinycnn", True),
    "litert": Engine("litert", ("ai-edge-litert",), "ai_edge_litert.interpreter", False),
    "onnxruntime": Engine("onnx_runtime", ("onnxruntime",), "onnxruntime", False),
    "openvino": Engine("open_vino", ("openvino",), "openvino", False),
    "torch": Engine("torch_nchw", ("torch",), "torch", True),
    "torch nhwc": Engine("torch_nhwc", ("torch",), "torch", True),
    "jax": Engine("jax_cpu", ("jax", "jaxlib"), "jax", True),
}
"""By the name in the tables, ours first."""

CONTROL = "control"
