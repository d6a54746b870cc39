"""The page of `tinycnn export --to html` in headless Chromium: a photo, a film, the camera.

Needs playwright (pip install playwright) and Chromium ($CHROMIUM, or on the PATH)."""

import json
import os
import shutil
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image
from skimage import data

import ferdata
import tinycnn
from ferdata.photos.cascade import tables
from tinycnn.export.browser import html_file
from tinycnn.export.browser.program import Cascade
from tinycnn.formats.agreement import images_of_shape
from tinycnn.testing import logit_error

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.filterwarnings("ignore:.*images show nothing"),
]
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
]
WAIT_MS = 60_000
UNSURE_BELOW = 0.5


@pytest.fixture(scope="module")
def network():
    return tinycnn.load_pretrained("residual48", backend="numpy")


@pytest.fixture(scope="module")
def face():
    return ferdata.render_faces(1, 1, seed=1, size_px=120).images[5]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, network, face):
    """The page, two photos, and the camera's film."""
    folder = tmp_path_factory.mktemp("page")
    html_file.write(
        network,
        folder / "faces.html",
        Cascade(*tables()),
        unsure_below=UNSURE_BELOW,
        name="residual48",
    )
    Image.fromarray(data.astronaut()).save(folder / "astronaut.png")
    Image.fromarray(data.coffee()[:100, :100]).save(folder / "nobody.png")
    (folder / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    colour = b"\x80" * (640 * 480 // 2)
    with open(folder / "camera.y4m", "wb") as file:
        file.write(b"YUV4MPEG2 W640 H480 F30:1 Ip A1:1 C420jpeg\n")
        for k in range(10):
            file.write(b"FRAME\n" + moving(face, k).tobytes() + colour)
    return folder


def moving(face, k):
    """Frame k of 640x480, in which the face has moved by 3 k px to the right."""
    grey = np.full((480, 640), 110, np.uint8)
    grey[150:270, 120 + 3 * k : 240 + 3 * k] = face
    return grey


@pytest.fixture(scope="module")
def chromium(folder):
    camera = f"--use-file-for-fake-video-capture={folder / 'camera.y4m'}"
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, camera])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium, folder):
    """The page, ready.  At the end: it has made no request and said nothing on the console."""
    context = chromium.new_context()
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto((folder / "faces.html").as_uri())
    says(page, "Ready.")
    yield page
    context.close()
    assert said == []
    assert [url for url in asked if not url.startswith("blob:")] == [
        (folder / "faces.html").as_uri()
    ]


def says(page, text):
    page.locator("#status", has_text=text).wait_for()


def computed(page, expression):
    """The value of JavaScript on the page.  (`page.evaluate` calls eval, which it forbids.)"""
    session = page.context.new_cdp_session(page)
    options = {"expression": expression, "awaitPromise": True, "returnByValue": True}
    found = session.send("Runtime.evaluate", options)
    assert "exceptionDetails" not in found, found
    return found["result"].get("value")


def test_the_logits_are_the_networks(page, network):
    images = images_of_shape(network.input_spec.shape)
    given = json.dumps(images.reshape(len(images), -1).tolist())
    expected = network.predict_logits(images)
    for with_vectors in ("true", "false"):
        found = computed(
            page,
            "(async () => { const model = JSON.parse(document.getElementById('model').textContent);"
            f"const engine = await openEngine(model, {with_vectors});"
            f"return {given}.map((image) => [...engine.logits(image)]); }})()",
        )
        assert logit_error(np.array(found, np.float32), expected) <= 1e-5


def test_a_photo_has_the_answer_of_predict(page, folder, network):
    """By the keyboard alone."""
    reached = []
    for _ in range(3):
        page.keyboard.press("Tab")
        reached.append(computed(page, "document.activeElement.id"))
    assert reached == ["camera", "choose", "unsure"]
    with page.expect_file_chooser() as chooser:
        page.locator("#choose").press("Enter")
    chooser.value.set_files(folder / "astronaut.png")
    says(page, "astronaut.png: 1 face.")
    spec = network.input_spec
    faces = ferdata.find_faces(folder / "astronaut.png", spec.framing, size_px=spec.height_px)
    (answer,) = network.classify(faces, unsure_below=UNSURE_BELOW)
    assert page.locator("#list .name").all_text_contents() == [answer.label]
    shares = page.locator("#list .share").all_text_contents()
    assert shares == [f"{p:.0%}" for p in answer.probs.values()]
    assert page.locator("#list dt").all_text_contents() == list(network.classes)
    label = page.locator("#canvas").get_attribute("aria-label")
    assert label == f"The picture. face 1: {answer.label}"

    page.locator("#unsure").fill("100")
    assert page.locator("#list .name").all_text_contents() == ["unsure"]
    assert page.locator("#unsure-value").text_content() == "100%"


