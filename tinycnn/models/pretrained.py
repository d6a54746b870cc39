"""Networks that this project trained and ships; `weights/MODEL_CARD.md` says what they are."""

from __future__ import annotations

from importlib import resources

from ..formats import safetensors
from ..network import Network

PRETRAINED = ("ferplus",)
"""ferplus: MicroExpNet p12-XXS, trained on the votes of FER+; classes as `microexpnet.CLASSES`."""


def load_pretrained(
    name: str = "ferplus", *, backend: str = "auto", n_threads: int | None = None
) -> Network:
    """A network with the weights that come with this package, calibrated.

    It takes uint8 faces (N, 84, 84), cut as its `input_spec.framing` says.  Its limits and what it
    must not be used for: `weights/MODEL_CARD.md`, beside the file.
    Raises ValueError for an unknown name, FileNotFoundError where the installation lacks the file,
    and as `Network` does for backend and n_threads.
    """
    if name not in PRETRAINED:
        raise ValueError(f"name is {name!r}; expected one of {', '.join(PRETRAINED)}")
    place = resources.files("tinycnn") / "models" / "weights" / f"{name}.safetensors"
    with resources.as_file(place) as path:
        if not path.is_file():
            raise FileNotFoundError(f"{path}: the shipped weights are missing; install it again")
        return safetensors.load(path, backend=backend, n_threads=n_threads)
