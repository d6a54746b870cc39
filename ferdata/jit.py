"""Compile ferdata's loops with Numba when they are first needed, and keep the compiled code.

It is kept in the folder `kernels` of ferdata's cache (`cache_folder`) by `ground/compiled_code.py`:
if the folder is damaged, read-only or open to others, the loops are compiled again. If Numba is
missing or fails, a fallback in NumPy or SciPy computes the same, and one RuntimeWarning says so.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import logging
import sys
import warnings
from collections.abc import Callable
from typing import Any

from ferdata.files.cache import cache_folder

logger = logging.getLogger("ferdata")

Loops = Callable[..., None]

_warned = False


def compiled(loops: Loops, signature: str, fallback: Loops) -> Loops:
    """`loops` compiled for the arguments of a Numba signature, or `fallback` if Numba fails."""
    try:
        return compile_cached(loops, signature)
    except Exception as error:  # Numba is missing, refuses this NumPy, or cannot compile
        warn_once(error)
        return fallback


def compile_cached(loops: Loops, signature: str) -> Loops:
    """`loops` compiled for these arguments; from the cache if the code is there.

    Raises what Numba raises if it cannot compile them. A cache that fails raises nothing.
    """
    dispatcher: Any = inner_loops(loops)
    if dispatcher is not loops:  # under NUMBA_DISABLE_JIT it is
        with contextlib.suppress(OSError, RuntimeError):  # there is no source, or no home
            dispatcher._cache = _cache(loops)
        dispatcher.compile(signature)
        dispatcher.disable_compile()  # arguments of other types then raise TypeError
    return dispatcher


def inner_loops(loops: Callable) -> Any:
    """`loops`, to be compiled as a part of the loops that call it."""
    import numba

    return numba.njit(nogil=True, error_model="numpy")(loops)


def _cache(loops: Loops) -> Any:
    from tinycnn.ground.compiled_code import CodeCache, CodeFolder

    source = inspect.getsource(sys.modules[loops.__module__])  # also from a zip file
    stamp = hashlib.sha256(source.encode()).hexdigest()
    folders = (cache_folder(), cache_folder() / "kernels")  # the first has faces: private as well
    return CodeCache(loops, CodeFolder(folders, stamp, logger))


def warn_once(error: Exception) -> None:
    """Warn, but only the first time, that fallbacks compute what Numba should, and why."""
    global _warned
    reason = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
    if not _warned:
        _warned = True
        warnings.warn(
            f"ferdata computes with NumPy and SciPy, many times slower: Numba fails ({reason})",
            RuntimeWarning,
            stacklevel=4,
        )
