"""report.html of a sweep: one page with its tables and curves, which needs no other file.

The same results give the same bytes: the page has no date.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..ground._version import __version__
from ..ground.html_page import escape, facts_table, section, table
from ..report.page import report_page
from ..report.svg_charts import TEMPERATURES, Series, line_chart
from .differences import difference_rows
from .folder import Outcome
from .selection import is_optimistic, mean_and_interval
from .table import (
    Cells,
    choice_rows,
    grouped_scores,
    score_rows,
    sizes_in_order,
    teacher_rows,
    teachers_and_others,
)
from .trial import Trial, option_names, temperature_text

MAX_TRIALS = 500
"""Most trials that the page lists; summary.csv has all."""
_DESCRIBED = ("variant", "size", "loss", "temperature", "seed", "fold")  # by `Trial.describe`
_STYLE = "h3 { margin-top: 1.8rem; } .failures code { white-space: pre-wrap; }\n"


@dataclass(frozen=True)
class SweepReport:
    """What the page shows.

    trials   by name;  outcome: their results and errors so far
    rule     how a temperature is chosen, one of RULES
    compare  whether to compare the settings with the first
    data     facts about the data, by name
    """

    title: str
    command: str
    trials: Mapping[str, Trial]
    outcome: Outcome
    rule: str
    compare: bool
    data: Mapping[str, str]

    @property
    def results(self) -> list[dict[str, Any]]:
        """Without those of teachers that were trained in the folds."""
        return teachers_and_others(self.outcome.results.values())[1]

    @property
    def teachers(self) -> list[dict[str, Any]]:
        """The results of teachers that were trained in the folds."""
        return teachers_and_others(self.outcome.results.values())[0]

    @property
    def differing(self) -> list[str]:
        """The options that are not the same in all trials but the teachers."""
        options = [asdict(trial) for trial in self.trials.values() if not trial.is_teacher]
        return [name for name in option_names() if len({str(own[name]) for own in options}) > 1]


def render_page(report: SweepReport) -> str:
    """The page, as HTML that is also well-formed XML.  Every text from outside is escaped."""
    parts = (
        _header(report),
        _scores(report),
        _teachers(report),
        _differences(report),
        _choice(report),
        _failures(report),
        _trials(report),
        _reproduce(report),
        f"<footer>Written by tinycnn {escape(__version__)}.</footer>",
    )
    return report_page(report.title, "\n".join(filter(None, parts)), _STYLE)


def _header(report: SweepReport) -> str:
    n_done, n_failed = len(report.outcome.results), len(report.outcome.failures)
    n_missing = len(report.trials) - n_done - n_failed
    counts = [f"{n_done:,} of {len(report.trials):,} trials have a result"]
    counts += [f"{n_failed:,} failed"] if n_failed else []
    counts += [f"{n_missing:,} have not been run here yet"] if n_missing else []
    return (
        f'<header>\n<p class="eyebrow">Sweep report</p>\n<h1>{escape(report.title)}</h1>\n'
        f"<p>{', '.join(counts)}.</p>\n</header>"
    )


def _table(rows: Sequence[Sequence[str]], n_texts: int = 1) -> str:
    """rows: the first has the names of the columns; plain text."""
    header, *others = [[escape(cell).replace("+-", "± ") for cell in row] for row in rows]
    return table("runs", header, others, n_texts=n_texts)


def _scores(report: SweepReport) -> str:
    if not report.results:
        return section("Accuracy", "No trial has a result yet.")
    images = "test" if report.results[0]["test"] else "validation"
    lede = (
        f"Mean accuracy on the {images} images in %, ± half its 95 % interval over seeds and "
        "folds, and the number of trials in parentheses."
    )
    content = []
    for number, (title, cells) in enumerate(grouped_scores(report.results).items(), start=1):
        content.append(f"<h3>{escape(title)}</h3>" if title else "")
        content.append(_curves(f"curves-{number}", cells))
        content.append(_table(score_rows(cells)))
    return section("Accuracy", lede, *filter(None, content))


def _teachers(report: SweepReport) -> str:
    rows = teacher_rows(report.teachers)
    if not rows:
        return ""
    lede = (
        "Each was trained on the training images of its fold: the images that it is measured on "
        "here had no influence on it."
    )
    return section("Teachers trained in the folds", lede, _table(rows, n_texts=2))


def _curves(chart_id: str, cells: Cells) -> str:
    """Accuracy by temperature, a line for each size; '' for fewer than two temperatures."""
    temperatures = sorted({t for _, t in cells if isinstance(t, float)})
    if len(temperatures) < 2:
        return ""
    series, without = [], []
    for size in sizes_in_order(cells):
        means = [_mean(cells.get((size, t))) for t in temperatures]
        series.append(Series(f"size {size}", temperatures, means))
        if (size, None) in cells:
            level = [_mean(cells[size, None])] * len(temperatures)
            without.append(Series(f"{size}, no teacher", temperatures, level))
    lines = [*series, *without]
    description = "; ".join(
        f"{one.name}: " + ", ".join(f"{100 * y:.1f} % at t={x:g}" for x, y in one.points())
        for one in lines
    )
    title = "Accuracy by temperature"
    chart = line_chart(chart_id, title, description, lines, "accuracy, %", True, x=TEMPERATURES)
    return f'<div class="charts"><figure>{chart}</figure></div>'


def _mean(values: Sequence[float] | None) -> float:
    return mean_and_interval(values)[0] if values else math.nan


def _differences(report: SweepReport) -> str:
    rows = difference_rows(report.results) if report.compare else []
    if not rows:
        return ""
    lede = (
        "Differences in accuracy to the first setting, in points. Only trials with the same seed "
        "and fold are subtracted."
    )
    return section("Compared with the first setting", lede, _table(rows, n_texts=2))


def _choice(report: SweepReport) -> str:
    rows = choice_rows(report.results, report.rule)
    if not rows:
        return ""
    by = "the validation images" if report.rule == "validation" else "the reported accuracy"
    lede = f"The temperature is chosen by {by}, and this is the accuracy then."
    if is_optimistic(report.results, report.rule):
        lede += " It is chosen by the score that is reported, so that score is a little too high."
    return section("Chosen temperature", lede, _table(rows, n_texts=len(rows[0])))


def _failures(report: SweepReport) -> str:
    if not report.outcome.failures:
        return ""
    lede = (
        "The same command leaves these as they are, unless it is told to run failed trials again."
    )
    rows = [
        [escape(report.trials[name].describe()), f"<code>{escape(error)}</code>", escape(name)]
        for name, error in list(report.outcome.failures.items())[:MAX_TRIALS]
    ]
    return section(
        "Failed trials", lede, table("failures", ["trial", "error", "name"], rows, "", 3)
    )


def _trials(report: SweepReport) -> str:
    differing = [name for name in report.differing if name not in _DESCRIBED]
    header = ["trial", *differing, "validation accuracy", "test accuracy", "best epoch"]
    rows = [[*header, "parameters", "seconds"]]
    for name, trial in list(report.trials.items())[:MAX_TRIALS]:
        options, result = asdict(trial), report.outcome.results.get(name)
        own = [trial.describe(), *(_shown(option, options[option]) for option in differing)]
        if result is None:
            state = "failed" if name in report.outcome.failures else "not run"
            rows.append([*own, state, *["–"] * 4])
        else:
            scores = [_percent(result[part]) for part in ("validation", "test")]
            numbers = f"{result['best_epoch']} {result['n_parameters']:,} {result['seconds']:.1f}"
            rows.append([*own, *scores, *numbers.split()])
    lede = "summary.csv has the same with all options."
    if len(report.trials) > MAX_TRIALS:
        lede = f"The first {MAX_TRIALS:,} of {len(report.trials):,} trials. summary.csv has all."
    listed = f"<details><summary>All as numbers</summary>{_table(rows)}</details>"
    return section("Trials", lede, listed)


def _percent(scores: Mapping[str, Any] | None) -> str:
    return "–" if scores is None else f"{100 * scores['accuracy']:.1f} %"


def _shown(option: str, value: Any) -> str:
    if value is None:
        return "–"
    return temperature_text(value) if option == "temperature" else str(value)


def _reproduce(report: SweepReport) -> str:
    same: dict[str, str] = {}
    for trial in report.trials.values():
        if not trial.is_teacher:
            options = asdict(trial)
            same = {n: _shown(n, options[n]) for n in option_names() if n not in report.differing}
            break
    return section(
        "Reproduce",
        "",
        f"<pre><code>{escape(report.command)}</code></pre>",
        f'<div class="reproduce">{facts_table(same, "Options of every trial")}'
        f"{facts_table(report.data, 'Data')}</div>",
    )