def test_photos_without_a_face_and_damaged_ones(page, folder):
    page.set_input_files("#file", folder / "nobody.png")
    says(page, "nobody.png: no face found.")
    assert "No face found." in page.locator("#none").text_content()
    page.set_input_files("#file", folder / "damaged.png")
    says(page, "damaged.png: this browser cannot read it. Choose a JPEG or PNG photo")
    assert page.locator("#status.problem").count() == 1


def test_the_camera(page, network, face):
    page.locator("#camera").click()
    says(page, "The camera is on.")
    page.locator("#rate", has_text="frames a second").wait_for()
    spec = network.input_spec
    faces = ferdata.find_faces(moving(face, 0), spec.framing, size_px=spec.height_px)
    (answer,) = network.classify(faces)
    page.locator("#list .name", has_text=answer.label).wait_for()
    page.locator("#pause").press("Enter")
    page.locator("#pause", has_text="Go on").wait_for()
    page.locator("#stop").press("Enter")
    says(page, "Stopped.")
    assert not page.locator("#pause").is_visible() and not page.locator("#rate").is_visible()


@pytest.mark.parametrize(
    "name, message",
    [
        ("NotAllowedError", "The camera was not allowed."),
        ("NotFoundError", "There is no camera here. Choose a photo or film."),
        ("OddError", "The camera does not start (OddError). Choose a photo or film."),
    ],
)
def test_no_camera(page, name, message):
    refusing = f"() => Promise.reject(new DOMException('', '{name}'))"
    computed(page, f"void (navigator.mediaDevices.getUserMedia = {refusing})")
    page.locator("#camera").click()
    says(page, message)
    assert page.locator("#choose").is_enabled()


def test_a_film(page, tmp_path, face):
    av = pytest.importorskip("av", reason="the extra video is not installed")
    path = tmp_path / "film.webm"
    with av.open(str(path), "w") as container:
        try:
            stream = container.add_stream("libvpx", rate=25)
        except (ValueError, av.error.FFmpegError):
            pytest.skip("this PyAV does not write VP8")
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        stream.bit_rate, stream.options = 4_000_000, {"deadline": "realtime", "cpu-used": "8"}
        for k in range(8):
            frame = av.VideoFrame.from_ndarray(moving(face, k), format="gray")
            frame.pts, frame.time_base = k, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    page.set_input_files("#file", path)
    page.locator("#list .name").wait_for()
    says(page, "The film is over.")


def test_a_request_would_be_refused(chromium, folder):
    """The policy holds in this browser: a script of the page cannot send anything."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto((folder / "faces.html").as_uri())
    session = page.context.new_cdp_session(page)
    expression = "fetch('http://127.0.0.1:9/').then(() => 'sent', (error) => error.name)"
    violated = []
    page.on("console", lambda message: violated.append(message.text))
    options = {"expression": expression, "awaitPromise": True, "returnByValue": True}
    assert session.send("Runtime.evaluate", options)["result"]["value"] == "TypeError"
    context.close()
    assert any("Content Security Policy" in text for text in violated)


@pytest.mark.parametrize("width_px", [320, 400])
def test_a_phone_scrolls_in_one_direction(page, folder, width_px):
    page.set_viewport_size({"width": width_px, "height": 700})
    page.set_input_files("#file", folder / "astronaut.png")
    says(page, "astronaut.png: 1 face.")
    assert computed(page, "document.documentElement.scrollWidth") <= width_px
    heights = "[...document.querySelectorAll('button:enabled')].map((b) => b.offsetHeight || 44)"
    assert min(computed(page, heights)) >= 44
