"""Batches of arrays and of functions; images held out for validation."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, NamedTuple

import numpy as np

from .ground.messages import plain
from .image_arrays import check_content, check_images
from .input_spec import InputSpec
from .labels import Labels, check_labels, in_short
from .losses import check_soft_labels
from .network import Network
from .shapes import check_positive, check_whole
from .train import Batch, Batches, Validation

BATCH_SIZE = 64


class ArrayBatches:
    """Batches of images in memory or in a memory-mapped file: every image once in each epoch.

    images       (N, H, W[, C]), as the network takes them: uint8
    labels       class indices (N,), or distributions over the classes (N, K), floating
    soft_labels  floating (N, K): a teacher's logits; None: there is no teacher
    batch_size   images in a batch; the last one has what is left, and there is a single batch if
                 there are fewer images
    shuffle      False: every epoch has the same order, that of the array
    seed         for the order, which depends on it and on the epoch alone
    Attributes: n_images, n_batches.
    Raises ValueError for no images, a wrong number of labels, or an option out of range.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        soft_labels: np.ndarray | None = None,
        *,
        batch_size: int = BATCH_SIZE,
        shuffle: bool = True,
        seed: int = 0,
    ) -> None:
        check_positive(batch_size=batch_size)
        check_whole(0, seed=seed)
        if not len(images):
            raise ValueError("there are no images")
        for name, rows in (("labels", labels), ("soft_labels", soft_labels)):
            if rows is not None and len(rows) != len(images):
                raise ValueError(f"{len(images)} images but {len(rows)} {name}")
        self.n_images, self._batch_size = len(images), int(batch_size)
        self.n_batches = -(-self.n_images // self._batch_size)
        self._images, self._targets, self._soft_labels = images, np.asarray(labels), soft_labels
        self._shuffle, self._seed = shuffle, int(seed)

    def __repr__(self) -> str:
        return f"<ArrayBatches: {self.n_images:,} images, {self.n_batches:,} batches>"

    def __call__(self, epoch: int) -> Iterator[Batch]:
        order = np.arange(self.n_images)
        if self._shuffle:
            np.random.default_rng([self._seed, epoch]).shuffle(order)
        for start in range(0, self.n_images, self._batch_size):
            which = order[start : start + self._batch_size]
            soft = None if self._soft_labels is None else self._soft_labels[which]
            yield self._images[which], self._targets[which], soft


class FunctionBatches:
    """Batches that a function of the epoch gives, each (images, labels[, soft_labels]), checked.

    How many there are is not known before: n_batches and n_images are 0.
    """

    n_batches: ClassVar[int] = 0
    n_images: ClassVar[int] = 0

    def __init__(self, function: Callable[[int], Iterable[Any]], spec: InputSpec) -> None:
        name = getattr(function, "__name__", type(function).__name__)
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):  # a function written in C
            signature = None
        if signature is not None:
            try:
                signature.bind(0)
            except TypeError:
                takes = "no epoch" if not signature.parameters else "other arguments"
                raise TypeError(
                    f"{name}{signature} takes {takes}; expected a function of the epoch alone, "
                    "which is counted from 0"
                ) from None
        self._function, self._spec = function, spec

    def __call__(self, epoch: int) -> Iterator[Batch]:
        batches = self._function(epoch)
        if not isinstance(batches, Iterable):
            raise TypeError(f"batches({epoch}) gave {batches!r}; expected batches to iterate over")
        for k, batch in enumerate(batches):
            if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
                raise TypeError(
                    f"batches({epoch}) gave {_described(batch)}; expected (images, labels) or "
                    "(images, labels, soft_labels), one batch after another"
                )
            try:
                images = check_images(batch[0], self._spec)
                labels = check_labels(batch[1], self._spec.classes, len(images))
            except (TypeError, ValueError) as error:
                raise type(error)(f"batch {k} of epoch {epoch}: {error}") from None
            yield images, labels.targets, batch[2] if len(batch) == 3 else None


class LabelledImages(NamedTuple):
    """Images with their labels, checked."""

    images: np.ndarray  # uint8 (N, H, W[, C])
    labels: Labels
    soft_labels: np.ndarray | None  # (N, K) the teacher's logits

    def rows(self, which: np.ndarray) -> LabelledImages:
        """Some of the images."""
        soft = self.soft_labels
        return LabelledImages(
            self.images[which], self.labels.rows(which), None if soft is None else soft[which]
        )

    def validation(self) -> Validation:
        return Validation(self.images, self.labels.indices, self.labels.distributions)


