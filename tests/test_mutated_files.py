"""Five hundred damaged checkpoints and as many damaged model files.  Each loads correctly or is
refused with one clear error; none crashes, hangs or takes a gigabyte."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tf_bundle
from exported import candidate
from mutated_files import MAX_MEMORY_BYTES, MAX_SECONDS, N_MUTANTS

import tinycnn
from tinycnn.formats.crc32c import masked_crc32c
from tinycnn.formats.tf_checkpoint import PUBLISHED_NAMES

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory and time as Linux does")
@pytest.mark.parametrize("kind", ["checkpoint", "safetensors"])
def test_damaged_files_load_correctly_or_are_refused(tmp_path, kind, monkeypatch):
    network = candidate("v", "XXS")
    if kind == "checkpoint":
        monkeypatch.setattr(tf_bundle, "masked", masked_crc32c)
        tensors = {PUBLISHED_NAMES[name]: p for name, p in network.parameters.items()}
        slots = {f"{name}/Adam": t for name, t in tensors.items() if t.size < 100}
        tf_bundle.write(tmp_path / "good", {**tensors, **slots}, per_block=5)
    else:
        tinycnn.save(network, tmp_path / "good")
    command = [sys.executable, "-W", "error", str(ROOT / "tests" / "mutated_files.py"), kind]
    done = subprocess.run(
        [*command, str(tmp_path)],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert counts["loaded"] + counts["refused"] == N_MUTANTS == 500
    assert counts["refused"] > 350 and counts["loaded"] > 0
    assert counts["slowest_s"] < MAX_SECONDS and counts["peak_bytes"] < MAX_MEMORY_BYTES
