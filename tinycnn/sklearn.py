"""TinyCNNClassifier: a network as a scikit-learn estimator.  Needs the extra `sklearn`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        "TinyCNNClassifier needs scikit-learn 1.6 or newer: "
        f'pip install "tinycnn[sklearn]" ({error})'
    ) from None

from .evaluation import Validation
from .fitting import fit, optimizer_and_schedule
from .formats import safetensors
from .history import History
from .input_spec import InputSpec
from .layers import Conv2D, CustomLayer, Dense, Flatten, Layer, MaxPool2D, ReLU
from .losses import Loss, plain_array
from .network import Network
from .optim import Optimizer
from .training_data import ArrayBatches, held_out_rows

Shape = tuple[int, int, int]

Layers = Sequence[Layer] | Callable[[Shape, int], Sequence[Layer]]


class FloatNetwork(Network):
    """A network for arrays of numbers instead of uint8 pixels: they are used as they are."""

    def _scaled(self, images: np.ndarray, runner: object) -> np.ndarray:
        """Numbers (N, H, W, C) -> x (N, H, W, C) of the network's dtype."""
        return plain_array(images, self.dtype)


class TinyCNNClassifier(ClassifierMixin, BaseEstimator):
    """A convolutional network as a scikit-learn classifier: for pipelines, grid search and
    cross-validation.

    X of `fit`, `predict`, `predict_proba` and `score` is one of
        images (N, H, W) or (N, H, W, C) of uint8: pixels 0..255 are scaled to 0..1
        images of other numbers: they are used as they are, so scale them before
        vectors (N, n_features) of numbers, used as they are; with `image_shape`, flattened images
    y (N,) are labels of any kind that scikit-learn knows: numbers or names.

    layers         the layers between the input and the logits: Dense with a unit for each class is
                   added, and Flatten where it is missing.  A list that ends in Dense has it
                   already.  Or a function of the image's shape (H, W, C), which is
                   (1, 1, n_features) for vectors, and of the number of classes, that returns such a
                   list.  None: two convolutions, for vectors none, and a dense layer of 64
    image_shape    (H, W) or (H, W, C) of the images in the rows of a two-dimensional X
    epochs, batch_size, optimizer, learning_rate, loss   as in `tinycnn.fit`
    validation_fraction  above 0: this share of the images is held out and scored after every epoch,
                   and the network keeps the weights of the best epoch
    patience       stop after so many epochs without a new best one (without a validation_fraction:
                   on the training loss)
    random_state   for the first weights, dropout, the order of the images and the held-out part
    verbose        True: print a line after every epoch

    After `fit`: classes_, network_ (a tinycnn.Network: for uint8 images, `tinycnn.save` and the
    exporters take it), history_ (see tinycnn.History), image_shape_ (H, W, C), n_features_in_.
    A fitted classifier can be pickled; the network in it is stored in the safetensors format.
    """

    def __init__(
        self,
        layers: Layers | None = None,
        *,
        image_shape: tuple[int, ...] | None = None,
        epochs: int = 50,
        batch_size: int = 32,
        optimizer: str | Optimizer = "adam",
        learning_rate: float | None = None,
        loss: str | Loss | None = None,
        validation_fraction: float = 0.0,
        patience: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ) -> None:
        self.layers = layers
        self.image_shape = image_shape
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.loss = loss
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> TinyCNNClassifier:
        """Train a new network on X and y.  Returns self.

        Raises ValueError for values that are missing, not finite or of another shape; TypeError or
        ValueError, as `tinycnn.fit`, for wrong options.
        """
        data, y = validate_data(self, X, y, allow_nd=True)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        random = check_random_state(self.random_state)
        images = self._begin(data, random)
        validation = None
        if self.validation_fraction:
            seed = int(random.randint(2**31))
            held_out = held_out_rows(labels, self.validation_fraction, seed, "validation_fraction")
            validation = Validation(images[held_out], labels[held_out])
            images, labels = images[~held_out], labels[~held_out]
        self._train(
            images,
            labels,
            int(random.randint(2**31)),
            epochs=self.epochs,
            validation_data=validation,
            patience=self.patience,
            restore_best=validation is not None or self.patience is not None,
        )
        return self

    def partial_fit(
        self, X: npt.ArrayLike, y: npt.ArrayLike, classes: npt.ArrayLike | None = None
    ) -> TinyCNNClassifier:
        """Train for one epoch on X and y, starting from the present weights.  Returns self.

        classes: all labels that any y will have; needed in the first call.  validation_fraction and
        patience are not used.  Errors as `fit`.
        """
        is_first = not hasattr(self, "network_")
        data, y = validate_data(self, X, y, allow_nd=True, reset=is_first)
        check_classification_targets(y)
        if is_first:
            if classes is None:
                raise ValueError("classes is None; the first partial_fit needs all labels")
            self.classes_ = np.unique(np.asarray(classes))
            self._random = check_random_state(self.random_state)
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(f"classes is {classes}; the first call had {self.classes_}")
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(f"y has {unknown[0]}; expected one of the classes {self.classes_}")
        images = self._begin(data, self._random) if is_first else self._images(data)
        if not hasattr(self, "_random"):  # after `fit`
            self._random = check_random_state(self.random_state)
        labels = np.searchsorted(self.classes_, y)
        self._train(images, labels, int(self._random.randint(2**31)), epochs=1)
        return self

    def predict_proba(self, X: npt.ArrayLike) -> np.ndarray:
        """Probabilities float64 (N, n_classes), in the order of `classes_`."""
        check_is_fitted(self)
        images = self._images(validate_data(self, X, allow_nd=True, reset=False))
        probs = self.network_.predict_proba(images).astype(np.float64)
        return probs / probs.sum(axis=1, keepdims=True)

    def predict(self, X: npt.ArrayLike) -> np.ndarray:
        """The likeliest class (N,) of each image."""
        likeliest = self.predict_proba(X).argmax(axis=1)
        return self.classes_[likeliest]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """The attributes, with the network as bytes of a safetensors file."""
        state = dict(super().__getstate__())
        network = state.pop("network_", None)
        if network is not None:
            custom = {type(layer) for layer in network.layers if isinstance(layer, CustomLayer)}
            state["_stored_network"] = {
                "bytes": safetensors.to_bytes(network),
                "takes_floats": isinstance(network, FloatNetwork),
                "custom_layers": sorted(custom, key=lambda kind: kind.__name__),
                "dropout": network.dropout_generator.bit_generator.state,
            }
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        stored = state.pop("_stored_network", None)
        super().__setstate__(state)
        if stored is not None:
            network = safetensors.from_bytes(stored["bytes"], custom_layers=stored["custom_layers"])
            if stored["takes_floats"]:
                network.__class__ = FloatNetwork  # it differs in a method alone
            network.dropout_generator.bit_generator.state = stored["dropout"]
            self.network_ = network

    def _begin(self, X: np.ndarray, random: np.random.RandomState) -> np.ndarray:
        """Make the network and the optimizer.  Returns the images (N, H, W, C) in X."""
        is_image = X.ndim > 2 or self.image_shape is not None
        if X.ndim > 4:
            raise ValueError(f"X has shape {X.shape}; expected (N, H, W[, C]) or (N, n_features)")
        shape: tuple[int, ...] = (1, 1, X.shape[1])
        if is_image:
            shape = tuple(self.image_shape) if self.image_shape is not None else X.shape[1:]
            shape = (*shape, 1) if len(shape) == 2 else shape
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"image_shape is {self.image_shape}; expected (H, W) or (H, W, C)")
        self.image_shape_ = H, W, C = shape
        is_pixels = is_image and X.dtype == np.uint8
        names = tuple(str(name) for name in self.classes_)
        if len(set(names)) < len(names) or not all(names):
            names = ()
        spec = InputSpec(H, W, C, scaling="unit" if is_pixels else "raw", classes=names)
        layers = _complete(self.layers, (H, W, C), len(self.classes_))
        seed = int(random.randint(2**31))
        self.network_ = (Network if is_pixels else FloatNetwork)(layers, spec, seed=seed)
        optimizer = copy.deepcopy(self.optimizer)  # `optimizer` itself keeps no state of a training
        self.optimizer_, _ = optimizer_and_schedule(optimizer, self.learning_rate, "auto")
        return self._images(X)

    def _images(self, X: np.ndarray) -> np.ndarray:
        """The images (N, H, W, C) in X: uint8 for a network of pixels, else float32."""
        H, W, C = self.image_shape_
        given = X.shape[1:]
        if given != (H * W * C,) and given != (H, W, C) and (*given, 1) != (H, W, C):
            raise ValueError(
                f"X has shape {X.shape}; expected images of shape ({H}, {W}, {C}) or rows of "
                f"{H * W * C} numbers"
            )
        if isinstance(self.network_, FloatNetwork):
            with np.errstate(over="ignore"):
                x = X.astype(np.float32)
            if not np.isfinite(x).all():
                raise ValueError("X has values too large for float32: scale them before")
        elif X.dtype == np.uint8 or (X.dtype.kind in "iu" and 0 <= X.min() and X.max() <= 255):
            x = X.astype(np.uint8, copy=False)
        else:
            raise ValueError(
                f"X has dtype {X.dtype}, values {X.min():g} to {X.max():g}; expected uint8 pixels, "
                "as in fit"
            )
        return x.reshape(len(X), H, W, C)

    def _train(self, images: np.ndarray, labels: np.ndarray, seed: int, **options: Any) -> None:
        self.history_: History = fit(
            self.network_,
            ArrayBatches(images, labels, batch_size=self.batch_size, seed=seed),
            loss=self.loss,
            optimizer=self.optimizer_,
            learning_rate=self.learning_rate,
            verbose=self.verbose,
            **options,
        )


def _complete(layers: Layers | None, shape: Shape, n_classes: int) -> list[Layer]:
    """The layers with what is missing: Flatten, and Dense with a unit for each class."""
    if layers is None:
        given: list[Layer] = [Dense(64), ReLU()]
        if shape[:2] != (1, 1):
            pictures = [Conv2D(16, 3), ReLU(), MaxPool2D(2), Conv2D(32, 3), ReLU(), MaxPool2D(2)]
            given = [*pictures, *given]
    else:
        given = list(layers(shape, n_classes) if callable(layers) else layers)
    last = given[-1] if given else None
    if not isinstance(last, Dense):
        given.append(Dense(n_classes))
    elif last.units != n_classes:
        raise ValueError(
            f"layers end in Dense({last.units}), but y has {n_classes} classes: leave the last "
            "Dense out, or make it Dense(n_classes)"
        )
    kinds = [type(layer) for layer in given]
    if Flatten not in kinds:
        given.insert(kinds.index(Dense), Flatten())
    return given
