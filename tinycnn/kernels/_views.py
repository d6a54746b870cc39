"""Parts of flat arrays, with a shape: what slicing and reshaping give, without their checks.

Numba takes 60 ms to compile one `flat[start : start + n].reshape(shape)`, because it allows for
every start, stop and shape.  A network's kernels have hundreds of these, all within their arrays.
The views here take a quarter of that.  Runs with bounds checks use slices (see `TILE.plain`).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._jit import TILE, inline_helper
from ._simd import INTP, element, intp


def _view(context: Any, builder: ir.IRBuilder, sig: Any, args: list[ir.Value]) -> ir.Value:
    """An array of the type that the call returns.  args: a C-contiguous array, the number of the
    element with which the view begins, and its shape."""
    base, view_type = sig.args[0], sig.return_type
    start, *shape = (
        context.cast(builder, value, kind, INTP) for value, kind in zip(args[1:], sig.args[1:])
    )
    itemsize = intp(context.get_abi_sizeof(context.get_data_type(view_type.dtype)))
    strides = [itemsize]
    for length in shape[:0:-1]:
        strides.insert(0, builder.mul(strides[0], length))
    view = context.make_array(view_type)(context, builder)
    context.populate_array(
        view,
        data=element(context, builder, base, args[0], start),
        shape=cgutils.pack_array(builder, shape),
        strides=cgutils.pack_array(builder, strides),
        itemsize=itemsize,
        meminfo=None,
    )
    return view._getvalue()


# Four of one kind, because an intrinsic with a variable number of arguments does not compile.


@intrinsic
def _view_1d(typingctx, flat, start, n):
    return _view_type(flat, 1)(flat, start, n), _view


@intrinsic
def _view_2d(typingctx, flat, start, n_rows, n_columns):
    return _view_type(flat, 2)(flat, start, n_rows, n_columns), _view


@intrinsic
def _view_3d(typingctx, flat, start, K, L, M):
    return _view_type(flat, 3)(flat, start, K, L, M), _view


@intrinsic
def _view_4d(typingctx, flat, start, K, L, M, N):
    return _view_type(flat, 4)(flat, start, K, L, M, N), _view


@intrinsic
def _flat_view(typingctx, array):
    if not isinstance(array, types.Array) or array.layout != "C":
        return None

    def codegen(context, builder, sig, args):
        size = context.make_array(array)(context, builder, args[0]).nitems
        whole = sig.return_type(array, INTP, INTP)
        return _view(context, builder, whole, [args[0], intp(0), size])

    return _view_type(array, 1)(array), codegen


def _view_type(array: types.Array, n_axes: int) -> types.Array:
    return types.Array(array.dtype, n_axes, "C", readonly=not array.mutable)


def view_1d_plain(flat, start, n):
    """An array (n,) that begins at flat[start]."""
    return flat[start : start + n].reshape((n,))  # an error if it goes beyond the end


def view_2d_plain(flat, start, n_rows, n_columns):
    """A matrix (n_rows, n_columns) that begins at flat[start]."""
    return flat[start : start + n_rows * n_columns].reshape((n_rows, n_columns))


def view_3d_plain(flat, start, K, L, M):
    """An array (K, L, M) that begins at flat[start]."""
    return flat[start : start + K * L * M].reshape((K, L, M))


def view_4d_plain(flat, start, K, L, M, N):
    """An array (K, L, M, N) that begins at flat[start]: pictures or a convolution's weights."""
    return flat[start : start + K * L * M * N].reshape((K, L, M, N))


def flat_view_plain(array):
    """The elements of a C-contiguous array in one row."""
    return array.reshape(-1)


view_1d: Any = inline_helper(view_1d_plain) if TILE.plain else _view_1d
view_2d: Any = inline_helper(view_2d_plain) if TILE.plain else _view_2d
view_3d: Any = inline_helper(view_3d_plain) if TILE.plain else _view_3d
view_4d: Any = inline_helper(view_4d_plain) if TILE.plain else _view_4d
flat_view: Any = inline_helper(flat_view_plain) if TILE.plain else _flat_view
