"""The default built-in faces, drawn once for all tests that need them (takes ten seconds)."""

import functools

from ferdata.sources.rendered import default_faces as draw


@functools.cache
def drawn_faces():
    """The data set that `ferdata.default_faces()` returns; its arrays are read-only."""
    return draw()


def default_faces(progress=None):
    """Replaces `ferdata.default_faces` in tests."""
    return drawn_faces()
