"""Network: layers with parameters, run forward and backward on the kernels or the reference."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from . import init
from .aligned_arrays import aligned_zeros
from .backend_choice import check_backend
from .backends import KernelBackend, ReferenceBackend, make_backend, named_views
from .classify import Classification, checked_images, classifications
from .input_spec import SCALINGS, InputSpec
from .layers import Dropout, Layer
from .losses import Loss, plain_array, softmax
from .parallel import check_n_threads
from .plan import Plan, build_plan
from .shapes import check_array

logger = logging.getLogger("tinycnn")

WEIGHTS = ("xavier_uniform", "xavier_normal", "he_uniform", "he_normal")
"""Functions of `tinycnn.init` that draw weights."""

PREDICTION_BATCH = 256
"""Images that are scaled at once in prediction: a million images stream through a few MB."""


class Network:
    """A CNN from a list of layers.

    layers      the last must give one vector: the logits, one for each class
    input_spec  shape and scaling of the images, class names; unnamed classes become "0", "1", ...
    backend     "numba" (kernels), "numpy" (the reference) or "auto" (kernels; where Numba fails
                the reference, with one RuntimeWarning: `tinycnn.backend_choice`)
    dtype       float32 for work, float64 for checks
    n_threads   None: the cores that this process may use; results do not depend on it
    seed        of the initial weights (Xavier uniform, biases zero) and of the dropout masks
    Raises ValueError where the layers do not fit one another or the classes.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        input_spec: InputSpec,
        *,
        backend: str = "auto",
        dtype: Any = np.float32,
        n_threads: int | None = None,
        seed: int = 0,
    ) -> None:
        check_backend(backend)
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype is {self.dtype}; expected float32 or float64")
        if not isinstance(input_spec, InputSpec):
            raise TypeError(f"input_spec is {input_spec!r}; expected an InputSpec")
        self.layers = tuple(layers)
        self.plan = build_plan(self.layers, input_spec.shape)
        n_classes = self.plan.output_shape[0]
        if not input_spec.classes:
            names = tuple(str(k) for k in range(n_classes))
            input_spec = InputSpec(**{**input_spec.config(), "classes": names})
        if len(input_spec.classes) != n_classes:
            raise ValueError(
                f"{len(input_spec.classes)} class names for {n_classes} logits: "
                f"{', '.join(input_spec.classes)}"
            )
        self.input_spec = input_spec
        self.backend, self.n_threads = backend, check_n_threads(n_threads)
        self.training_summary: dict[str, Any] = {}
        self.calibration_temperature = 1.0
        self.parameter_vector = aligned_zeros(self.plan.n_parameter_slots, self.dtype)
        self.gradient_vector = aligned_zeros(self.plan.n_parameter_slots, self.dtype)
        self.parameters: Mapping[str, np.ndarray] = MappingProxyType(
            named_views(self.plan, self.parameter_vector)
        )
        self.gradients: Mapping[str, np.ndarray] = MappingProxyType(
            named_views(self.plan, self.gradient_vector)
        )
        self.dropout_generator = np.random.default_rng([seed, 1])
        self.initialise(np.random.default_rng([seed, 0]))
        self._forwarded: int | None = None
        self._dropout_steps = [s for s in self.plan.steps if isinstance(s.layer, Dropout)]

    def __repr__(self) -> str:
        H, W, C = self.input_spec.shape
        names = ", ".join(type(layer).__name__ for layer in self.layers)
        return f"<Network {H}x{W}x{C} -> {names}: {self.n_parameters:,} parameters>"

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(
            "a network is not copied or pickled: tinycnn.save it and tinycnn.load the file"
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the logits."""
        return self.input_spec.classes

    @property
    def n_parameters(self) -> int:
        return self.plan.n_parameters

    def initialise(
        self, rng: np.random.Generator, weights: str = "xavier_uniform", bias_std: float = 0.0
    ) -> None:
        """Draw new parameters: `weights` names a function of `tinycnn.init`, biases are normal
        with deviation `bias_std` (0: zeros).  Drawn in float64, so both dtypes start alike.

        Raises ValueError for an unknown function or a deviation below 0.
        """
        if weights not in WEIGHTS:
            raise ValueError(f"weights is {weights!r}; expected one of {', '.join(WEIGHTS)}")
        draw = getattr(init, weights)
        for name, parameter in self.parameters.items():
            if name.endswith(".w"):
                parameter[:] = draw(rng, parameter.shape, np.float64)
            else:
                parameter[:] = init.normal(rng, parameter.shape, bias_std, np.float64)

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """Logits (N, K) of x (N, H, W, C), floats scaled as the InputSpec says.

        training=True draws the dropout masks and keeps what `backward` needs, x itself included:
        leave x as it is until then.  Where nothing is dropped its logits are those of prediction,
        bit for bit.  In float32 convolutions go another way than in float64 where that is faster
        (kernels/conv2d_winograd.py): errors are below 1e-5 of the largest logit.
        Another float dtype than the network's is converted.  Raises TypeError for what is no
        float array (uint8 images go to `predict_proba`), ValueError for another shape.

        NaN or infinity in an image makes the logits of that image meaningless, and touches no other
        image.  In float64 a max-pooling passes over NaN; in float32 it may do so or not.
        """
        x = self._checked_input(x)
        if not training:
            return self._run.predict(x)
        logits = self._run_training.forward(x, self._draw_masks(len(x)))
        self._forwarded = len(x)
        return logits

    def backward(self, dlogits: np.ndarray, input_gradient: bool = False) -> np.ndarray | None:
        """Overwrite `gradients` with dLoss/dparameters for dlogits = dLoss/dlogits (N, K).

        Follows one forward(x, training=True).  Returns dLoss/dx (N, H, W, C) if `input_gradient`
        is asked for, else None.  Raises RuntimeError without that forward pass, TypeError or
        ValueError for a dlogits of another kind or shape.
        """
        if self._forwarded is None:
            raise RuntimeError("backward needs a forward(x, training=True) before it")
        check_array("dlogits", dlogits, (self._forwarded, len(self.classes)), "f", "floats")
        self._forwarded = None
        return self._run.backward(self._prepared(dlogits), input_gradient)

    def loss_and_gradients(
        self, x: np.ndarray, loss: Loss, targets: np.ndarray, soft_labels: np.ndarray | None = None
    ) -> tuple[float, np.ndarray]:
        """What a training step computes before its update: the mean loss and the logits (N, K) of
        x (N, H, W, C), and in `gradients` the gradients of that loss.

        The same as forward(x, training=True), the loss and backward, to the bits of the gradients
        (but for distributions that the loss smooths: to rounding), and faster for cross-entropy and
        Hinton's distillation: there a few images at a time go forward and back in one call, while
        what belongs to them is in the processor's cache.
        Where the loss is not finite the gradients stay as they were.  Errors as `forward`, and
        those of the loss.
        """
        terms = getattr(loss, "as_distillation", None)
        run = self._run_training
        if terms is not None and run.distils:
            x = self._checked_input(x)
            shape = (len(x), len(self.classes))
            given = _plain_rows(targets, soft_labels, shape, self.dtype, terms.soft_weight > 0)
            if given is not None and len(x):
                self._forwarded = None
                value, logits = run.distil(x, self._draw_masks(len(x)), terms, *given)
                if not math.isfinite(value):  # the loss says so too, or what is wrong with targets
                    value, _ = loss(logits, targets, soft_labels, backend=self.backend)
                    given = None if math.isfinite(value) else given  # it takes what is near wrong
                if given is not None:
                    return value, logits
        logits = self.forward(x, training=True)
        value, dlogits = loss(logits, targets, soft_labels, backend=self.backend)
        if math.isfinite(value):
            self.backward(dlogits)
        return value, logits

    def scale(self, images: np.ndarray) -> np.ndarray:
        """uint8 images (N, H, W) or (N, H, W, C) -> x (N, H, W, C) as the InputSpec says.

        Raises TypeError for another dtype, ValueError for another shape.
        """
        H, W, C = self.input_spec.shape
        if isinstance(images, np.ndarray) and images.ndim == 3 and C == 1:
            check_array("images", images, ("N", H, W), "u", "uint8 pixels 0..255")
            images = images[..., None]
        check_array("images", images, ("N", H, W, C), "u", "uint8 pixels 0..255")
        if images.dtype != np.uint8:
            raise TypeError(f"images has dtype {images.dtype}; expected uint8 pixels 0..255")
        x = np.empty(images.shape, self.dtype)
        images = np.require(images, np.uint8, ["C", "A", "W"])
        self._run.scale_images(images, SCALINGS.index(self.input_spec.scaling), x)
        return x

    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        """Logits (N, K) of uint8 images (N, H, W) or (N, H, W, C).  Errors as `scale`."""
        if np.ndim(images) == 0 or len(images) <= PREDICTION_BATCH:
            return self._run.predict(self.scale(images))
        logits = np.empty((len(images), len(self.classes)), self.dtype)
        for k in range(0, len(images), PREDICTION_BATCH):
            part = slice(k, k + PREDICTION_BATCH)
            logits[part] = self._run.predict(self.scale(images[part]))
        return logits

    @property
    def calibration_temperature(self) -> float:
        """Probabilities are softmax(logits / this): `calibration.fit_temperature` finds the value
        that makes them honest.  1.0 at first; training and `predict_logits` leave it alone.

        Raises ValueError on setting it to what is no finite number above 0.
        """
        return self._calibration_temperature

    @calibration_temperature.setter
    def calibration_temperature(self, temperature: float) -> None:
        if not 0 < temperature < math.inf:
            raise ValueError(f"calibration_temperature is {temperature!r}; expected above 0")
        self._calibration_temperature = float(temperature)

    def predict_proba(self, images: np.ndarray) -> np.ndarray:
        """Class probabilities (N, K), in the order of `classes`, of uint8 images (N, H, W) or
        (N, H, W, C): softmax(logits / calibration_temperature).  Errors as `scale`."""
        logits = self.predict_logits(images)
        return softmax(logits, self.calibration_temperature, backend=self.backend)

    def classify(self, images: Any, *, unsure_below: float = 0.0) -> list[Classification]:
        """Class and probabilities of each image.

        images        uint8 (N, H, W) or (N, H, W, C), or an object that has them as `images` and
                      says as `framing` how they were cut
        unsure_below  the label is "unsure" where the likeliest class is less likely than this
        Raises TypeError or ValueError, with what to do, for pictures of another size, number of
        channels, range or framing than the network was made for, and for an unsure_below outside
        0..1.
        """
        probs = self.predict_proba(checked_images(images, self.input_spec))
        return classifications(probs, self.classes, unsure_below)

    @property
    def _run(self) -> KernelBackend | ReferenceBackend:
        """What computes, made on first use: importing and building a network compiles nothing."""
        runner = self.__dict__.get("_runner")
        if runner is None:  # of threads that come here together, the first one's runner stays
            runner = self.__dict__.setdefault("_runner", make_backend(*self._backend_arguments))
        return runner

    @property
    def _run_training(self) -> KernelBackend | ReferenceBackend:
        """The same, with what training needs compiled as well."""
        if not self._run.ready_to_train:
            self._runner = make_backend(*self._backend_arguments, training=True)
        return self._run

    @property
    def _backend_arguments(self) -> tuple[str, Plan, np.ndarray, np.ndarray, int]:
        arrays = (self.parameter_vector, self.gradient_vector)
        return self.backend, self.plan, *arrays, self.n_threads

    def _checked_input(self, x: np.ndarray) -> np.ndarray:
        expected = "floats scaled as the InputSpec says (uint8 images go to predict_proba)"
        check_array("x", x, ("N", *self.input_spec.shape), "f", expected)
        return self._prepared(x)

    def _prepared(self, array: np.ndarray) -> np.ndarray:
        return plain_array(array, self.dtype)

    def _draw_masks(self, n_images: int) -> dict[str, np.ndarray]:
        """A mask for each dropout layer, by name."""
        return {
            step.name: self._draw_mask(step.layer.rate, (n_images, *step.output_shape))
            for step in self._dropout_steps
        }

    def _draw_mask(self, rate: float, shape: tuple[int, ...]) -> np.ndarray:
        kept = self.dropout_generator.random(shape, np.float32) >= rate
        return kept.astype(self.dtype) / self.dtype.type(1 - rate)


def _plain_rows(
    targets: np.ndarray,
    soft_labels: np.ndarray | None,
    shape: tuple[int, int],
    dtype: np.dtype,
    needs_teacher: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Class indices int64 (N,), distributions (N, K) and soft labels (N, K), as `program_distil`
    takes them: what is not given is empty.  None for shapes and dtypes that a loss has to look at;
    values are not looked at here."""
    targets, labels = np.asarray(targets), np.empty(0, np.int64)
    none = np.empty((0, shape[1]), dtype)
    if targets.dtype.kind in "iu" and targets.shape == shape[:1]:
        labels, targets = plain_array(targets, np.int64), none
    elif targets.dtype.kind == "f" and targets.shape == shape:
        targets = plain_array(targets, dtype)
    else:
        return None
    if not needs_teacher:
        return labels, targets, none
    soft_labels = np.asarray(soft_labels)
    if soft_labels.dtype.kind != "f" or soft_labels.shape != shape:
        return None
    return labels, targets, plain_array(soft_labels, dtype)
