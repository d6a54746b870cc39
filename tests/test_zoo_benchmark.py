"""The benchmarks of the zoo's networks: what they compare and count; measured values are not
tested."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # benchmarks is not installed

from benchmarks import __main__ as program  # noqa: E402
from benchmarks import (  # noqa: E402
    engine_comparison,
    graph,
    measures,
    operations,
    problem,
    tflite_model,
    workers,
    zoo,
    zoo_report,
)
from benchmarks.zoo_networks import ZOO  # noqa: E402
from tinycnn import (  # noqa: E402
    Conv2D,
    CrossEntropy,
    Dense,
    DepthwiseConv2D,
    Flatten,
    InputSpec,
    MaxPool2D,
    Network,
    ReLU,
)
from tinycnn.layers import BatchNorm, Residual  # noqa: E402
from tinycnn.models import microexpnet  # noqa: E402


def small_network():
    """A network with BatchNorm, and with every kind of operation that the zoo has."""
    body = [DepthwiseConv2D(3, use_bias=False), BatchNorm(), ReLU()]
    body += [Conv2D(5, 1, use_bias=False), BatchNorm()]
    layers = [Conv2D(5, 3, use_bias=False), BatchNorm(), ReLU(), MaxPool2D(2)]
    layers += [Residual(body), ReLU()]
    layers += [Conv2D(3, 3, 2), MaxPool2D(2), Flatten(), Dense(6), ReLU(), Dense(4)]
    return Network(layers, InputSpec(9, 11, 2), n_threads=1, backend="numba")


def small_microexpnet():
    return microexpnet(n_threads=1, backend="numba")


def batch_for(network, n_images):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n_images, *network.input_spec.shape)).astype(np.float32)
    return x, rng.integers(0, len(network.classes), n_images)


@pytest.mark.parametrize("build", [small_network, small_microexpnet])
def test_operations_one_at_a_time_are_a_training_step(build):
    """The calls that are timed, in their order, compute a step's logits and gradients."""
    network = build()
    x, labels = batch_for(network, 37)
    training = operations.TrainingCalls(network, x, labels)
    _, logits = network.loss_and_gradients(x, CrossEntropy(), labels)
    expected = {name: gradient.copy() for name, gradient in network.gradients.items()}
    network.gradient_vector[:] = np.nan
    for call in training.calls():
        call.run()
    np.testing.assert_array_equal(training.work.results.logits, logits)
    for name, right in expected.items():
        difference = abs(network.gradients[name] - right).max()
        assert difference <= 1e-5 * abs(right).max(), name


@pytest.mark.parametrize("build", [small_network, small_microexpnet])
def test_multiply_adds_of_the_operations_are_those_of_the_network(build):
    network = build()
    x, labels = batch_for(network, 3)
    macs = 3 * sum(step.n_multiply_adds for step in network.plan.steps)
    prediction = operations.PredictionCalls(network, x).calls()
    assert sum(call.macs for call in prediction) == macs
    training = operations.TrainingCalls(network, x, labels).calls()
    first = 3 * network.plan.steps[0].n_multiply_adds  # of its input no gradient is needed
    assert sum(call.macs for call in training) == 3 * macs - first


@pytest.mark.jit("the peak of the processor is measured in compiled code")
def test_the_command_operations(capsys, tmp_path):
    path = tmp_path / "times.json"
    arguments = ["lenet5", "--batch", "2", "--rounds", "1", "--json", str(path)]
    assert program.main(["operations", *arguments]) == 0
    printed = capsys.readouterr().out
    assert "0 conv1 conv2d 5x5/1 28x28x1 -> 14x14x6 relu, maxpool" in printed
    assert "the whole pass, one call" in printed
    found = json.loads(path.read_text())
    assert found["training"]["whole_s"] > 0 and found["peak_gmac_per_s"] > 0
    assert program.main(["operations", "lenet5", "--batch", "0"]) == 2
    assert "--batch 0: expected 1 or more" in capsys.readouterr().err


def test_networks_of_the_zoo_have_the_parameters_that_their_papers_say():
    expected = {
        "microexpnet": 65_000,
        "lenet5": 61_706,
        "keras_mnist_cnn": 1_199_882,  # as Keras's example prints
        "residual48": 52_152,
        "mini_xception": 56_951,
        "resnet8": 78_186,
    }
    for name, n_parameters in expected.items():
        assert ZOO[name].build().n_parameters == n_parameters


# ---- networks in other engines ------------------------------------------------------------------


