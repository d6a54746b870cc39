"""PyTorch in eager mode, with tensors in NHWC order in memory (torch.channels_last)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..problem import Problem
from . import torch_nchw


def forward(problem: Problem, batch: int, threads: int) -> Callable[[], np.ndarray]:
    return torch_nchw.forward(problem, batch, threads, channels_last=True)


def training(problem: Problem, threads: int) -> torch_nchw.training:
    return torch_nchw.training(problem, threads, channels_last=True)
