"""Networks by name: those of the paper in `microexpnet.py`, residual ones for 48x48 faces in
`residual48.py`, others in `public_networks.py`."""

from .microexpnet import CLASSES, SIZES, VARIANTS, microexpnet
from .public_networks import (
    PUBLIC_NETWORKS,
    dscnn,
    lenet5,
    mini_xception,
    mobilenet_v1,
    resnet8,
    vgg48,
)
from .residual48 import residual48

__all__ = [
    "CLASSES",
    "PUBLIC_NETWORKS",
    "SIZES",
    "VARIANTS",
    "dscnn",
    "lenet5",
    "microexpnet",
    "mini_xception",
    "mobilenet_v1",
    "residual48",
    "resnet8",
    "vgg48",
]
