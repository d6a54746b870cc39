/* Memory: blocks that are reserved one after the other, and given back in the opposite order. */
#include <stdint.h>

#define EXPORT __attribute__((visibility("default"), used)) /* JavaScript calls it */

#if defined(__wasm__)
extern unsigned char __heap_base; /* the linker's: the first free byte */
static uintptr_t first_free;

/* A block of n_bytes, which begins at a multiple of 16.  If the browser gives no more memory, the
 * call fails in JavaScript. */
EXPORT void *reserve(int n_bytes)
{
    const uintptr_t page = 65536;
    if (!first_free)
        first_free = (uintptr_t)&__heap_base;
    const uintptr_t block = (first_free + 15) / 16 * 16;
    const uintptr_t end = block + (uintptr_t)n_bytes, size = __builtin_wasm_memory_size(0) * page;
    if (end > size &&
        __builtin_wasm_memory_grow(0, (end - size + page - 1) / page) == (uintptr_t)-1)
        __builtin_trap();
    first_free = end;
    return (void *)block;
}

/* Give back this block and all that were reserved after it. */
EXPORT void give_back(void *block)
{
    first_free = (uintptr_t)block;
}
#else
#include <stdlib.h>
enum { MOST_BLOCKS = 4096 };
static void *blocks[MOST_BLOCKS];
static int n_blocks;

/* For tests without a browser: each block is one of malloc, so that a sanitizer sees its ends. */
EXPORT void *reserve(int n_bytes)
{
    if (n_blocks == MOST_BLOCKS)
        abort();
    return blocks[n_blocks++] = malloc((size_t)(n_bytes ? n_bytes : 1));
}

EXPORT void give_back(void *block)
{
    void *last = 0;
    while (last != block)
        free(last = blocks[--n_blocks]);
}
#endif
