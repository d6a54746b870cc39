"""The README is right: its links exist, its Python runs, its commands are accepted."""

import argparse
import re
import shlex
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import source_trees
from PIL import Image

import ferdata
import ferdata.cli
import tinycnn
import tinycnn.cli

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("tinycnn/**/*.md")])


def blocks(language):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [block for name, block in fenced if name == language]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_exist(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


# ---- Python ----------------------------------------------------------------------------------

KERAS = types.SimpleNamespace(
    models=types.SimpleNamespace(
        load_model=lambda path: types.SimpleNamespace(
            predict=lambda x, batch_size: np.full((len(x), 8), 1 / 8)
        )
    )
)
"""Stands in for Keras, of which docs/teacher.md uses two functions."""


def photo(folder):
    """A photo with a face, as photo.jpg."""
    import skimage

    with Image.open(Path(skimage.data_dir) / "astronaut.png") as picture:
        picture.save(folder / "photo.jpg", quality=95)
    return {}


def film(folder):
    """Two frames of a face in a 25th of a second, as film.mp4."""
    pytest.importorskip("av", reason="needs PyAV, the extra video")
    from ferdata.films.film_writer import FilmWriter

    photo(folder)
    writer = FilmWriter(folder / "film.mp4", 25)
    for k in range(2):
        writer.write(ferdata.read_photo(folder / "photo.jpg")[:256, 80:336], k / 25)
    writer.close()
    return {}


def ck_plus(folder):
    """CK+ with ten people, as CK+."""
    sequences = {f"S{5 + k:03d}/001": (1 + k % 7, 4) for k in range(10)}
    source_trees.ck_plus(folder / "CK+", sequences)
    return {"ferdata": ferdata}


def logits(folder):
    values = np.zeros((4, 3), np.float32)
    return {"ferdata": ferdata, "logits": values, "rows": np.arange(4)}


def fer2013(folder):
    """Six images, as fer2013.csv; classes with a class more than FER2013's."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 48 * 48))
    lines = [f"{k},{' '.join(map(str, row))},Training" for k, row in enumerate(pixels)]
    text = "\n".join(["emotion,pixels,Usage", *lines]) + "\n"
    (folder / "fer2013.csv").write_text(text, encoding="utf-8")
    return {"CLASS_NAMES": list(ferdata.MICROEXPNET8.classes)}


def teachers(folder):
    """What the programs of docs/teacher.md take as given: their models and preprocessing."""
    torch = pytest.importorskip("torch", reason="needs torch")
    pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    pytest.importorskip("onnx", reason="needs onnx, the extra onnx")
    from tinycnn.formats import onnx

    layers = [tinycnn.Flatten(), tinycnn.Dense(8)]
    onnx.save(tinycnn.Network(layers, tinycnn.InputSpec(48, 48)), folder / "teacher.onnx")
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48 * 48, 8))

    def preprocess(images):
        if isinstance(images, torch.Tensor):
            return images.float()
        return images.reshape(-1, 48, 48, 1).astype(np.float32)

    return {**fer2013(folder), "model": model, "preprocess": preprocess}


def a_file_of_soft_labels(folder):
    given = fer2013(folder)
    faces = ferdata.open(folder / "fer2013.csv").to_label_space(ferdata.MICROEXPNET8)
    values, names = np.zeros((6, 8), np.float32), given["CLASS_NAMES"]
    ferdata.save_soft_labels(folder / "teacher.npz", values, "logits", names, rows=faces.rows)
    return {"ferdata": ferdata, "train": faces}


def digits(folder):
    pytest.importorskip("sklearn", reason="needs scikit-learn, the extra sklearn")
    return {}


def an_onnx_model(folder):
    pytest.importorskip("onnx", reason="needs onnx, the extra onnx")
    from tinycnn.formats import onnx

    layers = [tinycnn.Flatten(), tinycnn.Dense(2)]
    onnx.save(tinycnn.Network(layers, tinycnn.InputSpec(4, 4)), folder / "model.onnx")
    return {"x": np.zeros((3, 4, 4, 1), np.float32)}


def a_torch_module(folder):
    torch = pytest.importorskip("torch", reason="needs torch")
    module = torch.nn.Module()
    module.features = torch.nn.Sequential(torch.nn.Conv2d(1, 6, 5))
    module.classifier = torch.nn.Linear(6 * 12 * 12, 10)
    return {"module": module}


def a_network_and_images(folder):
    images = np.random.default_rng(0).integers(0, 256, (24, 12, 12), dtype=np.uint8)
    layers = [tinycnn.Conv2D(4, 3), tinycnn.ReLU(), tinycnn.Flatten(), tinycnn.Dense(3)]
    network = tinycnn.Network(layers, tinycnn.InputSpec(12, 12))
    return {"tinycnn": tinycnn, "network": network, "images": images}


def a_few_faces(folder):
    """Noise, with labels of three classes."""
    images = np.random.default_rng(0).integers(0, 256, (16, 84, 84), dtype=np.uint8)
    labels = np.arange(16) % 3
    return dict(images=images, labels=labels, few_images=images[:6], few_labels=labels[:6])


GIVEN = {
    "A photo to an expression": photo,
    "A photo in any form": photo,
    "Films and cameras": film,
    "Data as you have it": ck_plus,
    "A teacher's soft labels": logits,
    "Use it from Python": digits,
    "Learn from it": lambda folder: {},
    "Programs that write the file": teachers,
    "Options when the file is used": a_file_of_soft_labels,
    "ONNX models": an_onnx_model,
    "Weights from PyTorch": a_torch_module,
    "Your own list of layers": lambda folder: {},
    "In Python: quantise": a_network_and_images,
    "In Python: another head": a_few_faces,
}
"""By heading: makes the files that the section's Python reads; returns the variables it expects."""


def sections():
    """(page, heading, its blocks of Python) of README.md and docs/."""
    for page in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))):
        for section in re.split(r"^#+ ", page.read_text(encoding="utf-8"), flags=re.MULTILINE):
            found = re.findall(r"^```python\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
            if found:
                yield page.name, section.splitlines()[0], found


def test_every_block_of_python_is_run():
    """CONTRIBUTING.md's are run by tests/test_custom_layers.py."""
    found = list(sections())
    assert {heading for _, heading, _ in found} == set(GIVEN)
    for page in {page for page, _, _ in found}:
        path = ROOT / page if page == "README.md" else ROOT / "docs" / page
        n_blocks = path.read_text(encoding="utf-8").count("```python\n")
        assert n_blocks == sum(len(part) for name, _, part in found if name == page)


@pytest.mark.parametrize(
    "page, heading, parts", [pytest.param(*found, id=found[1]) for found in sections()]
)
def test_python_runs_as_it_stands(page, heading, parts, tmp_path, monkeypatch, capsys):
    """The blocks of a section, one after another, as a reader would type them."""
    names = GIVEN[heading](tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FERDATA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "keras", KERAS)
    for text in parts:
        exec(compile(text, page, "exec"), names)
    printed = capsys.readouterr().out
    if heading == "A photo to an expression":
        assert "happy" in printed
    if heading == "A photo in any form":
        (box,), (expected,) = names["faces"].boxes, ferdata.find_faces("photo.jpg").boxes
        assert np.abs(box - expected).max() <= 3  # of a JPEG's own grey, and of its colours
    if heading == "Films and cameras":
        assert [line[:14] for line in printed.splitlines()] == ["0.00 s, face 1", "0.04 s, face 1"]
    if heading == "Data as you have it":
        assert len(names["folds"]) == 10 and len(names["faces"]) == 40
    if heading == "Use it from Python":
        assert names["history"]["val_accuracy"][-1] > 0.88
        assert "<History: 20 epochs" in printed and "multiply-adds" in printed
        assert np.isfinite(names["value"]) and names["optimizer"].n_steps == 1
        scores = re.findall(r"[\d.]+", printed.splitlines()[-1])
        assert len(scores) == 3 and min(map(float, scores)) > 0.85
    if heading == "In Python: quantise":
        assert names["same"] > 0.9 and "int8" in printed
    if heading == "In Python: another head":
        assert names["network"].classes == ("happy", "sad", "bored")
        assert names["history"]["loss"][-1] < names["history"]["loss"][0]
    if heading == "ONNX models":
        assert names["logits"].shape == (3, 2)
    if heading == "Weights from PyTorch":
        theirs = names["module"].classifier.bias.detach().numpy()
        assert np.array_equal(names["network"].parameters["dense1.b"], theirs)
    if heading == "Your own list of layers":
        assert printed.strip() == "(1, 7)"
    if heading == "Options when the file is used":
        assert names["train"].soft_labels.shape == (6, 8)


# ---- commands --------------------------------------------------------------------------------


def commands(program):
    lines = "\n".join(blocks("")).splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith(f"{program} ")]


