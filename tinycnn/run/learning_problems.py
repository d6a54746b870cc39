"""Says when a training has learned nothing: one class for all, or no better than guessing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_AS_GOOD_AS_GUESSING = 0.98
"""A loss above this share of the loss of guessing is not below it."""
_Z = 1.645  # one-sided 95 % of a normal distribution


def learning_problems(
    labels: np.ndarray, probs: np.ndarray, loss: float, classes: Sequence[str]
) -> list[str]:
    """Sentences about a network that has not learned, none if it has.

    labels  int (N,), of images that it was not trained on;  probs  (N, K), its answers
    loss    its mean cross-entropy on them

    Guessing without a look at the image is right in at most the share m of the most frequent class,
    and its loss is at least the entropy of the classes' shares, -sum p log p.  A network has not
    learned if it is right in no more than m, up to the spread of N images, and its loss is not
    below that entropy.
    """
    n = len(labels)
    shares = np.bincount(labels, minlength=len(classes)) / max(n, 1)
    if (shares > 0).sum() < 2:
        return []
    answers = probs.argmax(axis=1)
    if (answers == answers[0]).all():
        return [
            f"all {n:,} predictions are {classes[answers[0]]!r}: the network gives one class for "
            "everything; a lower learning rate or more epochs may help"
        ]
    most = float(shares.max())
    accuracy = float((answers == labels).mean())
    present = shares[shares > 0]
    guessing = -float((present * np.log(present)).sum())
    spread = _Z * (most * (1 - most) / n) ** 0.5
    if accuracy > most + spread or loss < _AS_GOOD_AS_GUESSING * guessing:
        return []
    return [
        f"the network has learned nothing: {accuracy:.1%} of the validation images are right, and "
        f"always answering {classes[int(shares.argmax())]!r} would be right in {most:.1%}; its "
        f"loss is {loss:.3f}, that of guessing {guessing:.3f}. Another learning rate or more "
        "epochs may help"
    ]
