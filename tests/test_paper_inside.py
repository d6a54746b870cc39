"""Saliency, calibration and confusions of a network, against loops and finite differences."""

from types import SimpleNamespace

import numpy as np
import pytest
from paper_results import CLASSES, plan, scores

from tinycnn.metrics import expected_calibration_error
from tinycnn.models import microexpnet
from tinycnn.paper import look_inside
from tinycnn.paper.inside import KINDS, Calibration, Gradients, add_gradients, resolved


def images_and_labels(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 84, 84), dtype=np.uint8), np.arange(n) % 3


def network(seed=0):
    return microexpnet("v", 4, 3, backend="numpy", dtype=np.float64, scaling="unit", seed=seed)


def test_gradients_are_those_of_finite_differences():
    net = network()
    images, labels = images_and_labels(1)
    sums = Gradients.none(3, 84, 84)
    add_gradients(sums, net, images, labels)
    found, faces = sums.means()
    assert (faces[0] == images[0]).all() and found[0].max() == 1.0
    assert not found[1:].any() and not faces[1:].any()
    x, step = net.scale(images), 1e-5
    rng = np.random.default_rng(1)
    places = [np.unravel_index(found[0].argmax(), (84, 84)), *rng.integers(0, 84, (6, 2))]
    slopes = []
    for row, column in places:
        ends = []
        for sign in (1, -1):
            moved = x.copy()
            moved[0, row, column, 0] += sign * step
            ends.append(net.forward(moved)[0, labels[0]])
        slopes.append(abs(ends[0] - ends[1]) / (2 * step))
    expected = np.array(slopes) / slopes[0]
    assert [found[0][tuple(place)] for place in places] == pytest.approx(expected, abs=1e-4)


def test_gradients_added_in_parts_have_the_same_means():
    net = network()
    images, labels = images_and_labels(150)  # more than two batches
    whole, parts = Gradients.none(3, 84, 84), Gradients.none(3, 84, 84)
    add_gradients(whole, net, images, labels)
    for k in range(3):
        add_gradients(parts, net, images[labels == k], labels[labels == k])
    assert whole.counts.tolist() == parts.counts.tolist() == [50, 50, 50]
    for a, b in zip(whole.means(), parts.means()):
        assert a == pytest.approx(b)
    assert (whole.means()[0].max(axis=(1, 2)) <= 1).all()


class Oracle:
    """A stand-in for a network: looks up the logits of an image in a table."""

    def __init__(self, logits):
        self.logits = logits

    def predict_logits(self, images):
        return self.logits[images]


def test_the_temperature_is_fitted_on_validation_and_measured_on_test():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1, (4000, 3))
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(3, p=p) for p in probs])
    sure = 3 * logits  # logits three times as large as calibrated ones
    rows = np.arange(4000)
    validation = SimpleNamespace(images=rows[:2000], labels=labels[:2000])
    test = SimpleNamespace(images=rows[2000:], labels=labels[2000:])
    found = Calibration()
    found.add((0, 0), Oracle(sure), validation, test)
    assert found.temperatures[0, 0] == pytest.approx(3, rel=0.1)
    before, after = (errors[0, 0] for errors in found.error)
    shown = np.exp(sure[2000:]) / np.exp(sure[2000:]).sum(axis=1, keepdims=True)
    assert before == pytest.approx(100 * expected_calibration_error(shown, labels[2000:]))
    assert after < 4 < 15 < before
    likelihood = -np.log(shown[np.arange(2000), labels[2000:]]).mean()
    assert found.likelihood[0][0, 0] == pytest.approx(likelihood)
    assert found.likelihood[1][0, 0] < likelihood
    confidence, right = found.reliability(0)
    assert confidence == pytest.approx(shown.max(axis=1))
    assert (right == (shown.argmax(axis=1) == labels[2000:])).all()
    other = Calibration()
    wrong = SimpleNamespace(images=rows[2000:], labels=(labels[2000:] + 1) % 3)
    other.add((0, 0), Oracle(sure), validation, wrong)
    assert other.temperatures == found.temperatures


def test_resolved_confusions_are_paired_and_in_order():
    """Without a teacher, 4 of 10 calm images are called angry (more in hard folds); with it 2."""

    def confusions(split, trial):
        first = 4 + trial.fold % 3 - 2 * trial.has_teacher
        return [
            [10 - first, first, 0],
            [0, 9 - trial.has_teacher, 1 + trial.has_teacher],
            [0, 0, 10],
        ]

    found = resolved(scores(plan(), lambda split, t: 50.0, confusions=confusions), "XXS")
    assert [(one.truth, one.predicted) for one in found] == [(0, 1), (1, 2)]
    assert found[0].change.mean == pytest.approx(-20) and found[0].change.half_width < 1e-9
    assert found[0].without.mean == pytest.approx(48)  # 4, 5, 6, 4, 5 of 10
    assert found[0].without.half_width > 5
    assert found[1].change.mean == pytest.approx(10)


@pytest.mark.parametrize("temperatures", [(2.0, 8.0), ()])
def test_each_network_predicts_its_own_test_images(temperatures):
    wanted = plan(sizes=("XXS",), temperatures=temperatures, n_folds=3, n_seeds=2)
    found = scores(wanted, lambda split, trial: 50.0 + (trial.temperature == 8))
    asked, loaded = [], []

    def parts(replicate):
        asked.append(replicate)
        images, labels = images_and_labels(6, seed=replicate[0])
        return SimpleNamespace(
            validation=SimpleNamespace(images=images, labels=labels),
            test=SimpleNamespace(images=images, labels=labels),
        )

    def load(result):
        trial = result["trial"]
        loaded.append((trial["temperature"], trial["fold"], trial["seed"]))
        return network(trial["seed"])

    told = []
    inside = look_inside(found, CLASSES, parts, load, lambda *counts: told.append(counts))
    kinds = KINDS if temperatures else KINDS[:1]
    replicates = [(fold, seed) for fold in range(3) for seed in range(2)]
    assert asked == replicates
    expected = [(t, *r) for r in replicates for t in ((None, 8.0) if temperatures else (None,))]
    assert loaded == expected and told[-1] == (len(expected), len(expected))
    assert list(inside.gradients) == list(inside.calibration) == list(inside.confusion) == [*kinds]
    assert inside.gradients[KINDS[0]].counts.tolist() == [12, 12, 12]
    assert inside.confusion[KINDS[0]].tolist() == (60 * np.eye(3)).tolist()
