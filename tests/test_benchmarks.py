"""The arithmetic of the benchmarks, on made-up numbers; measured values are not tested."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # benchmarks is not installed

from benchmarks import __main__ as program  # noqa: E402
from benchmarks import (  # noqa: E402
    cost_model,
    engine_comparison,
    few_filters,
    isa,
    kernel_lines,
    measures,
    onnx_model,
    peers_report,
    problem,
    roofline,
    startup,
    table,
    threads,
    version_comparison,
)
from benchmarks.layouts import dense_rows_to_chw, dense_rows_to_hwc  # noqa: E402
from benchmarks.peers import ENGINES  # noqa: E402
from benchmarks.workers import Worker, WorkerFailed  # noqa: E402
from tinycnn.kernels import _jit  # noqa: E402
from tinycnn.kernels._jit import WINOGRAD  # noqa: E402


def made_up_row(**changes):
    times = {"tinycnn": [2.0, 4.0, 3.0], "torch": [9.0, 6.0, 12.0], "jax": [8.0, 8.0, 8.0]}
    errors = {"tinycnn": 1e-6, "torch": 2e-6, "jax": 3e-6}
    arguments = dict(task="forward", batch=64, threads=2, times=times, errors=errors, left_out={})
    return measures.comparison_row(**{**arguments, **changes})


def report_of(found, load):
    return peers_report.text(found) + peers_report.control_text(found["control"], load)


@pytest.fixture
def seeded(monkeypatch):
    monkeypatch.delenv("TINYCNN_SHARED", raising=False)
    return problem.make_problem()


@pytest.fixture
def stub_kernels(monkeypatch):
    """The registry of kernels with functions that do nothing, so that nothing is compiled."""
    names = list(kernel_lines.registry())
    stubs = {name: lambda *arguments: None for name in names}
    monkeypatch.setattr(kernel_lines, "registry", lambda: stubs)
    return stubs


def test_error_is_relative_to_the_largest_value():
    assert measures.error([1.0, -8.0], [1.0, -10.0]) == pytest.approx(0.2)
    assert measures.error([1.0], [1.0, 2.0]) == float("inf")
    assert measures.error([np.nan, 2.0], [1.0, 2.0]) == float("inf")


def test_quartiles_and_spread():
    q = measures.quartiles([5, 1, 4, 2, 3])
    assert q == (2, 3, 4)
    assert q.spread == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="no values"):
        measures.quartiles([])


def test_ratio_is_the_fastest_peers_time_by_ours():
    row = made_up_row()
    assert row["ours_s"] == 3 and row["ours_images_per_s"] == pytest.approx(64 / 3)
    assert row["fastest_peer"] == "jax" and row["fastest_peer_s"] == 8
    assert row["ratio_to_fastest_peer"] == pytest.approx(8 / 3)
    # round by round: 8/2, 8/4, 8/3
    assert row["paired_ratio"] == pytest.approx([(2 + 8 / 3) / 2, 8 / 3, (8 / 3 + 4) / 2])
    assert row["peers"]["torch"] == {
        "best_s": 6,
        "q1_s": 7.5,
        "median_s": 9,
        "q3_s": 10.5,
        "error": 2e-6,
    }


def test_rows_without_other_engines_or_without_tinycnn():
    alone = made_up_row(times={"tinycnn": [1.0]})
    assert alone["ours_s"] == 1
    assert alone["fastest_peer"] is None and alone["ratio_to_fastest_peer"] is None
    refused = made_up_row(times={"jax": [8.0]}, left_out={"tinycnn": "disagrees"})
    assert refused["ours_s"] is None and refused["fastest_peer"] == "jax"
    assert refused["ratio_to_fastest_peer"] is None
    for row in (alone, refused):
        assert json.loads(json.dumps(row)) == row
        assert table.comparison_table([row], list(ENGINES)).count("-") > 3


def test_table_lines_up():
    text = table.render(("name", "ms"), [("a", "1.5"), ("longer", "22.25")])
    assert text.splitlines() == [
        "name       ms",
        "------  -----",
        "a         1.5",
        "longer  22.25",
    ]


@pytest.mark.parametrize(
    "value, text",
    [(0.09312, "0.0931"), (4.518, "4.52"), (41.26, "41.3"), (1234.5, "1234"), (0, "0.00")],
)
def test_significant_digits(value, text):
    assert table.significant(value) == text


def test_report_names_what_was_left_out_and_whether_the_machine_was_quiet():
    row = made_up_row(left_out={"litert": "does not train"})
    control = {"median_s": 1e-3, "q1_s": 1e-3, "q3_s": 1e-3, "best_s": 0.95e-3, "spread": 0.01}
    found = {"rows": [row], "engines": {"tinycnn": "1", "torch": "2", "jax": "3"}}
    found |= {"absent": {"openvino": "No module named 'openvino'"}}
    found |= {"weights": "seeded", "control": [control]}
    text = report_of(found, "0.20")
    assert "left out: litert, forward 64: does not train" in text
    assert "left out: openvino: not installed" in text
    assert "2.67 (2.33..3.33)" in text and "the machine was quiet" in text
    assert "NOT QUIET" in report_of(found, "3.50")
    found["control"] = [{**control, "best_s": 0.6e-3}]
    text = report_of(found, "0.20")
    assert "slowest median 67% above the shortest time" in text and "NOT QUIET" in text
    found["control"] = [control, {**control, "median_s": 1.2e-3}]
    assert "NOT QUIET" in report_of(found, "unknown")


def test_a_peer_that_disagrees_is_not_timed():
    group = engine_comparison.EngineGroup([], Path(), 1)
    group.note_error("jax", "forward", 1, 2e-4)
    group.note_error("torch", "forward", 1, 2e-5)
    assert "2.0e-04" in group.left_out["jax", "forward", 1]
    assert ("torch", "forward", 1) not in group.left_out


def test_rows_of_the_dense_layer_follow_the_layout():
    H, W, C = 6, 6, 32
    w = np.arange(H * W * C, dtype=np.float32)[:, None] * [1.0, 2.0]
    chw = dense_rows_to_chw(w, (H, W, C))
    h, v, c = 2, 3, 5
    np.testing.assert_array_equal(chw[(c * H + h) * W + v], w[(h * W + v) * C + c])
    np.testing.assert_array_equal(dense_rows_to_hwc(chw, (H, W, C)), w)


def test_onnx_bytes_are_protobuf():
    # examples from protobuf's manual: 150 is 96 01, field 1 = 150 is 08 96 01, field 2 = "testing"
    assert onnx_model._number(1, 150).hex() == "089601"
    assert onnx_model._bytes(2, "testing") == bytes.fromhex("120774657374696e67")


def test_products_are_counted_inside_the_picture():
    x = np.zeros((9, 1))
    x[1:8] = 1  # 7 pixels, padded by 1 on each side
    windows = np.lib.stride_tricks.sliding_window_view(x[:, 0], 3)[::2]
    assert kernel_lines.taps_inside(4, 2, 1, 3, 7) == windows.sum()
    conv1, conv2, dense1, dense2 = 42 * 42 * 16 * 64, 11 * 11 * 32 * 256, 1152 * 48, 48 * 8
    forward = conv1 + conv2 + dense1 + dense2
    assert kernel_lines.DIRECT_MACS == forward
    assert kernel_lines.DIRECT_TRAINING_MACS == 3 * forward - conv1


@pytest.mark.skipif(not WINOGRAD, reason="this run takes the direct convolution")
def test_every_kernel_has_a_benchmark(monkeypatch, stub_kernels, seeded):
    lines, failed = kernel_lines.make_lines(seeded)
    assert failed == {}
    assert kernel_lines.without_line(lines) == []
    assert {line.layer for line in lines if line.kernel == "conv2d_forward"} == {"conv1", "conv2"}
    monkeypatch.setitem(_jit.KERNELS, "conv3d_forward", None)
    assert kernel_lines.without_line(lines) == ["conv3d_forward"]


def test_a_kernel_that_changed_is_reported(stub_kernels, seeded):
    stub_kernels["sgd_update"] = lambda parameters: None
    del stub_kernels["dropout_forward"]
    _, failed = kernel_lines.make_lines(seeded)
    assert set(failed) == {"sgd_update", "dropout_forward"}
    assert "TypeError" in failed["sgd_update"]


def test_roofline_of_one_kernel():
    from benchmarks.peak import Peak

    relu = kernel_lines.registry()["relu_forward"]
    x, y = np.linspace(-1, 1, 1000, dtype=np.float32), np.zeros(1000, np.float32)
    made_up = kernel_lines.Line("relu_forward", "", lambda: relu(x, y), x.size, x.nbytes)
    found = roofline.time_lines([made_up], Peak(), n_rounds=3, turn_s=1e-4)
    np.testing.assert_array_equal(y, np.maximum(x, 0))
    (row,) = found["lines"]
    assert 0 < row["share_of_peak"] < 1.5 and row["median_s"] > 0
    assert found["peak_gmac_per_s"] > 0.1


def test_an_unknown_section_or_peer_is_an_error_of_one_line(capsys):
    assert program.main(["speed"]) == 2
    assert "no section 'speed'" in capsys.readouterr().err
    assert program.main(["--peers", "tensorflow"]) == 2
    assert "tensorflow" in capsys.readouterr().err
    assert program.main(["--networks", "lenet6"]) == 2
    assert "--networks lenet6: expected some of microexpnet" in capsys.readouterr().err


def test_a_shared_folder_without_the_network_is_an_error_of_one_line(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("TINYCNN_SHARED", str(tmp_path))
    assert program.main(["zoo"]) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_a_worker_measures_the_tinycnn_it_is_told_to(tmp_path, seeded):
    (tmp_path / "tinycnn").mkdir()
    (tmp_path / "tinycnn" / "__init__.py").write_text("__version__ = 'made up'\n")
    seeded.save(tmp_path / "problem.npz")
    worker = Worker("tinycnn", tmp_path / "problem.npz", 1, tinycnn_root=str(tmp_path))
    try:
        assert worker.ask("open") == {"version": "made up"}
        with pytest.raises(WorkerFailed, match="tinycnn.formats"):
            worker.ask("time", task="forward", batch=1, turn_s=0.001)
    finally:
        worker.close()


# ---- the cost model of 3x3 convolutions ---------------------------------------------------------

WITH_WINOGRAD = pytest.mark.skipif(not WINOGRAD, reason="this run takes the direct convolution")


@WITH_WINOGRAD
def test_the_ways_of_a_convolution_that_are_timed_compute_the_same():
    results = []
    for m in cost_model.WAYS:
        calls = cost_model.make_calls(cost_model.Shape(5, 6, 3, 7), m, 2)
        calls.forward()
        calls.backward()
        results.append(calls.outputs)
    direct, *others = results
    assert len(others) == 2
    for name, expected in direct.items():
        assert expected.any()
        for outputs in others:
            assert measures.error(outputs[name], expected) < 1e-5, name


@WITH_WINOGRAD
def test_the_model_is_compared_with_times(monkeypatch):
    seconds = {"direct": 4.0, "F(2x2)": 2.0, "F(4x4)": 3.0}
    monkeypatch.setattr(cost_model, "median_times", lambda calls, n_rounds, turn_s: seconds)
    rows = cost_model.measure([cost_model.Shape(24, 24, 32, 32)], 1, 1)
    assert [row["passes"] for row in rows] == ["forward", "backward"]
    for row in rows:
        assert (row["chosen"], row["fastest"]) == ("F(4x4)", "F(2x2)")
        assert row["time_ratio"] == 1.5
        assert row["model"]["F(4x4)"] == min(row["model"].values())
    text = cost_model.text(rows, 1)
    assert "24x24, 32 -> 32" in text and "mean 1.50, worst 1.50" in text


@pytest.mark.parametrize("pools", [False, True])
def test_columns_and_filters_compute_the_same(pools):
    calls, chosen = few_filters.make_calls(few_filters.FewFilters(5, 6, 2, 3, 3, pools), 2)
    columns, filters = (calls[way]().copy() for way in few_filters.WAYS)
    assert chosen in few_filters.WAYS and columns.any()
    np.testing.assert_array_equal(columns, filters)


def test_the_choice_between_columns_and_filters_is_compared_with_times(monkeypatch):
    seconds = {"columns": 3.0, "filters": 2.0}
    monkeypatch.setattr(few_filters, "median_times", lambda calls, n_rounds, turn_s: seconds)
    (row,) = few_filters.measure([few_filters.FewFilters(28, 28, 1, 1, 5, True)], 1, 1)
    assert (row["chosen"], row["fastest"], row["time_ratio"]) == ("columns", "filters", 1.5)
    text = few_filters.text([row], 1)
    assert "5x5: 28x28, 1 -> 1, max-pooling" in text and "1.50" in text


@WITH_WINOGRAD
def test_the_command_cost_model(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(cost_model, "SHAPES", cost_model.SHAPES[-3:])
    monkeypatch.setattr(few_filters, "SHAPES", few_filters.SHAPES[:2])
    path = tmp_path / "times.json"
    assert program.main(["cost-model", "--images", "1", "--rounds", "1", "--json", str(path)]) == 0
    assert "chosen / fastest: mean" in capsys.readouterr().out
    found = json.loads(path.read_text())
    assert [len(found[part]) for part in ("winograd", "few_filters")] == [6, 2]
    assert all(row["time_ratio"] >= 1 for rows in found.values() for row in rows)
    assert program.main(["cost-model", "--rounds", "0"]) == 2
    assert "--rounds 0: expected 1 or more" in capsys.readouterr().err
    monkeypatch.setattr(cost_model, "WINOGRAD", False)
    assert program.main(["cost-model"]) == 2
    assert "expected neither TINYCNN_WINOGRAD=0" in capsys.readouterr().err


# ---- the default number of threads --------------------------------------------------------------


def test_the_command_threads(capsys, monkeypatch):
    monkeypatch.setattr(threads, "BATCHES", (2,))
    monkeypatch.setattr(threads, "TURN_S", 0.0)
    assert program.main(["threads", "digits8", "--rounds", "1"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:2] for line in lines[-2:]] == [["predict", "2"], ["train", "2"]]
    assert all(float(line[-2]) > 0 for line in lines[-2:])
    assert program.main(["threads", "none"]) == 2
    assert "no network 'none'" in capsys.readouterr().err


# ---- what is compared ---------------------------------------------------------------------------


def test_installed_engines_are_compared_and_timed(monkeypatch):
    """The whole comparison, briefly: tinycnn and every engine that is installed here."""
    monkeypatch.delenv("TINYCNN_SHARED", raising=False)
    monkeypatch.setattr(engine_comparison, "thread_counts", lambda: [1])
    effort = engine_comparison.Effort(n_rounds=2, turn_s=1e-4, row_s=60)
    found = engine_comparison.compare(effort, ["tinycnn", "litert"])
    assert [(row["task"], row["batch"], row["threads"]) for row in found["rows"]] == [
        ("forward", 1, 1),
        ("forward", 64, 1),
        ("train", 64, 1),
    ]
    for row in found["rows"]:
        assert row["ours_s"] > 0, row["left_out"]
        assert row["ours_error"] < 1e-5
        assert row["peers"] == {} and row["fastest_peer"] is None  # no .tflite for these
    assert len(found["control"]) == 3 and "tinycnn" in found["engines"]
    assert json.loads(json.dumps(found))["weights"] == "seeded"
    assert "forward" in report_of(found, "0.10")


# ---- start-up -----------------------------------------------------------------------------------


def test_start_up_time_counts_from_the_start_of_the_process(monkeypatch, tmp_path, seeded):
    seeded.save(tmp_path / "problem.npz")
    path, cache = tmp_path / "problem.npz", str(tmp_path / "cache")
    rows = [
        startup._row("Python and numpy", "numpy", path, cache, 1, ("numpy",)),
        startup._row("ours", "tinycnn numpy", path, cache, 1, ("tinycnn",)),
        startup._row("absent", "litert", path, cache, 1, ("ai-edge-litert",)),
    ]
    for row in rows[:2]:
        assert 0 < row["import_s"] < row["first_s"] and 0 < row["cpu_s"]
        assert row["peak_bytes"] > 1e7
    assert rows[1]["install_bytes"] < rows[1]["install_with_requirements_bytes"]
    assert not (tmp_path / "cache").exists()  # nothing was compiled
    given, environment = [], startup.environment

    def started_with(extra):
        given.append(extra)
        return environment(**{**extra, "TINYCNN_COMPILER_PROCESS": "0"})

    startup._save_photo(tmp_path / startup.PHOTO)
    monkeypatch.setattr(startup, "environment", lambda **extra: started_with(extra))
    assert startup._run(startup.COMMAND, path, "")["first_s"] > 0
    assert startup._run(startup.AUTO, path, "")["first_s"] > 0
    assert [extra["TINYCNN_COMPILER_PROCESS"] for extra in given] == ["1", "1"]
    assert not list(tmp_path.glob("cache-*"))  # they are removed
    assert "failed" in rows[2]  # not installed, or no .tflite file
    text = startup.text(rows)
    assert "ours" in text and "left out: absent: " in text
    real = startup.time.time()
    monkeypatch.setattr(startup.time, "time", lambda: real - 1000)
    assert startup._run("numpy", path, cache)["first_s"] > 1000


# ---- another vector unit ------------------------------------------------------------------------

ON_X86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="needs x86-64")
WIDEST = """
import json
import llvmlite.binding
llvmlite.binding.get_host_cpu_features = lambda: {"avx2": True, "avx512f": True}
from benchmarks import isa
isa.restrict("avx2")
from numba import njit
from numba.core.registry import cpu_target
from tinycnn.kernels._jit import TILE
@njit(fastmath=True)
def scale(x):
    for k in range(len(x)):
        x[k] = 2 * x[k] + 1
