"""Sends one image forward and backward through a network and keeps every value.

The values come from the reference, layer by layer.  The same pass on the kernels shows how well the
two agree.  All values are float64, without the batch axis: shapes are (H, W, C) or (units,).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..layers import Add, BatchNorm, Shape
from ..losses import CrossEntropy, softmax
from ..network import Network
from ..plan import NETWORK_INPUT, Step
from ..reference_backend import ReferenceBackend
from .layer_kinds import explained
from .layer_trace import IMAGE, LayerTrace, Spot, largest_at
from .prediction_network import FixedBatchNorm, in_prediction


@dataclass(frozen=True, eq=False)
class Trace:
    """All values of one image.

    network             the given one as it predicts, in float64 on the kernels: without dropout,
                        and with a ScaleShift for each BatchNorm
    image               (H, W, C) uint8
    label               index of the class whose cross-entropy is the loss
    x, dx               the scaled image and its gradient, (H, W, C)
    layers              in the order of the plan
    batch_norms         the BatchNorms, by the names of the ScaleShifts that stand for them
    kernel_differences  name -> largest |reference - kernels| / max|reference|, for the logits,
                        dL/dx and every parameter's gradient; empty if NumPy stands in for the
                        kernels, because Numba is missing or fails
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
    x: np.ndarray
    dx: np.ndarray
    layers: tuple[LayerTrace, ...]
    batch_norms: Mapping[str, FixedBatchNorm]
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
    entries = [  # first: it may raise
        explained(step.layer)
        for step in network.plan.steps
        if not isinstance(step.layer, BatchNorm)
    ]
    given = network.predict_logits(np.asarray(image)[None])[0]
    if not np.isfinite(given).all():
        raise ValueError("the network's logits of this image are not finite: nothing to explain")
    kernels, batch_norms = in_prediction(network, "auto")
    oracle, _ = in_prediction(network, "numpy")
    class_ = int(given.argmax()) if label is None else network.classes.index(label)
    x = oracle.scale(np.asarray(image)[None])
    walker = ReferenceBackend(oracle.plan, oracle.parameter_vector, oracle.gradient_vector)
    logits = walker.forward(x, masks={})
    labels = np.array([class_])
    loss, dlogits = CrossEntropy()(logits, labels)  # exact even for a loss of 1e-20

    layers, dx = _backward(walker, x, dlogits)

    kernel_logits = kernels.forward(x, training=True)
    _, kernel_dlogits = CrossEntropy()(kernel_logits, labels)
    kernel_dx = kernels.backward(kernel_dlogits, input_gradient=True)
    assert kernel_dx is not None
    differences = {}
    if kernels.backend_in_use == "numba":
        differences["logits"] = _difference(kernel_logits, logits)
        differences["gradient of x"] = _difference(kernel_dx[0], dx)
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
        x=x[0],
        dx=dx,
        layers=layers,
        batch_norms=batch_norms,
        kernel_differences=differences,
        float32_difference=_difference(given, logits[0]),
        left_out=tuple({entry.formulas.title: None for entry in entries if entry.left_out}),
        calibration_temperature=network.calibration_temperature,
    )


def _backward(
    walker: ReferenceBackend, x: np.ndarray, dlogits: np.ndarray
) -> tuple[tuple[LayerTrace, ...], np.ndarray]:
    """The layers in the order of the plan, and dL/dx (H, W, C) of the image, after the reference's
    forward pass of x (1, H, W, C)."""
    steps = [arrays.step for arrays in walker.steps]
    ys = {NETWORK_INPUT: x, **{k: saved.y for k, saved in enumerate(walker.saved)}}
    names = {NETWORK_INPUT: IMAGE, **{k: step.name for k, step in enumerate(steps)}}
    folded = _folded_inputs(steps)
    # of each output: what its uses pass back, and the layers that use it; the last one first
    dy_parts: dict[int, dict[str, np.ndarray]] = {k: {} for k in names}
    users: dict[int, list[LayerTrace]] = {k: [] for k in names}
    layers: list[LayerTrace] = []
    for k in reversed(range(len(steps))):
        step, parameters, gradients, _ = walker.steps[k]
        x_in, y, kept = walker.saved[k]
        dy = _total(dy_parts[k]) if dy_parts[k] else dlogits
        dx = walker.backward_step(k, dy, True)
        assert dx is not None  # it was asked for
        layer = LayerTrace(
            step=step,
            x=x_in[0],
            y=y[0],
            dx=dx[0],
            dy=dy[0],
            x2=ys[step.inputs[1]][0] if isinstance(step.layer, Add) else None,
            sources=tuple(names[source] for source in step.inputs),
            dy_parts={name: part[0] for name, part in dy_parts[k].items()},
            kept=None if kept is None else kept[0],
            parameters=parameters,
            gradients=gradients,
            spot=_spot(dy[0], y[0], users[k][::-1]),
            folded=folded[k],
        )
        layers.append(layer)
        for source, of_input in zip(step.inputs, ("dL/dx", "dL/dx2")):
            dy_parts[source][f"{of_input} of {step.name}"] = dx
            users[source].append(layer)
    return tuple(reversed(layers)), _total(dy_parts[NETWORK_INPUT])[0]


def _total(parts: Mapping[str, np.ndarray]) -> np.ndarray:
    first, *others = parts.values()
    return sum(others, start=first)


def _folded_inputs(steps: Sequence[Step]) -> list[Shape | None]:
    """`LayerTrace.folded` of each step."""
    of_outputs: dict[int, Shape | None] = {NETWORK_INPUT: None}
    of_inputs: list[Shape | None] = []
    for k, step in enumerate(steps):
        first, *others = (of_outputs[source] for source in step.inputs)
        of_inputs.append(first if all(other == first for other in others) else None)
        of_outputs[k] = explained(step.layer).folded(step.input_shape, of_inputs[k])
    return of_inputs


def in_float64(network: Network, backend: str) -> Network:
    """A float64 copy of the network."""
    double = Network(network.layers, network.input_spec, backend=backend, dtype=np.float64)
    double.parameter_vector[:] = network.parameter_vector
    return double


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    scale = np.abs(expected).max(initial=0.0)
    largest = float(np.abs(found - expected).max(initial=0.0))
    return largest / float(scale) if scale else largest


def _spot(dy: np.ndarray, y: np.ndarray, users: Sequence[LayerTrace]) -> Spot:
    """The index into y that the page looks at closely.  users: the layers that y goes into.

    Where one value of y becomes the spot of one of them, as with ReLU and max-pooling, it is that
    value.  Else it is the one with the largest |y * dL/dy|.
    """
    for user in users:
        followed = explained(user.step.layer).spot_in_x(user)
        if followed is not None:
            return followed
    weights = next((v for v in (y * dy, dy) if v.any()), y)
    return largest_at(weights)
