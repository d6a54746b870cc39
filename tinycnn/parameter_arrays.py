"""The parameters and gradients of a network: flat arrays, and views of them by name.

Prediction computes with values that it derives from the parameters: weights in other layouts,
BatchNorms folded into other layers.  Whoever has one of the arrays of parameters may write to it at
any time.  So once a program has asked for one, the parameters are compared before each prediction
with those that the values came from, which takes up to a tenth of the time of an image.  A network
that was loaded from a file, and is only used, is spared that.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from .aligned_arrays import aligned_zeros
from .backends import Backend
from .frozen_layers import NOTHING_FROZEN
from .layers import CustomLayer
from .plan import Plan, named_views
from .shapes import check_array
from .training_thread import TrainingThread


class ParameterArrays:
    """The attributes of a `Network` that are arrays; its docstring describes them."""

    plan: Plan
    training_thread: TrainingThread

    def _make_arrays(self, dtype: np.dtype) -> None:
        plan = self.plan
        self._parameter_vector = aligned_zeros(plan.n_parameter_slots, dtype)
        self._gradient_vector = aligned_zeros(plan.n_parameter_slots, dtype)
        self._parameters, self._gradients = (
            MappingProxyType(named_views(plan.parameter_slots, flat))
            for flat in (self._parameter_vector, self._gradient_vector)
        )
        self._statistics = MappingProxyType(
            named_views(plan.statistic_slots, self._parameter_vector)
        )
        self._frozen = NOTHING_FROZEN
        self._runners: list[Backend] = []  # the backend, once there is one
        # layers of the user's own are given their parameters
        self._may_change_unseen = any(isinstance(step.layer, CustomLayer) for step in plan.steps)

    def _expect_changes(self) -> None:
        """Compare the parameters before each prediction from now on: a program gets an array of
        them, or training changes the running statistics."""
        self._may_change_unseen = True
        self._tell_of_changes()

    def _tell_of_changes(self) -> None:
        """Tell the backend, if there is one, whether it has to compare the parameters."""
        for runner in self._runners:
            runner.parameters_may_change = self._may_change_unseen

    def _parameters_have_changed(self) -> None:
        """The network itself has written to the parameters: tell the backend, if there is one."""
        for runner in self._runners:
            runner.parameters_have_changed()

    @property
    def n_parameters(self) -> int:
        return self.plan.n_parameters

    @property
    def parameters(self) -> Mapping[str, np.ndarray]:
        self._expect_changes()
        return self._parameters

    @property
    def statistics(self) -> Mapping[str, np.ndarray]:
        self._expect_changes()
        return self._statistics

    @property
    def parameter_vector(self) -> np.ndarray:
        self._expect_changes()
        return self._parameter_vector

    @parameter_vector.setter
    def parameter_vector(self, values: np.ndarray) -> None:
        """Copies the values; also for `network.parameter_vector -= ...`."""
        self.parameter_vector[:] = values

    @property
    def trained_vector(self) -> np.ndarray:
        return self.parameter_vector[self._frozen.n_elements : self.plan.n_trained_slots]

    @trained_vector.setter
    def trained_vector(self, values: np.ndarray) -> None:
        self.trained_vector[:] = values

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

    def set_parameters(self, values: Mapping[str, np.ndarray]) -> None:
        """Copy values into the parameters and statistics of these names; others stay as they are.

        values  float arrays by name, such as "conv1.w", of the shapes that `parameters` has
        Raises ValueError for a name that the network does not have or for another shape, TypeError
        for anything but arrays of floats.  Then nothing has changed.
        """
        own = {**self._parameters, **self._statistics}
        unknown = [str(name) for name in values if name not in own]
        if unknown:
            raise ValueError(
                f"the network has no parameter {', '.join(unknown[:5])}; it has {', '.join(own)}"
            )
        checked = {
            name: check_array(name, array, own[name].shape, "f", "floats")
            for name, array in values.items()
        }
        for name, array in checked.items():
            own[name][:] = array
        self._parameters_have_changed()
