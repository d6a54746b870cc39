"""Trains all networks of small_networks.py, and MicroExpNet, and prints a hash of each result.

    python tests/weight_bits.py > new.txt
    PYTHONPATH=../other-revision python tests/weight_bits.py > old.txt; diff old.txt new.txt

A line that differs is a network whose weights, logits or gradients have other bits.
"""

import hashlib

import numpy as np
from small_networks import ENGINE_NETWORKS, small_batch, small_network

from tinycnn import Adam, CrossEntropy, Distillation, RelationDistillation, models

LOSSES = [
    *(Distillation(4.0, 0.7, "hinton"), CrossEntropy(label_smoothing=0.1), RelationDistillation()),
    *(CrossEntropy(), Distillation((2.0, 4.0), 0.5), Distillation(8.0, 0.5)),
]


def result_hash(network, make_x, n_steps, n_images):
    """Of all logits on the way, then of prediction, weights, gradients and the gradient of x."""
    rng, n_classes = np.random.default_rng(7), len(network.classes)
    optimizer, digest = Adam(1e-3), hashlib.sha256()
    for step in range(n_steps):
        n = n_images - step % 3
        labels = rng.integers(0, n_classes, n)
        votes = rng.dirichlet(np.ones(n_classes), n).astype(network.dtype)
        teacher = rng.normal(0, 3, (n, n_classes)).astype(network.dtype)
        targets = votes if step % 2 else labels
        loss = LOSSES[step % len(LOSSES)]
        _, logits = network.loss_and_gradients(make_x(n, step), loss, targets, teacher)
        digest.update(logits.tobytes())
        optimizer.step(network.parameter_vector, network.gradient_vector)
    digest.update(network.forward(make_x(5, 0)).tobytes())
    logits = network.forward(make_x(5, 1), training=True)
    digest.update(network.backward(logits, input_gradient=True).tobytes())
    for name in network.parameters:
        digest.update(network.parameters[name].tobytes() + network.gradients[name].tobytes())
    return digest.hexdigest()[:20]


if __name__ == "__main__":
    for name in sorted(ENGINE_NETWORKS):
        for dtype in (np.float32, np.float64):
            for backend, n_threads in (("numba", 1), ("numba", 2), ("numpy", 1)):
                network = small_network(name, backend, dtype, n_threads=n_threads)
                found = result_hash(
                    network,
                    lambda n, seed: small_batch(name, n, seed, dtype),
                    n_steps=200,
                    n_images=21,
                )
                print(name, np.dtype(dtype).name, backend, n_threads, found, flush=True)
    images = np.random.default_rng(0).uniform(0, 255, (64, 84, 84, 1)).astype(np.float32)
    for n_threads in (1, 2):
        network = models.microexpnet(n_threads=n_threads, seed=3)
        found = result_hash(network, lambda n, seed: images[:n], n_steps=24, n_images=64)
        print("microexpnet", n_threads, found)
