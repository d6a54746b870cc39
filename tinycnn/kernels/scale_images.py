"""From uint8 pixels to what a network takes.

    raw           x = p                                             (scaling 0)
    unit          x = p / 255                                       (scaling 1)
    standardized  x = (p - mean) / max(std, 1/sqrt(n))              (scaling 2)

mean and std are those of the one image, over its n values; the floor on std (as TensorFlow's
per_image_standardization has it) makes a constant image all zeros.
"""

import math

import numpy as np

from ._jit import kernel

BLOCK = 32768  # pixels whose squares are sure to sum to less than 2**32: sums of 32 bits are fast


@kernel
def scale_images(images, scaling, x_out):
    """images (N, H, W, C) uint8, C-contiguous -> x_out (N, H, W, C) float32 or float64.

    Sums of pixels and of their squares are whole numbers and exact, so mean and std do not
    depend on the order of summation.
    """
    N = images.shape[0]
    if N == 0:
        return
    n_values = images.size // N
    pixels, x = images.reshape(-1), x_out.reshape(-1)
    number = x_out.dtype.type
    for n in range(N):
        shift, factor = 0.0, 1.0
        if scaling == 1:
            factor = 1 / 255
        elif scaling == 2:
            total, squares = 0, 0
            for start in range(n * n_values, (n + 1) * n_values, BLOCK):
                block_total, block_squares = np.uint32(0), np.uint32(0)
                for k in range(start, min(start + BLOCK, (n + 1) * n_values)):
                    p = np.uint32(pixels[k])
                    block_total += p
                    block_squares += p * p
                total += int(block_total)
                squares += int(block_squares)
            shift = total / n_values
            variance = (squares * n_values - total * total) / (n_values * n_values)
            factor = 1 / max(math.sqrt(variance), 1 / math.sqrt(n_values))
        # p*factor - shift*factor would cancel: a constant image would not be exactly zero
        for k in range(n * n_values, (n + 1) * n_values):
            x[k] = number((float(pixels[k]) - shift) * factor)
