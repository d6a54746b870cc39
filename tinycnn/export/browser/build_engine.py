"""Compiles the engine of the page to WebAssembly, with and without vector instructions.

    pip install ziglang
    python -m tinycnn.export.browser.build_engine

writes engine.wasm and engine_plain.wasm beside this file, and engine.sha256, the hash of their
source. They are shipped, so a user needs no
compiler; only who changes the C files runs this. The layers' functions are those of exported C
programs, `c_program.c`.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

from ...ground.atomic_file import write_atomically
from ...ground.package_files import package_text
from ...ground.printing import print_text
from ..c_source import sections_of

ENGINES = {"engine.wasm": "generic+simd128+bulk_memory", "engine_plain.wasm": "generic+bulk_memory"}
"""Name of the file -> the processor that it is for: SIMD is missing in Safari before 16.4."""

ZIG = "0.17.1"
"""The release of ziglang that compiled the shipped files; others give other bytes."""

SOURCE_HASH = "engine.sha256"

_SCALES = ("scale_raw", "scale_unit", "scale_channels", "scale_standardized")


def source() -> str:
    """The whole engine as one C file."""
    parts = [package_text(__package__, "memory.c")]
    for name, text in sections_of("c_program.c").items():
        if name in _SCALES:  # a program has one of them, called "scale"; the engine has all
            text = text.replace("static void scale(", f"static void {name}(")
        parts.append(text)
    parts += [package_text(__package__, name) for name in ("engine.c", "face_finder.c")]
    return "".join(parts).replace("@NAME@", "ENGINE").replace("@name@", "engine")


def compiled(processor: str) -> bytes:
    """The engine for one of the processors of ENGINES.  Raises OSError or CalledProcessError if
    ziglang is not installed or does not compile it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "engine.c").write_text(source(), encoding="utf-8")
        command = [sys.executable, "-m", "ziglang", "cc", "--target=wasm32-freestanding"]
        command += [f"-mcpu={processor}", "-std=c99", "-O3", "-g0", "-nostdlib"]
        command += ["-Wall", "-Wextra", "-Werror", "-Wl,--no-entry", "-Wl,--export-dynamic"]
        command += ["-Wl,--strip-all", "-Wl,-z,stack-size=262144", "engine.c", "-o", "engine.wasm"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, encoding="utf-8")
        return Path(folder, "engine.wasm").read_bytes()


def source_hash() -> str:
    return hashlib.sha256(source().encode("utf-8")).hexdigest()


def main() -> None:
    for name, processor in ENGINES.items():
        content = compiled(processor)
        write_atomically(Path(__file__).with_name(name), content)
        print_text(f"{name}: {len(content):,} bytes")
    write_atomically(Path(__file__).with_name(SOURCE_HASH), f"{source_hash()}\n")


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(error.stderr)
