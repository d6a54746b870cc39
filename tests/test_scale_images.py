"""scale_images: raw, unit and standardized pixels against arithmetic on whole numbers.

Results are computed in float64 and rounded once to their dtype.  In float64, mean and standard
deviation are each off by one or two roundings, and pixel minus mean by a rounding of the mean.  So
a standardized value may be off by 4 eps of itself plus 2 eps of 255 / std.
"""

import naive
import numpy as np
import pytest
from guarded import Guarded
from hypothesis import given
from hypothesis import strategies as st

from tinycnn import reference
from tinycnn.input_spec import SCALINGS
from tinycnn.kernels import scale_images as kernels

BOTH = pytest.mark.parametrize("operations", [kernels, reference], ids=["kernels", "reference"])
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
EPS = np.finfo(np.float64).eps

shapes = st.tuples(*(st.integers(low, high) for low, high in ((0, 3), (1, 9), (1, 9), (1, 3))))


def run(operations, dtype, images, scaling):
    memory = Guarded(dtype)
    x = memory.wanted(*images.shape)
    operations.scale_images(memory.given(images, np.uint8), SCALINGS.index(scaling), x)
    memory.check()
    return x


def test_scalings_are_numbered_in_their_order():
    assert SCALINGS == ("raw", "unit", "standardized")


@DTYPES
@BOTH
def test_every_grey_value(operations, dtype):
    images = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    np.testing.assert_array_equal(run(operations, dtype, images, "raw"), images)
    unit = run(operations, dtype, images, "unit").reshape(-1)
    assert unit[0] == 0 and unit[255] == 1
    for pixel in range(256):
        assert abs(unit[pixel] - pixel / 255) <= np.finfo(dtype).eps * pixel / 255


@DTYPES
@BOTH
def test_standardized_by_hand(operations, dtype):
    """1 3 5 7: mean 4, deviations -3 -1 1 3, variance (9+1+1+9)/4 = 5."""
    images = np.array([1, 3, 5, 7], np.uint8).reshape(1, 2, 2, 1)
    x = run(operations, dtype, images, "standardized").reshape(-1)
    np.testing.assert_allclose(x, np.array([-3, -1, 1, 3]) / 5**0.5, rtol=4 * np.finfo(dtype).eps)


@DTYPES
@BOTH
@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 5, 1), (84, 84, 1), (3, 3, 3)])
@pytest.mark.parametrize("grey", [0, 1, 127, 255])
def test_a_constant_image_is_all_zeros(operations, dtype, shape, grey):
    x = run(operations, dtype, np.full((2, *shape), grey, np.uint8), "standardized")
    assert not x.any()


@DTYPES
@BOTH
def test_the_standard_deviation_has_a_minimum(operations, dtype):
    """One of 9999 pixels is larger by 1.  It is 1 - 1/9999 above the mean.  The variance,
    9998/9999**2, is below the minimum, so it is divided by the minimum, 1/sqrt(9999)."""
    images = np.full((1, 99, 101, 1), 200, np.uint8)
    images[0, 3, 4, 0] = 201
    x = run(operations, dtype, images, "standardized")
    expected = (1 - 1 / 9999) * 9999**0.5
    assert x[0, 3, 4, 0] == pytest.approx(expected, rel=4 * float(np.finfo(dtype).eps))


@DTYPES
@BOTH
@given(shape=shapes, seed=st.integers(0, 2**32), scaling=st.sampled_from(SCALINGS))
def test_equals_the_definition(operations, dtype, shape, seed, scaling):
    rng = np.random.default_rng(seed)
    low, high = np.sort(rng.integers(0, 257, 2))  # narrow ranges: large mean, small std
    images = rng.integers(low, max(high, low + 1), shape).clip(0, 255).astype(np.uint8)
    x, expected = run(operations, dtype, images, scaling), naive.scale_images(images, scaling)
    allowance = np.finfo(dtype).eps * np.abs(expected)
    if scaling == "standardized":
        pixels = images.reshape(len(images), np.prod(shape[1:])).astype(np.float64)
        std = np.maximum(pixels.std(axis=1), pixels.shape[1] ** -0.5).reshape(-1, 1, 1, 1)
        allowance = allowance + EPS * (4 * np.abs(expected) + 2 * 255 / std)
    assert np.all(np.abs(x - expected) <= allowance)


@DTYPES
def test_an_image_does_not_depend_on_the_other_images(dtype):
    images = np.random.default_rng(1).integers(0, 256, (5, 7, 11, 1)).astype(np.uint8)
    together = run(kernels, dtype, images, "standardized")
    for n in range(5):
        alone = run(kernels, dtype, images[n : n + 1], "standardized")
        np.testing.assert_array_equal(together[n], alone[0])
