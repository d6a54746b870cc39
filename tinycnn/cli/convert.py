"""make a model file from a TensorFlow checkpoint, an ONNX model or another model file

Prints what the conversion changed: file size, logits, top-1 classes and, with labels, accuracy.
With --dtype int8 it makes a network in 8-bit integers, for prediction alone.
"""

from __future__ import annotations

import argparse
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

import ferdata
from ferdata.photos.picture_formats import is_picture
from ferdata.sources.dataset_options import add_dataset_options, dataset_arguments

from ..formats import safetensors
from ..ground.command_line import CannotError
from ..ground.messages import in_short, plain
from ..ground.output_files import check_out, reads, writes
from ..ground.printing import print_message, print_text
from ..ground.progress import ProgressBar
from ..ground.regular_file import open_regular
from ..metrics import accuracy, check_classes
from ..network import Network
from ..quantized.network import QuantizedNetwork
from ..testing import logit_error
from .console import print_json
from .dataset_notes import notes_on
from .image_argument import read_image
from .memory_need import say_arrays, say_memory
from .model_argument import add_model_argument, open_model
from .photo_files import PassedOver, find_photos

N_RANDOM_IMAGES = 256
N_CALIBRATION = 512
N_INTEGER_ONLY = 4096

MAX_DATA_BYTES = 4 << 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_argument(parser, "IN")
    writes(parser.add_argument("out", metavar="OUT", help="the .safetensors file to write"))
    parser.add_argument(
        "--dtype",
        choices=("float32", "float16", "int8"),
        default="float32",
        help="dtype of the weights in OUT; float16 halves the file, computations are in float32 "
        "with either; int8 takes a fourth, and weights and values are 8-bit integers (default: "
        "%(default)s)",
    )
    reads(
        parser.add_argument(
            "--calibration",
            metavar="PATH",
            help="images for --dtype int8, on which the ranges of all values are measured: an .npz "
            "with the array `images`, a folder of pictures of the network's size, or any data set "
            f"that --data takes; of many, {N_CALIBRATION} are used (default: those of --data)",
        )
    )
    reads(
        parser.add_argument(
            "--data",
            metavar="PATH",
            help="images with labels, on which both models are compared: an .npz with the arrays "
            "`images` (N, H, W) uint8 and `labels` (N,), class numbers, or any data set that "
            f"ferdata.open reads (default: {N_RANDOM_IMAGES} random images, without accuracy)",
        )
    )
    add_dataset_options(parser.add_argument_group("data set", "how --data is read"))


def run(args: argparse.Namespace) -> int:
    out = check_out(args.out)
    if out.suffix != ".safetensors":
        raise CannotError(
            f"{args.out}: expected a name that ends in .safetensors (for other kinds of files use "
            "tinycnn export)"
        )
    model = open_model(args.model, args.variant)
    network = model.network
    say_memory(args.model, network)
    if args.calibration and args.dtype != "int8":
        raise CannotError("--calibration: only --dtype int8 needs images")
    images: np.ndarray
    labels: np.ndarray | None
    written: Network | QuantizedNetwork
    notes: dict[str, Any] = {}
    source = args.data
    if args.dtype == "int8":
        source = args.data or args.calibration
        calibration, labels = calibration_images(args, network)
        images = calibration
        if args.data:
            images, labels = labelled_images(args, network, args.data)
        written, notes = _quantized(network, calibration, out)
    else:
        images, labels = _random(network), None
        if args.data:
            images, labels = labelled_images(args, network, args.data)
        safetensors.save(network, out, dtype=args.dtype)
        written = safetensors.load(out)
    compared = compare(network, written, images, labels)
    if isinstance(written, QuantizedNetwork):
        compared |= compare_integer_only(written, images, labels)
    found = {
        "in": args.model,
        "out": str(out),
        "dtype_in": model.dtype,
        "dtype_out": args.dtype,
        "bytes_in": sum(path.stat().st_size for path in model.paths),
        "bytes_out": out.stat().st_size,
        **notes,
        **compared,
    }
    if args.json:
        print_json(found)
    else:
        _print(found, source)
    return 0


