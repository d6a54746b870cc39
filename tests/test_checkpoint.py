"""Checkpoints: what is refused and with which error; whole files whenever a run is killed."""

import json
import os
import random

import numpy as np
import pytest
import safetensors.numpy
from small_networks import small_network
from test_train import assert_same_run, contents
from training_run import N_EPOCHS, SETUPS, StopAt, TinyBatches, begin, train, validation

import tinycnn
from tinycnn import SGD, Adam, AdamW, Constant, CrossEntropy, Distillation, OneCycle, checkpoint
from tinycnn.checkpoint import CheckpointError, path_in, records_in
from tinycnn.formats.safetensors import read
from tinycnn.train import Validation

SETUP = "adamw one-cycle"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The bytes of the last checkpoint of a run that was interrupted after two epochs."""
    folder = tmp_path_factory.mktemp("written")
    with pytest.raises(KeyboardInterrupt):
        train(SETUP, folder, callbacks=[StopAt(1)])
    return path_in(folder).read_bytes()


@pytest.fixture
def run_folder(tmp_path, written):
    path_in(tmp_path).parent.mkdir()
    path_in(tmp_path).write_bytes(written)
    return tmp_path


def rewrite(path, change):
    """Apply `change(tensors, state)` to the checkpoint and write it again."""
    tensors, metadata = read(path)
    state = json.loads(metadata[checkpoint.METADATA_KEY])
    change(tensors, state)
    metadata[checkpoint.METADATA_KEY] = json.dumps(state)
    path.write_bytes(safetensors.numpy.save(tensors, metadata))


def assert_refused(folder, *words, **options):
    """Resuming is refused before anything is trained, by an error that names the file."""
    batches = options.setdefault("batches", TinyBatches())
    before = sorted(path.name for path in folder.rglob("*"))
    with pytest.raises(CheckpointError) as caught:
        begin(SETUP, folder, resume=True, **options)
    message = str(caught.value)
    assert str(path_in(folder)) in message and "\n" not in message
    for word in words:
        assert word in message
    assert batches.asked == []
    assert sorted(path.name for path in folder.rglob("*")) == before


def test_the_unchanged_checkpoint_can_be_resumed(run_folder):
    _, records = train(SETUP, run_folder, resume=True)
    assert [r.epoch for r in records] == [2, 3]
    rewrite(path_in(run_folder), lambda tensors, state: None)
    assert train(SETUP, run_folder, resume=True)[1] == []


@pytest.mark.parametrize(
    "words, options",
    [
        (
            ["loss", "temperature=4.0", "temperature=5.0"],
            dict(loss=Distillation(5.0, 0.7, "hinton")),
        ),
        (["loss", "CrossEntropy"], dict(loss=CrossEntropy())),
        (["optimizer", "'adam'"], dict(optimizer=Adam(9e-3, backend="numpy"))),
        (["optimizer", "0.5"], dict(optimizer=AdamW(9e-3, weight_decay=0.5, backend="numpy"))),
        (["optimizer", "'sgd'"], dict(optimizer=SGD(9e-3, backend="numpy"))),
        (["schedule", "Constant"], dict(schedule=Constant(9e-3))),
        (["schedule", "n_steps=13"], dict(schedule=OneCycle(9e-3, 13))),
        (["schedule"], dict(schedule=None)),
        (["n_batches", "3", "4"], dict(batches=TinyBatches(30))),
        (["n_images", "22", "23"], dict(batches=TinyBatches(23))),  # same n_batches
        (["n_validation_images", "16", "17"], dict(validation=validation(17))),
        (["n_validation_images", "None"], dict(validation=None)),
    ],
)
def test_another_configuration_is_refused(run_folder, words, options):
    assert_refused(run_folder, *words, **options)


@pytest.mark.parametrize(
    "network",
    [
        small_network("miniature", "numpy", np.float64),
        small_network("pool_then_relu", "numpy", np.float32),
        small_network("miniature", "numpy", np.float32),
    ],
    ids=["dtype", "layers", "classes"],
)
def test_another_network_is_refused(run_folder, network, request):
    if "classes" in request.node.callspec.id:
        classes = ("a", "b", "c", "d")
        spec = tinycnn.InputSpec(**{**network.input_spec.config(), "classes": classes})
        network = tinycnn.Network(network.layers, spec, backend="numpy")
    before = network.parameter_vector.copy()
    optimizer = AdamW(9e-3, backend="numpy")
    _, _, schedule, loss = SETUPS[SETUP]
    shape = (len(validation().images), *network.input_spec.shape)
    held_out = Validation(np.zeros(shape, np.uint8), np.zeros(len(validation().images), int))
    with pytest.raises(CheckpointError, match="holds .* this run trains") as caught:
        tinycnn.iter_epochs(
            network,
            TinyBatches(),
            loss=loss,
            optimizer=optimizer,
            schedule=schedule,
            n_epochs=N_EPOCHS,
            validation=held_out,
            folder=run_folder,
            resume=True,
        )
    assert str(path_in(run_folder)) in str(caught.value)
    assert np.array_equal(network.parameter_vector, before) and optimizer.n_steps == 0


def test_a_missing_checkpoint(tmp_path):
    assert_refused(tmp_path, "no checkpoint to resume from")
    with pytest.raises(CheckpointError, match="no checkpoint to resume from"):
        records_in(tmp_path)
    path_in(tmp_path).mkdir(parents=True)  # a folder in the place of the file
    assert_refused(tmp_path, "no checkpoint to resume from")


@pytest.mark.parametrize("share", [0.0, 1e-4, 0.02, 0.3, 0.999])
def test_a_truncated_checkpoint(run_folder, written, share):
    path_in(run_folder).write_bytes(written[: int(len(written) * share)])
    assert_refused(run_folder, "damaged")
    with pytest.raises(CheckpointError, match="damaged"):
        records_in(run_folder)


def test_noise_in_the_header(run_folder, written):
    rng = random.Random(1)
    n_header = int.from_bytes(written[:8], "little") + 8
    n_refused = 0
    for _ in range(150):
        spoilt = bytearray(written)
        for _ in range(3):
            spoilt[rng.randrange(n_header)] = rng.randrange(256)
        path_in(run_folder).write_bytes(spoilt)
        try:
            begin(SETUP, run_folder, resume=True)
        except CheckpointError as error:
            n_refused += 1
            assert str(path_in(run_folder)) in str(error)
    assert n_refused > 75  # the others changed a number inside a record, or the padding


def test_a_model_file_is_not_a_checkpoint(run_folder):
    tinycnn.save(small_network("miniature", "numpy", np.float32), path_in(run_folder))
    assert_refused(run_folder, "not a checkpoint", checkpoint.METADATA_KEY)
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        records_in(run_folder)


def without(key):
    return lambda tensors, state: state.pop(key)


def set_to(key, value):
    return lambda tensors, state: state.__setitem__(key, value)


def changed_record(**values):
    return lambda tensors, state: state["records"][0].update(values)


def generator(**values):
    return lambda tensors, state: state["dropout_generator"]["state"].update(values)


def tensor(name, change):
    return lambda tensors, state: tensors.__setitem__(name, change(tensors[name]))


@pytest.mark.parametrize(
    "change, word",
    [
        (without("records"), "records"),
        (without("configuration"), "configuration"),
        (without("dropout_generator"), "incomplete"),
        (set_to("records", {}), "incomplete"),
        (set_to("records", [{"epoch": 0}]), "not a checkpoint"),
        (set_to("records", [7]), "not a checkpoint"),
        (set_to("records", [{"epoch": 1}]), "incomplete"),
        (changed_record(epoch="0"), "incomplete"),
        (changed_record(val_accuracy=[0.5]), "incomplete"),
        (changed_record(is_best={}), "incomplete"),
        (set_to("configuration", {}), "loss"),
        (set_to("dropout_generator", {"bit_generator": "PCG64"}), "state"),
        (set_to("dropout_generator", "PCG64"), ""),
        (generator(state=-1), "below 0"),
        (generator(inc=2**200), ""),
        (lambda tensors, state: tensors.pop("optimizer/m"), "slots"),
        (lambda tensors, state: tensors.pop("optimizer/n_steps"), "n_steps"),
        (tensor("optimizer/m", lambda a: a[:-1]), "optimizer/m"),
        (tensor("optimizer/v", lambda a: a.astype(np.float64)), "float64"),
        (tensor("optimizer/n_steps", lambda a: np.array(-a)), "n_steps"),
        (tensor("conv1.w", lambda a: a[:1]), "conv1.w"),
        (lambda tensors, state: tensors.pop("dense2.b"), "dense2.b"),
    ],
)
def test_missing_or_wrong_parts(run_folder, change, word):
    rewrite(path_in(run_folder), change)
    assert_refused(run_folder, word)


def test_deeply_nested_lists(run_folder):
    """Nested more deeply than Python's JSON parser allows."""
    path = path_in(run_folder)
    tensors, metadata = read(path)
    metadata[checkpoint.METADATA_KEY] = "[" * 100_000
    path.write_bytes(safetensors.numpy.save(tensors, metadata))
    assert_refused(run_folder, "not a checkpoint")
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        records_in(run_folder)


