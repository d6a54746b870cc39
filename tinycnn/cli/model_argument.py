"""What MODEL means on the command line: a model file, a TensorFlow checkpoint, or a name."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

from ..formats import safetensors, tf_checkpoint
from ..ground.command_line import CannotError
from ..models import SIZES, VARIANTS, microexpnet, pretrained
from ..models.pretrained import PRETRAINED, load_pretrained
from ..network import Network

HELP = (
    "a .safetensors file; a TensorFlow checkpoint (its .index file, or its name without ending); "
    f"'pretrained' or {', '.join(map(repr, PRETRAINED))}, the weights that come with this package; "
    "'microexpnet' or one of its siblings such as 'microexpnet-p1-S', with new weights"
)

_ARCHITECTURE = re.compile(rf"microexpnet(?:-({'|'.join(VARIANTS)})-({'|'.join(SIZES)}))?")
_CHECKPOINT_FILE = re.compile(r"(.+)\.(?:index|meta|data-\d{5}-of-\d{5})")


@dataclass(frozen=True, eq=False)
class OpenedModel:
    """A network and where it comes from.

    kind     in words: "safetensors", "TensorFlow checkpoint", "pretrained on ...", "new weights"
    paths    its files, none for a network with new weights
    dtype    of the weights in the file; the network itself has float32 or float64
    """

    name: str
    kind: str
    network: Network
    paths: tuple[Path, ...]
    dtype: str


def add_model_argument(parser: argparse.ArgumentParser, name: str = "MODEL", **options) -> None:
    parser.add_argument("model", metavar=name, help=HELP, **options)
    parser.add_argument(
        "--variant",
        choices=tuple(VARIANTS),
        default="p12",
        help="of a TensorFlow checkpoint: its shapes do not tell v from p1 nor p12 from p2 "
        "(default: %(default)s)",
    )


def open_model(name: str, variant: str = "p12") -> OpenedModel:
    """The model that `name` means.

    Raises CannotError, FileNotFoundError, or ValueError for a damaged file.
    """
    architecture = _ARCHITECTURE.fullmatch(name)
    if architecture:
        which = [part for part in architecture.groups() if part]
        return OpenedModel(name, "new weights", microexpnet(*which), (), "float32")
    if name == "pretrained" or name in PRETRAINED:
        which = PRETRAINED[0] if name == "pretrained" else name
        network = load_pretrained(which)
        path = Path(pretrained.__file__).parent / "weights" / f"{which}.safetensors"
        paths = (path,) if path.is_file() else ()  # none in a zipped installation
        return OpenedModel(name, f"pretrained on {which}", network, paths, str(network.dtype))
    prefix = checkpoint_prefix(name)
    if prefix is not None:
        network = tf_checkpoint.load_network(prefix, variant=variant)
        return OpenedModel(
            name, "TensorFlow checkpoint", network, checkpoint_paths(prefix), str(network.dtype)
        )
    path = Path(name)
    if path.is_dir():
        raise CannotError(
            f"{name}: is a folder; expected a file such as {path / 'model'}.safetensors"
        )
    if not path.exists():
        raise CannotError(
            f"{name}: no such file; expected a .safetensors file, a TensorFlow checkpoint, "
            f"pretrained, {', '.join(PRETRAINED)}, microexpnet or microexpnet-VARIANT-SIZE"
        )
    tensors, metadata = safetensors.read(path)
    network = safetensors.network_from(path, tensors, metadata)
    own = {str(tensors[parameter].dtype) for parameter in network.parameters}
    return OpenedModel(name, "safetensors", network, (path,), " and ".join(sorted(own)))


def checkpoint_prefix(name: str) -> str | None:
    """What the files of the TensorFlow checkpoint `name` have in common; None for anything else."""
    part = _CHECKPOINT_FILE.fullmatch(name)
    if part:
        return part[1]
    return name if not Path(name).is_file() and Path(f"{name}.index").is_file() else None


def checkpoint_paths(prefix: str) -> tuple[Path, ...]:
    """The checkpoint's files that are read: the index and its data."""
    path = Path(prefix)
    data = sorted(p for p in path.parent.iterdir() if p.name.startswith(f"{path.name}.data-"))
    return (Path(f"{prefix}.index"), *data)
