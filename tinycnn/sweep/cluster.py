"""Trials on the workers of a Dask scheduler: they come and go, and may be anywhere.

Data reach each worker once, handed on from worker to worker; results come back to this process,
which alone writes them, so no shared disk is needed.  Where workers do see the sweep's folder,
trials keep their checkpoints there, and a trial whose worker is killed goes on elsewhere from its
last epoch; where they do not, it begins anew.

Dask sends Python objects between its own processes by pickle: connect to a scheduler of your own
alone.  No file holds any.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

from .folder import Outcome, SweepFolder
from .local import N_ATTEMPTS, Progress, begin
from .trial import Source, Trial, names
from .work import Cancelled, Report, SweepError, work

_HINT = "do all workers have this version of tinycnn, and what the data need?"


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
    """As `local.run`, on the workers of the scheduler at an address such as tcp://host:8786.

    n_threads  of each trial; a worker runs as many trials at once as its own `--nthreads` says
    backend    "numpy" gives the bits of `local.run` where NumPy's libraries have one thread, which
               is what Dask's nannies see to
    share_checkpoints  False: workers keep them on disks of their own even if they see the folder:
               hundreds of workers that write one an epoch are more than a shared disk takes
    timeout_s  how long to wait for the scheduler, and for a first worker
    A trial counts as failed once Dask gives it up because its workers were killed (three times, by
    Dask's own setting distributed.scheduler.allowed-failures).
    Raises ImportError without the extra `sweep`, SweepError where there is no scheduler or worker,
    or a worker has other code; the rest as `local.run`.
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
        options = dict(n_threads=n_threads, backend=backend, with_model=keep_models)
        place = str(kept.path.absolute()) if share_checkpoints else ""
        while waiting:
            for name, report in _round(client, waiting, source, place, options, timeout_s):
                if report.status == "done":
                    kept.save_result(name, report.result, report.model)
                    outcome.results[name] = report.result
                else:
                    kept.save_failure(name, named[name], report.error, report.traceback)
                    outcome.failures[name] = report.error
                del waiting[name]
                progress(len(outcome.results), len(outcome.failures), len(named))
    outcome.results = {name: outcome.results[name] for name in named if name in outcome.results}
    return outcome


def _round(
    client: Any,
    waiting: dict[str, Trial],
    source: Source,
    place: str,
    options: dict[str, Any],
    timeout_s: float,
) -> Iterator[tuple[str, Report]]:
    """Yield (name, report) of the trials; those are left out that were lost with all data, when
    the last worker went: another round sends both again."""
    from distributed import KilledWorker, as_completed

    with _copies_stay(client):
        data = _sent(client, source, timeout_s)
        this_round = uuid.uuid4().hex[:8]
        futures = {
            client.submit(
                *(_work, trial, name, data, place, options),
                key=f"tinycnn-{this_round}-{name}",
                pure=False,
            ): name
            for name, trial in waiting.items()
        }
    try:
        for future in as_completed(futures, loop=client.loop):
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
    finally:
        with contextlib.suppress(Exception):  # a scheduler that is gone has nothing to cancel
            client.cancel(list(futures))


def _sent(client: Any, source: Source, timeout_s: float) -> Any:
    """The data, on all workers that are there."""
    for attempt in range(N_ATTEMPTS):
        try:
            client.wait_for_workers(1, timeout=timeout_s)
            return client.scatter(source, broadcast=True, hash=False)
        except (TimeoutError, asyncio.TimeoutError):
            raise SweepError(f"no Dask worker came within {timeout_s:.0f} s") from None
        except Exception as error:
            # a worker that is killed just now; or what one says of data that it cannot unpack
            if attempt == N_ATTEMPTS - 1 or not isinstance(error, OSError):
                raise SweepError(f"the data do not reach the workers: {error}; {_HINT}") from error


@contextlib.contextmanager
def _copies_stay(client: Any) -> Iterator[None]:
    """Dask removes copies that no task waits for, every other second: not while they are sent and
    their trials are not yet known.  Later it leaves one for every trial that waits."""
    runs = client.amm.running()
    if runs:
        client.amm.stop()
    try:
        yield
    finally:
        if runs:
            client.amm.start()


def _work(
    trial: Trial, name: str, source: Source, place: str, options: dict[str, Any]
) -> tuple[Any, ...]:
    """Run on a worker, in the folder `place` if it is seen here; a Report's fields, for any version
    of it to read."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def leave_if_cancelled(n_epochs: int) -> None:
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled":
            raise Cancelled(f"nobody waits for {name} any more")

    options = dict(options, wait=True, on_epoch=leave_if_cancelled)
    if place and (Path(place) / "work").is_dir():
        return tuple(work(trial, name, source, SweepFolder(place), **options))
    with tempfile.TemporaryDirectory(prefix="tinycnn-", dir=worker.local_directory) as own:
        return tuple(work(trial, name, source, SweepFolder(own), **options))
