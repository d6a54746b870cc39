"""The choice of a backend: the Numba kernels or the NumPy reference.

    "auto"   the kernels; NumPy where Numba is missing or fails, with one RuntimeWarning a process,
             and for the first predictions of a network (`first_predictions.py`)
    "numba"  the kernels; where they cannot be used, the error that says why
    "numpy"  the reference, without Numba

If the environment variable TINYCNN_BACKEND is set, "auto" means what it says.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

BACKENDS = ("auto", "numba", "numpy")

FromKernels = TypeVar("FromKernels")
FromNumPy = TypeVar("FromNumPy")

Operation = Callable[..., None]  # it writes its results into arrays among its arguments

_failures: list[Exception] = []
"""Why kernels cannot be used in this process; empty while they can."""


def check_backend(backend: str) -> str:
    """Return `backend`.  Raises ValueError if it is not one of BACKENDS."""
    if backend not in BACKENDS:
        raise ValueError(f"backend is {backend!r}; expected one of {', '.join(BACKENDS)}")
    return backend


def backend_in_use(backend: str) -> str:
    """The backend, "numba" or "numpy", that `backend` selects at this moment."""
    selected = _selected(backend)
    if selected == "auto":
        return "numpy" if _failures else "numba"
    return selected


def is_auto_with_kernels(backend: str) -> bool:
    """Whether `backend` is "auto", and means the kernels."""
    return _selected(backend) == "auto" and not _failures


def _selected(backend: str) -> str:
    """`backend`, with "auto" replaced by TINYCNN_BACKEND where that is set."""
    if check_backend(backend) != "auto":
        return backend
    named = os.environ.get("TINYCNN_BACKEND") or "auto"
    if named not in BACKENDS:
        raise ValueError(f"TINYCNN_BACKEND={named!r}: expected one of {', '.join(BACKENDS)}")
    return named


def either(
    backend: str, kernels: Callable[[], FromKernels], numpy: Callable[[], FromNumPy]
) -> FromKernels | FromNumPy:
    """Return kernels() or numpy(), as `backend` selects.

    After the first kernel that cannot be imported or compiled, "auto" means NumPy for the rest of
    the process.  A kernels() that fails so must not have changed what numpy() reads.
    """
    selected = _selected(backend)
    if selected == "numba":
        return kernels()
    if selected == "auto" and not _failures:
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
    """Remember that kernels fail.  Of several threads that find this out, the first one warns."""
    _failures.append(error.with_traceback(None))
    if _failures[0] is error:
        warnings.warn(
            f"tinycnn computes with NumPy, many times slower than with its kernels: {error}. "
            "Repair Numba, or silence this warning with TINYCNN_BACKEND=numpy",
            RuntimeWarning,
            stacklevel=2,
        )


class Operations:
    """Its attributes are operations: kernels, or the functions of the same names in
    `tinycnn.reference`.  import_kernels: returns the modules that have the kernels."""

    def __init__(self, backend: str, import_kernels: Callable[[], tuple[ModuleType, ...]]) -> None:
        self._backend = check_backend(backend)
        self._import_kernels = import_kernels

    def __getattr__(self, name: str) -> Operation:
        if name.startswith("_"):
            raise AttributeError(name)
        from . import reference

        in_numpy: Operation = getattr(reference, name)
        kernel = either(self._backend, lambda: self._kernel(name), lambda: in_numpy)

        def kernel_or_numpy(*args: Any) -> None:  # a kernel is compiled when it is first called
            either(self._backend, lambda: kernel(*args), lambda: in_numpy(*args))

        may_fail = kernel is not in_numpy and _selected(self._backend) == "auto"
        operation = kernel_or_numpy if may_fail else kernel
        setattr(self, name, operation)
        return operation

    def _kernel(self, name: str) -> Operation:
        modules = map(vars, self._import_kernels())
        return next(functions[name] for functions in modules if name in functions)
