"""Optimizers: checks and state here, arithmetic in kernels/adam.py, sgd.py, rmsprop.py.

An optimizer updates a flat array of parameters in place, from a flat array of gradients.
"""

from __future__ import annotations

import abc
import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np

from .aligned_arrays import aligned_zeros
from .backend_choice import Operations
from .unknown_options import NamesItsOptions

NOT_NEGATIVE = (0.0, math.inf)


@dataclass(eq=False)
class Optimizer(NamesItsOptions, abc.ABC):
    """What Adam, AdamW, SGD and RMSprop have in common.

    Slots are the arrays that an optimizer keeps between steps, one element for each parameter.
    update_name: of the kernel that does a step
    clip_norm: gradients with a larger norm are scaled down to this norm before a step; 0: never
    rate_factors: ((n, factor), ...): the first n parameters learn with factor * learning_rate, the
                  next ones likewise; those after them with learning_rate
    ranges: lowest value of each numeric option, and the limit that it must stay below
    """

    learning_rate: float
    clip_norm: float = field(default=0.0, kw_only=True)
    rate_factors: tuple[tuple[int, float], ...] = field(default=(), kw_only=True)
    backend: str = field(default="auto", kw_only=True)
    name: ClassVar[str]
    update_name: ClassVar[str]
    slot_names: ClassVar[tuple[str, ...]]
    ranges: ClassVar[Mapping[str, tuple[float, float]]]

    def __post_init__(self) -> None:
        self.n_steps = 0
        self._slots: dict[str, np.ndarray] = {}
        for option, (lowest, limit) in {**self.ranges, "clip_norm": NOT_NEGATIVE}.items():
            setattr(self, option, _in_range(option, getattr(self, option), lowest, limit))
        self.rate_factors = tuple(_rate_factor(pair) for pair in self.rate_factors)
        _update_function(self.update_name, self.backend)  # ValueError for an unknown backend

    def step(
        self, parameters: np.ndarray, gradients: np.ndarray, learning_rate: float | None = None
    ) -> None:
        """Update parameters in place.

        parameters     (P,) float32 or float64, contiguous and writeable
        gradients      (P,) same dtype; changed only by clip_norm.  NaN is not checked for: it shows
                       in the loss
        learning_rate  of this step only; None is the optimizer's own
        The first step allocates the slots; later steps must have the same shape and dtype.
        Raises TypeError for a wrong dtype, ValueError for a wrong shape or value, or rate_factors
        for more parameters than there are.
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
        if self.clip_norm:
            clip_by_norm(gradients, self.clip_norm)
        # Numba would compile the kernel once more for read-only arrays: copy them instead
        if not gradients.flags.carray:
            gradients = np.require(gradients, requirements=["C_CONTIGUOUS", "WRITEABLE", "ALIGNED"])
        update = _update_function(self.update_name, self.backend)
        if self.rate_factors:
            for part, factor in self._parts(parameters.size):
                slots = {name: slot[part] for name, slot in self._slots.items()}
                self._update(update, parameters[part], gradients[part], slots, rate * factor)
        else:
            self._update(update, parameters, gradients, self._slots, rate)
        self.n_steps += 1

    def _parts(self, size: int) -> list[tuple[slice, float]]:
        """The slices of the flat arrays that `rate_factors` stands for, and their factors."""
        parts, begin = [], 0
        for n, factor in self.rate_factors:
            parts.append((slice(begin, begin + n), factor))
            begin += n
        if begin > size:
            raise ValueError(f"rate_factors are for {begin} parameters; there are {size}")
        return [*parts, (slice(begin, size), 1.0)]

    def state(self) -> dict[str, np.ndarray]:
        """Copies of n_steps and the slots: with `config`, all that the next step depends on."""
        slots = {name: slot.copy() for name, slot in self._slots.items()}
        return {"n_steps": np.array(self.n_steps, np.int64), **slots}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Continue from what `state()` returned; the next step then has the same bits.

        Raises ValueError if entries are missing, unknown or do not fit together.
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
        """Name and options, as values that JSON can store: `optimizer_from_name(**config)` makes
        the same optimizer.  The backend is left out, because results do not depend on it.
        """
        options = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "backend"}
        factors = options.pop("rate_factors")
        if factors:  # left out without them, as in files of releases that did not have them
            options["rate_factors"] = [list(pair) for pair in factors]
        return {"name": self.name, **options}

    @abc.abstractmethod
    def _update(
        self,
        update: Callable,
        parameters: np.ndarray,
        gradients: np.ndarray,
        slots: Mapping[str, np.ndarray],
        rate: float,
    ) -> None:
        """Call `update`, a kernel or its reference, for one step of these parameters."""


@dataclass(eq=False)
class Adam(Optimizer):
    """Adam (Kingma and Ba, arXiv:1412.6980) with L2 regularisation: weight_decay * parameters is
    added to the gradients."""

    learning_rate: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    name: ClassVar[str] = "adam"
    update_name: ClassVar[str] = "adam_update"
    slot_names: ClassVar[tuple[str, ...]] = ("m", "v")
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        "learning_rate": NOT_NEGATIVE,
        "beta1": (0.0, 1.0),
        "beta2": (0.0, 1.0),
        # a smaller epsilon could become 0 in float32: 0 / 0 = NaN for weights without gradient
        "epsilon": (1e-30, math.inf),
        "weight_decay": NOT_NEGATIVE,
    }
    decoupled: ClassVar[bool] = False

    def _update(
        self,
        update: Callable,
        parameters: np.ndarray,
        gradients: np.ndarray,
        slots: Mapping[str, np.ndarray],
        rate: float,
    ) -> None:
        update(
            parameters, gradients, slots["m"], slots["v"], self.n_steps + 1, rate,
            self.beta1, self.beta2, self.epsilon, self.weight_decay, self.decoupled,
        )  # fmt: skip


@dataclass(eq=False)
class AdamW(Adam):
    """Adam with decoupled weight decay: the parameters are shrunk directly, and the decay is not
    part of the gradients (Loshchilov and Hutter, arXiv:1711.05101)."""

    weight_decay: float = 0.01
    name: ClassVar[str] = "adamw"
    decoupled: ClassVar[bool] = True


@dataclass(eq=False)
class SGD(Optimizer):
    """Gradient descent with momentum, optionally Nesterov's; weight_decay as in Adam."""

    learning_rate: float = 1e-2
    momentum: float = 0.9
    weight_decay: float = 0.0
    nesterov: bool = False
    name: ClassVar[str] = "sgd"
    update_name: ClassVar[str] = "sgd_update"
    slot_names: ClassVar[tuple[str, ...]] = ("velocity",)
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        "learning_rate": NOT_NEGATIVE,
        "momentum": (0.0, 1.0),
        "weight_decay": NOT_NEGATIVE,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        self.nesterov = bool(self.nesterov)
        if self.nesterov and self.momentum == 0:
            raise ValueError("momentum=0 with Nesterov's step: expected a momentum above 0")

    def _update(
        self,
        update: Callable,
        parameters: np.ndarray,
        gradients: np.ndarray,
        slots: Mapping[str, np.ndarray],
        rate: float,
    ) -> None:
        velocity, mu = slots["velocity"], self.momentum
        update(parameters, gradients, velocity, rate, mu, self.weight_decay, self.nesterov)


