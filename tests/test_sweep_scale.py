"""The simulation behind docs/scale.md, on queues that can be computed by hand; and the page."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import sweep_scale
from benchmarks.sweep_scale import MEASURED, Job, data_seconds, paper_grid, simulate

FREE = replace(MEASURED, start_s=0.0, task_s=0.0, result_s=0.0)
SAME = [Job(100.0, 0.0)] * 60


def run(jobs, n_cores, costs=FREE, **options):
    return simulate(jobs, n_cores, costs, **{"data_bytes": 0, **options})


def test_the_grid_is_the_papers():
    """16 candidates, and 4 sizes at 7 temperatures; ten folds, two data sets, two splits."""
    assert len(paper_grid(MEASURED)) == (16 + 28) * 10 * 2 * 2
    once, twice = (sum(j.seconds for j in paper_grid(MEASURED, n)) for n in (10, 20))
    assert twice == pytest.approx(2 * once)


@pytest.mark.parametrize("n_cores, seconds", [(1, 6000), (2, 3000), (7, 900), (60, 100), (99, 100)])
def test_equal_trials_run_in_rounds(n_cores, seconds):
    found = run(SAME, n_cores)
    assert found.seconds == pytest.approx(seconds)
    assert found.cores_busy == pytest.approx(6000 / (n_cores * seconds))


def test_longest_first_is_faster():
    jobs = [Job(s, 0.0) for s in (1, 1, 1, 1, 4)]
    assert run(jobs, 2).seconds == 6  # 1 1 | 1 1 | 4
    assert run(jobs, 2, longest_first=True).seconds == 4


def test_a_slow_scheduler_limits_the_cores_that_work():
    costs = replace(FREE, task_s=10.0)
    found = run(SAME, 60, costs)
    assert found.seconds == pytest.approx(60 * 10 + 100)  # one by one, then the last trial
    assert sweep_scale.first_limit(costs, 100.0) == 10
    assert run(SAME, 10, costs).seconds < 1.2 * found.seconds


def test_results_are_written_one_after_the_other():
    assert run(SAME, 60, replace(FREE, result_s=5.0)).seconds == pytest.approx(100 + 60 * 5)


def test_a_slow_shared_disk_slows_all_trials():
    jobs = [Job(100.0, 10.0)] * 60
    assert run(jobs, 6, disk_bytes_per_s=60.0).seconds == pytest.approx(1000)
    found = run(jobs, 6, disk_bytes_per_s=30.0)
    assert found.seconds == pytest.approx(2000) and found.disk_bytes_per_s == pytest.approx(30)


def test_workers_pass_the_data_on_and_share_the_network():
    n_bytes = sweep_scale.NETWORK_BYTES_PER_S  # so that one copy takes a second
    assert data_seconds(1, n_bytes) == 1 and data_seconds(64, n_bytes) == 64
    assert data_seconds(2**70, n_bytes) == pytest.approx(70, abs=1)
    assert simulate(SAME, 60, FREE, data_bytes=n_bytes).seconds == pytest.approx(100 + 60)


def test_the_page_quotes_what_the_program_prints():
    page = Path(sweep_scale.__file__).parent.parent / "docs" / "scale.md"
    assert f"```\n{sweep_scale.tables(MEASURED)}\n```" in page.read_text(encoding="utf-8")
