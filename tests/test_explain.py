"""`tinycnn explain`: the numbers on the page are the engine's, and the page is safe html."""

import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from small_networks import BRANCHED_NETWORKS, ENGINE_NETWORKS

from tinycnn import CrossEntropy, Dense, Flatten, InputSpec, Network, ReLU, models, reference
from tinycnn.explain import explain, render_page, write_page
from tinycnn.explain.formulas import (
    ADD,
    AVERAGEPOOL2D,
    CONV2D,
    DENSE,
    DEPTHWISE_CONV2D,
    FLATTEN,
    GLOBAL_AVERAGEPOOL2D,
    LOSS,
    MAXPOOL2D,
    RELU,
    SCALE_SHIFT,
    derivation,
)
from tinycnn.explain.layer_kinds import explained
from tinycnn.explain.numeric import (
    AGREES,
    DISAGREES,
    DROWNED,
    KINK,
    Prober,
    sampled_entries,
    step_for,
    sweep_steps,
)
from tinycnn.explain.pictures import N_SHADES, common_scale, marked_plane, number, shades, sheet
from tinycnn.explain.trace import trace_image
from tinycnn.explain.worked import (
    average_input,
    average_output,
    conv2d_input,
    conv2d_weight,
    dense_input,
    dense_weight,
)
from tinycnn.layers import (
    Add,
    AveragePool2D,
    BatchNorm,
    Conv2D,
    DepthwiseConv2D,
    Dropout,
    GlobalAveragePool2D,
    MaxPool2D,
    PReLU,
    Residual,
    ScaleShift,
)
from tinycnn.testing import check_gradients

NASTY = '</script><script>alert("1")</script>\'&amp;\x1b[31m'
NAMES = pytest.mark.parametrize("name", ENGINE_NETWORKS)


def small(name, scaling="standardized", classes=(), **options):
    """The small network of that name; scales, shifts and running statistics are random too."""
    layers, (H, W, C) = ENGINE_NETWORKS[name]
    spec = InputSpec(H, W, C, scaling=scaling, classes=classes)
    network = Network(layers, spec, **options)
    network.initialise(np.random.default_rng(7), bias_std=0.3)
    rng = np.random.default_rng(8)
    for array_name, values in {**network.parameters, **network.statistics}.items():
        if array_name.split(".")[-1] not in ("w", "b"):
            values[:] += rng.uniform(-0.4, 0.4, values.shape)
    return network


def image_for(network, seed=3):
    shape = network.input_spec.shape
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def without_dropout(network, backend="numba"):
    """The same network without dropout, and with a scale and shift for each BatchNorm, built
    independently of tinycnn.explain."""
    layers = predicting(network.layers)
    copy = Network(layers, network.input_spec, dtype=np.float64, backend=backend)
    arrays = {**network.parameters, **network.statistics}
    values = []  # in the order of the plan
    for step in network.plan.steps:
        mine = {short: arrays.get(f"{step.name}.{short}") for short in ARRAYS}
        if isinstance(step.layer, BatchNorm):
            mine = {
                short: value.astype(np.float64)
                for short, value in mine.items()
                if value is not None
            }
            scale = mine["gamma"] * (mine["running_var"] + step.layer.epsilon) ** -0.5
            values += [scale, mine["beta"] - scale * mine["running_mean"]]
        else:
            values += [value for value in mine.values() if value is not None]
    for parameter, value in zip(copy.parameters.values(), values, strict=True):
        parameter[:] = value
    return copy


ARRAYS = ("w", "b", "alpha", "scale", "shift", "gamma", "beta", "running_mean", "running_var")


def predicting(layers):
    """No body of the small networks' residuals is only dropout."""
    kept = []
    for layer in layers:
        if isinstance(layer, Residual):
            layer = Residual(predicting(layer.layers), predicting(layer.shortcut))
        if not isinstance(layer, Dropout):
            kept.append(ScaleShift() if isinstance(layer, BatchNorm) else layer)
    return kept


def engine(network, image, label=None):
    """(logits, loss, dlogits, gradients by name) of one image, from the network's own methods."""
    copy = without_dropout(network)
    x = copy.scale(image[None])
    logits = copy.forward(x, training=True)
    labels = np.array([logits.argmax() if label is None else label])
    loss, dlogits = CrossEntropy()(logits, labels)
    dx = copy.backward(dlogits, input_gradient=True)
    return logits[0], loss, dlogits[0], {"x": dx[0], **copy.gradients}


def parsed(explanation):
    """(root element of the page, the numbers embedded in it)."""
    page = render_page(explanation)
    doctype, rest = page.split("\n", 1)
    assert doctype == "<!DOCTYPE html>"
    root = ElementTree.fromstring(rest)
    (script,) = root.iter("script")
    assert script.get("type") == "application/json" and script.get("id") == "numbers"
    return root, json.loads(script.text)


def text(element):
    return " ".join("".join(element.itertext()).split())


# ---- the numbers -----------------------------------------------------------------------------


