"""Teacher outputs are matched by id, row or hash, classes by name; what is unclear is an error."""

import hashlib
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_teachers import (
    CLASSES,
    LOGITS,
    NAN,
    PROBS,
    THREE,
    dataset,
    masked,
    pictures,
    write_npz,
    write_table,
)

from ferdata.dataset import FaceDataset
from ferdata.errors import DataError
from ferdata.image_hashes import content_ids
from ferdata.labels import FERPLUS8, MICROEXPNET8, LabelSpace
from ferdata.teachers.several_teachers import average_soft_labels, load_teachers
from ferdata.teachers.soft_labels import (
    AlignReport,
    SoftLabels,
    align_soft_labels,
    load_soft_labels,
)
from tinycnn.ground.distributions import log_sum_exp


@pytest.fixture
def npz(tmp_path):
    return partial(write_npz, tmp_path)


@pytest.fixture
def table(tmp_path):
    return partial(write_table, tmp_path)


# Files that are right.


def test_rows_and_classes_are_matched_by_name(npz):
    path = npz(rows=np.array([20, 10, 30], dtype=np.int32))
    values, report = align_soft_labels(load_soft_labels(path), dataset([10, 20]))
    # rows 10 and 20 are entries 1 and 0; happy, sad and neutral are columns 2, 1 and 0
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
    path = npz(drop=["logits"], probabilities=np.array([[1e-7, 1 - 1e-7, 0], *PROBS[:2]]))
    assert load_soft_labels(path).floored_per_row.tolist() == [1, 0, 2]
    assert load_soft_labels(npz()).floored_per_row.dtype == np.int64


def test_float16_probabilities(npz):
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(3), 50).astype(np.float16)
    path = npz(drop=["logits"], probabilities=probs, rows=np.arange(50))
    assert load_soft_labels(path).values.shape == (50, 3)


def test_a_csv_gives_the_same(table, npz):
    lines = [f"{i},{a},{b},{c}" for i, (a, b, c) in enumerate(LOGITS.tolist())]
    ours, theirs = load_soft_labels(table(*lines)), load_soft_labels(npz())
    np.testing.assert_array_equal(ours.values, theirs.values)
    assert ours.classes == theirs.classes and ours.rows.tolist() == [0, 1, 2]


def test_a_csv_with_ids(table):
    path = table("f/1,1,2,3", "f/0,4,5,6", header="id,neutral,sad,happy")
    values, _ = align_soft_labels(load_soft_labels(path), dataset([0, 1]))
    assert values.tolist() == [[6, 5, 4], [3, 2, 1]]


def test_the_first_line_of_a_csv_says_what_it_holds(table):
    said = load_soft_labels(table("0,0.2,0.3,0.5", first="# probabilities"))
    np.testing.assert_allclose(np.exp(said.values), [[0.2, 0.3, 0.5]], rtol=1e-6)
    assert load_soft_labels(table("0,0.2,0.3,0.5")).values[0, 0] == np.float32(0.2)
    assert load_soft_labels(table("0,.2,.3,.5", "1,1,0,0", first="")).kind == "probabilities"
    assert load_soft_labels(table("0,-2,.3,.5", "1,1,0,3", first="")).kind == "logits"
    assert load_soft_labels(table("0,0,.3,1.5", "1,1,0,.5", first="")).kind == "logits"
    with pytest.raises(
        DataError, match="line 2: no distribution: the values sum to 1.5 .*, though"
    ):  # neither logits nor probabilities
        load_soft_labels(table("0,0,.5,1", first=""))


