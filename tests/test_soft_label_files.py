"""Files of soft labels: errors name what is wrong; what is written can be read."""

import string
import tracemalloc
import zipfile
from functools import partial

import numpy as np
import pytest
from small_teachers import (
    CLASSES,
    INF,
    LOGITS,
    NAN,
    PROBS,
    masked,
    pictures,
    write_npz,
    write_table,
)

from ferdata.errors import DataError
from ferdata.image_hashes import content_ids
from ferdata.teachers.soft_labels import load_soft_labels, save_soft_labels


@pytest.fixture
def npz(tmp_path):
    return partial(write_npz, tmp_path)


@pytest.fixture
def table(tmp_path):
    return partial(write_table, tmp_path)


# Files that are wrong.


def test_no_such_file(tmp_path):
    with pytest.raises(DataError, match="none.npz: no such file"):
        load_soft_labels(tmp_path / "none.npz")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(DataError, match="folder.npz: a folder, no file$"):
        load_soft_labels(tmp_path / "folder.npz")
    (tmp_path / "teacher.pt").write_bytes(b"")
    with pytest.raises(DataError, match="teacher.pt: expected soft labels as .npz or .csv"):
        load_soft_labels(tmp_path / "teacher.pt")


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
        (dict(rows=np.array([0.0, 1, 2])), "rows: expected whole numbers .N,., found float64"),
        (dict(rows=np.arange(4)), r"expected numbers of shape \(4, 3\)"),
        (dict(classes=np.array(["a", "b"])), r"expected numbers of shape \(3, 2\)"),
        (
            dict(classes=np.array(["sad", "b", "sadness"])),
            "space 'teacher' names one class twice: 'sa",
        ),
        (dict(classes=np.arange(3)), "classes: expected a list of names, found int64"),
        (dict(drop=["classes"]), "has no `classes`"),
        (dict(drop=["logits"]), "expected one of `logits`, `probabilities`, found classes, rows"),
        (dict(probabilities=PROBS), "expected one of `logits`, `probabilities`, found"),
        (dict(drop=["rows"]), "expected one of `ids`, `rows`, `hashes`, found classes, logits"),
        (dict(drop=["rows"], ids=np.arange(3)), "ids: expected strings .N,., found int64"),
        (dict(drop=["rows"], ids=np.array(["a", "", "b"])), r"entry 1 \(id ''\): no id"),
        (dict(drop=["rows"], ids=np.array(["a", "b", "a"])), r"\(id 'a'\): id 'a' was already"),
        (dict(rows=np.arange(0), logits=LOGITS[:0]), "no entries"),
        (dict(classes=np.array([{}], dtype=object)), "no readable .npz file"),
        (
            dict(drop=["logits", "rows", "classes"], z=LOGITS),
            "expected one of `logits`, `probabilities`, found none of the known arrays$",
        ),
    ],
)
def test_bad_npz(npz, changes, message):
    with pytest.raises(DataError, match=f"teacher.npz.*{message}"):
        load_soft_labels(npz(**changes))


@pytest.mark.parametrize(
    "row, message",
    [
        (
            [0.2, 0.3, 0.4],
            r"the values sum to 0.9 \(expected values of 0 or more that sum to 1 within",
        ),
        (
            [0.2, 0.3, 0.502],
            r"the values sum to 1.002 \(expected .* within 0.001; divide each row by its sum\)",
        ),
        ([-0.1, 0.6, 0.5], r"-0.1 is below 0 \(.*; give outputs from before the softmax as logits"),
        ([0, 0, 0], r"the values sum to 0 \(expected .*; a row needs a value above 0\)"),
        (
            [2, 3, 5],
            r"the values sum to 10 \(.* within 0.001, or percentages that sum to 100 within 0.1 in "
            r"all rows; divide each row by its sum\)$",
        ),
        ([1, 1.5, 0], r"the values sum to 2.5 \(.* within 0.001, or percentages that sum to 100"),
        ([1, 1, 0], r"the values sum to 2 \(.* within 0.001; divide each row by its sum\)$"),
    ],
)
def test_a_row_that_is_not_a_distribution(npz, row, message):
    path = npz(drop=["logits"], probabilities=np.array([PROBS[0], row, PROBS[2]]))
    with pytest.raises(DataError, match=rf"entry 1 \(row 1\): no distribution: {message}"):
        load_soft_labels(path)


@pytest.mark.parametrize("content", [b"", b"no zip at all", None])
def test_damaged_npz(npz, content):
    path = npz()
    path.write_bytes(path.read_bytes()[:-40] if content is None else content)
    with pytest.raises(DataError, match="teacher.npz: no readable .npz file"):
        load_soft_labels(path)


