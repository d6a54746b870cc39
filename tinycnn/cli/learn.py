"""learn backpropagation: ten exercises with checkers that say what is wrong, and why

Writes texts and Python files with blanks, or notebooks, into a new folder.  With --check it checks
the answers in the folder instead.  Exit status: 0 if they are all right, 1 if one is not.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

from ..ground.command_line import CannotError
from ..ground.messages import plain
from ..ground.output_files import writes
from ..ground.printing import print_text
from ..learn.catalogue import EXERCISES, NAMES, exercise_called
from ..learn.checking import check_folder, print_results
from ..learn.folder import CHECK_FILE, write_exercises
from ..learn.steps import RIGHT, all_right
from .console import print_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    writes(
        parser.add_argument(
            "folder",
            metavar="FOLDER",
            help="the folder of the exercises: a new one, or with --check one that has answers",
        )
    )
    parser.add_argument(
        "--check",
        metavar="NAME",
        nargs="*",
        help=f"check all answers, or those of some exercises: {', '.join(NAMES)}, or their numbers",
    )
    parser.add_argument(
        "--solutions", action="store_true", help="write the solutions, into a folder of their own"
    )
    parser.add_argument(
        "--notebooks",
        action="store_true",
        help="write Jupyter notebooks instead of text and Python",
    )


def run(args: argparse.Namespace) -> int:
    if args.check is not None:
        if args.solutions or args.notebooks:
            raise CannotError("--check writes nothing; leave out --solutions and --notebooks")
        return _check(args)
    folder = Path(args.folder)
    if folder.exists() and not folder.is_dir():
        raise CannotError(f"{folder}: is a file; choose a new folder")
    if (folder / CHECK_FILE).exists():
        raise CannotError(
            f"{folder}: holds exercises already; --check checks the answers. For new exercises "
            "choose a new folder"
        )
    files = write_exercises(args.folder, solved=args.solutions, notebooks=args.notebooks)
    if args.json:
        print_json({"folder": args.folder, "files": [str(path) for path in files]})
        return 0
    what = "solutions" if args.solutions else "exercises"
    print_text(plain(f"{args.folder}: {len(EXERCISES)} {what}"))
    first = f"{EXERCISES[0].stem}{'.ipynb' if args.notebooks else '.md'}"
    print_text(plain(f"  begin with {Path(args.folder) / first}"))
    print_text(plain(f"  check your answers: tinycnn learn {args.folder} --check"))
    return 0


def _check(args: argparse.Namespace) -> int:
    folder = Path(args.folder)
    if folder.is_file():
        raise CannotError(f"{folder}: is a file; expected the folder of the exercises")
    if not folder.is_dir():
        raise CannotError(f"{folder}: there is no such folder; without --check it is made")
    found = {}
    for exercise in [exercise_called(name) for name in args.check] or EXERCISES:
        # what the learner's code prints must not get into the JSON
        aside = contextlib.redirect_stdout(sys.stderr) if args.json else contextlib.nullcontext()
        with aside:
            found[exercise] = check_folder(folder, exercise)
        if not args.json:
            print_results(exercise, found[exercise])
    passed = [exercise for exercise, results in found.items() if all_right(results)]
    if args.json:
        rows = [
            {
                "exercise": exercise.name,
                "right": all_right(results),
                "steps": [
                    {"name": r.step, "verdict": r.verdict, "message": r.message} for r in results
                ],
            }
            for exercise, results in found.items()
        ]
        print_json({"folder": str(folder), "right": len(passed) == len(found), "exercises": rows})
    else:
        print_text(f"{len(passed)} of {len(found)} {RIGHT}")
    return 0 if len(passed) == len(found) else 1
