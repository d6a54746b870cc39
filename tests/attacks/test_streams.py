"""What commands print: to closed and full streams, to terminals of other letters, with names that
contain control characters."""

import ast
import json
import logging
import os
import subprocess
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path

import numpy as np
import pytest
from attack_commands import class_folders, small_face, small_model
from example_programs import EXAMPLES, load_example
from PIL import Image

import ferdata.cli
import tinycnn
import tinycnn.cli
from tinycnn.ground import printing
from tinycnn.ground.exit_status import ERROR, PIPE_CLOSED, exit_status

ROOT = EXAMPLES.parent
EVIL = "\x1b]0;evil\x07\x9b31m\x7f"
"""Sets the title of the window, and colours what follows."""


class Full:
    """A stream to a full disk.  It is closed where it fails: `discard` finds no descriptor."""

    encoding, errors = "utf-8", "strict"

    def __init__(self, kind=OSError):
        self.kind = kind

    def write(self, text):
        raise self.kind(28, "No space left on device")

    flush = close = lambda self: self.write("")

    def isatty(self):
        return False

    def fileno(self):
        raise ValueError("no descriptor")


def info(tmp_path):
    return tinycnn.cli.main(["info", str(small_model(tmp_path / "m.safetensors"))])


# ---- streams -----------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("stdout",), ("stderr",), ("stdout", "stderr", "stdin")])
def test_closed_streams_are_dev_null(tmp_path, monkeypatch, names):
    for name in names:
        monkeypatch.setattr(sys, name, None)
    assert info(tmp_path) == 0
    assert tinycnn.cli.main(["info", str(tmp_path / "missing")]) == ERROR
    for name in names:
        assert getattr(sys, name) is None  # as before


@pytest.mark.parametrize("kind, status", [(OSError, ERROR), (BrokenPipeError, PIPE_CLOSED)])
def test_a_full_stdout_is_an_error(tmp_path, monkeypatch, capsys, kind, status):
    monkeypatch.setattr(sys, "stdout", Full(kind))
    assert info(tmp_path) == status
    told = "error: the standard output: No space left on device\n" if status == ERROR else ""
    assert capsys.readouterr().err == told
    assert tinycnn.cli.main(["--version"]) == status  # argparse passes the error over


def test_a_full_stderr_does_not_stop_the_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", Full())
    data = class_folders(tmp_path / "data")
    (tmp_path / "data" / "note.doc").write_text("x")  # a note on it is printed
    assert ferdata.cli.main(["show", str(data), str(tmp_path / "sheet.png")]) == 0
    assert "sheet.png: from the top" in capsys.readouterr().out
    assert (tmp_path / "sheet.png").is_file()

    def work():
        logging.getLogger("tinycnn.test").warning("lost")
        sys.stderr.write("lost")
        return 0

    assert exit_status(work) == 0


