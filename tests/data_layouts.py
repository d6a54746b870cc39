"""Small data sets in every layout and form that docs/data.md lists, of the built-in faces.

`LAYOUTS` has an entry for each line of that list: a function that writes the data set.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from source_trees import ck_plus, faces, oulu_casia, photo, save, write

import ferdata
from ferdata.class_choice import LEFT_OUT
from ferdata.labels import CK_EXTENDED, FER2013, FERPLUS8, FERPLUS10, RAF_DB, RAF_DB_COMPOUND

SEVEN = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")


@dataclass(frozen=True)
class Made:
    """A data set on disk.

    path      what is given to ferdata.open
    classes   {id of an image: its class} for all images; None without a label
    options   keyword arguments of ferdata.open
    left_out  {what: how often}, what the data set must say that it leaves out
    """

    path: Path
    classes: dict[str, str | None]
    options: dict[str, Any] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)


LAYOUTS: dict[str, Callable[[Path], Made]] = {}


def layout(make: Callable[[Path], Made]) -> Callable[[Path], Made]:
    """A decorator: adds a function to LAYOUTS under its own name, with "-" for "_"."""
    LAYOUTS[make.__name__.replace("_", "-")] = make
    return make


def drawn(emotion: str, person: int = 0, side_px: int = 48) -> np.ndarray:
    """uint8 (side_px, side_px): a built-in face."""
    data = faces()
    wanted = data.labels == data.label_space.index(emotion)
    image = Image.fromarray(data.images[wanted][person])
    return np.asarray(image.resize((side_px, side_px)))


def images(root: Path, places: dict[str, str], side_px: int = 48) -> Path:
    """Write {place: emotion}; each image differs from the others."""
    for n, (place, emotion) in enumerate(places.items()):
        pixels = drawn(emotion, n % 4, side_px).copy()
        pixels[0, 0] = n
        save(root / place, pixels)
    return root


def photos(root: Path, places: dict[str, str]) -> Path:
    for n, (place, emotion) in enumerate(places.items()):
        save(root / place, photo(n % 4, emotion, 240, 200))
    return root


# ---- FER2013's csv, and FER+ -----------------------------------------------------------------

ROWS = ((0, "Training"), (3, "Training"), (6, "PublicTest"), (5, "PrivateTest"))


def csv_text(
    rows: tuple = ROWS, columns: str = "emotion,pixels,Usage", space: Any = FER2013
) -> str:
    lines = [columns]
    for emotion, usage in rows:
        pixels = " ".join(map(str, drawn(space.classes[emotion]).ravel()))
        values = {"emotion": str(emotion), "pixels": pixels, "Usage": usage}
        lines.append(",".join(values[c.strip()] for c in columns.split(",")))
    return "\n".join(lines) + "\n"


def csv_classes(rows: tuple = ROWS, space: Any = FER2013, name: str = "fer2013") -> dict:
    return {f"{name}/{i:05d}": space.classes[e] for i, (e, _) in enumerate(rows)}


def tar(members: dict[str, bytes], mode: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def zipped(path: Path, members: dict[str, bytes | str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@layout
def fer2013_csv(root: Path) -> Made:
    return Made(write(root / "fer2013.csv", csv_text()), csv_classes())


@layout
def fer2013_csv_gz(root: Path) -> Made:
    packed = gzip.compress(csv_text().encode())
    return Made(write(root / "fer2013.csv.gz", packed), csv_classes())


@layout
def fer2013_zip(root: Path) -> Made:
    return Made(zipped(root / "archive.zip", {"fer2013/fer2013.csv": csv_text()}), csv_classes())


TAR_MEMBERS = {
    "fer2013/fer2013.bib": b"@misc{}\n",
    "fer2013/README": b"See the paper.\n" * 99,
    "fer2013/fer2013.csv": csv_text().encode(),
}


@layout
def fer2013_tar_gz(root: Path) -> Made:
    return Made(write(root / "fer2013.tar.gz", tar(TAR_MEMBERS, "w:gz")), csv_classes())


@layout
def fer2013_tar(root: Path) -> Made:
    return Made(write(root / "fer2013.tar", tar(TAR_MEMBERS, "w")), csv_classes())


@layout
def challenge_zip(root: Path) -> Made:
    members = {
        "example_submission.csv": "0\n1\n",
        "fer2013.tar.gz": tar(TAR_MEMBERS, "w:gz"),
        "icml_face_data.csv": csv_text(columns="emotion, Usage, pixels"),
        "test.csv": csv_text(columns="pixels"),
        "train.csv": csv_text(columns="emotion,pixels"),
    }
    name = "challenges-in-representation-learning-facial-expression-recognition-challenge.zip"
    return Made(zipped(root / name, members), csv_classes())


@layout
def icml_face_data(root: Path) -> Made:
    text = csv_text(columns="emotion, Usage, pixels")
    return Made(write(root / "icml_face_data.csv", text), csv_classes())


@layout
def fer2013_train_csv(root: Path) -> Made:
    write(root / "fer/test.csv", csv_text(columns="pixels"))
    write(root / "fer/train.csv", csv_text(columns="emotion,pixels"))
    return Made(root / "fer", csv_classes())


@layout
def fer2013_csv_in_a_folder(root: Path) -> Made:
    write(root / "fer2013/fer2013.csv", csv_text())
    return Made(root, csv_classes())


@layout
def ck_extended_csv(root: Path) -> Made:
    rows = ((7, "Training"), (3, "Training"), (6, "PublicTest"), (2, "PrivateTest"))
    text = csv_text(rows, space=CK_EXTENDED)
    return Made(write(root / "ckextended.csv", text), csv_classes(rows, CK_EXTENDED, "ck_extended"))


VOTES = ((0, 9, 0, 0, 0, 0, 0, 0, 1, 0), (0, 0, 0, 0, 2, 0, 0, 8, 0, 0))
VOTES += ((0, 0, 0, 1, 0, 0, 0, 0, 2, 7), (10, 0, 0, 0, 0, 0, 0, 0, 0, 0))
VOTED = ("happiness", "contempt", None, "neutral")


def votes_csv(root: Path) -> Path:
    lines = ["Usage,Image name," + ",".join(FERPLUS10.classes)]
    lines += [
        f"{u},fer{i}.png," + ",".join(map(str, v)) for i, ((_, u), v) in enumerate(zip(ROWS, VOTES))
    ]
    return write(root / "fer2013new.csv", "\n".join(lines) + "\n")


@layout
def fer2013_csv_with_votes(root: Path) -> Made:
    classes = {f"fer2013/{i:05d}": name for i, name in enumerate(VOTED)}
    path = write(root / "fer2013.csv", csv_text())
    return Made(path, classes, {"votes": votes_csv(root)})


@layout
def fer2013_csv_with_majority(root: Path) -> Made:
    classes = {f"fer2013/{i:05d}": name for i, name in enumerate(VOTED) if name}
    path = write(root / "fer2013.csv", csv_text())
    return Made(path, classes, {"votes": votes_csv(root), "target": "majority"})


FERPLUS_FOLDERS = ("FER2013Train", "FER2013Train", "FER2013Valid", "FER2013Test")


def ferplus_tree(root: Path, box: str) -> dict[str, str | None]:
    """Write the folders; the third image has no face by its votes."""
    lists: dict[str, str] = {}
    for i, (folder, votes) in enumerate(zip(FERPLUS_FOLDERS, VOTES)):
        images(root, {f"{folder}/fer000000{i}.png": VOTED[i] or "neutral"})
        lists[folder] = (
            lists.get(folder, "") + f"fer000000{i}.png,{box}{','.join(map(str, votes))}\r\n"
        )
    for folder, text in lists.items():
        write(root / folder / "label.csv", text)
    return {f"{f}/fer000000{i}.png": VOTED[i] for i, f in enumerate(FERPLUS_FOLDERS)}


@layout
def ferplus_program(root: Path) -> Made:
    known = {place: name for place, name in ferplus_tree(root, "").items() if name}
    return Made(root, known, left_out={"images won by unknown or no face": 1})


@layout
def ferplus_repository_lists(root: Path) -> Made:
    classes = ferplus_tree(root / "data", '"(0, 0, 48, 48)",')
    return Made(root / "data", classes, {"target": "votes"})


@layout
def ferplus_eight_folders(root: Path) -> Made:
    places = {f"{s}/{c}/{s}.png": c for s in ("train", "test") for c in FERPLUS8.classes}
    return Made(images(root, places), dict(places))


# ---- FER2013 as folders ----------------------------------------------------------------------


def fer_places(names: Any, splits: tuple[str, ...] = ("train", "test")) -> dict[str, str]:
    return {
        f"{split}/{name}/{split}_{i}.png": name for split in splits for i, name in enumerate(names)
    }


@layout
def fer2013_folders(root: Path) -> Made:
    places = fer_places(FER2013.classes)
    return Made(images(root, places), dict(places))


@layout
def fer2013_folders_with_nouns(root: Path) -> Made:
    places = fer_places(SEVEN)
    return Made(images(root, places), dict(places))


@layout
def fer2013_folders_with_validation(root: Path) -> Made:
    places = fer_places(FER2013.classes, ("train", "validation"))
    return Made(
        images(root / "images", places).parent, {f"images/{p}": c for p, c in places.items()}
    )


@layout
def fer2013_folders_split_by_names(root: Path) -> Made:
    places = {f"train/{c}/Training_{i}.jpg": c for i, c in enumerate(FER2013.classes)}
    places |= {f"test/{c}/PublicTest_{i}.jpg": c for i, c in enumerate(FER2013.classes)}
    places |= {f"test/{c}/PrivateTest_{i}.jpg": c for i, c in enumerate(FER2013.classes)}
    return Made(images(root, places), dict(places), {"split": "names"})


# ---- sequences -------------------------------------------------------------------------------


def frame(sequence: str, number: int, top: str = "cohn-kanade-images") -> str:
    return f"{top}/{sequence}/{sequence.replace('/', '_')}_{number:08d}.png"


@layout
def ck_plus_paper(root: Path) -> Made:
    ck_plus(root, {"S005/001": (3, 4), "S010/002": (None, 2)})
    classes = {frame("S005/001", 1): "neutral", frame("S010/002", 1): "neutral"}
    classes |= {frame("S005/001", n): "disgust" for n in (2, 3, 4)}
    return Made(root, classes, left_out={"frames that the protocol does not take": 1})


@layout
def ck_plus_three_frames(root: Path) -> Made:
    ck_plus(root, {"S005/001": (3, 3), "S010/002": (7, 3)})
    classes = {frame("S005/001", n): "disgust" for n in (1, 2, 3)}
    classes |= {frame("S010/002", n): "surprise" for n in (1, 2, 3)}
    return Made(root, classes, {"protocol": "last-three"})


@layout
def ck_plus_nested_archives(root: Path) -> Made:
    tops = "extended-cohn-kanade-images/cohn-kanade-images"
    ck_plus(root, {"S005/001": (1, 2)}, tops, "Emotion_labels/Emotion")
    return Made(root, {frame("S005/001", 2, tops): "anger"}, {"protocol": "last-frame"})


CK48_PLACES = {
    f"{c}/S01{i}_001_0000000{n}.png": c
    for i, c in enumerate(("anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise"))
    for n in (3, 4, 5)
}


@layout
def ck48(root: Path) -> Made:
    return Made(images(root, CK48_PLACES), dict(CK48_PLACES))


@layout
def ck48_last_frame(root: Path) -> Made:
    last = {place: name for place, name in CK48_PLACES.items() if place.endswith("5.png")}
    left_out = {"images that the protocol does not take": 14}
    return Made(images(root, CK48_PLACES), last, {"protocol": "last-frame"}, left_out)


@layout
def ck_folders_with_neutral(root: Path) -> Made:
    places = CK48_PLACES | {"neutral/S010_001_00000001.png": "neutral"}
    return Made(images(root, places), dict(places))


def oulu(root: Path, top: str, **options: Any) -> Made:
    oulu_casia(root, 1, top)
    names = {e: e for e in ("anger", "disgust", "fear", "happiness", "sadness", "surprise")}
    classes = {
        f"{top}/P001/{name.capitalize()}/00{n}.jpeg": name for name in names for n in (1, 2, 3)
    }
    return Made(root, classes, options)


@layout
def oulu_casia_paper(root: Path) -> Made:
    return oulu(root, "B_OriginalImg/OriginalImg/VL/Strong")


@layout
def oulu_casia_preprocessed(root: Path) -> Made:
    return oulu(root, "Preprocess Img/VL/Strong", images="preprocessed")


@layout
def oulu_casia_infrared(root: Path) -> Made:
    top = "OriginalImg/NI/Dark"
    return oulu(root, top, spectrum="NI", illumination="Dark", protocol="last-three")


# ---- photos whose names tell everything ------------------------------------------------------


@layout
def jaffe(root: Path) -> Made:
    places = {"KA.AN1.39.tiff": "anger", "KA.HA2.40.tiff": "happiness", "YM.NE1.49.tiff": "neutral"}
    return Made(photos(root, places), dict(places))


@layout
def jaffe_class_folders(root: Path) -> Made:
    places = {"anger/KA.AN1.39.tiff": "anger", "happy/KA.HA2.40.tiff": "happiness"}
    return Made(photos(root, places), dict(places))


KDEF_PLACES = {
    "KDEF/AF01/AF01AFS.JPG": "fear",
    "KDEF/AF01/AF01ANS.JPG": "anger",
    "KDEF/AM07/AM07DIS.JPG": "disgust",
    "KDEF/BM07/BM07SUS.JPG": "surprise",
}


@layout
def kdef(root: Path) -> Made:
    others = {"KDEF/AF01/AF01ANHL.JPG": "anger", "KDEF/AF01/AF31V.JPG": "neutral"}
    photos(root, KDEF_PLACES | others)
    left_out = {"images of other views": 1, "images with names of another kind": 1}
    return Made(root, dict(KDEF_PLACES), left_out=left_out)


@layout
def kdef_half_profiles(root: Path) -> Made:
    places = KDEF_PLACES | {"KDEF/AF01/AF01ANHL.JPG": "anger", "KDEF/AF01/AF01ANHR.JPG": "anger"}
    photos(root, places | {"KDEF/AF01/AF01ANFR.JPG": "anger"})
    return Made(root, dict(places), {"views": "half"}, {"images of other views": 1})


@layout
def kdef_class_folders(root: Path) -> Made:
    places = {"angry/AF01ANS.JPG": "anger", "afraid/BF01AFS.JPG": "fear"}
    return Made(photos(root, places), dict(places))


# ---- RAF-DB ----------------------------------------------------------------------------------


def raf(root: Path, stems: dict[str, int], space: Any, suffix: str = "_aligned") -> dict[str, str]:
    """Write the list and the images; returns {place: class}."""
    places = {
        f"Image/aligned/{stem}{suffix}.jpg": space.classes[n - 1] for stem, n in stems.items()
    }
    for i, place in enumerate(places):
        save(root / place, drawn("neutral", i % 4, 100))
    text = "".join(f"{stem}.jpg {n}\n" for stem, n in stems.items())
    write(root / "EmoLabel/list_patition_label.txt", text)
    return places


@layout
def raf_db(root: Path) -> Made:
    classes = raf(root, {"train_00001": 5, "train_00002": 1, "test_0001": 7}, RAF_DB)
    save(root / "Image/original/train_00001.jpg", drawn("sadness", 0, 100))
    return Made(root, classes, left_out={"original photos and further annotations": 1})


@layout
def raf_db_without_aligned(root: Path) -> Made:
    return Made(root, raf(root, {"train_00001": 5, "test_0001": 7}, RAF_DB, ""))


@layout
def raf_db_compound(root: Path) -> Made:
    stems = {f"train_{n:05d}": n for n in range(1, 12)} | {"test_0001": 3}
    return Made(root, raf(root, stems, RAF_DB_COMPOUND))


def raf_folders(root: Path, suffix: str) -> Made:
    places = {
        f"DATASET/{split}/{n}/{split}_0000{n}{suffix}.jpg": RAF_DB.classes[n - 1]
        for split in ("train", "test")
        for n in range(1, 8)
    }
    return Made(images(root, places, 100), dict(places))


@layout
def raf_db_folders(root: Path) -> Made:
    return raf_folders(root, "_aligned")


@layout
def raf_db_folders_without_aligned(root: Path) -> Made:
    return raf_folders(root, "")


# ---- AffectNet, ExpW, SFEW -------------------------------------------------------------------

AFFECTNET = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")


def npy(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.array(value), allow_pickle=False)


def affectnet_set(root: Path, folder: str, numbers: list[object]) -> dict[str, str]:
    """Write images with these numbers; returns {place: class} of those with an expression."""
    classes = {}
    for i, value in enumerate(numbers):
        number = int(str(value))
        name = AFFECTNET[number] if 0 <= number < 8 else None
        place = f"{folder}/images/{i}.jpg"
        images(root, {place: name or "neutral"}, 64)
        notes = root / folder / "annotations"
        npy(notes / f"{i}_exp.npy", value)
        npy(notes / f"{i}_val.npy", -2.0 if name is None else 0.25)
        npy(notes / f"{i}_aro.npy", -2.0 if name is None else 0.25)
        npy(notes / f"{i}_lnd.npy", [0.5] * 136)
        if name:
            classes[place] = name
    return classes


@layout
def affectnet(root: Path) -> Made:
    classes = affectnet_set(root, "train_set", [3, 7, 1, 8, 10, 10, -2])
    classes |= affectnet_set(root, "val_set", [0, 6, 9])
    left_out = {
        "images of expression none (8)": 1,
        "images of expression uncertain (9)": 1,
        "images without a face (10)": 2,
        "images without an expression (-2)": 1,
        "other annotations (valence, arousal, landmarks)": 30,
    }
    return Made(root, classes, left_out=left_out)


@layout
def affectnet_seven_classes(root: Path) -> Made:
    """The numbers are texts, as in the files of the data set's authors."""
    classes = affectnet_set(root / "data", "train_set", ["3", "0", "1"])
    classes |= affectnet_set(root / "data", "val_set", ["5", "6", "2"])
    return Made(root, {f"data/{place}": name for place, name in classes.items()})


