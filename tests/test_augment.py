"""Augmentation: checked with rotations and shifts that move pixels exactly."""

import numpy as np
import pytest

from ferdata.augment import Augmentation, affine_matrices
from ferdata.warp import resize_images, warp_images


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (1, 9, 9), dtype=np.uint8)


def changed(image, size=9, shift=(0, 0), angle=0.0, scale=1.0, mirrored=False):
    matrices = affine_matrices(
        np.array([shift], dtype=float),
        np.array([np.deg2rad(angle)]),
        np.array([scale]),
        np.array([mirrored]),
        *image.shape[1:],
        size,
    )
    return warp_images(image, matrices, size)[0]


def test_without_any_change_it_is_a_resize(image):
    for size in (9, 20):
        np.testing.assert_array_equal(changed(image, size), resize_images(image, size)[0])


def test_mirror_image(image):
    np.testing.assert_array_equal(changed(image, mirrored=True), image[0, :, ::-1])
    enlarged = resize_images(image, 18)[0].astype(int)
    assert np.abs(changed(image, 18, mirrored=True) - enlarged[:, ::-1]).max() <= 1


def test_quarter_turn_is_counter_clockwise(image):
    np.testing.assert_array_equal(changed(image, angle=90), np.rot90(image[0]))


def test_shift_is_down_and_right_and_repeats_the_edge(image):
    out = changed(image, shift=(2, 3))
    np.testing.assert_array_equal(out[2:, 3:], image[0, :-2, :-3])
    np.testing.assert_array_equal(out[0, 3:], image[0, 0, :-3])


def test_shift_is_in_output_pixels(image):
    plain, moved = resize_images(image, 27)[0], changed(image, 27, shift=(0, 4))
    assert np.abs(moved[:, 4:].astype(int) - plain[:, :-4]).max() <= 1


def test_scale_enlarges_about_the_centre():
    image = np.zeros((1, 41, 41), dtype=np.uint8)
    image[0, 15:26, 15:26] = 255  # 11 pixels wide in the middle
    for scale, n_expected in ((2.0, 22), (0.5, 5.5)):
        middle = changed(image, 41, scale=scale)[20].astype(float)
        assert abs(middle.sum() / 255 - n_expected) <= 1
        np.testing.assert_array_equal(middle, middle[::-1])


def test_mirror_comes_before_shift_and_turn(image):
    both = changed(image, shift=(1, 2), angle=90, mirrored=True)
    turned = np.rot90(image[0, :, ::-1])
    np.testing.assert_array_equal(both[1:, 2:], turned[:-1, :-2])


def test_random_values_stay_within_their_ranges_and_fill_them():
    augment = Augmentation(shift_px=3, rotation_deg=20, scale=(0.8, 1.25), flip=True)
    n, size = 4000, 48
    back = augment.matrices(np.random.default_rng(0), n, size, size, size)
    linear = back[:, :, :2]
    determinant = np.linalg.det(linear)
    assert 0.45 < (determinant < 0).mean() < 0.55  # half of the images are mirrored
    scale = np.abs(determinant) ** -0.5
    assert 0.8 <= scale.min() < 0.81 and 1.24 < scale.max() <= 1.25
    angle = np.rad2deg(np.arctan2(linear[:, 0, 1], linear[:, 0, 0]))
    assert -20 <= angle.min() < -19.5 and 19.5 < angle.max() <= 20
    # The centre m of the source appears at m + shift in the output.
    middle = np.full((n, 2, 1), (size - 1) / 2)
    shift = np.linalg.solve(linear, middle - back[:, :, 2:]) - middle
    assert -3 <= shift.min() < -2.9 and 2.9 < shift.max() <= 3


def test_same_generator_same_changes():
    augment = Augmentation()
    one, two, other = (
        augment.matrices(np.random.default_rng(seed), 5, 48, 48, 84) for seed in (7, 7, 8)
    )
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()


def test_switching_flip_off_changes_nothing_else():
    with_flip = Augmentation(flip=True).matrices(np.random.default_rng(1), 50, 48, 48, 84)
    without = Augmentation(flip=False).matrices(np.random.default_rng(1), 50, 48, 48, 84)
    kept = np.linalg.det(with_flip[:, :, :2]) > 0
    assert 0 < kept.sum() < 50 and (np.linalg.det(without[:, :, :2]) > 0).all()
    np.testing.assert_array_equal(with_flip[kept], without[kept])


@pytest.mark.parametrize(
    "settings, message",
    [
        (dict(shift_px=-1), "shift_px: expected 0 or more, found -1"),
        (dict(rotation_deg=float("nan")), "rotation_deg: expected 0 or more, found nan"),
        (dict(scale=1.1), r"scale: expected \(smallest, largest\), found 1.1"),
        (dict(scale=(1.1, 0.9)), "scale: expected 0.01 <= smallest <= largest"),
        (dict(scale=(0.0, 1.0)), "scale: expected 0.01 <= smallest"),
        (dict(scale=(0.9, 1.0, 1.1)), r"scale: expected \(smallest, largest\)"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**settings)


def test_strength_is_a_factor_of_the_ranges():
    assert Augmentation.of_strength(1.0) == Augmentation()
    half = Augmentation.of_strength(0.5)
    assert (half.shift_px, half.rotation_deg, half.flip) == (2.5, 5.0, True)
    assert half.scale == pytest.approx((0.95, 1.05))
    assert Augmentation.of_strength(0) == Augmentation(0.0, 0.0, (1.0, 1.0))
    for wrong in (-0.1, 9.1, np.nan):
        with pytest.raises(ValueError, match="strength: expected 0 to 9"):
            Augmentation.of_strength(wrong)
