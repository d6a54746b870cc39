"""The page of `tinycnn export --to html`: its engine, its face finder, its text; with node where it
is installed.  `test_html_in_chromium.py` opens it in a browser."""

import base64
import hashlib
import importlib.metadata
import json
import re
import shutil
import subprocess
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from exported import SCALINGS, awkward, expected_probs, images_for, in_colour
from PIL import Image
from skimage import data
from small_networks import SMALL_NETWORKS

import ferdata
import tinycnn
from ferdata.films.tracking import FaceTracker, ProbabilitySmoothing
from ferdata.photos.cascade import tables
from tinycnn import Conv2D, Dense, Flatten, InputSpec, Network
from tinycnn.export.browser import build_engine, html_file, node_check
from tinycnn.export.browser.model_card import markup
from tinycnn.export.browser.program import KINDS, Cascade, packed_cascade, program_of
from tinycnn.formats.agreement import ExportError
from tinycnn.formats.pretrained import PRETRAINED
from tinycnn.layers import STEP_LAYERS, BatchNorm, ReLU, UnknownLayerError
from tinycnn.testing import logit_error

# The images that a page is checked with include one of one value everywhere.
pytestmark = pytest.mark.filterwarnings("ignore:.*images show nothing")

CASCADE = Cascade(*tables())
FOLDER = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def node():
    found = node_check.node()
    if found is None:
        pytest.skip("node 16 or later is not installed")
    return found


@pytest.fixture
def shipped():
    return tinycnn.load_pretrained("residual48", backend="numpy")


# ---- the engine ------------------------------------------------------------------------------


def test_the_engines_were_compiled_from_these_sources():
    """Edit a C file, and this fails until build_engine.py has compiled them again."""
    kept = resources.files("tinycnn.export.browser").joinpath(build_engine.SOURCE_HASH)
    assert kept.read_text().strip() == build_engine.source_hash()


@pytest.mark.parametrize("name", build_engine.ENGINES)
def test_compiling_gives_the_shipped_engine(name):
    try:
        version = importlib.metadata.version("ziglang")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("ziglang is not installed")
    if version != build_engine.ZIG:
        pytest.skip(f"ziglang is {version}; {build_engine.ZIG} compiled the shipped engine")
    shipped = resources.files("tinycnn.export.browser").joinpath(name).read_bytes()
    assert build_engine.compiled(build_engine.ENGINES[name]) == shipped


@pytest.mark.parametrize("name", SMALL_NETWORKS)
def test_unusual_networks(node, name):
    network = awkward(name, SCALINGS[list(SMALL_NETWORKS).index(name) % 3])
    agrees(node, network)


@pytest.mark.parametrize("name", ["imagenet", "shifted", "divided"])
def test_means_and_deviations_of_channels(node, name):
    agrees(node, in_colour()[name])


def agrees(node, network):
    """Both engines, on other images than those of the check before writing."""
    network.calibration_temperature = 1.5
    images = images_for(network)
    page = html_file.page_text(network)
    for found in node_check.run(node, page, images, len(network.classes)):
        assert logit_error(found.logits, network.predict_logits(images)) <= 1e-5
        np.testing.assert_allclose(found.probs, expected_probs(network, images), atol=2e-5)


MAIN = """
#include <stdio.h>
static void *content(const char *name)
{
    FILE *file = fopen(name, "rb");
    if (!file || fseek(file, 0, SEEK_END))
        abort();
    const long n = ftell(file);
    void *block = reserve((int)n);
    rewind(file);
    if (fread(block, 1, (size_t)n, file) != (size_t)n)
        abort();
    fclose(file);
    return block;
}
int main(int argc, char **argv)
{
    for (int k = 1; k < argc; k++) {
        char name[64];
        snprintf(name, sizeof name, "calls%s", argv[k]);
        void *calls = content(name);
        snprintf(name, sizeof name, "weights%s", argv[k]);
        float *weights = content(name);
        snprintf(name, sizeof name, "image%s", argv[k]);
        open_network(calls, weights);
        const float *found = logits(content(name));
        for (int i = 0; i < network.head.n_classes; i++)
            printf("%.9g ", found[i]);
        printf("\\n");
    }
    const uint8_t *grey = content("grey");
    uint8_t cut[4][84 * 84];
    if (!open_cascade(content("cascade")))
        abort();
    const int n = find_faces(grey, 360, 0, 0, 360, 300, 0.0, 1.0);
    for (int k = 0; k < n; k++) {
        const double *one = faces() + 4 * k;
        cut_face(grey, 300, 360, one[0], one[1], one[2], 0, 48, cut[0]);
        cut_face(grey, 300, 360, one[0], one[1], one[2], 0, 84, cut[1]);
        cut_face(grey, 300, 360, one[0], one[1], one[2], 1, 84, cut[2]);
        cut_face(grey, 300, 360, one[0], one[1], one[2], 1, 50, cut[3]);
        printf("%g %g %g\\n", one[0], one[1], one[2]);
    }
    return 0;
}
"""


