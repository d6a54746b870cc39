"""tinycnn.fit: scripts as a newcomer from Keras types them, and answers to what cannot work."""

import re
import types

import numpy as np
import pytest
from PIL import Image

import ferdata
import tinycnn
from tinycnn import (
    Adam,
    ArrayBatches,
    Callback,
    Conv2D,
    CosineWithWarmup,
    CrossEntropy,
    Dense,
    Distillation,
    DivergedError,
    Flatten,
    InputSpec,
    MaxPool2D,
    Network,
    ReLU,
    Validation,
)
from tinycnn.training_data import held_out_rows

N, NAMES = 48, ("first", "second", "third", "fourth")


def bright_rows(n=N, seed=0):
    """Noisy images (n, 8, 6); the class is the brightest of four rows."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 160, (n, 8, 6), dtype=np.uint8)
    labels = rng.integers(0, 4, n)
    images[np.arange(n), 2 * labels] = 255
    return images, labels


IMAGES, LABELS = bright_rows()
HELD_OUT = bright_rows(24, seed=1)


def network(classes=(), backend="numpy", seed=0):
    spec = InputSpec(8, 6, scaling="unit", classes=classes)
    layers = [Conv2D(4, 3), ReLU(), MaxPool2D(2), Flatten(), Dense(4)]
    return Network(layers, spec, backend=backend, seed=seed)


def weights(images, labels=None, made=None, **options):
    """The weights after three epochs, or as many as `options` say."""
    made = made or network()
    tinycnn.fit(made, images, labels, **{"epochs": 3, **options})
    return made.parameter_vector.copy()


def refused(error, message, *args, **options):
    """Asserts that fit answers so.  "..." stands for anything."""
    pattern = ".*".join(re.escape(part) for part in message.split("..."))
    with pytest.raises(error, match=pattern) as caught:
        tinycnn.fit(*args, **options)
    return str(caught.value)


# ---- it trains when it is called, and returns a history --------------------------------------


def test_arrays_as_in_keras():
    made = network()
    before = made.parameter_vector.copy()
    history = tinycnn.fit(
        made, IMAGES, LABELS, batch_size=16, epochs=30, validation_data=HELD_OUT, learning_rate=1e-2
    )
    assert not np.array_equal(made.parameter_vector, before)
    assert len(history.epochs) == len(history.history["loss"]) == 30
    assert history.history["loss"][-1] < history.history["loss"][0] / 3
    assert set(history.history) == {
        *("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
    }
    right = (made.predict_proba(HELD_OUT[0]).argmax(axis=1) == HELD_OUT[1]).mean()
    assert history.history["val_accuracy"][-1] == right > 0.9


def test_without_validation_there_are_no_validation_columns():
    history = tinycnn.fit(network(), IMAGES, LABELS, epochs=2)
    assert set(history.history) == {"loss", "accuracy", "learning_rate"}


def test_nothing_is_printed_unless_asked(capfd):
    weights(IMAGES, LABELS)
    assert capfd.readouterr() == ("", "")
    weights(IMAGES, LABELS, verbose=1, validation_data=HELD_OUT)
    lines = capfd.readouterr().out.splitlines()
    assert [line[:9] for line in lines] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert "loss" in lines[0] and "val_accuracy" in lines[0]


def test_the_defaults_are_those_that_the_docstring_names():
    """64 images a batch, Adam at 1e-3, cross-entropy, shuffled with seed 0."""
    batches = ArrayBatches(IMAGES, LABELS, batch_size=64, seed=0)
    told = dict(optimizer=Adam(1e-3, backend="numpy"), loss=CrossEntropy())
    np.testing.assert_array_equal(weights(IMAGES, LABELS), weights(batches, **told))
    history = tinycnn.fit(network(), IMAGES, LABELS)
    assert len(history.epochs) == 10 and history.epochs[0].learning_rate == 1e-3


def test_names_and_objects_are_the_same():
    options = dict(batch_size=16, loss=CrossEntropy(), optimizer=tinycnn.SGD(0.02, backend="numpy"))
    named = dict(batch_size=16, loss="sparse_categorical_crossentropy", optimizer="SGD")
    np.testing.assert_array_equal(
        weights(IMAGES, LABELS, **options), weights(IMAGES, LABELS, **named, learning_rate=0.02)
    )


def test_a_learning_rate_may_be_a_schedule():
    schedule = CosineWithWarmup(1e-2, n_steps=6, n_warmup_steps=2)
    history = tinycnn.fit(
        network(), IMAGES, LABELS, batch_size=24, epochs=3, learning_rate=schedule
    )
    assert history.history["learning_rate"] == [schedule(0), schedule(2), schedule(4)]


def test_the_seed_and_shuffle_decide_the_order():
    first = weights(IMAGES, LABELS, batch_size=16)
    np.testing.assert_array_equal(weights(IMAGES, LABELS, batch_size=16), first)
    assert not np.array_equal(weights(IMAGES, LABELS, batch_size=16, seed=1), first)
    epochs = [[labels for _, labels, _ in ArrayBatches(IMAGES, np.arange(N))(k)] for k in (0, 1)]
    assert not np.array_equal(*map(np.concatenate, epochs))
    assert [sorted(np.concatenate(epoch)) for epoch in epochs] == [list(range(N))] * 2
    unshuffled = [weights(IMAGES, LABELS, batch_size=16, shuffle=False, seed=s) for s in (0, 1)]
    np.testing.assert_array_equal(*unshuffled)
    in_order = lambda epoch: [(IMAGES[k : k + 16], LABELS[k : k + 16]) for k in (0, 16, 32)]
    np.testing.assert_array_equal(unshuffled[0], weights(in_order))


@pytest.mark.parametrize(
    "labels",
    [
        [NAMES[k] for k in LABELS],
        np.array(NAMES)[LABELS],
        np.array(NAMES, object)[LABELS],
        np.eye(4, dtype=int)[LABELS],
        np.eye(4, dtype=bool)[LABELS],
        LABELS.tolist(),
        LABELS[:, None].astype(np.uint8),
    ],
    ids=["names", "array of names", "objects", "one-hot", "bool", "list", "column"],
)
def test_labels_of_every_usual_kind(labels):
    expected = weights(IMAGES, LABELS, network(NAMES))
    np.testing.assert_array_equal(weights(IMAGES, labels, network(NAMES)), expected)


def test_distributions_are_targets_too():
    rows = np.full((N, 4), 0.1)
    rows[np.arange(N), LABELS] = 0.7
    made = network()
    history = tinycnn.fit(made, IMAGES, rows, epochs=40, learning_rate=1e-2)
    assert history.history["accuracy"][-1] > 0.9  # of the likeliest class
    assert history.history["loss"][-1] > 0.9  # the entropy of such a row is 0.94
    one_hot = np.eye(4, dtype=np.float32)[LABELS]
    scored = tinycnn.evaluate(made, IMAGES, one_hot)
    assert scored.accuracy == tinycnn.evaluate(made, IMAGES, LABELS).accuracy
    held_out = tinycnn.fit(made, IMAGES, LABELS, epochs=1, validation_data=(IMAGES, rows))
    scored = tinycnn.evaluate(made, IMAGES, LABELS, rows.astype(np.float32))
    assert tinycnn.evaluate(made, IMAGES, rows).loss == pytest.approx(scored.loss)
    assert held_out.epochs[0].val_loss == pytest.approx(scored.loss)


def test_validation_data_of_both_kinds():
    pair = tinycnn.fit(network(), IMAGES, LABELS, epochs=2, validation_data=HELD_OUT)
    named = tinycnn.fit(network(), IMAGES, LABELS, epochs=2, validation_data=Validation(*HELD_OUT))
    assert pair.history == named.history


def test_validation_split_holds_out_the_same_share_of_every_class():
    labels = np.repeat(np.arange(4), 12)  # sorted: the last tenth would be one class
    images = np.zeros((N, 8, 6), np.uint8)
    images[np.arange(N), 2 * labels] = 255
    images[:, 7, :] = np.arange(N)[:, None] + 2
    seen = []

    class Seen(Callback):
        def on_step(self, record):
            seen.append(record.n_images)

    history = tinycnn.fit(
        network(), images, labels, epochs=2, validation_split=0.25, callbacks=[Seen()]
    )
    assert seen == [36, 36] and len(history.history["val_loss"]) == 2
    unequal = np.repeat(np.arange(3), (8, 16, 24))
    held_out = held_out_rows(unequal, 0.25, 0, "validation_split")
    assert np.bincount(unequal[held_out]).tolist() == [2, 4, 6]
    assert not np.array_equal(held_out, held_out_rows(unequal, 0.25, 1, "validation_split"))
    with pytest.raises(ValueError, match="validation_split is 1.5; expected above 0 and below 1"):
        weights(images, labels, validation_split=1.5)
    with pytest.raises(ValueError, match="validation_split or validation_data, not both"):
        weights(images, labels, validation_split=0.1, validation_data=HELD_OUT)
    with pytest.raises(ValueError, match="validation_split=0.01 .*of 48 images"):
        weights(images, labels, validation_split=0.01)


def test_patience_and_the_best_weights():
    class Bad(Callback):
        """From the third epoch on, makes the weights worse."""

        def on_step(self, record):
            if record.epoch > 1:
                made.parameter_vector += 1

    made = network()
    options = dict(validation_data=HELD_OUT, callbacks=[Bad()], learning_rate=1e-2, batch_size=16)
    history = tinycnn.fit(made, IMAGES, LABELS, epochs=50, patience=2, restore_best=True, **options)
    assert history.best.epoch < 2 and len(history) == history.best.epoch + 3
    assert tinycnn.evaluate(made, *HELD_OUT).loss == pytest.approx(history.best.val_loss)
    assert history["val_accuracy"][history.best.epoch] == history.best.val_accuracy


def test_distillation():
    teacher = 5 * np.eye(4, dtype=np.float32)[LABELS]
    expected = weights(IMAGES, LABELS, soft_labels=teacher, loss=Distillation())
    np.testing.assert_array_equal(weights(IMAGES, LABELS, soft_labels=teacher), expected)
    assert not np.array_equal(weights(IMAGES, LABELS), expected)


def test_a_folder_is_made_and_a_run_resumed(tmp_path):
    folder = tmp_path / "runs" / "mine"
    whole = weights(IMAGES, LABELS, epochs=4, batch_size=16)
    weights(IMAGES, LABELS, epochs=2, batch_size=16, folder=folder)
    assert (folder / "model.safetensors").exists()
    made = network()
    options = dict(epochs=4, batch_size=16, folder=str(folder), resume=True)
    history = tinycnn.fit(made, IMAGES, LABELS, **options)
    np.testing.assert_array_equal(made.parameter_vector, whole)
    assert [record.epoch for record in history.epochs] == [0, 1, 2, 3]


def test_a_batch_may_be_larger_than_the_data():
    steps = []

    class Steps(Callback):
        def on_step(self, record):
            steps.append((record.n_images, record.n_batches))

    tinycnn.fit(network(), IMAGES, LABELS, batch_size=1000, epochs=1, callbacks=[Steps()])
    assert steps == [(N, 1)]


def test_images_on_disk_are_not_copied(tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    np.testing.assert_array_equal(weights(mapped, LABELS), weights(IMAGES, LABELS))


# ---- batches, functions, generators ----------------------------------------------------------


def test_batches_of_ferdata():
    faces = ferdata.render_faces(2, 1, seed=0, size_px=24)
    layers = [Conv2D(4, 3), ReLU(), MaxPool2D(4), Flatten(), Dense(8)]
    spec = InputSpec(24, 24, scaling="unit", classes=faces.classes)
    made = Network(layers, spec, backend="numpy")
    history = tinycnn.fit(made, ferdata.Batches(faces, size_px=24, batch_size=8), epochs=3)
    assert len(history) == 3 and history.epochs[0].images_per_s > 0
    other = Network(layers, InputSpec(24, 24, classes=sorted(faces.classes)), backend="numpy")
    refused(
        ValueError,
        "the batches have the classes neutral, ...; the network has anger",
        *(other, ferdata.Batches(faces, size_px=24)),
    )


def test_any_function_of_the_epoch():
    asked = []

    def batches(epoch):
        asked.append(epoch)
        for k in range(0, N, 20):
            yield IMAGES[k : k + 20], LABELS[k : k + 20]

    made = network()
    history = tinycnn.fit(made, batches, epochs=3)
    assert asked == [0, 1, 2] and len(history) == 3
    with_names = lambda epoch: [(IMAGES, np.array(NAMES)[LABELS])]
    expected = weights(lambda epoch: [(IMAGES, LABELS, None)], None, network(NAMES))
    np.testing.assert_array_equal(weights(with_names, None, network(NAMES)), expected)


def test_those_who_want_to_watch_iterate():
    made = network()
    epochs = tinycnn.iter_epochs(
        made,
        ArrayBatches(IMAGES, LABELS),
        loss=CrossEntropy(),
        optimizer=Adam(1e-3, backend="numpy"),
        n_epochs=3,
    )
    assert [record.epoch for record in epochs] == [0, 1, 2]
    np.testing.assert_array_equal(made.parameter_vector, weights(IMAGES, LABELS))


def exhausted():
    generator = iter([(IMAGES, LABELS)])
    return lambda epoch: generator


def without_epoch():
    yield IMAGES, LABELS


def two_arguments(epoch, fold):
    yield IMAGES, LABELS


class Loader:
    """Iterable, as PyTorch's DataLoader."""

    def __iter__(self):
        yield IMAGES, LABELS


