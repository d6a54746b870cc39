"""The registry of kernels, and the cache of compiled code: edits are noticed, damage is harmless.

The tests compile kernels of one line in separate processes, each with a cache folder under
tmp_path.  The log tells what was compiled.
"""

import importlib
import inspect
import json
import os
import pkgutil
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import tinycnn
from tinycnn import kernels, reference
from tinycnn.ground import package_files
from tinycnn.ground.cache_folder import why_not_trusted
from tinycnn.ground.compiled_code import CHECKSUM_BYTES, checksum
from tinycnn.kernels import _jit

ROOT = Path(tinycnn.__file__).parent.parent
MODULES = sorted(module.name for module in pkgutil.iter_modules(kernels.__path__))

# ---- the registry ------------------------------------------------------------------------------


def registered(registry):
    """Names of a registry, except those that another test has put there."""
    for name in MODULES:
        importlib.import_module(f"tinycnn.kernels.{name}")
    prefix = kernels.__name__ + "."
    return {name for name, f in registry.items() if f.__module__.startswith(prefix)}


def parameter_names(function):
    return list(inspect.signature(getattr(function, "py_func", function)).parameters)


def test_every_kernel_has_a_reference_with_the_same_arguments():
    names = registered(_jit.KERNELS)
    assert {"conv2d_forward", "maxpool2d_backward", "dense_backward_params"} <= names
    for name in sorted(names):
        twin = getattr(reference, name, None)
        assert twin is not None, f"tinycnn.reference has no {name}"
        assert parameter_names(twin) == parameter_names(_jit.KERNELS[name]), name


def test_every_function_of_the_reference_has_a_kernel():
    public = {
        name
        for name, function in vars(reference).items()
        if inspect.isfunction(function) and not name.startswith("_")
    }
    assert public == registered(_jit.KERNELS)


def test_helpers_are_no_kernels():
    helpers = registered(_jit.HELPERS)
    assert {"first_tap", "program_step", "dense_operation_forward"} <= helpers
    assert not helpers & registered(_jit.KERNELS)


def test_every_kernel_says_what_it_does():
    for name in registered(_jit.KERNELS):
        assert inspect.getdoc(getattr(_jit.KERNELS[name], "py_func", _jit.KERNELS[name])), name


# ---- the key of the cache ----------------------------------------------------------------------


