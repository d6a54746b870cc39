"""How much disk space a package takes, alone and with the packages it requires."""

from __future__ import annotations

import configparser
import re
from importlib import metadata
from pathlib import Path

from .workers import ROOT


def sizes(packages: tuple[str, ...]) -> tuple[int, int]:
    """Bytes of `packages`, and of `packages` with all that they require; .pyc files not counted."""
    seen: set[str] = set()
    waiting = list(packages)
    own = total = 0
    while waiting:
        name = _normal(waiting.pop())
        if name in seen:
            continue
        seen.add(name)
        size, requirements = _one(name)
        own += size if name in {_normal(p) for p in packages} else 0
        total += size
        waiting += requirements
    return own, total


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _one(name: str) -> tuple[int, list[str]]:
    """Bytes and requirements of one package; (0, []) if it is not installed."""
    if name == "tinycnn":  # may be not installed, or editable: then the metadata list no files
        return _tinycnn()
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return 0, []
    paths = [Path(str(f.locate())) for f in distribution.files or () if f.suffix != ".pyc"]
    size = sum(path.stat().st_size for path in paths if path.is_file())
    return size, _names(distribution.requires or [])


def _tinycnn() -> tuple[int, list[str]]:
    files = [p for p in (ROOT / "tinycnn").rglob("*") if p.is_file() and p.suffix != ".pyc"]
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    required = setup.get("options", "install_requires", fallback="").split("\n")
    return sum(p.stat().st_size for p in files), _names([r for r in required if r.strip()])


def _names(requirements: list[str]) -> list[str]:
    """Names of the required packages, without those that only an extra requires."""
    needed = [r for r in requirements if "extra ==" not in r.partition(";")[2]]
    return [re.split(r"[^\w.-]", r.strip(), maxsplit=1)[0] for r in needed]
