"""A short text for a list of layers, in which tests write down networks of others.

    conv 48 4 s1 same; relu; maxpool 3 s3 valid; dropout 0.2; flatten; dense 512

Layers are separated by semicolons.  A convolution is "conv", filters, window; a depthwise one "dw",
window; a pooling "maxpool" or "avgpool", window.  A window is a number or (rows, columns); behind
it follow in any order:

    s2, s(2, 1)              stride; the pair is (vertical, horizontal)
    same, valid              padding as in `tinycnn.shapes`
    p1, p((1, 0), (2, 2))    pixels on all sides, or ((top, bottom), (left, right))
    nobias                   for convolutions, and for "dense 512 nobias"
    x2                       filters for each channel of a depthwise convolution

"residual(a; b | c)" has the layers a and b, and c on its shortcut; without "| c" the shortcut is
the input.  The other layers are those of WORDS, with their option behind them: "leaky 0.1", "relu
6".  A separable convolution is "dw 3 s1 same nobias; conv 64 1 s1 same nobias".
"""

import ast
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from tinycnn.layers import (
    AveragePool2D,
    BatchNorm,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePool2D,
    Layer,
    LeakyReLU,
    MaxPool2D,
    PReLU,
    ReLU,
    Residual,
    ScaleShift,
    Sigmoid,
    SpatialDropout2D,
    Tanh,
)

WORDS: dict[str, Callable[..., Layer]] = {
    "relu": ReLU,
    "leaky": LeakyReLU,
    "prelu": PReLU,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "bn": BatchNorm,
    "scale": ScaleShift,
    "dropout": Dropout,
    "drop2d": SpatialDropout2D,
    "flatten": Flatten,
    "gap": GlobalAveragePool2D,
}
"""The layers whose only option, if there is one, is a number."""

WINDOWS: dict[str, tuple[Callable[..., Layer], int]] = {
    "conv": (Conv2D, 2),
    "dw": (DepthwiseConv2D, 1),
    "maxpool": (MaxPool2D, 1),
    "avgpool": (AveragePool2D, 1),
}
"""The layers with a window, and how many words come before the stride."""

WORD = re.compile(r"[a-z]*\((?:[^()]|\([^()]*\))*\)|\S+")


class PublicNetwork(NamedTuple):
    """A network of others.

    input_shape  (H, W, C)
    layers       in the text of this file
    source       repository and file, or a paper
    """

    input_shape: tuple[int, int, int]
    layers: str
    source: str


def joined(*parts: str) -> str:
    """The layers of one part after those of the other."""
    return "; ".join(parts)


def layers_of(text: str) -> list[Layer]:
    """The layers that the text describes.  Raises ValueError for anything else."""
    return [_layer(part) for part in _split(text, ";")]


def _layer(text: str) -> Layer:
    if text.startswith("residual(") and text.endswith(")"):
        branches = _split(text.removeprefix("residual(").removesuffix(")"), "|")
        return Residual(*(layers_of(branch) for branch in branches))
    kind, *words = WORD.findall(text)
    if kind in WORDS:
        return WORDS[kind](*(ast.literal_eval(word) for word in words))
    if kind == "dense":
        return Dense(int(words[0]), **_options(words[1:]))
    if kind in WINDOWS:
        make, n_sizes = WINDOWS[kind]
        sizes = [ast.literal_eval(word) for word in words[:n_sizes]]
        options = _options(words[n_sizes:])
        if not {"stride", "padding"} <= set(options):
            raise ValueError(f"{text!r} does not say its stride and padding")
        return make(*sizes, **options)
    raise ValueError(f"{text!r} is no layer; expected one of {[*WORDS, *WINDOWS, 'dense']}")


def _options(words: list[str]) -> dict[str, Any]:
    """The options that the words behind a layer's sizes give."""
    options: dict[str, Any] = {}
    for word in words:
        if word in ("same", "valid"):
            options["padding"] = word
        elif word == "nobias":
            options["use_bias"] = False
        elif word[0] == "s":
            options["stride"] = ast.literal_eval(word[1:])
        elif word[0] == "p":
            sides = ast.literal_eval(word[1:])
            options["padding"] = ((sides, sides),) * 2 if isinstance(sides, int) else sides
        elif word[0] == "x":
            options["depth_multiplier"] = int(word[1:])
        else:
            raise ValueError(f"{word!r} is no option of a layer")
    return options


def _split(text: str, separator: str) -> list[str]:
    """The parts between separators outside parentheses, without the spaces around them."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == separator and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    if depth or not all(part.strip() for part in parts):
        raise ValueError(f"{text!r} has an empty part, or a parenthesis without its other half")
    return [part.strip() for part in parts]
