"""The boards, and how a program is compiled for one of them and run."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tinycnn.export.c_layouts import drawn_images

__all__ = ["BOARDS", "Board", "Result", "drawn_images", "run"]

HERE = Path(__file__).parent
TIMEOUT_S = 120


@dataclass(frozen=True)
class Board:
    """A board that QEMU emulates.

    processor    its name;  machine: QEMU's name of the board
    emulator     the program of QEMU;  prefix: of the names of the compiler and `size`
    flags        for the compiler
    start        the file in this folder that starts a program
    flash, ram   (address, bytes) of the memories
    clock_mhz    of SysTick in QEMU, with which instructions are counted; 0: by a counter of the
                 processor, or not at all
    """

    processor: str
    machine: str
    emulator: str
    prefix: str
    flags: tuple[str, ...]
    start: str
    flash: tuple[int, int]
    ram: tuple[int, int]
    clock_mhz: int = 0

    @property
    def tools(self) -> tuple[str, ...]:
        """The programs that compiling and running need."""
        return (f"{self.prefix}gcc", f"{self.prefix}size", f"{self.prefix}nm", self.emulator)

    @property
    def missing(self) -> tuple[str, ...]:
        """Those of `tools` that this machine does not have."""
        return tuple(tool for tool in self.tools if shutil.which(tool) is None)


ARM = ("qemu-system-arm", "arm-none-eabi-")
LARGE_FLASH, RAM = (0, 512 << 10), (0x20000000, 64 << 10)
BOARDS = {
    "m3": Board(  # a chip with this memory
        *("Cortex-M3", "lm3s6965evb", *ARM, ("-mcpu=cortex-m3",), "cortex_m_start.c"),
        flash=(0, 256 << 10),
        ram=RAM,
    ),
    "m4": Board(
        *("Cortex-M4", "mps2-an386", *ARM, ("-mcpu=cortex-m4",), "cortex_m_start.c"),
        flash=LARGE_FLASH,
        ram=RAM,
        clock_mhz=25,
    ),
    "m55": Board(
        *("Cortex-M55", "mps3-an547", *ARM),
        flags=("-mcpu=cortex-m55", "-mfloat-abi=hard"),
        start="cortex_m_start.c",
        flash=LARGE_FLASH,
        ram=RAM,
        clock_mhz=32,
    ),
    "riscv": Board(
        *("RV32IMAC", "virt", "qemu-system-riscv32", "riscv64-unknown-elf-"),
        flags=("-march=rv32imac", "-misa-spec=2.2", "-mabi=ilp32", "-mcmodel=medany"),
        start="riscv_start.c",
        flash=(0x80000000, 512 << 10),
        ram=(0x80100000, 64 << 10),
    ),
}

LINKER_SCRIPT = """\
MEMORY {{
    FLASH (rx) : ORIGIN = {flash[0]:#x}, LENGTH = {flash[1]}
    RAM (rwx) : ORIGIN = {ram[0]:#x}, LENGTH = {ram[1]}
}}
ENTRY(start)
SECTIONS {{
    .text : {{ KEEP(*(.vectors)) *(.text*) *(.rodata*) *(.srodata*) }} > FLASH
    .ARM.exidx : {{ *(.ARM.exidx*) }} > FLASH
    .data : {{ _data = .; *(.data*) *(.sdata*) . = ALIGN(4); _edata = .; }} > RAM AT > FLASH
    _data_in_flash = LOADADDR(.data);
    .bss (NOLOAD) : {{ _bss = .; *(.bss*) *(.sbss*) *(COMMON) . = ALIGN(8); _end = .; }} > RAM
    _stack_top = ORIGIN(RAM) + LENGTH(RAM);
}}
"""


class Result(NamedTuple):
    """What a program did on a board.

    logits          int32 (N, K), of the images of `drawn_images`
    n_instructions  for an image; 0: not counted;  n_stack_bytes: of stack at most
    n_flash_bytes   of the network alone: code, weights and tables;  n_ram_bytes: its static memory
    symbols         of functions outside the program that it calls
    """

    logits: np.ndarray
    n_instructions: int
    n_stack_bytes: int
    n_flash_bytes: int
    n_ram_bytes: int
    symbols: tuple[str, ...]


def run(board: Board, folder: Path, n_images: int = 1, optimisation: str = "-O2") -> Result:
    """Compile net.c and net.h in `folder` for the board, and run them there.

    Raises RuntimeError with the output of the tool that failed.
    """
    linker_script = LINKER_SCRIPT.format(flash=board.flash, ram=board.ram)
    (folder / "memory.ld").write_text(linker_script, encoding="utf-8")
    gcc = [f"{board.prefix}gcc", "-std=gnu99", optimisation, "-Wall", *board.flags]
    gcc += ["-ffunction-sections", "-fdata-sections", "-ffreestanding"]
    _call([*gcc, "-c", "net.c", "-o", "net.o"], folder)
    gcc += [
        "-fno-tree-loop-distribute-patterns",
        f"-DN_IMAGES={n_images}",
        f"-DCLOCK_MHZ={board.clock_mhz}",
        "-I",
        ".",
    ]
    files = [str(HERE / "check_main.c"), str(HERE / board.start), "net.o"]
    link = ["-nostdlib", "-Wl,--gc-sections", "-T", "memory.ld", *files, "-lgcc"]
    _call([*gcc, *link, "-o", "net.elf"], folder)
    emulator = [board.emulator, "-M", board.machine, "-display", "none", "-monitor", "none"]
    emulator += ["-serial", "none", "-icount", "shift=0", "-kernel", "net.elf"]
    emulator += ["-bios", "none"] if board.machine == "virt" else []
    printed = _call([*emulator, "-semihosting-config", "enable=on,target=native"], folder)
    *rows, last = printed.strip().splitlines() or [""]
    words, rows = last.split(), rows[-n_images:]  # QEMU may print a warning before them
    if words[:1] != ["instructions"]:
        raise RuntimeError(f"{board.machine}: printed {printed!r}")
    sizes = _call([f"{board.prefix}size", "net.o"], folder).splitlines()[1].split()
    undefined = _call([f"{board.prefix}nm", "-u", "net.o"], folder).split()
    return Result(
        np.array([[int(word) for word in row.split()] for row in rows], np.int32),
        *(int(words[1]), int(words[3])),
        *(int(sizes[0]) + int(sizes[1]), int(sizes[1]) + int(sizes[2])),
        tuple(sorted(set(undefined) - {"U"})),
    )


def _call(command: list[str], folder: Path) -> str:
    """Run a tool; returns what it printed."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, encoding="utf-8", timeout=TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stderr or done.stdout}")
    return done.stdout or done.stderr
