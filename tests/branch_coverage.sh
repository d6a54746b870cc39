#!/usr/bin/env bash
# Branch coverage of tinycnn and ferdata, kernels counted on the plain twin with the JIT off:
#     tests/branch_coverage.sh [least percent]        (default: 95)
# The kernels' own tests run as Python with a few examples each, all others with the JIT on.
set -euo pipefail
cd "$(dirname "$0")/.."
least=${1:-95}
folder=$(mktemp -d)
COVERAGE_FILE=$folder/coverage
export COVERAGE_FILE
python - <<'PYTHON' >"$folder/kernel_tests"
import sys
from pathlib import Path

sys.path.insert(0, "tests")
from conftest import imports_kernels

for path in sorted(Path("tests").glob("test_*.py")):
    if imports_kernels(path.read_text()) and path.stem not in (
        *("test_embedding", "test_parallel", "test_jit_cache", "test_tile", "test_neon"),
    ):
        print(path)
PYTHON
mapfile -t kernels <"$folder/kernel_tests"
coverage run -p -m pytest -q
NUMBA_DISABLE_JIT=1 TINYCNN_TILE=plain TINYCNN_TEST_EXAMPLES=2 \
    coverage run -p -m pytest -q "${kernels[@]}" tests/test_warp.py tests/test_faces.py
coverage combine -q
coverage report --show-missing --skip-covered --fail-under="$least"
