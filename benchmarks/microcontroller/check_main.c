/* Prints the logits of N_IMAGES drawn images, a line each, and then
 * "instructions N stack N": the mean for an image, and the bytes of stack. */
#include "net.h"

void board_print(const char *text);
void board_exit(void);
uint32_t board_instructions(void); /* since some start */

extern char _end[], _stack_top[];

/* Compilers call these. */
void *memset(void *to, int value, __SIZE_TYPE__ n)
{
    for (char *at = to; n > 0; n--)
        *at++ = (char)value;
    return to;
}

void *memcpy(void *to, const void *from, __SIZE_TYPE__ n)
{
    const char *read = from;
    for (char *at = to; n > 0; n--)
        *at++ = *read++;
    return to;
}

static void print_number(int64_t n)
{
    char digits[24];
    int k = 23;
    uint64_t rest = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
    digits[k] = 0;
    do
        digits[--k] = (char)('0' + rest % 10);
    while (rest /= 10);
    if (n < 0)
        digits[--k] = '-';
    board_print(digits + k);
}

static uint8_t image[NET_HEIGHT_PX * NET_WIDTH_PX * NET_CHANNELS];

int main(void)
{
    uint32_t state = 1, n_instructions = 0;
    volatile char *free_memory = _end;
    const char *const used = __builtin_frame_address(0);
    while (free_memory < used - 256)
        *free_memory++ = 0x5a;
    for (int i = 0; i < N_IMAGES; i++) {
        int32_t logits[NET_N_CLASSES];
        for (unsigned k = 0; k < sizeof image; k++) {
            state = state * 1664525u + 1013904223u;
            image[k] = (uint8_t)(state >> 24);
        }
        const uint32_t start = board_instructions();
        net_logits(image, logits);
        n_instructions += board_instructions() - start;
        for (int k = 0; k < NET_N_CLASSES; k++) {
            print_number(logits[k]);
            board_print(" ");
        }
        board_print("\n");
    }
    free_memory = _end;
    while (*free_memory == 0x5a)
        free_memory++;
    board_print("instructions ");
    print_number(n_instructions / N_IMAGES);
    board_print(" stack ");
    print_number(_stack_top - (char *)free_memory);
    board_print("\n");
    board_exit();
    return 0;
}
