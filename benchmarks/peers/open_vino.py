"""OpenVINO on its CPU plugin, from the same ONNX model as ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..layouts import images_to_nchw
from ..onnx_model import onnx_model
from ..problem import Problem


def forward(problem: Problem, batch: int, threads: int) -> Callable[[], np.ndarray]:
    import openvino

    core = openvino.Core()
    model = core.read_model(onnx_model(problem.folded, batch), b"")
    options = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 on processors that have it
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = core.compile_model(model, "CPU", options).create_infer_request()
    x = images_to_nchw(problem.x[:batch])

    def call() -> np.ndarray:
        return request.infer([x], share_inputs=True, share_outputs=True)[0]

    return call
