"""Readers of lists of images and votes, and of folders and files of unknown kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fuzz.readers.archives import TAR_FORMATS, npy, packings, tar_of, zip_of
from fuzz.readers.registry import Reader, reader, written


@reader(share=0.25)
def fer2013_csv(folder: Path) -> Reader:
    """fer2013.csv, also compressed."""
    from ferdata.errors import DataError
    from ferdata.sources.fer2013 import load_fer2013

    pixels = " ".join(["7"] * 2304)
    rows = f"emotion,pixels,Usage\n3,{pixels},Training\n0,{pixels},PublicTest\n"
    read = written(folder, "fer2013.csv", lambda path: load_fer2013(path, cache=False))
    return Reader(read, (DataError,), lambda: packings("fer2013.csv", rows))


@reader(share=2)
def votes_csv(folder: Path) -> Reader:
    """FER+'s fer2013new.csv, also compressed."""
    from ferdata.errors import DataError
    from ferdata.labels import FERPLUS10
    from ferdata.sources.ferplus import load_votes

    rows = f"Usage,Image name,{','.join(FERPLUS10.classes)}\n"
    rows += "Training,fer0000000.png,4,0,0,1,3,2,0,0,0,0\nPublicTest,,0,0,0,0,0,0,0,0,0,10\n"
    read = written(folder, "fer2013new.csv", lambda path: load_votes(path, cache=False))
    return Reader(read, (DataError,), lambda: packings("fer2013new.csv", rows))


@reader(share=2.5)
def manifest(folder: Path) -> Reader:
    """A CSV list of images; an image outside of its folder must not be reached."""
    from ferdata.errors import DataError
    from ferdata.sources.manifest import list_files

    inside = folder / "set"
    (inside / "a").mkdir(parents=True)
    for path in (inside / "a/1.png", inside / "a/2.png", folder / "outside.png"):
        path.write_bytes(b"")
    (inside / "link.png").symlink_to("../outside.png")
    (inside / "up").symlink_to("..")

    def read(path: Path) -> None:
        for file in list_files(path).files:
            assert file.resolve().parent == (inside / "a").resolve(), file

    return Reader(
        written(inside, "list.csv", read),
        (DataError,),
        lambda: {
            "all": b"path,label,subject,split\na/1.png,happy,x,train\na/2.png,anger,y,test\n",
            "some": b'label,path\n"happy",a/1.png\n,a/2.png\n',
            "out": b"path,label\n../outside.png,happy\nlink.png,sad\nup/outside.png,sad\n",
            "blanks": b"a/1.png 2\na/2.png \t 0\n",
            "semicolons": b'\xef\xbb\xbffile;emotion;"conf"\r\n"a/1.png";sad;0,5\r\n',
            "backslashes": b"user.id\timage\temotion\n1\ta\\1.png\thappy\n",
        },
    )


@reader(share=2)
def named_columns(folder: Path) -> Reader:
    """A list of images, read with options: its first line is path column, label column, separator
    and classes, the others are the list."""
    from ferdata.errors import DataError
    from ferdata.sources.manifest import list_files

    for name in ("1.png", "2.png"):
        (folder / name).write_bytes(b"")

    def read(data: bytes) -> object:
        first, _, rows = data.partition(b"\n")
        words = [word.decode("utf-8", "replace") for word in first.split(b"/")]
        path_column, label_column, separator, classes = (words + [""] * 4)[:4]
        (folder / "list.txt").write_bytes(rows)
        return list_files(
            folder / "list.txt",
            classes=classes or None,
            path_column=path_column or None,
            label_column=label_column or None,
            separator=separator or None,
        )

    seeds = {
        "numbers": b"2/3/space/angry,happy\nx 1.png 0\ny 2.png 1\n",
        "names": b"a/b//\na,c,b\n1.png,4,happy\n2.png,5,sad\n",
        "pairs": b"//|/0=sad,1=sad\n1.png|0\n2.png|1\n",
    }
    return Reader(read, (DataError, ValueError), lambda: seeds)


