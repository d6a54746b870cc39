r"""Use a trained network as a teacher: write its answers for the training images of FER2013.

    python examples/write_soft_labels.py runs/m/model.safetensors --data fer2013.csv.gz \
        --out assistant.npz

The file holds the network's logits for each image and for its mirror image, with the row of each
image in the CSV file. Give it to train_student.py or sweep.py as --teacher.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

import ferdata
import tinycnn
from tinycnn.ground.command_line import CannotError, positive
from tinycnn.ground.exit_status import exit_status


def run(argv: list[str] | None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", metavar="MODEL", help="model file of the network, .safetensors")
    parser.add_argument(
        "--data", metavar="FILE", required=True, help="FER2013: fer2013.csv, .csv.gz or .zip"
    )
    parser.add_argument(
        "--out", metavar="FILE", required=True, help="soft-label file to write, .npz"
    )
    parser.add_argument(
        "--threads", type=positive, metavar="N", help="CPU threads (default: one per usable core)"
    )
    args = parser.parse_args(argv)
    network = tinycnn.load(args.model, n_threads=args.threads)
    faces = ferdata.load_fer2013(args.data).in_split("train")
    height, width, _ = network.input_spec.shape
    if height != width:
        raise CannotError(f"{args.model}: takes {height}x{width} images; expected square ones")
    images = ferdata.resize_images(faces.images, height)
    ferdata.save_soft_labels(
        args.out,
        network.predict_logits(images),
        "logits",
        network.classes,
        rows=faces.rows,
        flipped=network.predict_logits(np.ascontiguousarray(images[:, :, ::-1])),
    )
    print(f"{len(faces):,} images, classes {', '.join(network.classes)} -> {args.out}")
    return 0


def main(argv: list[str] | None = None) -> int:
    return exit_status(lambda: run(argv))


if __name__ == "__main__":
    sys.exit(main())