AFFECTNET_HEADER = (
    "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,"
    "valence,arousal\n"
)


def affectnet_list(path: Path, rows: list[tuple[str, object]]) -> Path:
    text = AFFECTNET_HEADER
    for place, number in rows:
        box = "NULL,NULL,NULL,NULL" if number == 10 else "60,40,120,120"
        text += f'{place},{box},"1;2;3;4",{number},-0.2,0.1\n'
    return write(path, text)


@layout
def affectnet_lists(root: Path) -> Made:
    places = {"689/a.jpg": "anger", "1/b.jpg": "contempt", "2/c.JPG": "happy"}
    photos(root / "Manually_Annotated_Images", places)
    lists = root / "Manually_Annotated_file_lists"
    rows: list[tuple[str, object]] = [("689/a.jpg", 6), ("1/b.jpg", 7), ("5/no.jpg", 10)]
    affectnet_list(lists / "training.csv", [*rows, ("5/none.jpg", 8), ("5/gone.jpg", 3)])
    affectnet_list(lists / "validation.csv", [("2/c.JPG", 1), ("2/u.jpg", 9)])
    left_out = {
        "rows without a face (10)": 1,
        "rows of expression none (8)": 1,
        "rows of expression uncertain (9)": 1,
        "rows without an image": 1,
    }
    classes = {f"Manually_Annotated_Images/{place}": name for place, name in places.items()}
    return Made(root, classes, left_out=left_out)


