"""Runs a plan with `tinycnn.reference`, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from . import layers, reference
from .custom_layers import custom_backward, custom_forward
from .layers import CustomLayer, Layer, entry_for
from .losses import Loss, LossInputs
from .plan import NETWORK_INPUT, Plan, Step, StepArrays, step_arrays


class Saved(NamedTuple):
    """What a layer's forward pass saves for its backward pass: input, output, and `extra`."""

    x: np.ndarray  # of an Add: the first input
    y: np.ndarray
    # argmax (int32) of a max-pooling, mask of a dropout, moments (2, C) of a BatchNorm's batch
    extra: np.ndarray | None = None


class Passes(NamedTuple):
    """The passes of a kind of layer.

    forward    (arrays, x, extra) -> Saved; extra: the mask of a dropout in training, the second
               input of an Add, else None
    backward   (arrays, saved, dy) -> dx, for each input
    gradients  (arrays, saved, dy): overwrites the gradients of the parameters, if it has any; comes
               before `backward`
    training   `forward` in a training step, if it differs by more than `extra`
    update     (arrays, saved): updates the statistics, if it has any, after `training`
    """

    forward: Callable[[StepArrays, np.ndarray, np.ndarray | None], Saved]
    backward: Callable[[StepArrays, Saved, np.ndarray], np.ndarray]
    gradients: Callable[[StepArrays, Saved, np.ndarray], None] | None = None
    training: Callable[[StepArrays, np.ndarray, np.ndarray | None], Saved] | None = None
    update: Callable[[StepArrays, Saved], None] | None = None


class ReferenceBackend:
    """The `Backend` without Numba: see `backends.py`."""

    ready_to_train, parameters_may_change = True, True

    def __init__(self, plan: Plan, parameters: np.ndarray, gradients: np.ndarray) -> None:
        self.steps = step_arrays(plan, parameters, gradients)
        self.saved: list[Saved] = []

    def parameters_have_changed(self) -> None:
        """Nothing to do: all is computed from the parameters as they are."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.run(x)[-1].y

    def forward(self, x: np.ndarray, masks: Mapping[str, np.ndarray]) -> np.ndarray:
        self.saved = self.run(x, masks)
        self._update_statistics()
        return self.saved[-1].y

    def run(self, x: np.ndarray, masks: Mapping[str, np.ndarray] | None = None) -> list[Saved]:
        """What each step saves, in training with these masks; None: in prediction.  Nothing else
        changes."""
        saved: list[Saved] = []
        for arrays in self.steps:
            step = arrays.step
            given = [x if k == NETWORK_INPUT else saved[k].y for k in step.inputs]
            extra = given[1] if isinstance(step.layer, layers.Add) else (masks or {}).get(step.name)
            passes = passes_of(step.layer)
            in_training = None if masks is None else passes.training
            saved.append((in_training or passes.forward)(arrays, given[0], extra))
        return saved

    def _update_statistics(self) -> None:
        for arrays, saved in zip(self.steps, self.saved):
            update = passes_of(arrays.step.layer).update
            if update is not None:
                update(arrays, saved)

    def backward(self, dlogits: np.ndarray, wants_dx: bool) -> np.ndarray | None:
        gradients: dict[int, np.ndarray] = {len(self.steps) - 1: dlogits}  # of outputs, by step
        for k in reversed(range(len(self.steps))):
            inputs = self.steps[k].step.inputs
            dx = self.backward_step(k, gradients.pop(k), wants_dx or inputs != (NETWORK_INPUT,))
            for source in inputs:
                if dx is not None:
                    before = gradients.get(source)
                    gradients[source] = dx if before is None else before + dx
        return gradients[NETWORK_INPUT] if wants_dx else None

    def backward_step(self, k: int, dy: np.ndarray, wants_dx: bool) -> np.ndarray | None:
        """The backward pass of layer k alone, after `forward`: dx for its dy."""
        arrays, saved = self.steps[k], self.saved[k]
        passes = passes_of(arrays.step.layer)
        if passes.gradients is not None:
            passes.gradients(arrays, saved, dy)
        if wants_dx or passes is CUSTOM:  # which computes the gradients and dx together
            return passes.backward(arrays, saved, dy)
        return None

    def step(
        self, x: np.ndarray, masks: Mapping[str, np.ndarray], loss: Loss, inputs: LossInputs
    ) -> tuple[float, np.ndarray]:
        self.saved = self.run(x, masks)
        logits = self.saved[-1].y
        value, dlogits = loss.of_checked(logits, inputs, "numpy")
        if math.isfinite(value):
            self._update_statistics()
            self.backward(dlogits, wants_dx=False)
        return value, logits

    def scale_images(
        self, images: np.ndarray, scaling: int, normalization: np.ndarray, x_out: np.ndarray
    ) -> None:
        reference.scale_images(images, scaling, normalization, x_out)


def passes_of(layer: Layer) -> Passes:
    """The passes of a layer; UnknownLayerError if its class is not in PASSES."""
    if isinstance(layer, CustomLayer):
        return CUSTOM
    return entry_for(layer, PASSES, "tinycnn.reference_backend.PASSES")


# ---- the passes of each kind of layer ----------------------------------------------------------


def _output(step: Step, x: np.ndarray) -> np.ndarray:
    return np.empty((len(x), *step.output_shape), x.dtype)


def _w_and_b(arrays: StepArrays, named: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """w and b of a step's parameters or gradients; new zeros for b if the layer has none."""
    w = named["w"]
    b = named.get("b")
    return w, np.zeros(arrays.step.output_shape[-1], w.dtype) if b is None else b


