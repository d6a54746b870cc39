"""CRC-32C against published values and against its definition, bit by bit."""

import numpy as np
import pytest
from tf_bundle import crc_by_bits

from tinycnn.formats import crc32c as module
from tinycnn.formats.crc32c import LEAST_FOR_LANES, N_LANES, crc32c, masked_crc32c

# RFC 3720, appendix B.4; "123456789" is the usual test input of a CRC
PUBLISHED = {
    b"": 0,
    b"123456789": 0xE3069283,
    bytes(32): 0x8A9136AA,
    b"\xff" * 32: 0x62A8AB43,
    bytes(range(32)): 0x46DD794E,
    bytes(range(31, -1, -1)): 0x113FDB5C,
}


@pytest.mark.parametrize("data", PUBLISHED)
def test_published_values(data):
    assert crc32c(data) == PUBLISHED[data]


@pytest.mark.parametrize("size", [1, N_LANES - 1, N_LANES, N_LANES + 1, 3 * N_LANES + 17])
def test_the_parallel_computation_equals_the_definition(monkeypatch, size):
    monkeypatch.setattr(module, "LEAST_FOR_LANES", 0)
    data = np.random.default_rng(size).bytes(size)
    assert crc32c(data) == crc_by_bits(data)
    assert crc32c(np.frombuffer(data, np.uint8)) == crc32c(memoryview(data)) == crc32c(data)


@pytest.mark.parametrize("size", [LEAST_FOR_LANES - 1, LEAST_FOR_LANES, LEAST_FOR_LANES + 1])
def test_both_ways_equal_the_definition(size):
    data = np.random.default_rng(size).bytes(size)
    assert crc32c(data) == crc_by_bits(data)


def test_every_changed_bit_changes_the_checksum(monkeypatch):
    data = bytearray(np.random.default_rng(0).bytes(2 * N_LANES + 5))
    monkeypatch.setattr(module, "LEAST_FOR_LANES", 0)
    right = crc32c(data)
    for at in range(0, len(data), 41):
        data[at] ^= 1 << at % 8
        assert crc32c(data) != right, at
        data[at] ^= 1 << at % 8


def test_the_mask():
    """LevelDB's own test: the CRC of "foo", rotated by 15 bits, plus a constant."""
    crc = crc_by_bits(b"foo")
    rotated = int(f"{crc:032b}"[-15:] + f"{crc:032b}"[:-15], 2)
    assert masked_crc32c(b"foo") == (rotated + 0xA282EAD8) % 2**32 != crc
