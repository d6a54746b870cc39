"""The arrays of a network: parameters, statistics and gradients, flat and by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Generic, TypeVar, overload

import numpy as np

from .aligned_arrays import aligned_zeros
from .frozen_layers import NOTHING_FROZEN
from .layers import Shape
from .plan import Plan, named_views
from .training_thread import TrainingThread
from .watched_array import WatchedArray

T = TypeVar("T")


class MadeAnew(Generic[T]):
    """An attribute that is made anew each time it is read.

    `network.parameter_vector -= step` assigns the array that it has changed: nothing is to be done.
    Any other value that is assigned takes the attribute's place.
    """

    def __init__(self, make: Callable[..., T]) -> None:
        self.make, self.name = make, make.__name__

    @overload
    def __get__(self, instance: None, owner: type) -> MadeAnew[T]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> MadeAnew[T] | T:
        if instance is None:
            return self
        assigned: T | None = vars(instance).get(self.name)
        return self.make(instance) if assigned is None else assigned

    def __set__(self, instance: object, value: T) -> None:
        made = self.make(instance)
        if isinstance(made, np.ndarray) and isinstance(value, np.ndarray):
            if (value.ctypes.data, value.shape) == (made.ctypes.data, made.shape):
                return
        vars(instance)[self.name] = value


class NetworkArrays:
    """What a `Network` has of arrays.  Those of the parameters are made anew each time, so that
    `_watched` knows when nobody has one any more."""

    def __init__(self, plan: Plan, dtype: np.dtype) -> None:
        self.plan, self.dtype = plan, dtype
        self._watched = WatchedArray(aligned_zeros(plan.n_parameter_slots, dtype))
        self._gradient_vector = aligned_zeros(plan.n_parameter_slots, dtype)
        self._gradients = _views(plan.parameter_slots, self._gradient_vector)
        self.training_thread = TrainingThread()
        self._frozen = NOTHING_FROZEN

    @MadeAnew
    def parameter_vector(self) -> np.ndarray:
        return self._watched.given()

    @MadeAnew
    def trained_vector(self) -> np.ndarray:
        return self._watched.given()[self._frozen.n_elements : self.plan.n_trained_slots]

    @MadeAnew
    def parameters(self) -> Mapping[str, np.ndarray]:
        return _views(self.plan.parameter_slots, self._watched.given())

    @MadeAnew
    def statistics(self) -> Mapping[str, np.ndarray]:
        return _views(self.plan.statistic_slots, self._watched.given())

    @property
    def n_parameters(self) -> int:
        return self.plan.n_parameters

    @property
    def gradients(self) -> Mapping[str, np.ndarray]:
        self.training_thread.reads_gradients()
        return self._gradients

    @property
    def gradient_vector(self) -> np.ndarray:
        self.training_thread.reads_gradients()
        return self._gradient_vector

    @property
    def trained_gradients(self) -> np.ndarray:
        return self.gradient_vector[self._frozen.n_elements : self.plan.n_trained_slots]


def _views(slots: Mapping[str, tuple[int, Shape]], flat: np.ndarray) -> Mapping[str, np.ndarray]:
    return MappingProxyType(named_views(slots, flat))
