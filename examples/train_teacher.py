"""Train the teacher of the built-in faces and write its soft labels.

    python examples/train_teacher.py --out ferdata/teachers/rendered.npz

The teacher is the network p12-M, with fourteen times as many parameters as the student. It is
trained on built-in faces of people who do not appear in the default data set; --people says how
many are drawn. Its soft labels for the default training images are logits, averaged over each image
and its mirror image.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

import ferdata
from tinycnn.cli.progress import TrainingBar
from tinycnn.ground.atomic_file import write_atomically
from tinycnn.ground.command_line import not_negative, positive
from tinycnn.ground.exit_status import exit_status
from tinycnn.ground.printing import print_text
from tinycnn.parallel import check_n_threads
from tinycnn.run import TrainingData, TrainingOptions, TrainingRun
from tinycnn.sweep.soft_labels import mean_with_mirror_image
from tinycnn.train import Callback, EpochRecord, Validation, evaluate

OTHER_PEOPLE = 1
"""Seed of the drawn people; the default data set uses seed 0."""


class EpochLines(Callback):
    """Prints a line for each epoch, above the progress bar."""

    def on_epoch(self, record: EpochRecord) -> None:
        print_text(f"epoch {record.epoch}: validation accuracy {record.val_accuracy:.1%}")


class Options(argparse.Namespace):
    """The command line."""

    out: Path
    people: int
    epochs: int
    seed: int


def parse(argv: list[str]) -> Options:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", metavar="FILE", type=Path, required=True, help="soft-label file to write, .npz"
    )
    parser.add_argument(
        "--people",
        metavar="N",
        type=positive,
        default=2000,
        help="how many people to draw and train on (default: %(default)s)",
    )
    parser.add_argument(
        "--epochs",
        metavar="N",
        type=positive,
        default=20,
        help="passes over the training images (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        metavar="N",
        type=not_negative,
        default=0,
        help="seed of the weights, the order of the images and the augmentation "
        "(default: %(default)s)",
    )
    options = parser.parse_args(argv, Options())
    if options.out.suffix != ".npz" or not options.out.absolute().parent.is_dir():
        parser.error(f"--out {options.out}: expected an .npz file in a folder that exists")
    return options


def run(options: Options) -> int:
    default = ferdata.default_faces()
    train, validation = default.in_split("train"), default.in_split("validation")
    assert train.labels is not None and validation.labels is not None
    with tqdm(desc="drawing people", total=options.people, unit="person") as bar:
        faces = ferdata.render_faces(
            options.people, seed=OTHER_PEOPLE, progress=lambda done, _: bar.update(done - bar.n)
        )
    training = TrainingOptions(
        size="M",
        loss="none",
        dropout=0.5,
        learning_rate=1e-3,
        epochs=options.epochs,
        seed=options.seed,
    )
    data = TrainingData(
        ferdata.make_batches(faces, training, n_threads=check_n_threads(None)),
        faces.classes,
        Validation(validation.images, validation.labels),
    )
    run = TrainingRun(training, data)
    with TrainingBar("training p12-M", run) as bar:
        run.train([bar, EpochLines()])
    network = run.network
    file = io.BytesIO()
    np.savez_compressed(
        file,
        logits=mean_with_mirror_image(network, [train.images]),
        ids=train.ids,
        classes=np.array(train.classes),
        images_sha256=np.array(train.content_hash()),
    )
    write_atomically(options.out, file.getvalue())
    on_train = evaluate(network, train.images, train.labels).accuracy
    on_validation = evaluate(network, validation.images, validation.labels).accuracy
    print_text(
        f"accuracy on the default faces: {on_train:.1%} train, {on_validation:.1%} validation"
    )
    print_text(f"-> {options.out}")
    return 0


def main(argv: list[str] | None = None) -> int:
    return exit_status(lambda: run(parse(sys.argv[1:] if argv is None else argv)))


if __name__ == "__main__":
    sys.exit(main())
