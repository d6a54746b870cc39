"""ferdata's loops compiled by Numba: when first needed, once for this machine.

Compiled code lies in the folder `kernels` of ferdata's cache (`cache_folder`). Whatever is wrong
with it (unwritable, damaged, of another version or processor) only costs the compilation. It is
pickle: code in a folder that others may write to is neither read nor written. Where
Numba is missing or fails, a twin in NumPy or SciPy does the work, and one RuntimeWarning says so.
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


def compiled(loops: Loops, signature: Callable[[Any], Any], twin: Loops) -> Loops:
    """`loops` as a compiled function of the arguments that signature(numba) names, or `twin`."""
    try:
        import numba

        return compile_cached(loops, signature(numba))
    except Exception as error:  # missing, refused by this NumPy, or unable to compile
        warn_once(error)
        return twin


def compile_cached(loops: Loops, signature: Any) -> Loops:
    """`loops` as a compiled function of these arguments, from the cache where it is there.

    Raises whatever Numba raises, but not for its cache's sake.
    """
    import numba

    reason = why_not_trusted(cache_folder() / "kernels")
    if reason:
        logger.warning("compiled code is not kept in %s: %s", cache_folder() / "kernels", reason)
    for attempt in ("not cached",) if reason else ("cached", "cached anew", "not cached"):
        dispatcher = numba.njit(nogil=True, error_model="numpy")(loops)
        if dispatcher is loops:  # NUMBA_DISABLE_JIT
            return loops
        try:
            if attempt != "not cached":
                dispatcher._cache = _cache(loops)
            if attempt == "cached anew":
                dispatcher._cache.flush()
            dispatcher.compile(signature)
            dispatcher.disable_compile()  # for arguments of other kinds
            break
        except Exception:
            if attempt == "not cached":
                raise
    return dispatcher


def _cache(loops: Loops) -> Any:
    from numba.core import caching

    class Locator(caching._CacheLocator):
        """Tells Numba where compiled code lies, and what it was made of."""

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
    """Say, the first time, that and why twins do the work."""
    global _warned
    reason = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
    if not _warned:
        _warned = True
        warnings.warn(
            f"ferdata computes with NumPy and SciPy, many times slower: Numba fails ({reason})",
            RuntimeWarning,
            stacklevel=4,
        )
