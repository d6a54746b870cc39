"""Every file of broken_inputs.py gives one clear error or the right labels; Hypothesis adds more.

One case was run by hand, since it takes half a minute: a teacher's csv of 10^7 rows.  It was
refused at line 4,000,003, and the process took at most 153 MB.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from broken_inputs import (
    ACCEPTED,
    BROKEN,
    FER,
    FER_LABELS,
    HOSTILE,
    MANIFEST,
    MANIFEST_LABELS,
    PIXELS,
    TEACHER,
    VOTE_LABELS,
    VOTES,
    lines,
    names,
    npz,
    packed,
    png,
)
from hypothesis import example, given
from hypothesis import strategies as st
from source_trees import write

import ferdata
from ferdata.errors import DataError

ROOT = Path(__file__).resolve().parent.parent
NOBODY = 65534
MAX_ADDRESSES, MAX_RESIDENT = 2_000_000_000, 500_000_000  # bytes


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("FERDATA_CACHE_DIR", str(folder))
    return folder


def test_the_list_is_long_enough_and_names_are_unique():
    listed = [case.name for case in (*BROKEN, *HOSTILE, *ACCEPTED)]
    assert len(set(listed)) == len(listed) and len(BROKEN) + len(HOSTILE) >= 60


def refused(case, folder):
    """The error message; checks that it is one line and that nothing was left in the cache."""
    path = case.build(folder)
    before = sorted(p for p in folder.rglob("*"))
    with pytest.raises(DataError, match=case.words) as error:
        if case.unprivileged:
            as_nobody(case.read, path)
        else:
            case.read(path)
    message = str(error.value)
    assert "\n" not in message and len(message) < 1000 and folder.name in message, message
    assert sorted(p for p in folder.rglob("*")) == before
    return message


def as_nobody(read, path):
    if os.geteuid() != 0:
        return read(path)
    try:
        os.seteuid(NOBODY)
    except OSError:
        pytest.skip("the superuser may read everything, and cannot become somebody else here")
    try:
        return read(path)
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("case", [c for c in BROKEN if not c.unprivileged], ids=lambda c: c.name)
def test_broken(case, tmp_path, cache):
    refused(case, tmp_path)
    # The cache keeps a file that is valid by itself, even if the other file is wrong or unfit.
    kept = sorted(p.name.split("-")[0] for p in cache.glob("*") if p.name != "kernels")
    misfit = case.words.startswith("new.csv: votes for") or case.name == "votes reordered"
    both = ["fer2013.csv", "fer2013new.csv"]
    joined = case.name.startswith("votes") and "alone" not in case.name
    assert kept == (both if misfit else both[:1] if joined else [])
    assert not list(cache.rglob("*.part"))
    if kept:
        with pytest.raises(DataError, match=case.words):  # again, now from the cache
            case.read(tmp_path / "fer2013new.csv")


@pytest.mark.parametrize("case", [c for c in BROKEN if c.unprivileged], ids=lambda c: c.name)
def test_no_permission(case):
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o755)
        refused(case, folder)
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda c: c.name)
def test_accepted(case, tmp_path):
    assert case.read(case.build(tmp_path)) == case.labels


READ = """
import json, resource, signal, sys, warnings
sys.path.insert(0, sys.argv[1])
import broken_inputs, ferdata.sources.dataset_loading, mutated_files
warnings.simplefilter("error")
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]),) * 2)
def check():
    from pathlib import Path
    cases = {case.name: case for case in broken_inputs.HOSTILE}
    for name, path in json.loads(sys.stdin.read()):
        signal.alarm(20)  # ends the process
        try:
            cases[name].read(Path(path))
        except ferdata.DataError as error:
            print(json.dumps([name, str(error)]))
    print(json.dumps(["peak", mutated_files.peak()]))
check()
"""


def test_hostile_files_cost_little(tmp_path, cache):
    places = []
    for i, case in enumerate(HOSTILE):
        folder = tmp_path / str(i)
        folder.mkdir()
        places.append((case.name, str(case.build(folder))))
    done = subprocess.run(
        [sys.executable, "-c", READ, str(ROOT / "tests"), str(MAX_ADDRESSES)],
        input=json.dumps(places),
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "FERDATA_CACHE_DIR": str(cache), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answers = dict(json.loads(line) for line in done.stdout.splitlines())
    assert answers.pop("peak") < MAX_RESIDENT
    assert list(answers) == [case.name for case in HOSTILE]
    for case, (_, path) in zip(HOSTILE, places):
        message = answers[case.name]
        assert path in message and "\n" not in message, message
        pytest.raises(DataError, raise_, message).match(case.words)
    assert not list(cache.iterdir())


def raise_(message):
    raise DataError(message)


@pytest.mark.parametrize("blank", [False, True])
def test_an_endless_manifest_is_refused(tmp_path, monkeypatch, blank):
    monkeypatch.setattr("ferdata.sources.manifest.MAX_ROWS", 3)
    path = write(tmp_path / "faces.csv", lines([*MANIFEST, *[""] * 9] if blank else MANIFEST * 2))
    for i in (1, 2, 3):
        write(tmp_path / f"a/{i}.png", png())
    with pytest.raises(DataError, match="faces.csv line 5: more than 3 rows"):
        ferdata.open(path)


def test_a_teacher_of_blank_lines(tmp_path, monkeypatch):
    monkeypatch.setattr("ferdata.teachers.soft_label_files.MAX_ENTRIES", 3)
    path = write(tmp_path / "teacher.csv", lines(TEACHER) + b"\n" * 2000)
    with pytest.raises(DataError, match="teacher.csv line 1004: too many lines"):
        ferdata.load_soft_labels(path)


# ---- random damage ---------------------------------------------------------------------------

changes = st.lists(
    st.tuples(
        st.sampled_from(["set", "bit", "cut", "insert"]),
        st.sampled_from([30, 300, 10**9]),  # headers are near the ends of a file
        st.integers(0, 10**9),
        st.binary(min_size=1, max_size=4)
        | st.sampled_from([b",", b"\n", b'"', b"\0", b"0", b"\r"]),
    ),
    min_size=1,
    max_size=3,
)


def damaged(data, changes):
    for kind, edge, where, new in changes:
        if not data:
            return data
        at = where % min(edge, len(data))
        at = at if where % 2 else len(data) - 1 - at
        if kind == "set":
            data = data[:at] + new + data[at + len(new) :]
        elif kind == "bit":
            data = data[:at] + bytes([data[at] ^ 1 << new[0] % 8]) + data[at + 1 :]
        elif kind == "cut":
            data = data[:at]
        else:
            data = data[:at] + new + data[at:]
    return data


def outcome(read, path):
    """The result of read, or None for one clear error; any other exception fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of unusual files
        try:
            return read(path)
        except DataError as error:
            assert str(path) in str(error) and "\n" not in str(error), str(error)
            return None