def labelled_images(
    network: Network, images: Any, labels: Any, soft_labels: Any = None
) -> LabelledImages:
    """Images, labels and soft labels for a network, checked.  Raises TypeError or ValueError, and
    says what was expected, for anything else."""
    refuse_data_set("images", images)
    images = check_images(images, network.input_spec)
    if not len(images):
        raise ValueError("there are no images")
    check_content(images, stacklevel=4, only_if_all=True)
    if labels is None:
        raise TypeError(
            "labels are missing: fit(network, images, labels) takes one label for each image"
        )
    checked = check_labels(labels, network.classes, len(images))
    if soft_labels is not None:
        shape = (len(images), len(network.classes))
        soft_labels = check_soft_labels(soft_labels, shape, network.dtype)
    return LabelledImages(images, checked, soft_labels)


def held_out_rows(labels: np.ndarray, fraction: float, seed: int, option: str) -> np.ndarray:
    """bool (N,): the images held out for validation, about the same share of every class.

    labels (N,) class indices; fraction above 0 and below 1; option: its name, for messages
    Raises ValueError for a fraction out of range, or one that holds out none or all images.
    """
    if isinstance(fraction, bool) or not 0 < fraction < 1:
        raise ValueError(f"{option} is {fraction!r}; expected above 0 and below 1")
    held_out = np.zeros(len(labels), bool)
    rng = np.random.default_rng([seed, 0, 1])  # not a stream of ArrayBatches: [seed, epoch]
    for k in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == k))
        held_out[rows[: round(fraction * len(rows))]] = True
    if not held_out.any() or held_out.all():
        raise ValueError(
            f"{option}={fraction} holds out {held_out.sum()} of {len(labels)} images: expected "
            "some, but not all"
        )
    return held_out


def validation_from(network: Network, data: Any) -> Validation | None:
    """`validation_data` as a Validation; None stays None."""
    if data is None:
        return None
    if isinstance(data, Validation):
        data.check(network)
        return data
    refuse_data_set("validation_data", data)
    if not isinstance(data, tuple) or len(data) != 2:
        raise TypeError(
            f"validation_data is {_described(data)}; expected (images, labels) or a "
            "tinycnn.Validation"
        )
    return labelled_images(network, *data).validation()


def batches_from(network: Network, source: Any) -> Batches:
    """The batches that a Batches object or a function of the epoch gives.  Raises TypeError or
    ValueError, and says what was expected, for anything else."""
    refuse_data_set("images", source)
    if isinstance(source, type):
        raise TypeError(f"images is the class {source.__name__}; make an object of it first")
    if isinstance(source, Batches):
        _check_class_names(network, source)
        return source
    if callable(source):
        return FunctionBatches(source, network.input_spec)
    if isinstance(source, Iterator):
        raise TypeError(
            f"images is a {type(source).__name__}, which can be read only once: pass the function "
            "that makes it, and it is called with the epoch before each epoch"
        )
    if isinstance(source, list) and source and isinstance(source[0], tuple):
        raise TypeError(
            "images is a list of batches; expected an array, or a function of the epoch: pass "
            "lambda epoch: batches"
        )
    if isinstance(source, Iterable) and not hasattr(source, "__array__"):
        if not isinstance(source, (list, tuple, str, bytes, dict)):
            raise TypeError(
                f"images is a {type(source).__name__}; expected an array, or a function of the "
                "epoch: pass lambda epoch: loader, if it yields (images, labels)"
            )
    check_images(source, network.input_spec)  # it is no array, so this raises
    raise AssertionError


def refuse_data_set(name: str, value: Any) -> None:
    """TypeError for an object that holds images and labels: which of its arrays to pass."""
    for labels in ("labels", "target"):
        if hasattr(value, "images") and hasattr(value, labels) and not callable(value):
            of_ferdata = type(value).__module__.split(".")[0] == "ferdata"
            raise TypeError(
                f"{name} is a {type(value).__name__}; expected arrays: pass its .images and "
                f".{labels}" + (", or ferdata.Batches(faces, size_px=...)" if of_ferdata else "")
            )


def _check_class_names(network: Network, batches: Batches) -> None:
    names = getattr(batches, "classes", None)
    numbered = tuple(str(k) for k in range(len(network.classes)))
    if names is None or network.classes in (tuple(names), numbered):
        return
    raise ValueError(
        f"the batches have the classes {plain(in_short(tuple(names)))}; the network has "
        f"{plain(in_short(network.classes))}: expected the same, in the same order"
    )


def _described(value: object) -> str:
    """The kind of a value in words: "a tuple of 1"."""
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"a {type(value).__name__}"
