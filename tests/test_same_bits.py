"""One seed, the same bits: with any number of threads, in one process or resumed in others.

Separate processes share only the kernel cache.  If it is empty, as in `.ci/run`, the first process
compiles the kernels and the others load them.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import same_bits

ROOT = Path(__file__).resolve().parent.parent


def run(*words):
    """What `same_bits.py` prints in another process, as name -> hash."""
    command = [sys.executable, ROOT / "tests" / "same_bits.py", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return dict(line.split() for line in done.stdout.splitlines())


@pytest.fixture(scope="module")
def with_one_thread():
    return run(1)


@pytest.mark.parametrize("n_threads", [2, 3, 8])
def test_the_number_of_threads_changes_nothing(with_one_thread, n_threads):
    assert set(with_one_thread) == {"images", "float32", "float64"}
    assert run(n_threads) == with_one_thread


def test_stopped_in_one_process_and_resumed_in_others(with_one_thread, tmp_path):
    """Each with another number of threads, stopped in the middle of an epoch."""
    first = run(3, tmp_path, 1)
    assert first["float32"] != with_one_thread["float32"]
    assert run(1, tmp_path, 2) != with_one_thread
    assert run(8, tmp_path) == with_one_thread


def test_the_same_bits_in_this_process(with_one_thread):
    for dtype, name in zip(same_bits.DTYPES, ("float32", "float64")):
        assert same_bits.sha256(same_bits.trained(2, dtype)) == with_one_thread[name]


def test_another_seed_gives_another_hash(with_one_thread, monkeypatch):
    make = same_bits.Network
    monkeypatch.setattr(same_bits, "Network", lambda *a, seed, **o: make(*a, seed=seed + 1, **o))
    other = same_bits.sha256(same_bits.trained(1, same_bits.DTYPES[0]))
    assert other != with_one_thread["float32"]
