r"""Use a trained network as a teacher: write its answers for the training images of a data set.

    python examples/write_soft_labels.py runs/m/model.safetensors --data fer2013.csv.gz \
        --out assistant.npz

The file holds the network's logits for each image and for its mirror image; with --mean, only their
mean, which is more often right. Each image has its row in the csv file or, in a folder of images,
its path. Give the file to train_student.py or sweep.py as --teacher.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

import ferdata
import tinycnn
from ferdata.sources.dataset_options import add_dataset_options, dataset_arguments
from tinycnn.cli.dataset_notes import notes_on
from tinycnn.cli.model_argument import add_variant_argument
from tinycnn.ground.command_line import CannotError, Parser, positive
from tinycnn.ground.exit_status import run_command
from tinycnn.ground.output_files import check_out, reads, writes
from tinycnn.ground.printing import print_message, print_text
from tinycnn.ground.progress import ProgressBar
from tinycnn.sweep.soft_labels import mean_with_mirror_image


def add_data(parser: Parser) -> None:
    """Add the options that `read_faces` needs."""
    reads(
        parser.add_argument(
            "--data", metavar="PATH", required=True, help="a data set that ferdata.open can read"
        )
    )
    add_dataset_options(parser)


def read_faces(args: argparse.Namespace) -> ferdata.FaceDataset:
    """The data set of --data; its notes are printed."""
    with ProgressBar("reading", leave=False) as progress:
        faces = ferdata.open(args.data, progress=progress, **dataset_arguments(args))
    for note in notes_on(faces):
        print_message(f"note: {note}")
    return faces


def build_parser() -> Parser:
    parser = Parser(
        prog="write_soft_labels.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    reads(
        parser.add_argument("model", metavar="MODEL", help="model file, or TensorFlow checkpoint")
    )
    add_variant_argument(parser)
    add_data(parser)
    writes(
        parser.add_argument(
            "--out", metavar="FILE", required=True, help="soft-label file to write, .npz"
        )
    )
    parser.add_argument(
        "--mean",
        action="store_true",
        help="write the mean of the logits for an image and for its mirror image",
    )
    parser.add_argument(
        "--threads", type=positive, metavar="N", help="CPU threads (default: one per usable core)"
    )
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    check_out(args.out)
    network = tinycnn.load(args.model, variant=args.variant, n_threads=args.threads)
    network.load_kernels()  # so that the same data gives the same bits
    height, width, _ = network.input_spec.shape
    if height != width:
        raise CannotError(f"{args.model}: takes {height}x{width} images; expected square ones")
    faces = read_faces(args)
    if faces.split is not None and (faces.split == "train").any():
        faces = faces.in_split("train")
    images = faces.images
    if images.shape[1:] != (height, width):
        images = ferdata.resize_images(images, height)
    flipped = None
    if args.mean:
        logits = mean_with_mirror_image(network, [images])
    else:
        logits = network.predict_logits(images)
        flipped = network.predict_logits(np.ascontiguousarray(images[:, :, ::-1]))
    ferdata.save_soft_labels(
        args.out,
        logits,
        "logits",
        network.classes,
        rows=faces.rows,
        ids=None if faces.rows is not None else faces.ids,
        flipped=flipped,
    )
    print_text(f"{len(faces):,} images, classes {', '.join(network.classes)} -> {args.out}")
    return 0


def main(argv: list[str] | None = None) -> int:
    return run_command(build_parser, argv)


if __name__ == "__main__":
    sys.exit(main())
