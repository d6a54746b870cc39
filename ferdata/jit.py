"""Compile ferdata's loops with Numba when they are first needed, and keep the compiled code.

It is kept in the folder `kernels` of ferdata's cache (`cache_folder`) by `ground/compiled_code.py`:
if the folder is damaged, read-only or open to others, the loops are compiled again. A fallback in
NumPy computes the same: for the first work of a process (`WARP`, `PHOTOS`), and if Numba is missing
or fails; then one RuntimeWarning says so.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ferdata.files.cache import cache_folder
from tinycnn.ground.compiler_process import Compiler
from tinycnn.ground.kept_code import KeptCode
from tinycnn.ground.log_messages import tell
from tinycnn.ground.numpy_first import NumpyFirst

if TYPE_CHECKING:
    from tinycnn.ground.compiled_code import CodeFolder

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
        folder = cache_folder()
        with contextlib.suppress(OSError):  # there is no source
            if folder is not None:
                dispatcher._cache = _cache(loops, folder)
        dispatcher.compile(signature)
        dispatcher.disable_compile()  # arguments of other types then raise TypeError
    return dispatcher


def inner_loops(loops: Callable) -> Any:
    """`loops`, to be compiled as a part of the loops that call it."""
    import numba

    return numba.njit(nogil=True, error_model="numpy")(loops)


def _cache(loops: Loops, place: Path) -> Any:
    from tinycnn.ground.compiled_code import CodeCache, CodeFolder

    source = inspect.getsource(sys.modules[loops.__module__])  # also from a zip file
    stamp = hashlib.sha256(source.encode()).hexdigest()
    folders = (place, place / "kernels")  # the first has faces: private as well
    folder = CodeFolder(folders, stamp, logger, "FERDATA_CACHE_DIR")
    return CodeCache(loops, folder, lambda name: _announce(folder))


_announced = False


def _announce(folder: CodeFolder) -> None:
    """Say once that compiling has begun."""
    global _announced
    if not _announced:
        _announced = True
        from tinycnn.ground.compiled_code import warn_if_not_kept

        kept = "" if warn_if_not_kept(folder) else f", then kept in {folder.folders[-1]}"
        tell("ferdata", f"compiling loops, which takes up to {COMPILING_S:.0f} s{kept}")


LOADING_S = 0.3
"""Seconds to import Numba and to load the loops from the cache, as measured."""

WARP_S, COMPILING_S = 2.5, 6.0
"""Seconds to compile the loop that warps images, and all loops, as measured."""


def _numpy_first(code: KeptCode, function: str, about: str, seconds: float) -> NumpyFirst:
    return NumpyFirst(code, Compiler(code, function, "", about, seconds), LOADING_S, seconds)


WARP = _numpy_first(
    KeptCode("ferdata", ("ferdata",), "warp"),
    "ferdata.warp:compile_warp",
    "the loop of ferdata that warps images",
    WARP_S,
)
PHOTOS = _numpy_first(
    KeptCode("ferdata", ("ferdata", "ferdata.photos"), "loops"),
    "ferdata.photos.compiled_loops:compile_loops",
    "the loops of ferdata",
    COMPILING_S,
)
"""When NumPy does the work of the loops: until they are loaded.  WARP: of the loop that warps
images, which training needs; PHOTOS: of all loops, which search photos for faces, too."""


def note_kept(loops: NumpyFirst) -> None:
    """Note in the cache that it has these loops."""
    folder = cache_folder()
    if folder is not None:
        loops.code.note(folder / "kernels")


def warn_once(error: Exception) -> None:
    """Warn, but only the first time, that fallbacks compute what Numba should, and why."""
    global _warned
    reason = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
    if not _warned:
        _warned = True
        warnings.warn(
            f"ferdata computes with NumPy, many times slower: Numba fails ({reason})",
            RuntimeWarning,
            stacklevel=4,
        )
