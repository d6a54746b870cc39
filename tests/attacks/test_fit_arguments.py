"""Arguments of `fit` and `iter_epochs` work to the end, or are refused before the first step."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import tinycnn
from tinycnn import (
    SGD,
    Adam,
    CheckpointError,
    CrossEntropy,
    DecoupledDistillation,
    Distillation,
    OneCycle,
    RelationDistillation,
    Validation,
    softmax,
)
from tinycnn.ground.messages import one_line
from tinycnn.train import iter_epochs

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (12, 6, 6), dtype=np.uint8)
LABELS = np.arange(12) % 3
CLASSES = ("a", "b", "c")
SINGLE = np.float32  # json knows nothing of it


def make(**options):
    spec = tinycnn.InputSpec(6, 6, 1, scaling="unit", classes=CLASSES)
    layers = [tinycnn.Flatten(), tinycnn.Dense(3)]
    return tinycnn.Network(layers, spec, backend="numpy", seed=0, **options)


def fit(folder, **options):
    options = {"epochs": 2, **options}
    return tinycnn.fit(make(), IMAGES, LABELS, folder=folder, **options)


class Counting(CrossEntropy):
    """Counts the steps."""

    n_steps: ClassVar[int] = 0

    @property
    def terms(self):
        return None

    def value_and_gradient(self, logits, inputs, backend):
        Counting.n_steps += 1
        return super().value_and_gradient(logits, inputs, backend)


class TwoBatches:
    """Batches that a user has written; targets, soft_labels: what becomes of them."""

    def __init__(self, targets=np.asarray, soft_labels=None, n_batches=2, n_parts=3):
        self.targets, self.soft_labels, self.n_parts = targets, soft_labels, n_parts
        self.n_batches, self.n_images = n_batches, 12

    def __call__(self, epoch):
        for rows in (slice(0, 6), slice(6, 12)):
            batch = IMAGES[rows], self.targets(LABELS[rows]), self.soft_labels
            yield batch[: self.n_parts]


def epochs(folder, batches, **options):
    settings = dict(loss=CrossEntropy(), optimizer=Adam(), n_epochs=2) | options
    return list(iter_epochs(make(), batches, folder=folder, **settings))


# ---- what works --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        dict(epochs=np.int64(2)),
        dict(epochs=3, patience=np.int8(1)),
        dict(ema_decay=SINGLE(0.5)),
        dict(learning_rate=SINGLE(0.01)),
        dict(learning_rate=lambda step: SINGLE(0.01)),
        dict(learning_rate=lambda step: np.array([0.01])),
        dict(learning_rate=OneCycle(SINGLE(0.1), np.int64(4))),
        dict(optimizer=Adam(SINGLE(0.01), beta1=SINGLE(0.9), clip_norm=SINGLE(1))),
        dict(optimizer=SGD(SINGLE(0.1), momentum=SINGLE(0.9), nesterov=np.bool_(True))),
        dict(batch_size=np.uint8(5), seed=np.int16(3), shuffle=np.bool_(False)),
    ],
    ids="-".join,
)
def test_scalars_of_numpy_are_numbers(tmp_path, options):
    before = fit(tmp_path, **{**options, "epochs": 1})
    after = fit(tmp_path, **{**options, "epochs": 3}, resume=np.bool_(True))
    assert after.epochs[0] == before.epochs[0]
    for record in after:
        kinds = {type(value) for value in record.to_dict().values()}
        assert kinds <= {int, float, bool, type(None)}


@pytest.mark.parametrize(
    "kind", [np.float32, np.float16, np.array, int, lambda value: np.array([value])]
)
def test_a_loss_may_be_any_number(tmp_path, kind):
    @dataclass(frozen=True)
    class Own(tinycnn.Loss):
        def value_and_gradient(self, logits, inputs, backend):
            value, dlogits = CrossEntropy().value_and_gradient(logits, inputs, backend)
            return kind(value), dlogits

    assert type(fit(tmp_path, loss=Own()).epochs[1].train_loss) is float


def test_targets_may_be_lists_and_batches_pairs(tmp_path):
    arrays = epochs(None, TwoBatches())
    for k, batches in enumerate(
        [TwoBatches(list), TwoBatches(np.ndarray.tolist), TwoBatches(n_parts=2)]
    ):
        found = epochs(tmp_path / str(k), batches)
        assert [r.train_loss for r in found] == [r.train_loss for r in arrays]


def test_a_run_with_a_loss_or_schedule_of_ones_own_can_be_resumed(tmp_path):
    class Own(tinycnn.Loss):  # no dataclass, so it has no text of its own
        def __init__(self, factor):
            self.factor, self.inner = factor, np.sqrt

        def value_and_gradient(self, logits, inputs, backend):
            return CrossEntropy().value_and_gradient(logits, inputs, backend)

    def schedules():
        return lambda step: 0.01

    kept = [Own(1.0), schedules()]  # so that the second ones have other addresses
    fit(tmp_path, loss=kept[0], learning_rate=kept[1], epochs=1)
    done = fit(tmp_path, loss=Own(1.0), learning_rate=schedules(), resume=True)
    assert len(done) == 2
    with pytest.raises(CheckpointError, match="was written with loss .*factor=1.0"):
        fit(tmp_path, loss=Own(2.0), learning_rate=schedules(), resume=True, epochs=3)


# ---- what is refused before the first step -----------------------------------------------------

ROWS = np.eye(3)[LABELS]


@pytest.mark.parametrize(
    "validation",
    [
        Validation(IMAGES, LABELS + 5),
        Validation(IMAGES, LABELS * 1.0),
        Validation(IMAGES, LABELS[:3]),
        Validation(IMAGES, None),
        Validation(IMAGES.tolist(), LABELS),
        Validation(IMAGES / 255, LABELS),
        Validation(IMAGES[:, :4], LABELS),
        Validation(IMAGES, LABELS, ROWS[:, :2]),
        Validation(IMAGES, LABELS, ROWS + 1),
        Validation(IMAGES, LABELS, ROWS.astype(int).tolist()),
    ],
    ids=range(10),
)
def test_validation_data_are_checked_before_the_first_step(tmp_path, validation):
    Counting.n_steps = 0
    with pytest.raises((ValueError, TypeError)) as in_fit:
        fit(tmp_path / "a", loss=Counting(), validation_data=validation)
    with pytest.raises((ValueError, TypeError)) as in_epochs:
        epochs(tmp_path / "b", TwoBatches(), loss=Counting(), validation=validation)
    assert str(in_fit.value) == str(in_epochs.value) != ""
    assert Counting.n_steps == 0 and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(patience="2"), "patience is '2'; expected None or 1 or more"),
        (dict(patience=2.5), "patience is 2.5; expected None or 1 or more"),
        (dict(ema_decay="x"), "ema_decay is 'x'; expected a number"),
        (dict(learning_rate=lambda step: "fast"), "the learning rate of step 0 is 'fast'"),
        (dict(folder=b"run"), "expected the name of a folder"),
        (dict(folder=""), "expected the name of a folder"),
        (dict(folder=7), "expected the name of a folder"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_options_are_checked_before_the_first_step(tmp_path, options, message):
    Counting.n_steps = 0
    options = {"folder": tmp_path / "run", **options}
    with pytest.raises((ValueError, TypeError), match=message):
        fit(**options, loss=Counting())
    assert Counting.n_steps == 0


@pytest.mark.parametrize("n_batches", ["2", None, 2.5, -1])
def test_the_numbers_of_batches_are_checked(tmp_path, n_batches):
    with pytest.raises(ValueError, match="batches.n_batches is .*expected a whole number"):
        epochs(tmp_path / "run", TwoBatches(n_batches=n_batches))
    assert not (tmp_path / "run").exists()


def test_folders_that_cannot_be_written_are_found_before_the_first_step(tmp_path):
    Counting.n_steps = 0
    (tmp_path / "file").touch()
    for folder in ("file", "file/run", "a" * 300, "a\0b"):
        with pytest.raises((OSError, ValueError)):
            fit(str(tmp_path / folder), loss=Counting())
    assert Counting.n_steps == 0
    fit(tmp_path / "not" / "there" / "yet", loss=Counting())


@pytest.mark.parametrize("value", ["0.5", None, [], np.zeros(2)], ids=str)
def test_a_loss_that_is_no_number_is_named(value):
    @dataclass(frozen=True)
    class Own(tinycnn.Loss):
        def value_and_gradient(self, logits, inputs, backend):
            return value, logits

    with pytest.raises(TypeError, match="the loss of Own is .*; expected a number"):
        fit(None, loss=Own())


@pytest.mark.parametrize("parts", [1, 0])
def test_a_batch_that_is_no_pair_is_described(parts):
    with pytest.raises(TypeError, match=rf"batches\(0\) gave a tuple of {parts}; expected"):
        epochs(None, TwoBatches(n_parts=parts))


# ---- words -------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1e300, 10**400, float("inf"), "4", -1, None])
@pytest.mark.parametrize("kind", [Distillation, DecoupledDistillation, RelationDistillation])
def test_absurd_temperatures_are_refused_in_words(kind, temperature):
    with pytest.raises(ValueError, match="temperature=.*: expected a finite number above 0"):
        kind(temperature=temperature)
    if temperature != 1e300:
        with pytest.raises(ValueError, match="temperature=.*: expected a finite number above 0"):
            softmax(np.zeros((1, 2)), temperature)


def test_errors_of_arithmetic_are_sentences():
    with pytest.raises(OverflowError) as caught:
        1e300**2
    assert one_line(caught.value) == "Numerical result out of range"
    assert one_line(ZeroDivisionError("division by zero")) == "division by zero"


def test_the_number_of_threads_may_be_of_numpy():
    assert make(n_threads=np.int64(1)).n_threads == 1
    for wrong in (np.float64(1), np.bool_(True), 0):
        with pytest.raises(ValueError, match="n_threads is .*expected None or a whole number"):
            make(n_threads=wrong)


def test_pictures_with_the_channels_first_are_called_that():
    grey, colour = (
        tinycnn.Network(
            [tinycnn.Flatten(), tinycnn.Dense(2)], tinycnn.InputSpec(9, 9, c), backend="numpy"
        )
        for c in (1, 3)
    )
    for network, shape, words in (
        (grey, (2, 3, 9, 9), "np.moveaxis(images, 1, -1), and make the pictures grey"),
        (grey, (2, 1, 9, 9), "np.moveaxis(images, 1, -1)"),
        (colour, (2, 1, 9, 9), "np.moveaxis(images, 1, -1), and make the pictures RGB"),
        (colour, (3, 9, 9), "np.moveaxis(image, 0, -1)[None]"),
        (grey, (2, 9, 9, 3), "3 channels, but the network takes grey"),
    ):
        with pytest.raises(ValueError) as caught:
            network.predict_logits(np.zeros(shape, np.uint8))
        assert words in str(caught.value)
        assert "9 channels" not in str(caught.value)