@layout
def affectnet_one_list(root: Path) -> Made:
    places = {"12/a.jpg": "fear", "12/b.jpg": "neutral"}
    photos(root / "images", places)
    path = affectnet_list(root / "automatically_annotated.csv", [("12/a.jpg", 4), ("12/b.jpg", 0)])
    return Made(path, dict(places), {"root": root / "images"})


@layout
def expw(root: Path) -> Made:
    """Two faces in one photo; the last line repeats another."""
    pair = np.concatenate([photo(0, "anger", 200, 200), photo(1, "happy", 200, 200)], axis=1)
    save(root / "image/origin/pair_1.jpg", pair)
    save(root / "image/origin/sad child_2.jpg", photo(2, "sadness", 200, 200))
    lines = ["pair_1.jpg 0 40 40 160 160 61.5 0", "pair_1.jpg 1 40 240 360 160 28.0 3"]
    lines += ["sad child_2.jpg 0 40 40 160 160 9.25 4", lines[0]]
    write(root / "label/label.lst", "\n".join(lines) + "\n")
    top = "image/origin"
    classes: dict[str, str | None] = {f"{top}/pair_1.jpg#0": "anger"}
    classes |= {f"{top}/pair_1.jpg#1": "happiness", f"{top}/sad child_2.jpg#0": "sadness"}
    return Made(root, classes, left_out={"lines of the list that repeat another": 1})