def test_the_engine_accesses_only_its_memory(tmp_path):
    """Compiled for this machine, with sanitizers: all networks, and a search for faces."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    networks = [awkward(name) for name in SMALL_NETWORKS]
    images = [images_for(network, 1) for network in networks]
    for k, (network, image) in enumerate(zip(networks, images)):
        program = program_of(network.folded() if network.statistics else network)
        (tmp_path / f"calls{k}").write_bytes(program.calls)
        (tmp_path / f"weights{k}").write_bytes(program.weights.tobytes())
        (tmp_path / f"image{k}").write_bytes(image.tobytes())
    many = pictures()["many"][..., 0]
    (tmp_path / "grey").write_bytes(many.tobytes())
    (tmp_path / "cascade").write_bytes(packed_cascade(CASCADE))
    (tmp_path / "engine.c").write_text(build_engine.source() + MAIN)
    command = ["gcc", "-std=gnu99", "-O1", "-g", "-fsanitize=address,undefined"]
    command += ["-fno-sanitize-recover=all", "engine.c", "-o", "engine"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=300)
    words = [str(tmp_path / "engine"), *map(str, range(len(networks)))]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = [np.array(line.split(), np.float64) for line in done.stdout.splitlines()]
    for network, image, row in zip(networks, images, rows):
        assert logit_error(row[None], network.predict_logits(image)) <= 1e-5
    boxes = ferdata.find_faces(many).boxes
    np.testing.assert_array_equal(np.array(rows[len(networks) :]), boxes[:, :3])


def test_every_kind_of_layer_has_an_entry():
    missing = [kind.__name__ for kind in STEP_LAYERS if kind not in KINDS]
    assert missing == [BatchNorm.__name__]  # networks are exported folded


def test_a_layer_that_a_page_cannot_run_is_named(monkeypatch):
    monkeypatch.delitem(KINDS, ReLU)
    with pytest.raises(UnknownLayerError, match="^relu1: a page cannot run the layer ReLU; it kn"):
        program_of(awkward("miniature"))


# ---- faces -----------------------------------------------------------------------------------


def pictures():
    """uint8 (H, W, 3) by name: one face, none, many small ones, one that fills the picture; sizes
    at which the search shrinks the picture, and not."""
    astronaut = Image.fromarray(data.astronaut())
    lfw = (data.lfw_subset()[:30] * 255).astype(np.uint8)
    many = np.full((300, 360), 128, np.uint8)
    for k, face in enumerate(lfw):
        y, x = 60 * (k // 6) + 10, 60 * (k % 6) + 10
        many[y : y + 40, x : x + 40] = np.asarray(Image.fromarray(face).resize((40, 40)))
    drawn = ferdata.render_faces(1, 1, seed=1, size_px=120).images
    filled = np.asarray(Image.fromarray(drawn[5]).resize((331, 331)))
    found = {
        "astronaut": astronaut,
        "enlarged": astronaut.resize((907, 811)),
        "coffee": Image.fromarray(data.coffee()).crop((0, 0, 300, 201)),
        "many": Image.fromarray(many).convert("RGB"),
        "filled": Image.fromarray(filled).convert("RGB"),
    }
    return {name: np.asarray(picture) for name, picture in found.items()}


def film():
    """Frames of 160x120 with their times: a face moves, is gone for a while, and comes back."""
    face = ferdata.render_faces(1, 1, seed=1, size_px=72).images[5]
    for k in range(16):
        picture = np.full((120, 160, 3), 110, np.uint8)
        if not 7 <= k < 10:
            picture[20:92, 10 + 4 * k : 82 + 4 * k] = face[..., None]
        yield picture, k * (0.04 if k < 12 else 0.25)


def in_node(folder, page, shots, with_vectors=True):
    """What tests/page_in_node.js prints."""
    (folder / "page.html").write_text(page, encoding="utf-8")
    listed, frames = [], []
    for name, picture in shots.items():
        write_rgba(folder / name, picture)
        height, width = picture.shape[:2]
        listed.append([name, width, height, with_vectors])
    for k, (picture, time_s) in enumerate(film()):
        write_rgba(folder / f"frame{k}", picture)
        frames.append([f"frame{k}", time_s])
    (folder / "pictures.json").write_text(json.dumps(listed))
    (folder / "film.json").write_text(json.dumps({"frames": frames, "width": 160, "height": 120}))
    script = FOLDER / "page_in_node.js"
    command = ["node", str(script), "page.html", "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def write_rgba(path, picture):
    opaque = np.full((*picture.shape[:2], 1), 255, np.uint8)
    path.write_bytes(np.concatenate([picture, opaque], axis=2).tobytes())


def boxes_of(faces):
    return [[face["x"], face["y"], face["side"], face["side"]] for face in faces]


FEW = ("astronaut", "many")


@pytest.mark.parametrize(
    "framing, size_px, with_vectors",
    [("fer2013", 48, True), ("fer2013", 84, False), ("paper", 84, False), ("paper", 50, True)],
)
def test_the_faces_are_those_of_ferdata(node, tmp_path, framing, size_px, with_vectors):
    """The same boxes, the same pixels, the network's logits; and in a film the same faces with the
    same numbers."""
    spec = InputSpec(size_px, size_px, scaling="unit", framing=framing, classes=("a", "b", "c"))
    network = Network([Conv2D(4, 5, stride=4), Flatten(), Dense(3)], spec, backend="numpy", seed=3)
    shots = pictures()
    if framing == "paper":
        shots = {name: shots[name] for name in FEW}
    found = in_node(tmp_path, html_file.page_text(network, CASCADE), shots, with_vectors)
    for picture, faces in zip(shots.values(), found["pictures"]):
        expected = ferdata.find_faces(picture, framing, size_px=size_px)
        assert boxes_of(faces) == expected.boxes.tolist()
        np.testing.assert_allclose([face["score"] for face in faces], expected.scores)
        pixels = np.array([face["pixels"] for face in faces]).reshape(expected.images.shape)
        np.testing.assert_array_equal(pixels, expected.images)
        if len(expected):
            logits = np.array([face["logits"] for face in faces])
            assert logit_error(logits, network.predict_logits(np.asarray(expected.images))) <= 1e-5
    assert [len(faces) for faces in found["pictures"]][:1] == [1]

    tracker, smoothing = FaceTracker(framing, size_px=size_px), ProbabilitySmoothing()
    seen = set()
    for (picture, time_s), faces in zip(film(), found["film"], strict=True):
        expected, numbers = tracker.find(picture, time_s)
        assert boxes_of(faces) == expected.boxes.tolist()
        assert [face["number"] for face in faces] == list(numbers)
        probs = smoothing.update(numbers, expected_probs(network, expected.images), time_s)
        shown = np.array([face["probabilities"] for face in faces]).reshape(probs.shape)
        np.testing.assert_allclose(shown, probs, atol=1e-5)
        seen |= set(numbers)
    assert len(seen) > 1  # the face that comes back is another one


def test_the_cascade_is_packed_and_a_test_with_three_values_is_refused():
    assert len(packed_cascade(CASCADE)) < 10_000
    leaves = CASCADE.leaves.copy()
    leaves[0, :2] = 7, 8
    with pytest.raises(ValueError, match="a test of the cascade has 4 values; expected two"):
        packed_cascade(CASCADE._replace(leaves=leaves))


# ---- the page --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRETRAINED)
def test_a_shipped_network(tmp_path, name):
    """The page is below 700 kB, holds the limits of the model card, and says whether it was
    checked."""
    network = tinycnn.load_pretrained(name, backend="numpy")
    path = tmp_path / "faces.html"
    written = html_file.write(network, path, CASCADE, unsure_below=0.4, name=name)
    assert written.path == path and written.checked_with == node_check.node()
    assert path.stat().st_size < 700_000
    text = path.read_text(encoding="utf-8")
    right = {"microexpnet": "78.6% ± 0.7%", "residual48": "82.0% ± 0.6%"}[name]
    for said in (f"in {right} of them", "not an emotion", "must not be used", "1,335", ">disgust<"):
        assert said in text
    model = json.loads(re.search(r'<script id="model"[^>]*>(.*?)</script>', text, re.S)[1])
    assert model["unsureBelow"] == 0.4 and model["classes"] == list(network.classes)
    assert model["temperature"] == network.calibration_temperature


def test_the_policy_allows_the_pages_own_scripts_alone(shipped):
    text = html_file.page_text(shipped, CASCADE, "residual48")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert policy.startswith("default-src 'none'; ")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    scripts = re.findall(r'<script id="\w+">(.*?)</script>', text, re.S)
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.S)
    assert rules["script-src"].split() == ["'wasm-unsafe-eval'", *map(hashed, scripts)]
    assert rules["style-src"] == hashed(style) and "connect-src" not in rules
    assert len(scripts) == 3 and "unsafe-inline" not in policy
    assert not re.findall(r'(?:src|href)="|https?://|style="|\bon\w+="', text.split("</head>")[1])


def hashed(text):
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def test_another_network_has_general_limits(shipped):
    text = html_file.page_text(shipped, CASCADE)
    assert "not one of those that come with tinycnn" in text and "must not be used" in text
    assert "FER2013" not in text


def test_names_of_classes_are_text(shipped):
    spec = InputSpec(48, 48, framing="fer2013", classes=("</script><b>", "b", "\u2028"))
    text = html_file.page_text(Network([Flatten(), Dense(3)], spec, backend="numpy"), CASCADE)
    assert "</script><b>" not in text and r"<\/script><b>" in text


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(width_px=50), "takes 48x50x1 images; faces are square"),
        (dict(channels=3), "takes 48x48x3 images"),
        (dict(framing=None), "framing is None; a page cuts faces out by one of paper, fer2013"),
        (dict(height_px=40, width_px=40), "40x40 images; with framing fer2013"),
    ],
)
def test_networks_that_take_no_faces(tmp_path, change, message):
    spec = InputSpec(**{**dict(height_px=48, width_px=48, framing="fer2013"), **change})
    network = Network([Flatten(), Dense(3)], spec, backend="numpy")
    with pytest.raises(ValueError, match=message):
        html_file.write(network, tmp_path / "m.html", CASCADE, unsure_below=0.5)
    assert not list(tmp_path.iterdir())


def test_large_logits(node, tmp_path):
    """Of logits near 200, rounding errors change probabilities by more than 1e-5."""
    spec = InputSpec(48, 48, framing="fer2013", scaling="raw")
    layers = [Conv2D(4, 3), ReLU(), Flatten(), Dense(3)]
    network = Network(layers, spec, backend="numpy", seed=0)
    assert html_file.write(network, tmp_path / "m.html", CASCADE, unsure_below=0.5).checked_with


def test_a_page_that_disagrees_is_not_written(node, tmp_path, monkeypatch, shipped):
    """Its weights are changed on their way into the page."""
    program = program_of(shipped.folded())
    changed = program._replace(weights=program.weights * np.float32(1.001))
    monkeypatch.setattr(html_file, "program_of", lambda network: changed)
    with pytest.raises(ExportError, match="its logits differ from the network's"):
        html_file.write(shipped, tmp_path / "m.html", CASCADE, unsure_below=0.5)
    monkeypatch.setattr(html_file, "program_of", lambda network: program._replace(calls=b""))
    with pytest.raises(ExportError, match="the page does not run with node"):
        html_file.write(shipped, tmp_path / "m.html", CASCADE, unsure_below=0.5)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("said", ["v14.21.3", "v15.0.0\n", "nonsense", ""])
def test_an_old_node_is_none(monkeypatch, said):
    done = subprocess.CompletedProcess([], 0, stdout=said)
    monkeypatch.setattr(node_check.shutil, "which", lambda name: "/usr/bin/node")
    monkeypatch.setattr(node_check.subprocess, "run", lambda *args, **options: done)
    assert node_check.node() is None
    done.stdout = "v16.0.0\n"
    assert node_check.node() == "node v16.0.0"


def test_markdown():
    text = "One\nparagraph & [a link](https://x).\n\n- `code`\n  goes on\n- <b>"
    assert markup(text) == (
        "<p>One paragraph &amp; a link.</p>\n"
        "<ul>\n<li><code>code</code> goes on</li>\n<li>&lt;b&gt;</li>\n</ul>"
    )
