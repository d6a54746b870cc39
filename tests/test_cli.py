"""The console command: what it prints, its exit status, and errors of one line."""

import json
import logging
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tf_bundle
from PIL import Image
from small_networks import SMALL_NETWORKS

import ferdata
import tinycnn
import tinycnn.pictures
from tinycnn import Dense, Flatten, InputSpec, Network, ReLU, cli, models, reference
from tinycnn.export.browser import node_check
from tinycnn.formats.agreement import ExportError
from tinycnn.ground.messages import in_short, one_line, plain
from tinycnn.testing import GradientError, check_gradients, logit_error

ROOT = Path(__file__).resolve().parent.parent
OF_A_MODEL = ("info", "convert", "export", "explain", "gradcheck")
COMMANDS = ("train", "sweep", *OF_A_MODEL)
ARGUMENT = {"convert": "IN", "train": "--resume", "sweep": "--temperature"}
CLASSES = ("calm", "glad", "sad", "cross")


def make(scaling="unit", seed=2, classes=CLASSES):
    """A miniature of MicroExpNet that takes 10x9 px."""
    layers, (H, W, C) = SMALL_NETWORKS["miniature"]
    network = Network(layers, InputSpec(H, W, C, scaling=scaling, classes=classes), seed=seed)
    network.initialise(np.random.default_rng(seed), bias_std=0.3)
    network.training_summary = {"epoch": 3, "seed": 7}
    network.calibration_temperature = 1.25
    return network


def images(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 10, 9), dtype=np.uint8)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.safetensors"
    tinycnn.save(make(), path)
    return path


@pytest.fixture
def face(tmp_path):
    path = tmp_path / "face.png"
    Image.fromarray(images(1)[0]).save(path)
    return path


@pytest.fixture
def run(capsys):
    """run(*argv) -> (exit status, stdout, stderr)."""

    def call(*argv):
        status = cli.main([str(word) for word in argv])
        return (status, *capsys.readouterr())

    return call


@pytest.fixture
def run_json(run):
    def call(*argv, status=0):
        found, out, err = run(*argv, "--json")
        assert found == status, err
        return json.loads(out)

    return call


@pytest.fixture
def refused(run):
    """refused(*argv) -> the one line on stderr, with status 2 and nothing else."""

    def call(*argv):
        status, out, err = run(*argv)
        assert (status, out) == (2, "")
        assert err.startswith("error: ") and err.endswith("\n") and err.count("\n") == 1
        return err

    return call


