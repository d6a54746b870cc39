"""`tinycnn explain` of several images: side by side, each layer on one colour scale."""

import base64
import io
import json
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

import tinycnn
from tinycnn import Conv2D, Dense, Flatten, InputSpec, Network, ReLU, cli
from tinycnn.explain import explain, render_comparison
from tinycnn.explain.comparison import MAX_IMAGES

SIDE = 7
MIDDLE = 31
"""The shade of 0; the strongest shades are 0 and 62."""


def network(seed=1, units=3, classes=("a", "<b>", "c")):
    spec = InputSpec(SIDE, SIDE, 1, scaling="unit", classes=classes)
    layers = [Conv2D(1, 3, padding="valid"), ReLU(), Flatten(), Dense(units), ReLU(), Dense(3)]
    return Network(layers, spec, seed=seed)


def images():
    """A dark one and a bright one."""
    drawn = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE))
    return (drawn // np.array([4, 1])[:, None, None]).astype(np.uint8)


def convolved(image, of):
    """y of the first layer, from slices."""
    x, w = image / 255, of.parameters["conv1.w"].astype(np.float64)
    n = SIDE - 2
    y = sum(x[a : a + n, e : e + n] * w[a, e, 0, 0] for a in range(3) for e in range(3))
    return y + float(of.parameters["conv1.b"][0])


def sections(page):
    root = ElementTree.fromstring(page.split("\n", 1)[1])
    return root, {section.get("id"): section for section in root.iter("section")}


def shades_of(section, alt):
    """The palette indices of the pictures with this alternative text."""
    found = []
    for img in section.iter("img"):
        if img.get("alt") == alt:
            content = base64.b64decode(img.get("src").partition("base64,")[2])
            found.append(np.asarray(Image.open(io.BytesIO(content))).astype(int))
    return found


@pytest.mark.kernels
def test_equal_colours_are_equal_numbers():
    of = network()
    page = render_comparison([explain(of, image, "c", n_entries=1) for image in images()])
    _, found = sections(page)
    assert list(found) == ["image", *(step.name for step in of.plan.steps)]
    ys = [convolved(image, of) for image in images()]
    largest = max(np.abs(y).max() for y in ys)
    assert np.abs(ys[0]).max() < 0.5 * largest  # with a scale of its own it would look as strong
    drawn = shades_of(found["conv1"], "y")
    assert len(drawn) == 2
    for y, shade in zip(ys, drawn):
        expected = MIDDLE + np.copysign(np.ceil(np.abs(y / largest) * MIDDLE), y)
        np.testing.assert_array_equal(shade, expected)
    assert len(shades_of(found["relu1"], "dL/dy")) == 2
    # bars: after ReLU, the longest of both images has half of the width, the others in proportion
    z = [np.maximum(y, 0).ravel() @ of.parameters["dense1.w"].astype(float) for y in ys]
    z = np.abs([one + of.parameters["dense1.b"] for one in z])
    bars = [element.get("style") for element in found["dense1"].iter("i")][:6]
    widths = [float(re.search(r"width:([\d.]+)%", style)[1]) for style in bars]
    np.testing.assert_allclose(widths, (50 * z / z.max()).ravel(), atol=0.01)


@pytest.mark.kernels
def test_the_overview_has_the_probabilities_of_each_image():
    of = network()
    explanations = [
        explain(of, image, n_entries=1, image_name=name, image_note=note)
        for image, name, note in zip(images(), ("<1>.png", "2.png"), ("Cut <here>.", ""))
    ]
    root, _ = sections(render_comparison(explanations))
    text = " ".join("".join(root.itertext()).split())
    assert "<1>.png: Cut <here>." in text and "2 images side by side" in text
    rows = {
        row.find("th").text: list(row.iter("td"))
        for row in root.iter("tr")
        if row.find("td") is not None and row.find("th") is not None
    }
    probs = of.predict_proba(images())
    for k, name in enumerate(of.classes):
        shown = [float(cell.text.replace("−", "-")) for cell in rows[name]]
        np.testing.assert_allclose(shown, probs[:, k], rtol=1e-3)


def test_many_units_are_the_same_ones_for_all_images():
    of = network(units=80)
    explanations = [explain(of, image, n_entries=1) for image in images()]
    page = render_comparison(explanations)
    _, found = sections(page)
    assert "the 32 of 80 units with the largest |y|" in "".join(found["dense1"].itertext())
    names = [
        [th.text for th in table.iter("th")]
        for table in found["dense1"].iter("table")
        if table.get("class") == "bars"
    ]
    assert len(names) == 4 and all(one == names[0] for one in names) and len(names[0]) == 32


def test_what_cannot_be_compared():
    one = explain(network(), images()[0], n_entries=1)
    other = explain(network(units=4), images()[0], n_entries=1)
    for some in ([one], [one] * (MAX_IMAGES + 1)):
        with pytest.raises(ValueError, match=f"expected 2 to 6 images, found {len(some)}"):
            render_comparison(some)
    with pytest.raises(ValueError, match="networks of different layers or classes"):
        render_comparison([one, other])


@pytest.mark.kernels
def test_the_command_takes_several_images(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tinycnn.save(network(), "m.safetensors")
    for name, image in zip("ab", images()):
        Image.fromarray(image).save(f"{name}.png")
    argv = ["explain", "m.safetensors", "a.png", "b.png"]
    assert cli.main([*argv, "--json", "--entries", "1"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["page"] == "a-and-1-more-explained.html"
    logits = network().predict_logits(images())
    found = [one["logits"] for one in told["images"]]
    np.testing.assert_allclose(found, logits, rtol=1e-4, atol=1e-5)
    assert "side by side" in (tmp_path / told["page"]).read_text(encoding="utf-8")
    assert cli.main([*argv, "--out", "b.png"]) == 2
    assert "is the input itself" in capsys.readouterr().err
    assert cli.main([*argv, *["a.png"] * 5, "--out", "x.html"]) == 2
    assert "7 images; one page shows up to 6" in capsys.readouterr().err
    assert not (tmp_path / "x.html").exists()
