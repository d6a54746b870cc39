"""Options that the functions of this room pass on to `Network`."""

from __future__ import annotations

from typing import TypedDict

from numpy.typing import DTypeLike


class NetworkOptions(TypedDict, total=False):
    """Options that are passed on to `Network`, which explains them."""

    backend: str
    dtype: DTypeLike
    n_threads: int | None
    seed: int
