"""Networks small enough to check every gradient entry; together they have every kind of operation.

`SMALL_NETWORKS` maps a name to (layers, picture shape).  The name says what is unusual about it.
"""

import numpy as np

from tinycnn import (
    AveragePool2D,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePool2D,
    InputSpec,
    MaxPool2D,
    Network,
    ReLU,
)
from tinycnn.layers import (
    BatchNorm,
    LeakyReLU,
    PReLU,
    Residual,
    ScaleShift,
    Sigmoid,
    SpatialDropout2D,
    Tanh,
)

SMALL_NETWORKS = {
    # a miniature of MicroExpNet's p12 with dropout, on a picture that "same" pads unevenly
    "miniature": (
        [
            *(Conv2D(5, 4, stride=2), ReLU(), MaxPool2D(2)),
            *(Conv2D(3, 2, stride=2), ReLU(), MaxPool2D(2)),
            *(Flatten(), Dense(6), ReLU(), Dropout(0.4), Dense(4)),
        ],
        (10, 9, 1),
    ),
    # a window that is not square, two channels, overlapping pooling windows
    "overlapping_pool": (
        [Conv2D(3, (3, 2)), ReLU(), MaxPool2D(3, stride=2), Flatten(), Dense(3)],
        (7, 5, 2),
    ),
    "pool_then_relu": (
        [Conv2D(4, 3, padding="valid"), MaxPool2D(2, stride=1), ReLU(), Flatten(), Dense(3)],
        (6, 5, 1),
    ),
    "conv_pool_without_relu": (
        [Conv2D(4, 3), MaxPool2D(2, padding="valid"), Flatten(), Dense(3)],
        (5, 5, 1),
    ),
    "pool_first": ([MaxPool2D(2), Conv2D(9, 3), ReLU(), Flatten(), Dense(2)], (5, 6, 1)),
    "relu_and_dropout_first": (
        [ReLU(), Dropout(0.3), Conv2D(3, 1), Dropout(0.2), MaxPool2D(2), Flatten(), Dense(3)],
        (4, 5, 2),
    ),
    # the window is larger than the picture; no window covers some pixels between strides
    "window_beyond_picture": ([Conv2D(3, 6), ReLU(), Flatten(), Dense(3)], (3, 4, 2)),
    "stride_beyond_window": (
        [Conv2D(3, 2, stride=3, padding="valid"), ReLU(), Flatten(), Dense(3)],
        (6, 7, 2),
    ),
    "windows_per_axis": (
        [
            *(Conv2D(3, (3, 2), stride=(1, 2)), ReLU(), MaxPool2D((1, 3), stride=(2, 1))),
            *(MaxPool2D((2, 1)), Conv2D(2, 2, stride=(2, 1), padding="valid"), Flatten(), Dense(3)),
        ],
        (9, 8, 2),
    ),
    # more padding than the kernel has rows: some windows see nothing but padding
    "padding_for_each_side": (
        [
            *(Conv2D(3, (2, 3), stride=(2, 1), padding=((3, 0), (1, 2))), ReLU()),
            *(MaxPool2D(2, padding=((1, 0), (0, 1))), Conv2D(2, 3, padding=((0, 2), (2, 1)))),
            *(MaxPool2D((3, 2), stride=1, padding=((2, 1), (0, 0))), Flatten(), Dense(3)),
        ],
        (6, 5, 1),
    ),
    "depthwise_separable": (
        [
            *(Conv2D(5, 3, stride=2), ReLU(), DepthwiseConv2D(3), ReLU(), Conv2D(4, 1), ReLU()),
            *(AveragePool2D(2), DepthwiseConv2D((2, 3), padding="valid"), GlobalAveragePool2D()),
            *(Dense(4), ReLU(), Dense(3)),
        ],
        (9, 13, 1),
    ),
    # several filters for a channel; layers without a bias
    "depthwise_multiplier_first": (
        [
            DepthwiseConv2D((3, 2), stride=(2, 1), depth_multiplier=3, use_bias=False),
            *(MaxPool2D(2), Conv2D(2, 2, use_bias=False), ReLU()),
            DepthwiseConv2D(2, padding=((1, 0), (0, 3)), depth_multiplier=2),
            *(Flatten(), Dense(5, use_bias=False), ReLU(), Dense(4, use_bias=False)),
        ],
        (8, 7, 2),
    ),
    "average_pools": (
        [
            *(AveragePool2D((2, 3), stride=(1, 2), count_padding=True), Conv2D(3, 2), ReLU()),
            *(AveragePool2D(3, stride=2, padding=((1, 2), (2, 0))), Flatten(), Dense(3)),
        ],
        (7, 8, 2),
    ),
    "global_average_last": ([Conv2D(4, 3), ReLU(), GlobalAveragePool2D()], (5, 4, 2)),
    "flatten_before_relu": ([Conv2D(2, 3), Flatten(), ReLU(), Dense(3)], (4, 3, 2)),
    "flatten_between_conv_and_dropout": (
        [Conv2D(2, 3), Flatten(), Dropout(0.5), Flatten(), Dense(3)],
        (4, 3, 1),
    ),
    "convolutions_alone": (
        [Conv2D(3, 3), ReLU(), Conv2D(4, (3, 4), padding="valid"), Flatten()],
        (3, 4, 2),
    ),
    "dense_alone": ([Flatten(), Dense(5), ReLU(), Dense(4), ReLU(), ReLU()], (3, 2, 2)),
    "dropout_last": ([Flatten(), Dense(4), Dropout(0.25)], (3, 3, 1)),
    # largest values that many of the values reach, before a pooling, after it, and alone
    "clipped_relu": (
        [
            *(Conv2D(4, 3), ReLU(max_value=0.7), MaxPool2D(2), ReLU(0.6), Conv2D(3, 2)),
            *(MaxPool2D(2), ReLU(0.5), Flatten(), Dense(5), ReLU(0.9), Dense(3)),
        ],
        (8, 7, 1),
    ),
    "leaky_relu": (
        [
            *(LeakyReLU(0.3), Conv2D(3, 3), LeakyReLU(0.2), MaxPool2D(2), LeakyReLU(0.0)),
            *(Conv2D(4, 2), MaxPool2D(2), LeakyReLU(), Flatten(), Dense(5), LeakyReLU(), Dense(3)),
        ],
        (7, 6, 2),
    ),
    "prelu": (
        [
            *(PReLU(), Conv2D(3, 3), PReLU(), Conv2D(4, 2), PReLU(), MaxPool2D(2), PReLU()),
            *(Flatten(), Dense(5), PReLU(), Dense(3)),
        ],
        (5, 6, 2),
    ),
    "sigmoid_and_tanh": (
        [
            *(Tanh(), Conv2D(3, 3), Sigmoid(), MaxPool2D(2), Tanh(), Conv2D(4, 2), MaxPool2D(2)),
            *(Sigmoid(), Flatten(), Dense(5), Tanh(), Dense(3)),
        ],
        (6, 5, 1),
    ),
    "spatial_dropout": (
        [
            *(SpatialDropout2D(0.4), Conv2D(5, 3), ReLU(), SpatialDropout2D(0.3), MaxPool2D(2)),
            *(SpatialDropout2D(0.2), Flatten(), Dense(3)),
        ],
        (5, 4, 3),
    ),
}


