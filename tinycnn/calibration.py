"""Calibration: one temperature, fitted on validation data, that makes confidences realistic.

Temperature scaling (Guo et al. 2017, arXiv:1706.04599, section 4.2): probabilities are
softmax(z / t) with the t that maximises the likelihood of the validation data.  The order of the
classes does not change, so accuracy does not; the network's confidence does.

With u = 1/t, the mean negative log-likelihood of targets y and its first two derivatives are

    L(u)   = mean over images of  log sum_k exp(u z_k) - u sum_k y_k z_k                      (1)
    L'(u)  = mean over images of  E_p[z] - E_y[z],        p = softmax(u z)                    (2)
    L''(u) = mean over images of  Var_p[z]  >=  0                                             (3)

so L is convex in u and its minimum is the one root of (2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .losses import CrossEntropy, check_logits, softmax
from .metrics import expected_calibration_error

LOWEST, HIGHEST = 0.01, 100.0
"""The temperature is searched between these."""


def fit_temperature(logits: np.ndarray, labels_or_targets: np.ndarray) -> float:
    """The t of softmax(logits / t) that minimises the mean negative log-likelihood.

    logits             (N, K) float32 or float64, finite, of images that were not trained on
    labels_or_targets  (N,) class indices, or (N, K) distributions
    Returns a float from LOWEST to HIGHEST: the nearer bound if the minimum lies outside.  Returns
    1.0 if there is no minimum: every image is classified correctly (a smaller t is then always
    better), or each image has equal logits for all classes.
    Raises TypeError for a wrong dtype, ValueError for a wrong shape or value, or no image at all.
    """
    from scipy.optimize import brentq  # imported here because it takes half a second

    logits = check_logits(logits)
    inputs = CrossEntropy().check(labels_or_targets, None, logits.shape, logits.dtype)
    if not len(logits):
        raise ValueError("logits have no rows: a temperature is fitted on one image or more")
    finite = np.isfinite(logits).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise ValueError(f"logits[{row}] is {logits[row].tolist()}: expected finite numbers")
    z = logits.astype(np.float64)
    z -= z.max(axis=1, keepdims=True)  # changes neither p nor (2), and exp cannot overflow
    if len(inputs.labels):
        mean_of_targets = z[np.arange(len(z)), inputs.labels].mean()
    else:
        y = inputs.targets.astype(np.float64)  # the sums of its rows are 1 except for rounding
        mean_of_targets = ((y * z).sum(axis=1) / y.sum(axis=1)).mean()
    if mean_of_targets == 0:  # each target has its image's largest logit: (2) has no root
        return 1.0

    def slope(log_t: float) -> float:
        """Equation (2).  It decreases as t grows."""
        weights = np.exp(z / np.exp(log_t))
        return float(((weights * z).sum(axis=1) / weights.sum(axis=1)).mean() - mean_of_targets)

    low, high = np.log(LOWEST), np.log(HIGHEST)
    if slope(low) <= 0:
        return LOWEST
    if slope(high) >= 0:
        return HIGHEST
    return float(np.exp(brentq(slope, low, high, xtol=1e-10)))


@dataclass(frozen=True)
class Calibration:
    """A temperature for a network, and what it does to the confidences on the images of its fit.

    fitted    what `fit_temperature` returned
    error     expected calibration error without a temperature and with `fitted`, 0..1
    nll       mean negative log-likelihood of the labels without a temperature and with `fitted`
    n_images  on which all this was measured
    """

    fitted: float
    error: tuple[float, float]
    nll: tuple[float, float]
    n_images: int

    @property
    def is_worse(self) -> bool:
        """Whether one of the two measures is higher with `fitted` than without.  The likelihood,
        which is what is fitted, cannot be, but for rounding; the error can, mostly where there
        are few images or the network was calibrated already."""
        return self.error[1] > self.error[0] or self.nll[1] > self.nll[0]

    @property
    def temperature(self) -> float:
        """The temperature to use: `fitted`, or 1.0 if that makes the confidences worse."""
        return 1.0 if self.is_worse else self.fitted

    def __str__(self) -> str:
        (error, fitted_error), (nll, fitted_nll) = self.error, self.nll
        changes = (
            f"expected calibration error {error:.1%} -> {fitted_error:.1%}, negative "
            f"log-likelihood {nll:.3f} -> {fitted_nll:.3f}"
        )
        if not self.is_worse:
            return f"temperature {self.fitted:.3f}: {changes}"
        return f"none: temperature {self.fitted:.3f} would make it worse, {changes}"


def calibrate(logits: np.ndarray, labels: np.ndarray) -> Calibration:
    """Fit a temperature, and compare the confidences without it and with it.

    logits  (N, K) float32 or float64, finite, of images that were not trained on
    labels  (N,) class indices
    Raises what `fit_temperature` and `expected_calibration_error` raise.
    """
    fitted = fit_temperature(logits, labels)
    errors, likelihoods = [], []
    for temperature in (1.0, fitted):
        probs = softmax(logits, temperature, backend="numpy")
        errors.append(expected_calibration_error(probs, labels))
        z = logits.astype(np.float64) / temperature
        z -= z.max(axis=1, keepdims=True)
        own = z[np.arange(len(z)), labels] - np.log(np.exp(z).sum(axis=1))
        likelihoods.append(float(-own.mean()))
    return Calibration(fitted, (errors[0], errors[1]), (likelihoods[0], likelihoods[1]), len(z))
