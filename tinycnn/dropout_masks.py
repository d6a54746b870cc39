"""The random masks of a network's dropout layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from .layers import Dropout
from .plan import Plan

T = TypeVar("T")


class DropoutMasks:
    """Draws the masks of all dropout layers of a plan.

    generator  the random numbers, which depend on `seed` alone
    """

    def __init__(self, plan: Plan, seed: int, dtype: np.dtype) -> None:
        self.generator = np.random.default_rng([seed, 1])
        self._dtype = dtype
        self._layers = {
            step.name: (step.layer.rate, step.layer.mask_shape(step.output_shape))
            for step in plan.steps
            if isinstance(step.layer, Dropout)
        }

    def draw(self, n_images: int) -> dict[str, np.ndarray]:
        """A mask for each dropout layer, by name; see `Dropout.mask_shape`."""
        masks = {}
        for name, (rate, shape) in self._layers.items():
            kept = self.generator.random((n_images, *shape), np.float32) >= rate
            masks[name] = kept.astype(self._dtype) / self._dtype.type(1 - rate)
        return masks

    def restored_after_errors(self, work: Callable[[], T]) -> T:
        """Call work(), which may draw masks.  If it ends in an error, or by Ctrl-C, the next masks
        are those that it would have had."""
        generator = self.generator.bit_generator
        before = generator.state if self._layers else None
        try:
            return work()
        except BaseException:
            if before is not None:
                generator.state = before
            raise