@NAMES
def test_the_numbers_are_the_engines(name):
    network = small(name)
    image = image_for(network)
    _, numbers = parsed(explain(network, image, n_entries=8))
    logits, loss, dlogits, gradients = engine(network, image)
    np.testing.assert_allclose(numbers["logits"], logits, rtol=1e-12, atol=1e-13)
    probs = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    np.testing.assert_allclose(numbers["probs"], probs, rtol=1e-12)
    np.testing.assert_allclose(numbers["dlogits"], dlogits, rtol=1e-11, atol=1e-14)
    one_hot = np.eye(len(probs))[int(logits.argmax())]
    np.testing.assert_allclose(numbers["dlogits"], probs - one_hot, rtol=1e-11, atol=1e-14)
    assert numbers["loss"] == pytest.approx(loss, rel=1e-12)
    assert numbers["predicted"] == numbers["label"] == network.classes[int(logits.argmax())]
    seen = {check["tensor"] for check in numbers["checks"]}
    assert seen == set(gradients)
    for check in numbers["checks"]:
        expected = gradients[check["tensor"]][tuple(check["index"])]
        assert check["analytic"] == pytest.approx(expected, rel=1e-10, abs=1e-13)
    by_name = {layer["name"]: layer for layer in numbers["layers"]}
    plan = without_dropout(network).plan
    assert list(by_name) == [step.name for step in plan.steps]
    for step in plan.steps:
        assert by_name[step.name]["output_shape"] == list(step.output_shape)
        for short, norm in by_name[step.name]["gradient_norms"].items():
            expected = np.linalg.norm(gradients[f"{step.name}.{short}"])
            assert norm == pytest.approx(expected, rel=1e-10, abs=1e-13)


@pytest.mark.parametrize(
    "name", ["miniature", "overlapping_pool", "stride_beyond_window", "residuals_with_batch_norms"]
)
def test_the_numeric_gradients_are_those_of_the_loss(name):
    """Compared with differences computed here, with another step and on the reference.  The
    gradients shown beside them pass the public checker."""
    network = small(name)
    image = image_for(network)
    _, numbers = parsed(explain(network, image))
    copy = without_dropout(network, backend="numpy")
    x = copy.scale(image[None])
    labels = np.array([network.classes.index(numbers["label"])])
    loss = lambda: CrossEntropy()(copy.forward(x, training=True), labels, backend="numpy")[0]
    tensors = {"x": x[0], **copy.parameters}
    check_gradients(loss, tensors, engine(network, image)[3], max_skipped=0.6)
    n_checked = 0
    for check in numbers["checks"]:
        if check["verdict"] != AGREES:
            continue
        tensor, index = tensors[check["tensor"]], tuple(check["index"])
        assert check["value"] == pytest.approx(tensor[index], rel=1e-14)
        assert check["numeric"] == pytest.approx(check["analytic"], rel=2e-6, abs=1e-8)
        before, losses = tensor[index], []
        for moved in (check["step"], -check["step"]):
            tensor[index] = before + moved
            losses.append(loss())
        tensor[index] = before
        assert [check["loss_ahead"], check["loss_behind"]] == pytest.approx(losses, rel=1e-12)
        slope = (losses[0] - losses[1]) / (2 * check["step"])
        assert check["numeric"] == pytest.approx(slope, rel=1e-6, abs=1e-8)
        n_checked += 1
    assert n_checked >= 0.8 * len(numbers["checks"])


def test_microexpnet_on_raw_pixels():
    network = models.microexpnet(seed=5)
    image = image_for(network)
    explanation = explain(network, image, n_entries=3)
    assert explanation.agrees and len(explanation.probes) == 9 * 3
    logits, _, _, gradients = engine(network, image)
    np.testing.assert_allclose(explanation.trace.logits, logits, rtol=1e-11)
    for probe in explanation.probes:
        expected = gradients[probe.tensor][probe.index]
        assert probe.analytic == pytest.approx(expected, rel=1e-9, abs=1e-13)
    assert explanation.trace.float32_difference < 1e-5
    assert len(render_page(explanation)) < 3_000_000


@pytest.fixture(scope="module")
def published(shared):
    """The authors' network and a FER2013 face."""
    names = {"wc1": "conv1.w", "bc1": "conv1.b", "wc2": "conv2.w", "bc2": "conv2.b"}
    names |= {"wfc": "dense1.w", "bfc": "dense1.b", "wo": "dense2.w", "bo": "dense2.b"}
    network = models.microexpnet()
    folder = shared / "data" / "microexpnet_ck"
    with np.load(folder / "weights.npz") as weights:
        for name in weights:
            network.parameters[names[name]][:] = weights[name]
    with np.load(folder / "reference.npz") as reference_file:
        return network, reference_file["face_images"][2], reference_file["face_logits"][2]


def test_the_published_network_on_a_real_face(published):
    network, face, tensorflow_logits = published
    for label, n_entries in ((None, 6), ("anger", 1)):
        explanation = explain(network, face, label, n_entries=n_entries)
        root, numbers = parsed(explanation)
        np.testing.assert_allclose(numbers["logits"], tensorflow_logits, atol=3e-5)
        assert numbers["n_disagreeing"] == 0 and len(numbers["checks"]) == 9 * n_entries
        assert numbers["label"] == (label or "happy") and numbers["predicted"] == "happy"
        assert max(numbers["kernels_differ_from_reference_by"].values()) < 1e-12
        size = len(ElementTree.tostring(root))
        assert size < 3_000_000


