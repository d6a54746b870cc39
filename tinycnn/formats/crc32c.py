"""CRC-32C (Castagnoli), the checksum of TensorFlow's files, computed with NumPy vectors.

The data are cut into N_LANES parts of one length, the lanes.  Each step advances the CRCs of all
lanes by one byte.  A CRC is linear over XOR, so the lanes can be joined afterwards:
crc(a followed by b) = shift(crc(a), len(b)) ^ crc(b), where shift(crc, n) is what crc becomes after
n zero bytes.  shift is linear too: 32 more lanes of zeros, one for each bit of a CRC, compute it.
"""

from __future__ import annotations

import numpy as np

N_LANES = 1024
LEAST_FOR_LANES = 1 << 16
"""Fewer bytes are read one after another: joining the lanes would take longer."""


def _make_table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> 1) ^ np.where(table & 1, np.uint32(0x82F63B78), np.uint32(0))
    return table


TABLE = _make_table()
_NUMBERS = TABLE.tolist()


def crc32c(data: bytes | memoryview | np.ndarray) -> int:
    """CRC-32C of `data`, bytes or a uint8 array."""
    if isinstance(data, np.ndarray):
        data = np.ascontiguousarray(data)
    values = np.frombuffer(data, np.uint8)
    length = values.size // N_LANES if values.size >= LEAST_FOR_LANES else 0
    crc = 0xFFFFFFFF
    if length:
        lanes = np.zeros((length, N_LANES + 32), np.uint8)
        lanes[:, :N_LANES] = values[: length * N_LANES].reshape(N_LANES, length).T
        state = np.zeros(N_LANES + 32, np.uint32)
        state[N_LANES:] = np.uint32(1) << np.arange(32, dtype=np.uint32)
        for row in lanes:
            state = TABLE[(state ^ row) & 0xFF] ^ (state >> 8)
        shifted_bits = state[N_LANES:].tolist()
        for lane in state[:N_LANES].tolist():
            for bit, shifted in enumerate(shifted_bits):  # lane ^= shift(crc, length)
                if crc >> bit & 1:
                    lane ^= shifted
            crc = lane
    for byte in values[length * N_LANES :].tolist():
        crc = _NUMBERS[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def masked_crc32c(data: bytes | memoryview | np.ndarray) -> int:
    """The CRC as LevelDB and TensorFlow store it: rotated by 15 bits, plus a constant.

    They mask it because a CRC of data that contain a CRC detects errors less well.
    """
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
