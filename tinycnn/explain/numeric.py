"""The numeric gradient beside the analytic one, entry by entry, on the kernels in float64.

    numeric = (L(v + h) - L(v - h)) / 2h                                                       (1)

The step h is chosen for each tensor so that its steepest entry moves the loss by about 1e-5 of
itself (of 1, if it is larger): with a larger one the curvature shows (the error grows as h*h),
with a smaller one rounding does (it grows as 1/h).  Where a ReLU or the winner of a pooling
switches between v - h and v + h the loss has a kink, and (1) says nothing about the gradient on
either side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..layers import MaxPool2D, ReLU
from ..losses import CrossEntropy
from ..reference_backend import ReferenceBackend
from .trace import Trace

AGREES, KINK, DROWNED, DISAGREES = "agrees", "kink", "drowned", "disagrees"

RELATIVE_BOUND = 1e-6

DROWNED_ABOVE = 1e-2
"""Where rounding may be a larger part of a gradient than this, that the two are near one another
proves nothing."""

MOVES_LOSS_BY = 1e-5
STEPS = (1e-8, 1e-2)
"""Smallest and largest step."""

SWEEP = tuple(10.0**-k for k in range(0, 11))


@dataclass(frozen=True)
class Probe:
    """One entry of one tensor, moved up and down by `step`.

    tensor      "conv1.w", or "x" for the image;  index: into it
    n_switches  ReLUs and pooling winners that are not the same at v - h and v + h; None where the
                two gradients agree and nobody counted
    rounding    how far the two may be apart for rounding's sake alone
    """

    tensor: str
    index: tuple[int, ...]
    value: float
    step: float
    loss_ahead: float
    loss_behind: float
    analytic: float
    n_switches: int | None
    rounding: float

    @property
    def numeric(self) -> float:
        """Equation (1)."""
        return (self.loss_ahead - self.loss_behind) / (2 * self.step)

    @property
    def relative_error(self) -> float:
        """|analytic - numeric| / max(|analytic|, |numeric|); 0 where both are 0."""
        scale = max(abs(self.analytic), abs(self.numeric))
        return abs(self.analytic - self.numeric) / scale if scale else 0.0

    @property
    def verdict(self) -> str:
        scale = max(abs(self.analytic), abs(self.numeric))
        apart = abs(self.analytic - self.numeric)
        if apart <= RELATIVE_BOUND * scale:
            return AGREES
        if apart <= RELATIVE_BOUND * scale + self.rounding:
            return AGREES if self.rounding <= DROWNED_ABOVE * scale else DROWNED
        return KINK if self.n_switches else DISAGREES


class Prober:
    """Moves entries of the traced network and of its input, and puts them back."""

    def __init__(self, trace: Trace) -> None:
        self.network, self.labels = trace.network, np.array([trace.label])
        self.x = trace.x[None].copy()
        self.tensors = {"x": self.x[0], **self.network.parameters}
        self.gradients = {"x": trace.dx}
        for layer in trace.layers:
            for short, gradient in layer.gradients.items():
                self.gradients[f"{layer.step.name}.{short}"] = gradient
        # Two roundings.  Every value of every layer is off by eps of itself, which moves L by dL/dy
        # of it.  And p - 1 of the label is off by eps, which moves a gradient by dz[label]/dv.
        eps = float(np.finfo(np.float64).eps)
        moved = sum(float(np.abs(layer.dy * layer.y).sum()) for layer in trace.layers)
        self.loss_rounding = 4 * eps * (abs(trace.loss) + moved)
        self.analytic_rounding = {
            name: 4 * eps * np.abs(gradient) for name, gradient in self._label_gradients().items()
        }
        plan, parameters = self.network.plan, self.network.parameter_vector
        self.reference = ReferenceBackend(plan, parameters, np.zeros_like(parameters))

    def _label_gradients(self) -> dict[str, np.ndarray]:
        """dz[label]/dv of every entry v."""
        one_hot = np.zeros((1, len(self.network.classes)))
        one_hot[0, self.labels] = 1
        self.network.forward(self.x, training=True)
        dx = self.network.backward(one_hot, input_gradient=True)
        return {"x": dx[0], **{name: g.copy() for name, g in self.network.gradients.items()}}

    def loss(self) -> float:
        return CrossEntropy()(self.network.forward(self.x, training=True), self.labels)[0]

    def pattern(self) -> np.ndarray:
        """Which ReLUs are open and which positions win, as one vector."""
        self.reference.forward(self.x, masks={})
        parts = [np.zeros(0, np.int64)]
        for step, (_, y, winners) in zip(self.network.plan.steps, self.reference.saved):
            if isinstance(step.layer, ReLU):
                parts.append((y > 0).ravel())
            elif isinstance(step.layer, MaxPool2D):
                parts.append(winners.ravel())
        return np.concatenate(parts)

    def probe(
        self, name: str, index: tuple[int, ...], step: float, count_switches: bool = False
    ) -> Probe:
        """Move one entry up and down.  Switches are counted where the gradients do not agree, or
        where that is asked for: it takes the slow reference."""
        ahead, behind = self._at(name, index, step, self.loss)
        found = Probe(
            tensor=name,
            index=index,
            value=float(self.tensors[name][index]),
            step=step,
            loss_ahead=ahead,
            loss_behind=behind,
            analytic=float(self.gradients[name][index]),
            n_switches=None,
            rounding=float(self.loss_rounding / (2 * step) + self.analytic_rounding[name][index]),
        )
        if found.verdict == AGREES and not count_switches:
            return found
        ahead, behind = self._at(name, index, step, self.pattern)
        return replace(found, n_switches=int((ahead != behind).sum()))

    def _at(
        self, name: str, index: tuple[int, ...], step: float, measure: Callable[[], Any]
    ) -> list[Any]:
        """measure() with the entry a step up, and a step down."""
        tensor = self.tensors[name]
        value, found = float(tensor[index]), []
        try:
            for moved in (value + step, value - step):
                tensor[index] = moved
                found.append(measure())
        finally:
            tensor[index] = value
        return found


def step_for(gradient: np.ndarray, loss: float) -> float:
    """A power of ten by which the steepest entry moves the loss by about MOVES_LOSS_BY of it."""
    steepest = float(np.abs(gradient).max(initial=0.0))
    if not steepest or not loss:
        return 1e-4
    step = 10.0 ** round(np.log10(MOVES_LOSS_BY * min(loss, 1.0) / steepest))
    return float(min(max(step, STEPS[0]), STEPS[1]))


def probe_gradients(trace: Trace, n_entries: int = 6, seed: int = 0) -> list[Probe]:
    """Up to `n_entries` entries of the image and of every parameter: a third of them where the
    gradient is largest, one where it is exactly 0 if there is one, the others at random."""
    prober, rng = Prober(trace), np.random.default_rng(seed)
    probes = []
    for name, gradient in prober.gradients.items():
        step = step_for(gradient, trace.loss)
        for flat in sampled_entries(gradient.ravel(), n_entries, rng):
            index = tuple(int(i) for i in np.unravel_index(flat, gradient.shape))
            probes.append(prober.probe(name, index, step))
    return probes


def sampled_entries(gradient: np.ndarray, n_entries: int, rng: np.random.Generator) -> list[int]:
    """Different flat indices into `gradient`, largest |gradient| first."""
    order = np.argsort(-np.abs(gradient), kind="stable")
    chosen = list(order[: max(n_entries // 3, 1)])
    zeros = np.flatnonzero(gradient == 0)
    if len(zeros):
        chosen.append(int(rng.choice(zeros)))
    others = np.setdiff1d(np.flatnonzero(gradient), chosen)
    n_others = min(max(n_entries - len(chosen), 0), len(others))
    chosen += list(rng.choice(others, n_others, replace=False))
    chosen = dict.fromkeys(int(k) for k in chosen)
    return sorted(chosen, key=lambda k: -abs(gradient[k]))[:n_entries]


def sweep_steps(trace: Trace) -> list[Probe]:
    """One entry at every step of SWEEP: of the first parameter, where its gradient is largest."""
    prober = Prober(trace)
    name = next(iter(prober.network.parameters))
    gradient = prober.gradients[name]
    index = tuple(int(i) for i in np.unravel_index(np.abs(gradient).argmax(), gradient.shape))
    return [prober.probe(name, index, step, count_switches=True) for step in SWEEP]
