"""Logit adjustment: a trained network names rare classes more often.

A network that learned from many images of one class and few of another says the first when in
doubt.  Menon et al. 2021 (arXiv 2007.07314, section 4.1, "post-hoc logit adjustment") subtract the
logarithm of each class's share p[k] of the training images from its logit:

    z'[k] = z[k] - strength * log p[k]                                                        (1)

With strength 1, classes count as if all were equally frequent, which raises the mean of the recalls
and lowers the accuracy on data like the training data; numbers between 0 and 1 are between both.
"""

from __future__ import annotations

import math

import numpy as np

from .layers import Dense
from .network import Network
from .shapes import check_array


def logit_offsets(class_counts: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """What is added to the logits by equation (1): float64 (K,), 0 for the most frequent class.

    class_counts  (K,) numbers of training images, or sums of the shares in their targets.  A class
                  without any gets 0: the network has not learned it
    strength      0 or more
    Raises TypeError or ValueError for other arguments.
    """
    given = np.asanyarray(class_counts)  # check_array refuses masked values
    counts = check_array("class_counts", given, ("K",), "iuf", "numbers").astype(np.float64)
    if not np.isfinite(counts).all() or (counts < 0).any() or not counts.any():
        raise ValueError("class_counts: expected numbers of 0 or more, not all 0")
    if not 0 <= strength < math.inf:
        raise ValueError(f"strength is {strength!r}; expected a number of 0 or more")
    occurs = counts > 0
    offsets = np.zeros(len(counts))
    offsets[occurs] = strength * (np.log(counts.max()) - np.log(counts[occurs]))
    return offsets


def adjust_logits(network: Network, class_counts: np.ndarray, strength: float = 1.0) -> None:
    """Add `logit_offsets` to the biases of the network's last layer, in place.

    Fit the calibration temperature again afterwards: the confidences change.
    Raises ValueError if the last layer is not a Dense with biases, or for another number of
    classes, and what `logit_offsets` raises.
    """
    offsets = logit_offsets(class_counts, strength)
    last = network.plan.steps[-1]
    if not isinstance(last.layer, Dense) or not last.layer.use_bias:
        raise ValueError(f"the last layer is {last.layer}; expected a Dense layer with biases")
    if len(offsets) != len(network.classes):
        raise ValueError(f"{len(offsets)} class_counts for {len(network.classes)} classes")
    name = f"{last.name}.b"
    network.set_parameters({name: network._parameters[name] + offsets})
