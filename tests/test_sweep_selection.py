"""Choosing an option by validation or by the reported score, and the tables of a sweep."""

import csv
import io
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinycnn import sweep
from tinycnn.sweep import Trial, selection


def result(validation, test=None, **options):
    trial = Trial(**options)
    part = None if test is None else {"accuracy": test, "loss": 1.0}
    return {
        "trial": asdict(trial),
        "validation": {"accuracy": validation, "loss": 2.0},
        "test": part,
        "best_epoch": 3,
        "n_parameters": 65_000,
        "seconds": 1.5,
    }


RESULTS = [
    # fold 0: validation prefers 2 and the test images 8; fold 1: both prefer 8
    result(0.9, 0.1, temperature=2, fold=0),
    result(0.8, 0.7, temperature=8, fold=0),
    result(0.5, 0.2, temperature=2, fold=1),
    result(0.6, 0.3, temperature=8, fold=1),
]


def chosen(results, rule):
    found = sweep.choose(results, "temperature", rule)
    return [(r["trial"]["fold"], r["trial"]["temperature"]) for r in found]


def test_validation_chooses_in_every_fold_without_the_test_images():
    assert chosen(RESULTS, "validation") == [(0, 2), (1, 8)]
    swapped = [{**r, "test": {"accuracy": 1 - r["test"]["accuracy"]}} for r in RESULTS]
    assert chosen(swapped, "validation") == [(0, 2), (1, 8)]


def test_reported_chooses_one_value_by_the_test_score():
    assert chosen(RESULTS, "reported") == [(0, 8), (1, 8)]


def test_choosing_by_the_test_score_is_optimistic():
    assert not sweep.is_optimistic(RESULTS, "validation")
    assert sweep.is_optimistic(RESULTS, "reported")
    assert sweep.is_optimistic([result(0.5)], "validation")


def test_every_setting_of_the_other_options_has_its_own_choice():
    results = [
        result(0.1 * (t + k), 0.5, temperature=t, size=size, seed=seed)
        for k, (size, seed) in enumerate([("M", 0), ("M", 1), ("XXS", 0)])
        for t in (2, 4)
    ]
    results.append(result(0.3, 0.3, loss="none"))
    found = sweep.choose(results, "temperature")
    trials = [r["trial"] for r in found]
    assert [(t["size"], t["seed"], t["temperature"]) for t in trials] == [
        ("M", 0, 4),
        ("M", 1, 4),
        ("XXS", 0, 4),
        ("XXS", 0, None),
    ]


def test_ties_go_to_the_smaller_value_and_several_temperatures_are_one_value():
    results = [result(0.5, 0.5, temperature=t) for t in (8, 2, 4)]
    assert chosen(results, "validation") == [(None, 2)]
    assert chosen(results, "reported") == [(None, 2)]
    results.append(result(0.9, 0.9, temperature=[2, 8]))
    assert sweep.choose(results, "temperature")[0]["trial"]["temperature"] == (2, 8)
    assert len(sweep.choose(results, "size")) == 4


def test_unknown_rules_and_options_are_refused():
    with pytest.raises(ValueError, match="rule is 'best'; expected one of validation, reported"):
        sweep.choose(RESULTS, "temperature", "best")
    with pytest.raises(ValueError, match="no option 'heat'"):
        sweep.choose(RESULTS, "heat")


def test_the_interval_of_textbook_numbers():
    """Ten values with mean 5 and standard deviation 2; t(0.975, 9) = 2.262157 (tables of t)."""
    values = [5 + 2 * (9 / 10) ** 0.5 * sign for sign in (1, -1) * 5]
    mean, half = sweep.mean_and_interval(values)
    assert mean == pytest.approx(5) and half == pytest.approx(2.262157 * 2 / 10**0.5, rel=1e-6)
    assert sweep.mean_and_interval([0.25]) == (0.25, 0.0)
    with pytest.raises(ValueError, match="no values"):
        sweep.mean_and_interval([])


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_the_interval_is_not_negative_and_holds_the_mean(values):
    mean, half = sweep.mean_and_interval(values)
    assert half >= 0 and min(values) - 1e-12 <= mean <= max(values) + 1e-12


# ---- tables ----------------------------------------------------------------------------------


