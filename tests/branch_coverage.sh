#!/usr/bin/env bash
# Branch coverage of tinycnn and ferdata, kernels counted on the plain twin with the JIT off:
#     tests/branch_coverage.sh [least percent]        (default: 95)
# First the whole suite with the JIT on, its child processes counted too, from an empty kernel cache:
# what makes LLVM code runs while kernels are compiled.  Then the kernels' own tests as Python, with
# a few examples each.  About 25 minutes on a core.
set -euo pipefail
cd "$(dirname "$0")/.."
least=${1:-95}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export COVERAGE_FILE=$folder/coverage TINYCNN_CACHE_DIR=$folder/kernels
examine() { coverage run -p -m pytest -q -p no:cacheprovider "$@"; }

# These look at what a child process writes, and one that is counted writes that down.
TINYCNN_TEST_EXAMPLES=10 examine \
    --deselect tests/test_embedding.py::test_nothing_of_the_program_is_touched \
    --deselect tests/test_jit_cache.py::test_a_full_disk_costs_a_compile_and_a_log_line

python - <<'PYTHON' >"$folder/kernel_tests"
import sys
from pathlib import Path

sys.path.insert(0, "tests")
from conftest import imports_kernels

# About processes, caches, compiled code and speed, not about what kernels compute.
others = "benchmarks embedding jit_cache neon parallel sweep_scale tile".split()
for path in sorted(Path("tests").glob("test_*.py")):
    if imports_kernels(path.read_text(encoding="utf-8")):
        if path.stem.removeprefix("test_") not in others:
            print(path)
PYTHON
mapfile -t kernels <"$folder/kernel_tests"
NUMBA_DISABLE_JIT=1 TINYCNN_TILE=plain TINYCNN_TEST_EXAMPLES=2 examine \
    "${kernels[@]}" tests/test_distillation.py tests/test_warp.py

coverage combine -q
coverage report --show-missing --skip-covered --fail-under="$least"
