"""Damaged copies of good files, from a seed."""

from __future__ import annotations

import numpy as np

HOSTILE = [0, 1, 127, 128, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63, 2**64 - 1]
HOSTILE_TEXTS = [b"-1", b"1e999", b"NaN", b"9" * 400, b"\0", b"\xff", b'"', b"[" * 2000, b"../"]
HOSTILE_TEXTS += [b"{}", b"[]", b"null", b"true", b"\n", b",", b"\xed\xa0\x80"]
KINDS = ["bit", "byte", "cut", "part", "insert", "double", "u32", "u64", "varint", "text"]


def varint(value: int) -> bytes:
    """A whole number as protobuf writes it."""
    out = b""
    while value > 127:
        out, value = out + bytes([value % 128 + 128]), value // 128
    return out + bytes([value])


def mutated(good: bytes, rng: np.random.Generator) -> bytes:
    """good with one or a few of: bits flipped, bytes set, the end or a part cut off, bytes put in
    or doubled, a length field's worth of bytes replaced by a hostile number, or by hostile text."""
    content = bytearray(good)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        if not content:
            break
        # headers stand at the beginning and at the end of many formats
        edge = int(rng.choice([12, 100, 1000, len(content)]))
        at = int(rng.integers(0, min(edge, len(content))))
        at = at if rng.integers(2) else len(content) - 1 - at
        number = HOSTILE[int(rng.integers(len(HOSTILE)))]
        kind = rng.choice(KINDS)
        if kind == "bit":
            content[at] ^= 1 << int(rng.integers(8))
        elif kind == "byte":
            content[at] = int(rng.integers(256))
        elif kind == "cut":
            del content[at:]
        elif kind == "part":
            del content[at : at + int(rng.integers(1, 50))]
        elif kind == "insert":
            content[at:at] = rng.bytes(int(rng.integers(1, 20)))
        elif kind == "double":
            content[at:at] = content[at : at + int(rng.integers(1, 50))]
        elif kind == "varint":
            hostile = varint(number)
            content[at : at + int(rng.choice([1, 2, len(hostile)]))] = hostile
        elif kind == "text":
            hostile = HOSTILE_TEXTS[int(rng.integers(len(HOSTILE_TEXTS)))]
            content[at : at + int(rng.integers(0, 5))] = hostile
        else:
            size = 4 if kind == "u32" else 8
            content[at : at + size] = (number % 2 ** (8 * size)).to_bytes(size, "little")
    return bytes(content)
