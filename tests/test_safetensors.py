"""A model file gives back what was saved, or one error that says what is wrong with it."""

import json
import os
import struct
import tracemalloc
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_networks import SMALL_NETWORKS, small_batch, small_network

import tinycnn
from tinycnn import Conv2D, Dense, Dropout, Flatten, InputSpec, Network
from tinycnn.formats import safetensors as model_file
from tinycnn.formats.safetensors import ModelFileError
from tinycnn.ground import atomic_file
from tinycnn.layers import Layer, UnknownLayerError

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def example(dtype=np.float32):
    """A network with every kind of layer, class names, a framing and a training summary."""
    layers, (H, W, C) = SMALL_NETWORKS["miniature"]
    classes = ("neutral", "anger", "größe", 'a "quoted"\n name')
    spec = InputSpec(H, W, C, scaling="standardized", classes=classes, framing="fer2013")
    network = Network(layers, spec, backend="numpy", dtype=dtype, seed=3)
    network.initialise(np.random.default_rng(3), bias_std=0.5)
    network.training_summary = {"epoch": 7, "val_accuracy": 0.625, "val_loss": None}
    return network


CONTENT = model_file.to_bytes(example())
"""A good file, which the tests below damage."""


def taken_apart(content=CONTENT):
    """(header, description, data) of a file, parsed without the safetensors library."""
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    return header, json.loads(header["__metadata__"]["tinycnn"]), content[8 + length :]


def put_together(header, data):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def without_checksum(content):
    header, description, data = taken_apart(content)
    del description["crc32"]
    header["__metadata__"]["tinycnn"] = json.dumps(description)
    return put_together(header, data)


UNCHECKED = without_checksum(CONTENT)
"""CONTENT without its checksum."""


def with_description(change):
    """CONTENT after change(description), or with the description that `change` returns."""
    header, description, data = taken_apart()
    instead = change(description)
    text = instead if isinstance(instead, str) else json.dumps(description)
    header["__metadata__"]["tinycnn"] = text
    return put_together(header, data)


def write(folder, content):
    path = folder / "model.safetensors"
    path.write_bytes(content)
    return path


def refused(folder, content, message):
    """Loading content raises ModelFileError that names the file."""
    path = write(folder, content)
    with pytest.raises(ModelFileError, match=message) as raised:
        tinycnn.load(path, backend="numpy")
    assert str(path) in str(raised.value)


# ---- saved and loaded ------------------------------------------------------------------------


@DTYPES
def test_everything_is_loaded_as_it_was_saved(tmp_path, dtype):
    network, path = example(dtype), tmp_path / "model.safetensors"
    tinycnn.save(network, path)
    again = tinycnn.load(path, backend="numpy")
    assert again.layers == network.layers and again.input_spec == network.input_spec
    assert again.dtype == dtype and again.training_summary == network.training_summary
    assert again.classes == network.classes and again.input_spec.framing == "fer2013"
    assert list(again.parameters) == list(network.parameters)
    for name, parameter in network.parameters.items():
        assert again.parameters[name].tobytes() == parameter.tobytes(), name
    images = np.random.default_rng(0).integers(0, 256, (3, 10, 9), dtype=np.uint8)
    np.testing.assert_array_equal(again.predict_logits(images), network.predict_logits(images))
    assert model_file.to_bytes(again) == model_file.to_bytes(network)


@pytest.mark.parametrize("name", sorted(SMALL_NETWORKS))
def test_every_small_network_can_be_saved_and_loaded(tmp_path, name):
    network, path = small_network(name, "numpy"), tmp_path / "m"
    tinycnn.save(network, str(path))
    again = tinycnn.load(str(path), backend="numpy")
    x = small_batch(name)
    np.testing.assert_array_equal(again.forward(x), network.forward(x))


def test_every_bit_of_a_weight_is_kept(tmp_path):
    """Also NaN with its payload, infinities, -0 and subnormal numbers."""
    network = example()
    bits = np.array([0x7FC00123, 0xFF800000, 0x80000000, 0x00000001], np.uint32)
    network.parameters["dense2.b"][:] = bits.view(np.float32)
    tinycnn.save(network, tmp_path / "m")
    again = tinycnn.load(tmp_path / "m", backend="numpy").parameters["dense2.b"]
    np.testing.assert_array_equal(again.copy().view(np.uint32), bits)


