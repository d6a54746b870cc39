"""How many images does fine-tuning need? The table of docs/finetuning.md.

    python examples/finetuning_table.py --data fer2013.csv.gz --votes fer2013new.csv

Small data sets are drawn from FER2013's PublicTest images, which the shipped network was not
trained on; those that are identical to a training image are left out. Each is trained on from new
weights, from the shipped network, and from the shipped network with both convolutions frozen. A
tenth of its images choose the epoch, and 900 others test.

- fer7: the seven classes of FER2013, which the network knows, with FER2013's own labels
- four: four classes of FER+'s plurality labels, under names that the network does not know

Every seed draws other images. Run the same command again to continue after Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

import ferdata
from tinycnn import sweep
from tinycnn.ground.printing import print_text
from tinycnn.sweep.selection import mean_and_interval, score

N_TEST = 900
NEW_NAMES = {"anger": "one", "happiness": "two", "sadness": "three", "surprise": "four"}
ARMS: dict[str, dict[str, object]] = {
    "new weights": dict(init="none", recipe="fer", epochs=60),
    "pretrained": dict(init="pretrained"),
    "convolutions frozen": dict(init="pretrained", freeze=2),
}


def public_test(args: argparse.Namespace, name: str) -> ferdata.FaceDataset:
    """The images of PublicTest, without those that are also training images, with the labels of
    the data set `name`."""
    if name == "fer7":
        faces = ferdata.load_fer2013(args.data)
    else:
        faces = ferdata.load_fer2013(args.data, args.votes, "plurality")
    train = {image.tobytes() for image in faces.images[faces.rows_of_split("train")]}
    rows = faces.rows_of_split("validation")
    new = np.array([faces.images[row].tobytes() not in train for row in rows])
    faces = faces.select(rows[new])
    if name == "four":
        faces = faces.with_classes(NEW_NAMES)
        # nothing says any more what the classes were called
        faces = replace(faces, label_space=ferdata.LabelSpace("four", faces.classes))
    return faces


def small_data_set(faces: ferdata.FaceDataset, n_images: int, seed: int) -> ferdata.FaceDataset:
    """n_images to train on, and N_TEST to test; the test images depend only on the seed."""
    order = np.random.default_rng(seed).permutation(len(faces))
    if n_images > len(faces) - N_TEST:
        raise SystemExit(f"error: --images {n_images}: there are {len(faces) - N_TEST}")
    rows = np.r_[order[N_TEST : N_TEST + n_images], order[:N_TEST]]
    split = np.array(["train"] * n_images + ["test"] * N_TEST)
    return replace(faces.select(rows), split=split, rows=None)


def accuracies(source: ferdata.TrialFaces, seed: int, args: argparse.Namespace) -> dict[str, float]:
    """The test accuracy of each of ARMS."""
    trials = {name: sweep.grid(loss="none", seed=seed, **arm)[0] for name, arm in ARMS.items()}
    outcome = sweep.run(list(trials.values()), source, args.out, n_processes=args.processes)
    for error in outcome.failures.values():
        raise SystemExit(f"error: {error}")
    return {name: score(outcome.results[t.name(source.key)]) for name, t in trials.items()}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Plain)
    parser.add_argument("--data", required=True, help="fer2013.csv, .csv.gz or .zip")
    parser.add_argument("--votes", required=True, help="fer2013new.csv, the votes of FER+")
    parser.add_argument("--images", default="100,300,900", help="numbers of images")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds (default: 3)")
    parser.add_argument("--processes", type=int, help="(default: one per core)")
    parser.add_argument("--out", type=Path, default=Path("sweeps/finetuning"))
    args = parser.parse_args(argv)
    print_text("accuracy in % on 900 test images: mean +- half the 95 % interval over the seeds")
    print_text(f"{'data':5} {'images':>6}  " + "  ".join(f"{name:>20}" for name in ARMS))
    for n_images in map(int, args.images.split(",")):
        for name in ("fer7", "four"):
            faces = public_test(args, name)
            found = [
                accuracies(ferdata.TrialFaces(small_data_set(faces, n_images, seed)), seed, args)
                for seed in range(args.seeds)
            ]
            cells = [mean_and_interval([100 * one[arm] for one in found]) for arm in ARMS]
            shown = "  ".join(f"{mean:12.1f} +- {half:4.1f}" for mean, half in cells)
            print_text(f"{name:5} {n_images:6}  {shown}")
    return 0


_Plain = argparse.RawDescriptionHelpFormatter

if __name__ == "__main__":
    sys.exit(main())
