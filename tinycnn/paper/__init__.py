"""The paper's experiments, run again on any faces, and what they say of its claims.

published.py  the paper's own figures, with their source
plan.py       which trainings are needed, and what a budget of time makes of them
cost.py       what they take on this machine; how long a network needs for an image
scores.py     results by what was trained; intervals paired over folds and seeds
claims.py     claims and verdicts: holds, does not hold, cannot be told
inside.py     where networks look, how sure they are, which confusions a teacher resolves
tables.py figures.py page.py   ours beside the paper's, as csv, png and html;  study.py  writes them

It knows sweeps and networks; the faces come from outside: examples/reproduce_paper.py joins them.
"""

from .claims import Claim, Measure, judged
from .cost import Costs, latencies, measure
from .inside import Inside, look_inside
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
]
