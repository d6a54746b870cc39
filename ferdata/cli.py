"""The command `ferdata`: check, show and pack data sets of faces."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from ferdata import opening
from ferdata.dataset import FaceDataset
from ferdata.doctor import check
from ferdata.doctor_page import tiles
from ferdata.errors import DataError
from ferdata.html_page import escape, page, picture, section
from ferdata.image_grid import by_class, grid, spread
from ferdata.packed import is_packed, load_packed, save_packed
from ferdata.preprocess import ON_MISSING
from ferdata.specimen import specimen_of
from tinycnn.ground.atomic_file import write_atomically
from tinycnn.ground.messages import plain as printable

CLEAN, FOUND, FAILED, STOPPED = 0, 1, 2, 130

_TILE_PX = 64


class UsageError(Exception):
    """Wrong options; the message says how to mend them."""


class Parser(argparse.ArgumentParser):
    """Wrong options are told like everything else that is wrong: in one line."""

    def error(self, message: str) -> None:
        raise UsageError(f"{message} (--help explains the options)")


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="ferdata", description="Check, show and pack data sets of faces.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    checking = commands.add_parser(
        "check",
        help="what is there, what was expected, what is suspicious",
        description="Look a data set over: counts, duplicates, damaged and empty images, subjects "
        "on both sides, odd votes, teachers that do not fit. Exit status 0: clean, 1: findings, "
        "2: it cannot be read.",
    )
    _add_data(checking)
    checking.add_argument("--votes", metavar="FILE", help="FER+ votes of FER2013: fer2013new.csv")
    checking.add_argument(
        "--teacher",
        metavar="FILE",
        action="append",
        default=[],
        help="soft labels, .npz or .csv; may be given several times",
    )
    checking.add_argument("--json", action="store_true", help="print JSON, with all ids")
    checking.add_argument("--html", metavar="FILE", help="write a page with the images, too")

    showing = commands.add_parser("show", help="a contact sheet, a part for each class")
    _add_data(showing)
    showing.add_argument("out", metavar="OUT", help="the sheet: a .png or .html file")
    showing.add_argument(
        "--columns", type=_positive, default=16, metavar="N", help="(default: %(default)s)"
    )
    showing.add_argument(
        "--rows", type=_positive, default=3, metavar="N", help="of a class (default: %(default)s)"
    )

    packing = commands.add_parser("pack", help="faces, cut out and resized, in one .npz file")
    _add_data(packing)
    packing.add_argument("out", metavar="OUT", help="the packed data set: a .npz file")
    packing.add_argument("--votes", metavar="FILE", help="FER+ votes of FER2013: fer2013new.csv")
    packing.add_argument(
        "--framing",
        metavar="NAME",
        help="how photos become faces: paper, fer2013, or none to resize the whole image "
        "(default: what the source needs)",
    )
    packing.add_argument(
        "--no-face",
        choices=ON_MISSING,
        default="error",
        help="what to do where no face is found (default: %(default)s)",
    )
    return parser


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="file or folder, as you have it")
    parser.add_argument(
        "--source",
        metavar="NAME",
        help=f"what it is, if it is not recognised: {', '.join(opening.SOURCES)}",
    )
    parser.add_argument(
        "--protocol", metavar="NAME", help="which of its images, for sources with several protocols"
    )


def _positive(text: str) -> int:
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number of 1 or more")
    return value


# ---- the commands ----------------------------------------------------------------------------


def _check(args: argparse.Namespace) -> int:
    _refuse_unwritable(args.html)
    with Bars() as bars:
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
        raise UsageError(f"{args.out}: expected a name that ends in .png or .html")
    _refuse_unwritable(args.out)
    with Bars() as bars:
        specimen = specimen_of(args.path, args.source, progress=bars, **_options(args))
    sheets = []
    for name, members in by_class(specimen.dataset):
        chosen = members[spread(len(members), args.columns * args.rows)]
        if len(chosen):
            shown = tiles(specimen, chosen, min(_TILE_PX, int(specimen.sizes.max())))
            sheets.append((name, len(members), grid(shown, args.columns)))
    if suffix == ".png":
        write_atomically(args.out, _png(_stacked([sheet for _, _, sheet in sheets])))
    else:
        parts = [
            f"<h3>{escape(name or 'all images')} <small>{n:,}</small></h3>\n"
            + picture(sheet, f"images: {name or 'all'}", "sheet")
            for name, n, sheet in sheets
        ]
        title = f"Faces of {args.path}"
        write_atomically(args.out, page(title, section(title, "", *parts)))
    listed = ", ".join(f"{name or 'images'} {n:,}" for name, n, _ in sheets)
    print(f"{printable(args.out)}: from the top, {printable(listed)}")
    return CLEAN


def _pack(args: argparse.Namespace) -> int:
    if Path(args.out).suffix.lower() != ".npz":
        raise UsageError(f"{args.out}: expected a name that ends in .npz")
    _refuse_unwritable(args.out)
    with Bars() as bars:
        dataset = _opened(args, bars)
    save_packed(dataset, args.out)
    n, (height, width) = len(dataset), dataset.images.shape[1:]
    print(f"{printable(args.out)}: {n:,} faces of {width} x {height} px")
    return CLEAN


def _opened(args: argparse.Namespace, bars: Bars) -> FaceDataset:
    if args.source is None and is_packed(args.path):
        return load_packed(args.path)
    options = _options(args)
    if args.votes:
        options["votes"] = args.votes
    if args.framing:
        options["framing"] = None if args.framing == "none" else args.framing
    if args.no_face != "error":
        options["on_missing"] = args.no_face
    told = lambda done, total: bars("reading", done, total)  # noqa: E731
    return opening.open(args.path, args.source, progress=told, **options)


def _options(args: argparse.Namespace) -> dict[str, Any]:
    return {} if args.protocol is None else {"protocol": args.protocol}


def _refuse_unwritable(path: str | None) -> None:
    """Minutes of work should not end in an error that could have been told at once."""
    if path is not None and not Path(path).parent.is_dir():
        raise UsageError(f"{path}: there is no folder {Path(path).parent}")
    if path is not None and Path(path).is_dir():
        raise UsageError(f"{path}: is a folder; expected a file")


def _stacked(sheets: Sequence[np.ndarray], gap_px: int = 8) -> np.ndarray:
    """One sheet below the other, on white."""
    width = max(sheet.shape[1] for sheet in sheets)
    parts = [np.pad(s, ((0, gap_px), (0, width - s.shape[1])), constant_values=255) for s in sheets]
    return np.concatenate(parts)[:-gap_px]


def _png(grey: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG", optimize=True)
    return file.getvalue()


class Bars:
    """progress(what, done, total) as tqdm bars on a terminal, one after the other."""

    def __init__(self) -> None:
        self.what, self.bar = "", None

    def __enter__(self) -> Bars:
        return self

    def __call__(self, what: str, done: int, total: int) -> None:
        if what != self.what:
            self.close()
            self.what = what
            self.bar = tqdm(total=total, desc=what, unit_scale=True, disable=None, leave=False)
        self.bar.update(done - self.bar.n)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()

    def __exit__(self, *exception: object) -> None:
        self.close()


def main(argv: list[str] | None = None) -> int:
    """Run a command; gives the exit status. Everything that goes wrong is one line on stderr."""
    try:
        args = build_parser().parse_args(sys.argv[1:] if argv is None else argv)
        return {"check": _check, "show": _show, "pack": _pack}[args.command](args)
    except KeyboardInterrupt:
        return STOPPED
    except BrokenPipeError:  # `ferdata check ... | head`
        sys.stderr.close()
        return FAILED
    except (UsageError, DataError, ValueError, OSError) as error:
        print(f"error: {printable(' '.join(str(error).split()))}", file=sys.stderr)
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
