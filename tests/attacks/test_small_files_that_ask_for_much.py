"""A model file of a few hundred bytes asks for gigabytes: the commands say so before they take
them, and refuse what the machine does not have."""

import tracemalloc

import numpy as np
import pytest
from PIL import Image

import tinycnn
from ferdata import DataError
from ferdata.files.npy_file import read_npy
from tinycnn import (
    CrossEntropy,
    Dense,
    Flatten,
    GlobalAveragePool2D,
    InputSpec,
    Network,
    ReLU,
    Residual,
)
from tinycnn import cli as program
from tinycnn.cli import memory_need
from tinycnn.formats import safetensors
from tinycnn.formats.agreement import images_of_shape
from tinycnn.ground import free_memory
from tinycnn.ground.command_line import CannotError

SIDE_PX = 4000
NEED = "16,000,002 values an image take about 1.6 GB of memory"


@pytest.fixture(scope="module")
def network():
    return Network([GlobalAveragePool2D(), Dense(1)], InputSpec(SIDE_PX, SIDE_PX), backend="numpy")


@pytest.fixture(scope="module")
def model(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    tinycnn.save(network, path)
    assert path.stat().st_size < 2000
    return path


@pytest.mark.parametrize(
    "command",
    [
        ("convert", "MODEL", "OUT.safetensors"),
        ("export", "MODEL", "--to", "onnx", "--out", "OUT.onnx"),
        ("export", "MODEL", "--to", "c", "--out", "OUT.c"),
        ("export", "MODEL", "--to", "python", "--out", "OUT.py"),
        ("gradcheck", "MODEL"),
        ("explain", "PICTURE", "--model", "MODEL", "--out", "OUT.html"),
    ],
)
def test_a_command_refuses_what_the_machine_does_not_have(
    model, tmp_path, monkeypatch, capsys, command
):
    monkeypatch.setattr(memory_need, "free_bytes", lambda: 10**9)
    Image.new("L", (8, 8)).save(tmp_path / "face.png")
    places = {"MODEL": str(model), "PICTURE": str(tmp_path / "face.png")}
    words = [places.get(word, word.replace("OUT", str(tmp_path / "out"))) for word in command]
    if command[0] == "explain" and "--model" not in program_help("explain"):
        words = ["explain", str(model), places["PICTURE"], *words[4:]]
    tracemalloc.start()
    try:
        status = program.main(words)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    err = capsys.readouterr().err
    assert status == 2 and f"small.safetensors: {NEED}; 1.0 GB are free" in err, err
    assert peak < 200e6 and list(tmp_path.iterdir()) == [tmp_path / "face.png"]


def program_help(command):
    import contextlib
    import io

    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.suppress(SystemExit):
        program.main([command, "--help"])
    return told.getvalue()


def test_what_is_free_is_said_and_taken(network, monkeypatch, capsys):
    for free in (10**10, None):
        monkeypatch.setattr(memory_need, "free_bytes", lambda free=free: free)
        memory_need.say_memory("a.safetensors", network)
        assert capsys.readouterr().err == f"note: a.safetensors: {NEED}\n"


def test_networks_of_ordinary_size_need_no_word(monkeypatch, capsys):
    monkeypatch.setattr(memory_need, "free_bytes", lambda: 0)
    memory_need.say_memory("microexpnet", tinycnn.models.microexpnet(backend="numpy"))
    assert capsys.readouterr().err == ""


def test_free_memory_is_read_from_the_system(tmp_path, monkeypatch):
    lines = "MemTotal:       16000 kB\nMemFree:  1 kB\nMemAvailable:     9000 kB\n"
    (tmp_path / "meminfo").write_text(lines)
    monkeypatch.setattr(free_memory, "_MEMORY", tmp_path / "meminfo")
    assert free_memory.free_bytes() == 9000 * 1024
    for other in ("", "MemAvailable:", "MemAvailable: much kB"):
        (tmp_path / "meminfo").write_text(other)
        assert free_memory.free_bytes() is None
    (tmp_path / "meminfo").unlink()
    assert free_memory.free_bytes() is None


def test_the_error_is_the_commands_own(network, monkeypatch):
    monkeypatch.setattr(memory_need, "free_bytes", lambda: 0)
    with pytest.raises(CannotError, match="0.0 GB are free"):
        memory_need.say_memory("a", network)


def peak_bytes(work):
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_many_classes_need_no_table_of_all_classes_by_all():
    """30,000 classes took 3.6 GB, and kept them."""
    k = 5000
    logits, labels = np.zeros((4, k), np.float32), np.arange(4)
    loss = CrossEntropy(label_smoothing=0.1)
    for call in (
        lambda: loss(logits, labels, backend="numpy"),
        lambda: tinycnn.Distillation()(logits, labels, logits, backend="numpy"),
    ):
        assert peak_bytes(call) < 40 * logits.nbytes


def test_the_images_of_an_export_are_drawn_one_by_one():
    shape = (500, 500, 1)
    assert peak_bytes(lambda: images_of_shape(shape)) < 6 * 250_000 + 25 * 250_000
    images = images_of_shape((3, 4, 1))
    assert images.dtype == np.uint8 and images.shape == (6, 3, 4, 1)
    assert (images[4] == 0).all() and (images[5] == 77).all() and images[3].max() == 255
    assert 100 <= images[2].min() <= images[2].max() < 110 and np.ptp(images[0]) > 50


def test_a_file_of_too_many_layers_is_refused_before_one_is_made(tmp_path, monkeypatch):
    branch = [ReLU() for _ in range(3)]
    layers = [Residual(branch), *(ReLU() for _ in range(4)), Flatten(), Dense(2)]
    tinycnn.save(Network(layers, InputSpec(4, 4), backend="numpy"), tmp_path / "m.safetensors")
    monkeypatch.setattr(safetensors, "MAX_LAYERS", 10)  # the block, 3 in it, 6 after it
    assert len(tinycnn.load(tmp_path / "m.safetensors", backend="numpy").layers) == len(layers)

    monkeypatch.setattr(safetensors, "MAX_LAYERS", 9)
    monkeypatch.setattr(safetensors, "layer_from_config", lambda *_: pytest.fail("made a layer"))
    with pytest.raises(ValueError, match="m.safetensors: .* more than 9 layers"):
        tinycnn.load(tmp_path / "m.safetensors")


def test_a_compressed_data_file_says_what_its_arrays_take(tmp_path, monkeypatch, capsys):
    layers = [Flatten(), Dense(2)]
    network = Network(layers, InputSpec(16, 16), backend="numpy")
    tinycnn.save(network, tmp_path / "m.safetensors")
    data, out = tmp_path / "data.npz", tmp_path / "out.safetensors"
    np.savez_compressed(data, images=np.zeros((9999, 16, 16), np.uint8), labels=np.zeros(9999, int))
    assert data.stat().st_size < 40_000
    monkeypatch.setattr(memory_need, "SAID_FROM_BYTES", 1 << 20)
    argv = ["convert", str(tmp_path / "m.safetensors"), str(out), "--data", str(data)]
    assert program.main(argv) == 0
    assert f"{data}: its arrays take about 0.0 GB of memory" in capsys.readouterr().err
    out.unlink()
    monkeypatch.setattr(memory_need, "free_bytes", lambda: 10**6)
    assert program.main(argv) == 2
    assert "data.npz: its arrays take about 0.0 GB of memory; 0.0 GB are free" in (
        capsys.readouterr().err
    )
    assert not out.exists()


def test_the_header_of_an_array_is_no_longer_than_its_file(tmp_path):
    path = tmp_path / "0_exp.npy"
    path.write_bytes(b"\x93NUMPY\x02\x00" + (3 << 30).to_bytes(4, "little") + b"{'descr': '<U1'}")
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="0_exp.npy: .* says that 3,221,225,472 are its header"):
            read_npy(path, 4096)
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()
