"""write a model as a program: ONNX, one Python file, C99, or a page for web browsers

Before it is written, its logits are compared with the network's.  If they differ, no file is
written and the exit status is 1.

The page of --to html needs nothing else: it opens from disk, finds the faces in photos, films and
the camera's pictures, and shows the expression of each.  Nothing leaves the computer.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..export.c_layouts import LAYOUTS, NAME
from ..formats.agreement import ExportError
from ..formats.pretrained import SHIPPED_EVER
from ..ground.command_line import CannotError
from ..ground.messages import in_short, one_line, plain
from ..ground.output_files import check_out, refuse_files_of_others, writes
from ..ground.printing import print_message, print_text
from ..network import Network
from ..quantized.network import QuantizedNetwork
from .console import print_json
from .face_network import add_framing_argument, framed_spec, probability
from .memory_need import say_memory
from .model_argument import add_model_argument, open_to_predict

FILE_STEM = "microexpnet"
UNSURE_BELOW = 0.5
ENDINGS = {"onnx": ".onnx", "python": ".py", "c": ".c", "html": ".html"}
CHECKERS = {"c": "C compiler here ($CC, cc, gcc, clang)", "html": "node here (16 or later)"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_argument(parser)
    parser.add_argument("--to", choices=tuple(ENDINGS), required=True, help="the kind of program")
    writes(
        parser.add_argument(
            "--out",
            metavar="PATH",
            required=True,
            help="the file to write, ending in .onnx, .py, .c or .html; or a folder, which is "
            "created if PATH ends in /, for a file named after the network that comes with this "
            f"package, or {FILE_STEM}.onnx and so on. The header of a C program is written beside "
            "it",
        )
    )
    parser.add_argument(
        "--integer-only",
        action="store_true",
        help="with --to c, of a network in 8-bit integers: a program without floats, for "
        "processors that have none; its logits are integers",
    )
    parser.add_argument(
        "--layout",
        choices=LAYOUTS,
        default="files",
        help="with --to c: only the two files, or in the folder --out a library for CMake (also a "
        "component of ESP-IDF) or Arduino, with an example that checks itself (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--name",
        help="with --to c and a folder --out: the name of its files, with which "
        "all its names in C begin too; for two networks in one program give two names "
        f"(default: {FILE_STEM})",
    )
    page = parser.add_argument_group("of --to html")
    add_framing_argument(page)
    page.add_argument(
        "--unsure-below",
        metavar="P",
        type=probability,
        help="what the page begins with: it says 'unsure' for a face if no expression reaches the "
        f"probability P, from 0 to 1 (default: {UNSURE_BELOW})",
    )


def run(args: argparse.Namespace) -> int:
    check_c_options(args)
    out = program_path(args.out, ENDINGS[args.to], args.model, args.name or file_stem(args.model))
    model = open_to_predict(args.model, args.variant)
    network = model.network
    say_memory(args.model, network)
    if args.to in ("python", "html") and isinstance(network, QuantizedNetwork):
        raise CannotError(
            f"{args.model}: is a network in 8-bit integers; expected --to onnx or --to c"
        )
    if args.to == "html":
        network.input_spec = framed_spec(model, args.model, args.framing)
    elif args.framing is not None or args.unsure_below is not None:
        raise CannotError("--framing and --unsure-below are for --to html")
    if args.integer_only:
        check_integers(args.model, network)
    try:
        out.parent.mkdir(exist_ok=True)
        with _without_warnings():  # what is missing for the check is reported below
            if isinstance(network, Network) and args.to == "html":
                paths, notes = write_page(network, out, args.model, args.unsure_below)
            else:
                paths, notes = write(
                    network, args.to, out, integer_only=args.integer_only, layout=args.layout
                )
    except ExportError as error:
        print_message(f"error: {one_line(error)}")
        return 1
    files = {str(path): path.stat().st_size for path in paths}
    if args.json:
        print_json({"model": args.model, "to": args.to, "files": files, **notes})
        return 0
    for path, n_bytes in files.items():
        print_text(plain(f"{path}: {n_bytes:,} bytes"))
    if args.to == "c":
        static, constant = notes["n_static_bytes"], notes["n_constant_bytes"]
        print_text(f"memory: {static:,} bytes, static; constants: {constant:,} bytes")
    if notes["checked"]:
        print_text("checked: its logits are the network's")
    else:
        print_text(f"not checked: there is no {CHECKERS[args.to]}")
    return 0


def check_c_options(args: argparse.Namespace) -> None:
    """Raise CannotError for options of C programs with another kind of program."""
    if args.integer_only and args.to != "c":
        raise CannotError(
            f"--integer-only: a program --to {args.to} computes with floats; give --to c"
        )
    if args.layout != "files" and args.to != "c":
        raise CannotError(f"--layout {args.layout}: is for C programs; give --to c")
    if args.layout != "files" and args.out.endswith(".c"):
        raise CannotError(f"{args.out}: expected a folder for --layout {args.layout}")
    if args.name is None:
        return
    if args.to != "c":
        raise CannotError("--name is for C programs; give --to c")
    if args.out.endswith(".c"):
        raise CannotError(f"--name {args.name}: {args.out} has a name; expected a folder as --out")
    if not NAME.fullmatch(args.name):
        raise CannotError(
            f"--name {args.name}: expected letters, digits and _, a letter first, as in C"
        )


def check_integers(model: str, network: Network | QuantizedNetwork) -> None:
    """Raise CannotError for a network that has no form in integers alone."""
    from ..quantized.integer_only import check_integer_only

    if not isinstance(network, QuantizedNetwork):
        raise CannotError(
            f"{model}: its weights are floats; --integer-only needs a network in 8-bit integers, "
            "which tinycnn convert makes with the dtype int8"
        )
    try:
        check_integer_only(network.program, network.input_spec)
    except ValueError as error:
        raise CannotError(f"{model}: {in_short(error)}") from None


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep the log from saying what this command prints itself."""
    logger = logging.getLogger("tinycnn")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def file_stem(model: str) -> str:
    """What a program of this model is called in a folder.  model: as it was given"""
    return SHIPPED_EVER.get(model, FILE_STEM)