def _quantized(
    network: Network, images: np.ndarray, out: Path
) -> tuple[QuantizedNetwork, dict[str, Any]]:
    """Write the network in 8-bit integers; returns it, and facts about it for the JSON output."""
    n = len(images)
    chosen = images[np.arange(min(n, N_CALIBRATION)) * n // min(n, N_CALIBRATION)]
    try:
        quantized = network.quantized(chosen)
    except ValueError as error:
        raise CannotError(f"{out}: {in_short(error)}") from None
    safetensors.save(quantized, out)
    facts = {
        "n_calibration_images": len(chosen),
        "layers_in_float": list(quantized.layers_in_float),
    }
    return safetensors.load_quantized(out), facts


def calibration_images(
    args: argparse.Namespace, network: Network
) -> tuple[np.ndarray, np.ndarray | None]:
    """The images of --calibration, or of --data without it; and labels, if there are any."""
    name = args.calibration or args.data
    if name is None:
        raise CannotError(
            "--dtype int8: needs images on which the ranges of values are measured; give "
            "--calibration or --data"
        )
    path = Path(name)
    if path.suffix == ".npz" and not ferdata.is_packed(path):
        return read_data(name, network, needs_labels=False)
    if path.is_dir() and any(inside.is_file() and is_picture(inside) for inside in path.iterdir()):
        return pictures_in(path, network), None
    return labelled_images(args, network, name)


def pictures_in(folder: Path, network: Network) -> np.ndarray:
    """The pictures in a folder, as the network takes them."""
    passed_over, pictures = PassedOver(), []
    for found in find_photos([folder], None):
        if found.problem:
            raise CannotError(f"{found.path}: {found.problem}")
        if found.is_picture:
            pictures.append(read_image(str(found.path), network.input_spec))
        else:
            passed_over.add(found)
    if passed_over.names:
        print_message(f"note: {plain(passed_over.summary())}")
    return np.stack(pictures)


def compare(
    before: Network,
    after: Network | QuantizedNetwork,
    images: np.ndarray,
    labels: np.ndarray | None,
) -> dict[str, Any]:
    """How much two networks differ on images: logits, top-1 classes and, with labels, accuracy."""
    logits = [network.predict_logits(images) for network in (before, after)]
    found: dict[str, Any] = {
        "n_images": len(images),
        "logit_error": logit_error(logits[1], logits[0]),
        "top1_agreement": float((logits[0].argmax(axis=1) == logits[1].argmax(axis=1)).mean()),
    }
    if labels is not None:
        found["accuracy_in"], found["accuracy_out"] = (accuracy(z, labels) for z in logits)
    return found


def compare_integer_only(
    quantized: QuantizedNetwork, images: np.ndarray, labels: np.ndarray | None
) -> dict[str, Any]:
    """How much the network's form in integers alone differs from it, on at most N_INTEGER_ONLY of
    the images, evenly chosen; nothing if it has no such form."""
    if quantized.layers_in_float:
        return {}
    n = min(len(images), N_INTEGER_ONLY)
    rows = np.arange(n) * len(images) // n
    parts = []
    with ProgressBar("in integers alone", leave=False) as progress:
        for k in range(0, n, N_CALIBRATION):
            progress(k, n)
            part = images[rows[k : k + N_CALIBRATION]]
            parts.append(quantized.predict_integer_logits(part).values)
    integers = np.concatenate(parts)
    top1 = quantized.predict_logits(images[rows]).argmax(axis=1)
    found: dict[str, Any] = {
        "n_integer_only_images": n,
        "integer_only_agreement": float((integers.argmax(axis=1) == top1).mean()),
    }
    if labels is not None:
        found["integer_only_accuracy"] = accuracy(integers.astype(np.float64), labels[rows])
    return found


def labelled_images(
    args: argparse.Namespace, network: Network, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """The images and class numbers of the data set `name`, as the network takes them."""
    path, arguments = Path(name), dataset_arguments(args)
    if path.suffix == ".npz" and not ferdata.is_packed(path):
        if arguments:
            raise CannotError(
                f"{path}: holds the arrays of a model's input, to which no option of a data set "
                "applies"
            )
        images, labels = read_data(name, network)
        assert labels is not None
        return images, labels
    with ProgressBar(f"reading {path.name}", leave=False) as progress:
        faces = ferdata.open_training_faces(path, progress=progress, **arguments)
    for note in notes_on(faces.dataset):
        print_message(f"note: {note}")
    spec = network.input_spec
    if spec.shape != (spec.height_px, spec.height_px, 1):
        raise CannotError(f"{args.model}: takes {spec.shape} images; faces are square and grey")
    if faces.framing and spec.framing and faces.framing != spec.framing:
        raise CannotError(
            f"{path}: its faces are cut with framing {faces.framing}, those that {args.model} "
            f"learned from with {spec.framing}"
        )
    dataset, classes = faces.dataset.labelled(), ferdata.LabelSpace("the model", network.classes)
    dropped = ferdata.label_map(faces.dataset.label_space or classes, classes, True).dropped
    dataset = dataset.to_label_space(classes, allow_lossy=True)
    if not len(dataset) or dataset.labels is None:
        raise CannotError(f"{path}: no image with a label that {args.model} knows")
    if dropped:
        left_out = f"without the images of {', '.join(dropped)}: no class of {args.model}"
        print_message(plain(left_out))
    images = dataset.images
    if images.shape[1:] != spec.shape[:2]:
        images = ferdata.resize_images(images, spec.height_px)
    return images, dataset.labels


def read_data(
    path: str, network: Network, needs_labels: bool = True
) -> tuple[np.ndarray, np.ndarray | None]:
    """The arrays images and labels of an .npz file, checked to be what the network takes."""
    if not Path(path).is_file():
        raise CannotError(f"{path}: no such file")
    try:
        with open_regular(path) as opened, zipfile.ZipFile(opened) as archive:
            names = archive.namelist()
            missing = [name for name in ("images", "labels") if f"{name}.npy" not in names]
            if missing and (needs_labels or "images" in missing):
                raise CannotError(f"{path}: has no array {' or '.join(missing)}")
            arrays = ["images.npy"] if missing else ["images.npy", "labels.npy"]
            say_arrays(path, sum(archive.getinfo(array).file_size for array in arrays))
            images, *rest = (_array(archive, array) for array in arrays)
            labels = rest[0] if rest else None
    except CannotError:
        raise
    except Exception as error:  # damaged files raise many kinds of exception
        raise CannotError(
            f"{path}: not an .npz file of plain arrays, or damaged: {in_short(error)}"
        ) from None
    H, W, C = network.input_spec.shape
    fits = images.shape[1:] == (H, W, C) or (C == 1 and images.shape[1:] == (H, W))
    if images.dtype != np.uint8 or not fits or not len(images):
        raise CannotError(
            f"{path}: images is {images.dtype} {images.shape}; expected uint8 (N, {H}, {W}) for "
            "this model"
        )
    if labels is None:
        return images, None
    try:
        return images, check_classes("labels", labels, len(images), len(network.classes))
    except (TypeError, ValueError) as error:
        raise CannotError(f"{path}: {error}") from None


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """One array.  Its size is compared with its header before memory is allocated for it."""
    with archive.open(name) as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError(f"{name} has another format version than 1.0")
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        n_bytes = math.prod(shape, start=dtype.itemsize)
        if n_bytes != archive.getinfo(name).file_size - file.tell() or n_bytes > MAX_DATA_BYTES:
            raise ValueError(f"{name} is not as long as its shape {shape} says, or too long")
    with archive.open(name) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _random(network: Network) -> np.ndarray:
    shape = (N_RANDOM_IMAGES, *network.input_spec.shape)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def _print(found: dict[str, Any], data: str | None) -> None:
    sizes = f"{found['bytes_in']:,} -> " if found["bytes_in"] else ""
    print_text(
        plain(f"{found['in']} ({found['dtype_in']}) -> {found['out']} ({found['dtype_out']})")
    )
    print_text(f"  bytes: {sizes}{found['bytes_out']:,}")
    if "n_calibration_images" in found:
        names = found["layers_in_float"]
        in_float = f"; {len(names)} layers in float32: {', '.join(names)}" if names else ""
        print_text(
            plain(f"  int8: ranges measured on {found['n_calibration_images']:,} images{in_float}")
        )
    where = f"images of {data}" if data else "random images"
    print_text(plain(f"  on {found['n_images']:,} {where}"))
    print_text(f"  logits: differ by {found['logit_error']:.1e} of the largest logit")
    print_text(f"  top-1:  the same for {found['top1_agreement']:.2%}")
    if "accuracy_in" in found:
        print_text(f"  accuracy: {found['accuracy_in']:.2%} -> {found['accuracy_out']:.2%}")
    if "integer_only_agreement" in found:
        of = (
            f" of {n:,} images" if (n := found["n_integer_only_images"]) < found["n_images"] else ""
        )
        print_text(
            f"  in integers alone: top-1 the same for {found['integer_only_agreement']:.2%}{of}"
        )
    if "integer_only_accuracy" in found:
        print_text(f"  accuracy in integers alone: {found['integer_only_accuracy']:.2%}{of}")
