"""The options of every command that takes a data set: one for each argument of `ferdata.open`.

A test compares them with the signatures of `open` and of the sources.
"""

from __future__ import annotations

import argparse
from typing import Any

from ferdata.class_choice import class_choice
from ferdata.labels import LabelError
from ferdata.photos.faces import FRAMINGS
from ferdata.photos.preprocess import ON_MISSING
from ferdata.sources import ck_plus, dataset_loading, fer2013, fer2013_folders, kdef, oulu_casia
from ferdata.sources.list_columns import SEPARATORS
from tinycnn.ground.argument_options import (
    ArgumentOption,
    add_argument_options,
    given_arguments,
)
from tinycnn.ground.command_line import positive

_PROTOCOLS = tuple(dict.fromkeys((*ck_plus.PROTOCOLS, *oulu_casia.PROTOCOLS)))
NAMES = "NAME,NAME,..."
"""What the help calls a list of names; in a file, it may be a list of strings."""

_NO_FRAMING = "none"
"""`--framing none` is framing=None."""


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    try:
        class_choice(names)
    except LabelError as error:
        raise argparse.ArgumentTypeError(f"{text[:80]!r}: {error}") from None
    return names


OPTIONS = (
    ArgumentOption(
        "source",
        "--source",
        f"which data set it is: {', '.join(dataset_loading.SOURCES)} (default: recognised by its "
        "files)",
        {"choices": dataset_loading.SOURCES, "metavar": "NAME"},
    ),
    ArgumentOption(
        "protocol",
        "--protocol",
        "CK+ and Oulu-CASIA: which of the images to use: those of the paper, or the last frame or "
        "the last three of each labelled sequence (default: paper; for CK+ in class folders all)",
        {"choices": _PROTOCOLS},
    ),
    ArgumentOption(
        "unlabelled",
        "--unlabelled",
        "CK+: also take the last frames of sequences without a label (default: no)",
        {"action": "store_const", "const": True},
    ),
    ArgumentOption(
        "spectrum",
        "--spectrum",
        "Oulu-CASIA: visible light or near infrared (default: VL)",
        {"choices": oulu_casia.SPECTRA},
    ),
    ArgumentOption(
        "illumination",
        "--illumination",
        "Oulu-CASIA: the light (default: Strong)",
        {"choices": oulu_casia.ILLUMINATIONS},
    ),
    ArgumentOption(
        "images",
        "--images",
        "Oulu-CASIA: the photos, or the faces that its authors cut out (default: whichever are "
        "there)",
        {"choices": oulu_casia.IMAGES},
    ),
    ArgumentOption(
        "views",
        "--views",
        "KDEF: faces that look straight into the camera, half profiles as well, or all (default: "
        "straight)",
        {"choices": tuple(kdef.VIEWS)},
    ),
    ArgumentOption(
        "split",
        "--splits-from",
        "FER2013 as folders: what tells an image's split, its folder or its file name (default: "
        "folders)",
        {"choices": fer2013_folders.SPLITS},
    ),
    ArgumentOption(
        "classes",
        "--classes",
        "the classes to use, in label order: NAME, or FROM=NAME for what the data call FROM; "
        "several FROM may have one NAME. Images of other classes are left out and counted. If the "
        "data have numbers for classes, NAME,NAME,... are the names of 0, 1, ...; to use some of "
        "them: 3=happy,4=sad (default: all classes; those of class folders and lists in "
        "alphabetical order, if all are names of emotions)",
        {"metavar": NAMES, "type": _names},
    ),
    ArgumentOption(
        "root",
        "--root",
        "csv lists, AffectNet's too: the folder that their paths are relative to (default: the "
        "folder of the list)",
        {"metavar": "FOLDER"},
        reads=True,
    ),
    ArgumentOption(
        "path_column",
        "--path-column",
        "csv lists: the column with the paths, a name in the header or a number, from 1 (default: "
        "guessed)",
        {"metavar": "COLUMN"},
    ),
    ArgumentOption(
        "label_column",
        "--label-column",
        "csv lists: the column with the labels (default: guessed)",
        {"metavar": "COLUMN"},
    ),
    ArgumentOption(
        "subject_column",
        "--subject-column",
        "csv lists: the column that says who is shown; none: no column does (default: guessed)",
        {"metavar": "COLUMN"},
    ),
    ArgumentOption(
        "separator",
        "--separator",
        f"csv lists: what is between two fields: {', '.join(SEPARATORS)} or one character "
        "(default: guessed)",
        {"metavar": "CHARACTER"},
    ),
    ArgumentOption(
        "votes",
        "--votes",
        "FER2013's csv: the votes of FER+, fer2013new.csv (default: no votes)",
        {"metavar": "FILE"},
        reads=True,
    ),
    ArgumentOption(
        "target",
        "--targets",
        "FER2013's csv: what becomes the label: the distribution of the FER+ votes, the class with "
        "most votes (plurality), the class with more than half of the votes (majority), or the "
        "csv's own label; images without one are left out (default: votes with --votes, else "
        "labels; for the folders of FER+'s program plurality)",
        {"choices": fer2013.TARGETS},
    ),
    ArgumentOption(
        "cache",
        "--cache",
        "FER2013's csv: keep a parsed copy in ferdata's cache folder (default: yes)",
        {"action": argparse.BooleanOptionalAction},
    ),
    ArgumentOption(
        "framing",
        "--framing",
        "how faces are cut out of photos; none: the whole image is resized (default: paper for "
        "CK+, Oulu-CASIA, JAFFE and KDEF, fer2013 for ExpW, AffectNet's csv and SFEW's film "
        "frames, none for the others, which hold cropped faces)",
        {"choices": (*FRAMINGS, _NO_FRAMING)},
    ),
    ArgumentOption(
        "on_missing",
        "--no-face",
        "if no face is found in a photo: stop with an error, or take the whole photo for the face "
        "(default: error)",
        {"choices": ON_MISSING},
    ),
    ArgumentOption(
        "n_workers",
        "--workers",
        "threads that read photos (default: one per usable core)",
        {"metavar": "N", "type": positive},
    ),
)


def add_dataset_options(parser: argparse._ActionsContainer) -> None:
    """Add OPTIONS to a parser or to a group of it."""
    add_argument_options(parser, OPTIONS)


def dataset_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `ferdata.open` that were given as options."""
    given = given_arguments(args, OPTIONS)
    if given.get("framing") == _NO_FRAMING:
        given["framing"] = None
    return given
