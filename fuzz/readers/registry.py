"""What a reader is for the fuzzer, and the list of all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Reader:
    """read(data) reads an input and may raise `errors`; anything else is a finding.  seeds():
    name -> good input."""

    read: Callable[[bytes], object]
    errors: tuple[type[BaseException], ...]
    seeds: Callable[[], dict[str, bytes]]


READERS: dict[str, Callable[[Path], Reader]] = {}
"""name -> function that makes the reader, given a folder for its files."""

SHARES: dict[str, float] = {}
"""name -> weight that decides its part of the inputs; slow readers have a small one."""


def reader(share: float) -> Callable[[Callable[[Path], Reader]], Callable[[Path], Reader]]:
    """A decorator: adds a function to READERS, under its own name."""

    def listed(make: Callable[[Path], Reader]) -> Callable[[Path], Reader]:
        READERS[make.__name__], SHARES[make.__name__] = make, share
        return make

    return listed


def written(folder: Path, name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """A reader of the file called `name`, whose content is the input."""
    path = folder / name

    def read_written(data: bytes) -> object:
        path.write_bytes(data)
        return read(path)

    return read_written
