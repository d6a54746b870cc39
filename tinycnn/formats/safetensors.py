"""A network as one safetensors file: tensors by name, everything else as JSON in its metadata.

The metadata key "tinycnn" holds {"version", "layers", "input_spec", "training",
"calibration_temperature", "crc32"}.  A missing temperature means 1.0.  "crc32" is a checksum of the
other values and of the tensors, so that `load` notices any changed bit; a file without it is not
checked.  Tensors are the network's parameters ("conv1.w", ...) and statistics ("bn1.running_mean",
...).  `load` ignores names with a "/": they are for other data, such as the optimizer's state in a
checkpoint.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..ground.atomic_file import write_atomically
from ..ground.messages import plain
from ..ground.regular_file import open_regular
from ..input_spec import InputSpec
from ..layers import Layer, UnknownLayerError, WindowLayer, layer_from_config
from ..network import Network
from ..plan import Plan, build_plan
from ..quantized.network import QuantizedNetwork
from .quantized_tensors import program_from, tensors_and_description

METADATA_KEY = "tinycnn"
QUANTIZED_KEY = "tinycnn_quantized"
"""The key instead of METADATA_KEY in the file of a quantised network: see quantized_tensors.py."""
VERSION = 1
DTYPES = ("float16", "float32", "float64")

MAX_HEADER_BYTES = 8 << 20
"""The header holds names, the description and a checkpoint's records (300 bytes an epoch).  As
Python objects, JSON takes twenty times its length in memory."""

MAX_VALUES = 1 << 27
"""Most values that all layers together may compute for one image: half a gigabyte."""

MAX_LAYERS = 1 << 13
"""Most layers of a network, those of residual blocks included."""


class ModelFileError(ValueError):
    """A model file cannot be used; the message names the file and what is wrong."""


def save(
    network: Network | QuantizedNetwork, path: str | os.PathLike, *, dtype: Any = None
) -> None:
    """Write `network` to `path`, atomically.  `load` reads a Network, `tinycnn.load_quantized` a
    QuantizedNetwork.

    dtype: of the parameters in the file, one of DTYPES; by default the network's own.  float16
    takes half the space of float32, and `load` converts it to float32.  Statistics keep their
    dtype: variances are often too large for float16.
    Raises ValueError for another dtype, for weights too large for it, and for any dtype with a
    QuantizedNetwork; OSError where the file cannot be written.
    """
    if isinstance(network, QuantizedNetwork):
        if dtype is not None:
            raise ValueError(f"dtype is {dtype!r}; a quantised network is stored as it is")
        write_atomically(path, quantized_bytes(network))
    else:
        write_atomically(path, to_bytes(network, dtype=dtype))


def quantized_bytes(network: QuantizedNetwork) -> bytes:
    """The content of a quantised network's file."""
    import safetensors.numpy

    tensors, description = tensors_and_description(network)
    description["crc32"] = _checksum(tensors, description)
    return safetensors.numpy.save(tensors, {QUANTIZED_KEY: json.dumps(description)})


def to_bytes(
    network: Network,
    extra_tensors: Mapping[str, np.ndarray] | None = None,
    extra_metadata: Mapping[str, str] | None = None,
    *,
    dtype: Any = None,
) -> bytes:
    """The file's content.  extra_tensors: names must contain a "/".  The rest as in `save`."""
    import safetensors.numpy

    tensors = {name: _stored(name, p, dtype) for name, p in network._parameters.items()}
    tensors |= {name: _stored(name, s, None) for name, s in network._statistics.items()}
    for name, tensor in (extra_tensors or {}).items():
        if "/" not in name:
            raise ValueError(f"extra tensor {name!r}: expected a name with a '/'")
        tensors[name] = np.asarray(tensor, order="C")  # ascontiguousarray makes scalars arrays
    description = {
        "version": VERSION,
        "layers": [layer.config() for layer in network.layers],
        "input_spec": network.input_spec.config(),
        "training": network.training_summary,
        "calibration_temperature": network.calibration_temperature,
    }
    description["crc32"] = _checksum(tensors, description)
    metadata = {METADATA_KEY: json.dumps(description), **(extra_metadata or {})}
    return safetensors.numpy.save(tensors, metadata)


def _stored(name: str, parameter: np.ndarray, dtype: Any) -> np.ndarray:
    """The parameter as it goes into the file."""
    stored_dtype = np.dtype(parameter.dtype if dtype is None else dtype)
    if stored_dtype.name not in DTYPES:
        raise ValueError(f"dtype is {stored_dtype}; expected one of {', '.join(DTYPES)}")
    with np.errstate(over="ignore"):
        stored = np.asarray(parameter, stored_dtype, order="C")
    if np.isinf(stored).sum() > np.isinf(parameter).sum():
        raise ValueError(
            f"{name} holds {np.abs(parameter).max():g}; the largest {stored_dtype} is "
            f"{np.finfo(stored_dtype).max:g}"
        )
    return stored


