"""A network as the list of calls and the weights that `engine.c` runs, and the cascade of the face
finder as `face_finder.c` reads it.

The buffers and the calls are those of an exported C program (`c_memory.py`); here they become
numbers instead of C text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from ... import layers
from ...input_spec import InputSpec
from ...layers import Layer, UnknownLayerError
from ...network import Network
from ...plan import Step
from ..c_file import filled_rows
from ..c_memory import INPUT, Call, Memory


class Operation(IntEnum):
    """What a call does: the first enum of engine.c, in its order."""

    CONV2D = 0
    DEPTHWISE_CONV2D = 1
    MAX_POOL = 2
    AVERAGE_POOL = 3
    RELU = 4
    LEAKY_RELU = 5
    PRELU = 6
    SIGMOID = 7
    TANH = 8
    DENSE = 9
    SCALE_SHIFT = 10
    ADD = 11
    COPY = 12


SCALINGS = {"raw": 0, "unit": 1, "standardized": 2}
_CHANNELS = 3


@dataclass(frozen=True)
class Kind:
    """How engine.c does a kind of layer.

    parameters  short names of the parameters that it reads, no more than two
    has_window  whether it has the numbers of a window
    number      the slope or the largest value
    """

    operation: Operation
    parameters: tuple[str, ...] = ()
    has_window: bool = False
    number: Callable[[Step], float] = lambda step: 0.0


def _largest(step: Step) -> float:
    assert isinstance(step.layer, layers.ReLU)
    most = step.layer.max_value
    return float(np.finfo(np.float32).max) if most is None else most


def _slope(step: Step) -> float:
    assert isinstance(step.layer, layers.LeakyReLU)
    return step.layer.negative_slope


KINDS: dict[type[Layer], Kind | None] = {
    layers.Conv2D: Kind(Operation.CONV2D, ("w", "b"), True),
    layers.DepthwiseConv2D: Kind(Operation.DEPTHWISE_CONV2D, ("w", "b"), True),
    layers.MaxPool2D: Kind(Operation.MAX_POOL, (), True),
    layers.AveragePool2D: Kind(Operation.AVERAGE_POOL, (), True),
    layers.GlobalAveragePool2D: Kind(Operation.AVERAGE_POOL, (), True),
    layers.ReLU: Kind(Operation.RELU, number=_largest),
    layers.LeakyReLU: Kind(Operation.LEAKY_RELU, number=_slope),
    layers.PReLU: Kind(Operation.PRELU, ("alpha",)),
    layers.Sigmoid: Kind(Operation.SIGMOID),
    layers.Tanh: Kind(Operation.TANH),
    layers.Dense: Kind(Operation.DENSE, ("w", "b")),
    layers.ScaleShift: Kind(Operation.SCALE_SHIFT, ("scale", "shift")),
    layers.Add: Kind(Operation.ADD),
    layers.Flatten: None,
    layers.Dropout: None,
    layers.SpatialDropout2D: None,
}
"""Layer class -> how engine.c does it; None: it changes no value.  BatchNorm has no entry: networks
are exported folded.  A layer without an entry is refused: a page cannot run it."""


class Cascade(NamedTuple):
    """The tables of a cascade classifier for faces: `ferdata.photos.cascade.tables`.

    first       int (S + 1,): the tests of stage s are first[s] to first[s + 1] - 1
    thresholds  float32 (S,)
    blocks      int (T, 4): x, y, width, height
    leaves      float32 (T, 256), of two values for each test
    """

    first: np.ndarray
    thresholds: np.ndarray
    blocks: np.ndarray
    leaves: np.ndarray


class Program(NamedTuple):
    """What `open_network` of engine.c takes: bytes, and float32 numbers."""

    calls: bytes
    weights: np.ndarray


def program_of(network: Network) -> Program:
    """The program of a network without BatchNorm.

    Raises UnknownLayerError, which names the layer, if engine.c does not have its kind.
    """
    for step in network.plan.steps:
        if type(step.layer) not in KINDS:
            raise UnknownLayerError(
                f"{step.name}: a page cannot run the layer {type(step.layer).__name__}; it knows "
                f"{', '.join(kind.__name__ for kind in KINDS)}"
            )
    memory = Memory(network.plan)
    places: dict[str, int] = {}
    pictures: list[tuple[int, ...]] = []
    n_values = 0
    for name, buffer in memory.buffers.items():
        H, W, C = buffer.shape
        first = (buffer.above * buffer.width + buffer.left) * C
        places[name] = len(pictures)
        pictures.append((n_values + first, buffer.width * C, H, W, C))
        n_values += buffer.n_values
    for view in memory.views:
        start = pictures[places[view.buffer]][0]
        places[view.name] = len(pictures)
        pictures.append((start, view.n_values, 1, 1, view.n_values))
    weights: list[np.ndarray] = []
    calls = []
    for call in memory.calls:
        if isinstance(call, Call):
            if call.copied is not None:
                calls.append(_copy(places[call.copied], places[call.inputs[0]]))
            calls.append(_numbers(network, call, places, weights))
        else:
            calls.append(_copy(*(places[name] for name in call)))
    scaling, normalization = _scaling(network.input_spec)
    header = (
        *(len(pictures), len(calls), n_values, len(network.classes)),
        *(places[INPUT], places[memory.output], scaling, normalization.size),
    )
    parts = [
        np.array(header, "<i4"),
        normalization.astype("<f8"),
        np.array(pictures, "<i4"),
        np.concatenate(calls),
    ]
    flat = np.concatenate([np.zeros(0, np.float32), *weights])
    return Program(b"".join(part.tobytes() for part in parts), flat)


def _scaling(spec: InputSpec) -> tuple[int, np.ndarray]:
    """The number of the scaling, and the shift and the factor of each channel, float64."""
    mean, std = spec.normalization()
    if not mean.size:
        return SCALINGS[spec.scaling], np.zeros(0)
    largest = 255 if spec.scaling == "unit" else 1
    return _CHANNELS, np.concatenate([mean * largest, 1 / (std * largest)])


def _numbers(
    network: Network, call: Call, places: dict[str, int], weights: list[np.ndarray]
) -> np.ndarray:
    """A `call` of engine.c, int32 (16,).  Its parameters are added to `weights`."""
    step, kind = call.step, KINDS[type(call.step.layer)]
    assert kind is not None
    shapes = step.layer.parameter_shapes(step.input_shape)
    starts = [0, 0]
    for k, short in enumerate(kind.parameters):
        if short in shapes:
            values = network.parameters[f"{step.name}.{short}"]
        else:
            values = np.zeros(step.layer.unused_bias_shape(step.input_shape))
        starts[k] = sum(part.size for part in weights)
        weights.append(filled_rows(call.operation.arranged(short, values)).ravel())
    given = [places[name] for name in call.inputs]
    window = step.window[:6] if kind.has_window else (0,) * 6
    counts_padding = int(kind.has_window and step.counts_padding)
    made = np.zeros(16, "<i4")
    made[:14] = [
        *(kind.operation, given[0], given[-1], places[call.output], *starts),
        *(*window, int(call.relu), counts_padding),
    ]
    made[14] = np.array(kind.number(step), "<f4").view("<i4")
    return made


def _copy(given: int, copied: int) -> np.ndarray:
    made = np.zeros(16, "<i4")
    made[:4] = Operation.COPY, given, given, copied
    return made


def packed_cascade(cascade: Cascade) -> bytes:
    """The cascade as `open_cascade` of face_finder.c reads it.  The two leaves of a test take a bit
    for each of the 256 codes.  Raises ValueError for a test with more than two values."""
    words = [
        np.array([len(cascade.thresholds), len(cascade.blocks)], "<i4"),
        cascade.first.astype("<i4"),
        cascade.thresholds.astype("<f4").view("<i4"),
    ]
    for block, leaves in zip(cascade.blocks, cascade.leaves):
        values = np.unique(leaves)
        if len(values) > 2:
            raise ValueError(f"a test of the cascade has {len(values)} values; expected two")
        two = np.array([values[0], values[-1]], "<f4").view("<i4")
        bits = np.packbits(leaves == values[-1], bitorder="little").view("<i4")
        words += [block.astype("<i4"), two, bits]
    return np.concatenate(words).tobytes()
