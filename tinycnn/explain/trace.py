"""One image forward and backward through a network, every value on the way kept.

The values come from the reference, layer by layer; the same pass on the kernels says how far those
agree.  All in float64 and without the batch axis: shapes are (H, W, C) or (units,).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..layers import Dropout, Flatten, MaxPool2D, ReLU, Shape
from ..losses import CrossEntropy, softmax
from ..network import Network
from ..plan import Step
from ..reference_backend import ReferenceBackend
from ..testing import logit_error

Spot = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class LayerTrace:
    """A layer's values: x in, y out, dy = dL/dy in from behind, dx = dL/dx out to the front.

    winners     of max-pooling: for each y the flat index h*W + w of its owner in x; else None
    parameters  by short name ("w", "b"), gradients alike
    spot        index into y that the page looks at closely
    folded      (H, W, C) of the picture whose flattened values x is, else None
    """

    step: Step
    x: np.ndarray
    y: np.ndarray
    dx: np.ndarray
    dy: np.ndarray
    winners: np.ndarray | None
    parameters: Mapping[str, np.ndarray]
    gradients: Mapping[str, np.ndarray]
    spot: Spot
    folded: Shape | None = None


@dataclass(frozen=True, eq=False)
class Trace:
    """What happened to one image.

    network             float64, on the kernels, parameters as given, its dropout layers left out
    image               (H, W, C) uint8;  x: the same, scaled
    label               class index that the loss is measured against
    kernel_differences  name -> largest |reference - kernels| / max|reference| of the logits, of
                        dL/dx and of every parameter's gradient
    float32_difference  the same measure for the logits that the given network itself predicts
    """

    network: Network
    image: np.ndarray
    x: np.ndarray
    label: int
    logits: np.ndarray
    probs: np.ndarray
    dlogits: np.ndarray
    loss: float
    layers: tuple[LayerTrace, ...]
    kernel_differences: Mapping[str, float]
    float32_difference: float
    n_dropouts: int
    calibration_temperature: float

    @property
    def predicted(self) -> int:
        return int(self.logits.argmax())

    @property
    def dx(self) -> np.ndarray:
        """dL/dx of the image, (H, W, C)."""
        return self.layers[0].dx


def trace_image(network: Network, image: np.ndarray, label: int | None = None) -> Trace:
    """Send `image`, (H, W) or (H, W, C) uint8, through `network` and the loss back to it.

    label: class index for the cross-entropy; None takes the class that the network predicts.
    Raises TypeError or ValueError for an image that the network does not take, ValueError for a
    label that is no class or logits that are not finite.
    """
    given = network.predict_logits(np.asarray(image)[None])[0]
    if not np.isfinite(given).all():
        raise ValueError("the network's logits of this image are not finite: nothing to explain")
    kernels, oracle = (_in_float64(network, backend) for backend in ("auto", "numpy"))
    K = len(network.classes)
    if label is None:
        label = int(given.argmax())
    if not 0 <= label < K:
        raise ValueError(f"label is {label}; expected a class from 0 to {K - 1}")
    x = oracle.scale(np.asarray(image)[None])
    walker = ReferenceBackend(oracle.plan, oracle.parameter_vector, oracle.gradient_vector)
    logits = walker.forward(x, masks={})
    labels = np.array([label])
    loss, dlogits = CrossEntropy()(logits, labels)  # exact for a loss of 1e-20 too

    layers: list[LayerTrace] = []
    dy, saved = dlogits, walker.saved
    for k in reversed(range(len(saved))):
        step, one = oracle.plan.steps[k], saved[k]
        dx = walker.backward_step(k, dy, True)
        names = step.layer.parameter_shapes(step.input_shape)
        winners = one[2][0] if isinstance(step.layer, MaxPool2D) else None
        parameters = {short: oracle.parameters[f"{step.name}.{short}"] for short in names}
        gradients = {short: oracle.gradients[f"{step.name}.{short}"] for short in names}
        x_in, y, _ = one
        spot = _spot(dy[0], y[0], layers[-1] if layers else None)
        values = (x_in[0], y[0], dx[0], dy[0], winners, parameters, gradients, spot)
        layers.append(LayerTrace(step, *values, _folded(oracle.plan.steps, step)))
        dy = dx

    kernel_logits = kernels.forward(x, training=True)
    _, kernel_dlogits = CrossEntropy()(kernel_logits, labels)
    kernel_dx = kernels.backward(kernel_dlogits, input_gradient=True)
    differences = {
        "logits": _difference(kernel_logits, logits),
        "gradient of x": _difference(kernel_dx, dy),
    }
    for name, gradient in oracle.gradients.items():
        differences[f"gradient of {name}"] = _difference(kernels.gradients[name], gradient)
    return Trace(
        network=kernels,
        image=np.asarray(image).reshape(network.input_spec.shape),
        x=x[0],
        label=label,
        logits=logits[0],
        probs=softmax(logits, backend="numpy")[0],
        dlogits=dlogits[0],
        loss=loss,
        layers=tuple(reversed(layers)),
        kernel_differences=differences,
        float32_difference=logit_error(given.astype(np.float64), logits[0]),
        n_dropouts=sum(isinstance(layer, Dropout) for layer in network.layers),
        calibration_temperature=network.calibration_temperature,
    )


def in_float64(network: Network, backend: str, with_dropout: bool = True) -> Network:
    """A float64 network with the same layers and parameters; dropout layers may be left out."""
    layers = [x for x in network.layers if with_dropout or not isinstance(x, Dropout)]
    double = Network(layers, network.input_spec, backend=backend, dtype=np.float64)
    for name, parameter in network.parameters.items():
        double.parameters[name][:] = parameter
    return double


def _in_float64(network: Network, backend: str) -> Network:
    return in_float64(network, backend, with_dropout=False)


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    scale = np.abs(expected).max(initial=0.0)
    largest = float(np.abs(found - expected).max(initial=0.0))
    return largest / float(scale) if scale else largest


def _spot(dy: np.ndarray, y: np.ndarray, behind: LayerTrace | None) -> Spot:
    """The value of y to look at: the one that the spot of the layer behind was made of, where that
    layer moves values without mixing them; else where y * dL/dy is largest: a value that is there
    and matters."""
    if behind is not None and behind.winners is not None:
        row, column = divmod(int(behind.winners[behind.spot]), behind.x.shape[1])
        return (row, column, behind.spot[2])
    if behind is not None and isinstance(behind.step.layer, ReLU):
        return behind.spot
    weights = next((v for v in (y * dy, dy) if v.any()), y)
    return tuple(int(i) for i in np.unravel_index(np.abs(weights).argmax(), y.shape))


def _folded(steps: tuple[Step, ...], step: Step) -> Shape | None:
    """Shape of the picture that a Flatten directly, or a ReLU after it, handed to `step`."""
    before = list(steps[: steps.index(step)])
    while before and isinstance(before[-1].layer, ReLU):
        before.pop()
    if before and isinstance(before[-1].layer, Flatten) and len(before[-1].input_shape) == 3:
        return before[-1].input_shape
    return None
