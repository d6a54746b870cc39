"""`tinycnn explain` shows every kind of layer with its equations and with pictures or bars."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from tinycnn import Dense, Flatten, InputSpec, Network
from tinycnn.explain import explain, render_page
from tinycnn.layers import LAYERS, ReLU, ScaleShift

SHAPE = (6, 5, 2)
ARGUMENTS = {
    "Conv2D": (3, 3),
    "DepthwiseConv2D": (3,),
    "MaxPool2D": (2,),
    "AveragePool2D": (2,),
    "Dense": (4,),
    "Dropout": (0.5,),
    "SpatialDropout2D": (0.5,),
    "Residual": ([ReLU(), ScaleShift()],),
}
LEFT_OUT = ("Dropout", "SpatialDropout2D")
SHOWN_AS = {"BatchNorm": "scale1", "Residual": "residual1.add"}


@pytest.mark.kernels
@pytest.mark.parametrize("kind", LAYERS)
def test_the_page_shows_the_layer(kind):
    layer = LAYERS[kind](*ARGUMENTS.get(kind, ()))
    first = [Flatten()] if kind == "Dense" else []
    network = Network(
        [*first, layer, Flatten(), Dense(3)], InputSpec(*SHAPE, scaling="unit"), seed=2
    )
    image = np.random.default_rng(3).integers(0, 256, SHAPE, dtype=np.uint8)
    explanation = explain(network, image, n_entries=1)
    assert explanation.agrees
    root = ElementTree.fromstring(render_page(explanation).split("\n", 1)[1])
    sections = {section.get("id"): section for section in root.iter("section")}
    names = [s.name for s in network.plan.steps if type(s.layer).__name__ == kind]
    name = SHOWN_AS.get(kind) or names[0]
    if kind in LEFT_OUT:
        notes = [p.text for p in root.iter("p") if p.get("class") == "note"]
        assert notes == ["Dropout is left out, as in prediction."] and name not in sections
        return
    section = sections[name]
    assert len([p for p in section.iter("p") if p.get("class") == "formula"]) >= 2
    pictures = {img.get("alt") for img in section.iter("img")}
    bars = {div.find("h4").text for div in section.iter("div") if div.find("h4") is not None}
    numbers = " ".join("".join(card.itertext()) for card in section.iter("div"))
    for title in ("y", "dL/dy"):
        assert title in pictures | bars or f"{title} " in numbers, f"{name} shows no {title}"
    assert pictures or bars
    if kind == "Flatten":  # a bar for each value of the image, row by row
        cells = [cell.text for cell in section.iter("td") if cell.get("class") == "n"]
        shown = [float(text.replace("−", "-")) for text in cells[: image.size]]
        np.testing.assert_allclose(shown, image.ravel() / 255, rtol=1e-3)
