"""The engines: a file for each, imported only in the engine's own process.

Every file has one or two functions:
    forward(problem, batch, threads) -> a function that returns the logits (batch, K) of
                                        problem.x[:batch]
    training(problem, threads) -> Training, only if the engine `trains`
They raise ImportError if the engine is not installed.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np


class Training(Protocol):
    """A network in training on the batch of the problem."""

    def reset(self) -> None:
        """Start again from the problem's weights, with a new optimizer."""

    def step(self) -> float:
        """Forward, loss, backward, Adam.  Returns the loss before the step."""

    def gradients(self) -> dict[str, np.ndarray]:
        """Gradients of the loss at the problem's weights, with tinycnn's names and layout."""


class Engine(NamedTuple):
    """module: its file in this folder;  packages: names for pip;  imports: name for `import`;
    trains: whether it has `training`."""

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
"""Name in the tables -> engine; ours first."""

CONTROL = "control"
