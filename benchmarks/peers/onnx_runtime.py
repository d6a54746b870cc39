"""ONNX Runtime on its CPU provider."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..layouts import images_to_nchw
from ..onnx_model import INPUT, onnx_model
from ..problem import Problem


def forward(problem: Problem, batch: int, threads: int) -> Callable[[], np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        onnx_model(problem.folded, batch), options, providers=["CPUExecutionProvider"]
    )
    feed = {INPUT: images_to_nchw(problem.x[:batch])}
    return lambda: session.run(None, feed)[0]