def test_a_loaded_network_can_be_trained_on_any_backend(tmp_path):
    tinycnn.save(example(), tmp_path / "m")
    found = []
    for backend in ("numba", "numpy"):
        network = tinycnn.load(tmp_path / "m", backend=backend, n_threads=2)
        assert network.backend == backend and network.n_threads == 2
        x = small_batch("miniature", 4, dtype=np.float32)
        network.forward(x, training=True)
        network.backward(np.ones((4, 4), np.float32))
        found.append(network.gradient_vector.copy())
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-5)
    assert found[0].any()


def test_the_file_is_plain_safetensors(tmp_path):
    """Any safetensors reader finds the tensors, and the header follows the format."""
    from safetensors.numpy import load_file

    network = example()
    tinycnn.save(network, tmp_path / "m")
    tensors = load_file(tmp_path / "m")
    assert {name: t.shape for name, t in tensors.items()} == {
        name: p.shape for name, p in network.parameters.items()
    }
    _, description, _ = taken_apart((tmp_path / "m").read_bytes())
    assert description["version"] == 1
    assert [layer["kind"] for layer in description["layers"]][:3] == ["Conv2D", "ReLU", "MaxPool2D"]
    assert description["layers"][0] == {
        "kind": "Conv2D",
        "filters": 5,
        "kernel_size": 4,
        "stride": 2,
        "padding": "same",
    }
    assert description["training"] == {"epoch": 7, "val_accuracy": 0.625, "val_loss": None}


def test_half_precision_is_read_as_float32(tmp_path):
    from safetensors.numpy import save

    network = example()
    halves = {name: p.astype(np.float16) for name, p in network.parameters.items()}
    header, _, _ = taken_apart(UNCHECKED)
    again = tinycnn.load(write(tmp_path, save(halves, header["__metadata__"])), backend="numpy")
    assert again.dtype == np.float32
    for name, half in halves.items():
        np.testing.assert_array_equal(again.parameters[name], half.astype(np.float32))


def test_sizes_may_be_numpy_integers(tmp_path):
    layers = [Flatten(), Dense(np.int64(3)), Dropout(np.float32(0.5)), Dense(np.int32(2))]
    network = Network(layers, InputSpec(np.int64(4), np.int16(5)), backend="numpy")
    tinycnn.save(network, tmp_path / "m")
    assert tinycnn.load(tmp_path / "m", backend="numpy").layers == network.layers


def test_extra_tensors_are_ignored_and_need_a_slash(tmp_path):
    network = example()
    extra = {"optimizer/m": np.ones(3)}
    content = model_file.to_bytes(network, extra, {"note": "hello"})
    path = write(tmp_path, content)
    assert tinycnn.load(path, backend="numpy").n_parameters == network.n_parameters
    tensors, metadata = model_file.read(path)
    np.testing.assert_array_equal(tensors["optimizer/m"], np.ones(3))
    assert metadata["note"] == "hello"
    with pytest.raises(ValueError, match="extra tensor 'm': expected a name with a '/'"):
        model_file.to_bytes(network, {"m": np.ones(3)})


@dataclass(frozen=True)
class Softsign(Layer):
    """x / (scale + |x|): a layer class that tinycnn does not have."""

    stem: ClassVar[str] = "softsign"
    scale: float = 1.0


def test_a_file_may_name_a_class_that_is_given(tmp_path, monkeypatch):
    """Tested up to the plan: whether the network runs is decided by the engine's tables."""
    own = Softsign(scale=2.5)
    path = write(tmp_path, with_description(lambda d: d["layers"].insert(1, own.config()) or None))
    with pytest.raises(ModelFileError, match="layer kind is 'Softsign'; .* in custom_layers"):
        tinycnn.load(path, backend="numpy")
    read = []

    def plan(layers, input_shape):
        read.extend(layers)
        raise UnknownLayerError("no entry for Softsign")

    monkeypatch.setattr(model_file, "build_plan", plan)
    with pytest.raises(UnknownLayerError, match="no entry for Softsign"):  # not ModelFileError
        tinycnn.load(path, backend="numpy", custom_layers=[Softsign])
    assert read == [example().layers[0], own, *example().layers[1:]]


