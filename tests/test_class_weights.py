"""Class weights: every loss multiplies the loss of a sample by the weight of its class."""

from dataclasses import replace

import numpy as np
import pytest

from tinycnn import CrossEntropy, DecoupledDistillation, Distillation, RelationDistillation
from tinycnn.losses import balanced_class_weights
from tinycnn.testing import check_gradients

BACKENDS = pytest.mark.parametrize("backend", ["numba", "numpy"])
WEIGHTS = (0.5, 3.0, 0.0, 1.25)
LOSSES = {
    "cross_entropy": CrossEntropy(),
    "smoothed": CrossEntropy(0.2),
    "distillation": Distillation(4.0, 0.6, "hinton", label_smoothing=0.1),
    "temperatures": Distillation((2.0, 5.0), 0.6),
    "z_scores": Distillation(2.0, 0.6, standardize=True),
    "decoupled": DecoupledDistillation(3.0, 1.0, 2.0, 0.5),
    "decoupled_z": DecoupledDistillation(3.0, standardize=True),
    "relations_of_classes": RelationDistillation(gamma=0.0),
}
EACH = pytest.mark.parametrize("name", LOSSES)
TARGETS = pytest.mark.parametrize("kind", ["labels", "distributions"])


def a_batch(kind, n=7):
    """Logits, targets, soft labels, and the weight of each sample."""
    rng = np.random.default_rng(11)
    logits, teacher = 2 * rng.standard_normal((2, n, 4))
    labels, votes = np.arange(n) % 4, rng.dirichlet(np.ones(4), n)
    if kind == "labels":
        return logits, labels, teacher, [WEIGHTS[k] for k in labels]
    return logits, votes, teacher, [sum(y * w for y, w in zip(row, WEIGHTS)) for row in votes]


@BACKENDS
@TARGETS
@EACH
def test_the_mean_of_weighted_losses_is_over_the_batch(name, kind, backend):
    """Each sample alone has the loss L[n]; the whole is the sum of w[n] L[n] / N."""
    logits, targets, teacher, weights = a_batch(kind)
    loss = replace(LOSSES[name], class_weights=WEIGHTS)
    value, dlogits = loss(logits, targets, teacher, backend=backend)
    alone = [
        LOSSES[name](logits[k : k + 1], targets[k : k + 1], teacher[k : k + 1], backend=backend)
        for k in range(7)
    ]
    expected = sum(w * one for w, (one, _) in zip(weights, alone)) / 7
    assert value == pytest.approx(expected, rel=1e-12)
    for k, (weight, (_, gradient)) in enumerate(zip(weights, alone)):
        np.testing.assert_allclose(dlogits[k], weight * gradient[0] / 7, rtol=1e-11, atol=1e-15)
    assert dlogits.dtype == np.float64 and abs(dlogits).max() > 1e-3


@BACKENDS
@TARGETS
@pytest.mark.parametrize("name", [*LOSSES, "relations"])
def test_gradient(name, kind, backend):
    logits, targets, teacher, _ = a_batch(kind)
    loss = replace(LOSSES.get(name, RelationDistillation()), class_weights=WEIGHTS)
    _, dlogits = loss(logits, targets, teacher, backend=backend)
    check_gradients(
        lambda: loss(logits, targets, teacher, backend=backend)[0],
        dict(logits=logits),
        dict(logits=dlogits),
    )


@BACKENDS
@TARGETS
def test_correlations_over_samples_have_no_weights(kind, backend):
    logits, targets, teacher, _ = a_batch(kind)
    loss = RelationDistillation(beta=0.0, gamma=2.0, hard_weight=0.0)
    weighted = replace(loss, class_weights=WEIGHTS)
    value, dlogits = weighted(logits, targets, teacher, backend=backend)
    expected, expected_dlogits = loss(logits, targets, teacher, backend=backend)
    assert value == pytest.approx(expected, rel=1e-14)
    np.testing.assert_allclose(dlogits, expected_dlogits, rtol=1e-12)


