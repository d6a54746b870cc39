"""tinycnn: a from-scratch CNN engine in NumPy and Numba.

Names are loaded when they are first used, so `import tinycnn` costs a few milliseconds and
imports no numba until a kernel is needed.
"""

from __future__ import annotations

import importlib
from typing import Any

from ._version import __version__  # noqa: F401  (listed in __all__ below)

_HOME = {
    "Adam": "optim",
    "AdamW": "optim",
    "Constant": "schedules",
    "BatchNorm": "layers",
    "Conv2D": "layers",
    "CosineWithWarmup": "schedules",
    "CrossEntropy": "losses",
    "CustomLayer": "layers",
    "DecoupledDistillation": "distillation",
    "Dense": "layers",
    "Distillation": "distillation",
    "Dropout": "layers",
    "Flatten": "layers",
    "InputSpec": "input_spec",
    "Loss": "losses",
    "MaxPool2D": "layers",
    "Network": "network",
    "OneCycle": "schedules",
    "ReLU": "layers",
    "RelationDistillation": "distillation",
    "Residual": "layers",
    "SGD": "optim",
    "ScaleShift": "layers",
    "Step": "schedules",
    "evaluate": "train",
    "fit": "train",
    "load": "formats.safetensors",
    "load_pretrained": "models.pretrained",
    "log_softmax": "losses",
    "models": "",
    "plots": "",
    "save": "formats.safetensors",
    "softmax": "losses",
    "sweep": "",
    "testing": "",
}

__all__ = sorted([*_HOME, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tinycnn' has no attribute {name!r}")
    home = _HOME[name]
    if not home:
        return importlib.import_module(f"tinycnn.{name}")
    value = getattr(importlib.import_module(f"tinycnn.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
