"""How every kernel is compiled: flags, cache, registry, and the vector unit of this host.

Functions of this package are compiled only by `@kernel`, `@helper` and their inline forms.  A
kernel is a whole operation: it has a twin in `tinycnn.reference` and a line in the benchmark.  A
helper is a part of kernels.  The flags are all in FLAGS:

    nogil        kernels release Python's interpreter lock, so threads can run them in parallel
    error_model  "numpy": a division by zero gives inf or NaN; a kernel never raises
    fastmath     "contract" alone: a*b + c may become one fused multiply-add.  Sums are not
                 reordered, and NaN and inf are kept, so a kernel gives the same bits on every run
                 on one machine

Numba's own cache only checks the time stamp of the kernel's own file: it misses edits in the files
whose functions the kernel calls.  Ours (`ground/compiled_code.py`) is a folder named by a hash of
every file of this package, of the tile and of the versions in use, so any change leads to a new
folder.

Environment variables: TINYCNN_CACHE_DIR names the folder (default: $XDG_CACHE_HOME/tinycnn or
~/.cache/tinycnn), TINYCNN_TILE sets the tile (see `choose_tile`), TINYCNN_WINOGRAD=0 computes every
convolution directly.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

try:
    import llvmlite
    import llvmlite.binding
    import numba
    from numba import types
    from numba.core import config
    from numba.core.compiler_lock import global_compiler_lock
except Exception as error:  # missing, or of a version that refuses this NumPy or this Python
    raise ImportError(f"Numba cannot be imported ({type(error).__name__}: {error})") from error

from ..ground.cache_folder import cache_folder_of
from ..ground.compiled_code import CodeCache, CodeFolder, warn_if_not_kept
from ..ground.log_messages import tell
from ..ground.package_files import source_files
from ..plan import Window

logger = logging.getLogger("tinycnn")

FLAGS: dict[str, Any] = dict(
    nogil=True, error_model="numpy", fastmath={"contract"}, _nrt=False, no_cfunc_wrapper=True
)
"""`no_cfunc_wrapper` leaves out a function for callers in C, of which there are none: it would take
a tenth of the time to compile.

