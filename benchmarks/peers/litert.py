"""LiteRT (formerly TensorFlow Lite) with XNNPACK, on the problem's .tflite files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..problem import Problem
from . import Unable


def forward(problem: Problem, batch: int, threads: int) -> Callable[[], np.ndarray]:
    from ai_edge_litert.interpreter import Interpreter

    if problem.weights_from == "seeded":
        raise Unable("there is a .tflite file for MicroExpNet's published weights alone")
    folder = Path(os.environ["TINYCNN_SHARED"]) / "data" / "microexpnet_ck"
    path = folder / f"microexpnet_b{batch}.tflite"
    interpreter = Interpreter(model_path=str(path), num_threads=threads)
    interpreter.allocate_tensors()
    (source,), (sink,) = interpreter.get_input_details(), interpreter.get_output_details()
    x = problem.x[:batch].reshape(source["shape"])
    into, out_of = source["index"], sink["index"]

    def call() -> np.ndarray:
        interpreter.set_tensor(into, x)
        interpreter.invoke()
        return interpreter.get_tensor(out_of)

    return call
