"""Networks by name.  `microexpnet.py` has all the candidates and sizes of the paper."""

from .microexpnet import CLASSES, SIZES, VARIANTS, microexpnet

__all__ = ["CLASSES", "SIZES", "VARIANTS", "microexpnet"]
