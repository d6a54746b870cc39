"""Teacher outputs are aligned by id or row, classes by name, and every doubt is an error."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferdata.dataset import FaceDataset
from ferdata.errors import DataError
from ferdata.labels import FERPLUS8, MICROEXPNET8, LabelSpace
from ferdata.soft_labels import AlignReport, align_soft_labels, load_soft_labels

THREE = LabelSpace("three", ("happy", "sad", "neutral"))
CLASSES = ["neutral", "sadness", "happiness"]  # another order, other spellings
LOGITS = np.array([[1, 2, 3], [4, 5, 6], [-7, 8, 9]], dtype=np.float32)
PROBS = np.array([[0.2, 0.3, 0.5], [0.0, 1.0, 0.0], [0.25, 0.75, 0.0]])


def dataset(rows=(0, 1, 2), space=THREE):
    rows = np.array(rows)
    return FaceDataset(
        images=np.zeros((len(rows), 2, 2), dtype=np.uint8),
        ids=np.array([f"f/{r}" for r in rows.tolist()], dtype=np.str_),
        label_space=space,
        rows=rows,
    )


@pytest.fixture
def npz(tmp_path):
    def npz(drop=(), **changes):
        parts = dict(logits=LOGITS, rows=np.arange(3), classes=np.array(CLASSES))
        parts = {k: v for k, v in {**parts, **changes}.items() if k not in drop}
        np.savez(tmp_path / "teacher.npz", **parts)
        return tmp_path / "teacher.npz"

    return npz


@pytest.fixture
def table(tmp_path):
    def table(*lines, header="row,neutral,sadness,happiness", first="# logits"):
        path = tmp_path / "teacher.csv"
        path.write_text("\n".join([*filter(None, [first]), header, *lines]) + "\n")
        return path

    return table


# What is right.


def test_rows_and_classes_go_by_name(npz):
    path = npz(rows=np.array([20, 10, 30], dtype=np.int32))
    values, report = align_soft_labels(load_soft_labels(path), dataset([10, 20]))
    # rows 10 and 20 are entries 1 and 0; happy, sad, neutral are columns 2, 1, 0
    assert values.tolist() == [[6, 5, 4], [3, 2, 1]] and values.dtype == np.float32
    assert report == AlignReport(n_used=2, n_unused=1, n_floored=0, kind="logits")


def test_ids(npz):
    path = npz(drop=["rows"], ids=np.array(["f/2", "f/0", "f/1"]))
    values, _ = align_soft_labels(load_soft_labels(path), dataset())
    assert values[:, 0].tolist() == [6, 9, 3]


def test_probabilities_become_log_probabilities(npz):
    path = npz(drop=["logits"], probabilities=PROBS)
    soft = load_soft_labels(path)
    assert soft.kind == "probabilities" and soft.floored_per_row.tolist() == [0, 2, 1]
    values, report = align_soft_labels(soft, dataset([0, 2]))
    expected = [[np.log(0.5), np.log(0.3), np.log(0.2)], [np.log(1e-7), np.log(0.75), np.log(0.25)]]
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    assert report.n_floored == 1 and report.n_unused == 1


def test_tiny_probabilities_are_floored_too(npz):
    path = npz(drop=["logits"], probabilities=np.array([[1e-9, 1 - 1e-9, 0], *PROBS[:2]]))
    soft = load_soft_labels(path)
    np.testing.assert_allclose(soft.values[0], [np.log(1e-7), 0, np.log(1e-7)], atol=1e-6)
    assert soft.floored_per_row.tolist() == [2, 0, 2]


def test_float16_probabilities(npz):
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(3), 50).astype(np.float16)
    path = npz(drop=["logits"], probabilities=probs, rows=np.arange(50))
    assert load_soft_labels(path).values.shape == (50, 3)


def test_csv_is_the_same(table, npz):
    lines = [f"{i},{a},{b},{c}" for i, (a, b, c) in enumerate(LOGITS.tolist())]
    ours, theirs = load_soft_labels(table(*lines)), load_soft_labels(npz())
    np.testing.assert_array_equal(ours.values, theirs.values)
    assert ours.classes == theirs.classes and ours.rows.tolist() == [0, 1, 2]


def test_csv_with_ids(table):
    path = table("f/1,1,2,3", "f/0,4,5,6", header="id,neutral,sad,happy")
    values, _ = align_soft_labels(load_soft_labels(path), dataset([0, 1]))
    assert values.tolist() == [[6, 5, 4], [3, 2, 1]]


def test_csv_says_what_it_holds(table):
    said = load_soft_labels(table("0,0.2,0.3,0.5", first="# probabilities"))
    np.testing.assert_allclose(np.exp(said.values), [[0.2, 0.3, 0.5]], rtol=1e-6)
    assert load_soft_labels(table("0,0.2,0.3,0.5")).values[0, 0] == np.float32(0.2)
    assert load_soft_labels(table("0,.2,.3,.5", "1,1,0,0", first="")).kind == "probabilities"
    assert load_soft_labels(table("0,-2,.3,.5", "1,1,0,3", first="")).kind == "logits"


@pytest.mark.parametrize("odd", ["0.2,0.3,0.6", "-0.5,1,0.5", "nan,0,1"])
def test_csv_that_leaves_doubt(table, odd):
    message = "teacher.csv line 3: no distribution, though the file looks like probabilities; begin"
    with pytest.raises(DataError, match=message):
        load_soft_labels(table("0,0.2,0.3,0.5", f"1,{odd}", first=""))


@given(
    st.permutations(range(6)),
    st.permutations(FERPLUS8.classes),
    st.lists(st.integers(0, 5), unique=True),
)
def test_alignment_whatever_the_order(tmp_path_factory, entry_order, class_order, wanted):
    truth = {(r, c): 10.0 * r + i for r in range(6) for i, c in enumerate(FERPLUS8.classes)}
    path = tmp_path_factory.mktemp("soft") / "teacher.npz"
    logits = np.array([[truth[r, c] for c in class_order] for r in entry_order])
    np.savez(path, logits=logits, rows=np.array(entry_order), classes=np.array(class_order))
    data = dataset(np.array(wanted, dtype=int), MICROEXPNET8)
    values, report = align_soft_labels(load_soft_labels(path), data)
    for k, r in enumerate(wanted):
        for c in FERPLUS8.classes:
            assert values[k, MICROEXPNET8.index(c)] == truth[r, c]
    assert (report.n_used, report.n_unused) == (len(wanted), 6 - len(wanted))


# What is wrong with a file.


def test_no_such_file(tmp_path):
    with pytest.raises(DataError, match="none.npz: no such file"):
        load_soft_labels(tmp_path / "none.npz")
    (tmp_path / "teacher.pt").write_bytes(b"")
    with pytest.raises(DataError, match="teacher.pt: expected soft labels as .npz or .csv"):
        load_soft_labels(tmp_path / "teacher.pt")


NAN, INF = LOGITS.copy(), LOGITS.copy()
NAN[1, 2], INF[2, 0] = np.nan, np.inf


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(logits=LOGITS[:2]), r"logits: expected numbers of shape \(3, 3\).* \(2, 3\)"),
        (dict(logits=LOGITS[:, :2]), r"logits: expected numbers of shape \(3, 3\).* \(3, 2\)"),
        (dict(logits=LOGITS.astype(str)), "logits: expected numbers"),
        (dict(logits=LOGITS.astype(complex)), "logits: expected numbers"),
        (dict(logits=NAN), r"entry 1 \(row 1\): logits are not finite"),
        (dict(logits=INF), r"entry 2 \(row 2\): logits are not finite"),
        (dict(logits=LOGITS.astype(float) * 1e300), r"entry 0 \(row 0\): logits are not finite"),
        (dict(rows=np.array([0, 5, 5])), r"entry 2 \(row 5\): row 5 was already given in entry 1"),
        (dict(rows=np.array([0, -5, 1])), r"entry 1 \(row -5\): row numbers begin at 0"),
        (dict(rows=np.array([0.0, 1, 2])), "rows: expected whole numbers, found float64"),
        (dict(rows=np.arange(4)), r"expected numbers of shape \(4, 3\)"),
        (dict(classes=np.array(["a", "b"])), r"expected numbers of shape \(3, 2\)"),
        (dict(classes=np.array(["sad", "b", "sadness"])), "one class twice: 'sad' and 'sadness'"),
        (dict(classes=np.arange(3)), "classes: expected a list of names, found int64"),
        (dict(drop=["classes"]), "has no `classes`"),
        (dict(drop=["logits"]), "expected either `logits` or `probabilities`, found classes, rows"),
        (dict(probabilities=PROBS), "expected either `logits` or `probabilities`, found"),
        (dict(drop=["rows"]), "expected either `ids` or `rows`, found classes, logits"),
        (dict(drop=["rows"], ids=np.arange(3)), "ids: expected strings, found int64"),
        (dict(drop=["rows"], ids=np.array(["a", "", "b"])), r"entry 1 \(id ''\): no id"),
        (dict(drop=["rows"], ids=np.array(["a", "b", "a"])), r"\(id 'a'\): id 'a' was already"),
        (dict(rows=np.arange(0), logits=LOGITS[:0]), "no entries"),
        (dict(classes=np.array([{}], dtype=object)), "no readable .npz file"),
    ],
)
def test_bad_npz(npz, changes, message):
    with pytest.raises(DataError, match=f"teacher.npz.*{message}"):
        load_soft_labels(npz(**changes))


@pytest.mark.parametrize("row", [[0.2, 0.3, 0.4], [-0.1, 0.6, 0.5], [0, 0, 0], [2, 3, 5]])
def test_row_that_is_no_distribution(npz, row):
    path = npz(drop=["logits"], probabilities=np.array([PROBS[0], row, PROBS[2]]))
    with pytest.raises(DataError, match=r"entry 1 \(row 1\): no distribution \(expected values of"):
        load_soft_labels(path)


@pytest.mark.parametrize("content", [b"", b"no zip at all", None])
def test_damaged_npz(npz, content):
    path = npz()
    path.write_bytes(path.read_bytes()[:-40] if content is None else content)
    with pytest.raises(DataError, match="teacher.npz: no readable .npz file"):
        load_soft_labels(path)


def test_flipped_bit_in_npz(npz):
    path = npz()
    stored = bytearray(path.read_bytes())
    stored[stored.index(LOGITS.tobytes())] ^= 1
    path.write_bytes(stored)
    with pytest.raises(DataError, match="no readable .npz file .*CRC"):
        load_soft_labels(path)


@pytest.mark.parametrize(
    "lines, options, message",
    [
        (["0,1,2"], {}, "line 3: 3 fields, expected 4 as in the header"),
        (["0,1,2,3", "1,1,x,3"], {}, "line 4: sadness is 'x', expected a number"),
        (["0,1,2,3", "1,1,,3"], {}, "line 4: sadness is '', expected a number"),
        (["0,1,nan,3"], {}, "line 3: logits are not finite"),
        (["0,1,inf,3"], {}, "line 3: logits are not finite"),
        (["-1,1,2,3"], {}, "line 3: row '-1', expected a whole number 0 or more"),
        (["a,1,2,3"], {}, "line 3: row 'a', expected a whole number"),
        (["7,1,2,3", "7,1,2,3"], {}, "line 4: row 7 was already given in line 3"),
        (["0,.5,.5,.5"], {"first": "# probabilities"}, "line 3: no distribution"),
        (["0,1,2,3"], {"first": "# scores"}, "line 1: expected '# logits' or '# probabilities'"),
        (["0,1,2,3"], {"header": "image,a,b,c"}, "expected a header with 'id' or 'row'"),
        (["0"], {"header": "row"}, "expected a header with 'id' or 'row', then the class names"),
        (["0,1,2"], {"header": "row,sad,sadness"}, "names one class twice"),
        ([], {}, "no entries"),
    ],
)
def test_bad_csv(table, lines, options, message):
    with pytest.raises(DataError, match=f"teacher.csv.*{message}"):
        load_soft_labels(table(*lines, **options))


@pytest.mark.parametrize("content", [b"", bytes(range(256)) * 9])
def test_csv_that_is_none(table, content):
    path = table()
    path.write_bytes(content)
    with pytest.raises(DataError, match="teacher.csv: (no readable csv|expected a header)"):
        load_soft_labels(path)


# What does not fit together.


def test_missing_rows_are_named(npz):
    with pytest.raises(DataError, match="no entry for 2 of 4 images; the first is row 7$"):
        align_soft_labels(load_soft_labels(npz()), dataset([0, 7, 2, 9]))
    path = npz(drop=["rows"], ids=np.array(["f/0", "f/1", "x"]))
    with pytest.raises(DataError, match="no entry for 1 of 3 images; the first is id 'f/2'"):
        align_soft_labels(load_soft_labels(path), dataset())


def test_class_too_many_or_missing(npz):
    soft = load_soft_labels(npz())
    two = LabelSpace("two", ("happy", "sad"))
    with pytest.raises(DataError, match="extra class neutral; expected happy, sad in any order"):
        align_soft_labels(soft, dataset(space=two))
    four = LabelSpace("four", ("happy", "sad", "neutral", "fear"))
    with pytest.raises(DataError, match="missing class fear; expected happy, sad, neutral, fear"):
        align_soft_labels(soft, dataset(space=four))


def test_data_set_that_cannot_be_aligned(npz):
    images, ids = np.zeros((1, 2, 2), dtype=np.uint8), np.array(["f/0"])
    soft = load_soft_labels(npz())
    with pytest.raises(DataError, match="has row numbers, but this data set's rows have none"):
        align_soft_labels(soft, FaceDataset(images=images, ids=ids, label_space=THREE))
    with pytest.raises(DataError, match="no label space to align classes to"):
        align_soft_labels(soft, FaceDataset(images=images, ids=ids))


# The real teacher.


def test_real_teacher_is_as_good_as_its_description_says(shared, tmp_path, monkeypatch):
    """PublicTest: 84.1 % of the plurality labels, 87.4 % of the majority labels."""
    from ferdata.sources.fer2013 import load_fer2013

    monkeypatch.setenv("FERDATA_CACHE_DIR", str(tmp_path))
    folder = shared / "data"
    soft = load_soft_labels(folder / "teacher_logits.npz")
    for target, expected in (("plurality", 84.1), ("majority", 87.4)):
        data = load_fer2013(
            folder / "fer2013" / "fer2013.csv.gz", folder / "fer2013" / "fer2013new.csv", target
        )
        data = data.in_split("validation").to_label_space(MICROEXPNET8)
        values, report = align_soft_labels(soft, data)
        assert report.n_used == len(data)
        correct = (values.argmax(axis=1) == data.labels).mean()
        assert abs(100 * correct - expected) < 0.05
