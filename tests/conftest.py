"""What several test modules share: the folder of real data, one Hypothesis profile, and runs of the
suite on other paths.

TINYCNN_BACKEND=numpy     as where Numba is not installed: tests of the kernels skip
NUMBA_DISABLE_JIT=1       kernels as Python: tests of compiled code, and what takes minutes, skip
TINYCNN_TEST_EXAMPLES=N   examples of each Hypothesis test (default: 40); few of them make a run
                          without the JIT bearable
"""

import ast
import os
import signal
import sys
import traceback
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Kernels compile on their first call, so a per-example deadline would only measure the compiler.
settings.register_profile(
    "tinycnn",
    deadline=None,
    max_examples=int(os.environ.get("TINYCNN_TEST_EXAMPLES", 40)),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tinycnn")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # under nohup: children would not hear Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)

WITHOUT_NUMBA = os.environ.get("TINYCNN_BACKEND") == "numpy"
IMPORTING_NUMBA = ("tinycnn.kernels", "ferdata.detect_loops", "benchmarks")
WITHOUT_JIT = os.environ.get("NUMBA_DISABLE_JIT") == "1"
NEEDS_KERNELS = "needs the kernels (TINYCNN_BACKEND=numpy is set)"

if WITHOUT_NUMBA:
    sys.modules["numba"] = sys.modules["llvmlite"] = None  # importing them raises ImportError


def pytest_configure(config):
    config.addinivalue_line("markers", "kernels: needs Numba; skips under TINYCNN_BACKEND=numpy")
    config.addinivalue_line("markers", "jit(why): skips under NUMBA_DISABLE_JIT=1")
    if WITHOUT_JIT:  # where compiled kernels compute inf and NaN in silence, NumPy's scalars warn
        config.addinivalue_line("filterwarnings", "ignore:.* encountered in scalar:RuntimeWarning")
    if WITHOUT_NUMBA:
        config.addinivalue_line("filterwarnings", "ignore:ferdata computes with NumPy")


class TestsOfKernels(pytest.Module):
    """A file that imports kernels: skipped whole where there is no Numba."""

    def collect(self):
        pytest.skip(NEEDS_KERNELS, allow_module_level=True)


def pytest_pycollect_makemodule(module_path, parent):
    if WITHOUT_NUMBA and imports_kernels(module_path.read_text(encoding="utf-8")):
        return TestsOfKernels.from_parent(parent, path=module_path)
    return None


def imports_kernels(source):
    """Whether a file does so as it is imported itself."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            if any(name.startswith(IMPORTING_NUMBA) for name in names):
                return True
    return False


def pytest_collection_modifyitems(items):
    for item in items if WITHOUT_JIT else ():
        if mark := item.get_closest_marker("jit"):
            item.add_marker(pytest.mark.skip(reason=f"NUMBA_DISABLE_JIT=1 is set: {mark.args[0]}"))
    for item in items if WITHOUT_NUMBA else ():
        parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
        asked_for = any(isinstance(p, str) and p == "numba" for p in parameters)
        if item.get_closest_marker("kernels") or asked_for:
            item.add_marker(pytest.mark.skip(reason=NEEDS_KERNELS))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real faces, teacher logits, the published checkpoint; skips where it is absent."""
    folder = os.environ.get("TINYCNN_SHARED")
    if not folder:
        pytest.skip("TINYCNN_SHARED is not set: it names the folder that holds data/")
    if not (Path(folder) / "data").is_dir():
        pytest.skip(f"TINYCNN_SHARED={folder} has no folder data/")
    return Path(folder)


def _skip_what_asks_for_kernels():
    """A test that asks for backend="numba", or imports a kernel itself, skips; that anything else
    imports one is a failure."""
    try:
        return (yield)
    except ImportError as error:
        files = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
        asked = any(path.name == "backend_choice.py" for path in files)
        own = [path.parent.name for path in files if path.parent.name in ("tests", "tinycnn")]
        if WITHOUT_NUMBA and files[-1].name == "_jit.py" and (asked or own[-1] == "tests"):
            pytest.skip(NEEDS_KERNELS)
        raise


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    return (yield from _skip_what_asks_for_kernels())


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef):
    return (yield from _skip_what_asks_for_kernels())
