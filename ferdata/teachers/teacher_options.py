"""The options of commands that read a teacher's soft labels: arguments of `load_teachers`."""

from __future__ import annotations

from ferdata.teachers.soft_labels import CROPS, EXTRA_CLASSES
from tinycnn.ground.argument_options import ArgumentOption

EXTRA_CLASSES_OPTION = ArgumentOption(
    "extra_classes",
    "--extra-classes",
    "if the teacher has a class that the data set lacks: stop with an error; leave the class out "
    "(drop); or also divide the other probabilities by their sum (default: error)",
    {"choices": EXTRA_CLASSES},
)

OPTIONS = (
    EXTRA_CLASSES_OPTION,
    ArgumentOption(
        "crops",
        "--crops",
        "if the teacher saw several crops of each image: stop with an error, or average its "
        "outputs (default: error)",
        {"choices": CROPS[:2]},
    ),
)
