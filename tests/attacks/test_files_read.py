"""Files that are read may be anything: pipes, devices, folders, circles of links, too long."""

import ast
import json
import os
import signal
from pathlib import Path

import pytest
from attack_commands import small_face, small_model

import tinycnn
import tinycnn.cli
from tinycnn.cli.plan_file import read_plan
from tinycnn.ground.regular_file import read_text_file
from tinycnn.run import RunFolderError, read_config
from tinycnn.sweep import SweepFolder, SweepFolderError

ROOT = Path(tinycnn.__file__).parent


@pytest.fixture(autouse=True)
def no_waiting():
    """A reader that waits for a pipe is interrupted after 20 seconds."""

    def give_up(number, frame):
        raise AssertionError("still reading after 20 s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def a_pipe(path):
    os.mkfifo(path)


def a_device(path):
    path.symlink_to("/dev/zero")


def a_folder(path):
    path.mkdir()


def a_circle(path):
    path.symlink_to(path.name)


def too_long(path):
    path.touch()
    os.truncate(path, 1 << 30)  # no disk has to hold it


def missing(path):
    pass


def not_text(path):
    path.write_bytes(b"\xff\xfe{")


KINDS = (a_pipe, a_device, a_folder, a_circle, too_long, missing, not_text)


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_the_small_files_of_runs_and_sweeps_are_regular_and_short(tmp_path, make, capsys):
    make(tmp_path / "config.json")
    with pytest.raises(RunFolderError, match="config.json: "):
        read_config(tmp_path)
    make(tmp_path / "plan.json")
    assert read_plan(str(tmp_path)) is None
    folder = SweepFolder(tmp_path / "sweep")
    make(folder.result_path("a"))
    make(folder.failure_path("a"))
    for read in (folder.result, folder.failure):
        with pytest.raises(SweepFolderError, match="a.json: not a trial's file: "):
            read("a")
    config = tmp_path / "sweep.toml"
    make(config)
    assert tinycnn.cli.main(["sweep", "--config", str(config)]) == 2
    out, error = capsys.readouterr()
    assert out == "" and error.startswith(f"error: {config}: not a TOML file")
    assert error.count("\n") == 1


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
@pytest.mark.parametrize(
    "name", ["m.safetensors", "m.onnx", "m.index", "checkpoint", "m.npy", "m.png", "m.npz"]
)
def test_models_images_and_arrays_are_regular_files(tmp_path, make, name, capsys):
    path, model = tmp_path / name, small_model(tmp_path / "good.safetensors")
    make(path)
    argv = ["info", path]
    if path.suffix in (".npy", ".png"):
        argv = ["explain", model, path, "--out", tmp_path / "page.html"]
    elif path.suffix == ".npz":
        argv = ["convert", model, tmp_path / "out.safetensors", "--data", path]
    if name == "m.onnx":
        pytest.importorskip("onnx", reason="needs the extra onnx")
    assert tinycnn.cli.main([str(word) for word in argv]) == 2
    out, error = capsys.readouterr()
    assert out == "" and error.startswith("error: ") and error.count("\n") == 1
    assert not (tmp_path / "page.html").exists()


def test_the_reader_of_small_files_is_exact(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"a\r\nb\n")
    assert read_text_file(path, 5) == "a\nb\n"
    with pytest.raises(ValueError, match="more than 4 bytes"):
        read_text_file(path, 4)
    path.write_text(json.dumps({"data": "\u00e4"}), encoding="utf-8")
    assert json.loads(read_text_file(path, 100)) == {"data": "\u00e4"}


OWN_FILES = {
    "ground/package_files.py",  # of the package
    "ground/regular_file.py",  # the door itself
    "ground/atomic_file.py",  # writes
    "ground/output_files.py",  # checks first that it is a regular file
    "ground/printing.py",  # /dev/null
    "ground/kept_code.py",  # a folder that only the user may write to; /proc/cpuinfo
    "ground/compiled_code.py",  # likewise
    "ground/compiler_process.py",  # likewise
    "export/python_program.py",  # the template of a program without tinycnn
    "export/python_file.py",  # a temporary folder
    "export/browser/build_engine.py",  # likewise
    "sweep/work.py",  # the model that this process has just written
    "sweep/folder.py",  # a lock
    "ground/free_memory.py",  # /proc/meminfo
    "cli/image_argument.py",  # np.load, after open_regular
}
"""Files of tinycnn that open others by themselves."""


def opens_files(source):
    """Whether a module calls open(), .read_text(), .read_bytes() or np.load()."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Name) and function.id == "open":
                return True
            if isinstance(function, ast.Attribute):
                if function.attr in ("read_text", "read_bytes"):
                    return True
                if ast.unparse(function) == "np.load":
                    return True
    return False


def test_all_readers_use_the_same_door():
    found = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*.py")
        if opens_files(path.read_text(encoding="utf-8"))
    }
    assert found == OWN_FILES


def test_a_face_of_a_pipe_is_refused_before_it_is_opened(tmp_path, capsys):
    model, pipe = small_model(tmp_path / "m.safetensors"), tmp_path / "face.npy"
    os.mkfifo(pipe)
    assert tinycnn.cli.main(["explain", str(model), str(pipe)]) == 2
    assert "face.npy: not a file" in capsys.readouterr().err
    assert small_face(tmp_path / "face.png").is_file()
