"""Trains a network whose first layers are frozen: they keep their weights and their statistics.

`Network.freeze` says what that means for users.  The frozen layers run as in prediction, so a
BatchNorm among them uses its running statistics, and nothing is computed backward through them.
What they give is the input of the other layers, which are trained as a network of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from .aligned_arrays import aligned_zeros
from .backends import Backend, make_backend
from .layers import BatchNorm, Dropout, Flatten, PReLU, Residual, ScaleShift, SpatialDropout2D
from .losses import Loss, LossInputs
from .parallel import Threads
from .plan import Plan, build_plan, layer_names, named_views

NOT_COUNTED = (BatchNorm, ScaleShift, PReLU)
"""Layers with parameters that belong to the layer before them: they are frozen with it."""

TRAINED_WITH_THE_NEXT = (Dropout, SpatialDropout2D, Flatten)
"""Layers without parameters that are not frozen with the layer before them."""


class Frozen(NamedTuple):
    """The first layers of a network: how many layers, steps of the plan and elements of the flat
    array they are."""

    n_layers: int
    n_steps: int
    n_elements: int


NOTHING_FROZEN = Frozen(0, 0, 0)


def frozen_part(plan: Plan, layers: int | str) -> Frozen:
    """What `Network.freeze(layers)` freezes.  Raises ValueError for a number or a name that the
    network does not have."""
    groups = _groups(plan)
    names = [name for group in groups for name in group.names[:1]]
    expected = f"one of {', '.join(names[:-1])}" if len(names) > 1 else "0: it has one layer alone"
    if isinstance(layers, str):
        found = [k for k, group in enumerate(groups) if layers in group.names]
        if not found or found[0] == len(groups) - 1:
            raise ValueError(f"freeze is {layers!r}; expected {expected}, or how many of these")
        n = found[0] + 1
    else:
        n = layers
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or not 0 <= n < len(groups):
            raise ValueError(
                f"freeze is {n!r}; expected a number from 0 to {len(groups) - 1}, of the layers "
                f"{', '.join(names)}: the last is always trained"
            )
    if n == 0:
        return NOTHING_FROZEN
    end = groups[n - 1].end
    while isinstance(plan.layers[end - 1], TRAINED_WITH_THE_NEXT):
        end -= 1
    part = build_plan((*plan.layers[:end], Flatten()), plan.input_shape)
    return Frozen(end, len(part.steps) - 1, part.n_trained_slots)


class _Group(NamedTuple):
    """A layer with weights and those that follow it, up to the next layer with weights.

    names  as in the plan; that of the layer with weights is the first
    end    index of the first layer that does not belong to it
    """

    names: list[str]
    end: int


def _groups(plan: Plan) -> list[_Group]:
    groups: list[_Group] = []
    with_parameters = {name.rsplit(".", 1)[0] for name in plan.parameter_slots}
    first_names: list[str] = []  # of layers before the first one with weights
    for k, (layer, name) in enumerate(zip(plan.layers, layer_names(plan.layers))):
        inside = (step for step in with_parameters if step.startswith(f"{name}."))
        has_weights = any(inside) if isinstance(layer, Residual) else name in with_parameters
        if has_weights and not isinstance(layer, NOT_COUNTED):
            groups.append(_Group([name, *first_names], k + 1))
            first_names = []
        elif groups:
            groups[-1] = _Group([*groups[-1].names, name], k + 1)
        else:
            first_names.append(name)
    return groups


class FrozenBackend:
    """The `Backend` of a network with frozen layers: see `backends.py`.

    whole  the backend of all layers, which predicts
    The arrays of the frozen layers and of the others are copied from the network's flat arrays
    before a step, and gradients and statistics back after it.
    """

    ready_to_train, parameters_may_change = True, True

    def __init__(
        self,
        whole: Backend,
        frozen: Frozen,
        plan: Plan,
        parameters: np.ndarray,
        gradients: np.ndarray,
        threads: Threads,
        name: str,
    ) -> None:
        self.whole = whole
        layers, others = plan.layers[: frozen.n_layers], plan.layers[frozen.n_layers :]
        first_plan = build_plan((*layers, Flatten()), plan.input_shape)
        shape = first_plan.steps[-1].input_shape
        if len(shape) == 3:
            rest_plan = build_plan(others, shape)
        else:
            rest_plan = build_plan((Flatten(), *others), (1, 1, *shape))
        self.first = _Part(first_plan, parameters.dtype, threads, name, training=False)
        self.rest = _Part(rest_plan, parameters.dtype, threads, name, training=True)
        steps = plan.steps[frozen.n_steps :]
        own_steps = rest_plan.steps[-len(steps) :]
        self.own_names = {of.name: own.name for of, own in zip(steps, own_steps)}
        first_names = {step.name: step.name for step in plan.steps[: frozen.n_steps]}
        self.copies_in = [
            *_pairs(plan, parameters, self.first, first_names),
            *_pairs(plan, parameters, self.rest, self.own_names),
        ]
        self.statistics = _pairs(plan, parameters, self.rest, self.own_names, statistics_alone=True)
        n_trained = rest_plan.n_trained_slots
        begin = plan.n_trained_slots - n_trained
        self.copies_out = (
            gradients[begin : plan.n_trained_slots],
            self.rest.gradients[:n_trained],
        )

    def parameters_have_changed(self) -> None:
        self.whole.parameters_have_changed()

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.whole.predict(x)

    def scale_images(
        self, images: np.ndarray, scaling: int, normalization: np.ndarray, x_out: np.ndarray
    ) -> None:
        self.whole.scale_images(images, scaling, normalization, x_out)

    def forward(self, x: np.ndarray, masks: Mapping[str, np.ndarray]) -> np.ndarray:
        logits = self.rest.backend.forward(self._features(x), self._own_masks(masks))
        self._copy_statistics()
        return logits

    def backward(self, dlogits: np.ndarray, wants_dx: bool) -> np.ndarray | None:
        if wants_dx:
            raise ValueError(
                "input_gradient of a network with frozen layers, through which nothing is "
                "computed backward: call network.freeze(0) first"
            )
        self.rest.backend.backward(dlogits, False)
        self._copy_gradients()
        return None

    def step(
        self, x: np.ndarray, masks: Mapping[str, np.ndarray], loss: Loss, inputs: LossInputs
    ) -> tuple[float, np.ndarray]:
        features, own_masks = self._features(x), self._own_masks(masks)
        value, logits = self.rest.backend.step(features, own_masks, loss, inputs)
        self._copy_statistics()
        self._copy_gradients()
        return value, logits

    def _features(self, x: np.ndarray) -> np.ndarray:
        """What the frozen layers give for x, in the shape that the others take."""
        for of_network, own in self.copies_in:
            own[:] = of_network
        return self.first.backend.predict(x).reshape(len(x), *self.rest.plan.input_shape)

    def _own_masks(self, masks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The masks by the names that the steps have without the frozen layers."""
        return {self.own_names[name]: a for name, a in masks.items() if name in self.own_names}

    def _copy_statistics(self) -> None:
        for of_network, own in self.statistics:
            of_network[:] = own

    def _copy_gradients(self) -> None:
        of_network, own = self.copies_out
        of_network[:] = own


class _Part:
    """Some layers of a network as a plan of their own, with flat arrays and a backend."""

    def __init__(
        self, plan: Plan, dtype: np.dtype, threads: Threads, name: str, training: bool
    ) -> None:
        self.plan = plan
        self.parameters = aligned_zeros(plan.n_parameter_slots, dtype)
        self.gradients = aligned_zeros(plan.n_parameter_slots, dtype)
        self.backend = make_backend(name, plan, self.parameters, self.gradients, threads, training)


def _pairs(
    plan: Plan,
    parameters: np.ndarray,
    part: _Part,
    own_names: Mapping[str, str],
    statistics_alone: bool = False,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """(array of the network, the part's array for the same) for the steps in own_names, which has
    the part's names of steps by those of the network."""
    pairs = []
    slots = [(plan.statistic_slots, part.plan.statistic_slots)]
    if not statistics_alone:
        slots.append((plan.parameter_slots, part.plan.parameter_slots))
    for of_network, of_part in slots:
        theirs, own = named_views(of_network, parameters), named_views(of_part, part.parameters)
        for name, array in theirs.items():
            step, _, short = name.rpartition(".")
            if step in own_names:
                pairs.append((array, own[f"{own_names[step]}.{short}"]))
    return pairs
