"""Loads many damaged files in a process with little memory, and says what became of them.

    python tests/mutated_files.py checkpoint|safetensors FOLDER

FOLDER holds the good file or files; damaged ones are written beside them, from seeds.  Prints a
line of JSON: how many were loaded, refused, how long the slowest took, the memory.  A file that
loads must give what was saved, bit for bit; another exception than the one for bad files, or a
file that takes long, ends the process.
"""

import json
import resource
import signal
import sys
import time
from pathlib import Path

import numpy as np

N_MUTANTS = 500
MAX_MEMORY_BYTES = 1_000_000_000
MAX_SECONDS = 10

HOSTILE = [0, 1, 127, 128, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63, 2**64 - 1]


def varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value % 128 + 128]), value // 128
    return out + bytes([value])


def mutated(content, rng):
    """content with one or a few of: bits flipped, bytes set, the end or a part cut off, bytes put
    in or doubled, a length field's worth of bytes replaced by a hostile number."""
    content = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        if not content:
            break
        # headers stand at the beginning and at the end of these formats
        edge = int(rng.choice([12, 100, 1000, len(content)]))
        at = int(rng.integers(0, min(edge, len(content))))
        at = at if rng.integers(2) else len(content) - 1 - at
        number = int(rng.choice(np.arange(len(HOSTILE))))
        kind = rng.choice(
            ["bit", "byte", "cut", "part", "insert", "double", "u32", "u64", "varint"]
        )
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
            hostile = varint(HOSTILE[number])
            content[at : at + int(rng.choice([1, 2, len(hostile)]))] = hostile
        else:
            size = 4 if kind == "u32" else 8
            hostile = (HOSTILE[number] % 2 ** (8 * size)).to_bytes(size, "little")
            content[at : at + size] = hostile
    return bytes(content)


def checkpoint_cases(folder):
    """(load, the network's parameters) of each damaged checkpoint; in turn the index as it lies
    there, with its checksums made right again, and the data are damaged."""
    import tf_bundle

    from tinycnn.formats import tf_checkpoint

    tf_bundle.masked = tf_checkpoint.masked_crc32c
    index, data = (folder / f"good.{s}" for s in ("index", "data-00000-of-00001"))
    index, data = index.read_bytes(), data.read_bytes()
    prefix = folder / "bad"
    suffixes = [folder / "bad.index", folder / "bad.data-00000-of-00001"]

    def load():
        tf_checkpoint.list_tensors(prefix)
        tf_checkpoint.read_tensors(prefix)
        return tf_checkpoint.load_network(prefix, variant="v", backend="numpy")

    for k in range(N_MUTANTS):
        rng = np.random.default_rng([7, k])
        bad = [index, data]
        if k % 3 == 0:
            bad[0] = mutated(index, rng)
        elif k % 3 == 1:
            bad[0] = resealed(index, rng, tf_bundle)
        else:
            bad[1] = mutated(data, rng)
        for path, content in zip(suffixes, bad):
            path.write_bytes(content)
        yield load, tf_checkpoint.CheckpointFileError, prefix


def resealed(index, rng, tf_bundle):
    """The index with one key or entry damaged and every checksum right: only the content lies."""
    from tinycnn.formats.leveldb_table import read_table

    pairs = list(read_table(index))
    at = int(rng.integers(len(pairs)))
    key, value = pairs[at]
    pairs[at] = (key, mutated(value, rng)) if rng.integers(4) else (mutated(key, rng), value)
    return tf_bundle.table(pairs, per_block=int(rng.choice([1, 7, 100])))


def safetensors_cases(folder):
    import tinycnn
    from tinycnn.formats.safetensors import ModelFileError

    good, path = (folder / "good").read_bytes(), folder / "bad"
    length = int.from_bytes(good[:8], "little")
    for k in range(N_MUTANTS):
        rng = np.random.default_rng([8, k])
        if k % 2:
            bad = mutated(good, rng)
        else:  # a header that is damaged, of the length that the file says
            header = mutated(good[8 : 8 + length], rng)
            bad = len(header).to_bytes(8, "little") + header + good[8 + length :]
        path.write_bytes(bad)
        yield lambda: tinycnn.load(path, backend="numpy"), ModelFileError, path


def original(kind, folder):
    import tinycnn
    from tinycnn.formats import tf_checkpoint

    if kind == "checkpoint":
        return tf_checkpoint.load_network(folder / "good", variant="v", backend="numpy")
    return tinycnn.load(folder / "good", backend="numpy")


def main(kind, folder):
    expected = original(kind, folder)
    cases = checkpoint_cases if kind == "checkpoint" else safetensors_cases
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    n_loaded = n_refused = 0
    slowest = 0.0
    for load, refusal, path in cases(folder):
        signal.alarm(MAX_SECONDS)  # ends the process
        start = time.perf_counter()
        try:
            network = load()
        except refusal as error:
            n_refused += 1
            assert str(path) in str(error) and "\n" not in str(error), str(error)
            assert len(str(error)) < 5000, len(str(error))
        else:
            n_loaded += 1
            assert network.layers == expected.layers and network.input_spec == expected.input_spec
            for name, parameter in expected.parameters.items():
                assert network.parameters[name].tobytes() == parameter.tobytes(), name
        slowest = max(slowest, time.perf_counter() - start)
        signal.alarm(0)
    print(
        json.dumps(dict(loaded=n_loaded, refused=n_refused, slowest_s=slowest, peak_bytes=peak()))
    )


def peak():
    """Bytes of memory that this process had at most; ru_maxrss would begin with its parent's."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
