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
from .backends import Backend, make_backend
from .classify import Classification, checked_images, classifications
from .input_spec import SCALINGS, InputSpec
from .layers import Dropout, Layer
from .losses import Loss, plain_array, softmax
from .parallel import check_n_threads
from .plan import Plan, build_plan, named_views, of_step
from .shapes import check_array

logger = logging.getLogger("tinycnn")

WEIGHTS = {
    "xavier_uniform": init.xavier_uniform,
    "xavier_normal": init.xavier_normal,
    "he_uniform": init.he_uniform,
    "he_normal": init.he_normal,
}
"""The functions of `tinycnn.init` that draw weights, by name."""

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
        with deviation `bias_std` (0: zeros).  A layer's `initial_values` come before both.  Drawn
        in float64, so both dtypes start alike.

        Raises ValueError for an unknown function or a deviation below 0.
        """
        if weights not in WEIGHTS:
            raise ValueError(f"weights is {weights!r}; expected one of {', '.join(WEIGHTS)}")
        draw = WEIGHTS[weights]
        for step in self.plan.steps:
            for short, parameter in of_step(step, self.parameters).items():
                constant = step.layer.initial_values.get(short)
                if constant is not None:
                    parameter[:] = constant
                elif short == "w":
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

        The same as forward(x, training=True), the loss and backward: to the bits of the gradients,
        but for distributions that the loss smooths, where it is the same to rounding.  It is faster
        for cross-entropy and Hinton's distillation: there a few images at a time go forward and
        back, while what belongs to them is in the processor's cache.
        Where the loss is not finite the gradients stay as they were.  Errors as `forward`, and
        those of the loss.
        """
        x = self._checked_input(x)
        inputs = loss.check(targets, soft_labels, (len(x), len(self.classes)), self.dtype)
        self._forwarded = None
        run = self._run_training
        return run.step(x, self._draw_masks(len(x)), loss, inputs)

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
    def _run(self) -> Backend:
        """What computes, made on first use: importing and building a network compiles nothing."""
        runner = self.__dict__.get("_runner")
        if runner is None:  # of threads that come here together, the first one's runner stays
            runner = self.__dict__.setdefault("_runner", make_backend(*self._backend_arguments))
        return runner

    @property
    def _run_training(self) -> Backend:
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
