"""Reading FER2013 and FER+: every form of the files, and every kind of damage."""

import gzip
import io
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferdata.errors import DataError
from ferdata.labels import FER2013, FERPLUS8, FERPLUS10
from ferdata.sources import csv_file
from ferdata.sources.fer2013 import load_fer2013
from ferdata.sources.ferplus import majority, plurality, vote_distribution

VOTES_HEADER = "Usage,Image name," + ",".join(FERPLUS10.classes)
USAGES = ["Training", "Training", "Training", "PublicTest", "PublicTest", "PrivateTest"]
# neutral happiness surprise sadness anger disgust fear contempt unknown NF
VOTES = [
    [
        4,
        0,
        0,
        1,
        3,
        2,
        0,
        0,
        0,
        0,
    ],  # neutral by plurality, but no majority: 4 of 9 without single votes
    [0, 9, 1, 0, 0, 0, 0, 0, 0, 0],  # happiness by both
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 10],  # all votes for "no face": none for an emotion
    [0, 0, 0, 3, 0, 0, 0, 0, 7, 0],  # unknown has most votes, sadness has some
    [0, 0, 0, 0, 0, 0, 5, 0, 5, 0],  # fear ties with unknown: the emotion wins
    [1, 1, 1, 1, 1, 1, 0, 4, 0, 0],  # contempt: 4 of 4 without single votes
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FERDATA_CACHE_DIR", str(tmp_path / "cache"))


def pixels(n=6, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 48, 48), dtype=np.uint8)


def rows(images, usages=USAGES):
    """[[emotion, pixels, Usage], ...] as text; row i has emotion i % 7."""
    return [
        [str(i % 7), " ".join(str(v) for v in image.ravel()), usage]
        for i, (image, usage) in enumerate(zip(images, usages))
    ]


def csv_text(table, header="emotion,pixels,Usage", end="\n"):
    return end.join([header, *(",".join(fields) for fields in table)]) + end


@pytest.fixture
def table():
    return rows(pixels())


@pytest.fixture
def save(tmp_path):
    def save(text, name="fer2013.csv"):
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return save


@pytest.fixture
def votes_file(save):
    def votes_file(votes=VOTES, usages=USAGES, header=VOTES_HEADER):
        lines = [
            f"{u},fer{i}.png,{','.join(map(str, v))}" for i, (u, v) in enumerate(zip(usages, votes))
        ]
        return save("\n".join([header, *lines]) + "\n", "fer2013new.csv")

    return votes_file


def check(data):
    np.testing.assert_array_equal(data.images, pixels())
    assert data.label_space == FER2013 and data.labels.tolist() == [0, 1, 2, 3, 4, 5]
    assert data.split.tolist() == [*["train"] * 3, *["validation"] * 2, "test"]
    assert data.rows.tolist() == [0, 1, 2, 3, 4, 5] and data.ids[5] == "fer2013/00005"


# Forms of the file.


def test_csv(table, save):
    check(load_fer2013(save(csv_text(table))))


def test_csv_gz(table, save):
    check(load_fer2013(save(gzip.compress(csv_text(table).encode()), "fer2013.csv.gz")))


@pytest.mark.parametrize("member", ["fer2013.csv", "fer2013/fer2013.csv", "a/b/renamed.csv"])
def test_zip(table, tmp_path, member):
    path = tmp_path / "fer.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("fer2013/README", "no csv")
        archive.writestr("__MACOSX/fer2013/._fer2013.csv", "junk")
        archive.writestr(member, csv_text(table))
    check(load_fer2013(path))


def test_zip_with_other_csv_files_beside_it(table, tmp_path):
    path = tmp_path / "challenges.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("test.csv", "pixels\n1 2\n")
        archive.writestr("icml_face_data.csv", csv_text(table))
    check(load_fer2013(path))


def test_icml_face_data(table, save):
    reordered = [[emotion, usage, pixels] for emotion, pixels, usage in table]
    text = csv_text(reordered, header="emotion, Usage, pixels")
    check(load_fer2013(save(text, "icml_face_data.csv")))


@pytest.mark.parametrize(
    "change",
    [
        lambda t: csv_text(t, end="\r\n"),
        lambda t: csv_text(t)[:-1],
        lambda t: csv_text(t) + "\n\n",
        lambda t: "\ufeff" + csv_text(t),
        lambda t: csv_text([[e, f'"{p}"', f'"{u}"'] for e, p, u in t]),
        lambda t: csv_text([[e, " " + p.replace(" ", "  ") + " ", u] for e, p, u in t]),
        lambda t: csv_text([[e, " ".join(f"{int(v):03d}" for v in p.split()), u] for e, p, u in t]),
        lambda t: csv_text([["7", *f] for f in t], header="index,emotion,pixels,Usage"),
    ],
    ids=[
        "crlf",
        "no last newline",
        "blank end",
        "bom",
        "quotes",
        "blanks",
        "zeros",
        "extra column",
    ],
)
def test_harmless_differences_are_accepted(table, save, change):
    check(load_fer2013(save(change(table))))


