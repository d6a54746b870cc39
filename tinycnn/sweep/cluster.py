"""Trials on the workers of a Dask scheduler, which may run on any machine, and may come and go.

The data are sent to each worker once.  The results come back to this process, which writes them,
so no shared disk is needed.  If a worker is killed, its trial runs on another one: from its last
epoch if the workers see the sweep's folder and keep checkpoints there, else from the beginning.

Dask's processes send each other Python objects as pickle: connect only to a scheduler of your own.
No file contains pickle.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .folder import Outcome, SweepFolder
from .local import N_ATTEMPTS, Progress, begin
from .trial import Source, Trial, names
from .waiting import WaitingTrials
from .work import Cancelled, Report, SweepError, work

if TYPE_CHECKING:
    from distributed import Client, Future

GO_ON = "the results so far are kept: run the same sweep again to go on with the other trials"

_HINT = "do all workers have this version of tinycnn, and the packages that the data need?"


def run_on_cluster(
    trials: Sequence[Trial],
    source: Source,
    folder: str | Path,
    scheduler: str,
    *,
    n_threads: int = 1,
    backend: str = "auto",
    retry_failed: bool = False,
    keep_models: bool = False,
    share_checkpoints: bool = True,
    progress: Progress = lambda n_done, n_failed, n_trials: None,
    timeout_s: float = 60.0,
) -> Outcome:
    """Like `local.run`, on the workers of the scheduler at an address such as tcp://host:8786.

    n_threads  of each trial; a worker runs as many trials at once as its own `--nthreads` says
    backend    "numpy" gives exactly the results of `local.run` if NumPy's libraries use one thread,
               which Dask's nanny processes see to
    share_checkpoints  False: workers keep checkpoints on their own disks, even if they see the
               folder; those of hundreds of workers may be too many for a shared disk
    timeout_s  how long to wait for the scheduler, and for a first worker
    A trial fails if its worker is killed more often than Dask's setting
    distributed.scheduler.allowed-failures allows (three times).
    Raises ImportError without the extra `sweep`; SweepError if there is no scheduler or no worker,
    or a worker has other code; otherwise like `local.run`.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ImportError(f'a cluster needs Dask: pip install "tinycnn[sweep]" ({error})') from None
    kept = SweepFolder(folder)
    named = names(trials, source.key)
    outcome, waiting = begin(kept, named, retry_failed, keep_models)
    progress(len(outcome.results), len(outcome.failures), len(named))
    if not waiting:
        return outcome
    try:
        client = Client(scheduler, timeout=timeout_s, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise SweepError(f"{scheduler}: no Dask scheduler answers ({error})") from None
    with client:
        do = partial(work, n_threads=n_threads, backend=backend, with_model=keep_models, wait=True)
        place = str(kept.path.absolute()) if share_checkpoints else ""
        while waiting:
            queue = WaitingTrials(waiting, source.key, kept)
            for name, report in _saying_how_to_go_on(
                _round(client, queue, source, place, do, timeout_s)
            ):
                if report.result is not None:
                    kept.save_result(name, report.result, report.model, report.soft_labels)
                    outcome.results[name] = report.result
                else:
                    kept.save_failure(name, named[name], report.error, report.traceback)
                    outcome.failures[name] = report.error
                del waiting[name]
                progress(len(outcome.results), len(outcome.failures), len(named))
    outcome.results = {name: outcome.results[name] for name in named if name in outcome.results}
    return outcome


def _saying_how_to_go_on(reports: Iterator[tuple[str, Report]]) -> Iterator[tuple[str, Report]]:
    """The reports.  A SweepError, or the OSError of a scheduler that has ended, gets the advice
    that the same sweep can be run again."""
    try:
        yield from reports
    except (SweepError, OSError) as error:
        raise SweepError(f"{error}; {GO_ON}") from error


def _round(
    client: Client,
    waiting: WaitingTrials,
    source: Source,
    place: str,
    do: Callable[..., Report],
    timeout_s: float,
) -> Iterator[tuple[str, Report]]:
    """Send the data and the trials to the workers; yield (name, report) as trials end.  Trials that
    are lost because the last worker left, and the data with it, need another round, and so do the
    students of a teacher that is lost.  A student is sent when its teacher has ended."""
    from distributed import KilledWorker, as_completed

    yield from waiting.without_teacher().items()
    waiting.check_teachers(grace_s=0.0)
    if pause_s := waiting.pause_s():  # another sweep in this folder trains the teachers
        time.sleep(pause_s)
        return
    this_round = uuid.uuid4().hex[:8]
    futures: dict[Future, str] = {}
    soft_labels: dict[str, Future] = {}  # by the teacher's name

    def submit() -> list[Future]:
        """Send all trials that may start."""
        sent = []
        while (name := waiting.take()) is not None:
            soft, teacher = None, waiting.teacher_of(name)
            if teacher is not None:
                if teacher not in soft_labels:
                    content = waiting.folder.soft_labels(teacher)
                    soft_labels[teacher] = _sent(client, content, timeout_s)
                soft = soft_labels[teacher]
            key, trial = f"tinycnn-{this_round}-{name}", waiting.trials[name]
            future = client.submit(_work, do, trial, name, data, place, soft, key=key, pure=False)
            futures[future] = name
            sent.append(future)
        return sent

    with _keep_copies(client):
        data = _sent(client, source, timeout_s)
        ended = as_completed(submit(), loop=client.loop)
    try:
        for future in ended:
            try:
                report = Report(*future.result())
            except CancelledError:
                continue
            except KilledWorker as lost:
                report = Report("failed", f"KilledWorker: {lost}", "none: see the workers' logs")
            except Exception as error:
                raise SweepError(
                    f"a worker cannot run trials: {type(error).__name__}: {error}; {_HINT}"
                ) from error
            if report.status not in ("done", "failed"):
                raise SweepError(report.error)
            yield futures[future], report
            waiting.ended(futures[future])
            yield from waiting.without_teacher().items()
            ended.update(submit())
    finally:
        with contextlib.suppress(Exception):  # the scheduler may have gone, and the tasks with it
            client.cancel(list(futures))


def _sent(client: Client, data: Source | bytes, timeout_s: float) -> Future:
    """Send data to all workers that are connected."""
    n_attempts = 0
    while True:
        n_attempts += 1
        try:
            client.wait_for_workers(1, timeout=timeout_s)
            return client.scatter(data, broadcast=True, hash=False)
        except (TimeoutError, asyncio.TimeoutError):
            raise SweepError(f"no Dask worker came within {timeout_s:.0f} s") from None
        except Exception as error:
            # OSError: a worker was killed meanwhile.  Others: a worker could not unpack the data
            if n_attempts == N_ATTEMPTS or not isinstance(error, OSError):
                raise SweepError(f"the data do not reach the workers: {error}; {_HINT}") from error


@contextlib.contextmanager
def _keep_copies(client: Client) -> Iterator[None]:
    """Pause Dask's active memory manager (amm), which removes copies that no task needs: it would
    remove those of the data before the trials are submitted."""
    runs = client.amm.running()
    if runs:
        client.amm.stop()
    try:
        yield
    finally:
        if runs:
            client.amm.start()


def _work(
    do: Callable[..., Report],
    trial: Trial,
    name: str,
    source: Source,
    place: str,
    soft_of_teacher: bytes | None = None,
) -> tuple[Any, ...]:
    """Run a trial on a worker: in the sweep's folder `place` if the worker sees it, else in a
    temporary one.  Returns a plain tuple, so that another version of Report can read it."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def leave_if_cancelled(n_epochs: int) -> None:
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled":
            raise Cancelled(f"nobody waits for {name} any more")

    with contextlib.ExitStack() as stack:
        if not place or not (Path(place) / "work").is_dir():
            own = tempfile.TemporaryDirectory(prefix="tinycnn-", dir=worker.local_directory)
            place = stack.enter_context(own)
        report = do(
            trial,
            name,
            source,
            SweepFolder(place),
            soft_of_teacher=soft_of_teacher,
            on_epoch=leave_if_cancelled,
        )
        return tuple(report)
