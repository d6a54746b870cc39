"""PyTorch in eager mode, with its default layout NCHW."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..layouts import dense_rows_to_chw, dense_rows_to_hwc
from ..problem import LEARNING_RATE, SOFT_WEIGHT, TEMPERATURE, Problem

CHANNELS_LAST = False


def forward(
    problem: Problem, batch: int, threads: int, channels_last: bool = CHANNELS_LAST
) -> Callable[[], np.ndarray]:
    import torch

    network = Network(problem, threads, channels_last)
    x = problem.x[:batch]

    def call() -> np.ndarray:
        with torch.inference_mode():
            return network.logits(network.picture(x)).numpy()

    return call


class Network:
    """MicroExpNet's parameters as tensors, and its forward pass."""

    def __init__(self, problem: Problem, threads: int, channels_last: bool) -> None:
        import torch

        torch.set_num_threads(threads)
        self.torch, self.F = torch, torch.nn.functional
        self.channels_last = channels_last
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.parameters = {
            name: self._tensor(name, w).requires_grad_() for name, w in problem.weights.items()
        }

    def _tensor(self, name: str, w: np.ndarray):
        if w.ndim == 4:  # (KH, KW, C, F) -> (F, C, KH, KW)
            w = np.ascontiguousarray(w.transpose(3, 2, 0, 1))
            return self.torch.from_numpy(w).contiguous(memory_format=self.format).clone()
        if name == "dense1.w" and not self.channels_last:
            w = dense_rows_to_chw(w)
        return self.torch.from_numpy(np.ascontiguousarray(w.T)).clone()  # (units, fan_in)

    def picture(self, x: np.ndarray):
        """(N, 84, 84, 1) as a tensor (N, 1, 84, 84), without a copy: with one channel both layouts
        are the same in memory."""
        return self.torch.from_numpy(x).permute(0, 3, 1, 2)

    def logits(self, x):
        F, p = self.F, self.parameters
        y = F.max_pool2d(F.relu(F.conv2d(x, p["conv1.w"], p["conv1.b"], 2, 3)), 2)
        y = F.pad(
            y, (1, 2, 1, 2)
        )  # "same" pads 1 and 2 here; conv2d can only pad both sides equally
        y = F.relu(F.conv2d(y, p["conv2.w"], p["conv2.b"], 2))
        y = F.max_pool2d(y, 2, ceil_mode=True)
        y = y.permute(0, 2, 3, 1) if self.channels_last else y
        y = F.relu(F.linear(y.reshape(len(y), -1), p["dense1.w"], p["dense1.b"]))
        return F.linear(y, p["dense2.w"], p["dense2.b"])


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
        logits = self.network.logits(self.x)
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
        for name, g in found.items():
            found[name] = g.transpose(2, 3, 1, 0) if g.ndim == 4 else g.T
        if not self.network.channels_last:
            found["dense1.w"] = dense_rows_to_hwc(found["dense1.w"])
        return found
