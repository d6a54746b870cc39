"""Every part of tinycnn that treats kinds of layers differently has an entry for every kind."""

import importlib
import inspect
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from exported import awkward, images_for

from tinycnn import explain
from tinycnn.cli import main
from tinycnn.explain import layer_kinds
from tinycnn.export import c_file, python_file
from tinycnn.formats import onnx as onnx_file
from tinycnn.layers import LAYERS, Layer, ReLU, UnknownLayerError

TABLES = {
    "tinycnn.formats.onnx.NODES": onnx_file.NODES,
    "tinycnn.export.python_file.CALLS": python_file.CALLS,
    "tinycnn.export.c_file.OPERATIONS": c_file.OPERATIONS,
    "tinycnn.explain.layer_kinds.EXPLAINED": layer_kinds.EXPLAINED,
}
"""By the names that their messages give.  The tables of the plan and the reference belong here."""

CONSUMERS = {
    "tinycnn.formats.onnx.NODES": lambda network, folder: onnx_file.save(
        network, folder / "m.onnx"
    ),
    "tinycnn.export.python_file.CALLS": lambda network, folder: python_file.write(
        network, folder / "m.py"
    ),
    "tinycnn.export.c_file.OPERATIONS": lambda network, folder: c_file.write(network, folder),
    "tinycnn.explain.layer_kinds.EXPLAINED": lambda network, folder: explain.write_page(
        folder / "m.html", explain.explain(network, images_for(network)[0])
    ),
}
"""What looks layers up in each table: (network, folder to write into)."""


@dataclass(frozen=True)
class Softsign(Layer):
    """A layer class that tinycnn does not have."""

    stem: ClassVar[str] = "softsign"


def missing_entries(kinds, tables):
    return [
        f"{name} has no entry for {kind.__name__}"
        for kind in kinds
        for name, table in tables.items()
        if kind not in table
    ]


def test_every_kind_of_layer_is_in_every_table():
    missing = missing_entries(LAYERS.values(), TABLES)
    assert not missing, "\n".join(missing)


def test_a_missing_entry_is_named():
    assert missing_entries([ReLU, Softsign], {"a.TABLE": {ReLU: None}, "b.TABLE": {}}) == [
        "b.TABLE has no entry for ReLU",
        "a.TABLE has no entry for Softsign",
        "b.TABLE has no entry for Softsign",
    ]


@pytest.mark.parametrize("name", TABLES)
def test_the_tables_stand_where_their_messages_say(name):
    module, _, attribute = name.rpartition(".")
    assert vars(importlib.import_module(module))[attribute] is TABLES[name]
    assert set(TABLES[name]) == set(LAYERS.values())
    assert f'"{name}"' in inspect.getsource(importlib.import_module(module))


def with_layer(network, kind):
    """The network with layers of class `kind` in place of its ReLUs, where consumers look.  The
    engine knows no such class: logits and probabilities are still those of ReLU."""
    original = awkward("miniature")
    steps = tuple(
        replace(step, layer=kind()) if isinstance(step.layer, ReLU) else step
        for step in network.plan.steps
    )
    network.plan = replace(network.plan, steps=steps)
    network.layers = tuple(step.layer for step in steps)
    network.predict_logits, network.predict_proba = original.predict_logits, original.predict_proba
    return network


@pytest.mark.parametrize("name", CONSUMERS)
def test_an_unknown_layer_is_refused_by_name_before_anything_is_done(tmp_path, monkeypatch, name):
    if "onnx" in name:
        pytest.importorskip("onnx", reason="the extra onnx is not installed")

    def not_yet(*arguments, **options):
        raise AssertionError("something was computed or run before the layer was refused")

    network = with_layer(awkward("miniature"), Softsign)
    network.predict_logits = network.predict_proba = network.scale = not_yet
    for module in (python_file, c_file):
        monkeypatch.setattr(module.subprocess, "run", not_yet)
    with pytest.raises(UnknownLayerError) as raised:
        CONSUMERS[name](network, tmp_path)
    assert str(raised.value).startswith(
        f"{name} has no entry for the layer Softsign: add one, {name}[Softsign] = ..., "
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", CONSUMERS)
def test_the_command_line_says_so_in_one_line(tmp_path, monkeypatch, capsys, caplog, name):
    if "onnx" in name:
        pytest.importorskip("onnx", reason="the extra onnx is not installed")
    np.save(tmp_path / "face.npy", np.zeros((84, 84), np.uint8))
    (tmp_path / "out").mkdir()
    monkeypatch.delitem(TABLES[name], ReLU)
    caplog.set_level("WARNING", "tinycnn")  # restored behind the test: the command sets another
    kinds = {"onnx": "onnx", "python_file": "python", "c_file": "c"}
    kind = kinds.get(name.split(".")[2])
    if kind is None:
        page = str(tmp_path / "out" / "m.html")
        arguments = ["explain", "microexpnet", str(tmp_path / "face.npy"), "--out", page]
    else:
        arguments = ["export", "microexpnet", "--to", kind, "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {name} has no entry for the layer ReLU: add one, ")
    assert list((tmp_path / "out").iterdir()) == []


@dataclass(frozen=True)
class OwnReLU(Layer):
    """A class of the user's own with the arithmetic of ReLU, so that the logits are known."""

    stem: ClassVar[str] = "own"


OWN_RELU_IN_C = """\
static void own_relu(const picture *x)
{
    for (int i = 0; i < x->height; i++)
        for (int k = 0; k < x->width * x->channels; k++)
            x->at[i * x->row + k] = x->at[i * x->row + k] > 0.0F ? x->at[i * x->row + k] : 0.0F;
}
"""

OWN_ENTRIES = {
    "tinycnn.formats.onnx.NODES": lambda graph, step: graph.add("Relu", step.name),
    "tinycnn.export.python_file.CALLS": lambda step: "np.where(x > 0, x, 0)",
    "tinycnn.export.c_file.OPERATIONS": c_file.COperation(
        lambda step, given, relu: f"own_relu(&{given});", source=OWN_RELU_IN_C, in_place=True
    ),
}


@pytest.mark.parametrize("name", OWN_ENTRIES)
def test_an_entry_is_all_that_an_exporter_needs(tmp_path, monkeypatch, name):
    """What is written with the user's own entry answers as the network: the exporter checks it."""
    if "onnx" in name:
        pytest.importorskip("onnx", reason="the extra onnx is not installed")
    monkeypatch.setitem(TABLES[name], OwnReLU, OWN_ENTRIES[name])
    CONSUMERS[name](with_layer(awkward("miniature"), OwnReLU), tmp_path)
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    expected = {"onnx": b"Relu", "python_file": b"np.where", "c_file": b"own_relu(&conv1)"}
    assert expected[name.split(".")[2]] in written
