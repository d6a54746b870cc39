"""The readers: every function that reads files of other people, its errors, and good inputs.

A reader's input is the content of a file, or only the part of a file that is worth damaging. Where
a checksum would refuse every damaged file, the checksum is computed again for the damaged part, or
it is left out.
"""

# Each of these modules puts its readers into READERS.
from fuzz.readers import (  # noqa: F401
    arrays,
    lists,
    models,
    onnx_models,
    pictures,
    programs,
    run_folders,
    tf_checkpoints,
)
from fuzz.readers.registry import READERS, SHARES, Reader

__all__ = ["READERS", "SHARES", "Reader"]
