"""Layers that move a window over a picture: convolutions and poolings."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any, ClassVar

from ..shapes import Axis, check_positive, check_window_padding, window_axis
from .base import Layer, Shape, keep_positive, new_option, picture_shape

Pair = int | tuple[int, int]
"""One number for both axes, or (vertical, horizontal)."""

Padding = str | tuple[tuple[int, int], tuple[int, int]]
"""One of `shapes.PADDINGS`, or ((top, bottom), (left, right)) in pixels."""


def _keep_pair(layer: Layer, name: str, value: Any) -> None:
    """Check that an option is a whole number of 1 or more, or two of them; store it as int."""
    if not isinstance(value, (tuple, list)):
        keep_positive(layer, **{name: value})
    elif len(value) == 2:
        check_positive(**{f"{name}[0]": value[0], f"{name}[1]": value[1]})
        object.__setattr__(layer, name, (int(value[0]), int(value[1])))
    else:
        raise ValueError(f"{name} is {value!r}; expected a number or (vertical, horizontal)")


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


class WindowLayer(Layer, abc.ABC):
    """A layer that moves a window over a picture.

    stride   pixels between windows: one number, or (vertical, horizontal)
    padding  "same" or "valid", see `shapes.py`, or ((top, bottom), (left, right)) in pixels
    """

    stride: Pair
    padding: Padding

    @property
    @abc.abstractmethod
    def kernel_hw(self) -> tuple[int, int]:
        """Height and width of the window."""

    @property
    def stride_hw(self) -> tuple[int, int]:
        """Vertical and horizontal stride."""
        return _pair(self.stride)

    def axes(self, input_shape: Shape) -> tuple[Axis, Axis]:
        """The vertical and the horizontal axis."""
        H, W, _ = picture_shape(self, input_shape)
        (KH, KW), (SH, SW) = self.kernel_hw, self.stride_hw
        vertical: str | tuple[int, int]
        horizontal: str | tuple[int, int]
        if isinstance(self.padding, str):
            vertical = horizontal = self.padding
        else:
            vertical, horizontal = self.padding
        return window_axis(H, KH, SH, vertical), window_axis(W, KW, SW, horizontal)

    def _keep_window_options(self) -> None:
        """Check stride and padding, and store them with Python's own numbers."""
        _keep_pair(self, "stride", self.stride)
        object.__setattr__(self, "padding", check_window_padding(self.padding))


class _Convolution(WindowLayer, abc.ABC):
    """A convolution; its bias has an entry for each channel of the output."""

    kernel_size: Pair
    use_bias: bool

    @property
    def kernel_hw(self) -> tuple[int, int]:
        return _pair(self.kernel_size)

    @abc.abstractmethod
    def weight_shape(self, input_shape: Shape) -> Shape:
        """The shape of the weights w, without KH and KW."""

    @abc.abstractmethod
    def n_channels_out(self, input_shape: Shape) -> int:
        """The number of channels of the output."""

    def output_shape(self, input_shape: Shape) -> Shape:
        vertical, horizontal = self.axes(input_shape)
        return (vertical.n_out, horizontal.n_out, self.n_channels_out(input_shape))

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        w = (*self.kernel_hw, *self.weight_shape(picture_shape(self, input_shape)))
        return {"w": w, "b": (self.n_channels_out(input_shape),)} if self.use_bias else {"w": w}

    def unused_bias_shape(self, input_shape: Shape) -> Shape:
        return () if self.use_bias else (self.n_channels_out(input_shape),)

    def _keep_convolution_options(self) -> None:
        _keep_pair(self, "kernel_size", self.kernel_size)
        self._keep_window_options()


@dataclass(frozen=True)
class Conv2D(_Convolution):
    """2-D convolution: weights w (KH, KW, C, filters), bias b (filters,) unless use_bias=False."""

    stem: ClassVar[str] = "conv"
    filters: int
    kernel_size: Pair
    stride: Pair = 1
    padding: Padding = "same"
    use_bias: bool = new_option(True)

    def __post_init__(self) -> None:
        keep_positive(self, filters=self.filters)
        self._keep_convolution_options()

    def weight_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[2], self.filters)

    def n_channels_out(self, input_shape: Shape) -> int:
        return self.filters


@dataclass(frozen=True)
class DepthwiseConv2D(_Convolution):
    """A convolution of each channel by itself, with `depth_multiplier` filters for each.

    Weights w (KH, KW, C, depth_multiplier), bias b (C * depth_multiplier,) unless use_bias=False.
    Output channel c * depth_multiplier + m is input channel c with filter m, as in Keras.
    """

    stem: ClassVar[str] = "depthwise"
    kernel_size: Pair
    stride: Pair = 1
    padding: Padding = "same"
    depth_multiplier: int = 1
    use_bias: bool = True

    def __post_init__(self) -> None:
        keep_positive(self, depth_multiplier=self.depth_multiplier)
        self._keep_convolution_options()

    def weight_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[2], self.depth_multiplier)

    def n_channels_out(self, input_shape: Shape) -> int:
        return input_shape[2] * self.depth_multiplier


class _Pool2D(WindowLayer, abc.ABC):
    """A pooling: `stride` is the size if it is None."""

    stem = "pool"
    size: Pair
    stride: Pair

    @property
    def kernel_hw(self) -> tuple[int, int]:
        return _pair(self.size)

    def output_shape(self, input_shape: Shape) -> Shape:
        vertical, horizontal = self.axes(input_shape)
        return (vertical.n_out, horizontal.n_out, input_shape[2])

    def _keep_pool_options(self) -> None:
        _keep_pair(self, "size", self.size)
        if self.stride is None:
            object.__setattr__(self, "stride", self.size)
        self._keep_window_options()
        check_pool_padding(self)


def check_pool_padding(layer: WindowLayer) -> None:
    """Raise ValueError if a window of a pooling could lie in the padding alone."""
    if isinstance(layer.padding, str):
        return
    for size, sides in zip(layer.kernel_hw, layer.padding):
        if max(sides) >= size:
            raise ValueError(
                f"padding is {layer.padding}; expected less than the window's size, {size}"
            )


@dataclass(frozen=True)
class MaxPool2D(_Pool2D):
    """Max-pooling over windows of `size`; the stride is the size unless it is given.  Padding adds
    no values."""

    size: Pair = 2
    stride: Pair = None  # type: ignore[assignment]  # only until __post_init__
    padding: Padding = "same"

    def __post_init__(self) -> None:
        self._keep_pool_options()


@dataclass(frozen=True)
class AveragePool2D(_Pool2D):
    """Average pooling over windows of `size`; the stride is the size unless it is given.

    count_padding  False: the mean of the pixels inside the picture, as in Keras.  True: pixels of
                   padding count as zeros, as in PyTorch by default
    """

    size: Pair = 2
    stride: Pair = None  # type: ignore[assignment]  # only until __post_init__
    padding: Padding = "same"
    count_padding: bool = False

    def __post_init__(self) -> None:
        self._keep_pool_options()


@dataclass(frozen=True)
class GlobalAveragePool2D(Layer):
    """The mean of each channel over the whole picture: (H, W, C) to (C,)."""

    stem: ClassVar[str] = "pool"

    def output_shape(self, input_shape: Shape) -> Shape:
        return (picture_shape(self, input_shape)[2],)
