"""PyTorch modules with the layers that small networks have, for the tests of the ONNX reader.

`MODULES` maps a name to (picture shape (C, H, W), or (features,), function that makes the module).
A Softmax or LogSoftmax is the last part of a Sequential.
"""

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """A block of a ResNet, with a strided shortcut if the shape changes."""

    def __init__(self, n_in, n_out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.shortcut = nn.Sequential()
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out)
            )

    def forward(self, x):
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(y + self.shortcut(x))


class Call(nn.Module):
    """A function of one tensor."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def separable(n_in, n_out, stride):
    return [
        *(nn.Conv2d(n_in, n_in, 3, stride, 1, groups=n_in, bias=False), nn.BatchNorm2d(n_in)),
        *(nn.ReLU6(), nn.Conv2d(n_in, n_out, 1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU6()),
    ]


def lenet():
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 30), nn.Sigmoid(), nn.Linear(30, 10), nn.Softmax(1)),
    )


def resnet():
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        *(Block(8, 8, 1), Block(8, 12, 2)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5)),
    )


def mobilenet():
    mean = Call(lambda x: x.mean((2, 3)))
    return nn.Sequential(*separable(3, 8, 2), *separable(8, 12, 1), mean, nn.Linear(12, 4))


def activations():
    return nn.Sequential(
        *(nn.Conv2d(2, 5, 3, padding=(0, 1)), nn.LeakyReLU(0.2)),
        *(nn.Conv2d(5, 6, (3, 2), stride=(1, 2)), nn.PReLU(6), nn.ReLU6()),
        *(nn.Conv2d(6, 4, 1), nn.PReLU(4), nn.MaxPool2d(3, 2, 1)),
        *(Call(lambda x: x.view(x.size(0), -1)), nn.Linear(24, 6), nn.BatchNorm1d(6)),
        *(nn.ReLU6(), nn.Linear(6, 3), nn.LogSoftmax(-1)),
    )


def poolings():
    return nn.Sequential(
        *(nn.ZeroPad2d((1, 2, 0, 1)), nn.Conv2d(3, 4, 3), nn.AvgPool2d(3, 2, 1)),
        *(nn.PReLU(), nn.Conv2d(4, 4, 2)),
        *(nn.AvgPool2d(3, 1, 1, count_include_pad=False), nn.ReLU()),
        *(nn.ConstantPad2d((0, 1, 0, 0), 0.0), nn.MaxPool2d(2, 2)),
        *(nn.AvgPool2d((2, 1)), nn.Hardtanh(-0.5, 0.7), nn.Flatten()),
        nn.Linear(12, 4),
    )


def vectors():
    return nn.Sequential(
        *(nn.Linear(20, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5)),
        nn.Linear(16, 3, bias=False),
    )


def scaled_pixels():
    mean, deviation = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.3, 0.4])
    scale = Call(lambda x: (x / 255 - mean.view(1, 3, 1, 1)) / deviation.view(1, 3, 1, 1))
    return nn.Sequential(
        *(scale, nn.Conv2d(3, 4, 3), nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 2))
    )


def rows():
    return nn.Sequential(
        *(nn.Conv1d(12, 8, 5, 2, 2), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(2, ceil_mode=True)),
        *(nn.Conv1d(8, 8, 3, groups=8), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 4)),
    )


MODULES = {
    "lenet": ((1, 28, 28), lenet),
    "resnet": ((3, 12, 12), resnet),
    "mobilenet": ((3, 11, 9), mobilenet),
    "activations": ((2, 9, 8), activations),
    "poolings": ((3, 11, 10), poolings),
    "vectors": ((20,), vectors),
    "scaled_pixels": ((3, 6, 6), scaled_pixels),
    "rows": ((12, 30), rows),
}


def made(name, dtype=torch.float32):
    """The module of that name, for evaluation; its BatchNorms have statistics that matter."""
    torch.manual_seed(0)
    module = MODULES[name][1]()
    for part in module.modules():
        if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.normal_(part.weight, 1, 0.3)
            for tensor in (part.bias, part.running_mean):
                nn.init.normal_(tensor, 0, 0.3)
            nn.init.uniform_(part.running_var, 0.5, 2)
        if isinstance(part, nn.PReLU):
            nn.init.uniform_(part.weight, -0.1, 0.5)
    return module.to(dtype).eval()


def without_softmax(module):
    """The module up to its logits."""
    last = isinstance(module[-1], (nn.Softmax, nn.LogSoftmax))
    return module[:-1] if last else module


def exported(module, x, path, exporter, *, keep_batch_norm=False):
    """Write the module as ONNX, with a free batch.  exporter: "torchscript" or "dynamo"."""
    if exporter == "dynamo":
        batch = torch.export.Dim("batch")
        options = dict(dynamo=True, dynamic_shapes=({0: batch},), verbose=False)
        return torch.onnx.export(module, (x[:2],), path, **options)
    options = {}
    if keep_batch_norm:
        options = dict(training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)
    names = dict(input_names=["x"], dynamic_axes={"x": {0: "batch"}})
    return torch.onnx.export(module, x[:2], path, dynamo=False, **names, **options)
