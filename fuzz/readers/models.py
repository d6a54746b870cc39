"""Readers of tinycnn's own model files and checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fuzz.readers.registry import Reader, reader, written

if TYPE_CHECKING:
    from tinycnn.network import Network


def small_network() -> Network:
    from tinycnn import Conv2D, Dense, Dropout, Flatten, InputSpec, MaxPool2D, Network, ReLU

    layers = [Conv2D(2, 3, stride=2), ReLU(), MaxPool2D(2), Flatten(), Dropout(0.5), Dense(2)]
    spec = InputSpec(8, 7, scaling="unit", classes=("calm", "glad"), framing="paper")
    network = Network(layers, spec, backend="numpy")
    network.training_summary = {"epochs": 3, "recipe": {"name": "fer"}}
    return network


@reader(share=1)
def safetensors(folder: Path) -> Reader:
    """A model file."""
    import tinycnn
    from tinycnn.formats.safetensors import ModelFileError, to_bytes

    read = written(folder, "model.safetensors", lambda p: tinycnn.load(p, backend="numpy"))
    return Reader(
        read,
        (ModelFileError,),
        lambda: {
            "float32": to_bytes(small_network()),
            "float16": to_bytes(small_network(), dtype="float16"),
        },
    )


@reader(share=1)
def quantized_network(folder: Path) -> Reader:
    """A model file in 8-bit integers, without a checksum; what is read also predicts."""
    import safetensors.numpy

    import tinycnn
    from tinycnn.formats.safetensors import QUANTIZED_KEY, ModelFileError, quantized_bytes

    def read_and_predict(path: Path) -> None:
        network = tinycnn.load_quantized(path, backend="numpy")
        network.predict_logits(np.zeros((1, *network.input_spec.shape), np.uint8))

    def unchecked() -> bytes:
        images = np.arange(2 * 56, dtype=np.uint8).reshape(2, 8, 7)
        content = quantized_bytes(small_network().quantized(images))
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        described = json.loads(header["__metadata__"][QUANTIZED_KEY])
        del described["crc32"]
        tensors = safetensors.numpy.load(content)
        return safetensors.numpy.save(tensors, {QUANTIZED_KEY: json.dumps(described)})

    read = written(folder, "int8.safetensors", read_and_predict)
    return Reader(read, (ModelFileError,), lambda: {"int8": unchecked()})


@reader(share=1)
def model_description(folder: Path) -> Reader:
    """The JSON in a model file that describes the network, without a checksum."""
    import safetensors.numpy

    import tinycnn
    from tinycnn.formats.safetensors import ModelFileError, to_bytes

    content = to_bytes(small_network())
    tensors = safetensors.numpy.load(content)
    path = folder / "model.safetensors"
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    described = json.loads(header["__metadata__"]["tinycnn"])
    del described["crc32"]

    def read(data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        path.write_bytes(safetensors.numpy.save(tensors, {"tinycnn": text}))
        network = tinycnn.load(path, backend="numpy")
        network.predict_proba(np.zeros((1, *network.input_spec.shape), np.uint8))

    return Reader(read, (ModelFileError,), lambda: {"good": json.dumps(described).encode()})


@reader(share=0.5)
def checkpoint_state(folder: Path) -> Reader:
    """The JSON in a checkpoint that a resumed training needs."""
    from tinycnn import Adam, checkpoint
    from tinycnn.formats.safetensors import to_bytes

    network, optimizer = small_network(), Adam(1e-3)
    path = checkpoint.path_in(folder)
    record = {"epoch": 0, "train_loss": 1.5, "val_loss": None, "is_best": True}
    good: dict[str, Any] = {
        "configuration": {"loss": "CrossEntropy()"},
        "records": [record, {**record, "epoch": 1, "is_best": False}],
        "dropout_generator": network.dropout_generator.bit_generator.state,
    }
    slots = {f"optimizer/{name}": array for name, array in optimizer.state().items()}
    path.parent.mkdir()

    def read(data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        path.write_bytes(to_bytes(network, slots, {checkpoint.METADATA_KEY: text}))
        checkpoint.records_in(folder)
        checkpoint.load(path, network, optimizer, good["configuration"])

    errors = (checkpoint.CheckpointError,)
    return Reader(read, errors, lambda: {"good": json.dumps(good).encode()})
