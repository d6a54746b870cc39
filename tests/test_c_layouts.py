"""Exported C programs as libraries: CMake builds one, the Arduino sketch compiles as C++."""

import json
import shutil
import subprocess

import numpy as np
import pytest
from exported import awkward
from test_c_file import need

import tinycnn
from tinycnn import cli
from tinycnn.export import c_compiler, c_file
from tinycnn.export.c_layouts import drawn_images

ARDUINO = """
#include <stdint.h>
#include <stdio.h>
static struct {
    void begin(long) {}
    void print(const char *text) { printf("%s", text); }
    void println(const char *text) { printf("%s\\n", text); }
    void println(unsigned long n) { printf("%lu\\n", n); }
} Serial;
static unsigned long micros() { return 0; }
static void delay(int) {}
"""
"""What a sketch uses of Arduino.h."""


def network_in(kind):
    network = awkward("miniature", "standardized")
    images = drawn_images(4, network.input_spec.shape)
    return network.quantized(images) if kind != "float32" else network


def call(command, folder):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["integer_only", "float32"])
def test_cmake_builds_the_library_and_its_example(tmp_path, monkeypatch, kind):
    need("cmake")
    need("cc")
    monkeypatch.setattr(c_compiler, "compiler", lambda: None)
    network = network_in(kind)
    options = {"integer_only": kind == "integer_only", "layout": "cmake"}
    program = c_file.write(network, tmp_path / "lib", "net", **options)
    assert program.source == tmp_path / "lib" / "src" / "net.c"
    for command in (["cmake", "-S", "lib", "-B", "build"], ["cmake", "--build", "build"]):
        status, printed = call(command, tmp_path)
        assert status == 0, printed
    status, printed = call(["build/net_example"], tmp_path)
    image = drawn_images(1, network.input_spec.shape)
    label = network.classes[int(network.predict_logits(image).argmax())]
    assert status == 0 and printed == f"class: {label}\nthe logits are right\n"
    example = tmp_path / "lib" / "example" / "main.c"
    start = "expected[NET_N_CLASSES] = {"
    example.write_text(example.read_text().replace(start, f"{start}1 + "))
    assert call(["cmake", "--build", "build"], tmp_path)[0] == 0
    status, printed = call(["build/net_example"], tmp_path)
    assert status == 1 and "the logits are WRONG" in printed


@pytest.mark.parametrize("kind", ["integer_only", "int8"])
def test_the_arduino_sketch_is_cpp(tmp_path, monkeypatch, kind):
    need("gcc")
    need("g++")
    monkeypatch.setattr(c_compiler, "compiler", lambda: None)
    options = {"integer_only": kind == "integer_only", "layout": "arduino"}
    c_file.write(network_in(kind), tmp_path, "net", **options)
    properties = (tmp_path / "library.properties").read_text().splitlines()
    assert {"name=net", "architectures=*", "includes=net.h"} <= set(properties)
    sketch = (tmp_path / "examples" / "check" / "check.ino").read_text()
    main = f"{ARDUINO}{sketch}\nint main() {{ setup(); loop(); }}\n"
    (tmp_path / "main.cpp").write_text(main)
    for command in (
        ["gcc", "-std=c99", "-O1", "-c", "src/net.c", "-o", "net.o"],
        ["g++", "-std=gnu++11", "-Wall", "-Werror", "-Isrc", "main.cpp", "net.o", "-o", "sketch"],
    ):
        status, printed = call(command, tmp_path)
        assert status == 0, printed
    assert "the logits are right\n" in call(["./sketch"], tmp_path)[1]


def test_files_of_others_stay(tmp_path):
    (tmp_path / "CMakeLists.txt").write_text("project(mine)")
    with pytest.raises(FileExistsError, match="was not written by tinycnn"):
        c_file.write(network_in("int8"), tmp_path, "net", layout="cmake")
    assert not (tmp_path / "src").exists()


def test_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(c_compiler, "compiler", lambda: None)
    tinycnn.save(network_in("int8"), tmp_path / "int8.safetensors")
    words = ["export", str(tmp_path / "int8.safetensors"), "--to", "c"]
    out = f"{tmp_path}/lib/"
    assert cli.main([*words, "--layout", "arduino", "--integer-only", "--json", "--out", out]) == 0
    names = {name.removeprefix(out) for name in json.loads(capsys.readouterr().out)["files"]}
    sources = {"src/microexpnet.c", "src/microexpnet.h"}
    assert names == {*sources, "library.properties", "examples/check/check.ino"}
    assert cli.main([*words, "--layout", "arduino", "--out", out]) == 0  # again, over its own files
    for arguments, message in (
        ([*words, "--layout", "cmake", "--out", f"{tmp_path}/x.c"], "expected a folder"),
        ([*words[:3], "onnx", "--layout", "cmake", "--out", out], "is for C programs"),
        ([*words[:3], "onnx", "--name", "net", "--out", out], "--name is for C programs"),
        ([*words, "--name", "net", "--out", f"{tmp_path}/x.c"], "expected a folder as --out"),
        ([*words, "--name", "9-nets", "--out", out], "expected letters, digits and _"),
        ([*words, "--layout", "cmake", "--out", f"{tmp_path}/new"], "a new one ends in /"),
    ):
        capsys.readouterr()
        assert cli.main(arguments) == 2 and message in capsys.readouterr().err
    shutil.rmtree(tmp_path / "lib")
    assert cli.main([*words, "--layout", "cmake", "--name", "faces", "--out", out]) == 0
    assert {path.name for path in (tmp_path / "lib/src").iterdir()} == {"faces.c", "faces.h"}
    assert "target_link_libraries(your_program PRIVATE faces)" in (
        tmp_path / "lib/CMakeLists.txt"
    ).read_text(encoding="utf-8")
    assert "void faces_logits(" in (tmp_path / "lib/src/faces.h").read_text(encoding="utf-8")


def test_unknown_layouts(tmp_path):
    with pytest.raises(ValueError, match="expected one of files, cmake, arduino"):
        c_file.write(network_in("int8"), tmp_path, layout="make")
    with pytest.raises(ValueError, match="layout 'cmake' needs a folder"):
        c_file.write(network_in("int8"), tmp_path / "net.c", layout="cmake")
    assert np.unique(drawn_images(1, (84, 84, 1))).size == 256
