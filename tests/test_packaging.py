"""What is shipped: the sdist, the wheel, the wheel in a zip file, and a program frozen from it."""

import configparser
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipapp
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ferdata
import tinycnn

ROOT = Path(__file__).resolve().parent.parent
IN_NO_SDIST = shutil.ignore_patterns(
    *("__pycache__", "*.pyc", ".git", ".venv*", "*.egg-info", "build", "dist", "runs", "findings"),
    *(".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis"),
)
FOLDERS = (
    "benchmarks",
    "docs",
    "examples",
    "ferdata",
    "fuzz",
    "tests",
    "tinycnn",
    ".ci",
    ".github",
)


def run(command, folder, **variables):
    """The finished process; PYTHONPATH is only what `variables` says."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | variables
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def build(kind, source, folder):
    """The sdist or the wheel of the repository at `source`: the file."""
    pytest.importorskip("setuptools", reason="needs setuptools, to build")
    code = f"from setuptools import build_meta; print(build_meta.build_{kind}({str(folder)!r}))"
    return folder / run([sys.executable, "-c", code], source).stdout.split()[-1]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the repository without its history: building writes into it."""
    return shutil.copytree(ROOT, tmp_path_factory.mktemp("source") / "tinycnn", ignore=IN_NO_SDIST)