def functions():
    one = lambda batch: lambda epoch: [batch]
    yield ValueError, "epoch 1 has no images: ...read only once...for each epoch", exhausted()
    yield ValueError, "epoch 0 has no images", lambda epoch: []
    yield (
        TypeError,
        "without_epoch() takes no epoch; expected a function of the epoch",
        without_epoch,
    )
    yield TypeError, "two_arguments(epoch, fold)...a function of the epoch alone", two_arguments
    yield (
        TypeError,
        "is a generator, which can be read only once: pass the function",
        without_epoch(),
    )
    yield TypeError, "is a Loader; ...pass lambda epoch: loader", Loader()
    yield TypeError, "is a list of batches; ...pass lambda epoch: batches", [(IMAGES, LABELS)]
    yield TypeError, "batches(0) gave a ndarray; expected (images, labels)", one(IMAGES)
    yield TypeError, "a tuple of 1; expected (images, labels)", one((IMAGES,))
    yield TypeError, "batches(0) gave None", lambda epoch: None
    yield TypeError, "batch 0 of epoch 0: images has dtype float64", one((IMAGES / 255, LABELS))
    yield ValueError, "batch 0 of epoch 0: labels[2] is 9: expected", one((IMAGES[:3], [0, 1, 9]))
    yield ValueError, "batch 0 of epoch 0: 48 images but 3 labels", one((IMAGES, [0, 1, 2]))
    yield TypeError, "is the class Batches; make an object of it", ferdata.Batches