def untouched(before, after):
    """Numbers of the rows whose lines did not change, if the header did not change either."""
    old, new = before.splitlines(), after.splitlines()
    if old[:1] != new[:1]:
        return []
    return [i for i, (a, b) in enumerate(zip(old[1:], new[1:])) if a == b]


@given(changes)
def test_damaged_fer2013(tmp_path_factory, changes):
    path = tmp_path_factory.getbasetemp() / "fer2013.csv"
    path.write_bytes(damaged(lines(FER), changes))
    data = outcome(lambda p: ferdata.load_fer2013(p, cache=False), path)
    if data is not None:
        assert len(data) <= len(FER_LABELS)
        found = names(data)
        for i in untouched(lines(FER), path.read_bytes()):
            assert found[i] == FER_LABELS[i]


@given(changes)
def test_damaged_votes(tmp_path_factory, changes):
    folder = tmp_path_factory.getbasetemp()
    good = write(folder / "good" / "fer2013.csv", lines(FER))
    path = folder / "fer2013new.csv"
    path.write_bytes(damaged(lines(VOTES), changes))
    data = outcome(lambda p: ferdata.load_fer2013(good, p, cache=False), path)
    if data is not None:
        found = dict(zip(data.rows.tolist(), names(data)))
        for i in untouched(lines(VOTES), path.read_bytes()):
            assert found[i] == VOTE_LABELS[i]


@given(changes)
def test_damaged_manifests(tmp_path_factory, changes):
    folder = tmp_path_factory.getbasetemp()
    for i in (1, 2, 3):
        if not (folder / f"a/{i}.png").exists():
            write(folder / f"a/{i}.png", png())
    path = folder / "faces.csv"
    path.write_bytes(damaged(lines(MANIFEST), changes))
    files = outcome(lambda p: ferdata.sources.dataset_loading.list_files(p, "manifest"), path)
    if files is not None:
        classes = [files.label_space.classes[i] for i in files.labels]
        found = dict(zip(files.rows.tolist(), zip(files.paths, classes)))
        for i in untouched(lines(MANIFEST), path.read_bytes()):
            assert found[i] == (f"a/{i + 1}.png", MANIFEST_LABELS[i])


@given(changes)
def test_damaged_teacher_csv(tmp_path_factory, changes):
    path = tmp_path_factory.getbasetemp() / "teacher.csv"
    path.write_bytes(damaged(lines(TEACHER), changes))
    teacher = outcome(ferdata.load_soft_labels, path)
    old, new = lines(TEACHER).splitlines(), path.read_bytes().splitlines()
    if teacher is not None and old[:2] == new[:2]:
        found = dict(zip(teacher.ids.tolist(), teacher.values.tolist()))
        for line in set(old[2:]) & set(new[2:]):
            key, *values = line.decode().split(",")
            assert found[key] == [float(v) for v in values]


PACKED, TEACHER_NPZ = packed(), npz()


@given(changes)
@example([("set", 30, 0, b"\0"), ("set", 300, 274, b"\1")])  # a comment hides the labels
def test_damaged_arrays_are_refused_or_unchanged(tmp_path_factory, changes):
    folder = tmp_path_factory.getbasetemp()
    for name, good, read, fields in (
        ("t.npz", TEACHER_NPZ, ferdata.load_soft_labels, ("values", "ids", "classes")),
        ("f.npz", PACKED, ferdata.load_packed, ("images", "ids", "labels", "has_label", "classes")),
    ):
        whole = read(write(folder / "good" / name, good))
        found = outcome(read, write(folder / name, damaged(good, changes)))
        for field in fields if found is not None else ():
            np.testing.assert_array_equal(getattr(found, field), getattr(whole, field))


@given(changes)
def test_damaged_png(tmp_path_factory, changes):
    path = write(tmp_path_factory.getbasetemp() / "a.png", damaged(png(), changes))
    found = outcome(ferdata.read_photo, path)
    # Pillow does not check the checksum of pixels that it can unpack, so they may differ
    assert found is None or (found.shape[:2], found.dtype) == (PIXELS.shape[:2], np.uint8)
