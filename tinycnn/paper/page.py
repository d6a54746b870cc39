"""The files of a study.

report.html         one page with all tables and figures, which needs no other file
figures/*.png       the figures;  tables/*.csv  the tables
trials-<split>.csv  a line for every training run, see `sweep.summary_csv`
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..explain.pictures import grey_picture, picture, shades
from ..ground._version import __version__
from ..ground.atomic_file import write_atomically
from ..ground.html_page import escape, facts_table, png_picture, section, table
from ..report.page import report_page
from ..sweep import summary_csv
from . import published
from .claims import FAILS, HOLDS, LEAST_EPOCHS, OPEN, UNTESTED, Claim
from .plan import MAIN_VARIANT, scaled_down, unlike_the_paper
from .study import Study
from .tables import Table, cell_text, csv_text

N_CONFUSIONS = 10
_FACE_PX = 96
_MARKS = {HOLDS: "✓", FAILS: "✗", OPEN: "?", UNTESTED: "–"}
_FIGURES = {
    "distillation": "Bars: accuracy by size, with and without a teacher",
    "temperature": "Lines: accuracy against temperature by size",
    "candidates": "Lines: accuracy by size for each variant and split",
    "speed": "Bars: microseconds per image by size",
    "reliability": "Accuracy against confidence, before and after",
    "confusions": "Confusion matrices, % of each class",
    "confusion-change": "Change of each cell with the teacher, points",
}
"""What each figure shows, for those who cannot see it."""
_STYLE = """
.verdict { font-weight: 650; white-space: nowrap; } .figure { display: block; width: 100%;
  max-width: 52rem; height: auto; margin: 0 0 1.4rem; background: #fff; border-radius: 4px; }
@media screen and (prefers-color-scheme: dark) { .figure {
  filter: invert(.92) hue-rotate(180deg); } }
.runs { margin: .2rem 0 1.75rem; } .notes { margin-top: 0; } header h3 { margin: 1.2rem 0 .2rem; }
section h3 { margin-top: 2rem; } .looks { display: flex; flex-wrap: wrap; gap: 1.2rem; padding: 0;
  list-style: none; } .looks img { display: block; margin-bottom: .3rem; border-radius: 3px; }
"""


RESULTS = ("report.html", "trials-*.csv", "tables", "figures")
"""What `write_study` writes, as patterns of names."""


def write_study(study: Study, folder: str | Path) -> Path:
    """Write every file; returns the path of the page.  Raises OSError if that is impossible."""
    folder = Path(folder)
    for name in ("figures", "tables"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for split, named in study.named.items():
        write_atomically(folder / f"trials-{split}.csv", summary_csv(named, study.outcomes[split]))
    tables = study.tables()
    for name, one in tables.items():
        write_atomically(folder / "tables" / f"{name}.csv", csv_text(one))
    for name, png in study.pictures.items():
        write_atomically(folder / "figures" / f"{name}.png", png)
    page = folder / "report.html"
    write_atomically(page, _page(study, tables))
    return page


def _page(study: Study, tables: dict[str, Table]) -> str:
    """report.html.  Every text that came from outside is escaped."""
    parts = [
        _header(study),
        _claims(study),
        _DISTILLATION.markup(study, tables),
        _TEMPERATURE.markup(study, tables),
        _TEACHERS.markup(study, tables),
        _CANDIDATES.markup(study, tables),
        _SPEED.markup(study, tables),
        _looks(study),
        _CALIBRATION.markup(study, tables),
        _confusions(study, tables),
        _reproduce(study),
        f"<footer>Written by tinycnn {escape(__version__)}.</footer>",
    ]
    return report_page(study.title, "\n".join(filter(None, parts)), _STYLE)


def _list(lines: Sequence[str]) -> str:
    return f'<ul class="notes">{"".join(f"<li>{escape(line)}</li>" for line in lines)}</ul>'


def _figure(study: Study, name: str) -> str:
    """The picture, or '' if it was not drawn."""
    if name not in study.pictures:
        return ""
    return png_picture(study.pictures[name], _FIGURES[name], "figure")


def _markup(shown: Table, n_texts: int, digits: int = 1) -> str:
    """A table; the first n_texts columns are texts."""
    cells = [[escape(cell_text(value, digits)) for value in row] for row in shown.rows]
    header = [escape(name) for name in shown.columns]
    return table("runs", header, cells, escape(shown.caption), n_texts)


def _header(study: Study) -> str:
    plan = study.plan
    scaled = scaled_down(plan, study.full)
    failed = sum(len(outcome.failures) for outcome in study.outcomes.values())
    done = sum(len(outcome.results) for outcome in study.outcomes.values())
    counts = f"{done:,} of {plan.n_trials:,} training runs"
    notes = [*study.notes]
    notes += [f"{failed} training runs failed; trials-*.csv says why"] if failed else []
    return (
        f'<header>\n<p class="eyebrow">The paper’s experiments, repeated</p>\n'
        f"<h1>{escape(study.title)}</h1>\n"
        f"<p>{escape(counts)}. Compared with {escape(published.SOURCE)}.</p>\n"
        f"<h3>Made smaller to fit the budget</h3>{_list(scaled or ['nothing'])}"
        f"<h3>Other differences from the paper</h3>{_list(unlike_the_paper(plan))}"
        + (f"<h3>Notes</h3>{_list(notes)}" if notes else "")
        + "</header>"
    )


def _verdict(verdict: str) -> str:
    return f'<span class="verdict">{_MARKS[verdict]} {verdict}</span>'


def _claims(study: Study) -> str:
    overview = table(
        "runs",
        ["Claim of the paper", "Verdict here"],
        [[escape(claim.text), _verdict(claim.verdict)] for claim in study.claims],
        n_texts=2,
    )
    lede = (
        "Some measures decide about a claim: it expects them above 0, or below. The claim holds if "
        "the 95 % intervals of all these measures are on the expected side of 0. It does not hold "
        "if one is on the other side. Otherwise it cannot be told. It is not tested if the "
        f"networks were trained for fewer than {LEAST_EPOCHS} epochs. Differences are taken within "
        "each fold and seed, then averaged over folds (with the correction of Nadeau and Bengio "
        "for folds that share training images). The paper gives no intervals; its numbers are "
        "computed from its tables in the same way."
    )
    if not study.plan.n_folds:
        lede += (
            " Here there are no folds. The intervals are over seeds: they are about training again "
            "on the same images, not about other people."
        )
    in_folds = bool(study.plan.n_folds)
    return section("Claims", lede, overview, *[_claim(one, in_folds) for one in study.claims])


def _claim(claim: Claim, in_folds: bool) -> str:
    if not claim.measures:
        verdict = f"{_verdict(claim.verdict)}: {escape(claim.missing)}."
        return f"<h3>{escape(claim.text)}</h3><p>{verdict}</p>"
    rows = []
    for measure in claim.measures:
        theirs = [(measure.paper or {}).get(name) for name in published.DATA_SETS]
        shown = [escape(cell_text(value)) for value in (measure.found, *theirs)]
        name = escape(measure.name).replace(" - ", " − ")
        decides = {1: "expected above 0", -1: "expected below 0", None: ""}[measure.sign]
        rows.append([name, decides, *shown, f"{measure.found.n}"])
    papers = [f"paper, {name}" for name in published.DATA_SETS]
    header = ["measure, points", "decides", "ours", *papers, "folds" if in_folds else "seeds"]
    why = claim.missing or claim.untested
    missing = f": {why}" if why else ""
    return (
        f"<h3>{escape(claim.text)}</h3><p>{_verdict(claim.verdict)}{escape(missing)}. "
        f'<span class="muted">{escape(claim.note)}</span></p>'
        + table("runs", header, rows, n_texts=2)
    )


@dataclass(frozen=True)
class _Section:
    """A section with tables and a figure; it is left out without tables.

    tables   what their names begin with;  lede: the text above them;  figure: its name
    n_texts, digits  of the tables, see `_markup`
    """

    tables: str
    title: str
    lede: str
    figure: str
    n_texts: int = 1
    digits: int = 1

    def markup(self, study: Study, tables: dict[str, Table]) -> str:
        shown = [
            _markup(one, self.n_texts, self.digits)
            for name, one in tables.items()
            if name.startswith(self.tables)
        ]
        figure = _figure(study, self.figure)
        return section(self.title, self.lede, figure, *shown) if shown else ""


_DISTILLATION = _Section(
    tables="distillation",
    title="With and without a teacher",
    lede="""The temperature is chosen by validation images that belong to each fold’s training
part. The columns “best reported” choose as the paper did, by the reported score, which is
optimistic. So are the paper’s own numbers: without a teacher -> with one.""",
    figure="distillation",
)
_TEMPERATURE = _Section(
    tables="temperature",
    title="Accuracy against temperature",
    lede="""~: read from the paper’s plots. The paper’s numbers without a teacher are not from the
runs in its table of candidates.""",
    figure="temperature",
    n_texts=2,
)
_TEACHERS = _Section(
    tables="teachers",
    title="The teacher of each fold",
    lede="""Each teacher was trained on the training images of its own fold: neither the fold’s
validation images nor its test images had any influence on it. Its students were trained on the same
images. Both are measured on the fold’s test images. The students’ numbers are means over the seeds;
“distilled” is at the temperature that the validation images choose.""",
    figure="teachers",
)
_CANDIDATES = _Section(
    tables="candidates",
    title="Candidates by size and split",
    lede="""v has no pooling; p1 has it after the first convolution, p2 after the second, p12 after
both. With random folds, people in the test images are also in the training images.""",
    figure="candidates",
    n_texts=2,
)
_SPEED = _Section(
    tables="speed",
    title="Speed",
    lede="""The paper used another processor, so the ratio is not due to the engine alone. Other
load on the machine raises the median; the lowest time is closest to that of an idle machine.""",
    figure="speed",
)
_CALIBRATION = _Section(
    tables="calibration",
    title="Calibration before and after scaling",
    lede="""Temperature scaling (one number, fitted on validation images) changes the confidence of
a network, but not the class that it names. Calibration error: the expected calibration error with
15 bins. A fitted temperature above 1 means that the network was too confident, below 1 that it was
not confident enough.""",
    figure="reliability",
    digits=2,
)


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
        f"{MAIN_VARIANT} {escape(study.inside.size)}, on the test images of each network. Top: the "
        "mean face of the class. Below: how strongly each pixel changes the logit of the image’s "
        "own class, |∂z/∂x| by backpropagation to the input, divided by its maximum over the image "
        "and averaged over the class; from white (least) to red (most). From top to bottom: "
        f"{escape(', '.join(means))}."
    )
    return section("Where the network looks", lede, f'<ol class="looks">{"".join(items)}</ol>')


def _confusions(study: Study, tables: dict[str, Table]) -> str:
    if study.inside is None or not study.inside.confusion:
        return ""
    figures = [_figure(study, "confusions"), _figure(study, "confusion-change")]
    if "confusions" not in tables:
        return section("Confusions", "", *figures)
    shown, n = tables["confusions"], len(study.inside.resolved)
    clear = sum(one.change.high < 0 for one in study.inside.resolved)
    lede = (
        f"The {min(N_CONFUSIONS, n)} of {n} confusions that the teacher reduces most, in % of the "
        f"images of the class. For {clear} of the {n} the interval of the change is below 0; if "
        f"the teacher had no effect, {n / 40:.1f} would be expected by chance."
    )
    best = _markup(replace(shown, rows=shown.rows[:N_CONFUSIONS]), 2)
    return section("Which confusions the teacher resolves", lede, *figures, best)


def _reproduce(study: Study) -> str:
    return section(
        "Reproduce",
        "",
        f"<pre><code>{escape(study.command)}</code></pre>",
        facts_table(study.facts, ""),
    )