@pytest.mark.parametrize("first", ["", "# probabilities"])
def test_percentages_are_read_as_probabilities(table, npz, first):
    soft = load_soft_labels(table("0,20,30,50", "1,0,99.95,0", "2,25,75,0", first=first))
    assert soft.kind == "probabilities" and soft.percentages
    np.testing.assert_allclose(np.exp(soft.values[0]), [0.2, 0.3, 0.5], rtol=1e-6)
    assert soft.floored_per_row.tolist() == [0, 2, 1]
    values, report = align_soft_labels(soft, dataset([0, 1, 2]))
    assert report.percentages
    np.testing.assert_allclose(np.exp(values[2]), [1e-7, 0.75, 0.25], rtol=1e-5)
    whole = load_soft_labels(npz(drop=["logits"], probabilities=np.array([[20, 30, 50]] * 3)))
    np.testing.assert_allclose(np.exp(whole.values[1]), [0.2, 0.3, 0.5], rtol=1e-6)
    fractions = load_soft_labels(npz(drop=["logits"], probabilities=PROBS))
    assert not fractions.percentages
    assert average_soft_labels([whole, fractions]).percentages


def test_percentages_in_some_rows_or_as_logits_are_refused(table, npz):
    lines = ["0,20,30,50", "1,20,30,49"]
    with pytest.raises(DataError, match=r"line 4: .* the values sum to 99 "):
        load_soft_labels(table(*lines, first="# probabilities"))
    with pytest.raises(DataError, match="logits are percentages: .*; give them as probabilities"):
        load_soft_labels(npz(logits=np.array([[20, 30, 50], [0, 0, 100], [1, 98, 1.0]])))


@pytest.mark.parametrize(
    "odd", ["0.2,0.3,0.6", "-0.5,1,0.5", "nan,0,1", "inf,-inf,0", "1e308,1e308,0"]
)
def test_an_ambiguous_csv_is_refused(table, odd):
    message = (
        "teacher.csv line 3: no distribution: .*, though the file looks like .*; begin it with"
    )
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


# Soft labels that do not fit


def test_there_must_be_as_many_keys_as_values():
    parts = dict(values=LOGITS, classes=tuple(CLASSES), kind="logits", source="here")
    parts.update(ids=None, floored_per_row=np.zeros(3, int))
    message = "^here: expected as many ids or rows or hashes as the 3 rows of values$"
    for rows, hashes in ((None, None), (np.arange(2), None), (np.arange(3), np.array(["a"] * 3))):
        with pytest.raises(DataError, match=message):
            SoftLabels(rows=rows, hashes=hashes, **parts)
    assert SoftLabels(rows=np.arange(3), **parts).key[0] == "rows"


@pytest.mark.parametrize("name", ["values", "rows"])
def test_arrays_with_masked_values_are_named(name):
    parts = dict(values=LOGITS, rows=np.arange(3), ids=None, classes=tuple(CLASSES))
    parts.update(kind="logits", source="here", floored_per_row=np.zeros(3, int))
    parts[name] = masked(parts[name])
    with pytest.raises(TypeError, match=f"^{name} has masked values, and every value would be"):
        SoftLabels(**parts)


def test_missing_rows_are_named(npz):
    with pytest.raises(DataError, match="no entry for 2 of 4 images; the first is row 7$"):
        align_soft_labels(load_soft_labels(npz()), dataset([0, 7, 2, 9]))
    path = npz(drop=["rows"], ids=np.array(["f/0", "f/1", "x"]))
    with pytest.raises(DataError, match="no entry for 1 of 3 images; the first is id 'f/2'"):
        align_soft_labels(load_soft_labels(path), dataset())


def test_an_extra_or_missing_class(npz):
    soft = load_soft_labels(npz())
    two = LabelSpace("two", ("happy", "sad"))
    with pytest.raises(
        DataError, match="extra class neutral; expected happy, sad in any order; extr"
    ):
        align_soft_labels(soft, dataset(space=two))
    one = LabelSpace("one", ("happy",))
    with pytest.raises(
        DataError, match="neutral, sadness; .*; extra_classes='drop' leaves it out$"
    ):
        align_soft_labels(soft, dataset(space=one))
    four = LabelSpace("four", ("happy", "sad", "neutral", "fear"))
    with pytest.raises(DataError, match="missing class fear; .* neutral, fear in any order$"):
        align_soft_labels(soft, dataset(space=four))