def sfew_places(folder: str) -> dict[str, str]:
    return {
        f"{folder}/{name}/Airheads_00051924{i}_00000005.png": name
        for i, name in enumerate(
            ("Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")
        )
    }


@layout
def sfew(root: Path) -> Made:
    places = sfew_places("Train_Aligned_Faces") | sfew_places("Val_Aligned_Faces_new")
    images(root, places | {"Test_Aligned_Faces/Hangover_001234560_00000012.png": "neutral"})
    return Made(root, dict(places), left_out={"images of test without labels": 1})


@layout
def sfew_nested_archives(root: Path) -> Made:
    places = sfew_places("Train/Train_Aligned_Faces")
    places |= sfew_places("Val/Val_Aligned_Faces_new/Val_Aligned_Faces")
    return Made(images(root, places), dict(places))


@layout
def sfew_film_frames(root: Path) -> Made:
    places = sfew_places("Train")
    return Made(photos(root, places), dict(places))


# ---- anybody's -------------------------------------------------------------------------------


@layout
def class_folders(root: Path) -> Made:
    places = {"happy/1.png": "happy", "happy/2.png": "happy", "Sad/1.png": "sad"}
    return Made(images(root, places), dict(places))


@layout
def class_folders_in_splits(root: Path) -> Made:
    places = {f"{s}/{c}/{s}.png": c for s in ("training", "val", "test") for c in ("angry", "fear")}
    return Made(images(root, places, 60), dict(places))


