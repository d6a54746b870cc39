"""`tinycnn warmup`: what it compiles, and what it says about it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_networks import SMALL_NETWORKS

import tinycnn
from tinycnn import InputSpec, Network, cli

pytestmark = [pytest.mark.kernels, pytest.mark.jit("nothing is compiled")]

ROOT = Path(__file__).resolve().parent.parent


RECORD = """
import json, runpy, sys
from tinycnn.ground.compiled_code import CodeCache

asked_for = set()
load = CodeCache.load_overload

def recorded(self, sig, target_context):
    function = self._py_func
    asked_for.add(f"{function.__module__}.{function.__qualname__} {sig}")
    return load(self, sig, target_context)

CodeCache.load_overload = recorded
record, *sys.argv = sys.argv[1:]
run = runpy.run_path if sys.argv[0].endswith(".py") else runpy.run_module
try:
    run(sys.argv[0], run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
with open(record, "w") as file:
    json.dump(sorted(asked_for), file)
"""
"""Runs a program and writes a list of the compiled code that it asks the caches for."""


def test_a_training_after_it_compiles_nothing(tmp_path):
    """A training uses no code that `warmup --training` has not asked for, so not compiled."""

    def run(program, *words):
        record = tmp_path / "record.json"
        command = [sys.executable, "-c", RECORD, record, program, *words]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=900, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        return done.stdout, set(json.loads(record.read_text()))

    told, compiled = run("tinycnn", "warmup", "--training", "--json")
    warm = json.loads(told)
    assert all(kept["files"] > 1 and kept["bytes"] > 10_000 for kept in warm["caches"].values())
    assert len(warm["caches"]) == 2
    assert list(warm["seconds"]) == ["face detection", "prediction", "training"]
    words = "--rows 130 --epochs 1 --mixup 0.2 --loss dkd --dropout 0.1 --out run".split()
    _, used = run(ROOT / "examples" / "train_student.py", *words)
    assert len(used) > 10 and used <= compiled, sorted(used - compiled)


def model(path):
    layers, (H, W, C) = SMALL_NETWORKS["miniature"]
    tinycnn.save(Network(layers, InputSpec(H, W, C), seed=3), path)
    return path


def test_any_network_can_be_warmed_up(tmp_path, capsys):
    path = model(tmp_path / "small.safetensors")
    before = path.read_bytes()
    assert cli.main(["warmup", str(path), "--training"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[:3]] == [
        "face detection",
        "prediction",
        "training",
    ]
    assert [line.partition(":")[0] for line in lines[3:]] == ["compiled code"] * 2
    assert path.read_bytes() == before


def test_code_that_cannot_be_kept_is_reported(tmp_path, capsys, monkeypatch):
    from tinycnn.cli import warmup

    empty = tmp_path / "empty"
    monkeypatch.setattr(warmup, "cache_folders", lambda: (empty, empty / "kernels"))
    assert cli.main(["warmup"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {empty} and {empty / 'kernels'}: ") and error.count("\n") == 1


def test_without_kernels_there_is_nothing_to_compile(capsys, monkeypatch):
    monkeypatch.setenv("TINYCNN_BACKEND", "numpy")
    assert cli.main(["warmup"]) == 2
    assert capsys.readouterr().err == "error: TINYCNN_BACKEND=numpy is set: nothing is compiled\n"
