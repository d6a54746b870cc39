"""A disk that is full after so many bytes, for whoever may not mount one."""

import contextlib

import pytest


@contextlib.contextmanager
def files_limited_to(n_bytes):
    """No file may grow beyond n_bytes, in this process and in those that it starts meanwhile:
    writing fails with an OSError, half done, as where the disk is full."""
    resource = pytest.importorskip("resource", reason="needs a limit on the size of files")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