def test_a_data_set_that_cannot_be_aligned(npz):
    images, ids = np.zeros((1, 2, 2), dtype=np.uint8), np.array(["f/0"])
    soft = load_soft_labels(npz())
    with pytest.raises(DataError, match="has row numbers, but this data set has no rows"):
        align_soft_labels(soft, FaceDataset(images=images, ids=ids, label_space=THREE))
    with pytest.raises(DataError, match="no label space to align classes to"):
        align_soft_labels(soft, FaceDataset(images=images, ids=ids))


# Images given by hashes of their pixels.


def test_a_content_id_is_the_hash_of_shape_and_pixels():
    images = pictures().images
    expected = [hashlib.sha256(b"(5, 3)" + image.tobytes()).hexdigest() for image in images]
    assert content_ids(images).tolist() == expected
    assert content_ids(images[:, ::-1])[0] != expected[0]
    assert content_ids(images.reshape(3, 3, 5))[0] != expected[0]
    with pytest.raises(DataError, match="images: expected uint8 of shape"):
        content_ids(images.astype(float))


def test_hashes(npz, table):
    data = pictures()
    hashes = content_ids(data.images)[[2, 0, 1]]
    soft = load_soft_labels(npz(drop=["rows"], hashes=np.char.upper(hashes)))
    values, report = align_soft_labels(soft, data)
    assert values[:, 0].tolist() == [6, 9, 3] and report.n_used == 3
    lines = [f"{h},1,2,{i}" for i, h in enumerate(hashes)]
    values, _ = align_soft_labels(
        load_soft_labels(table(*lines, header="hash,neutral,sad,happy")), data
    )
    assert values[:, 0].tolist() == [1, 2, 0]


def test_one_picture_twice_in_the_data_set(npz):
    images = pictures().images[[0, 1, 0]]
    data = FaceDataset(images=images, ids=np.array(["a", "b", "c"]), label_space=THREE)
    path = npz(drop=["rows"], hashes=content_ids(images[:2]), logits=LOGITS[:2])
    values, report = align_soft_labels(load_soft_labels(path), data)
    assert values[:, 0].tolist() == [3, 6, 3] and report.n_used == 2


def test_a_hash_may_be_repeated_with_the_same_answer(npz):
    data = pictures()
    hashes = content_ids(data.images)[[0, 1, 0, 2]]
    logits = np.array([[1, 2, 3], [4, 5, 6], [1, 2.01, 3], [7, 8, 9]])
    soft = load_soft_labels(npz(drop=["rows"], hashes=hashes, logits=logits))
    values, report = align_soft_labels(soft, data)
    assert values.tolist() == [[3, 2, 1], [6, 5, 4], [9, 8, 7]]
    assert (report.n_used, report.n_unused) == (3, 0)
    other = logits.copy()
    other[2, 1] = 2.5
    assert load_soft_labels(
        npz(drop=["rows"], hashes=hashes, logits=logits, logits_flipped=-logits)
    ).flipped_values.tolist() == [[-1, -2, -3], [-4, -5, -6], [-7, -8, -9]]
    for answers in (dict(logits=other), dict(logits=logits, logits_flipped=other)):
        message = "teacher.npz entry 2 .*: another answer than in entry 0 .* for the same picture$"
        with pytest.raises(DataError, match=message):
            load_soft_labels(npz(drop=["rows"], hashes=hashes, **answers))


@pytest.mark.parametrize("hashes", [["a" * 63, "b" * 64, "c" * 64], ["g" * 64] * 3, ["", "", ""]])
def test_keys_that_are_not_hashes(npz, hashes):
    with pytest.raises(DataError, match="entry 0 .*(64 hex digits, see content_ids|no hash)"):
        load_soft_labels(npz(drop=["rows"], hashes=np.array(hashes)))


def test_a_picture_without_an_answer(npz):
    hashes = content_ids(pictures(4).images)[1:]
    with pytest.raises(DataError, match=r"1 of 4 images; the first is 'any/0' \(size \(5, 3\)\)"):
        align_soft_labels(load_soft_labels(npz(drop=["rows"], hashes=hashes)), pictures(4))


