"""TensorFlow checkpoints: the published one against TensorFlow's own logits, and small ones that
the tests write.  Damaged or unsuitable files give one clear error."""

import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tf_bundle

import tinycnn
from tinycnn import models
from tinycnn.formats import safetensors, tf_checkpoint
from tinycnn.formats.leveldb_table import FOOTER_SIZE
from tinycnn.formats.tf_checkpoint import PUBLISHED_NAMES, CheckpointFileError
from tinycnn.models import CLASSES, SIZES, VARIANTS
from tinycnn.testing import logit_error

TENSORS = {
    "a/kernel": np.arange(12, dtype=np.float32).reshape(3, 4),
    "a/kernel/Adam": np.ones((3, 4), np.float32),
    "b": np.array(-1.5),
    "global_step": np.array(7, np.int64),
    "flags": np.array([True, False, True]),
    "halves": np.linspace(0, 1, 5, dtype=np.float16),
    "nothing": np.zeros((0, 3), np.float32),
    "zz": np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8),
}


def published(network):
    """The parameters of a network under the published names, and Adam's moments."""
    tensors = {PUBLISHED_NAMES[name]: p.copy() for name, p in network.parameters.items()}
    slots = {f"{name}/Adam": np.zeros_like(t) for name, t in tensors.items()}
    return {**tensors, **slots, "beta1_power": np.array(0.9, np.float32)}


@pytest.fixture(scope="module")
def checkpoint(shared):
    folder = shared / "data" / "microexpnet_ck"
    if not (folder / "MicroExpNet_CK.index").is_file():
        pytest.skip(f"{folder} has no published checkpoint")
    return folder / "MicroExpNet_CK"


# ---- the published network -------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_tensorflows_own_logits(checkpoint, backend):
    network = tf_checkpoint.load_network(checkpoint, backend=backend)
    assert network.classes == CLASSES and network.input_spec.framing == "paper"
    assert network.input_spec.scaling == "raw" and network.input_spec.shape == (84, 84, 1)
    with np.load(checkpoint.parent / "reference.npz", allow_pickle=False) as stored:
        for kind in ("random", "face"):
            expected = stored[f"{kind}_logits"]
            logits = network.predict_logits(stored[f"{kind}_images"])
            assert expected.shape == (64, 8)
            assert logit_error(logits, expected) <= 1e-5
            np.testing.assert_array_equal(logits.argmax(axis=1), expected.argmax(axis=1))


def test_every_bit_of_the_published_weights(checkpoint):
    network = tf_checkpoint.load_network(str(checkpoint), backend="numpy")
    with np.load(checkpoint.parent / "weights.npz", allow_pickle=False) as weights:
        for ours, theirs in PUBLISHED_NAMES.items():
            np.testing.assert_array_equal(network.parameters[ours], weights[theirs])


def test_what_the_published_checkpoint_holds(checkpoint):
    listed = {t.name: t for t in tf_checkpoint.list_tensors(checkpoint)}
    names = [name + slot for name in PUBLISHED_NAMES.values() for slot in ("", "/Adam", "/Adam_1")]
    assert set(listed) == {*names, "beta1_power", "beta2_power"}
    assert listed["wfc"].shape == (1152, 48) and listed["wfc"].dtype == "float32"
    assert listed["beta1_power"].shape == ()
    tensors = tf_checkpoint.read_tensors(checkpoint)
    assert (
        sum(t.nbytes for t in tensors.values())
        == 780_008
        == sum(t.n_bytes for t in listed.values())
    )


# ---- checkpoints written by the tests --------------------------------------------------------


@pytest.mark.parametrize("n_shards, per_block", [(1, 100), (1, 1), (3, 2), (12, 5)])
def test_every_tensor_is_read_as_it_was_written(tmp_path, n_shards, per_block):
    prefix = tf_bundle.write(tmp_path / "m", TENSORS, n_shards, per_block)
    tensors = tf_checkpoint.read_tensors(prefix)
    assert list(tensors) == sorted(TENSORS)
    for name, expected in TENSORS.items():
        assert tensors[name].dtype == expected.dtype and tensors[name].shape == expected.shape
        np.testing.assert_array_equal(tensors[name], expected)
        assert tensors[name].flags.writeable
    listed = tf_checkpoint.list_tensors(prefix)
    assert [(t.name, t.dtype, t.shape) for t in listed] == [
        (name, t.dtype.name, t.shape) for name, t in sorted(TENSORS.items())
    ]


