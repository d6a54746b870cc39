"""The command `ferdata`: check, show and pack data sets of faces."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from ferdata.dataset import FaceDataset
from ferdata.doctor.diagnosis import check
from ferdata.doctor.html_page import page, picture
from ferdata.doctor.inspected_dataset import InspectedDataset, inspect_dataset, inspect_path
from ferdata.doctor.page import tiles
from ferdata.image_grid import by_class, grid, spread
from ferdata.sources import dataset_loading
from ferdata.sources.dataset_options import add_dataset_options, dataset_arguments
from ferdata.sources.packed import save_packed
from ferdata.teachers.teacher_options import EXTRA_CLASSES_OPTION
from tinycnn.ground._version import __version__
from tinycnn.ground.argument_options import (
    add_argument_options,
    given_arguments,
    with_options_for_arguments,
)
from tinycnn.ground.atomic_file import write_atomically
from tinycnn.ground.command_line import CannotError, Parser, positive
from tinycnn.ground.completion import add_completion_option
from tinycnn.ground.exit_status import run_command
from tinycnn.ground.html_page import escape, png, section
from tinycnn.ground.messages import plain as printable
from tinycnn.ground.output_files import check_out, reads, refuse_inputs, writes
from tinycnn.ground.printing import print_data, print_message, print_text
from tinycnn.ground.progress import ProgressBar, ProgressBars

CLEAN, FOUND = 0, 1

_TILE_PX = 64


def build_parser() -> Parser:
    parser = Parser(prog="ferdata", description="Check, show and pack data sets of faces.")
    parser.add_argument("--version", action="version", version=f"ferdata {__version__}")
    add_completion_option(parser)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    checking = commands.add_parser(
        "check",
        help="count the images of a data set and report what looks wrong",
        description="Examine a data set: counts, duplicates, damaged and empty images, subjects in "
        "more than one split, suspicious votes, soft labels that do not fit, files that are not "
        "read. Exit status: 0 if "
        "nothing looks wrong, 1 if something does, 2 if the data set could not be checked.",
    )
    _add_data(checking)
    reads(
        checking.add_argument(
            "--teacher",
            metavar="FILE",
            action="append",
            default=[],
            help="also check a teacher network's soft labels, .npz or .csv (may be repeated)",
        )
    )
    add_argument_options(checking, (EXTRA_CLASSES_OPTION,))
    checking.add_argument("--json", action="store_true", help="print JSON, with all image ids")
    writes(
        checking.add_argument("--html", metavar="FILE", help="also write an HTML page with images")
    )
    checking.set_defaults(run=_check)

    showing = commands.add_parser("show", help="draw a contact sheet with images of each class")
    _add_data(showing)
    writes(showing.add_argument("out", metavar="OUT", help="the file to write, .png or .html"))
    showing.add_argument(
        "--columns", type=positive, default=16, help="images in a row (default: %(default)s)"
    )
    showing.add_argument(
        "--rows", type=positive, default=3, help="rows for each class (default: %(default)s)"
    )
    showing.set_defaults(run=_show)

    packing = commands.add_parser("pack", help="write cropped and resized faces to one .npz file")
    _add_data(packing)
    writes(packing.add_argument("out", metavar="OUT", help="the .npz file to write"))
    packing.set_defaults(run=_pack)
    return parser


def _add_data(parser: argparse.ArgumentParser) -> None:
    reads(
        parser.add_argument("path", metavar="PATH", help="file or folder that holds the data set")
    )
    add_dataset_options(parser.add_argument_group("data set"))


# ---- the commands ----------------------------------------------------------------------------


def _check(args: argparse.Namespace) -> int:
    if args.html:
        check_out(args.html)
    with ProgressBars() as bars:
        diagnosis = check(
            args.path,
            teachers=args.teacher,
            progress=bars,
            **given_arguments(args, (EXTRA_CLASSES_OPTION,)),
            **dataset_arguments(args),
        )
    parser = build_parser()
    findings = (
        replace(found, message=with_options_for_arguments(found.message, parser, args))
        for found in diagnosis.findings
    )
    diagnosis = replace(diagnosis, findings=tuple(findings))
    if args.html:
        write_atomically(args.html, diagnosis.as_html())
    if args.json:
        print_data(diagnosis.as_json().rstrip("\n"))
    else:
        print_text(diagnosis.as_text().rstrip("\n"))
    return CLEAN if diagnosis.is_clean else FOUND


def _show(args: argparse.Namespace) -> int:
    suffix = Path(args.out).suffix.lower()
    if suffix not in (".png", ".html"):
        raise CannotError(f"{args.out}: expected a name that ends in .png or .html")
    check_out(args.out)
    inspected = _shown(args)
    _refuse_images(args, inspected.dataset)
    _print_notes(inspected.dataset)
    sheets = []
    for name, members in by_class(inspected.dataset):
        chosen = members[spread(len(members), args.columns * args.rows)]
        if len(chosen):
            shown = tiles(inspected, chosen, min(_TILE_PX, int(inspected.sizes.max())))
            sheets.append((name, len(members), grid(shown, args.columns)))
    if suffix == ".png":
        stacked = _stacked([sheet for _, _, sheet in sheets])
        write_atomically(args.out, png(Image.fromarray(stacked)))
    else:
        parts = [
            f"<h3>{escape(name or 'all images')} <small>{n:,}</small></h3>\n"
            + picture(sheet, f"images: {name or 'all'}", "sheet")
            for name, n, sheet in sheets
        ]
        title = f"Faces of {args.path}"
        write_atomically(args.out, page(title, section(escape(title), "", *parts)))
    listed = ", ".join(f"{name or 'images'} {n:,}" for name, n, _ in sheets)
    print_text(f"{printable(args.out)}: from the top, {printable(listed)}")
    return CLEAN


def _refuse_images(args: argparse.Namespace, dataset: FaceDataset) -> None:
    """Raise CannotError if the file to write is one of the images that a list names."""
    if Path(args.out).exists():
        root = Path(getattr(args, "root", None) or Path(args.path).parent)
        refuse_inputs(args.out, (root / name.partition("#")[0] for name in dataset.ids.tolist()))


def _shown(args: argparse.Namespace) -> InspectedDataset:
    """The images in their full size, as they are in their files; the faces as `ferdata.open` cuts
    them out, with its labels, if an option says how."""
    arguments = dataset_arguments(args)
    if not arguments.keys() & {"framing", "on_missing", "votes", "target"}:
        with ProgressBars() as bars:
            return inspect_path(args.path, progress=bars, **arguments)
    with ProgressBar("reading", leave=False) as progress:
        dataset = dataset_loading.open(args.path, progress=progress, **arguments)
    return inspect_dataset(dataset, path=args.path)


def _pack(args: argparse.Namespace) -> int:
    if Path(args.out).suffix.lower() != ".npz":
        raise CannotError(f"{args.out}: expected a name that ends in .npz")
    check_out(args.out)
    with ProgressBar("reading", leave=False) as progress:
        dataset = dataset_loading.open(args.path, progress=progress, **dataset_arguments(args))
    _print_notes(dataset)
    save_packed(dataset, args.out)
    n, (height, width) = len(dataset), dataset.images.shape[1:]
    print_text(f"{printable(args.out)}: {n:,} faces of {width} x {height} px")
    return CLEAN


def _print_notes(dataset: FaceDataset) -> None:
    for note in (*dataset.notes, *([dataset.unread.summary()] if dataset.unread else [])):
        print_message(printable(f"note: {note}"))


def _stacked(sheets: Sequence[np.ndarray], gap_px: int = 8) -> np.ndarray:
    """One sheet below the other, on white."""
    width = max(sheet.shape[1] for sheet in sheets)
    parts = [np.pad(s, ((0, gap_px), (0, width - s.shape[1])), constant_values=255) for s in sheets]
    return np.concatenate(parts)[:-gap_px]


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    return run_command(build_parser, argv)


if __name__ == "__main__":
    sys.exit(main())
