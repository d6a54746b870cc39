"""The fuzzer: its corpus gives no findings, and it finds bugs that are planted."""

import time

import numpy as np
import pytest

from fuzz import engine
from fuzz.__main__ import CORPUS, EXCLUDED, main
from fuzz.engine import Finding, check, run
from fuzz.mutation import mutated
from fuzz.readers import READERS, SHARES, Reader

ON_LINUX = pytest.mark.skipif(not engine.can_run(), reason="needs fork, alarm and /proc of Linux")


NEED_NUMBA = {"compiled_code"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.kernels if n in NEED_NUMBA else ()) for n in READERS],
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # damaged TIFF files
def test_the_corpus_of_every_reader_gives_no_finding(tmp_path, name):
    """Files named found-* once crashed a reader."""
    reader = READERS[name](tmp_path)
    kept = {path.name: path.read_bytes() for path in (CORPUS / name).iterdir()}
    assert set(reader.seeds()) <= set(kept), "python -m fuzz --make-corpus"
    for data in kept.values():
        check(reader, data)
    read = 0
    for seed in reader.seeds().values():
        try:
            reader.read(seed)
            read += 1
        except reader.errors:
            pass
    assert read > 0, "not one of the good files is read"


def test_the_corpus_is_small_and_has_no_other_files():
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} == set(READERS) == set(SHARES)
    assert sum(path.stat().st_size for path in files) < 300_000
    assert "tinycnn.kernels" in EXCLUDED  # compiled code cannot be instrumented for coverage


# ---- planted bugs ----------------------------------------------------------------------------


class Refusal(ValueError):
    pass


def crash(data):
    if len(data) % 7 == 3:
        raise KeyError("planted")


def hang(data):
    if len(data) % 7 == 3:
        time.sleep(60)


def gigabyte(data):
    if len(data) % 7 == 3:
        try:
            np.zeros(2 * engine.MAX_BYTES, np.uint8)
        except MemoryError as error:
            raise Refusal("swallowed") from error


def chatter(data):
    if len(data) % 7 == 3:
        raise Refusal("one line\nand another")


def refuse(data):
    raise Refusal("as documented")


def planted(monkeypatch, read):
    monkeypatch.setitem(READERS, "planted", lambda folder: Reader(read, (Refusal,), dict))


def run_planted(tmp_path, seed=0, n_inputs=300):
    corpus = tmp_path / "corpus"
    corpus.mkdir(exist_ok=True)
    (corpus / "good").write_bytes(bytes(range(70)))
    return run("planted", corpus, tmp_path / "findings", n_inputs, 0, seed, guided=False)


@ON_LINUX
@pytest.mark.parametrize(
    "read, word", [(crash, "planted"), (gigabyte, "memory"), (chatter, "one line"), (hang, "ALRM")]
)
def test_it_finds_planted_bugs_and_keeps_the_input(tmp_path, monkeypatch, read, word):
    monkeypatch.setattr(engine, "MAX_SECONDS", 1)
    planted(monkeypatch, read)
    outcome = run_planted(tmp_path)
    assert word in outcome.finding
    data = outcome.kept_as.read_bytes()
    assert len(data) % 7 == 3 and outcome.kept_as.parent == tmp_path / "findings" / "planted"
    assert run_planted(tmp_path).kept_as == outcome.kept_as  # the same seed finds the same input


@ON_LINUX
def test_a_documented_error_is_not_a_finding(tmp_path, monkeypatch):
    planted(monkeypatch, refuse)
    outcome = run_planted(tmp_path)
    assert outcome.n_inputs == 300 and not outcome.finding and outcome.kept_as is None


def test_error_messages_must_be_one_line():
    def raising(error):
        def read(data):
            raise error

        return Reader(read, (Refusal,), dict)

    check(raising(Refusal("short")), b"")
    for message in ("", "two\nlines", "x" * 6000):
        with pytest.raises(Finding, match="the message is not a single line"):
            check(raising(Refusal(message)), b"")
    with pytest.raises(KeyError):
        check(raising(KeyError("x")), b"")


def test_mutations_differ_and_come_from_the_seed():
    good = bytes(range(200))
    made = [mutated(good, np.random.default_rng(k)) for k in range(200)]
    assert len(set(made)) > 180 and made[3] == mutated(good, np.random.default_rng(3))
    assert mutated(b"", np.random.default_rng(0)) == b""


def test_an_unknown_reader(capsys):
    assert main(["--engine", "mutation", "--reader", "none"]) == 2
    assert "no reader 'none': expected some of safetensors, " in capsys.readouterr().err


def test_a_system_that_cannot_limit_time_and_memory(capsys, monkeypatch):
    monkeypatch.setattr(engine, "can_run", lambda: False)
    assert main(["--engine", "mutation", "--runs", "60", "--reader", "teacher_csv"]) == 2
    assert capsys.readouterr().err.startswith("fuzzing needs Linux; --replay and")


@ON_LINUX
def test_the_command_prints_what_was_read(capsys):
    words = ["--engine", "mutation", "--runs", "60", "--reader", "teacher_csv", "--seed", "5"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "teacher_csv" in out and "60 inputs" in out and "0 findings" in out