@dataclass(eq=False)
class RMSprop(Optimizer):
    """Gradients divided by the root of the mean of their squares (kernels/rmsprop.py).

    The defaults are Keras's.  PyTorch's: rho=0.99, epsilon=1e-8, epsilon_in_root=False.
    rho              share of the old mean that a step keeps
    centered         divide by the deviation of the gradients instead
    epsilon_in_root  True: sqrt(mean + epsilon); False: sqrt(mean) + epsilon
    momentum, weight_decay  as in SGD
    """

    learning_rate: float = 1e-3
    rho: float = 0.9
    momentum: float = 0.0
    epsilon: float = 1e-7
    centered: bool = False
    weight_decay: float = 0.0
    epsilon_in_root: bool = True
    name: ClassVar[str] = "rmsprop"
    update_name: ClassVar[str] = "rmsprop_update"
    slot_names: ClassVar[tuple[str, ...]] = ("mean_square", "mean", "velocity")
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {
        "learning_rate": NOT_NEGATIVE,
        "rho": (0.0, 1.0),
        "momentum": (0.0, 1.0),
        "epsilon": (1e-30, math.inf),  # as in Adam
        "weight_decay": NOT_NEGATIVE,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        self.centered, self.epsilon_in_root = bool(self.centered), bool(self.epsilon_in_root)

    def _update(
        self,
        update: Callable,
        parameters: np.ndarray,
        gradients: np.ndarray,
        slots: Mapping[str, np.ndarray],
        rate: float,
    ) -> None:
        epsilons = (self.epsilon, 0.0) if self.epsilon_in_root else (0.0, self.epsilon)
        arrays = (slots[name] for name in self.slot_names)
        update(
            parameters, gradients, *arrays, rate, self.rho, self.momentum, epsilons,
            self.weight_decay, self.centered,
        )  # fmt: skip


OPTIMIZERS: dict[str, type[Optimizer]] = {kind.name: kind for kind in (Adam, AdamW, SGD, RMSprop)}


def optimizer_from_name(name: str, **options: Any) -> Optimizer:
    """One of OPTIMIZERS ("adam", "adamw", "sgd", "rmsprop"), with its options as keywords.

    Raises ValueError for another name or an option out of range, TypeError for an unknown option.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"optimizer {name!r}: expected one of {', '.join(OPTIMIZERS)}")
    return OPTIMIZERS[name](**options)


def clip_by_norm(gradients: np.ndarray, max_norm: float) -> float:
    """Scale gradients down in place so that their norm is at most max_norm; returns the old norm.

        norm = sqrt(sum_i g_i^2),    g <- g * min(1, max_norm / norm)

    gradients (P,) float32 or float64; max_norm above 0.  The sum is computed in float64, and in an
    order that does not depend on the number of threads.  Gradients whose norm is NaN or infinite
    are not changed.
    Source: Pascanu, Mikolov and Bengio, arXiv:1211.5063, algorithm 1.
    Raises ValueError for a max_norm out of range or read-only gradients, TypeError for their dtype.
    """
    if gradients.dtype not in (np.float32, np.float64):
        raise TypeError(f"gradients have dtype {gradients.dtype}: expected float32 or float64")
    if not gradients.flags.writeable:
        raise ValueError("gradients are read-only: expected an array to scale")
    if not 0 < max_norm < math.inf:
        raise ValueError(f"clip_norm is {max_norm!r}; expected a finite number above 0")
    norm = math.sqrt(float(np.add.reduce(np.square(gradients, dtype=np.float64))))
    if max_norm < norm < math.inf:
        gradients *= gradients.dtype.type(max_norm / norm)
    return norm


@functools.cache
def _update_function(name: str, backend: str) -> Callable:
    """The update function of that name.  Kernels are imported on first use, so that importing this
    file needs only NumPy."""
    update: Callable = getattr(Operations(backend, _kernels), name)
    return update


def _kernels() -> tuple[Any, ...]:
    from .kernels import adam, rmsprop, sgd

    return adam, sgd, rmsprop


def _rate_factor(pair: Any) -> tuple[int, float]:
    """(n, factor) as an int and a float; ValueError for anything else."""
    try:
        n, factor = pair
        if int(n) != n or n < 0 or not 0 <= factor < math.inf:
            raise ValueError
    except (TypeError, ValueError):
        raise ValueError(
            f"rate_factors has {pair!r}: expected (number of parameters, factor of 0 or more)"
        ) from None
    return int(n), float(factor)


def _in_range(option: str, value: float, lowest: float, limit: float) -> float:
    """`value` as a float; ValueError unless lowest <= value < limit."""
    if not lowest <= value < limit:  # also true for NaN
        and_limit = f" and below {limit:g}" if limit < math.inf else ", finite"
        raise ValueError(f"{option}={value}: expected a number of at least {lowest:g}{and_limit}")
    return float(value)
