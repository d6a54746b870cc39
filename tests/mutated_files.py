"""Loads many damaged files in a process with little memory, and reports what happened.

    python tests/mutated_files.py checkpoint|safetensors FOLDER

FOLDER holds one or more undamaged files; the damaged ones are made from seeds and written to the
same folder.  Prints one line of JSON: how many files were loaded, how many were refused, how long
the slowest took, the memory.  A file that loads must give what was saved, bit for bit.  An
exception other than the documented one, or a file that takes too long, ends the process.
"""

import json
import signal
import sys
import time
from pathlib import Path

import numpy as np

from fuzz.mutation import mutated

N_MUTANTS = 500
MAX_MEMORY_BYTES = 1_000_000_000
MAX_SECONDS = 10


def checkpoint_cases(folder):
    """(load, the network's parameters) of each damaged checkpoint.  Damaged in turn are the bytes
    of the index, the content of the index (with all checksums corrected), and the data."""
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
    """The index with one key or entry damaged, but with correct checksums."""
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
        else:  # a damaged header, preceded by its correct length
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
    import resource

    expected = original(kind, folder)
    cases = checkpoint_cases if kind == "checkpoint" else safetensors_cases
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    n_loaded = n_refused = 0
    slowest = 0.0
    for load, refusal, path in cases(folder):
        signal.alarm(MAX_SECONDS)  # a file that takes longer ends the process
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
    """Peak memory of this process in bytes.  (ru_maxrss would include that of its parent.)"""
    with open("/proc/self/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
