"""Optimizers: arguments and slots here, arithmetic in kernels/adam.py and sgd.py or reference.py.

An optimizer moves one flat array of parameters against one flat array of gradients, in place.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np

from .aligned_arrays import aligned_zeros
from .backend_choice import Operations


class Optimizer:
    """What Adam, AdamW and SGD share: checks, slots, the step count, saving and resuming."""

    name: ClassVar[str]
    slot_names: ClassVar[tuple[str, ...]]
    learning_rate: float
    backend: str

    def __post_init__(self) -> None:
        self.n_steps = 0
        self._slots: dict[str, np.ndarray] = {}
        self._check_options()
        _update_function(self.name, self.backend)

    def step(
        self, parameters: np.ndarray, gradients: np.ndarray, learning_rate: float | None = None
    ) -> None:
        """Update parameters in place.

        parameters     (P,) float32 or float64, contiguous and writeable
        gradients      (P,) same dtype, left as it is.  NaN is not looked for: watch the loss
        learning_rate  of this step only; None is the optimizer's own
        The slots are made on the first step, like parameters; later steps must bring as many.
        Raises TypeError for a wrong dtype, ValueError for a wrong shape or value.
        """
        if parameters.dtype not in (np.float32, np.float64):
            raise TypeError(
                f"parameters have dtype {parameters.dtype}: expected float32 or float64"
            )
        if parameters.ndim != 1:
            raise ValueError(f"parameters have shape {parameters.shape}: expected a flat array")
        if not (parameters.flags.c_contiguous and parameters.flags.writeable):
            raise ValueError("parameters are read-only or strided: expected an array to update")
        if gradients.dtype != parameters.dtype:
            raise TypeError(
                f"gradients have dtype {gradients.dtype}: expected {parameters.dtype} "
                "like the parameters"
            )
        if gradients.shape != parameters.shape:
            raise ValueError(
                f"gradients have shape {gradients.shape}: expected {parameters.shape} "
                "like the parameters"
            )
        if learning_rate is None:
            learning_rate = self.learning_rate
        rate = _in_range("learning_rate", learning_rate, 0.0, math.inf)
        if not self._slots:
            size, dtype = parameters.size, parameters.dtype
            self._slots = {name: aligned_zeros(size, dtype) for name in self.slot_names}
        for name, slot in self._slots.items():
            if slot.shape != parameters.shape or slot.dtype != parameters.dtype:
                raise ValueError(
                    f"parameters are {parameters.dtype} {parameters.shape}, but slot {name!r} is "
                    f"{slot.dtype} {slot.shape}: an optimizer serves one network"
                )
        # A kernel is compiled anew for each kind of array: read-only ones are copied instead.
        if not gradients.flags.carray:
            gradients = np.require(gradients, requirements=["C_CONTIGUOUS", "WRITEABLE", "ALIGNED"])
        self._update(_update_function(self.name, self.backend), parameters, gradients, rate)
        self.n_steps += 1

    def state(self) -> dict[str, np.ndarray]:
        """Copies of all that the next step depends on besides `config`: n_steps and the slots."""
        slots = {name: slot.copy() for name, slot in self._slots.items()}
        return {"n_steps": np.array(self.n_steps, np.int64), **slots}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Go on from `state`, as `state()` returned it; the next step is then the same to the bit.

        Raises ValueError where entries are missing, unknown or do not fit one another.
        """
        slots = {name: np.asarray(state[name]) for name in state if name != "n_steps"}
        n_steps = np.asarray(state.get("n_steps", -1))
        if n_steps.shape != () or not np.issubdtype(n_steps.dtype, np.integer) or n_steps < 0:
            raise ValueError("optimizer state: expected 'n_steps', a whole number of 0 or more")
        if set(slots) != set(self.slot_names) and (slots or n_steps > 0):
            raise ValueError(
                f"optimizer state has slots {sorted(slots)}: {self.name} at step {n_steps} expects "
                f"{sorted(self.slot_names)}"
            )
        kinds = {(slot.dtype, slot.shape) for slot in slots.values()}
        if any(dtype not in (np.float32, np.float64) or len(s) != 1 for dtype, s in kinds):
            raise ValueError(
                f"optimizer state: expected flat float32 or float64 slots, not {kinds}"
            )
        if len(kinds) > 1:
            raise ValueError(f"optimizer state: slots differ in dtype or shape: {kinds}")
        self._slots = {name: slots[name].copy() for name in self.slot_names if slots}
        self.n_steps = int(n_steps)

    def config(self) -> dict[str, Any]:
        """Name and options, JSON-able: `optimizer_from_name(**config)` makes the same optimizer.

        The backend is left out: it says how to compute, not what.
        """
        options = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "backend"}
        return {"name": self.name, **options}

    def _check_options(self) -> None:
        raise NotImplementedError

    def _update(
        self, update: Callable, parameters: np.ndarray, gradients: np.ndarray, rate: float
    ) -> None:
        raise NotImplementedError