@pytest.mark.parametrize("error, message, batches", list(functions()))
def test_functions_that_are_no_batches(error, message, batches):
    refused(error, message, network(), batches, epochs=3)


@pytest.mark.parametrize(
    "options",
    [
        dict(labels=LABELS),
        dict(batch_size=8),
        dict(soft_labels=np.zeros((N, 4))),
        dict(shuffle=False),
        dict(validation_split=0.1),
    ],
    ids=lambda options: next(iter(options)),
)
def test_batches_have_labels_and_sizes_of_their_own(options):
    message = f"leave {next(iter(options))} out: the batches decide that themselves"
    for batches in (ArrayBatches(IMAGES, LABELS), lambda epoch: [(IMAGES, LABELS)]):
        refused(ValueError, message, network(), batches, **options)


# ---- what cannot work is answered with what was expected -------------------------------------


def tensor(array):
    """Looks like one of PyTorch's tensors; the class is all that messages may need."""
    kind = type("Tensor", (), {"__module__": "torch", "shape": array.shape, "dtype": "torch.uint8"})
    return kind()


def wrong_images():
    round_them = "convert with (255 * images).round().astype(np.uint8)"
    yield IMAGES / 255, TypeError, f"dtype float64, values 0 to 1; ...{round_them}"
    yield IMAGES.astype(np.float32), TypeError, "convert with images.round().astype(np.uint8)"
    yield IMAGES.astype(int), TypeError, "dtype int64...convert with images.round()"
    yield (IMAGES > 99).astype(np.uint8), ValueError, "no pixel is above 1"
    yield list(IMAGES), TypeError, "images is a list; expected ...np.stack"
    yield [Image.fromarray(image) for image in IMAGES], TypeError, "images is a list; ...np.stack"
    yield Image.fromarray(IMAGES[0]), TypeError, "images is a PIL Image...np.asarray(image)"
    yield tensor(IMAGES), TypeError, "images is a torch Tensor...images.cpu().numpy()"
    yield "photo.jpg", TypeError, "images is a str; expected"
    yield None, TypeError, "images is None, which is no picture"
    yield IMAGES.reshape(N, -1), ValueError, "(48, 48)...images.reshape(-1, 8, 6)"
    yield IMAGES.transpose(0, 2, 1), ValueError, "pictures of 6x8 px, but the network takes 8x6"
    yield IMAGES[:, None], ValueError, "(48, 1, 8, 6)...np.moveaxis(images, 1, -1)"
    yield np.stack([IMAGES] * 3, -1), ValueError, "3 channels, but the network takes grey"
    yield IMAGES[:0], ValueError, "there are no images"
    yield types.SimpleNamespace(images=IMAGES, target=LABELS), TypeError, "its .images and .target"


