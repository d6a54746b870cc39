"""A list of classes: which are used, under which names, in which order, and what is left out."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from source_trees import Linked, ck_plus, faces, save

import ferdata
import ferdata.cli
from ferdata.class_choice import advice_on_names, class_choice, suggested_list
from ferdata.errors import DataError
from ferdata.labels import FER2013, FERPLUS8, LabelError, LabelSpace, canonical_name, label_map
from ferdata.name_suggestions import likely_class, nearest
from ferdata.sources.dataset_loading import list_files, recognise
from tinycnn import cli

WORDS = ["happy", "Anger", "rage", "0", "1", "2", "keen", "suprise", "a=b", "happy=glad", "3=sad"]

# list of classes, names in the data -> {name in the data: its class}, class order
CHOICES = {
    "names keep and order": ("sad,happy", "happy neutral sad", "happy:happy sad:sad", "sad happy"),
    "synonyms": (
        "sadness,happiness",
        "happy sad",
        "happy:happiness sad:sadness",
        "sadness happiness",
    ),
    "pairs": (
        "anger=angry,rage=angry,happy",
        "anger happy rage calm",
        "anger:angry rage:angry happy:happy",
        "angry happy",
    ),
    "numbers by place": ("a,b,c", "0 1 2", "0:a 1:b 2:c", "a b c"),
    "numbers, one without images": ("a,b,c", "0 2", "0:a 2:c", "a b c"),
    "numbers by pairs": ("3=happy,6=neutral", "0 3 4 6", "3:happy 6:neutral", "happy neutral"),
    "numbers with zeros": ("1=a,2=b", "01 02 03", "01:a 02:b", "a b"),
    "numbers that are names": ("2,1", "1 2 3", "1:1 2:2", "2 1"),
    "two spellings in the data": (
        "angry,sad",
        "Anger angry sad",
        "Anger:angry angry:angry sad:sad",
        "angry sad",
    ),
    "spellings told apart": ("anger=a,angry=b", "anger angry", "anger:a angry:b", "a b"),
    "a mapping": ({"0": "x", "1": "y", "2": "x"}, "0 1 2", "0:x 1:y 2:x", "x y"),
    "more names than the data have": (
        "happy,sad,contempt",
        "happy sad",
        "happy:happy sad:sad",
        "happy sad contempt",
    ),
}


@pytest.mark.parametrize("case", CHOICES)
def test_what_a_list_of_classes_means(case):
    classes, names, expected, order = CHOICES[case]
    chosen = class_choice(classes).among(names.split(), "here")
    assert chosen.space.classes == tuple(order.split())
    labelled = {name: k for name, k in chosen.label_of.items() if k is not None}
    assert {name: chosen.space.classes[k] for name, k in labelled.items()} == dict(
        pair.split(":") for pair in expected.split()
    )


@pytest.mark.parametrize(
    "classes, names, message",
    [
        (
            "happy,sadd",
            "happy sad",
            "'sadd', which the data do not have; they have happy, sad. If 's",
        ),
        (
            "happy,calm",
            "happy sad",
            "^here: the list of classes has 'calm', which the data do not hav",
        ),
        ("happy=a,calm=b", "happy", "the list of classes has 'calm'"),
        ("a,b", "0 1 2", r"class 2, but 2 names .* 0 to 1; .*, as in classes='0=a,1=b'"),
        ("a,b,c", "1 2 3", r"class 3, but 3 names in a row .* as in classes='1=a,2=b,3=c'"),
        ("a,b", "-1 0", "class -1, but 2 names in a row"),
    ],
)
def test_names_that_the_data_do_not_have(classes, names, message):
    with pytest.raises(LabelError, match=message):
        class_choice(classes).among(names.split(), "here")


@pytest.mark.parametrize(
    "classes, message",
    [
        ("", "class '': expected NAME, or FROM=NAME"),
        ("happy,", "class '': expected NAME"),
        ("happy=", "class 'happy': expected NAME, or FROM=NAME"),
        ("=happy", "class 'happy': expected NAME, or FROM=NAME"),
        ([], "an empty list of classes"),
        ("happy,Happiness", "names one class twice: 'happy' and 'Happiness'"),
        ("0=a,00=b", "has '00' twice; each name has one class"),
        ("x=a,X=b", "has 'X' twice"),
    ],
)
def test_lists_that_mean_nothing(classes, message):
    with pytest.raises(LabelError, match=message):
        class_choice(classes)


@given(
    st.lists(st.sampled_from(WORDS) | st.text(max_size=6), max_size=5),
    st.lists(st.sampled_from(WORDS) | st.text(max_size=6), max_size=5, unique=True),
)
def test_any_list_has_a_meaning_or_one_error(items, names):
    try:
        chosen = class_choice(",".join(items)).among(names, "here")
    except LabelError as error:
        assert len(str(error)) < 1500
    else:
        assert list(chosen.label_of) == names
        assert all(k is None or 0 <= k < len(chosen.space) for k in chosen.label_of.values())
        assert all(isinstance(note, str) for note in chosen.notes(dict.fromkeys(names, 1)))


# Suggestions.


@pytest.mark.parametrize(
    "name, expected",
    [
        *(
            ("suprise", "surprise"),
            ("neural", "neutral"),
            ("natural", "neutral"),
            ("hapy", "happy"),
        ),
        *(("Angst", "fear"), ("Wut", "anger"), ("Überraschung", "surprise"), ("colère", "anger")),
        *(("felicidad", "happiness"), ("tristezza", "sadness"), ("Kızgın", "anger")),
        *(("高兴", "happiness"), ("01_angry", "angry"), ("sad faces", "sad"), ("SU", "surprise")),
        *((name, None) for name in ("bored", "calm", "beach", "ahegao", "", "7", "happy sad")),
    ],
)
def test_a_name_suggests_the_emotion_that_it_may_stand_for(name, expected):
    assert likely_class(name) == expected


def test_suggestions_are_lists_of_classes_and_name_what_they_leave_out():
    assert suggested_list(["happy", "neural", "x"]) == ("happy,neural=neutral", ("x",))
    assert nearest("Angst", ["fearful", "happy"]) == "fearful"
    assert nearest("calm", ["fearful", "happy"]) is None


# Data sets.


def tree(root, names, n=2):
    link = Linked(root)
    for name in names:
        for k in range(n):
            link(f"{name}/{k}.png")
    return link.root


def by_folder(files):
    return {
        path.split("/")[-2]: files.label_space.classes[k]
        for path, k in zip(files.paths, files.labels)
    }


def test_numbered_folders_are_named_in_order(tmp_path):
    root = tree(tmp_path / "set", "0123456")
    with pytest.raises(DataError, match=r"in the folders 0, 1, 2, .*name them in order: classes="):
        list_files(root)
    files = list_files(root, classes=FER2013.classes)
    assert recognise(root, FER2013.classes).source == files.source == "folders"
    assert by_folder(files) == dict(zip("0123456", FER2013.classes))
    files = list_files(root, classes="3=happy,6=neutral")
    assert by_folder(files) == {"3": "happy", "6": "neutral"}
    assert files.notes[1] == (
        "10 images left out, of classes that are not in the list of classes: 0 (2), 1 (2), 2 (2), "
        "4 (2), 5 (2)"
    )
    assert sum(files.unread.left_out.values()) == 10 and not files.unread.pictures


def test_misspelt_folders_are_never_mapped_in_silence(tmp_path):
    root = tree(tmp_path / "set", ["happy", "sad", "suprise", "neural"])
    with pytest.raises(
        DataError, match=r"neural: the name is not a known class \(like 'neutral'\)"
    ):
        list_files(root)
    with pytest.raises(DataError, match="classes='happy,neural=neutral,sad,suprise=surprise'"):
        list_files(root)
    files = list_files(root, classes="happy,neural=neutral,sad,suprise=surprise")
    assert files.label_space.classes == ("happy", "neutral", "sad", "surprise")
    assert files.notes == (
        "classes, with their numbers of images: neural (2) as neutral, suprise (2) as surprise",
    )


def test_folders_in_another_language(tmp_path):
    root = tree(tmp_path / "set/Bilder", ["Angst", "Freude", "Wut", "müde"]).parent
    leaves_out = r"\(this leaves out müde; add it to the list to use it\)"
    advice = f"classes='Angst=fear,Freude=happiness,Wut=anger' {leaves_out}"
    with pytest.raises(DataError, match=advice):
        list_files(root)
    files = list_files(root, classes="Angst=fear,Freude=happiness,Wut=anger")
    assert by_folder(files) == {"Angst": "fear", "Freude": "happiness", "Wut": "anger"}


def test_classes_of_folders_are_kept_in_order_or_merged(tmp_path):
    root = tree(tmp_path / "set", ["angry", "happy", "neutral", "rage"])
    files = list_files(root, classes=("neutral", "happy"))
    assert files.label_space.classes == ("neutral", "happy") and len(files) == 4
    assert files.notes == (
        "4 images left out, of classes that are not in the list of classes: angry (2), rage (2)",
    )
    files = list_files(root, classes="angry,rage=angry,happy,neutral")
    assert np.bincount(files.labels).tolist() == [4, 2, 2]
    assert files.notes == (
        "classes, with their numbers of images: angry (2) as angry, rage (2) as angry",
    )


def test_classes_of_a_data_set_with_names_of_its_own(tmp_path):
    sequences = {f"S{n:03d}/001": (n, 4) for n in (1, 3, 5, 7)}
    root = ck_plus(tmp_path / "CK+", sequences)
    everything = list_files(root)
    files = list_files(root, classes="happy,anger=negative,disgust=negative")
    assert files.label_space.classes == ("happy", "negative")
    assert np.bincount(files.labels).tolist() == [3, 6]
    assert files.subjects.tolist() == ["S001"] * 3 + ["S003"] * 3 + ["S005"] * 3
    assert len(everything) - len(files) == sum(
        files.unread.left_out[k] for k in files.unread.left_out if "classes" in k
    )
    assert any("neutral (4)" in note and "surprise (3)" in note for note in files.notes)
    with pytest.raises(
        LabelError, match="ck_plus: the list of classes has 'hapy', .* meant to be 'happy'"
    ):
        list_files(root, classes="hapy,sad=x")


def test_classes_of_a_csv_and_of_a_packed_data_set(tmp_path):
    pixels = " ".join(["7"] * 48 * 48)
    rows = [f"{k % 7},{pixels},Training" for k in range(9)]
    (tmp_path / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *rows]) + "\n")
    three = ferdata.open(tmp_path / "fer2013.csv", classes="neutral,angry,sad", cache=False)
    assert three.labels.tolist() == [1, 2, 0, 1] and three.rows.tolist() == [0, 4, 6, 7]
    assert three.notes == (
        "5 images left out, of classes that are not in the list of classes: disgust (2), fear (1), "
        "happy (1), surprise (1)",
    )
    ferdata.save_packed(ferdata.open(tmp_path / "fer2013.csv", cache=False), tmp_path / "all.npz")
    packed = ferdata.open(tmp_path / "all.npz", classes="neutral,angry,sad")
    assert packed.labels.tolist() == [1, 2, 0, 1]
    merged = packed.with_classes("neutral=calm,angry=other,sad=other")
    ferdata.save_packed(merged, tmp_path / "merged.npz")
    assert ferdata.load_packed(tmp_path / "merged.npz").label_space == merged.label_space


# Targets and soft labels follow.


def dataset(n=6):
    """Labels 0..5 in the space of FER+, a distribution and a teacher's logits for each image."""
    rng = np.random.default_rng(0)
    return ferdata.FaceDataset(
        images=rng.integers(0, 256, (n, 8, 8), np.uint8),
        ids=np.array([f"{k}" for k in range(n)]),
        label_space=FERPLUS8,
        labels=np.arange(n),
        targets=rng.dirichlet(np.ones(8), n).astype(np.float32),
        soft_labels=rng.normal(size=(n, 8)).astype(np.float32),
    )


