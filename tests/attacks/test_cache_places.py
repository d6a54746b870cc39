"""A place where no cache can be is no cache: nothing else changes, and it is said once."""

import logging
import os
from pathlib import Path

import numpy as np
import pytest
from attack_commands import class_folders, small_model
from PIL import Image

import ferdata
import ferdata.cli
import ferdata.jit
import tinycnn.cli
from ferdata.files import cache
from ferdata.files.cache import cached_by
from tinycnn.cli import warmup
from tinycnn.ground.kept_code import KeptCode


def no_home(monkeypatch, tmp_path):
    """As in a container whose user the system does not know."""
    import pwd

    def unknown(uid):
        raise KeyError(uid)

    for name in ("HOME", "USERPROFILE", "XDG_CACHE_HOME", "TINYCNN_CACHE_DIR", "FERDATA_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(RuntimeError):
        Path.home()


def at(place):
    """The cache is at this place, relative to a folder that has a file `file`."""

    def prepare(monkeypatch, tmp_path):
        (tmp_path / "file").touch()
        (tmp_path / "circle").symlink_to("circle")
        (tmp_path / "nowhere").symlink_to("no/such/folder")
        for name in ("TINYCNN_CACHE_DIR", "FERDATA_CACHE_DIR"):
            monkeypatch.setenv(name, os.path.join(tmp_path, place))

    return prepare


def removed(monkeypatch, tmp_path):
    """A relative place, and the current folder is gone."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for name in ("TINYCNN_CACHE_DIR", "FERDATA_CACHE_DIR"):
        monkeypatch.setenv(name, "cache")


PLACES = {
    "no home": no_home,
    "a file": at("file"),
    "below a file": at("file/cache"),
    "a device": at("/dev/null"),
    "below a device": at("/dev/null/cache"),
    "a circle of links": at("circle"),
    "a link to nowhere": at("nowhere"),
    "too long": at("a" * 300),
    "below /proc": at("/proc/cache"),
    "removed": removed,
}


@pytest.fixture(params=PLACES)
def place(request, monkeypatch, tmp_path_factory):
    monkeypatch.setattr(cache, "_warned", False)
    monkeypatch.setenv("TINYCNN_BACKEND", "numpy")  # no test waits for kernels to compile
    PLACES[request.param](monkeypatch, tmp_path_factory.mktemp("place"))
    return request.param


def test_parsed_data_are_made_anew(place):
    made = []

    def build():
        made.append(1)
        return {"a": np.arange(3)}

    for _ in range(2):
        found = cached_by("name", "place", lambda: "identity", build)
        assert found["a"].tolist() == [0, 1, 2]
    assert len(made) == 2


def test_notes_on_compiled_code_are_not_kept(place, tmp_path):
    for program, package in (("tinycnn", "tinycnn.kernels"), ("ferdata", "ferdata.photos")):
        code = KeptCode(program, (package,), "code")
        code.note(tmp_path)
        assert not code.is_kept()
    ferdata.jit.note_kept(ferdata.jit.PHOTOS)


def doubled(x, y):
    for k in range(len(x)):
        y[k] = 2 * x[k]


@pytest.mark.kernels
@pytest.mark.parametrize("place", ["no home", "a file"], indirect=True)
def test_loops_are_compiled_in_each_process(place):
    x, y = np.arange(5.0), np.zeros(5)
    ferdata.jit.compile_cached(doubled, "void(float64[::1], float64[::1])")(x, y)
    assert y.tolist() == [0, 2, 4, 6, 8]


@pytest.mark.filterwarnings("ignore:ferdata computes with NumPy")
def test_commands_do_their_work(place, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(ferdata.jit, "compile_cached", lambda *words: 1 / 0)  # takes too long
    photo = tmp_path / "photo.png"
    Image.fromarray(np.full((40, 40), 128, np.uint8)).save(photo)
    model = small_model(tmp_path / "model.safetensors")
    data = class_folders(tmp_path / "data")
    for main, argv in (
        (tinycnn.cli.main, ["predict", photo]),
        (tinycnn.cli.main, ["info", model]),
        (ferdata.cli.main, ["show", data, "{}.png"]),
    ):
        words = [str(word).format(tmp_path / "out") for word in argv]
        assert main(words) == 0, capsys.readouterr().err


def test_a_missing_home_is_said_once(monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(cache, "_warned", False)
    no_home(monkeypatch, tmp_path)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert ferdata.cache_folder() is None
            ferdata.jit.note_kept(ferdata.jit.PHOTOS)
    assert [record.name for record in caplog.records] == ["ferdata"]
    assert "unless FERDATA_CACHE_DIR names a folder" in caplog.text


@pytest.mark.kernels
def test_a_missing_home_is_said_once_for_the_kernels(monkeypatch, tmp_path, caplog):
    from tinycnn.kernels import _jit

    no_home(monkeypatch, tmp_path)
    _jit._code_folder.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            assert _jit.kept_in() is None and _jit.kept_in() is None
    finally:
        _jit._code_folder.cache_clear()
    assert caplog.text.count("set TINYCNN_CACHE_DIR to a folder that you may write to") == 1


@pytest.mark.kernels
def test_warmup_says_that_nothing_is_kept(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(cache, "_warned", False)
    model = small_model(tmp_path / "model.safetensors")
    for name in ("detect_and_crop", "predict"):
        monkeypatch.setattr(warmup, name, lambda *words: None)
    no_home(monkeypatch, tmp_path)
    assert tinycnn.cli.main(["warmup", str(model)]) == 1
    assert "there is no cache folder: the code could not be kept" in capsys.readouterr().err