def test_more_rows_than_are_parsed_at_once(save):
    images = pixels(53, seed=3)
    data = load_fer2013(save(csv_text(rows(images, ["Training"] * 53))))
    np.testing.assert_array_equal(data.images, images)
    assert data.labels.tolist() == [i % 7 for i in range(53)]


def test_every_grey_level_in_every_width(save):
    image = (np.arange(48 * 48) % 256).astype(np.uint8).reshape(1, 48, 48)
    np.testing.assert_array_equal(load_fer2013(save(csv_text(rows(image)))).images, image)


# Cache and progress


def test_second_run_reads_the_cache(table, save, monkeypatch):
    path = save(csv_text(table))
    check(load_fer2013(path))
    monkeypatch.setattr("ferdata.sources.fer2013.csv_rows", None)
    check(load_fer2013(path))
    with pytest.raises(TypeError):
        load_fer2013(path, cache=False)


def test_progress_counts_bytes_up_to_the_end(save):
    path = save(csv_text(rows(pixels(3), ["Training"] * 3)))
    seen = []
    load_fer2013(path, progress=lambda done, total: seen.append((done, total)))
    n_bytes = path.stat().st_size
    assert seen[-1] == (n_bytes, n_bytes) and all(0 < d <= t == n_bytes for d, t in seen)


# Targets


def test_votes(table, save, votes_file):
    data = load_fer2013(save(csv_text(table)), votes_file())
    assert data.label_space == FERPLUS8
    assert data.rows.tolist() == [0, 1, 3, 4, 5]  # row 2 has no vote for an emotion
    np.testing.assert_array_equal(data.images, pixels()[[0, 1, 3, 4, 5]])
    np.testing.assert_allclose(data.targets[0], np.array([4, 0, 0, 1, 3, 2, 0, 0]) / 10, rtol=1e-6)
    assert data.targets[2].tolist() == [0, 0, 0, 1, 0, 0, 0, 0]  # of its 10, 3 are emotions
    assert data.has_label.tolist() == [True, True, False, True, True]
    scored = data.labelled()
    assert [FERPLUS8.classes[i] for i in scored.labels] == [
        *("neutral", "happiness", "fear", "contempt")
    ]


def test_plurality(table, save, votes_file):
    data = load_fer2013(save(csv_text(table)), votes_file(), target="plurality")
    assert data.rows.tolist() == [0, 1, 4, 5] and data.labels.tolist() == [0, 1, 6, 7]
    assert data.has_label is None and data.ids[2] == "fer2013/00004"
    np.testing.assert_allclose(data.targets[1], np.array([0, 9, 1, 0, 0, 0, 0, 0]) / 10, rtol=1e-6)


def test_majority(table, save, votes_file):
    data = load_fer2013(save(csv_text(table)), votes_file(), target="majority")
    assert data.rows.tolist() == [1, 5] and data.labels.tolist() == [1, 7]


def test_votes_columns_go_by_name(table, save, votes_file):
    order = [9, 0, 8, 1, 7, 2, 6, 3, 5, 4]
    header = "Usage,Image name," + ",".join(FERPLUS10.classes[i] for i in order)
    path = votes_file([[row[i] for i in order] for row in VOTES], header=header)
    data = load_fer2013(save(csv_text(table)), path, target="plurality")
    assert data.labels.tolist() == [0, 1, 6, 7]


vote_rows = st.lists(
    st.lists(st.integers(0, 9), max_size=10).map(lambda v: [v.count(c) for c in range(10)]),
    min_size=1,
    max_size=8,
)


@given(vote_rows)
def test_targets_against_a_naive_loop(table):
    votes = np.array(table, dtype=np.uint8)
    targets, voted = vote_distribution(votes)
    plural, is_plural = plurality(votes)
    major, is_major = majority(votes)
    for i, row in enumerate(table):
        n_emotions = sum(row[:8])
        assert voted[i] == (n_emotions > 0)
        assert targets[i].tolist() == [
            pytest.approx(v / n_emotions if n_emotions else 0, rel=1e-6) for v in row[:8]
        ]
        # plurality: the first of the ten columns with the most votes
        winner = next(c for c in range(10) if all(row[c] >= v for v in row))
        assert is_plural[i] == (winner < 8 and sum(row) > 0)
        assert not is_plural[i] or plural[i] == winner
        # majority: without single votes, more votes than all other classes together
        kept = [v if v >= 2 else 0 for v in row]
        winners = [c for c in range(8) if kept[c] > sum(kept) - kept[c]]
        assert is_major[i] == (len(winners) == 1)
        assert not is_major[i] or [major[i]] == winners
        assert 0 <= plural[i] < 8 and 0 <= major[i] < 8


