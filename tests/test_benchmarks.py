"""The benchmarks' own arithmetic, on made-up numbers; what they measure is no test's business."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # benchmarks is not installed

from benchmarks import __main__ as program  # noqa: E402
from benchmarks import (  # noqa: E402
    comparison,
    kernel_lines,
    measures,
    onnx_model,
    peers_report,
    problem,
    roofline,
    table,
)
from benchmarks.layouts import dense_rows_to_chw, dense_rows_to_hwc  # noqa: E402
from benchmarks.peers import ENGINES  # noqa: E402
from benchmarks.workers import Worker, WorkerFailed  # noqa: E402


def made_up_row(**changes):
    times = {"tinycnn": [2.0, 4.0, 3.0], "torch": [9.0, 6.0, 12.0], "jax": [8.0, 8.0, 8.0]}
    errors = {"tinycnn": 1e-6, "torch": 2e-6, "jax": 3e-6}
    arguments = dict(task="forward", batch=64, threads=2, times=times, errors=errors, left_out={})
    return measures.comparison_row(**{**arguments, **changes})


@pytest.fixture
def seeded(monkeypatch):
    monkeypatch.delenv("TINYCNN_SHARED", raising=False)
    return problem.make_problem()


@pytest.fixture
def stub_kernels(monkeypatch):
    """The registry with kernels that do nothing: a line is made without compiling."""
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
        **{"best_s": 6, "q1_s": 7.5, "median_s": 9, "q3_s": 10.5},
        "error": 2e-6,
    }


def test_rows_without_peers_or_without_us():
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
    control = {"median_s": 1e-3, "q1_s": 1e-3, "q3_s": 1e-3, "spread": 0.01}
    found = {"rows": [row], "engines": {"tinycnn": "1", "torch": "2", "jax": "3"}}
    found |= {"absent": {"openvino": "No module named 'openvino'"}}
    found |= {"weights": "seeded", "control": [control]}
    text = peers_report.text(found, load="0.20")
    assert "left out: litert, forward 64: does not train" in text
    assert "left out: openvino: not installed" in text
    assert "2.67 (2.33..3.33)" in text and "the machine was quiet" in text
    assert "NOT QUIET" in peers_report.text(found, load="3.50")
    found["control"] = [control, {**control, "median_s": 1.2e-3}]
    assert "NOT QUIET" in peers_report.text(found, load="unknown")


def test_a_peer_that_disagrees_is_not_timed():
    field = comparison.Field([], Path(), 1)
    field.judge("jax", "forward", 1, 2e-4)
    field.judge("torch", "forward", 1, 2e-5)
    assert "2.0e-04" in field.left_out["jax", "forward", 1]
    assert ("torch", "forward", 1) not in field.left_out


def test_rows_of_the_dense_layer_follow_the_layout():
    H, W, C = 6, 6, 32
    w = np.arange(H * W * C, dtype=np.float32)[:, None] * [1.0, 2.0]
    chw = dense_rows_to_chw(w)
    h, v, c = 2, 3, 5
    np.testing.assert_array_equal(chw[(c * H + h) * W + v], w[(h * W + v) * C + c])
    np.testing.assert_array_equal(dense_rows_to_hwc(chw), w)


def test_onnx_bytes_are_protobuf():
    # protobuf's own examples: 150 is 96 01, field 1 = 150 is 08 96 01, field 2 = "testing"
    assert onnx_model._number(1, 150).hex() == "089601"
    assert onnx_model._bytes(2, "testing") == bytes.fromhex("120774657374696e67")


def test_products_are_counted_inside_the_picture():
    x = np.zeros((9, 1))
    x[1:8] = 1  # 7 pixels between paddings of 1 and 1
    windows = np.lib.stride_tricks.sliding_window_view(x[:, 0], 3)[::2]
    assert kernel_lines.taps_inside(4, 2, 1, 3, 7) == windows.sum()
    conv1, conv2, dense1, dense2 = 42 * 42 * 16 * 64, 11 * 11 * 32 * 256, 1152 * 48, 48 * 8
    forward = conv1 + conv2 + dense1 + dense2
    assert kernel_lines.DIRECT_MACS == forward
    assert kernel_lines.DIRECT_TRAINING_MACS == 3 * forward - conv1


def test_every_kernel_has_a_benchmark(stub_kernels, seeded):
    lines, failed = kernel_lines.make_lines(seeded)
    assert failed == {}
    assert kernel_lines.without_line(lines) == []
    assert {line.layer for line in lines if line.kernel == "conv2d_forward"} == {"conv1", "conv2"}
    stub_kernels["conv3d_forward"] = None
    assert kernel_lines.without_line(lines) == ["conv3d_forward"]


def test_a_kernel_that_has_changed_is_reported(stub_kernels, seeded):
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


def test_unknown_section_or_peer_ends_with_a_line(capsys):
    assert program.main(["speed"]) == 2
    assert "no section 'speed'" in capsys.readouterr().err
    assert program.main(["--peers", "tensorflow"]) == 2
    assert "tensorflow" in capsys.readouterr().err


def test_a_shared_folder_without_the_network_ends_with_a_line(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("TINYCNN_SHARED", str(tmp_path))
    assert program.main(["peers"]) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_a_worker_measures_the_tinycnn_it_is_told_to(tmp_path, seeded):
    (tmp_path / "tinycnn").mkdir()
    (tmp_path / "tinycnn" / "__init__.py").write_text("__version__ = 'made up'\n")
    seeded.save(tmp_path / "problem.npz")
    worker = Worker("tinycnn", tmp_path / "problem.npz", 1, tinycnn_root=str(tmp_path))
    try:
        assert worker.ask("open") == {"version": "made up"}
        with pytest.raises(WorkerFailed, match="tinycnn.models"):
            worker.ask("time", task="forward", batch=1, turn_s=0.001)
    finally:
        worker.close()