def test_the_table_has_a_row_per_size_and_a_column_per_temperature():
    results = [result(0.0, 0.5, size="XXS", loss="none"), result(0.0, 0.25, size="M", loss="none")]
    results += [result(0.0, 0.6 + 0.1 * s, size="M", temperature=8, seed=s) for s in (0, 1)]
    results += [result(0.0, 0.4, size="XXS", temperature=t) for t in (16, 8)]
    lines = sweep.score_tables(results).splitlines()
    assert lines[0].split("  ")[0] == "size"
    assert lines[0].split()[1:] == ["no", "teacher", "t=8", "t=16"]
    # values 60 and 70: t(0.975, 1) = 12.7062, half width = 12.7062 * 7.0711 / sqrt 2
    assert lines[1].split() == ["M", "25.0", "65.0", "+-63.5", "(2)", "-"]
    assert lines[2].split() == ["XXS", "50.0", "40.0", "40.0"]
    assert len(lines) == 3


def test_each_setting_of_other_options_has_a_table_and_all_have_the_runs_without_teacher():
    results = [result(0.5, loss="none")] + [result(0.6, loss=loss) for loss in ("kd", "dkd-z")]
    tables = sweep.score_tables(results).split("\n\n")
    assert [table.splitlines()[0] for table in tables] == [
        "loss kd, loss_scale hinton",
        "loss dkd-z",
    ]
    assert all(table.splitlines()[2].split() == ["XXS", "50.0", "60.0"] for table in tables)
    results = [result(0.5, loss="none", variant=v) for v in ("p1", "p12")]
    assert "variant p1\n" in sweep.score_tables(results)
    assert sweep.score_tables([]) == ""


def test_the_csv_has_a_line_for_every_trial_also_if_it_failed():
    trials = sweep.names(sweep.grid(temperature=[2, (2, 8)], loss=["kd", "none"]), "d")
    done, failed, missing = trials
    outcome = sweep.Outcome({done: result(0.5, 0.25)}, {failed: 'ValueError: a, "b"\nc'})
    rows = list(csv.DictReader(io.StringIO(sweep.summary_csv(trials, outcome))))
    assert [(row["name"], row["status"]) for row in rows] == [
        (done, "done"),
        (failed, "failed"),
        (missing, "missing"),
    ]
    assert rows[0]["validation_accuracy"] == "0.5" and rows[0]["test_accuracy"] == "0.25"
    assert rows[1]["error"] == 'ValueError: a, "b"\nc' and rows[1]["test_accuracy"] == ""
    assert [row["temperature"] for row in rows] == ["2", "", "2,8"]
    assert rows[0]["epochs"] == "25" and rows[0]["fold"] == ""


def test_the_reported_score_is_that_of_the_test_images_if_there_are_any():
    assert selection.score(result(0.5, 0.25)) == 0.25 and selection.score(result(0.5)) == 0.5


# ---- differences -----------------------------------------------------------------------------


def test_differences_are_of_pairs_with_the_same_seed():
    """Seeds differ by 0.2; with equal seeds, the settings differ by 0.010, 0.014 and 0.012."""
    results = [result(0.5 + 0.2 * seed, seed=seed) for seed in (0, 1, 2)]
    gains = {0: 0.010, 1: 0.014, 2: 0.012}
    results += [result(0.5 + 0.2 * k + gain, seed=k, mixup=0.2) for k, gain in gains.items()]
    results += [result(0.5, seed=5, mixup=0.4), result(0.6, seed=0, size="M")]
    text = sweep.difference_table(results)
    # t(0.975, 2) = 4.3027; sd 0.002, so 0.002 / sqrt(3) * 4.3027 = 0.00497
    assert "mixup 0.2" in text and "+1.2 +-0.5 (3)" in text
    line = next(line for line in text.splitlines() if "mixup 0.4" in line)
    assert line.rstrip().endswith("-")  # no seed in common: no difference
    sizes = [line.split()[0] for line in text.splitlines()[1:]]
    assert sizes == ["M", "XXS", "XXS", "XXS"]


def test_without_a_second_setting_there_are_no_differences():
    assert sweep.difference_table([result(0.5, seed=k) for k in range(3)]) == ""
    assert sweep.difference_table([]) == ""


def test_a_setting_is_named_by_its_differences():
    results = [result(0.5), result(0.6, loss="none"), result(0.4, temperature=(1, 8), dropout=0.1)]
    lines = sweep.difference_table(results).splitlines()
    assert "the first" in lines[1] and "loss none" in lines[2]
    assert "temperature 1,8, dropout 0.1" in lines[3] and "-10.0" in lines[3]
