"""compile ahead of time what a model needs, so that the first photo or step does not wait

Numba compiles each kernel when it is first called; the compiled code is kept in a cache on disk.
This command calls them all once.  Exit status: 0 if the compiled code was kept, 1 if it was not.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

import ferdata
from ferdata.photos.compiled_loops import compile_loops

from ..backend_choice import backend_in_use
from ..ground.command_line import CannotError
from ..ground.messages import one_line, plain
from ..ground.printing import print_message, print_text
from ..models.microexpnet import CLASSES
from ..network import Network
from ..optim import OPTIMIZERS, optimizer_from_name
from ..run import TrainingOptions
from ..run.losses_and_schedules import LOSSES, NO_TEACHER, make_loss
from ..run.networks import make_network
from .console import print_json
from .model_argument import add_model_argument, open_model

N_IMAGES = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_argument(parser, default="pretrained")
    parser.add_argument(
        "--training",
        action="store_true",
        help="also compile what training needs: every loss and optimizer, and the augmentation",
    )


def run(args: argparse.Namespace) -> int:
    model = open_model(args.model, args.variant)
    if backend_in_use(model.network.backend) == "numpy":
        raise CannotError("TINYCNN_BACKEND=numpy is set: nothing is compiled")
    work = {"face detection": detect_and_crop, "prediction": lambda: predict(model.network)}
    if args.training:
        work["training"] = lambda: train(model.network)
    seconds = {}
    for what, call in work.items():
        started = time.perf_counter()
        call()
        seconds[what] = time.perf_counter() - started
        if not args.json:
            print_text(f"{what}: ready after {seconds[what]:.1f} s")
            sys.stdout.flush()
    if backend_in_use(model.network.backend) == "numpy":
        raise CannotError("the kernels cannot be compiled here: see the warning above")
    folders = cache_folders()
    kept = {str(folder): _content(folder) for folder in folders if folder is not None}
    if args.json:
        caches = {folder: {"files": n, "bytes": size} for folder, (n, size) in kept.items()}
        print_json({"model": args.model, "seconds": seconds, "caches": caches})
    else:
        for folder, (n, size) in kept.items():
            print_text(plain(f"compiled code: {folder} ({n} files, {size / 1e6:.1f} MB)"))
    empty = [folder for folder, (n, _) in kept.items() if not n]
    if None in folders:
        print_message("error: there is no cache folder: the code could not be kept")
    if empty:
        print_message(plain(f"error: {' and '.join(empty)}: the code could not be kept"))
    return 1 if empty or None in folders else 0


def cache_folders() -> tuple[Path | None, Path | None]:
    """Where tinycnn and ferdata keep compiled code.  None: nowhere, for want of a home folder."""
    from ..kernels._jit import cache_folder

    faces = ferdata.cache_folder()
    if faces is None:
        return None, None
    return cache_folder(), faces / "kernels"


def _content(folder: Path) -> tuple[int, int]:
    """(number, bytes) of the files of compiled code in a folder and its subfolders."""
    sizes = [path.stat().st_size for path in folder.rglob("*.nb[ci]")]
    return len(sizes), sum(sizes)


# ---- what is called --------------------------------------------------------------------------


def detect_and_crop() -> None:
    """Search a photo for faces, and crop a face in every framing."""
    try:
        compile_loops()
    except Exception as error:  # Numba raises errors of many kinds
        raise CannotError(f"the loops of ferdata cannot be compiled: {one_line(error)}") from error
    photo = _random((240, 320))
    ferdata.find_faces(photo)
    for framing in ferdata.FRAMINGS:
        ferdata.find_faces(photo, framing, boxes=np.array([[80, 60, 120, 120]]))


def predict(network: Network) -> None:
    """One image, and a batch of them."""
    network.load_kernels()
    for n_images in (1, N_IMAGES):
        network.predict_proba(_random((n_images, *network.input_spec.shape)))


def train(network: Network) -> None:
    """What trains this network, and what `tinycnn train` trains without options, which has
    BatchNorm, with the dropout that an option adds; and the augmentation.

    The network is a copy in the file's dtype; its parameters end up changed.
    """
    for each in (network, make_network(TrainingOptions(dropout=0.1), CLASSES, None)):
        train_steps(each)
    matrices = np.broadcast_to([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]], (2, 2, 3))
    ferdata.warp_images(_random((2, 84, 84)), matrices, 84)


def train_steps(network: Network) -> None:
    """A step with each loss, on labels and on distributions, and with each optimizer."""
    n_classes = len(network.classes)
    x = network.scale(_random((N_IMAGES, *network.input_spec.shape)))
    labels = np.arange(N_IMAGES) % n_classes
    distributions = np.eye(n_classes, dtype=np.float32)[labels]
    for name in (NO_TEACHER, *LOSSES):
        for label_smoothing in (0.0, 0.1):
            loss = make_loss(name, 4.0, 0.5, "hinton", label_smoothing)
            soft_labels = None if name == NO_TEACHER else distributions
            for targets in (labels, distributions):
                _, logits = network.loss_and_gradients(x, loss, targets, soft_labels)
                loss(logits, targets, soft_labels)  # on its own, as in a validation
    for name in OPTIMIZERS:
        optimizer = optimizer_from_name(name, learning_rate=1e-9)
        optimizer.step(network.parameter_vector, network.gradient_vector)


def _random(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
