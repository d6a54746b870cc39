"""What a command will need for a network, said before it is taken: a model file of a few hundred
bytes can describe pictures and layers of any size."""

from __future__ import annotations

import math

from ..ground.command_line import CannotError
from ..ground.free_memory import free_bytes
from ..ground.messages import file_name
from ..ground.printing import print_message
from ..network import Network
from ..quantized.network import QuantizedNetwork

BYTES_PER_VALUE = 100
"""Of memory, for each value that the layers compute for one image.  Measured: 97 in `convert` and
the export to ONNX, 80 in `gradcheck`, 45 in the other exports: they run six images at once."""

SAID_FROM_BYTES = 1 << 30


def say_memory(name: str, network: Network | QuantizedNetwork) -> None:
    """Print on stderr how much memory a command will take for this network, if that is more than
    SAID_FROM_BYTES.  Raises CannotError if it is more than this machine has free."""
    plan = network.plan if isinstance(network, Network) else network.program.plan
    values = math.prod(plan.input_shape)
    values += sum(math.prod(step.output_shape) for step in plan.steps)
    _say(f"{file_name(name)}: {values:,} values an image", BYTES_PER_VALUE * values)


def say_arrays(name: str, n_bytes: int) -> None:
    """The same for the arrays of a data file, which a compressed file holds in far fewer bytes.
    The file and its unpacked arrays are in memory together."""
    _say(f"{file_name(name)}: its arrays", 2 * n_bytes)


def _say(subject: str, needed: int) -> None:
    if needed <= SAID_FROM_BYTES:
        return
    free, said = free_bytes(), f"{subject} take about {needed / 1e9:.1f} GB of memory"
    if free is not None and needed > free:
        raise CannotError(f"{said}; {free / 1e9:.1f} GB are free")
    print_message(f"note: {said}")
