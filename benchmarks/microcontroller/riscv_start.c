/* Start of a program on a RISC-V processor of 32 bits, and its output by semihosting. */
#include <stdint.h>

extern char _data[], _edata[], _data_in_flash[], _bss[], _end[];
int main(void);

static int semihosting(int operation, const void *argument)
{
    register int a0 __asm__("a0") = operation;
    register const void *a1 __asm__("a1") = argument;
    __asm__ volatile(".option push\n.option norvc\n.balign 16\n"
                     "slli x0, x0, 0x1f\nebreak\nsrai x0, x0, 7\n.option pop"
                     : "+r"(a0)
                     : "r"(a1)
                     : "memory");
    return a0;
}

void board_print(const char *text)
{
    semihosting(0x04, text);
}

void board_exit(void)
{
    semihosting(0x18, (const void *)0x20026);
    for (;;)
        ;
}

uint32_t board_instructions(void)
{
    uint32_t n;
    __asm__ volatile("csrr %0, minstret" : "=r"(n));
    return n;
}

__attribute__((used)) static void prepare(void)
{
    char *from = _data_in_flash;
    for (char *to = _data; to < _edata;)
        *to++ = *from++;
    for (char *to = _bss; to < _end;)
        *to++ = 0;
    main();
    board_exit();
}

__attribute__((naked, section(".vectors"), used)) void start(void)
{
    __asm__ volatile("la sp, _stack_top\nj prepare");
}
