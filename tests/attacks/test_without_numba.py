"""Without the kernels, commands go on in NumPy to the end, and say what is not done.

`test_commands_that_check_kernels_go_on_without_numba` in test_cli.py does the same in a process
that has no Numba.
"""

import json

import pytest
from attack_commands import small_face, small_model

import tinycnn.cli


@pytest.fixture(autouse=True)
def without_kernels(monkeypatch):
    monkeypatch.setenv("TINYCNN_BACKEND", "numpy")


def test_explain_leaves_the_kernels_out(tmp_path, capsys):
    model, face = small_model(tmp_path / "m.safetensors"), small_face(tmp_path / "f.png")
    page = tmp_path / "page.html"
    argv = ["explain", str(model), str(face), "--out", str(page), "--json"]
    assert tinycnn.cli.main(argv) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kernels_differ_from_reference_by"] == {} and found["n_agreeing"] > 10
    text = page.read_text(encoding="utf-8")
    assert text.count("The compiled kernels cannot be used here") == 2
    assert "compiled kernels give the same" not in text


def test_gradcheck_checks_the_reference(tmp_path, capsys):
    model = small_model(tmp_path / "m.safetensors")
    assert tinycnn.cli.main(["gradcheck", str(model), "--json"]) == 0
    out, error = capsys.readouterr()
    found = json.loads(out)
    assert {check["backend"] for check in found["checks"]} == {"numpy"} == {*found["backends"]}
    assert error == "note: the kernels are not checked, as they cannot be used here\n"
    assert tinycnn.cli.main(["gradcheck", str(model)]) == 0
    out = capsys.readouterr().out
    assert "reference" in out and "kernels" not in out and "FAILED" not in out
