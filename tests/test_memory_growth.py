"""A fiftieth of `memory_growth.py`: training, predictions and a large file of images."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read as on Linux")
def test_memory_does_not_grow():
    """In a separate process, because the memory of pytest changes too."""
    command = [
        sys.executable,
        ROOT / "tests" / "memory_growth.py",
        "--share",
        "0.02",
        "--threads",
        "1",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 and done.stdout.endswith("no growth\n"), done.stdout + done.stderr
    for what in ("training steps (2,000)", "predictions (20,000)", "84x84 px (20,000)"):
        assert what in done.stdout
