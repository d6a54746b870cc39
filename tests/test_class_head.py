"""with_classes keeps what the network knows; the layers before the head can learn more slowly."""

import numpy as np
import pytest

import tinycnn
from ferdata.labels import canonical_name
from tinycnn import (
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool2D,
    InputSpec,
    Network,
    ReLU,
    with_classes,
)
from tinycnn.class_head import rate_factors
from tinycnn.optim import OPTIMIZERS, optimizer_from_name

OLD = ("happy", "Sad", "fear")
RNG = np.random.default_rng(1)
IMAGES = RNG.integers(0, 256, (10, 6, 5), dtype=np.uint8)


def network(end=None, **options):
    layers = [Conv2D(3, 3), BatchNorm(), ReLU(), *(end or [Flatten(), Dense(4), ReLU(), Dense(3)])]
    spec = InputSpec(6, 5, scaling="unit", classes=OLD, framing="mine")
    one = Network(layers, spec, backend="numpy", **options)
    one.initialise(np.random.default_rng(2), bias_std=0.4)
    one.statistics["bn1.running_mean"][:] = 0.5, 0.25, 0.125
    one.calibration_temperature = 2.0
    return one


@pytest.mark.parametrize(
    "end, head",
    [
        (None, "dense2"),
        ([Flatten(), Dense(3, use_bias=False), Dropout(0.2)], "dense1"),
        ([Conv2D(3, 2), GlobalAveragePool2D()], "conv2"),
    ],
    ids=["dense", "without_bias", "convolution"],
)
def test_known_classes_keep_their_columns(end, head):
    one = network(end)
    new = with_classes(one, ("surprise", "fear", "sad"))
    assert new.classes == ("surprise", "fear", "sad") and one.classes == OLD
    assert new.input_spec.framing == "mine" and new.calibration_temperature == 1.0
    for arrays, old in ((new.parameters, one.parameters), (new.statistics, one.statistics)):
        for name, array in arrays.items():
            if name.startswith(f"{head}."):
                assert np.array_equal(array[..., 1:], old[name][..., [2, 1]])
                assert array[..., 0].any() == name.endswith(".w")
            else:
                assert np.array_equal(array, old[name]) and array is not old[name]
    wanted = one.predict_logits(IMAGES)[:, [2, 1]]
    np.testing.assert_allclose(new.predict_logits(IMAGES)[:, 1:], wanted, rtol=1e-5, atol=1e-6)


def test_the_seed_draws_the_new_weights():
    drawn = [with_classes(network(), ("new", "fear"), seed=seed) for seed in (1, 1, 2)]
    first, again, other = (one.parameters["dense2.w"] for one in drawn)
    assert np.array_equal(first, again) and np.array_equal(first[:, 1], other[:, 1])
    assert not np.array_equal(first[:, 0], other[:, 0])


def test_names_of_one_class():
    """ferdata knows synonyms; tinycnn knows only upper and lower case."""
    new = ("sadness", "HAPPY", "afraid")
    old = network().parameters["dense2.w"]
    plain = with_classes(network(), new).parameters["dense2.w"]
    assert np.array_equal(plain[:, 1], old[:, 0])
    assert not np.array_equal(plain[:, 0], old[:, 1])
    known = with_classes(network(), new, canonical_name=canonical_name)
    assert np.array_equal(known.parameters["dense2.w"], old[:, [1, 0, 2]])


def test_a_network_with_a_new_head_learns():
    one = with_classes(tinycnn.load_pretrained(backend="numpy"), ("happy", "sad", "bored"))
    images = np.random.default_rng(4).integers(0, 256, (12, 84, 84), dtype=np.uint8)
    one.freeze(2)
    options = dict(epochs=5, batch_size=6, seed=1, first_layers_rate=0.1)
    history = tinycnn.fit(one, images, np.arange(12) % 3, **options)
    assert history["loss"][-1] < history["loss"][0]


