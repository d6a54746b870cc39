"""A list of broken input files: how each is made, how it is read, what its error must say.

The readers must refuse every file of BROKEN. Files of ACCEPTED are unusual but valid, and must give
the labels listed with them. All files are small, but those of HOSTILE would take far more memory or
time than their size suggests.
"""

from __future__ import annotations

import gzip
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from source_trees import save, write

import ferdata
import ferdata.sources.ferplus
from ferdata.labels import FERPLUS10

# ---- good files ------------------------------------------------------------------------------

USAGES = ("Training", "Training", "PublicTest", "PrivateTest")
EMOTIONS = (3, 0, 6, 4)
FER = [
    "emotion,pixels,Usage",
    *(f"{e},{' '.join([str(9 * e)] * 2304)},{u}" for e, u in zip(EMOTIONS, USAGES)),
]
FER_LABELS = ["happy", "angry", "neutral", "sad"]
VOTES = [
    "Usage,Image name," + ",".join(FERPLUS10.classes),
    "Training,fer0.png,0,9,1,0,0,0,0,0,0,0",
    "Training,fer1.png,1,0,0,0,9,0,0,0,0,0",
    "PublicTest,fer2.png,8,0,0,1,0,0,0,0,1,0",
    "PrivateTest,fer3.png,0,0,0,7,1,0,0,0,0,2",
]
VOTE_LABELS = ["happiness", "anger", "neutral", "sadness"]
TEACHER = ["# logits", "id,neutral,sad,happy", "f/0,9,0,1", "f/1,-1,8,0", "f/2,0,-3.5,10.5"]
TEACHER_LABELS = ["neutral", "sad", "happy"]
MANIFEST = ["path,label,split", "a/1.png,happy,train", "a/2.png,sad,val", "a/3.png,anger,test"]
MANIFEST_LABELS = ["happy", "sad", "anger"]
PIXELS = np.add.outer(np.arange(40), np.arange(30)).astype(np.uint8)
PEOPLE = {"happy/1.png": 1, "sad/1.png": 2}


def lines(rows: list[str], end: str = "\n") -> bytes:
    return (end.join(rows) + end).encode()


def changed(rows: list[str], line: int, text: str) -> list[str]:
    """`rows` with the text of one line replaced; lines count from 1."""
    return [*rows[: line - 1], text, *rows[line:]]


def png(pixels: np.ndarray = PIXELS) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def npz(drop: tuple[str, ...] = (), compressed: bool = False, **parts: object) -> bytes:
    """A teacher's file with some of its arrays changed."""
    good = dict(
        logits=np.array([[9, 0, 1], [-1, 8, 0], [0, -3.5, 10.5]], np.float32),
        ids=np.array(["f/0", "f/1", "f/2"]),
        classes=np.array(["neutral", "sad", "happy"]),
    )
    arrays = {k: v for k, v in {**good, **parts}.items() if k not in drop}
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


def packed(drop: tuple[str, ...] = (), **parts: object) -> bytes:
    """A packed data set with some of its arrays changed; its last image has no real label."""
    good = dict(
        format=np.array("ferdata-faces-1"),
        images=np.arange(48, dtype=np.uint8).reshape(3, 4, 4),
        ids=np.array(["a", "b", "c"]),
        classes=np.array(["sad", "happy"]),
        label_space=np.array("two"),
        labels=np.array([1, 0, 0]),
        has_label=np.array([True, True, False]),
    )
    file = io.BytesIO()
    np.savez(file, **{k: v for k, v in {**good, **parts}.items() if k not in drop})
    return file.getvalue()


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def flipped(data: bytes, at: int, bits: int = 1) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ bits]) + data[at + 1 :]


# ---- how they are read -----------------------------------------------------------------------


def names(dataset: ferdata.FaceDataset) -> list[str]:
    return [dataset.classes[i] for i in dataset.labels]


def read_fer(path: Path) -> list[str]:
    return names(ferdata.load_fer2013(path))


def read_votes(path: Path) -> list[str]:
    return names(ferdata.load_fer2013(path.parent / "fer2013.csv", path))


