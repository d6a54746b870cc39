"""Which backend computes: the Numba kernels, or NumPy.

    "auto"   the kernels; where Numba is missing or fails, NumPy, with one RuntimeWarning a process
    "numba"  the kernels, or the error that tells why they cannot be used
    "numpy"  the reference, without Numba

The environment variable TINYCNN_BACKEND says what "auto" means, where it is set.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

BACKENDS = ("auto", "numba", "numpy")

Made = TypeVar("Made")

_lock = threading.Lock()
_failed = False


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def check_backend(backend: str) -> str:
    """`backend`, or ValueError for what is no name of one."""
    if backend not in BACKENDS:
        raise ValueError(f"backend is {backend!r}; expected one of {', '.join(BACKENDS)}")
    return backend


def backend_in_use(backend: str) -> str:
    """What `backend` stands for at this moment: "numba" or "numpy"."""
    meant = _meant(backend)
    if meant == "auto":
        return "numpy" if _failed else "numba"
    return meant


def _meant(backend: str) -> str:
    if check_backend(backend) != "auto":
        return backend
    named = os.environ.get("TINYCNN_BACKEND") or "auto"
    if named not in BACKENDS:
        raise ValueError(f"TINYCNN_BACKEND={named!r}: expected one of {', '.join(BACKENDS)}")
    return named


def either(backend: str, kernels: Callable[[], Made], numpy: Callable[[], Made]) -> Made:
    """kernels(), or numpy() where `backend` says so.

    Once a kernel cannot be imported or compiled, "auto" is NumPy for the rest of the process.
    kernels() must then have changed nothing that numpy() reads.
    """
    meant = _meant(backend)
    if meant == "numba":
        return kernels()
    if meant == "auto" and not _failed:
        try:
            return kernels()
        except ImportError as error:
            _use_numpy(error)
        except RuntimeError as error:
            from .kernels._jit import CompileError

            if not isinstance(error, CompileError):
                raise
            _use_numpy(error)
    return numpy()


def _use_numpy(error: Exception) -> None:
    """Remember that kernels fail, and say so once."""
    global _failed
    with _lock:
        known, _failed = _failed, True
    if not known:
        warnings.warn(
            f"tinycnn computes with NumPy, many times slower than with its kernels: {error}. "
            'Mend Numba, or ask for backend="numpy" (TINYCNN_BACKEND=numpy) to be spared this '
            "warning",
            RuntimeWarning,
            stacklevel=2,
        )


class Operations:
    """Functions on arrays by name: the kernels of the modules that `import_kernels` returns, or
    their twins of `tinycnn.reference`."""

    def __init__(self, backend: str, import_kernels: Callable[[], tuple[Any, ...]]) -> None:
        self._backend = check_backend(backend)
        self._import_kernels = import_kernels

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("_"):
            raise AttributeError(name)
        from . import reference

        twin = getattr(reference, name)
        found = either(self._backend, partial(self._kernel, name), lambda: twin)
        if found is not twin and _meant(self._backend) == "auto":
            kernel = found

            def found(*args: Any) -> None:
                either(self._backend, lambda: kernel(*args), lambda: twin(*args))

        setattr(self, name, found)
        return found

    def _kernel(self, name: str) -> Callable[..., None]:
        return next(
            getattr(module, name) for module in self._import_kernels() if hasattr(module, name)
        )
