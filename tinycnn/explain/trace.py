"""Sends one image forward and backward through a network and keeps every value.

The values come from the reference, layer by layer.  The same pass on the kernels shows how well the
two agree.  All values are float64, without the batch axis: shapes are (H, W, C) or (units,).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..layers import Shape
from ..losses import CrossEntropy, softmax
from ..network import Network
from ..reference_backend import ReferenceBackend
from .layer_kinds import explained
from .layer_trace import LayerTrace, Spot, largest_at


@dataclass(frozen=True, eq=False)
class Trace:
    """All values of one image.

    network             a copy of the given one, in float64 on the kernels, without dropout
    image               (H, W, C) uint8
    label               index of the class whose cross-entropy is the loss
    layers              in their order; the first one's x is the scaled image, its dx the gradient
    kernel_differences  name -> largest |reference - kernels| / max|reference|, for the logits,
                        dL/dx and every parameter's gradient
    float32_difference  the same for the logits that the given network predicts
    left_out            titles of the kinds of layers that do nothing in prediction
    """

    network: Network
    image: np.ndarray
    label: int
    logits: np.ndarray
    probs: np.ndarray
    dlogits: np.ndarray
    loss: float
    layers: tuple[LayerTrace, ...]
    kernel_differences: Mapping[str, float]
    float32_difference: float
    left_out: tuple[str, ...]
    calibration_temperature: float

    @property
    def predicted(self) -> int:
        return int(self.logits.argmax())


def trace_image(network: Network, image: np.ndarray, label: str | None = None) -> Trace:
    """Send `image` through `network`, and the loss's gradient back.  Arguments and errors as in
    `explain`."""
    if label is not None and label not in network.classes:
        raise ValueError(f"label is {label!r}; expected one of {', '.join(network.classes)}")
    entries = [explained(layer) for layer in network.layers]  # first: it may raise
    given = network.predict_logits(np.asarray(image)[None])[0]
    if not np.isfinite(given).all():
        raise ValueError("the network's logits of this image are not finite: nothing to explain")
    kernels, oracle = (in_float64(network, name, with_dropout=False) for name in ("auto", "numpy"))
    class_ = int(given.argmax()) if label is None else network.classes.index(label)
    x = oracle.scale(np.asarray(image)[None])
    walker = ReferenceBackend(oracle.plan, oracle.parameter_vector, oracle.gradient_vector)
    logits = walker.forward(x, masks={})
    labels = np.array([class_])
    loss, dlogits = CrossEntropy()(logits, labels)  # exact even for a loss of 1e-20

    folded: list[Shape | None] = [None]
    for step in oracle.plan.steps:
        folded.append(explained(step.layer).folded(step.input_shape, folded[-1]))
    layers: list[LayerTrace] = []
    dy = dlogits
    for k in reversed(range(len(walker.steps))):
        step, parameters, gradients, _ = walker.steps[k]
        x_in, y, kept = walker.saved[k]
        dx = walker.backward_step(k, dy, True)
        assert dx is not None  # it was asked for
        layers.append(
            LayerTrace(
                step=step,
                x=x_in[0],
                y=y[0],
                dx=dx[0],
                dy=dy[0],
                kept=None if kept is None else kept[0],
                parameters=parameters,
                gradients=gradients,
                spot=_spot(dy[0], y[0], layers[-1] if layers else None),
                folded=folded[k],
            )
        )
        dy = dx

    kernel_logits = kernels.forward(x, training=True)
    _, kernel_dlogits = CrossEntropy()(kernel_logits, labels)
    kernel_dx = kernels.backward(kernel_dlogits, input_gradient=True)
    assert kernel_dx is not None
    differences = {
        "logits": _difference(kernel_logits, logits),
        "gradient of x": _difference(kernel_dx, dy),
    }
    for name, gradient in oracle.gradients.items():
        differences[f"gradient of {name}"] = _difference(kernels.gradients[name], gradient)
    return Trace(
        network=kernels,
        image=np.asarray(image).reshape(network.input_spec.shape),
        label=class_,
        logits=logits[0],
        probs=softmax(logits, backend="numpy")[0],
        dlogits=dlogits[0],
        loss=loss,
        layers=tuple(reversed(layers)),
        kernel_differences=differences,
        float32_difference=_difference(given, logits[0]),
        left_out=tuple({entry.formulas.title: None for entry in entries if entry.left_out}),
        calibration_temperature=network.calibration_temperature,
    )


def in_float64(network: Network, backend: str, with_dropout: bool = True) -> Network:
    """A float64 copy of the network.  with_dropout: False leaves out the layers that do nothing in
    prediction."""
    layers = [layer for layer in network.layers if with_dropout or not explained(layer).left_out]
    double = Network(layers, network.input_spec, backend=backend, dtype=np.float64)
    for name, parameter in network.parameters.items():
        double.parameters[name][:] = parameter
    return double


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    scale = np.abs(expected).max(initial=0.0)
    largest = float(np.abs(found - expected).max(initial=0.0))
    return largest / float(scale) if scale else largest


def _spot(dy: np.ndarray, y: np.ndarray, following: LayerTrace | None) -> Spot:
    """The index into y that the page looks at closely.

    Where one value of y becomes the spot of the following layer, as with ReLU and max-pooling, it
    is that value.  Else it is the one with the largest |y * dL/dy|.
    """
    if following is not None:
        followed = explained(following.step.layer).spot_in_x(following)
        if followed is not None:
            return followed
    weights = next((v for v in (y * dy, dy) if v.any()), y)
    return largest_at(weights)
