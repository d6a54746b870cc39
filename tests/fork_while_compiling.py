"""Forks while another thread compiles: every child compiles something itself, and ends.

    python tests/fork_while_compiling.py                30 forks, about a minute
    python tests/fork_while_compiling.py --forks 200

A thread compiles one function after another.  Meanwhile this process forks; each child compiles
a function of its own.  Exit status: 0 if all children end well.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import threading
import time

import numba

import tinycnn.kernels._jit  # noqa: F401  as every process that has used the kernels

TIMEOUT_S = 120


def compiled(number: int) -> float:
    """A new function, compiled and called."""
    return float(numba.njit(lambda x: x * number + 1.0)(2.0))


def child() -> bool:
    return compiled(7) == 15.0


def ends_well(pid: int) -> bool:
    end = time.monotonic() + TIMEOUT_S
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.01)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return False


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--forks", type=int, default=30, help="number of forks (default 30)")
    options = parser.parse_args(argv)
    stop = threading.Event()

    def compile_on() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            compiled(number)

    thread = threading.Thread(target=compile_on)
    thread.start()
    n_wrong = 0
    for _ in range(options.forks):
        time.sleep(random.uniform(0, 0.05))
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = 0 if child() else 1
            finally:
                os._exit(code)
        n_wrong += not ends_well(pid)
    stop.set()
    thread.join()
    print(f"{options.forks} forks while compiling, {n_wrong} children hung or failed")
    return int(n_wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