# ---- the command itself ----------------------------------------------------------------------


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)], ids=str)
def test_help(command, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([*command, "--help"])
    out, err = capsys.readouterr()
    assert ended.value.code == 0 and out.startswith("usage: tinycnn") and not err
    for name in COMMANDS if not command else ("--json", ARGUMENT.get(command[0], "MODEL")):
        assert name in out


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0 and capsys.readouterr().out.split()[1] == tinycnn.__version__


@pytest.mark.parametrize(
    "argv, message",
    [
        ([], "COMMAND"),
        (["bogus"], "invalid choice: 'bogus'"),
        (["info"], "MODEL"),
        (["info", "microexpnet", "--bogus"], "--bogus"),
        (["export", "microexpnet", "--to", "java", "--out", "x"], "java"),
        (
            ["explain", "microexpnet", "x.png", "--entries", "0"],
            "'0': expected a whole number of 1",
        ),
        (["gradcheck", "--seed", "-1"], "'-1': expected a whole number of 0"),
        (["gradcheck", "--tolerance", "nan"], "'nan': expected a number above 0"),
        (["gradcheck", "--images", "two"], "'two'"),
    ],
)
def test_wrong_options(refused, argv, message):
    assert message in refused(*argv)


def test_as_a_program(model):
    """In a separate process, also with a pipe that is closed early, as `head` does."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tinycnn.cli"]
    done = subprocess.run(
        [*command, "info", str(model)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0 and "calm, glad, sad, cross" in done.stdout and not done.stderr
    done = subprocess.run(
        [*command, "info", str(model) + "x"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and not done.stdout
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*command, "info", str(model)], env=environment, stdout=write, stderr=subprocess.PIPE
    )
    os.close(write)
    assert done.returncode == 141 and not done.stderr


def test_ctrl_c_and_no_memory(monkeypatch, run, model):
    def stop(error):
        def raise_it(*args, **options):
            raise error

        return raise_it

    monkeypatch.setattr("tinycnn.cli.info.open_to_predict", stop(KeyboardInterrupt()))
    assert run("info", model)[0] == 130
    monkeypatch.setattr("tinycnn.cli.info.open_to_predict", stop(MemoryError()))
    assert run("info", model) == (2, "", "error: not enough memory\n")


def test_control_characters_are_removed_for_a_terminal():
    assert plain("a\x1b[31mb\nc é") == "a\ufffd[31mb\ufffdc é"
    assert one_line(ValueError("two\n  lines")) == "two lines"
    assert one_line(FileNotFoundError(2, "No such file", "x")) == "x: No such file"
    assert one_line(ValueError()) == "ValueError"


# ---- what MODEL may be -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("nothing.safetensors", None, "no such file; expected a .safetensors file"),
        ("text.safetensors", b"hello", "not a safetensors file"),
        ("folder", "folder", "is a folder"),
        ("cut.index", b"short", "not a checkpoint index"),
        ("gone.data-00000-of-00001", b"", "no such checkpoint index"),
    ],
)
@pytest.mark.parametrize("command", OF_A_MODEL)
def test_files_that_are_not_models(refused, tmp_path, face, command, name, content, message):
    path = tmp_path / name
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    more = {
        "convert": [tmp_path / "out.safetensors"],
        "export": ["--to", "python", "--out", tmp_path / "out.py"],
        "explain": [face, "--out", tmp_path / "out.html"],
    }
    error = refused(command, path, *more.get(command, []))
    assert message in error and name.split(".")[0] in error
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    "name, n_parameters", [("microexpnet", 65_000), ("microexpnet-p1-S", 257_656)]
)
def test_models_by_name(run_json, name, n_parameters):
    found = run_json("info", name)
    assert found["n_parameters"] == n_parameters and found["kind"] == "new weights"


def test_the_shipped_weights(run_json):
    for name in ("pretrained", "ferplus"):
        found = run_json("info", name)
        assert found["n_parameters"] == 65_000 and found["training"]
        assert list(found["files"].values())[0] > 100_000


# ---- info ------------------------------------------------------------------------------------


def test_info(run, run_json, model):
    network = make()
    found = run_json("info", model)
    assert (
        found["n_parameters"]
        == network.n_parameters
        == sum(layer["n_parameters"] for layer in found["layers"])
    )
    assert [(x["name"], tuple(x["output_shape"])) for x in found["layers"]] == [
        (step.name, step.output_shape) for step in network.plan.steps
    ]
    assert InputSpec(**found["input_spec"]) == network.input_spec
    assert found["calibration_temperature"] == 1.25 and found["training"] == {"epoch": 3, "seed": 7}
    assert found["files"] == {str(model): model.stat().st_size} and found["dtype"] == "float32"
    costs = {x["name"]: x["n_multiply_adds"] for x in found["layers"]}
    # 4x4x1 windows at 5x5 positions for 5 filters; 2x2x5 at 2x2 for 3; 3 values to 6 units, 6 to 4
    expected = {"conv1": 16 * 25 * 5, "conv2": 20 * 4 * 3, "dense1": 3 * 6, "dense2": 6 * 4}
    assert {name: n for name, n in costs.items() if n} == expected
    assert found["n_multiply_adds"] == sum(expected.values())
    status, out, _ = run("info", model)
    assert status == 0
    for shown in ("10x9x1 uint8, scaling unit", "calm, glad, sad, cross", "1.25", "epoch: 3"):
        assert shown in out
    assert "2,282" in out and f"{network.n_parameters:,} parameters" in out
    for step in network.plan.steps:
        assert any(line.startswith(step.name) for line in out.splitlines())


def test_microexpnets_multiply_adds(run_json):
    assert run_json("info", "microexpnet")["n_multiply_adds"] == pytest.approx(2.85e6, rel=2e-3)


def test_names_from_a_file_cannot_send_control_characters(run, tmp_path):
    path = tmp_path / "nasty.safetensors"
    network = make(classes=("\x1b[31mred", "b", "c\nd", "e"))
    network.training_summary = {"\x1bkey": "\x1bvalue"}
    tinycnn.save(network, path)
    status, out, _ = run("info", path)
    assert status == 0 and "\x1b" not in out and "\ufffd[31mred, b, c\ufffdd, e" in out


@pytest.fixture
def checkpoint(tmp_path):
    """A network as a TensorFlow checkpoint with the paper's names: (prefix, network)."""
    network = models.microexpnet("p1", "XXS", n_classes=3, seed=4)
    names = tinycnn.formats.tf_checkpoint.PUBLISHED_NAMES
    tensors = {names[name]: p for name, p in network.parameters.items()}
    return tf_bundle.write(str(tmp_path / "model"), tensors), network


def test_a_tensorflow_checkpoint(run_json, refused, checkpoint):
    prefix, network = checkpoint
    for name in (prefix, prefix + ".index", prefix + ".data-00000-of-00001", prefix + ".meta"):
        found = run_json("info", name, "--variant", "p1")
        assert found["n_parameters"] == network.n_parameters
        assert found["kind"] == "TensorFlow checkpoint" and len(found["files"]) == 2
    assert "variant" in refused("info", prefix)


def test_a_damaged_checkpoint_is_not_mistaken_for_another_kind(refused, checkpoint):
    data = Path(checkpoint[0] + ".data-00000-of-00001")
    content = bytearray(data.read_bytes())
    content[1000] ^= 1
    data.write_bytes(content)
    assert "checksum" in refused("info", checkpoint[0], "--variant", "p1")


def test_other_checkpoints_are_listed(run, run_json, refused, tmp_path):
    tensors = {"a/kernel": np.zeros((2, 3), np.float32), "step": np.array(5, np.int64)}
    prefix = tf_bundle.write(str(tmp_path / "other"), tensors)
    found = run_json("info", prefix)
    assert found["tensors"] == [
        {"name": "a/kernel", "dtype": "float32", "shape": [2, 3]},
        {"name": "step", "dtype": "int64", "shape": []},
    ]
    status, out, _ = run("info", prefix)
    assert status == 0 and "a/kernel" in out and "2x3" in out and "scalar" in out
    assert "wc1" in refused("gradcheck", prefix)


# ---- convert ---------------------------------------------------------------------------------


def test_convert_a_checkpoint(run_json, checkpoint, tmp_path):
    prefix, network = checkpoint
    out = tmp_path / "out.safetensors"
    found = run_json("convert", prefix, out, "--variant", "p1")
    written = tinycnn.load(out)
    for name, parameter in network.parameters.items():
        np.testing.assert_array_equal(written.parameters[name], parameter)
    assert found["logit_error"] == 0 and found["top1_agreement"] == 1
    assert found["n_images"] == 256 and "accuracy_in" not in found


def test_convert_to_float16_and_back(run, run_json, tmp_path):
    network = models.microexpnet(scaling="standardized", seed=3, bias_std=0.2)
    faces = np.random.default_rng(1).integers(0, 256, (40, 84, 84), dtype=np.uint8)
    labels = network.predict_logits(faces).argmax(axis=1)
    labels[:10] = (labels[:10] + 1) % 8  # so 30 of the 40 predictions are right
    np.savez(tmp_path / "data.npz", images=faces, labels=labels)
    full, half, again = (tmp_path / f"{name}.safetensors" for name in ("full", "half", "again"))
    tinycnn.save(network, full)
    found = run_json("convert", full, half, "--dtype", "float16", "--data", tmp_path / "data.npz")
    assert found["bytes_in"] == full.stat().st_size and found["bytes_out"] == half.stat().st_size
    assert found["bytes_out"] < 0.52 * found["bytes_in"] and found["n_images"] == 40
    rounded = tinycnn.load(half)
    for name, parameter in network.parameters.items():
        np.testing.assert_array_equal(rounded.parameters[name], parameter.astype(np.float16))
    expected = logit_error(rounded.predict_logits(faces), network.predict_logits(faces))
    assert found["logit_error"] == pytest.approx(expected) and 0 < expected < 0.01
    assert found["accuracy_in"] == 0.75
    right = rounded.predict_logits(faces).argmax(axis=1) == labels
    assert found["accuracy_out"] == right.mean()
    status, out, _ = run("convert", half, again, "--data", tmp_path / "data.npz")
    assert status == 0 and f"accuracy: {right.mean():.2%} -> {right.mean():.2%}" in out
    assert "(float16)" in out and "(float32)" in out and "differ by 0.0e+00" in out
    assert again.stat().st_size == full.stat().st_size


def test_what_cannot_be_converted(refused, model, tmp_path):
    before = model.read_bytes()
    assert "is the input itself" in refused("convert", model, model)
    assert "ends in .safetensors" in refused("convert", model, tmp_path / "out.onnx")
    assert "there is no folder" in refused("convert", model, tmp_path / "a" / "b.safetensors")
    assert "is a folder" in refused("convert", model, tmp_path)
    network = make()
    network.parameters["conv1.b"][0] = 1e6
    tinycnn.save(network, tmp_path / "large.safetensors")
    out = tmp_path / "out.safetensors"
    large = refused("convert", tmp_path / "large.safetensors", out, "--dtype", "float16")
    assert "conv1.b" in large
    assert not out.exists() and model.read_bytes() == before


@pytest.mark.parametrize(
    "arrays, message",
    [
        (None, "not an .npz file"),
        ("missing", "no such file"),
        ("pickled", "not an .npz file of plain arrays"),
        (dict(images=images(3)), "has no array labels"),
        (dict(images=images(3).astype(float), labels=np.zeros(3, int)), "images is float64"),
        (dict(images=images(3)[:, :9], labels=np.zeros(3, int)), r"expected uint8 (N, 10, 9)"),
        (dict(images=images(0), labels=np.zeros(0, int)), "(0, 10, 9)"),
        (dict(images=images(3), labels=np.zeros(2, int)), "labels have shape (2,): expected (3,)"),
        (dict(images=images(3), labels=np.zeros(3)), "labels have dtype float64"),
        (dict(images=images(3), labels=np.array([0, 4, 1])), "labels[1] is 4: expected a"),
    ],
)
def test_data_that_cannot_be_used(refused, model, tmp_path, arrays, message):
    path, out = tmp_path / "data.npz", tmp_path / "out.safetensors"
    if arrays is None:
        path.write_bytes(b"PK\x03\x04 no archive")
    elif arrays == "pickled":
        np.savez(path, images=np.array([{}]), labels=np.zeros(1, int))
    elif arrays != "missing":
        np.savez(path, **arrays)
    error = refused("convert", model, out, "--data", path)
    assert message in error and "data.npz" in error and not out.exists()


# ---- export ----------------------------------------------------------------------------------


def test_export_python(run, run_json, model, tmp_path):
    out = tmp_path / "program.py"
    found = run_json("export", model, "--to", "python", "--out", out)
    assert found["files"] == {str(out): out.stat().st_size} and found["checked"]
    status, text, _ = run("export", model, "--to", "python", "--out", out)
    assert status == 0 and "its logits are the network's" in text


def test_export_c(run, run_json, monkeypatch, model, tmp_path):
    out = tmp_path / "tiny.c"
    found = run_json("export", model, "--to", "c", "--out", out)
    assert set(found["files"]) == {str(out), str(out.with_suffix(".h"))}
    assert found["n_static_bytes"] > 0
    monkeypatch.setattr("tinycnn.export.c_compiler.compiler", lambda: None)
    status, text, err = run("export", model, "--to", "c", "--out", out)
    assert status == 0 and "not checked: there is no C compiler" in text and not err
    # The log of whoever called `main` stays as it was.
    assert logging.getLogger("tinycnn").getEffectiveLevel() == logging.WARNING


def test_export_into_a_folder(run_json, refused, model, tmp_path):
    new, old = tmp_path / "deploy", tmp_path / "programs"
    old.mkdir()
    for folder, out in ((new, f"{new}/"), (old, old)):
        found = run_json("export", model, "--to", "python", "--out", out)
        assert list(found["files"]) == [str(folder / "microexpnet.py")]
        assert [path.name for path in folder.iterdir()] == ["microexpnet.py"]
    error = refused("export", model, "--to", "c", "--out", f"{tmp_path}/a/b/")
    assert "there is no folder" in error and not (tmp_path / "a").exists()
    assert "or a folder" in refused("export", model, "--to", "c", "--out", tmp_path / "deploy2")
    shipped = "pretrained-residual48"
    found = run_json("export", shipped, "--to", "python", "--out", f"{tmp_path}/shipped/")
    assert list(found["files"]) == [str(tmp_path / "shipped/residual48.py")]


def test_export_html(run, run_json, refused, monkeypatch, model, tmp_path):
    out = tmp_path / "faces.html"
    command = ["export", "pretrained", "--to", "html", "--out", out]
    found = run_json(*command, "--unsure-below", "0.7")
    assert found["files"] == {str(out): out.stat().st_size}
    assert found["checked"] == (node_check.node() is not None)
    text = out.read_text(encoding="utf-8")
    assert '"unsureBelow": 0.7' in text and "microexpnet, 65,000 parameters" in text
    monkeypatch.setattr("tinycnn.export.browser.node_check.node", lambda: None)
    status, said, err = run(*command)
    assert status == 0 and "not checked: there is no node here (16 or later)" in said and not err
    assert '"unsureBelow": 0.5' in out.read_text(encoding="utf-8")
    out.unlink()
    assert "10x9x1 images" in refused("export", model, "--to", "html", "--out", out)
    random = refused("export", "microexpnet", "--to", "html", "--out", out)
    assert "random weights" in random and not out.exists()
    for option in (["--framing", "paper"], ["--unsure-below", "0.5"]):
        error = refused("export", model, "--to", "c", "--out", tmp_path / "m.c", *option)
        assert "are for --to html" in error


def test_export_html_of_a_file_without_its_framing(run_json, refused, tmp_path):
    network = Network([Flatten(), Dense(3)], InputSpec(48, 48, scaling="unit"), backend="numpy")
    tinycnn.save(network, tmp_path / "m.safetensors")
    command = ["export", tmp_path / "m.safetensors", "--to", "html", "--out", tmp_path / "m.html"]
    assert "give --framing, one of paper, fer2013" in refused(*command)
    run_json(*command, "--framing", "paper")
    text = (tmp_path / "m.html").read_text(encoding="utf-8")
    assert '"framing": "paper"' in text and "not one of those that come with tinycnn" in text


def test_export_onnx(run_json, model, tmp_path):
    pytest.importorskip("onnx")
    out = tmp_path / "model.onnx"
    found = run_json("export", model, "--to", "onnx", "--out", out)
    assert found["files"] == {str(out): out.stat().st_size}


def test_export_without_the_extra(refused, monkeypatch, model, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    error = refused("export", model, "--to", "onnx", "--out", tmp_path / "model.onnx")
    assert 'pip install "tinycnn[onnx]"' in error


def test_a_program_that_disagrees_is_status_1(run, monkeypatch, model, tmp_path):
    def disagree(*args):
        raise ExportError("its logits differ\nby much")

    monkeypatch.setattr("tinycnn.export.python_file.check_agreement", disagree)
    out = tmp_path / "program.py"
    status, text, err = run("export", model, "--to", "python", "--out", out)
    assert (status, text, err) == (1, "", "error: its logits differ by much\n")
    assert not out.exists()


def test_what_cannot_be_exported(refused, model, tmp_path):
    assert "ends in .onnx" in refused("export", model, "--to", "onnx", "--out", tmp_path / "m.py")
    assert "names in C" in refused("export", model, "--to", "c", "--out", tmp_path / "1.c")
    network = make()
    network.parameters["conv1.w"][0] = np.nan
    tinycnn.save(network, tmp_path / "nan.safetensors")
    out = tmp_path / "nan.py"
    error = refused("export", tmp_path / "nan.safetensors", "--to", "python", "--out", out)
    assert "NaN" in error and not out.exists()


# ---- explain ---------------------------------------------------------------------------------


@pytest.mark.kernels
def test_explain(run, run_json, model, face, tmp_path, monkeypatch):
    page = tmp_path / "page.html"
    found = run_json("explain", model, face, "--out", page, "--entries", 3, "--label", "sad")
    assert found["page"] == str(page) and found["bytes"] == page.stat().st_size
    assert found["label"] == "sad" and found["image"] == "face.png"
    assert found["model"] == "model.safetensors" and found["n_disagreeing"] == 0
    logits = make().predict_logits(images(1))[0]
    np.testing.assert_allclose(found["logits"], logits, rtol=1e-4, atol=1e-5)
    content = page.read_text(encoding="utf-8")
    assert content.startswith("<!DOCTYPE html>") and "face.png under the microscope" in content
    monkeypatch.chdir(tmp_path)
    status, out, err = run("explain", model, face)
    assert status == 0 and not err and (tmp_path / "face-explained.html").exists()
    assert CLASSES[int(logits.argmax())] in out and "face-explained.html" in out


@pytest.mark.kernels
def test_explain_reports_a_wrong_gradient(run, monkeypatch, model, face, tmp_path):
    def wrong(y, dy, dx_out):
        dx_out[:] = dy

    monkeypatch.setattr(reference, "relu_backward", wrong)
    page = tmp_path / "page.html"
    status, out, _ = run("explain", model, face, "--out", page)
    assert status == 1 and page.exists() and " 0 disagree" not in out


def save_picture(path, kind):
    pixels = images(1)[0]
    if kind == "grey":
        Image.fromarray(pixels).save(path)
    elif kind == "colour":
        Image.fromarray(np.repeat(pixels[..., None], 3, axis=2)).save(path)
    elif kind == "on its side":  # EXIF orientation 6: turn it clockwise to see it
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(np.ascontiguousarray(np.rot90(pixels))).save(path, exif=exif)
    elif kind == ".npy":
        np.save(path, pixels)


@pytest.mark.kernels
@pytest.mark.parametrize("kind", ["grey", "colour", "on its side", ".npy"])
def test_pictures_that_fit(run_json, model, tmp_path, kind):
    path = tmp_path / ("face.npy" if kind == ".npy" else "face.png")
    save_picture(path, kind)
    found = run_json("explain", model, path, "--out", tmp_path / "page.html", "--entries", 1)
    expected = make().predict_logits(images(1))[0]
    np.testing.assert_allclose(found["logits"], expected, rtol=1e-4, atol=1e-5)


def truncated(path, size=(10, 9)):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:70])


