"""Network: layers with parameters, run forward and backward on the kernels or the reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from . import init, second_compiler
from .backend_choice import backend_in_use as selected_backend
from .backend_choice import check_backend
from .backends import Backend, make_backend
from .classify import checked_images
from .dropout_masks import DropoutMasks
from .first_predictions import FirstPredictions
from .folding import fold
from .frozen_layers import FrozenBackend, frozen_part
from .image_arrays import check_images
from .input_spec import SCALINGS, InputSpec
from .layers import DepthwiseConv2D, Layer
from .losses import Loss, plain_array, softmax
from .parallel import threads_of
from .parameter_arrays import ParameterArrays
from .plan import build_plan, of_step
from .predictor import PREDICTION_BATCH, Predictor
from .reference_backend import ReferenceBackend
from .shapes import check_array
from .summary import Summary, summary_of
from .training_thread import TrainingThread
from .unknown_options import INSTEAD_OF, NamesItsOptions

if TYPE_CHECKING:
    from .quantized.network import QuantizedNetwork

T = TypeVar("T")

MOST_LAYERS = 12
"""The text of a network names at most this many layers."""


class Network(NamesItsOptions, ParameterArrays, Predictor):
    """A CNN from a list of layers.

    layers      the output of the last is a vector: the logits, one for each class
    input_spec  shape and scaling of the images, class names; without names classes are called
                "0", "1", ...
    backend     "numba" (kernels), "numpy" (the reference) or "auto": kernels, but NumPy answers the
                first predictions while they are not loaded (`tinycnn.first_predictions`), and all
                if Numba fails, with one RuntimeWarning (`tinycnn.backend_choice`)
    dtype       float32 for work, float64 for checks
    n_threads   None: as many of the cores that this process may use as the work is worth, see
                `parallel.Threads`; results do not depend on it
    seed        for the initial weights (Xavier uniform, biases zero) and the dropout masks
    Raises ValueError if the layers do not fit together, or do not fit the number of classes.

    parameters, gradients  by name, such as "conv1.w": views of the flat arrays below.  They may be
                           written to at any time; so once a program has asked for `parameters`,
                           they are compared before each prediction with those of the last one,
                           which takes up to a tenth of the time of an image
    statistics             likewise: "bn1.running_mean"; training updates these without a gradient
    trained_vector, trained_gradients  the flat arrays of all parameters and of all gradients, which
                           an optimizer takes; without those of layers that `freeze` has frozen
    parameter_vector, gradient_vector  the same with what no optimizer changes behind them: the
                           statistics, and zeros for the biases that layers were made without

    Several threads may predict with a network.  Only one at a time may train it: see
    `tinycnn.training_thread`.
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
            raise TypeError(
                f"input_spec is {input_spec!r}; expected an InputSpec: for 28x28 px of one channel "
                "InputSpec(28, 28, 1)"
            )
        self.plan = build_plan(layers, input_spec.shape)
        self.layers = self.plan.layers
        n_classes = self.plan.output_shape[0]
        if not input_spec.classes:
            names = tuple(str(k) for k in range(n_classes))
            input_spec = InputSpec(**{**input_spec.config(), "classes": names})
        if len(input_spec.classes) != n_classes:
            raise ValueError(
                f"{len(input_spec.classes)} class names for {n_classes} logits: "
                f"{', '.join(input_spec.classes)}"
            )
        self.input_spec, self._normalization = input_spec, input_spec.normalization()
        self.backend, self._threads = backend, threads_of(n_threads)
        self.n_threads = self._threads.most
        self.training_summary: dict[str, Any] = {}
        self.calibration_temperature = 1.0
        self.training_thread = TrainingThread()
        self._make_arrays(self.dtype)
        self._masks = DropoutMasks(self.plan, seed, self.dtype)
        self.dropout_generator = self._masks.generator
        self.initialise(np.random.default_rng([seed, 0]))
        self._first_predictions = FirstPredictions(
            self.plan, self._parameter_vector, self._gradient_vector, backend
        )
        self._n_forwarded: int | None = None  # images of the last forward pass in training

    def __repr__(self) -> str:
        H, W, C = self.input_spec.shape
        names = [type(layer).__name__ for layer in self.layers]
        if len(names) > MOST_LAYERS:
            half = MOST_LAYERS // 2
            names[half:-half] = [f"... {len(names) - 2 * half} more ..."]
        return f"<Network {H}x{W}x{C} -> {', '.join(names)}: {self.n_parameters:,} parameters>"

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """For attributes that do not exist: what takes the place of a method of Keras."""
            instead = f": use {INSTEAD_OF[name]}" if name in INSTEAD_OF else ""
            raise AttributeError(f"'Network' object has no attribute {name!r}{instead}")

    def summary(self) -> Summary:
        """A table of the layers: names, output shapes, parameters, multiply-adds for an image.

        It is returned, not printed: `print(network.summary())`.
        """
        H, W, C = self.input_spec.shape
        title = (
            f"{H}x{W}x{C} uint8, scaled {self.input_spec.scaling!r}, {len(self.classes)} classes"
        )
        return summary_of(self.plan, title)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(
            "a network cannot be copied or pickled: use tinycnn.save, and tinycnn.load on the file"
        )

    def initialise(
        self, rng: np.random.Generator, weights: str = "xavier_uniform", bias_std: float = 0.0
    ) -> None:
        """Draw new parameters, in float64, so that both dtypes start with the same values.

        weights   name of the function in `tinycnn.init` that draws weights
        bias_std  standard deviation of the biases, which are normally distributed; 0: zeros
        Parameters in a layer's `initial_values` get these constants instead; so do statistics, and
        the other statistics 0.
        Raises ValueError for an unknown function or a deviation below 0.
        """
        if weights not in init.WEIGHTS:
            raise ValueError(f"weights is {weights!r}; expected one of {', '.join(init.WEIGHTS)}")
        draw = init.WEIGHTS[weights]
        for step in self.plan.steps:
            for short, parameter in of_step(step, self._parameters).items():
                constant = step.layer.initial_values.get(short)
                if constant is not None:
                    parameter[:] = constant
                elif isinstance(step.layer, DepthwiseConv2D) and short == "w":
                    for c in range(parameter.shape[2]):  # a convolution of one channel
                        weights_of_c = parameter[:, :, c : c + 1]
                        weights_of_c[:] = draw(rng, weights_of_c.shape, np.float64)
                elif short == "w":
                    parameter[:] = draw(rng, parameter.shape, np.float64)
                else:
                    parameter[:] = init.normal(rng, parameter.shape, bias_std, np.float64)
            for short, statistic in of_step(step, self._statistics).items():
                statistic[:] = step.layer.initial_values.get(short, 0.0)
        self._parameters_have_changed()

    def freeze(self, layers: int | str) -> None:
        """Train only the layers after the first ones, as `trainable = False` does in Keras.

        layers  how many layers with weights are frozen: convolutions, dense layers, residuals.  A
                BatchNorm or PReLU belongs to the layer before it.  Or the name of the last of them,
                such as "conv2".  0: none
        Frozen layers keep weights and statistics, and run as in prediction: BatchNorm uses its
        running statistics, and there is no dropout among them.  Their gradients are 0, and
        `trained_vector` is without them: make a new optimizer.  Model files do not say what was
        frozen.  Raises ValueError for layers that the network does not have, or its last one.
        """
        self._frozen = frozen_part(self.plan, layers)
        self._gradient_vector[:] = 0
        self._runners.clear()

    @property
    def frozen_layers(self) -> tuple[str, ...]:
        """The names of the layers that `freeze` has frozen."""
        return tuple(step.name for step in self.plan.steps[: self._frozen.n_steps])

    def folded(self) -> Network:
        """A network without BatchNorm that computes the same in prediction: each BatchNorm is
        folded into a layer beside it, or replaced by a ScaleShift (`folding.py`).

        Equal up to rounding.  Both networks have arrays of their own, and the new one can be
        trained; but its training is another one, without the statistics of batches.
        """
        plan, vector = fold(self.plan, self._parameter_vector)
        network = Network(
            plan.layers, self.input_spec, backend=self.backend, dtype=self.dtype,
            n_threads=self._threads.argument,
        )  # fmt: skip
        network._parameter_vector[:] = vector
        network.training_summary = dict(self.training_summary)
        network.calibration_temperature = self.calibration_temperature
        return network

    def quantized(self, calibration_images: Any) -> QuantizedNetwork:
        """A network in 8-bit integers that predicts nearly the same, several times faster where
        the processor has VNNI.  BatchNorm is folded first.

        calibration_images  uint8 (N, H, W) or (N, H, W, C), or an object with these as `images`:
                            some hundred that are like those to come.  The largest and smallest
                            value of each layer on them set the scale of its integers
        Raises TypeError or ValueError for pictures that the network does not take, for none at all,
        for values that are not finite; UnknownLayerError for a layer that has no entry in
        `quantized.program.KINDS`.
        """
        from .quantized.calibration import quantize
        from .quantized.network import QuantizedNetwork
        from .quantized.program import check_layers

        check_layers(self.plan)
        images = checked_images(calibration_images, self.input_spec)
        if not len(images):
            raise ValueError("calibration_images is empty; expected some hundred images")
        x = self.scale(images).astype(np.float32, copy=False)
        program = quantize(self.plan, self._parameter_vector, self.input_spec, x)
        network = QuantizedNetwork(
            program, self.input_spec, backend=self.backend, n_threads=self._threads.argument
        )
        network.training_summary = dict(self.training_summary)
        network.calibration_temperature = self.calibration_temperature
        return network

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """Logits (N, K) of x (N, H, W, C), floats scaled as the InputSpec says.

        training=True draws the dropout masks and saves what `backward` needs, including a reference
        to x: do not change x before `backward`.  A BatchNorm then uses mean and variance of this
        batch and updates its running ones, which it uses in prediction.  Without dropout and
        BatchNorm, the logits are the same bits in training and in prediction.
        In float32 some convolutions are computed by another algorithm than in float64
        (kernels/conv2d_winograd.py, conv2d_winograd_3x3.py); its errors are below 1e-5 of the
        largest logit.  So are the differences between predictions of the two backends: see
        `backend_in_use`.
        An x of another float dtype than the network's is converted.  Raises TypeError for anything
        but a float array (use `predict_proba` for uint8 images), ValueError for another shape.

        NaN or infinity in an image makes the logits of that image meaningless, but not those of
        other images.  In float64 a max-pooling ignores NaN; in float32 it may or may not.
        """
        x = self._checked_input(x)
        if not training:
            if self._runners:  # at once: what is asked below takes longer than some layers
                return self._runners[0].predict(x)
            by_numpy = self._numpy_answers(len(x))
            return self._first_predictions.predict(x) if by_numpy else self._run.predict(x)
        logits = self._in_training(lambda: self._run_training.forward(x, self._masks.draw(len(x))))
        self._n_forwarded = len(x)
        return logits

    def backward(self, dlogits: np.ndarray, input_gradient: bool = False) -> np.ndarray | None:
        """Overwrite `gradients` with dLoss/dparameters for dlogits = dLoss/dlogits (N, K).

        Call it once after forward(x, training=True).  Returns dLoss/dx (N, H, W, C) if
        `input_gradient`, else None.  Raises RuntimeError without that forward pass, or if another
        thread made it; TypeError or ValueError for a dlogits of another dtype or shape.
        """
        if self._n_forwarded is None:
            raise RuntimeError("backward needs a forward(x, training=True) before it")
        self.training_thread.check_is_mine()
        dlogits = check_array(
            "dlogits", dlogits, (self._n_forwarded, len(self.classes)), "f", "floats"
        )
        gradient = plain_array(dlogits, self.dtype)
        return self._in_training(lambda: self._run.backward(gradient, input_gradient))

    def loss_and_gradients(
        self, x: np.ndarray, loss: Loss, targets: np.ndarray, soft_labels: np.ndarray | None = None
    ) -> tuple[float, np.ndarray]:
        """Returns the mean loss and the logits (N, K) of x (N, H, W, C), and overwrites `gradients`
        with the gradients of that loss: a training step without its update.

        The gradients have the same bits as after forward(x, training=True), the loss and backward;
        only for distributions that the loss smooths they may differ by rounding.  For cross-entropy
        and Hinton's distillation this is faster: a few images at a time go forward and backward,
        while their activations are in the processor's cache.
        If the loss is not finite, neither the gradients nor the running statistics change.  Errors
        as `forward`, those of the loss, and RuntimeError if another thread is training the network.
        """
        x = self._checked_input(x)
        inputs = loss.check(targets, soft_labels, (len(x), len(self.classes)), self.dtype)
        return self._in_training(
            lambda: self._run_training.step(x, self._masks.draw(len(x)), loss, inputs)
        )

    def _in_training(self, work: Callable[[], T]) -> T:
        """Call work(), a pass in training.  Raises RuntimeError if another thread trains the
        network.  A pass that ends in an error, or by Ctrl-C, leaves the dropout generator as it
        was, and nothing for `backward`."""

        def begun() -> T:
            self._n_forwarded = None
            self._expect_changes()  # of the running statistics
            self.training_thread.computes_gradients()
            return self._masks.restored_after_errors(work)

        return self.training_thread.run(begun)

    def scale(self, images: np.ndarray) -> np.ndarray:
        """uint8 images (N, H, W) or (N, H, W, C) -> x (N, H, W, C) as the InputSpec says.

        Raises TypeError for anything but an array of uint8, ValueError for another shape; the
        message says how to convert the images.
        """
        return self._scaled(images, self._run)

    def _scaled(self, images: np.ndarray, runner: Backend) -> np.ndarray:
        """`scale`, computed by `runner`."""
        images = check_images(images, self.input_spec)
        if images.ndim == 3:
            images = images[..., None]
        x = np.empty(images.shape, self.dtype)
        if not images.flags.carray:
            images = np.require(images, np.uint8, ["C", "A", "W"])
        scaling = SCALINGS.index(self.input_spec.scaling)
        runner.scale_images(images, scaling, self._normalization, x)
        return x

    def _predicted(self, images: np.ndarray) -> tuple[np.ndarray, str]:
        """The logits, and the backend for what is computed from them."""
        is_array = isinstance(images, np.ndarray) and images.ndim > 0
        n_images = len(images) if is_array else 0  # `_scaled` refuses it
        first = self._first_predictions if self._numpy_answers(n_images) else None
        scales = self._run if first is None else first.numpy
        predict = self._run.predict if first is None else first.predict
        backend = self.backend if first is None else "numpy"
        if n_images <= PREDICTION_BATCH:
            return predict(self._scaled(images, scales)), backend
        logits = np.empty((n_images, len(self.classes)), self.dtype)
        for k in range(0, n_images, PREDICTION_BATCH):
            part = slice(k, k + PREDICTION_BATCH)
            logits[part] = predict(self._scaled(images[part], scales))
        return logits, backend

    @property
    def backend_in_use(self) -> str:
        """The backend, "numba" or "numpy", that answered the last prediction.

        With backend="auto" this is "numpy" at first, and "numba" once the kernels are loaded:
        `tinycnn.first_predictions` says when; training and `load_kernels` do it at once.  Between
        the two, logits differ by rounding, by less than 1e-5 of the largest one.  Before the first
        prediction: what `backend` selects.
        """
        if not self._runners and self._first_predictions.numpy_has_answered:
            return "numpy"
        return selected_backend(self.backend)

    def load_kernels(self, training: bool = False) -> None:
        """Load the kernels of prediction now, or compile them, which takes 5 to 15 seconds once
        for a machine.  From then on the kernels answer all predictions.

        training  also those of training, which take twice as long
        With backend="numpy", and with "auto" where Numba fails, NumPy answers all.  Raises as
        `tinycnn.backend_choice` says with backend="numba".
        """
        if self._runners and (self._runners[0].ready_to_train or not training):
            return
        runner = self._run_training if training else self._run
        if not isinstance(runner, ReferenceBackend):
            softmax(np.zeros((1, len(self.classes)), self.dtype), backend=self.backend)
            second_compiler.note(self.plan, self.dtype, training)

    def _numpy_answers(self, n_images: int) -> bool:
        """Whether NumPy answers a prediction of n_images.  If not, the kernels are loaded."""
        if self._runners or self._first_predictions.numpy_answers(n_images):
            return not self._runners
        self.load_kernels()
        return False

    @property
    def _run(self) -> Backend:
        """The backend.  It is made on first use, so that building a network compiles nothing."""
        if not self._runners:  # threads that come here together all use the first one's backend
            self._first_predictions.wait()
            self._runners.append(self._make_runner(training=False))
            self._tell_of_changes()
        return self._runners[0]

    @property
    def _run_training(self) -> Backend:
        """The same, with everything that training needs compiled."""
        if not (self._runners and self._runners[0].ready_to_train):
            if not self._runners:
                self._first_predictions.wait()
            self._runners[:1] = [self._make_runner(training=True)]
            self._tell_of_changes()
        return self._runners[0]

    def _make_runner(self, training: bool) -> Backend:
        parameters, gradients = self._parameter_vector, self._gradient_vector
        made = make_backend(self.backend, self.plan, parameters, gradients, self._threads, training)
        if not isinstance(made, ReferenceBackend):
            self._first_predictions.kernels_are_loaded()
        if self._frozen.n_layers and made.ready_to_train:
            return FrozenBackend(
                made, self._frozen, self.plan, parameters, gradients, self._threads, self.backend
            )
        return made

    def _checked_input(self, x: np.ndarray) -> np.ndarray:
        if type(x) is np.ndarray and x.dtype is self.dtype and x.shape[1:] == self.plan.input_shape:
            if x.flags.carray:  # it passes all checks, which take 1 us: as long as some layers
                return x
        expected = "floats scaled as the InputSpec says (uint8 images go to predict_proba)"
        x = check_array("x", x, ("N", *self.input_spec.shape), "f", expected)
        return plain_array(x, self.dtype)
