"""TinyCNNClassifier: scikit-learn's own checks, and scripts as its users type them."""

import copy
import pickle
import re
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs scikit-learn, the extra sklearn")

from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import check_estimator, estimator_checks_generator

import tinycnn
from tinycnn import Adam, Conv2D, Dense, Dropout, Flatten, MaxPool2D, ReLU, TinyCNNClassifier

LAYERS = [Conv2D(8, 3), ReLU(), MaxPool2D(2)]


def name_of(value):
    return getattr(getattr(value, "func", None), "__name__", "")


@pytest.mark.parametrize(
    "estimator, check", list(estimator_checks_generator(TinyCNNClassifier())), ids=name_of
)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


class Reversed(TinyCNNClassifier):
    """Gives its answers in the wrong order."""

    def predict(self, X):
        return super().predict(X)[::-1]


def test_the_checks_notice_a_wrong_estimator():
    assert len(list(estimator_checks_generator(TinyCNNClassifier()))) > 45
    with pytest.raises(AssertionError):
        check_estimator(Reversed(), on_skip=None)


@pytest.fixture(scope="module")
def digits():
    """(training images, held-out images, training labels, held-out labels), pixels 0..255."""
    bunch = load_digits()
    images = (bunch.images * (255 / 16)).astype(np.uint8)
    return train_test_split(images, bunch.target, stratify=bunch.target, random_state=0)


def fitted(digits, **options):
    made = TinyCNNClassifier(**{"layers": LAYERS, "epochs": 3, "random_state": 0, **options})
    return made.fit(digits[0], digits[2])


# ---- as scikit-learn's users type it -----------------------------------------------------------


def test_images(digits):
    made = TinyCNNClassifier(epochs=20, random_state=0).fit(digits[0], digits[2])
    assert made.score(digits[1], digits[3]) > 0.93
    probs = made.predict_proba(digits[1])
    assert probs.shape == (450, 10) and probs.dtype == np.float64
    np.testing.assert_array_equal(made.predict(digits[1]), probs.argmax(axis=1))


def test_cross_validation_and_names_as_labels(digits):
    names = np.array([f"digit {k}" for k in digits[2]])
    classifier = TinyCNNClassifier(LAYERS, epochs=12, random_state=0)
    scores = cross_val_score(classifier, digits[0], names, cv=3)
    assert scores.min() > 0.8


def test_a_pipeline_on_flattened_images(digits):
    flat = [images.reshape(-1, 64).astype(float) for images in digits[:2]]
    network = TinyCNNClassifier(LAYERS, image_shape=(8, 8), epochs=10, random_state=0)
    pipeline = make_pipeline(StandardScaler(), network).fit(flat[0], digits[2])
    assert pipeline.score(flat[1], digits[3]) > 0.88
    assert pipeline[-1].image_shape_ == (8, 8, 1)
    shape = FunctionTransformer(lambda rows: rows.reshape(-1, 8, 8))
    again = make_pipeline(StandardScaler(), shape, clone(network).set_params(image_shape=None))
    again.fit(flat[0], digits[2])
    np.testing.assert_array_equal(again.predict(flat[1]), pipeline.predict(flat[1]))


def test_grid_search(digits):
    grid = {"learning_rate": [1e-5, 3e-3], "layers": [LAYERS, [Dense(32), ReLU()]]}
    search = GridSearchCV(TinyCNNClassifier(epochs=4, random_state=0), grid, cv=2)
    search.fit(digits[0][:600], digits[2][:600])
    assert search.best_params_["learning_rate"] == 3e-3 and search.best_score_ > 0.5
    assert search.predict(digits[1][:5]).shape == (5,)


def test_early_stopping_keeps_the_best_weights(digits):
    made = fitted(digits, epochs=200, validation_fraction=0.2, patience=3, learning_rate=1e-2)
    history = made.history_
    assert len(history) < 200 and history.best.epoch == len(history) - 4
    assert set(history.history) >= {"val_loss", "val_accuracy"}
    assert made.network_.training_summary["epoch"] == history.best.epoch
    on_training = fitted(digits, epochs=200, patience=1, learning_rate=3e-2).history_
    assert len(on_training) < 200 and "val_loss" not in on_training.history


