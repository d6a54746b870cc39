"""the backprop microscope: show every value and gradient for one image, on one page

Some entries of each gradient are checked numerically.  Exit status 1 if one is wrong.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..explain import explain, write_page
from ..ground.command_line import not_negative, positive
from ..ground.messages import plain
from ..ground.output_files import check_out, reads, refuse_files_of_others, writes
from ..ground.printing import print_message, print_text
from .console import print_json
from .face_network import add_framing_argument, place
from .image_argument import GivenImage, read_face
from .memory_need import say_memory
from .model_argument import add_model_argument, open_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_argument(parser)
    reads(
        parser.add_argument(
            "image",
            metavar="IMAGE",
            help="a photo, of which the largest face is taken; or a face of the network's own size "
            "(84x84 for MicroExpNet): a picture file, or .npy with uint8 pixels",
        )
    )
    add_framing_argument(parser)
    parser.add_argument(
        "--label",
        metavar="NAME",
        help="the true class, for the loss (default: the predicted class)",
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
            "--out", metavar="FILE", help="the page (default: IMAGE-explained.html in this folder)"
        )
    )


def run(args: argparse.Namespace) -> int:
    out = check_out(args.out or f"{Path(args.image).stem}-explained.html", (args.model, args.image))
    if not args.out:
        refuse_files_of_others([out])
    model = open_model(args.model, args.variant)
    say_memory(args.model, model.network)
    given = read_face(args.image, model, args.framing)
    explanation = explain(
        model.network,
        given.pixels,
        args.label,
        n_entries=args.entries,
        seed=args.seed,
        model_name=Path(args.model).name,
        image_name=Path(args.image).name,
        image_note=_cut(args.image, given),
    )
    write_page(out, explanation)
    summary = explanation.summary()
    if args.json:
        face = {"face": {"box": given.box, "n_faces": given.n_faces}} if given.box else {}
        print_json({"page": str(out), "bytes": out.stat().st_size, **face, **summary})
    else:
        probability = explanation.trace.probs[explanation.trace.predicted]
        print_text(plain(f"{args.image}: {summary['predicted']}, p = {probability:.4f}"))
        print_text(plain(f"  loss for {summary['label']}: {summary['loss']:.6g}"))
        print_text(
            f"  sampled gradients: {summary['n_agreeing']} of {len(explanation.probes)} agree, "
            f"{summary['n_kinks']} met a kink, {summary['n_drowned']} are lost in rounding, "
            f"{summary['n_disagreeing']} disagree"
        )
        print_text(plain(f"  page: {out} ({out.stat().st_size:,} bytes)"))
    return 0 if explanation.agrees else 1


def _cut(name: str, given: GivenImage) -> str:
    """How the face was cut out of a photo, for the page; "" for a file that is the face itself.
    If there are others, a note on stderr says so."""
    if given.box is None:
        return ""
    if given.n_faces > 1:
        print_message(
            plain(
                f"note: {name}: {given.n_faces} faces; this is the largest, at {place(given.box)}. "
                "tinycnn face PHOTO OUT.png --all cuts out all"
            )
        )
    which = f"largest of {given.n_faces} faces" if given.n_faces > 1 else "face"
    return (
        f"This is the {which} in a photo, at {place(given.box)}, cut out with the framing "
        f"{given.framing}."
    )