import numpy as np
scale(np.ones(64, np.float32))
code = "".join(scale.inspect_asm().values())
target = cpu_target.target_context.codegen().magic_tuple()[1:]
print(json.dumps([TILE.vector_bytes, "ymm" in code, "zmm" in code, *target]))
"""


@pytest.mark.skipif(not isa.widest(), reason="this processor has no AVX2, or does not say")
def test_avx2_restricts_our_kernels():
    """With AVX2 chosen, our kernels use no AVX-512, on a host that reports AVX-512."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "TINYCNN_TILE"))}
    clean["PYTHONPATH"] = str(Path(isa.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", WIDEST], env=clean, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [32, True, False, "haswell", ""]


@ON_X86
def test_avx2_restricts_the_engines_and_keeps_other_settings(monkeypatch):
    monkeypatch.setattr(os, "environ", {"XLA_FLAGS": "--mine", "OTHER": "1"})
    isa.restrict("host")
    assert os.environ == {"XLA_FLAGS": "--mine", "OTHER": "1"} and isa.note("host") == ""
    isa.restrict("avx2")
    assert os.environ["XLA_FLAGS"] == "--mine --xla_cpu_max_isa=AVX2"
    assert os.environ["OTHER"] == "1" and os.environ["ATEN_CPU_CAPABILITY"] == "avx2"
    monkeypatch.setattr(isa, "widest", lambda: "AVX-512")
    for engine in isa.CANNOT_RESTRICT:
        assert engine in ENGINES and engine in isa.note("avx2")
    monkeypatch.setattr(isa, "widest", lambda: "AVX2")
    assert "nothing was restricted" in isa.note("avx2")


def test_avx2_on_another_processor_is_an_error_of_one_line(capsys, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert program.main(["--isa", "avx2", "zoo"]) == 2
    assert "aarch64" in capsys.readouterr().err


# ---- against another version --------------------------------------------------------------------


def test_a_version_that_git_does_not_know_is_an_error_of_one_line(capsys):
    assert program.main(["--against", "no-such-version"]) == 2
    assert "--against no-such-version: " in capsys.readouterr().err


def test_a_version_that_does_not_run_is_an_error_of_one_line(capsys, monkeypatch):
    def fails(revision, quick, networks):
        raise WorkerFailed("ImportError: cannot import name 'Distillation'")

    monkeypatch.setattr(version_comparison, "run", fails)
    assert program.main(["--against", "old"]) == 2
    assert "cannot import name" in capsys.readouterr().err