def test_partial_fit_learns_and_keeps_its_optimizer(digits):
    made = TinyCNNClassifier(LAYERS, random_state=0)
    with pytest.raises(ValueError, match="the first partial_fit needs all labels"):
        made.partial_fit(digits[0], digits[2])
    for _ in range(8):
        made.partial_fit(digits[0], digits[2], classes=range(10))
    assert made.score(digits[1], digits[3]) > 0.9
    assert made.optimizer_.n_steps == 8 * -(-len(digits[0]) // 32)
    with pytest.raises(ValueError, match="y has 11; expected one of the classes"):
        made.partial_fit(digits[0][:2], [1, 11])
    with pytest.raises(ValueError, match="classes is .*; the first call had"):
        made.partial_fit(digits[0][:2], [1, 2], classes=[1, 2])


def test_partial_fit_after_fit_continues(digits):
    made = fitted(digits)
    before = made.network_.parameter_vector.copy()
    made.partial_fit(digits[0], digits[2])
    assert not np.array_equal(before, made.network_.parameter_vector)
    assert made.score(digits[1], digits[3]) > 0.8


def test_the_same_random_state_gives_the_same_bits(digits):
    first, again, other = (fitted(digits, random_state=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.network_.parameter_vector, again.network_.parameter_vector)
    assert not np.array_equal(first.network_.parameter_vector, other.network_.parameter_vector)


def test_colour_images_and_a_function_that_makes_layers(digits):
    asked = []

    def layers(shape, n_classes):
        asked.append((shape, n_classes))
        return [Conv2D(4, 3), ReLU(), Flatten(), Dense(n_classes)]

    colour = np.repeat(digits[0][:200, ..., None], 3, axis=-1)
    made = TinyCNNClassifier(layers, epochs=2).fit(colour, digits[2][:200])
    assert asked == [((8, 8, 3), 10)] and made.network_.input_spec.channels == 3
    assert made.predict(colour[:3]).shape == (3,)


def test_verbose_prints(digits, capsys):
    fitted(digits, epochs=2)
    assert capsys.readouterr().out == ""
    fitted(digits, epochs=2, verbose=True)
    assert len(capsys.readouterr().out.splitlines()) == 2


# ---- the network in it -----------------------------------------------------------------------


def test_the_network_predicts_the_same_and_can_be_saved(digits, tmp_path):
    made = fitted(digits)
    tinycnn.save(made.network_, tmp_path / "digits.safetensors")
    network = tinycnn.load(tmp_path / "digits.safetensors")
    assert network.classes == tuple("0123456789")
    np.testing.assert_allclose(
        network.predict_proba(digits[1]), made.predict_proba(digits[1]), 1e-5
    )


def test_numbers_are_used_as_they_are(digits):
    """A network for numbers equals one for pixels that were scaled beforehand."""
    pixels, scaled = fitted(digits), fitted((digits[0] / 255, digits[1], digits[2], digits[3]))
    np.testing.assert_allclose(
        pixels.predict_proba(digits[1]), scaled.predict_proba(digits[1] / 255), atol=1e-4
    )


@pytest.mark.parametrize("kind", ["pixels", "numbers", "vectors"])
def test_a_fitted_classifier_can_be_pickled_and_copied(digits, kind):
    images = digits[0] if kind == "pixels" else digits[0] / 255
    images = images.reshape(-1, 64) if kind == "vectors" else images
    layers = [Dense(16), ReLU(), Dropout(0.3)] if kind == "vectors" else [*LAYERS, Dropout(0.3)]
    made = fitted((images, None, digits[2]), layers=layers, epochs=1)
    copies = [pickle.loads(pickle.dumps(made)), copy.deepcopy(made)]
    for other in copies:
        np.testing.assert_array_equal(other.predict_proba(images), made.predict_proba(images))
    for other in [made, *copies]:  # and all go on in the same way
        other.partial_fit(images, digits[2])
    for other in copies:
        np.testing.assert_array_equal(other.predict_proba(images), made.predict_proba(images))
    assert "network_" not in vars(pickle.loads(pickle.dumps(TinyCNNClassifier(layers))))


def test_the_pickle_holds_the_safetensors_format(digits):
    state = fitted(digits).__getstate__()
    stored = state["_stored_network"]["bytes"]
    assert "network_" not in state and isinstance(stored, bytes)
    assert tinycnn.formats.safetensors.from_bytes(stored).classes == tuple("0123456789")


def test_a_given_optimizer_is_not_changed(digits):
    optimizer = Adam(3e-3)
    made = fitted(digits, optimizer=optimizer)
    assert optimizer.n_steps == 0 and made.optimizer_.n_steps > 0
    again = clone(made).fit(digits[0], digits[2])
    np.testing.assert_array_equal(again.network_.parameter_vector, made.network_.parameter_vector)


# ---- what cannot work ------------------------------------------------------------------------

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 8, 8), dtype=np.uint8)
Y = np.arange(30) % 3


