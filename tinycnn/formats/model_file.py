"""Reads a network from any file that holds one: a model file, an ONNX model, or a TensorFlow
checkpoint."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from ..ground.messages import LONGEST_NAME, file_name
from ..ground.regular_file import open_regular
from ..layers import Layer
from ..network import Network
from . import safetensors
from .pretrained import FORMER_NAMES, PRETRAINED

_CHECKPOINT_FILE = re.compile(r"(.+)\.(?:index|meta|data-\d{5}-of-\d{5})")


def load(
    path: str | os.PathLike,
    *,
    variant: str = "p12",
    backend: str = "auto",
    n_threads: int | None = None,
    custom_layers: Sequence[type[Layer]] = (),
) -> Network:
    """The network in the file at `path`: a .safetensors file; an .onnx file (needs the extra onnx;
    `formats.onnx.load_network` has more options); or a TensorFlow checkpoint of one of the paper's
    networks (its .index file, or what the names of its files begin with).

    variant             of the network in a TensorFlow checkpoint, which does not say it: one of
                        `models.VARIANTS`
    backend, n_threads  as in `Network`
    custom_layers       layer classes of your own that a .safetensors file may name
    Raises FileNotFoundError; ValueError for a file that is damaged or holds no network, for the
    content of a file, and for a wrong option; UnknownLayerError for a custom layer that the engine
    has no entry for.
    """
    name = os.fspath(path)
    if not isinstance(name, str) or len(name) > LONGEST_NAME:
        raise ValueError(f"{file_name(name)}: expected the name of a file, not its content")
    if name.endswith(".onnx"):
        from . import onnx  # here and below: a model of another format is read sooner

        return onnx.load_network(path, backend=backend, n_threads=n_threads)
    check_is_model(name)
    prefix = checkpoint_prefix(name)
    if prefix is not None:
        from . import tf_checkpoint

        return tf_checkpoint.load_network(
            prefix, variant=variant, backend=backend, n_threads=n_threads
        )
    return safetensors.load(path, backend=backend, n_threads=n_threads, custom_layers=custom_layers)


def check_is_model(name: str) -> None:
    """Raise an error that says what to give instead, for names that people try: a folder, a name of
    shipped weights, TensorFlow's list of checkpoints.  Raises FileNotFoundError or ValueError."""
    path = Path(name)
    if path.is_dir():
        found = models_in(path)
        expected = (
            " or ".join(found[:3]) if found else f"a file such as {path / 'model.safetensors'}"
        )
        raise FileNotFoundError(f"{name}: no such model file, it is a folder; expected {expected}")
    if name in (*PRETRAINED, *FORMER_NAMES, "pretrained") and not path.exists():
        raise FileNotFoundError(
            f"{name}: no such model file; tinycnn.load_pretrained() loads the weights that come "
            "with this package"
        )
    if path.name == "checkpoint" and path.is_file():
        with open_regular(path) as file:
            is_list = file.read(22) == b"model_checkpoint_path:"
        if is_list:
            found = [prefix for prefix in models_in(path.parent) if prefix != name]
            expected = " or ".join(found[:3]) or "what the files of one of them begin with"
            raise ValueError(f"{name}: TensorFlow's list of checkpoints; expected {expected}")


def models_in(folder: Path) -> list[str]:
    """What `load` takes of the files of a folder: model files, and checkpoints by their prefix."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    kinds = (".safetensors", ".onnx", ".index")
    return [str(folder / name.removesuffix(".index")) for name in names if name.endswith(kinds)]


def checkpoint_prefix(name: str) -> str | None:
    """What all files of the TensorFlow checkpoint `name` begin with; None for anything else."""
    part = _CHECKPOINT_FILE.fullmatch(name)
    if part:
        return part[1]
    return name if not Path(name).is_file() and Path(f"{name}.index").is_file() else None


def checkpoint_paths(prefix: str) -> tuple[Path, ...]:
    """The files of the checkpoint that are read: the index and the data files."""
    path = Path(prefix)
    shards = (p for p in path.parent.iterdir() if p.name.startswith(f"{path.name}.data-"))
    data = sorted(shards, key=lambda p: p.name)
    return (Path(f"{prefix}.index"), *data)
