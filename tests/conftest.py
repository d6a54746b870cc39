"""Shared by the test modules: the folder of real data, one Hypothesis profile, and the environment
variables that run the suite in another way.

TINYCNN_BACKEND=numpy     as if Numba were not installed; tests of the kernels are skipped
NUMBA_DISABLE_JIT=1       kernels run as Python; tests of compiled code and slow tests are skipped
TINYCNN_WAIT_FOR_KERNELS  the suite sets it to 1, so that all predictions come from the kernels;
                          test_first_predictions.py tests what happens without it
TINYCNN_TEST_EXAMPLES=N   examples of each Hypothesis test (default: 40); use few without the JIT,
                          which is slow
TINYCNN_AS_ON_WINDOWS=1   without what Python has on POSIX systems alone; what needs it is skipped
"""

import ast
import os
import signal
import sys
import traceback
from pathlib import Path

import posix_parts
import pytest
from hypothesis import HealthCheck, settings

if os.environ.get("TINYCNN_AS_ON_WINDOWS") == "1":
    posix_parts.remove()

# No deadline: kernels compile on their first call, so it would only measure the compiler.
settings.register_profile(
    "tinycnn",
    deadline=None,
    max_examples=int(os.environ.get("TINYCNN_TEST_EXAMPLES", 40)),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tinycnn")

os.environ.setdefault("TINYCNN_WAIT_FOR_KERNELS", "1")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # nohup: children would ignore Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)

WITHOUT_NUMBA = os.environ.get("TINYCNN_BACKEND") == "numpy"
IMPORTING_NUMBA = ("tinycnn.kernels", "ferdata.photos.detect_loops", "benchmarks")
WITHOUT_JIT = os.environ.get("NUMBA_DISABLE_JIT") == "1"
NEEDS_KERNELS = "needs the kernels (TINYCNN_BACKEND=numpy is set)"

if WITHOUT_NUMBA:
    sys.modules["numba"] = sys.modules["llvmlite"] = None  # makes importing them raise ImportError


def pytest_configure(config):
    config.addinivalue_line("markers", "kernels: needs Numba; skips under TINYCNN_BACKEND=numpy")
    config.addinivalue_line("markers", "jit(why): skips under NUMBA_DISABLE_JIT=1")
    if WITHOUT_JIT:  # compiled kernels compute inf and NaN silently; as Python, NumPy scalars warn
        config.addinivalue_line("filterwarnings", "ignore:.* encountered in scalar:RuntimeWarning")
    if WITHOUT_NUMBA:
        config.addinivalue_line("filterwarnings", "ignore:ferdata computes with NumPy")


class TestsOfKernels(pytest.Module):
    """A test file that imports kernels: without Numba, all of it is skipped."""

    def collect(self):
        pytest.skip(NEEDS_KERNELS, allow_module_level=True)


def pytest_pycollect_makemodule(module_path, parent):
    if WITHOUT_NUMBA and imports_kernels(module_path.read_text(encoding="utf-8")):
        return TestsOfKernels.from_parent(parent, path=module_path)
    return None


def imports_kernels(source):
    """Whether a file imports kernels at module level (not only inside a function)."""
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
    """Folder with real faces, teacher logits and the published checkpoint; skips without it."""
    folder = os.environ.get("TINYCNN_SHARED")
    if not folder:
        pytest.skip("TINYCNN_SHARED is not set: it names the folder that holds data/")
    if not (Path(folder) / "data").is_dir():
        pytest.skip(f"TINYCNN_SHARED={folder} has no folder data/")
    return Path(folder)


def _skip_what_asks_for_kernels():
    """Without Numba, skip a test that asks for backend="numba" or imports a kernel itself.  If
    anything else imports a kernel, the test fails."""
    try:
        return (yield)
    except ImportError as error:
        files = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
        asked = any(path.name == "backend_choice.py" for path in files)
        own = [path.parent.name for path in files if path.parent.name in ("tests", "tinycnn")]
        if WITHOUT_NUMBA and files[-1].name == "_jit.py" and (asked or own[-1] == "tests"):
            pytest.skip(NEEDS_KERNELS)
        raise


def _skip_what_cannot_run():
    """Skip a test that asks for kernels without Numba, or for what this system lacks."""
    try:
        return (yield from _skip_what_asks_for_kernels())
    except (AttributeError, ImportError, OSError) as error:
        if why := posix_parts.what_is_missing(error):
            pytest.skip(why)
        raise


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    return (yield from _skip_what_cannot_run())


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef):
    return (yield from _skip_what_cannot_run())


def pytest_report_header():
    if os.name == "nt" and not sys.flags.utf8_mode:
        return "set PYTHONUTF8=1: many tests write and read text files in the system's encoding"
    return None
