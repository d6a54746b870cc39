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


def test_a_training_after_it_compiles_nothing(tmp_path):
    """In new caches: a training that compiles something adds files to them."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TINYCNN_CACHE_DIR": str(tmp_path / "tinycnn"),
        "FERDATA_CACHE_DIR": str(tmp_path / "ferdata"),
    }

    def run(*command):
        done = subprocess.run(
            [sys.executable, *command], env=environment, capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    warm = json.loads(run("-m", "tinycnn", "warmup", "--training", "--json"))
    kept = warm["caches"]
    assert list(kept) == [str(tmp_path / "tinycnn"), str(tmp_path / "ferdata" / "kernels")]
    assert all(cache["files"] > 1 and cache["bytes"] > 10_000 for cache in kept.values())
    assert list(warm["seconds"]) == ["face detection", "prediction", "training"]
    before = sorted(path for path in tmp_path.rglob("*.nbc"))
    words = "--rows 130 --epochs 1 --mixup 0.2 --loss dkd --dropout 0.1".split()
    run(str(ROOT / "examples" / "train_student.py"), *words, "--out", str(tmp_path / "run"))
    assert sorted(path for path in tmp_path.rglob("*.nbc")) == before


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
