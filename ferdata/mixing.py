"""Mixup and CutMix: pairs of images are combined into one, and so are their targets.

One share l, 0 to 1, is drawn for a batch, and each image x1 gets a partner x2 from the batch:

    mixup    x = l * x1 + (1-l) * x2                          l ~ Beta(mixup, mixup)        (1)
    CutMix   x = x1, with a box of x2 that covers 1-l of it   l ~ Beta(cutmix, cutmix)      (2)
    both     y = l * y1 + (1-l) * y2                          targets                       (3)
             v = log(l * softmax(v1) + (1-l) * softmax(v2))   the teacher's logits          (4)

(4) mixes the teacher's probabilities, not its logits, as (3) mixes the targets and as
`average_soft_labels` averages teachers. The mean of the logits would be the geometric mean of the
probabilities: where two confident answers have logits 10 apart, shares of 0.7 and 0.3 would give
probabilities of 0.98 and 0.02. v can be divided by any temperature, like other logits.

Sources: Zhang et al., arXiv:1710.09412; Yun et al., arXiv:1905.04899.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinycnn.ground.distributions import log_sum_exp


@dataclass(frozen=True)
class Mixing:
    """mixup, cutmix: the parameter a of Beta(a, a), or 0 to switch that method off. With both on,
    each batch uses one of them, with probability 1/2. Raises ValueError unless 0 <= a <= 100."""

    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        for name, a in (("mixup", self.mixup), ("cutmix", self.cutmix)):
            if not 0 <= a <= 100:
                raise ValueError(f"{name}: expected 0 to 100, found {a}")

    def __bool__(self) -> bool:
        return bool(self.mixup or self.cutmix)

    def __call__(
        self,
        rng: np.random.Generator,
        images: np.ndarray,
        targets: np.ndarray,
        soft_labels: np.ndarray | None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """The mixed batch, in new arrays. In row i, x1 is the image of row i.

        images uint8 (n, H, W); targets float32 (n, K); soft_labels float32 (n, K) or None.
        """
        cut = self.cutmix > 0 and (not self.mixup or rng.random() < 0.5)
        a = self.cutmix if cut else self.mixup
        share = float(rng.beta(a, a))
        partner = rng.permutation(len(images))
        if cut:
            images, share = _cut(rng, images, images[partner], share)
        else:
            whole = images.astype(np.float32)
            mixed = np.float32(share) * whole + np.float32(1 - share) * whole[partner]  # (1)
            images = np.rint(mixed, out=mixed).astype(np.uint8)
        targets = (share * targets + (1 - share) * targets[partner]).astype(np.float32)  # (3)
        if soft_labels is not None and 0 < share < 1:  # (4)
            log_probs = soft_labels.astype(np.float64)
            log_probs -= log_sum_exp(log_probs)
            soft_labels = np.logaddexp(
                np.log(share) + log_probs, np.log(1 - share) + log_probs[partner]
            ).astype(np.float32)
        elif soft_labels is not None and share == 0:
            soft_labels = soft_labels[partner]
        return images, targets, soft_labels


def _cut(
    rng: np.random.Generator, first: np.ndarray, second: np.ndarray, share: float
) -> tuple[np.ndarray, float]:
    """(2): the images `first` with a box of `second`, and the share of `first` that is left. The
    whole batch has the same box. Its centre is anywhere, so the edges may cut off a part of it."""
    _, height, width = first.shape
    side = np.sqrt(1 - share)
    rows, columns = (
        slice(*np.clip(np.rint([m - side * size / 2, m + side * size / 2]), 0, size).astype(int))
        for size, m in ((height, rng.uniform(0, height)), (width, rng.uniform(0, width)))
    )
    mixed = first.copy()
    mixed[:, rows, columns] = second[:, rows, columns]
    covered = (rows.stop - rows.start) * (columns.stop - columns.start)
    return mixed, 1 - covered / (height * width)