# ---- writing ---------------------------------------------------------------------------------


def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    tinycnn.save(example(), path)
    before = path.read_bytes()

    def fail(*arguments):
        raise OSError("no space left on device")

    monkeypatch.setattr(atomic_file.os, "replace", fail)
    with pytest.raises(OSError, match="no space left"):
        tinycnn.save(example(np.float64), path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == [path.name]


def test_a_summary_that_json_cannot_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "model.safetensors"
    tinycnn.save(example(), path)
    network = example()
    network.training_summary = {"losses": np.zeros(3)}
    with pytest.raises(TypeError, match="JSON"):
        tinycnn.save(network, path)
    assert path.read_bytes() == CONTENT and os.listdir(tmp_path) == [path.name]


# ---- files that hold no network --------------------------------------------------------------


@pytest.mark.parametrize("where", ["missing.safetensors", "no/folder.safetensors", ""])
def test_a_missing_file(tmp_path, where):
    with pytest.raises(FileNotFoundError, match="no such model file") as raised:
        tinycnn.load(tmp_path / where, backend="numpy")
    assert str(tmp_path / where) in str(raised.value)


def test_a_truncated_file(tmp_path):
    lengths = {0, 1, 7, 8, 9, 40, len(CONTENT) // 2, len(CONTENT) - 1}
    for length in sorted(lengths | set(range(10, len(CONTENT), 97))):
        refused(tmp_path, CONTENT[:length], "not a safetensors file, or damaged")


def test_garbage(tmp_path):
    rng = np.random.default_rng(0)
    for content in (b"\x89PNG\r\n\x1a\n" + bytes(500), b"PK\x03\x04" * 300, b"{}" * 100):
        refused(tmp_path, content, "not a safetensors file")
    for length in (5, 100, 3000):
        refused(tmp_path, rng.bytes(length), "not a safetensors file")
    refused(tmp_path, CONTENT + b"more", "not a safetensors file, or damaged")


def test_another_programs_safetensors(tmp_path):
    from safetensors.numpy import save

    tensors = {"weight": np.zeros((3, 4), np.float32)}
    refused(tmp_path, save(tensors), "not a tinycnn model: 'tinycnn' is missing")
    refused(tmp_path, save(tensors, {"format": "pt"}), "not a tinycnn model")
    refused(tmp_path, save({}), "not a tinycnn model")


@pytest.mark.parametrize("name, size", [("BF16", 2), ("F8_E4M3", 1), ("F8_E5M2", 1)])
def test_dtypes_that_numpy_does_not_have(tmp_path, name, size):
    header, _, _ = taken_apart()
    end = 0
    for tensor in header.values():
        if "shape" in tensor:
            begin, end = end, end + size * int(np.prod(tensor["shape"]))
            tensor.update(dtype=name, data_offsets=[begin, end])
    # NumPy knows bfloat16 only if another package (from the onnx extra) has registered it
    message = "not a safetensors file, or damaged|expected float16, float32 or float64"
    refused(tmp_path, put_together(header, bytes(end)), message)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8, np.bool_])
def test_integer_weights_are_refused(tmp_path, dtype):
    from safetensors.numpy import save

    header, _, _ = taken_apart()
    tensors = {name: np.zeros(p.shape, dtype) for name, p in example().parameters.items()}
    content = save(tensors, header["__metadata__"])
    refused(tmp_path, content, "expected float16, float32 or float64")


# ---- descriptions that do not fit ------------------------------------------------------------


@pytest.mark.parametrize("key", ["version", "layers", "input_spec", "training"])
def test_every_part_of_the_description_is_needed(tmp_path, key):
    content = with_description(lambda d: d.pop(key) and None)
    refused(tmp_path, content, f"not a tinycnn model: '{key}' is missing")


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", "7", '"layers"', "NaN", "9" * 10_000, "[" * 100_000, "\\ud800"],
    ids=lambda text: text[:8] or "empty",
)
def test_a_description_that_is_not_an_object(tmp_path, text):
    refused(tmp_path, with_description(lambda d: text), "its description is not usable")


