"""Averaged weights against the definition, step by step, and resumed from any epoch."""

import math

import numpy as np
import pytest
from test_train import STOPS, assert_same_run, contents, path_in
from training_run import N_EPOCHS, StopAt, TinyBatches, begin, train, untimed

import tinycnn
from tinycnn import Adam, checkpoint
from tinycnn.averaging import WeightAverage
from tinycnn.formats import safetensors
from tinycnn.train import Callback

OPTIONS = dict(ema_decay=0.7, clip_norm=0.5)


def by_definition(weights, decay):
    """The average after the last of `weights`, with the share of each written out, in float64."""
    total, left = np.zeros(len(weights[0])), 1.0
    for n in reversed(range(1, len(weights))):
        d = min(decay, n / (9 + n))  # weights[n]: after step n - 1, counted from 0
        total += left * (1 - d) * weights[n]
        left *= d
    return total + left * weights[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_the_average_is_a_weighted_sum_of_all_weights(decay, dtype):
    weights = np.random.default_rng(0).normal(size=(40, 7)).astype(dtype)
    average = WeightAverage(decay, weights[0])
    for n, after in enumerate(weights[1:]):
        average.step(after, n)
    expected = by_definition(weights.astype(np.float64), decay)
    np.testing.assert_allclose(
        average.values, expected, rtol=1e-5 if dtype == np.float32 else 1e-13
    )
    assert average.values.dtype == dtype


def test_swap_exchanges():
    learning = np.arange(3.0)
    average = WeightAverage(0.5, learning + 10)
    average.swap(learning)
    assert learning.tolist() == [10, 11, 12] and average.values.tolist() == [0, 1, 2]


@pytest.mark.parametrize("decay", [-0.1, 1.0, math.nan])
def test_decay_out_of_range(decay, tmp_path):
    with pytest.raises(ValueError, match="ema_decay is"):
        WeightAverage(decay, np.zeros(2))
    with pytest.raises(ValueError, match="ema_decay is"):
        begin("adam constant", tmp_path, ema_decay=decay)


# ---- in training -----------------------------------------------------------------------------


class Weights(Callback):
    """Records the trained weights after each step, and the network's weights after each epoch."""

    def __init__(self):
        self.network, self.learning, self.after = None, [], []

    def on_step(self, record):
        self.learning.append(self.network.parameter_vector.copy())

    def on_epoch(self, record):
        self.after.append(self.network.parameter_vector.copy())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """(folder, seen weights, first weights, records) of a run with averaged weights."""
    folder, seen = tmp_path_factory.mktemp("undisturbed"), Weights()
    seen.network, records = begin("adamw one-cycle", folder, callbacks=[seen], **OPTIONS)
    first = seen.network.parameter_vector.copy()
    return folder, seen, first, list(records)


def test_the_average_is_validated_and_saved(undisturbed):
    folder, seen, first, records = undisturbed
    weights = [first, *seen.learning]
    n = len(seen.learning) // N_EPOCHS
    for epoch, found in enumerate(seen.after):
        upto = [w.astype(np.float64) for w in weights[: 1 + n * (epoch + 1)]]
        np.testing.assert_allclose(found, by_definition(upto, 0.7), rtol=1e-4, atol=1e-6)
        assert not np.array_equal(found, weights[n * (epoch + 1)])
    last = tinycnn.load(path_in(folder))
    np.testing.assert_array_equal(last.parameter_vector, seen.after[-1])
    best = tinycnn.load(folder / checkpoint.BEST)
    which = max(record.epoch for record in records if record.is_best)
    np.testing.assert_array_equal(best.parameter_vector, seen.after[which])


def test_training_is_the_same_as_without_the_average(undisturbed, tmp_path):
    seen = Weights()
    seen.network, records = begin("adamw one-cycle", tmp_path, callbacks=[seen], clip_norm=0.5)
    list(records)
    np.testing.assert_array_equal(seen.learning, undisturbed[1].learning)


def test_a_run_resumed_after_any_step_equals_an_uninterrupted_one(undisturbed, tmp_path):
    expected, (_, seen, _, records) = contents(undisturbed[0]), undisturbed
    for epoch, batch in STOPS:
        folder = tmp_path / f"{epoch}-{batch}"
        folder.mkdir()
        with pytest.raises(KeyboardInterrupt):
            train("adamw one-cycle", folder, callbacks=[StopAt(epoch, batch)], **OPTIONS)
        n_done = epoch + (batch is None)
        if n_done:
            options = dict(resume=True, seed=99, batches=TinyBatches(), **OPTIONS)
            network, rest = train("adamw one-cycle", folder, **options)
            assert [untimed(r) for r in rest] == [untimed(r) for r in records[n_done:]]
            assert_same_run(folder, expected)
            assert network.parameter_vector.tobytes() == seen.after[-1].tobytes()


@pytest.mark.parametrize("other", [dict(ema_decay=0.8), dict(ema_decay=0), dict(clip_norm=0)])
def test_resuming_with_other_options_is_refused(tmp_path, other):
    with pytest.raises(KeyboardInterrupt):
        train("adam constant", tmp_path, callbacks=[StopAt(1, None)], **OPTIONS)
    name = "optimizer" if "clip_norm" in other else "ema_decay"
    with pytest.raises(checkpoint.CheckpointError, match=f"was written with {name}"):
        train("adam constant", tmp_path, resume=True, **OPTIONS | other)


@pytest.mark.parametrize("spoil", [None, lambda v: v[:-1], lambda v: v.astype(np.float64)])
def test_a_checkpoint_without_the_trained_weights_is_refused(tmp_path, spoil):
    with pytest.raises(KeyboardInterrupt):
        train("adam constant", tmp_path, callbacks=[StopAt(1, None)], **OPTIONS)
    path = path_in(tmp_path)
    network = tinycnn.load(path)
    tensors, metadata = safetensors.read(path)
    more = {name: tensor for name, tensor in tensors.items() if "/" in name}
    learning = more.pop(checkpoint.LEARNING)
    if spoil:
        more[checkpoint.LEARNING] = spoil(learning)
    state = {checkpoint.METADATA_KEY: metadata[checkpoint.METADATA_KEY]}
    path.write_bytes(safetensors.to_bytes(network, more, state))
    with pytest.raises(checkpoint.CheckpointError, match=checkpoint.LEARNING):
        train("adam constant", tmp_path, resume=True, **OPTIONS)


def test_clipping_is_applied(undisturbed, tmp_path):
    network, _ = train("adamw one-cycle", tmp_path, ema_decay=0.7)
    assert not np.array_equal(network.parameter_vector, undisturbed[1].after[-1])
    with pytest.raises(ValueError, match="clip_norm=-1"):
        Adam(clip_norm=-1)
