"""The arena of a C program: values that are needed at the same time do not share memory."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_networks import ENGINE_NETWORKS
from test_quantized import network_and_images

from tinycnn.export.c_arena import Buffer, most_alive, place
from tinycnn.export.c_quantized_calls import calls_of, places_of
from tinycnn.plan import NETWORK_INPUT


def overlap(buffers, arena):
    """Pairs of buffers that share a byte while both are needed."""
    return [
        (one, other)
        for one, other in itertools.combinations(buffers, 2)
        if max(one.first, other.first) <= min(one.last, other.last)
        and arena.offsets[one.name] < arena.offsets[other.name] + other.n_bytes
        and arena.offsets[other.name] < arena.offsets[one.name] + one.n_bytes
    ]


ROWS = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 8), st.integers(0, 4)), max_size=9)


@given(ROWS)
def test_no_two_values_share_memory(rows):
    buffers = [Buffer(str(k), n, first, first + d) for k, (n, first, d) in enumerate(rows)]
    arena = place(buffers)
    assert not overlap(buffers, arena)
    ends = [arena.offsets[b.name] + b.n_bytes for b in buffers]
    assert arena.n_bytes == max(ends, default=0) and min(arena.offsets.values(), default=0) >= 0
    assert most_alive(buffers) <= arena.n_bytes <= sum(b.n_bytes for b in buffers)


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=12))
def test_a_chain_of_layers_needs_its_two_largest_neighbours(sizes):
    buffers = [Buffer(str(k), n, k, k + 1) for k, n in enumerate(sizes)]
    assert place(buffers).n_bytes == max(map(sum, itertools.pairwise(sizes)))


def test_by_size_alone_leaves_a_gap():
    """10, 6, 3, 8 by size: 3 meets 6 and 8 and ends up above both.  16 bytes are enough."""
    buffers = [Buffer(str(k), n, k, k + 1) for k, n in enumerate((10, 6, 3, 8))]
    assert most_alive(buffers) == 16 == place(buffers).n_bytes


@pytest.mark.parametrize("name", ENGINE_NETWORKS)
def test_values_stay_until_they_were_read(name):
    """Calls are followed byte by byte: what a call reads must be what was written there last."""
    network, images = network_and_images(name, backend="numpy")
    program = network.quantized(images).program
    calls = calls_of(program)
    places = places_of(program, calls, is_image=False)
    memory = np.full(places.n_bytes, -99)

    def at(number):
        offset = places.values[number].removeprefix("arena").removeprefix(" + ")
        start = int(offset or 0)
        return slice(start, start + int(np.prod(program.shape(number))))

    memory[at(NETWORK_INPUT)] = NETWORK_INPUT
    for call in calls:
        for number in call.inputs:
            assert (memory[at(number)] == number).all()
        if call.number in places.rows:
            start = int(places.rows[call.number].removeprefix("arena").removeprefix(" + ") or 0)
            memory[start : start + call.n_row_bytes] = -50
            for number in call.inputs:
                assert (memory[at(number)] == number).all()
        if call.operation.output is not None:
            memory[at(call.number)] = call.number
            if call.operation.kind not in ("table", "add"):
                for number in call.inputs:
                    assert (memory[at(number)] == number).all()
        if call.number in places.rows:
            assert (memory[start : start + call.n_row_bytes] == -50).all()
    last = len(program.operations) - 1
    if program.operations[last].output is not None and program.operations[last].kind != "copy":
        assert (memory[at(last)] == last).all()