@pytest.fixture
def copied_files(tmp_path, monkeypatch):
    """A copy of the files of the kernels; the key is computed from it instead of the real ones."""
    folder = tmp_path / "kernels"
    shutil.copytree(kernels.__path__[0], folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(package_files, "resources", SimpleNamespace(files=lambda name: folder))
    return folder


def test_the_key_depends_on_the_files(copied_files):
    assert _jit._cache_key() == _jit._code_folder().stamp


@pytest.mark.parametrize("name", MODULES)
def test_an_edit_in_any_file_changes_the_key(copied_files, name):
    path = copied_files / f"{name}.py"
    stat, before = path.stat(), _jit._cache_key()
    source = path.read_bytes()
    path.write_bytes(source[:-2] + bytes([source[-2] ^ 1]) + source[-1:])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # same size and time stamp as before
    assert _jit._cache_key() != before
    path.write_bytes(source)
    assert _jit._cache_key() == before


def test_a_new_and_a_renamed_file_change_the_key(copied_files):
    keys = [_jit._cache_key()]
    (copied_files / "new.py").write_text("")
    keys.append(_jit._cache_key())
    (copied_files / "new.py").rename(copied_files / "newer.py")
    keys.append(_jit._cache_key())
    assert len(set(keys)) == 3


def test_tile_and_flags_change_the_key(monkeypatch):
    keys = [_jit._cache_key()]
    monkeypatch.setattr(_jit, "TILE", _jit.TILE._replace(n_rows=_jit.TILE.n_rows + 1))
    keys.append(_jit._cache_key())
    monkeypatch.setitem(_jit.FLAGS, "nogil", False)
    keys.append(_jit._cache_key())
    monkeypatch.setattr(_jit.config, "BOUNDSCHECK", not _jit.config.BOUNDSCHECK)
    keys.append(_jit._cache_key())
    monkeypatch.setattr(_jit, "WINOGRAD", not _jit.WINOGRAD)
    keys.append(_jit._cache_key())
    assert len(set(keys)) == 5


# ---- the cache folder --------------------------------------------------------------------------


def test_the_folder_is_named_by_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("TINYCNN_CACHE_DIR", str(tmp_path / "named"))
    assert _jit.cache_folder() == tmp_path / "named"
    monkeypatch.setenv("TINYCNN_CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert _jit.cache_folder() == tmp_path / "tinycnn"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # "should be ignored", says its specification
    assert _jit.cache_folder() == Path.home() / ".cache" / "tinycnn"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert _jit.cache_folder() == Path.home() / ".cache" / "tinycnn"


CALLEE = "from ._jit import kernel\n\n\n@kernel\ndef callee(x):\n    return x + 1\n"
CALLER = (
    "from ._jit import kernel\nfrom .callee import callee\n\n\n"
    "@kernel\ndef caller(x):\n    return 10 * callee(x)\n"
)
PROGRAM = """
import json, logging
logging.basicConfig(format="%(levelname)s %(message)s")
logging.getLogger("tinycnn").setLevel("DEBUG")
from tinycnn.kernels.caller import caller
print(json.dumps([caller(4), caller(4.5)]))
"""
RESULT = [50, 55.0]  # 10 * (4 + 1), 10 * (4.5 + 1)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of tinycnn whose kernels are two of one line, one of which calls the other."""
    folder = tmp_path_factory.mktemp("copied") / "package"
    shutil.copytree(
        ROOT / "tinycnn", folder / "tinycnn", ignore=shutil.ignore_patterns("__pycache__")
    )
    (folder / "tinycnn/kernels/callee.py").write_text(CALLEE)
    (folder / "tinycnn/kernels/caller.py").write_text(CALLER)
    return folder


def run(package, cache, restrict="", **extra):
    """[caller(4), caller(4.5)] and the log of the package, from a new process.

    restrict: Python code that the process runs first.  extra: environment variables.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
    environment |= {"PYTHONPATH": str(package), "TINYCNN_CACHE_DIR": str(cache), **extra}
    command = [sys.executable, "-B", "-c", restrict + PROGRAM]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, cwd=package, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def compiled(log):
    start = "DEBUG compiling kernel "
    return sorted({line[len(start) :] for line in log.splitlines() if line.startswith(start)})


def test_a_kernel_is_compiled_once_and_kept_in_the_folder_of_the_environment(package, tmp_path):
    cache = tmp_path / "deep" / "cache"
    result, log = run(package, cache)
    assert result == RESULT
    assert compiled(log) == ["callee", "caller"] and "WARNING" not in log
    said = (
        "INFO compiling kernels, which takes 5 to 30 s "
        f"(once for this machine, then kept in {cache})\n"
    )
    assert log.count(said) == 1
    folders = list(cache.iterdir())
    assert len(folders) == 1 and any(folders[0].glob("*.nbi")) and any(folders[0].glob("*.nbc"))
    result, log = run(package, cache)
    assert result == RESULT
    assert compiled(log) == [] and log == ""


def test_a_kernel_is_loaded_without_what_only_compiling_needs(package, filled_cache, tmp_path):
    """Numba's own way of loading imports much of SciPy: 0.3 s and more, and 40 MB."""
    say = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('ends', *sys.modules, file=sys.stderr))\n"
    )
    modules = [
        run(package, cache, restrict=say)[1].partition("ends ")[2].split()
        for cache in (filled_cache, tmp_path / "empty")
    ]
    loaded, imported = (set(found) & {"numba.np.linalg", "scipy.linalg"} for found in modules)
    assert "numba" in modules[0] and not loaded
    assert "numba.np.linalg" in imported  # the imports of compiling are still those


MAKES_AN_ARRAY = """
import logging, sys
from pathlib import Path
import numba, numpy as np
from tinycnn.ground.compiled_code import CodeCache, CodeFolder

def squares(n):
    found = np.zeros(n)
    for k in range(n):
        found[k] = k * k
    return found

loops, folder = numba.njit(squares), Path(sys.argv[1])
stored = CodeFolder((folder,), "stamp", logging.getLogger("test"), "NO_VARIABLE")
loops._cache = CodeCache(squares, stored, lambda name: print("compiles"))
print(*loops(4))
"""


def test_code_that_makes_arrays_is_loaded_too(tmp_path):
    """It calls Numba's runtime, as ferdata's loops may; kernels do not."""
    program, folder = tmp_path / "program.py", tmp_path / "cache"
    program.write_text(MAKES_AN_ARRAY)
    folder.mkdir(mode=0o700)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
    environment["PYTHONPATH"] = str(ROOT)
    for expected in ("compiles\n0.0 1.0 4.0 9.0\n", "0.0 1.0 4.0 9.0\n"):
        done = subprocess.run(
            [sys.executable, program, folder], env=environment, capture_output=True, text=True
        )
        assert (done.returncode, done.stdout) == (0, expected), done.stderr


