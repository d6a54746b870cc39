"""NumPy does the first work of a process, while compiled code is not loaded.

The rule, for work that takes NumPy `seconds`:

    the code is in the cache        NumPy, if it is done before the code could have been loaded,
                                    counted from NumPy's first work in this process
    another process compiles it     NumPy, if seconds < the time to compile it
    neither: no process may be      NumPy, while the seconds of all its work in this process are
    started, or it has failed       below the time to compile it

So small work is done at once, and large work waits for the code if that is sooner.  NumPy's work
and the wait for the code together take at most twice as long as the better of the two.  With the
environment variable TINYCNN_WAIT_FOR_KERNELS=1, all work waits for the code.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import defaultdict
from collections.abc import Iterator

from .compiler_process import Compiler
from .kept_code import KeptCode, numba_is_installed


class _Work:
    """The work of NumPy in this process for one program."""

    def __init__(self) -> None:
        self.started: float | None = None  # time.monotonic()
        self.seconds = 0.0

    def age(self) -> float:
        """Seconds since it began."""
        return 0.0 if self.started is None else time.monotonic() - self.started


_work: defaultdict[str, _Work] = defaultdict(_Work)


def all_work_waits() -> bool:
    return os.environ.get("TINYCNN_WAIT_FOR_KERNELS", "0") not in ("", "0")


class NumpyFirst:
    """The rule for one piece of code.

    compiler     compiles it in another process; None: it cannot
    loading_s    seconds to import Numba and to load the code from the cache
    compiling_s  seconds to compile it
    """

    def __init__(
        self, code: KeptCode, compiler: Compiler | None, loading_s: float, compiling_s: float
    ) -> None:
        self.code, self.compiler = code, compiler
        self.loading_s, self.compiling_s = loading_s, compiling_s

    def takes(self, seconds: float) -> bool:
        """Whether NumPy does work that takes it about so long.  If not, it is time to load the
        code, or to compile it: see `wait`."""
        if all_work_waits() or not numba_is_installed():
            return False
        before = _work[self.code.program]
        if self.code.is_kept():
            return before.age() + seconds < self.loading_s
        if self.compiler is not None and self.compiler.is_compiling():
            return seconds < self.compiling_s
        return before.seconds + seconds < self.compiling_s

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Around the work of NumPy: counts its time."""
        work, started = _work[self.code.program], time.monotonic()
        if work.started is None:
            work.started = started
        yield
        work.seconds += time.monotonic() - started

    def wait(self) -> None:
        """Wait for the process that compiles the code, if this process has started one."""
        if self.compiler is not None:
            self.compiler.wait()
