"""A few kills by `kill_training.py`; a hundred kills of all jobs are run by hand."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def test_the_job_that_exports_writes_two_programs(tmp_path):
    """It is only killed by hand.  Here it is set up, with all that it replaces in tinycnn."""
    import kill_training

    job = kill_training.Exporting(tmp_path)
    assert all(len(set(texts)) == 2 for texts in job.texts.values())


@pytest.mark.skipif(os.name == "nt", reason="kills and forks as POSIX does")
def test_jobs_killed_at_random_moments_resume_and_end_with_the_same_bits():
    seed = os.environ.get("TINYCNN_KILL_SEED", str(random.SystemRandom().randrange(10**6)))
    command = [sys.executable, ROOT / "tests" / "kill_training.py", "--kills", "14", "--seed", seed]
    for job in ("training", "caching", "packing", "softlabels", "converting"):
        command += ["--only", job]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"seed {seed}\n" in done.stdout and "training: 8 kills" in done.stdout
    assert "nothing broken or lost" in done.stdout
