"""What the page shows of each kind of layer: EXPLAINED, one entry for each layer class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..layers import Conv2D, Dense, Dropout, Flatten, Layer, MaxPool2D, ReLU, Shape, entry_for
from . import formulas
from .formulas import Formulas
from .layer_pictures import (
    channel_cards,
    filter_cards,
    pooling_close_up,
    relu_close_up,
    unit_cards,
    vectors,
    window_close_up,
)
from .layer_trace import LayerTrace, Spot, window_of
from .worked import WorkedSum, conv2d_sums, dense_sums


def _no_text(layer: Layer | LayerTrace) -> str:
    return ""


@dataclass(frozen=True)
class Explained:
    """What the page shows of one kind of layer.  A layer needs its formulas; the rest may be left.

    formulas    name, sense and equations
    details     what the heading says behind the name: " 3×3, stride 1, 16 filters"
    letters     what the letters of the equations are in this layer, as markup
    sums        single entries worked out by hand: one of y, then of the gradients
    close_up    numbers around the spot, as markup
    cards       a card for each channel or unit, as markup
    spot_in_x   index of the value of x that passes to y's spot unmixed; None where there is none
    choices     from y and `LayerTrace.kept`, both with the batch axis: what the forward pass
                chose.  Where a choice changes the loss has a kink; None: the layer chooses nothing
    folded      from x's shape and `LayerTrace.folded` to the shape of the picture that y holds
                flattened; None where that is no picture
    left_out    the layer does nothing in prediction, and the page leaves it out
    """

    formulas: Formulas
    details: Callable[[Layer], str] = _no_text
    letters: Callable[[LayerTrace], str] = _no_text
    sums: Callable[[LayerTrace], list[WorkedSum]] = lambda layer: []
    close_up: Callable[[LayerTrace], str] = _no_text
    cards: Callable[[LayerTrace], str] = _no_text
    spot_in_x: Callable[[LayerTrace], Spot | None] = lambda layer: None
    choices: Callable[[np.ndarray, np.ndarray | None], np.ndarray | None] = lambda y, kept: None
    folded: Callable[[Shape, Shape | None], Shape | None] = lambda shape, folded: None
    left_out: bool = False


def explained(layer: Layer) -> Explained:
    """The entry of the layer's class.  Raises UnknownLayerError where there is none."""
    return entry_for(layer, EXPLAINED, "tinycnn.explain.layer_kinds.EXPLAINED")


def title_of(layer: Layer) -> str:
    """What the layer is, in a few words."""
    entry = explained(layer)
    return entry.formulas.title + entry.details(layer)


def _conv2d_details(layer: Layer) -> str:
    assert isinstance(layer, Conv2D)
    KH, KW = layer.kernel_hw
    return f" {KH}×{KW}, stride {layer.stride}, {layer.filters} filters"


def _conv2d_letters(layer: LayerTrace) -> str:
    return _window_letters(
        layer, f"c &lt; {layer.x.shape[2]}, f &lt; {layer.y.shape[2]}", "count as 0"
    )


def _pooling_details(layer: Layer) -> str:
    assert isinstance(layer, MaxPool2D)
    return f" {layer.size}×{layer.size}, stride {layer.stride}"


def _pooling_letters(layer: LayerTrace) -> str:
    return _window_letters(layer, f"c &lt; {layer.y.shape[2]}", "take no part")


def _window_letters(layer: LayerTrace, channels: str, outside: str) -> str:
    S, PT, PL, KH, KW = window_of(layer)
    OH, OW = layer.y.shape[:2]
    return (
        f"S = {S}, PT = {PT}, PL = {PL}; a &lt; {KH}, e &lt; {KW}, {channels}; "
        f"i &lt; {OH}, j &lt; {OW}. Positions outside x {outside}."
    )


def _winner_of_spot(layer: LayerTrace) -> Spot:
    assert layer.kept is not None
    row, column = divmod(int(layer.kept[layer.spot]), layer.x.shape[1])
    return (row, column, layer.spot[2])


def _dense_details(layer: Layer) -> str:
    assert isinstance(layer, Dense)
    return f", {layer.units} units"


def _dense_letters(layer: LayerTrace) -> str:
    n, units = layer.parameters["w"].shape
    return f"k &lt; {n}, u &lt; {units}."


EXPLAINED: dict[type[Layer], Explained] = {
    Conv2D: Explained(
        formulas.CONV2D,
        details=_conv2d_details,
        letters=_conv2d_letters,
        sums=conv2d_sums,
        close_up=window_close_up,
        cards=filter_cards,
    ),
    MaxPool2D: Explained(
        formulas.MAXPOOL2D,
        details=_pooling_details,
        letters=_pooling_letters,
        close_up=pooling_close_up,
        cards=channel_cards,
        spot_in_x=_winner_of_spot,
        choices=lambda y, winners: winners,
    ),
    ReLU: Explained(
        formulas.RELU,
        close_up=relu_close_up,
        cards=channel_cards,
        spot_in_x=lambda layer: layer.spot,
        choices=lambda y, kept: y > 0,
        folded=lambda shape, folded: folded,
    ),
    Flatten: Explained(
        formulas.FLATTEN,
        folded=lambda shape, folded: shape if len(shape) == 3 else None,
    ),
    Dense: Explained(
        formulas.DENSE,
        details=_dense_details,
        letters=_dense_letters,
        sums=dense_sums,
        close_up=lambda layer: vectors(layer, ("y", "dL/dy")),
        cards=unit_cards,
    ),
    Dropout: Explained(formulas.DROPOUT, left_out=True),
}
