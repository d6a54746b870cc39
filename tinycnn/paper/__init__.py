"""The paper's experiments, repeated on any faces, and which of its claims the results support.

A `Plan` has the training runs that are needed.  `Scores` are their results, `judged` gives verdicts
on the claims, and a `Study` has everything on the page that `write_study` writes.
examples/reproduce_paper.py runs it all on faces.
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