def read_opened(path: Path) -> list[str]:
    return names(ferdata.open(path))


def read_teacher(path: Path) -> list[str]:
    teacher = ferdata.load_soft_labels(path)
    return [teacher.classes[i] for i in teacher.values.argmax(axis=1)]


def read_packed(path: Path) -> list[str]:
    return names(ferdata.load_packed(path))


# ---- how they are built ----------------------------------------------------------------------

Build = Callable[[Path], Path]


def file(name: str, content: bytes | list[str]) -> Build:
    return lambda folder: write(
        folder / name, lines(content) if isinstance(content, list) else content
    )


def fer(content: bytes | list[str], name: str = "fer2013.csv") -> Build:
    return file(name, content)


def votes(content: bytes | list[str]) -> Build:
    def build(folder: Path) -> Path:
        write(folder / "fer2013.csv", lines(FER))
        return write(
            folder / "fer2013new.csv", lines(content) if type(content) is list else content
        )

    return build


def manifest(content: bytes | list[str]) -> Build:
    def build(folder: Path) -> Path:
        for i in (1, 2, 3):
            write(folder / f"a/{i}.png", png())
        return write(folder / "faces.csv", lines(content) if type(content) is list else content)

    return build


def teacher(content: bytes | list[str]) -> Build:
    return file("teacher.csv" if type(content) is list else "teacher.npz", content)


def people(change: Callable[[Path], object]) -> Build:
    """Two class folders, to which `change` is applied."""

    def build(folder: Path) -> Path:
        for place, shift in PEOPLE.items():
            save(folder / "faces" / place, PIXELS * shift)
        change(folder / "faces")
        return folder / "faces"

    return build


def link(name: str, target: str) -> Build:
    def build(folder: Path) -> Path:
        os.symlink(target, folder / name)
        return folder / name

    return build


def pipe(name: str) -> Build:
    def build(folder: Path) -> Path:
        os.mkfifo(folder / name)
        return folder / name

    return build


def locked(build: Build) -> Build:
    def build_and_lock(folder: Path) -> Path:
        path = build(folder)
        path.chmod(0)
        return path

    return build_and_lock


def png_of_size(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(b"\0"))


def _chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def png_with(kind: bytes, data: bytes) -> bytes:
    good = png()
    return good[:33] + _chunk(kind, data) + good[33:]


def many_times(start: bytes, block: bytes, n: int) -> bytes:
    """gz of `start` and n times `block`, made quickly: a gz file may have several members."""
    return gzip.compress(start) + gzip.compress(block) * n


def huge_bmp() -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "BMP")
    data = bytearray(file.getvalue())
    data[18:26] = struct.pack("<ii", 1 << 30, 1 << 30)
    return bytes(data)


def npy(header: str, content: bytes) -> bytes:
    text = header.encode().ljust(117) + b"\n"
    return np.lib.format.magic(1, 0) + len(text).to_bytes(2, "little") + text + content


def npz_with(name: str, member: bytes) -> bytes:
    """A teacher's file in which one array is replaced by raw bytes, with a correct CRC."""
    with zipfile.ZipFile(io.BytesIO(npz())) as good:
        members = {n: good.read(n) for n in good.namelist()} | {f"{name}.npy": member}
    return zipped(*members.items())


def npz_twice() -> bytes:
    other = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 3), }", bytes(36))
    with zipfile.ZipFile(io.BytesIO(npz())) as good:
        members = [(n, good.read(n)) for n in good.namelist()]
    return zipped(*members, ("logits", other))


# ---- the list --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Broken:
    """words: a pattern for the error message: the file's name and, if there is one, the line.

    unprivileged   True: read the file as a user who is not root, since root may read everything
    """

    name: str
    build: Build
    read: Callable[[Path], object]
    words: str
    unprivileged: bool = False


_G = gzip.compress(lines(FER))
_Z = zipped(("fer2013.csv", lines(FER)))
_N = npz()
_LATIN = lines(TEACHER).replace(b"f/1", b"f\xe91")
_HUGE_SHAPE = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 3), }"

