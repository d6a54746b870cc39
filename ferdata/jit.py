"""Compile ferdata's loops with Numba when they are first needed, and keep the compiled code.

It is kept in the folder `kernels` of ferdata's cache (`cache_folder`). If that cannot be used (not
writable, damaged, of another version or processor) the loops are compiled again. Numba stores code
as pickle, so a folder that others may write to is neither read nor written. If Numba is missing or
fails, a fallback in NumPy or SciPy computes the same, and one RuntimeWarning says so.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ferdata.cache import cache_folder
from tinycnn.ground.trust import why_not_trusted

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
    import numba

    reason = why_not_trusted(cache_folder() / "kernels")
    if reason:
        logger.warning("compiled code is not kept in %s: %s", cache_folder() / "kernels", reason)
    for attempt in ("not cached",) if reason else ("cached", "cleared cache", "not cached"):
        dispatcher: Any = numba.njit(nogil=True, error_model="numpy")(loops)  # for its `_cache`
        if dispatcher is loops:  # NUMBA_DISABLE_JIT
            return loops
        try:
            if attempt != "not cached":
                dispatcher._cache = _cache(loops)
            if attempt == "cleared cache":
                dispatcher._cache.flush()
            dispatcher.compile(signature)
            dispatcher.disable_compile()  # arguments of other types then raise TypeError
            break
        except Exception:
            if attempt == "not cached":
                raise
    return dispatcher


def _cache(loops: Loops) -> Any:
    from numba.core import caching

    class Locator(caching._CacheLocator):
        """Tells Numba where compiled code is kept, and from which source it was compiled."""

        def __init__(self, function: Loops, path: str) -> None:
            self.stamp = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            self.line = function.__code__.co_firstlineno

        def get_cache_path(self) -> str:
            return str(cache_folder() / "kernels")

        def ensure_cache_path(self) -> None:
            Path(self.get_cache_path()).mkdir(mode=0o700, parents=True, exist_ok=True)
            super().ensure_cache_path()

        def get_source_stamp(self) -> str:
            return self.stamp

        def get_disambiguator(self) -> str:
            return str(self.line)

        @classmethod
        def from_function(cls, function: Loops, path: str) -> Locator:
            return cls(function, path)

    class Files(caching.CompileResultCacheImpl):
        _locator_classes = [Locator]

    class Cache(caching.FunctionCache):
        _impl_class = Files

    return Cache(loops)


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
