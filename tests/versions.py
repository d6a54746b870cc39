"""Runs the suite on the oldest and the newest releases that setup.cfg allows, each in a new venv.

    python tests/versions.py                    both, the whole suite
    python tests/versions.py oldest tests/test_train.py tests/test_fer2013.py

`oldest` uses the lowest Python among the classifiers that is installed here, and the lower bound of
every requirement in setup.cfg.  `newest` uses the highest Python and the newest releases.  After
the tests, the main job is run for one epoch, with warnings as errors, as in the tests.  The venvs
are made in $TMPDIR and removed; packages come from the package index.  Exit status: 0 if all tests
passed.
"""

from __future__ import annotations

import argparse
import configparser
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHOWN = (
    "numpy|numba|llvmlite|scipy|scikit-image|scikit-learn|pillow|safetensors|tqdm|pytest|hypothesis"
)


def read_setup() -> tuple[list[str], list[str]]:
    """Python versions ("3.10") in order, and the requirements of the package and its tests."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    pythons = re.findall(r"Python :: (3\.\d+)", setup["metadata"]["classifiers"])
    listed = setup["options"]["install_requires"] + setup["options.extras_require"]["test"]
    return pythons, listed.split()


def lowest(requirement: str) -> str:
    """numpy>=1.24 -> numpy==1.24.*"""
    name, bound = requirement.split(">=")
    return f"{name}=={bound}.*"


def interpreter(version: str) -> str | None:
    """A working Python of that version, from PATH or from pyenv."""
    home = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [shutil.which(f"python{version}")]
    found += sorted(home.glob(f"{version}.*/bin/python{version}"), reverse=True)
    code = f"import sys; sys.exit('%d.%d' % sys.version_info[:2] != '{version}')"
    for path in filter(None, found):
        if subprocess.run([path, "-c", code], capture_output=True).returncode == 0:
            return str(path)
    return None


def run(which: str, tests: list[str]) -> bool:
    """Whether the tests pass on the `oldest` or the `newest` releases."""
    pythons, requirements = read_setup()
    candidates = pythons if which == "oldest" else pythons[::-1]
    python = next(filter(None, map(interpreter, candidates)), None)
    if python is None:
        sys.exit(f"error: none of Python {', '.join(pythons)} is installed here")
    wanted = [lowest(each) for each in requirements] if which == "oldest" else requirements
    with tempfile.TemporaryDirectory(prefix=f"tinycnn-{which}-") as folder:
        subprocess.run([python, "-m", "venv", folder], check=True)
        inside = Path(folder) / "bin" / "python"
        pip = [inside, "-m", "pip", "--disable-pip-version-check"]
        print(f"== {which}: {python}, {' '.join(wanted)}", flush=True)
        subprocess.run([*pip, "install", "-q", "--prefer-binary", *wanted], check=True)
        listed = subprocess.run([*pip, "list", "--format=freeze"], capture_output=True, text=True)
        print(*re.findall(rf"^(?:{SHOWN})==.*", listed.stdout, re.M | re.I), flush=True)
        caches = {f"{name}_CACHE_DIR": f"{folder}/{name}" for name in ("TINYCNN", "FERDATA")}
        environment = {**os.environ, **caches, "PYTHONPATH": str(ROOT)}
        tested = subprocess.run([inside, "-m", "pytest", *tests], cwd=ROOT, env=environment)
        student = ["examples/train_student.py", "--rows", "256", "--epochs", "1", "--no-compare"]
        student += ["--out", f"{folder}/run"]
        trained = subprocess.run([inside, "-W", "error", *student], cwd=ROOT, env=environment)
    return tested.returncode == trained.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "which",
        nargs="?",
        choices=("both", "oldest", "newest"),
        default="both",
        help="which releases to test (default: both)",
    )
    parser.add_argument("tests", nargs="*", help="test files or pytest options (default: all)")
    args, options = parser.parse_known_args()
    passed = {
        which: run(which, args.tests + options)
        for which in ("oldest", "newest")
        if args.which in (which, "both")
    }
    for which, fine in passed.items():
        print(f"{which}: {'passed' if fine else 'FAILED'}")
    return 0 if all(passed.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
