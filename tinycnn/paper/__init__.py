"""The paper's experiments, repeated on any faces, and which of its claims the results support.

published.py  the paper's results, with their source
plan.py       the training runs that are needed, and those that fit into a budget of time
cost.py       how long they take on this machine; how long a network takes for an image
scores.py     results by what was trained; intervals of differences over folds and seeds
claims.py     claims and verdicts: holds, does not hold, cannot be told
inside.py     where networks look, how confident they are, which confusions a teacher resolves
study.py      the plan and all results, with tables.py and figures.py: ours beside the paper's
page.py       the html page of a study, and writing all its files

This package knows sweeps and networks; examples/reproduce_paper.py gives it the faces.
"""

from .claims import Claim, Measure, judged
from .cost import Costs, latencies, measure
from .inside import Inside, look_inside
from .page import write_study
from .plan import Plan, budget_s, fitted, from_json, ladder, scaled_down, unlike_the_paper
from .scores import Interval, Scores, interval
from .study import Study

__all__ = [
    "Claim",
    "Costs",
    "Inside",
    "Interval",
    "Measure",
    "Plan",
    "Scores",
    "Study",
    "budget_s",
    "fitted",
    "from_json",
    "interval",
    "judged",
    "ladder",
    "latencies",
    "look_inside",
    "measure",
    "scaled_down",
    "unlike_the_paper",
    "write_study",
]