def test_a_kernel_is_compiled_that_calls_a_loaded_one(package, filled_cache, tmp_path):
    cache = tmp_path / "cache"
    shutil.copytree(filled_cache, cache)
    for file in cache.glob("*/caller.*"):
        file.unlink()
    result, log = run(package, cache)
    assert result == RESULT
    assert compiled(log) == ["caller"] and "WARNING" not in log


def test_only_what_python_calls_has_a_wrapper(filled_cache):
    """A wrapper for each kernel would take a tenth of the time to compile."""
    names = {path.name for path in filled_cache.glob("*/*.nbi")}
    assert [".python" in name for name in sorted(names)] == [False, True]  # callee, caller


CALLS_BOTH = """
from tinycnn.kernels.callee import callee
from tinycnn.kernels.caller import caller
assert [caller(4), callee(4), callee(4)] == [50, 5, 5]  # first compiled for another kernel
assert [callee(4.5), caller(4.5), callee(4.5)] == [5.5, 55, 5.5]  # first for Python
"""


def test_python_may_call_a_kernel_that_others_call(package, tmp_path):
    for _ in ("compiled", "from the cache"):
        result, log = run(package, tmp_path / "cache", restrict=CALLS_BOTH)
        assert result == RESULT and "WARNING" not in log


def test_an_edit_in_a_called_kernel_is_noticed(package, tmp_path):
    cache, callee = tmp_path / "cache", package / "tinycnn/kernels/callee.py"
    assert run(package, cache)[0] == RESULT
    stat = callee.stat()
    callee.write_text(CALLEE.replace("x + 1", "x + 2"))
    os.utime(callee, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    try:
        assert run(package, cache)[0] == [60, 65.0]
    finally:
        callee.write_text(CALLEE)


DAMAGE = {
    "empty": lambda content: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "garbage": lambda content: b"\x80\x04garbage" + content[9:],
    "of something else": lambda content: b"\x80\x04N.",  # a pickle of None
    "one bit": lambda content: content[:-200] + bytes([content[-200] ^ 4]) + content[-199:],
    "without a checksum": lambda content: content[CHECKSUM_BYTES:],
}


@pytest.fixture(scope="module")
def filled_cache(package, tmp_path_factory):
    """A cache folder with both kernels, each compiled for whole and for real numbers."""
    cache = tmp_path_factory.mktemp("filled") / "cache"
    run(package, cache)
    return cache


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_costs_a_compile_and_a_log_line(package, filled_cache, tmp_path, damage):
    """Damages the index of one kernel, and the code of the kernel that it calls."""
    cache = tmp_path / "cache"
    shutil.copytree(filled_cache, cache)
    damaged = [*cache.rglob("caller*.nbi"), *cache.rglob("callee*.nbc")]
    assert len(damaged) == 3  # one index, and the code for whole and for real numbers
    for path in damaged:
        path.write_bytes(DAMAGE[damage](path.read_bytes()))
    result, log = run(package, cache)
    assert result == RESULT
    assert compiled(log) == ["callee", "caller"]
    assert log.count(f"WARNING kernel cache {cache}") == 1  # the others: DEBUG
    assert log.count("its checksum does not match") == 2  # then the index of the callee is emptied
    assert "Traceback" not in log
    result, log = run(package, cache)  # the damage was repaired
    assert result == RESULT
    assert compiled(log) == [] and "WARNING" not in log


def test_code_for_other_arguments_is_not_run(package, filled_cache, tmp_path):
    """If two processes fill the cache at once, the index can name the wrong file."""
    cache = tmp_path / "cache"
    shutil.copytree(filled_cache, cache)
    one, other = sorted(cache.rglob("caller*.nbc"))
    one.rename(tmp_path / "one")
    other.rename(one)
    (tmp_path / "one").rename(other)
    result, log = run(package, cache)
    assert result == RESULT
    assert compiled(log) == ["caller"]


def test_a_cache_that_cannot_be_written_costs_a_compile_and_a_log_line(package, tmp_path):
    cache = tmp_path / "cache"
    cache.write_text("a file stands where the folder should be")
    result, log = run(package, cache)
    assert result == RESULT
    assert compiled(log) == ["callee", "caller"]
    assert "WARNING kernel cache" in log and "Traceback" not in log
    assert cache.read_text() == "a file stands where the folder should be"


# Root may write everywhere, by a capability that a process can drop for the processes it starts.
UNPRIVILEGED = """
import ctypes, os, sys
libc, cap_dac_override, pr_capbset_drop = ctypes.CDLL(None), 1, 24
if os.geteuid() == 0 and "again" not in os.environ:
    libc.prctl(pr_capbset_drop, cap_dac_override)
    os.execve(sys.executable, sys.orig_argv, {**os.environ, "again": "1"})
if os.access(os.environ["TINYCNN_CACHE_DIR"], os.W_OK):
    sys.exit("this process may write everywhere")
"""


@pytest.fixture
def read_only(filled_cache, tmp_path):
    """(cache, lock): a copy of the filled cache; lock() makes it read-only until the test ends."""
    cache = tmp_path / "cache"
    shutil.copytree(filled_cache, cache)

    def lock():
        for path in (*cache.rglob("*"), cache):
            path.chmod(0o555 if path.is_dir() else 0o444)

    yield cache, lock
    for path in (cache, *cache.rglob("*")):
        path.chmod(0o755)


def run_read_only(package, cache):
    try:
        return run(package, cache, UNPRIVILEGED)
    except AssertionError as failure:
        if "this process may write everywhere" in str(failure):
            pytest.skip("run by root, who may write everywhere")
        raise


ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="permissions as Linux has them")


