"""The inner loops become vector multiply-adds in ARM assembly, and with them QEMU's ARM processor
computes the reference's numbers.  They were never run on an ARM machine."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tinycnn

pytest.importorskip("numba", reason="kernels need numba")
SCRIPT = Path(__file__).parent / "neon_assembly.py"
SHAPES = {"float32": "v.4s", "float64": "v.2d"}


def run_as_arm_host(script, *arguments, cache):
    """What a script prints that compiles for ARM, with the settings of an ARM host."""
    settings = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
    settings["TINYCNN_TILE"] = "128:6x2"  # the tile that `choose_tile` gives without AVX
    settings["TINYCNN_CACHE_DIR"] = str(cache)
    settings["PYTHONPATH"] = str(Path(tinycnn.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        env=settings,
        capture_output=True,
        text=True,
        timeout=600,
    )
    if "No available targets" in done.stderr:
        pytest.skip("this LLVM has no AArch64 back end")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    cache, known = tmp_path_factory.mktemp("cache"), {}

    def count(name, dtype):
        if (name, dtype) not in known:
            # code from a cache has no IR, so each run has its own empty cache
            printed = run_as_arm_host(SCRIPT, name, dtype, cache=cache / f"{name}-{dtype}")
            known[name, dtype] = json.loads(printed)
        return known[name, dtype]

    return count


@pytest.mark.parametrize("dtype", SHAPES)
def test_the_tile_uses_vector_multiply_adds(counted, dtype):
    """At least one for each of the 6 x 2 accumulators; no vector product that is not fused."""
    found = counted("multiply_add", dtype)
    assert found[f"fmla {SHAPES[dtype]}"] >= 12
    assert f"fmul {SHAPES[dtype]}" not in found and f"fadd {SHAPES[dtype]}" not in found


def test_sums_over_winners_use_vector_multiply_adds(counted):
    found = counted("add_winners", "float32")
    assert found["fmla v.4s"] >= 6
    assert "fmul v.4s" not in found


RUN_HERE = (
    *("dense_forward", "dense_backward_params", "conv2d_forward", "conv2d_backward_params"),
    *("maxpool2d_forward", "maxpool2d_backward", "depthwise_conv2d_3x3_forward"),
    *("conv2d_winograd_forward, more", "conv2d_winograd_3x3_forward, m = 4"),
    *("batch_norm_moments", "batch_norm_forward", "batch_norm_backward_input", "adam_update"),
)
"""Kernels of the test; `python tests/neon_run.py` runs more of them."""
FLOAT32_SUMS = 1e-6
"""For some hundred additions in another order, as the largest difference over the largest value."""
WINOGRAD_SUMS = 1e-5
"""The same for Winograd's algorithm, as everywhere in this project."""


def test_kernels_in_arm_code_agree_with_the_reference(tmp_path):
    missing = [tool for tool in ("aarch64-linux-gnu-gcc", "qemu-aarch64") if not shutil.which(tool)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    script = SCRIPT.with_name("neon_run.py")
    printed = run_as_arm_host(script, *RUN_HERE, cache=tmp_path)
    errors = {name: e for line in printed.splitlines() for name, e in json.loads(line).items()}
    assert list(errors) == list(RUN_HERE)
    for name, error in errors.items():
        assert error < (WINOGRAD_SUMS if "winograd" in name else FLOAT32_SUMS), errors