def test_other_arrays_of_an_npz_are_not_read(npz):
    soft = load_soft_labels(npz(notes=np.array([{"from": "elsewhere"}], dtype=object)))
    np.testing.assert_array_equal(soft.values, LOGITS)


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
        (["0,1,2,3"], {"first": "# Xlogits"}, "'# probabilities', found 'xlogits'$"),
        (["0,1,2,3"], {"first": "#" + 99 * "x"}, f"'# probabilities', found '{'x' * 40}'$"),
        (["0,1,1_0,3"], {}, "line 3: sadness is '1_0', expected a number"),
        (["0,1,\u0663,3"], {}, "line 3: sadness is '\u0663', expected a number"),
        (['0,1,"2"x,3'], {}, "line 3: not a csv row"),
        (["0,1,\0,3"], {}, " line 3: not UTF-8 text; save the file as UTF-8$"),
        (["0"], {"header": "row,crop"}, "expected a header .* found 'row,crop'$"),
        (["0"], {"header": "image," + 99 * "x"}, f"expected a header .* found 'image,{'x' * 54}'$"),
        (
            ["0,1"],
            {"header": "row," + 99 * "\a"},
            f": the class name '{r'.x07' * 40}' contains line ",
        ),
        (["0,x,1"], {"header": "row,crop,a"}, "line 3: crop 'x', expected a whole number 0 or mo"),
        ([], {"header": "id,a,b"}, "no entries"),
        (["0,1,2,3"], {"header": "image,a,b,c"}, "expected a header with 'id', 'row' or 'hash'"),
        (["0"], {"header": "row"}, "expected a header .* then the class names"),
        (["0,1,2"], {"header": "row,sad,sadness"}, "names one class twice"),
        ([], {}, "no entries"),
    ],
)
def test_bad_csv(table, lines, options, message):
    with pytest.raises(DataError, match=f"teacher.csv.*{message}"):
        load_soft_labels(table(*lines, **options))


@pytest.mark.parametrize("content", [b"", b"# logits\n", bytes(range(256)) * 9])
def test_files_that_are_not_csv(table, content):
    path = table()
    path.write_bytes(content)
    with pytest.raises(DataError, match="teacher.csv(: expected a header| line 1: not UTF-8 text)"):
        load_soft_labels(path)


def test_row_numbers_of_nineteen_digits_are_refused(table):
    """Numbers of eighteen digits always fit in 64 bits."""
    soft = load_soft_labels(table("9" * 18 + ",1,2,3"))
    assert soft.rows.tolist() == [10**18 - 1]
    with pytest.raises(DataError, match=f"line 3: row '{'9' * 19}', expected a whole number 0 or"):
        load_soft_labels(table("9" * 19 + ",1,2,3"))


def test_long_fields_are_cut_in_messages(table):
    with pytest.raises(DataError, match=f"row '{'x' * 40}', expected"):
        load_soft_labels(table("x" * 99 + ",1,2,3"))
    with pytest.raises(DataError, match=f"neutral is '{'x' * 20}', expected"):
        load_soft_labels(table(f"0,{'x' * 99},2,3"))


def test_float16_rows_are_added_in_float64(npz):
    """1/2 + (1/2 - 5/4096) is 0.998779, too low; in float16 it would round to within 0.001 of 1."""
    row = np.array([[0.5, 0.5 - 5 / 4096, 0]], np.float16)
    with pytest.raises(DataError, match="no distribution: the values sum to 0.998779 "):
        load_soft_labels(npz(drop=["logits"], probabilities=row, rows=np.arange(1)))


def test_a_csv_is_utf_8_with_or_without_a_bom(table):
    path = table("é,1,2,3", "\ufeffe,4,5,6", header="id,neutral,sad,happy")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    soft = load_soft_labels(path)
    assert soft.kind == "logits" and soft.ids.tolist() == ["é", "\ufeffe"]
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xe9"))
    with pytest.raises(DataError, match="csv line 3: not UTF-8 text; save the file as UTF-8$"):
        load_soft_labels(path)


def test_one_class_is_enough(table):
    assert load_soft_labels(table("0,7", header="row,happy")).values.tolist() == [[7]]


def test_a_csv_that_cannot_be_read(table, monkeypatch):
    from ferdata.files import quoted_csv

    path = table("0,1,2,3")
    for error, message in (
        (PermissionError(13, "Permission denied"), "teacher.csv: no permission to read it$"),
        (OSError(5, "Input/output error"), "teacher.csv: cannot be read .Input/output error.$"),
    ):

        def refuse(*_):
            raise error

        monkeypatch.setattr(quoted_csv, "open", refuse, raising=False)
        with pytest.raises(DataError, match=message):
            load_soft_labels(path)