@ON_LINUX
def test_a_read_only_cache_is_read(package, read_only):
    cache, lock = read_only
    lock()
    result, log = run_read_only(package, cache)
    assert result == RESULT
    assert compiled(log) == [] and "WARNING" not in log


@ON_LINUX
@pytest.mark.parametrize("damage", [None, "truncated"])
def test_code_missing_from_a_read_only_cache_is_compiled(package, read_only, damage):
    cache, lock = read_only
    for path in cache.rglob("caller*.nbi"):
        path.write_bytes(DAMAGE[damage](path.read_bytes())) if damage else path.unlink()
    before = {path: path.stat().st_size for path in cache.rglob("*")}
    lock()
    for _ in range(2):  # nothing is repaired, and the next process works too
        result, log = run_read_only(package, cache)
        assert result == RESULT
        assert compiled(log) == ["caller"]
        assert f"WARNING kernel cache {cache}" in log and "not writable" in log
        assert "Traceback" not in log
    assert {path: path.stat().st_size for path in cache.rglob("*")} == before


FULL = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
@pytest.mark.parametrize("n_bytes", [0, 5000])
def test_a_full_disk_costs_a_compile_and_a_log_line(package, tmp_path, n_bytes):
    """A limit on file sizes stands for a full disk.  5000 bytes are enough for an index but not
    for the code that it names."""
    cache = tmp_path / "cache"
    result, log = run(package, cache, FULL.format(n_bytes))
    assert result == RESULT
    assert compiled(log) == ["callee", "caller"]
    assert f"WARNING kernel cache {cache}" in log and "Traceback" not in log
    result, log = run(package, cache)  # without the limit
    assert result == RESULT
    assert compiled(log) == ["callee", "caller"] and "WARNING" not in log


def test_an_index_without_its_code_costs_a_compile(package, filled_cache, tmp_path):
    cache = tmp_path / "cache"
    shutil.copytree(filled_cache, cache)
    for path in cache.rglob("*.nbc"):
        path.unlink()
    result, log = run(package, cache)
    assert result == RESULT
    assert compiled(log) == ["callee", "caller"] and "Traceback" not in log


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names an x86 processor")
def test_code_of_another_processor_is_not_run(package, filled_cache, tmp_path):
    """Machines may share a home folder: each compiles its own code and keeps that of the others."""
    cache = tmp_path / "cache"
    shutil.copytree(filled_cache, cache)
    tile = f"{8 * _jit.TILE.vector_bytes}:{_jit.TILE.n_rows}x{_jit.TILE.n_vectors}"
    if _jit.TILE.plain:
        tile = "plain"
    older = dict(NUMBA_CPU_NAME="x86-64", NUMBA_CPU_FEATURES="", TINYCNN_TILE=tile)
    run(package, cache, TINYCNN_TILE=tile)
    result, log = run(package, cache, **older)
    assert result == RESULT
    assert compiled(log) == ["callee", "caller"] and "WARNING" not in log
    for environment in (older, dict(TINYCNN_TILE=tile)):
        result, log = run(package, cache, **environment)
        assert result == RESULT
        assert compiled(log) == [] and "WARNING" not in log


# ---- who may write to the cache: Numba's files are pickle, so reading one runs its code ----------


