"""A training run as an object: its options, the run itself, and what it leaves in its folder.

from tinycnn.run import TrainingData, TrainingOptions, TrainingRun
data = TrainingData(batches, classes, validation)
records = TrainingRun(TrainingOptions(epochs=8), data, "runs/mine").train()
"""

# `import X as X` marks X as a public name of this package
from ..checkpoint import ARITHMETIC_VERSION as ARITHMETIC_VERSION
from .folder import RunConfig as RunConfig
from .folder import RunFolderError as RunFolderError
from .folder import check_unused as check_unused
from .folder import read_config as read_config
from .history import History as History
from .history import has_begun as has_begun
from .losses_and_schedules import LOSSES as LOSSES
from .losses_and_schedules import NO_TEACHER as NO_TEACHER
from .losses_and_schedules import SCHEDULES as SCHEDULES
from .losses_and_schedules import make_loss as make_loss
from .losses_and_schedules import make_schedule as make_schedule
from .options import RECIPES as RECIPES
from .options import TrainingOptions as TrainingOptions
from .results import FinishedRun as FinishedRun
from .training import TrainingData as TrainingData
from .training import TrainingRun as TrainingRun