def test_long_names_with_common_beginnings(tmp_path):
    tensors = {f"layer/{'x' * 300}/{k:03d}": np.full(k % 3, k, np.float32) for k in range(70)}
    prefix = tf_bundle.write(tmp_path / "m", tensors, per_block=33)
    assert (tmp_path / "m.index").stat().st_size < 70 * 100
    read = tf_checkpoint.read_tensors(prefix)
    for name, expected in tensors.items():
        np.testing.assert_array_equal(read[name], expected)


def test_listing_reads_no_data(tmp_path):
    prefix = tf_bundle.write(tmp_path / "m", TENSORS)
    Path(f"{prefix}.data-00000-of-00001").unlink()
    assert len(tf_checkpoint.list_tensors(prefix)) == len(TENSORS)
    refused(tf_checkpoint.read_tensors, prefix, "data-00000-of-00001: no such file; by the index")


def test_only_the_needed_data_files_are_read(tmp_path):
    prefix = tf_bundle.write(tmp_path / "m", TENSORS, n_shards=2)
    Path(f"{prefix}.data-00001-of-00002").unlink()
    name = sorted(TENSORS)[2]
    np.testing.assert_array_equal(tf_checkpoint.read_tensors(prefix, [name])[name], TENSORS[name])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", SIZES)
def test_shapes_give_the_size(tmp_path, variant, size, monkeypatch):
    monkeypatch.setattr(tf_bundle, "masked", tf_checkpoint.masked_crc32c)  # faster
    network = models.microexpnet(variant, size, backend="numpy", seed=5)
    prefix = tf_bundle.write(tmp_path / "m", published(network))
    again = tf_checkpoint.load_network(prefix, variant=variant, backend="numpy")
    assert again.layers == network.layers and again.classes == CLASSES
    for name, parameter in network.parameters.items():
        np.testing.assert_array_equal(again.parameters[name], parameter)


def small_checkpoint(folder, change=lambda tensors: None, n_classes=8, **options):
    tensors = published(models.microexpnet("v", "XXS", n_classes, backend="numpy", seed=1))
    tensors = {name: t for name, t in tensors.items() if "/" not in name}
    change(tensors)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf_bundle, "masked", tf_checkpoint.masked_crc32c)
        return tf_bundle.write(folder / "m", tensors, **options)


def test_other_names_other_classes_other_precision(tmp_path):
    names = {ours: f"net/{ours}/.ATTRIBUTES/VARIABLE_VALUE" for ours in PUBLISHED_NAMES}

    def rename(tensors):
        for ours, theirs in PUBLISHED_NAMES.items():
            tensors[names[ours]] = tensors.pop(theirs).astype(np.float64)

    prefix = small_checkpoint(tmp_path, rename, n_classes=6)
    options = dict(variant="v", scaling="unit", framing=None, backend="numpy", n_threads=1)
    network = tf_checkpoint.load_network(prefix, names=names, **options)
    assert network.classes == tuple("012345") and network.dtype == np.float32
    assert network.input_spec.scaling == "unit" and network.input_spec.framing is None
    assert network.n_threads == 1
    original = models.microexpnet("v", "XXS", 6, backend="numpy", seed=1)
    np.testing.assert_array_equal(network.parameters["dense1.w"], original.parameters["dense1.w"])
    classes = ("anger", "disgust", "fear", "happy", "sadness", "surprise")
    network = tf_checkpoint.load_network(prefix, names=names, classes=classes, **options)
    assert network.classes == classes
    with pytest.raises(
        CheckpointFileError, match="no tensor 'wc1', .*; it holds 'beta1_power', 'n"
    ):
        tf_checkpoint.load_network(prefix, variant="v", backend="numpy")


# ---- checkpoints that do not fit -------------------------------------------------------------


def refused(function, prefix, message, **options):
    with pytest.raises(CheckpointFileError, match=message) as raised:
        function(prefix, **options)
    assert str(prefix) in str(raised.value) and "\n" not in str(raised.value)


