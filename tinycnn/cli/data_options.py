"""The options about the faces, of every command that takes a data set."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import ferdata
from ferdata.sources import dataset_options
from ferdata.teachers import teacher_options

from ..ground.argument_options import add_argument_options, given_arguments
from ..ground.command_line import CannotError, positive
from ..ground.messages import plain
from ..ground.output_files import reads, refuse_inputs
from ..ground.progress import ProgressBar

BUILT_IN = "the built-in faces are drawn, and have labels, not votes"
AS_BUILT_IN = ("labels", "error")
"""Values that are true of the built-in faces, and so are not refused with them."""


@dataclass
class DataOptions(argparse.Namespace):
    """The options; those that are not given are None."""

    data: str | None = None
    teacher: list[str] | None = None
    rows: int | None = None
    # those of ferdata.teachers.teacher_options
    extra_classes: str | None = None
    crops: str | None = None
    # those of ferdata.sources.dataset_options
    source: str | None = None
    protocol: str | None = None
    unlabelled: bool | None = None
    spectrum: str | None = None
    illumination: str | None = None
    images: str | None = None
    views: str | None = None
    splits_from: str | None = None
    classes: tuple[str, ...] | None = None
    root: str | None = None
    path_column: str | None = None
    label_column: str | None = None
    subject_column: str | None = None
    separator: str | None = None
    votes: str | None = None
    targets: str | None = None
    cache: bool | None = None
    framing: str | None = None
    no_face: str | None = None
    workers: int | None = None


def add_data_options(
    parser: argparse.ArgumentParser, description: str | None = None
) -> argparse._ArgumentGroup:
    """Add a group with the options of DataOptions."""
    data = parser.add_argument_group("data", description)
    reads(
        data.add_argument(
            "--data",
            metavar="PATH",
            help="a data set that ferdata.open can read: FER2013 (fer2013.csv, .csv.gz, .zip or "
            "icml_face_data.csv), a folder of CK+, Oulu-CASIA, RAF-DB or JAFFE, a folder with one "
            "subfolder per class, a CSV list of images, ... (default: built-in faces)",
        )
    )
    dataset_options.add_dataset_options(data)
    reads(
        data.add_argument(
            "--teacher",
            metavar="FILE",
            nargs="+",
            help="the teacher's soft labels, .npz or .csv (the format: python -m pydoc "
            "ferdata.teachers.soft_labels); the probabilities of several files are averaged "
            "(default: with the built-in faces their own teacher, with --data none)",
        )
    )
    add_argument_options(data, teacher_options.OPTIONS)
    data.add_argument(
        "--rows",
        metavar="N",
        type=positive,
        help="use only the first N training images, for a quick trial (default: all)",
    )
    return data


def check_targets(args: DataOptions) -> None:
    """Fill in --targets.  Raise CannotError for options that do not fit the data set."""
    if args.data is None:
        for option in dataset_options.OPTIONS:
            if getattr(args, option.attribute, None) not in (None, *AS_BUILT_IN):
                raise CannotError(f"{option.flag} needs --data: {BUILT_IN}")
    if not args.teacher:
        for option in teacher_options.OPTIONS:
            if getattr(args, option.attribute, None) not in (None, "error"):
                raise CannotError(f"{option.flag} needs --teacher")
    if args.data and args.targets is None:
        args.targets = "votes" if args.votes else "labels"
    if args.data and not args.votes and args.targets != "labels" and Path(args.data).is_dir():
        return  # it may hold votes itself; ferdata says so if it does not
    if args.data and (args.targets == "labels") == bool(args.votes):
        raise CannotError(
            f"--targets {args.targets} needs --votes fer2013new.csv"
            if args.targets != "labels"
            else "--targets labels does not use --votes: give only one of the two options"
        )


def check_folder(args: DataOptions, folder: str) -> None:
    """Raise CannotError if the results cannot go to `folder`, because it is read or lies in a
    folder that is."""
    refuse_inputs(folder, filter(None, (args.data, args.root, args.votes, *(args.teacher or ()))))


def load_teachers(
    args: DataOptions, dataset: ferdata.FaceDataset
) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    """(values, flipped, notes): the soft labels of --teacher for each image of the data set; those
    for mirror images, or None; and sentences about what was changed."""
    how = given_arguments(args, teacher_options.OPTIONS)
    values, flipped, report = ferdata.load_teachers(args.teacher or (), dataset, **how)
    notes = []
    if report.percentages:
        notes.append("the teacher's rows sum to 100: they are read as percentages")
    if report.n_floored:
        notes.append(
            f"{report.n_floored:,} of the teacher's probabilities were below 1e-7 and were raised "
            "to 1e-7"
        )
    if report.dropped:
        notes.append(
            f"the teacher's {', '.join(report.dropped)} left out, as the data set does not use it; "
            f"in {report.n_mostly_dropped:,} images it had more than half of the probability"
        )
    for name, parts in report.merged.items():
        notes.append(f"the teacher's probabilities of {' and '.join(parts)} are added: {name}")
    if dataset.targets is not None or dataset.known_labels is not None:
        notes.append(_agreement(values, dataset))
    return values, flipped, [plain(note) for note in notes]


def _agreement(values: np.ndarray, dataset: ferdata.FaceDataset) -> str:
    """How often the teacher is right, as a sentence, with a warning if that is seldom."""
    from ferdata.teachers.agreement import LOW_AGREEMENT, share_of_agreement  # imports scipy

    labels = dataset.known_labels
    if labels is None:
        labels = np.full(len(dataset), -1)
    share, possible = share_of_agreement(values, labels, dataset.targets)
    told = f"the teacher agrees with {share:.0%} of your labels"
    if possible < 1:
        told += f", of {possible:.0%} that are possible, as the votes differ"
    if share < LOW_AGREEMENT * possible:
        told = f"warning: {told}; a student learns its mistakes too: train without it as well"
    return told


def open_faces(args: DataOptions, size_px: int) -> ferdata.TrainingFaces:
    """The whole data set, and what is to be trained on.  size_px: of the faces that are cut out of
    photos; faces that were cut already keep their size."""
    if args.data is None:
        with ProgressBar("drawing the built-in faces", "people") as progress:
            return ferdata.TrainingFaces(ferdata.default_faces(progress=progress), "labels", None)
    with ProgressBar(f"reading {Path(args.data).name}", "") as progress:
        return ferdata.open_training_faces(
            args.data, size_px=size_px, progress=progress, **dataset_options.dataset_arguments(args)
        )