def _checksum(tensors: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> str:
    covered = {key: value for key, value in description.items() if key != "crc32"}
    crc = zlib.crc32(json.dumps(covered).encode("ascii"))
    for name in sorted(name for name in tensors if "/" not in name):
        tensor = tensors[name]
        crc = zlib.crc32(f"{name} {tensor.dtype.name} {tensor.shape}".encode(), crc)
        crc = zlib.crc32(tensor.tobytes(), crc)
    return f"{crc:08x}"


def load(
    path: str | os.PathLike,
    *,
    backend: str = "auto",
    n_threads: int | None = None,
    custom_layers: Sequence[type[Layer]] = (),
) -> Network:
    """The network in the file at `path`.

    backend, n_threads  as in `Network`
    custom_layers       layer classes of your own that the file may name
    Raises FileNotFoundError; ModelFileError for a file that is damaged or holds no network;
    UnknownLayerError for a custom layer that the engine has no entry for.
    """
    tensors, metadata = read(path)
    return network_from(
        path, tensors, metadata, backend=backend, n_threads=n_threads, custom_layers=custom_layers
    )


def from_bytes(
    content: bytes,
    *,
    backend: str = "auto",
    n_threads: int | None = None,
    custom_layers: Sequence[type[Layer]] = (),
) -> Network:
    """The network in what `to_bytes` returned.  The rest, and the errors, as in `load`."""
    import safetensors.numpy

    try:
        tensors = safetensors.numpy.load(content)
        n_header_bytes = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + n_header_bytes]).get("__metadata__") or {}
    except (safetensors.SafetensorError, KeyError) as error:  # the latter: unknown dtypes
        raise ModelFileError(f"not safetensors, or damaged: {_shortened(str(error))}") from None
    return network_from(
        "these bytes",
        tensors,
        metadata,
        backend=backend,
        n_threads=n_threads,
        custom_layers=custom_layers,
    )


