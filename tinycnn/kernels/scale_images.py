"""From uint8 pixels to the numbers that a network takes.

    raw           x = p                                             (scaling 0)
    unit          x = p / 255                                       (scaling 1)
    standardized  x = (p - mean) / max(std, 1/sqrt(n))              (scaling 2)

mean and std are taken over the n values of each image.  The lower limit of std, which TensorFlow's
per_image_standardization has too, makes a constant image all zeros.

With a mean m and a deviation d for each channel c of the data set:

    x[c] = (p - m[c]) / d[c]   (scaling 0)          x[c] = (p / 255 - m[c]) / d[c]   (scaling 1)
"""

import math

from ._jit import helper, kernel
from ._views import flat_view


@helper
def _scale_image(pixels, scaling, x_out):
    """One image of `scale_images`, flat.  Indices begin at 0, so that LLVM vectorises the loops."""
    n_values = pixels.size
    shift, factor = 0.0, 1.0
    if scaling == 1:
        factor = 1 / 255
    elif scaling == 2:
        total, squares = 0, 0
        for k in range(n_values):
            p = int(pixels[k])
            total += p
            squares += p * p
        shift = total / n_values
        variance = (squares * n_values - total * total) / (n_values * n_values)
        factor = 1 / max(math.sqrt(variance), 1 / math.sqrt(n_values))
    # not p*factor - shift*factor: its rounding errors would make a constant image not exactly 0
    number = x_out.dtype.type
    for k in range(n_values):
        x_out[k] = number((float(pixels[k]) - shift) * factor)


@helper
def _scale_channels(pixels, scaling, normalization, x_out):
    """All images, flat, with the mean and deviation of each channel."""
    C = normalization.shape[1]
    number, largest = x_out.dtype.type, 255.0 if scaling == 1 else 1.0
    for c in range(C):
        shift, factor = normalization[0, c] * largest, 1.0 / (normalization[1, c] * largest)
        for k in range(c, pixels.size, C):
            x_out[k] = number((float(pixels[k]) - shift) * factor)


@kernel
def scale_images(images, scaling, normalization, x_out):
    """images (N, H, W, C) uint8, C-contiguous -> x_out (N, H, W, C) float32 or float64.

    normalization  (2, C) float64: mean and deviation of each channel, for scalings 0 and 1; (2, 0):
                   none
    The sums of pixels and of their squares are integers and therefore exact, so mean and std do not
    depend on the order of summation.
    """
    N = images.shape[0]
    if N == 0:
        return
    if normalization.size:
        _scale_channels(flat_view(images), scaling, normalization, flat_view(x_out))
        return
    n_values = images.size // N
    pixels, x = images.reshape(N, n_values), x_out.reshape(N, n_values)
    for n in range(N):
        _scale_image(pixels[n], scaling, x[n])
