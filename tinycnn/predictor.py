"""From images to classes and probabilities: what networks of floats and of 8-bit integers share."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .classify import Classification, checked_images, classifications
from .image_arrays import check_content, check_images
from .input_spec import InputSpec
from .losses import softmax

PREDICTION_BATCH = 256
"""At most this many images are scaled at once in prediction, to limit memory to a few MB."""


class Predictor:
    """Predicts the classes of images.  A subclass sets the attributes and defines `_predicted`.

    input_spec  the images that it takes, and its classes
    backend     as in `Network`
    """

    input_spec: InputSpec
    backend: str
    _calibration_temperature: float

    def _predicted(self, images: np.ndarray) -> tuple[np.ndarray, str]:
        """The logits, and the backend for what is computed from them."""
        raise NotImplementedError

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the logits."""
        return self.input_spec.classes

    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        """Logits (N, K) of uint8 images (N, H, W) or (N, H, W, C).  Errors as `scale`."""
        return self._predicted(images)[0]

    @property
    def calibration_temperature(self) -> float:
        """`predict_proba` divides the logits by this before softmax.  1.0 at first.
        `calibration.fit_temperature` finds the value for which the probabilities match the observed
        frequencies.  Training and `predict_logits` do not use it.

        Raises ValueError when set to anything but a finite number above 0.
        """
        return self._calibration_temperature

    @calibration_temperature.setter
    def calibration_temperature(self, temperature: float) -> None:
        if not 0 < temperature < math.inf:
            raise ValueError(
                f"calibration_temperature is {temperature!r}; expected a finite number above 0"
            )
        self._calibration_temperature = float(temperature)

    def predict_proba(self, images: np.ndarray) -> np.ndarray:
        """Class probabilities (N, K), in the order of `classes`, of uint8 images (N, H, W) or
        (N, H, W, C): softmax(logits / calibration_temperature).

        Warns of images that show nothing: all pixels are equal, or black.  Errors as `scale`, and
        ValueError for pixels of 0..1.
        """
        return self._probabilities(images)

    def _probabilities(self, images: np.ndarray) -> np.ndarray:
        """`predict_proba`, called from a method that the user has called."""
        if isinstance(images, np.ndarray) and images.dtype == np.uint8:
            check_content(check_images(images, self.input_spec), stacklevel=4)
        logits, backend = self._predicted(images)
        return softmax(logits, self.calibration_temperature, backend=backend)

    def classify(
        self, images: Any, *, unsure_below: float = 0.0, channels: str = "rgb"
    ) -> list[Classification]:
        """Class and probabilities of each image.

        images        pictures of the network's size: uint8 (N, H, W) or (N, H, W, C); an object
                      with these as `images` and, as `framing`, how the pictures were cropped; one
                      picture or a list of pictures: arrays, images of Pillow, or files (the name,
                      the content as bytes, or the open file)
        unsure_below  the label is "unsure" if the probability of the likeliest class is below this
        channels      "rgb" or "bgr": the order of an array's colours.  OpenCV's arrays are "bgr"
        Raises TypeError or ValueError, and says what to do, for pictures of another size, number of
        channels, range or framing than the network expects, and for an unsure_below outside 0..1.
        Warns as `predict_proba`.
        """
        probs = self._probabilities(checked_images(images, self.input_spec, channels))
        return classifications(probs, self.classes, unsure_below)
