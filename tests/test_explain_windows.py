"""The windows that `tinycnn explain` shows step by step, beside NumPy slices."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import tinycnn
from tinycnn import Conv2D, Dense, DepthwiseConv2D, Flatten, InputSpec, MaxPool2D, Network, cli
from tinycnn.explain import explain, render_page

SHAPE = (9, 8, 2)


def network(first, n_filters=3):
    layers = [first, MaxPool2D(2), Conv2D(n_filters, 2), MaxPool2D(2), Flatten(), Dense(3)]
    network = Network(layers, InputSpec(*SHAPE, scaling="unit"), seed=4)
    network.initialise(np.random.default_rng(4), bias_std=0.3)
    return network


def image():
    return np.random.default_rng(5).integers(0, 256, SHAPE, dtype=np.uint8)


def step(page, name):
    """(text of the explanation, value of each row of its table) in a layer's section."""
    root = ElementTree.fromstring(page.split("\n", 1)[1])
    (section,) = [one for one in root.iter("section") if one.get("id") == name]
    parts = list(section)
    titles = [k for k, part in enumerate(parts) if (part.text or "").startswith("Step by step")]
    if not titles:
        return None
    text, rows = parts[titles[0]].text, {}
    for part in parts[titles[0] + 1 :]:
        if part.tag == "h3":
            break
        text += " " + " ".join("".join(part.itertext()).split())
        if part.get("class") == "worked":
            for row in part.iter("tr"):
                name, _, value = ("".join(cell.itertext()) for cell in row.iter("td"))
                rows[name] = float(value.replace("−", "-"))
    return text, rows


@pytest.mark.kernels
@pytest.mark.parametrize("spot", [(2, 3, 1), (0, 0, 2), (8, 7, 0)])
def test_a_window_of_a_convolution(spot):
    """3x3 taps at stride 1 with "same" padding: one row and column of zeros at each side."""
    of = network(Conv2D(3, 3))
    page = render_page(explain(of, image(), n_entries=1, windows={"conv1": spot}))
    text, rows = step(page, "conv1")
    i, j, f = spot
    padded = np.pad(image() / 255, ((1, 1), (1, 1), (0, 0)))
    window = padded[i : i + 3, j : j + 3]
    w, b = (of.parameters[f"conv1.{name}"].astype(np.float64) for name in "wb")
    sums = [(window[:, :, c] * w[:, :, c, f]).sum() for c in range(2)]
    n_inside = 9 if spot == (2, 3, 1) else 4
    for c in range(2):
        assert rows[f"the {n_inside} products of channel {c}"] == pytest.approx(sums[c], rel=1e-7)
    assert rows[f"b[{f}]"] == pytest.approx(b[f], rel=1e-7)
    name = f"y[{i},{j},{f}]"
    assert rows[name] == pytest.approx(sum(sums) + b[f], rel=1e-7)
    assert "✓ same as the engine" in text and name in text
    assert ("padding" in text) == (n_inside == 4)
    alone = Network([of.layers[0], Flatten()], of.input_spec.__class__(*SHAPE, scaling="unit"))
    for short in ("w", "b"):
        alone.parameters[f"conv1.{short}"][:] = of.parameters[f"conv1.{short}"]
    y = alone.predict_logits(image()[None]).reshape(9, 8, 3)  # in float32
    assert rows[name] == pytest.approx(y[spot], rel=1e-5, abs=1e-6)


@pytest.mark.kernels
def test_a_window_of_a_depthwise_convolution():
    of = network(DepthwiseConv2D(3, depth_multiplier=2))
    page = render_page(explain(of, image(), n_entries=1, windows={"depthwise1": (4, 2, 3)}))
    text, rows = step(page, "depthwise1")
    window = (image() / 255)[3:6, 1:4, 1]  # filter 3 is the second one of channel 1
    w = of.parameters["depthwise1.w"].astype(np.float64)[:, :, 1, 1]
    expected = (window * w).sum() + float(of.parameters["depthwise1.b"][3])
    assert rows["y[4,2,3]"] == pytest.approx(expected, rel=1e-7)
    assert "the 9 products of channel 1" in rows and "✓ same" in text


@pytest.mark.kernels
def test_a_window_of_a_max_pooling():
    of = network(Conv2D(3, 3))
    explanation = explain(of, image(), n_entries=1, windows={"pool1": (1, 2, 1)})
    x = explanation.trace.layers[1].x[2:4, 4:6, 1]
    row, column = np.argwhere(x == x.max())[0]
    text, _ = step(render_page(explanation), "pool1")
    assert f"The largest is x[{row + 2},{column + 4},1]: y[1,2,1] = " in text
    shown = re.search(r"y\[1,2,1\] = (−?[\d.e−]+) \(✓ same", text)[1].replace("−", "-")
    assert float(shown) == pytest.approx(x.max(), rel=1e-8)
    assert "The window has 4 numbers" in text


@pytest.mark.kernels
def test_by_default_the_window_where_filter_0_is_largest():
    of = network(Conv2D(3, 3))
    explanation = explain(of, image(), n_entries=1)
    page, layers = render_page(explanation), explanation.trace.layers
    for name, y in (("conv1", layers[0].y), ("pool1", layers[1].y)):
        (at,) = np.argwhere(y[:, :, 0] == y[:, :, 0].max())[:1].tolist()
        assert f"Step by step: y[{at[0]},{at[1]},0]" in step(page, name)[0]
    assert step(page, "conv2") is None and step(page, "pool2") is None


@pytest.mark.kernels
def test_channels_beyond_those_shown_are_in_the_sum():
    of = network(Conv2D(11, 3))
    explanation = explain(of, image(), n_entries=1, windows={"conv2": (1, 1, 2)})
    _, rows = step(render_page(explanation), "conv2")
    assert len(rows) == 8 + 3 and "the products of the 3 other channels" in rows
    window = explanation.trace.layers[2].x[1:3, 1:3]
    w = of.parameters["conv2.w"].astype(np.float64)[..., 2]
    expected = (window * w).sum() + float(of.parameters["conv2.b"][2])
    assert rows["y[1,1,2]"] == pytest.approx(expected, rel=1e-7)


@pytest.mark.kernels
def test_the_option(tmp_path, capsys):
    of, page = network(Conv2D(3, 3)), tmp_path / "page.html"
    tinycnn.save(of, tmp_path / "m.safetensors")
    np.save(tmp_path / "a.npy", image())
    argv = ["explain", str(tmp_path / "m.safetensors"), str(tmp_path / "a.npy"), "--out", str(page)]
    for given, message in (
        ("conv1:1,2", "'conv1:1,2': expected a layer's name, row, column and filter"),
        ("1,2,3", "such as conv1:3,5,0"),
        ("conv1:-1,2,3", "such as conv1:3,5,0"),
        ("dense1:0,0,0", "not a convolution or max-pooling; expected one of conv1, conv2, pool1"),
        ("conv1:9,0,0", "at 9,0,0: expected row, column and filter from 0 to 8, 7, 2"),
    ):
        assert cli.main([*argv, "--window", given]) == 2
        assert message in capsys.readouterr().err and not page.exists()
    assert cli.main([*argv, "--window", "conv2:0,1,2", "--window", "pool2:0,0,1"]) == 0
    text = page.read_text(encoding="utf-8")
    assert "Step by step: y[0,1,2]" in text and "Step by step: y[0,0,1]" in text
    assert cli.main([*argv[:3], argv[2], *argv[3:], "--window", "conv2:0,1,2"]) == 2
    assert "give one image" in capsys.readouterr().err
