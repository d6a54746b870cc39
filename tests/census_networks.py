"""A census of 112 public tiny networks: those that tinycnn can express, and what the rest lacks.

The census is `census.tsv` in the folder TINYCNN_SHARED.  It gives the layers of the networks that
need only Conv2D, MaxPool2D, Dense, ReLU, Flatten and Dropout; the others are here.  Epsilon and
momentum of batch normalisation are not written down: they change no layer.
"""

from census_face_networks import FACE_NETWORKS
from census_tiny_networks import TINY_NETWORKS

BUILT = {**FACE_NETWORKS, **TINY_NETWORKS}
"""The networks that the census gives no layers of and that can be expressed, by its names."""

UNSUPPORTED = {
    "lrn": "local response normalisation",
    "lstm": "recurrent layers",
    "stn": "a spatial transformer",
    "concat": "concatenation of branches",
    "svdf": "a rank-1 filter over time (SVDF)",
    "gelu": "GELU",
    "dilation": "dilated windows",
    "upsample": "upsampling",
    "partial_connections": "filters that see only some channels, by a table",
}
"""What the census's networks need that tinycnn does not have, by the census's words for it."""

NOT_BUILT = {
    "zlpure": "PReLU with a parameter for each pixel (here: for each channel), and batch "
    "normalisation of each column of the picture instead of each channel",
    "sunprinceS hard": "PReLU with a parameter for each pixel (here: for each channel), and "
    "max-pooling in which the padding counts as zeros (here: it never wins)",
}
"""Networks that the census's words make expressible, while their code asks for more."""
