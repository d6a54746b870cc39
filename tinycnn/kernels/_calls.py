"""Calls compiled functions by their addresses, which the records of operations have.

Numba compiles what a function names as a part of it, once more for each function that names it.
`walk.py` can run every operation, so it would contain the code of all.  It calls an address
instead, which `linking.py` has put into the record.  So a function is compiled once, and only if a
network has an operation that needs it.

Addresses hold for one process.  The code that is kept on the disk contains none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.extending import intrinsic
from numba.np.numpy_support import as_dtype

from ._jit import WITHOUT_JIT, compile_for

_functions: list[Callable] = []
"""Without the JIT, an address is the place of a function in this list, counted from 1."""


class Pass:
    """A kind of functions that all have the same arguments, such as the forward passes.

    example  arguments for a dtype.  What they contain does not matter, but their types do
    call     call(address, arguments), for compiled code;  arguments: a tuple
    """

    def __init__(self, name: str, example: Callable[[np.dtype], tuple[Any, ...]]) -> None:
        self.name, self.example = name, example
        self.call: Any = _call_listed if WITHOUT_JIT else self._make_call()
        self._types: dict[np.dtype, tuple[types.Type, ...]] = {}

    def types(self, dtype: np.dtype) -> tuple[types.Type, ...]:
        """The types of the arguments.  Numba takes a millisecond to find them, so they are kept."""
        if dtype not in self._types:
            self._types[dtype] = tuple(numba.typeof(value) for value in self.example(dtype))
        return self._types[dtype]

    def address(self, function: Any, dtype: np.dtype) -> int:
        """The address of a helper, which is compiled, or loaded from the cache, if it is not yet.
        Raises CompileError."""
        if WITHOUT_JIT:
            if function not in _functions:
                _functions.append(function)
            return _functions.index(function) + 1
        return compile_for(function, self.types(dtype))

    def _make_call(self) -> Any:
        @intrinsic
        def call(typingctx, address, arguments):
            given = tuple(arguments)
            expected = self.types(_dtype_among(given))
            if _layout(given) != _layout(expected):
                raise TypingError(f"arguments of a pass ({self.name}): {given}, not {expected}")

            def codegen(context, builder, sig, args):
                values = [builder.extract_value(args[1], k) for k in range(len(given))]
                convention = context.call_conv
                kind = convention.get_function_type(types.none, expected)
                callee = builder.inttoptr(args[0], ir.PointerType(kind))
                status, _ = convention.call_function(builder, callee, types.none, expected, values)
                with cgutils.if_unlikely(builder, status.is_error):
                    convention.return_status_propagate(builder, status)
                return context.get_dummy_value()

            return types.none(types.int64, arguments), codegen

        return call


def _dtype_among(kinds: tuple[types.Type, ...]) -> np.dtype:
    """The dtype of the first array of floats, which may be in a structure."""
    for kind in kinds:
        for part in getattr(kind, "types", [kind]):
            if isinstance(part, types.Array) and isinstance(part.dtype, types.Float):
                return as_dtype(part.dtype)
    raise TypingError("no array of floats among the arguments of a pass")


def _layout(kind: Any) -> Any:
    """What a call needs to know of a type, or of each type of a structure.  Types with the same
    layout are passed to a function in the same way: constants as numbers, and read-only arrays as
    other arrays."""
    if isinstance(kind, types.Array):
        return kind.dtype, kind.ndim, kind.layout
    parts = kind if isinstance(kind, tuple) else getattr(kind, "types", None)
    return types.unliteral(kind) if parts is None else tuple(map(_layout, parts))


def _call_listed(address: int, arguments: tuple[Any, ...]) -> None:
    _functions[address - 1](*arguments)
