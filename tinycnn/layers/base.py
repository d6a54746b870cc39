"""What every layer is: `Layer`, `CustomLayer`, and the checks of shapes and options they share."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import asdict, field, fields, is_dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np

from ..shapes import check_positive
from ..unknown_options import NamesItsOptions

Shape = tuple[int, ...]


def new_option(default: Any) -> Any:
    """A dataclass field that is left out of `Layer.config` while it has its default value, so that
    releases from before it was added can still read the model file."""
    return field(default=default, metadata={"new": True})


class Layer(NamesItsOptions):
    """A layer of a network.

    stem            its name in a network is this and a number: conv1, conv2, dense1
    initial_values  constants that parameters and statistics start at, by short name.  Other
                    parameters start at random values: those called w as weights, the rest as
                    biases, see `Network.initialise`; other statistics start at 0
    """

    stem: ClassVar[str]
    initial_values: ClassVar[Mapping[str, float]] = {}

    def output_shape(self, input_shape: Shape) -> Shape:
        """The shape of the output for `input_shape`.  ValueError if the layer cannot take it."""
        return input_shape

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        """Shapes of the layer's parameters by their short names, in storage order."""
        return {}

    def statistic_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        """The same for its statistics: values that training updates without a gradient, and that
        are saved with the parameters."""
        return {}

    def unused_bias_shape(self, input_shape: Shape) -> Shape:
        """(F,) for a layer that was made without its bias, else ().  The kernels always add a bias:
        they read zeros there, which are neither trained nor saved."""
        return ()

    def config(self) -> dict[str, Any]:
        """The layer as values that JSON can store; `layer_from_config` reads them back.

        Raises TypeError for a class that is not a dataclass: its options are not known.
        """
        if not is_dataclass(self):
            raise TypeError(
                f"{type(self).__name__} is not a dataclass: put @dataclass(frozen=True) above it"
            )
        values = asdict(self)
        for option in fields(self):
            if option.metadata.get("new") and values[option.name] == option.default:
                del values[option.name]
        return {"kind": type(self).__name__, **values}


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


def picture_shape(layer: Layer, shape: Shape) -> Shape:
    """`shape`, if it is that of a picture (H, W, C), else ValueError."""
    if len(shape) != 3:
        raise ValueError(
            f"{type(layer).__name__} takes pictures of shape (H, W, C); it was given {shape}"
        )
    return shape


def keep_positive(layer: Layer, **values: Any) -> None:
    """Check that the options are whole numbers of 1 or more, and store them as int: JSON cannot
    store NumPy's integers."""
    check_positive(**values)
    for name, value in values.items():
        object.__setattr__(layer, name, int(value))


def keep_number(layer: Layer, name: str, value: Any, least: float, below: float) -> None:
    """Check that an option is a number of at least `least` and below `below`, and store it as a
    float."""
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not number or not least <= value < below:
        limit = "" if below == float("inf") else f", below {below:g}"
        raise ValueError(f"{name} is {value!r}; expected a number of at least {least:g}{limit}")
    object.__setattr__(layer, name, float(value))


def vector_shape(layer: Layer, shape: Shape) -> Shape:
    """`shape`, if it is that of a vector, else ValueError."""
    if len(shape) != 1:
        raise ValueError(
            f"{type(layer).__name__} takes vectors; it was given shape {shape}: put Flatten() "
            "before it"
        )
    return shape


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
