"""Every part of tinycnn that treats kinds of layers differently has an entry for every kind."""

import importlib
import inspect
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from exported import awkward, images_for
from small_networks import SMALL_NETWORKS

from tinycnn import CustomLayer, InputSpec, Network, explain, reference_backend
from tinycnn.cli import main
from tinycnn.explain import layer_kinds
from tinycnn.explain.formulas import Formula, Formulas
from tinycnn.export import c_compiler, c_file, c_operations, python_file
from tinycnn.formats import onnx as onnx_file
from tinycnn.layers import STEP_LAYERS, BatchNorm, Layer, ReLU, UnknownLayerError
from tinycnn.quantized import program as quantized_program

TABLES = {
    "tinycnn.reference_backend.PASSES": reference_backend.PASSES,
    "tinycnn.formats.onnx.NODES": onnx_file.NODES,
    "tinycnn.export.python_file.CALLS": python_file.CALLS,
    "tinycnn.export.c_operations.OPERATIONS": c_operations.OPERATIONS,
    "tinycnn.explain.layer_kinds.EXPLAINED": layer_kinds.EXPLAINED,
    "tinycnn.quantized.program.KINDS": quantized_program.KINDS,
}
"""Every table that is keyed by the layer's class, by the name that its error message gives."""

CONSUMERS = {
    "tinycnn.reference_backend.PASSES": lambda network, folder: network.forward(
        np.zeros((1, *network.input_spec.shape), np.float32)
    ),
    "tinycnn.formats.onnx.NODES": lambda network, folder: onnx_file.save(
        network, folder / "m.onnx"
    ),
    "tinycnn.export.python_file.CALLS": lambda network, folder: python_file.write(
        network, folder / "m.py"
    ),
    "tinycnn.export.c_operations.OPERATIONS": lambda network, folder: c_file.write(network, folder),
    "tinycnn.explain.layer_kinds.EXPLAINED": lambda network, folder: explain.write_page(
        folder / "m.html", explain.explain(network, images_for(network)[0])
    ),
    "tinycnn.quantized.program.KINDS": lambda network, folder: network.quantized(
        images_for(network)
    ),
}
"""What looks layers up in each table, as a function of a network and a folder to write into."""

try:
    from tinycnn.kernels import operations, table
except ImportError:  # without Numba there are no kernels
    pass
else:
    TABLES["tinycnn.kernels.operations.RECORDS"] = operations.RECORDS
    CONSUMERS["tinycnn.kernels.operations.RECORDS"] = lambda network, folder: table.make_operations(
        network.plan, np.dtype(np.float32)
    )

COMMANDS = {
    "tinycnn.formats.onnx.NODES": ["export", "microexpnet", "--to", "onnx"],
    "tinycnn.export.python_file.CALLS": ["export", "microexpnet", "--to", "python"],
    "tinycnn.export.c_operations.OPERATIONS": ["export", "microexpnet", "--to", "c"],
    "tinycnn.explain.layer_kinds.EXPLAINED": ["explain", "microexpnet", "face.npy"],
}
"""Commands that look layers up in each table; the output file follows."""

ENDINGS = {"onnx": ".onnx", "python": ".py", "c": ".c", "face.npy": ".html"}


def need_package(name):
    if "onnx" in name:
        pytest.importorskip("onnx", reason="the extra onnx is not installed")


# ---- every entry -----------------------------------------------------------------------------


OF_FOLDED_NETWORKS = (
    "tinycnn.formats.onnx.NODES",
    "tinycnn.export.python_file.CALLS",
    "tinycnn.export.c_operations.OPERATIONS",
    "tinycnn.explain.layer_kinds.EXPLAINED",
    "tinycnn.quantized.program.KINDS",
)
"""Tables that need no entry for BatchNorm: exporters fold it into other layers; `explain` replaces
it by a ScaleShift."""


def missing_entries(kinds, tables):
    return [
        f"{name} has no entry for {kind.__name__}"
        for kind in kinds
        for name, table in tables.items()
        if kind not in table and not (kind is BatchNorm and name in OF_FOLDED_NETWORKS)
    ]


def test_every_kind_of_layer_is_in_every_table():
    missing = missing_entries(STEP_LAYERS, TABLES)
    assert not missing, "\n".join(missing)


def test_a_missing_entry_is_named():
    tables = {"a.TABLE": {ReLU: None}, "b.TABLE": {}}
    assert missing_entries([ReLU, Softsign], tables) == [
        "b.TABLE has no entry for ReLU",
        "a.TABLE has no entry for Softsign",
        "b.TABLE has no entry for Softsign",
    ]


@pytest.mark.parametrize("name", TABLES)
def test_the_error_messages_name_the_tables_correctly(name):
    module, _, attribute = name.rpartition(".")
    assert vars(importlib.import_module(module))[attribute] is TABLES[name]
    package = Path(inspect.getfile(importlib.import_module(module))).parent
    sources = [path.read_text(encoding="utf-8") for path in package.glob("*.py")]
    assert any(f'"{name}"' in source for source in sources)


