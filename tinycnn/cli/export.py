"""a program from a model: ONNX, one Python file, or C99; each is checked as it is written

The program's logits are compared with the network's before it is written; exit status 1, and no
file, where they disagree.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import Any

from ..formats.agreement import ExportError
from ..ground.command_line import CannotError, check_out
from ..ground.messages import one_line, plain
from ..network import Network
from .console import print_json
from .model_argument import add_model_argument, open_model

FILE_STEM = "microexpnet"
ENDINGS = {"onnx": ".onnx", "python": ".py", "c": ".c"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_argument(parser)
    parser.add_argument("--to", choices=tuple(ENDINGS), required=True, help="the kind of program")
    parser.add_argument(
        "--out",
        metavar="PATH",
        required=True,
        help="the file to write, which ends in .onnx, .py or .c, or a folder (made if it ends in "
        f"/) for {FILE_STEM}.onnx, .py or .c; a C program's header is written beside it",
    )


def run(args: argparse.Namespace) -> int:
    out = program_path(args.out, ENDINGS[args.to], args.model)
    network = open_model(args.model, args.variant).network
    logging.getLogger("tinycnn").setLevel(logging.ERROR)  # a missing compiler is said below
    try:
        out.parent.mkdir(exist_ok=True)
        paths, notes = write(network, args.to, out)
    except ExportError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 1
    files = {str(path): path.stat().st_size for path in paths}
    if args.json:
        print_json({"model": args.model, "to": args.to, "files": files, **notes})
        return 0
    for path, n_bytes in files.items():
        print(plain(f"{path}: {n_bytes:,} bytes"))
    if notes["checked"]:
        print("its logits are the network's")
    else:
        print("not checked: there is no C compiler here ($CC, cc, gcc, clang)")
    return 0


def program_path(text: str, ending: str, model: str) -> Path:
    """The file that --out names, itself or by its folder.  Raises CannotError as check_out, and for
    a file with another ending."""
    folder = Path(text)
    if folder.is_dir():
        return check_out(str(folder / (FILE_STEM + ending)), not_the_same_as=model)
    if text.endswith(("/", os.sep)):
        return check_out(str(folder)) / (FILE_STEM + ending)
    if folder.suffix != ending:
        raise CannotError(f"{text}: expected a name that ends in {ending}, or a folder")
    return check_out(text, not_the_same_as=model)


def write(network: Network, to: str, out: Path) -> tuple[tuple[Path, ...], dict[str, Any]]:
    """(files written, what there is to say of them).  Raises ExportError where the program
    disagrees with the network, ImportError without the extra that it needs."""
    if to == "c":
        from ..export import c_file

        program = c_file.write(network, out)
        return (program.source, program.header), {
            "checked": program.checked_with is not None,
            "checked_with": program.checked_with,
            "n_static_bytes": program.n_static_bytes,
            "n_constant_bytes": program.n_constant_bytes,
        }
    if to == "python":
        from ..export import python_file

        python_file.write(network, out)
    else:
        from ..formats import onnx

        onnx.save(network, out)
    return (out,), {"checked": True}