def read(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """(all tensors by name, metadata) of a safetensors file.  Errors as `load`."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        what = "no such model file"
        if Path(f"{os.fspath(path)}.index").is_file():
            what += (
                ", but a TensorFlow checkpoint: tinycnn.load reads it, tinycnn convert makes one"
            )
        raise FileNotFoundError(f"{path}: {what}")
    with open_regular(path) as opened:
        n_header_bytes = int.from_bytes(opened.read(8), "little")
    if n_header_bytes > MAX_HEADER_BYTES:
        raise ModelFileError(
            f"{path}: not a safetensors file, or damaged: a header of {n_header_bytes:,} bytes; "
            f"at most {MAX_HEADER_BYTES:,} are read"
        )
    try:
        with safe_open(str(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            return {name: file.get_tensor(name) for name in file.keys()}, metadata
    except (SafetensorError, TypeError, AttributeError) as error:  # the last two: unknown dtypes
        reason = _shortened(str(error))
        raise ModelFileError(f"{path}: not a safetensors file, or damaged: {reason}") from None


def network_from(
    path: str | os.PathLike,
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, str],
    *,
    backend: str = "auto",
    n_threads: int | None = None,
    custom_layers: Sequence[type[Layer]] = (),
) -> Network:
    """The network in the tensors and metadata that `read` returned.

    Shapes are compared with the tensors before anything is allocated.  path: for messages; the
    rest, and the errors, as in `load`.
    """
    if QUANTIZED_KEY in metadata and METADATA_KEY not in metadata:
        raise ModelFileError(
            f"{path}: holds a quantised network, which only predicts: tinycnn.load_quantized reads "
            "it"
        )
    try:
        description = json.loads(metadata[METADATA_KEY])
        if description["version"] != VERSION:
            raise ValueError(f"version {description['version']}; this release reads {VERSION}")
        layers = _layers(description, custom_layers)
        spec = InputSpec(**description["input_spec"])
        plan = build_plan(layers, spec.shape)
        check_work(plan)
        n_classes = plan.output_shape[0]
        if len(spec.classes) != n_classes:
            raise ValueError(f"{len(spec.classes)} class names for {n_classes} logits")
        training = description["training"]
        if not isinstance(training, dict):
            raise ValueError(f"training is {training!r}; expected an object")
        temperature = _temperature(description)
    except UnknownLayerError:  # not the file's fault
        raise
    except KeyError as error:
        raise ModelFileError(f"{path}: not a tinycnn model: {error} is missing") from None
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        reason = _shortened(str(error))
        raise ModelFileError(f"{path}: its description is not usable: {reason}") from None
    own = {name: tensor for name, tensor in tensors.items() if "/" not in name}
    slots = {**plan.parameter_slots, **plan.statistic_slots}
    expected = {name: shape for name, (_, shape) in slots.items()}
    if {name: tensor.shape for name, tensor in own.items()} != expected:
        raise ModelFileError(
            f"{path}: its tensors do not fit its layers: expected {_listed(expected)}; "
            f"found {_listed({name: tensor.shape for name, tensor in own.items()})}"
        )
    dtypes = {tensor.dtype for tensor in own.values()}
    if not dtypes <= {np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.float16)}:
        raise ModelFileError(f"{path}: tensors of {dtypes}; expected float16, float32 or float64")
    dtype = np.float64 if dtypes == {np.dtype(np.float64)} else np.float32
    if not _matches(tensors, description):
        raise ModelFileError(
            f"{path}: its checksum does not match: it is damaged, or another program changed it"
        )
    network = Network(layers, spec, backend=backend, dtype=dtype, n_threads=n_threads)
    network.set_parameters(own)
    network.training_summary = training
    network.calibration_temperature = temperature
    return network


def quantized_from(
    path: str | os.PathLike,
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, str],
    *,
    backend: str = "auto",
    n_threads: int | None = None,
    custom_layers: Sequence[type[Layer]] = (),
) -> QuantizedNetwork:
    """The quantised network in the tensors and metadata that `read` returned.  Errors as `load`."""
    if QUANTIZED_KEY not in metadata:
        raise ModelFileError(
            f"{path}: holds no quantised network"
            + ("; tinycnn.load reads it" if METADATA_KEY in metadata else "")
        )
    try:
        description = json.loads(metadata[QUANTIZED_KEY])
        if not _matches(tensors, description):
            raise ValueError("its checksum does not match: another program changed it")
        layers = _layers(description, custom_layers)
        plan = build_plan(layers, InputSpec(**description["input_spec"]).shape)
        check_work(plan)
        program, spec = program_from(plan, tensors, description)
        training, temperature = description["training"], _temperature(description)
        if not isinstance(training, dict):
            raise ValueError(f"training is {training!r}; expected an object")
    except UnknownLayerError:  # not the file's fault
        raise
    except KeyError as error:
        raise ModelFileError(f"{path}: {error} is missing") from None
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ModelFileError(f"{path}: damaged or not usable: {_shortened(str(error))}") from None
    network = QuantizedNetwork(program, spec, backend=backend, n_threads=n_threads)
    network.training_summary, network.calibration_temperature = training, temperature
    return network


def load_quantized(
    path: str | os.PathLike,
    *,
    backend: str = "auto",
    n_threads: int | None = None,
    custom_layers: Sequence[type[Layer]] = (),
) -> QuantizedNetwork:
    """The quantised network in the file at `path`, which `save` wrote.  Options and errors as in
    `load`."""
    tensors, metadata = read(path)
    return quantized_from(
        path, tensors, metadata, backend=backend, n_threads=n_threads, custom_layers=custom_layers
    )


def _layers(description: Mapping[str, Any], custom_layers: Sequence[type[Layer]]) -> list[Layer]:
    """The described layers.  Raises ValueError, before any is made, if there are too many."""
    n_layers, rest = 0, list(description["layers"])
    while rest:
        part = rest.pop()
        if isinstance(part, Mapping):
            n_layers += 1
            rest.extend(part.values())
        elif isinstance(part, list):
            rest.extend(part)
        if n_layers > MAX_LAYERS:
            raise ValueError(f"more than {MAX_LAYERS:,} layers")
    return [layer_from_config(config, custom_layers) for config in description["layers"]]


def _temperature(description: Mapping[str, Any]) -> float:
    temperature = description.get("calibration_temperature", 1.0)
    if not isinstance(temperature, (int, float)) or not 0 < temperature < math.inf:
        raise ValueError(f"calibration_temperature is {temperature!r}; expected above 0")
    return float(temperature)  # OverflowError: an int may be larger than any float


def _matches(tensors: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> bool:
    try:
        return description.get("crc32") in (None, _checksum(tensors, description))
    except RecursionError:  # a description of very deeply nested lists
        return False


def check_work(plan: Plan) -> None:
    """Raise ValueError for a network that no machine could run: a small file may describe one."""
    n_values = math.prod(plan.input_shape)
    for step in plan.steps:
        n_values += math.prod(step.output_shape)
        most = 2 * max(step.input_shape)
        if isinstance(step.layer, WindowLayer):
            KH, KW, _, _, *padding = step.window
            for what, size in (("a window", max(KH, KW)), ("padding", max(padding))):
                if size > most:
                    raise ValueError(f"layer {step.name}: {what} of {size} over {step.input_shape}")
    if n_values > MAX_VALUES:
        raise ValueError(f"{n_values:,} values an image; at most {MAX_VALUES:,} are read")


def _listed(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return _shortened(", ".join(f"{name} {tuple(s)}" for name, s in sorted(shapes.items())))


def _shortened(text: str, n_most: int = 1000) -> str:
    """Text from a file, on one line and cut to n_most characters."""
    return plain(text[:n_most]) + ("..." if len(text) > n_most else "")