def program_path(text: str, ending: str, model: str, stem: str) -> Path:
    """The file to write for --out, or STEM.ENDING in a folder.  Raises CannotError as `check_out`
    does, and for a file with another ending."""
    folder = Path(text)
    if folder.is_dir():
        out = check_out(str(folder / (stem + ending)), [model])
        refuse_files_of_others([out])
        return out
    if text.endswith(("/", os.sep)):
        return check_out(str(folder)) / (stem + ending)
    if folder.suffix != ending:
        raise CannotError(
            f"{text}: expected a name that ends in {ending}, or a folder (a new one ends in /)"
        )
    out = check_out(text, [model])
    if ending == ".c":
        check_out(str(out.with_suffix(".h")), [model])
    return out


def write(
    network: Network | QuantizedNetwork,
    to: str,
    out: Path,
    *,
    integer_only: bool = False,
    layout: str = "files",
) -> tuple[tuple[Path, ...], dict[str, Any]]:
    """Write the program; returns the files, and facts about them for the JSON output.  Raises
    ExportError if its logits differ from the network's, ImportError if a package is missing."""
    if to == "c":
        from ..export import c_file

        target = out if layout == "files" else out.parent
        program = c_file.write(network, target, out.stem, integer_only=integer_only, layout=layout)
        return (program.source, program.header, *program.others), {
            "checked": program.checked_with is not None,
            "checked_with": program.checked_with,
            "n_static_bytes": program.n_static_bytes,
            "n_constant_bytes": program.n_constant_bytes,
        }
    if isinstance(network, QuantizedNetwork):
        from ..formats import onnx_quantized

        onnx_quantized.save_quantized(network, out)
    elif to == "python":
        from ..export import python_file

        python_file.write(network, out)
    else:
        from ..formats import onnx

        onnx.save(network, out)
    return (out,), {"checked": True}


def write_page(
    network: Network, out: Path, model: str, unsure_below: float | None
) -> tuple[tuple[Path, ...], dict[str, Any]]:
    """Write a page for web browsers; returns what `write` does.  model: as it was given, for the
    card of a shipped one"""
    from ferdata.photos.cascade import tables

    from ..export.browser import html_file
    from ..export.browser.program import Cascade

    page = html_file.write(
        network,
        out,
        Cascade(*tables()),
        name=SHIPPED_EVER.get(model, ""),
        unsure_below=UNSURE_BELOW if unsure_below is None else unsure_below,
    )
    return (page.path,), {
        "checked": page.checked_with is not None,
        "checked_with": page.checked_with,
    }
