"""A network as one safetensors file: tensors by name, everything else as JSON in its metadata.

Metadata key "tinycnn" holds {"version", "layers", "input_spec", "training"}.  Tensors are the
network's parameters ("conv1.w", ...); names with a "/" belong to others (a checkpoint keeps its
optimizer there) and are passed over by `load`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Mapping

import numpy as np

from ..atomic_file import write_atomically
from ..input_spec import InputSpec
from ..layers import layer_from_config
from ..network import Network
from ..plan import build_plan

METADATA_KEY = "tinycnn"
VERSION = 1


class ModelFileError(ValueError):
    """A model file that cannot be used; the message names the file and what is wrong."""


def save(network: Network, path: str | os.PathLike) -> None:
    """Write `network` to `path`, atomically.  Raises OSError where it cannot be written."""
    write_atomically(path, to_bytes(network))


def to_bytes(
    network: Network,
    extra_tensors: Mapping[str, np.ndarray] | None = None,
    extra_metadata: Mapping[str, str] | None = None,
) -> bytes:
    """The file's content.  extra_tensors: names must contain a "/"."""
    import safetensors.numpy

    tensors = {name: np.asarray(p, order="C") for name, p in network.parameters.items()}
    for name, tensor in (extra_tensors or {}).items():
        if "/" not in name:
            raise ValueError(f"extra tensor {name!r}: expected a name with a '/'")
        tensors[name] = np.asarray(tensor, order="C")  # keeps n_steps a scalar
    description = {
        "version": VERSION,
        "layers": [layer.config() for layer in network.layers],
        "input_spec": network.input_spec.config(),
        "training": network.training_summary,
    }
    metadata = {METADATA_KEY: json.dumps(description), **(extra_metadata or {})}
    return safetensors.numpy.save(tensors, metadata)


def load(
    path: str | os.PathLike, *, backend: str = "numba", n_threads: int | None = None
) -> Network:
    """The network in the file at `path`.

    Raises FileNotFoundError, or ModelFileError for a file that is damaged or holds no network.
    """
    tensors, metadata = read(path)
    return network_from(path, tensors, metadata, backend=backend, n_threads=n_threads)


def read(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """All tensors and the metadata of a safetensors file.  Errors as `load`."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such model file")
    try:
        with safe_open(str(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            return {name: file.get_tensor(name) for name in file.keys()}, metadata
    except (SafetensorError, TypeError, AttributeError) as error:  # the last two: no such dtype
        raise ModelFileError(f"{path}: not a safetensors file, or damaged: {error}") from None


def network_from(
    path: str | os.PathLike,
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, str],
    **options: Any,
) -> Network:
    """The network that `read` found; sizes are compared with the tensors before anything is
    allocated.  path: for messages.  options: of `Network`.  Errors as `load`."""
    try:
        description = json.loads(metadata[METADATA_KEY])
        if description["version"] != VERSION:
            raise ValueError(f"version {description['version']}; this release reads {VERSION}")
        layers = [layer_from_config(config) for config in description["layers"]]
        spec = InputSpec(**description["input_spec"])
        plan = build_plan(layers, spec.shape)
        n_classes = plan.output_shape[0]
        if len(spec.classes) != n_classes:
            raise ValueError(f"{len(spec.classes)} class names for {n_classes} logits")
        training = description["training"]
        if not isinstance(training, dict):
            raise ValueError(f"training is {training!r}; expected an object")
    except KeyError as error:
        raise ModelFileError(f"{path}: not a tinycnn model: {error} is missing") from None
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ModelFileError(f"{path}: its description is not usable: {error}") from None
    own = {name: tensor for name, tensor in tensors.items() if "/" not in name}
    expected = {name: shape for name, (_, shape) in plan.parameter_slots.items()}
    if {name: tensor.shape for name, tensor in own.items()} != expected:
        raise ModelFileError(
            f"{path}: its tensors are not those of its layers: expected {_listed(expected)}; "
            f"found {_listed({name: tensor.shape for name, tensor in own.items()})}"
        )
    dtypes = {tensor.dtype for tensor in own.values()}
    if not dtypes <= {np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.float16)}:
        raise ModelFileError(f"{path}: tensors of {dtypes}; expected float16, float32 or float64")
    dtype = np.float64 if dtypes == {np.dtype(np.float64)} else np.float32
    network = Network(layers, spec, dtype=dtype, **options)
    for name, tensor in own.items():
        network.parameters[name][:] = tensor
    network.training_summary = training
    return network


def _listed(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {tuple(shape)}" for name, shape in sorted(shapes.items()))
