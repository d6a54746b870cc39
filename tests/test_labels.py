"""Label spaces are mapped by class name, never by position; a map names what it drops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferdata.errors import DataError
from ferdata.labels import (
    FER2013,
    FER2013_FOLDERS,
    FERPLUS8,
    FERPLUS10,
    MICROEXPNET8,
    LabelError,
    LabelSpace,
    checked_labels,
    is_known_class,
    label_map,
    mapped_distributions,
    mapped_labels,
)

EIGHT = [MICROEXPNET8, FERPLUS8]
SEVEN = [FER2013, FER2013_FOLDERS]


def test_published_orders():
    assert FER2013.classes[3] == "happy" and FER2013.index("neutral") == 6
    assert FER2013_FOLDERS.index("neutral") == 4
    assert FERPLUS10.classes[:8] == FERPLUS8.classes
    assert FERPLUS10.classes[8:] == ("unknown", "NF")
    assert [MICROEXPNET8.index(c) for c in ("neutral", "anger", "contempt", "surprise")] == [
        *(0, 1, 2, 7)
    ]


def test_every_class_by_hand():
    # positions in microexpnet8 of neutral happiness surprise sadness anger disgust fear contempt
    assert label_map(FERPLUS8, MICROEXPNET8).indices == (0, 5, 7, 6, 1, 3, 4, 2)
    assert label_map(FER2013, MICROEXPNET8).indices == (1, 3, 4, 5, 6, 7, 0)
    assert label_map(FER2013, MICROEXPNET8).unfilled == ("contempt",)


@pytest.mark.parametrize("name", ["happy", "happiness", "Happy", " HAPPINESS "])
def test_synonyms_of_a_class(name):
    assert MICROEXPNET8.index(name) == 5
    assert FERPLUS8.index(name) == 1


def test_known_classes_and_others():
    assert all(is_known_class(name) for name in ("NF", " Not a face ", "angry", "Neutral"))
    assert not is_known_class("bored") and not is_known_class("")


def test_an_unknown_name_is_its_own_class():
    space = LabelSpace("mine", ["Bored", np.str_("sleepy"), "sad"])
    assert space.classes == ("Bored", "sleepy", "sad") and type(space.classes[1]) is str
    assert [space.index(name) for name in ("BORED ", "Sleepy", "sadness")] == [0, 1, 2]


def test_unknown_name_lists_the_classes():
    with pytest.raises(LabelError, match="'ferplus8' has no class 'bored'; it has neutral, happi"):
        FERPLUS8.index("bored")


def test_lossy_map_is_refused_and_then_says_what_it_drops():
    with pytest.raises(LabelError, match="'fer2013' has no class for contempt of 'microexpnet8'"):
        label_map(MICROEXPNET8, FER2013)
    lossy = label_map(FERPLUS10, FER2013, allow_lossy=True)
    assert lossy.dropped == ("contempt", "unknown", "NF")
    with pytest.raises(LabelError, match="^'fer2013' has no class for contempt, unknown, NF of 'f"):
        label_map(FERPLUS10, FER2013)
    labels = np.array([0, 7, 8, 9, 1])
    assert lossy.keeps(labels).tolist() == [True, False, False, False, True]
    assert lossy.apply(labels[[0, 4]]).tolist() == [6, 3]
    with pytest.raises(LabelError, match=r"'contempt' \(entry 1, 3 in all\) has no class"):
        lossy.apply(labels)


@pytest.mark.parametrize(
    "classes, message",
    [
        ((), "has no classes"),
        (("happy", "sad", "Happiness"), "names one class twice: 'happy' and 'Happiness'"),
        (("happy", " "), "has a class without a name"),
    ],
)
def test_label_space_is_checked(classes, message):
    with pytest.raises(LabelError, match=message):
        LabelSpace("mine", classes)


@pytest.mark.parametrize(
    "labels, message",
    [
        ([0, 8], r"label 8 \(entry 1\) is outside 'ferplus8': expected 0..7"),
        ([-1], r"label -1 \(entry 0\) is outside"),
        ([0.0], r"expected integer labels of shape \(N,\), found float64"),
    ],
)
def test_labels_outside_the_label_space(labels, message):
    with pytest.raises(DataError, match=message):
        label_map(FERPLUS8, MICROEXPNET8).apply(np.array(labels))


@given(st.sampled_from([EIGHT, SEVEN]), st.data())
def test_round_trip_keeps_labels_and_columns(spaces, data):
    there, back = label_map(spaces[0], spaces[1]), label_map(spaces[1], spaces[0])
    k = len(spaces[0])
    labels = np.array(data.draw(st.lists(st.integers(0, k - 1))), dtype=np.int64)
    np.testing.assert_array_equal(back.apply(there.apply(labels)), labels)
    one_hot = np.eye(k, dtype=np.float32)[labels]
    moved = there.apply_columns(one_hot)
    assert moved.dtype == np.float32
    np.testing.assert_array_equal(
        moved.argmax(axis=1) if len(labels) else labels, there.apply(labels)
    )
    np.testing.assert_array_equal(back.apply_columns(moved), one_hot)


@given(st.permutations(FERPLUS10.classes), st.permutations(FERPLUS10.classes), st.integers(1, 10))
def test_a_map_matches_classes_by_name_in_any_order(source, target, k):
    a, b = LabelSpace("a", tuple(source)), LabelSpace("b", tuple(target[:k]))
    mapped = label_map(a, b, allow_lossy=True)
    for i, name in enumerate(source):
        if mapped.indices[i] is None:
            assert name in mapped.dropped and name not in b.classes
        else:
            assert b.classes[mapped.indices[i]] == name
    assert set(mapped.unfilled) == set(b.classes) - set(source)


def test_columns_that_cannot_be_filled():
    values = np.ones((2, 7), dtype=np.float32)
    to_eight = label_map(FER2013, MICROEXPNET8)
    with pytest.raises(LabelError, match="'fer2013' has no values for contempt of 'microexpnet8'"):
        to_eight.apply_columns(values)
    filled = to_eight.apply_columns(values, fill=-2.5)
    assert filled.tolist() == 2 * [[1, 1, -2.5, 1, 1, 1, 1, 1]] and filled.dtype == np.float32
    to_ten = label_map(MICROEXPNET8, FERPLUS10)
    with pytest.raises(LabelError, match="no values for unknown, NF of 'ferplus10'$"):
        to_ten.apply_columns(np.ones((1, 8)))
    with pytest.raises(LabelError, match=r"expected \(N, 7\) values for 'fer2013', found shape"):
        to_eight.apply_columns(values[:, :6])


# Anger and fear become one class; what is called surprise is left out, contempt has no source.
MIXED = LabelSpace("mixed", ("anger", "happy", "surprise", "fear"))
MERGED = LabelSpace(
    "merged",
    ("glad", "contempt", "bad"),
    made_of=(("happiness",), ("contempt",), ("angry", "afraid")),
)


def merging():
    return label_map(MIXED, MERGED, allow_lossy=True)


def test_classes_that_become_one_are_added():
    mapped = merging()
    assert mapped.indices == (2, 0, None, 2) and mapped.merged == {"bad": ("anger", "fear")}
    assert (mapped.dropped, mapped.unfilled) == (("surprise",), ("contempt",))
    values = np.array([[1, 10, 100, 1000], [2, 20, 200, 2000]], np.float32)
    moved = mapped.apply_columns(values, fill=-1)
    assert moved.tolist() == [[10, -1, 1001], [20, -1, 2002]] and moved.dtype == np.float32


def test_of_logarithms_that_become_one_the_exponentials_are_added():
    values = np.log([[0.1, 0.2, 0.3, 0.4], [0.25, 0.25, 0.25, 0.25]])
    moved = merging().apply_columns(values, fill=-9.0, logarithms=True)
    expected = [[np.log(0.2), -9, np.log(0.5)], [np.log(0.25), -9, np.log(0.5)]]
    np.testing.assert_allclose(moved, expected, rtol=1e-14)


def test_a_source_that_has_the_names_of_the_merged_classes():
    """Its "bad" is the target's class; a name of the data counts only if not all names are such."""
    assert label_map(LabelSpace("new", ("Bad", "glad")), MERGED).indices == (2, 0)
    swapped = LabelSpace("swapped", ("sad", "happy"), made_of=(("happy",), ("sad",)))
    assert label_map(LabelSpace("both", ("sad", "happy")), swapped).indices == (0, 1)
    assert label_map(LabelSpace("data", ("happy", "angry")), MERGED).indices == (0, 2)


