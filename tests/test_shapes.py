"""Padding arithmetic against counting, and the shared checks of arguments."""

import re

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinycnn.shapes import check_array, check_positive, window_axis

sizes, kernels, strides = st.integers(1, 40), st.integers(1, 50), st.integers(1, 12)


@given(size=sizes, kernel=kernels, stride=strides)
def test_same_padding_equals_counting(size, kernel, stride):
    assert window_axis(size, kernel, stride, "same") == naive.window_axis(
        size, kernel, stride, "same"
    )


@given(size=sizes, kernel=kernels, stride=strides)
def test_valid_padding_equals_counting(size, kernel, stride):
    expected = naive.window_axis(size, kernel, stride, "valid")
    if expected[0]:
        assert window_axis(size, kernel, stride, "valid") == expected
    else:
        message = (
            f"a window of {kernel} does not fit {size} pixels with 'valid' padding; "
            "use a smaller window or padding='same'"
        )
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            window_axis(size, kernel, stride, "valid")


@given(size=sizes, kernel=kernels, stride=strides)
def test_every_same_window_has_a_pixel_and_every_reachable_pixel_a_window(size, kernel, stride):
    n_out, before, after = window_axis(size, kernel, stride, "same")
    windows = [set(range(i * stride - before, i * stride - before + kernel)) for i in range(n_out)]
    assert all(window & set(range(size)) for window in windows)
    assert max(windows[-1]) < size + after
    assert 0 <= after - before <= 1
    if kernel >= stride:
        assert set.union(*windows) >= set(range(size))


@pytest.mark.parametrize(
    "layer, size, kernel, stride, expected",
    [
        # by hand for 84x84: 84/2 = 42, (42-1)*2 + 8 - 84 = 6 -> 3 and 3
        ("conv1", 84, 8, 2, (42, 3, 3)),
        ("pool1", 42, 2, 2, (21, 0, 0)),
        # ceil(21/2) = 11, (11-1)*2 + 4 - 21 = 3 -> 1 and 2
        ("conv2", 21, 4, 2, (11, 1, 2)),
        # ceil(11/2) = 6, (6-1)*2 + 2 - 11 = 1 -> 0 and 1
        ("pool2", 11, 2, 2, (6, 0, 1)),
    ],
)
def test_the_layers_of_microexpnet(layer, size, kernel, stride, expected):
    assert window_axis(size, kernel, stride, "same") == expected


def test_unknown_padding_is_named():
    with pytest.raises(ValueError, match="padding is 'full'; expected one of same, valid"):
        window_axis(5, 3, 1, "full")


@pytest.mark.parametrize("bad", [0, -1, 1.0, True, None, "3", np.float64(2)])
def test_the_error_names_what_is_not_a_positive_whole_number(bad):
    expected = re.escape(f"stride is {bad!r}; expected a whole number of 1 or more")
    with pytest.raises(ValueError, match=expected):
        check_positive(size=1, stride=bad)


def test_positive_whole_numbers_are_accepted():
    check_positive(one=1, large=10**9, numpy=np.int32(3))


def test_an_array_that_fits_is_returned_itself():
    x = np.zeros((3, 84, 84, 1), np.float32)
    assert check_array("x", x, ("N", 84, 84, 1), "f", "floats") is x


def test_the_error_names_what_is_not_an_array():
    with pytest.raises(TypeError, match="x is a list; expected a NumPy array"):
        check_array("x", [1.0], ("N",), "f", "floats")


def test_the_error_names_a_wrong_dtype():
    with pytest.raises(TypeError, match="x has dtype int64; expected floats"):
        check_array("x", np.zeros(2, np.int64), ("N",), "f", "floats")


@pytest.mark.parametrize("shape", [(3,), (3, 4, 1), (3, 5)])
def test_the_error_names_a_wrong_shape(shape):
    with pytest.raises(ValueError, match=re.escape(f"x has shape {shape}; expected (N, 4)")):
        check_array("x", np.zeros(shape), ("N", 4), "f", "floats")


def test_a_vector_is_written_as_a_tuple():
    with pytest.raises(ValueError, match=re.escape("expected (8,)")):
        check_array("b", np.zeros(7), (8,), "f", "floats")
