"""Numeric gradients beside the analytic ones, entry by entry, on the kernels in float64.

    numeric = (L(v + h) - L(v - h)) / 2h                                                       (1)

Each tensor has its own step h: the entry with the largest gradient then changes the loss by about
1e-5 of it (of 1, where it is larger).  With a larger step the curvature of the loss would add an
error that grows as h*h; with a smaller one rounding adds an error that grows as 1/h.  Where a ReLU
opens or closes, or a pooling takes another winner, between v - h and v + h, the loss has a kink:
then (1) says nothing about the gradient on either side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..losses import CrossEntropy
from ..reference_backend import ReferenceBackend
from .layer_kinds import explained
from .layer_trace import largest_at
from .trace import Trace

AGREES, KINK, DROWNED, DISAGREES = "agrees", "kink", "drowned", "disagrees"

RELATIVE_BOUND = 1e-6

DROWNED_ABOVE = 1e-2
"""If rounding may be more than this part of a gradient, it proves nothing that the numeric gradient
is close to it."""

CHANGE_OF_LOSS = 1e-5
STEPS = (1e-8, 1e-2)
"""The smallest and the largest step."""

SWEEP = tuple(10.0**-k for k in range(0, 11))


@dataclass(frozen=True)
class Probe:
    """The numeric gradient of one entry: its value is changed by +step and by -step.

    tensor          "conv1.w", or "x" for the image;  index: into it
    loss_ahead      the loss at value + step;  loss_behind: at value - step
    numeric         equation (1)
    relative_error  |analytic - numeric| / max(|analytic|, |numeric|); 0 where both are 0
    n_switches      how many ReLUs and pooling winners differ between the two; None: not counted,
                    because the gradients agree
    verdict         AGREES, KINK, DROWNED or DISAGREES
    """

    tensor: str
    index: tuple[int, ...]
    value: float
    step: float
    loss_ahead: float
    loss_behind: float
    numeric: float
    analytic: float
    relative_error: float
    n_switches: int | None
    verdict: str


class Prober:
    """Changes single entries of the traced network's parameters and input, and restores them."""

    def __init__(self, trace: Trace) -> None:
        self.network, self.labels = trace.network, np.array([trace.label])
        self.x = trace.x[None].copy()
        self.tensors = {"x": self.x[0], **self.network.parameters}
        self.gradients = {"x": trace.dx}
        for layer in trace.layers:
            for short, gradient in layer.gradients.items():
                self.gradients[f"{layer.step.name}.{short}"] = gradient
        # Rounding has two effects.  Every y of every layer is wrong by eps * y, which changes L by
        # eps * y * dL/dy.  And p - 1 of the label is wrong by eps, which changes the gradient of an
        # entry v by eps * dz[label]/dv.
        eps = float(np.finfo(np.float64).eps)
        changes = sum(float(np.abs(layer.dy * layer.y).sum()) for layer in trace.layers)
        self.loss_rounding = 4 * eps * (abs(trace.loss) + changes)
        self.analytic_rounding = {
            name: 4 * eps * np.abs(gradient) for name, gradient in self._label_gradients().items()
        }
        plan, parameters = self.network.plan, self.network.parameter_vector
        self.reference = ReferenceBackend(plan, parameters, np.zeros_like(parameters))

    def _label_gradients(self) -> dict[str, np.ndarray]:
        """dz[label]/dv of every entry v: the gradients of the label's logit."""
        one_hot = np.zeros((1, len(self.network.classes)))
        one_hot[0, self.labels] = 1
        self.network.forward(self.x, training=True)
        dx = self.network.backward(one_hot, input_gradient=True)
        assert dx is not None  # it was asked for
        return {"x": dx[0], **{name: g.copy() for name, g in self.network.gradients.items()}}

    def loss(self) -> float:
        return CrossEntropy()(self.network.forward(self.x, training=True), self.labels)[0]

    def pattern(self) -> np.ndarray:
        """All choices of the forward pass, such as open ReLUs and winners, as one vector."""
        self.reference.forward(self.x, masks={})
        parts = [np.zeros(0, np.int64)]
        for step, (x, y, kept) in zip(self.network.plan.steps, self.reference.saved):
            choices = explained(step.layer).choices(x, y, kept)
            if choices is not None:
                parts.append(choices.ravel())
        return np.concatenate(parts)

    def probe(
        self, name: str, index: tuple[int, ...], step: float, count_switches: bool = False
    ) -> Probe:
        """The numeric gradient of one entry.  Counting switches needs the slow reference, so it is
        done where the gradients do not agree, and on request."""
        ahead, behind = self._at(name, index, step, self.loss)
        numeric, analytic = (ahead - behind) / (2 * step), float(self.gradients[name][index])
        scale, apart = max(abs(analytic), abs(numeric)), abs(analytic - numeric)
        # the largest difference between the two gradients that rounding explains
        rounding = self.loss_rounding / (2 * step) + self.analytic_rounding[name][index]
        verdict, n_switches = DISAGREES, None
        if apart <= RELATIVE_BOUND * scale:
            verdict = AGREES
        elif apart <= RELATIVE_BOUND * scale + rounding:
            verdict = AGREES if rounding <= DROWNED_ABOVE * scale else DROWNED
        if verdict != AGREES or count_switches:
            pattern_ahead, pattern_behind = self._at(name, index, step, self.pattern)
            n_switches = int((pattern_ahead != pattern_behind).sum())
            verdict = KINK if verdict == DISAGREES and n_switches else verdict
        return Probe(
            tensor=name,
            index=index,
            value=float(self.tensors[name][index]),
            step=step,
            loss_ahead=ahead,
            loss_behind=behind,
            numeric=numeric,
            analytic=analytic,
            relative_error=apart / scale if scale else 0.0,
            n_switches=n_switches,
            verdict=verdict,
        )

    def _at(
        self, name: str, index: tuple[int, ...], step: float, measure: Callable[[], Any]
    ) -> list[Any]:
        """measure() with the entry at value + step, and at value - step."""
        tensor = self.tensors[name]
        value, found = float(tensor[index]), []
        try:
            for changed in (value + step, value - step):
                tensor[index] = changed
                found.append(measure())
        finally:
            tensor[index] = value
        return found


