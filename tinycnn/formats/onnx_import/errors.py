"""What goes wrong while an ONNX model is turned into layers."""

from __future__ import annotations

from ...ground.messages import plain


class NotUsable(ValueError):
    """The model is damaged, or something in it cannot be expressed as layers of tinycnn.

    The message names the node.  `load_network` puts the file's name before it.
    """


def shown(name: str) -> str:
    """A name from a file, in quotes, cut to 60 characters."""
    return repr(plain(name if len(name) <= 60 else f"{name[:57]}..."))


class Budget:
    """Limits how much a small file can make the reader compute.

    Call one of its methods before arrays are allocated or gone through.  NotUsable if all of them
    together are too much.
    """

    MOST_VALUES, MOST_AT_ONCE = 1 << 26, 1 << 22
    """Of all tensors together, for one image; and of one of them, the input included: as many as a
    picture of 1024x1024 with 4 channels, or of 256x256 with 64."""

    def __init__(self) -> None:
        self.n_left = self.MOST_VALUES

    def spend(self, n_values: int) -> None:
        """For an array with a whole number for each value of a tensor."""
        if n_values > self.MOST_AT_ONCE:
            raise NotUsable(
                f"it has a tensor of {n_values:,} values for one image; the largest that tinycnn "
                f"reads has {self.MOST_AT_ONCE:,}"
            )
        self._spend(n_values)

    def _spend(self, n_values: int) -> None:
        self.n_left -= max(n_values, 0)
        if self.n_left < 0:
            raise NotUsable(
                "its tensors have tens of millions of values for one image: it is not a network "
                "of the size that tinycnn runs, or damaged"
            )

    def spend_on_constant(self, n_values: int) -> None:
        """For a constant: it may become a float64 array, and be copied."""
        self._spend(4 * n_values)
