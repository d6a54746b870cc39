"""The workflow file: it can be read, runs .ci/run, and has every Python of setup.cfg."""

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def job():
    yaml = pytest.importorskip("yaml", reason="needs PyYAML, which is not installed")
    workflow = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8"))
    assert set(workflow) == {"name", True, "permissions", "concurrency", "jobs"}  # True: "on"
    (found,) = workflow["jobs"].values()
    return found


def test_it_runs_what_runs_here(job):
    *before, last = [step["run"] for step in job["steps"] if "run" in step]
    assert last == ".ci/run" and all("apt-get install" in run for run in before)
    if os.name == "posix":
        assert os.access(ROOT / ".ci/run", os.X_OK)


def test_it_has_every_python_and_every_system(job):
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = re.findall(r"Python :: (3\.\d+)", setup["metadata"]["classifiers"])
    matrix = job["strategy"]["matrix"]
    assert matrix["python"] == listed  # as strings: 3.10 is no number
    systems = {re.sub(r"-[\d.]+", "", name) for name in matrix["system"]}
    assert systems == {"ubuntu", "ubuntu-arm", "macos", "windows"}


def test_the_shell_script_has_no_mistake_in_its_syntax():
    bash = shutil.which("bash") or pytest.skip("needs bash")
    subprocess.run([bash, "-n", ROOT / ".ci/run"], check=True, timeout=60)


@pytest.mark.parametrize("path", [".ci/run", "fuzz/corpus/photo/jpeg", "docs/data.md"])
def test_git_does_not_change_the_ends_of_lines_on_windows(path, tmp_path):
    git = shutil.which("git") or pytest.skip("needs git")
    shutil.copy(ROOT / ".gitattributes", tmp_path)
    subprocess.run([git, "init", "-q", tmp_path], check=True, timeout=60)
    command = [git, "-C", tmp_path, "check-attr", "text", path]
    found = subprocess.run(command, check=True, timeout=60, capture_output=True, text=True).stdout
    assert found == f"{path}: text: unset\n"


@pytest.mark.parametrize(
    "path", ["runs/20260101-120000/model.safetensors", "sweeps/latest/a.json", "paper/report.html"]
)
def test_git_ignores_what_the_programs_write(path, tmp_path):
    git = shutil.which("git") or pytest.skip("needs git")
    shutil.copy(ROOT / ".gitignore", tmp_path)
    subprocess.run([git, "init", "-q", tmp_path], check=True, timeout=60)
    check = [git, "-C", tmp_path, "check-ignore", "--no-index", "-q"]
    assert subprocess.run([*check, path], timeout=60).returncode == 0
    assert subprocess.run([*check, f"tinycnn/{path}"], timeout=60).returncode == path.startswith(
        ("sweeps", "paper")
    )
