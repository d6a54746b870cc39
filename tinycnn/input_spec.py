"""What goes into a network: picture size, scaling of the pixels, class names, framing."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .shapes import check_positive

SCALINGS = ("raw", "unit", "standardized")
"""raw: pixels stay 0..255; unit: 0..1; standardized: each image has mean 0 and deviation 1.  The
kernel `scale_images` takes a scaling's index in this tuple."""


@dataclass(frozen=True)
class InputSpec:
    """A model file carries its InputSpec, so prediction scales pixels as training did.

    height_px, width_px, channels  shape of one uint8 image
    scaling   one of SCALINGS; see kernels/scale_images.py for the formulas
    classes   names of the classes, in the order of the logits
    framing   name of the way faces are cut from photos.  Only the face tools know what it means
    mean, std  a number for each channel: after the scaling, raw or unit, a value x of channel c
              becomes (x - mean[c]) / std[c].  So unit with mean=(0.485, 0.456, 0.406), std=(0.229,
              0.224, 0.225) is torchvision's Normalize for ImageNet.  Empty: 0 and 1
    Raises ValueError for sizes below 1, an unknown scaling, names that are not distinct strings,
    and means or deviations that do not fit.
    """

    height_px: int = 84
    width_px: int = 84
    channels: int = 1
    scaling: str = "raw"
    classes: tuple[str, ...] = ()
    framing: str | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        sizes = dict(height_px=self.height_px, width_px=self.width_px, channels=self.channels)
        check_positive(**sizes)
        for name, size in sizes.items():
            object.__setattr__(self, name, int(size))  # JSON cannot hold NumPy's integers
        if self.scaling not in SCALINGS:
            raise ValueError(f"scaling is {self.scaling!r}; expected one of {', '.join(SCALINGS)}")
        if isinstance(self.classes, str):
            raise ValueError(f"classes is {self.classes!r}; expected a tuple of names")
        object.__setattr__(self, "classes", tuple(self.classes))
        if not all(isinstance(name, str) and name for name in self.classes):
            raise ValueError(f"classes are {self.classes}; expected names")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(f"classes are {self.classes}; expected each name once")
        if self.framing is not None and not isinstance(self.framing, str):
            raise ValueError(f"framing is {self.framing!r}; expected a name or None")
        for name, above in (("mean", -math.inf), ("std", 0.0)):
            self._keep_numbers(name, above)

    def _keep_numbers(self, name: str, above: float) -> None:
        """Check `mean` or `std`, and store it as a tuple of floats."""
        values = np.asarray(getattr(self, name))
        least = " above 0" if above == 0 else ""
        fits = values.dtype.kind in "iuf" and values.shape == (self.channels,)
        if values.size and not (fits and np.isfinite(values).all() and (values > above).all()):
            raise ValueError(
                f"{name} is {getattr(self, name)!r}; expected a number{least} for each of "
                f"{self.channels} channels"
            )
        if values.size and self.scaling == "standardized":
            raise ValueError(
                f"{name} is given with scaling 'standardized', which uses each image's own mean "
                "and deviation; expected scaling raw or unit"
            )
        object.__setattr__(self, name, tuple(values.astype(float).tolist()))

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.height_px, self.width_px, self.channels)

    def config(self) -> dict[str, Any]:
        """The spec as values that JSON can hold; `InputSpec(**config)` is the spec again.

        Without mean and std they are left out, as in files of releases that did not have them.
        """
        values = {**asdict(self), "classes": list(self.classes)}
        for name in ("mean", "std"):
            numbers = values.pop(name)
            if numbers:
                values[name] = list(numbers)
        return values

    def normalization(self) -> np.ndarray:
        """Mean and deviation of each channel, float64 (2, channels); (2, 0) if neither is given."""
        if not self.mean and not self.std:
            return np.zeros((2, 0))
        return np.array([self.mean or [0.0] * self.channels, self.std or [1.0] * self.channels])
