"""MicroExpNet and the fifteen other networks of its paper (Cugu, Sener, Akbas: arXiv 1711.07011).

84x84x1 -> conv 8x8x16 -> ReLU [-> pool] -> conv 4x4x32 stride 2 -> ReLU [-> pool] -> flatten
        -> dense -> ReLU -> [dropout] -> dense n_classes                         all padding "same"

The variant says which convolutions are followed by a 2x2 max-pooling.  The first convolution has
stride 2 if a pooling follows it, else 4.  The size says how many units the first dense layer has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..input_spec import InputSpec
from ..layers import BatchNorm, Conv2D, Dense, Dropout, Flatten, Layer, MaxPool2D, ReLU
from ..network import Network
from .network_options import NetworkOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

CLASSES = ("neutral", "anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise")
"""The order of the published checkpoints' logits."""


class Variant(NamedTuple):
    """dense_units: of the first dense layer, for each of SIZES."""

    conv1_stride: int
    pool1: bool
    pool2: bool
    dense_units: tuple[int, int, int, int]


VARIANTS = {
    "v": Variant(4, False, False, (256, 64, 32, 16)),
    "p1": Variant(2, True, False, (256, 64, 32, 16)),
    "p2": Variant(4, False, True, (768, 192, 96, 48)),
    "p12": Variant(2, True, True, (768, 192, 96, 48)),
}

SIZES = ("M", "S", "XS", "XXS")


def microexpnet(
    variant: str = "p12",
    size: str | int = "XXS",
    n_classes: int = 8,
    *,
    classes: Sequence[str] | None = None,
    scaling: str = "raw",
    dropout: float = 0.0,
    bias_std: float = 0.5,
    framing: str | None = None,
    batch_norm: bool = False,
    **options: Unpack[NetworkOptions],
) -> Network:
    """A new network of the paper's table; p12-XXS is MicroExpNet, with 65,000 parameters.

    size        one of SIZES, or the number of units of the first dense layer
    classes     names of the classes; by default CLASSES if n_classes is 8, else "0", "1", ...
    scaling     of the pixels, see `InputSpec`; the paper uses "raw"
    dropout     dropout rate after the first dense layer; 0 means no dropout layer
    bias_std    deviation of the initial biases; the paper's 0.5 suits raw pixels, 0 other scalings
    framing     see `InputSpec`
    batch_norm  a BatchNorm before each ReLU, and no biases there.  It makes training easier; when
                the network is trained, `network.folded()` has the paper's layers and shapes again
    options     of `Network`.  Initial weights are Xavier uniform.
    Raises ValueError for an unknown variant or size, and as `Network` does.
    """
    check_variant_and_size(variant, size)
    chosen = VARIANTS[variant]
    units = size if isinstance(size, int) else chosen.dense_units[SIZES.index(size)]

    def relu() -> list[Layer]:
        return [BatchNorm(), ReLU()] if batch_norm else [ReLU()]

    use_bias = not batch_norm  # BatchNorm has a bias of its own
    layers: list[Layer] = [Conv2D(16, 8, stride=chosen.conv1_stride, use_bias=use_bias), *relu()]
    layers += [MaxPool2D(2)] if chosen.pool1 else []
    layers += [Conv2D(32, 4, stride=2, use_bias=use_bias), *relu()]
    layers += [MaxPool2D(2)] if chosen.pool2 else []
    layers += [Flatten(), Dense(units, use_bias=use_bias), *relu()]
    layers += [Dropout(dropout)] if dropout else []
    layers += [Dense(n_classes)]
    if classes is None:
        classes = CLASSES if n_classes == len(CLASSES) else ()
    spec = InputSpec(84, 84, 1, scaling=scaling, classes=tuple(classes), framing=framing)
    network = Network(layers, spec, **options)
    network.initialise(np.random.default_rng([options.get("seed", 0), 0]), bias_std=bias_std)
    return network


def check_variant_and_size(variant: str, size: str | int) -> None:
    """Raise ValueError for a variant or size that `microexpnet` does not accept."""
    if variant not in VARIANTS:
        raise ValueError(f"variant is {variant!r}; expected one of {', '.join(VARIANTS)}")
    if isinstance(size, bool) or not (size in SIZES or isinstance(size, int) and size > 0):
        raise ValueError(
            f"size is {size!r}; expected one of {', '.join(SIZES)}, or a number of units"
        )
