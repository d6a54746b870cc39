"""Ctrl-C at random moments of training steps: the steps after it have the right bits.

    python tests/interrupt_steps.py                    300 interrupted steps, about a minute
    python tests/interrupt_steps.py --steps 20 --seed 7

This is what happens in a notebook: a cell is interrupted, often twice, and the next cell goes on
with the same network.  A worker thread that outlives the interrupted step would write into the
arrays of the next one.  Each step is interrupted at a random moment; the next step begins at once,
and its loss, logits and gradients are compared with those of an undisturbed network, bit for bit.
Every interrupted update of the weights must have been done once or not at all, as the optimizer's
count says.  Exit status: 0 if all is well.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tinycnn import (
    Adam,
    BatchNorm,
    Conv2D,
    CrossEntropy,
    Dense,
    Flatten,
    InputSpec,
    MaxPool2D,
    Network,
    ReLU,
    models,
)

N_IMAGES, N_BATCHES, N_THREADS = 64, 4, 3


class Step(NamedTuple):
    """What a training step gives."""

    loss: float
    logits: bytes
    gradients: bytes


def networks() -> dict[str, Callable[[], Network]]:
    """A network of one stage, whose step is one phase, and one of several stages."""
    layers = [Conv2D(8, 3), BatchNorm(), ReLU(), MaxPool2D(2), Conv2D(8, 3), BatchNorm(), ReLU()]
    layers += [Flatten(), Dense(5)]
    return {
        "MicroExpNet": lambda: models.microexpnet(n_threads=N_THREADS),
        "BatchNorm": lambda: Network(layers, InputSpec(24, 24), n_threads=N_THREADS),
    }


def batches_for(network: Network) -> list[tuple[np.ndarray, np.ndarray]]:
    rng, shape = np.random.default_rng(0), network.input_spec.shape
    images = rng.integers(0, 256, (N_BATCHES, N_IMAGES, *shape), dtype=np.uint8)
    labels = rng.integers(0, len(network.classes), (N_BATCHES, N_IMAGES))
    return [(network.scale(x), y) for x, y in zip(images, labels)]


def step_of(network: Network, batch: tuple[np.ndarray, np.ndarray]) -> Step:
    loss, logits = network.loss_and_gradients(batch[0], CrossEntropy(), batch[1])
    return Step(loss, logits.tobytes(), network.gradient_vector.tobytes())


class Interruptions:
    """Sends SIGINT to the main thread after each of these seconds, as the keyboard does."""

    def __init__(self, moments: list[float]) -> None:
        self.moments, self.cancelled = moments, threading.Event()
        self.n_sent = self.n_handled = 0
        self.thread = threading.Thread(target=self.send)

    def send(self) -> None:
        for pause in self.moments:
            end = time.perf_counter() + pause
            # two signals that wait for Python would become one
            while time.perf_counter() < end or self.n_handled < self.n_sent:
                time.sleep(0)
                if self.cancelled.is_set():
                    return
            self.n_sent += 1
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def handle(self, number: int, frame: object) -> None:
        self.n_handled += 1
        raise KeyboardInterrupt

    def start(self) -> None:
        self.before = signal.signal(signal.SIGINT, self.handle)
        self.thread.start()

    def stop(self) -> None:
        """Afterwards no signal is on its way any more.  To be called again if one comes here."""
        self.cancelled.set()
        self.thread.join()
        while self.n_handled < self.n_sent:
            time.sleep(0)
        signal.signal(signal.SIGINT, self.before)


def interrupted(work: Callable[[], object], moments: list[float]) -> bool:
    """Call work() with these interruptions; whether one of them ended it."""
    sender, has_begun, is_done = Interruptions(moments), False, False
    while True:
        try:
            if not has_begun:
                has_begun = True
                sender.start()
                work()
                is_done = True
            sender.stop()
            return not is_done
        except KeyboardInterrupt:
            continue


def wrong_steps(make: Callable[[], Network], n_steps: int, rng: random.Random) -> tuple[int, int]:
    """How many steps were interrupted, and how many of the steps after these have other bits."""
    network = make()
    batches = batches_for(network)
    expected = [step_of(network, batch) for batch in batches]
    started = time.perf_counter()
    for batch in batches:
        step_of(network, batch)
    seconds = (time.perf_counter() - started) / len(batches)
    weights = network.parameter_vector.copy()
    n_interrupted = n_wrong = 0
    while n_interrupted < n_steps:
        moments = [rng.uniform(0, 1.2 * seconds)]
        moments += [rng.uniform(0, 0.3 * seconds) for _ in range(rng.randrange(3))]
        k = rng.randrange(N_BATCHES)
        if interrupted(lambda: step_of(network, batches[k]), moments):
            n_interrupted += 1
            after = (k + rng.randrange(1, N_BATCHES)) % N_BATCHES
            n_wrong += step_of(network, batches[after]) != expected[after]
        trained = network.plan.n_trained_slots
        network.parameter_vector[trained:] = weights[trained:]  # running statistics went on
    return n_interrupted, n_wrong


RATE_FACTORS = ((), ((150_000, 0.1), (100_000, 0.5)))
"""Of `wrong_updates`: one rate for all 400,000 parameters, or three."""


def wrong_updates(
    n_steps: int, rng: random.Random, rate_factors: tuple[tuple[int, float], ...] = ()
) -> tuple[int, int]:
    """How many updates were interrupted, and how many of those left weights that do not belong to
    the optimizer's count of steps."""
    size = 400_000
    start = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    gradients = np.random.default_rng(1).standard_normal(size).astype(np.float32)
    weights, optimizer = start.copy(), Adam(1e-3, rate_factors=rate_factors)
    expected = []  # the weights after so many steps
    for _ in range(3):
        expected.append(weights.tobytes())
        started = time.perf_counter()
        optimizer.step(weights, gradients)
        seconds = time.perf_counter() - started
    n_interrupted = n_wrong = 0
    while n_interrupted < n_steps:
        weights, optimizer = start.copy(), Adam(1e-3, rate_factors=rate_factors)
        optimizer.step(weights, gradients)
        update = lambda: optimizer.step(weights, gradients)  # noqa: E731
        if interrupted(update, [rng.uniform(0, 1.2 * seconds)]):
            n_interrupted += 1
            n_wrong += weights.tobytes() != expected[optimizer.n_steps]
    return n_interrupted, n_wrong


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=300, help="interrupted steps (default 300)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    rng, status = random.Random(options.seed), 0
    for name, make in networks().items():
        n_interrupted, n_wrong = wrong_steps(make, options.steps, rng)
        print(f"{name}: {n_interrupted} steps interrupted, {n_wrong} wrong after that")
        status |= n_wrong > 0
    for factors in RATE_FACTORS:
        n_interrupted, n_wrong = wrong_updates(options.steps, rng, factors)
        print(
            f"Adam, {1 + len(factors)} rates: {n_interrupted} updates interrupted, {n_wrong} wrong"
        )
        status |= n_wrong > 0
    return int(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