def test_distributions_without_the_dropped_class_sum_to_one_again():
    rows = np.array([[0.2, 0.1, 0.5, 0.2], [0, 0, 1, 0], [0.5, 0.5, 0, 0]])
    moved, left = mapped_distributions(rows, merging())
    np.testing.assert_allclose(moved, [[0.2, 0, 0.8], [0, 0, 0], [0.5, 0, 0.5]], rtol=1e-15)
    assert left.tolist() == [True, False, True]


def test_distributions_of_which_no_class_is_dropped_stay_as_they_are():
    """A sum of 0.9995 is within the tolerance, and nothing divides by it."""
    rows = np.array([[0.4995, 0.5], [0, 1]], np.float32)
    two, three = LabelSpace("two", ("happy", "sad")), LabelSpace("x", ("fear", "sad", "happy"))
    moved, left = mapped_distributions(rows, label_map(two, three))
    assert moved.dtype == np.float32 and left.tolist() == [True, True]
    np.testing.assert_array_equal(moved, [[0, 0.5, np.float32(0.4995)], [0, 1, 0]])


def test_images_of_dropped_classes_are_not_kept_those_without_a_label_are():
    labels = np.array([3, 2, 1, 2, 0])
    moved, kept = mapped_labels(labels, np.array([True, True, True, False, False]), merging())
    assert moved.tolist() == [2, 0, 0, 0, 0] and moved.dtype == np.int64
    assert kept.tolist() == [True, False, True, True, True]
    moved, kept = mapped_labels(labels, None, merging())
    assert moved.tolist() == [2, 0, 0, 0, 2]
    assert kept.tolist() == [True, False, True, False, True]


