"""Calls the functions of a user's `CustomLayer`, and checks what they return."""

from __future__ import annotations

import numpy as np

from .layers import CustomLayer
from .plan import Step, StepArrays


def custom_forward(arrays: StepArrays, x: np.ndarray) -> np.ndarray:
    """The outputs y (N, *output_shape), contiguous and with the dtype of x (N, *input_shape); x may
    also be (N, values).

    Raises TypeError or ValueError if the layer's `forward` returns anything else.
    """
    step = arrays.step
    assert isinstance(step.layer, CustomLayer)
    y = step.layer.forward(x.reshape(len(x), *step.input_shape), arrays.parameters)
    return _checked(step, "forward", "y", y, (len(x), *step.output_shape), x.dtype)


def custom_backward(arrays: StepArrays, x: np.ndarray, y: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """Returns dx (N, *input_shape), and overwrites the gradients in `arrays`.  x, y, dy: also as
    (N, values).  Errors as `custom_forward`."""
    step, parameters, gradients_out, _ = arrays
    assert isinstance(step.layer, CustomLayer)
    x = x.reshape(len(x), *step.input_shape)
    y, dy = (a.reshape(len(x), *step.output_shape) for a in (y, dy))
    dx, gradients = step.layer.backward(x, y, dy, parameters)
    if set(gradients) != set(parameters):
        raise ValueError(
            f"layer {step.name}: backward gave gradients of {sorted(gradients)}; expected "
            f"{sorted(parameters)}"
        )
    for name, gradient in gradients.items():
        wanted = gradients_out[name]
        wanted[:] = _checked(step, "backward", f"the gradient of {name}", gradient, wanted.shape)
    return _checked(step, "backward", "dx", dx, x.shape, x.dtype)


def _checked(
    step: Step,
    function: str,
    name: str,
    array: np.ndarray,
    shape: tuple[int, ...],
    dtype: np.dtype | None = None,
) -> np.ndarray:
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(f"layer {step.name}: {function} gave {name} as {kind}; expected floats")
    if array.shape != shape:
        raise ValueError(
            f"layer {step.name}: {function} gave {name} of shape {array.shape}; expected {shape}"
        )
    return np.require(array, dtype, ["C_CONTIGUOUS", "WRITEABLE", "ALIGNED"])