def test_the_error_for_a_missing_index_explains_prefixes(tmp_path):
    prefix = tf_bundle.write(tmp_path / "m", TENSORS)
    for wrong in (tmp_path / "n", f"{prefix}.index", tmp_path):
        with pytest.raises(FileNotFoundError, match="no such checkpoint index; give what the na"):
            tf_checkpoint.list_tensors(wrong)


def test_a_missing_tensor(tmp_path):
    prefix = tf_bundle.write(tmp_path / "m", TENSORS)
    refused(tf_checkpoint.read_tensors, prefix, "no tensor 'c'; it holds 'a/kernel', ", names=["c"])


def test_another_variant_is_named(tmp_path):
    prefix = small_checkpoint(tmp_path)
    message = r"variant p12: 'wfc' \(3872, 16\).*expected \(1152, 768 .*='v' or variant='p1' would"
    refused(tf_checkpoint.load_network, prefix, message, backend="numpy")
    with pytest.raises(ValueError, match="variant is 'p3'; expected one of v, p1, p2, p12"):
        tf_checkpoint.load_network(prefix, variant="p3")


@pytest.mark.parametrize(
    "name, shape, message",
    [
        ("wc1", (8, 8, 3, 16), r"'wc1' has shape \(8, 8, 3, 16\); expected \(8, 8, 1, 16\)"),
        ("bc2", (31,), r"'bc2' has shape \(31,\); expected \(32,\)"),
        ("wfc", (3872, 17), r"'wfc' \(3872, 17\).*expected \(3872, 256 or 64 or 32 or 16\)"),
        ("wo", (8, 16), r"'wo' \(8, 16\)"),
        ("bo", (8, 1), r"'bo' \(8, 1\)"),
        ("bo", (0,), r"'bo' \(0,\)"),
    ],
)
def test_other_shapes_are_named(tmp_path, name, shape, message):
    prefix = small_checkpoint(tmp_path, lambda t: t.update({name: np.zeros(shape, np.float32)}))
    refused(tf_checkpoint.load_network, prefix, message, variant="v", backend="numpy")


def test_a_network_without_classes(tmp_path):
    def change(tensors):
        tensors.update(wo=np.zeros((16, 0), np.float32), bo=np.zeros(0, np.float32))

    prefix = small_checkpoint(tmp_path, change)
    refused(tf_checkpoint.load_network, prefix, "no network of variant v", variant="v")


def test_integer_weights_are_refused(tmp_path):
    prefix = small_checkpoint(tmp_path, lambda t: t.update(bo=np.zeros(8, np.int32)))
    refused(tf_checkpoint.load_network, prefix, "dtype int32; expected floats", variant="v")


def test_options_that_are_wrong_are_not_blamed_on_the_file(tmp_path):
    prefix = small_checkpoint(tmp_path)
    wrong = [
        (dict(names={"conv1.w": "wc1"}), "names has the keys conv1.w; expected conv1.w, conv1")
    ]
    wrong += [(dict(backend="cuda"), "backend"), (dict(classes=("a", "b")), "2 class names")]
    for options, message in wrong:
        with pytest.raises(ValueError, match=message) as raised:
            tf_checkpoint.load_network(prefix, variant="v", **options)
        assert not isinstance(raised.value, CheckpointFileError)


def test_dtypes_that_numpy_does_not_have_are_listed_and_skipped(tmp_path):
    entries = {
        "text": tf_bundle.entry(7, (), 0, 0, 5, 0),
        "brain": tf_bundle.entry(14, (2,), 0, 0, 4, 0),
        "qint": tf_bundle.entry(11, (2,), 0, 0, 2, 0),
        "parts": tf_bundle.entry(1, (2,), 0, 0, 0, 0, extra=tf_bundle.nested(7, b"")),
    }
    prefix = tf_bundle.write(tmp_path / "m", TENSORS, entries=entries)
    dtypes = {t.name: t.dtype for t in tf_checkpoint.list_tensors(prefix)}
    assert dtypes["text"] == "string" and dtypes["brain"] == "bfloat16"
    assert dtypes["qint"] == "number 11 of TensorFlow"
    assert set(tf_checkpoint.read_tensors(prefix)) == set(TENSORS)
    for name, message in [("text", "string, which cannot"), ("parts", "partitioned into slices")]:
        refused(tf_checkpoint.read_tensors, prefix, message, names=[name])


