"""The C program in integers alone on boards that QEMU emulates: the integers of NumPy."""

import sys
from pathlib import Path

import numpy as np
import pytest
from small_networks import SMALL_NETWORKS

import tinycnn
from tinycnn.export import c_compiler, c_file

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # benchmarks is not installed

from benchmarks.microcontroller import boards, report  # noqa: E402

LIBRARY_OF_INTEGERS = {
    *("__aeabi_uldivmod", "__udivdi3", "__ashldi3", "__ashrdi3", "__lshrdi3", "memset", "memcpy")
}
"""Functions that a compiler for 32 bits calls for integers of 64 bits."""


def quantized_network(layers, shape, scaling):
    spec = tinycnn.InputSpec(*shape, scaling=scaling)
    network = tinycnn.Network(layers, spec, backend="numpy", seed=4)
    network.initialise(np.random.default_rng(4), bias_std=0.3)
    return network.quantized(boards.drawn_images(4, shape))


@pytest.mark.parametrize("name", boards.BOARDS)
def test_a_board_computes_the_same_integers(tmp_path, monkeypatch, name):
    board = boards.BOARDS[name]
    if board.missing:
        pytest.skip(f"not installed: {', '.join(board.missing)}")
    layers, shape = SMALL_NETWORKS["miniature" if name != "m55" else "depthwise_separable"]
    quantized = quantized_network(layers, shape, "standardized")
    monkeypatch.setattr(c_compiler, "compiler", lambda: None)
    program = c_file.write(quantized, tmp_path, "net", integer_only=True)
    found = boards.run(board, tmp_path, n_images=2)
    images = boards.drawn_images(2, shape)
    np.testing.assert_array_equal(found.logits, quantized.predict_integer_logits(images).values)
    assert set(found.symbols) <= LIBRARY_OF_INTEGERS, "a function for floats is called"
    assert found.n_ram_bytes >= program.n_static_bytes
    assert found.n_flash_bytes > program.n_constant_bytes
    assert 0 < found.n_stack_bytes < 2000


def test_a_program_that_does_not_compile_is_reported(tmp_path):
    board = boards.BOARDS["m4"]
    if board.missing:
        pytest.skip(f"not installed: {', '.join(board.missing)}")
    (tmp_path / "net.c").write_text("not C")
    with pytest.raises(RuntimeError, match="arm-none-eabi-gcc"):
        boards.run(board, tmp_path)


def test_the_table_has_a_row_for_each_board():
    result = boards.Result(np.zeros((1, 2), np.int32), 2_853_248, 700, 68_321, 14_784, ())
    text = report.table({"m4": result, "m3": result._replace(n_instructions=0)}, 2_853_248)
    rows = text.splitlines()
    assert "| Cortex-M4 | 68,321 | 14,784 | 700 | 2,853,248 | 1.00 |" in rows
    assert "| Cortex-M3 | 68,321 | 14,784 | 700 | - | - |" in rows