`_nrt=False` compiles without Numba's runtime.  Kernels allocate nothing, so they do not need it.
With it, every call from one kernel to another would count references to its arrays with atomic
instructions, which takes 4 % of a training step.  Without it, a function that returns a view of an
array must be inlined in its callers: `inline_helper`."""

KERNELS: dict[str, Any] = {}
"""Every kernel by name.  Tests and benchmarks loop over this registry, so none is forgotten."""

HELPERS: dict[str, Any] = {}
"""Every helper by name."""


class CompileError(RuntimeError):
    """A kernel cannot be compiled here.  (A Numba that is missing or fails is an ImportError.)"""


class TileShape(NamedTuple):
    """The register tile: vectors of `vector_bytes`, `n_rows` x `n_vectors` accumulators."""

    vector_bytes: int
    n_rows: int
    n_vectors: int
    plain: bool


def _numba_setting(name: str) -> Any:
    """A setting of Numba.  Numba creates them when it starts, so type checkers do not know them."""
    return vars(config)[name]


def target_features() -> dict[str, bool]:
    """Which instruction sets kernels may use, by LLVM's names: those of this host, unless
    NUMBA_CPU_FEATURES lists others ("+avx2,+fma")."""
    listed = _numba_setting("CPU_FEATURES")
    if listed is None:
        try:
            return llvmlite.binding.get_host_cpu_features()
        except RuntimeError:  # LLVM does not know the host: Numba then uses none either
            return {}
    return {feature[1:]: feature[0] == "+" for feature in listed.split(",") if feature}


WITHOUT_JIT = bool(_numba_setting("DISABLE_JIT"))
"""Whether kernels run as ordinary Python."""


def choose_tile(request: str = "") -> TileShape:
    """The tile for this host, or the one that `request` names.

    request: "" (chosen for the host's vector unit), "plain" (indexed loops instead of vectors, for
    bounds checking and for runs without the JIT), or "BITS:ROWSxVECTORS" such as "256:6x2".
    The accumulators plus one row of operands must fit the registers: there are 16 of 128 or 256
    bits, or 32 of 512 bits.  Raises ValueError for any other text.
    """
    bits = {"avx512f": 512, "avx2": 256}
    features = target_features()
    host_bits = next((b for f, b in bits.items() if features.get(f)), 128)
    shapes = {128: TileShape(16, 6, 2, False), 256: TileShape(32, 6, 2, False)}
    shapes[512] = TileShape(64, 12, 2, False)
    if request == "plain" or WITHOUT_JIT:
        return shapes[host_bits]._replace(plain=True)
    if not request:
        return shapes[host_bits]
    try:
        width, _, shape = request.partition(":")
        n_rows, _, n_vectors = shape.partition("x")
        tile = TileShape(shapes[int(width)].vector_bytes, int(n_rows), int(n_vectors), False)
    except (KeyError, ValueError):
        tile = TileShape(0, 0, 0, False)
    if not (1 <= tile.n_rows <= 14 and tile.n_vectors > 0):
        raise ValueError(
            f"TINYCNN_TILE={request!r}: expected 'plain' or BITS:ROWSxVECTORS with BITS 128, 256 "
            "or 512 and 1 to 14 rows, such as 256:6x2"
        )
    return tile


TILE = choose_tile(os.environ.get("TINYCNN_TILE", ""))

WINOGRAD = os.environ.get("TINYCNN_WINOGRAD", "1") != "0" and not TILE.plain
"""Whether convolutions may be computed by `conv2d_winograd.py` and `conv2d_winograd_3x3.py`, in
float32.  Which ones are is decided by `winograd_fits` and by `conv2d_cost_model.py`."""


def cache_folder() -> Path:
    """Where compiled kernels are kept.  The folder is created when the first one is written."""
    return cache_folder_of("tinycnn")


def _cache_key() -> str:
    digest = hashlib.sha256()
    for name, content in source_files(__package__):
        digest.update(name.encode() + b"\0" + content)
    versions = (numba.__version__, llvmlite.__version__)
    settings = (TILE, WINOGRAD, _numba_setting("BOUNDSCHECK"), sorted(FLAGS.items(), key=str))
    # kernels read the fields of this structure, which is defined outside this package, by position
    digest.update(repr((versions, settings, Window._fields)).encode())
    return digest.hexdigest()[:20]


@lru_cache(maxsize=1)
def _code_folder() -> CodeFolder | None:
    """The folder of this key, in the cache folder.  None, and a warning, if there is no home folder
    or the package was installed without its sources: kernels are then compiled in each process."""
    try:
        folder, key = cache_folder(), _cache_key()
    except (OSError, RuntimeError) as error:
        logger.warning(
            "compiled kernels cannot be kept: %s.  Each process compiles them, for 5 to 30 s; set "
            "TINYCNN_CACHE_DIR to a folder that you may write to",
            error,
        )
        return None
    return CodeFolder((folder, folder / key), key, logger, "TINYCNN_CACHE_DIR")


def kept_in() -> Path | None:
    """The folder that the present files' compiled kernels are kept in.  None if none are kept."""
    folder = None if WITHOUT_JIT else _code_folder()
    return None if folder is None else folder.folders[-1]


_announced = False


def _announce(name: str) -> None:
    """Say once that compiling has begun, and log at DEBUG the name of each kernel."""
    global _announced
    if not _announced:
        _announced = True
        folder = _code_folder()
        if folder is not None and warn_if_not_kept(folder):
            tell("tinycnn", "compiling kernels, which takes 5 to 30 s")
        else:
            tell(
                "tinycnn",
                "compiling kernels, which takes 5 to 30 s "
                f"(once for this machine, then kept in {cache_folder()})",
            )
    logger.debug("compiling kernel %s", name)


def _without_literals(get_call_template: Callable) -> Callable:
    """Make Numba treat a literal argument, such as the 1 in `f(x, 1)`, like any other number.

    By default it compiles the called function, with all its callees, again for each literal value.
    """

    def wrapped(args: Any, kws: Any) -> Any:
        kinds = {name: types.unliteral(kind) for name, kind in kws.items()}
        return get_call_template(tuple(types.unliteral(kind) for kind in args), kinds)

    return wrapped