# ---- damage ----------------------------------------------------------------------------------


def damaged(prefix, suffix, change):
    path = Path(f"{prefix}.{suffix}")
    content = bytearray(path.read_bytes())
    changed = change(content)
    content = content if changed is None else changed
    path.write_bytes(content)


def test_a_changed_weight_is_found(tmp_path):
    prefix = tf_bundle.write(tmp_path / "m", TENSORS)

    def flip(content):
        content[3000] ^= 4

    damaged(prefix, "data-00000-of-00001", flip)
    refused(tf_checkpoint.read_tensors, prefix, "checksum of tensor 'zz' does not match")
    assert len(tf_checkpoint.read_tensors(prefix, ["a/kernel", "b"])) == 2


def test_a_data_file_that_is_cut_off(tmp_path):
    prefix = tf_bundle.write(tmp_path / "m", TENSORS)
    damaged(prefix, "data-00000-of-00001", lambda content: content[:-1])
    refused(tf_checkpoint.read_tensors, prefix, "tensor 'zz' lies at .*: it is cut off")


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda c: c[:30], "last 8 bytes are not those of a checkpoint index"),
        (lambda c: c[1:], "damaged"),
        (lambda c: c[:20] + b"\0" + c[21:], "checksum of the block at byte 0 does not match"),
        (lambda c: c[:-48] + b"\xff" * 40 + c[-8:], "more than 64 bits"),
        (
            lambda c: c[:-48] + b"\0\0\xff\xff\xff\x7f".ljust(40) + c[-8:],
            "ends after the end of the file",
        ),
        (lambda c: b"", "last 8 bytes"),
    ],
)
def test_a_damaged_index(tmp_path, change, message):
    prefix = tf_bundle.write(tmp_path / "m", TENSORS)
    damaged(prefix, "index", change)
    refused(tf_checkpoint.list_tensors, prefix, message)


def index_with(folder, content):
    (folder / "m.index").write_bytes(content)
    return folder / "m"


def test_a_compressed_block(tmp_path, monkeypatch):
    monkeypatch.setattr(tf_bundle, "block", lambda pairs, interval=16: compressed)
    for method, name in ((1, "Snappy"), (7, "method 7")):
        content = b"\0" * 8 + bytes([method])
        compressed = content + tf_bundle.masked(content).to_bytes(4, "little")
        prefix = index_with(tmp_path, tf_bundle.table([(b"", b"")]))
        refused(
            tf_checkpoint.list_tensors, prefix, f"compressed with {name}; only uncompressed ones"
        )


BAD_TABLES = {
    "keys that fall": ([(b"", tf_bundle.header()), (b"b", b""), (b"a", b"")], "keys out of order"),
    "a key twice": (
        [(b"", tf_bundle.header()), (b"b", b"\x08\1"), (b"b", b"\x08\1")],
        "keys out of order",
    ),
    "no header": ([(b"a", b"\x08\1")], "no header"),
    "nothing": ([], "no header"),
    "no data files": ([(b"", tf_bundle.header(0))], "0 data files"),
    "too many data files": ([(b"", tf_bundle.header(2**40))], "1099511627776 data files"),
    "big-endian": ([(b"", tf_bundle.header(1, 1))], "big-endian"),
    "header cut off": ([(b"", tf_bundle.header()[:-1])], "cut off"),
    "a group": ([(b"", b"\x0b")], "unknown wire type 3"),
    "name is no text": ([(b"", tf_bundle.header()), (b"\xff", b"\x08\1")], "name is not UTF-8"),
    "a key too long": ([(b"", tf_bundle.header()), (b"k" * 1025, b"\x08\1")], "1024 bytes"),
    "another file": (
        [(b"", tf_bundle.header(2)), (b"a", tf_bundle.entry(1, (), 2, 0, 4, 0))],
        "tensor 'a' is in data file 2 of 2",
    ),
    "negative offset": (
        [(b"", tf_bundle.header()), (b"a", tf_bundle.entry(1, (), 0, 2**64 - 4, 4, 0))],
        "negative",
    ),
    "negative axis": (
        [(b"", tf_bundle.header()), (b"a", tf_bundle.entry(1, (2**64 - 1,), 0, 0, 4, 0))],
        "negative size",
    ),
    "too many axes": (
        [(b"", tf_bundle.header()), (b"a", tf_bundle.entry(1, (1,) * 40, 0, 0, 4, 0))],
        "too many axes",
    ),
}