@layout
def class_folders_of_other_names(root: Path) -> Made:
    places = {"keen/1.png": "happy", "bored/1.png": "neutral"}
    classes: dict[str, str | None] = {"keen/1.png": "keen", "bored/1.png": "bored"}
    options = {"source": "folders", "classes": ("keen", "bored")}
    return Made(images(root, places), classes, options)


@layout
def csv_list(root: Path) -> Made:
    places = {"a/1.png": "happy", "a/2.png": "anger", "b/3.png": "sad"}
    images(root, places)
    text = "path,label,subject,split\na/1.png,happy,Ann,train\na/2.png,anger,Ben,validation\n"
    path = write(root / "list.csv", text + "b/3.png,,Eve,test\n")
    return Made(path, places | {"b/3.png": None})


@layout
def csv_list_with_numbers(root: Path) -> Made:
    places = {"1.png": "happy", "2.png": "anger"}
    path = write(images(root, places) / "list.csv", "label,path\n1,1.png\n0,2.png\n")
    return Made(path, dict(places), {"classes": ("anger", "happy")})


@layout
def csv_list_of_another_folder(root: Path) -> Made:
    places = {"x/1.png": "happy", "x/2.png": "fear"}
    images(root / "images", places)
    path = write(root / "lists/all.csv", "path,label\nx/1.png,happy\nx/2.png,fear\n")
    return Made(path, dict(places), {"root": root / "images"})


