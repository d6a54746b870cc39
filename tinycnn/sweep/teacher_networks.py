"""The networks that can be the teacher of a fold, and how they are trained."""

from __future__ import annotations

TEACHER_NETWORKS: dict[str, dict[str, object]] = {
    "residual48-large": {"network": "residual48-large", "learning_rate": 3e-3},
    "residual48": {"network": "residual48"},
    "microexpnet-M": {"size": "M", "dropout": 0.5, "learning_rate": 1e-3},
}
"""Name of a network -> its training options, besides the defaults of the recipe `fer`."""

DEFAULT_TEACHER = "residual48-large"

LEAST_TEACHER_EPOCHS, MOST_TEACHER_EPOCHS = 25, 100
_N_IMAGES_SEEN = 125_000


def teacher_epochs(n_images: int) -> int:
    """How many epochs a teacher is trained on a data set of n_images, if nobody says: more on a
    small one, so that it also has about two thousand training steps, within two limits."""
    wanted = -(-_N_IMAGES_SEEN // max(n_images, 1))
    return min(max(wanted, LEAST_TEACHER_EPOCHS), MOST_TEACHER_EPOCHS)
