"""Many training runs that differ in a few options: on this machine, in shards, or on Dask.

from tinycnn import sweep
trials = sweep.grid(size=["XS", "XXS"], temperature=[2, 4, 8], loss=["none", "kd"], epochs=8)
outcome = sweep.run(trials, source, "sweeps/mine")
"""

from .cluster import run_on_cluster
from .curves import curves
from .differences import difference_table
from .folder import Outcome, SweepFolder, SweepFolderError
from .local import run
from .selection import choose, is_optimistic, mean_and_interval, score
from .table import choice_table, score_tables, summary_csv
from .trial import Parts, Source, Trial, grid, names, run_trial, shard
from .work import SweepError

__all__ = [
    "Outcome",
    "Parts",
    "Source",
    "SweepError",
    "SweepFolder",
    "SweepFolderError",
    "Trial",
    "choice_table",
    "choose",
    "curves",
    "difference_table",
    "grid",
    "is_optimistic",
    "mean_and_interval",
    "names",
    "run",
    "run_on_cluster",
    "run_trial",
    "score",
    "score_tables",
    "shard",
    "summary_csv",
]