@ON_LINUX
def test_only_the_owner_can_use_the_cache_folder(package, tmp_path):
    cache = tmp_path / "cache"
    run(package, cache, "import os; os.umask(0)\n")
    folders = [cache, *(path for path in cache.iterdir())]
    assert len(folders) == 2
    assert [oct(path.stat().st_mode & 0o777) for path in folders] == ["0o700", "0o700"]
    assert {oct(path.stat().st_mode & 0o777) for path in cache.rglob("*.nb?")} == {"0o600"}


def planted(cache, proof):
    """The filled cache, with every index replaced by a pickle that creates the file `proof`."""
    code = f"cposix\nsystem\n(S'touch {proof}'\ntR."  # a pickle that runs a command
    for path in cache.rglob("*.nbi"):
        content = code.encode()
        path.write_bytes(checksum(path.name, path.parent.name, content) + content)


@ON_LINUX
@pytest.mark.parametrize("mode, which", [(0o777, "the folder"), (0o720, "the folder of the key")])
def test_code_in_a_folder_that_others_may_write_to_is_not_run(
    package, filled_cache, tmp_path, mode, which
):
    cache, proof = tmp_path / "cache", tmp_path / "proof"
    shutil.copytree(filled_cache, cache)
    planted(cache, proof)
    before = {path: path.read_bytes() for path in cache.rglob("*.nb?")}
    opened = cache if which == "the folder" else next(cache.iterdir())
    opened.chmod(mode)
    result, log = run(package, cache)
    assert result == RESULT and compiled(log) == ["callee", "caller"]
    said = f"WARNING kernel cache {opened} is not used: others may write to it"
    assert log.count(said) == 1 == log.count("WARNING")
    assert not proof.exists()
    assert {path: path.read_bytes() for path in cache.rglob("*.nb?")} == before


@ON_LINUX
def test_which_folders_are_trusted(tmp_path):
    for mode in (0o700, 0o755, 0o555, 0o711):
        tmp_path.chmod(mode)
        assert why_not_trusted(tmp_path) == ""
    for mode in (0o777, 0o1777, 0o775, 0o720, 0o702):
        tmp_path.chmod(mode)
        assert "others may write" in why_not_trusted(tmp_path)
    tmp_path.chmod(0o700)
    assert why_not_trusted(tmp_path / "not there") == ""


@ON_LINUX
@pytest.mark.parametrize("mode", [0o666, 0o620, 0o602])
def test_a_file_that_others_may_write_to_is_not_read(package, filled_cache, tmp_path, mode):
    """The folder is closed now, but it may have been open when the file was written to."""
    cache, proof = tmp_path / "cache", tmp_path / "proof"
    shutil.copytree(filled_cache, cache)
    planted(cache, proof)
    for path in cache.rglob("*.nb?"):
        path.chmod(mode)
    result, log = run(package, cache)
    assert result == RESULT and compiled(log) == ["callee", "caller"]
    assert "others may write to it: chmod go-w makes it safe" in log
    assert not proof.exists()
    result, log = run(package, cache)  # files of our own have taken their place
    assert result == RESULT and compiled(log) == [] and log == ""


def test_the_code_of_another_function_under_this_ones_name_is_not_run(
    package, filled_cache, tmp_path
):
    """Both are whole files of this cache; their arguments and results agree."""
    cache = tmp_path / "cache"
    shutil.copytree(filled_cache, cache)
    for path in cache.rglob("caller*.nbc"):
        (callee,) = cache.rglob(f"callee*.{path.name.split('.')[-2]}.nbc")
        path.write_bytes(callee.read_bytes())
    result, log = run(package, cache)
    assert result == RESULT and compiled(log) == ["caller"]
    assert "its checksum does not match" in log


def test_the_planted_code_would_run_if_it_were_read(package, filled_cache, tmp_path):
    """The test above relies on this, and SECURITY.md warns of it."""
    cache, proof = tmp_path / "cache", tmp_path / "proof"
    shutil.copytree(filled_cache, cache)
    planted(cache, proof)
    assert run(package, cache)[0] == RESULT
    assert proof.exists()


@ON_LINUX
def test_the_cache_of_another_user_is_not_read(package, filled_cache, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    cache, proof = tmp_path / "cache", tmp_path / "proof"
    shutil.copytree(filled_cache, cache)
    planted(cache, proof)
    os.chown(cache, 65534, 65534)
    result, log = run(package, cache)
    assert result == RESULT and f"{cache} is not used: it belongs to another user" in log
    assert not proof.exists()