# ---- a layer without an entry ----------------------------------------------------------------


@dataclass(frozen=True)
class Softsign(Layer):
    """A layer class that no part of tinycnn knows."""

    stem: ClassVar[str] = "softsign"


def with_softsign():
    """A network with Softsign in place of ReLU: in its plan, as no plan is made from it."""
    network = awkward("miniature")
    steps = tuple(
        replace(step, layer=Softsign()) if isinstance(step.layer, ReLU) else step
        for step in network.plan.steps
    )
    network.plan = replace(network.plan, steps=steps)
    network.layers = tuple(step.layer for step in steps)
    return network


@pytest.mark.parametrize("name", CONSUMERS)
def test_an_unknown_layer_is_refused_by_name_before_anything_is_done(tmp_path, monkeypatch, name):
    need_package(name)

    def not_yet(*arguments, **options):
        raise AssertionError("something was computed or run before the layer was refused")

    network = with_softsign()
    network.predict_logits = network.predict_proba = network.scale = not_yet
    for module in (python_file, c_compiler):
        monkeypatch.setattr(module.subprocess, "run", not_yet)
    with pytest.raises(UnknownLayerError) as raised:
        CONSUMERS[name](network, tmp_path)
    assert str(raised.value).startswith(
        f"{name} has no entry for the layer Softsign: add one, {name}[Softsign] = ..., "
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", COMMANDS)
def test_the_command_line_refuses_it_in_one_line(tmp_path, monkeypatch, capsys, caplog, name):
    need_package(name)
    monkeypatch.chdir(tmp_path)
    np.save("face.npy", np.zeros((84, 84), np.uint8))
    monkeypatch.delitem(TABLES[name], ReLU)
    caplog.set_level("WARNING", "tinycnn")  # restored after the test: the command changes it
    assert main([*COMMANDS[name], "--out", f"out{ENDINGS[COMMANDS[name][-1]]}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {name} has no entry for the layer ReLU: add one, ")
    assert [path.name for path in tmp_path.iterdir()] == ["face.npy"]


# ---- entries for a class of the user's own ---------------------------------------------------


@dataclass(frozen=True)
class OwnReLU(CustomLayer):
    """max(x, 0), as a user would write it."""

    def forward(self, x, parameters):
        return np.maximum(x, 0)

    def backward(self, x, y, dy, parameters):
        return np.where(x > 0, dy, 0), {}


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
    "tinycnn.export.c_operations.OPERATIONS": c_operations.COperation(
        lambda step, given, relu: f"own_relu(&{given});", source=OWN_RELU_IN_C, in_place=True
    ),
    "tinycnn.explain.layer_kinds.EXPLAINED": layer_kinds.Explained(
        Formulas("own ReLU", "What a user says of it.", (Formula("y[k] = max(x[k], 0)"),)),
        choices=lambda x, y, kept: y > 0,
    ),
}
WRITTEN = {
    "tinycnn.formats.onnx.NODES": b"Relu",
    "tinycnn.export.python_file.CALLS": b"np.where(x > 0, x, 0)",
    "tinycnn.export.c_operations.OPERATIONS": b"own_relu(&conv1);",
    "tinycnn.explain.layer_kinds.EXPLAINED": b"What a user says of it.",
}


@pytest.mark.parametrize("name", OWN_ENTRIES)
def test_one_entry_is_enough_for_a_layer_of_the_users_own(tmp_path, monkeypatch, name):
    """The exporters compare what they write with the network's own logits."""
    need_package(name)
    layers, (H, W, C) = SMALL_NETWORKS["miniature"]
    layers = [OwnReLU() if isinstance(layer, ReLU) else layer for layer in layers]
    network = Network(layers, InputSpec(H, W, C, scaling="unit"), backend="numpy", seed=4)
    with pytest.raises(UnknownLayerError, match=f"{name} has no entry for the layer OwnReLU"):
        CONSUMERS[name](network, tmp_path)
    monkeypatch.setitem(TABLES[name], OwnReLU, OWN_ENTRIES[name])
    CONSUMERS[name](network, tmp_path)
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert WRITTEN[name] in written


def test_the_gradients_of_an_explained_layer_are_checked(monkeypatch):
    name = "tinycnn.explain.layer_kinds.EXPLAINED"
    monkeypatch.setitem(TABLES[name], OwnReLU, OWN_ENTRIES[name])
    layers, (H, W, C) = SMALL_NETWORKS["miniature"]
    layers = [OwnReLU() if isinstance(layer, ReLU) else layer for layer in layers]
    network = Network(layers, InputSpec(H, W, C, scaling="unit"), backend="numpy", seed=4)
    explanation = explain.explain(network, images_for(network)[0])
    assert explanation.agrees
    assert sum(probe.verdict == "agrees" for probe in explanation.probes) > 20
