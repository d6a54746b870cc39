"""An exponential moving average of the weights of a training run."""

from __future__ import annotations

from numbers import Real

import numpy as np


class WeightAverage:
    """The average a of weights p: a <- d*a + (1-d)*p after step n, d = min(decay, (1+n)/(10+n)).

    n is counted from 0.  It averages over about the last 1/(1-decay) steps.  The first weights are
    random, and the smaller d of the first steps makes the average forget them sooner.

    decay       at least 0, below 1; 0.999 averages over about a thousand steps
    parameters  (P,) the network's flat array, floating; the average begins with its values
    values      (P,) like parameters: the average, or after `swap` the weights that are trained
    Source: Polyak and Juditsky (1992); the changing d is TensorFlow's ExponentialMovingAverage.
    Raises ValueError if decay is out of range.
    """

    def __init__(self, decay: float, parameters: np.ndarray) -> None:
        self.decay = check_decay(decay)
        self.values = parameters.copy()
        self._change = np.empty_like(parameters)

    def step(self, parameters: np.ndarray, n: int) -> None:
        """Update the average with the weights after step n.  Allocates nothing."""
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
    if not isinstance(decay, Real) or isinstance(decay, bool) or not 0 <= decay < 1:
        raise ValueError(f"ema_decay is {decay!r}; expected a number of at least 0, below 1")
    return float(decay)