@reader(share=1.5)
def class_names(folder: Path) -> Reader:
    """A list of classes, and in the other lines the names that the data have."""
    from ferdata.class_choice import advice_on_names, class_choice
    from ferdata.labels import LabelError

    def read(data: bytes) -> object:
        wanted, *names = data.decode("utf-8", "replace").split("\n")
        names = list(dict.fromkeys(names))
        assert len(advice_on_names(names)) < 2000 + sum(map(len, names)) * 2
        chosen = class_choice(wanted).among(names, "data")
        return chosen.notes(dict.fromkeys(names, 3))

    seeds = {
        "order": b"happy,sad\nhappy\nsad\nneutral",
        "merged": b"anger=angry,rage=angry,happy\nanger\nrage\nhappy",
        "numbers": b"angry,disgust\n0\n01\n-1",
        "languages": "Angst=fear\nAngst\n\u00dcberraschung\nsuprise".encode(),
    }
    return Reader(read, (LabelError,), lambda: seeds)


@reader(share=1)
def unknown_folder(folder: Path) -> Reader:
    """A folder that is no data set, with a file that may be a list of its images."""
    import ferdata

    (folder / "set/images").mkdir(parents=True)
    (folder / "set/images/1.png").write_bytes(b"")

    def read(path: Path) -> str:
        try:
            return ferdata.recognise(path.parent).why
        except ferdata.DataError as error:
            assert len(str(error)) < 6000, "a message that quotes content"
            return str(error)

    return Reader(
        written(folder, "set/labels.csv", read),
        (ferdata.DataError,),
        lambda: {
            "list": b"image;emotion\nimages/1.png;happy\n",
            "columns": b"a,b,c\nimages/1.png,1,2\n",
            "text": b"Some words\n",
        },
    )


@reader(share=0.7)
def raf_db_list(folder: Path) -> Reader:
    """RAF-DB's list of labels, next to its images."""
    from ferdata.errors import DataError
    from ferdata.sources.raf_db import list_files

    for place in ("EmoLabel", "Image/aligned"):
        (folder / place).mkdir(parents=True)
    for n in (1, 2):
        (folder / f"Image/aligned/train_0000{n}_aligned.jpg").write_bytes(b"")
    read = written(folder, "EmoLabel/list_patition_label.txt", lambda path: list_files(folder))
    good = b"train_00001.jpg 5\r\ntrain_00002.jpg 1\r\n"
    return Reader(read, (DataError,), lambda: {"good": good})


@reader(share=0.7)
def ck_plus_emotion(folder: Path) -> Reader:
    """The label of one sequence of CK+."""
    from ferdata.errors import DataError
    from ferdata.sources.ck_plus import _emotion

    read = written(folder, "S005_001_00000011_emotion.txt", _emotion)
    seeds = {"good": b"   3.0000000e+00\n", "short": b"\xef\xbb\xbf7"}
    return Reader(read, (DataError,), lambda: seeds)


@reader(share=0.5)
def fer2013_tar(folder: Path) -> Reader:
    """fer2013.csv in a tar archive, whose headers have the right checksums again after damage."""
    from ferdata.errors import DataError
    from ferdata.sources.fer2013 import load_fer2013

    pixels = " ".join(["7"] * 2304)
    csv = f"emotion,pixels,Usage\n3,{pixels},Training\n".encode()
    members = {"fer/README": b"text", "fer/fer2013.csv": csv}
    seeds = {kind: tar_of(members, kind) for kind in TAR_FORMATS}

    def read(path: Path) -> object:
        data = bytearray(path.read_bytes())
        for at in range(0, len(data) - 511, 512):
            if data[at + 257 : at + 262] == b"ustar":
                data[at + 148 : at + 156] = b" " * 8
                data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])
        path.write_bytes(data)
        return load_fer2013(path, cache=False)

    return Reader(written(folder, "fer2013.tar", read), (DataError,), lambda: seeds)


