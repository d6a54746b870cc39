"""The networks of the zoo: tiny networks of different kinds, on which engines are compared.

All of them end in logits without a softmax, and have no dropout, whose masks differ from engine to
engine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from tinycnn import models
from tinycnn.input_spec import InputSpec
from tinycnn.layers import (
    BatchNorm,
    Conv2D,
    Dense,
    Flatten,
    Layer,
    MaxPool2D,
    ReLU,
)
from tinycnn.models.microexpnet import microexpnet
from tinycnn.models.network_options import NetworkOptions
from tinycnn.models.public_networks import (
    dscnn,
    lenet5,
    mini_xception,
    mobilenet_v1,
    resnet8,
    vgg48,
)
from tinycnn.network import Network

if TYPE_CHECKING:
    from typing_extensions import Unpack


def keras_mnist_cnn(**options: Unpack[NetworkOptions]) -> Network:
    """The convolutional network of Keras's older MNIST example (mnist_cnn.py): two 3x3 convolutions
    without padding, one 2x2 pooling, and a dense layer of 128.  1,199,882 parameters."""
    layers: list[Layer] = [Conv2D(32, 3, padding="valid"), ReLU()]
    layers += [Conv2D(64, 3, padding="valid"), ReLU(), MaxPool2D(2)]
    layers += [Flatten(), Dense(128), ReLU(), Dense(10)]
    return Network(layers, InputSpec(28, 28, 1, scaling="unit"), **options)


def autoencoder(**options: Unpack[NetworkOptions]) -> Network:
    """The autoencoder of MLPerf Tiny, which finds unusual sounds of machines: ten dense layers, 640
    numbers in and out.  Banbury et al. 2021, arXiv 2106.07597."""
    layers: list[Layer] = [Flatten()]
    for units in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        layers += [Dense(units), BatchNorm(), ReLU()]
    return Network([*layers, Dense(640)], InputSpec(1, 1, 640), **options)


def residual48(**options: Unpack[NetworkOptions]) -> Network:
    """`models.residual48` with stages of 24 and 40 filters, which do not fill vectors of 16 floats.
    52,152 parameters."""
    return models.residual48(filters=(16, 24, 40), scaling="unit", **options)


class ZooNetwork(NamedTuple):
    """build: the network, given the options of `Network`;  title: in tables;  trains: whether
    training it as a classifier makes sense."""

    build: Callable[..., Network]
    title: str
    trains: bool = True


ZOO = {
    "microexpnet": ZooNetwork(microexpnet, "MicroExpNet p12-XXS, 84x84x1"),
    "lenet5": ZooNetwork(
        lambda **options: lenet5(relu=True, **options), "LeNet-5 (ReLU, max-pooling), 28x28x1"
    ),
    "keras_mnist_cnn": ZooNetwork(keras_mnist_cnn, "Keras's MNIST CNN, 28x28x1"),
    "vgg48": ZooNetwork(vgg48, "VGG-like, 48x48x1"),
    "residual48": ZooNetwork(residual48, "residual, 48x48x1"),
    "mini_xception": ZooNetwork(mini_xception, "mini_XCEPTION, 64x64x1"),
    "resnet8": ZooNetwork(resnet8, "ResNet-8, 32x32x3"),
    "dscnn": ZooNetwork(lambda **options: dscnn(dropout=False, **options), "DS-CNN, 49x10x1"),
    "mobilenet_v1": ZooNetwork(mobilenet_v1, "MobileNetV1 0.25, 96x96x3"),
    "autoencoder": ZooNetwork(autoencoder, "autoencoder, 640 numbers", trains=False),
}
"""The networks by name."""