# Damage in FER2013's csv. Row 3 of the table is line 5 of the file.


def set_pixel(table, row, text, at=17):
    values = table[row][1].split()
    values[at] = text
    table[row][1] = " ".join(values)


@pytest.mark.parametrize(
    "text",
    [
        "256",
        "-1",
        "1.5",
        "nan",
        "x",
        "1e2",
        "+5",
        "0x1f",
        "65536",
        "1000",
        "9012",
        ":",
        "/5",
        "1:2",
        "1_0",
    ],
)
def test_pixel_that_is_not_a_grey_level(table, save, text):
    set_pixel(table, 3, text)
    with pytest.raises(DataError) as error:
        load_fer2013(save(csv_text(table)))
    assert str(error.value).endswith(
        f"fer2013.csv line 5: pixel 18 is '{text}', expected a whole number 0..255"
    )


def test_last_pixel_is_checked(table, save):
    set_pixel(table, 5, "300", at=2303)
    with pytest.raises(DataError, match="line 7: pixel 2304 is '300'"):
        load_fer2013(save(csv_text(table)))


def test_wrong_number_of_pixels(table, save):
    table[3][1] = " ".join(table[3][1].split()[:-1])
    with pytest.raises(
        DataError, match=r"fer2013.csv line 5: 2303 pixels, expected 2304 \(48 x 48"
    ):
        load_fer2013(save(csv_text(table)))


def test_a_missing_pixel_between_two_blanks(table, save):
    set_pixel(table, 3, "")
    with pytest.raises(DataError, match="line 5: 2303 pixels"):
        load_fer2013(save(csv_text(table)))


def test_a_pixel_moved_to_the_next_row(table, save):
    first, second = table[2][1].split(), table[3][1].split()
    table[2][1], table[3][1] = " ".join(first[:-1]), " ".join(first[-1:] + second)
    with pytest.raises(DataError, match="line 4: 2303 pixels"):
        load_fer2013(save(csv_text(table)))


def test_no_pixels(table, save):
    table[0][1] = ""
    with pytest.raises(DataError, match="line 2: 0 pixels, expected 2304"):
        load_fer2013(save(csv_text(table)))


@pytest.mark.parametrize("text", ["8", "-1", "happy", "", "3.0"])
def test_label_out_of_range(table, save, text):
    table[3][0] = text
    with pytest.raises(DataError, match=f"fer2013.csv line 5: emotion '{text}', expected 0..6"):
        load_fer2013(save(csv_text(table)))


def test_number_7_is_contempt_only_in_a_file_that_cannot_be_fer2013(table, save, monkeypatch):
    table[3][0] = "7"
    data = load_fer2013(save(csv_text(table)))
    assert data.classes[7] == "contempt" and data.labels.tolist() == [0, 1, 2, 7, 4, 5]
    assert data.ids[3] == "ck_extended/00003"
    monkeypatch.setattr("ferdata.sources.fer2013._N_ROWS", (6,))
    with pytest.raises(DataError, match="fer2013.csv line 5: emotion '7', expected 0..6"):
        load_fer2013(save(csv_text(table)), cache=False)


def test_unknown_usage(table, save):
    table[3][2] = "Train"
    with pytest.raises(DataError, match="line 5: Usage 'Train', expected one of Training, PublicT"):
        load_fer2013(save(csv_text(table)))


def test_truncated_csv(table, save):
    text = csv_text(table)
    with pytest.raises(DataError, match=r"line 7: 2 fields, expected 3 .*ends in this line"):
        load_fer2013(save(text[: -len(",PrivateTest\n") - 500]))
    with pytest.raises(DataError, match="line 7: Usage 'Private'"):
        load_fer2013(save(text[: -len("Test\n")]))


def test_row_with_too_many_fields(table, save):
    table[2].append("more")
    with pytest.raises(DataError, match="line 4: 4 fields, expected 3 as in the header$"):
        load_fer2013(save(csv_text(table)))