@pytest.mark.parametrize("what", BAD_TABLES)
def test_an_index_with_correct_checksums_and_wrong_content(tmp_path, what):
    pairs, message = BAD_TABLES[what]
    refused(tf_checkpoint.list_tensors, index_with(tmp_path, tf_bundle.table(pairs)), message)


@pytest.mark.parametrize("limit", ["MAX_TENSORS", "MAX_INDEX_BYTES"])
def test_a_huge_index(tmp_path, monkeypatch, limit):
    prefix = tf_bundle.write(tmp_path / "m", TENSORS)
    size = len(TENSORS) if limit == "MAX_TENSORS" else (tmp_path / "m.index").stat().st_size
    monkeypatch.setattr(tf_checkpoint, limit, size)
    assert len(tf_checkpoint.list_tensors(prefix)) == len(TENSORS)
    monkeypatch.setattr(tf_checkpoint, limit, size - 1)
    refused(tf_checkpoint.list_tensors, prefix, f"more than {size - 1:,} (tensors|bytes)")


def test_an_entry_that_shares_more_bytes_than_the_key_before_has(tmp_path, monkeypatch):
    """Slicing would silently give a shorter key."""
    real = tf_bundle.block

    def block(pairs, interval=16):
        content = real(pairs, interval)
        if not pairs or pairs[0][0] != b"":
            return content
        assert content.count(b"\0\1\4a") == 1
        content = content[:-4].replace(b"\0\1\4a", b"\1\1\4a")  # shares 1 byte with ""
        return content + tf_bundle.masked(content).to_bytes(4, "little")

    monkeypatch.setattr(tf_bundle, "block", block)
    pairs = [(b"", tf_bundle.header()), (b"a", b"\x08\1\x28\4")]
    prefix = index_with(tmp_path, tf_bundle.table(pairs))
    refused(tf_checkpoint.list_tensors, prefix, "an entry is longer than its block")


def test_numbers_of_more_than_64_bits(tmp_path):
    for number in (b"\xff" * 9 + b"\x02", b"\xff" * 10 + b"\x01"):
        pairs = [(b"", tf_bundle.header()), (b"a", b"\x28" + number)]
        prefix = index_with(tmp_path, tf_bundle.table(pairs))
        refused(tf_checkpoint.list_tensors, prefix, "more than 64 bits")
    largest = b"\x08\1\x28" + b"\xff" * 8 + b"\x7f"
    prefix = index_with(tmp_path, tf_bundle.table([(b"", tf_bundle.header()), (b"a", largest)]))
    assert tf_checkpoint.list_tensors(prefix)[0].n_bytes == 2**63 - 1


def test_blocks_that_overlap(tmp_path, monkeypatch):
    """The index names the same block a thousand times; that must not multiply the work."""
    data = tf_bundle.block([(b"", tf_bundle.header())])
    handle = tf_bundle.varint(0) + tf_bundle.varint(len(data) - 5)
    index = tf_bundle.block([(b"%04d" % k, handle) for k in range(1000)])
    places = [(len(data), 0), (len(data), len(index) - 5)]
    footer = b"".join(tf_bundle.varint(n) for place in places for n in place).ljust(40, b"\0")
    magic = (0xDB4775248B80FB57).to_bytes(8, "little")
    assert len(footer + magic) == FOOTER_SIZE
    refused(
        tf_checkpoint.list_tensors,
        index_with(tmp_path, data + index + footer + magic),
        "the block at byte 0 overlaps another",
    )


HUGE = {
    "axes": ((10**9, 10**9), 0, 4, "takes 4000000000000000000 bytes; the index says 4"),
    "axes and size": ((10**9, 10**9), 0, 4 * 10**18, "it is cut off"),
    "offset": ((1,), 2**62, 4, "it is cut off"),
    "size": ((1,), 0, 2**62, "takes 4 bytes; the index says"),
}