BROKEN = [
    # the csv of FER2013
    Broken("fer empty", fer(b""), read_fer, r"fer2013.csv: empty file"),
    Broken("fer header alone", fer(FER[:1]), read_fer, r"fer2013.csv: no rows"),
    Broken("fer cut in a row", fer(lines(FER)[:-900]), read_fer, r"fer2013.csv line 5: .* fields"),
    Broken("fer cut in Usage", fer(lines(FER)[:-3]), read_fer, r"csv line 5: Usage 'PrivateTe'"),
    Broken("fer no header", fer(FER[1:]), read_fer, r"fer2013.csv line 1: no column 'emotion'"),
    Broken(
        "fer columns that are not named as they are ordered",
        fer(["Usage,emotion,pixels", *FER[1:]]),
        read_fer,
        r"fer2013.csv line 2: emotion '27 27",
    ),
    Broken("fer row twice", fer([*FER, ""] + FER[1:2]), read_fer, r"fer2013.csv line 6: empty"),
    Broken("fer utf-16", fer(lines(FER).decode().encode("utf-16")), read_fer, r"2013.csv line 1: "),
    Broken(
        "fer utf-16 opened",
        fer(lines(FER).decode().encode("utf-16")),
        read_opened,
        r"fer2013.csv: no csv with a header in UTF-8",
    ),
    Broken("fer NUL", fer(lines(FER).replace(b"\n6", b"\n\0")), read_fer, r"csv line 4: emotion"),
    Broken("fer zeros", fer(bytes(3 << 20)), read_fer, r"fer2013.csv line 1: no column"),
    Broken("fer label 8", fer(changed(FER, 3, "8" + FER[2][1:])), read_fer, r"csv line 3: emotion"),
    Broken(
        "fer label by name",
        fer(changed(FER, 3, "angry" + FER[2][1:])),
        read_fer,
        r"fer2013.csv line 3: emotion 'angry', expected 0..6",
    ),
    Broken(
        "fer pixel 256",
        fer(changed(FER, 4, FER[3].replace("54", "256", 1))),
        read_fer,
        r"fer2013.csv line 4: pixel 1 is '256'",
    ),
    Broken(
        "fer arabic digits",
        fer(changed(FER, 4, FER[3].replace("54", "٥٤", 1))),
        read_fer,
        r"fer2013.csv line 4: pixel 1 is",
    ),
    Broken(
        "fer 2303 pixels",
        fer(changed(FER, 4, FER[3].replace("54 ", "", 1))),
        read_fer,
        r"fer2013.csv line 4: 2303 pixels",
    ),
    Broken("fer long line", fer([*FER, "1" * (2 << 20)]), read_fer, r"2013.csv line 6: longer"),
    Broken("fer old Mac line ends", fer(lines(FER, "\r")), read_fer, r"fer2013.csv line 1: no col"),
    Broken("fer semicolons", fer(lines(FER).replace(b",", b";")), read_fer, r"csv line 1: no colu"),
    Broken("fer a folder", lambda f: f, read_fer, r"cannot be read"),
    Broken("fer absent", lambda f: f / "none.csv", read_fer, r"none.csv: no such file"),
    Broken("fer NUL in the name", lambda f: f / "a\0b.csv", read_fer, r"a.*b.csv': not a file nam"),
    Broken(
        "fer link in a circle", link("fer2013.csv", "fer2013.csv"), read_fer, r"csv: a link that"
    ),
    Broken("fer a pipe", pipe("fer2013.csv"), read_fer, r"fer2013.csv: not a regular file"),
    Broken("a pipe opened", pipe("fer2013.csv"), read_opened, r"fer2013.csv: not a regular file"),
    Broken(
        "fer no permission",
        locked(fer(FER)),
        read_fer,
        r"fer2013.csv: .*ermission",
        unprivileged=True,
    ),
    # packed csv
    Broken("gz cut", fer(_G[:-9], "fer2013.csv.gz"), read_fer, r"csv.gz: cannot be read"),
    Broken("gz bit", fer(flipped(_G, -7), "fer2013.csv.gz"), read_fer, r"csv.gz: .*CRC"),
    Broken("gz tail", fer(_G + b"tail", "fer2013.csv.gz"), read_fer, r"csv.gz: cannot be read"),
    Broken("zip cut", fer(_Z[:-40], "fer2013.zip"), read_fer, r"fer2013.zip: cannot be read"),
    Broken(
        "zip bit", fer(flipped(_Z, 70), "fer2013.zip"), read_fer, r"fer2013.zip: cannot be read"
    ),
    Broken(
        "zip that says it is encrypted",
        fer(flipped(_Z, _Z.index(b"PK\x01\x02") + 8), "fer2013.zip"),
        read_fer,
        r"fer2013.zip: 'fer2013.csv' is encrypted",
    ),
    Broken(
        "zip of nothing", fer(zipped(("a.txt", b"")), "a.zip"), read_fer, r"a.zip: .* found none"
    ),
    Broken(
        "zip with a path up",
        fer(zipped(("../../fer2013.csv", lines(FER))), "a.zip"),
        read_fer,
        r"a.zip: '../../fer2013.csv' in it leaves the folder",
    ),
    Broken(
        "zip with an absolute path",
        fer(zipped(("/tmp/fer2013.csv", lines(FER))), "a.zip"),
        read_fer,
        r"a.zip: '/tmp/fer2013.csv' in it leaves the folder",
    ),
    Broken(
        "zip with a drive letter",
        fer(zipped(("C:fer2013.csv", lines(FER))), "a.zip"),
        read_fer,
        r"a.zip: 'C:fer2013.csv' in it leaves the folder",
    ),
    Broken(
        "zip of many csv files with names of many lines",
        fer(zipped(*((f"{n}\n.csv", b"") for n in range(99))), "a.zip"),
        read_fer,
        r"a.zip: expected one csv file in the zip, found '0.n.csv', .* \(99 in all\)",
    ),
    Broken(
        "zip packed by LZMA",
        fer(zipped(("fer2013.csv", lines(FER)), method=zipfile.ZIP_LZMA), "a.zip"),
        read_fer,
        r"a.zip: .*packed by method 14",
    ),
    Broken(
        "zip of images opened",
        fer(zipped(("happy/1.png", png())), "a.zip"),
        read_opened,
        r"a.zip: .*have to be unpacked",
    ),
    Broken(
        "git-lfs", fer(b"version https://git-lfs.github.com/spec/v1\n"), read_fer, r"csv line 1"
    ),
    # FER+
    Broken("votes a row short", votes(VOTES[:-1]), read_votes, r"new.csv: votes for 3 rows"),
    Broken("votes a row more", votes([*VOTES, VOTES[4]]), read_votes, r"new.csv: votes for 5 rows"),
    Broken(
        "votes reordered",
        votes([VOTES[0], *VOTES[:0:-1]]),
        read_votes,
        r"fer2013new.csv line 2: Usage 'PrivateTest'",
    ),
    Broken(
        "votes eleven",
        votes(changed(VOTES, 3, VOTES[2].replace(",9", ",10"))),
        read_votes,
        r"fer2013new.csv line 3: 11 votes",
    ),
    Broken(
        "votes of minus one",
        votes(changed(VOTES, 3, VOTES[2].replace(",9", ",-9"))),
        read_votes,
        r"fer2013new.csv line 3: anger has '-9' votes",
    ),
    Broken("votes empty", votes(b""), read_votes, r"fer2013new.csv: empty file"),
    Broken(
        "votes without a class",
        votes([r.rpartition(",")[0] for r in VOTES]),
        read_votes,
        r"fer2013new.csv line 1: no column 'NF'",
    ),
    Broken("votes opened alone", file("v.csv", VOTES), read_opened, r"v.csv: FER\+'s votes"),
    # csv manifests
    Broken(
        "manifest up", manifest(changed(MANIFEST, 3, "../a/2.png,sad,val")), read_opened, r"line 3"
    ),
    Broken(
        "manifest twice",
        manifest([*MANIFEST, "a/1.png,sad,train"]),
        read_opened,
        r"faces.csv line 5: a/1.png is already in line 2",
    ),
    Broken(
        "manifest latin-1",
        manifest(lines(MANIFEST).replace(b"sad", b"tr\xe4nen")),
        read_opened,
        r"faces.csv line 3: not UTF-8",
    ),
    Broken(
        "manifest NUL",
        manifest(lines(MANIFEST).replace(b"sad", b"s\0d")),
        read_opened,
        r"faces.csv line 3: not UTF-8",
    ),
    Broken(
        "manifest numbers",
        manifest(changed(MANIFEST, 4, "a/3.png,4,test")),
        read_opened,
        r"faces.csv line 4: label '4' is no known class",
    ),
    Broken(
        "manifest cut", manifest(lines(MANIFEST)[:-8]), read_opened, r"faces.csv line 4: 2 fields"
    ),
    Broken(
        "manifest no file", manifest([*MANIFEST, "a/4.png,sad,val"]), read_opened, r"csv line 5: no"
    ),
    Broken(
        "manifest open quote",
        manifest(changed(MANIFEST, 3, 'a/2.png,"sad,val')),
        read_opened,
        r"faces.csv line 4: not a csv row",
    ),
    # teachers
    Broken("teacher empty npz", teacher(b""), read_teacher, r"teacher.npz: no readable .npz"),
    Broken("teacher cut npz", teacher(_N[:-50]), read_teacher, r"teacher.npz: no readable .npz"),
    Broken(
        "teacher bit",
        teacher(flipped(_N, _N.index(struct.pack("<f", 10.5)))),
        read_teacher,
        r"teacher.npz: no readable .npz file .*CRC",
    ),
    Broken(
        "teacher id twice",
        teacher(npz(ids=np.array(["f/0", "f/1", "f/0"]))),
        read_teacher,
        r"teacher.npz entry 2 \(id 'f/0'\).* already given in entry 0",
    ),
    Broken(
        "teacher NaN",
        teacher(npz(logits=np.array([[1, 2, 3], [1, np.nan, 1], [0, 0, 1]]))),
        read_teacher,
        r"teacher.npz entry 1 \(id 'f/1'\): logits are not finite",
    ),
    Broken(
        "teacher of Python objects",
        teacher(npz(ids=np.array([{}, {}, {}]))),
        read_teacher,
        r"teacher.npz: no readable .npz file .*Python objects",
    ),
    Broken(
        "teacher with a number that is no letter",
        teacher(npz(ids=np.array([5, 6, 0x110000], "<u4").view("<U1"))),
        read_teacher,
        r"teacher.npz: no readable .npz file \(ids.npy is not Unicode text\)",
    ),
    Broken(
        "teacher array twice", teacher(npz_twice()), read_teacher, r"npz: .*logits is in it twice"
    ),
    Broken(
        "teacher header that does not end",
        teacher(npz_with("logits", npy("{'descr': '<f4', 'shape': (3L,", bytes(36)))),
        read_teacher,
        r"teacher.npz: no readable .npz file",
    ),
    Broken(
        "teacher csv utf-8 in row 4",
        file("teacher.csv", _LATIN),
        read_teacher,
        r"teacher.csv line 4: not UTF-8",
    ),
    Broken(
        "teacher csv NUL",
        file("teacher.csv", lines(TEACHER).replace(b"f/1", b"f/0\0")),
        read_teacher,
        r"teacher.csv line 4: not UTF-8",
    ),
    Broken(
        "teacher csv utf-16",
        file("teacher.csv", lines(TEACHER).decode().encode("utf-16")),
        read_teacher,
        r"teacher.csv line 1: not UTF-8",
    ),
    Broken(
        "teacher csv underscore",
        teacher(changed(TEACHER, 4, "f/1,-1,8_0,0")),
        read_teacher,
        r"teacher.csv line 4: sad is '8_0', expected a number",
    ),
    Broken(
        "teacher csv id twice",
        teacher(changed(TEACHER, 5, "f/1,0,0,10")),
        read_teacher,
        r"teacher.csv line 5: id 'f/1' was already given in line 4",
    ),
    Broken(
        "teacher csv cut", teacher(TEACHER[:4] + ["f/2,0"]), read_teacher, r"csv line 5: 2 fields"
    ),
    Broken(
        "teacher csv quote",
        teacher([*TEACHER, '"f/4,1,1,1']),
        read_teacher,
        r"csv line 6: not a cs",
    ),
    Broken("teacher csv empty", teacher([]), read_teacher, r"teacher.csv: expected a header"),
    Broken("teacher a pipe", pipe("teacher.npz"), read_teacher, r"teacher.npz: not a regular file"),
    Broken(
        "teacher no permission",
        locked(teacher(TEACHER)),
        read_teacher,
        r"teacher.csv: no permission",
        unprivileged=True,
    ),
    # packed data sets
    Broken(
        "packed id twice",
        file("faces.npz", packed(ids=np.array(["a", "b", "a"]))),
        read_opened,
        r"faces.npz: ids: 'a' occurs more than once",
    ),
    Broken(
        "packed label outside",
        file("faces.npz", packed(labels=np.array([1, 2, 0]))),
        read_packed,
        r"faces.npz: label 2 \(entry 1\)",
    ),
    Broken(
        "packed has_label by another name",
        file("faces.npz", packed(("has_label",), haslabel=np.array([True, True, False]))),
        read_packed,
        r"faces.npz: .*unknown array 'haslabel.npy'",
    ),
    Broken("packed cut", file("faces.npz", packed()[:-30]), read_packed, r"faces.npz: no readable"),
    # photos
    Broken("photo empty", file("a.png", b""), ferdata.read_photo, r"a.png: an empty file"),
    Broken(
        "photo cut", file("a.png", png()[:-60]), ferdata.read_photo, r"a.png: cannot be decoded"
    ),
    Broken("photo bit", file("a.png", flipped(png(), 20)), ferdata.read_photo, r"a.png: "),
    Broken(
        "photo of text", file("a.jpg", b"GIF or so"), ferdata.find_faces, r"a.jpg: not a picture"
    ),
    Broken("photo a pipe", pipe("a.png"), ferdata.find_faces, r"a.png: not a regular file"),
    Broken("photo link in a circle", link("a.png", "a.png"), ferdata.read_photo, r"a.png: "),
    Broken(
        "photo no permission",
        locked(file("a.png", png())),
        ferdata.find_faces,
        r"a.png: no permission",
        unprivileged=True,
    ),
    # folders
    Broken("folder empty", lambda f: f, read_opened, r"no data set recognised"),
    Broken(
        "folder with a link back",
        people(lambda f: os.symlink("..", f / "happy/again")),
        read_opened,
        r"happy/again: a link to .*, a folder that contains it",
    ),
    Broken(
        "folders linked in a ring",
        people(
            lambda f: (os.symlink("../sad", f / "happy/x"), os.symlink("../happy", f / "sad/x"))
        ),
        read_opened,
        r"(happy|sad)/x",
    ),
    Broken(
        "one folder under two labels",
        people(lambda f: os.symlink("happy", f / "anger")),
        read_opened,
        r"anger: a link to .*happy",
    ),
    Broken(
        "folder with a link to nowhere",
        people(lambda f: os.symlink("gone.png", f / "sad/2.png")),
        read_opened,
        r"sad/2.png: a broken link",
    ),
    Broken(
        "folder with a pipe",
        people(lambda f: os.mkfifo(f / "sad/2.png")),
        read_opened,
        r"sad/2.png: ",
    ),
    Broken(
        "folder with a broken image",
        people(lambda f: write(f / "sad/2.png", png()[:50])),
        read_opened,
        r"sad/2.png: ",
    ),
    Broken(
        "class folder empty",
        people(lambda f: (f / "anger").mkdir()),
        read_opened,
        r"faces: no images of class 'anger'",
    ),
    Broken(
        "folder no permission",
        people(lambda f: (f / "sad").chmod(0)),
        read_opened,
        r"sad: cannot be read",
        unprivileged=True,
    ),
]

