"""OpenVINO on its CPU plugin, from the same ONNX model as ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..onnx_model import microexpnet_onnx
from ..problem import Problem


def forward(problem: Problem, batch: int, threads: int) -> Callable[[], np.ndarray]:
    import openvino

    core = openvino.Core()
    model = core.read_model(microexpnet_onnx(problem.weights, batch), b"")
    options = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 on processors that have it
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = core.compile_model(model, "CPU", options).create_infer_request()
    x = problem.x[:batch].reshape(batch, 1, 84, 84)

    def call() -> np.ndarray:
        return request.infer([x], share_inputs=True, share_outputs=True)[0]

    return call
