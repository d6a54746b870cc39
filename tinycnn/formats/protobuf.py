"""Reads protobuf messages: a message is a sequence of fields (number, wire type, value).

https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


Buffer = TypeVar("Buffer", bytes, memoryview)


class DamagedData(ValueError):
    """Bytes are damaged, or not in the format that they should have."""


def read_varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """(value, position after it) of the varint at position `at`; the value is below 2**64.

    Raises DamagedData.
    """
    value = 0
    for k in range(10):
        if at + k >= len(data):
            raise DamagedData("a number is cut off")
        value |= (data[at + k] & 127) << 7 * k
        if data[at + k] < 128:
            if value >= 1 << 64:
                break
            return value, at + k + 1
    raise DamagedData("a number has more than 64 bits")


def fields(message: Buffer) -> Iterator[tuple[int, int, int | Buffer]]:
    """(number, wire type, value) of each field; the value is a part of `message` for BYTES, else an
    int.

    Raises DamagedData where a field is cut off or of an unknown wire type.
    """
    at = 0
    while at < len(message):
        key, at = read_varint(message, at)
        number, wire_type = key >> 3, key & 7
        value: int | Buffer
        if wire_type == VARINT:
            value, at = read_varint(message, at)
        else:
            if wire_type == BYTES:
                size, at = read_varint(message, at)
            elif wire_type in (FIXED32, FIXED64):
                size = 4 if wire_type == FIXED32 else 8
            else:
                raise DamagedData(f"field {number} has the unknown wire type {wire_type}")
            if size > len(message) - at:
                raise DamagedData(f"field {number} is cut off")
            value = message[at : at + size]
            if wire_type != BYTES:
                value = int.from_bytes(value, "little")
            at += size
        yield number, wire_type, value
