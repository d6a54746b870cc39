"""The trainings of the paper, and how a time budget reduces them."""

from dataclasses import asdict

import pytest
from paper_results import plan

from tinycnn.paper import Costs, budget_s, fitted, from_json, ladder, scaled_down, unlike_the_paper
from tinycnn.paper.published import VARIANTS
from tinycnn.sweep import teacher_epochs

FULL = dict(epochs=25, n_folds=10, n_seeds=3)
OWN_TEACHER = dict(teacher_network="microexpnet-M", teacher_epochs=80)


def test_the_trials_of_the_paper_each_once():
    whole = plan(**FULL, recipe="paper")
    subject, random = whole.trials("subject"), whole.trials("random")
    assert len(set(subject)) == len(subject) == (16 + 4 * 7) * 10 * 3
    assert len(set(random)) == len(random) == 16 * 10 * 3
    assert whole.n_trials == len(subject) + len(random)
    assert not any(trial.has_teacher for trial in random)
    assert {(t.variant, t.loss) for t in subject if t.has_teacher} == {("p12", "kd")}
    assert {t.recipe for t in subject} == {"paper"} and {t.epochs for t in subject} == {25}
    kept = [trial for trial in subject if whole.is_kept(trial)]
    assert {(t.variant, t.size) for t in kept} == {("p12", "XXS")} and len(kept) == 8 * 30


def test_each_fold_has_one_teacher_for_all_seeds_and_temperatures():
    whole = plan(**FULL, **OWN_TEACHER)
    subject, random = whole.trials("subject"), whole.trials("random")
    teachers = [trial for trial in subject if trial.is_teacher]
    assert subject[:10] == teachers and [t.fold for t in teachers] == list(range(10))
    assert {t.epochs for t in teachers} == {80} and all(map(whole.is_kept, teachers))
    assert {t.teacher() for t in subject if t.has_teacher} == set(teachers)
    assert not any(trial.is_teacher for trial in random)
    assert whole.n_trials == len(subject) + len(random) == plan(**FULL).n_trials + 10
    assert not any(trial.is_teacher for trial in whole.one_of_each())
    one = plan(splits=("own-split",), n_folds=0, n_seeds=2, **OWN_TEACHER)
    assert sum(t.is_teacher for t in one.trials("own-split")) == one.n_teachers == 1
    assert plan(**FULL, temperatures=(), **OWN_TEACHER).n_teachers == 0
    words = "the teacher is microexpnet-M, trained in each fold on the fold's own training images"
    assert any(line.startswith(words) for line in unlike_the_paper(whole))
    assert from_json(asdict(whole)) == whole


def test_the_time_of_the_teachers_counts():
    whole = plan(**{**FULL, "epochs": 1}, sizes=("XXS",), **OWN_TEACHER)
    keys = [(v, "XXS") for v in VARIANTS]
    parts = dict.fromkeys(keys, 0.0), dict.fromkeys(keys, 0.0), 7, 0
    seconds = [Costs(*parts, teacher_step_s=step_s).seconds(whole, 2) for step_s in (0.0, 0.5)]
    assert seconds[1] - seconds[0] == pytest.approx(10 * 80 * 7 * 0.5 / 2)
    smaller = [each.teacher_epochs for each in ladder(whole)]
    assert smaller[0] == 80 and smaller[-1] == 25 == min(smaller)
    fixed = ladder(whole, frozenset({"teacher_epochs"}))
    assert {each.teacher_epochs for each in fixed} == {80}
    told = scaled_down(list(ladder(whole))[-1], whole)
    assert "25 epochs of the teachers instead of 80" in told


@pytest.mark.parametrize("n_images, epochs", [(0, 100), (1250, 100), (2500, 50), (28_000, 25)])
def test_a_small_data_set_has_more_epochs_of_the_teacher(n_images, epochs):
    assert teacher_epochs(n_images) == epochs


