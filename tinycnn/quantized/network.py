"""QuantizedNetwork: a network in 8-bit integers, for prediction alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..backend_choice import Operations, check_backend, either
from ..ground.messages import aligned, plain
from ..image_arrays import check_images
from ..input_spec import SCALINGS, InputSpec
from ..losses import plain_array
from ..parallel import threads_of
from ..predictor import PREDICTION_BATCH, Predictor
from ..shapes import check_array
from .calibration import pixel_table
from .integer_only import IntegerLogits, IntegerProgram
from .program import Program
from .reference_program import ReferenceProgram

ONLY_PREDICTS = (
    "a quantised network only predicts: train the network that it was made from, and quantise that "
    "again"
)

OF_TRAINING = {
    *("backward", "loss_and_gradients", "initialise", "folded", "parameters", "gradients"),
    *("statistics", "trained_vector", "trained_gradients", "parameter_vector", "gradient_vector"),
    *("dropout_generator", "fit", "train", "compile"),
}
"""Attributes of a Network that training needs, and what other libraries call them."""

HEADER = ("operation", "kind", "output", "arithmetic", "bytes")


class _Runner(Protocol):
    """A KernelProgram or a ReferenceProgram."""

    def quantized(self, x: np.ndarray) -> np.ndarray: ...

    def predict(self, x: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True, repr=False)
class QuantizedSummary:
    """A row for each operation of a quantised network.  str() and repr() are the table.

    rows: (name, kind, output shape, "int8" or "float32", bytes of weights, biases and tables)
    """

    title: str
    rows: tuple[tuple[str, str, str, str, int], ...]

    def __repr__(self) -> str:
        cells: list[tuple[str, ...]] = [HEADER]
        cells += [(*row[:4], f"{row[4]:,}") for row in self.rows]
        return f"{self.title}\n{aligned([[plain(cell) for cell in row] for row in cells], 4)}"


class QuantizedNetwork(Predictor):
    """A network whose weights and values are 8-bit integers.  `Network.quantized` makes it,
    `tinycnn.save` writes it and `tinycnn.load_quantized` reads it.

    It predicts like a `Network`: `predict_proba`, `predict_logits`, `classify`, `forward`; and it
    cannot be trained.  Its integers are the same on both backends and on every machine:
    `tinycnn/quantized/quantization.py` has the arithmetic.

    program             the operations, their integers and scales
    input_spec          of the network that it was made from
    layers_in_float     names of the layers that are computed in float32, because they have no
                        integer form
    backend, n_threads  as in `Network`
    """

    def __init__(
        self,
        program: Program,
        input_spec: InputSpec,
        *,
        backend: str = "auto",
        n_threads: int | None = None,
    ) -> None:
        self.program, self.input_spec = program, input_spec
        self.backend, self._threads = check_backend(backend), threads_of(n_threads)
        self.n_threads = self._threads.most
        self.training_summary: dict[str, Any] = {}
        self.calibration_temperature = 1.0
        self.dtype = np.dtype(np.float32)
        self._pixel_table = pixel_table(input_spec, program.input)
        self._scaling = Operations(backend, _import_scaling)
        self._runners: list[_Runner] = []  # for images; for values that are quantised already

    def __repr__(self) -> str:
        H, W, C = self.input_spec.shape
        names = self.layers_in_float
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        in_float = f"; {len(names)} in float32: {shown}" if names else ""
        return (
            f"<QuantizedNetwork {H}x{W}x{C} -> {len(self.classes)} classes: "
            f"{len(self.program.operations)} operations, {self.program.n_weight_bytes:,} bytes of "
            f"weights{in_float}>"
        )

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            reason = f": {ONLY_PREDICTS}" if name in OF_TRAINING else ""
            raise AttributeError(f"'QuantizedNetwork' object has no attribute {name!r}{reason}")

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(
            "a network cannot be copied or pickled: use tinycnn.save, and tinycnn.load_quantized "
            "on the file"
        )

    def summary(self) -> QuantizedSummary:
        """A table of the operations.  It is returned, not printed: `print(network.summary())`."""
        H, W, C = self.input_spec.shape
        spec = f"{H}x{W}x{C} uint8, scaled {self.input_spec.scaling!r}"
        names = self.layers_in_float
        title = f"{spec}, {len(self.classes)} classes, {len(names)} layers in float32"
        rows = []
        for operation in self.program.operations:
            arithmetic = "float32" if operation.kind == "float" else "int8"
            n_bytes = sum(array.nbytes for array in operation.arrays.values())
            shape = "x".join(map(str, operation.shape))
            kind = type(operation.step.layer).__name__
            rows.append((operation.step.name, kind, shape, arithmetic, n_bytes))
        return QuantizedSummary(title, tuple(rows))

    @property
    def layers_in_float(self) -> tuple[str, ...]:
        return self.program.in_float

    def scale(self, images: np.ndarray) -> np.ndarray:
        """uint8 images (N, H, W) or (N, H, W, C) -> x (N, H, W, C) float32, as `Network.scale`."""
        images = self._checked_images(images)
        x = np.empty(images.shape, np.float32)
        scaling = SCALINGS.index(self.input_spec.scaling)
        self._scaling.scale_images(images, scaling, self.input_spec.normalization(), x)
        return x

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """Logits (N, K) of x (N, H, W, C), floats scaled as the InputSpec says.

        Raises TypeError for training=True and for anything but a float array (use `predict_proba`
        for uint8 images), ValueError for another shape.
        """
        if training:
            raise TypeError(f"training=True: {ONLY_PREDICTS}")
        expected = "floats scaled as the InputSpec says (uint8 images go to predict_proba)"
        x = check_array("x", x, ("N", *self.input_spec.shape), "f", expected)
        runner = self._run[1]
        return runner.predict(runner.quantized(plain_array(x, self.dtype)))

    def predict_integer_logits(self, images: np.ndarray) -> IntegerLogits:
        """Logits of uint8 images (N, H, W) or (N, H, W, C) as the C program in integers alone
        computes them (`tinycnn export --to c --integer-only`), in NumPy.

        Raises ValueError, with the layer's name, for a network that has no form in integers alone.
        Errors as `scale`.
        """
        program = IntegerProgram(self.program, self.input_spec)
        return program.logits_of(self._checked_images(images))

    def _predicted(self, images: np.ndarray) -> tuple[np.ndarray, str]:
        """The logits, and the backend for what is computed from them."""
        images = self._checked_images(images)
        if self._pixel_table is not None:
            return self._run[0].predict(images), self.backend
        logits = np.empty((len(images), len(self.classes)), self.dtype)
        for k in range(0, len(images), PREDICTION_BATCH):
            part = slice(k, k + PREDICTION_BATCH)
            logits[part] = self.forward(self.scale(images[part]))
        return logits, self.backend

    def _checked_images(self, images: np.ndarray) -> np.ndarray:
        images = check_images(images, self.input_spec)
        images = images[..., None] if images.ndim == 3 else images
        return np.require(images, np.uint8, ["C", "A", "W"])

    @property
    def _run(self) -> list[_Runner]:
        """Runners for pixels and for quantised values.  They are made on first use."""
        if not self._runners:
            made = either(self.backend, self._on_kernels, self._in_numpy)
            self._runners = made
        return self._runners

    def _on_kernels(self) -> list[_Runner]:
        from .kernel_program import KernelProgram

        runner = KernelProgram(self.program, self._threads)
        runner.compile_prediction()
        return [
            runner if self._pixel_table is None else runner.of_pixels(self._pixel_table),
            runner,
        ]

    def _in_numpy(self) -> list[_Runner]:
        runner = ReferenceProgram(self.program)
        return [_Pixels(runner, self._pixel_table), runner]


class _Pixels:
    """Runs a program of integers on pixels, through a table."""

    def __init__(self, runner: _Runner, table: np.ndarray | None) -> None:
        self.runner, self.table = runner, table

    def quantized(self, x: np.ndarray) -> np.ndarray:
        return self.runner.quantized(x)

    def predict(self, x: np.ndarray) -> np.ndarray:
        assert self.table is not None
        return self.runner.predict(self.table[np.arange(x.shape[3]), x])


def _import_scaling() -> tuple[Any, ...]:
    from ..kernels import scale_images

    return (scale_images,)