@pytest.mark.parametrize(
    "name, write, message",
    [
        ("gone.png", lambda path: None, "no such file"),
        ("folder.png", lambda path: path.mkdir(), "not a file"),
        ("text.png", lambda path: path.write_text("hello"), "not a picture"),
        ("cut.png", truncated, "damaged"),
        # refused because of its header: its pixels are not decoded
        ("cut_large.png", lambda path: truncated(path, (800, 900)), "900x800 px; the network"),
        (
            "large.png",
            lambda path: Image.fromarray(np.zeros((84, 84), np.uint8)).save(path),
            "84x84 px; the network takes 9x10",
        ),
        (
            "turned.png",
            lambda path: Image.fromarray(np.zeros((9, 10), np.uint8)).save(path),
            "10x9 px; the network takes 9x10",
        ),
        (
            "deep.png",
            lambda path: Image.fromarray(np.zeros((10, 9), np.uint16)).save(path),
            "expected 8-bit grey or RGB",
        ),
        ("floats.npy", lambda path: np.save(path, np.zeros((10, 9))), "float64"),
        ("shape.npy", lambda path: np.save(path, images(2)), "expected uint8 (10, 9)"),
        ("objects.npy", lambda path: np.save(path, np.array([{}])), "not a .npy file of plain"),
        ("text.npy", lambda path: path.write_text("hello"), "not a .npy file"),
        ("empty.npy", lambda path: path.write_bytes(b""), "not a .npy file"),
    ],
)
def test_pictures_that_do_not_fit(refused, model, tmp_path, name, write, message):
    path, page = tmp_path / name, tmp_path / "page.html"
    write(path)
    error = refused("explain", model, path, "--out", page)
    assert message in error and name in error and not page.exists()


