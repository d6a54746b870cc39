"""LiteRT (formerly TensorFlow Lite) with XNNPACK, on the network as a .tflite model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..problem import Problem
from ..tflite_model import tflite_model


def forward(problem: Problem, batch: int, threads: int) -> Callable[[], np.ndarray]:
    from ai_edge_litert.interpreter import Interpreter

    content = tflite_model(problem.folded, batch)
    interpreter = Interpreter(model_content=content, num_threads=threads)
    interpreter.allocate_tensors()
    (source,), (sink,) = interpreter.get_input_details(), interpreter.get_output_details()
    x = problem.x[:batch].reshape(source["shape"])
    into, out_of = source["index"], sink["index"]

    def call() -> np.ndarray:
        interpreter.set_tensor(into, x)
        interpreter.invoke()
        return interpreter.get_tensor(out_of)

    return call