@pytest.fixture(scope="module")
def sdist(source, tmp_path_factory):
    return build("sdist", source, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """Built from the sdist, as installers do."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        # releases of Python from before mid 2023 have no filters
        safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(folder, **safely)
    (unpacked,) = folder.iterdir()
    return build("wheel", unpacked, folder)


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder for PYTHONPATH: a wheel is a zip file of what is to be installed."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """A drawn face in a photo."""
    face = Image.fromarray(ferdata.render_faces(1, 1).images[5]).resize((168, 168))
    picture = Image.new("L", (300, 300), int(np.median(np.asarray(face))))
    picture.paste(face, (60, 60))
    path = tmp_path_factory.mktemp("photo") / "drawn.png"
    picture.save(path)
    return path


@pytest.fixture(scope="module")
def answer(photo):
    """What `tinycnn predict --json` should print about it."""
    network = tinycnn.load_pretrained("residual48")
    spec = network.input_spec
    faces = ferdata.find_faces(photo, spec.framing, size_px=spec.height_px)
    (found,) = network.classify(faces)
    shown = {name: round(p, 6) for name, p in found.probs.items()}
    (box,), (score,) = faces.boxes.tolist(), faces.scores.tolist()
    face = {"box": box, "expression": found.label, "probabilities": shown, "score": round(score, 3)}
    return {"file": str(photo), "faces": [face]}


def test_the_sdist_has_docs_examples_and_tests(source, sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    expected = {
        path.relative_to(source).as_posix()
        for folder in FOLDERS
        for path in (source / folder).rglob("*")
        if path.is_file()
    }
    expected |= {path.name for path in source.glob("*.md")} | {"LICENSE", "setup.cfg"}
    assert len(expected) > 300 and "examples/predict.py" in expected
    assert not expected - names
    assert not {name for name in names if name.endswith((".pyc", ".part"))}


def test_the_wheel_has_the_packages_and_their_files_alone(source, wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    expected = {
        path.relative_to(source).as_posix()
        for package in ("tinycnn", "ferdata")
        for path in (source / package).rglob("*")
        if path.is_file()
    }
    found = {name for name in names if ".dist-info/" not in name}
    assert found == expected
    for name in ("models/weights/microexpnet.safetensors", "export/c_program.c", "__main__.py"):
        assert f"tinycnn/{name}" in found
    assert "ferdata/teachers/rendered.npz" in found


def test_the_metadata_of_the_wheel(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (entry_points,) = (n for n in archive.namelist() if n.endswith("entry_points.txt"))
        listed = configparser.ConfigParser()
        listed.read_string(archive.read(entry_points).decode())
        (metadata,) = (n for n in archive.namelist() if n.endswith("METADATA"))
        text = archive.read(metadata).decode()
    assert dict(listed["console_scripts"]) == {
        "tinycnn": "tinycnn.cli:main",
        "ferdata": "ferdata.cli:main",
    }
    assert dict(listed["pyinstaller40"]) == {"hook-dirs": "tinycnn.__pyinstaller:get_hook_dirs"}
    assert "Project-URL: Paper, https://arxiv.org/abs/1711.07011" in text
    assert "Provides-Extra: completion" in text


# ---- in a zip file, and frozen ---------------------------------------------------------------


@pytest.fixture(scope="module")
def zipped(installed, tmp_path_factory):
    path = tmp_path_factory.mktemp("zipped") / "tinycnn.pyz"
    packages = ("tinycnn", "ferdata")
    zipapp.create_archive(
        installed, path, main="tinycnn.cli:main", filter=lambda file: file.parts[0] in packages
    )
    return path


def test_predict_from_a_zip_file(zipped, photo, answer, tmp_path):
    done = run([sys.executable, "-W", "error", zipped, "predict", "--json", photo], tmp_path)
    assert json.loads(done.stdout) == answer
    assert all(": compiling " in line for line in done.stderr.splitlines())


@pytest.mark.kernels
@pytest.mark.jit("nothing is compiled")
def test_from_a_zip_file_compiled_code_is_kept_in_the_cache(zipped, tmp_path):
    from tinycnn.cli.warmup import cache_folders

    done = run([sys.executable, zipped, "warmup", "--json"], tmp_path)
    kept = json.loads(done.stdout)["caches"]
    assert list(kept) == [str(folder) for folder in cache_folders()]
    assert all(cache["files"] for cache in kept.values())


def test_other_files_of_the_packages_are_read_from_a_zip_file(zipped, tmp_path):
    """The template of the exported program, the shipped teacher, and the names of ferdata."""
    done = run(
        [sys.executable, zipped, "export", "pretrained", "--to", "python", "--out", "m.py"],
        tmp_path,
    )
    assert "checked" in done.stdout and (tmp_path / "m.py").stat().st_size > 100_000
    code = (
        "import ferdata; print(ferdata.__file__); faces = ferdata.default_faces();"
        "train = faces.in_split('train'); print(ferdata.load_rendered_teacher(train).shape)"
    )
    done = run([sys.executable, "-c", code], tmp_path, PYTHONPATH=str(zipped))
    path, shape = done.stdout.splitlines()
    assert path.startswith(str(zipped)) and shape == "(4096, 8)"


NOT_NEEDED = (
    *("torch", "matplotlib", "sklearn", "pandas", "dask", "distributed", "IPython", "pytest"),
    *("hypothesis", "onnx", "onnxruntime", "tkinter", "setuptools", "coverage", "mypy"),
)


def test_predict_frozen_by_pyinstaller(installed, photo, answer, tmp_path):
    """PyInstaller finds our hooks by the wheel's entry point; no option names a file of ours."""
    pytest.importorskip("PyInstaller", reason="needs PyInstaller, which is not installed")
    script = tmp_path / "faces.py"
    script.write_text("import sys\nfrom tinycnn.cli import main\nsys.exit(main())\n")
    options = ["--noconfirm", "--log-level", "WARN"]
    options += [word for name in NOT_NEEDED for word in ("--exclude-module", name)]
    freeze = [sys.executable, "-m", "PyInstaller", *options, script]
    run(
        freeze, tmp_path, PYTHONPATH=str(installed), PYINSTALLER_CONFIG_DIR=str(tmp_path / "config")
    )
    program = tmp_path / "dist" / "faces" / ("faces.exe" if os.name == "nt" else "faces")
    done = run([program, "predict", "--json", photo], tmp_path)
    assert json.loads(done.stdout) == answer
    assert all(": compiling " in line for line in done.stderr.splitlines())
    assert "tinycnn 0." in run([program, "--version"], tmp_path).stdout