@pytest.mark.parametrize("what", HUGE)
def test_a_claim_of_huge_tensors_takes_no_memory(tmp_path, what):
    shape, offset, size, message = HUGE[what]
    entries = {"b": tf_bundle.entry(1, shape, 0, offset, size, 0)}
    prefix = tf_bundle.write(tmp_path / "m", TENSORS, entries=entries)
    tracemalloc.start()
    try:
        refused(tf_checkpoint.read_tensors, prefix, message)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4e6


def test_a_claim_of_a_million_classes_takes_no_memory(tmp_path):
    tensors = published(models.microexpnet("v", "XXS", backend="numpy"))
    n = 10**6
    entries = {
        "wo": tf_bundle.entry(1, (16, n), 0, 0, 64 * n, 0),
        "bo": tf_bundle.entry(1, (n,), 0, 0, 4 * n, 0),
    }
    small = {name: t for name, t in tensors.items() if t.size < 20_000}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf_bundle, "masked", tf_checkpoint.masked_crc32c)
        prefix = tf_bundle.write(tmp_path / "m", {**small, "wfc": tensors["wfc"]}, entries=entries)
    tracemalloc.start()
    try:
        refused(tf_checkpoint.load_network, prefix, "cut off", variant="v", backend="numpy")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4e6


def test_tensors_that_all_use_the_same_bytes(tmp_path):
    """With a thousand names for the same bytes, the file would be read a thousand times."""
    place = (0, 0, 5000, tf_bundle.masked(TENSORS["zz"].tobytes()))
    entries = {f"z{k}": tf_bundle.entry(4, (5000,), *place) for k in range(1000)}
    prefix = tf_bundle.write(tmp_path / "m", TENSORS, entries=entries)
    refused(tf_checkpoint.read_tensors, prefix, "they overlap")


def test_bytes_that_are_not_booleans(tmp_path):
    data = b"\1\0\2"
    entries = {"flags": tf_bundle.entry(10, (3,), 0, 0, 3, tf_bundle.masked(data))}
    prefix = tf_bundle.write(tmp_path / "m", {"a": np.frombuffer(data, np.uint8)}, entries=entries)
    refused(tf_checkpoint.read_tensors, prefix, "holds bytes other than 0 and 1", names=["flags"])


def test_tinycnn_load_takes_a_checkpoint_by_each_of_its_names(tmp_path):
    prefix = small_checkpoint(tmp_path)
    expected = tf_checkpoint.load_network(prefix, variant="p1", backend="numpy")
    for name in (prefix, f"{prefix}.index", f"{prefix}.data-00000-of-00001"):
        found = tinycnn.load(name, variant="p1", backend="numpy")
        assert np.array_equal(found.parameter_vector, expected.parameter_vector)
        assert found.plan.steps == expected.plan.steps
    with pytest.raises(ValueError, match="variant='v' or variant='p1' would fit"):
        tinycnn.load(prefix)


def test_names_that_are_no_checkpoint_say_what_to_give(tmp_path):
    prefix = str(small_checkpoint(tmp_path))
    with pytest.raises(FileNotFoundError, match=f"is a folder; expected {re.escape(prefix)}$"):
        tinycnn.load(tmp_path)
    with pytest.raises(
        FileNotFoundError, match=r"is a folder; expected a file such as .*model\.saf"
    ):
        tinycnn.load(tmp_path.parent)
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "m"\n')
    with pytest.raises(ValueError, match=f"TensorFlow's list of .*; expected {re.escape(prefix)}$"):
        tinycnn.load(tmp_path / "checkpoint")
    with pytest.raises(FileNotFoundError, match=r"tinycnn.load_pretrained\(\) loads the weights"):
        tinycnn.load("pretrained")
    with pytest.raises(
        FileNotFoundError, match="a TensorFlow checkpoint: .* tinycnn convert makes"
    ):
        safetensors.load(prefix)
    other = tf_bundle.write(tmp_path / "other", TENSORS)
    with pytest.raises(CheckpointFileError, match="not one of the paper's .*; convert .* to ONNX"):
        tinycnn.load(other)
