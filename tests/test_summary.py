"""network.summary(), the history of a run, and texts of objects that fit on one screen."""

import dataclasses

import numpy as np
import pytest

import ferdata
import tinycnn
from tinycnn import (
    Conv2D,
    Dense,
    Dropout,
    EpochRecord,
    Flatten,
    History,
    InputSpec,
    MaxPool2D,
    Network,
    ReLU,
    Validation,
    models,
)


def microexpnet():
    return models.microexpnet(backend="numpy", classes=None)


# ---- summary ---------------------------------------------------------------------------------


def test_the_summary_of_microexpnet():
    """Sizes and counts from the paper: 65,000 parameters, 2.85 million multiply-adds."""
    rows = microexpnet().summary().rows
    assert [row[:3] for row in rows] == [
        ("conv1", "Conv2D", "42x42x16"),
        ("relu1", "ReLU", "42x42x16"),
        ("pool1", "MaxPool2D", "21x21x16"),
        ("conv2", "Conv2D", "11x11x32"),
        ("relu2", "ReLU", "11x11x32"),
        ("pool2", "MaxPool2D", "6x6x32"),
        ("flatten1", "Flatten", "1152"),
        ("dense1", "Dense", "48"),
        ("relu3", "ReLU", "48"),
        ("dense2", "Dense", "8"),
        ("total", "", ""),
    ]
    parameters = {row[0]: row[3] for row in rows}
    assert parameters["conv1"] == 8 * 8 * 16 + 16 and parameters["dense2"] == 48 * 8 + 8
    assert parameters["relu1"] == 0 and parameters["total"] == 65_000
    multiply_adds = {row[0]: row[4] for row in rows}
    assert multiply_adds["conv1"] == 42 * 42 * 16 * 64
    assert multiply_adds["dense1"] == 1152 * 48
    assert round(multiply_adds["total"] / 1e6, 2) == 2.85


def test_it_prints_well_and_prints_nothing_itself(capsys):
    summary = microexpnet().summary()
    assert capsys.readouterr().out == ""
    print(summary)
    lines = capsys.readouterr().out.splitlines()
    assert repr(summary).splitlines() == lines  # what the Python prompt and a notebook show
    assert len(lines) == 13 and max(map(len, lines)) <= 80
    assert lines[0] == "84x84x1 uint8, scaled 'raw', 8 classes"
    assert lines[1].split() == ["layer", "kind", "output", "parameters", "multiply-adds"]
    assert lines[-1].split() == ["total", "65,000", f"{summary.rows[-1][4]:,}"]
    assert {line.rindex(line.split()[-1]) + len(line.split()[-1]) for line in lines[1:]} == {
        len(lines[1])
    }


def test_it_counts_the_layers_of_the_users_own():
    @dataclasses.dataclass(frozen=True)
    class Scale(tinycnn.CustomLayer):
        def parameter_shapes(self, input_shape):
            return {"s": (input_shape[-1],)}

        def forward(self, x, parameters):
            return x * parameters["s"]

        def backward(self, x, y, dy, parameters):
            axes = tuple(range(x.ndim - 1))
            return dy * parameters["s"], {"s": (dy * x).sum(axis=axes)}

    layers = [Conv2D(3, 2), Scale(), Flatten(), Dense(4)]
    network = Network(layers, InputSpec(5, 4), backend="numpy")
    assert network.summary().rows[1] == ("scale1", "Scale", "5x4x3", 3, 0)


# ---- history ---------------------------------------------------------------------------------


def record(epoch, loss, val=None, best=False):
    val_loss, val_accuracy = val or (None, None)
    return EpochRecord(epoch, loss, 0.5, val_loss, val_accuracy, 1e-3, 100.0, 0.5, best)


def test_a_history_has_lists_by_keras_names():
    history = History((record(0, 2.0, (1.0, 0.3), True), record(1, 1.5, (0.9, 0.25))))
    assert history.history == {
        "loss": [2.0, 1.5],
        "accuracy": [0.5, 0.5],
        "val_loss": [1.0, 0.9],
        "val_accuracy": [0.3, 0.25],
        "learning_rate": [1e-3, 1e-3],
    }
    assert history["val_loss"] == [1.0, 0.9] and history.best.epoch == 0
    assert len(history) == 2 and [each.epoch for each in history] == [0, 1]
    with pytest.raises(KeyError, match="'acc': this history has loss, accuracy, val_loss"):
        history["acc"]


