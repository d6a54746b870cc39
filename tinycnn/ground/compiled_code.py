"""Keeps code that Numba has compiled in a folder, for the next process.

Numba's own cache only checks the time stamp of a function's own file.  Here the caller chooses the
folder and a stamp, and code with another stamp is out of date.  A folder that cannot be used
(read-only, truncated, from another machine) costs a compile and a log line, nothing else.  Numba
stores compiled code as pickle, so anyone who can write to the folder can run code in this process:
folders and files are created for their owner alone, and one that others may write to is not used.

Each file begins with a checksum of its name, the stamp and its content.  Machine code with one
wrong bit could end the process, and so could the code of another function under this one's name.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import pickle
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, NamedTuple

from llvmlite import binding as llvm
from numba.core import caching, sigutils
from numba.core.compiler_lock import global_compiler_lock
from numba.core.runtime.nrt import _nrt

from .cache_folder import make_private, why_not_kept, why_not_trusted

if hasattr(os, "register_at_fork"):
    # A fork waits until no other thread compiles.  The child does not have that thread, so the
    # compiler's lock would stay locked there for ever.
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )


class CodeFolder(NamedTuple):
    """Where compiled code is kept.

    folders  the last one holds the files; each is created if it is missing, and checked
    stamp    text that changes with everything that the code is made from
    logger   gets the warnings
    variable the environment variable that names another folder
    """

    folders: tuple[Path, ...]
    stamp: str
    logger: logging.Logger
    variable: str


@lru_cache
def _files_in(code_folder: CodeFolder) -> type[caching.CompileResultCacheImpl]:
    """The class with which Numba reads and writes the files of this folder."""

    class Locator(caching._CacheLocator):
        def __init__(self, py_func: Callable, py_file: str) -> None:
            self._line = py_func.__code__.co_firstlineno

        def get_cache_path(self) -> str:
            return str(code_folder.folders[-1])

        def ensure_cache_path(self) -> None:
            for folder in code_folder.folders:
                make_private(folder)
            super().ensure_cache_path()

        def get_source_stamp(self) -> str:
            return code_folder.stamp

        def get_disambiguator(self) -> str:
            return str(self._line)

        @classmethod
        def from_function(cls, py_func: Callable, py_file: str) -> Locator:
            return cls(py_func, py_file)

    class Files(caching.CompileResultCacheImpl):
        _locator_classes = [Locator]

    return Files


CHECKSUM_BYTES = 32


def checksum(name: str, stamp: str, content: bytes) -> bytes:
    """The checksum of a file of compiled code, with which the file begins.

    name     of the file;  stamp: see `CodeFolder`
    content  what follows the checksum
    """
    named = f"{name}\0{stamp}\0".encode()
    return hashlib.blake2b(named + content, digest_size=CHECKSUM_BYTES).digest()


class CheckedFiles(caching.IndexDataCacheFile):
    """The files of one function, as Numba's class has them: an index, and one file for each kind of
    arguments.  A file that is damaged, another one's, or that others may write to is not unpickled:
    ValueError.  New files can be read and written by their owner alone, whatever the umask is."""

    def __init__(self, cache_path: str, filename_base: str, source_stamp: str) -> None:
        # a name of its own: files without checksums, of earlier releases, are not read
        super().__init__(cache_path, f"{filename_base}.checked", source_stamp)

    def _load_index(self) -> dict[Any, str]:
        try:
            version, stamp, names = self._read(self._index_name)
        except FileNotFoundError:
            return {}
        current = (version, stamp) == (self._version, self._source_stamp)
        return dict(names) if current else {}

    def _save_index(self, overloads: dict[Any, str]) -> None:
        self._write(self._index_name, (self._version, self._source_stamp, overloads))

    def _load_data(self, name: str) -> Any:
        return self._read(name)

    def _save_data(self, name: str, data: Any) -> None:
        self._write(name, data)

    def _read(self, name: str) -> Any:
        with open(self._data_path(name), "rb") as file:
            reason = why_not_trusted(file.fileno())
            if reason:
                raise ValueError(f"{name}: {reason}")
            content = file.read()
        found, content = content[:CHECKSUM_BYTES], content[CHECKSUM_BYTES:]
        if found != checksum(name, self._source_stamp, content):
            raise ValueError(f"{name}: its checksum does not match")
        return pickle.loads(content)

    def _write(self, name: str, value: Any) -> None:
        content = self._dump(value)
        with self._open_for_write(self._data_path(name)) as file:
            file.write(checksum(name, self._source_stamp, content) + content)

    @contextlib.contextmanager
    def _open_for_write(self, filepath: str) -> Iterator[IO[bytes]]:
        with super()._open_for_write(filepath) as file:
            if hasattr(os, "fchmod"):
                os.fchmod(file.fileno(), 0o600)
            yield file


@lru_cache(maxsize=1)
def _name_runtime_functions() -> None:
    """Tell LLVM the addresses of the functions of Numba's runtime, which compiled code calls for
    arrays that it makes: what `rtsys.initialize` does, which also compiles others."""
    for name, address in _nrt.c_helpers.items():
        llvm.add_symbol(name if name.startswith("_") else f"NRT_{name}", address)


class CodeCache(caching.FunctionCache):
    """Numba's cache of one function, but a problem on disk is logged and never raised.

    compiling  is called with the function's name before it is compiled
    kind       is a part of the names of its files: those of one function may be compiled in
               several ways
    """

    def __init__(
        self,
        function: Callable,
        folder: CodeFolder,
        compiling: Callable[[str], None] = lambda name: None,
        kind: str = "",
    ) -> None:
        self._impl_class = _files_in(folder)
        self._folder, self._compiling = folder, compiling
        super().__init__(function)
        base = self._impl.filename_base + kind
        self._cache_file = CheckedFiles(self._cache_path, base, folder.stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        compiled = None
        if _is_trusted(self._folder):
            try:
                compiled = self._load_without_refresh(sig, target_context)
                expected = sigutils.normalize_signature(sig)[0]
                if compiled is not None and compiled.signature.args != tuple(expected):
                    # two processes that write an index at the same time can use one name twice
                    raise ValueError("it holds code for other arguments")
            except Exception as error:  # pickle may raise anything for a damaged or foreign file
                compiled = None
                self._warn_once("is unreadable (%s)", error)
                self._clear_index()
        if compiled is None:
            self._compiling(self._py_func.__name__)
        return compiled

    def _load_without_refresh(self, sig: Any, target_context: Any) -> Any:
        """As Numba's `load_overload`, but without `target_context.refresh()`.

        That prepares Numba for compiling, and imports SciPy's linear algebra among much else: 0.3 s
        and more, and 40 MB.  Numba calls it again before it compiles.
        """
        _name_runtime_functions()
        return self._load_overload(sig, target_context)

    def save_overload(self, sig: Any, data: Any) -> None:
        if not _is_trusted(self._folder):
            return
        try:
            super().save_overload(sig, data)
        except Exception as error:  # the disk is read-only or full, or the index is damaged or gone
            self._warn_once(f"is not writable (%s): {_cost(self._folder)}", error)

    def _clear_index(self) -> None:
        """Empty this function's index.  A damaged one would make each later load and save fail."""
        try:
            self.flush()
        except Exception as error:
            self._warn_once("is not writable (%s)", error)

    def _warn_once(self, message: str, error: Exception) -> None:
        """Log the first message on a folder as a warning, and later ones, which would repeat it
        for other functions, at DEBUG."""
        level = logging.DEBUG if self.cache_path in _warned else logging.WARNING
        _warned.add(self.cache_path)
        self._folder.logger.log(level, f"kernel cache %s {message}", self.cache_path, error)