def test_a_chosen_label():
    network = small("miniature", classes=("a", "b", "c", "d"))
    image = image_for(network)
    explanation = explain(network, image, "c")
    _, loss, dlogits, _ = engine(network, image, label=2)
    assert explanation.trace.label == 2 and explanation.trace.loss == pytest.approx(loss)
    np.testing.assert_allclose(explanation.trace.dlogits, dlogits, rtol=1e-11)


def test_the_network_is_not_changed():
    network = small("miniature")
    before = network.parameter_vector.copy()
    state = network.dropout_generator.bit_generator.state
    explain(network, image_for(network))
    np.testing.assert_array_equal(network.parameter_vector, before)
    assert not network.gradient_vector.any()
    assert network.dropout_generator.bit_generator.state == state


def test_changed_entries_are_restored():
    network = small("miniature")
    trace = trace_image(network, image_for(network))
    prober = Prober(trace)
    before = trace.network.parameter_vector.copy()
    prober.probe("conv1.w", (1, 2, 0, 3), 0.5)
    np.testing.assert_array_equal(trace.network.parameter_vector, before)
    prober.loss = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        prober.probe("conv1.w", (1, 2, 0, 3), 0.5)
    np.testing.assert_array_equal(trace.network.parameter_vector, before)


def test_the_same_input_gives_the_same_bytes():
    network = small("overlapping_pool")
    pages = [render_page(explain(network, image_for(network), seed=4)) for _ in range(2)]
    assert pages[0] == pages[1]
    other = explain(network, image_for(network), seed=5)
    assert render_page(other) != pages[0]


# ---- branches and BatchNorm ------------------------------------------------------------------


@NAMES
def test_the_page_explains_what_the_network_predicts(name):
    network = small(name, dtype=np.float64)
    image = image_for(network)
    trace = trace_image(network, image)
    np.testing.assert_allclose(trace.logits, network.predict_logits(image[None])[0], rtol=1e-11)
    assert trace.float32_difference < 1e-11
    assert max(trace.kernel_differences.values(), default=0) < 1e-9


@pytest.mark.parametrize("name", [*BRANCHED_NETWORKS, "residuals_with_batch_norms"])
def test_values_and_gradients_follow_the_branches(name):
    """Forward, an input is the y of its source; backward, dy is the sum of what its uses pass
    back.  All of these are on the page."""
    network = small(name)
    explanation = explain(network, image_for(network))
    trace = explanation.trace
    ys = {"image": trace.x, **{layer.step.name: layer.y for layer in trace.layers}}
    back = {source: np.zeros_like(y) for source, y in ys.items()}
    back[trace.layers[-1].step.name] += trace.dlogits
    n_added = 0
    for layer in trace.layers:
        np.testing.assert_array_equal(layer.x, ys[layer.sources[0]])
        for source in layer.sources:
            back[source] += layer.dx
        if isinstance(layer.step.layer, Add):
            n_added += 1
            np.testing.assert_array_equal(layer.x2, ys[layer.sources[1]])
            np.testing.assert_allclose(layer.y, layer.x + layer.x2, rtol=1e-15)
    assert n_added == str(network.plan.layers).count("Residual(")
    np.testing.assert_allclose(trace.dx, back["image"], rtol=1e-12, atol=1e-15)
    root, numbers = parsed(explanation)
    sections = {section.get("id"): text(section) for section in root.iter("section")}
    n_sums = sum(layer.sources.count("image") for layer in trace.layers) - 1
    for layer, told in zip(trace.layers, numbers["layers"], strict=True):
        np.testing.assert_allclose(layer.dy, back[layer.step.name], rtol=1e-12, atol=1e-15)
        assert tuple(told["inputs"]) == layer.sources
        section = sections[layer.step.name]
        n_uses = sum(other.sources.count(layer.step.name) for other in trace.layers)
        assert ("y is used more than once" in section) == (n_uses > 1)
        n_sums += n_uses > 1
        if layer.x2 is not None:
            inputs = ["the scaled image" if s == "image" else f"y of {s}" for s in layer.sources]
            assert f"x is {inputs[0]}, x2 is {inputs[1]}." in section
    assert n_sums


def test_the_spot_of_a_sum_is_that_of_its_inputs():
    network = small("residuals")
    layers = {layer.step.name: layer for layer in trace_image(network, image_for(network)).layers}
    add, body = layers["residual1.add"], layers["residual1.conv2"]
    assert add.sources == ("residual1.conv2", "relu1")
    assert body.spot == add.spot == layers["relu1"].spot == layers["relu2"].spot
    assert body.y[add.spot] + layers["relu1"].y[add.spot] == add.y[add.spot]


