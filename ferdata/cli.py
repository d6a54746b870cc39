"""The command `ferdata`: check, show and pack data sets of faces."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ferdata.dataset import FaceDataset
from ferdata.doctor.diagnosis import check
from ferdata.doctor.html_page import page, picture
from ferdata.doctor.inspected_dataset import inspect_path
from ferdata.doctor.page import tiles
from ferdata.image_grid import by_class, grid, spread
from ferdata.photos.preprocess import ON_MISSING
from ferdata.sources import dataset_loading
from ferdata.sources.packed import is_packed, load_packed, save_packed
from tinycnn.ground._version import __version__
from tinycnn.ground.atomic_file import write_atomically
from tinycnn.ground.command_line import CannotError, Parser, check_out, positive
from tinycnn.ground.completion import add_completion_option
from tinycnn.ground.exit_status import run_command
from tinycnn.ground.html_page import escape, png, section
from tinycnn.ground.messages import plain as printable
from tinycnn.ground.progress import ProgressBar, ProgressBars

CLEAN, FOUND = 0, 1

_TILE_PX = 64


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="ferdata", description="Check, show and pack data sets of faces.")
    parser.add_argument("--version", action="version", version=f"ferdata {__version__}")
    add_completion_option(parser)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    checking = commands.add_parser(
        "check",
        help="count the images of a data set and report what looks wrong",
        description="Examine a data set: counts, duplicates, damaged and empty images, subjects in "
        "more than one split, suspicious votes, soft labels that do not fit. Exit status: 0 if "
        "nothing looks wrong, 1 if something does, 2 if the data set could not be checked.",
    )
    _add_data(checking)
    checking.add_argument("--votes", metavar="FILE", help="FER+ votes for FER2013: fer2013new.csv")
    checking.add_argument(
        "--teacher",
        metavar="FILE",
        action="append",
        default=[],
        help="also check a teacher network's soft labels, .npz or .csv (may be repeated)",
    )
    checking.add_argument("--json", action="store_true", help="print JSON, with all image ids")
    checking.add_argument("--html", metavar="FILE", help="also write an HTML page with images")
    checking.set_defaults(run=_check)

    showing = commands.add_parser("show", help="draw a contact sheet with images of each class")
    _add_data(showing)
    showing.add_argument("out", metavar="OUT", help="the file to write, .png or .html")
    showing.add_argument(
        "--columns", type=positive, default=16, help="images in a row (default: %(default)s)"
    )
    showing.add_argument(
        "--rows", type=positive, default=3, help="rows for each class (default: %(default)s)"
    )
    showing.set_defaults(run=_show)

    packing = commands.add_parser("pack", help="write cropped and resized faces to one .npz file")
    _add_data(packing)
    packing.add_argument("out", metavar="OUT", help="the .npz file to write")
    packing.add_argument("--votes", metavar="FILE", help="FER+ votes for FER2013: fer2013new.csv")
    packing.add_argument(
        "--framing",
        metavar="NAME",
        help="how faces are cut out of photos: paper or fer2013; none: the whole image is resized "
        "(default: what the data set needs)",
    )
    packing.add_argument(
        "--no-face",
        choices=ON_MISSING,
        default="error",
        help="if no face is found in a photo: stop with an error, or take the whole photo "
        "(default: %(default)s)",
    )
    packing.set_defaults(run=_pack)
    return parser


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="file or folder that holds the data set")
    parser.add_argument(
        "--source",
        metavar="NAME",
        help="which data set it is, if that is not recognised: "
        + ", ".join(dataset_loading.SOURCES),
    )
    parser.add_argument(
        "--protocol",
        metavar="NAME",
        help="which of its images to use, if there are several protocols",
    )


# ---- the commands ----------------------------------------------------------------------------


def _check(args: argparse.Namespace) -> int:
    if args.html:
        check_out(args.html)
    with ProgressBars() as bars:
        diagnosis = check(
            args.path,
            args.source,
            votes=args.votes,
            teachers=args.teacher,
            progress=bars,
            **_options(args),
        )
    if args.html:
        write_atomically(args.html, diagnosis.as_html())
    sys.stdout.write(diagnosis.as_json() if args.json else diagnosis.as_text())
    return CLEAN if diagnosis.is_clean else FOUND


def _show(args: argparse.Namespace) -> int:
    suffix = Path(args.out).suffix.lower()
    if suffix not in (".png", ".html"):
        raise CannotError(f"{args.out}: expected a name that ends in .png or .html")
    check_out(args.out)
    with ProgressBars() as bars:
        inspected = inspect_path(args.path, args.source, progress=bars, **_options(args))
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
    print(f"{printable(args.out)}: from the top, {printable(listed)}")
    return CLEAN


def _pack(args: argparse.Namespace) -> int:
    if Path(args.out).suffix.lower() != ".npz":
        raise CannotError(f"{args.out}: expected a name that ends in .npz")
    check_out(args.out)
    with ProgressBar("reading", leave=False) as progress:
        dataset = _opened(args, progress)
    save_packed(dataset, args.out)
    n, (height, width) = len(dataset), dataset.images.shape[1:]
    print(f"{printable(args.out)}: {n:,} faces of {width} x {height} px")
    return CLEAN


def _opened(args: argparse.Namespace, progress: ProgressBar) -> FaceDataset:
    if args.source is None and is_packed(args.path):
        return load_packed(args.path)
    options = _options(args)
    if args.votes:
        options["votes"] = args.votes
    framing = args.framing or dataset_loading.DEFAULT
    return dataset_loading.open(
        args.path,
        args.source,
        framing=None if framing == "none" else framing,
        on_missing=args.no_face,
        progress=progress,
        **options,
    )


def _options(args: argparse.Namespace) -> dict[str, Any]:
    return {} if args.protocol is None else {"protocol": args.protocol}


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