def test_what_cannot_be_explained(refused, model, face, tmp_path):
    page = tmp_path / "page.html"
    assert "label is 'merry'" in refused("explain", model, face, "--label", "merry", "--out", page)
    assert "is the input itself" in refused("explain", model, face, "--out", face)
    assert "no folder" in refused("explain", model, face, "--out", tmp_path / "a" / "b.html")
    assert not page.exists()


# ---- gradcheck -------------------------------------------------------------------------------


@pytest.mark.kernels
def test_gradcheck(run, run_json, model):
    found = run_json("gradcheck", model)
    names = [*make().parameters, "x"]
    assert [(c["tensor"], c["backend"]) for c in found["checks"]] == [
        (name, backend) for backend in ("numba", "numpy") for name in names
    ]
    assert found["passed"] and found["bound"] == 1e-7
    assert all(0 <= c["error"] <= 1e-7 and c["message"] is None for c in found["checks"])
    assert max(c["error"] for c in found["checks"]) > 0
    status, out, err = run("gradcheck", model, "--images", 1, "--directions", 1, "--seed", 3)
    assert status == 0 and not err
    assert [line.split()[0] for line in out.splitlines()[2:]] == names
    assert all(line.endswith("ok") for line in out.splitlines()[2:])


def wrong_dense(dy, w_t, dx_out):
    dx_out[:] = 1.0005 * (dy @ w_t[0])


