"""A process that compiles code and keeps it in a cache folder, while this process goes on.

Numba holds Python's interpreter lock while it compiles, so a thread would stop this process.  The
other process:

- is one for each cache folder, whatever the number of programs: it holds a lock on a file there,
  and a second one ends at once;
- goes on if this process ends, so that the next program finds the code.  It ends when the code is
  kept, when the folder is removed, or after LONGEST_S;
- runs at low priority, in a session of its own (Ctrl-C in a terminal does not reach it), and prints
  nothing.  Numba writes each file under another name first, so a reader never sees half of one.

None is started under pytest and in continuous integration (the environment variable CI is set),
unless TINYCNN_COMPILER_PROCESS=1 is set; none anywhere with TINYCNN_COMPILER_PROCESS=0; and none by
a frozen program, by a program with Python inside, and by the processes of `multiprocessing`.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from .file_lock import lock_file
from .kept_code import KeptCode
from .log_messages import tell

LONGEST_S = 600.0
LOCK = "compiling.lock"
BUSY = 75
"""The exit status where another process compiles for the same folder."""

_RETRY_S = 2.0
"""If another program's process compiles, look again after so long."""

_CODE = """
import importlib, json, sys
job = json.loads(sys.argv[1])
sys.path[:] = job["path"]
from tinycnn.ground.compiler_process import compile_alone
module, _, name = job["function"].partition(":")
function = getattr(importlib.import_module(module), name)
sys.exit(compile_alone(function, job["argument"], job["folder"], job["lock"]))
"""

_WINDOWS_FLAGS = 0
if sys.platform == "win32":
    _WINDOWS_FLAGS = (
        subprocess.BELOW_NORMAL_PRIORITY_CLASS
        | subprocess.CREATE_NO_WINDOW
        | subprocess.CREATE_NEW_PROCESS_GROUP
    )

Process = subprocess.Popen[bytes]

_processes: dict[Path, Process] = {}
"""The last process that this one has started by a `Compiler`, for each cache folder."""

_started: list[Process] = []
"""All that this one has started."""


class Compiler:
    """Compiles `code` in another process.

    function, argument  function(argument) compiles it: "module:name", and a text
    about    what is compiled, for a message
    seconds  how long that takes, for a message
    """

    def __init__(
        self, code: KeptCode, function: str, argument: str, about: str, seconds: float
    ) -> None:
        self.code, self.function, self.argument = code, function, argument
        self.about, self.seconds = about, seconds
        self._own: Process | None = None
        self._has_failed = False
        self._retry_at = 0.0

    def is_compiling(self) -> bool:
        """Whether a process compiles the code, or other code for the same folder.  If there is
        none, one is started if it may be."""
        folder = self.code.folder()
        if self._has_failed or folder is None:
            return False
        process = _processes.get(folder)
        if process is not None and process.poll() is None:
            return True
        if self._own is not None:
            status, self._own = self._own.returncode, None
            if status == BUSY:
                self._retry_at = time.monotonic() + _RETRY_S
            else:
                self._has_failed = not self.code.is_kept()
                if status:
                    logging.getLogger(self.code.program).warning(
                        "the process that compiles %s has failed (exit status %s)",
                        self.about, status,
                    )  # fmt: skip
                return False
        if time.monotonic() < self._retry_at:
            return True
        if not may_start() or not self.code.can_be_kept():
            return False
        return self._start(folder)

    def wait(self) -> None:
        """Wait until the process that compiles this code has ended, if there is one."""
        if self._own is not None:
            self._own.wait()

    def _start(self, folder: Path) -> bool:
        try:
            self._own = start(self.function, self.argument, folder)
        except (OSError, ValueError):  # a system without processes, or that refuses a new one
            self._has_failed = True
            return False
        _processes[folder] = self._own
        tell(
            self.code.program,
            f"another process compiles {self.about}, for about {self.seconds:.0f} s, once for this "
            f"machine (kept in {folder}); NumPy computes until then",
        )
        return True


def start(function: str, argument: str, folder: Path, lock: str = LOCK) -> Process:
    """The new process.  It calls function(argument) if no other one with the same lock, the name
    of a file, compiles for `folder`."""
    path = [os.path.abspath(place) for place in sys.path if place != ""]
    path.append(str(Path(__file__).parents[2]))
    job = {"function": function, "argument": argument, "folder": str(folder), "path": path}
    job["lock"] = lock
    flags = ["-B"] if sys.flags.dont_write_bytecode else []
    process = subprocess.Popen(
        [sys.executable, *flags, "-c", _CODE, json.dumps(job)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        creationflags=_WINDOWS_FLAGS,
        cwd=folder.anchor,
        env={**os.environ, **_folders(), "TINYCNN_COMPILER_PROCESS": "0"},
    )
    _started.append(process)
    return process


def _folders() -> dict[str, str]:
    """The variables that name cache folders, made absolute: the process has another current
    folder."""
    names = ("TINYCNN_CACHE_DIR", "FERDATA_CACHE_DIR")
    return {name: os.path.abspath(os.environ[name]) for name in names if os.environ.get(name)}


def may_start() -> bool:
    """Whether this process may start another one: see above."""
    asked = os.environ.get("TINYCNN_COMPILER_PROCESS", "")
    tests = "pytest" in sys.modules or "PYTEST_CURRENT_TEST" in os.environ
    integration = os.environ.get("CI", "").lower() not in ("", "0", "false")
    if asked == "0" or (asked != "1" and (tests or integration)):
        return False
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return False
    if getattr(sys, "frozen", False) or not Path(sys.executable or "").is_file():
        return False
    pool = sys.modules.get("multiprocessing.process")
    is_worker = pool is not None and pool.parent_process() is not None
    return not is_worker and Path(sys.executable).name.lower().startswith(("python", "pypy"))


def _forget_all() -> None:
    """At the end of this process, and after a fork in the new one: they are not waited for."""
    for process in _started:
        if process.returncode is None:
            process.returncode = 0  # or Python would warn that it is still running
    _started.clear()
    _processes.clear()


atexit.register(_forget_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


# ---- in the new process ------------------------------------------------------------------------


def compile_alone(function: Callable[[str], None], argument: str, folder: str, lock: str) -> int:
    """Call function(argument), unless another process has the lock.  The exit status."""
    if hasattr(os, "nice") and lock == LOCK:  # nobody waits for it
        os.nice(10)
    Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    path = Path(folder) / lock
    with open(path, "ab") as file:
        if not _locked(file.fileno()):
            return BUSY
        threading.Thread(target=_end_without, args=(path,), daemon=True).start()
        function(argument)
    return 0


def _locked(descriptor: int) -> bool:
    """Lock an open file until this process ends; False if another process has locked it."""
    try:
        lock_file(descriptor)
    except BlockingIOError:
        return False
    except OSError:  # a disk without locks, where every process compiles
        pass
    return True


def _end_without(lock: Path) -> None:
    """End this process after LONGEST_S, or when the lock's file is removed."""
    end = time.monotonic() + LONGEST_S
    while lock.exists() and time.monotonic() < end:
        time.sleep(0.5)
    with contextlib.suppress(OSError):
        os._exit(1)