_VOTES_LINE = VOTES[1].encode() + b"\n"

HOSTILE = [
    Broken(
        "png of 2^31 squared",
        file("a.png", png_of_size(*[2**31 - 1] * 2)),
        ferdata.read_photo,
        "px",
    ),
    Broken(
        "png of 60000 squared", file("a.png", png_of_size(*[60000] * 2)), ferdata.find_faces, "px"
    ),
    Broken(
        "png of a text that unpacks to 400 MB",
        lambda f: write(
            f / "a.png", png_with(b"zTXt", b"k\0\0" + zlib.compress(bytes(400 << 20), 1))
        ),
        ferdata.read_photo,
        r"a.png: ",
    ),
    Broken("bmp of 2^30 squared", file("a.bmp", huge_bmp()), ferdata.read_photo, r"a.bmp: .* px"),
    Broken(
        "npz that claims 10^12 rows",
        teacher(npz_with("logits", npy(_HUGE_SHAPE, bytes(36)))),
        read_teacher,
        r"teacher.npz: .*as long as its shape",
    ),
    Broken(
        "npz that unpacks to 400 MB",
        lambda f: write(f / "t.npz", npz(compressed=True, logits=np.zeros(100 << 20, np.float32))),
        read_teacher,
        r"t.npz: .*at most 67,108,864 are read",
    ),
    Broken(
        "votes of 10^7 rows",
        lambda f: write(
            f / "fer2013new.csv", many_times(lines(VOTES[:1]), _VOTES_LINE * 10_000, 1000)
        ),
        lambda path: ferdata.sources.ferplus.load_votes(path),
        r"fer2013new.csv line 250001: more than 250,000 lines",
    ),
    Broken(
        "10^10 blank lines",
        lambda f: write(f / "fer2013.csv", many_times(lines(FER), b"\n" * 10**7, 1000)),
        read_fer,
        r"fer2013.csv line 250001: more than 250,000 lines",
    ),
    Broken(
        "a line of 10^10 bytes",
        lambda f: write(f / "fer2013.csv", many_times(lines(FER), b"1" * 10**7, 1000)),
        read_fer,
        r"fer2013.csv line 6: longer than 1048576 bytes",
    ),
    Broken(
        "a header of 10^10 bytes",
        lambda f: write(f / "fer2013.csv", many_times(b"", b"a" * 10**7, 1000)),
        read_opened,
        r"fer2013.csv: no csv with a header",
    ),
]
"""Read in a process with little memory."""