# Classes that the data set lacks.

TWO = LabelSpace("two", ("happy", "sad"))


def test_extra_classes_of_probabilities(npz):
    soft = load_soft_labels(npz(drop=["logits"], probabilities=PROBS[:, [1, 0, 2]]))
    # by column: neutral .3 1 .75, sadness .2 0 .25, happiness .5 0 0
    data = dataset(space=TWO)
    with pytest.raises(DataError, match="extra class neutral; .*; extra_classes='drop' leaves it"):
        align_soft_labels(soft, data)
    values, report = align_soft_labels(soft, data, extra_classes="drop")
    np.testing.assert_allclose(np.exp(values[0]), [0.5, 0.2], rtol=1e-6)
    values, report = align_soft_labels(soft, data, extra_classes="renormalise")
    np.testing.assert_allclose(np.exp(values[0]), [5 / 7, 2 / 7], rtol=1e-6)
    np.testing.assert_allclose(np.exp(values[1]), [0.5, 0.5], rtol=1e-6)  # neutral had all
    assert report.dropped == ("neutral",) and report.n_mostly_dropped == 2
    assert values.dtype == np.float32


def test_extra_classes_of_logits(npz):
    soft = load_soft_labels(npz())
    for choice in ("drop", "renormalise"):
        values, report = align_soft_labels(soft, dataset(space=TWO), extra_classes=choice)
        assert values.tolist() == [[3, 2], [6, 5], [9, 8]]
        assert report.dropped == ("neutral",) and report.n_mostly_dropped == 0
    soft = load_soft_labels(npz(logits=LOGITS[:, [2, 1, 0]]))
    _, report = align_soft_labels(soft, dataset(space=TWO), extra_classes="drop")
    assert report.n_mostly_dropped == 3  # neutral has more than 0.6


def test_mostly_dropped_is_the_mean_over_crops(npz):
    """Neutral gets 0.9 and 0.3 in one image's crops, 0.7 and 0.1 in the other's: 0.6 and 0.4."""
    neutral = np.array([[0.9, 0.3], [0.7, 0.1]])
    probs = np.stack([neutral, 1 - neutral, 0 * neutral], axis=-1)
    soft = load_soft_labels(npz(drop=["logits"], probabilities=probs, rows=np.arange(2)))
    for crops in ("keep", "mean"):
        for rows, expected in (([0, 1], 1), ([1, 0], 1), ([1], 0), ([], 0)):
            data = dataset(np.array(rows, int), TWO)
            _, report = align_soft_labels(soft, data, extra_classes="drop", crops=crops)
            assert report.n_mostly_dropped == expected


def test_probabilities_of_merged_classes_are_added(npz):
    """The data set merged neutral and sadness, and images of happiness were left out of it."""
    made_of = (("sad", "neutral"), ("fear",))
    space = LabelSpace("two", ("low", "fear"), made_of, left_out=("Happy",))
    probs = np.array([[0.2, 0.1, 0.3, 0.4], [0.5, 0.25, 0, 0.25]])
    parts = dict(classes=np.array(["neutral", "sadness", "happiness", "fear"]), rows=np.arange(2))
    soft = load_soft_labels(npz(drop=["logits"], probabilities=probs, **parts))
    values, report = align_soft_labels(soft, dataset([0, 1], space))
    np.testing.assert_allclose(np.exp(values), [[0.3, 0.4], [0.75, 0.25]], rtol=1e-6)
    assert report.merged == {"low": ("neutral", "sadness")} and report.dropped == ("happiness",)
    strict = dataset([0, 1], LabelSpace("two", ("low", "fear"), made_of, left_out=("calm",)))
    with pytest.raises(DataError, match="teacher.npz: extra class happiness; expected low, fear"):
        align_soft_labels(soft, strict)