BRANCHED_NETWORKS = {
    # the second has a shortcut of its own, as in ResNet
    "residuals": (
        [
            *(Conv2D(3, 3), ReLU(), Residual([Conv2D(3, 3), ReLU(), Conv2D(3, 2)]), ReLU()),
            Residual([Conv2D(4, 3, stride=2), ReLU(), Conv2D(4, 3)], [Conv2D(4, 1, stride=2)]),
            *(ReLU(), Flatten(), Dense(3)),
        ],
        (6, 5, 2),
    ),
    # the network's input goes into several branches, one of which is only dropout
    "residual_first": (
        [
            Residual([Residual([Conv2D(2, 3), MaxPool2D(2, stride=1)]), ReLU()], [Dropout(0.3)]),
            *(Conv2D(3, 2), MaxPool2D(2), Flatten(), Dense(3)),
        ],
        (4, 5, 2),
    ),
    # a picture that a branch of its own flattens; x + x; a residual at the end
    "residuals_of_vectors": (
        [
            *(Conv2D(2, 3), ReLU()),
            Residual([Flatten(), Dense(5), ReLU()], [MaxPool2D(2), Flatten(), Dense(5)]),
            *(Dropout(0.25), Dense(4), Residual([Flatten()]), Residual([ReLU(), Dense(4)])),
        ],
        (5, 4, 2),
    ),
}
"""Networks with branches."""

