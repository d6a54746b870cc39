"""--print-completion: the scripts of shtab, run by the shell they are for."""

import shutil
import subprocess
import sys

import pytest

import ferdata.cli
from tinycnn import cli
from tinycnn.ground.completion import SHELLS

PROGRAMS = {"tinycnn": cli.main, "ferdata": ferdata.cli.main}


def script(program, shell, capsys):
    pytest.importorskip("shtab", reason="needs shtab, which is not installed")
    with pytest.raises(SystemExit) as stop:
        PROGRAMS[program](["--print-completion", shell])
    assert stop.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_gets_a_script_that_names_the_commands(program, shell, capsys):
    shtab = pytest.importorskip("shtab", reason="needs shtab, which is not installed")
    if shell not in shtab.SUPPORTED_SHELLS:
        pytest.skip(f"shtab {shtab.__version__} does not know {shell}")
    text = script(program, shell, capsys)
    command = {"tinycnn": "gradcheck", "ferdata": "pack"}[program]
    assert command in text and program in text


@pytest.mark.parametrize(
    "program, words, expected",
    [
        ("tinycnn", ["gradc"], ["gradcheck"]),
        ("tinycnn", ["predict", "--unsure"], ["--unsure-below"]),
        ("tinycnn", ["predict", "--framing", ""], ["paper", "fer2013"]),
        ("tinycnn", ["predict", "--model", "pho"], ["photo.jpg"]),
        ("tinycnn", ["predict", "photo.jpg", "oth"], ["other.jpg"]),
        ("ferdata", ["check", "oth"], ["other.jpg"]),
        ("ferdata", ["pack", "--no-face", "w"], ["whole"]),
    ],
)
def test_bash_completes(program, words, expected, capsys, tmp_path):
    """The script is read by bash, which then calls its function as for the Tab key."""
    bash = shutil.which("bash") or pytest.skip("needs bash")
    text = script(program, "bash", capsys)
    for name in ("photo.jpg", "other.jpg"):
        (tmp_path / name).touch()
    line = " ".join(f"'{word}'" for word in [program, *words])
    ask = f"COMP_WORDS=({line}) COMP_CWORD={len(words)}\n_shtab_{program}\n"
    ask += 'printf "%s\\n" "${COMPREPLY[@]}"\n'
    done = subprocess.run(
        [bash, "-c", f"{text}\n{ask}"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == expected, done.stderr


@pytest.mark.parametrize("program", PROGRAMS)
def test_without_shtab_the_error_names_the_extra(program, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert PROGRAMS[program](["--print-completion", "bash"]) == 2
    out, error = capsys.readouterr()
    assert out == "" and error.count("\n") == 1
    assert 'needs shtab: pip install "tinycnn[completion]"' in error


def test_a_shell_that_an_old_shtab_does_not_know(capsys, monkeypatch):
    shtab = pytest.importorskip("shtab", reason="needs shtab, which is not installed")
    monkeypatch.setattr(shtab, "SUPPORTED_SHELLS", ["bash", "zsh"])
    assert cli.main(["--print-completion", "fish"]) == 2
    assert "knows only bash, zsh: pip install -U shtab" in capsys.readouterr().err
