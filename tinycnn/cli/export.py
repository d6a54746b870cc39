"""a program from a model: ONNX, one Python file, or C99; each is checked as it is written

The program's logits are compared with the network's before it is written; exit status 1, and no
file, where they disagree.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

from ..formats.agreement import ExportError
from ..network import Network
from .console import CannotError, check_out, one_line, plain, print_json
from .model_argument import add_model_argument, open_model

ENDINGS = {"onnx": ".onnx", "python": ".py", "c": ".c"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_argument(parser)
    parser.add_argument("--to", choices=tuple(ENDINGS), required=True, help="the kind of program")
    parser.add_argument(
        "--out",
        metavar="PATH",
        required=True,
        help="the file to write, which ends in .onnx, .py or .c; a C program's header is written "
        "beside it",
    )


def run(args: argparse.Namespace) -> int:
    out = check_out(args.out, not_the_same_as=args.model)
    if out.suffix != ENDINGS[args.to]:
        raise CannotError(f"{args.out}: expected a name that ends in {ENDINGS[args.to]}")
    network = open_model(args.model, args.variant).network
    logging.getLogger("tinycnn").setLevel(logging.ERROR)  # a missing compiler is said below
    try:
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