def test_deeply_nested_lists(tmp_path, monkeypatch):
    """At some depth they can still be read, but not written again for the checksum."""

    def too_deep(*arguments):
        raise RecursionError("maximum recursion depth exceeded")

    monkeypatch.setattr(model_file, "_checksum", too_deep)
    refused(tmp_path, CONTENT, "its checksum does not match")


@pytest.mark.parametrize("version", [0, 2, "1", None, [1], 1.5])
def test_another_version(tmp_path, version):
    def change(description):
        description["version"] = version
        description["layers"].append({"kind": "LayerOfTomorrow"})  # not what is reported

    refused(tmp_path, with_description(change), "version .*; this release reads 1")


WRONG_DESCRIPTIONS = {
    "unknown layer": (lambda d: d["layers"].append({"kind": "Softmax"}), "kind is 'Softmax'"),
    "layer without kind": (lambda d: d["layers"].append({}), "kind is None"),
    "kind is a list": (lambda d: d["layers"].append({"kind": ["ReLU"]}), "not usable"),
    "layer is a number": (lambda d: d["layers"].append(7), "not usable"),
    "layers is a number": (lambda d: d.update(layers=7), "not usable"),
    "layers is text": (lambda d: d.update(layers="ReLU"), "not usable"),
    "layers is an object": (lambda d: d.update(layers={"kind": "ReLU"}), "not usable"),
    "no layers": (lambda d: d.update(layers=[]), "vector of logits"),
    "foreign option": (lambda d: d["layers"][1].update(slope=1), "ReLU cannot be made"),
    "missing option": (lambda d: d["layers"][0].pop("filters") and None, "Conv2D cannot be made"),
    "negative size": (lambda d: d["layers"][0].update(filters=-5), "filters is -5"),
    "fraction": (lambda d: d["layers"][0].update(stride=1.5), "stride is 1.5"),
    "text as size": (lambda d: d["layers"][0].update(filters="5"), "filters is '5'"),
    "kernel of three": (lambda d: d["layers"][0].update(kernel_size=[4, 4, 4]), "kernel_size"),
    "padding": (lambda d: d["layers"][0].update(padding=["same"]), "padding is"),
    "rate": (lambda d: d["layers"][9].update(rate="all"), "rate is 'all'"),
    "rate is NaN": (lambda d: d["layers"][9].update(rate=float("nan")), "rate is nan"),
    "no flatten": (lambda d: d["layers"].pop(6) and None, "put Flatten"),
    "spec is null": (lambda d: d.update(input_spec=None), "not usable"),
    "spec is a list": (lambda d: d.update(input_spec=[1]), "not usable"),
    "spec with more": (lambda d: d["input_spec"].update(mean=3), "not usable"),
    "scaling": (lambda d: d["input_spec"].update(scaling="z-score"), "scaling is 'z-score'"),
    "scaling is a list": (lambda d: d["input_spec"].update(scaling=["raw"]), "scaling is"),
    "fewer classes": (lambda d: d["input_spec"].update(classes=["a"]), "1 class names for 4"),
    "no classes": (lambda d: d["input_spec"].update(classes=[]), "0 class names for 4"),
    "classes are null": (lambda d: d["input_spec"].update(classes=None), "not usable"),
    "classes are text": (lambda d: d["input_spec"].update(classes="abcd"), "classes is 'abcd'"),
    "one class twice": (lambda d: d["input_spec"].update(classes=["a"] * 4), "each name once"),
    "framing": (lambda d: d["input_spec"].update(framing=3), "framing is 3"),
    "training": (lambda d: d.update(training=[1, 2]), "training is"),
}


@pytest.mark.parametrize("what", WRONG_DESCRIPTIONS)
def test_a_wrong_description_is_explained(tmp_path, what):
    change, message = WRONG_DESCRIPTIONS[what]
    refused(tmp_path, with_description(change), message)