def softmax(logits):
    e = np.exp(logits.astype(np.float64))
    return e / e.sum(axis=1, keepdims=True)


def test_probabilities_of_merged_classes_are_added():
    """In FER+ neutral is 0, happiness 1, anger 4, disgust 5 and fear 6."""
    data = dataset()
    merged = data.with_classes("anger=bad,disgust=bad,fear=bad,happy,neutral")
    assert merged.classes == ("bad", "happy", "neutral")
    assert merged.labels.tolist() == [2, 1, 0, 0] and merged.ids.tolist() == ["0", "1", "4", "5"]
    for before, after in (
        (data.targets, merged.targets),
        (softmax(data.soft_labels), softmax(merged.soft_labels)),
    ):
        before = before[[0, 1, 4, 5]].astype(np.float64)
        expected = np.stack([before[:, 4:7].sum(axis=1), before[:, 1], before[:, 0]], axis=1)
        expected /= expected.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(after, expected, rtol=1e-5)


def test_an_image_without_a_label_stays_without_one():
    data = ferdata.FaceDataset(
        images=np.zeros((3, 4, 4), np.uint8),
        ids=np.array(["a", "b", "c"]),
        label_space=LabelSpace("x", ("angry", "happy", "sad")),
        labels=np.array([0, 0, 2]),
        has_label=np.array([True, False, True]),
    )
    chosen = data.with_classes("sad,happy")
    assert chosen.ids.tolist() == ["b", "c"] and chosen.known_labels.tolist() == [-1, 0]