# Writing


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
@pytest.mark.parametrize("kind", ["logits", "probabilities"])
@pytest.mark.parametrize(
    "key, keys",
    [
        ("rows", np.array([3, 1, 2])),
        ("ids", np.array(["a, b", 'c"d', "ü/1"])),
        ("hashes", content_ids(pictures().images)),
    ],
)
@pytest.mark.parametrize("n_crops", [None, 2])
def test_written_and_read(tmp_path, suffix, kind, key, keys, n_crops):
    rng = np.random.default_rng(0)
    values = rng.standard_normal((3, n_crops or 1, 4)).astype(np.float32)
    if kind == "probabilities":
        values = rng.dirichlet(np.ones(4), (3, n_crops or 1)).astype(np.float32)
    values = values if n_crops else values[:, 0]
    path, classes = tmp_path / f"t{suffix}", ("a", "b, c", "neutral", "happy")
    save_soft_labels(path, values, kind, classes, **{key: keys})
    soft = load_soft_labels(path)
    assert soft.kind == kind and soft.classes == classes and soft.n_crops == n_crops
    assert soft.key[0] == key and soft.key[1].tolist() == keys.tolist()
    if kind == "logits":
        np.testing.assert_array_equal(soft.values, values)
    else:
        np.testing.assert_allclose(np.exp(soft.values), values, rtol=1e-5)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_the_lines_of_a_written_csv(tmp_path):
    path = tmp_path / "t.csv"
    save_soft_labels(path, [[1, -2.5], [0.1, 1e6]], "logits", ["a", "b"], rows=np.array([7, 2]))
    assert path.read_bytes() == b"# logits\nrow,a,b\n7,1,-2.5\n2,0.100000001,1000000\n"
    crops = [[[0.25, 0.75], [1, 0]]]
    save_soft_labels(path, crops, "probabilities", ["a", "b"], ids=np.array(["x, y"]))
    expected = b'# probabilities\nid,crop,a,b\n"x, y",0,0.25,0.75\n"x, y",1,1,0\n'
    assert path.read_bytes() == expected


def test_answers_for_mirror_images_are_only_written_to_npz(tmp_path):
    parts = dict(kind="logits", classes=CLASSES, rows=np.arange(3), flipped=LOGITS + 1)
    save_soft_labels(tmp_path / "t.npz", LOGITS, **parts)
    np.testing.assert_array_equal(load_soft_labels(tmp_path / "t.npz").flipped_values, LOGITS + 1)
    save_soft_labels(tmp_path / "t.npz", LOGITS.astype(float), **parts)
    assert np.load(tmp_path / "t.npz")["logits"].dtype == np.float32
    with pytest.raises(ValueError, match="t.csv: a csv cannot hold answers for mirror images"):
        save_soft_labels(tmp_path / "t.csv", LOGITS, **parts)


@pytest.mark.parametrize(
    "changes, error, message",
    [
        (dict(values=NAN), DataError, r"t.npz entry 1 \(row 1\): logits are not finite"),
        (dict(values=LOGITS, kind="probabilities"), DataError, "no distribution"),
        (dict(values=LOGITS[:2]), DataError, r"logits: expected numbers of shape \(3, 3\)"),
        (dict(values=np.array([["a"]])), DataError, "values: expected numbers, found <U1"),
        (dict(rows=np.array([1, 1, 2])), DataError, "row 1 was already given"),
        (dict(values=masked(LOGITS)), TypeError, "^values has masked values, and every value"),
        (dict(flipped=masked(LOGITS)), TypeError, "^values has masked values, and every value"),
        (dict(rows=masked(np.arange(3))), TypeError, "^rows has masked values, and every value"),
        (dict(values=LOGITS.astype(float) * 1e300), DataError, "logits are not finite"),
        (
            dict(rows=np.array([1.0, 2, 3])),
            DataError,
            r"t.npz: rows: expected whole numbers \(N,\), fo",
        ),
        (
            dict(rows=None, ids=np.arange(3)),
            DataError,
            r"t.npz: ids: expected strings \(N,\), found int64",
        ),
        (dict(classes=["a", "a", "b"]), DataError, "names one class twice"),
        (dict(kind="scores"), ValueError, "kind: expected one of logits, probabilities"),
        (dict(rows=None), ValueError, "expected one of rows, ids and hashes, found 0"),
        (dict(ids=np.array(["a", "b", "c"])), ValueError, "one of .* found rows and ids"),
        (dict(path="t.pt"), ValueError, "expected a name that ends in .npz or .csv"),
        (dict(path="none/t.npz"), OSError, "none"),
        (dict(path="t.csv", rows=None, ids=np.array(["a ", "b", "c"])), ValueError, "id 'a ' has"),
        (dict(path="t.csv", rows=None, ids=np.array(["b", " a", "c"])), ValueError, "id ' a' has"),
        (dict(path="t.csv", rows=None, ids=np.array(["b", "c", "a\rb"])), ValueError, "a.rb' has"),
    ],
)
def test_files_that_could_not_be_read_are_not_written(tmp_path, changes, error, message):
    parts = dict(values=LOGITS, kind="logits", classes=CLASSES, rows=np.arange(3), path="t.npz")
    parts = {**parts, **changes}
    with pytest.raises(error, match=message):
        save_soft_labels(tmp_path / parts.pop("path"), **parts)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "t.npz"
    save_soft_labels(path, LOGITS, "logits", CLASSES, rows=np.arange(3))
    before = path.read_bytes()

    def full(*args, **kwargs):
        args[0].write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="no space"):
        save_soft_labels(path, LOGITS + 1, "logits", CLASSES, rows=np.arange(3))
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