def test_layers_of_other_shapes_than_the_tensors(tmp_path):
    def change(description):
        description["layers"][7]["units"] = 7

    message = r"expected .*dense1.w \(3, 7\).*found .*dense1.w \(3, 6\)"
    refused(tmp_path, with_description(change), message)


def test_tensors_that_are_missing_or_too_many(tmp_path):
    from safetensors.numpy import save

    header, _, _ = taken_apart()
    tensors = {name: p.copy() for name, p in example().parameters.items()}
    fewer = {name: t for name, t in tensors.items() if name != "conv2.b"}
    refused(tmp_path, save(fewer, header["__metadata__"]), "tensors do not fit its layers")
    more = {**tensors, "conv3.b": np.zeros(3, np.float32)}
    refused(tmp_path, save(more, header["__metadata__"]), "conv3.b .3,.")
    transposed = {**tensors, "dense2.w": np.ascontiguousarray(tensors["dense2.w"].T)}
    refused(tmp_path, save(transposed, header["__metadata__"]), r"dense2.w \(4, 6\)")


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["layers"][7].update(units=10**9),
        lambda d: d["layers"][7].update(units=10**15),
        lambda d: d["layers"][7].update(units=10**40),
        lambda d: d["layers"][0].update(filters=10**6, kernel_size=10**6),
        lambda d: d["layers"][0].update(filters=2**32, kernel_size=2**16),
        lambda d: d["layers"][2].update(size=10**30),
        lambda d: d["input_spec"].update(height_px=10**6, width_px=10**6),
        lambda d: d["input_spec"].update(channels=10**12),
        lambda d: d["input_spec"].update(height_px=10**30),
    ],
)
def test_a_claim_of_huge_layers_takes_no_memory(tmp_path, change):
    path = write(tmp_path, with_description(change))
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError):
            tinycnn.load(path, backend="numpy")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4e6


def test_a_claim_of_huge_tensors_takes_no_memory(tmp_path):
    header, _, data = taken_apart()
    header["dense1.w"]["shape"] = [10**9, 10**9]
    refused(tmp_path, put_together(header, data), "not a safetensors file, or damaged")
    refused(tmp_path, struct.pack("<Q", 2**62) + CONTENT[8:], "not a safetensors file, or damaged")


@pytest.mark.parametrize(
    "options, message", [(dict(backend="cuda"), "backend"), (dict(n_threads=0), "n_threads")]
)
def test_a_wrong_option_is_not_blamed_on_the_file(tmp_path, options, message):
    path = write(tmp_path, CONTENT)
    with pytest.raises(ValueError, match=message) as raised:
        tinycnn.load(path, **options)
    assert not isinstance(raised.value, ModelFileError)


# ---- damage of every kind --------------------------------------------------------------------


@st.composite
def damaged(draw):
    """CONTENT with a few bytes changed, removed, doubled or inserted, mostly in its header."""
    content = bytearray(CONTENT)
    (length,) = struct.unpack("<Q", CONTENT[:8])
    for _ in range(draw(st.integers(1, 4))):
        end = draw(st.sampled_from([8, 8 + length, 8 + length, len(content)]))
        at = draw(st.integers(0, max(min(end, len(content)) - 1, 0)))
        kind = draw(st.sampled_from(["flip", "set", "digit", "cut", "double", "insert"]))
        if kind == "flip":
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "set":
            content[at] = draw(st.integers(0, 255))
        elif kind == "digit":
            digits = [
                k for k in range(8, 8 + length) if k < len(content) and chr(content[k]).isdigit()
            ]
            if digits:
                content[draw(st.sampled_from(digits))] = draw(st.sampled_from(b"0123456789-.e"))
        elif kind == "cut":
            del content[at : at + draw(st.integers(1, 20))]
        elif kind == "double":
            content[at:at] = content[at : at + draw(st.integers(1, 20))]
        else:
            content[at:at] = draw(st.binary(min_size=1, max_size=8))
        if not content:
            break
    return bytes(content)


N_LOADED = []


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged")