@pytest.mark.kernels
def test_gradcheck_finds_a_wrong_gradient(run, run_json, monkeypatch, model):
    monkeypatch.setattr(reference, "dense_backward_input", wrong_dense)
    status, out, err = run("gradcheck", model)
    assert status == 1 and err.count("\n") == 1
    assert err.startswith("error: on the reference: gradient of conv1.w: error")
    verdicts = {line.split()[0]: line.split()[-1] for line in out.splitlines()[2:]}
    assert verdicts["conv1.w"] == verdicts["x"] == "FAILED" and verdicts["dense2.w"] == "ok"
    found = run_json("gradcheck", model, status=1)
    failed = {(c["backend"], c["tensor"]) for c in found["checks"] if c["message"]}
    assert ("numpy", "conv1.w") in failed and {backend for backend, _ in failed} == {"numpy"}


@pytest.mark.kernels
def test_gradcheck_tolerance(run, model):
    status, out, err = run("gradcheck", model, "--tolerance", "1e-18", "--directions", 1)
    assert status == 1 and err.count("\n") == 1 and "exceeds 1e-18" in err and "1e-18" in out


@pytest.mark.kernels
def test_raw_pixels_have_their_own_tolerance(run_json, tmp_path):
    tinycnn.save(make(scaling="raw"), tmp_path / "raw.safetensors")
    found = run_json("gradcheck", tmp_path / "raw.safetensors", "--directions", 1)
    assert found["bound"] == 1e-6 and found["passed"]