@reader(share=1)
def affectnet_npy(folder: Path) -> Reader:
    """AffectNet's number of one image, an _exp.npy."""
    from ferdata.errors import DataError
    from ferdata.sources.affectnet import list_files

    for place in ("images", "annotations"):
        (folder / "train_set" / place).mkdir(parents=True)
    (folder / "train_set/images/0.jpg").write_bytes(b"")
    read = written(folder, "train_set/annotations/0_exp.npy", lambda path: list_files(folder))
    values = {"number": np.array(3), "text": np.array("7"), "float": np.array([1.0])}
    return Reader(read, (DataError,), lambda: {name: npy(a) for name, a in values.items()})


@reader(share=1)
def affectnet_csv(folder: Path) -> Reader:
    """AffectNet's list of photos; an image outside of its folder must not be reached."""
    from ferdata.errors import DataError
    from ferdata.sources.affectnet import list_files

    (folder / "set/images/1").mkdir(parents=True)
    for path in (folder / "set/images/1/a.jpg", folder / "set/images/1/b.jpg", folder / "out.jpg"):
        path.write_bytes(b"")
    (folder / "set/images/1/link.jpg").symlink_to("../../../out.jpg")

    def read(path: Path) -> None:
        for file in list_files(folder / "set").files:
            assert file.resolve().parent == (folder / "set/images/1").resolve(), file

    header = b"subDirectory_filePath,face_x,face_y,face_width,face_height,expression\n"
    return Reader(
        written(folder, "set/training.csv", read),
        (DataError,),
        lambda: {
            "rows": header + b"1/a.jpg,1,2,30,40,7\n1/b.jpg,0,0,9,9,0\n1/c.jpg,NULL,0,0,0,10\n",
            "short": b"expression,subDirectory_filePath\n3,1/a.jpg\n",
            "out": header + b"../../out.jpg,1,2,30,40,1\n1/link.jpg,1,2,3,4,1\n",
        },
    )


@reader(share=1)
def ferplus_list(folder: Path) -> Reader:
    """The label.csv that FER+'s program writes, next to its images."""
    from ferdata.errors import DataError
    from ferdata.sources.ferplus_folders import list_files

    (folder / "FER2013Train").mkdir()
    for n in (0, 1):
        (folder / f"FER2013Train/fer000000{n}.png").write_bytes(b"")
    read = written(folder, "FER2013Train/label.csv", lambda path: list_files(folder))
    rows = "fer0000000.png,{}4,0,0,1,3,2,0,0,0,0\r\nfer0000001.png,{}0,0,9,0,0,0,0,0,0,0\r\n"
    boxed = rows.replace("{}", '"(0, 0, 48, 48)",')
    seeds = {"votes": rows.replace("{}", "").encode(), "boxes": boxed.encode()}
    return Reader(read, (DataError,), lambda: seeds)


@reader(share=1)
def expw_list(folder: Path) -> Reader:
    """ExpW's list of faces, next to its photos."""
    from ferdata.errors import DataError
    from ferdata.sources.expw import list_files

    for place in ("label", "origin"):
        (folder / place).mkdir()
    for name in ("a.jpg", "b c.jpg"):
        (folder / "origin" / name).write_bytes(b"")
    read = written(folder, "label/label.lst", lambda path: list_files(folder))
    lines = b"a.jpg 0 28 113 226 311 22.9 0\na.jpg 1 1 -2 30 40 1e2 6\nb c.jpg 0 0 0 9 9 5 3\n"
    return Reader(read, (DataError,), lambda: {"lines": lines})


@reader(share=2.5)
def recognised_file(folder: Path) -> Reader:
    """A file of unknown kind."""
    import ferdata

    return Reader(
        written(folder, "unknown", ferdata.recognise),
        (ferdata.DataError,),
        lambda: {
            "manifest": b"\xef\xbb\xbfpath,label\na.png,happy\n",
            "zip": zip_of({"fer2013.csv": b"emotion,pixels,Usage\n"}),
            "tar": tar_of({"fer2013.csv": b"emotion,pixels,Usage\n"}, "ustar"),
            "affectnet": b"subDirectory_filePath,expression\n1/a.jpg,3\n",
            "blanks": b"a.png 2\nb.png 0\n",
            "tabs": b"user.id\timage\temotion\n1\ta.png\tsad\n",
        },
    )
