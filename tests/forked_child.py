"""Work in a forked child, for tests of what a fork leaves behind."""

import os
import time
import warnings

import pytest


def run_in_child(work, timeout_s=30):
    """Exit code of a forked child that calls work(): 0 if it returned True."""
    with warnings.catch_warnings():
        # from Python 3.12 on, a fork with running threads warns; that is what is tested here
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        code = 2
        try:
            code = 0 if work() else 1
        finally:
            os._exit(code)
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    pytest.fail("the child hung")