def test_a_missing_class_is_always_an_error(npz):
    space = LabelSpace("other", ("happy", "fear"))
    with pytest.raises(DataError, match="missing class fear"):
        align_soft_labels(load_soft_labels(npz()), dataset(space=space), extra_classes="drop")


def test_unknown_choices(npz):
    soft = load_soft_labels(npz())
    with pytest.raises(ValueError, match="extra_classes: expected one of error, drop, renormalise"):
        align_soft_labels(soft, dataset(), extra_classes="ignore")
    with pytest.raises(ValueError, match="crops: expected one of error, mean, keep, found 'max'"):
        align_soft_labels(soft, dataset(), crops="max")


# Several answers for an image.

CROPS = np.array([LOGITS, LOGITS + [1, 0, 0], LOGITS - [4, 0, 0], LOGITS]).transpose(1, 0, 2)


def crop_lines(order):
    return [f"{i},{c},{','.join(map(str, CROPS[i, c]))}" for i, c in order]


ALL_CROPS = [(2, 3), (0, 0), (1, 2), (0, 1), (2, 1), (1, 0), (0, 3), (2, 0), (1, 1), (0, 2)]
ALL_CROPS += [(1, 3), (2, 2)]


def test_crops_as_an_axis_or_as_entries(npz, table):
    header = "row,crop,neutral,sad,happy"
    i, c = np.array(ALL_CROPS).T
    files = [
        lambda: npz(logits=CROPS),
        lambda: npz(logits=CROPS[i, c], rows=i, crop=c),
        lambda: table(*crop_lines(ALL_CROPS), header=header),
    ]
    for file in files:
        soft = load_soft_labels(file())
        assert soft.n_crops == 4
        with pytest.raises(DataError, match="4 crops an image; average them: crops='mean'"):
            align_soft_labels(soft, dataset())
        kept, report = align_soft_labels(soft, dataset([1, 0]), crops="keep")
        np.testing.assert_array_equal(kept, CROPS[[1, 0]][..., [2, 1, 0]].astype(np.float32))
        assert (report.n_used, report.n_unused) == (2, 1)
        mean, _ = align_soft_labels(soft, dataset([1, 0]), crops="mean")
        assert mean.tolist() == [[6, 5, 3.25], [3, 2, 0.25]] and mean.dtype == np.float32


def test_crops_of_probabilities_are_averaged_as_probabilities(npz):
    soft = load_soft_labels(npz(drop=["logits"], probabilities=PROBS[None], rows=np.array([5])))
    values, report = align_soft_labels(soft, dataset([5]), crops="mean")
    np.testing.assert_allclose(np.exp(values[0]), [0.5 / 3, 2.05 / 3, 0.45 / 3], rtol=1e-5)
    assert values.dtype == np.float32
    assert report.n_floored == 3


def test_one_crop_keeps_its_axis(npz):
    soft = load_soft_labels(npz(logits=LOGITS[:, None]))
    assert soft.n_crops == 1 and soft.values.shape == (3, 1, 3)


def test_rows_may_be_as_many_as_classes_or_crops(npz):
    """All axes have length 3: they must not be confused."""
    values = np.arange(27.0).reshape(3, 3, 3)
    soft = load_soft_labels(npz(logits=values))
    kept, _ = align_soft_labels(soft, dataset(), crops="keep")
    np.testing.assert_array_equal(kept, values[..., [2, 1, 0]])


@pytest.mark.parametrize(
    "order, message",
    [
        (ALL_CROPS[:-1], r"line 3: 3 crops; expected each of the crops 0 to 3 for every image"),
        (  # image 1 comes third; its entries begin in line 5
            [pair for pair in ALL_CROPS if pair != (1, 3)],
            r"line 5: 3 crops; expected each of the crops 0 to 3 for every image",
        ),
        ([*ALL_CROPS, (2, 1)], r"line 15: row 2 crop 1 was already given in line 7"),
    ],
)
def test_crops_that_are_missing_or_repeated(table, order, message):
    with pytest.raises(DataError, match=message):
        load_soft_labels(table(*crop_lines(order), header="row,crop,neutral,sad,happy"))