def _conv2d_forward(arrays: StepArrays, x: np.ndarray, mask: np.ndarray | None) -> Saved:
    y = _output(arrays.step, x)
    reference.conv2d_forward(x, *_w_and_b(arrays, arrays.parameters), arrays.step.window, y)
    return Saved(x, y)


def _conv2d_gradients(arrays: StepArrays, saved: Saved, dy: np.ndarray) -> None:
    dw, db = _w_and_b(arrays, arrays.gradients)
    reference.conv2d_backward_params(saved.x, dy, arrays.step.window, dw, db)


def _conv2d_backward(arrays: StepArrays, saved: Saved, dy: np.ndarray) -> np.ndarray:
    w = arrays.parameters["w"]
    w_t, dx = np.empty((w.shape[3], *w.shape[:3]), w.dtype), np.empty_like(saved.x)
    reference.conv2d_transpose_weights(w, w_t)
    reference.conv2d_backward_input(dy, w_t, arrays.step.window, dx)
    return dx


def _depthwise_conv2d_forward(arrays: StepArrays, x: np.ndarray, mask: np.ndarray | None) -> Saved:
    y = _output(arrays.step, x)
    w, b = _w_and_b(arrays, arrays.parameters)
    reference.depthwise_conv2d_forward(x, w, b, arrays.step.window, y)
    return Saved(x, y)


def _depthwise_conv2d_gradients(arrays: StepArrays, saved: Saved, dy: np.ndarray) -> None:
    dw, db = _w_and_b(arrays, arrays.gradients)
    reference.depthwise_conv2d_backward_params(saved.x, dy, arrays.step.window, dw, db)


def _depthwise_conv2d_backward(arrays: StepArrays, saved: Saved, dy: np.ndarray) -> np.ndarray:
    dx = np.empty_like(saved.x)
    reference.depthwise_conv2d_backward_input(dy, arrays.parameters["w"], arrays.step.window, dx)
    return dx


def _averagepool2d_forward(arrays: StepArrays, x: np.ndarray, mask: np.ndarray | None) -> Saved:
    y = _output(arrays.step, x)
    step = arrays.step
    reference.averagepool2d_forward(x, step.window, step.counts_padding, _as_pictures(y))
    return Saved(x, y)


def _averagepool2d_backward(arrays: StepArrays, saved: Saved, dy: np.ndarray) -> np.ndarray:
    dx, step = np.empty_like(saved.x), arrays.step
    reference.averagepool2d_backward(_as_pictures(dy), step.window, step.counts_padding, dx)
    return dx


def _as_pictures(y: np.ndarray) -> np.ndarray:
    """y (N, H, W, C), or vectors (N, C) as pictures of one pixel."""
    return y if y.ndim == 4 else y[:, None, None]


def _maxpool2d_forward(arrays: StepArrays, x: np.ndarray, mask: np.ndarray | None) -> Saved:
    y = _output(arrays.step, x)
    argmax = np.empty(y.shape, np.int32)
    reference.maxpool2d_forward(x, arrays.step.window, y, argmax)
    return Saved(x, y, argmax)


def _maxpool2d_backward(arrays: StepArrays, saved: Saved, dy: np.ndarray) -> np.ndarray:
    dx = np.empty_like(saved.x)
    reference.maxpool2d_backward(dy, saved.extra, dx)
    return dx


def _dense_forward(arrays: StepArrays, x: np.ndarray, mask: np.ndarray | None) -> Saved:
    y = _output(arrays.step, x)
    reference.dense_forward(x, *_w_and_b(arrays, arrays.parameters), y)
    return Saved(x, y)


def _dense_gradients(arrays: StepArrays, saved: Saved, dy: np.ndarray) -> None:
    reference.dense_backward_params(saved.x, dy, *_w_and_b(arrays, arrays.gradients))


