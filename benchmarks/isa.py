"""A narrower vector unit than the host's, as far as the engines can be told.

Most machines have AVX2 and no AVX-512.  An engine is told by its environment, which it reads when
it is imported; what it then really runs on is not asked.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

CHOICES = ("host", "avx2")

AVX2 = {
    # ours: width of the vectors and registers of the tile, and what LLVM may use
    "TINYCNN_TILE": "256:6x2",
    "NUMBA_CPU_NAME": "haswell",  # the first with AVX2 and FMA, and none without
    "NUMBA_CPU_FEATURES": "",  # those of that processor; unset they would be the host's
    # torch; oneDNN within torch and openvino; MKL within torch; XLA within jax
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    # the products of NumPy
    "OPENBLAS_CORETYPE": "Haswell",
}

CANNOT_BE_TOLD = ("litert", "onnxruntime")
"""XNNPACK and MLAS ask the processor and have no switch."""


class NotThisHost(ValueError):
    """The asked instructions are not those of this processor; the message says so."""


def restrain(isa: str) -> None:
    """Set the environment of this process and its children; before an engine is imported.

    Raises NotThisHost for "avx2" on another processor than an x86-64.
    """
    if isa == "host":
        return
    if platform.machine() not in ("x86_64", "AMD64"):
        raise NotThisHost(f"--isa {isa}: this processor is a {platform.machine()}, no x86-64")
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ.update(AVX2)
    os.environ["XLA_FLAGS"] = f"{flags} {AVX2['XLA_FLAGS']}".strip()


def widest() -> str:
    """The widest vectors of this processor: "AVX-512", "AVX2", or "" where that is not known."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""
    return next((n for f, n in (("avx512f", "AVX-512"), (" avx2", "AVX2")) if f in flags), "")


def note(isa: str) -> str:
    """A line for the report; "" for the host's own instructions."""
    if isa == "host":
        return ""
    if widest() == "AVX2":
        return "--isa avx2: this processor has no wider vectors; nothing was restrained"
    names = " and ".join(CANNOT_BE_TOLD)
    return (
        f"--isa avx2: all engines but {names}, which cannot be told and may use more: beside "
        "them the ratio is too low, never too high"
    )