def test_a_batch_norm_is_shown_as_the_scale_and_shift_that_it_is_in_prediction():
    network = small("residuals_with_batch_norms")
    explanation = explain(network, image_for(network))
    assert explanation.agrees
    root, numbers = parsed(explanation)
    shown = {x["batch_norm"]: x["name"] for x in numbers["layers"] if x["batch_norm"]}
    assert list(shown) == [s.name for s in network.plan.steps if isinstance(s.layer, BatchNorm)]
    assert shown["residual2.shortcut.bn1"] == "residual2.shortcut.scale1"
    (note,) = [text(p) for p in root.iter("p") if p.get("class") == "note"]
    assert all(f"{name} as {scale}" in note for name, scale in shown.items())
    for name, scale in shown.items():
        (section,) = [s for s in root.iter("section") if s.get("id") == scale]
        (here,) = [t for t in map(text, section.iter("p")) if "a BatchNorm, as it is" in t]
        assert here.startswith(f"This is {name}, ") and "with epsilon = 1e−5" in here
        value = {
            k: float(v.replace("−", "-"))
            for k, v in re.findall(r"(\w+)\[\d+\] = (−?[\d.e−]+?)[,.](?:\s|$)", here)
        }
        expected = value["gamma"] / np.sqrt(value["running_var"] + 1e-5)
        assert value["scale"] == pytest.approx(expected, rel=2e-3)
        expected = value["beta"] - value["running_mean"] * value["scale"]
        assert value["shift"] == pytest.approx(expected, abs=2e-3)


def test_a_branch_of_dropout_alone():
    """In prediction it is nothing: y = 2x."""
    layers = [Flatten(), Dense(3), Residual([Dropout(0.5)])]
    network = Network(layers, InputSpec(3, 2, 1, scaling="unit"), seed=3, dtype=np.float64)
    explanation = explain(network, image_for(network))
    dense, add = explanation.trace.layers[1], explanation.trace.layers[-1]
    np.testing.assert_array_equal(add.y, 2 * dense.y)
    np.testing.assert_array_equal(dense.dy, 2 * add.dy)
    assert explanation.agrees


# ---- wrong gradients and kinks ---------------------------------------------------------------


def sorted_like(checks, rows):
    """The checks in the order of the table rows that show them."""
    named = {f"{c['tensor']}[{','.join(map(str, c['index']))}]": c for c in checks}
    return [named[text(row.find("th"))] for row in rows]


def wrong_dense(dy, w_t, dx_out):
    dx_out[:] = 1.001 * (dy @ w_t[0])


def wrong_relu(y, dy, dx_out):
    dx_out[:] = dy


def wrong_bias(x, dy, dw_out, db_out):
    dw_out[:] = x.T @ dy
    db_out[:] = -dy.sum(axis=0)


@pytest.mark.parametrize(
    "function, wrong, tensor",
    [
        ("dense_backward_input", wrong_dense, "conv1.w"),
        ("relu_backward", wrong_relu, "conv1.w"),
        ("dense_backward_params", wrong_bias, "dense1.b"),
    ],
)
def test_a_wrong_gradient_is_reported(monkeypatch, function, wrong, tensor):
    network = small("miniature")
    monkeypatch.setattr(reference, function, wrong)
    explanation = explain(network, image_for(network))
    assert not explanation.agrees
    assert tensor in {p.tensor for p in explanation.probes if p.verdict == DISAGREES}
    root, numbers = parsed(explanation)
    assert numbers["n_disagreeing"] > 0
    assert numbers["kernels_differ_from_reference_by"][f"gradient of {tensor}"] > 1e-4
    assert "disagree with their numeric gradient" in text(root)
    rows = [row for row in root.iter("tr") if row.get("class") == DISAGREES]
    assert len(rows) == numbers["n_disagreeing"]
    assert all("✗ disagrees" in text(row) for row in rows)
    told = [check for check in numbers["checks"] if check["verdict"] == DISAGREES]
    for check, row in zip(sorted_like(told, rows), rows):
        shown = [value_of(cell) for cell in list(row.iter("td"))[4:6]]
        assert shown == pytest.approx([check["numeric"], check["analytic"]], rel=1e-7)


def test_a_kink_is_distinguished_from_a_wrong_gradient():
    """A unit whose sum is exactly 0: the loss has a different slope on each side."""
    network = Network([Flatten(), Dense(2), ReLU(), Dense(2)], InputSpec(1, 2, 1, scaling="unit"))
    values = {
        "dense1.w": [[1.0, 0.5], [1.0, 0.25]],
        "dense1.b": [-2.0, 0.0],
        "dense2.w": [[1.0, -1.0], [0.5, 1.0]],
        "dense2.b": [0.0, 0.0],
    }
    for name, value in values.items():
        network.parameters[name][:] = value
    explanation = explain(network, np.full((1, 2), 255, np.uint8), n_entries=99)
    verdicts = {(p.tensor, p.index): p for p in explanation.probes}
    kink = verdicts["dense1.b", (0,)]
    assert kink.verdict == KINK and kink.n_switches == 1
    assert kink.analytic == 0 and abs(kink.numeric) > 0.1  # half of the slope above 0
    assert verdicts["dense1.b", (1,)].verdict == AGREES
    assert explanation.agrees
    root, numbers = parsed(explanation)
    assert numbers["n_kinks"] == sum(p.verdict == KINK for p in explanation.probes) > 0
    assert "kink: 1 switched" in text(root)


