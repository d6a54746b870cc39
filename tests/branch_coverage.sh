#!/usr/bin/env bash
# Branch coverage of tinycnn and ferdata.  Kernels are counted as plain loops, with the JIT off.
#     tests/branch_coverage.sh [least percent]        (default: 95)
# First the whole suite runs with the JIT on, child processes included.  It starts with an empty
# kernel cache, because the code that generates LLVM code runs only while kernels are compiled.
# Then the tests of the kernels run as Python, with few examples.  About 25 minutes on one core.
set -euo pipefail
cd "$(dirname "$0")/.."
least=${1:-95}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export COVERAGE_FILE=$folder/coverage TINYCNN_CACHE_DIR=$folder/kernels
failed=0  # a failing test does not end the run: what it covered still counts
examine() { coverage run -p -m pytest -q -p no:cacheprovider "$@" || failed=1; }

# Left out: tests that check which files a child process writes; a counted process writes more.
TINYCNN_TEST_EXAMPLES=10 examine \
    --deselect tests/test_embedding.py::test_nothing_of_the_program_is_touched \
    --deselect tests/test_jit_cache.py::test_a_full_disk_costs_a_compile_and_a_log_line

python - <<'PYTHON' >"$folder/kernel_tests"
import sys
from pathlib import Path

sys.path.insert(0, "tests")
from conftest import imports_kernels

# Left out: tests of processes, caches, compiled code and speed, not of what kernels compute.
others = "benchmarks embedding jit_cache neon parallel sweep_scale tile".split()
for path in sorted(Path("tests").glob("test_*.py")):
    if imports_kernels(path.read_text(encoding="utf-8")):
        if path.stem.removeprefix("test_") not in others:
            print(path)
PYTHON
mapfile -t kernels <"$folder/kernel_tests"
NUMBA_DISABLE_JIT=1 TINYCNN_TILE=plain TINYCNN_TEST_EXAMPLES=2 examine \
    "${kernels[@]}" tests/test_distillation.py tests/test_quantized.py tests/test_warp.py

coverage combine -q
coverage report --ignore-errors --show-missing --skip-covered --fail-under="$least"
exit "$failed"