def _dense_backward(arrays: StepArrays, saved: Saved, dy: np.ndarray) -> np.ndarray:
    w, dx = arrays.parameters["w"], np.empty_like(saved.x)
    w_t = np.empty((1, *w.shape[::-1]), w.dtype)
    reference.dense_transpose_weights(w, w_t)
    reference.dense_backward_input(dy, w_t, dx)
    return dx


def _activation(layer: Layer) -> tuple[str, tuple[float, ...]]:
    """Which functions of reference.py compute an activation: their stem, and its options."""
    if isinstance(layer, layers.ReLU):
        return ("relu", ()) if layer.max_value is None else ("clipped_relu", (layer.max_value,))
    if isinstance(layer, layers.LeakyReLU):
        return "leaky_relu", (layer.negative_slope,)
    return "sigmoid" if isinstance(layer, layers.Sigmoid) else "tanh", ()


def _activation_forward(arrays: StepArrays, x: np.ndarray, mask: np.ndarray | None) -> Saved:
    y, (stem, options) = np.empty_like(x), _activation(arrays.step.layer)
    getattr(reference, f"{stem}_forward")(x, *options, y)
    return Saved(x, y)


def _activation_backward(arrays: StepArrays, saved: Saved, dy: np.ndarray) -> np.ndarray:
    dx, (stem, options) = np.empty_like(dy), _activation(arrays.step.layer)
    getattr(reference, f"{stem}_backward")(saved.y, *options, dy, dx)
    return dx


def _prelu_forward(arrays: StepArrays, x: np.ndarray, mask: np.ndarray | None) -> Saved:
    y = np.empty_like(x)
    reference.prelu_forward(_channels(x), arrays.parameters["alpha"], _channels(y))
    return Saved(x, y)


def _prelu_gradients(arrays: StepArrays, saved: Saved, dy: np.ndarray) -> None:
    dalpha = arrays.gradients["alpha"]
    reference.prelu_backward_params(_channels(saved.x), _channels(dy), dalpha)


def _prelu_backward(arrays: StepArrays, saved: Saved, dy: np.ndarray) -> np.ndarray:
    x, alpha, dx = _channels(saved.x), arrays.parameters["alpha"], np.empty_like(dy)
    reference.prelu_backward_input(x, alpha, _channels(dy), _channels(dx))
    return dx


def _dropout_forward(arrays: StepArrays, x: np.ndarray, mask: np.ndarray | None) -> Saved:
    if mask is None:  # prediction
        return Saved(x, x)
    factors, y = mask.reshape(len(x), mask[0].size if len(x) else 1), np.empty_like(x)
    reference.dropout_forward(_by_factor(x, factors), factors, _by_factor(y, factors))
    return Saved(x, y, factors)


def _dropout_backward(arrays: StepArrays, saved: Saved, dy: np.ndarray) -> np.ndarray:
    dx, factors = np.empty_like(dy), saved.extra
    assert factors is not None
    reference.dropout_backward(_by_factor(dy, factors), factors, _by_factor(dx, factors))
    return dx