@pytest.mark.parametrize(
    "use, name",
    [
        (lambda masked: merging().apply(masked), "labels"),
        (lambda masked: merging().keeps(masked), "labels"),
        (lambda masked: checked_labels(masked, MIXED), "labels"),
        (lambda masked: merging().apply_columns(masked[None], fill=0), "values"),
    ],
    ids=["apply", "keeps", "checked_labels", "apply_columns"],
)
def test_arrays_with_masked_values_are_named(use, name):
    masked = np.ma.masked_array([0, 1, 1, 0], mask=[False, True, False, False])
    with pytest.raises(TypeError, match=f"^{name} has masked values, and every value would be"):
        use(masked)


def test_names_in_the_data_are_given_for_every_class():
    message = r"^label space 'mine': made_of has 1 entries for 2 classes$"
    with pytest.raises(LabelError, match=message):
        LabelSpace("mine", ("happy", "sad"), made_of=(("happy",),))


def test_a_renamed_class_is_the_one_that_it_is_in_the_data():
    """Its new name is not known; a class of several names in the data is none of them."""
    classes = ("joy", "bad", "SAD")
    made_of = (("happiness",), ("anger", "fear"), ("sadness",))
    space = LabelSpace("mine", classes, made_of)
    assert [space.canonical_name(name) for name in classes] == ["happiness", "bad", "sadness"]
    assert space.canonical_name("Happy") == "happiness" and space.canonical_name("new") == "new"
    assert LabelSpace("plain", classes).canonical_name("joy") == "joy"