def test_the_table_of_steps_shows_why_this_step_is_used():
    """Large steps have large errors, the best step a small one, the smallest more again."""
    network = models.microexpnet(seed=5, scaling="standardized")
    sweep = sweep_steps(trace_image(network, image_for(network)))
    errors = {probe.step: probe.relative_error for probe in sweep}
    best = min(errors.values())
    assert best < 1e-8 and errors[1.0] > 1e-2 and errors[1e-10] > 10 * best
    assert sweep[0].n_switches > sweep[-1].n_switches == 0
    assert {(probe.tensor, probe.index) for probe in sweep} == {("conv1.w", sweep[0].index)}


def test_sampled_entries():
    gradient = np.array([0.0, 5.0, -9.0, 0.0, 1.0, 0.5, -0.25, 2.0])
    rng = np.random.default_rng(0)
    chosen = sampled_entries(gradient, 6, rng)
    assert len(chosen) == len(set(chosen)) == 6
    assert chosen[:2] == [2, 1]  # a third of the entries are those with the largest gradient
    assert [gradient[k] == 0 for k in chosen] == [False] * 5 + [True]
    assert sorted(sampled_entries(gradient, 100, rng)) != []
    assert sampled_entries(np.zeros(3), 6, rng) and sampled_entries(np.ones(1), 6, rng) == [0]


@pytest.mark.parametrize(
    "steepest, loss, step",
    [
        (10.0, 1.0, 1e-6),
        (1.0, 30.0, 1e-5),
        (1e-2, 1.0, 1e-3),
        (1e-9, 1.0, 1e-2),
        (0, 1.0, 1e-4),
        (1e-3, 1e-3, 1e-5),
        (1.0, 1e-9, 1e-8),
    ],
)
def test_step_for(steepest, loss, step):
    """The step changes the loss by 1e-5 of min(loss, 1) at the steepest entry, within bounds."""
    assert step_for(np.array([0.1 * steepest, -steepest]), loss) == pytest.approx(step)


def test_a_gradient_lost_in_rounding_is_called_neither_right_nor_wrong():
    """p of the label is 1 to the last bit, so p - 1 has no correct digit."""
    network = small("dense_alone", classes=("a", "b", "c", "d"))
    network.parameters["dense2.b"][1] += 40
    explanation = explain(network, image_for(network))
    _, numbers = parsed(explanation)
    verdicts = [p.verdict for p in explanation.probes]
    assert numbers["n_drowned"] == verdicts.count(DROWNED) > 0
    assert explanation.agrees and numbers["n_disagreeing"] == 0
    of_another = explain(network, image_for(network), "c").summary()
    assert of_another["n_drowned"] < numbers["n_drowned"] / 4
    assert of_another["n_agreeing"] + of_another["n_drowned"] == len(of_another["checks"])


# ---- single numbers by hand ------------------------------------------------------------------


@NAMES
def test_worked_numbers_equal_the_engines(name):
    """Every entry of small layers by the definition, including borders, strides and padding."""
    network = small(name)
    trace = trace_image(network, image_for(network))
    n_layers = 0
    for layer in trace.layers:
        shown = explained(layer.step.layer).sums(layer)
        if not shown:
            continue
        n_layers += 1
        for one in shown:
            assert one.total == pytest.approx(one.result.value, rel=1e-10, abs=1e-13)
        if isinstance(layer.step.layer, (PReLU, ScaleShift, Add)):
            continue
        some = np.random.default_rng(0)
        for sum_of, array in sums_of_single_entries(layer):
            for flat in some.permutation(array.size)[:40]:
                one = sum_of(layer, tuple(int(i) for i in np.unravel_index(flat, array.shape)))
                assert one.total == pytest.approx(one.result.value, rel=1e-10, abs=1e-13)
    average = (AveragePool2D, GlobalAveragePool2D)
    summed = (Conv2D, DepthwiseConv2D, Dense, PReLU, ScaleShift, BatchNorm, Add, *average)
    assert n_layers == sum(isinstance(step.layer, summed) for step in network.plan.steps)


def test_a_window_in_padding_alone_is_explained_by_its_bias():
    network = small("padding_for_each_side")
    layer = trace_image(network, image_for(network)).layers[0]
    for spot in ((0, 0, 1), (0, 5, 1)):
        (output, *_) = explained(layer.step.layer).sums(replace(layer, spot=spot))
        assert output.products == [] and output.total == layer.parameters["b"][1]
        assert "<table" in explained(layer.step.layer).close_up(replace(layer, spot=spot))


def sums_of_single_entries(layer):
    """(function that works out an entry, array with as many entries)"""
    if isinstance(layer.step.layer, (AveragePool2D, GlobalAveragePool2D)):
        return [(average_output, layer.y), (average_input, layer.x)]
    if isinstance(layer.step.layer, Dense):
        return [(dense_weight, layer.parameters["w"]), (dense_input, layer.x)]
    return [(conv2d_weight, layer.parameters["w"]), (conv2d_input, layer.x)]


