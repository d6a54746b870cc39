"""tinycnn: a from-scratch CNN engine in NumPy and Numba.

Names are loaded when they are first used, so `import tinycnn` costs a few milliseconds and
imports no numba until a kernel is needed.
"""

# ruff: noqa: F401  (the imports below are for type checkers and editors)
from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .ground._version import __version__

if TYPE_CHECKING:
    from . import models, plots, sweep, testing
    from .checkpoint import CheckpointError
    from .class_head import with_classes
    from .classify import Classification
    from .distillation import DecoupledDistillation, Distillation, RelationDistillation
    from .evaluation import Evaluation, Validation, evaluate
    from .fitting import fit
    from .formats.model_file import load
    from .formats.pretrained import load_pretrained
    from .formats.safetensors import ModelFileError, load_quantized, save
    from .history import History
    from .input_spec import InputSpec
    from .layers import (
        AveragePool2D,
        BatchNorm,
        Conv2D,
        CustomLayer,
        Dense,
        DepthwiseConv2D,
        Dropout,
        Flatten,
        GlobalAveragePool2D,
        Layer,
        LeakyReLU,
        MaxPool2D,
        PReLU,
        ReLU,
        Residual,
        ScaleShift,
        Sigmoid,
        SpatialDropout2D,
        Tanh,
    )
    from .logit_adjustment import adjust_logits
    from .losses import CrossEntropy, Loss, log_softmax, softmax
    from .network import Network
    from .optim import SGD, Adam, AdamW, Optimizer, RMSprop
    from .quantized.network import QuantizedNetwork
    from .schedules import (
        Constant,
        CosineWithWarmup,
        OneCycle,
        ReduceLROnPlateau,
        Schedule,
        Step,
    )
    from .sklearn import TinyCNNClassifier
    from .summary import Summary
    from .train import Batches, Callback, DivergedError, EpochRecord, StepRecord, iter_epochs
    from .training_data import ArrayBatches

_HOME = {
    "Adam": "optim",
    "AdamW": "optim",
    "ArrayBatches": "training_data",
    "Batches": "train",
    "Callback": "train",
    "CheckpointError": "checkpoint",
    "Classification": "classify",
    "AveragePool2D": "layers",
    "Constant": "schedules",
    "BatchNorm": "layers",
    "Conv2D": "layers",
    "CosineWithWarmup": "schedules",
    "CrossEntropy": "losses",
    "CustomLayer": "layers",
    "DecoupledDistillation": "distillation",
    "Dense": "layers",
    "DepthwiseConv2D": "layers",
    "Distillation": "distillation",
    "DivergedError": "train",
    "Dropout": "layers",
    "EpochRecord": "train",
    "Evaluation": "evaluation",
    "Flatten": "layers",
    "GlobalAveragePool2D": "layers",
    "History": "history",
    "InputSpec": "input_spec",
    "Layer": "layers",
    "LeakyReLU": "layers",
    "Loss": "losses",
    "MaxPool2D": "layers",
    "ModelFileError": "formats.safetensors",
    "Network": "network",
    "OneCycle": "schedules",
    "Optimizer": "optim",
    "PReLU": "layers",
    "QuantizedNetwork": "quantized.network",
    "RMSprop": "optim",
    "ReLU": "layers",
    "ReduceLROnPlateau": "schedules",
    "RelationDistillation": "distillation",
    "Residual": "layers",
    "SGD": "optim",
    "ScaleShift": "layers",
    "Schedule": "schedules",
    "Sigmoid": "layers",
    "SpatialDropout2D": "layers",
    "Step": "schedules",
    "StepRecord": "train",
    "Summary": "summary",
    "Tanh": "layers",
    "TinyCNNClassifier": "sklearn",
    "Validation": "evaluation",
    "adjust_logits": "logit_adjustment",
    "evaluate": "evaluation",
    "fit": "fitting",
    "iter_epochs": "train",
    "load": "formats.model_file",
    "load_pretrained": "formats.pretrained",
    "load_quantized": "formats.safetensors",
    "log_softmax": "losses",
    "models": "",
    "plots": "",
    "save": "formats.safetensors",
    "softmax": "losses",
    "sweep": "",
    "testing": "",
    "with_classes": "class_head",
}
"""The public names, and the modules that define them; "": the name is a module."""

_NEED_AN_EXTRA = {"TinyCNNClassifier"}

__all__ = sorted({*_HOME, "__version__"} - _NEED_AN_EXTRA)

if not TYPE_CHECKING:

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
    return sorted({*_HOME, "__version__"})
