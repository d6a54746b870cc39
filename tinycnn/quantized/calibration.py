"""Makes a quantised program from a network: ranges of the values on images, integers of weights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..folding import fold
from ..input_spec import InputSpec
from ..layers import Layer
from ..plan import NETWORK_INPUT, Plan, Step, StepArrays, named_views, of_step
from ..reference_backend import ReferenceBackend, passes_of
from .program import WITH_WEIGHTS, Operation, Program, complete_program, outline
from .quantization import (
    LARGEST,
    Quantization,
    quantization_of,
    quantized_weights,
)

BATCH = 16
"""Images that go through the network together."""

Range = tuple[float, float]


def quantize(plan: Plan, vector: np.ndarray, spec: InputSpec, x: np.ndarray) -> Program:
    """The program of a network for its flat array `vector` of parameters and statistics.

    x  (N, H, W, C) float32: images, scaled as the network takes them, on which the ranges of all
       values are measured
    Raises ValueError if values are not finite: there is no range.
    """
    folded, vector = fold(plan, np.asarray(vector, np.float32))
    operations = outline(folded)
    ranges = _ranges(folded, vector, x)
    given = _input_quantization(spec, ranges["input"])
    parameters = named_views(folded.parameter_slots, vector)
    return complete_program(
        folded,
        operations,
        given,
        lambda operation: quantization_of(*ranges[operation.last]),
        lambda operation, x: _arrays(operation, of_step(operation.step, parameters), x),
    )


def _ranges(plan: Plan, vector: np.ndarray, x: np.ndarray) -> dict[str, Range]:
    """The smallest and the largest value of the input ("input") and of every step's output."""
    backend = ReferenceBackend(plan, vector, np.zeros_like(vector))
    found: dict[str, Range] = {}
    names = ("input", *(step.name for step in plan.steps))
    for k in range(0, len(x), BATCH):
        part = x[k : k + BATCH]
        for name, values in zip(names, (part, *(saved.y for saved in backend.run(part)))):
            low, high = float(values.min()), float(values.max())
            if not np.isfinite([low, high]).all():
                raise ValueError(
                    f"{name} has values that are NaN or infinite on the calibration images: such a "
                    "network cannot be quantised"
                )
            before = found.get(name, (low, high))
            found[name] = min(before[0], low), max(before[1], high)
    return found


def _input_quantization(spec: InputSpec, measured: Range) -> Quantization:
    """For pixels that are scaled alike in all images: the range of all pixels 0..255, so that an
    integer of the input is the pixel itself where there are no means.  Else the measured range."""
    if spec.scaling == "standardized":
        return quantization_of(*measured)
    largest = 255.0 if spec.scaling == "raw" else 1.0
    mean, std = spec.normalization() if spec.mean or spec.std else np.array([[0.0], [1.0]])
    return quantization_of(((0.0 - mean) / std).min(), ((largest - mean) / std).max())


def _arrays(
    operation: Operation, own: Mapping[str, np.ndarray], x: Quantization
) -> dict[str, np.ndarray]:
    step = operation.step
    if operation.kind in WITH_WEIGHTS:
        w = own["w"]
        if operation.kind == "depthwise":
            w = w.reshape(*w.shape[:2], -1)
        b = own.get("b", np.zeros(w.shape[-1], np.float32))
        return quantized_weights(w, b, x)._asdict()
    kept = {name: np.array(values, np.float32) for name, values in own.items()}
    if operation.kind == "table":
        assert operation.output is not None
        kept["table"] = table_of(step.layer, kept, x, operation.output)
    return kept


def table_of(
    layer: Layer, parameters: Mapping[str, np.ndarray], x: Quantization, y: Quantization
) -> np.ndarray:
    """uint8 (C, 256), or (1, 256) for a layer without parameters: the output for each integer of
    the input."""
    C = next((len(values) for values in parameters.values()), 1)
    integers = np.repeat(np.arange(LARGEST + 1, dtype=np.uint8)[:, None], C, axis=1)
    values = x.values(integers)
    step = Step("table", layer, (C,), (C,), (NETWORK_INPUT,))
    outputs = passes_of(layer).forward(StepArrays(step, parameters, {}, {}), values, None).y
    return np.ascontiguousarray(y.quantized(outputs).T)


def pixel_table(spec: InputSpec, x: Quantization) -> np.ndarray | None:
    """uint8 (C, 256): the integer of the input for each value of a pixel; None for scaling
    "standardized", where it also depends on the other pixels of the image."""
    if spec.scaling == "standardized":
        return None
    pixels = np.arange(256, dtype=np.float64)[:, None]
    largest = 255.0 if spec.scaling == "unit" else 1.0
    normalization = spec.normalization()
    if not normalization.size:
        normalization = np.array([[0.0] * spec.channels, [1.0] * spec.channels])
    values = (pixels - normalization[0] * largest) * (1.0 / (normalization[1] * largest))
    return np.ascontiguousarray(x.quantized(values.astype(np.float32)).T)
