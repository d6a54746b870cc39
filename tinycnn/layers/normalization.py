"""Layers that scale and shift each channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .base import Layer, Shape, keep_number


@dataclass(frozen=True)
class BatchNorm(Layer):
    """y = gamma * (x - mean) / sqrt(var + epsilon) + beta, for each channel.

    In training, mean and var (biased) are those of the channel over the whole batch.  In prediction
    they are running_mean and running_var, which each training step updates:

        running = momentum * running + (1 - momentum) * batch

    momentum  share of the old value that is kept, as in Keras; PyTorch's momentum is 1 minus this
    unbiased_running_var  True: the batch's variance for running_var is divided by n - 1, as in
              PyTorch; False: by n, as in Keras.  n: values of a channel in the batch
    Parameters gamma and beta (C,), statistics running_mean and running_var (C,).
    Ioffe and Szegedy 2015, "Batch normalization", algorithms 1 and 2.
    """

    stem: ClassVar[str] = "bn"
    initial_values: ClassVar[dict[str, float]] = {"gamma": 1.0, "beta": 0.0, "running_var": 1.0}
    momentum: float = 0.9
    epsilon: float = 1e-5
    unbiased_running_var: bool = True

    def __post_init__(self) -> None:
        keep_number(self, "momentum", self.momentum, 0.0, 1.0)
        keep_number(self, "epsilon", self.epsilon, 0.0, float("inf"))

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        return {"gamma": (input_shape[-1],), "beta": (input_shape[-1],)}

    def statistic_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        return {"running_mean": (input_shape[-1],), "running_var": (input_shape[-1],)}


@dataclass(frozen=True)
class ScaleShift(Layer):
    """y = scale * x + shift, for each channel: a BatchNorm with fixed mean and variance.

    `Network.folded` uses it where a BatchNorm cannot be folded into another layer.
    """

    stem: ClassVar[str] = "scale"
    initial_values: ClassVar[dict[str, float]] = {"scale": 1.0, "shift": 0.0}

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        return {"scale": (input_shape[-1],), "shift": (input_shape[-1],)}
