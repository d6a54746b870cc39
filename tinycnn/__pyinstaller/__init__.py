"""Tells PyInstaller what a frozen program needs of tinycnn and ferdata; found through setup.cfg."""

from __future__ import annotations

from pathlib import Path


def get_hook_dirs() -> list[str]:
    """The folder of the hooks, for the entry point `pyinstaller40`."""
    return [str(Path(__file__).parent)]