def test_blank_line_between_rows(table, save):
    lines = csv_text(table).split("\n")
    lines.insert(3, "")
    with pytest.raises(DataError, match="line 4: empty; rows are counted"):
        load_fer2013(save("\n".join(lines)))


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "empty file, expected a header with emotion, pixels, Usage"),
        (b"emotion,pixels,Usage\n", "no rows below the header"),
        (b"emotion,pixels,Usage\n\n\n", "no rows below the header"),
        (b"emotion,Usage\n0,1\n", "line 1: no column 'pixels', or more than one; expected"),
        (b"emotion,pixels,Usage,Usage\n", "line 1: no column 'Usage', or more than one"),
        (bytes(range(128, 256)) * 9000, "line 1: no column 'emotion'"),
        (b"version https://git-lfs.github.com/spec/v1\n", "file begins with 'version https://git-"),
        (b"emotion,pixels,Usage\n" + b"\0" * (2 << 20), "line 2: longer than 1048576 bytes"),
    ],
    ids=["empty", "header", "blank", "no usage", "usage twice", "binary", "lfs", "zeros"],
)
def test_not_a_fer2013_csv(save, content, message):
    with pytest.raises(DataError, match=f"fer2013.csv.*{message}"):
        load_fer2013(save(content))


def test_missing_file_and_folder(tmp_path):
    for cache in (True, False):
        with pytest.raises(DataError, match="none.csv: no such file"):
            load_fer2013(tmp_path / "none.csv", cache=cache)
        with pytest.raises(DataError, match="cannot be read"):
            load_fer2013(tmp_path, cache=cache)


def test_truncated_or_damaged_gz(table, save):
    packed = gzip.compress(csv_text(table).encode())
    with pytest.raises(DataError, match="fer2013.csv.gz: cannot be read, damaged or incomplete"):
        load_fer2013(save(packed[:-2000], "fer2013.csv.gz"))
    damaged = bytearray(packed)
    damaged[-6] ^= 1  # the checksum at the end
    with pytest.raises(DataError, match="fer2013.csv.gz: cannot be read, .*CRC check failed"):
        load_fer2013(save(bytes(damaged), "fer2013.csv.gz"))


