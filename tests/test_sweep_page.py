"""report.html of a sweep, parsed: its numbers are those of the results."""

import re
import xml.etree.ElementTree as ElementTree

import pytest
from paper_results import result

from tinycnn.report.svg_charts import temperature_axis
from tinycnn.sweep import Outcome, SweepReport, grid, page, render_page

NASTY = '<script>alert("1")</script>\'&amp;'
GRID = dict(size=["M", "XXS"], loss=["none", "kd"], temperature=[8, 2], seed=[0, 1])


def accuracy(trial):
    """In %: the temperature (30 without a teacher), and 2 more for seed 1."""
    return (trial.temperature or 30) + 2 * trial.seed


def report_of(trials, failures=None, missing=0, **changes):
    named = {trial.name("data"): trial for trial in trials}
    failures = {trials[k].name("data"): error for k, error in (failures or {}).items()}
    done = [t for n, t in named.items() if n not in failures][: len(named) - missing]
    results = {t.name("data"): result(t, 50 - accuracy(t), accuracy(t)) for t in done}
    values = dict(
        title="A sweep",
        command="tinycnn sweep --size M,XXS",
        trials=named,
        outcome=Outcome(results, failures),
        rule="validation",
        compare=False,
        data={"images": "88"},
    )
    return SweepReport(**{**values, **changes})


def parsed(report):
    doctype, rest = render_page(report).split("\n", 1)
    assert doctype == "<!DOCTYPE html>"
    return ElementTree.fromstring(rest)


def sections(root):
    return {s.find("h2").text: s for s in root.iter("section")}


def rows(section):
    return [
        ["".join(c.itertext()) for c in row if c.tag in ("th", "td")] for row in section.iter("tr")
    ]


def test_accuracies_differences_and_choice():
    found = sections(parsed(report_of(grid(**GRID), compare=True)))
    # Student's t for 2 values that differ by 2 points: 12.706 * sqrt(2) / sqrt(2)
    assert rows(found["Accuracy"]) == [
        ["size", "no teacher", "t=2", "t=8"],
        ["M", "31.0 ± 12.7 (2)", "3.0 ± 12.7 (2)", "9.0 ± 12.7 (2)"],
        ["XXS", "31.0 ± 12.7 (2)", "3.0 ± 12.7 (2)", "9.0 ± 12.7 (2)"],
    ]
    size, setting, _, difference = rows(found["Compared with the first setting"])[2]
    assert size == "M" and setting.startswith("loss kd, temperature 8,")
    assert difference == "-22.0 ± 0.0 (2)"
    # the validation accuracy falls as the reported one rises
    assert rows(found["Chosen temperature"])[1] == ["M", "3.0 ± 12.7 (2)", "t=2 (2)"]
    assert "too high" not in "".join(found["Chosen temperature"].itertext())
    optimistic = sections(parsed(report_of(grid(**GRID), rule="reported")))
    assert "too high" in "".join(optimistic["Chosen temperature"].itertext())
    assert "Compared with the first setting" not in optimistic


def test_curves_are_drawn_without_matplotlib(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    (chart,) = parsed(report_of(grid(**GRID))).iter("svg")
    described = chart.find("desc").text
    assert "size M: 3.0 % at t=2, 9.0 % at t=8" in described
    assert "XXS, no teacher: 31.0 % at t=2, 31.0 % at t=8" in described
    assert len([p for p in chart.iter("path") if p.get("class") == "line"]) == 4
    assert "temperature" in [text.text for text in chart.iter("text")]
    one = parsed(report_of(grid(size=["M"], loss="kd", temperature=[4])))
    assert not list(one.iter("svg"))


def test_temperatures_are_equally_far_apart_if_their_ratios_are_equal():
    axis = temperature_axis([8, 2, 4], 40, 240)
    assert axis.ticks == (2, 4, 8) and [axis.px(t) for t in axis.ticks] == pytest.approx(
        [40, 140, 240]
    )
    assert temperature_axis([2, 2.01, 8], 40, 240).ticks == (2, 8)
    alone = temperature_axis([4, 4], 40, 240)
    assert alone.ticks == (4,) and alone.px(4) == pytest.approx(140)


def test_trials_without_a_result_are_counted_and_failures_say_why():
    trials = grid(size=["M", "S"], loss="none", seed=[0, 1, 2], mixup=[0.0, 0.2])
    root = parsed(report_of(trials, failures={0: f"ValueError: {NASTY}"}, missing=3, title=NASTY))
    text = "".join(root.itertext())
    assert "9 of 12 trials have a result, 1 failed, 2 have not been run here yet." in text
    assert list(root.iter("script")) == [] and root.find(".//h1").text == NASTY
    found = sections(root)
    assert rows(found["Failed trials"])[1] == [
        trials[0].describe(),
        f"ValueError: {NASTY}",
        trials[0].name("data"),
    ]
    assert "run failed trials again" in "".join(found["Failed trials"].itertext())
    listed = rows(found["Trials"])
    assert listed[0][:3] == ["trial", "mixup", "validation accuracy"] and len(listed) == 13
    assert listed[1][2] == "failed" and listed[-1][2] == "not run"
    assert listed[2] == [
        *(trials[1].describe(), "0.2", "20.0 %", "30.0 %", "1", "1,000", "1.5"),
    ]
    same = dict(row for row in rows(found["Reproduce"]) if len(row) == 2)
    assert same["variant"] == "p12" and "size" not in same and same["images"] == "88"


def test_nothing_done_and_a_very_large_sweep(monkeypatch):
    trials = grid(size="S", loss="none", seed=list(range(8)))
    assert "No trial has a result yet." in render_page(report_of(trials, missing=8))
    monkeypatch.setattr(page, "MAX_TRIALS", 5)
    found = sections(parsed(report_of(trials)))
    assert len(rows(found["Trials"])) == 6
    assert "The first 5 of 8 trials. summary.csv has all." in "".join(found["Trials"].itertext())


def test_the_page_has_the_common_style_and_loads_nothing():
    content = render_page(report_of(grid(**GRID)))
    assert content == render_page(report_of(grid(**GRID)))
    assert "prefers-color-scheme: dark" in content and "default-src 'none'" in content
    assert not re.search(r"(src|href)=\"(?!data:)", content)
    root = parsed(report_of(grid(**GRID)))
    inside = [t for d in root.iter("div") if d.get("class") == "scroll" for t in d.iter("table")]
    facts = [t for t in root.iter("table") if t.get("class") == "facts"]
    assert len(inside) + len(facts) == len(list(root.iter("table")))