def _raising_compile_error(compiler: Callable, name: str) -> Callable:
    """Raise CompileError, with the kernel's name, for any error of Numba or LLVM in `compiler`."""

    def compiled(*args: Any, **kws: Any) -> Any:
        try:
            return compiler(*args, **kws)
        except Exception as error:
            first = next(iter(str(error).splitlines()), "")
            raise CompileError(
                f"Numba cannot compile the kernel {name} ({type(error).__name__}: {first})"
            ) from error

    return compiled


def compile_for(function: Any, argument_types: tuple[types.Type, ...]) -> int:
    """Compile a helper for arguments of these types, or load it from the cache.  Returns the
    address of the code, for `_calls.py`.  Raises CompileError."""
    compiled = function.overloads.get(argument_types)
    if compiled is None:
        _raising_compile_error(function.compile, function.__name__)(argument_types)
        compiled = function.overloads[argument_types]
    name = compiled.fndesc.llvm_func_name
    address: int = compiled.library.get_pointer_to_function(name)
    if not address:
        raise CompileError(f"the compiled code of {function.__name__} has no function {name}")
    return address


def kernel(function: Callable) -> Any:
    """Compile `function` on its first call with FLAGS, cache it, and list it in KERNELS."""
    return _compiled(function, "never", KERNELS)


def helper(function: Callable) -> Any:
    """As `kernel`, but listed in HELPERS."""
    return _compiled(function, "never", HELPERS)


def inline_kernel(function: Callable) -> Any:
    """As `kernel`, but inlined in each caller.

    This saves compile time: Numba compiles a function's callees again at each level of calls.
    """
    return _compiled(function, "always", KERNELS)


def inline_helper(function: Callable) -> Any:
    """As `helper`, but inlined in each caller: see FLAGS and `inline_kernel`."""
    return _compiled(function, "always", HELPERS)


def _compiled(
    function: Callable, inline: Literal["never", "always"], registry: dict[str, Any]
) -> Any:
    flags = {**FLAGS, "no_cpython_wrapper": True}  # see `_compile_wrapper_when_needed`
    dispatcher: Any = numba.njit(inline=inline, **flags)(function)
    if dispatcher is not function:  # under NUMBA_DISABLE_JIT njit returns the function itself
        _keep(dispatcher, function, "")
        dispatcher.get_call_template = _without_literals(dispatcher.get_call_template)
        _compile_wrapper_when_needed(dispatcher, function)
    registry[function.__name__] = dispatcher
    return dispatcher


def _keep(dispatcher: Any, function: Callable, kind: str) -> None:
    """Let Numba keep what the dispatcher compiles, in files whose names have this kind."""
    folder = _code_folder()
    if folder is not None:
        dispatcher._cache = CodeCache(function, folder, _announce, kind)


def _compile_wrapper_when_needed(dispatcher: Any, function: Callable) -> None:
    """Compile a function for calls from Python only when Python calls it.

    What Python calls needs a wrapper that takes each argument apart.  Most kernels are called only
    by others, and have structures of many arrays as arguments: the wrapper would take a tenth of
    the time to compile.  So `dispatcher` compiles without it, and a second dispatcher with it.
    """
    for_python: list[Any] = []  # the second one, once it is needed

    def add_without_wrapper(result: Any) -> None:
        dispatcher.overloads[tuple(result.signature.args)] = result

    def add_with_wrapper(result: Any) -> None:
        types_ = tuple(result.signature.args)
        dispatcher._insert([each._code for each in types_], result.entry_point, result.objectmode)
        for_python[0].overloads[types_] = result
        dispatcher.overloads.setdefault(types_, result)  # good for other kernels, too

    def compile_for_args(*args: Any, **kws: Any) -> Any:
        with global_compiler_lock:
            if not for_python:
                for_python.append(numba.njit(**FLAGS)(function))
                for_python[0].add_overload = add_with_wrapper
                _keep(for_python[0], function, ".python")
            return for_python[0]._compile_for_args(*args, **kws)

    dispatcher.add_overload = add_without_wrapper
    dispatcher._compile_for_args = _raising_compile_error(compile_for_args, function.__name__)
