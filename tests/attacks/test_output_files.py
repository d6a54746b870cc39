"""No command writes over a file that it reads, nor over one of others that nobody has named."""

import os
import threading

import numpy as np
import pytest
import tf_bundle
from attack_commands import (
    argv_with,
    class_folders,
    commands,
    contents,
    small_face,
    small_model,
)
from PIL import Image

import ferdata.cli
import tinycnn
import tinycnn.cli
from tinycnn.cli.sweep import RESULTS
from tinycnn.export import c_compiler
from tinycnn.ground import file_lock
from tinycnn.ground.atomic_file import write_atomically
from tinycnn.ground.command_line import CannotError
from tinycnn.ground.html_page import html_page
from tinycnn.ground.output_files import refuse_files_of_others, refuse_inputs
from tinycnn.run import RunConfig, RunFolderError

COMMANDS = commands()
PAIRS = [
    pytest.param(command, given, out, id=f"{command.name}: {given.dest} as {out.dest}")
    for command in COMMANDS
    for given in command.with_role("input")
    for out in command.with_role("output")
]


def refused(capsys, main, *argv):
    """The error message of a command that must write nothing."""
    assert main([str(word) for word in argv]) == 2
    out, error = capsys.readouterr()
    assert out == "" and error.startswith("error: ") and error.count("\n") == 1
    return error


# ---- the inputs --------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_argument_that_is_a_path_is_marked_as_read_or_written(command):
    marked = [*command.with_role("input"), *command.with_role("output")]
    names = {action.dest for action in command.paths} - {action.dest for action in marked}
    assert names <= {"annotate"}  # it has rules of its own: see below


def test_the_marks_cover_the_commands():
    assert len(PAIRS) > 30


@pytest.mark.parametrize("command, given, out", PAIRS)
def test_no_command_writes_to_a_file_that_it_reads(command, given, out, tmp_path, capsys):
    path = tmp_path / "theirs"
    path.write_bytes(b"mine")
    os.link(path, tmp_path / "same")  # another name of the same file
    values = {given.dest: path, out.dest: tmp_path / "same"}
    assert "is the input itself" in refused(capsys, command.main, *argv_with(command, values))
    assert path.read_bytes() == b"mine"
    values[out.dest] = path
    assert "is the input itself" in refused(capsys, command.main, *argv_with(command, values))
    assert path.read_bytes() == b"mine" and len(contents(tmp_path)) == 2


@pytest.mark.parametrize("command, given, out", PAIRS)
def test_no_command_writes_into_a_folder_that_it_reads(command, given, out, tmp_path, capsys):
    data = tmp_path / "data"
    (tmp_path / "link").symlink_to("data")
    (data / "happy").mkdir(parents=True)
    (data / "happy" / "a").write_bytes(b"mine")
    values = {given.dest: data, out.dest: tmp_path / "link" / "happy" / "a"}
    assert "which is read" in refused(capsys, command.main, *argv_with(command, values))
    assert contents(data) == {data / "happy" / "a": b"mine"}


def test_a_checkpoint_of_several_files_is_no_output(tmp_path, capsys):
    prefix = tmp_path / "net.ckpt-7"
    tf_bundle.write(prefix, {"a": np.zeros(3, np.float32)})
    before = contents(tmp_path)
    face = small_face(tmp_path / "face.png")
    for name in (prefix, f"{prefix}.index"):
        for out in list(before):
            error = refused(capsys, tinycnn.cli.main, "explain", name, face, "--out", out)
            assert "is the input itself" in error
    assert contents(tmp_path) == {**before, face: face.read_bytes()}


def test_the_images_of_a_list_are_not_overwritten(tmp_path, capsys):
    data = class_folders(tmp_path / "data")
    rows = [f"data/{n}/{k}.png,{n}" for n in ("happy", "sad") for k in range(3)]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    before = contents(data)
    error = refused(
        capsys, ferdata.cli.main, "show", tmp_path / "list.csv", data / "happy" / "0.png"
    )
    assert "is the input itself" in error and contents(data) == before
    assert ferdata.cli.main(["show", str(tmp_path / "list.csv"), str(tmp_path / "new.png")]) == 0


