"""Compiles all loops of ferdata, or loads them from the cache."""

from __future__ import annotations

from ferdata import warp
from ferdata.jit import PHOTOS, note_kept


def compile_loops(_: str = "") -> None:
    """Raises what Numba raises if it cannot compile them."""
    import ferdata.photos.detect_loops  # noqa: F401  (importing it compiles)

    warp.compile_warp()
    note_kept(PHOTOS)
