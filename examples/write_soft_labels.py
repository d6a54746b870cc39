"""Let a trained network be a teacher: its answers for the training images of FER2013.

    python examples/write_soft_labels.py runs/m/model.safetensors --data fer2013.csv.gz \
        --out assistant.npz

The file has logits for each image and for its mirror image, by row of the csv; `--teacher` of
train_student.py and sweep.py reads it.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

import ferdata
import tinycnn
from tinycnn.formats.safetensors import ModelFileError


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", metavar="MODEL", help="a network's file, .safetensors")
    parser.add_argument("--data", metavar="FILE", required=True, help="FER2013, as for training")
    parser.add_argument("--out", metavar="FILE", required=True, help="to write, .npz")
    parser.add_argument("--threads", type=int, metavar="N", help="(default: all usable cores)")
    args = parser.parse_args(sys.argv[1:] if argv is None else argv)
    try:
        network = tinycnn.load(args.model, n_threads=args.threads)
        faces = ferdata.load_fer2013(args.data).in_split("train")
        height, width, _ = network.input_spec.shape
        if height != width:
            raise ValueError(f"{args.model}: takes {height}x{width} images, not square ones")
        images = ferdata.resize_images(faces.images, height)
        ferdata.save_soft_labels(
            args.out,
            network.predict_logits(images),
            "logits",
            network.classes,
            rows=faces.rows,
            flipped=network.predict_logits(np.ascontiguousarray(images[:, :, ::-1])),
        )
    except (ferdata.DataError, ModelFileError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{len(faces):,} images, classes {', '.join(network.classes)} -> {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
