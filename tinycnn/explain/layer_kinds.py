"""What the page shows of each kind of layer: EXPLAINED, one entry for each layer class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .. import layers
from ..layers import Layer, Shape, entry_for
from . import formulas, layer_pictures, worked
from .formulas import Formulas
from .layer_trace import LayerTrace, Spot
from .worked import WorkedSum


def _no_text(layer: LayerTrace) -> str:
    return ""


@dataclass(frozen=True)
class Explained:
    """What the page shows of one kind of layer.  Only `formulas` is required.

    formulas    name, sense and equations
    details     what follows the name in the heading: a format string for the layer, such as
                ", {0.units} units"
    letters     the values of the equations' letters in this layer, as HTML
    sums        single entries worked out by hand: one of y, then entries of the gradients
    close_up    numbers around the spot, as HTML
    cards       a card for each channel or unit, as HTML
    spot_in_x   index of the value of x (of an Add: of both inputs) that becomes y's spot; None
                where several values of x do
    choices     from x, y and the kept array, all with a batch axis: the choices of the forward
                pass, such as the winners of a pooling.  The loss has a kink where one changes
    folded      (x's shape, LayerTrace.folded) -> the shape of the picture that y holds flattened,
                or None
    left_out    whether the page leaves the layer out, because it does nothing in prediction
    """

    formulas: Formulas
    details: str = ""
    letters: Callable[[LayerTrace], str] = _no_text
    sums: Callable[[LayerTrace], list[WorkedSum]] = lambda layer: []
    close_up: Callable[[LayerTrace], str] = _no_text
    cards: Callable[[LayerTrace], str] = _no_text
    spot_in_x: Callable[[LayerTrace], Spot | None] = lambda layer: None
    choices: Callable[[np.ndarray, np.ndarray, np.ndarray | None], np.ndarray | None] = (
        lambda x, y, kept: None
    )
    folded: Callable[[Shape, Shape | None], Shape | None] = lambda shape, folded: None
    left_out: bool = False


def explained(layer: Layer) -> Explained:
    """The entry of the layer's class.  Raises UnknownLayerError where there is none."""
    entry = entry_for(layer, EXPLAINED, "tinycnn.explain.layer_kinds.EXPLAINED")
    if isinstance(layer, layers.ReLU) and layer.max_value is not None:
        m = f"{layer.max_value:g}"
        return replace(entry, formulas=formulas.CLIPPED_RELU, details=f", at most m = {m}")
    return entry


def title_of(layer: Layer) -> str:
    """The layer in a few words, such as "dense, 48 units"."""
    entry = explained(layer)
    return entry.formulas.title + entry.details.format(layer)


def _conv2d_letters(layer: LayerTrace) -> str:
    C, F = layer.x.shape[2], layer.y.shape[2]
    return _window_letters(layer, f"c &lt; {C}, f &lt; {F}", "count as 0")


def _window_letters(layer: LayerTrace, channels: str, outside: str) -> str:
    KH, KW, SH, SW, PT, PL, _, _ = layer.step.window
    OH, OW = layer.y.shape[:2]
    return (
        f"SH = {SH}, SW = {SW}, PT = {PT}, PL = {PL}; a &lt; {KH}, e &lt; {KW}, {channels}; "
        f"i &lt; {OH}, j &lt; {OW}. Positions outside x {outside}."
    )


def _depthwise_letters(layer: LayerTrace) -> str:
    C, D = layer.parameters["w"].shape[2:]
    return f"D = {D}, {_window_letters(layer, f'c &lt; {C}, d &lt; {D}', 'count as 0')}"


def _pool_letters(layer: LayerTrace) -> str:
    return _window_letters(layer, f"c &lt; {layer.y.shape[2]}", "take no part")


def _average_letters(layer: LayerTrace) -> str:
    if layer.step.counts_padding:
        outside = "count as 0, and T[i,j] counts them"
    else:
        outside = "take no part: T[i,j] counts the others"
    return _window_letters(layer, f"c &lt; {layer.y.shape[2]}", outside)


def _winner_of_spot(layer: LayerTrace) -> Spot:
    assert layer.kept is not None
    row, column = divmod(int(layer.kept[layer.spot]), layer.x.shape[1])
    return (row, column, layer.spot[2])


_ACTIVATION = Explained(
    formulas.RELU,
    close_up=layer_pictures.activation_close_up,
    cards=layer_pictures.channel_cards,
    spot_in_x=lambda layer: layer.spot,
    folded=lambda shape, folded: folded,
)

EXPLAINED: dict[type[Layer], Explained] = {
    layers.Conv2D: Explained(
        formulas.CONV2D,
        details=" {0.kernel_hw[0]}×{0.kernel_hw[1]}, stride {0.stride}, {0.filters} filters",
        letters=_conv2d_letters,
        sums=worked.worked_sums(worked.conv2d_output, worked.conv2d_weight, worked.conv2d_input),
        close_up=layer_pictures.window_close_up,
        cards=layer_pictures.filter_cards,
    ),
    layers.DepthwiseConv2D: Explained(
        formulas.DEPTHWISE_CONV2D,
        details=" {0.kernel_hw[0]}×{0.kernel_hw[1]}, stride {0.stride}, multiplier "
        "{0.depth_multiplier}",
        letters=_depthwise_letters,
        sums=worked.worked_sums(worked.conv2d_output, worked.conv2d_weight, worked.conv2d_input),
        close_up=layer_pictures.window_close_up,
        cards=layer_pictures.filter_cards,
    ),
    layers.AveragePool2D: Explained(
        formulas.AVERAGEPOOL2D,
        details=" {0.kernel_hw[0]}×{0.kernel_hw[1]}, stride {0.stride}",
        letters=_average_letters,
        sums=worked.average_sums,
        close_up=layer_pictures.average_close_up,
        cards=layer_pictures.channel_cards,
    ),
    layers.GlobalAveragePool2D: Explained(
        formulas.GLOBAL_AVERAGEPOOL2D,
        letters=lambda layer: (
            f"H = {layer.x.shape[0]}, W = {layer.x.shape[1]}, c &lt; {len(layer.y)}."
        ),
        sums=worked.average_sums,
        close_up=lambda layer: layer_pictures.vectors(layer, ("y", "dL/dy")),
        cards=layer_pictures.averaged_cards,
    ),
    layers.MaxPool2D: Explained(
        formulas.MAXPOOL2D,
        details=" {0.kernel_hw[0]}×{0.kernel_hw[1]}, stride {0.stride}",
        letters=_pool_letters,
        close_up=layer_pictures.pooling_close_up,
        cards=layer_pictures.channel_cards,
        spot_in_x=_winner_of_spot,
        choices=lambda x, y, winners: winners,
    ),
    layers.ReLU: replace(_ACTIVATION, choices=lambda x, y, kept: (x > 0) + 1 * (y < x)),
    layers.LeakyReLU: replace(
        _ACTIVATION,
        formulas=formulas.LEAKY_RELU,
        details=", slope s = {0.negative_slope:g}",
        choices=lambda x, y, kept: x > 0,
    ),
    layers.PReLU: replace(
        _ACTIVATION,
        formulas=formulas.PRELU,
        sums=worked.prelu_sums,
        choices=lambda x, y, kept: x > 0,
    ),
    layers.ScaleShift: replace(
        _ACTIVATION, formulas=formulas.SCALE_SHIFT, sums=worked.scale_shift_sums
    ),
    layers.Add: replace(
        _ACTIVATION,
        formulas=formulas.ADD,
        sums=worked.add_sums,
        close_up=layer_pictures.add_close_up,
        cards=lambda layer: layer_pictures.channel_cards(layer, ("x", "x2", "y", "dL/dy")),
    ),
    layers.Sigmoid: replace(_ACTIVATION, formulas=formulas.SIGMOID),
    layers.Tanh: replace(_ACTIVATION, formulas=formulas.TANH),
    layers.Flatten: Explained(
        formulas.FLATTEN,
        close_up=lambda layer: layer_pictures.vectors(layer, ("y", "dL/dy")),
        folded=lambda shape, folded: shape if len(shape) == 3 else None,
    ),
    layers.Dense: Explained(
        formulas.DENSE,
        details=", {0.units} units",
        letters=lambda layer: f"k &lt; {len(layer.x)}, u &lt; {len(layer.y)}.",
        sums=worked.worked_sums(worked.dense_output, worked.dense_weight, worked.dense_input),
        close_up=lambda layer: layer_pictures.vectors(layer, ("y", "dL/dy")),
        cards=layer_pictures.unit_cards,
    ),
    **dict.fromkeys(
        (layers.Dropout, layers.SpatialDropout2D), Explained(formulas.DROPOUT, left_out=True)
    ),
}
"""Layer class -> what the page shows of such a layer.  BatchNorm has none: a ScaleShift takes its
place (`prediction_network.py`)."""
