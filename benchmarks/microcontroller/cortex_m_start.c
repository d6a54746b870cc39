/* Start of a program on a Cortex-M, and its output by semihosting. */
#include <stdint.h>

extern char _data[], _edata[], _data_in_flash[], _bss[], _end[], _stack_top[];
int main(void);

static int semihosting(int operation, const void *argument)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
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

/* SysTick counts down at CLOCK_MHZ; QEMU's -icount shift=0 takes 1 ns for an instruction. */
uint32_t board_instructions(void)
{
    if (CLOCK_MHZ == 0)
        return 0;
    const uint32_t ticks = 0xffffff - *(volatile uint32_t *)0xe000e018;
    return (uint32_t)((uint64_t)ticks * 1000 / (CLOCK_MHZ + !CLOCK_MHZ));
}

void start(void)
{
    *(volatile uint32_t *)0xe000ed88 |= 0xfu << 20; /* floating point and vectors, if it has them */
    __asm__ volatile("dsb\nisb" ::: "memory");
    char *from = _data_in_flash;
    for (char *to = _data; to < _edata;)
        *to++ = *from++;
    for (char *to = _bss; to < _end;)
        *to++ = 0;
    *(volatile uint32_t *)0xe000e014 = 0xffffff;
    *(volatile uint32_t *)0xe000e018 = 0;
    *(volatile uint32_t *)0xe000e010 = 5; /* on, at the clock of the processor */
    main();
    board_exit();
}

static void stop(void)
{
    board_print("fault\n");
    board_exit();
}

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    _stack_top, (const void *)start, (const void *)stop, (const void *)stop,
    (const void *)stop, (const void *)stop, (const void *)stop,
};