@pytest.mark.parametrize("words", commands("tinycnn"), ids=" ".join)
def test_commands_of_tinycnn(words, tmp_path, monkeypatch, capsys):
    """Each command is run on new networks in the place of the files that it names."""
    if words[1] not in ("info", "convert", "export"):  # they take long; their own tests run them
        words = [*words, "--help"]
    monkeypatch.chdir(tmp_path)
    for stem in ("MODEL", "ck", "MicroExpNet_CK"):
        tinycnn.save(tinycnn.models.microexpnet(), tmp_path / f"{stem}.safetensors")
    for word in words:
        if word.endswith(".onnx"):
            pytest.importorskip("onnx", reason="the extra onnx is not installed")
            from tinycnn.formats import onnx

            onnx.save(tinycnn.models.microexpnet(), tmp_path / word)
    written_as = {stem: f"{stem}.safetensors" for stem in ("MODEL", "MicroExpNet_CK")}
    try:
        status = tinycnn.cli.main([written_as.get(word, word) for word in words[1:]])
    except SystemExit as stop:  # --help
        status = stop.code
    assert status == 0, capsys.readouterr().err


@pytest.mark.parametrize("words", commands("ferdata"), ids=" ".join)
def test_commands_of_ferdata(words, tmp_path, capsys):
    Image.fromarray(np.arange(84 * 84, dtype=np.uint8).reshape(84, 84)).save(tmp_path / "a.png")
    (tmp_path / "faces.csv").write_text("path,label\na.png,happy\n", encoding="utf-8")
    arguments = [str(tmp_path / "faces.csv") if word == "PATH" else word for word in words[1:]]
    assert ferdata.cli.main(arguments) in (0, 1)
    assert "happy" in capsys.readouterr().out


