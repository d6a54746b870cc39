"""Checks images that are given to a network; the errors say how to convert them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from .ground.masked_arrays import unmasked
from .input_spec import InputSpec

PIXELS = "uint8 pixels, 0 black to 255 white"

_REMEDY = "multiply them by 255 first: (255 * images).round().astype(np.uint8)"
_SHARE_OF_ONES = 0.01
_N_SEEN = 4
_N_ONE_BY_ONE = 4
_COLOURS = {1: "grey", 3: "RGB"}


def check_images(images: Any, spec: InputSpec) -> np.ndarray:
    """`images`, checked to be an array of uint8 (N, H, W) or (N, H, W, C) of the spec's shape.

    Raises TypeError for anything but an array of uint8, ValueError for another shape.
    """
    if type(images) is np.ndarray and images.dtype == np.uint8:
        if images.shape[1:] == spec.shape or (
            images.ndim == 3 and spec.shape == (*images.shape[1:], 1)
        ):
            return images
    if images is None:
        raise TypeError(
            "images is None, which is no picture (OpenCV's read() gives None at the end of a "
            f"video, imread() for a file that it cannot read); expected {PIXELS}"
        )
    if not isinstance(images, np.ndarray):
        raise TypeError(f"images is a {_kind(images)}; expected a NumPy array of {_advice(images)}")
    images = unmasked("images", images)
    if images.dtype != np.uint8:
        raise TypeError(f"images has dtype {images.dtype}{_remedy(images)}")
    _check_shape(images.shape, spec)
    return images


def check_content(images: np.ndarray, stacklevel: int, only_if_all: bool = False) -> None:
    """Refuse uint8 images (N, H, W[, C]) whose pixels are 0..1, and warn of blank ones.

    A blank image has one grey value or colour everywhere, or no value above 1: a black frame, in
    which single pixels may be 1.  It shows nothing that could be classified.

    stacklevel   of the warning: 2 is the line that calls this function
    only_if_all  warn only if all images are blank
    Raises ValueError if no pixel is above 1, and the pixels of 1 are a hundredth or more and more
    than one for each image.
    """
    N, H, W = images.shape[:3]
    if N == 0 or H * W == 1:  # a single pixel is always one value
        return
    C = images.shape[3] if images.ndim == 4 else 1
    step_h, step_w = (max(1, side // _N_SEEN) for side in (H, W))
    if N <= _N_ONE_BY_ONE and all(_shows_something(image[::step_h, ::step_w]) for image in images):
        return
    # A few pixels of each image rule most images out. (A reshape of all could copy the array.)
    seen = images[:, ::step_h, ::step_w].reshape(len(images), -1, C)
    if seen.max() <= 1 and images.max() == 1:
        n_ones = int(np.count_nonzero(images))
        if n_ones > len(images) and n_ones >= _SHARE_OF_ONES * images.size:
            raise ValueError(
                f"no pixel is above 1; expected {PIXELS}: it seems that pixels of 0..1 were cast "
                f"to uint8; {_REMEDY}"
            )
    one_value = (seen == seen[:, :1]).all(axis=(1, 2))
    maybe = np.flatnonzero(one_value | (seen.max(axis=(1, 2)) <= 1))
    if not len(maybe) or (only_if_all and len(maybe) < len(images)):
        return
    pixels = images[maybe].reshape(len(maybe), -1, C)
    highest, lowest = pixels.max(axis=1), pixels.min(axis=1)
    black = (highest <= 1).all(axis=1)
    n = int(((highest == lowest).all(axis=1) | black).sum())
    if not n or (only_if_all and n < len(images)):
        return
    told = (
        f"{n:,} of {len(images):,} images show nothing: {'black' if black.any() else 'one value'}"
    )
    told += " everywhere; what a network says of them means nothing"
    if black.any():
        told += f". If pixels of 0..1 were cast to uint8, {_REMEDY}"
    warnings.warn(told, stacklevel=stacklevel)


def _shows_something(seen: np.ndarray) -> bool:
    """Whether some pixels (h, w[, C]) of an image rule out that it is blank.  Faster than the same
    for many images at once: a small network needs as long for an image as two calls of NumPy."""
    first_channel = seen if seen.ndim == 2 else seen[..., 0]
    highest = np.maximum.reduce(first_channel, axis=None)
    return bool(highest > 1 and np.minimum.reduce(first_channel, axis=None) < highest)


def _library(value: object) -> str:
    return type(value).__module__.split(".")[0]


def _kind(value: object) -> str:
    """The class of a value in words; of a list or tuple also that of its entries."""
    name = type(value).__name__
    if _library(value) in ("PIL", "torch"):
        return f"{_library(value)} {name}"
    return name


def _advice(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return "uint8 pixels (np.stack makes one of a list of pictures)"
    if _library(value) == "PIL":
        return "uint8 pixels: np.asarray(image)[None], after image.convert('L') for a grey network"
    if _library(value) == "torch":
        return "uint8 pixels: images.cpu().numpy(), with the channels as the last axis"
    if hasattr(value, "to_numpy"):
        return "uint8 pixels: images.to_numpy() makes one"
    return "uint8 pixels (np.stack makes one of a list of pictures)"


def _remedy(images: np.ndarray) -> str:
    """For pixels of another dtype: the range of their values, and how to convert them to uint8."""
    expected = f"expected {PIXELS}"
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
    fits = (shape[1:3] == (H, W)) and (shape[3:] == (C,) or (C == 1 and len(shape) == 3))
    if len(shape) in (3, 4) and fits:
        return
    size = f"{H}, {W}{'' if C == 1 else f', {C}'}"
    advice = ""
    if shape in ((H, W), (H, W, C)):
        advice = ": pass a single picture as images[None]"
    elif len(shape) == 2 and shape[1] == H * W * C:
        advice = f": images.reshape(-1, {size}) makes pictures of these rows"
    elif len(shape) == 4 and shape[2:] == (H, W) != shape[1:3] and shape[1] in (C, 1, 3, 4):
        advice = ": the channels are the last axis; move them with np.moveaxis(images, 1, -1)"
        if shape[1] != C:
            advice += f", and make the pictures {_COLOURS.get(C, f'of {C} channels')}"
    elif len(shape) == 3 and shape == (C, H, W):
        advice = ": a single picture is np.moveaxis(image, 0, -1)[None], with the channels last"
    elif len(shape) == 4 and shape[3] != C:
        takes = _COLOURS.get(C, f"{C} channels")
        advice = f": {shape[3]} channels, but the network takes {takes}; convert the pictures"
    elif len(shape) in (3, 4):
        advice = f": pictures of {shape[1]}x{shape[2]} px, but the network takes {H}x{W}; "
        advice += (
            f"cut faces with framing={spec.framing!r}, or resize faces that were cut that way"
            if spec.framing
            else "resize them as the training pictures were resized"
        )
    raise ValueError(f"images has shape {shape}; expected (N, {size}){advice}")
