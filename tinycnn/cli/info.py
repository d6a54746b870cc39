"""describe a model: layers, shapes, parameters, multiply-adds, classes, how it was trained

For a TensorFlow checkpoint that is not one of the paper's networks, lists its tensors.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from ..formats import tf_checkpoint
from ..formats.model_file import checkpoint_prefix
from ..ground.messages import plain
from ..ground.printing import print_text
from .console import print_json, print_table
from .model_argument import (
    OpenedModel,
    OpenedQuantized,
    add_model_argument,
    open_to_predict,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_argument(parser)


def run(args: argparse.Namespace) -> int:
    prefix = checkpoint_prefix(args.model)
    if prefix is not None:
        tensors = tf_checkpoint.list_tensors(prefix)
        published = set(tf_checkpoint.PUBLISHED_NAMES.values())
        if not published <= {tensor.name for tensor in tensors}:
            return _print_tensors(args, tensors)
    opened = open_to_predict(args.model, args.variant)
    if isinstance(opened, OpenedQuantized):
        return _print_quantized(args, opened)
    described = describe(opened)
    if args.json:
        print_json(described)
    else:
        _print(described)
    return 0


def _print_quantized(args: argparse.Namespace, model: OpenedQuantized) -> int:
    network = model.network
    if args.json:
        names = ("name", "kind", "output", "arithmetic", "bytes")
        described = {
            "model": model.name,
            "kind": "quantised",
            "files": {str(model.path): model.path.stat().st_size},
            "dtype": "int8",
            "operations": [dict(zip(names, row)) for row in network.summary().rows],
            "layers_in_float": list(network.layers_in_float),
            "input_spec": network.input_spec.config(),
            "training": network.training_summary,
        }
        print_json(described)
    else:
        print_text(plain(f"{model.name}: a network in 8-bit integers"))
        print_text(network.summary())
    return 0


def describe(model: OpenedModel) -> dict[str, Any]:
    """The description of a model, as values that JSON can hold."""
    network = model.network
    layers = [
        {
            "name": step.name,
            **step.layer.config(),
            "input_shape": list(step.input_shape),
            "output_shape": list(step.output_shape),
            "n_parameters": step.n_parameters,
            "n_multiply_adds": step.n_multiply_adds,
        }
        for step in network.plan.steps
    ]
    return {
        "model": model.name,
        "kind": model.kind,
        "files": {str(path): path.stat().st_size for path in model.paths},
        "dtype": model.dtype,
        "n_parameters": network.n_parameters,
        "n_multiply_adds": sum(layer["n_multiply_adds"] for layer in layers),
        "input_spec": network.input_spec.config(),
        "calibration_temperature": network.calibration_temperature,
        "layers": layers,
        "training": network.training_summary,
    }


def _print(described: dict[str, Any]) -> None:
    spec = described["input_spec"]
    size = "x".join(str(spec[name]) for name in ("height_px", "width_px", "channels"))
    print_text(plain(f"{described['model']}: {described['kind']}, {described['dtype']}"))
    for path, n_bytes in described["files"].items():
        print_text(plain(f"  {path}: {n_bytes:,} bytes"))
    print_text(
        f"  {described['n_parameters']:,} parameters, {described['n_multiply_adds']:,} "
        "multiply-adds per image"
    )
    framing = spec["framing"] or "unknown"
    print_text(plain(f"  input: {size} uint8, scaling {spec['scaling']}, framing {framing}"))
    for name in ("mean", "std"):
        if name in spec:
            print_text(
                f"  {name} of the channels: {', '.join(f'{value:g}' for value in spec[name])}"
            )
    print_text(plain(f"  classes: {', '.join(spec['classes'])}"))
    print_text(f"  calibration temperature: {described['calibration_temperature']:g}\n")
    rows = [
        (
            layer["name"],
            words(layer),
            "x".join(map(str, layer["output_shape"])),
            f"{layer['n_parameters']:,}",
            f"{layer['n_multiply_adds']:,}",
        )
        for layer in described["layers"]
    ]
    print_table(("layer", "kind", "output", "parameters", "multiply-adds"), rows, left=2)
    if described["training"]:
        print_text("\ntraining")
        for name, value in described["training"].items():
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            print_text(plain(f"  {name}: {text}"))


def words(layer: dict[str, Any]) -> str:
    """A layer's config as text: "Conv2D filters 16, kernel_size 8, stride 2, padding same"."""
    hidden = ("name", "kind", "input_shape", "output_shape", "n_parameters", "n_multiply_adds")
    options = ", ".join(f"{key} {value}" for key, value in layer.items() if key not in hidden)
    return f"{layer['kind']} {options}".rstrip()


def _print_tensors(args: argparse.Namespace, tensors: Sequence[tf_checkpoint.TensorInfo]) -> int:
    """Print the tensors of a checkpoint that is not one of the paper's networks."""
    if args.json:
        entries = [{"name": t.name, "dtype": t.dtype, "shape": list(t.shape)} for t in tensors]
        print_json({"model": args.model, "kind": "TensorFlow checkpoint", "tensors": entries})
        return 0
    print_text(
        plain(f"{args.model}: TensorFlow checkpoint, not one of the paper's networks; it holds")
    )
    rows = [(t.name, t.dtype, "x".join(map(str, t.shape)) or "scalar") for t in tensors]
    print_table(("tensor", "dtype", "shape"), rows, left=3)
    return 0