def test_a_picture_with_one_crop_twice_and_another_missing(npz):
    hashes = content_ids(pictures(2).images)[[0, 0, 1, 1]]
    parts = dict(drop=["rows"], logits=np.zeros((4, 3)), hashes=hashes)
    assert load_soft_labels(npz(crop=np.array([1, 0, 0, 1]), **parts)).n_crops == 2
    message = "entry 2 .*: a crop twice; expected each of the crops 0 to 1 for every image$"
    for twice in (0, 1):
        with pytest.raises(DataError, match=message):
            load_soft_labels(npz(crop=np.array([1, 0, twice, twice]), **parts))


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(crop=np.array([0, 1])), r"crop: expected 3 whole numbers, .* found int64 \(2,\)"),
        (dict(crop=np.zeros(3)), "crop: expected 3 whole numbers"),
        (dict(crop=np.array([0, -1, 0]), rows=np.array([1, 1, 2])), "crops"),
        (dict(crop=np.array([10**12, 0, 0])), r"entry 0 .*: 1 crops; expected each of the crops"),
        (dict(logits=np.zeros((3, 0, 3))), r"expected numbers of shape \(3, 3\)"),
        (dict(logits=CROPS, crop=np.zeros(3, int)), r"expected numbers of shape \(3, 3\)"),
        (dict(logits=np.where(CROPS == 8, np.nan, CROPS)), r"entry 2 \(row 2\) crop 0: logits are"),
    ],
)
def test_bad_crops(npz, changes, message):
    with pytest.raises(DataError, match=f"teacher.npz.*{message}"):
        load_soft_labels(npz(**changes))


# Mirror images.


def test_answers_for_mirror_images(npz):
    soft = load_soft_labels(npz(logits_flipped=LOGITS + 10))
    assert align_soft_labels(soft, dataset([2]))[0].tolist() == [[9, 8, -7]]
    assert align_soft_labels(soft, dataset([2]), flipped=True)[0].tolist() == [[19, 18, 3]]
    with pytest.raises(DataError, match="teacher.npz: has no answers for mirror images"):
        align_soft_labels(load_soft_labels(npz()), dataset(), flipped=True)


def test_mirror_answers_of_crops_and_as_probabilities(npz):
    i, c = np.array(ALL_CROPS).T
    entries = dict(logits=CROPS[i, c], logits_flipped=CROPS[i, c] + 1, rows=i, crop=c)
    flipped = load_soft_labels(npz(**entries)).flipped_values  # images in the order 2, 0, 1
    np.testing.assert_array_equal(flipped, (CROPS[[2, 0, 1]] + 1).astype(np.float32))
    both = dict(probabilities=PROBS, probabilities_flipped=PROBS[::-1])
    soft = load_soft_labels(npz(drop=["logits"], **both))
    np.testing.assert_array_equal(soft.flipped_values, soft.values[::-1])
    assert soft.flipped_values.dtype == flipped.dtype == np.float32


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(logits_flipped=LOGITS[:2]), r"logits_flipped: expected numbers of shape \(3, 3\)"),
        (dict(logits_flipped=NAN), r"entry 1 \(row 1\) \(flipped\): logits are not finite"),
        (
            dict(logits_flipped=CROPS),
            r"logits_flipped: expected the shape of logits \(3, 3\), found \(3, 4, 3\)$",
        ),
        (
            dict(probabilities_flipped=PROBS),
            "`probabilities_flipped` beside `logits`: expected the same",
        ),
    ],
)
def test_bad_answers_for_mirror_images(npz, changes, message):
    with pytest.raises(DataError, match=f"teacher.npz.*{message}"):
        load_soft_labels(npz(**changes))


# Several teachers.


