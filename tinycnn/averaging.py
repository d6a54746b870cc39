"""Averaged weights: an exponential moving average, scored and kept beside those that learn."""

from __future__ import annotations

import numpy as np


class WeightAverage:
    """a <- d*a + (1-d)*p after every step, d = min(decay, (1+n)/(10+n)) at step n, from 0.

    The first weights are random: the smaller d of the first steps forgets them.  A step averages
    over about the last 1/(1-decay) ones.

    decay       0 to below 1; 0.999 averages over about a thousand steps
    parameters  (P,) the network's flat array, floating; its values now are the first average
    values      (P,) like parameters: the average, or after `swap` the weights that learn
    Source: Polyak and Juditsky (1992); the changing d is TensorFlow's ExponentialMovingAverage.
    Raises ValueError for a decay out of range.
    """

    def __init__(self, decay: float, parameters: np.ndarray) -> None:
        self.decay = check_decay(decay)
        self.values = parameters.copy()
        self._change = np.empty_like(parameters)

    def step(self, parameters: np.ndarray, n: int) -> None:
        """Take in the weights after step n, counted from 0; nothing is allocated."""
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
        raise ValueError(f"ema_decay is {decay!r}; expected a number from 0 up to, not with, 1")
    return float(decay)