def teacher(tmp_path, classes, logits, ids):
    path = tmp_path / "teacher.npz"
    ferdata.save_soft_labels(path, logits, "logits", classes, ids=ids)
    return path


@pytest.mark.parametrize("classes", [FERPLUS8.classes, FER2013.classes], ids=["ferplus", "fer2013"])
def test_a_teacher_of_all_classes_follows(tmp_path, classes):
    data = dataset().with_soft_labels(None).with_classes("anger=bad,disgust=bad,sad,happy")
    logits = np.random.default_rng(1).normal(size=(len(data), len(classes))).astype(np.float32)
    values, _, report = ferdata.load_teachers([teacher(tmp_path, classes, logits, data.ids)], data)
    p = dict(zip(map(canonical_name, classes), softmax(logits).T))
    expected = np.stack([p["anger"] + p["disgust"], p["sadness"], p["happiness"]], axis=1)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(softmax(values), expected, rtol=1e-5)
    assert [canonical_name(name) for name in report.merged["bad"]] == ["anger", "disgust"]
    assert {canonical_name(name) for name in report.dropped} == {
        canonical_name(name) for name in classes
    } - {"anger", "disgust", "sadness", "happiness"}


def test_a_teacher_of_the_chosen_classes_is_taken_as_it_is(tmp_path):
    data = dataset().with_classes("anger=bad,disgust=bad,sad,happy")
    logits = np.random.default_rng(1).normal(size=(len(data), 3)).astype(np.float32)
    path = teacher(tmp_path, ("happy", "bad", "sad"), logits, data.ids)
    values, _, report = ferdata.load_teachers([path], data)
    np.testing.assert_array_equal(values, logits[:, [1, 2, 0]])
    assert not report.dropped and not report.merged