def test_bad_zips(table, tmp_path, save):
    path = tmp_path / "fer.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("fer2013/readme.txt", "nothing")
    with pytest.raises(DataError, match="fer.zip: expected one csv file in the zip, found none"):
        load_fer2013(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("b.csv", "")
        archive.writestr("a.csv", "")
    with pytest.raises(DataError, match="expected one csv file in the zip, found 'a.csv', 'b.csv'"):
        load_fer2013(path)
    with pytest.raises(DataError, match="fer.zip: cannot be read, damaged or incomplete"):
        load_fer2013(save(path.read_bytes()[:-30], "fer.zip"))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("fer2013.csv", csv_text(table))
    stored = bytearray(path.read_bytes())
    stored[5000] ^= 1
    with pytest.raises(DataError, match="fer.zip"):
        load_fer2013(save(bytes(stored), "fer.zip"))


def test_encrypted_zip(table, tmp_path, save):
    path = tmp_path / "fer.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("fer2013.csv", csv_text(table))
    stored = bytearray(path.read_bytes())
    for header, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        stored[stored.index(header) + offset] |= 1  # the flag "encrypted"
    with pytest.raises(DataError, match="'fer2013.csv' is encrypted; unpack it first"):
        load_fer2013(save(bytes(stored), "fer.zip"))


# Damage in the votes.


def test_votes_of_another_length(table, save, votes_file):
    path = save(csv_text(table))
    with pytest.raises(
        DataError, match="fer2013new.csv: votes for 5 rows, but .*fer2013.csv has 6"
    ):
        load_fer2013(path, votes_file(VOTES[:5]))


def test_votes_of_other_rows(table, save, votes_file):
    usages = ["Training"] * 4 + USAGES[4:]
    with pytest.raises(
        DataError, match="new.csv line 5: Usage 'Training', but that row of .*Public"
    ):
        load_fer2013(save(csv_text(table)), votes_file(usages=usages))


@pytest.mark.parametrize("text", ["11", "-1", "1.0", "", "x"])
def test_vote_that_is_not_a_count(table, save, votes_file, text):
    votes = [list(v) for v in VOTES]
    votes[1][4] = text
    message = f"new.csv line 3: anger has '{text}' votes, expected a whole number 0..10"
    with pytest.raises(DataError, match=message):
        load_fer2013(save(csv_text(table)), votes_file(votes))


def test_more_than_ten_votes(table, save, votes_file):
    votes = [list(v) for v in VOTES]
    votes[5][9] = 1
    with pytest.raises(DataError, match="new.csv line 7: 11 votes, expected at most 10"):
        load_fer2013(save(csv_text(table)), votes_file(votes))


def test_votes_without_a_column(table, save, votes_file):
    path = votes_file(header=VOTES_HEADER.replace("contempt", "bored"))
    with pytest.raises(DataError, match="new.csv line 1: no column 'contempt', or more than one"):
        load_fer2013(save(csv_text(table)), path)
    with pytest.raises(DataError, match="none.csv: no such file"):
        load_fer2013(save(csv_text(table)), path.with_name("none.csv"))


def test_target_that_does_not_fit(table, save, votes_file):
    path = save(csv_text(table))
    with pytest.raises(ValueError, match="target: expected one of labels, votes, .* found 'best'"):
        load_fer2013(path, target="best")
    with pytest.raises(ValueError, match="target='votes' needs FER.'s fer2013new.csv: votes="):
        load_fer2013(path, target="votes")
    with pytest.raises(ValueError, match="target='labels' does not use votes: omit votes="):
        load_fer2013(path, votes_file(), target="labels")


# The real files


@pytest.fixture(scope="module")
def real(shared, tmp_path_factory):
    folder, cache = shared / "data" / "fer2013", tmp_path_factory.mktemp("cache")

    def real(target):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FERDATA_CACHE_DIR", str(cache))
            votes = None if target == "labels" else folder / "fer2013new.csv"
            return load_fer2013(folder / "fer2013.csv.gz", votes, target)

    return real


def n_rows(data):
    return {s: int((data.split == s).sum()) for s in ("train", "validation", "test")}


def test_real_counts(real):
    """28,709 and 3,589 rows; 3,553 plurality and 3,199 majority labels in PublicTest."""
    votes = real("votes")
    assert n_rows(votes) == {"train": 28709 - 150, "validation": 3589 - 10, "test": 0}
    assert len(votes.in_split("validation").labelled()) == 3553
    plural, major = real("plurality"), real("majority")
    assert n_rows(plural)["validation"] == 3553 and n_rows(major)["validation"] == 3199
    np.testing.assert_array_equal(votes.labelled().ids, plural.ids)
    np.testing.assert_array_equal(votes.labelled().labels, plural.labels)


def test_real_images_by_another_parser(real, shared):
    data = real("plurality")
    with gzip.open(shared / "data" / "fer2013" / "fer2013.csv.gz", "rt") as file:
        lines = [next(file) for _ in range(200)][1:]
    for row in range(199):
        expected = [int(v) for v in lines[row].split(",")[1].split()]
        for k in np.flatnonzero(data.rows == row):
            assert data.images[k].ravel().tolist() == expected


def test_real_defects_are_left_in(real):
    """Twelve images have one grey value. Row 5274 keeps the votes of another row."""
    data = real("labels")
    flat = data.images.reshape(len(data), -1)
    assert n_rows(data) == {"train": 28709, "validation": 3589, "test": 0}
    assert (flat.min(axis=1) == flat.max(axis=1)).sum() == 12
    assert 5274 in real("plurality").rows


def test_real_fer2013_rows_0_to_63_are_the_faces_of_the_published_reference(real, shared):
    from ferdata.warp import resize_images

    data = real("votes")
    assert data.rows[:60].max() < 64
    with np.load(shared / "data" / "microexpnet_ck" / "reference.npz") as file:
        faces = file["face_images"]
    mine = resize_images(data.images[:60], 84)
    assert np.abs(mine.astype(int) - faces[data.rows[:60]]).max() <= 1


def test_a_csv_that_unpacks_to_too_many_bytes(table, tmp_path, save, monkeypatch):
    """Columns that are not read count too: compressed, a gigabyte of them may take a megabyte."""
    first, *rest = csv_text(table).splitlines()
    text = "\n".join([f"{first},more", *(f"{row},{'0' * 100_000}" for row in rest)])
    path = save(gzip.compress(text.encode()), "fer2013.csv.gz")
    load_fer2013(path, cache=False)
    monkeypatch.setattr(csv_file, "MAX_UNPACKED_BYTES", 2 * 100_000)
    with pytest.raises(DataError, match="line 3: more than 200,000 bytes unpacked$"):
        load_fer2013(path, cache=False)


def test_a_long_message_of_zipfile_is_cut(save):
    """zipfile quotes a member's name, here 60,000 characters, in its message; ours is cut."""
    packed = io.BytesIO()
    name = "7" * 60_000
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(f"{name}/fer2013.csv", "emotion,pixels,Usage\n")
    content = packed.getvalue().replace(b"7", b"8", 1)  # in the first of its two headers
    with pytest.raises(DataError, match="fer.zip: cannot be read, damaged or incomplete") as raised:
        load_fer2013(save(content, "fer.zip"))
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 600