def test_teachers_are_averaged_as_probabilities(npz, tmp_path):
    ours = load_soft_labels(npz())
    other = tmp_path / "other.npz"
    order = [2, 0, 1]
    classes = ["happy", "neutral", "sad"]
    np.savez(other, probabilities=PROBS[order], rows=np.array(order), classes=classes)
    average = average_soft_labels([ours, load_soft_labels(other)], [Fraction(3, 4), Fraction(1, 4)])
    assert average.source == f"{tmp_path / 'teacher.npz'} + {other}"
    assert average.values.dtype == np.float32
    softmax = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    expected = 0.75 * softmax + 0.25 * np.maximum(PROBS[:, [1, 2, 0]], 1e-7)
    np.testing.assert_allclose(np.exp(average.values), expected, rtol=2e-5)
    assert average.classes == ours.classes and average.kind == "probabilities"
    assert average.rows.tolist() == [0, 1, 2] and average.floored_per_row.tolist() == [0, 2, 1]
    values, _ = align_soft_labels(average, dataset([1]))
    np.testing.assert_allclose(np.exp(values[0]), expected[1, [2, 1, 0]], rtol=2e-5)


def test_log_sum_exp_of_equal_values():
    """For (v, v) it is v + log 2, also if the rows are very different."""
    v = np.array([[0, 900], [-2000, 5], [1, 2]], np.float32)[..., None]
    found = log_sum_exp(np.repeat(v, 2, axis=-1))
    np.testing.assert_allclose(found, v.astype(np.float64) + np.log(2), rtol=1e-14)
    assert found.dtype == np.float64


def test_averaging_a_teacher_with_itself_changes_nothing(npz):
    soft = load_soft_labels(npz(logits=np.array([[900.0, 0, -900]] * 3), logits_flipped=LOGITS))
    average = average_soft_labels([soft, soft])
    np.testing.assert_allclose(average.values, [[0, -900, -1800]] * 3)
    softmax = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.exp(average.flipped_values), softmax, rtol=1e-5)
    assert average_soft_labels([soft, load_soft_labels(npz())]).flipped_values is None


def test_teachers_that_do_not_fit_together(npz, tmp_path):
    ours = load_soft_labels(npz())
    for changes, message in (
        (dict(rows=np.array([0, 1, 9])), "the first one missing is row 2"),
        (dict(rows=np.arange(4), logits=np.zeros((4, 3))), "has 4 images, .* has 3$"),
        (dict(drop=["rows"], ids=np.array(["a", "b", "c"])), "has ids, no crops; .* has rows"),
        (dict(logits=CROPS), "has rows, 4 crops; .* has rows, no crops"),
        (
            dict(classes=["neutral", "sad", "fear"]),
            "has classes neutral, sad, fear; expected neutral, sadness, happiness in any order, as",
        ),
        (dict(classes=[*CLASSES, "fear"], logits=np.zeros((3, 4))), "happiness, fear; expected"),
        (dict(classes=CLASSES[:2], logits=np.zeros((3, 2))), "classes neutral, sadness; expected"),
    ):
        with pytest.raises(DataError, match=message):
            average_soft_labels([ours, load_soft_labels(npz(**changes))])
    with pytest.raises(ValueError, match="^no teachers to average$"):
        average_soft_labels([])
    for weights in ([1], [1, 0], [1, -1], [1, np.inf]):
        with pytest.raises(ValueError, match="weights: expected 2 numbers above 0"):
            average_soft_labels([ours, ours], weights)


# The real teacher.


def test_real_teacher_is_as_good_as_its_description_says(shared, tmp_path, monkeypatch):
    """On PublicTest: 84.1 % of the plurality labels, 87.4 % of the majority labels."""
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


def test_real_views_average_to_the_real_teacher(shared):
    """The real teacher's logits are the mean of those of the image and its mirror image."""
    views = load_soft_labels(shared / "data" / "teacher_logits_views.npz")
    whole = load_soft_labels(shared / "data" / "teacher_logits.npz")
    mean = (views.values + views.flipped_values) / 2
    assert np.abs(mean - whole.values).max() < 2e-3 * np.abs(whole.values).max()


