"""Reads the argument MODEL of a command: a model file, a TensorFlow checkpoint, or a name."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

from ..formats import safetensors
from ..formats.model_file import check_is_model, checkpoint_paths, checkpoint_prefix
from ..formats.pretrained import (
    DEFAULT,
    SHIPPED,
    SHIPPED_EVER,
    load_pretrained,
    shipped_weights,
)
from ..ground.command_line import CannotError
from ..ground.messages import plain
from ..ground.output_files import reads
from ..ground.printing import print_message
from ..models import PUBLIC_NETWORKS, SIZES, VARIANTS, microexpnet
from ..network import Network
from ..quantized.network import QuantizedNetwork

HELP = (
    "a .safetensors file; an .onnx file; "
    "a TensorFlow checkpoint (its .index file, or its name without ending); "
    f"{', '.join(map(repr, SHIPPED))}: weights that come with this package, 'pretrained' those of "
    f"{DEFAULT}; "
    "with random weights: 'microexpnet', another network of its paper such as 'microexpnet-p1-S', "
    f"{', '.join(map(repr, PUBLIC_NETWORKS))}"
)

_ARCHITECTURE = re.compile(rf"microexpnet(?:-({'|'.join(VARIANTS)})-({'|'.join(SIZES)}))?")


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


@dataclass(frozen=True, eq=False)
class OpenedQuantized:
    """A quantised network and its file."""

    name: str
    network: QuantizedNetwork
    path: Path


def open_to_predict(
    name: str, variant: str = "p12", n_threads: int | None = None
) -> OpenedModel | OpenedQuantized:
    """As `open_model`, for commands that also take a quantised network."""
    path = Path(name)
    if path.suffix == ".safetensors" and path.is_file():
        tensors, metadata = safetensors.read(path)
        if safetensors.QUANTIZED_KEY in metadata:
            network = safetensors.quantized_from(path, tensors, metadata, n_threads=n_threads)
            return OpenedQuantized(name, network, path)
    return open_model(name, variant, n_threads)


def add_model_argument(
    parser: argparse.ArgumentParser, name: str = "MODEL", default: str | None = None
) -> None:
    nargs = None if default is None else "?"
    reads(parser.add_argument("model", metavar=name, help=HELP, nargs=nargs, default=default))
    add_variant_argument(parser)


def add_variant_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--variant",
        choices=tuple(VARIANTS),
        default="p12",
        help="the variant of the network in a TensorFlow checkpoint, which does not say it: v and "
        "p1 have the same shapes, and so have p2 and p12 (default: %(default)s)",
    )


def open_model(name: str, variant: str = "p12", n_threads: int | None = None) -> OpenedModel:
    """The model that `name` stands for; see HELP.  What the reader of an ONNX file left out is
    printed on stderr.  n_threads: as in `Network`.

    Raises CannotError, FileNotFoundError, or ValueError for a damaged file.
    """
    architecture = _ARCHITECTURE.fullmatch(name)
    if architecture:
        network = microexpnet(
            architecture[1] or "p12", architecture[2] or "XXS", n_threads=n_threads
        )
        return OpenedModel(name, "new weights", network, (), "float32")
    if name in PUBLIC_NETWORKS:
        return OpenedModel(name, "new weights", PUBLIC_NETWORKS[name](), (), "float32")
    shipped = SHIPPED_EVER.get(name)
    if shipped is not None:
        network = load_pretrained(shipped, n_threads=n_threads)
        path = shipped_weights(shipped)
        paths = (path,) if isinstance(path, Path) else ()  # no file in a zipped installation
        return OpenedModel(name, "pretrained on FER+", network, paths, str(network.dtype))
    prefix = checkpoint_prefix(name)
    if prefix is not None:
        from ..formats import tf_checkpoint  # here and below: the other formats start faster

        network = tf_checkpoint.load_network(prefix, variant=variant, n_threads=n_threads)
        return OpenedModel(
            name, "TensorFlow checkpoint", network, checkpoint_paths(prefix), str(network.dtype)
        )
    check_is_model(name)
    path = Path(name)
    if not path.exists():
        raise CannotError(
            f"{name}: no such file; expected a .safetensors file, an .onnx file, a TensorFlow "
            f"checkpoint, {', '.join((*SHIPPED, *PUBLIC_NETWORKS))}, microexpnet or "
            "microexpnet-VARIANT-SIZE"
        )
    if path.suffix == ".onnx":
        from ..formats import onnx

        imported = onnx.import_network(path)
        for note in imported.notes:
            print_message(plain(f"note: {name}: {note}"))
        return OpenedModel(name, "ONNX", imported.network, (path,), str(imported.network.dtype))
    tensors, metadata = safetensors.read(path)
    if safetensors.QUANTIZED_KEY in metadata:
        raise CannotError(
            f"{name}: is a network in 8-bit integers, which only tinycnn predict, info and export "
            "take; give the model that it was made from"
        )
    network = safetensors.network_from(path, tensors, metadata, n_threads=n_threads)
    dtypes = {str(tensors[parameter].dtype) for parameter in network.parameters}
    return OpenedModel(name, "safetensors", network, (path,), " and ".join(sorted(dtypes)))
