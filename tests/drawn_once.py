"""The default built-in faces, drawn once for all tests that need them: it takes ten seconds."""

import functools

from ferdata.rendered import default_faces as draw


@functools.cache
def drawn_faces():
    """The data set of `ferdata.default_faces()`; its arrays are read-only."""
    return draw()


def default_faces(progress=None):
    """Stands in for `ferdata.default_faces`."""
    return drawn_faces()