def test_the_page_follows_one_value_through_the_layers():
    """The page follows one value through the layers: the maximum of a pooling, then its ReLU."""
    network = models.microexpnet(seed=5)
    layers = trace_image(network, image_for(network)).layers
    followed = 0
    for before, after in zip(layers, layers[1:]):
        if isinstance(after.step.layer, MaxPool2D):
            assert before.y[before.spot] == after.y[after.spot]
            followed += 1
        elif isinstance(after.step.layer, ReLU):
            assert before.spot == after.spot
            assert max(before.y[before.spot], 0) == after.y[after.spot]
            followed += 1
    assert followed == 5
    pool = next(layer for layer in layers if layer.step.name == "pool1")
    assert pool.dy[pool.spot] != 0 and pool.y[pool.spot] > 0


def test_the_page_marks_the_winners_of_a_pooling():
    network = small("overlapping_pool")
    explanation = explain(network, image_for(network))
    pool = next(x for x in explanation.trace.layers if x.kept is not None)
    x, c = pool.x[:, :, pool.spot[2]], pool.spot[2]
    root, _ = parsed(explanation)
    (section,) = [s for s in root.iter("section") if s.get("id") == "pool1"]
    grid = next(t for t in section.iter("table") if text(t.find("caption")).startswith("x, before"))
    marked = set()
    head, *rows = list(grid.iter("tr"))
    columns = [int(text(cell)) for cell in head.iter("th")]
    for row in rows:
        h = int(text(row.find("th")))
        for v, cell in zip(columns, row.iter("td")):
            if "winner" in cell.get("class", "").split():
                marked.add((h, v))
    expected = {divmod(int(p), x.shape[1]) for p in pool.kept[:, :, c].ravel()}
    assert marked and marked <= expected
    shown = {(h, v) for h in range(x.shape[0]) for v in columns}
    assert {p for p in expected if p in shown} >= marked


# ---- equations -------------------------------------------------------------------------------


DERIVED = [CONV2D, DEPTHWISE_CONV2D, MAXPOOL2D, AVERAGEPOOL2D, GLOBAL_AVERAGEPOOL2D, RELU, DENSE]
DERIVED += [SCALE_SHIFT, ADD]


@pytest.mark.parametrize("formulas", [*DERIVED, LOSS], ids=lambda f: f.title)
def test_equations_are_in_the_code_under_the_same_numbers(formulas):
    written = derivation(formulas)
    for formula in (*formulas.forward, *formulas.backward):
        assert formula.number and re.search(rf"{re.escape(formula.number)}$", written, re.M), (
            formula
        )
    assert not derivation(FLATTEN)


def test_every_equation_and_derivation_is_on_the_page():
    sections = {}
    names = ("depthwise_separable", "miniature", "residuals_with_batch_norms")
    for network in map(small, names):
        root, _ = parsed(explain(network, image_for(network)))
        sections |= {section.get("id"): text(section) for section in root.iter("section")}
        sections.setdefault("averages", sections["pool1"] + sections["pool2"])
    for name, formulas in (
        *(("conv1", CONV2D), ("pool1", MAXPOOL2D), ("relu1", RELU)),
        *(("depthwise1", DEPTHWISE_CONV2D), ("averages", AVERAGEPOOL2D)),
        ("averages", GLOBAL_AVERAGEPOOL2D),
        *(("residual1.scale1", SCALE_SHIFT), ("residual1.add", ADD)),
    ):
        for formula in (*formulas.forward, *formulas.backward):
            plain = re.sub(r"<[^>]*>", "", formula.markup).replace("&gt;", ">").replace("&lt;", "<")
            assert plain in sections[name]
        assert "chain rule" in sections[name]
    assert "dL/dz[k] = p[k] − 1[k = label]" in sections["loss"]


# ---- the page --------------------------------------------------------------------------------


@NAMES
def test_every_layer_has_its_section_and_every_link_a_target(name):
    network = small(name)
    root, numbers = parsed(explain(network, image_for(network)))
    ids = [section.get("id") for section in root.iter("section")]
    assert ids == ["image", *(layer["name"] for layer in numbers["layers"]), "loss", "checks"]
    targets = {element.get("id") for element in root.iter() if element.get("id")}
    links = [a.get("href") for a in root.iter("a")]
    assert len(links) > len(ids) and all(link[0] == "#" and link[1:] in targets for link in links)
    for image in root.iter("img"):
        assert image.get("src").startswith("data:image/png;base64,")
    page = ElementTree.tostring(root, encoding="unicode")
    for outside in ("http:", "https:", "url(", "@import", "<link"):
        assert outside not in page.replace("http-equiv", "")


def value_of(cell):
    return float(text(cell).replace("−", "-").replace(",", ""))