@BACKENDS
@pytest.mark.parametrize("name", [*LOSSES, "relations"])
def test_weights_of_one_change_nothing(name, backend):
    logits, targets, teacher, _ = a_batch("labels")
    loss = LOSSES.get(name, RelationDistillation())
    weighted = replace(loss, class_weights=[1, 1, 1, 1])
    value, dlogits = weighted(logits, targets, teacher, backend=backend)
    expected, expected_dlogits = loss(logits, targets, teacher, backend=backend)
    assert value == pytest.approx(expected, rel=1e-14)
    np.testing.assert_allclose(dlogits, expected_dlogits, rtol=1e-12, atol=1e-16)


def test_torch_divides_by_the_sum_of_the_weights():
    """Its sum of weighted losses is ours times N."""
    torch = pytest.importorskip("torch", reason="PyTorch comes with the extra dev")
    logits, labels, _, weights = a_batch("labels")
    theirs = torch.tensor(logits, requires_grad=True)
    arguments = (theirs, torch.tensor(labels), torch.tensor(WEIGHTS, dtype=torch.float64))
    total = torch.nn.functional.cross_entropy(*arguments, reduction="sum")
    total.backward()
    value, dlogits = CrossEntropy(class_weights=WEIGHTS)(logits, labels)
    assert value == pytest.approx(total.item() / 7, rel=1e-13)
    np.testing.assert_allclose(dlogits, theirs.grad.numpy() / 7, rtol=1e-12, atol=1e-17)
    mean = torch.nn.functional.cross_entropy(*arguments).item()
    assert mean == pytest.approx(value * 7 / sum(weights), rel=1e-13)


# ---- what is accepted --------------------------------------------------------------------------


def test_a_sequence_an_array_or_a_mapping():
    expected = CrossEntropy(class_weights=WEIGHTS)
    assert expected.class_weights == WEIGHTS
    assert CrossEntropy(class_weights=np.array(WEIGHTS)) == expected
    assert CrossEntropy(class_weights=dict(enumerate(WEIGHTS))) == expected
    assert CrossEntropy(class_weights={1: 3, 0: 2}).class_weights == (2.0, 3.0)
    assert CrossEntropy(class_weights=[]) == CrossEntropy() != expected


@pytest.mark.parametrize("name", [*LOSSES, "relations"])
@pytest.mark.parametrize(
    "weights, message",
    [
        ((1, -1), r"class_weights=\(1.0, -1.0\): expected finite numbers of 0 or more"),
        ((1, float("nan")), "expected finite numbers"),
        ((1, float("inf")), "expected finite numbers"),
        ({0: 1, 2: 1}, r"has the keys \[0, 2\]: expected the indices of all classes, from 0 on"),
    ],
)
def test_wrong_weights_are_named(name, weights, message):
    with pytest.raises(ValueError, match=message):
        replace(LOSSES.get(name, RelationDistillation()), class_weights=weights)


@TARGETS
@EACH
def test_as_many_weights_as_classes(name, kind):
    logits, targets, teacher, _ = a_batch(kind)
    loss = replace(LOSSES[name], class_weights=(1, 2, 3))
    with pytest.raises(ValueError, match="class_weights has 3 weights: expected 4, one for each"):
        loss(logits, targets, teacher)


def test_weights_stay_from_epoch_to_epoch():
    loss = DecoupledDistillation(n_warmup_epochs=3, class_weights=WEIGHTS)
    assert loss.at_epoch(1).class_weights == WEIGHTS


# ---- balanced weights --------------------------------------------------------------------------


def test_balanced_weights_of_scikit_learn():
    """The example of sklearn.utils.class_weight.compute_class_weight's documentation: classes 0 and
    1 in [1, 1, 1, 1, 0, 0] get 1.5 and 0.75."""
    assert balanced_class_weights(np.array([1, 1, 1, 1, 0, 0]), 2) == (1.5, 0.75)


def test_balanced_weights_of_distributions_and_missing_classes():
    """Shares 3 and 1 of 4 images; the classes that occur get a mean of 1 over the images."""
    votes = np.array([[1, 0, 0], [0.5, 0, 0.5], [0.5, 0, 0.5], [1, 0, 0]], np.float32)
    weights = balanced_class_weights(votes, 3)
    assert weights == pytest.approx((4 / (2 * 3), 1.0, 4 / (2 * 1)))
    assert (votes @ weights).mean() == pytest.approx(1)
