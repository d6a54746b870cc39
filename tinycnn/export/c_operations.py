"""How each kind of layer is written in C: OPERATIONS, as calls of the functions of c_program.c."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .. import layers
from ..layers import Layer
from ..plan import Step


@dataclass(frozen=True)
class COperation:
    """How one kind of layer is written in C: as a call of a C function.

    call          makes the call from the layer's step of the plan, the name of the input picture,
                  (of an Add: both, with ", &" between them), and 1 where a ReLU without a largest
                  value follows, else 0.  C names, where STEP is `c_name(step)`: the output STEP,
                  parameters STEP_w
    section       of c_program.c, which holds the function
    source        the C text of the function, for a kind of layer that c_program.c does not have
    in_place      whether the function overwrites its input; else it writes to a picture of its own
    applies_relu  whether the function does such a ReLU, too
    arranged      makes, of a parameter's short name and values, the rows that the function reads
    border        (above, left, height, width) of the input's `Buffer` with the zeros that the
                  function reads; None: it reads none
    comment       what the comment above the call says after the shapes
    """

    call: Callable[[Step, str, int], str]
    section: str = ""
    source: str = ""
    in_place: bool = False
    applies_relu: bool = False
    arranged: Callable[[str, np.ndarray], np.ndarray] = lambda short, values: values
    border: Callable[[Step], tuple[int, int, int, int]] | None = None
    comment: Callable[[Step], str] = lambda step: ""


def c_name(step: Step) -> str:
    """The C name of a step's output."""
    return step.name.replace(".", "_")


def is_plain_relu(layer: Layer) -> bool:
    """Whether it is a ReLU without a largest value, which other functions can do too."""
    return isinstance(layer, layers.ReLU) and layer.max_value is None


def c_float(value: float) -> str:
    """A C number of type float, exact."""
    with np.errstate(over="ignore"):  # `exact_hex` refuses infinity
        return f"{exact_hex(float(np.float32(value)))}F"


def exact_hex(value: float) -> str:
    """0x1.921fb6p+1: as `float.hex`, without zeros at the end of the mantissa."""
    if not math.isfinite(value):
        raise ValueError(f"a number of the network is {value} in float32; it is not exported")
    mantissa, exponent = value.hex().split("p")
    return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}p{exponent}"


def _window_comment(step: Step) -> str:
    KH, KW, SH, SW, PT, PL, _, _ = step.window
    stride = f"{SH}" if SH == SW else f"{SH}x{SW}"
    return f", {KH}x{KW}, stride {stride}, padding above {PT}, left {PL}"


def _window(step: Step) -> str:
    """The arguments KH, KW, SH, SW, PT, PL."""
    return ", ".join(map(str, step.window[:6]))


def _convolution(function: str) -> Callable[[Step, str, int], str]:
    def call(step: Step, given: str, relu: int) -> str:
        parameters = f"{c_name(step)}_w, {c_name(step)}_b"
        return f"{function}(&{given}, {parameters}, {_window(step)}, {relu}, &{c_name(step)});"

    return call


def _conv2d_border(step: Step) -> tuple[int, int, int, int]:
    KH, KW, SH, SW, PT, PL, _, _ = step.window
    (H, W, _), (OH, OW, _) = step.input_shape, step.output_shape
    return PT, PL, max((OH - 1) * SH + KH, PT + H), max((OW - 1) * SW + KW, PL + W)


def _max_pool(step: Step, given: str, relu: int) -> str:
    return f"max_pool(&{given}, {_window(step)}, &{c_name(step)});"


def _average_pool(step: Step, given: str, relu: int) -> str:
    return f"average_pool(&{given}, {_window(step)}, {int(step.counts_padding)}, &{c_name(step)});"


def _depthwise_rows(short: str, values: np.ndarray) -> np.ndarray:
    """w (KH, KW, C, D) as (KH, KW, C * D)."""
    return values.reshape(*values.shape[:2], -1) if short == "w" else values


def _dense(step: Step, given: str, relu: int) -> str:
    return f"dense(&{given}, {c_name(step)}_w, {c_name(step)}_b, {relu}, &{c_name(step)});"


def _relu(step: Step, given: str, relu: int) -> str:
    assert isinstance(step.layer, layers.ReLU)
    most = step.layer.max_value
    return f"relu(&{given}, {c_float(np.finfo(np.float32).max if most is None else most)});"


def _leaky_relu(step: Step, given: str, relu: int) -> str:
    assert isinstance(step.layer, layers.LeakyReLU)
    return f"leaky_relu(&{given}, {c_float(step.layer.negative_slope)});"


def _applied(function: str) -> COperation:
    """A function of the input alone, in place; its section has its name."""
    return COperation(lambda step, given, relu: f"{function}(&{given});", function, in_place=True)


OPERATIONS: dict[type[Layer], COperation | None] = {
    layers.Conv2D: COperation(
        _convolution("conv2d"),
        "conv2d",
        applies_relu=True,
        border=_conv2d_border,
        comment=_window_comment,
    ),
    layers.DepthwiseConv2D: COperation(
        _convolution("depthwise_conv2d"),
        "depthwise_conv2d",
        applies_relu=True,
        arranged=_depthwise_rows,
        comment=_window_comment,
    ),
    layers.MaxPool2D: COperation(_max_pool, "max_pool", comment=_window_comment),
    layers.AveragePool2D: COperation(_average_pool, "average_pool", comment=_window_comment),
    layers.GlobalAveragePool2D: COperation(_average_pool, "average_pool"),
    layers.ReLU: COperation(_relu, "relu", in_place=True),
    layers.LeakyReLU: COperation(_leaky_relu, "leaky_relu", in_place=True),
    layers.PReLU: COperation(
        lambda step, given, relu: f"prelu(&{given}, {c_name(step)}_alpha);", "prelu", in_place=True
    ),
    layers.Sigmoid: _applied("sigmoid"),
    layers.Tanh: _applied("hyperbolic_tangent"),
    layers.Flatten: None,  # pictures already lie in memory in the order H, W, C
    layers.Dense: COperation(_dense, "dense", applies_relu=True),
    layers.ScaleShift: COperation(
        lambda step, given, relu: (
            f"scale_shift(&{given}, {c_name(step)}_scale, {c_name(step)}_shift);"
        ),
        "scale_shift",
        in_place=True,
    ),
    layers.Add: COperation(
        lambda step, given, relu: f"add(&{given}, {relu}, &{c_name(step)});",
        "add",
        applies_relu=True,
    ),
    **dict.fromkeys(
        (layers.Dropout, layers.SpatialDropout2D), None
    ),  # outside training they do nothing
}
"""Layer class -> how it is written in C; None: the layer changes no value and needs no call.
BatchNorm has no entry: networks are exported folded."""
