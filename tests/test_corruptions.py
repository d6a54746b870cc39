"""Damaged copies of faces: what each kind of damage does, and that it is repeatable."""

import numpy as np
import pytest

import ferdata
from ferdata import CORRUPTIONS, corrupted_faces


def faces(size_px=48, n=6):
    rng = np.random.default_rng(0)
    coarse = rng.integers(60, 200, (n, 6, 6)).astype(np.uint8)
    return ferdata.resize_images(coarse, size_px)


def step_edge(size_px):
    """Left half black, right half white."""
    image = np.zeros((1, size_px, size_px), np.uint8)
    image[:, :, size_px // 2 :] = 255
    return image


@pytest.mark.parametrize("kind", CORRUPTIONS)
@pytest.mark.parametrize("size_px", [48, 84, 31])
def test_shape_and_bits(kind, size_px):
    images = faces(size_px)
    kept = images.copy()
    found = corrupted_faces(images, kind)
    assert found.shape == images.shape and found.dtype == np.uint8
    assert np.array_equal(images, kept)  # the images themselves do not change
    assert not np.array_equal(found, images)
    assert np.array_equal(found, corrupted_faces(images, kind))
    drawn = "noise" in kind or "light" in kind or "centre" in kind
    assert drawn != np.array_equal(found, corrupted_faces(images, kind, seed=1))


@pytest.mark.parametrize("size_px", [48, 96])
def test_blur_has_the_deviation_that_it_says(size_px):
    """The derivative of a blurred step is the Gaussian itself."""
    for px in (1, 2):
        row = corrupted_faces(step_edge(size_px), f"blur, {px} px")[0, size_px // 2].astype(float)
        weights = np.diff(row) / 255
        places = np.arange(len(weights))
        mean = np.sum(weights * places)
        deviation = np.sqrt(np.sum(weights * (places - mean) ** 2))
        assert deviation == pytest.approx(px * size_px / 48, rel=0.03)


def test_noise_has_the_deviation_that_it_says():
    grey = np.full((4, 48, 48), 128, np.uint8)
    for levels in (10, 25):
        found = corrupted_faces(grey, f"noise, {levels} grey levels").astype(float)
        assert found.std() == pytest.approx(levels, rel=0.05)
        assert found.mean() == pytest.approx(128, abs=1)


def test_a_quarter_of_the_light():
    found = corrupted_faces(np.full((4, 48, 48), 200, np.uint8), "a quarter of the light")
    assert found.mean() == pytest.approx(50, abs=0.5)
    assert found.astype(float).std() == pytest.approx(4, rel=0.05)


def test_small_faces_lose_what_is_fine():
    stripes = np.zeros((1, 48, 48), np.uint8)
    stripes[:, :, ::2] = 255
    for px in (24, 16):
        found = corrupted_faces(stripes, f"faces of {px} px")
        assert np.abs(found.astype(int) - 127)[:, 4:-4, 4:-4].max() < 64
    wide = step_edge(48)
    assert np.array_equal(corrupted_faces(wide, "faces of 24 px")[..., :20], wide[..., :20])


def test_shifts_have_their_length():
    """The centre of a spot moves by the distance that the kind names."""
    image = np.zeros((48, 48), np.float64)
    y, x = np.mgrid[:48, :48]
    image = 250 * np.exp(-((y - 23.5) ** 2 + (x - 23.5) ** 2) / 18)
    spots = np.repeat(image[None].astype(np.uint8), 9, axis=0)
    for px in (3, 6):
        found = corrupted_faces(spots, f"{px} px off the centre").astype(float)
        mass = found.sum(axis=(1, 2))
        moved_y = (found * y).sum(axis=(1, 2)) / mass - 23.5
        moved_x = (found * x).sum(axis=(1, 2)) / mass - 23.5
        np.testing.assert_allclose(np.hypot(moved_y, moved_x), px, rtol=0.03)
        assert len(set(np.round(np.arctan2(moved_y, moved_x), 2))) > 5  # in many directions


def test_refused():
    with pytest.raises(ValueError, match="kind is 'fog'; expected one of blur, 1 px"):
        corrupted_faces(faces(), "fog")
    with pytest.raises(ferdata.DataError):
        corrupted_faces(faces().astype(np.float32), "blur, 1 px")
