"""The options about the faces, of every command that takes a data set."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import ferdata

from ..ground.command_line import CannotError, positive
from ..ground.progress import ProgressBar


@dataclass
class DataOptions(argparse.Namespace):
    """The options, with their defaults."""

    data: str | None = None
    votes: str | None = None
    no_face: str = "error"
    teacher: list[str] | None = None
    targets: str | None = None
    rows: int | None = None


def add_data_options(
    parser: argparse.ArgumentParser, description: str | None = None
) -> argparse._ArgumentGroup:
    """Add a group with the options of DataOptions."""
    data = parser.add_argument_group("data", description)
    data.add_argument(
        "--data",
        metavar="PATH",
        help="a data set that ferdata.open can read: FER2013 (fer2013.csv, .csv.gz, .zip or "
        "icml_face_data.csv), a folder of CK+, Oulu-CASIA, RAF-DB or JAFFE, a folder with one "
        "subfolder per class, a CSV list of images, ... (default: built-in faces)",
    )
    data.add_argument(
        "--votes",
        metavar="FILE",
        help="with FER2013, the FER+ votes: fer2013new.csv (default: no votes)",
    )
    data.add_argument(
        "--no-face",
        choices=("error", "whole"),
        help="if no face is found in a photo: stop with an error, or use the whole photo (default: "
        "error)",
    )
    data.add_argument(
        "--teacher",
        metavar="FILE",
        nargs="+",
        help="the teacher's soft labels, .npz or .csv (docs/teacher.md describes the format); the "
        "probabilities of several files are averaged (default: with the built-in faces their own "
        "teacher, with --data none)",
    )
    data.add_argument(
        "--targets",
        choices=("votes", "plurality", "majority", "labels"),
        help="targets of the hard part of the loss: the distribution of the FER+ votes, the class "
        "with most votes (plurality), the class with more than half of the votes (majority), or "
        "the labels in the data set; images without such a target are left out (default: votes "
        "with --votes, else labels)",
    )
    data.add_argument(
        "--rows",
        metavar="N",
        type=positive,
        help="use only the first N training images, for a quick trial (default: all)",
    )
    return data


def check_targets(args: DataOptions) -> None:
    """Fill in --targets.  Raise CannotError for --votes and --targets that do not fit."""
    if args.data is None and (args.votes or args.targets not in (None, "labels")):
        raise CannotError(
            "--votes and --targets need --data: the built-in faces have labels, not votes"
        )
    if args.data and args.targets is None:
        args.targets = "votes" if args.votes else "labels"
    if args.data and (args.targets == "labels") == bool(args.votes):
        raise CannotError(
            f"--targets {args.targets} needs --votes fer2013new.csv"
            if args.targets != "labels"
            else "--targets labels does not use --votes: give only one of the two options"
        )


def open_faces(args: DataOptions) -> ferdata.TrainingFaces:
    """The whole data set, and what is to be trained on."""
    if args.data is None:
        with ProgressBar("drawing the built-in faces", "people") as progress:
            return ferdata.TrainingFaces(ferdata.default_faces(progress=progress), "labels", None)
    with ProgressBar(f"reading {Path(args.data).name}", "") as progress:
        return ferdata.open_training_faces(
            args.data,
            votes=args.votes,
            target=args.targets or "labels",
            on_missing=args.no_face,
            progress=progress,
        )
