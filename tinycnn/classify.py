"""Turns probabilities into class names, and rejects images that the network cannot judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from .ground.masked_arrays import refuse_masked
from .ground.messages import quoted
from .image_arrays import check_images
from .input_spec import InputSpec
from .pictures import as_batch

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


def checked_images(pictures: Any, spec: InputSpec, channels: str = "rgb") -> np.ndarray:
    """The uint8 images (N, H, W) or (N, H, W, C) in `pictures`, if they fit this InputSpec.

    pictures  what `Network.classify` takes.  If an array or an object with `images` has an
              attribute `framing`, that must equal the spec's, unless one is None (unknown).
    channels  "rgb" or "bgr": the order of an array's colours
    Raises TypeError for anything but an array of uint8, ValueError for another size, number of
    channels or framing.  Each message says how to convert the pictures.
    """
    images = pictures.images if isinstance(pictures, _HasImages) else pictures
    refuse_masked("images", images)
    for source in (pictures, images):
        framing = source.framing if isinstance(source, _HasFraming) else None
        if framing and spec.framing and framing != spec.framing:
            raise ValueError(
                f"these faces were cut with framing {framing!r}, but the network was trained on "
                f"{spec.framing!r}: cut them again with framing={spec.framing!r}"
            )
    return np.asarray(check_images(as_batch(images, spec, channels), spec))


def classifications(
    probs: np.ndarray, classes: Sequence[str], unsure_below: float
) -> list[Classification]:
    """One Classification for each row of probs (N, K).

    unsure_below  the label is "unsure" if the largest probability is below this
    Raises ValueError for an unsure_below outside 0..1, or probabilities that are NaN or infinite.
    """
    number = isinstance(unsure_below, (int, float, np.number)) and 0 <= unsure_below <= 1
    if not number or isinstance(unsure_below, bool):
        raise ValueError(f"unsure_below is {quoted(unsure_below)}; expected a number from 0 to 1")
    refuse_masked("probs", probs)
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
