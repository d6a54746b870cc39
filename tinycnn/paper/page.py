"""`report.html` of a study: one page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._version import __version__
from ..explain.pictures import grey_picture, picture, shades
from ..ground.html_page import escape, png_data_uri, section
from ..report import report_page
from ..report_sections import facts_table, table
from . import published
from .claims import FAILS, HOLDS, OPEN, Claim
from .plan import MAIN_VARIANT, scaled_down, unlike_the_paper
from .study import Study
from .tables import Table, cell_text

N_CONFUSIONS = 10
_FACE_PX = 96
_MARKS = {HOLDS: "✓", FAILS: "✗", OPEN: "?"}
_STYLE = """
.verdict { font-weight: 650; white-space: nowrap; } .figure { display: block; width: 100%;
  max-width: 52rem; height: auto; margin: 0 0 1.4rem; background: #fff; border-radius: 4px; }
.runs { margin: .2rem 0 1.75rem; } .notes { margin-top: 0; } header h3 { margin: 1.2rem 0 .2rem; }
section h3 { margin-top: 2rem; } .looks { display: flex; flex-wrap: wrap; gap: 1.2rem; padding: 0;
  list-style: none; } .looks img { display: block; margin-bottom: .3rem; border-radius: 3px; }
"""


def render(study: Study) -> str:
    """The page; every text that came from outside is escaped."""
    tables = study.tables()
    parts = [
        _header(study),
        _claims(study),
        _distillation(study, tables),
        _temperature(study, tables),
        _candidates(study, tables),
        _speed(study, tables),
        _looks(study),
        _calibration(study, tables),
        _confusions(study, tables),
        _reproduce(study),
        f"<footer>Written by tinycnn {escape(__version__)}.</footer>",
    ]
    return report_page(study.title, "\n".join(filter(None, parts)), _STYLE)


def _list(lines: Sequence[str]) -> str:
    return f'<ul class="notes">{"".join(f"<li>{escape(line)}</li>" for line in lines)}</ul>'


def _figure(study: Study, name: str, alt: str) -> str:
    """The picture, or '' where it was not drawn."""
    if name not in study.pictures:
        return ""
    data = png_data_uri(study.pictures[name])
    return f'<img class="figure" src="{data}" alt="{escape(alt)}"/>'


def _markup(shown: Table, n_texts: int, digits: int = 1, rows: Sequence[Any] | None = None) -> str:
    cells = [
        [escape(cell_text(value, digits)) for value in row]
        for row in (shown.rows if rows is None else rows)
    ]
    header = [escape(name) for name in shown.columns]
    return table("runs", header, cells, escape(shown.caption), n_texts)


def _header(study: Study) -> str:
    plan = study.plan
    scaled = scaled_down(plan, study.full)
    failed = sum(len(outcome.failures) for outcome in study.outcomes.values())
    done = sum(len(outcome.results) for outcome in study.outcomes.values())
    counts = f"{done:,} of {plan.n_trials:,} trainings"
    notes = [*study.notes]
    notes += [f"{failed} trainings failed; trials-*.csv says why"] if failed else []
    return (
        f'<header>\n<p class="eyebrow">The paper’s experiments, run again</p>\n'
        f"<h1>{escape(study.title)}</h1>\n"
        f"<p>{escape(counts)}. Set beside {escape(published.SOURCE)}.</p>\n"
        f"<h3>Scaled down by the budget</h3>{_list(scaled or ['nothing'])}"
        f"<h3>Otherwise unlike the paper</h3>{_list(unlike_the_paper(plan))}"
        + (f"<h3>To know</h3>{_list(notes)}" if notes else "")
        + "</header>"
    )


def _verdict(verdict: str) -> str:
    return f'<span class="verdict">{_MARKS[verdict]} {verdict}</span>'


def _claims(study: Study) -> str:
    overview = table(
        "runs",
        ["Claim of the paper", "Here it"],
        [[escape(claim.text), _verdict(claim.verdict)] for claim in study.claims],
        n_texts=2,
    )
    lede = (
        "A claim holds where the 95 % intervals of all measures that decide it lie on the side of "
        "0 that it expects, does not hold where one lies on the other side; else it cannot be "
        "told. Differences are taken within each fold and seed, then over folds (with the "
        "correction of Nadeau and Bengio for folds that share training images). The paper gives no "
        "intervals; its numbers are computed from its tables in the same way."
    )
    if not study.plan.n_folds:
        lede += (
            " Here there are no folds: the intervals are over seeds, and speak of training again "
            "on the same images, not of other people."
        )
    in_folds = bool(study.plan.n_folds)
    return section("Claims", lede, overview, *(_claim(one, in_folds) for one in study.claims))


def _claim(claim: Claim, in_folds: bool) -> str:
    if not claim.measures:
        verdict = f"{_verdict(claim.verdict)}: {escape(claim.missing)}."
        return f"<h3>{escape(claim.text)}</h3><p>{verdict}</p>"
    rows = []
    for measure in claim.measures:
        theirs = [(measure.paper or {}).get(name) for name in published.DATA_SETS]
        decides = {1: "expected above 0", -1: "expected below 0", None: ""}[measure.sign]
        shown = [cell_text(value) for value in (measure.found, *theirs)]
        rows.append(
            [
                escape(measure.name).replace(" - ", " − "),
                decides,
                *map(escape, shown),
                f"{measure.found.n}",
            ]
        )
    theirs = [f"paper, {name}" for name in published.DATA_SETS]
    header = ["points", "decides", "ours", *theirs, "folds" if in_folds else "seeds"]
    missing = f": {claim.missing}" if claim.missing else ""
    return (
        f"<h3>{escape(claim.text)}</h3><p>{_verdict(claim.verdict)}{escape(missing)}. "
        f'<span class="muted">{escape(claim.note)}</span></p>'
        + table("runs", header, rows, n_texts=2)
    )


def _distillation(study: Study, tables: dict[str, Table]) -> str:
    lede = (
        "The temperature is chosen on validation images inside each fold’s training part. The "
        "paper’s own way, best on the reported score, stands beside it and is optimistic; so are "
        "the paper’s figures, none -> best."
    )
    figure = _figure(study, "distillation", "Bars: accuracy by size, with and without a teacher")
    return section("Distillation against none", lede, figure, _markup(tables["distillation"], 1))


def _temperature(study: Study, tables: dict[str, Table]) -> str:
    if "temperature" not in tables:
        return ""
    lede = (
        "~: read off the paper’s plots. Its column without a teacher is of other runs than its "
        "candidates."
    )
    figure = _figure(study, "temperature", "Lines: accuracy against temperature by size")
    return section("Accuracy against temperature", lede, figure, _markup(tables["temperature"], 2))


def _candidates(study: Study, tables: dict[str, Table]) -> str:
    lede = (
        "v has no pooling, p1 and p2 have it behind the first or the second convolution, p12 "
        "behind both. On random folds the people who are measured on were trained on too."
    )
    shown = [_markup(one, 2) for name, one in tables.items() if name.startswith("candidates")]
    figure = _figure(study, "candidates", "Lines: accuracy by size for each variant and split")
    return section("Candidates by size, and kinds of split", lede, figure, *shown)


def _speed(study: Study, tables: dict[str, Table]) -> str:
    if "speed" not in tables:
        return ""
    lede = (
        "Another processor than the paper’s, so the ratio is not the engine’s alone. What else the "
        "machine is doing lengthens the median; the lowest is nearest to an idle machine."
    )
    figure = _figure(study, "speed", "Bars: microseconds an image by size")
    return section("Speed", lede, figure, _markup(tables["speed"], 1))


def _looks(study: Study) -> str:
    if study.inside is None or not study.inside.gradients:
        return ""
    items = []
    means = {name: sums.means() for name, sums in study.inside.gradients.items()}
    counts = next(iter(study.inside.gradients.values())).counts
    for k, class_ in enumerate(study.classes):
        if not counts[k]:
            continue
        face = np.rint(next(iter(means.values()))[1][k]).astype(np.uint8)[..., None]
        shown = grey_picture(face, f"mean face of {class_}", _FACE_PX)
        for name, (gradient, _) in means.items():
            alt = f"{class_}, {name}: mean gradient of its logit"
            contrast = gradient[k] - gradient[k].min()
            shown += picture(shades(contrast), alt, _FACE_PX)
        items.append(f"<li>{shown}<small>{escape(class_)} ({counts[k]:,})</small></li>")
    lede = (
        f"{MAIN_VARIANT} {escape(study.inside.size)}, on the images that each network is measured "
        "on. Top: the mean face of the class. Below: how strongly each pixel moves the logit of "
        "the image’s own class, |∂z/∂x| by backpropagation to the input, scaled to each image’s "
        "largest and averaged over the class; from white (least) to red (most). From top to "
        "bottom: "
        f"{escape(', '.join(means))}."
    )
    return section("Where the network looks", lede, f'<ol class="looks">{"".join(items)}</ol>')


def _calibration(study: Study, tables: dict[str, Table]) -> str:
    if "calibration" not in tables:
        return ""
    lede = (
        "Temperature scaling (one number, fitted on validation images) changes how sure a network "
        "says it is, not what it says. Calibration error: expected, 15 bins. A fitted temperature "
        "above 1 means too sure before, below 1 too timid."
    )
    figure = _figure(study, "reliability", "Share right against confidence, before and after")
    shown = _markup(tables["calibration"], 1, digits=2)
    return section("Calibration before and after scaling", lede, figure, shown)


def _confusions(study: Study, tables: dict[str, Table]) -> str:
    if study.inside is None or not study.inside.confusion:
        return ""
    figures = [
        _figure(study, "confusions", "Confusion matrices, % of each class"),
        _figure(study, "confusion-change", "Change of each cell with the teacher, points"),
    ]
    if "confusions" not in tables:
        return section("Confusions", "", *figures)
    shown, clear = tables["confusions"], 0
    for one in study.inside.resolved:
        clear += one.change.high < 0
    n = len(study.inside.resolved)
    lede = (
        f"The {min(N_CONFUSIONS, n)} of {n} confusions that the teacher lessens most, in % of the "
        f"images of the class. For {clear} of the {n} the interval of the change lies below 0; of "
        f"{n} intervals of nothing, {n / 40:.1f} would by chance."
    )
    best = _markup(shown, 2, rows=shown.rows[:N_CONFUSIONS])
    return section("Which confusions the teacher resolves", lede, *figures, best)


def _reproduce(study: Study) -> str:
    return section(
        "Reproduce",
        "",
        f"<pre><code>{escape(study.command)}</code></pre>",
        facts_table(study.facts, ""),
    )
