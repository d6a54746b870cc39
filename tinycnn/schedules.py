"""Learning rates as functions of the step: `schedule(step) -> float`, from step 0.

A schedule has no state, so a resumed run needs nothing but its step count.  There is one step for
each batch (n_steps = epochs * batches per epoch).  After its last step the rate stays the same.
`ReduceLROnPlateau` is no function of the step: before each epoch, `fit` asks it for the schedule of
that epoch, given the records of all epochs before.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class Schedule(Protocol):
    """Learning rates: a function of the step, such as an object of the classes below."""

    def __call__(self, step: int) -> float:
        """Learning rate of step `step` (0, 1, ...).  Raises ValueError for a negative step."""


@dataclass(frozen=True)
class Constant:
    """The same rate at every step."""

    learning_rate: float

    def __post_init__(self) -> None:
        _check_rate("learning_rate", self.learning_rate)

    def __call__(self, step: int) -> float:
        _check_step(step)
        return float(self.learning_rate)


@dataclass(frozen=True)
class Step:
    """learning_rate * factor^j, where j is the number of drops up to and including this step.

    every       the rate drops at steps every, 2*every, ...
    milestones  the rate drops at these steps, strictly increasing
    Exactly one of the two must be given.
    """

    learning_rate: float
    every: int | None = None
    milestones: tuple[int, ...] = ()
    factor: float = 0.1

    def __post_init__(self) -> None:
        _check_rate("learning_rate", self.learning_rate)
        if (self.every is None) == (not self.milestones):
            raise ValueError("Step: expected either every=n or milestones=(n, ...)")
        if self.every is not None:
            _check_count("every", self.every, 1)
        object.__setattr__(self, "milestones", tuple(self.milestones))
        for earlier, later in zip((0, *self.milestones), self.milestones):
            if operator.index(later) <= earlier:
                raise ValueError(
                    f"milestones={self.milestones}: expected steps above 0, strictly increasing"
                )
        if not 0 < self.factor <= 1:
            raise ValueError(f"factor={self.factor}: expected above 0 and at most 1")

    def __call__(self, step: int) -> float:
        step = _check_step(step)
        if self.every is not None:
            n_drops = step // self.every
        else:
            n_drops = sum(step >= milestone for milestone in self.milestones)
        return self.learning_rate * self.factor**n_drops


@dataclass(frozen=True)
class CosineWithWarmup:
    """A linear rise to learning_rate, then half a cosine down to final_learning_rate.

    step < n_warmup_steps:   learning_rate * (step + 1) / (n_warmup_steps + 1), which is never 0
    step >= n_warmup_steps:  final + (learning_rate - final) * (1 + cos(pi * x)) / 2, where x goes
                             from 0 at step n_warmup_steps to 1 at step n_steps - 1
    Source: Loshchilov and Hutter, arXiv:1608.03983, without restarts.
    """

    learning_rate: float
    n_steps: int
    n_warmup_steps: int = 0
    final_learning_rate: float = 0.0

    def __post_init__(self) -> None:
        _check_rate("learning_rate", self.learning_rate)
        _check_rate("final_learning_rate", self.final_learning_rate)
        _check_count("n_steps", self.n_steps, 1)
        _check_count("n_warmup_steps", self.n_warmup_steps, 0)
        if self.n_warmup_steps >= self.n_steps:
            raise ValueError(
                f"n_warmup_steps={self.n_warmup_steps}: expected fewer than the {self.n_steps} of "
                "n_steps"
            )

    def __call__(self, step: int) -> float:
        step = min(_check_step(step), self.n_steps - 1)
        if step < self.n_warmup_steps:
            return self.learning_rate * (step + 1) / (self.n_warmup_steps + 1)
        x = _fraction(step, self.n_warmup_steps, self.n_steps - 1)
        return _cosine(self.learning_rate, self.final_learning_rate, x)


@dataclass(frozen=True)
class OneCycle:
    """A rise from max / start_divisor to max_learning_rate, then a fall to max / end_divisor.

    The peak, max(warmup_fraction * n_steps - 1, 0), may lie between two steps.
    step <= peak   from start to max, x = step / peak
    step >= peak   from max to end, x = (step - peak) / (n_steps - 1 - peak)
    ramp from a to b: "cosine" is a + (b - a) * (1 - cos(pi * x)) / 2, "linear" a + (b - a) * x

    Source: Smith and Topin, arXiv:1708.07120.  PyTorch's OneCycleLR gives the same rates with
    div_factor = start_divisor and final_div_factor = end_divisor / start_divisor, because it
    divides its start rate to get the end rate, where this class divides the maximum.  (With
    warmup_fraction * n_steps < 1 the peak is step 0 here, but before step 0 in PyTorch.)
    """

    max_learning_rate: float
    n_steps: int
    warmup_fraction: float = 0.3
    start_divisor: float = 25.0
    end_divisor: float = 1e4
    ramp: str = "cosine"

    def __post_init__(self) -> None:
        _check_rate("max_learning_rate", self.max_learning_rate)
        _check_count("n_steps", self.n_steps, 1)
        if not 0 <= self.warmup_fraction <= 1:
            raise ValueError(f"warmup_fraction={self.warmup_fraction}: expected 0 to 1")
        for name in ("start_divisor", "end_divisor"):
            divisor = vars(self)[name]
            if not 1 <= divisor < math.inf:
                raise ValueError(f"{name}={divisor}: expected 1 or more, finite")
        if self.ramp not in ("cosine", "linear"):
            raise ValueError(f"ramp={self.ramp!r}: expected 'cosine' or 'linear'")

    def __call__(self, step: int) -> float:
        step = min(_check_step(step), self.n_steps - 1)
        peak = max(self.warmup_fraction * self.n_steps - 1, 0.0)
        ramp = _cosine if self.ramp == "cosine" else _linear
        top = self.max_learning_rate
        if step < peak:
            return ramp(top / self.start_divisor, top, step / peak)
        return ramp(top, top / self.end_divisor, _fraction(step, peak, self.n_steps - 1))


MONITORED = {"val_loss": 1, "val_accuracy": -1, "train_loss": 1, "train_accuracy": -1}
"""Fields of a record that `ReduceLROnPlateau` can watch: 1 if lower values are better, else -1."""


@dataclass(frozen=True)
class ReduceLROnPlateau:
    """The rate is multiplied by `factor` when the watched value has stopped improving.

    monitor    one of MONITORED, of the epoch records
    patience   so many epochs in a row without improvement reduce the rate
    min_delta  a value counts as an improvement if it is better than the best so far by more
    cooldown   epochs without improvement are counted from the cooldown-th epoch after a reduction
               on; 0 and 1: from the next
    min_learning_rate  the rate does not fall below it
    Counts are those of Keras's class of this name.  PyTorch's waits for one more: its patience=9,
    cooldown=2 are patience=10, cooldown=3 here (with threshold_mode="abs").
    """

    learning_rate: float
    monitor: str = "val_loss"
    factor: float = 0.1
    patience: int = 10
    min_delta: float = 1e-4
    cooldown: int = 0
    min_learning_rate: float = 0.0

    def __post_init__(self) -> None:
        for name in ("learning_rate", "min_delta", "min_learning_rate"):
            _check_rate(name, getattr(self, name))
        if self.monitor not in MONITORED:
            raise ValueError(f"monitor={self.monitor!r}: expected one of {', '.join(MONITORED)}")
        if not 0 < self.factor < 1:
            raise ValueError(f"factor={self.factor}: expected above 0 and below 1")
        _check_count("patience", self.patience, 1)
        _check_count("cooldown", self.cooldown, 0)

    def __call__(self, step: int) -> float:
        """The rate of the first epoch."""
        return self.after([])(step)

    def after(self, records: Sequence[Any]) -> Constant:
        """The schedule of the epoch that follows those of `records` (`train.EpochRecord`).

        The whole history is gone through each time, so a resumed run has the same rates.  Raises
        ValueError for a record without the watched value: one of a run without validation data.
        """
        rate, best, n_bad, n_cooling = self.learning_rate, math.inf, 0, 0
        for record in records:
            value = getattr(record, self.monitor)
            if value is None:
                raise ValueError(f"ReduceLROnPlateau: {self.monitor} needs validation data")
            value *= MONITORED[self.monitor]  # now lower values are better
            if n_cooling:
                n_cooling, n_bad = n_cooling - 1, 0
            if value < best - self.min_delta:
                best, n_bad = value, 0
            elif not n_cooling:
                n_bad += 1
            if n_bad >= self.patience:
                rate = min(rate, max(rate * self.factor, self.min_learning_rate))
                n_bad, n_cooling = 0, self.cooldown
        return Constant(rate)


def _linear(a: float, b: float, x: float) -> float:
    return a + (b - a) * x


def _cosine(a: float, b: float, x: float) -> float:
    return a + (b - a) * (1 - math.cos(math.pi * x)) / 2


def _fraction(step: float, first: float, last: float) -> float:
    """The fraction of the way from first to last, 0 to 1; 0 if they are the same step."""
    return (step - first) / (last - first) if last > first else 0.0


def _check_step(step: int) -> int:
    if operator.index(step) < 0:
        raise ValueError(f"step={step}: expected 0 or more")
    return operator.index(step)


def _check_rate(name: str, rate: float) -> None:
    if not 0 <= rate < math.inf:
        raise ValueError(f"{name}={rate}: expected 0 or more, finite")


def _check_count(name: str, count: int, least: int) -> None:
    if operator.index(count) < least:
        raise ValueError(f"{name}={count}: expected {least} or more")
