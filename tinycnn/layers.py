"""The layers of a network: what they are, which shapes they make, which parameters they have.

There is no arithmetic here: `plan.py` makes a plan from a list of layers and an input shape, and a
network runs the plan with the kernels or the reference.  Only a `CustomLayer`, a layer of the
user's own, defines its arithmetic itself.  Shapes exclude the batch axis: (H, W, C) for pictures,
(units,) for vectors.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np

from .shapes import Axis, check_positive, window_axis
from .unknown_options import NamesItsOptions

Shape = tuple[int, ...]


class Layer(NamesItsOptions):
    """A layer of a network.

    stem            its name in a network is this and a number: conv1, conv2, dense1
    initial_values  constants that parameters start at, by short name.  Other parameters start at
                    random values: those called w as weights, the rest as biases, see
                    `Network.initialise`
    """

    stem: ClassVar[str]
    initial_values: ClassVar[Mapping[str, float]] = {}

    def output_shape(self, input_shape: Shape) -> Shape:
        """The shape of the output for `input_shape`.  ValueError if the layer cannot take it."""
        return input_shape

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        """Shapes of the layer's parameters by their short names, in storage order."""
        return {}

    def config(self) -> dict[str, Any]:
        """The layer as values that JSON can store; `layer_from_config` reads them back.

        Raises TypeError for a class that is not a dataclass: its options are not known.
        """
        if not is_dataclass(self):
            raise TypeError(
                f"{type(self).__name__} is not a dataclass: put @dataclass(frozen=True) above it"
            )
        return {"kind": type(self).__name__, **asdict(self)}


class CustomLayer(Layer, abc.ABC):
    """A layer of your own, from two NumPy functions; they may call anything, Numba included.

    In a network on the kernels, the layers before and after it stay compiled.  It gets the whole
    batch in training, and a few images at a time in prediction.

    Derive a dataclass from it, so that the model file can store its options.  Override
    `output_shape` if it changes the shape, and `parameter_shapes` if it has parameters.
    `tinycnn.testing` checks its gradients; `tinycnn.load(path, custom_layers=[...])` reads it back.
    """

    stem = "custom"

    def __init_subclass__(cls, **options: Any) -> None:
        """Set `stem` to the name of the class in lower case, unless the class defines one."""
        super().__init_subclass__(**options)
        if "stem" not in cls.__dict__:
            cls.stem = cls.__name__.lower()

    @abc.abstractmethod
    def forward(self, x: np.ndarray, parameters: Mapping[str, np.ndarray]) -> np.ndarray:
        """The outputs y (N, *output_shape) of x (N, *input_shape), of the same dtype.

        parameters  by the short names of `parameter_shapes`
        Do not change x; y may be x itself or a new array.  An image's outputs must not depend on
        the other images of the batch.
        """

    @abc.abstractmethod
    def backward(
        self, x: np.ndarray, y: np.ndarray, dy: np.ndarray, parameters: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, Mapping[str, np.ndarray]]:
        """Returns dx = dLoss/dx, with the shape of x, and the gradients dLoss/dparameter by short
        name, summed over the batch.  x, y: of the forward pass; dy = dLoss/dy."""


def _picture(layer: Layer, shape: Shape) -> Shape:
    """`shape`, if it is that of a picture, else ValueError."""
    if len(shape) != 3:
        raise ValueError(
            f"{type(layer).__name__} takes pictures of shape (H, W, C); it was given {shape}"
        )
    return shape


def _keep_positive(layer: Layer, **values: Any) -> None:
    """Check that the options are whole numbers of 1 or more, and store them as int: JSON cannot
    store NumPy's integers."""
    check_positive(**values)
    for name, value in values.items():
        object.__setattr__(layer, name, int(value))


def _vector(layer: Layer, shape: Shape) -> Shape:
    """`shape`, if it is that of a vector, else ValueError."""
    if len(shape) != 1:
        raise ValueError(
            f"{type(layer).__name__} takes vectors; it was given shape {shape}: put Flatten() "
            "before it"
        )
    return shape


class WindowLayer(Layer, abc.ABC):
    """A layer that moves a window over a picture."""

    stride: int
    padding: str

    @property
    @abc.abstractmethod
    def kernel_hw(self) -> tuple[int, int]:
        """Height and width of the window."""

    def axes(self, input_shape: Shape) -> tuple[Axis, Axis]:
        """The vertical and the horizontal axis."""
        H, W, _ = _picture(self, input_shape)
        KH, KW = self.kernel_hw
        vertical = window_axis(H, KH, self.stride, self.padding)
        return vertical, window_axis(W, KW, self.stride, self.padding)