@pytest.mark.kernels
def test_a_check_that_only_meets_kinks_does_not_pass(run, tmp_path):
    """A ReLU's inputs are 0 for every image, so each difference of their bias meets the kink.

    There are three images: of two with different labels, the slopes would cancel on both sides."""
    layers = [Flatten(), Dense(3), ReLU(), Dense(2)]
    network = Network(layers, InputSpec(2, 2, 1, scaling="unit"), seed=1)
    network.parameters["dense1.w"][:] = 0
    network.parameters["dense1.b"][:] = 0
    tinycnn.save(network, tmp_path / "kinks.safetensors")
    status, out, err = run("gradcheck", tmp_path / "kinks.safetensors", "--images", "3")
    assert status == 1 and "met a kink" in err
    lines = {line.split()[0]: line.split() for line in out.splitlines()[2:]}
    assert lines["dense1.b"][-1] == "FAILED" and "-" in lines["dense1.b"]
    assert lines["dense2.b"][-1] == "ok"


@pytest.mark.kernels
def test_other_images_are_tried_where_all_differences_meet_a_kink(run_json, monkeypatch, model):
    tried = []

    def kink_at_first(loss, tensors, gradients, **options):
        tried.extend(tensors)
        if tensors.keys() == {"x"} and tried.count("x") == 1:
            raise GradientError("gradient of x: 3 of 3 differences met a kink")
        return check_gradients(loss, tensors, gradients, **options)

    monkeypatch.setattr("tinycnn.cli.gradcheck.check_gradients", kink_at_first)
    found = run_json("gradcheck", model)
    assert found["passed"] and all(check["error"] is not None for check in found["checks"])
    assert tried.count("x") == 3 and tried.count("conv1.w") == 2


