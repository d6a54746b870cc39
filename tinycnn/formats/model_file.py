"""Reads a network from any file that holds one: a model file, an ONNX model, or a TensorFlow
checkpoint."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from ..layers import Layer
from ..network import Network
from . import safetensors

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
    Raises FileNotFoundError; ValueError for a file that is damaged or holds no network, and for a
    wrong option; UnknownLayerError for a custom layer that the engine has no entry for.
    """
    if os.fspath(path).endswith(".onnx"):
        from . import onnx  # here and below: a model of another format is read sooner

        return onnx.load_network(path, backend=backend, n_threads=n_threads)
    prefix = checkpoint_prefix(os.fspath(path))
    if prefix is not None:
        from . import tf_checkpoint

        return tf_checkpoint.load_network(
            prefix, variant=variant, backend=backend, n_threads=n_threads
        )
    return safetensors.load(path, backend=backend, n_threads=n_threads, custom_layers=custom_layers)


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
