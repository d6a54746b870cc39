"""Without Numba, commands go on in NumPy to the end, and say once what is not done."""

import json
import sys

import pytest
from attack_commands import small_face, small_model

import tinycnn.backend_choice
import tinycnn.cli

GONE_ON = pytest.mark.filterwarnings("ignore:tinycnn computes with NumPy")


@pytest.fixture(params=["missing", "TINYCNN_BACKEND"])
def without_kernels(request, monkeypatch):
    monkeypatch.setattr(tinycnn.backend_choice, "_failures", [])
    monkeypatch.setenv("TINYCNN_BACKEND", "auto" if request.param == "missing" else "numpy")
    for name in [name for name in sys.modules if name.startswith("tinycnn.kernels")]:
        monkeypatch.delitem(sys.modules, name)
        monkeypatch.delattr(tinycnn, "kernels", raising=False)
    for name in ("numba", "llvmlite", "llvmlite.binding"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it raises ImportError


@GONE_ON
def test_explain_leaves_the_kernels_out(without_kernels, tmp_path, capsys):
    model, face = small_model(tmp_path / "m.safetensors"), small_face(tmp_path / "f.png")
    page = tmp_path / "page.html"
    argv = ["explain", str(model), str(face), "--out", str(page), "--json"]
    assert tinycnn.cli.main(argv) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kernels_differ_from_reference_by"] == {} and found["n_agreeing"] > 10
    text = page.read_text(encoding="utf-8")
    assert text.count("The compiled kernels cannot be used here") == 2
    assert "compiled kernels give the same" not in text


@GONE_ON
def test_gradcheck_checks_the_reference(without_kernels, tmp_path, capsys):
    model = small_model(tmp_path / "m.safetensors")
    assert tinycnn.cli.main(["gradcheck", str(model), "--json"]) == 0
    out, error = capsys.readouterr()
    found = json.loads(out)
    assert {check["backend"] for check in found["checks"]} == {"numpy"} == {*found["backends"]}
    assert error == "note: the kernels are not checked, as they cannot be used here\n"
    assert tinycnn.cli.main(["gradcheck", str(model)]) == 0
    out = capsys.readouterr().out
    assert "reference" in out and "kernels" not in out and "FAILED" not in out