def loads_right_or_is_refused(folder, content):
    path = write(folder, content)
    try:
        network = tinycnn.load(path, backend="numpy")
    except ModelFileError as error:
        assert str(path) in str(error)
        return
    N_LOADED.append(content)
    H, W, C = network.input_spec.shape
    assert sum(p.size for p in network.parameters.values()) == network.n_parameters
    if H * W * C < 10_000:
        with np.errstate(all="ignore"):
            logits = network.forward(np.zeros((1, H, W, C), np.float32))
        assert logits.shape == (1, len(network.classes))


@given(content=damaged())
def test_damaged_files_are_refused_or_still_a_network(scratch, content):
    loads_right_or_is_refused(scratch, content)


def test_many_damaged_files(scratch):
    """Six hundred, from seeds, with one or two damaged bytes in length, header or weights."""
    rng = np.random.default_rng(11)
    (length,) = struct.unpack("<Q", UNCHECKED[:8])
    N_LOADED.clear()
    for k in range(600):
        content = bytearray(UNCHECKED)
        region = ((0, 8), (8, 8 + length), (8 + length, len(content)))[k % 3]
        for at in rng.integers(*region, 1 + k % 2):
            content[at] = rng.integers(32, 127) if k % 5 else rng.integers(0, 256)
        loads_right_or_is_refused(scratch, bytes(content))
    assert 200 <= len(N_LOADED) < 300  # without a checksum, a changed weight cannot be noticed


# ---- small files that claim much memory ------------------------------------------------------


def test_a_long_header_is_refused_before_it_is_read(tmp_path, monkeypatch):
    header_bytes = int.from_bytes(CONTENT[:8], "little")
    monkeypatch.setattr(model_file, "MAX_HEADER_BYTES", header_bytes)
    tinycnn.load(write(tmp_path, CONTENT), backend="numpy")
    monkeypatch.setattr(model_file, "MAX_HEADER_BYTES", header_bytes - 1)
    refused(tmp_path, CONTENT, f"a header of {header_bytes:,} bytes; at most")


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda d: d["layers"][2].update(size=10**6, stride=1), "a window of 1000000 over"),
        (
            lambda d: d["layers"][0].update(padding=[[10**6, 0], [0, 0]], stride=10**6),
            "padding of 1000000 over",
        ),
        (lambda d: d["input_spec"].update(height_px=30_000, width_px=30_000), "values an image"),
    ],
    ids=["window", "padding", "picture"],
)
def test_a_network_too_large_for_any_machine(tmp_path, change, words):
    refused(tmp_path, with_description(change), words)


def test_error_messages_are_one_short_line(tmp_path):
    long = "x\n\x1b[31m" * 10_000
    for content in (
        with_description(lambda d: d["input_spec"].update(scaling=long)),
        with_description(lambda d: d["layers"][7].update(units=7)).replace(
            b"conv1.w", b"c\\n\\tv1"
        ),
    ):
        path = write(tmp_path, content)
        with pytest.raises(ModelFileError) as raised:
            tinycnn.load(path, backend="numpy")
        message = str(raised.value).replace(str(path), "")
        assert message.isprintable() and len(message) < 3000


def test_every_reader_of_the_file_checks_the_checksum(tmp_path):
    """Also by the command line, and for checkpoints, which `network_from` reads."""
    damaged = with_description(lambda d: d["input_spec"].update(framing="another"))
    tensors, metadata = model_file.read(write(tmp_path, damaged))
    with pytest.raises(ModelFileError, match="its checksum does not match"):
        model_file.network_from("here", tensors, metadata, backend="numpy")


def test_means_and_deviations_of_channels(tmp_path):
    layers = [Conv2D(2, 3), Flatten(), Dense(2)]
    spec = InputSpec(4, 4, 3, scaling="unit", mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.25))
    network = Network(layers, spec, backend="numpy", seed=1)
    model_file.save(network, tmp_path / "m.safetensors")
    again = model_file.load(tmp_path / "m.safetensors", backend="numpy")
    assert again.input_spec == network.input_spec
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)
    np.testing.assert_array_equal(again.predict_logits(images), network.predict_logits(images))


def test_a_file_without_them_says_nothing_of_them():
    """Older releases read it, and it is written as they write it."""
    _, description, _ = taken_apart()
    assert "mean" not in description["input_spec"] and "std" not in description["input_spec"]
