"""Readers of compiled code and of notebooks; programs that are written with names of strangers."""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fuzz.readers.registry import Reader, reader

if TYPE_CHECKING:
    from tinycnn.network import Network


@reader(share=0.3)
def compiled_code(folder: Path) -> Reader:
    """The index of compiled code, which is pickle: unpickled only if its checksum is right."""
    import pickle

    from tinycnn.ground.compiled_code import CHECKSUM_BYTES, CheckedFiles, checksum

    files = CheckedFiles(str(folder), "kernels.walk", "stamp")
    content = pickle.dumps((files._version, "stamp", {"a signature": "walk.1.nbc"}))
    good = checksum(files._index_name, "stamp", content) + content
    path = folder / files._index_name

    def read(data: bytes) -> None:
        forged = checksum(files._index_name, "stamp", data[CHECKSUM_BYTES:])
        if data != good and data.startswith(forged):
            return  # atheris sees what is compared and copies it; a checksum does not prevent that
        path.write_bytes(data)
        path.chmod(0o600)
        files._load_index()
        assert data == good, "damaged code was unpickled"

    return Reader(read, (ValueError,), lambda: {"good": good})


@reader(share=0.05)
def exported_names(folder: Path) -> Reader:
    """Names in a network, and the Python and C programs that are written from it: its name, its
    framing and its classes, with the character US (31) between them.

    The programs must be well-formed and hold exactly these names.
    """
    from tinycnn import Dense, Flatten, InputSpec, Network
    from tinycnn.export import c_file, python_file

    def network_of(classes: Sequence[str], framing: str | None) -> Network:
        spec = InputSpec(1, 1, classes=tuple(classes), framing=framing)
        return Network([Flatten(), Dense(len(classes))], spec, backend="numpy")

    # this part is the same in all programs: parsed once, for speed
    plain = python_file.source_of(network_of(["one"], None), "plain")
    fixed = plain[plain.index("\n# ---- reading") : plain.index("\n# ---- the weights")]
    ast.parse(fixed)

    def read(data: bytes) -> None:
        text = data.decode("utf-8", "surrogateescape")  # JSON can write half a letter, too
        parts = text.split("\x1f")[:20]
        title, framing, *classes = parts + [""] * (2 - len(parts))
        network = network_of(classes, framing or None)
        spec, found = network.input_spec, {}
        before, fixed_part, after = python_file.source_of(network, title).partition(fixed)
        assert fixed_part
        for statement in [*ast.parse(before).body, *ast.parse(after).body]:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                with contextlib.suppress(ValueError):
                    found[statement.targets[0].id] = ast.literal_eval(statement.value)
        assert found["CLASSES"] == spec.classes and found["FRAMING"] == spec.framing
        name = title if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", title) else "mine"
        try:
            source = c_file.Writer(network, name).source()
        except UnicodeError as error:
            raise AssertionError("the message does not say what to do") from error
        assert _c_texts(source, f"{name}_classes") == list(spec.classes)

    seeds = {
        "plain": b"mine\x1fpaper\x1fcalm\x1fglad",
        "quotes": b'a-b\x1f\x1f\'\x1f"\x1f"""\x1f\'\'\'\x1f\\\x1f\\"',
        "marks": b"PROGRAM\x1f# <weights>\n\x1f# </network>\n\x1f@NAME@\x1f@name@\x1f*/",
        "letters": "Name\x1f??/\x1fgl\u00fccklich\x1f\u6012\x1f\u2028\x1f\U0001f600".encode(),
        "lines": b"x\x1fa\nb\x1f\r\n\x1f#include <a>\x1f{\x1f};\x1f// \x1f/*",
    }
    return Reader(read, (ValueError,), lambda: seeds)


_C_TOKEN = re.compile(
    r"""\s+ | /\*.*?\*/ | //[^\n]* | \#[^\n]* | (?P<text>"(?:[^"\\\n]|\\.)*")
    | '(?:[^'\\\n]|\\.)*' | (?P<word>[A-Za-z_]\w*) | [0-9.][\w.+-]*
    | (?P<open>[(\[{]) | (?P<close>[)\]}]) | [-+*/%=<>!&|^~?:;,.]""",
    re.DOTALL | re.VERBOSE | re.ASCII,
)


def _c_texts(source: str, name: str) -> list[str]:
    """The texts of the array `name` in a C program, whose tokens and brackets are checked."""
    assert source.isascii()
    at, depth, texts = 0, 0, []
    is_inside = False
    while at < len(source):
        token = _C_TOKEN.match(source, at)
        assert token is not None, source[at : at + 40]
        at = token.end()
        depth += bool(token["open"]) - bool(token["close"])
        assert depth >= 0, "a bracket is closed that was not opened"
        is_inside = token["word"] == name or (is_inside and token[0] != ";")
        if is_inside and token["text"]:
            octal = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), token["text"][1:-1])
            texts.append(octal.encode("latin-1").decode("utf-8"))
    assert depth == 0, "a bracket is not closed"
    return texts


@reader(share=0.3)
def notebook(folder: Path) -> Reader:
    """A learner's answers in a Jupyter notebook; its code is not run."""
    from tinycnn.learn.catalogue import EXERCISES
    from tinycnn.learn.folder import notebook_of
    from tinycnn.learn.notebook import code_cells

    def read(data: bytes) -> object:
        return code_cells(data.decode("utf-8", "replace"), with_figures=True)

    return Reader(read, (ValueError,), lambda: {"relu": notebook_of(EXERCISES[3], True).encode()})
