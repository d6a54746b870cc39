"""An operation while the table is made, and the operations before and behind it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..plan import Step
from .operations import CUSTOM


@dataclass(eq=False)
class Node:
    """An operation while the table is made.

    step     the first of its steps
    sources  the operations whose outputs it takes; None: the network's input
    moments  of a BATCH_NORM: the BATCH_MOMENTS before it
    users    the operations that take its output
    stage    the stage that it is in; a layer of the user's own runs before that stage
    """

    op: np.record
    step: Step
    sources: tuple[Node | None, ...]
    moments: Node | None = None
    users: list[Node] = field(default_factory=list)
    stage: int = 0

    @property
    def is_custom(self) -> bool:
        return bool(self.op.kind == CUSTOM)
