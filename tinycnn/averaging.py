"""An exponential moving average of a network's weights, kept beside the weights in training."""

from __future__ import annotations

import numpy as np


class WeightAverage:
    """a <- d*a + (1-d)*p after every step, d = min(decay, (1+n)/(10+n)) at step n = 0, 1, ...

    The initial weights are random.  A smaller d in the first steps lets the average forget them.
    Later it covers about the last 1/(1-decay) steps.

    decay       0 or more and below 1; 0.999 averages over about a thousand steps
    parameters  (P,) the network's flat array, floating; the average starts as a copy of it
    values      (P,) the average; between two calls of `swap`, the weights in training
    Source: Polyak and Juditsky (1992); the changing d is TensorFlow's ExponentialMovingAverage.
    Raises ValueError for a decay out of range.
    """

    def __init__(self, decay: float, parameters: np.ndarray) -> None:
        self.decay = check_decay(decay)
        self.values = parameters.copy()
        self._change = np.empty_like(parameters)

    def step(self, parameters: np.ndarray, n: int) -> None:
        """Add the weights after step n (0, 1, ...) to the average.  Allocates no memory."""
        share = 1 - min(self.decay, (1 + n) / (10 + n))
        np.subtract(parameters, self.values, out=self._change)
        np.multiply(self._change, parameters.dtype.type(share), out=self._change)
        np.add(self.values, self._change, out=self.values)

    def swap(self, parameters: np.ndarray) -> None:
        """Exchange `values` and the network's weights, in place."""
        self._change[:] = parameters
        parameters[:] = self.values
        self.values[:] = self._change


def check_decay(decay: float) -> float:
    """Raises ValueError unless 0 <= decay < 1."""
    if not 0 <= decay < 1:
        raise ValueError(f"ema_decay is {decay!r}; expected a number of 0 or more and below 1")
    return float(decay)
