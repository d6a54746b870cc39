"""What the page shows: every value for one image, and sampled numeric gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ..network import Network
from .layer_trace import Spot
from .numeric import AGREES, DISAGREES, DROWNED, KINK, Probe, probe_gradients, sweep_steps
from .trace import Trace, trace_image
from .windows import chosen_windows


@dataclass(frozen=True, eq=False)
class Explanation:
    """What the page shows.

    probes  numeric gradients of sampled entries of the image and of every parameter
    sweep   numeric gradients of one entry, with steps of many sizes
    model_name, image_name  for the heading, such as file names
    image_note  a sentence about where the image comes from, or ""
    windows     layer name -> index into y of the window that is shown step by step
    """

    trace: Trace
    probes: tuple[Probe, ...]
    sweep: tuple[Probe, ...]
    model_name: str = ""
    image_name: str = ""
    image_note: str = ""
    windows: Mapping[str, Spot] = field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        """Whether no sampled entry disagrees with its numeric gradient.  Entries at a kink and
        gradients that drown in rounding prove nothing, so they do not count as disagreeing."""
        return not self._count(DISAGREES)

    def _count(self, verdict: str) -> int:
        return sum(probe.verdict == verdict for probe in self.probes)

    def summary(self) -> dict[str, Any]:
        """The numbers of the page as values for JSON.  The page contains the same JSON."""
        trace = self.trace
        return {
            "model": self.model_name,
            "image": self.image_name,
            "classes": list(trace.network.classes),
            "label": trace.network.classes[trace.label],
            "predicted": trace.network.classes[trace.predicted],
            "loss": trace.loss,
            "logits": trace.logits.tolist(),
            "probs": trace.probs.tolist(),
            "dlogits": trace.dlogits.tolist(),
            "layers": [
                {
                    "name": layer.step.name,
                    "kind": type(layer.step.layer).__name__,
                    "inputs": list(layer.sources),
                    "batch_norm": batch_norm.name if batch_norm else None,
                    "input_shape": list(layer.step.input_shape),
                    "output_shape": list(layer.step.output_shape),
                    "y_min": float(layer.y.min()),
                    "y_max": float(layer.y.max()),
                    "y_zeros": int((layer.y == 0).sum()),
                    "dy_norm": float(np.linalg.norm(layer.dy)),
                    "dy_zeros": int((layer.dy == 0).sum()),
                    "gradient_norms": {
                        name: float(np.linalg.norm(g)) for name, g in layer.gradients.items()
                    },
                }
                for layer in trace.layers
                for batch_norm in [trace.batch_norms.get(layer.step.name)]
            ],
            "checks": [asdict(probe) for probe in self.probes],
            "step_sweep": [asdict(probe) for probe in self.sweep],
            "n_agreeing": self._count(AGREES),
            "n_kinks": self._count(KINK),
            "n_drowned": self._count(DROWNED),
            "n_disagreeing": self._count(DISAGREES),
            "kernels_differ_from_reference_by": dict(trace.kernel_differences),
            "float32_logits_differ_by": trace.float32_difference,
        }


def explain(
    network: Network,
    image: np.ndarray,
    label: str | None = None,
    *,
    n_entries: int = 6,
    seed: int = 0,
    model_name: str = "",
    image_name: str = "",
    image_note: str = "",
    windows: Mapping[str, Spot] | None = None,
) -> Explanation:
    """Everything about one image: forward, backward, numeric gradients.

    image      (H, W) or (H, W, C) uint8 as the network's InputSpec says
    label      the class whose cross-entropy is the loss; None: the predicted class
    n_entries  how many entries of each tensor get a numeric gradient;  seed: of their choice
    image_note a sentence about where the image comes from, for the page
    windows    layer name -> (row, column, filter) of the window that is shown step by step; by
               default those of tinycnn/explain/windows.py
    Raises UnknownLayerError for a layer that layer_kinds.EXPLAINED does not have; TypeError or
    ValueError for an image that the network does not take, a label that is not one of its classes,
    logits that are not finite, or a window that does not exist.
    """
    trace = trace_image(network, image, label)
    return Explanation(
        trace,
        tuple(probe_gradients(trace, n_entries, seed)),
        tuple(sweep_steps(trace)),
        model_name,
        image_name,
        image_note,
        chosen_windows(trace.layers, windows or {}),
    )