def test_a_class_that_the_data_never_had_is_still_refused(tmp_path):
    data = dataset().with_classes("happy,sad")
    logits = np.zeros((len(data), 3), np.float32)
    path = teacher(tmp_path, ("happy", "sad", "calm"), logits, data.ids)
    with pytest.raises(DataError, match="extra class calm"):
        ferdata.load_teachers([path], data)


def test_a_map_to_merged_classes_takes_both_kinds_of_names():
    space = LabelSpace("x", ("bad", "happy"), made_of=(("anger", "fear"), ("happy",)))
    assert label_map(LabelSpace("", ("fear", "happy", "anger")), space).indices == (0, 1, 0)
    assert label_map(LabelSpace("", ("happy", "bad")), space).indices == (1, 0)
    with pytest.raises(LabelError, match="made_of has 1 entries for 2 classes"):
        LabelSpace("x", ("a", "b"), made_of=(("a",),))


# Commands.


@pytest.fixture
def drawn(tmp_path):
    """Class folders of drawn faces: four of each of four classes, one of which is misspelt."""
    data = faces()
    for name, folder in (
        ("happy", "happy"),
        ("sadness", "sad"),
        ("anger", "angry"),
        ("fear", "fera"),
    ):
        of_class = data.images[data.labels == data.label_space.index(name)]
        for k in range(12):
            image = np.roll(of_class[k % 4, :84, :84], k, axis=1)
            save(tmp_path / "set" / folder / f"{k}.png", image)
    return tmp_path


