"""Residual networks for 48x48 faces: a small one for prediction, and a large one as its teacher.

48x48x1 -> conv 3x3 -> BatchNorm -> ReLU -> pool
        -> for each further width: conv 3x3 -> BatchNorm -> ReLU -> pool -> residual blocks
        -> global average -> [dropout] -> dense n_classes                        all padding "same"

A residual block is ReLU(x + BatchNorm(conv(ReLU(BatchNorm(conv(x)))))), both convolutions 3x3 and
without bias (He, Zhang, Ren and Sun 2015, arXiv 1512.03385, without its second kind of shortcut:
the convolution and the pooling between the blocks change width and size).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..input_spec import InputSpec
from ..layers import (
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    GlobalAveragePool2D,
    Layer,
    MaxPool2D,
    ReLU,
    Residual,
)
from ..network import Network
from .microexpnet import CLASSES
from .network_options import NetworkOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Widths(NamedTuple):
    """filters: of the first convolution, and of the stages behind it;  n_blocks: in each stage."""

    filters: tuple[int, ...]
    n_blocks: int


SMALL = Widths((16, 16, 48), 1)
"""56,040 parameters for 8 classes, when BatchNorm is folded.  Widths that are multiples of 16 fill
the vectors of AVX-512."""

LARGE = Widths((32, 64, 128), 2)
"""831,752 parameters for 8 classes, when BatchNorm is folded."""


def residual48(
    classes: int | Sequence[str] = CLASSES,
    *,
    filters: Sequence[int] = SMALL.filters,
    n_blocks: int = SMALL.n_blocks,
    batch_norm: bool = True,
    scaling: str = "standardized",
    dropout: float = 0.0,
    framing: str | None = None,
    **options: Unpack[NetworkOptions],
) -> Network:
    """A new residual network for 48x48 faces.

    classes     their names, or their number
    filters     of the first convolution, and of the stages behind it
    n_blocks    residual blocks in each stage
    batch_norm  False: without BatchNorm, and with biases in its place
    scaling     of the pixels, see `InputSpec`;  framing  likewise
    dropout     dropout rate before the dense layer; 0 means no dropout layer
    options     of `Network`
    Raises ValueError as `Network` does.
    """

    def convolution(width: int) -> list[Layer]:
        return [Conv2D(width, 3, use_bias=not batch_norm), *([BatchNorm()] if batch_norm else [])]

    first, *others = filters
    layers: list[Layer] = [*convolution(first), ReLU(), MaxPool2D(2)]
    for width in others:
        layers += [*convolution(width), ReLU(), MaxPool2D(2)]
        for _ in range(n_blocks):
            layers += [Residual([*convolution(width), ReLU(), *convolution(width)]), ReLU()]
    layers += [GlobalAveragePool2D()]
    layers += [Dropout(dropout)] if dropout else []
    names = tuple(map(str, range(classes))) if isinstance(classes, int) else tuple(classes)
    layers += [Dense(len(names))]
    spec = InputSpec(48, 48, 1, scaling=scaling, classes=names, framing=framing)
    return Network(layers, spec, **options)