# Files that would take far more memory than their size.


def test_an_array_that_claims_to_be_huge(npz):
    path = npz()
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    header = np.lib.format.magic(1, 0)
    text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 3), }"
    text = text.ljust(117) + b"\n"
    members["logits.npy"] = header + len(text).to_bytes(2, "little") + text + LOGITS.tobytes()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(DataError, match="no readable .npz file .*as its shape"):
        load_soft_labels(path)


def test_a_zip_bomb(tmp_path, monkeypatch):
    from ferdata.files import npz_file

    path = tmp_path / "teacher.npz"
    np.savez_compressed(
        path, logits=np.zeros((300_000, 3), np.float32), rows=np.arange(3), classes=CLASSES
    )
    monkeypatch.setattr(npz_file, "MAX_BYTES", 1 << 20)
    with pytest.raises(DataError, match="arrays of 3,6.* bytes in a file of .*; at most 1,048,576"):
        load_soft_labels(path)


def test_an_endless_csv_is_refused(table, monkeypatch):
    from ferdata.teachers import soft_label_files

    monkeypatch.setattr(soft_label_files, "MAX_ENTRIES", 3)
    with pytest.raises(DataError, match="line 6: more than 3 entries; use the .npz format"):
        load_soft_labels(table(*[f"{i},1,2,3" for i in range(9)]))
    with pytest.raises(DataError, match="line 3: longer than 65536 bytes"):
        load_soft_labels(table("1,1,2," + "3" * 70_000))
    monkeypatch.setattr(soft_label_files, "_MAX_OTHER_LINES", 4)
    assert load_soft_labels(table("1,1,2,3", *4 * [""])).rows.tolist() == [1]  # 7 lines
    with pytest.raises(DataError, match="line 8: too many lines; use the .npz format"):
        load_soft_labels(table("1,1,2,3", *5 * [""]))


def test_one_long_id_does_not_take_memory_for_every_row(tmp_path):
    """3,000 ids, all stored as wide as one of 60,000 characters, would take 720 MB."""
    path = tmp_path / "teacher.csv"
    rows = [f"{n},0.5,0.5" for n in range(3000)]
    path.write_text("\n".join(["id,happy,sad", *rows, "x" * 60_000 + ",0.5,0.5"]))
    tracemalloc.start()
    try:
        expected = "line 3002: id of 60000 characters, more than 8 times the average of 24$"
        with pytest.raises(DataError, match=expected):
            load_soft_labels(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20e6


def test_how_wide_names_may_be(table, monkeypatch):
    """In an array all names are padded to the longest. That is refused if it takes more than
    _SMALL_BYTES (4 bytes a character) and more than 8 times the length of all names together."""
    from ferdata.teachers import soft_label_files

    def load(n_names, longest):
        names = [*string.ascii_letters[: n_names - 1], "-" * longest]
        table_of = table(*(f"{name},1,2,3" for name in names), header="id,neutral,sad,happy")
        return load_soft_labels(table_of).ids.tolist() == names

    monkeypatch.setattr(soft_label_files, "_SMALL_BYTES", 4 * 20 * 20)
    assert load(20, 20)  # 400 characters, 10 times 39, but no more than _SMALL_BYTES
    with pytest.raises(
        DataError, match="csv line 23: id of 20 characters, more than 8 times the average of 2$"
    ):
        load(21, 20)
    monkeypatch.setattr(soft_label_files, "_SMALL_BYTES", 100)
    assert load(15, 16)  # 240 characters, exactly 8 times 30
    with pytest.raises(DataError, match="id of 17 characters"):
        load(15, 17)
