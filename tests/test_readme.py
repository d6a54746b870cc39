"""The README is right: its links exist, its Python runs, its commands are accepted."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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


def photo(folder):
    """A photo with a face, as photo.jpg."""
    import skimage

    with Image.open(Path(skimage.data_dir) / "astronaut.png") as picture:
        picture.save(folder / "photo.jpg", quality=95)


def model(folder):
    path = folder / "runs" / "mine"
    path.mkdir(parents=True)
    tinycnn.save(tinycnn.models.microexpnet(), path / "model.safetensors")


def given_to(text):
    """The variables that a block of the README expects to exist."""
    images = np.random.default_rng(0).integers(0, 256, (4, 84, 84), np.uint8)
    if "InputSpec(28, 28" in text:
        images = images[:, :28, :28]
        return {
            "images": images,
            "targets": np.arange(4),
            "soft_labels": np.zeros((4, 10), np.float32),
        }
    return {"images": images, "np": np}


RUNNABLE = [b for b in blocks("python") if 'ferdata.open("CK+"' not in b and "..." not in b]


def test_most_of_the_python_is_run():
    assert len(blocks("python")) - len(RUNNABLE) == 2 and len(RUNNABLE) >= 4


@pytest.mark.parametrize("text", RUNNABLE, ids=lambda text: text.splitlines()[-1][:40])
def test_python_runs(text, tmp_path, monkeypatch, capsys):
    photo(tmp_path)
    model(tmp_path)
    monkeypatch.chdir(tmp_path)
    given = given_to(text)
    exec(compile(text, "README.md", "exec"), given)
    if "classify(" in text:
        assert "happy" in capsys.readouterr().out
    if "optimizer.step" in text:
        assert np.abs(given["network"].gradient_vector).max() > 0
        assert np.isfinite(given["value"])


def commands(program):
    lines = "\n".join(blocks("")).splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith(f"{program} ")]


@pytest.mark.parametrize("words", commands("tinycnn"), ids=" ".join)
def test_commands_of_tinycnn(words, tmp_path, monkeypatch, capsys):
    """Each command is run on new networks in the place of the files that it names."""
    if words[1] in ("explain", "gradcheck"):  # they take long; their own tests run them
        words = [*words, "--help"]
    monkeypatch.chdir(tmp_path)
    for stem in ("MODEL", "ck", "MicroExpNet_CK"):
        tinycnn.save(tinycnn.models.microexpnet(), tmp_path / f"{stem}.safetensors")
    for word in words:
        if word.endswith(".onnx"):
            pytest.importorskip("onnx", reason="the extra onnx is not installed")
            tinycnn.formats.onnx.save(tinycnn.models.microexpnet(), tmp_path / word)
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


def test_named_environment_variables_exist():
    """The code reads every environment variable that README and CONTRIBUTING name."""
    files = [
        path for folder in ("tinycnn", "ferdata", "tests") for path in (ROOT / folder).rglob("*.py")
    ]
    source = "".join(path.read_text(encoding="utf-8") for path in files)
    for page in ("README.md", "CONTRIBUTING.md"):
        named = re.findall(r"\b(?:TINYCNN|FERDATA)_[A-Z_]+", (ROOT / page).read_text("utf-8"))
        assert named and {name for name in named if name not in source} == set(), page