@pytest.fixture
def no_shared_folder(monkeypatch):
    monkeypatch.delenv("TINYCNN_SHARED", raising=False)


@pytest.mark.parametrize("name", ZOO)
def test_networks_are_plain_data(name, no_shared_folder, tmp_path):
    made = problem.make_problem(name)
    made.save(tmp_path / "problem.npz")
    read = problem.load_problem(tmp_path / "problem.npz")
    assert read.trained.nodes == made.trained.nodes and read.network == made.network
    assert not [node for node in read.folded.nodes if node.kind == "batch_norm"]
    for node in made.trained.nodes:
        if node.kind == "batch_norm":  # a network that ignored it would give other logits
            assert abs(made.weights[f"{node.name}.gamma"] - 1).max() > 0.1


@pytest.mark.parametrize(
    "module, package",
    [
        ("onnx_runtime", "onnxruntime"),
        ("litert", "ai_edge_litert"),
        ("open_vino", "openvino"),
        ("torch_nchw", "torch"),
        ("torch_nhwc", "torch"),
        ("jax_cpu", "jax"),
    ],
)
@pytest.mark.parametrize("name", ["lenet5", "dscnn", "residual48"])
def test_every_installed_engine_builds_the_networks(module, package, name, no_shared_folder):
    """LeNet-5 flattens a picture; DS-CNN has depthwise convolutions and uneven padding."""
    pytest.importorskip(package)
    made = problem.make_problem(name)
    network = ZOO[name].build(backend="numpy", dtype=np.float64, n_threads=1)
    problem.set_weights(network, made)
    right = network.forward(made.x[:2].astype(np.float64))
    engine = importlib.import_module(f"benchmarks.peers.{module}")
    assert measures.error(engine.forward(made, 2, 1)(), right) < 1e-5


@pytest.mark.parametrize("module, package", [("torch_nchw", "torch"), ("torch_nhwc", "torch")])
def test_other_engines_train_as_the_reference_does(module, package, no_shared_folder):
    pytest.importorskip(package)
    made = problem.make_problem("lenet5")
    right = problem.reference_answers(made)
    training = importlib.import_module(f"benchmarks.peers.{module}").training(made, 1)
    answer = {f"gradients/{name}": g for name, g in training.gradients().items()}
    training.reset()
    answer["losses"] = np.array([training.step() for _ in range(problem.N_CHECKED_STEPS)])
    assert engine_comparison.training_error(answer, right) < 1e-4
    answer["gradients/conv2.w"] = answer["gradients/conv2.w"][::-1]
    assert engine_comparison.training_error(answer, right) > engine_comparison.MAX_TRAINING_ERROR


def test_a_relu_belongs_to_a_node_that_nothing_else_follows():
    nodes = problem.make_problem("residual48").trained.nodes
    fused = graph.fused_relu(nodes)
    assert all(nodes[relu].kind == "relu" for relu in fused.values())
    residual = next(node for node in nodes if node.kind == "add")
    shortcut = residual.inputs[1]
    freed = graph.no_longer_needed(nodes)
    assert shortcut in freed[nodes.index(residual)]
    assert sorted(k for group in freed for k in group) == list(range(-1, len(nodes) - 1))


def test_padding_has_tensorflows_names():
    nodes = problem.make_problem("dscnn").folded.nodes
    assert tflite_model.padding_is_same(nodes[0], nodes[0].window)  # 10x4, stride 2: uneven
    wrong = nodes[0].window._replace(top=nodes[0].window.top + 1)
    with pytest.raises(ValueError, match="neither 'same' nor 'valid'"):
        tflite_model.padding_is_same(nodes[0], wrong)
    valid = problem.make_problem("keras_mnist_cnn").folded.nodes[0]
    assert not tflite_model.padding_is_same(valid, valid.window)


# ---- the report ---------------------------------------------------------------------------------


def made_up_rows():
    rows = []
    for network, factor in (("lenet5", 2.0), ("vgg48", 8.0)):
        for task, batch in (("forward", 1), ("forward", 64), ("train", 64)):
            times = {"tinycnn": [1e-3] * 3}
            if task == "forward":
                times["onnxruntime"] = [factor * 1e-3] * 3
            row = measures.comparison_row(
                task, batch, 1, times, {"tinycnn": 3e-7, "onnxruntime": 1e-7}, {}
            )
            rows.append({"network": network, **row})
    return rows


def made_up_comparison():
    engines = {"tinycnn": "1", "onnxruntime": "2"}
    weights = {"lenet5": "seeded", "vgg48": "seeded"}
    return {"rows": made_up_rows(), "engines": engines, "weights": weights, "without_time": []}


