"""A network from an ONNX model: what PyTorch, Keras (tf2onnx) and scikit-learn's converter write.

    model_file.py   bytes -> nodes and constants, with every size checked      (nodes.py, errors.py)
    constants.py    computes the nodes whose inputs are all constants
    values.py       where the values of an ONNX tensor lie in the output of our layers
    operators.py    which function reads which operator: windows.py, channels.py, activations.py,
                    arrangement.py; reading.py is what they share
    layer_graph.py  from a graph of layers to a list with Residuals

`tinycnn.formats.onnx.load_network` is the door.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...input_spec import InputSpec
from ...network import Network
from ..safetensors import ModelFileError
from .description import are_names, description_of
from .errors import NotUsable
from .found_layers import FoundLayers, arrangements_of, layers_of, network_input
from .model_file import DTYPES, read_graph
from .values import picture_places, vector_places

logger = logging.getLogger("tinycnn")


@dataclass(frozen=True)
class ImportedNetwork:
    """A network from an ONNX model.

    notes  what was changed or left out, each a sentence for the user
    """

    network: Network
    notes: tuple[str, ...]


def load_network(
    path: str | os.PathLike,
    *,
    classes: Sequence[str] | None = None,
    scaling: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    framing: str | None = None,
    backend: str = "auto",
    n_threads: int | None = None,
) -> Network:
    """The network in an ONNX model.

    `Network.forward` takes what the model takes, with channels last, and gives the logits: a
    Softmax at the end is left out.  It trains on, is saved and exported like any other.

    classes  names in the order of the logits; by default those in the model's metadata (a JSON list
             under "classes"), or numbers
    scaling, mean, std  as in InputSpec: how pixels 0..255 become what the model takes.  By default
             what the metadata of a model written by tinycnn say, else 0..255 as they are
    framing  as in InputSpec;  backend, n_threads: as in Network
    What was left out is logged at level INFO; `import_network` returns it.
    Raises FileNotFoundError; ImportError without the package onnx; ModelFileError for a model that
    is damaged or has something that tinycnn's layers cannot express (the message names the node);
    ValueError for a wrong option.
    """
    imported = import_network(
        path,
        classes=classes,
        scaling=scaling,
        mean=mean,
        std=std,
        framing=framing,
        backend=backend,
        n_threads=n_threads,
    )
    for note in imported.notes:
        logger.info("%s: %s", path, note)
    return imported.network


@np.errstate(invalid="ignore")  # a cast of a signalling NaN; NaN is refused later, in words
def import_network(
    path: str | os.PathLike,
    *,
    classes: Sequence[str] | None = None,
    scaling: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    framing: str | None = None,
    backend: str = "auto",
    n_threads: int | None = None,
) -> ImportedNetwork:
    """The network, and notes of what was left out.  Arguments and errors as `load_network`."""
    try:
        graph = read_graph(path)
        given = network_input(graph)
        shape = tuple(size or 1 for size in (given.shape or ())[1:])
        description = description_of(graph, given.name, shape)
        found = layers_of(graph, description.start, arrangements_of(shape, graph.producer))
        notes = [*description.notes, *found.notes, *_check_output(found)]
        names, n_outputs = description.classes or found.classes, found.places.size
        if classes is None and names and (len(names) != n_outputs or not are_names(names)):
            notes.append(f"it does not name {n_outputs} different classes: they are numbered")
            names = ()
        options: dict[str, Any] = {"scaling": scaling, "mean": mean, "std": std, "framing": framing}
        chosen = {name: value for name, value in options.items() if value is not None}
        chosen["classes"] = names if classes is None else tuple(classes)
        H, W, C = found.arrangement.shape
        spec = InputSpec(H, W, C, **{**description.options, **chosen})
        dtype = np.float64 if DTYPES.get(given.dtype) == "float64" else np.float32
        network = found.network(spec, dtype, backend, n_threads)
        network.calibration_temperature = description.calibration_temperature
    except NotUsable as error:
        raise ModelFileError(f"{path}: {error}") from None
    return ImportedNetwork(network, tuple(notes))


def _check_output(found: FoundLayers) -> list[str]:
    """Notes on the order of the logits.  NotUsable if it is another than that of the output."""
    flat = found.places.ravel()
    if np.array_equal(flat, vector_places(flat.shape)):
        return []
    if found.places.ndim == 4:
        C, H, W = found.places.shape[1:]
        if np.array_equal(found.places, picture_places((H, W, C))):
            return [f"its output is a picture ({C}, {H}, {W}): as a vector it runs H, W, C"]
    raise NotUsable(
        f"its output of shape {found.places.shape} lists channels before pixels; the nearest is an "
        "output that is computed by a dense layer, or a picture (N, C, H, W)"
    )
