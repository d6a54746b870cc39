"""A network as one page of html that runs in a web browser: it finds the faces in photos, films and
the camera's pictures, and shows the expression of each.

The page holds everything: the program and the weights (`program.py`), the engine that runs them
(engine.wasm, compiled by `build_engine.py`), the cascade of the face finder, and the scripts.  Its
content security policy allows no request.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from ...formats.agreement import check_agreement, check_probabilities, exportable, images_of_shape
from ...ground._version import __version__
from ...ground.atomic_file import write_atomically
from ...ground.html_page import STYLE, escape, html_page
from ...ground.package_files import package_bytes, package_text
from ...network import Network
from . import node_check
from .model_card import limits
from .program import Cascade, packed_cascade, program_of

logger = logging.getLogger("tinycnn")

FRAMINGS = ("paper", "fer2013")
"""The ways of cutting a face out of its photo that face_finder.c has."""

FER2013_PX = 48
"""With framing fer2013 a face is cut out in this size, and enlarged if the network wants more."""


@dataclass(frozen=True)
class Page:
    """What `write` wrote.

    checked_with  the node that ran it for the check; None: there was none, so no check
    """

    path: Path
    checked_with: str | None


def write(
    network: Network,
    path: str | os.PathLike,
    cascade: Cascade,
    *,
    unsure_below: float,
    name: str = "",
) -> Page:
    """Write `network` to `path` as a page, after a run that compares its logits.

    cascade       finds faces: `ferdata.photos.cascade.tables`
    unsure_below  what the page begins with: it says "unsure" if no expression reaches this
                  probability, from 0 to 1
    name          one of the shipped networks, whose model card gives the limits on the page; ""
                  for any other
    Node (16 or later) runs the check; without it the page is written unchecked, with a warning in
    the log and in the result.  Weights are float32.  Raises, before anything is written:
    UnknownLayerError for a layer that the page cannot run, ValueError for a network that does not
    take faces as the page cuts them, weights that are not finite or an unsure_below out of range,
    ExportError where the page disagrees with the network.  OSError: it cannot be written.
    """
    _check_takes_faces(network)
    if not 0 <= unsure_below <= 1:
        raise ValueError(f"unsure_below is {unsure_below!r}; expected a number from 0 to 1")
    text = page_text(network, cascade, name, unsure_below)
    node = node_check.node()
    if node is None:
        logger.warning("%s: no node of release 16 or later: the page is not checked", path)
    else:
        images = images_of_shape(network.input_spec.shape)
        logits = network.predict_logits(images)
        for found in node_check.run(node, text, images, len(network.classes)):
            check_agreement(str(path), found.logits, logits)
            temperature = network.calibration_temperature
            check_probabilities(str(path), found.probs, found.logits, temperature)
    write_atomically(path, text)
    return Page(Path(path), node)


def _check_takes_faces(network: Network) -> None:
    H, W, C = network.input_spec.shape
    framing = network.input_spec.framing
    if H != W or C != 1:
        raise ValueError(f"the network takes {H}x{W}x{C} images; faces are square, of 1 channel")
    if framing not in FRAMINGS:
        raise ValueError(
            f"the network's framing is {framing}; a page cuts faces out by one of "
            f"{', '.join(FRAMINGS)}"
        )
    if framing == "fer2013" and H < FER2013_PX:
        raise ValueError(
            f"the network takes {H}x{W} images; with framing fer2013 a page cuts out faces of "
            f"{FER2013_PX} px or more"
        )


def page_text(
    network: Network,
    cascade: Cascade | None = None,
    name: str = "",
    unsure_below: float = 0.0,
) -> str:
    """The page for any network, not yet checked.  Without a cascade it finds no faces."""
    network = exportable(network)
    spec = network.input_spec
    program = program_of(network)
    model = {
        "classes": list(network.classes),
        "temperature": network.calibration_temperature,
        "unsureBelow": unsure_below,
        "framing": spec.framing,
        "sizePx": spec.height_px,
        "imageBytes": spec.height_px * spec.width_px * spec.channels,
        "calls": _base64(program.calls),
        "weights": _base64(program.weights.astype("<f4").tobytes()),
        "cascade": _base64(packed_cascade(cascade)) if cascade else "",
        "engine": _base64(package_bytes(__package__, "engine.wasm")),
        "enginePlain": _base64(package_bytes(__package__, "engine_plain.wasm")),
    }
    scripts = {
        part: "\n" + package_text(__package__, f"{part}.js")
        for part in ("engine", "tracking", "page")
    }
    style = STYLE + package_text(__package__, "page.css")
    described = f"{escape(name)}, {network.n_parameters:,}" if name else f"{network.n_parameters:,}"
    parts = {
        "LIMITS": limits(name),
        "NETWORK": f"The network: {described} parameters. Written by tinycnn {__version__}.",
        "MODEL": json.dumps(model).replace("</", "<\\/"),
        **{part.upper(): script for part, script in scripts.items()},
    }
    body = package_text(__package__, "page.html")
    for part, text in parts.items():
        body = body.replace(f"@@{part}@@", text)
    policy = (
        "default-src 'none'; script-src 'wasm-unsafe-eval' "
        + " ".join(f"'sha256-{_hash(script)}'" for script in scripts.values())
        + f"; style-src 'sha256-{_hash(style)}'; img-src blob: data:; "
        "media-src blob: mediastream:; base-uri 'none'; form-action 'none'"
    )
    return html_page("Expressions on faces", style, f"<body>\n{body}</body>", policy)


def _hash(text: str) -> str:
    """As a content security policy names the text of a script or style element."""
    return _base64(hashlib.sha256(text.encode("utf-8")).digest())


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