@dataclass(frozen=True)
class Conv2D(WindowLayer):
    """2-D convolution: weights w (KH, KW, C, filters), bias b (filters,)."""

    stem: ClassVar[str] = "conv"
    filters: int
    kernel_size: int | tuple[int, int]
    stride: int = 1
    padding: str = "same"

    def __post_init__(self) -> None:
        size = self.kernel_size
        if not isinstance(size, (tuple, list)):
            _keep_positive(self, kernel_size=size)
        elif len(size) == 2:
            check_positive(kernel_height=size[0], kernel_width=size[1])
            object.__setattr__(self, "kernel_size", (int(size[0]), int(size[1])))
        else:
            raise ValueError(f"kernel_size is {size!r}; expected a number or (height, width)")
        _keep_positive(self, filters=self.filters, stride=self.stride)
        window_axis(1, 1, self.stride, self.padding)

    @property
    def kernel_hw(self) -> tuple[int, int]:
        size = self.kernel_size
        return (size, size) if isinstance(size, int) else (size[0], size[1])

    def output_shape(self, input_shape: Shape) -> Shape:
        vertical, horizontal = self.axes(input_shape)
        return (vertical.n_out, horizontal.n_out, self.filters)

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        channels = _picture(self, input_shape)[2]
        return {"w": (*self.kernel_hw, channels, self.filters), "b": (self.filters,)}


@dataclass(frozen=True)
class MaxPool2D(WindowLayer):
    """Max-pooling over windows of size x size; stride defaults to the size."""

    stem: ClassVar[str] = "pool"
    size: int = 2
    stride: int = None  # type: ignore[assignment]  # only until __post_init__: then an int
    padding: str = "same"

    def __post_init__(self) -> None:
        stride = self.size if self.stride is None else self.stride
        _keep_positive(self, size=self.size, stride=stride)
        window_axis(1, 1, self.stride, self.padding)

    @property
    def kernel_hw(self) -> tuple[int, int]:
        return self.size, self.size

    def output_shape(self, input_shape: Shape) -> Shape:
        vertical, horizontal = self.axes(input_shape)
        return (vertical.n_out, horizontal.n_out, input_shape[2])


@dataclass(frozen=True)
class ReLU(Layer):
    """max(x, 0), element by element."""

    stem: ClassVar[str] = "relu"


@dataclass(frozen=True)
class Flatten(Layer):
    """(H, W, C) to (H*W*C,), in that order."""

    stem: ClassVar[str] = "flatten"

    def output_shape(self, input_shape: Shape) -> Shape:
        return (math.prod(input_shape),)


@dataclass(frozen=True)
class Dense(Layer):
    """Fully connected: weights w (fan_in, units), bias b (units,)."""

    stem: ClassVar[str] = "dense"
    units: int

    def __post_init__(self) -> None:
        _keep_positive(self, units=self.units)

    def output_shape(self, input_shape: Shape) -> Shape:
        _vector(self, input_shape)
        return (self.units,)

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        return {"w": (_vector(self, input_shape)[0], self.units), "b": (self.units,)}


@dataclass(frozen=True)
class Dropout(Layer):
    """Inverted dropout: in training, each value is set to 0 with probability `rate` and otherwise
    divided by 1 - rate.  In prediction it does nothing."""

    stem: ClassVar[str] = "dropout"
    rate: float = 0.5

    def __post_init__(self) -> None:
        number = isinstance(self.rate, (int, float, np.number))
        if not number or not 0 <= self.rate < 1:
            raise ValueError(f"rate is {self.rate!r}; expected a number of at least 0, below 1")
        object.__setattr__(self, "rate", float(self.rate))


class UnknownLayerError(TypeError):
    """A part of tinycnn has no entry for a layer's class; the message names the table to extend."""


Entry = TypeVar("Entry")


def entry_for(layer: Layer, table: Mapping[type[Layer], Entry], table_name: str) -> Entry:
    """The entry of `table` for the class of `layer`; UnknownLayerError if it has none.

    Every part of tinycnn that treats kinds of layers differently has one such table.
    table_name  of the table, for the message: "tinycnn.formats.onnx.NODES"
    """
    kind = type(layer)
    if kind not in table:
        raise UnknownLayerError(
            f"{table_name} has no entry for the layer {kind.__name__}: add one, "
            f"{table_name}[{kind.__name__}] = ..., as CONTRIBUTING.md says under 'Add a layer'"
        )
    return table[kind]


LAYERS: dict[str, type[Layer]] = {
    kind.__name__: kind for kind in (Conv2D, MaxPool2D, ReLU, Flatten, Dense, Dropout)
}


def layer_from_config(
    config: Mapping[str, Any], custom_layers: Sequence[type[Layer]] = ()
) -> Layer:
    """The layer whose `Layer.config` is given; ValueError if there is no such layer.

    custom_layers  classes that are allowed besides LAYERS
    """
    values = dict(config)
    kind = values.pop("kind", None)
    known = {**LAYERS, **{own.__name__: own for own in custom_layers}}
    if kind not in known:
        raise ValueError(
            f"layer kind is {kind!r}; expected one of {', '.join(known)} (a class of your own is "
            "named in custom_layers)"
        )
    try:
        return known[kind](**values)
    except TypeError as error:
        raise ValueError(f"layer {kind} cannot be made from {values}: {error}") from None
