"""cut the faces out of a photo, as a network sees them

Faces are found as `tinycnn predict` finds them.  Exit status 2 if there is none.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from ferdata.photos.faces import FRAMINGS, SIZE_PX

from ..ground.command_line import CannotError, positive
from ..ground.messages import plain
from ..ground.output_files import check_out, reads, refuse_files_of_others, writes
from ..ground.printing import print_message, print_text
from .annotated_photo import write_png
from .console import print_json
from .face_network import faces_in, framed_spec, place
from .model_argument import HELP, add_variant_argument, open_to_predict

DEFAULT_FRAMING = "fer2013"
_LARGEST_PX = 4096


def add_arguments(parser: argparse.ArgumentParser) -> None:
    reads(parser.add_argument("photo", metavar="PHOTO", help="a picture file"))
    writes(
        parser.add_argument(
            "out",
            metavar="OUT.png",
            help="the crop of the largest face, in grey; with --all OUT-1.png, OUT-2.png, ..., the "
            "largest face first",
        )
    )
    parser.add_argument("--all", action="store_true", help="write all faces, with numbered names")
    size = parser.add_mutually_exclusive_group()
    reads(
        size.add_argument(
            "--model",
            metavar="MODEL",
            help=f"cut the faces as this network takes them: {HELP}",
        )
    )
    size.add_argument(
        "--size",
        metavar="PX",
        type=positive,
        help=f"the side of a crop without --model (default: {SIZE_PX})",
    )
    add_variant_argument(parser)
    parser.add_argument(
        "--framing",
        choices=FRAMINGS,
        help="how faces are cut out: fer2013, from the forehead to the chin, or paper, as for the "
        f"published networks (default: that of --model, or {DEFAULT_FRAMING})",
    )


def run(args: argparse.Namespace) -> int:
    out = Path(args.out)
    if out.suffix.lower() != ".png":
        raise CannotError(f"{args.out}: expected a name that ends in .png")
    if not args.all:
        check_out(args.out, (args.photo,))
    framing, size_px = _framing_and_size(args)
    faces = faces_in(args.photo, framing, size_px)
    paths = [out]
    if args.all:
        paths = [out.with_name(f"{out.stem}-{k}{out.suffix}") for k in range(1, len(faces) + 1)]
        for path in paths:
            check_out(str(path), (args.photo,))
        refuse_files_of_others(paths)
    elif len(faces) > 1:
        print_message(
            plain(f"note: {args.photo}: {len(faces)} faces; this is the largest, --all writes all")
        )
    written = []
    for path, image, box in zip(paths, faces.images, faces.boxes.tolist()):
        write_png(path, Image.fromarray(image))
        written.append({"file": str(path), "box": box})
        if not args.json:
            print_text(plain(f"{path}: {size_px}x{size_px} px, the face at {place(box)}"))
    if args.json:
        told = {"photo": args.photo, "framing": framing, "size_px": size_px}
        print_json({**told, "n_faces": len(faces), "written": written})
    return 0


def _framing_and_size(args: argparse.Namespace) -> tuple[str, int]:
    """The framing, and the side of a crop in px."""
    if args.model is None:
        size_px = args.size or SIZE_PX
        if size_px > _LARGEST_PX:
            raise CannotError(f"--size {size_px}: expected a number up to {_LARGEST_PX}")
        return args.framing or DEFAULT_FRAMING, size_px
    spec = framed_spec(open_to_predict(args.model, args.variant), args.model, args.framing)
    return spec.framing or DEFAULT_FRAMING, spec.height_px