def test_geometric_means_are_over_networks_with_a_ratio():
    means = zoo_report.geometric_means(made_up_rows())
    assert [(m["task"], m["batch"]) for m in means] == [("forward", 1), ("forward", 64)]
    assert all(m["ratio"] == pytest.approx(4) and m["n_networks"] == 2 for m in means)


def test_the_summary_names_times_ratios_and_what_was_left_out():
    found = made_up_comparison()
    text = zoo_report.text(found)
    assert "1.00 ms; 2.00, ONNX Runtime" in text and "4.00" in text and "3e-07" in text
    found["without_time"] = ["dscnn", "resnet8"]
    assert "left out for want of time: dscnn,resnet8;" in zoo_report.text(found)


def test_the_tables_go_into_a_markdown_file(tmp_path, capsys):
    path = tmp_path / "README.md"
    path.write_text(f"before\n{zoo_report.BEGIN}\nold\n{zoo_report.END}\nafter\n")
    zoo_report.write(path, zoo_report.markdown(made_up_comparison(), "a machine", quiet=False))
    written = path.read_text()
    assert written.startswith("before\n") and written.endswith("\nafter\n")
    assert zoo_report.NOT_QUIET in written
    assert zoo_report.NOT_QUIET not in zoo_report.markdown(made_up_comparison(), "", quiet=True)
    assert "old" not in written and "with ONNX Runtime 2; weights: seeded" in written
    assert f"| {ZOO['lenet5'].title} | 1.00 ms; 2.00, ONNX Runtime |" in written
    zoo_report.check_place(path)
    path.write_text("nothing")
    assert program.main(["zoo", "--markdown", str(path)]) == 2
    assert f"expected one line {zoo_report.BEGIN}" in capsys.readouterr().err


def test_readme_has_a_place_for_the_tables():
    zoo_report.check_place(Path(__file__).resolve().parent.parent / "README.md")


# ---- time ---------------------------------------------------------------------------------------


def test_quick_leaves_out_networks_for_which_there_is_no_time(monkeypatch, capsys):
    asked = []

    def compare(effort, engines, name, until):
        asked.append(name)
        rows = [row for row in made_up_rows() if row["network"] == "lenet5"]
        rows = [{**row, "network": name} for row in rows]
        return {"rows": rows, "control": [], "weights": "seeded", "absent": {}, "engines": {}}

    monkeypatch.setattr(zoo.engine_comparison, "compare", compare)
    monkeypatch.setattr(zoo, "QUICK_S", 30.0)  # less than twice LEAST_S: one network
    clock = iter([0.0, 0.0, 20.0, 20.0])
    monkeypatch.setattr(zoo.time, "perf_counter", lambda: next(clock))
    found = zoo.measure(["lenet5", "vgg48", "dscnn"], ["tinycnn"], quick=True)
    assert asked == ["lenet5"] and found["without_time"] == ["vgg48", "dscnn"]
    assert ZOO["lenet5"].title in capsys.readouterr().out


@pytest.mark.skipif(not workers.CAN_STOP, reason="this system cannot wait for a limited time")
def test_an_engine_that_is_late_is_ended(tmp_path, no_shared_folder):
    problem.make_problem("lenet5").save(tmp_path / "problem.npz")
    worker = workers.Worker("tinycnn", tmp_path / "problem.npz", 1)
    try:
        worker.send("open")
        with pytest.raises(workers.NotReady, match="not ready in the time"):
            worker.receive(until=0.0)
        assert not worker.is_running()
    finally:
        worker.close()


def test_an_engine_that_crashes_in_training_keeps_its_forward_passes(tmp_path, no_shared_folder):
    made = problem.make_problem("lenet5")
    made.save(tmp_path / "problem.npz")
    group = engine_comparison.EngineGroup(["tinycnn"], tmp_path / "problem.npz", 1)
    try:
        group.start()
        group.wait_for_imports()
        group.workers["tinycnn"]._process.kill()
        group.workers["tinycnn"]._process.wait()
        group.check(made, problem.reference_answers(made))
        assert group.crashed and "ended with status" in group.left_out["tinycnn", "train", 64]
        group.left_out.clear()
        group.restart_crashed()
        group.errors["tinycnn", "forward", 1] = 0.0
        effort = engine_comparison.Effort(n_rounds=1, turn_s=1e-4, row_s=60)
        row, _ = group.time("forward", 1, effort)
        assert row["ours_s"] > 0
    finally:
        group.close()
