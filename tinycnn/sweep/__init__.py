"""Many training runs that differ in a few options: on this machine, in shards, or on Dask.

from tinycnn import sweep
trials = sweep.grid(size=["XS", "XXS"], temperature=[2, 4, 8], loss=["none", "kd"], epochs=8)
outcome = sweep.run(trials, source, "sweeps/mine")
"""

# `import X as X` marks X as a public name of this package
from .cluster import run_on_cluster as run_on_cluster
from .curves import curves as curves
from .differences import difference_table as difference_table
from .folder import Outcome as Outcome
from .folder import SweepFolder as SweepFolder
from .folder import SweepFolderError as SweepFolderError
from .folder import is_sweep_folder as is_sweep_folder
from .folder import refuse_foreign_folder as refuse_foreign_folder
from .local import run as run
from .page import SweepReport as SweepReport
from .page import render_page as render_page
from .selection import choose as choose
from .selection import is_optimistic as is_optimistic
from .selection import mean_and_interval as mean_and_interval
from .selection import score as score
from .table import choice_table as choice_table
from .table import score_tables as score_tables
from .table import summary_csv as summary_csv
from .table import teacher_table as teacher_table
from .table import teachers_and_others as teachers_and_others
from .teacher_networks import DEFAULT_TEACHER as DEFAULT_TEACHER
from .teacher_networks import LEAST_TEACHER_EPOCHS as LEAST_TEACHER_EPOCHS
from .teacher_networks import TEACHER_NETWORKS as TEACHER_NETWORKS
from .teacher_networks import teacher_epochs as teacher_epochs
from .trial import Parts as Parts
from .trial import Source as Source
from .trial import Trial as Trial
from .trial import grid as grid
from .trial import names as names
from .trial import run_trial as run_trial
from .trial import shard as shard
from .trial import with_teachers as with_teachers
from .work import SweepError as SweepError
