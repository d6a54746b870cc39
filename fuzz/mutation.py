"""Damaged copies of good files."""

from __future__ import annotations

import numpy as np

HOSTILE = [0, 1, 127, 128, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63, 2**64 - 1]
HOSTILE_TEXTS = [b"-1", b"1e999", b"NaN", b"9" * 400, b"\0", b"\xff", b'"', b"[" * 2000, b"../"]
HOSTILE_TEXTS += [b"{}", b"[]", b"null", b"true", b"\n", b",", b"\xed\xa0\x80"]
KINDS = ["bit", "byte", "cut", "part", "insert", "double", "u32", "u64", "varint", "text"]


def varint(value: int) -> bytes:
    """A whole number, encoded as in protobuf."""
    out = b""
    while value > 127:
        out, value = out + bytes([value % 128 + 128]), value // 128
    return out + bytes([value])


def mutated(good: bytes, rng: np.random.Generator) -> bytes:
    """A copy of `good` with one to five random damages, each of one of KINDS.

    bit     a flipped bit;  byte: a random byte
    cut     the end is missing;  part: a part is missing
    insert  random bytes are inserted;  double: a part is repeated
    u32, u64, varint  some bytes are replaced by a number of HOSTILE, as a wrong length field
    text    some bytes are replaced by a text of HOSTILE_TEXTS
    """
    content = bytearray(good)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        if not content:
            break
        # prefer both ends of the file: there many formats have their headers
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
