"""Programs of `tinycnn export --to c --integer-only` on emulated boards, without a system.

boards.py         the boards that QEMU emulates; compiles a program for one and runs it
check_main.c      the program: draws images, prints their logits, instructions and stack
cortex_m_start.c  what runs before it on ARM Cortex-M;  riscv_start.c  on RISC-V
report.py         a table: flash, memory and instructions of a network on each board
"""
