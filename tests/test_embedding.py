"""Use inside other programs: in threads, processes and web servers, without side effects.

test_parallel.py also tests whole networks, on the thread pool and after a fork.
"""

import gc
import http.client
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import threading
import tracemalloc
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

import tinycnn
from tinycnn import models
from tinycnn.backend_choice import backend_in_use
from tinycnn.kernels import _jit

IMAGES = np.random.default_rng(0).integers(0, 256, (43, 84, 84), dtype=np.uint8)
NETWORK = models.microexpnet(n_threads=2, seed=7)


@pytest.fixture(scope="module")
def alone():
    """The results of one thread with its own network; NETWORK and its thread pool are used too."""
    logits = models.microexpnet(n_threads=1, seed=7).predict_logits(IMAGES)
    np.testing.assert_array_equal(NETWORK.predict_logits(IMAGES), logits)
    return logits


# ---- threads -----------------------------------------------------------------------------------


def test_threads_share_a_network_from_its_first_use(alone):
    for _ in range(5):
        shared, start = models.microexpnet(n_threads=2, seed=7), threading.Barrier(8)

        def predict(k, shared=shared, start=start):
            start.wait()
            return shared.predict_logits(IMAGES[k:])

        with ThreadPoolExecutor(8) as pool:
            for k, logits in enumerate(pool.map(predict, range(8))):
                np.testing.assert_array_equal(logits, alone[k:])


def test_many_networks_in_one_process(alone):
    """Networks share threads, use only their own memory, and free it when they are deleted."""
    image, n_threads = IMAGES[:9], threading.active_count()
    one = models.microexpnet(n_threads=2)
    one.predict_logits(image)
    tracemalloc.start()
    try:
        networks = [models.microexpnet(n_threads=2, seed=seed) for seed in range(200)]
        logits = [network.predict_logits(image) for network in networks]
        used, _ = tracemalloc.get_traced_memory()
        assert threading.active_count() <= n_threads + 1
        np.testing.assert_array_equal(logits[7], alone[:9])
        assert len({each.tobytes() for each in logits}) == 200
        # parameters, gradients, a copy of them, and the transformed weights; two workspaces
        assert used / 200 < 12 * one.parameter_vector.nbytes
        del networks
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < used / 20
    finally:
        tracemalloc.stop()


class Predictions(BaseHTTPRequestHandler):
    """POST the pixels of 84x84 grey images; the response is their logits."""

    def do_POST(self):
        pixels = self.rfile.read(int(self.headers["Content-Length"]))
        images = np.frombuffer(pixels, np.uint8).reshape(-1, 84, 84)
        answer = NETWORK.predict_logits(images).tobytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args):
        pass


def test_a_web_server_answers_concurrent_requests(alone):
    with ThreadingHTTPServer(("127.0.0.1", 0), Predictions) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()

        def ask(k):
            connection = http.client.HTTPConnection(*server.server_address, timeout=60)
            connection.request("POST", "/", IMAGES[k : k + 1 + k % 20].tobytes())
            logits = np.frombuffer(connection.getresponse().read(), np.float32).reshape(-1, 8)
            connection.close()
            return k, logits

        try:
            with ThreadPoolExecutor(8) as clients:
                answers = list(clients.map(ask, [k % 40 for k in range(120)]))
        finally:
            server.shutdown()
            serving.join()
    for k, logits in answers:
        np.testing.assert_array_equal(logits, alone[k : k + 1 + k % 20])


# ---- processes ---------------------------------------------------------------------------------


def predict_in_child(first):
    """NETWORK is the parent's after a fork; a spawned child imports this file and makes its own."""
    assert backend_in_use("auto") == "numba"
    return NETWORK.predict_logits(IMAGES[first:])


def train_in_child(seed):
    network = models.microexpnet(n_threads=2, seed=seed)
    logits = network.forward(network.scale(IMAGES), training=True)
    loss, dlogits = tinycnn.CrossEntropy()(logits, np.arange(len(IMAGES)) % 8)
    network.backward(dlogits)
    return loss, network.gradient_vector


METHODS = [
    m for m in ("fork", "spawn", "forkserver") if m in multiprocessing.get_all_start_methods()
]


@pytest.mark.parametrize("method", METHODS)
def test_a_pool_of_processes(alone, method):
    """The parent used kernels and threads before; a forked child has the memory but no threads."""
    loss, gradient = train_in_child(3)
    context = multiprocessing.get_context(method)
    n_workers = 3 if method == "fork" else 1
    with warnings.catch_warnings():
        # from Python 3.12 on, a fork with running threads warns; that is what is tested here
        warnings.simplefilter("ignore", DeprecationWarning)
        with ProcessPoolExecutor(n_workers, mp_context=context) as pool:
            predicted = [pool.submit(predict_in_child, k) for k in range(4)]
            trained = pool.submit(train_in_child, 3)
            for k, logits in enumerate(predicted):
                np.testing.assert_array_equal(logits.result(300), alone[k:])
            assert trained.result(300)[0] == loss
            np.testing.assert_array_equal(trained.result(300)[1], gradient)
        if method == "fork":
            with context.Pool(2) as pool:
                for k, logits in enumerate(pool.map_async(predict_in_child, range(4)).get(300)):
                    np.testing.assert_array_equal(logits, alone[k:])
    np.testing.assert_array_equal(NETWORK.predict_logits(IMAGES), alone)


