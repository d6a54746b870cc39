"""Trials on a real Dask scheduler with three worker processes on this machine."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from toy_sweep import N_EPOCHS, TEACHER, TOY, ToySource, epochs_trained, untimed

import ferdata
from tinycnn import sweep

distributed = pytest.importorskip("distributed", reason="the extra `sweep` is not installed")

ROOT = Path(__file__).resolve().parent.parent
TRIALS = sweep.grid(**TOY, loss=["none", "kd"], temperature=[2, 8], seed=[0, 1, 2, 3])
PATHS = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
# warnings of distributed and tornado themselves
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
IMPATIENT = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s"}
"""How long Dask looks for a worker that was killed."""


class Cluster:
    """A scheduler and its workers, each a process; `folder` is for their own files."""

    def __init__(self, folder):
        self.folder, self.processes, self.workers = folder, [], {}
        self.address = f"tcp://127.0.0.1:{free_port()}"
        self.scheduler = self.start(
            *("scheduler", "--host", "127.0.0.1", "--port", self.address.split(":")[-1]),
            *("--no-dashboard", "--no-show"),
        )

    def start(self, kind, *words):
        log = open(self.folder / f"{kind}-{len(self.processes)}.log", "w")
        process = subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.dask_{kind}", *words],
            env={**os.environ, "PYTHONPATH": PATHS, "OMP_NUM_THREADS": "1", **IMPATIENT},
            cwd=self.folder,
            stdout=log,
            stderr=log,
        )
        log.close()
        self.processes.append(process)
        return process

    def add_worker(self, name):
        self.workers[name] = self.start(
            *("worker", self.address, "--name", name, "--host", "127.0.0.1", "--no-nanny"),
            *("--nthreads", "1", "--no-dashboard", "--memory-limit", "0"),
            *("--local-directory", str(self.folder / name), "--death-timeout", "60"),
        )

    def end(self):
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    started = Cluster(tmp_path_factory.mktemp("cluster"))
    for name in ("a", "b", "c"):
        started.add_worker(name)
    yield started
    started.end()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    return sweep.run(TRIALS, ToySource(), folder, backend="numpy")


def run(cluster, folder, source, trials=TRIALS, **options):
    return sweep.run_on_cluster(
        trials, source, folder, cluster.address, **{"backend": "numpy", **options}
    )


class CountedSource(ToySource):
    """Counts its copies: adds a line to the file `arrivals` each time it is unpickled."""

    def __init__(self, arrivals, *words, **options):
        super().__init__(*words, **options)
        self.arrivals = str(arrivals)

    def __setstate__(self, state):
        self.__dict__.update(state)
        with open(self.arrivals, "a") as file:
            file.write(f"{os.getpid()}\n")


def test_a_worker_killed_in_the_middle_of_a_trial(cluster, undisturbed, tmp_path):
    """Another worker continues its trial, each worker gets the data once, results are the same."""
    log, arrivals = tmp_path / "log", tmp_path / "arrivals"
    source = CountedSource(arrivals, log, bad_seed=1, bad="die once", unless=tmp_path / "died")
    wait_for_workers(cluster, 3)
    told = []
    outcome = run(cluster, tmp_path / "s", source, progress=lambda *counts: told.append(counts))
    assert untimed(outcome) == untimed(undisturbed) and not outcome.failures
    assert list(outcome.results) == list(undisturbed.results)
    assert told == [(n, 0, len(TRIALS)) for n in range(len(TRIALS) + 1)]
    assert (tmp_path / "died").exists()
    alive = [name for name, worker in cluster.workers.items() if worker.poll() is None]
    assert len(alive) == 2
    trained = epochs_trained(log)
    assert len({process for *_, process in trained}) == 3
    # all see the folder, so only the epoch that was running is repeated
    assert len(trained) == len(TRIALS) * N_EPOCHS + 1
    seen = arrivals.read_text().split()
    workers = {str(worker.pid) for worker in cluster.workers.values()}
    assert sorted(pid for pid in seen if pid in workers) == sorted(workers)


def wait_for_workers(cluster, n):
    with distributed.Client(cluster.address, timeout=60, set_as_default=False) as client:
        client.wait_for_workers(n, timeout=60)


class HereAlone(type(Path())):
    """A path that does not exist for other processes."""

    def absolute(self):
        return Path("/nowhere") / self.name


class FolderHereAlone(sweep.SweepFolder):
    def __init__(self, path):
        super().__init__(path)
        self.path = HereAlone(path)


@pytest.mark.parametrize("is_seen", [True, False])
def test_workers_may_keep_checkpoints_on_disks_of_their_own(
    cluster, undisturbed, tmp_path, monkeypatch, is_seen
):
    """By option, or if they do not see the folder.  A failed trial starts over; no files stay."""
    if not is_seen:
        monkeypatch.setattr("tinycnn.sweep.cluster.SweepFolder", FolderHereAlone)
    options = dict(share_checkpoints=False) if is_seen else {}
    source = ToySource(tmp_path / "log", bad_seed=1, unless=tmp_path / "mended")
    trials = sweep.grid(**TOY, loss="none", seed=[0, 1])
    outcome = run(cluster, tmp_path / "s", source, trials, **options)
    assert len(outcome.failures) == 1
    (tmp_path / "mended").touch()
    outcome = run(cluster, tmp_path / "s", source, trials, retry_failed=True, **options)
    for name, result in untimed(outcome).items():
        assert result == untimed(undisturbed)[name]
    trained = [epoch for seed, _, epoch, _ in epochs_trained(tmp_path / "log") if seed == 1]
    assert trained == [0, 1, 0, 1, 2, 3]
    assert not list(cluster.folder.rglob("tinycnn-*"))


def test_failures_are_listed_and_retried_and_networks_are_returned(cluster, tmp_path):
    mended = tmp_path / "mended"
    trials = sweep.grid(**TOY, loss="none", seed=[0, 1])
    source = ToySource(bad_seed=1, unless=mended)
    outcome = run(cluster, tmp_path / "s", source, trials)
    assert list(outcome.failures.values()) == ["ValueError: epoch 1 is bad"]
    mended.touch()
    outcome = run(cluster, tmp_path / "s", source, trials, retry_failed=True, keep_models=True)
    assert not outcome.failures and len(outcome.results) == 2
    folder = sweep.SweepFolder(tmp_path / "s")
    assert all(folder.model_path(name).stat().st_size > 50_000 for name in outcome.results)
    assert not list((tmp_path / "s" / "work").iterdir())


def test_a_data_set_is_sent_to_the_workers(cluster, tmp_path):
    """The folds of a data set, trained here and on the workers."""
    rng = np.random.default_rng(0)
    faces = ferdata.FaceDataset(
        images=rng.integers(0, 256, (36, 84, 84), dtype=np.uint8),
        ids=np.array([f"{n}" for n in range(36)]),
        label_space=ferdata.MICROEXPNET8,
        labels=np.arange(36) % 8,
        subjects=np.array([f"S{n // 4}" for n in range(36)]),
        soft_labels=rng.normal(0, 1, (36, 8)).astype(np.float32),
    )
    source = ferdata.TrialFaces(faces, protocol="subject", n_folds=3)
    trials = sweep.grid(**TOY, recipe="paper", fold=[0, 1, 2])
    outcome = run(cluster, tmp_path / "there", source, trials)
    here = sweep.run(trials, source, tmp_path / "here", backend="numpy")
    assert untimed(outcome) == untimed(here) and len(here.results) == 3


@pytest.mark.parametrize("is_seen", [True, False])
def test_students_are_sent_after_their_teacher_with_its_soft_labels(
    cluster, tmp_path, monkeypatch, is_seen
):
    if not is_seen:
        monkeypatch.setattr("tinycnn.sweep.cluster.SweepFolder", FolderHereAlone)
    trained = dict(teacher_network="microexpnet-M", teacher_epochs=1)
    trials = sweep.grid(**TOY, temperature=[2, 8], **trained)
    log = tmp_path / "log"
    outcome = run(cluster, tmp_path / "there", ToySource(log), trials[::-1])
    here = sweep.run(trials, ToySource(), tmp_path / "here", backend="numpy")
    assert untimed(outcome) == untimed(here) and len(here.results) == 3
    assert [seed == TEACHER for seed, *_ in epochs_trained(log)] == [True] + [False] * 2 * N_EPOCHS
    teacher = trials[0].name("toy")
    contents = [sweep.SweepFolder(tmp_path / f).soft_labels(teacher) for f in ("there", "here")]
    assert contents[0] == contents[1]


def test_students_without_a_teacher_and_those_of_a_failed_one(cluster, tmp_path):
    trained = dict(teacher_network="microexpnet-M", teacher_epochs=2)
    trials = sweep.grid(**TOY, temperature=[2, 8], **trained)
    with pytest.raises(sweep.SweepError, match="2 trials wait for teachers that have no soft"):
        run(cluster, tmp_path / "a", ToySource(), trials[1:])
    outcome = run(cluster, tmp_path / "b", ToySource(bad_seed=TEACHER), trials)
    told = f"its teacher {trials[0].name('toy')} failed: ValueError: epoch 1 is bad"
    assert list(outcome.failures.values()) == ["ValueError: epoch 1 is bad", told, told]


class Stopped(Exception):
    pass


def test_trials_of_a_stopped_sweep_end_after_their_epoch(cluster, undisturbed, tmp_path):
    """The next sweep continues them."""
    log, n_workers = tmp_path / "log", 2
    slow = ToySource(log, pause_s=0.3)

    def stop(n_done, n_failed, n_trials):
        if n_done == 1:
            raise Stopped

    with pytest.raises(Stopped):
        run(cluster, tmp_path / "s", slow, progress=stop)
    at_stop = len(epochs_trained(log))
    assert at_stop < N_EPOCHS * len(TRIALS) / 2
    time.sleep(1.5)
    assert len(epochs_trained(log)) <= at_stop + n_workers
    outcome = run(cluster, tmp_path / "s", ToySource(log))
    assert untimed(outcome) == untimed(undisturbed)
    # only the result that was being sent is lost
    assert len(epochs_trained(log)) <= N_EPOCHS * (len(TRIALS) + 1)


class Elsewhere(ToySource):
    """Data whose key is different in every process."""

    key = property(lambda self: str(os.getpid()))


def test_workers_with_other_code_or_data_are_refused(cluster, tmp_path):
    with pytest.raises(sweep.SweepError, match="differ from those of the sweep"):
        run(cluster, tmp_path, Elsewhere(), TRIALS[:1])
    assert not list((tmp_path / "failures").iterdir())


def test_new_workers_get_the_data_after_the_others_are_gone(cluster, undisturbed, tmp_path):
    """The last workers, which have the data, are killed; a new worker does the rest."""
    log = tmp_path / "log"
    gone = []

    def replace_workers(n_done, n_failed, n_trials):
        if n_done == 1 and not gone:
            for name, worker in list(cluster.workers.items()):
                if worker.poll() is None:
                    worker.kill()
                    gone.append(name)
            cluster.add_worker("d")

    outcome = run(cluster, tmp_path / "s", ToySource(log), progress=replace_workers)
    assert gone and untimed(outcome) == untimed(undisturbed)


def test_the_error_names_a_scheduler_that_does_not_answer(tmp_path):
    address = f"tcp://127.0.0.1:{free_port()}"
    began = time.monotonic()
    with pytest.raises(sweep.SweepError, match=f"{address}: no Dask scheduler answers"):
        sweep.run_on_cluster(TRIALS, ToySource(), tmp_path, address, timeout_s=1)
    assert time.monotonic() - began < 20


def test_a_finished_sweep_needs_no_scheduler(tmp_path):
    done = sweep.run(TRIALS[:1], ToySource(), tmp_path, backend="numpy")
    again = sweep.run_on_cluster(TRIALS[:1], ToySource(), tmp_path, "tcp://127.0.0.1:1")
    assert again == done


def test_without_dask_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r'pip install "tinycnn\[sweep\]"'):
        sweep.run_on_cluster(TRIALS, ToySource(), tmp_path, "tcp://127.0.0.1:1")