@pytest.mark.kernels
def test_gradcheck_of_a_broken_network(refused, tmp_path):
    network = make()
    network.parameters["conv1.w"][0] = np.nan
    tinycnn.save(network, tmp_path / "nan.safetensors")
    assert "not finite" in refused("gradcheck", tmp_path / "nan.safetensors")


def test_commands_that_check_kernels_go_on_without_numba(model, face, tmp_path):
    code = "import sys\nsys.modules['numba'] = None\nfrom tinycnn import cli\nsys.exit(cli.main())"
    for argv in (["gradcheck", model], ["explain", model, face, "--out", tmp_path / "page.html"]):
        command = [sys.executable, "-c", code, *map(str, argv)]
        environment = {**os.environ, "TINYCNN_BACKEND": "auto", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
        assert done.returncode == 0 and done.stdout, argv
        assert done.stderr.count("Numba cannot be imported") == 1
        assert "error: " not in done.stderr
    assert "cannot be used here, so they were not compared" in (tmp_path / "page.html").read_text()
    assert "the kernels are not checked" in done.stderr or argv[0] == "explain"


# ---- files that claim more than they hold ----------------------------------------------------


def test_no_other_program_is_started_for_a_picture(run, model, tmp_path, monkeypatch):
    """Pillow would give EPS files to Ghostscript, which runs the program in them."""
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 10\n%%EndComments\nshowpage\n%%EOF\n"
    (tmp_path / "face.png").write_bytes(eps)
    Image.init()  # loads all formats that Pillow knows
    with Image.open(tmp_path / "face.png") as picture:
        assert picture.format == "EPS"
    monkeypatch.setattr(subprocess, "Popen", None)
    monkeypatch.setattr(subprocess, "check_call", None)
    status, _, error = run("explain", model, tmp_path / "face.png", "--out", tmp_path / "x.html")
    assert status == 2 and "face.png: not a picture; expected JPEG, PNG" in error


def test_an_array_shorter_than_its_header_says_is_refused(run, model, tmp_path):
    """NumPy's reader would allocate the size that the header states."""
    np.savez(tmp_path / "data.npz", images=images(3), labels=np.zeros(3, int))
    claim = {"descr": "|u1", "fortran_order": False, "shape": (10**12, 10, 9)}
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as archive:
        with archive.open("images.npy", "w") as file:
            np.lib.format.write_array_header_1_0(file, claim)
        with archive.open("labels.npy", "w") as file:
            np.save(file, np.zeros(3, int))
    words = ("convert", model, tmp_path / "out.safetensors", "--data", tmp_path / "data.npz")
    status, _, error = run(*words)
    assert status == 2 and "images.npy is not as long as its shape (1000000000000, 10, 9)" in error
    assert not (tmp_path / "out.safetensors").exists()


def test_a_picture_file_that_is_too_long_is_refused(run, model, face, tmp_path, monkeypatch):
    monkeypatch.setattr(tinycnn.pictures, "MAX_FILE_BYTES", 20)
    status, _, error = run("explain", model, face, "--out", tmp_path / "x.html")
    assert status == 2 and "face.png: more than 20 bytes" in error


def test_long_messages_of_libraries_are_cut():
    assert in_short(ValueError("line\n" * 1000)) == "line " * 40 + "..."
    assert in_short(ValueError("bad\nheader")) == "bad header"
    assert in_short(KeyError()) == "KeyError"


# ---- convert --data with a data set ------------------------------------------------------------


@pytest.fixture
def drawn(tmp_path):
    """A folder per class of drawn faces, one of them for a class that the network lacks."""
    faces = ferdata.render_faces(2, 1, size_px=24)
    for k, (image, label) in enumerate(zip(faces.images, faces.labels)):
        folder = tmp_path / "drawn" / faces.classes[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{k}.png")
    return tmp_path / "drawn"


def square_model(path, classes):
    layers = [Flatten(), Dense(len(classes))]
    network = Network(layers, InputSpec(12, 12, scaling="unit", classes=classes), seed=1)
    network.initialise(np.random.default_rng(1), bias_std=0.3)
    tinycnn.save(network, path)
    return path


def test_convert_compares_on_a_data_set(run_json, run, drawn, tmp_path):
    """Labels are converted by class name, images resized; images of other classes are left out."""
    classes = ("surprise", "happiness", "anger", "fear", "sadness", "disgust", "contempt")
    model = square_model(tmp_path / "m.safetensors", classes)
    found = run_json("convert", model, tmp_path / "o.safetensors", "--data", drawn)
    faces = ferdata.open(drawn)
    kept = [k for k, label in enumerate(faces.labels) if faces.classes[label] != "neutral"]
    small = ferdata.resize_images(faces.images[kept], 12)
    names = [{"happy": "happiness"}.get(n, n) for n in faces.classes]
    labels = np.array([classes.index(names[faces.labels[k]]) for k in kept])
    logits = tinycnn.load(model).predict_logits(small)
    assert found["n_images"] == 14 and found["accuracy_in"] == (logits.argmax(1) == labels).mean()
    words = ("convert", model, tmp_path / "p.safetensors", "--data", drawn, "--source", "folders")
    status, _, error = run(*words)
    assert status == 0 and error == f"without the images of neutral: no class of {model}\n"


def test_data_sets_that_convert_refuses(refused, drawn, tmp_path):
    model = square_model(tmp_path / "m.safetensors", ("calm", "keen"))
    words = ("convert", model, tmp_path / "o.safetensors", "--data")
    assert "no image with a label that" in refused(*words, drawn)
    assert "--protocol: folders has no such argument" in refused(
        *words, drawn, "--protocol", "paper"
    )
    np.savez(tmp_path / "d.npz", images=np.zeros((2, 12, 12), np.uint8), labels=[0, 1])
    assert "to which no option of a data set applies" in refused(
        *words, tmp_path / "d.npz", "--source", "folders"
    )
    assert "no such file" in refused(*words, tmp_path / "none.npz")
    assert not (tmp_path / "o.safetensors").exists()
