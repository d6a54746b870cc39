"""PyTorch in eager mode, with its default layout NCHW."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph import NETWORK_INPUT, Node, no_longer_needed
from ..layouts import (
    conv_to_hwio,
    conv_to_oihw,
    dense_rows_to_chw,
    dense_rows_to_hwc,
    depthwise_to_hwcm,
    depthwise_to_oihw,
    images_to_nchw,
)
from ..problem import LEARNING_RATE, SOFT_WEIGHT, TEMPERATURE, Problem

CHANNELS_LAST = False


def forward(
    problem: Problem, batch: int, threads: int, channels_last: bool = CHANNELS_LAST
) -> Callable[[], np.ndarray]:
    import torch

    network = Network(problem, threads, channels_last)
    x = network.picture(problem.x[:batch])

    def call() -> np.ndarray:
        with torch.inference_mode():
            return network.logits(x).numpy()

    return call


class Network:
    """A network's parameters as tensors, and its forward pass, node by node."""

    def __init__(self, problem: Problem, threads: int, channels_last: bool) -> None:
        import torch

        torch.set_num_threads(threads)
        self.torch, self.F, self.problem = torch, torch.nn.functional, problem
        self.channels_last, self.nodes = channels_last, problem.trained.nodes
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.parameters: dict[str, Any] = {}
        self.calls = [self._call(node) for node in self.nodes]
        self.freed = no_longer_needed(self.nodes)

    def _tensor(self, node: Node, short: str) -> Any:
        w = self.problem.weights.get(f"{node.name}.{short}")
        if w is None:
            return None
        if node.kind == "dense" and short == "w":
            if node.flattened and not self.channels_last:
                w = dense_rows_to_chw(w, node.flattened)
            w = np.ascontiguousarray(w.T)  # (units, fan_in)
        elif short == "w":
            w = conv_to_oihw(w) if node.kind == "conv" else depthwise_to_oihw(w)
        tensor = self.torch.from_numpy(w)
        if w.ndim == 4:
            tensor = tensor.contiguous(memory_format=self.format)
        tensor = tensor.clone()
        if not short.startswith("running"):
            self.parameters[f"{node.name}.{short}"] = tensor.requires_grad_()
        return tensor

    def _call(self, node: Node) -> Callable[..., Any]:
        """The function of a node: (training, its inputs) -> its output."""
        F, window = self.F, node.window
        if node.kind == "relu":
            return lambda training, x: F.relu(x)
        if node.kind == "add":
            return lambda training, x, y: x + y
        if node.kind == "mean":
            return lambda training, x: x.mean((2, 3))
        if node.kind == "flatten":
            if self.channels_last:
                return lambda training, x: x.permute(0, 2, 3, 1).reshape(len(x), -1)
            return lambda training, x: x.flatten(1)
        if node.kind == "dense":
            w, b = self._tensor(node, "w"), self._tensor(node, "b")
            return lambda training, x: F.linear(x, w, b)
        if node.kind == "batch_norm":
            scale, shift = self._tensor(node, "gamma"), self._tensor(node, "beta")
            mean, var = self._tensor(node, "running_mean"), self._tensor(node, "running_var")
            new, epsilon = 1 - node.momentum, node.epsilon
            return lambda training, x: F.batch_norm(
                x, mean, var, scale, shift, training, new, epsilon
            )
        assert window is not None
        KH, KW, SH, SW, top, left, bottom, right = window
        sides = (left, right, top, bottom)
        even = top == bottom and left == right
        padding = (top, left) if even else (0, 0)
        if node.kind == "maxpool":
            if even or top == left == 0:  # padding behind the picture alone: ceil_mode does it
                return lambda training, x: F.max_pool2d(
                    x, (KH, KW), (SH, SW), padding, ceil_mode=not even
                )
            return lambda training, x: F.max_pool2d(
                F.pad(x, sides, value=-np.inf), (KH, KW), (SH, SW)
            )
        w, b = self._tensor(node, "w"), self._tensor(node, "b")
        groups = node.input_shape[2] if node.kind == "depthwise" else 1
        if even:
            return lambda training, x: F.conv2d(x, w, b, (SH, SW), padding, groups=groups)
        # conv2d can only pad both sides equally
        return lambda training, x: F.conv2d(F.pad(x, sides), w, b, (SH, SW), groups=groups)

    def picture(self, x: np.ndarray) -> Any:
        """(N, H, W, C) as a tensor (N, C, H, W), in the network's order in memory."""
        if self.channels_last:
            return self.torch.from_numpy(x).permute(0, 3, 1, 2)
        return self.torch.from_numpy(images_to_nchw(x))

    def logits(self, x: Any, training: bool = False) -> Any:
        values = {NETWORK_INPUT: x}
        for k, (node, call, freed) in enumerate(zip(self.nodes, self.calls, self.freed)):
            values[k] = call(training, *[values[source] for source in node.inputs])
            for source in freed:
                del values[source]
        return values[len(self.nodes) - 1]


class training:
    """See `peers.Training`."""

    def __init__(self, problem: Problem, threads: int, channels_last: bool = CHANNELS_LAST) -> None:
        self.make = lambda: Network(problem, threads, channels_last)
        self.reset()
        torch = self.network.torch
        self.x = self.network.picture(problem.x)
        self.labels = torch.from_numpy(problem.labels)
        teacher = torch.from_numpy(problem.teacher_logits)
        self.soft_targets = torch.softmax(teacher / TEMPERATURE, dim=1)

    def reset(self) -> None:
        self.network = self.make()
        self.optimizer = self.network.torch.optim.Adam(
            self.network.parameters.values(), lr=LEARNING_RATE, fused=True
        )

    def _forward_and_backward(self):
        F = self.network.F
        logits = self.network.logits(self.x, training=True)
        hard = F.cross_entropy(logits, self.labels)
        soft = F.cross_entropy(logits / TEMPERATURE, self.soft_targets)
        loss = (1 - SOFT_WEIGHT) * hard + SOFT_WEIGHT * TEMPERATURE**2 * soft
        loss.backward()
        return loss

    def step(self) -> float:
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._forward_and_backward()
        self.optimizer.step()
        return loss.item()

    def gradients(self) -> dict[str, np.ndarray]:
        self.reset()
        self._forward_and_backward()
        found = {name: p.grad.numpy() for name, p in self.network.parameters.items()}
        for node in self.network.nodes:
            name = f"{node.name}.w"
            if name not in found:
                continue
            if node.kind == "conv":
                found[name] = conv_to_hwio(found[name])
            elif node.kind == "depthwise":
                found[name] = depthwise_to_hwcm(found[name], node.input_shape[2])
            else:
                found[name] = found[name].T
                if node.flattened and not self.network.channels_last:
                    found[name] = dense_rows_to_hwc(found[name], node.flattened)
        return found