@pytest.mark.parametrize(
    "options, X, error, message",
    [
        (
            dict(image_shape=(8, 7)),
            PIXELS.reshape(30, 64),
            ValueError,
            "expected images of shape (8, 7",
        ),
        (
            dict(image_shape=(64,)),
            PIXELS.reshape(30, 64),
            ValueError,
            "image_shape is (64,); expected",
        ),
        (
            dict(image_shape=(8, 7)),
            PIXELS,
            ValueError,
            "X has shape (30, 8, 8); expected images of",
        ),
        (
            dict(),
            PIXELS[..., None, None],
            ValueError,
            "X has shape (30, 8, 8, 1, 1); expected (N, H",
        ),
        (
            dict(layers=[Dense(5)]),
            PIXELS,
            ValueError,
            "layers end in Dense(5), but y has 3 classes",
        ),
        (dict(layers=["conv"]), PIXELS, TypeError, "layer 1 is 'conv'; expected a layer"),
        (dict(epochs=0), PIXELS, ValueError, "epochs is 0; expected"),
        (dict(batch_size=0), PIXELS, ValueError, "batch_size is 0; expected"),
        (dict(optimizer="lbfgs"), PIXELS, ValueError, "optimizer 'lbfgs': expected one of adam"),
        (dict(loss="hinge"), PIXELS, ValueError, "loss 'hinge': expected one of cross_entropy"),
        (dict(validation_fraction=1.0), PIXELS, ValueError, "validation_fraction is 1.0; expected"),
        (
            dict(validation_fraction=0.01),
            PIXELS,
            ValueError,
            "validation_fraction=0.01 holds out 0 of",
        ),
        (dict(patience=0), PIXELS, ValueError, "patience is 0; expected"),
        (dict(), PIXELS * 1e300, ValueError, "X has values too large for float32"),
        (dict(), PIXELS * np.nan, ValueError, "NaN"),
    ],
    ids=str,
)
def test_wrong_options_and_data(options, X, error, message):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = TinyCNNClassifier(**{"epochs": 1, **options})
        with pytest.raises(error, match=re.escape(message)):
            made.fit(X, Y)


def test_prediction_wants_what_training_had():
    made = TinyCNNClassifier(LAYERS, epochs=1).fit(PIXELS, Y)
    with pytest.raises(ValueError, match="X has dtype float64.*expected uint8 pixels, as in fit"):
        made.predict(PIXELS / 255)
    with pytest.raises(ValueError, match="X has dtype int64, values 0 to 5.*expected uint8 pixels"):
        made.predict(PIXELS.astype(int) * 2)
    np.testing.assert_array_equal(made.predict(PIXELS.astype(int)), made.predict(PIXELS))
    with pytest.raises(ValueError, match=r"expected images of shape \(8, 8, 1\)"):
        made.predict(PIXELS[:, :, :7])
    with pytest.raises(TypeError, match="TinyCNNClassifier.*hidden_layer_sizes"):
        TinyCNNClassifier(hidden_layer_sizes=(100,))


@pytest.mark.parametrize(
    "layers, kinds",
    [
        ([], [Flatten, Dense]),
        ([Dense(4), ReLU()], [Flatten, Dense, ReLU, Dense]),
        ([Conv2D(2, 3)], [Conv2D, Flatten, Dense]),
        ([Conv2D(2, 3), Flatten(), ReLU()], [Conv2D, Flatten, ReLU, Dense]),
        ([Dense(3)], [Flatten, Dense]),
        ([Flatten(), Dense(3)], [Flatten, Dense]),
    ],
    ids=str,
)
def test_layers_are_completed(layers, kinds):
    made = TinyCNNClassifier(layers, epochs=1).fit(PIXELS, Y)
    assert [type(layer) for layer in made.network_.layers] == kinds
    assert made.network_.layers[-1] == Dense(3)
