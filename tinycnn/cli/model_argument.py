"""Reads the argument MODEL of a command: a model file, a TensorFlow checkpoint, or a name."""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from ..formats import onnx, safetensors, tf_checkpoint
from ..ground.command_line import CannotError
from ..ground.messages import plain
from ..models import PUBLIC_NETWORKS, SIZES, VARIANTS, microexpnet, pretrained
from ..models.pretrained import PRETRAINED, load_pretrained
from ..network import Network

HELP = (
    "a .safetensors file; an .onnx file; "
    "a TensorFlow checkpoint (its .index file, or its name without ending); "
    f"'pretrained' or {', '.join(map(repr, PRETRAINED))}, the weights that come with this package; "
    "with random weights: 'microexpnet', another network of its paper such as 'microexpnet-p1-S', "
    f"{', '.join(map(repr, PUBLIC_NETWORKS))}"
)

_ARCHITECTURE = re.compile(rf"microexpnet(?:-({'|'.join(VARIANTS)})-({'|'.join(SIZES)}))?")
_CHECKPOINT_FILE = re.compile(r"(.+)\.(?:index|meta|data-\d{5}-of-\d{5})")


@dataclass(frozen=True, eq=False)
class OpenedModel:
    """A network and its origin.

    kind     "safetensors", "ONNX", "TensorFlow checkpoint", "pretrained on ...", "new weights"
             (random)
    paths    its files; none for new weights
    dtype    of the weights in the file; the network itself has float32 or float64
    """

    name: str
    kind: str
    network: Network
    paths: tuple[Path, ...]
    dtype: str


def add_model_argument(
    parser: argparse.ArgumentParser, name: str = "MODEL", default: str | None = None
) -> None:
    nargs = None if default is None else "?"
    parser.add_argument("model", metavar=name, help=HELP, nargs=nargs, default=default)
    parser.add_argument(
        "--variant",
        choices=tuple(VARIANTS),
        default="p12",
        help="the variant of the network in a TensorFlow checkpoint, which does not say it: v and "
        "p1 have the same shapes, and so have p2 and p12 (default: %(default)s)",
    )


def open_model(name: str, variant: str = "p12") -> OpenedModel:
    """The model that `name` stands for; see HELP.  What the reader of an ONNX file left out is
    printed on stderr.

    Raises CannotError, FileNotFoundError, or ValueError for a damaged file.
    """
    architecture = _ARCHITECTURE.fullmatch(name)
    if architecture:
        network = microexpnet(architecture[1] or "p12", architecture[2] or "XXS")
        return OpenedModel(name, "new weights", network, (), "float32")
    if name in PUBLIC_NETWORKS:
        return OpenedModel(name, "new weights", PUBLIC_NETWORKS[name](), (), "float32")
    if name == "pretrained" or name in PRETRAINED:
        data = PRETRAINED[0] if name == "pretrained" else name
        network = load_pretrained(data)
        path = Path(pretrained.__file__).parent / "weights" / f"{data}.safetensors"
        paths = (path,) if path.is_file() else ()  # not a file in a zipped installation
        return OpenedModel(name, f"pretrained on {data}", network, paths, str(network.dtype))
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
            f"{name}: no such file; expected a .safetensors file, an .onnx file, a TensorFlow "
            f"checkpoint, pretrained, {', '.join((*PRETRAINED, *PUBLIC_NETWORKS))}, microexpnet or "
            "microexpnet-VARIANT-SIZE"
        )
    if path.suffix == ".onnx":
        imported = onnx.import_network(path)
        for note in imported.notes:
            print(plain(f"note: {name}: {note}"), file=sys.stderr)
        return OpenedModel(name, "ONNX", imported.network, (path,), str(imported.network.dtype))
    tensors, metadata = safetensors.read(path)
    network = safetensors.network_from(path, tensors, metadata)
    dtypes = {str(tensors[parameter].dtype) for parameter in network.parameters}
    return OpenedModel(name, "safetensors", network, (path,), " and ".join(sorted(dtypes)))


def checkpoint_prefix(name: str) -> str | None:
    """What all files of the TensorFlow checkpoint `name` begin with; None for anything else."""
    part = _CHECKPOINT_FILE.fullmatch(name)
    if part:
        return part[1]
    return name if not Path(name).is_file() and Path(f"{name}.index").is_file() else None


def checkpoint_paths(prefix: str) -> tuple[Path, ...]:
    """The files of the checkpoint that are read: the index and the data files."""
    path = Path(prefix)
    data = sorted(p for p in path.parent.iterdir() if p.name.startswith(f"{path.name}.data-"))
    return (Path(f"{prefix}.index"), *data)
