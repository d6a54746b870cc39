"""Simulates disks that are full, removed or read-only; needs no right to mount one."""

import contextlib
import errno
import os
import shutil
from unittest import mock

import pytest

import tinycnn.ground.atomic_file

KINDS = {"full": "File too large", "gone": "No such file", "read-only": "Read-only file system"}
"""What the system says of each."""


@contextlib.contextmanager
def trouble(kind, folder, n_bytes=500):
    """The folder's disk has this trouble inside the `with`; a folder that is gone stays gone."""
    if kind == "gone":
        shutil.rmtree(folder)
        yield
    else:
        with files_limited_to(n_bytes) if kind == "full" else read_only():
            yield


@contextlib.contextmanager
def files_limited_to(n_bytes):
    """No file can grow beyond n_bytes, in this process and in processes it starts meanwhile.
    Writing more fails halfway with an OSError, as on a full disk."""
    resource = pytest.importorskip("resource", reason="needs a limit on the size of files")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def read_only():
    """`write_atomically` can create no new file.  (File permissions would not stop root.)"""

    def refuse(path, mode):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    with contextlib.ExitStack() as stack:
        stack.enter_context(
            mock.patch.object(tinycnn.ground.atomic_file, "open", refuse, create=True)
        )
        yield
