"""What Python has on Linux and macOS and not on Windows.  Tests that use it skip there, and say so.

TINYCNN_AS_ON_WINDOWS=1 python -m pytest ...    runs tests without these parts, on any system
"""

import errno
import os
import signal
import sys
import traceback
from pathlib import Path

MODULES = ("fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty")
NAMES = {
    os: (
        *("chown", "fchmod", "fork", "forkpty", "getegid", "geteuid", "getgid", "getloadavg"),
        *("getpgid", "getuid", "killpg", "lchown", "mkfifo", "nice", "sched_getaffinity"),
        *("sched_setaffinity", "seteuid", "setpgid", "setsid", "statvfs", "sysconf", "uname"),
        *("register_at_fork", "O_NOFOLLOW", "WNOHANG"),
    ),
    signal: (
        *("alarm", "pthread_kill", "pthread_sigmask", "setitimer", "SIGALRM", "SIGCONT"),
        *("SIGHUP", "SIGKILL", "SIGSTOP", "SIGUSR1"),
    ),
}
_NEEDED_BY_OTHERS = {"SIGKILL", "WNOHANG", "getuid", "register_at_fork", "sysconf", "uname"}
"""By Python itself, NumPy and pytest, when they find themselves on a POSIX system."""

_NO_RIGHT = 1314
"""Windows' error number where only an administrator, or a developer, may make symbolic links."""


def remove():
    """Take these parts away from this process, as far as Python itself and other
    packages do not need them."""
    import asyncio  # noqa: F401
    import getpass  # noqa: F401
    import multiprocessing.popen_spawn_posix  # noqa: F401
    import shutil  # noqa: F401
    import subprocess  # noqa: F401
    import tempfile  # noqa: F401

    for module in MODULES:
        sys.modules[module] = None  # makes importing it raise ImportError
    for module, names in NAMES.items():
        for name in {*names} - _NEEDED_BY_OTHERS:
            if hasattr(module, name):
                delattr(module, name)

    def symlink(source, target, target_is_directory=False, **arguments):
        error = OSError(errno.EINVAL, "A required privilege is not held by the client")
        error.winerror = _NO_RIGHT
        raise error

    os.symlink = symlink


def what_is_missing(error):
    """Why a test with this error cannot run on this system; None if that is not the reason: the
    test itself, not the product, must have asked for something that this system lacks."""
    asked_by = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
    if getattr(error, "winerror", None) == _NO_RIGHT:
        return "this user may not make symbolic links"
    if not {"tests", "attacks"} & {asked_by[-1].parent.name}:
        return None
    if isinstance(error, ImportError) and error.name in MODULES:
        return f"this system has no module {error.name}"
    for module, names in NAMES.items():
        if isinstance(error, AttributeError) and error.obj is module and error.name in names:
            return f"this system has no {module.__name__}.{error.name}"
    return None