def step_for(gradient: np.ndarray, loss: float) -> float:
    """The power of ten with which the entry of the largest gradient changes the loss by about
    CHANGE_OF_LOSS of it."""
    steepest = float(np.abs(gradient).max(initial=0.0))
    if not steepest or not loss:
        return 1e-4
    step = 10.0 ** round(np.log10(CHANGE_OF_LOSS * min(loss, 1.0) / steepest))
    return float(min(max(step, STEPS[0]), STEPS[1]))


def probe_gradients(trace: Trace, n_entries: int = 6, seed: int = 0) -> list[Probe]:
    """Numeric gradients of up to n_entries entries of the image and of each parameter: see
    `sampled_entries`."""
    prober, rng = Prober(trace), np.random.default_rng(seed)
    probes = []
    for name, gradient in prober.gradients.items():
        step = step_for(gradient, trace.loss)
        for flat in sampled_entries(gradient.ravel(), n_entries, rng):
            index = tuple(int(i) for i in np.unravel_index(flat, gradient.shape))
            probes.append(prober.probe(name, index, step))
    return probes


def sampled_entries(gradient: np.ndarray, n_entries: int, rng: np.random.Generator) -> list[int]:
    """Flat indices of different entries: a third of them where |gradient| is largest, one where it
    is exactly 0 if there is one, the others at random.  Sorted, largest |gradient| first."""
    order = np.argsort(-np.abs(gradient), kind="stable")
    chosen = list(order[: max(n_entries // 3, 1)])
    zeros = np.flatnonzero(gradient == 0)
    if len(zeros):
        chosen.append(int(rng.choice(zeros)))
    others = np.setdiff1d(np.flatnonzero(gradient), chosen)
    n_others = min(max(n_entries - len(chosen), 0), len(others))
    chosen += list(rng.choice(others, n_others, replace=False))
    different = dict.fromkeys(int(k) for k in chosen)
    return sorted(different, key=lambda k: -abs(gradient[k]))[:n_entries]


def sweep_steps(trace: Trace) -> list[Probe]:
    """One entry with every step of SWEEP: the one of the first parameter's largest gradient."""
    prober = Prober(trace)
    name = next(iter(prober.network.parameters))
    index = largest_at(prober.gradients[name])
    return [prober.probe(name, index, step, count_switches=True) for step in SWEEP]
