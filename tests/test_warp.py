"""The compiled warp against SciPy, scikit-image and a loop over pixels in float64."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import affine_transform
from skimage.transform import resize

from ferdata.errors import DataError
from ferdata.warp import resize_images, resize_matrix, warp_images, warp_loops

# 0.5 for rounding. float32 coordinates are off by about 1e-5 pixel, and neighbours differ by
# up to 255 grey levels along two axes.
HALF = 0.5 + 0.01


def noise(n, height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, height, width), dtype=np.uint8)


def naive(image, matrix, size):
    """Equations (1) and (2) of ferdata.warp, one pixel at a time, in float64, not rounded."""
    height, width = image.shape
    out = np.empty((size, size))
    for i in range(size):
        for j in range(size):
            y = min(max(float(matrix[0] @ (i, j, 1)), 0.0), height - 1.0)
            x = min(max(float(matrix[1] @ (i, j, 1)), 0.0), width - 1.0)
            r, c = int(y), int(x)
            r1, c1 = min(r + 1, height - 1), min(c + 1, width - 1)
            s = image.astype(float)
            top = s[r, c] + (x - c) * (s[r, c1] - s[r, c])
            bottom = s[r1, c] + (x - c) * (s[r1, c1] - s[r1, c])
            out[i, j] = top + (y - r) * (bottom - top)
    return out


numbers = st.floats(-3, 3)


@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.integers(1, 40),
    st.lists(numbers, min_size=4, max_size=4),
    st.tuples(st.floats(-20, 20), st.floats(-20, 20)),
    st.integers(0, 999),
)
def test_any_affine_map_against_scipy_and_a_loop(shape, size, linear, offset, seed):
    image = noise(1, *shape, seed)
    matrix = np.c_[np.reshape(linear, (2, 2)), offset]
    out = warp_images(image, matrix[None], size)[0]
    exact = affine_transform(
        image[0].astype(float), matrix[:, :2], matrix[:, 2], (size, size), order=1, mode="nearest"
    )
    assert np.abs(out - exact).max() <= HALF
    if size <= 12:
        assert np.abs(out - naive(image[0], matrix, size)).max() <= HALF


@pytest.mark.parametrize("shape", [(48, 48), (48, 31), (1, 1), (84, 2)])
def test_enlarging_is_scikit_image_resize(shape):
    images = noise(3, *shape)
    out = resize_images(images, 84)
    for image, found in zip(images, out):
        exact = resize(image.astype(float), (84, 84), order=1, mode="edge", anti_aliasing=False)
        assert np.abs(found - exact).max() <= HALF


def test_values_by_hand():
    image = np.array([[[0, 100], [200, 40]]], dtype=np.uint8)
    # 2 -> 4: output centres fall at -0.25, 0.25, 0.75, 1.25; the outer ones repeat the edge.
    # Row 0.25: 0 + .25*200 = 50 left, 100 - .25*60 = 85 right; 50 + .25*35 = 58.75 -> 59.
    assert resize_images(image, 4)[0].tolist() == [
        [0, 25, 75, 100],
        [50, 59, 76, 85],
        [150, 126, 79, 55],
        [200, 160, 80, 40],
    ]


def test_halves_round_up():
    image = np.array([[[1, 2, 3]]], dtype=np.uint8)
    at = np.array([[[0, 0, 0], [0, 1, 0.5]]], dtype=float)
    assert warp_images(image, at, 2)[0, 0].tolist() == [2, 3]


def test_resizing_to_the_same_size_changes_nothing():
    images = noise(2, 21, 21)
    np.testing.assert_array_equal(resize_images(images, 21), images)
    matrix = np.broadcast_to(resize_matrix(21, 21, 21), (2, 2, 3))
    np.testing.assert_array_equal(warp_images(images, matrix, 21), images)


def test_reducing_is_anti_aliased():
    stripes = np.zeros((1, 256, 256), dtype=np.uint8)
    stripes[:, :, ::2] = 255  # finer than 84 columns can show: must become uniform grey
    done = []
    out = resize_images(stripes, 84, progress=lambda i, n: done.append((i, n)))
    assert np.abs(out[0, :, 3:-3] - 127.5).max() < 20
    assert done == [(1, 1)]
    exact = resize(noise(1, 100, 60)[0].astype(float), (84, 84), order=1, mode="edge")
    assert np.abs(resize_images(noise(1, 100, 60), 84)[0] - exact).max() <= 0.5 + 1e-9


def test_which_selects_the_images():
    images = np.arange(5, dtype=np.uint8)[:, None, None] * np.ones((1, 3, 3), np.uint8)
    matrices = np.broadcast_to(resize_matrix(3, 3, 3), (4, 2, 3))
    out = warp_images(images, matrices, 3, which=np.array([4, 0, 0, 2]))
    assert out[:, 1, 1].tolist() == [4, 0, 0, 2]


def test_threads_do_not_change_the_result():
    images = noise(7, 20, 30)
    matrices = np.random.default_rng(1).uniform(-1, 1, (7, 2, 3))
    one = warp_images(images, matrices, 25)
    for n_threads in (2, 3, 50):
        np.testing.assert_array_equal(warp_images(images, matrices, 25, n_threads=n_threads), one)


def test_the_loops_without_the_compiler_give_the_same():
    images, matrices = noise(2, 6, 5), np.random.default_rng(2).uniform(-1, 2, (2, 2, 3))
    out = np.empty((2, 8, 8), dtype=np.uint8)
    warp_loops(images, np.arange(2), matrices, out)
    np.testing.assert_array_equal(out, warp_images(images, matrices, 8))


def test_read_only_input():
    images = noise(2, 6, 5)
    images.flags.writeable = False
    assert warp_images(images, np.zeros((2, 2, 3)), 2).shape == (2, 2, 2)


@pytest.mark.parametrize(
    "images, matrices, size, which, message",
    [
        (
            np.zeros((1, 2, 2)),
            np.zeros((1, 2, 3)),
            4,
            None,
            r"images: expected uint8 of shape \(N, H, W\)",
        ),
        (
            np.zeros((1, 0, 2), np.uint8),
            np.zeros((1, 2, 3)),
            4,
            None,
            r"images: expected uint8 of shape \(N, H, W\)",
        ),
        (noise(1, 2, 2), np.zeros((1, 3, 2)), 4, None, r"expected matrices \(B, 2, 3\)"),
        (noise(1, 2, 2), np.full((1, 2, 3), np.nan), 4, None, "entries must be finite"),
        (noise(1, 2, 2), np.full((1, 2, 3), 1e30), 4, None, "entries must be finite and within"),
        (noise(1, 2, 2), np.zeros((1, 2, 3)), 0, None, "size_px must be 1 or more"),
        (noise(1, 2, 2), np.zeros((2, 2, 3)), 4, None, "2 matrices for 1 images"),
        (noise(1, 2, 2), np.zeros((1, 2, 3)), 4, np.array([1]), r"must lie in 0..0"),
        (noise(1, 2, 2), np.zeros((1, 2, 3)), 4, np.array([-1]), r"must lie in 0..0"),
    ],
)
def test_bad_arguments(images, matrices, size, which, message):
    with pytest.raises(DataError, match=message):
        warp_images(images, matrices, size, which)