def test_the_tables_show_the_embedded_numbers():
    """The tables on the page show the numbers that are embedded in it for programs."""
    network = small("miniature")
    explanation = explain(network, image_for(network))
    root, numbers = parsed(explanation)
    tables = {}
    for table in root.iter("table"):
        tables.setdefault(table.get("class"), []).append(table)
    rows = [row for table in tables["probes"] for row in table.iter("tr")][:]
    shown = {}
    for row in rows:
        cells = list(row.iter("td"))
        if cells:
            shown[text(row.find("th"))] = [value_of(cell) for cell in cells[:7]]
    keys = "value step loss_ahead loss_behind numeric analytic relative_error".split()
    assert len(shown) == len(numbers["checks"])
    for check in numbers["checks"]:
        name = f"{check['tensor']}[{','.join(map(str, check['index']))}]"
        np.testing.assert_allclose(shown[name][2:6], [check[k] for k in keys[2:6]], rtol=1e-7)
        loose = [shown[name][k] for k in (0, 1, 6)]
        np.testing.assert_allclose(loose, [check[keys[k]] for k in (0, 1, 6)], rtol=0.06)
    (classes,) = tables["classes"]
    for k, row in enumerate(classes.find("tbody").iter("tr")):
        z, p, is_label, dz = (value_of(cell) for cell in row.iter("td"))
        expected = [numbers[name][k] for name in ("logits", "probs", "dlogits")]
        np.testing.assert_allclose([z, p, dz], expected, rtol=1e-3)
        assert is_label == (network.classes[k] == numbers["label"])
    (steps,) = tables["steps"]
    for layer, row in zip(numbers["layers"], steps.find("tbody").iter("tr")):
        cells = [text(cell) for cell in row.iter("td")]
        assert cells[1] == "×".join(map(str, layer["output_shape"]))
        size = np.prod(layer["output_shape"])
        for share, n_zeros in ((cells[3], layer["y_zeros"]), (cells[5], layer["dy_zeros"])):
            assert share == (f"{100 * n_zeros / size:.0f} %" if n_zeros else "none")
    for worked in tables["worked"]:
        total = [row for row in worked.iter("tr") if row.get("class") == "total"]
        assert "✓ same as the engine" in text(total[0])
    (sweep,) = tables["sweep"]
    for probe, row in zip(numbers["step_sweep"], sweep.find("tbody").iter("tr")):
        assert value_of(row.find("th")) == probe["step"]
        cells = list(row.iter("td"))
        assert value_of(cells[0]) == pytest.approx(probe["numeric"], rel=1e-7)
        assert value_of(cells[3]) == probe["n_switches"]


def test_numbers_in_the_excerpts_are_those_of_the_layer():
    """Each cell, times the power of ten in the caption, is the entry at its row and column."""
    network = small("miniature")
    explanation = explain(network, image_for(network))
    root, _ = parsed(explanation)
    n_cells = 0
    for layer in explanation.trace.layers:
        if layer.y.ndim != 3 or layer.parameters:
            continue
        (section,) = [s for s in root.iter("section") if s.get("id") == layer.step.name]
        values = {"x, before": layer.x, "y, after": layer.y}
        values |= {"dL/dy, comes back": layer.dy, "dL/dx, goes on": layer.dx}
        for grid in (t for t in section.iter("table") if t.get("class") == "grid"):
            caption = text(grid.find("caption"))
            name, _, power = caption.partition(" × 10")
            unit = 10.0 ** (int(power.replace("−", "-")) if power else 0)
            step = re.match(r"x, channel (\d+); the winner", name)  # the window step by step
            head, *rows = list(grid.iter("tr"))
            columns = [int(text(th)) for th in head.iter("th")]
            for row in rows:
                h = int(text(row.find("th")))
                for v, cell in zip(columns, row.iter("td"), strict=True):
                    c = int(step.group(1)) if step else layer.spot[2]
                    expected = values["x, before" if step else name][h, v, c]
                    largest = np.abs(values["x, before" if step else name][:, :, c]).max()
                    assert value_of(cell) * unit == pytest.approx(expected, abs=0.006 * largest)
                    n_cells += 1
    assert n_cells > 60


def test_text_from_files_is_escaped():
    classes = (NASTY, "b", "<b>c</b>", "&d;")
    network = small("miniature", classes=classes)
    explanation = explain(
        network, image_for(network), NASTY, model_name=NASTY + ".m", image_name=NASTY + ".png"
    )
    root, numbers = parsed(explanation)
    assert numbers["classes"] == list(classes) and numbers["model"] == NASTY + ".m"
    assert len(list(root.iter("script"))) == 1 and not list(root.iter("b"))[0].findall("*")
    shown = NASTY.replace("\x1b", "\ufffd")
    assert shown + ".png" in text(root.find("head/title"))
    (loss,) = [s for s in root.iter("section") if s.get("id") == "loss"]
    assert shown in text(loss) and "<b>c</b>" in text(loss)
    page = render_page(explanation)
    assert page.count("<script") == page.count("</script>") == 1 and "\x1b" not in page


def test_notes():
    network = small("miniature")  # this network has dropout
    network.calibration_temperature = 1.7
    network.parameters["dense2.b"][1] = 40
    root, _ = parsed(explain(network, image_for(network)))
    notes = [text(p) for p in root.iter("p") if p.get("class") == "note"]
    assert len(notes) == 3
    assert "Dropout" in notes[0] and "1.7" in notes[1] and "so sure of 1" in notes[2]
    plain = small("dense_alone")
    root, _ = parsed(explain(plain, image_for(plain)))
    assert not [p for p in root.iter("p") if p.get("class") == "note"]


