"""Verdicts on claims: from intervals, in the direction of the claim, never from two folds."""

import math
from functools import partial

import numpy as np
import pytest
from paper_results import FOUR, plan, scores

from tinycnn.paper import Interval, Measure, judged
from tinycnn.paper.claims import FAILS, HOLDS, OPEN, UNTESTED, Claim

STEP = {size: k for k, size in enumerate(FOUR)}


def noise(*key):
    """A value below 0.2 points; the same key gives the same value."""
    seed = [sum(map(ord, repr(part))) for part in key]
    return float(np.random.default_rng(seed).uniform(-0.2, 0.2))


def claims_of(gain=0.0, per_step=0.0, pooled=(0.0, 0.0), hill=0.0, noise_of=1.0, **changes):
    """hill: points by which temperature 8 is better.  pooled: p12 - v (by subject, at random)."""
    wanted = plan(**changes)

    def accuracy(part, split, trial):
        value = 50 + 3 * (trial.fold or 0)
        of = (trial.variant, trial.size, trial.fold, trial.seed, trial.temperature)
        value += noise_of * noise(part, split, *of)
        if trial.has_teacher:
            value += gain + per_step * STEP[trial.size] + hill * (trial.temperature == 8)
        elif trial.variant == "v":
            value -= pooled[split == "random"]
        return value

    parts = (partial(accuracy, part) for part in ("test", "validation"))
    return {claim.name: claim for claim in judged(scores(wanted, *parts))}


def verdicts(claims):
    return {name: claim.verdict for name, claim in claims.items()}


def test_claims_that_hold_are_confirmed():
    claims = claims_of(gain=3, per_step=1, pooled=(2, -2), hill=4)
    assert verdicts(claims) == dict.fromkeys(claims, HOLDS) and len(claims) == 5
    (trend,) = claims["smaller"].measures
    assert trend.found.mean == pytest.approx(1, abs=0.2) and trend.found.n == 5


def test_claims_whose_opposite_holds_are_refused():
    claims = claims_of(gain=-6, per_step=-1, pooled=(-2, 2))
    expected = dict.fromkeys(("distillation", "smaller", "pooling", "overlap"), FAILS)
    assert verdicts(claims) == {**expected, "temperature": OPEN}


def test_no_verdict_from_noise():
    assert set(verdicts(claims_of(noise_of=20)).values()) == {OPEN}


def test_no_verdict_from_one_or_two_folds():
    strong = dict(gain=9, per_step=3, pooled=(9, -9), hill=9, noise_of=0)
    assert set(verdicts(claims_of(**strong)).values()) == {HOLDS}
    for n in (2, 1):
        assert set(verdicts(claims_of(**strong, n_folds=n)).values()) == {OPEN}


def test_one_or_two_epochs_prove_nothing():
    strong = dict(gain=9, per_step=3, pooled=(9, -9), hill=9, noise_of=0)
    for n, said in ((1, "one epoch"), (2, "2 epochs")):
        claims = claims_of(**strong, epochs=n)
        assert set(verdicts(claims).values()) == {UNTESTED}
        assert all(f"trained for {said};" in claim.untested for claim in claims.values())
    assert set(verdicts(claims_of(**strong, epochs=3)).values()) == {HOLDS}
    without = claims_of(epochs=1, temperatures=())["distillation"]
    assert without.verdict == OPEN and "no teacher" in without.missing


def test_a_claim_about_two_splits_needs_both():
    assert claims_of(pooled=(2, 0))["overlap"].verdict == OPEN
    assert claims_of(pooled=(0, -2))["overlap"].verdict == OPEN
    assert claims_of(pooled=(2, 2))["overlap"].verdict == FAILS


def test_one_size_against_the_claim_refuses_it():
    claims = claims_of(gain=-1, per_step=1)  # -1, 0, 1, 2
    assert claims["distillation"].verdict == FAILS and claims["smaller"].verdict == HOLDS


def test_equal_temperatures_only_look_different_when_chosen_on_the_test_score():
    """The optimistic measure is above 0 even for noise; the verdict does not use it."""
    claim = claims_of(gain=5, noise_of=10)["temperature"]
    honest, optimistic = claim.measures[:2]
    assert honest.sign == 1 and optimistic.sign is None and "optimistic" in optimistic.name
    assert optimistic.found.mean > 0.3 and claim.verdict == OPEN


def test_without_folds_seeds_are_used_and_the_split_is_named():
    claims = claims_of(gain=5, splits=("own-split",), n_folds=0, n_seeds=4)
    assert claims["distillation"].verdict == HOLDS
    for name in ("pooling", "overlap"):
        assert claims[name].verdict == OPEN and "who is shown" in claims[name].missing
    assert all(m.sign is None for m in claims["pooling"].measures)


@pytest.mark.parametrize(
    "changes, name, words",
    [
        (dict(temperatures=()), "distillation", "no teacher"),
        (dict(temperatures=()), "smaller", "no teacher"),
        (dict(temperatures=()), "temperature", "no teacher"),
        (dict(temperatures=(8.0,)), "temperature", "one temperature"),
        (dict(sizes=("XXS",)), "smaller", "one size"),
        (dict(splits=("random",)), "overlap", "who is shown"),
    ],
)
def test_missing_results_are_named(changes, name, words):
    claim = claims_of(gain=9, **changes)[name]
    assert claim.verdict == OPEN and words in claim.missing


def test_the_papers_numbers_are_computed_from_its_tables():
    claims = claims_of()
    (trend,) = claims["smaller"].measures
    gains = (4.23, 5.98, 6.96, 9.50)
    by_hand = (-1.5 * gains[0] - 0.5 * gains[1] + 0.5 * gains[2] + 1.5 * gains[3]) / 5
    assert trend.paper["CK+"] == pytest.approx(by_hand)
    by_hand = (79.95 - 81.23 + 79.71 - 79.73 + 79.78 - 77.14 + 78.44 - 71.36) / 4
    assert claims["pooling"].measures[0].paper["CK+"] == pytest.approx(by_hand)
    assert claims["distillation"].measures[3].paper["Oulu-CASIA"] == pytest.approx(5.99)


@pytest.mark.parametrize(
    "mean, half, n, sign, expected",
    [
        (2.0, 1.9, 5, 1, HOLDS),
        (2.0, 2.1, 5, 1, OPEN),
        (-2.0, 1.9, 5, 1, FAILS),
        (-2.0, 1.9, 5, -1, HOLDS),
        (2.0, 1.9, 5, -1, FAILS),
        (2.0, 0.0, 2, 1, OPEN),
        (2.0, math.inf, 5, 1, OPEN),
        (2.0, 1.0, 5, None, OPEN),
    ],
)
def test_verdict_of_a_measure(mean, half, n, sign, expected):
    measure = Measure("m", Interval(mean, half, n), sign)
    assert measure.verdict == expected
    assert Claim("c", "text", (measure,)).verdict == expected
    assert Claim("c", "text", (measure,), missing="something").verdict == OPEN
