"""Tells the format of a picture by the first bytes of its file; its name does not matter."""

from __future__ import annotations

import os
import re
import stat

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "MPO")
"""The formats that are read without an extra, by Pillow's names. Formats that run other programs
(EPS) or draw (WMF) are left out."""
HEIC_AND_AVIF = ("HEIC", "AVIF")
"""Read with the extra `heif`: pictures of phones. HEIC is the usual name of HEIF files."""

SUFFIXES = frozenset(
    ".png .jpg .jpeg .jpe .jif .jfif .bmp .dib .tif .tiff .pbm .pgm .ppm .pnm .webp .gif .mpo "
    ".heic .heif .hif .avif".split()
)
"""A file with one of these suffixes, in lower case, is taken for a picture without a look inside:
if it is none, that is an error when it is read."""

N_BYTES = 32
"""So many bytes from the beginning of a file tell its format."""

_STARTS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}
_PPM = re.compile(rb"P[1-6][ \t\r\n]+(#|\d)")
_BMP_HEADER_BYTES = (12, 40, 52, 56, 64, 108, 124)
# The brands that ISO/IEC 23008-12 and the AVIF specification register for still pictures.
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "HEIC"),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
}
_ANY_PICTURE_BRANDS = (b"mif1", b"mif2", b"msf1", b"miaf")


def format_of(start: bytes) -> str:
    """The format of a file that begins with these N_BYTES bytes: one of FORMATS or HEIC_AND_AVIF,
    or "" if it is no picture of these."""
    for magic, name in _STARTS.items():
        if start.startswith(magic):
            return name
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WEBP"
    header_bytes = int.from_bytes(start[14:18], "little")
    if start[:2] == b"BM" and start[6:10] == bytes(4) and header_bytes in _BMP_HEADER_BYTES:
        return "BMP"
    if _PPM.match(start):
        return "PPM"
    if start[4:8] == b"ftyp":
        brands = [start[8:12], *(start[k : k + 4] for k in range(16, len(start) - 3, 4))]
        named = next((_BRANDS[brand] for brand in brands if brand in _BRANDS), "")
        return named or ("HEIC" if brands[0] in _ANY_PICTURE_BRANDS else "")
    return ""


def picture_format(path: str | os.PathLike[str]) -> str:
    """`format_of` a file; "" for what cannot be read or is not a regular file."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return ""
        with open(path, "rb", 0) as file:
            return format_of(file.read(N_BYTES))
    except (OSError, ValueError):
        return ""


def has_picture_suffix(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES


def is_picture(path: str | os.PathLike[str]) -> bool:
    """Whether a file has the suffix of a picture or begins like one."""
    return has_picture_suffix(os.fspath(path)) or picture_format(path) != ""