# ---- files stay whole whenever a run is killed -----------------------------------------------


@pytest.mark.parametrize("n_writes_before", range(5))
def test_a_crash_between_or_in_writes_repeats_the_epoch(tmp_path, monkeypatch, n_writes_before):
    """The k-th rename fails.  A run writes first the best model, then the checkpoint."""
    whole, folder = tmp_path / "whole", tmp_path / "crashed"
    whole.mkdir()
    folder.mkdir()
    train(SETUP, whole)
    replace, n_calls = os.replace, 0

    def replace_and_fail(source, target):
        nonlocal n_calls
        n_calls += 1
        if n_calls > n_writes_before:
            raise OSError(28, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace_and_fail)
        try:
            train(SETUP, folder)
        except OSError as error:
            assert error.errno == 28
        else:
            pytest.fail("the run made fewer writes than this test needs")
    assert not [p for p in folder.rglob(".*")]  # no temporary file is left
    train(SETUP, folder, resume=path_in(folder).exists())
    assert_same_run(folder, contents(whole))


def test_ctrl_c_just_after_the_rename_still_raises_keyboard_interrupt(tmp_path, monkeypatch):
    replace = os.replace

    def replace_and_interrupt(source, target):
        replace(source, target)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace_and_interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(SETUP, tmp_path)
    assert tinycnn.load(tmp_path / "model.safetensors", backend="numpy").n_parameters
