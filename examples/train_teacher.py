"""Train the teacher of the built-in faces and write its soft labels.

    python examples/train_teacher.py --out ferdata/teachers/rendered.npz

The teacher is p12-M, fourteen times the student's size.  It learns from built-in faces of other
people than those of the default data set, as many as one likes to draw, then labels the default
training images: logits averaged over each image and its mirror image.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

import ferdata
import tinycnn
from tinycnn import models
from tinycnn.ground.atomic_file import write_atomically
from tinycnn.recipes import RECIPES, make_schedule
from tinycnn.train import Callback, EpochRecord, StepRecord, Validation, evaluate, fit

LEARNING_RATE = 1e-3
OTHER_PEOPLE = 1  # a seed that the default data set (seed 0) does not use


class Bar(Callback):
    """A progress bar over all epochs."""

    def __init__(self, n_steps: int) -> None:
        self.bar = tqdm(desc="training p12-M", total=n_steps, unit="step")

    def on_step(self, record: StepRecord) -> None:
        self.bar.update()
        self.bar.set_postfix(loss=f"{record.mean_loss:.3f}", refresh=False)

    def on_epoch(self, record: EpochRecord) -> None:
        self.bar.write(f"epoch {record.epoch}: {record.val_accuracy:.1%} of the validation images")


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", required=True, help="soft label file to write, .npz")
    parser.add_argument("--people", type=int, default=2000, help="(default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=20, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    args = parser.parse_args(argv)
    if Path(args.out).suffix != ".npz" or not Path(args.out).absolute().parent.is_dir():
        parser.error(f"--out {args.out}: expected an .npz file in a folder that exists")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse(sys.argv[1:] if argv is None else argv)
    default = ferdata.default_faces()
    train, validation = default.in_split("train"), default.in_split("validation")
    people = tqdm(desc="drawing other people", total=args.people, unit="person")
    others = ferdata.render_faces(
        args.people, seed=OTHER_PEOPLE, progress=lambda done, _: people.update(done - people.n)
    )
    people.close()
    recipe = RECIPES["fer"]
    network = models.microexpnet(
        "p12", "M", scaling=recipe.scaling, bias_std=recipe.bias_std, dropout=0.5, seed=args.seed
    )
    batches = ferdata.Batches(
        others, augment=ferdata.Augmentation(), seed=args.seed, n_threads=network.n_threads
    )
    n_steps = args.epochs * batches.n_batches
    shown = Bar(n_steps)
    records = fit(
        network,
        batches,
        loss=tinycnn.CrossEntropy(),
        optimizer=tinycnn.AdamW(LEARNING_RATE),
        schedule=make_schedule("one-cycle", LEARNING_RATE, n_steps),
        n_epochs=args.epochs,
        validation=Validation(validation.images, validation.labels),
        callbacks=[shown],
    )
    for _ in records:
        pass
    shown.bar.close()
    mirrored = np.ascontiguousarray(train.images[:, :, ::-1])
    logits = (network.predict_logits(train.images) + network.predict_logits(mirrored)) / 2
    file = io.BytesIO()
    np.savez_compressed(
        file,
        logits=logits.astype(np.float32),
        ids=train.ids,
        classes=np.array(train.classes),
        images_sha256=np.array(train.content_hash()),
    )
    write_atomically(Path(args.out), file.getvalue())
    on_train = evaluate(network, train.images, train.labels).accuracy
    on_validation = evaluate(network, validation.images, validation.labels).accuracy
    print(f"default set: {on_train:.1%} of train, {on_validation:.1%} of validation -> {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