def shown_commands():
    """(page, words) of every command of ours in the blocks of all pages, without its comment."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for block in re.findall(r"^```\w*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            for line in block.splitlines():
                if re.match(r"\s*(RUN )?(tinycnn|ferdata) [a-z-]", line):
                    words = shlex.split(line.strip().removeprefix("RUN "), comments=True)
                    yield page.relative_to(ROOT).as_posix(), words


@pytest.mark.parametrize("page, words", list(shown_commands()), ids=lambda value: str(value)[:60])
def test_options_of_shown_commands_exist(page, words):
    program, name, *rest = words
    parser = {"tinycnn": tinycnn.cli, "ferdata": ferdata.cli}[program].build_parser()
    if not name.startswith("-"):
        (found,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
        parser = found.choices[name]
    given = {word.partition("=")[0] for word in [name, *rest] if word.startswith("--")}
    assert given <= {flag for action in parser._actions for flag in action.option_strings}


def test_commands_are_shown_on_several_pages():
    assert {"README.md", "docs/deploy.md"} <= {page for page, _ in shown_commands()}


def test_named_environment_variables_exist():
    """The code reads every environment variable that README and CONTRIBUTING name."""
    files = [
        path for folder in ("tinycnn", "ferdata", "tests") for path in (ROOT / folder).rglob("*.py")
    ]
    source = "".join(path.read_text(encoding="utf-8") for path in files)
    for page in ("README.md", "CONTRIBUTING.md"):
        named = re.findall(r"\b(?:TINYCNN|FERDATA)_[A-Z_]+", (ROOT / page).read_text("utf-8"))
        assert named and {name for name in named if name not in source} == set(), page
