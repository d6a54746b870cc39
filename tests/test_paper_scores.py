"""Intervals over folds and seeds, and looking up results by what was trained."""

import math

import numpy as np
import pytest
from paper_results import plan, results, scores

from tinycnn.paper.scores import Scores, interval, paired, slope

T3 = 3.182446305284263  # Student's t, 3 degrees of freedom, 97.5 %


def test_the_interval_of_four_folds_and_of_four_seeds():
    values = [1.0, 3.0, 5.0, 7.0]  # mean 4, variance 20/3
    folds = interval({(fold, 0): v for fold, v in enumerate(values)})
    assert (folds.mean, folds.n) == (4.0, 4)
    assert folds.half_width == pytest.approx(T3 * math.sqrt((1 / 4 + 1 / 8) * 20 / 3))
    assert (folds.low, folds.high) == (4 - folds.half_width, 4 + folds.half_width)
    seeds = interval({(None, seed): v for seed, v in enumerate(values)})
    assert seeds.half_width == pytest.approx(T3 * math.sqrt(20 / 3 / 4))


def test_seeds_of_a_fold_count_once():
    """Ten seeds on one test part are not ten independent measurements."""
    one = interval({(fold, 0): float(fold) for fold in range(4)})
    ten = interval({(fold, s): fold + (s - 4.5) for fold in range(4) for s in range(10)})
    assert ten.n == 4 and ten.half_width == pytest.approx(one.half_width)
    assert ten.mean == pytest.approx(one.mean)


def test_one_value_has_an_infinite_interval_and_none_is_refused():
    assert interval({(0, 0): 5.0}).half_width == math.inf
    assert interval({(0, 0): 5.0, (0, 1): 9.0}).half_width == math.inf  # two seeds of one fold
    with pytest.raises(ValueError, match="no values"):
        interval({})


def test_hard_folds_cancel_in_a_difference():
    hard = [0, 30, -20, 10, 5]
    found = scores(
        plan(sizes=("XXS",)),
        lambda split, trial: 60 + hard[trial.fold] + (4 if trial.has_teacher else 0),
    )
    gain = interval(found.gain("XXS"))
    assert gain.mean == pytest.approx(4) and gain.half_width < 1e-9
    assert interval(found.accuracy("subject", "p12", "XXS")).half_width > 20


def test_the_temperature_is_chosen_by_validation_alone():
    """Validation prefers 8 in fold 0 and 32 in fold 1; the test score prefers 64."""
    liked = {0: 8.0, 1: 32.0}

    def validation(split, trial):
        return 50 + 20 * (trial.temperature == liked[trial.fold])

    def test(split, trial):
        return 50 + 20 * (trial.temperature == 64.0)

    found = scores(plan(sizes=("XXS",), n_folds=2), test, validation)
    chosen = {r: result["trial"]["temperature"] for r, result in found.chosen("XXS").items()}
    assert chosen == {(0, 0): 8.0, (1, 0): 32.0}
    reported = found.chosen("XXS", "reported").values()
    assert [result["trial"]["temperature"] for result in reported] == [64.0, 64.0]


def test_a_missing_trial_excludes_its_fold_where_it_is_needed():
    wanted = plan(sizes=("XXS",))
    kept = results(wanted, lambda split, trial: 50.0)
    kept["subject"] = [
        r for r in kept["subject"] if (r["trial"]["temperature"], r["trial"]["fold"]) != (8.0, 3)
    ]
    found = Scores(wanted, kept)
    assert sorted(found.gain("XXS")) == [(0, 0), (1, 0), (2, 0), (4, 0)]
    assert len(found.accuracy("subject", "p12", "XXS")) == 5
    assert found.accuracy("subject", "p12", "M") == {}
    assert paired(max, {}, {(0, 0): 1.0}) == {}


@pytest.mark.parametrize("n", [2, 3, 4, 7])
def test_the_slope_is_that_of_a_least_squares_line(n):
    values = np.random.default_rng(n).normal(size=n)
    assert slope(*values) == pytest.approx(np.polyfit(np.arange(n), values, 1)[0])