AFFINE_NETWORKS = {
    "without_bias": (
        [
            *(Conv2D(3, 3, use_bias=False), ReLU(), MaxPool2D(2), Conv2D(2, 2, use_bias=False)),
            *(Flatten(), Dense(4, use_bias=False), ReLU(), Dense(3)),
        ],
        (5, 6, 1),
    ),
    "scale_and_shift": (
        [
            *(ScaleShift(), Conv2D(3, 3), ReLU(), ScaleShift(), ReLU(), Conv2D(2, 3)),
            *(Flatten(), ScaleShift(), Dense(3), ScaleShift()),
        ],
        (5, 4, 2),
    ),
}
"""Networks with scales and shifts, or without them."""

BATCH_NETWORKS = {
    # before and behind an activation, on pictures and vectors, running variances of both kinds
    "batch_norms": (
        [
            *(Conv2D(4, 3, use_bias=False), BatchNorm(), ReLU(), MaxPool2D(2)),
            *(Conv2D(5, 3), ReLU(), BatchNorm(unbiased_running_var=False, epsilon=1e-3)),
            *(Dropout(0.3), Flatten(), Dense(6), BatchNorm(momentum=0.0), ReLU(), Dense(3)),
        ],
        (6, 5, 2),
    ),
    "batch_norm_first_and_last": (
        [BatchNorm(), BatchNorm(), Conv2D(3, 2), ReLU(), Flatten(), Dense(3), BatchNorm()],
        (3, 4, 2),
    ),
    # outputs that are computed again in backward: from the network's input, and with an activation
    "batch_norm_and_sigmoid": (
        [
            *(BatchNorm(), Sigmoid(), Conv2D(3, 2), BatchNorm(), Tanh(), Conv2D(2, 2), BatchNorm()),
            *(Flatten(), Dense(3)),
        ],
        (5, 4, 2),
    ),
    # as in ResNet: the shortcut's BatchNorm needs no stage of its own
    "residuals_with_batch_norms": (
        [
            *(Conv2D(3, 3), BatchNorm(), ReLU()),
            *(Residual([Conv2D(3, 3), BatchNorm(), ReLU(), Conv2D(3, 3), BatchNorm()]), ReLU()),
            Residual(
                [Conv2D(4, 3, 2), BatchNorm(), ReLU(), Conv2D(4, 3), BatchNorm()],
                [Conv2D(4, 1, 2), BatchNorm()],
            ),
            *(ReLU(), Flatten(), Dense(3)),
        ],
        (5, 4, 2),
    ),
    # before the convolution, as in pre-activation ResNets; one alone in a branch
    "batch_norms_before": (
        [
            *(Residual([BatchNorm(), ReLU(), Conv2D(2, 3)]), Residual([BatchNorm()])),
            *(Conv2D(3, 3, padding="valid"), MaxPool2D(2), Flatten(), Dense(3)),
        ],
        (5, 4, 2),
    ),
}
"""Networks with BatchNorm: training and prediction compute different things."""

ENGINE_NETWORKS = {**SMALL_NETWORKS, **BRANCHED_NETWORKS, **AFFINE_NETWORKS, **BATCH_NETWORKS}
"""All of these."""


def small_network(name, backend="auto", dtype=np.float64, seed=0, **options):
    """The network of that name, with parameters that `draw_parameters` draws."""
    layers, (H, W, C) = ENGINE_NETWORKS[name]
    spec = InputSpec(H, W, C)
    network = Network(layers, spec, backend=backend, dtype=dtype, seed=seed, **options)
    draw_parameters(network, seed)
    return network


def draw_parameters(network, seed):
    """Biases are N(0, 0.3): with zeros a missing bias would not show.  Likewise scales and shifts,
    and running statistics.  A BatchNorm of a single value has its shift as output, and a ReLU would
    give the gradient of 0 or of rounding."""
    rng = np.random.default_rng(seed)
    network.initialise(rng, bias_std=0.3)
    for arrays in (network.parameters, network.statistics):
        for parameter, values in arrays.items():
            if parameter.split(".")[-1] not in ("w", "b"):
                values[:] += rng.uniform(-0.4, 0.4, values.shape)


def without_dropout(layers):
    """The layers, also those of residuals, with a rate of 0 in each dropout."""
    same = []
    for layer in layers:
        if isinstance(layer, Residual):
            layer = Residual(without_dropout(layer.layers), without_dropout(layer.shortcut))
        same.append(Dropout(0.0) if isinstance(layer, Dropout) else layer)
    return same


def small_batch(name, n_images=2, seed=1, dtype=np.float64):
    """Pictures (N, H, W, C) of normal values, all different (no ties for max-pooling)."""
    shape = ENGINE_NETWORKS[name][1]
    return np.random.default_rng(seed).standard_normal((n_images, *shape)).astype(dtype)