@pytest.mark.parametrize("images, error, message", list(wrong_images()))
def test_wrong_images(images, error, message):
    refused(error, message, network(), images, LABELS)
    refused(error, message, network(), IMAGES, LABELS, validation_data=(images, LABELS))


@pytest.mark.parametrize("images, error, message", list(wrong_images()))
def test_prediction_answers_the_same(images, error, message):
    if error is TypeError or "dtype" in message or "(48" in message:
        if isinstance(images, types.SimpleNamespace):
            message = "images is a SimpleNamespace; expected a NumPy array"
        pattern = ".*".join(re.escape(part) for part in message.split("..."))
        with pytest.raises(error, match=pattern):
            network().predict_proba(images)


def test_a_real_tensor():
    torch = pytest.importorskip("torch", reason="needs torch")
    message = "images is a torch Tensor...images.cpu().numpy()"
    refused(TypeError, message, network(), torch.from_numpy(IMAGES), LABELS)
    labels = torch.from_numpy(LABELS)
    np.testing.assert_array_equal(weights(IMAGES, labels), weights(IMAGES, LABELS))


@pytest.mark.parametrize(
    "labels, error, message",
    [
        (None, TypeError, "labels are missing: fit(network, images, labels)"),
        (LABELS[:-1], ValueError, "48 images but 47 labels"),
        (LABELS + 1, ValueError, "is 4: expected a class from 0 to 3"),
        (LABELS - 1, ValueError, "is -1: expected a class from 0 to 3"),
        (LABELS.astype(float), TypeError, "dtype float64; ...convert with labels.astype(int)"),
        (LABELS + 0.5, TypeError, "dtype float64; expected class indices"),
        (LABELS > 1, TypeError, "dtype bool; ...convert with labels.astype(int)"),
        (["Third"] * N, ValueError, "labels[0] is 'Third'; expected one of first, second, third"),
        (np.zeros((N, 5), int), ValueError, "labels have shape (48, 5); expected (48,)...(48, 4)"),
        (np.ones((N, 4), int), ValueError, "labels[0] is [1, 1, 1, 1]; expected a single 1"),
        (np.ones((N, 4)), ValueError, "labels[0] is [1.0, 1.0, 1.0, 1.0]...sum to 1"),
        (np.array([None] * N), TypeError, "labels[0] is None; expected"),
        (np.array([b"first"] * N), TypeError, "dtype |S5; expected class indices"),
        ("first", ValueError, "labels have shape ()"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_labels(labels, error, message):
    refused(error, message, network(NAMES), IMAGES, labels)
    if labels is not None:
        images = IMAGES
        refused(error, message, network(NAMES), IMAGES, LABELS, validation_data=(images, labels))
        with pytest.raises(error, match=re.escape(message.split("...")[0])):
            tinycnn.evaluate(network(NAMES), IMAGES, labels)


@pytest.mark.parametrize(
    "options, error, message",
    [
        (dict(loss="mse"), ValueError, "loss 'mse': expected one of cross_entropy, "),
        (dict(loss=np.mean), TypeError, "loss is <function mean...>; expected a tinycnn.Loss"),
        (dict(loss=CrossEntropy), TypeError, "loss is the class CrossEntropy; ...CrossEntropy()"),
        (dict(loss=Distillation()), ValueError, "soft_labels are missing"),
        (dict(optimizer="lamb"), ValueError, "optimizer 'lamb': expected one of adam, adamw, sgd"),
        (dict(optimizer=Adam), TypeError, "optimizer is the class Adam; ...Adam()"),
        (dict(optimizer=1e-3), TypeError, "optimizer is 0.001; expected a name or a tinycnn.Opt"),
        (dict(learning_rate="fast"), TypeError, "learning_rate is 'fast'; expected a number"),
        (dict(learning_rate=-1.0), ValueError, "learning_rate=-1.0: expected 0 or more"),
        (dict(epochs=0), ValueError, "epochs is 0; expected a whole number of 1 or more"),
        (dict(epochs=2.5), ValueError, "epochs is 2.5; expected a whole number"),
        (dict(batch_size=0), ValueError, "batch_size is 0; expected a whole number"),
        (dict(seed=-1), ValueError, "seed is -1; expected a whole number of 0 or more"),
        (dict(patience=0), ValueError, "patience is 0; expected None or 1 or more"),
        (dict(callbacks=Callback()), TypeError, "callbacks is a Callback; expected a list"),
        (dict(callbacks=[print]), TypeError, "callbacks[0] is <built-in function print>; expected"),
        (dict(validation_data=IMAGES), TypeError, "validation_data is a ndarray; expected (images"),
        (dict(validation_data=(IMAGES,)), TypeError, "is a tuple of 1; expected (images, labels)"),
        (dict(validation_data=(IMAGES[:0], [])), ValueError, "there are no images"),
        (
            dict(validation_data=Validation(IMAGES, LABELS + 1)),
            ValueError,
            "is 4: expected a class",
        ),
        (dict(validation_data=Validation(IMAGES / 255, LABELS)), TypeError, "dtype float64"),
        (dict(resume=True), ValueError, "resume needs the folder to resume from"),
        (
            dict(soft_labels=np.zeros((N, 3))),
            ValueError,
            "soft_labels have shape (48, 3): expected",
        ),
        (
            dict(soft_labels=np.zeros((N, 4)), loss="cross_entropy"),
            ValueError,
            "soft_labels are given, but CrossEntropy... does not use them",
        ),
        # names of other libraries, and slips
        (dict(n_epochs=3), TypeError, "fit has no option n_epochs: it is called epochs"),
        (dict(lr=0.1), TypeError, "fit has no option lr: it is called learning_rate"),
        (
            dict(validation=HELD_OUT),
            TypeError,
            "no option validation: it is called validation_data",
        ),
        (dict(metrics=["accuracy"]), TypeError, "no option metrics: loss and accuracy are always"),
        (dict(y=LABELS), TypeError, "fit has no option y: it is called labels"),
        (dict(epoch=3), TypeError, "fit has no option epoch: did you mean epochs?"),
        (dict(frobnicate=3), TypeError, "no option frobnicate; its options are labels, epochs, ba"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_options(options, error, message):
    refused(error, message, network(), IMAGES, LABELS, **options)


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(OSError, match="run") as caught:
        weights(IMAGES, LABELS, folder=tmp_path / "run")
    assert str(tmp_path / "run") in str(caught.value)


def test_a_loss_without_a_backend_is_answered_where_it_is_defined():
    with pytest.raises(
        TypeError, match=r"Plain.value_and_gradient\(self, logits, inputs\).*backend"
    ):

        class Plain(tinycnn.Loss):
            def value_and_gradient(self, logits, inputs):
                return 0.0, np.zeros_like(logits)


@pytest.mark.parametrize(
    "first, message",
    [
        (
            [Flatten(), Dense(4)],
            "network is a list of layers; expected a tinycnn.Network: Network(",
        ),
        (IMAGES, "network is a ndarray; expected a tinycnn.Network"),
        (Network, "network is the class Network; expected"),
    ],
    ids=["layers", "images", "class"],
)
def test_what_is_no_network(first, message):
    refused(TypeError, message, first, IMAGES, LABELS)
    with pytest.raises(TypeError, match=re.escape(message)):
        tinycnn.evaluate(first, IMAGES, LABELS)
    with pytest.raises(TypeError, match=re.escape(message)):
        batches, loss = ArrayBatches(IMAGES, LABELS), CrossEntropy()
        tinycnn.iter_epochs(first, batches, loss=loss, optimizer=Adam(), n_epochs=1)


def test_a_data_set_of_ferdata():
    faces = ferdata.render_faces(1, 1, seed=0, size_px=24)
    made = Network([Flatten(), Dense(8)], InputSpec(24, 24), backend="numpy")
    words = refused(TypeError, "images is a FaceDataset", made, faces)
    assert "its .images and .labels" in words and "ferdata.Batches" in words
    for held_out in (faces, (faces, None)):
        options = dict(epochs=1, validation_data=held_out)
        refused(TypeError, "FaceDataset", made, faces.images, faces.labels, **options)
    history = tinycnn.fit(made, faces.images, faces.labels, epochs=1)
    assert len(history) == 1


def test_a_diverged_run_says_so():
    with np.errstate(all="ignore"), pytest.raises(DivergedError, match="a lower learning rate"):
        weights(IMAGES, LABELS, optimizer="sgd", learning_rate=1e30)


# ---- names of other libraries ----------------------------------------------------------------


@pytest.mark.parametrize(
    "write, message",
    [
        (lambda: Conv2D(4, 3, activation="relu"), "Conv2D has no option activation: ReLU() is a"),
        (lambda: Dense(4, activation="softmax"), "Dense has no option activation: "),
        (lambda: Conv2D(4, 3, strides=2), "Conv2D has no option strides: it is called stride"),
        (lambda: MaxPool2D(pool_size=2), "MaxPool2D has no option pool_size: it is called size"),
        (lambda: Conv2D(4, 3, input_shape=(8, 8, 1)), "no option input_shape: the shape of the"),
        (lambda: Conv2D(out_channels=4, kernel_size=3), "it is called filters"),
        (lambda: Dense(out_features=4), "Dense has no option out_features: it is called units"),
        (lambda: Adam(lr=1e-3), "Adam has no option lr: it is called learning_rate"),
        (lambda: Adam(eps=1e-8), "Adam has no option eps: it is called epsilon"),
        (lambda: tinycnn.Dropout(p=0.5), "Dropout has no option p: it is called rate"),
        (lambda: CrossEntropy(from_logits=True), "CrossEntropy has no option from_logits"),
        (lambda: InputSpec(input_shape=(8, 8)), "InputSpec has no option input_shape: "),
        (lambda: InputSpec(height=8), "no option height: it is called height_px"),
        (lambda: Network([Dense(4)], InputSpec(8, 8), input_shape=(8, 8)), "Network has no option"),
        (lambda: Network([Flatten(), Dense(4)], InputSpec(8, 8), name="my"), "no option name; its"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_options_of_other_libraries(write, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        write()


@pytest.mark.parametrize(
    "name, instead",
    [
        ("fit", "tinycnn.fit(network, images, labels)"),
        ("compile", "optimizer= and loss= of tinycnn.fit"),
        ("predict", "network.predict_proba(images)"),
        ("evaluate", "tinycnn.evaluate(network, images, labels)"),
        ("save", "tinycnn.save(network, path)"),
        ("load_weights", "tinycnn.load(path)"),
        ("add", "Network(layers, input_spec)"),
    ],
)
def test_methods_of_keras(name, instead):
    with pytest.raises(AttributeError, match=re.escape(f"no attribute {name!r}: use {instead}")):
        getattr(network(), name)
    assert not hasattr(network(), name)
    with pytest.raises(AttributeError, match="no attribute 'frobnicate'$"):
        network().frobnicate


def test_without_an_input_spec():
    with pytest.raises(TypeError, match=r"expected an InputSpec: .*InputSpec\(28, 28, 1\)"):
        Network([Flatten(), Dense(4)], (28, 28, 1))
