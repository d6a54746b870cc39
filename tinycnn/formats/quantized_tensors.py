"""A quantised network as tensors and a description, which `safetensors.py` writes and reads.

The description holds {"version", "layers", "input_spec", "training", "calibration_temperature",
"input", "outputs"}: the layers without BatchNorm; "input" and, for each operation that does not
keep the quantization of its input, "outputs" are [scale, zero point].  Tensors are the arrays of
the operations: "conv1.w" (int8), "conv1.scale" (float32), "conv1.b" (int32), "tanh1.table" (uint8).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..input_spec import InputSpec
from ..plan import Plan
from ..quantized.network import QuantizedNetwork
from ..quantized.program import (
    KEEP_QUANTIZATION,
    WITH_WEIGHTS,
    Operation,
    Program,
    complete_program,
    outline,
)
from ..quantized.quantization import (
    LARGEST,
    LARGEST_BIAS,
    LARGEST_WEIGHT,
    Quantization,
    multipliers,
)

VERSION = 1


def tensors_and_description(
    network: QuantizedNetwork,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    program = network.program
    outputs = {
        operation.step.name: _pair(operation.output)
        for operation in program.operations
        if operation.output is not None and operation.kind not in KEEP_QUANTIZATION
    }
    tensors = {
        f"{operation.step.name}.{name}": np.ascontiguousarray(array)
        for operation in program.operations
        for name, array in operation.arrays.items()
    }
    return tensors, {
        "version": VERSION,
        "layers": [layer.config() for layer in program.plan.layers],
        "input_spec": network.input_spec.config(),
        "training": network.training_summary,
        "calibration_temperature": network.calibration_temperature,
        "input": _pair(program.input),
        "outputs": outputs,
    }


def program_from(
    plan: Plan, tensors: Mapping[str, np.ndarray], description: Mapping[str, Any]
) -> tuple[Program, InputSpec]:
    """The program and the InputSpec.  plan: of the description's layers.

    Raises ValueError, TypeError or KeyError for a description or tensors that cannot be used.
    """
    if description["version"] != VERSION:
        raise ValueError(f"version {description['version']!r}; this release reads {VERSION}")
    spec = InputSpec(**description["input_spec"])
    n_classes = plan.output_shape[0]
    if len(spec.classes) != n_classes:
        raise ValueError(f"{len(spec.classes)} class names for {n_classes} logits")
    operations, outputs = outline(plan), description["outputs"]
    wanted: set[str] = set()

    def arrays_of(operation: Operation, x: Quantization) -> dict[str, np.ndarray]:
        arrays = {}
        for short, (dtype, shape) in _expected(operation).items():
            name = f"{operation.step.name}.{short}"
            wanted.add(name)
            if name not in tensors:
                raise ValueError(f"no tensor {name}")
            tensor = tensors[name]
            if tensor.dtype != dtype or tensor.shape != shape:
                raise ValueError(
                    f"tensor {name} is {tensor.dtype} {tensor.shape}; expected {dtype} {shape}"
                )
            arrays[short] = tensor
        _check(operation, arrays, x)
        return arrays

    program = complete_program(
        plan,
        operations,
        _quantization(description["input"]),
        lambda operation: _quantization(outputs[operation.step.name]),
        arrays_of,
    )
    if set(tensors) != wanted:
        raise ValueError(f"tensors that no layer has: {sorted(set(tensors) - wanted)}")
    return program, spec


def _pair(quantization: Quantization) -> list[float | int]:
    return [float(quantization.scale), quantization.zero_point]


def _quantization(pair: Any) -> Quantization:
    scale, zero_point = pair
    fits = isinstance(scale, (int, float)) and np.finfo(np.float32).tiny <= scale <= 1e30
    if not fits or type(zero_point) is not int or not 0 <= zero_point <= LARGEST:
        raise ValueError(f"a quantization is {pair!r}; expected [a number above 0, 0 to {LARGEST}]")
    return Quantization(np.float32(scale), zero_point)


def _expected(operation: Operation) -> dict[str, tuple[str, tuple[int, ...]]]:
    """dtype and shape of each array of an operation."""
    step = operation.step
    shapes = step.layer.parameter_shapes(step.input_shape)
    if operation.kind in WITH_WEIGHTS:
        F = step.output_shape[-1]
        w = (*shapes["w"][:2], F) if operation.kind == "depthwise" else shapes["w"]
        return {"w": ("int8", w), "scale": ("float32", (F,)), "b": ("int32", (F,))}
    found = {name: ("float32", shape) for name, shape in shapes.items()}
    if operation.kind == "table":
        C = next((shape[0] for shape in shapes.values()), 1)
        found["table"] = ("uint8", (C, LARGEST + 1))
    return found


def _check(operation: Operation, arrays: Mapping[str, np.ndarray], x: Quantization) -> None:
    """Raise ValueError for numbers with which sums would not fit in 32 bits."""
    name = operation.step.name
    if operation.kind in WITH_WEIGHTS:
        with np.errstate(all="ignore"):
            factors = multipliers(x, arrays["scale"], operation.output)
        if not np.isfinite(factors).all() or not (arrays["scale"] > 0).all():
            raise ValueError(f"{name}.scale is not usable: expected numbers above 0")
        if (arrays["w"] < -LARGEST_WEIGHT).any():
            raise ValueError(f"{name}.w holds -128; expected -127 to 127")
        if (np.abs(arrays["b"].astype(np.int64)) > LARGEST_BIAS).any():
            raise ValueError(f"{name}.b is beyond {LARGEST_BIAS:,}")
    for short, array in arrays.items():
        if array.dtype == np.float32 and not np.isfinite(array).all():
            raise ValueError(f"{name}.{short} holds NaN or infinity")