def test_a_terminal_of_other_letters_gets_backslashes(tmp_path, monkeypatch):
    content = BytesIO()
    ascii_only = TextIOWrapper(content, encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", ascii_only)
    model = small_model(tmp_path / "m.safetensors", classes=("fr\u00f6hlich", "\u60b2", "a", "b"))
    assert tinycnn.cli.main(["info", str(model)]) == 0
    assert rb"classes: fr\xf6hlich, \u60b2, a, b" in content.getvalue()
    assert ascii_only.errors == "strict"  # as before


@pytest.mark.parametrize(
    "redirection, status",
    [(">&- 2>&- <&-", 0), ("2>/dev/full", 0), (">/dev/full", ERROR), (">/dev/full 2>&1", ERROR)],
)
def test_a_process_ends_with_its_status(tmp_path, redirection, status):
    """Python itself writes what is left in the streams, when all else has ended."""
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    code = "from tinycnn.ground.exit_status import exit_status\n"
    code += "import sys\nfrom tinycnn.ground.printing import print_message, print_text\n"
    code += "def work():\n  print_text('a' * 9); print_message('b'); open('file', 'w').write('c')\n"
    code += "  print_text('d'); return 0\n"
    code += "sys.exit(exit_status(work))\n"
    command = f'exec "$0" "$@" {redirection}'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, "-OO", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == status
    assert (tmp_path / "file").read_text() == "c"  # and no text of the output
    told = "error: the standard output: No space left on device\n"
    assert done.stderr == {">/dev/full": "b\n" + told}.get(redirection, "")


# ---- control characters ------------------------------------------------------------------------


def assert_harmless(text):
    wrong = {c for c in text if not (c.isprintable() or c in "\n\r")}
    assert not wrong, f"{wrong} in {text!r}"


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """Files whose names and contents have control characters.  Nothing waits for kernels."""
    monkeypatch.setenv("TINYCNN_BACKEND", "numpy")
    model = tmp_path / f"m{EVIL}.safetensors"
    small_model(model, classes=(f"a{EVIL}", "b\nerror: no", "c\t", "d\u202e"), framing=f"f{EVIL}")
    class_folders(tmp_path / f"data{EVIL}")
    Image.fromarray(np.full((40, 40), 128, np.uint8)).save(tmp_path / f"photo{EVIL}.png")
    return tmp_path


def test_commands_print_no_control_characters(evil, capsys):
    model, face = evil / f"m{EVIL}.safetensors", small_face(evil / f"face{EVIL}.png")
    data, photo = evil / f"data{EVIL}", evil / f"photo{EVIL}.png"
    (evil / f"bad{EVIL}.toml").write_text(f'"{EVIL.encode("unicode_escape").decode()}" = 1\n')
    for main, argv in (
        (tinycnn.cli.main, ["info", model]),
        (tinycnn.cli.main, ["info", evil / f"missing{EVIL}"]),
        (tinycnn.cli.main, ["convert", model, evil / f"o{EVIL}.safetensors"]),
        (tinycnn.cli.main, ["explain", model, face, "--out", evil / f"p{EVIL}.html"]),
        (tinycnn.cli.main, ["export", model, "--to", "python", "--out", evil / f"p{EVIL}.py"]),
        (tinycnn.cli.main, ["predict", photo, photo, evil / f"none{EVIL}.png"]),
        (tinycnn.cli.main, ["predict", "--model", model, photo]),
        (tinycnn.cli.main, ["sweep", "--config", evil / f"bad{EVIL}.toml"]),
        (tinycnn.cli.main, ["train", "--data", evil / f"none{EVIL}"]),
        (ferdata.cli.main, ["check", data]),
        (ferdata.cli.main, ["show", data, evil / f"s{EVIL}.png"]),
        (ferdata.cli.main, ["pack", data, evil / f"d{EVIL}.npz"]),
    ):
        main([str(word) for word in argv])
        out, error = capsys.readouterr()
        assert out or error, argv
        assert_harmless(out + error)


def test_examples_print_no_control_characters(evil, capsys):
    for name, argv in (
        ("write_soft_labels", [evil / f"m{EVIL}.safetensors", "--data", evil / f"data{EVIL}"]),
        ("train_student", ["--data", evil / f"none{EVIL}", "--out", evil / f"run{EVIL}"]),
        ("sweep", ["--config", evil / f"sweep{EVIL}.toml"]),
        ("predict", [evil / f"photo{EVIL}.png", evil / f"none{EVIL}.png"]),
    ):
        if name == "write_soft_labels":
            argv += ["--out", evil / f"t{EVIL}.npz"]
        load_example(name).main([str(word) for word in argv])
        out, error = capsys.readouterr()
        assert out or error, name
        assert_harmless(out + error)


def test_a_terminal_gets_harmless_data_and_a_file_the_true_ones(evil, capsys, monkeypatch):
    photo = evil / f"photo{EVIL}.png"
    argv = ["predict", "--csv", str(photo), "--least-score", "0.0001"]
    assert tinycnn.cli.main(argv) == 0
    assert printing._safe(f"a{EVIL}\nb") == "a" + printing.plain(EVIL) + "\nb"
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda self: True)
    printing.print_data(str(photo))
    assert_harmless(capsys.readouterr().out)
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda self: False)
    printing.print_data(str(photo))
    assert EVIL in capsys.readouterr().out


def test_the_log_is_harmless(capsys):
    record = logging.LogRecord("a", logging.INFO, "f", 1, f"x{EVIL}%s", ("\ny",), None)
    assert_harmless(printing._Plain("%(message)s").format(record))


def test_json_has_escapes(evil, capsys):
    assert tinycnn.cli.main(["info", str(evil / f"m{EVIL}.safetensors"), "--json"]) == 0
    out = capsys.readouterr().out
    assert_harmless(out)
    assert json.loads(out)["input_spec"]["classes"][0] == f"a{EVIL}"


def printing_calls(source):
    """The lines that print, but for the functions of printing.py."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            writes = name.endswith((".stdout.write", ".stderr.write", "tqdm.write"))
            if name in ("print", "logging.basicConfig") or writes:
                yield node.lineno


FILES = [
    *(ROOT / "tinycnn" / "cli").glob("*.py"),
    *(ROOT / "tinycnn" / "ground").glob("*.py"),
    *(ROOT / "ferdata").rglob("*.py"),
    *EXAMPLES.glob("*.py"),
]


def test_everything_is_printed_through_one_door():
    found = {
        path.relative_to(ROOT).as_posix(): lines
        for path in FILES
        if (lines := list(printing_calls(path.read_text(encoding="utf-8"))))
    }
    assert found.keys() == {"tinycnn/ground/printing.py"}
    assert len(FILES) > 100 and Path(printing.__file__) in FILES