def test_a_teacher_for_a_data_set_and_several_of_them(npz, tmp_path):
    faces = dataset((2, 0))
    values, flipped, report = load_teachers([npz()], faces)
    np.testing.assert_array_equal(values, LOGITS[[2, 0]][:, [2, 1, 0]])
    assert flipped is None and report.n_used == 2
    both = npz(logits_flipped=LOGITS + 1)
    values, flipped, _ = load_teachers([both], faces)
    np.testing.assert_array_equal(flipped, values + 1)
    other = tmp_path / "other.npz"
    np.savez(other, logits=-LOGITS, rows=np.arange(3), classes=np.array(CLASSES))
    values, flipped, _ = load_teachers([both, other], faces)
    average = average_soft_labels([load_soft_labels(both), load_soft_labels(other)])
    np.testing.assert_array_equal(values, align_soft_labels(average, faces)[0])
    assert flipped is None
    more = tmp_path / "more.npz"  # with further images, in another order
    further = dict(logits=np.vstack([[[9, 9, 9]], -LOGITS]), logits_flipped=np.ones((4, 3)))
    np.savez(more, **further, rows=np.array([7, 0, 1, 2]), classes=np.array(CLASSES))
    found, flipped, _ = load_teachers([both, more], faces)
    np.testing.assert_array_equal(found, values)
    thirds = np.full(3, 1 / 3)
    for x, answer in zip((LOGITS + 1)[[2, 0]][:, [2, 1, 0]], np.exp(flipped)):
        np.testing.assert_allclose(answer, (np.exp(x) / np.exp(x).sum() + thirds) / 2, rtol=1e-5)
    sure = dict(probabilities=np.vstack([[[0, 0, 1]], PROBS]), rows=np.array([7, 0, 1, 2]))
    np.savez(other, **sure, classes=np.array(CLASSES))
    assert load_teachers([both, other], faces)[2].n_floored == 1  # in row 2; row 7 has two more
    with pytest.raises(DataError, match="teacher.npz: no entry for 1 of 2 images; .* row 7"):
        load_teachers([more, both], dataset([0, 7]))
    with pytest.raises(ValueError, match="no teachers"):
        load_teachers([], faces)


def test_a_class_that_some_teachers_have_and_the_data_set_lacks(npz, tmp_path):
    """The others give it no probability, so dropping it is dropping it from the mean."""
    three = npz(drop=["logits"], probabilities=PROBS).rename(tmp_path / "three.npz")
    shares = np.array([[0.6, 0.1, 0.3], [0.2, 0.8, 0.0], [0.5, 0.25, 0.25]])
    four = npz(
        drop=["logits"],
        probabilities=np.hstack([shares / 2, np.full((3, 1), 0.5)]),
        classes=np.array([*CLASSES, "contempt"]),
    ).rename(tmp_path / "four.npz")
    mean = ((PROBS + shares / 2) / 2)[:, ::-1]  # happy, sad, neutral
    for order in ([three, four], [four, three]):
        with pytest.raises(DataError, match="four.npz: extra class contempt; .*'drop' leaves it"):
            load_teachers(order, dataset())
        values, _, report = load_teachers(order, dataset(), extra_classes="drop")
        assert report.dropped == ("contempt",) and report.n_mostly_dropped == 0
        np.testing.assert_allclose(np.exp(values), mean, atol=1e-6)
        values, _, _ = load_teachers(order, dataset(), extra_classes="renormalise")
        np.testing.assert_allclose(np.exp(values), mean / mean.sum(1, keepdims=True), atol=1e-6)
    logits = npz(logits_flipped=LOGITS).rename(tmp_path / "logits.npz")
    values, _, _ = load_teachers([logits, four], dataset(), extra_classes="drop")
    softmax = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
    expected = ((softmax + shares / 2) / 2)[:, ::-1]
    np.testing.assert_allclose(np.exp(values), expected, atol=1e-6)
    with pytest.raises(DataError, match="three.npz: missing class contempt"):
        space = LabelSpace("four", ("happy", "sad", "neutral", "contempt"))
        load_teachers([three, four], dataset(space=space), extra_classes="drop")
