"""Networks that this project trained and ships; `models/weights/MODEL_CARD.md` describes them."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from ..network import Network
from . import safetensors

if TYPE_CHECKING:
    from importlib.abc import Traversable  # elsewhere from Python 3.11 on

PRETRAINED = ("microexpnet", "residual48")
"""Both were trained on the votes of FER+ and have the classes `microexpnet.CLASSES`.

microexpnet  MicroExpNet p12-XXS, of 84x84 faces: the fastest
residual48   the network of `models.residual48`, of 48x48 faces: the most accurate
"""

DEFAULT = PRETRAINED[0]

FORMER_NAMES = {"ferplus": "microexpnet"}
"""Names of earlier releases, which still work."""

SHIPPED = {"pretrained": DEFAULT, **{f"pretrained-{name}": name for name in PRETRAINED}}
"""What a user types in a command, where a model file can stand as well -> name of the weights."""

SHIPPED_EVER = {**SHIPPED, **FORMER_NAMES}
"""The same, and the names of earlier releases."""


def load_pretrained(
    name: str = DEFAULT, *, backend: str = "auto", n_threads: int | None = None
) -> Network:
    """A trained network that is part of this package, calibrated on validation data.

    name  one of PRETRAINED, or of FORMER_NAMES
    It takes uint8 faces of the size that its `input_spec` says, cut as `input_spec.framing` says.
    The model card, `models/weights/MODEL_CARD.md`, says what its limits are and what it must not be
    used for.  Raises ValueError for an unknown name, FileNotFoundError if the file was not
    installed, and as `Network` does for backend and n_threads.
    """
    name = FORMER_NAMES.get(name, name)
    if name not in PRETRAINED:
        raise ValueError(f"name is {name!r}; expected one of {', '.join(PRETRAINED)}")
    with resources.as_file(shipped_weights(name)) as path:
        if not path.is_file():
            raise FileNotFoundError(f"{path}: the shipped weights are missing; reinstall tinycnn")
        return safetensors.load(path, backend=backend, n_threads=n_threads)


def shipped_weights(name: str) -> Traversable:
    """The file of one of PRETRAINED: a Path, unless the installation is zipped."""
    return resources.files("tinycnn") / "models" / "weights" / f"{name}.safetensors"
