"""Trials in processes on this machine: after any kill nothing is lost and nothing done twice."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from toy_sweep import N_EPOCHS, TOY, TRIALS, ToySource, epochs_trained, untimed

from tinycnn import sweep
from tinycnn.formats import safetensors
from tinycnn.sweep import local

ROOT = Path(__file__).resolve().parent.parent
FEW = sweep.grid(**TOY, loss="none", seed=[0, 1, 2])
ONE_KILLED = "its process died 3 times (out of memory?)"


def run(folder, source=None, trials=TRIALS, **options):
    return sweep.run(trials, source or ToySource(), folder, **{"backend": "numpy", **options})


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """All of TRIALS in one process."""
    return run(tmp_path_factory.mktemp("undisturbed"), n_processes=1)


def each_epoch_once(log, trials=TRIALS):
    found = sorted(line[:3] for line in epochs_trained(log))
    # the log has seed and teacher but not the temperature, so two trials look the same
    return found == sorted(
        (t.seed, int(t.has_teacher), epoch) for t in trials for epoch in range(N_EPOCHS)
    )


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.01)


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


# ---- results ---------------------------------------------------------------------------------


def test_results_do_not_depend_on_the_number_of_processes_and_come_in_order(undisturbed, tmp_path):
    told = []
    log = tmp_path / "log"
    outcome = run(tmp_path / "s", ToySource(log), n_processes=3, progress=lambda *n: told.append(n))
    assert untimed(outcome) == untimed(undisturbed) and not outcome.failures
    assert list(outcome.results) == list(sweep.names(TRIALS, "toy")) == list(undisturbed.results)
    assert told == [(n, 0, len(TRIALS)) for n in range(len(TRIALS) + 1)]
    assert each_epoch_once(log)
    assert len({process for *_, process in epochs_trained(log)}) == 3
    assert {path.name for path in (tmp_path / "s" / "work").iterdir()} == set()
    on_disk = {p.stem: json.loads(p.read_text()) for p in (tmp_path / "s" / "results").iterdir()}
    assert on_disk == outcome.results


def test_a_finished_sweep_trains_nothing_and_starts_no_process(tmp_path, monkeypatch):
    first = run(tmp_path, trials=FEW[:1])
    monkeypatch.setattr(local, "_Crew", None)
    told = []
    again = run(tmp_path, trials=FEW[:1] * 2, progress=lambda *n: told.append(n))
    assert again == first and told == [(1, 0, 1)]


def test_networks_are_kept_on_request_and_missing_ones_are_trained_again(tmp_path):
    outcome = run(tmp_path, trials=FEW[:1])
    (name,) = outcome.results
    folder = sweep.SweepFolder(tmp_path)
    assert not folder.model_path(name).exists()
    kept = run(tmp_path, trials=FEW[:1], keep_models=True)
    assert untimed(kept) == untimed(outcome)
    network = safetensors.load(folder.model_path(name), backend="numpy")
    parts = ToySource().parts(FEW[0], n_threads=1)
    predicted = network.predict_logits(parts.test.images).argmax(axis=1)
    assert predicted.tolist() == kept.results[name]["test"]["predicted"]


def test_cores_are_shared_out_and_libraries_start_no_threads(monkeypatch):
    for cores, processes, shares in [(8, 3, [3, 3, 2]), (2, 2, [1, 1]), (1, 3, [1, 1, 1])]:
        monkeypatch.setattr(local, "usable_cores", lambda: cores)
        assert local._Crew(processes, ()).free_shares == shares
    before = dict(os.environ)
    with local._one_thread_in_libraries():
        assert os.environ["OPENBLAS_NUM_THREADS"] == os.environ["OMP_NUM_THREADS"] == "1"
    assert dict(os.environ) == before
    with pytest.raises(ValueError, match="n_processes is -1"):
        local._Crew(-1, ())


# ---- failures --------------------------------------------------------------------------------


def test_a_failing_trial_stops_no_other_and_is_retried_on_request(undisturbed, tmp_path):
    mended = tmp_path / "mended"
    source = ToySource(tmp_path / "log", bad_seed=1, unless=mended)
    folder = tmp_path / "s"
    outcome = run(folder, source, FEW)
    assert list(outcome.failures.values()) == ["ValueError: epoch 1 is bad"]
    assert len(outcome.results) == 2
    (name,) = outcome.failures
    kept = json.loads((folder / "failures" / f"{name}.json").read_text())
    assert kept["error"] == "ValueError: epoch 1 is bad" and "toy_sweep.py" in kept["traceback"]
    assert kept["trial"]["seed"] == 1
    n_epochs = len(epochs_trained(source.log))
    assert run(folder, source, FEW).failures == outcome.failures  # listed, but not run again
    assert len(epochs_trained(source.log)) == n_epochs
    mended.touch()
    outcome = run(folder, source, FEW, retry_failed=True)
    assert not outcome.failures and not list((folder / "failures").iterdir())
    assert untimed(outcome)[name] == untimed(undisturbed)[name]
    trained = [line[2] for line in epochs_trained(source.log) if line[0] == 1]
    assert trained == [0, 1, 1, 2, 3]  # the retry resumed from the checkpoint of epoch 0


def test_a_trial_whose_process_always_dies_fails_but_the_others_finish(tmp_path):
    source = ToySource(tmp_path / "log", bad_seed=1, bad="die")
    outcome = run(tmp_path / "s", source, FEW, n_processes=2)
    assert list(outcome.failures.values()) == [ONE_KILLED] and len(outcome.results) == 2
    trained = [line[:3] for line in epochs_trained(source.log)]
    for seed in (0, 2):  # no epoch of the others was repeated
        assert [e for s, _, e in trained if s == seed] == list(range(N_EPOCHS))
    assert [e for s, _, e in trained if s == 1] == [0, 1, 1, 1]
    (name,) = outcome.failures
    assert json.loads((tmp_path / "s" / "failures" / f"{name}.json").read_text())["trial"]


class Unreadable:
    """Data that cannot be unpickled in the other process."""

    key, classes = "toy", ("a",)

    def __reduce__(self):
        return (int, ("no number",))


def test_a_sweep_ends_if_its_processes_cannot_start(tmp_path, capfd):
    with pytest.raises(sweep.SweepError, match="end as soon as they start"):
        run(tmp_path, Unreadable(), FEW)
    assert "no number" in capfd.readouterr().err
    assert not list((tmp_path / "failures").iterdir())


class OtherHere(ToySource):
    """Data whose key is different in every process."""

    key = property(lambda self: str(os.getpid()))


def test_a_sweep_ends_if_a_worker_has_other_code_or_data(tmp_path):
    with pytest.raises(sweep.SweepError, match="differ from those of the sweep"):
        run(tmp_path, OtherHere(), FEW)
    for kept in ("failures", "results"):
        assert not list((tmp_path / kept).iterdir())


def test_an_invalid_result_file_is_named(tmp_path):
    outcome = run(tmp_path, trials=FEW[:1])
    (name,) = outcome.results
    path = tmp_path / "results" / f"{name}.json"
    good = json.loads(path.read_text())
    scores = {**good["test"], "accuracy": "high"}
    wrong = {
        '{"name": "a", "trial": {}}': "validation, test missing",
        '"name trial validation test"': "not a JSON object",
        json.dumps({**good, "test": scores}): "test without accuracy",
        json.dumps({**good, "trial": {**good["trial"], "epochs": 10**400}}): "epochs|large",
        json.dumps({**good, "trial": {**good["trial"], "command": "x"}}): "not a trial: .*command",
        json.dumps({**good, "trial": {"size": "S"}}): "a trial without batch_norm",
        json.dumps({**good, "seconds": None}): "seconds missing, or of the wrong type",
        "[" * 100_000: "recursion",
        " " * (sweep.folder.MAX_FILE_BYTES + 1): "more than 33,554,432 bytes",
        "\ud800": "",
    }
    for text, words in wrong.items():
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        with pytest.raises(sweep.SweepFolderError, match=f"{name}.json: not a.*({words})"):
            run(tmp_path, trials=FEW[:1])


def test_a_result_from_before_an_option_existed_is_still_one(tmp_path):
    outcome = run(tmp_path, trials=FEW[:1])
    (name,) = outcome.results
    path = tmp_path / "results" / f"{name}.json"
    result = json.loads(path.read_text())
    del result["trial"]["cutmix"], result["trial"]["patience"]
    path.write_text(json.dumps(result))
    again = run(tmp_path, trials=FEW[:1])
    assert again.results == {name: result}
    assert "cutmix" in sweep.summary_csv(sweep.names(FEW[:1], "toy"), again)


# ---- several sweeps at once ------------------------------------------------------------------


def test_a_trial_locked_by_another_sweep_is_left_to_it(tmp_path):
    folder = sweep.SweepFolder(tmp_path / "s")
    names = list(sweep.names(FEW, "toy"))
    log, told = tmp_path / "log", []

    def release(n_done, n_failed, n_trials):
        told.append(n_done)
        if n_done == 2:  # the two others are done: now release the lock of the other sweep
            assert not folder.is_done(names[0])
            held.__exit__(None, None, None)

    held = folder.locked(names[0])
    held.__enter__()
    outcome = run(folder.path, ToySource(log), FEW, n_processes=1, progress=release)
    assert told == [0, 1, 2, 3] and list(outcome.results) == names
    assert each_epoch_once(log, FEW)


def test_two_sweeps_in_one_folder_train_nothing_twice(undisturbed, tmp_path):
    log = tmp_path / "log"
    programs = [start(tmp_path / "s", 2, log) for _ in range(2)]
    assert [program.wait(timeout=120) for program in programs] == [0, 0]
    assert each_epoch_once(log)
    assert untimed(run(tmp_path / "s")) == untimed(undisturbed)


# ---- killed and stopped ----------------------------------------------------------------------


def start(folder, n_processes, log, pause_s=0.0, **options):
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    words = (ROOT / "tests" / "toy_sweep.py", folder, n_processes, log, pause_s)
    return subprocess.Popen(
        [sys.executable, *map(str, words)],
        env={**os.environ, "PYTHONPATH": paths},
        start_new_session=True,
        **options,
    )


def test_a_sweep_killed_ten_times_ends_with_the_same_results(undisturbed, tmp_path):
    rng = random.Random(int(os.environ.get("TINYCNN_KILL_SEED", "3")))
    folder, log = tmp_path / "s", tmp_path / "log"
    n_midway = 0

    def checkpoints():
        return list((folder / "work").glob("*/last/checkpoint.safetensors"))

    for k in range(10):
        # an epoch pauses for longer than the kill waits, so a trial with a checkpoint is training
        program = start(folder, 2, log, pause_s=0.3)
        before = len(epochs_trained(log))
        if k % 2:  # half of the kills come at random times, half after an epoch has ended
            until(lambda: len(epochs_trained(log)) > before + 1 and checkpoints())
        time.sleep(rng.uniform(0, 0.15))
        os.killpg(program.pid, signal.SIGKILL)
        program.wait()
        n_midway += bool(checkpoints())
    assert n_midway >= 3, "the kills met no training"
    outcome = run(folder, ToySource(log))
    assert untimed(outcome) == untimed(undisturbed)
    # each killed process repeats at most the epoch that was running
    n_again = len(epochs_trained(log)) - len(TRIALS) * N_EPOCHS
    assert 0 <= n_again <= 10 * 2


def workers_of(log):
    return {process for *_, process in epochs_trained(log)}


def test_a_killed_worker_only_repeats_one_epoch_of_its_trial(undisturbed, tmp_path):
    log = tmp_path / "log"
    source = ToySource(log, bad_seed=1, bad="die once", unless=tmp_path / "died")
    outcome = run(tmp_path / "s", source, FEW, n_processes=2)
    assert not outcome.failures and (tmp_path / "died").exists()
    for name in set(outcome.results) & set(undisturbed.results):
        assert untimed(outcome)[name] == untimed(undisturbed)[name]
    trained = [line[:3] for line in epochs_trained(log)]
    assert [epoch for seed, _, epoch in trained if seed == 1] == [0, 1, 1, 2, 3]
    for seed in (0, 2):
        assert [epoch for s, _, epoch in trained if s == seed] == [0, 1, 2, 3]


def test_workers_end_when_their_sweep_is_killed(tmp_path):
    log = tmp_path / "log"
    program = start(tmp_path / "s", 2, log)
    until(lambda: len(workers_of(log)) == 2)
    workers = workers_of(log)
    assert all(map(is_alive, workers))
    program.kill()  # kill only the parent
    program.wait()
    until(lambda: not any(map(is_alive, workers)), seconds=5)


def test_ctrl_c_stops_at_once_without_processes_or_broken_checkpoints(undisturbed, tmp_path):
    log = tmp_path / "log"
    program = start(tmp_path / "s", 2, log, stderr=subprocess.PIPE, text=True)
    until(lambda: len(epochs_trained(log)) >= 4)
    workers = workers_of(log)
    began = time.monotonic()
    os.killpg(program.pid, signal.SIGINT)  # like a terminal: the signal goes to all processes
    _, err = program.communicate(timeout=20)
    assert time.monotonic() - began < 5
    assert err.count("Traceback") == 1 and err.rstrip().endswith("KeyboardInterrupt"), err
    assert not any(map(is_alive, workers))
    assert untimed(run(tmp_path / "s", ToySource(log))) == untimed(undisturbed)
    assert 0 <= len(epochs_trained(log)) - len(TRIALS) * N_EPOCHS <= 2