def test_train_with_merged_classes_and_a_teacher(drawn, capsys):
    options = ["--data", str(drawn / "set"), "--classes", "happy,angry=bad,fera=bad"]
    everything = ferdata.open(drawn / "set", classes="happy,sad,angry,fera=fear")
    logits = np.random.default_rng(0).normal(size=(len(everything), 4)).astype(np.float32)
    names = ("happy", "sad", "angry", "fera")
    path = teacher(drawn, names, logits, everything.ids)
    words = ["train", *options, "--teacher", str(path), "--epochs", "1", "--backend", "numpy"]
    assert cli.main([*words, "--out", str(drawn / "run")]) == 0, capsys.readouterr().err
    out = capsys.readouterr().out
    assert "note: classes, with their numbers of images: angry (12) as bad, fera (12) as bad" in out
    assert (
        "note: 12 images left out, of classes that are not in the list of classes: sad (12)" in out
    )
    assert "note: the teacher's sad left out" in out
    assert "note: the teacher's probabilities of angry and fera are added: bad" in out
    header = (drawn / "run/predictions.csv").read_text().splitlines()[0]
    assert header == "id,label,predicted,happy,bad"
    status = cli.main(
        [
            "convert",
            str(drawn / "run/model.safetensors"),
            str(drawn / "again.safetensors"),
            *options,
        ]
    )
    assert status == 0 and "on 36 images" in capsys.readouterr().out


def test_check_counts_only_the_chosen_classes(drawn, capsys):
    ferdata.cli.main(["check", str(drawn / "set"), "--classes", "happy,sad", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["counts"]["images"] == 24 and list(found["classes"])[:2] == ["happy", "sad"]
    assert "angry (12), fera (12)" in found["notes"][0]


def test_a_wrong_list_is_a_wrong_option(drawn, capsys):
    assert ferdata.cli.main(["check", str(drawn / "set"), "--classes", "happy,=x"]) == 2
    assert "expected NAME, or FROM=NAME" in capsys.readouterr().err


def test_blanks_and_line_ends_in_names_of_the_data():
    """Python's strip takes away more than its int accepts; a message stays one line."""
    assert class_choice("a,b").among(["\x1c0", "1"], "data").label_of == {"\x1c0": 0, "1": 1}
    assert "\n" not in advice_on_names(["h\ny", "x"])
    (note,) = class_choice("x").among(["h\ny", "x"], "data").notes({"h\ny": 2, "x": 1})
    assert "\n" not in note