def test_colour_pictures_and_many_units():
    layers = [Conv2D(70, 3), ReLU(), Flatten(), Dense(130), ReLU(), Dense(3)]
    network = Network(layers, InputSpec(5, 4, 3, scaling="unit"), seed=1)
    root, _ = parsed(explain(network, image_for(network), n_entries=2))
    titles = [text(h) for h in root.iter("h3")]
    assert "The first 64 of 70 filters" in titles and "The first 64 of 130 units" in titles
    assert "The vectors, the 32 of 130 with the strongest gradient" in titles


def test_means_and_deviations_of_channels_are_named():
    spec = InputSpec(3, 3, 3, scaling="unit", mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.25))
    network = Network([Flatten(), Dense(2)], spec, seed=1)
    explanation = explain(network, image_for(network), n_entries=2)
    assert explanation.agrees
    assert "m = 0.5, 0.4, 0.3, d = 0.2, 0.2, 0.25" in render_page(explanation)


def test_the_page_is_written_completely_or_not_at_all(tmp_path, monkeypatch):
    network = small("dense_alone")
    explanation = explain(network, image_for(network))
    path = tmp_path / "page.html"
    write_page(path, explanation)
    assert path.read_text(encoding="utf-8") == render_page(explanation)
    with pytest.raises(OSError):
        write_page(tmp_path / "nowhere" / "page.html", explanation)
    monkeypatch.setattr("tinycnn.explain.page.render_page", lambda explanation: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_page(tmp_path / "other.html", explanation)
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.parametrize(
    "image, label, error, message",
    [
        (
            np.zeros((3, 2, 2), np.uint8),
            "5",
            ValueError,
            "label is '5'; expected one of 0, 1, 2, 3",
        ),
        (np.zeros((3, 2, 2), np.float32), None, TypeError, "uint8"),
        (np.zeros((4, 2, 2), np.uint8), None, ValueError, "shape"),
        (np.zeros(12, np.uint8), None, ValueError, "shape"),
    ],
)
def test_what_cannot_be_explained(image, label, error, message):
    with pytest.raises(error, match=message):
        explain(small("dense_alone"), image, label)


def test_a_network_with_nan_or_infinite_weights_is_refused():
    network = small("dense_alone")
    network.parameters["dense1.w"][0, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        explain(network, image_for(network))


# ---- pictures --------------------------------------------------------------------------------


def test_shades():
    middle = N_SHADES // 2
    drawn = shades(np.array([[0.0, 1e-9, -1e-9, 2.0, -2.0, 1.0]]))
    assert drawn.tolist() == [[middle, middle + 1, middle - 1, N_SHADES - 1, 0, middle + 16]]
    assert (shades(np.zeros((2, 3))) == middle).all()
    assert shades(np.array([5.0, -5.0]), largest=1.0).tolist() == [N_SHADES - 1, 0]


def test_sheet():
    planes = np.stack([np.full((2, 2), k, np.uint8) for k in range(5)], axis=2)
    drawn = sheet(planes)
    gap = N_SHADES
    assert drawn.tolist() == [
        [0, 0, gap, 1, 1],
        [0, 0, gap, 1, 1],
        [gap] * 5,
        [2, 2, gap, 3, 3],
        [2, 2, gap, 3, 3],
        [gap] * 5,
        [4, 4, gap, gap, gap],
        [4, 4, gap, gap, gap],
    ]
    np.testing.assert_array_equal(sheet(planes[:, :, 3:4]), planes[:, :, 3])


def test_marked_plane():
    drawn = marked_plane(np.array([[1.0, 0.0], [0.0, -1.0]]), np.array([3]), pixel=4)
    assert drawn.shape == (8, 8) and (drawn == N_SHADES + 1).sum() == 12
    assert (drawn[4:, 4:][1:3, 1:3] == 0).all() and (drawn[:4, :4] == N_SHADES - 1).all()


def test_pictures_keep_their_pixels():
    """The browser gets the pixels that were drawn: blue below 0, red above."""
    import base64
    import io

    from tinycnn.explain.pictures import picture

    markup = picture(shades(np.array([[-1.0, 0.0, 1.0]])), 'a "name"', 30)
    assert 'alt="a &quot;name&quot;"' in markup and 'width="30"' in markup
    data = re.search(r"base64,([^\"]+)", markup)[1]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))[0]
    assert pixels[1].tolist() == [255, 255, 255]
    assert pixels[0, 2] > pixels[0, 0] + 80 and pixels[2, 0] > pixels[2, 2] + 80


@pytest.mark.parametrize(
    "value, shown",
    [
        (0.0, "0"),
        (1234.5678, "1235"),
        (-0.00012345, "−0.0001234"),
        (1.5e-7, "1.5e−7"),
        (-123456.0, "−123456"),
        (2.5e9, "2.5e9"),
    ],
)
def test_number(value, shown):
    assert number(value) == shown


@pytest.mark.parametrize(
    "largest, expected",
    [
        (0.0, (0, 0)),
        (250.0, (0, 0)),
        (25.0, (0, 1)),
        (2.5, (0, 2)),
        (0.25, (0, 3)),
        (0.025, (-3, 1)),
        (0.0022, (-3, 2)),
        (1.1e-5, (-6, 1)),
        (3e4, (3, 1)),
    ],
)
def test_common_scale(largest, expected):
    assert common_scale(largest) == expected
