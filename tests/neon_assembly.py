"""Prints, as JSON, the instructions of a kernel compiled for an ARM core; see test_neon.py.

The kernel is compiled with the settings of an ARM host (vectors of 128 bits).  Its LLVM IR, which
does not depend on the processor, is then compiled by LLVM's AArch64 back end.
"""

import collections
import json
import re
import sys

import llvmlite.binding as llvm
import numpy as np

from tinycnn.kernels import _tile, _winners


def compiled(name, dtype):
    """The LLVM IR of a kernel for arrays of this dtype."""
    a, b, c = np.ones(64, dtype), np.ones(64, dtype), np.ones(64, dtype)
    if name == "multiply_add":
        kernel = _tile.multiply_add
        kernel(2, 4, 1, 2, a, 0, 2, 0, 1, b, 0, 0, 4, c, 0, 4)
    else:
        kernel, numbers = _winners.add_winners, np.zeros(64, np.int32)
        kernel(2, 4, 1, numbers, numbers, numbers, a, 4, b, numbers, numbers, c, 4)
    return kernel.inspect_llvm(kernel.signatures[-1])


def on_arm(ir):
    """Assembly for an ARMv8 core with NEON."""
    ir = re.sub(r"^target (triple|datalayout).*\n", "", ir, flags=re.M)
    # Numba's wrapper around the kernel uses an x86 instruction to count references.
    ir = re.sub(r"@llvm[.]x86[.]([a-z0-9.]*)", r'@"x86_\1"', ir).replace("immarg", "")
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple("aarch64-unknown-linux-gnu")
    machine = target.create_target_machine(cpu="generic", features="+neon", opt=3)
    module = llvm.parse_assembly(ir)
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    return machine.emit_assembly(module)


def instructions(assembly):
    """How often each instruction occurs, with the shape of its first register: "fmla v.4s"."""
    found = collections.Counter()
    for line in assembly.splitlines():
        words = line.split()
        if line.startswith("\t") and words and words[0][0].isalpha():
            shape = re.match(r"v\d+([.]\w+)", words[1]) if len(words) > 1 else None
            found[words[0] + (f" v{shape[1]}" if shape else "")] += 1
    return found


if __name__ == "__main__":
    name, dtype = sys.argv[1:]
    print(json.dumps(instructions(on_arm(compiled(name, dtype)))))
