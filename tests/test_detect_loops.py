"""The compiled loops of face detection give the same results as the NumPy functions."""

import numpy as np
import pytest
from PIL import Image
from skimage import data

from ferdata.photos import cascade, detect_arrays, detect_loops
from ferdata.photos.cascade import stages_passed


def shrunk(side):
    """The grey astronaut photo, resized to a square."""
    return np.array(Image.fromarray(data.astronaut()).convert("L").resize((side, side), 2))


def all_stages(arithmetic, picture, step_px=1):
    """int8: how many stages of the cascade each window passes."""
    (height, width), (rows, columns) = picture.shape, stages_passed(picture, step_px).shape
    area, sizes = np.array([0.0, 0, width, height]), np.array([[height, width]])
    everywhere = np.array([0.0, 0, -1])
    found = arithmetic.windows(
        np.array(picture), area, sizes, everywhere, step_px, 1, 0, *cascade.tables()
    )
    passed = np.zeros((rows, columns), np.int8)
    row, column = ((found[:, [2, 1]] - 12) / step_px).T
    assert (row == row.round()).all() and (column == column.round()).all()
    passed[row.astype(int), column.astype(int)] = found[:, 0]
    return passed


@pytest.mark.parametrize("side", [24, 25, 60, 127])
def test_compiled_loops_pass_the_same_number_of_stages_at_every_window(side):
    picture = shrunk(side)
    for step_px in (1, 2):
        expected = stages_passed(picture, step_px)
        assert expected.shape == ((side - 24) // step_px + 1,) * 2
        assert np.array_equal(expected, stages_passed(picture)[::step_px, ::step_px])
        assert np.array_equal(all_stages(detect_loops, picture, step_px), expected)
        assert np.array_equal(all_stages(detect_arrays, picture, step_px), expected)


@pytest.mark.parametrize("k", [1, 2, 3, 5, 7, 31])
def test_a_reduced_picture_holds_rounded_means_and_its_edges_repeat(k):
    """The mean of n pixels is (sum + n // 2) * (2**24 // n) // 2**24, also of parts of a block."""
    picture = np.random.default_rng(k).integers(0, 256, (61, 89), dtype=np.uint8)
    means = np.empty((-(-61 // k), -(-89 // k)), np.uint8)
    for i, j in np.ndindex(means.shape):
        block = picture[i * k : (i + 1) * k, j * k : (j + 1) * k].astype(np.int64)
        means[i, j] = (block.sum() + block.size // 2) * (2**24 // block.size) >> 24
    for margin in (0, 4):
        expected = np.pad(means, margin, mode="edge")
        assert np.array_equal(detect_arrays.reduced(picture, k, margin), expected)


@pytest.mark.jit("the windows of twelve pictures take minutes")
def test_windows_of_areas_at_several_sizes():
    """Windows near a point, on every level, unless too few stages are passed on the first."""
    rng = np.random.default_rng(5)
    levels = set()
    for _ in range(12):
        picture = shrunk(int(rng.integers(110, 140)))
        picture = picture[: rng.integers(80, 110)]
        height, width = picture.shape
        area = np.array([*rng.uniform(0, 20, 2), rng.uniform(60, width), rng.uniform(60, height)])
        sides = (area[2:] - area[:2])[::-1]
        sizes = np.stack([sides / f for f in (1.2, 0.9, 1.0, 1.44)]).round().astype(np.int64)
        around = np.array([*area.reshape(2, 2).mean(axis=0), rng.choice([-1, 0, 4])])
        for step_px, stop_below in ((1, 0), (2, 0), (1, 7)):
            options = (area, sizes, around, step_px, 2, stop_below, *cascade.tables())
            expected = detect_arrays.windows(picture, *options)
            found = detect_loops.windows(picture, *options)
            assert found.shape == expected.shape and np.allclose(found, expected, rtol=1e-12)
            levels.add((stop_below, len(set(found[:, 3]))))
    assert {(0, 4), (7, 4), (7, 1)} <= levels