@layout
def class_folders_with_misspelt_names(root: Path) -> Made:
    names = {"happy": "happy", "suprise": "surprise", "neural": "neutral"}
    places = {f"{folder}/1.png": name for folder, name in names.items()}
    options = {"classes": "happy,suprise=surprise,neural=neutral"}
    return Made(images(root, places), dict(places), options)


@layout
def class_folders_in_another_language(root: Path) -> Made:
    names = {"Freude": "happiness", "Angst": "fear", "Wut": "anger"}
    places = {f"Bilder/{folder}/1.png": name for folder, name in names.items()}
    return Made(images(root, places), dict(places), {"classes": dict(names)})


@layout
def class_folders_with_numbers(root: Path) -> Made:
    names = ("anger", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    places = {f"{s}/{k}/{s}.png": c for s in ("train", "test") for k, c in enumerate(names)}
    return Made(images(root, places), dict(places), {"classes": names})


@layout
def class_folders_some_of_them(root: Path) -> Made:
    places = {f"{c}/{n}.png": c for c in ("happy", "neutral", "sad") for n in (1, 2)}
    images(root, {**places, "fear/1.png": "fear", "ahegao/1.png": "happy"})
    return Made(root, dict(places), {"classes": "happy,sad,neutral"}, {LEFT_OUT: 2})


@layout
def class_folders_merged(root: Path) -> Made:
    places = {f"{c}/1.png": c for c in ("anger", "fear", "disgust", "happy")}
    classes = {place: "happy" if c == "happy" else "negative" for place, c in places.items()}
    options = {"classes": "happy,anger=negative,fear=negative,disgust=negative"}
    return Made(images(root, places), dict(classes), options)


@layout
def list_without_header(root: Path) -> Made:
    places = {"image_1.jpg": "happy", "image_2.jpg": "neutral"}
    path = write(images(root, places) / "labels.txt", "image_2.jpg 1\nimage_1.jpg 0\n")
    return Made(path, dict(places), {"classes": ("happy", "neutral")})


@layout
def list_with_further_columns(root: Path) -> Made:
    places = {"images/1.png": "happy", "images/2.png": "fear"}
    text = "user.id,image,emotion,Usage\n7,images/1.png,HAPPINESS,Training\n"
    text += "7,images/2.png,FEAR,PublicTest\n"
    return Made(write(images(root, places) / "legend.csv", text), dict(places))


@layout
def list_with_semicolons(root: Path) -> Made:
    places = {"my face.png": "happy", "2.png": "fear"}
    text = '\ufeff"Image Name";"Class";"Score"\r\n"my face.png";"Happy";0,9\r\n'
    text += "2.png;Fear;0,8\r\n"
    return Made(write(images(root, places) / "export.csv", text), dict(places))


@layout
def list_with_tabs_and_backslashes(root: Path) -> Made:
    places = {"a/1.png": "happy", "a/2.png": "fear"}
    text = "file\tlabel\tperson\na\\1.png\thappy\tAnn\na\\2.png\tfear\tBen\n"
    return Made(write(images(root, places) / "list.tsv", text), dict(places))


@layout
def list_with_named_columns(root: Path) -> Made:
    places = {"1.png": "happy", "2.png": "fear"}
    text = "x|rater1|rater2|who\n1.png|4|0|Ann\n2.png|4|2|Ben\n"
    options = {"label_column": "rater2", "subject_column": "who", "classes": "0=happy,2=fear"}
    return Made(write(images(root, places) / "list.txt", text), dict(places), options)


@layout
def packed(root: Path) -> Made:
    path = root / "faces.npz"
    root.mkdir(parents=True, exist_ok=True)
    ferdata.save_packed(faces().select(np.arange(8)), path)
    return Made(
        path, dict(zip(faces().ids.tolist(), (faces().classes[i] for i in faces().labels[:8])))
    )