# ---- no side effects ---------------------------------------------------------------------------

PROGRAM = """
import json, locale, logging, os, random, signal, sys, threading, time, warnings
import numpy as np

def mine():
    mask = os.umask(0)
    os.umask(mask)
    return {
        "environment": dict(os.environ), "folder": os.getcwd(), "umask": mask,
        "signals": {s: str(signal.getsignal(s)) for s in signal.valid_signals()},
        "warnings": list(map(str, warnings.filters)), "show": str(warnings.showwarning),
        "NumPy's errors": np.geterr(), "printing": str(np.get_printoptions()),
        "NumPy's random state": str(np.random.get_state()), "random state": random.getstate(),
        "locale": locale.setlocale(locale.LC_ALL), "logging": str(logging.root.handlers),
        "level": logging.root.level, "path": list(sys.path), "hook": str(sys.excepthook),
        "recursion": sys.getrecursionlimit(), "switching": sys.getswitchinterval(),
        "streams": [str(sys.stdout), str(sys.stderr)], "garbage": str(gc.get_threshold()),
        "threads": sorted(t.name for t in threading.enumerate() if t.name not in POOLS),
        "processors": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0,
    }

import gc
# those documented: made when two threads are first needed, idle after; the second ends with the
# network that is trained
POOLS = ("tinycnn_0", "tinycnn-training_0")
np.seterr(divide="ignore")
np.random.seed(5)
random.seed(5)
warnings.simplefilter("error")
before = mine()

import tinycnn, ferdata
assert mine() == before, "importing"

faces = ferdata.render_faces(2, 1, seed=0)
ferdata.find_faces(np.zeros((90, 90, 3), np.uint8))
network = tinycnn.models.microexpnet(dropout=0.5, n_threads=2)
batches = ferdata.Batches(faces, batch_size=16, augment=ferdata.Augmentation(), n_threads=2)
list(tinycnn.iter_epochs(
    network, batches, loss=tinycnn.CrossEntropy(), optimizer=tinycnn.Adam(), n_epochs=1
))
network.classify(faces.images)
tinycnn.load_pretrained(n_threads=1).predict_proba(faces.images)
after = mine()
for name in before:
    assert after[name] == before[name], (name, before[name], after[name])
assert "numba" in sys.modules
del network
gc.collect()
until = time.monotonic() + 20
while any(t.name == POOLS[1] for t in threading.enumerate()) and time.monotonic() < until:
    time.sleep(0.01)
assert POOLS[1] not in {t.name for t in threading.enumerate()}
"""

OWN_FOLDERS = ("HOME", "TMPDIR", "here")
WRITES = "openat,open,creat,mkdir,mkdirat,rename,renameat,renameat2,symlink,link,linkat,truncate"


COMPILING = re.compile("(ferdata|tinycnn): (another process compiles|compiling) ")


def test_nothing_of_the_program_is_touched(tmp_path, alone):
    """No output but that code is compiled, no change of global state, no file outside the two
    cache folders."""
    folders = {name: tmp_path / name for name in OWN_FOLDERS}
    for folder in folders.values():
        folder.mkdir()
    faces_cache, log = tmp_path / "ferdata", tmp_path / "strace.log"
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "NUMBA"))
    }
    environment |= {
        **dict(HOME=str(folders["HOME"]), TMPDIR=str(folders["TMPDIR"])),
        **dict(FERDATA_CACHE_DIR=str(faces_cache), TINYCNN_CACHE_DIR=str(_jit.cache_folder())),
        **dict(PYTHONDONTWRITEBYTECODE="1"),
    }
    command = [sys.executable, "-c", PROGRAM]
    tracing = ["strace", "-f", "-qq", "-y", "-e", f"trace={WRITES}", "-o", str(log)]
    if not can_trace():
        tracing = []
    options = dict(env=environment, cwd=folders["here"], capture_output=True, text=True)
    done = subprocess.run(tracing + command, timeout=600, **options)
    told = [line for line in done.stderr.splitlines() if not COMPILING.match(line)]
    assert (done.returncode, done.stdout, told) == (0, "", [])
    for name, folder in folders.items():
        assert list(folder.iterdir()) == [], name
    assert {path.name for path in tmp_path.iterdir()} - {"strace.log"} == {
        *OWN_FOLDERS,
        "ferdata",
    }
    allowed = (str(faces_cache), str(_jit.cache_folder()), "/dev/")
    if tracing:
        written = [line for line in log.read_text().splitlines() if writes(line)]
        elsewhere = [line for line in written if not any(f'"{a}' in line for a in allowed)]
        assert written and elsewhere == []


def can_trace():
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-qq", "true"], capture_output=True).returncode == 0


def writes(line):
    """Whether this line of strace's output creates or changes a file."""
    if " = -1 " in line or "(" not in line:
        return False
    call = line.split("(")[0].split()[-1]
    return call not in ("open", "openat") or "O_WRONLY" in line or "O_RDWR" in line
