"""Restricts the engines to AVX2, to measure on an AVX-512 machine what most machines have.

ISA: instruction set architecture.  Engines are restricted by environment variables that they read
when they are imported.  Nothing checks which instructions they really use.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

CHOICES = ("host", "avx2")

AVX2 = {
    # tinycnn: vector width and size of the register tile, and what LLVM may use
    "TINYCNN_TILE": "256:6x2",
    "NUMBA_CPU_NAME": "haswell",  # the first processor with AVX2; it has no AVX-512
    "NUMBA_CPU_FEATURES": "",  # not set, Numba would add the host's features
    # torch; oneDNN in torch and openvino; MKL in torch; XLA in jax
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    # matrix products of NumPy
    "OPENBLAS_CORETYPE": "Haswell",
}

CANNOT_RESTRICT = ("litert", "onnxruntime")
"""Their kernels (XNNPACK, MLAS) ask the processor, and no variable changes that."""


class NotThisHost(ValueError):
    """This processor does not have the instructions; the message says so."""


def restrict(isa: str) -> None:
    """Set the environment of this process and its children.  Call it before an engine is imported.

    Raises NotThisHost for "avx2" on a processor other than x86-64.
    """
    if isa == "host":
        return
    if platform.machine() not in ("x86_64", "AMD64"):
        raise NotThisHost(f"--isa {isa}: this processor is {platform.machine()}; expected x86-64")
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ.update(AVX2)
    os.environ["XLA_FLAGS"] = f"{flags} {AVX2['XLA_FLAGS']}".strip()


def widest() -> str:
    """The widest vectors of this processor: "AVX-512", "AVX2", or "" if neither or unknown."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""
    return next((n for f, n in (("avx512f", "AVX-512"), (" avx2", "AVX2")) if f in flags), "")


def note(isa: str) -> str:
    """A line for the report; "" if nothing was restricted on purpose."""
    if isa == "host":
        return ""
    if widest() == "AVX2":
        return "--isa avx2: this processor has no wider vectors, nothing was restricted"
    names = " and ".join(CANNOT_RESTRICT)
    return (
        f"--isa avx2: all engines except {names}, which cannot be restricted; if they use AVX-512, "
        "our ratio to them is too low, never too high"
    )