def _by_factor(values: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """(N, values with the same factor, factors) for a dropout's factors (N, factors of an image)"""
    N, n_factors = factors.shape
    return values.reshape(N, values[0].size // n_factors if N else 1, n_factors)


def _channels(x: np.ndarray) -> np.ndarray:
    """All values of each channel: (P, C)."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


NO_SCRATCH = np.empty((3, 0))


def _scale_shift_forward(arrays: StepArrays, x: np.ndarray, mask: np.ndarray | None) -> Saved:
    y = np.empty_like(x)
    scale, shift = arrays.parameters["scale"], arrays.parameters["shift"]
    reference.scale_shift_forward(_channels(x), scale, shift, 0, NO_SCRATCH, _channels(y))
    return Saved(x, y)


def _scale_shift_gradients(arrays: StepArrays, saved: Saved, dy: np.ndarray) -> None:
    dscale, dshift = arrays.gradients["scale"], arrays.gradients["shift"]
    reference.scale_shift_backward_params(_channels(saved.x), _channels(dy), dscale, dshift)


def _scale_shift_backward(arrays: StepArrays, saved: Saved, dy: np.ndarray) -> np.ndarray:
    dx = np.empty_like(dy)
    scale = arrays.parameters["scale"]
    reference.scale_shift_backward_input(_channels(dy), scale, _channels(dx))
    return dx


def _normalised(arrays: StepArrays, x: np.ndarray, moments: np.ndarray) -> Saved:
    y, layer = np.empty_like(x), arrays.step.layer
    assert isinstance(layer, layers.BatchNorm)
    gamma, beta = arrays.parameters["gamma"], arrays.parameters["beta"]
    reference.batch_norm_forward(
        _channels(x), moments, gamma, beta, layer.epsilon, 0, NO_SCRATCH, _channels(y)
    )
    return Saved(x, y, moments)


def _batch_norm_predict(arrays: StepArrays, x: np.ndarray, mask: np.ndarray | None) -> Saved:
    running = arrays.statistics["running_mean"], arrays.statistics["running_var"]
    return _normalised(arrays, x, np.array(running, np.float64))


def _batch_norm_forward(arrays: StepArrays, x: np.ndarray, mask: np.ndarray | None) -> Saved:
    moments = np.zeros((2, x.shape[-1]))
    if len(x):
        reference.batch_norm_moments(_channels(x), 0, NO_SCRATCH, moments)
    return _normalised(arrays, x, moments)


def _batch_norm_update(arrays: StepArrays, saved: Saved) -> None:
    layer, moments, running = arrays.step.layer, saved.extra, arrays.statistics
    assert isinstance(layer, layers.BatchNorm) and moments is not None
    reference.batch_norm_update_running(
        moments, len(_channels(saved.x)), layer.momentum, layer.unbiased_running_var,
        running["running_mean"], running["running_var"],
    )  # fmt: skip


def _batch_norm_gradients(arrays: StepArrays, saved: Saved, dy: np.ndarray) -> None:
    layer, gradients = arrays.step.layer, arrays.gradients
    assert isinstance(layer, layers.BatchNorm)
    reference.batch_norm_backward_params(
        _channels(saved.x), _channels(dy), saved.extra, arrays.parameters["gamma"],
        arrays.parameters["beta"], layer.epsilon, 0, 0, NO_SCRATCH, gradients["gamma"],
        gradients["beta"],
    )  # fmt: skip


def _batch_norm_backward(arrays: StepArrays, saved: Saved, dy: np.ndarray) -> np.ndarray:
    dx, layer = np.empty_like(dy), arrays.step.layer
    assert isinstance(layer, layers.BatchNorm)
    x, gamma, beta = _channels(saved.x), arrays.parameters["gamma"], arrays.parameters["beta"]
    dgamma, dbeta = arrays.gradients["gamma"], arrays.gradients["beta"]
    reference.batch_norm_backward_input(
        x, _channels(dy), saved.extra, gamma, beta, layer.epsilon, 0, dgamma, dbeta,
        max(len(x), 1), NO_SCRATCH, _channels(dx),
    )  # fmt: skip
    return dx


def _add_forward(arrays: StepArrays, x: np.ndarray, x2: np.ndarray | None) -> Saved:
    y = np.empty_like(x)
    reference.add_forward(x, x2, 0, y)
    return Saved(x, y)


def _custom_forward(arrays: StepArrays, x: np.ndarray, mask: np.ndarray | None) -> Saved:
    return Saved(x, custom_forward(arrays, x))


def _custom_backward(arrays: StepArrays, saved: Saved, dy: np.ndarray) -> np.ndarray:
    return custom_backward(arrays, saved.x, saved.y, dy)


CUSTOM = Passes(_custom_forward, _custom_backward)

PASSES: dict[type[Layer], Passes] = {
    layers.Conv2D: Passes(_conv2d_forward, _conv2d_backward, _conv2d_gradients),
    layers.DepthwiseConv2D: Passes(
        _depthwise_conv2d_forward, _depthwise_conv2d_backward, _depthwise_conv2d_gradients
    ),
    layers.MaxPool2D: Passes(_maxpool2d_forward, _maxpool2d_backward),
    layers.AveragePool2D: Passes(_averagepool2d_forward, _averagepool2d_backward),
    layers.GlobalAveragePool2D: Passes(_averagepool2d_forward, _averagepool2d_backward),
    layers.Dense: Passes(_dense_forward, _dense_backward, _dense_gradients),
    **dict.fromkeys(
        (layers.ReLU, layers.LeakyReLU, layers.Sigmoid, layers.Tanh),
        Passes(_activation_forward, _activation_backward),
    ),
    layers.PReLU: Passes(_prelu_forward, _prelu_backward, _prelu_gradients),
    **dict.fromkeys(
        (layers.Dropout, layers.SpatialDropout2D), Passes(_dropout_forward, _dropout_backward)
    ),
    layers.ScaleShift: Passes(_scale_shift_forward, _scale_shift_backward, _scale_shift_gradients),
    layers.BatchNorm: Passes(
        *(_batch_norm_predict, _batch_norm_backward, _batch_norm_gradients),
        training=_batch_norm_forward,
        update=_batch_norm_update,
    ),
    layers.Add: Passes(_add_forward, backward=lambda arrays, saved, dy: dy),
    layers.Flatten: Passes(
        forward=lambda arrays, x, mask: Saved(x, x.reshape(len(x), *arrays.step.output_shape)),
        backward=lambda arrays, saved, dy: dy.reshape(saved.x.shape),
    ),
}
"""The passes of each kind of layer, by its class."""