def test_a_given_split_has_no_folds():
    trials = plan(splits=("own-split",), n_folds=0, n_seeds=2).trials("own-split")
    assert {trial.fold for trial in trials} == {None} and {t.seed for t in trials} == {0, 1}


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("minutes", 600),
        ("hours", 14400),
        ("90s", 90),
        ("10min", 600),
        ("2.5h", 9000),
        ("3 h", 10800),
    ],
)
def test_budgets(text, seconds):
    assert budget_s(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "min", "-3h", "0min", "1e3h", "5 days", "nan h"])
def test_invalid_budgets(text):
    with pytest.raises(ValueError, match="expected minutes, hours, or a time such as"):
        budget_s(text)


@pytest.mark.parametrize("folds", [10, 0])
def test_each_reduction_gives_up_one_thing(folds):
    steps = list(ladder(plan(**{**FULL, "n_folds": folds})))
    for before, after in zip(steps, steps[1:]):
        changed = {k: asdict(before)[k] - v for k, v in asdict(after).items() if isinstance(v, int)}
        assert sorted(changed.values()) == [0, 0, 0, 1]
    last = steps[-1]
    assert (last.epochs, last.n_folds, last.n_seeds) == (1, min(folds, 3), 1 if folds else 3)


def test_the_largest_plan_that_fits_the_budget_is_chosen():
    def trainings(p):
        return p.n_trials * p.epochs

    full = plan(**FULL)
    for budget in (10**9, 40_000, 15_000, 3000, 500):
        found = fitted(full, budget, trainings)
        assert trainings(found) <= budget
        larger = list(ladder(full))
        larger = larger[: larger.index(found)]
        assert all(trainings(p) > budget for p in larger)
    assert fitted(full, 10**9, trainings) == full
    smallest = fitted(full, 1, trainings)
    assert (smallest.epochs, smallest.n_folds, smallest.n_seeds) == (1, 3, 1)


def test_given_options_are_not_reduced():
    full = plan(**FULL)
    found = fitted(full, 0, lambda p: 1, frozenset({"epochs", "n_seeds"}))
    assert (found.epochs, found.n_folds, found.n_seeds) == (25, 3, 3)


def test_the_report_says_what_was_given_up():
    full = plan(**FULL)
    assert scaled_down(full, full) == []
    small = plan(epochs=3, n_folds=5, n_seeds=1)
    assert scaled_down(small, full) == [
        "3 epochs instead of 25",
        "only the first 5 of 10 folds",
        "1 seed instead of 3",
    ]


def test_differences_from_the_papers_plan():
    paper = plan(recipe="paper", epochs=3000, n_folds=10)
    (line,) = unlike_the_paper(paper)
    assert "the paper chose them by the score" in line
    other = unlike_the_paper(plan(sizes=("XXS",), temperatures=(2.0, 8.0), n_folds=5))
    for words in ("recipe fer", "3 epochs", "5 of ten folds", "sizes: XXS", "temperatures: 2, 8"):
        assert any(words in line for line in other), words
    assert any("own split" in line for line in unlike_the_paper(plan(n_folds=0)))


def test_seconds_are_those_of_all_steps_and_scores():
    sizes = ("S", "XXS")
    keys = [(variant, size) for variant in VARIANTS for size in sizes]
    costs = Costs({k: 0.1 for k in keys}, {k: 0.01 for k in keys}, n_steps=20, n_scored=30)
    wanted = plan(sizes=sizes, temperatures=(2.0,), epochs=10)
    # 18 networks, 5 folds, 10 epochs of 2 s, 0.3 s and a checkpoint
    n = (16 + 2) * 5
    assert wanted.n_trials == n
    assert costs.seconds(wanted, 1) == pytest.approx(n * 10 * 2.3, rel=0.05)
    assert costs.seconds(wanted, 4) == pytest.approx(costs.seconds(wanted, 1) / 4)


def test_a_plan_survives_json_and_invalid_json_is_refused():
    import json

    one = plan(**FULL)
    assert from_json(json.loads(json.dumps(asdict(one)))) == one
    for wrong in ({}, {**asdict(one), "more": 1}, {**asdict(one), "recipe": "cake"}):
        with pytest.raises(ValueError, match="not a plan"):
            from_json(wrong)
