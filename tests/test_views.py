"""Views of flat arrays against NumPy's slices and shapes, compiled and plain."""

import numba
import numpy as np
import pytest
from numba.core.errors import NumbaError

from tinycnn.kernels import _views
from tinycnn.kernels._jit import FLAGS

pytestmark = [pytest.mark.kernels, pytest.mark.jit("as Python, views are slices")]

FLAT = np.arange(60)
NAMES = ["view_1d", "view_2d", "view_3d", "view_4d"]


def compiled(name):
    """The value at a place of a view, the view's shape, and what is written through it."""
    view = getattr(_views, name)
    source = """
def function(flat, start, {0}, value):
    found = view(flat, start, {0})
    if found.size:
        found[{1}] = value
    return found.shape, found.size, found.sum()
"""
    n_axes = int(name[5])
    axes = ", ".join("KLMN"[:n_axes])
    last = ", ".join(f"{axis} - 1" for axis in "KLMN"[:n_axes])
    scope = {"view": view}
    exec(source.format(axes, last), scope)
    return numba.njit(**{**FLAGS, "_nrt": True})(scope["function"])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int32, np.uint8])
@pytest.mark.parametrize("start", [0, 7])
@pytest.mark.parametrize("shape", [(5,), (0,), (3, 5), (1, 7), (2, 3, 5), (2, 0, 3), (2, 1, 3, 5)])
def test_a_view_is_the_part_with_that_shape(shape, start, dtype):
    flat, expected = FLAT.astype(dtype), FLAT.astype(dtype)
    part = expected[start : start + np.prod(shape)].reshape(shape)
    if part.size:
        part[tuple(length - 1 for length in shape)] = 90
    found = compiled(NAMES[len(shape) - 1])(flat, start, *shape, 90)
    assert found == (shape, part.size, part.sum())
    np.testing.assert_array_equal(flat, expected)


def test_a_flat_view_has_all_elements_in_their_order():
    last = numba.njit(lambda x: _views.flat_view(x)[-2])
    array = FLAT.reshape(3, 4, 5).astype(np.float32)
    assert last(array) == 58 and last(array[1]) == 38 and last(FLAT) == 58
    with pytest.raises(NumbaError):
        last(array[:, :, 1])


def test_read_only_arrays_have_read_only_views():
    flat = FLAT.copy()
    flat.flags.writeable = False
    assert numba.njit(lambda x: _views.view_2d(x, 6, 2, 3)[1, 2])(flat) == 11
    with pytest.raises(NumbaError, match="Cannot modify readonly array"):
        compiled("view_2d")(flat, 0, 2, 3, 1)


@pytest.mark.parametrize("name", NAMES)
def test_a_plain_view_beyond_the_end_is_an_error(name):
    """Runs with bounds checks use these."""
    plain, shape = getattr(_views, f"{name}_plain"), (2,) * int(name[5])
    assert plain(FLAT, 60 - np.prod(shape), *shape).shape == shape
    with pytest.raises(ValueError, match="reshape"):
        plain(FLAT, 61 - np.prod(shape), *shape)
