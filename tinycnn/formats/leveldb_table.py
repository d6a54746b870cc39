"""Reads a table in the format of LevelDB: sorted keys with values, in blocks with checksums.

    data blocks... | metaindex block | index block | footer (48 bytes)
    block   entries, restart positions (uint32 each), their number (uint32)
    after a block: 1 byte that names the compression, masked CRC-32C of block and byte (uint32)
    entry   varints n_shared, n_own, n_value; n_own bytes of the key; n_value bytes of the value.
            The key begins with the first n_shared bytes of the key before it
    footer  handles (varints offset, size) of metaindex and index, zeros, the magic number

https://github.com/google/leveldb/blob/main/doc/table_format.md
"""

from __future__ import annotations

from collections.abc import Iterator

from .crc32c import masked_crc32c
from .protobuf import DamagedData, read_varint

MAGIC = 0xDB4775248B80FB57
FOOTER_SIZE, TRAILER_SIZE = 48, 5
MAX_KEY_SIZE = 1024


def read_table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (key, value) in the order of the keys; the checksum of every block is verified.

    Time and memory stay in proportion to the size of `data`, however damaged: blocks that overlap,
    keys out of order and keys longer than MAX_KEY_SIZE are refused.  Raises DamagedData.
    """
    if len(data) < FOOTER_SIZE or int.from_bytes(data[-8:], "little") != MAGIC:
        raise DamagedData("its last 8 bytes are not those of a checkpoint index")
    footer = data[-FOOTER_SIZE:]
    _, _, at = _read_handle(footer, 0)  # the metaindex, which is not needed
    offset, size, _ = _read_handle(footer, at)
    last_key, end = None, 0
    for _, handle in _entries(_read_block(data, offset, size, "index block")):
        offset, size, _ = _read_handle(handle, 0)
        if offset < end:
            raise DamagedData(f"the block at byte {offset} overlaps another")
        end = offset + size + TRAILER_SIZE
        for key, value in _entries(_read_block(data, offset, size, "block")):
            if last_key is not None and key <= last_key:
                raise DamagedData(f"keys out of order: {key!r} after {last_key!r}")
            last_key = key
            yield key, value


def _read_handle(data: bytes, at: int) -> tuple[int, int, int]:
    """(offset, size, position after the handle)."""
    offset, at = read_varint(data, at)
    size, at = read_varint(data, at)
    return offset, size, at


def _read_block(data: bytes, offset: int, size: int, what: str) -> bytes:
    where = f"the {what} at byte {offset}"
    if offset + size + TRAILER_SIZE > len(data) - FOOTER_SIZE:
        raise DamagedData(f"{where} with {size} bytes ends after the end of the file")
    block = data[offset : offset + size + 1]
    stored = int.from_bytes(data[offset + size + 1 : offset + size + TRAILER_SIZE], "little")
    if masked_crc32c(block) != stored:
        raise DamagedData(f"the checksum of {where} does not match")
    compression = block[-1]
    if compression != 0:
        name = "Snappy" if compression == 1 else f"method {compression}"
        raise DamagedData(f"{where} is compressed with {name}; only uncompressed ones are read")
    return block[:-1]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    if len(block) < 4:
        raise DamagedData("a block has no restart positions")
    end = len(block) - 4 - 4 * int.from_bytes(block[-4:], "little")
    if end < 0:
        raise DamagedData("a block has more restart positions than bytes")
    at, key = 0, b""
    while at < end:
        n_shared, at = read_varint(block, at)
        n_own, at = read_varint(block, at)
        n_value, at = read_varint(block, at)
        if n_shared > len(key) or n_own + n_value > end - at:
            raise DamagedData("an entry is longer than its block")
        if n_shared + n_own > MAX_KEY_SIZE:
            raise DamagedData(f"a key has more than {MAX_KEY_SIZE} bytes")
        key = key[:n_shared] + block[at : at + n_own]
        at += n_own + n_value
        yield key, block[at - n_value : at]
