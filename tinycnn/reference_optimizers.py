"""The updates of the optimizers in plain NumPy, see `reference.py`.

They are as in the papers, line by line; the kernels combine the bias corrections into two scalars.
"""

from __future__ import annotations

import numpy as np


def adam_update(
    parameters: np.ndarray, gradients: np.ndarray, m: np.ndarray, v: np.ndarray,
    step: int, learning_rate: float, beta1: float, beta2: float, epsilon: float,
    weight_decay: float, decoupled: bool,
) -> None:  # fmt: skip
    """Step number `step` (from 1) of Adam, or of AdamW if `decoupled`, in place on flat arrays."""
    if decoupled:
        parameters *= 1 - learning_rate * weight_decay
    elif weight_decay:
        gradients = gradients + weight_decay * parameters
    m *= beta1
    m += (1 - beta1) * gradients
    v *= beta2
    v += (1 - beta2) * np.square(gradients)
    unbiased_m = m / (1 - beta1**step)
    unbiased_v = v / (1 - beta2**step)
    parameters -= learning_rate * unbiased_m / (np.sqrt(unbiased_v) + epsilon)


def sgd_update(
    parameters: np.ndarray, gradients: np.ndarray, velocity: np.ndarray,
    learning_rate: float, momentum: float, weight_decay: float, nesterov: bool,
) -> None:  # fmt: skip
    """One step of gradient descent with momentum, in place on flat arrays."""
    if weight_decay:
        gradients = gradients + weight_decay * parameters
    velocity *= momentum
    velocity += gradients
    parameters -= learning_rate * (gradients + momentum * velocity if nesterov else velocity)


def rmsprop_update(
    parameters: np.ndarray, gradients: np.ndarray, v: np.ndarray, m: np.ndarray,
    velocity: np.ndarray, learning_rate: float, rho: float, momentum: float,
    epsilons: tuple[float, float], weight_decay: float, centered: bool,
) -> None:  # fmt: skip
    """One step of RMSprop, in place on flat arrays."""
    if weight_decay:
        gradients = gradients + weight_decay * parameters
    v += (1 - rho) * (np.square(gradients) - v)
    m += (1 - rho) * (gradients - m)
    variance = np.maximum(v - np.square(m), 0) if centered else v
    velocity *= momentum
    velocity += gradients / (np.sqrt(variance + epsilons[0]) + epsilons[1])
    parameters -= learning_rate * velocity
