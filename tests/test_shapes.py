"""Padding arithmetic against counting, and the shared checks of arguments."""

import re

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinycnn.shapes import (
    check_array,
    check_kind,
    check_positive,
    check_window_padding,
    python_number,
    window_axis,
)

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


@given(size=sizes, kernel=kernels, stride=strides, sides=st.tuples(st.integers(0, 9), sizes))
def test_explicit_padding_equals_counting(size, kernel, stride, sides):
    """A window may begin at any multiple of the stride, as long as it ends on the padded pixels."""
    padded = size + sum(sides)
    n_out = sum(begin + kernel <= padded for begin in range(0, padded, stride))
    if n_out:
        assert window_axis(size, kernel, stride, sides) == (n_out, *sides)
    else:
        message = f"a window of {kernel} does not fit {padded} pixels with {sides} padding"
        with pytest.raises(ValueError, match=re.escape(message)):
            window_axis(size, kernel, stride, sides)


@pytest.mark.parametrize("padding", ["same", "valid", ((1, 2), (3, 4)), ((0, 0), (0, 0))])
def test_paddings_of_a_layer_that_are_accepted(padding):
    assert check_window_padding(padding) == padding


def test_padding_is_kept_as_integers_of_python():
    sides = check_window_padding([np.array([1, 2], np.int32), [np.uint8(3), 4]])
    assert sides == ((1, 2), (3, 4))
    assert {type(side) for pair in sides for side in pair} == {int}


def test_an_unknown_name_of_a_padding_is_refused():
    with pytest.raises(ValueError, match="^padding is 'full'; expected one of same, valid$"):
        check_window_padding("full")


@pytest.mark.parametrize(
    "bad",
    [
        *(3, None, (1, 2), ((1, 2),), ((1, 2), (3, 4), (5, 6)), ((1, 2), 3)),
        *(((-1, 2), (3, 4)), ((1, -1), (3, 4)), ((1, 2), (-1, 4)), ((1, 2), (3, -1))),
        *(((1.0, 2), (3, 4)), ((1, 2), (3, True)), ((1, "2"), (3, 4)), ((1, 2), (None, 4))),
    ],
)
def test_padding_that_is_not_four_numbers_of_pixels_is_refused(bad):
    message = (
        f"padding is {bad!r}; expected one of same, valid, or ((top, bottom), (left, right)) "
        "in pixels"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        check_window_padding(bad)


@pytest.mark.parametrize(
    "value",
    [
        *(2.5, 2, np.float16(2.5), np.float32(2.5), np.int8(2), np.uint16(2)),
        *(np.array(2.5), np.array([2.5]), np.array([[2]])),
    ],
)
def test_one_number_becomes_a_float_of_python(value):
    number = python_number("the loss", value)
    assert type(number) is float and number == (2 if np.asarray(value).dtype.kind != "f" else 2.5)


def test_a_float64_of_numpy_becomes_a_float_of_python():
    assert type(python_number("the loss", np.float64(0.5))) is float


@pytest.mark.parametrize("bad", [None, "2.5", True, 2j, [], [1.0, 2.0], np.array([1.0, 2.0])])
def test_what_is_not_one_number_is_named(bad):
    message = f"^the loss is {re.escape(repr(bad))}; expected a number$"
    with pytest.raises(TypeError, match=message):
        python_number("the loss", bad)


def test_an_object_of_the_kind_or_of_a_kind_derived_from_it_is_accepted():
    for value in (3, True):
        check_kind("n", value, int, "a whole number")


def test_a_class_in_the_place_of_an_object_is_told_apart():
    message = "n is the class bool; expected a whole number: bool()"
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        check_kind("n", bool, int, "a whole number")


@pytest.mark.parametrize("bad", ["3", str, 3.0])
def test_the_error_names_an_object_of_another_kind(bad):
    message = f"n is {bad!r}; expected a whole number"
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        check_kind("n", bad, int, "a whole number")


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


def test_the_error_names_an_array_with_masked_values():
    masked = np.ma.masked_array(np.zeros(2), mask=[False, True])
    with pytest.raises(TypeError, match="^x has masked values, and every value would be used"):
        check_array("x", masked, ("N",), "f", "floats")


@pytest.mark.parametrize("shape", [(3,), (3, 4, 1), (3, 5)])
def test_the_error_names_a_wrong_shape(shape):
    with pytest.raises(ValueError, match=re.escape(f"x has shape {shape}; expected (N, 4)")):
        check_array("x", np.zeros(shape), ("N", 4), "f", "floats")


def test_a_vector_is_written_as_a_tuple():
    with pytest.raises(ValueError, match=re.escape("expected (8,)")):
        check_array("b", np.zeros(7), (8,), "f", "floats")