def test_the_data_of_a_sweeps_file_are_no_output(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    config = tmp_path / "sweep.toml"
    for out in ("data", "data/sweep"):
        config.write_text(f'data = "data"\nout = "{out}"\n')
        refused(capsys, tinycnn.cli.main, "sweep", "--config", config)
    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.parametrize("command", ["train", "sweep", "reproduce"])
def test_the_default_folder_does_not_go_into_the_data(tmp_path, capsys, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    class_folders(tmp_path / "faces")
    before = contents(tmp_path)
    assert "lies in ." in refused(capsys, tinycnn.cli.main, command, "--data", ".")
    assert contents(tmp_path) == before and not (tmp_path / "runs").exists()


def test_annotated_photos_do_not_replace_the_photos(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("x", "y"):
        class_folders(tmp_path / name)
    before = contents(tmp_path)
    error = refused(capsys, tinycnn.cli.main, "predict", "x", "y", "--annotate", ".")
    assert "would be overwritten" in error and contents(tmp_path) == before


def test_devices_and_pipes_are_not_replaced(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.html")
    data = class_folders(tmp_path / "data")
    error = refused(capsys, ferdata.cli.main, "check", data, "--html", tmp_path / "pipe.html")
    assert "a device or a pipe" in error
    with pytest.raises(OSError, match="a device or a pipe"):
        write_atomically(tmp_path / "pipe.html", b"content")
    assert (tmp_path / "pipe.html").is_fifo()


# ---- files of others ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["report.html", "predictions.csv", "history.jsonl", "model.safetensors", "last"]
)
def test_a_run_does_not_overwrite_files_in_its_folder(tmp_path, capsys, name):
    (tmp_path / name).write_bytes(b"mine")
    error = refused(capsys, tinycnn.cli.main, "train", "--out", tmp_path)
    assert f"holds {name}, which the run would overwrite" in error
    assert contents(tmp_path) == {tmp_path / name: b"mine"}


@pytest.mark.parametrize("command, names", [("sweep", RESULTS), ("reproduce", ("plan.json",))])
def test_a_sweep_does_not_overwrite_files_in_its_folder(tmp_path, capsys, command, names):
    for pattern in (*names, "report.html"):
        name = pattern.replace("*", "-variant-v")
        (tmp_path / name).write_bytes(b'{"mine": 1}')
        error = refused(capsys, tinycnn.cli.main, command, "--out", tmp_path)
        assert "which would be overwritten, and is not the folder of a sweep" in error
        assert contents(tmp_path) == {tmp_path / name: b'{"mine": 1}'}
        (tmp_path / name).unlink()


def test_the_header_beside_a_c_program_is_not_overwritten(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(c_compiler, "compiler", lambda: None)
    model = small_model(tmp_path / "model.safetensors")
    header = tmp_path / "w.h"
    header.write_text("int mine;\n")
    argv = ["export", model, "--to", "c", "--out", tmp_path / "w.c"]
    assert "was not written by tinycnn" in refused(capsys, tinycnn.cli.main, *argv)
    assert header.read_text() == "int mine;\n" and not (tmp_path / "w.c").exists()
    header.unlink()
    for _ in range(2):  # the second time, it replaces its own header
        assert tinycnn.cli.main([str(word) for word in argv]) == 0
    assert "written by tinycnn" in header.read_text()


@pytest.mark.parametrize("to, name", [("python", "microexpnet.py"), ("c", "microexpnet.c")])
def test_a_program_that_the_command_names_itself_replaces_only_its_own(
    tmp_path, capsys, monkeypatch, to, name
):
    monkeypatch.setattr(c_compiler, "compiler", lambda: None)
    model = small_model(tmp_path / "model.safetensors")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine\n")
    argv = ["export", model, "--to", to, "--out", tmp_path / "out"]
    assert "was not written by tinycnn" in refused(capsys, tinycnn.cli.main, *argv)
    assert (tmp_path / "out" / name).read_text() == "mine\n"
    (tmp_path / "out" / name).unlink()
    for _ in range(2):
        assert tinycnn.cli.main([str(word) for word in argv]) == 0


def test_the_default_page_of_explain_replaces_only_its_own(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "face-explained.html"
    page.write_text("<p>mine</p>")
    argv = ["explain", small_model(tmp_path / "m.safetensors"), small_face(tmp_path / "face.png")]
    assert "was not written by tinycnn" in refused(capsys, tinycnn.cli.main, *argv)
    assert page.read_text() == "<p>mine</p>"
    page.write_text(html_page("a title", "", "<body></body>"))
    refuse_files_of_others([page])


def test_annotated_photos_replace_only_annotated_photos(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    for name in ("a.png", "b.jpg"):
        Image.fromarray(np.full((60, 60), 128, np.uint8)).save(tmp_path / "in" / name)
    argv = ["predict", tmp_path / "in", "--annotate", tmp_path / "out"]
    for name in ("a.png", "b.jpg"):
        (tmp_path / "out" / name).write_bytes(b"mine")
        assert "was not written by tinycnn" in refused(capsys, tinycnn.cli.main, *argv)
        assert contents(tmp_path / "out") == {tmp_path / "out" / name: b"mine"}
        (tmp_path / "out" / name).unlink()
    for _ in range(2):
        assert tinycnn.cli.main([str(word) for word in argv]) == 0
    assert len(contents(tmp_path / "out")) == 2


def fit(folder, **options):
    rng = np.random.default_rng(0)
    layers = [tinycnn.Flatten(), tinycnn.Dense(2)]
    spec = tinycnn.InputSpec(4, 4, 1, classes=("a", "b"))
    network = tinycnn.Network(layers, spec, backend="numpy")
    images = rng.integers(0, 256, (8, 4, 4), dtype=np.uint8)
    options = {"epochs": 1, **options}
    return tinycnn.fit(network, images, np.arange(8) % 2, folder=folder, **options)


def test_fit_does_not_overwrite_an_earlier_run(tmp_path):
    fit(tmp_path / "used")
    before = contents(tmp_path)
    with pytest.raises(tinycnn.CheckpointError, match="holds another run: continue it with resume"):
        fit(tmp_path / "used")
    assert contents(tmp_path) == before
    assert len(fit(tmp_path / "used", resume=True, epochs=2)) == 2


def test_fit_does_not_overwrite_a_model_that_somebody_saved(tmp_path):
    path = small_model(tmp_path / "model.safetensors")
    before = path.read_bytes()
    with pytest.raises(tinycnn.CheckpointError, match="would be overwritten"):
        fit(tmp_path)
    assert contents(tmp_path) == {path: before}


def test_a_run_that_was_killed_in_its_first_epoch_can_begin_again(tmp_path):
    (tmp_path / "last").mkdir()
    small_model(tmp_path / "model.safetensors")  # it is written before the first checkpoint
    assert len(fit(tmp_path)) == 1


# ---- two runs at once --------------------------------------------------------------------------


def at_once(n, work):
    """What work(k) returns or raises, for k < n, in threads that begin together."""
    found, barrier = [None] * n, threading.Barrier(n)

    def call(k):
        barrier.wait()
        try:
            found[k] = work(k)
        except Exception as error:
            found[k] = error

    threads = [threading.Thread(target=call, args=(k,)) for k in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_of_runs_that_begin_in_one_folder_at_once_one_succeeds(tmp_path):
    for trial in range(10):
        folder = tmp_path / f"run {trial}"
        found = at_once(8, lambda k, f=folder: RunConfig(f"run {k}", {}, {}, 1, 1).begin(f))
        (winner,) = (k for k, result in enumerate(found) if result == folder)
        lost = [error for error in found if error != folder]
        assert all(isinstance(error, RunFolderError) for error in lost)
        assert all("holds another run" in str(error) for error in lost)
        assert f'"run {winner}"' in (folder / "config.json").read_text()
        assert [path.name for path in folder.iterdir()] == ["config.json"]


def test_runs_that_begin_in_the_same_second_get_folders_of_their_own(tmp_path):
    folder = tmp_path / "runs" / "20261129-120000"
    found = at_once(8, lambda k: RunConfig(f"run {k}", {}, {}, 1, 1).begin_in_new(folder))
    assert len(set(found)) == 8
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == sorted(
        "20261129-120000" + ("" if k == 1 else f"-{k}") for k in range(1, 9)
    )


@pytest.mark.parametrize("links", [True, False])
def test_a_new_file_has_one_writer(tmp_path, monkeypatch, links):
    if not links:  # a disk without hard links
        monkeypatch.setattr(os, "link", lambda *paths: os.stat("/nowhere"))
    found = at_once(8, lambda k: write_atomically(tmp_path / "new", f"{k}" * 9, new=True))
    (winner,) = (k for k, result in enumerate(found) if result is None)
    assert all(isinstance(error, FileExistsError) for error in found if error is not None)
    assert contents(tmp_path) == {tmp_path / "new": f"{winner}".encode() * 9}


@pytest.mark.skipif(not file_lock.can_lock(), reason="this system has no locks")
def test_two_calls_of_fit_cannot_train_into_one_folder(tmp_path):
    class Other(tinycnn.Callback):
        def on_epoch(self, record):
            if not found:
                found.append(None)
                found[0] = at_once(1, lambda k: fit(tmp_path))[0]

        def on_step(self, record):
            if not first:
                first.append(at_once(1, lambda k: fit(tmp_path))[0])

    found, first = [], []
    fit(tmp_path, callbacks=[Other()])
    assert "holds another run" in str(found[0])
    assert "another run writes its results there at this moment" in str(first[0])


def test_a_folder_is_free_again_after_an_error(tmp_path):
    class Stop(tinycnn.Callback):
        def on_step(self, record):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:  # its traceback holds all objects of the run
        fit(tmp_path, callbacks=[Stop()])
    assert caught is not None and len(fit(tmp_path)) == 1


def test_the_rule_accepts_what_is_no_input(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data2").mkdir()
    refuse_inputs(tmp_path / "data2" / "out", [tmp_path / "data", "pretrained", tmp_path / "none"])
    with pytest.raises(CannotError):
        refuse_inputs(tmp_path / "data" / ".." / "data" / "out", [tmp_path / "data"])