@pytest.mark.parametrize("classes", [("a", "a"), (), ("a", ""), "ab", (1, 2)])
def test_classes_that_are_no_names(classes):
    with pytest.raises(ValueError, match="class"):
        with_classes(network(), classes)


def test_networks_without_a_head():
    for end in ([Flatten(), Dense(3), BatchNorm()], [Conv2D(3, 3), Flatten(), Dense(3), ReLU()]):
        with pytest.raises(ValueError, match=r"ends in (BatchNorm|ReLU); expected a last Dense"):
            with_classes(network(end), ("a", "b"))


# ---- learning rates of layers ------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_rate_factors_are_optimizers_on_slices(name, backend):
    options = dict(weight_decay=0.1, backend=backend)
    whole = np.linspace(-1, 1, 67).astype(np.float32)
    parts = [whole[:16].copy(), whole[16:48].copy(), whole[48:].copy()]
    one = optimizer_from_name(
        name, learning_rate=0.5, rate_factors=[(16, 0), (32, 0.25)], **options
    )
    rates = (0.0, 0.125, 0.5)
    by_hand = [optimizer_from_name(name, learning_rate=rate, **options) for rate in rates]
    for k in range(5):
        gradients = np.random.default_rng(k).standard_normal(67).astype(np.float32)
        one.step(whole, gradients)
        for optimizer, part, g in zip(by_hand, parts, np.split(gradients, [16, 48])):
            optimizer.step(part, g.copy())
    assert one.n_steps == 5
    assert whole.tobytes() == np.concatenate(parts).tobytes()


def test_rate_factors_are_for_all_layers_before_the_head():
    one = network()
    ((n, factor),) = rate_factors(one, 0.25)
    offset, _ = one.plan.parameter_slots["dense2.w"]
    assert (n, factor) == (offset, 0.25) and rate_factors(one, 1) == ()
    one.freeze(1)
    assert rate_factors(one, 0.25) == ((offset - one._frozen.n_elements, 0.25),)
    one.freeze(2)
    optimizer = tinycnn.AdamW(0.1, rate_factors=rate_factors(one, 0.25))
    before = one.trained_vector.copy()
    optimizer.step(one.trained_vector, np.ones_like(before))
    assert (one.trained_vector != before).any()


def test_fit_gives_the_factors_to_its_optimizer():
    vectors = []
    for factor, optimizer in ((0.25, "adam"), (None, None)):
        one = network()
        if optimizer is None:
            factors = rate_factors(one, 0.25)
            optimizer = tinycnn.Adam(1e-3, rate_factors=factors, backend="numpy")
        tinycnn.fit(one, IMAGES, np.arange(10) % 3, optimizer=optimizer, epochs=2,
                    first_layers_rate=factor)  # fmt: skip
        vectors.append(one.parameter_vector)
    assert vectors[0].tobytes() == vectors[1].tobytes()
    with pytest.raises(ValueError, match="goes with the name of an optimizer"):
        tinycnn.fit(one, IMAGES, np.arange(10) % 3, optimizer=optimizer, first_layers_rate=0.1)
    for wrong in (-1, "0.1", float("nan")):
        with pytest.raises(ValueError, match="first_layers_rate is .*; expected 0 or more"):
            tinycnn.fit(one, IMAGES, np.arange(10) % 3, first_layers_rate=wrong)


def test_wrong_rate_factors():
    for wrong in ([(3,)], [(-1, 0.5)], [(3, -0.5)], [5], [(1.5, 1)], [("a", 1)], 7):
        with pytest.raises((ValueError, TypeError), match="rate_factors|iterable"):
            tinycnn.Adam(rate_factors=wrong)
    with pytest.raises(ValueError, match="rate_factors are for 9 parameters; there are 8"):
        tinycnn.Adam(rate_factors=[(9, 0.5)]).step(np.zeros(8), np.zeros(8))
