"""Writes TensorFlow checkpoints for the tests: an independent, minimal version of the format.

Checksums are computed bit by bit from the definition.  A block holds `per_block` entries, and each
key stores only what it does not share with the key before it.
"""

import struct
from pathlib import Path

import numpy as np

NUMBERS = {"float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int64": 9, "bool": 10}
NUMBERS |= {"float16": 19, "uint16": 17}


def crc_by_bits(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc_by_bits(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value % 128 + 128])
        value //= 128
    return out + bytes([value])


def number(field, value):
    return varint(field * 8) + varint(value)


def nested(field, content):
    return varint(field * 8 + 2) + varint(len(content)) + content


def header(n_shards=1, endianness=0):
    """BundleHeaderProto with version {producer: 1}."""
    message = number(1, n_shards) + (number(2, endianness) if endianness else b"")
    return message + nested(3, number(1, 1))


def entry(dtype, shape, shard, offset, size, crc, extra=b""):
    """BundleEntryProto; fields that are zero are left out, as protobuf does."""
    dims = b"".join(nested(2, number(1, n)) for n in shape)
    message = number(1, dtype) + nested(2, dims)
    message += b"".join(number(f, v) for f, v in ((3, shard), (4, offset), (5, size)) if v)
    return message + varint(6 * 8 + 5) + struct.pack("<I", crc) + extra


def block(pairs, interval=16):
    """A block: entries, restart points, their number, the mark of no compression, the checksum."""
    content, restarts, before = b"", [], b""
    for k, (key, value) in enumerate(pairs):
        if k % interval == 0:
            restarts.append(len(content))
            before = b""
        n = 0
        while n < min(len(key), len(before)) and key[n] == before[n]:
            n += 1
        content += varint(n) + varint(len(key) - n) + varint(len(value)) + key[n:] + value
        before = key
    content += b"".join(struct.pack("<I", r) for r in restarts or [0])
    content += struct.pack("<I", len(restarts or [0])) + b"\0"
    return content + struct.pack("<I", masked(content))


def table(pairs, per_block=100):
    """The whole index file for sorted (key, value) pairs."""
    content, handles = b"", []
    for k in range(0, len(pairs), per_block):
        part = block(pairs[k : k + per_block])
        handles.append(
            (pairs[k : k + per_block][-1][0], varint(len(content)) + varint(len(part) - 5))
        )
        content += part
    places = []
    for part in (block([]), block(handles, interval=1)):
        places += [varint(len(content)), varint(len(part) - 5)]
        content += part
    return content + b"".join(places).ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def entries_of(tensors, n_shards=1):
    """({name: entry}, content of each data file); the tensors go to the data files in turn."""
    entries, files = {}, [b""] * n_shards
    for k, name in enumerate(sorted(tensors)):
        tensor = np.asarray(tensors[name])
        data, shard = tensor.tobytes(), k % n_shards
        place = (shard, len(files[shard]), len(data), masked(data))
        entries[name] = entry(NUMBERS[tensor.dtype.name], tensor.shape, *place)
        files[shard] += data
    return entries, files


def write(prefix, tensors, n_shards=1, per_block=100, entries=None, head=None):
    """Write PREFIX.index and its data files.  entries: {name: message} replaces entries by other
    messages; None leaves the tensor out."""
    true_entries, files = entries_of(tensors, n_shards)
    merged = {**true_entries, **(entries or {})}
    pairs = [(n.encode(), message) for n, message in sorted(merged.items()) if message is not None]
    content = table([(b"", header(n_shards) if head is None else head), *pairs], per_block)
    Path(f"{prefix}.index").write_bytes(content)
    for k, data in enumerate(files):
        Path(f"{prefix}.data-{k:05d}-of-{n_shards:05d}").write_bytes(data)
    return prefix