_distrusted: set[Path] = set()
_warned: set[str] = set()
"""Folders that a warning has already been logged for."""


def _is_trusted(code_folder: CodeFolder) -> bool:
    """Whether code from this folder may be run.  If not, the reason is logged once."""
    for folder in code_folder.folders:
        reason = why_not_trusted(folder)
        if reason and folder not in _distrusted:
            _distrusted.add(folder)
            code_folder.logger.warning(
                "kernel cache %s is not used: %s.  Until then %s", folder, reason,
                _cost(code_folder),
            )  # fmt: skip
        if reason:
            return False
    return True


def warn_if_not_kept(code_folder: CodeFolder) -> bool:
    """Whether code that is compiled now cannot be kept there.  The reason is logged once."""
    if not _is_trusted(code_folder):
        return True
    folder = str(code_folder.folders[-1])
    reason = why_not_kept(code_folder.folders[-1])
    if reason and folder not in _warned:
        _warned.add(folder)
        code_folder.logger.warning(
            "kernel cache %s is not writable (%s): %s", folder, reason, _cost(code_folder)
        )
    return bool(reason)


def _cost(code_folder: CodeFolder) -> str:
    """What it costs, and what to do, if compiled code cannot be kept."""
    return (
        f"each process compiles again, unless {code_folder.variable} names a folder that you may "
        "write to"
    )
