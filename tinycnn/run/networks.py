"""The network of a training run, made from its options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..models import residual48
from ..models.face_networks import FACE_NETWORKS
from ..models.microexpnet import microexpnet
from ..models.network_options import NetworkOptions
from ..network import Network
from .options import TrainingOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack


def make_network(
    training: TrainingOptions,
    classes: Sequence[str],
    framing: str | None,
    **options: Unpack[NetworkOptions],
) -> Network:
    """The network that the options of a training run describe, with new weights.

    classes, framing  of the data;  options  of `Network`, without the seed
    """
    options["seed"] = training.seed
    widths = FACE_NETWORKS[training.network].widths
    if widths is None:
        return microexpnet(
            training.variant,
            training.size,
            len(classes),
            classes=classes,
            scaling=training.scaling,
            bias_std=training.bias_std,
            dropout=training.dropout,
            framing=framing,
            batch_norm=training.batch_norm,
            **options,
        )
    return residual48(
        classes,
        filters=widths.filters,
        n_blocks=widths.n_blocks,
        batch_norm=training.batch_norm,
        scaling=training.scaling,
        dropout=training.dropout,
        framing=framing,
        **options,
    )