@dataclass(frozen=True)
class Accepted:
    name: str
    build: Build
    read: Callable[[Path], list[str]]
    labels: list[str]


def _bom(rows: list[str]) -> bytes:
    return b"\xef\xbb\xbf" + lines(rows)


def _four(
    what: str,
    build: Callable[[bytes], Build],
    read: Callable[[Path], list[str]],
    rows: list[str],
    labels: list[str],
) -> list[Accepted]:
    return [
        Accepted(f"{what} plain", build(lines(rows)), read, labels),
        Accepted(f"{what} BOM", build(_bom(rows)), read, labels),
        Accepted(f"{what} CRLF", build(lines(rows, "\r\n")), read, labels),
        Accepted(f"{what} without its last line end", build(lines(rows)[:-1]), read, labels),
        Accepted(f"{what} blank lines at its end", build(lines(rows) + b"\n\r\n"), read, labels),
    ]


ACCEPTED = [
    *_four("fer", fer, read_fer, FER, FER_LABELS),
    *_four("fer opened", fer, read_opened, FER, FER_LABELS),
    *_four("votes", votes, read_votes, VOTES, VOTE_LABELS),
    *_four("manifest", manifest, read_opened, MANIFEST, MANIFEST_LABELS),
    *_four("teacher", lambda c: file("teacher.csv", c), read_teacher, TEACHER, TEACHER_LABELS),
    Accepted("teacher npz", teacher(npz()), read_teacher, TEACHER_LABELS),
    Accepted("fer reordered", fer([FER[0], *FER[:0:-1]]), read_fer, FER_LABELS[::-1]),
    Accepted(
        "columns reordered",
        fer([",".join(row.split(",")[::-1]) for row in FER]),
        read_fer,
        FER_LABELS,
    ),
    Accepted("gz by another name", fer(_G), read_fer, FER_LABELS),
    Accepted("zip", fer(zipped(("x/fer2013.csv", lines(FER)))), read_fer, FER_LABELS),
]