def test_the_text_of_a_history():
    short = History((record(0, 2.0, (1.0, 0.3), True), record(1, 1.5, (0.9, 0.25))))
    assert repr(short) == (
        "<History: 2 epochs, the best is epoch 0>\n"
        "epoch    loss  accuracy  val_loss  val_accuracy\n"
        "    0  2.0000    0.5000    1.0000        0.3000\n"
        "    1  1.5000    0.5000    0.9000        0.2500"
    )
    long = repr(History(tuple(record(k, 1 / (k + 1), best=True) for k in range(500))))
    lines = long.splitlines()
    assert [line.split()[0] for line in lines[2:]] == [
        *("0", "1", "2", "3", "4", "5", "...", "494", "495", "496", "497", "498", "499")
    ]
    assert "val_loss" not in long and lines[0] == "<History: 500 epochs, the best is epoch 499>"
    assert repr(History(tuple(record(k, 1.0, best=k == 0) for k in range(12)))).count("\n") == 13


def test_an_empty_history():
    """A run that was done before it was resumed with no epoch left."""
    assert repr(History(())) == "<History: no epochs>"
    assert History(()).history == {}


# ---- one screen ------------------------------------------------------------------------------

SCREEN = (24, 100)


def deep_network():
    layers = [layer for _ in range(40) for layer in (Conv2D(2, 3), ReLU(), Dropout(0.1))]
    classes = tuple(f"class number {k}" for k in range(1000))
    spec = InputSpec(8, 8, classes=classes)
    return Network([*layers, MaxPool2D(2), Flatten(), Dense(1000)], spec, backend="numpy")


def objects():
    network = deep_network()
    faces = ferdata.render_faces(20, 2, seed=0, size_px=24)
    images, labels = faces.images, faces.labels
    soft = np.zeros((len(faces), 8), np.float32)
    held_out = Validation(images, labels)
    small = Network([Flatten(), Dense(8)], InputSpec(24, 24), backend="numpy")
    yield from (network, network.plan, network.input_spec, network.parameters["dense1.w"].shape)
    yield from (tinycnn.Adam(), tinycnn.SGD(nesterov=True), tinycnn.Distillation((2, 4, 8)))
    yield from (tinycnn.CrossEntropy(), tinycnn.OneCycle(1e-2, 500), tinycnn.Constant(1e-3))
    yield from (held_out, tinycnn.evaluate(small, images, labels))
    yield History(tuple(record(k, 1.0, best=k == 0) for k in range(1000)))
    yield from (tinycnn.ArrayBatches(images, labels), ferdata.Batches(faces))
    yield from (faces, faces.with_soft_labels(soft), faces.label_space)
    yield from (ferdata.subject_folds(faces, n_folds=4), ferdata.check_dataset(faces))
    yield ferdata.find_faces(np.zeros((90, 90), np.uint8), boxes=np.array([[1, 1, 50, 50]] * 9))
    ids = np.array([f"a/long/path/to/face {k}" for k in range(3000)])
    many = ferdata.LabelSpace("many", tuple(f"c{k}" for k in range(100)))
    labels = np.arange(3000) % 100
    pixels = np.zeros((3000, 4, 4), np.uint8)
    yield ferdata.FaceDataset(images=pixels, ids=ids, labels=labels, label_space=many)
    yield ferdata.SoftLabels(
        values=soft, classes=faces.classes, ids=ids[: len(faces)], rows=None, kind="logits",
        floored_per_row=np.zeros(len(faces), int), source="teacher.npz",
    )  # fmt: skip


@pytest.mark.parametrize("one", list(objects()), ids=lambda one: type(one).__name__)
def test_texts_fit_on_one_screen(one):
    n_lines = sum(-(-max(len(line), 1) // SCREEN[1]) for line in repr(one).splitlines())
    assert 1 <= n_lines <= SCREEN[0], repr(one)
    assert type(one).__name__ in repr(one) or isinstance(one, (tuple, list))


def test_the_text_of_a_deep_network_names_its_ends():
    text = repr(deep_network())
    assert text.startswith(
        "<Network 8x8x1 -> Conv2D, ReLU, Dropout, Conv2D, ReLU, Dropout, ... 111"
    )
    assert "more ..., Conv2D, ReLU, Dropout, MaxPool2D, Flatten, Dense: " in text


def test_the_text_of_a_small_spec_is_python():
    spec = InputSpec(8, 6, 3, scaling="unit", classes=("a", "b"), framing="paper")
    assert eval(repr(spec)) == spec
    assert "'c11', ... 88 more)" in repr(InputSpec(classes=tuple(f"c{k}" for k in range(100))))


def test_the_text_of_a_data_set():
    faces = ferdata.render_faces(2, 1, seed=0, size_px=24)
    lines = repr(faces).splitlines()
    assert lines[0].startswith(f"<FaceDataset: {len(faces)} images of 24x24 px with labels, ")
    assert lines[1].startswith(f"  neutral {(faces.labels == 0).sum()}, anger ")
    unlabelled = ferdata.FaceDataset(images=faces.images[:3], ids=faces.ids[:3])
    assert repr(unlabelled) == "<FaceDataset: 3 images of 24x24 px>"
