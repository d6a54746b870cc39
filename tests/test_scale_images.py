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


def run(operations, dtype, images, scaling, normalization=((), ())):
    memory = Guarded(dtype)
    x = memory.wanted(*images.shape)
    normalization = memory.given(normalization, np.float64)
    given = memory.given(images, np.uint8)
    operations.scale_images(given, SCALINGS.index(scaling), normalization, x)
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


# ---- the mean and deviation of each channel ----------------------------------------------------


@DTYPES
@BOTH
def test_torchvisions_normalize(operations, dtype):
    """Its ImageNet numbers: black, white and a mid-grey pixel, worked out by hand to six digits."""
    images = np.array([0, 255, 128], np.uint8).reshape(1, 1, 3, 1).repeat(3, axis=3)
    imagenet = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    x = run(operations, dtype, images, "unit", imagenet)
    expected = [
        [-2.117904, -2.035714, -1.804444],  # -0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225
        [2.248908, 2.428571, 2.640000],  # 0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225
        [0.074065, 0.205182, 0.426492],  # (128/255 - 0.485) / 0.229, ...
    ]
    np.testing.assert_allclose(x[0, 0], expected, atol=1e-6)


@DTYPES
@BOTH
@given(
    shape=shapes,
    seed=st.integers(0, 2**32),
    scaling=st.sampled_from(["raw", "unit"]),
)
def test_channels_equal_the_definition(operations, dtype, shape, seed, scaling):
    """Errors: a few roundings of float64, relative to the pixel and the mean, and one of dtype."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, shape).astype(np.uint8)
    size = 255 if scaling == "raw" else 1
    mean, std = rng.uniform(-1, 1, shape[3]) * size, rng.uniform(0.1, 2, shape[3]) * size
    x = run(operations, dtype, images, scaling, (mean, std))
    expected = naive.scale_channels(images, scaling, mean, std)
    allowance = np.finfo(dtype).eps * np.abs(expected) + 8 * EPS * 2 * size / std
    assert np.all(np.abs(x - expected) <= allowance)


@DTYPES
@BOTH
def test_means_of_zero_and_deviations_of_one_change_nothing(operations, dtype):
    images = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    x = run(operations, dtype, images, "raw", ((0.0,), (1.0,)))
    np.testing.assert_array_equal(x, images)
