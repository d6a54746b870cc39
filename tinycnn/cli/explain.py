"""the backprop microscope: show every value and gradient for one image, on one page

Several images are shown side by side, layer by layer.  Some entries of each gradient are checked
numerically.  Exit status 1 if one is wrong.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..explain import Explanation, explain, write_comparison, write_page
from ..explain.comparison import MAX_IMAGES
from ..ground.command_line import CannotError, not_negative, positive
from ..ground.messages import plain
from ..ground.output_files import check_out, reads, refuse_files_of_others, writes
from ..ground.printing import print_message, print_text
from .console import print_json
from .face_network import add_framing_argument, place
from .image_argument import GivenImage, read_face
from .memory_need import say_memory
from .model_argument import OpenedModel, add_model_argument, open_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_argument(parser)
    reads(
        parser.add_argument(
            "images",
            metavar="IMAGE",
            nargs="+",
            help="a photo, of which the largest face is taken; or a face of the network's own size "
            "(84x84 for MicroExpNet): a picture file, or .npy with uint8 pixels.  Several, up to "
            f"{MAX_IMAGES}, are shown side by side, each layer on one colour scale",
        )
    )
    add_framing_argument(parser)
    parser.add_argument(
        "--label",
        metavar="NAME",
        help="the true class, for the loss (default: the predicted class)",
    )
    parser.add_argument(
        "--window",
        metavar="LAYER:ROW,COLUMN,FILTER",
        type=_window,
        action="append",
        default=[],
        help="a window of a convolution or max-pooling that the page shows step by step, such as "
        "conv1:3,5,0; more than once for several layers (default: of the first convolution and the "
        "first max-pooling, where y of filter 0 is largest)",
    )
    parser.add_argument(
        "--entries",
        metavar="N",
        type=positive,
        default=6,
        help="random entries of each tensor whose gradient is checked (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", metavar="N", type=not_negative, default=0, help="of these entries (default: 0)"
    )
    writes(
        parser.add_argument(
            "--out",
            metavar="FILE",
            help="the page (default: in this folder, IMAGE-explained.html, or for several "
            "IMAGE-and-N-more-explained.html)",
        )
    )


def _window(text: str) -> tuple[str, tuple[int, ...]]:
    """The layer's name, and the index into its y."""
    name, _, numbers = text.rpartition(":")
    parts = numbers.split(",")
    if not name or len(parts) != 3 or not all(p.isascii() and p.isdigit() for p in parts):
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected a layer's name, row, column and filter, such as conv1:3,5,0"
        )
    return name, tuple(int(part) for part in parts)


def run(args: argparse.Namespace) -> int:
    images = args.images
    if len(images) > MAX_IMAGES:
        raise CannotError(
            f"{len(images)} images; one page shows up to {MAX_IMAGES}: explain them in several runs"
        )
    if args.window and len(images) > 1:
        raise CannotError("--window: several images are shown without windows; give one image")
    more = f"-and-{len(images) - 1}-more" if len(images) > 1 else ""
    page = args.out or f"{Path(images[0]).stem}{more}-explained.html"
    out = check_out(page, (args.model, *images))
    if not args.out:
        refuse_files_of_others([out])
    model = open_model(args.model, args.variant)
    say_memory(args.model, model.network)
    given = [read_face(name, model, args.framing) for name in images]
    explanations = [_explained(args, model, name, one) for name, one in zip(images, given)]
    if len(images) == 1:
        write_page(out, explanations[0])
    else:
        write_comparison(out, explanations)
    if args.json:
        told = {"page": str(out), "bytes": out.stat().st_size}
        summaries = [
            {**_face(one), **explanation.summary()} for one, explanation in zip(given, explanations)
        ]
        print_json({**told, **summaries[0]} if len(images) == 1 else {**told, "images": summaries})
    else:
        for name, explanation in zip(images, explanations):
            _print_summary(name, explanation)
        print_text(plain(f"  page: {out} ({out.stat().st_size:,} bytes)"))
    return 0 if all(explanation.agrees for explanation in explanations) else 1


def _explained(
    args: argparse.Namespace, model: OpenedModel, name: str, given: GivenImage
) -> Explanation:
    return explain(
        model.network,
        given.pixels,
        args.label,
        n_entries=args.entries,
        seed=args.seed,
        model_name=Path(args.model).name,
        image_name=Path(name).name,
        image_note=_cut(name, given),
        windows=dict(args.window),
    )


def _face(given: GivenImage) -> dict[str, object]:
    """Where the face is in the photo, for JSON."""
    return {"face": {"box": given.box, "n_faces": given.n_faces}} if given.box else {}


def _print_summary(name: str, explanation: Explanation) -> None:
    summary = explanation.summary()
    probability = explanation.trace.probs[explanation.trace.predicted]
    print_text(plain(f"{name}: {summary['predicted']}, p = {probability:.4f}"))
    print_text(plain(f"  loss for {summary['label']}: {summary['loss']:.6g}"))
    print_text(
        f"  sampled gradients: {summary['n_agreeing']} of {len(explanation.probes)} agree, "
        f"{summary['n_kinks']} met a kink, {summary['n_drowned']} are lost in rounding, "
        f"{summary['n_disagreeing']} disagree"
    )


def _cut(name: str, given: GivenImage) -> str:
    """How the face was cut out of a photo, for the page; "" for a file that is the face itself.
    If there are others, a note on stderr says so."""
    if given.box is None:
        return ""
    if given.n_faces > 1:
        print_message(
            plain(
                f"note: {name}: {given.n_faces} faces; this is the largest, at {place(given.box)}. "
                "The command tinycnn face cuts out the others too"
            )
        )
    which = f"largest of {given.n_faces} faces" if given.n_faces > 1 else "face"
    return (
        f"This is the {which} in a photo, at {place(given.box)}, cut out with the framing "
        f"{given.framing}."
    )
