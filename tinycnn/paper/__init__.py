"""The paper's experiments, repeated on any faces, and which of its claims the results support.

A `Plan` has the training runs that are needed.  `Scores` are their results, `judged` gives verdicts
on the claims, and a `Study` has everything on the page that `write_study` writes.
examples/reproduce_paper.py runs it all on faces.
"""

# `import X as X` marks X as a public name of this package
from .claims import Claim as Claim
from .claims import Measure as Measure
from .claims import judged as judged
from .cost import Costs as Costs
from .cost import latencies as latencies
from .cost import measure as measure
from .inside import Inside as Inside
from .inside import look_inside as look_inside
from .page import RESULTS as RESULTS
from .page import write_study as write_study
from .plan import Plan as Plan
from .plan import budget_s as budget_s
from .plan import fitted as fitted
from .plan import from_json as from_json
from .plan import ladder as ladder
from .plan import scaled_down as scaled_down
from .plan import unlike_the_paper as unlike_the_paper
from .scores import Interval as Interval
from .scores import Scores as Scores
from .scores import interval as interval
from .study import Study as Study
