"""Train MicroExpNet with a teacher's soft labels, on a CPU.

    python examples/train_student.py
        on built-in faces with the teacher that comes with them: about a minute, no download
    python examples/train_student.py --data fer2013.csv.gz --votes fer2013new.csv --teacher t.npz
        on real faces; --data also reads CK+, Oulu-CASIA, RAF-DB, a folder per class and more

All results of the run are written to one folder; open its report.html. The command `tinycnn train`
does the same.
"""

from __future__ import annotations

import argparse
import sys

from tinycnn.cli.progress import TrainingBar
from tinycnn.cli.train import (
    TrainArguments,
    add_arguments,
    compile_meanwhile,
    open_run_folder,
    print_beginning,
    read_arguments,
    saying_how_to_continue,
    trainings,
)
from tinycnn.cli.training_faces import Faces, load_faces
from tinycnn.ground.command_line import Parser
from tinycnn.ground.exit_status import run_command
from tinycnn.ground.printing import print_text, show_log
from tinycnn.parallel import check_n_threads
from tinycnn.run import FinishedRun, History, TrainingRun


def build_parser() -> Parser:
    parser = Parser(prog="train_student.py")
    add_arguments(parser)
    parser.description = __doc__
    parser.set_defaults(run=run)
    return parser


def train(args: TrainArguments, faces: Faces) -> dict[str, TrainingRun]:
    """Train a network with the teacher and, for comparison, one without, each in a folder of its
    own. A training that was interrupted is finished."""
    runs = {}
    n_threads = check_n_threads(args.threads)
    for name, options, folder, resume in trainings(args, faces):
        # Batches of 84x84 pixels: shuffled, augmented and mixed anew in every epoch. Each has the
        # images, their labels or votes, and the teacher's soft labels.
        data = faces.training_data(options, n_threads)

        # run.network is MicroExpNet, or what --variant and --size say; run.loss compares its logits
        # with labels and soft labels; run.optimizer updates the weights, at the rate of
        # run.schedule.
        run = TrainingRun(
            options, data, folder, resume=resume, backend=args.backend, n_threads=n_threads
        )

        # After each epoch the network is scored on the validation images, and saved if it is the
        # best so far. The checkpoint, from which a run can be resumed, is written as well.
        with TrainingBar(name, run) as bar:
            run.train(callbacks=[History(folder, run.records), bar])

        # One number, fitted to the validation images, makes the best network's confidence
        # realistic.
        run.calibrate()
        runs[name] = run
    return runs


def run(given: argparse.Namespace) -> int:
    show_log()
    args = read_arguments(given)  # with --resume those of the interrupted run
    compile_meanwhile(args)  # in another process, while the faces are read
    faces = load_faces(args, args.training)  # training images, soft labels, validation images
    config = open_run_folder(args, faces)  # its config.json has all options and the data's hashes
    print_beginning(args, faces)
    with saying_how_to_continue(args, faces, config):
        finished = FinishedRun(train(args, faces), faces.ids)
        finished.write(args.folder, config, faces.notes)  # predictions.csv and report.html
    print_text()
    print_text(finished.summary(args.folder))
    return 0


def main(argv: list[str] | None = None) -> int:
    return run_command(build_parser, argv)


if __name__ == "__main__":
    sys.exit(main())
