"""Turns probabilities into class names, and rejects images that the network cannot judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from .input_spec import InputSpec

UNSURE = "unsure"


@dataclass(frozen=True, repr=False)
class Classification:
    """A network's answer for one image.

    label       name of the likeliest class, or "unsure" if its probability is too low
    confidence  probability of the likeliest class, 0..1
    probs       probability of every class by name, in the order of the network's classes
    """

    label: str
    confidence: float
    probs: dict[str, float]

    def __repr__(self) -> str:
        """<happy 93.1%>, or for "unsure" the two likeliest classes."""
        if self.label != UNSURE:
            return f"<{self.label} {self.confidence:.1%}>"
        likeliest = sorted(self.probs, key=self.probs.__getitem__, reverse=True)[:2]
        return f"<{UNSURE}: {', '.join(f'{name} {self.probs[name]:.1%}' for name in likeliest)}>"


@runtime_checkable
class _HasImages(Protocol):
    images: np.ndarray


@runtime_checkable
class _HasFraming(Protocol):
    framing: str | None


def checked_images(pictures: Any, spec: InputSpec) -> np.ndarray:
    """The uint8 images (N, H, W) or (N, H, W, C) in `pictures`, if they fit this InputSpec.

    pictures  the array, or an object with the array as its attribute `images`.  If either has an
              attribute `framing`, that must equal the spec's, unless one of them is None (unknown).
    Raises TypeError for anything but an array of uint8, ValueError for another size, number of
    channels, range or framing.  Each message says how to convert the pictures.
    """
    images = pictures.images if isinstance(pictures, _HasImages) else pictures
    for source in (pictures, images):
        framing = source.framing if isinstance(source, _HasFraming) else None
        if framing and spec.framing and framing != spec.framing:
            raise ValueError(
                f"these faces were cut with framing {framing!r}, but the network was trained on "
                f"{spec.framing!r}: cut them again with framing={spec.framing!r}"
            )
    if not isinstance(images, np.ndarray):
        raise TypeError(
            f"images is a {type(images).__name__}; expected a NumPy array of uint8 pixels "
            "(np.stack makes one of a list of pictures)"
        )
    images = np.asarray(images)
    _check_pixels(images)
    _check_shape(images.shape, spec)
    return images


def classifications(
    probs: np.ndarray, classes: Sequence[str], unsure_below: float
) -> list[Classification]:
    """One Classification for each row of probs (N, K).

    unsure_below  the label is "unsure" if the largest probability is below this
    Raises ValueError for an unsure_below outside 0..1, or probabilities that are NaN or infinite.
    """
    number = isinstance(unsure_below, (int, float, np.number)) and 0 <= unsure_below <= 1
    if not number or isinstance(unsure_below, bool):
        raise ValueError(f"unsure_below is {unsure_below!r}; expected a number from 0 to 1")
    finite = np.isfinite(probs).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"the probabilities of image {int(np.argmin(finite))} are not numbers: the network's "
            "weights are damaged, or its training diverged"
        )
    found = []
    for row in probs:
        best = int(row.argmax())
        confidence = float(row[best])
        label = UNSURE if confidence < unsure_below else classes[best]
        found.append(Classification(label, confidence, dict(zip(classes, row.tolist()))))
    return found


def _check_pixels(images: np.ndarray) -> None:
    """Raise an error unless images are uint8, and not pixels of 0..1 that were cast to uint8."""
    expected = "expected uint8 pixels, 0 black to 255 white"
    if images.dtype != np.uint8:
        raise TypeError(f"images has dtype {images.dtype}{_remedy(images, expected)}")
    if images.size and images.max() == 1:
        raise ValueError(
            f"no pixel is above 1; {expected}: it seems that pixels of 0..1 were cast to uint8; "
            "multiply them by 255 first: (255 * images).round().astype(np.uint8)"
        )


def _remedy(images: np.ndarray, expected: str) -> str:
    """For pixels of another dtype: the range of their values, and how to convert them to uint8."""
    if images.dtype.kind not in "iuf" or not images.size:
        return f"; {expected}"
    low, high = images.min(), images.max()
    seen = f", values {low:g} to {high:g}; {expected}"
    if images.dtype.kind == "f" and 0 <= low and high <= 1:
        return f"{seen}: convert with (255 * images).round().astype(np.uint8)"
    if 0 <= low and high <= 255:
        return f"{seen}: convert with images.round().astype(np.uint8)"
    return f"{seen}: pass the pixels as they were before scaling; the network scales them itself"


def _check_shape(shape: tuple[int, ...], spec: InputSpec) -> None:
    """Raise ValueError unless a batch of this shape fits the spec."""
    H, W, C = spec.shape
    expected = f"expected (N, {H}, {W}{'' if C == 1 else f', {C}'})"
    fits = (shape[1:3] == (H, W)) and (shape[3:] == (C,) or (C == 1 and len(shape) == 3))
    if len(shape) in (3, 4) and fits:
        return
    advice = ""
    if shape in ((H, W), (H, W, C)):
        advice = ": pass a single picture as images[None]"
    elif len(shape) == 4 and shape[3] != C:
        colours = {1: "grey", 3: "RGB"}
        takes = colours.get(C, f"{C} channels")
        advice = f": {shape[3]} channels, but the network takes {takes}; convert the pictures"
    elif len(shape) in (3, 4):
        advice = f": pictures of {shape[1]}x{shape[2]} px, but the network takes {H}x{W}; "
        advice += (
            f"cut faces with framing={spec.framing!r}, or resize faces that were cut that way"
            if spec.framing
            else "resize them as the training pictures were resized"
        )
    raise ValueError(f"images has shape {shape}; {expected}{advice}")