@dataclass(eq=False)
class Adam(Optimizer):
    """Adam (Kingma and Ba, arXiv:1412.6980); weight_decay is added to the gradient (L2)."""

    learning_rate: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    backend: str = field(default="auto", kw_only=True)
    name: ClassVar[str] = "adam"
    slot_names: ClassVar[tuple[str, ...]] = ("m", "v")
    decoupled: ClassVar[bool] = False

    def _check_options(self) -> None:
        self.learning_rate = _in_range("learning_rate", self.learning_rate, 0.0, math.inf)
        self.beta1 = _in_range("beta1", self.beta1, 0.0, 1.0)
        self.beta2 = _in_range("beta2", self.beta2, 0.0, 1.0)
        # Below this a float32 weight that never had a gradient would become 0 / 0 = NaN.
        self.epsilon = _in_range("epsilon", self.epsilon, 1e-30, math.inf)
        self.weight_decay = _in_range("weight_decay", self.weight_decay, 0.0, math.inf)

    def _update(
        self, update: Callable, parameters: np.ndarray, gradients: np.ndarray, rate: float
    ) -> None:
        update(
            parameters,
            gradients,
            self._slots["m"],
            self._slots["v"],
            self.n_steps + 1,
            rate,
            self.beta1,
            self.beta2,
            self.epsilon,
            self.weight_decay,
            self.decoupled,
        )


@dataclass(eq=False)
class AdamW(Adam):
    """Adam whose weight decay bypasses the moments (Loshchilov and Hutter, arXiv:1711.05101)."""

    weight_decay: float = 0.01
    name: ClassVar[str] = "adamw"
    decoupled: ClassVar[bool] = True


@dataclass(eq=False)
class SGD(Optimizer):
    """Gradient descent with momentum, optionally Nesterov's; weight_decay is L2."""

    learning_rate: float = 1e-2
    momentum: float = 0.9
    weight_decay: float = 0.0
    nesterov: bool = False
    backend: str = field(default="auto", kw_only=True)
    name: ClassVar[str] = "sgd"
    slot_names: ClassVar[tuple[str, ...]] = ("velocity",)

    def _check_options(self) -> None:
        self.learning_rate = _in_range("learning_rate", self.learning_rate, 0.0, math.inf)
        self.momentum = _in_range("momentum", self.momentum, 0.0, 1.0)
        self.weight_decay = _in_range("weight_decay", self.weight_decay, 0.0, math.inf)
        self.nesterov = bool(self.nesterov)
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov=True with momentum=0: expected a momentum to look ahead by")

    def _update(
        self, update: Callable, parameters: np.ndarray, gradients: np.ndarray, rate: float
    ) -> None:
        velocity = self._slots["velocity"]
        update(
            parameters,
            gradients,
            velocity,
            rate,
            self.momentum,
            self.weight_decay,
            self.nesterov,
        )


def optimizer_from_name(name: str, **options: Any) -> Optimizer:
    """Adam, AdamW or SGD by name ("adam", "adamw", "sgd"), with its options as keywords.

    Raises ValueError for another name or an option out of range, TypeError for an unknown option.
    """
    optimizers = {optimizer.name: optimizer for optimizer in (Adam, AdamW, SGD)}
    if name not in optimizers:
        raise ValueError(f"optimizer {name!r}: expected one of {', '.join(optimizers)}")
    return optimizers[name](**options)


def clip_by_norm(gradients: np.ndarray, max_norm: float) -> float:
    """Shorten all gradients together to length max_norm, in place; returns the length they had.

        norm = sqrt(sum_i g_i^2),    g <- g * min(1, max_norm / norm)

    gradients (P,) float32 or float64; max_norm above 0.  The sum is taken in float64 and in one
    order whatever the number of threads.  NaN and infinity stay for the loss to tell of.
    Source: Pascanu, Mikolov and Bengio, arXiv:1211.5063, algorithm 1.
    Raises ValueError for a max_norm out of range or read-only gradients, TypeError for their dtype.
    """
    if gradients.dtype not in (np.float32, np.float64):
        raise TypeError(f"gradients have dtype {gradients.dtype}: expected float32 or float64")
    if not gradients.flags.writeable:
        raise ValueError("gradients are read-only: expected an array to shorten")
    if not 0 < max_norm < math.inf:
        raise ValueError(f"clip_norm is {max_norm!r}; expected a finite number above 0")
    norm = math.sqrt(float(np.add.reduce(np.square(gradients, dtype=np.float64))))
    if max_norm < norm < math.inf:
        gradients *= gradients.dtype.type(max_norm / norm)
    return norm


@functools.cache
def _update_function(name: str, backend: str) -> Callable:
    """The update that computes.  Imported here, so that importing this file needs NumPy alone."""
    operations = Operations(backend, _kernels)
    return operations.sgd_update if name == "sgd" else operations.adam_update


def _kernels() -> tuple[Any, ...]:
    from .kernels import adam, sgd

    return adam, sgd


def _in_range(option: str, value: float, low: float, below: float) -> float:
    """`value` as a float, if low <= value < below.  NaN is out of every range."""
    if not low <= value < below:
        limit = f" and below {below:g}" if below < math.inf else ", finite"
        raise ValueError(f"{option}={value}: expected a number of at least {low:g}{limit}")
    return float(value)
