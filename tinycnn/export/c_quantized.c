/* @@ integers */
/* Values are integers q of 0..255 and mean scale * (q - zero); weights are integers of -127..127.
 * Sums are exact. */
typedef struct {
    int height, width, channels;
} shape; /* of a picture; a vector is a picture of 1x1 pixels */

typedef struct {
    int height, width, down, right, above, left; /* size, strides, padding */
} window;

typedef struct {
    int low, high, zero; /* limits of the output, and the integer that means 0 */
} limits;

/* @@ floats */
/* A sum times its factor is in units of the output.  -ffast-math must not be used: it may round
 * differently. */
typedef float factor;

/* The nearest whole number, of two equally near ones the even one; |v| < 1000. */
static int nearest(float v)
{
    int n = (int)v;
    const float rest = v - (float)n;
    if (rest > 0.5F || (rest == 0.5F && n % 2 != 0))
        n++;
    else if (rest < -0.5F || (rest == -0.5F && n % 2 != 0))
        n--;
    return n;
}

/* @@ float_rounded */
/* round(total * by) + zero, within the limits */
static uint8_t rounded(int32_t total, factor by, limits to)
{
    const float least = (float)(to.low - to.zero), most = (float)(to.high - to.zero);
    float scaled = (float)total * by;
    scaled = scaled < least ? least : scaled;
    scaled = scaled > most ? most : scaled;
    return (uint8_t)(nearest(scaled) + to.zero);
}

/* @@ float_logit */
typedef float logit;

static logit as_logit(int32_t total, factor by)
{
    return (float)total * by;
}

/* @@ fixed_point */
/* A sum times numerator / 2**shift is in units of the output.  There are no floats here. */
typedef struct {
    int32_t numerator, shift;
} factor;

/* This program needs a compiler that keeps the sign in v >> 1, as all do for these processors. */
typedef char keeps_the_sign[((int64_t)-1 >> 1) == -1 ? 1 : -1];

/* total * numerator / 2**shift, rounded to the nearest integer, a half upwards */
static int64_t scaled(int32_t total, factor by)
{
    const int64_t half = (int64_t)1 << (by.shift - 1);
    return ((int64_t)total * by.numerator + half) >> by.shift;
}

/* @@ fixed_point_rounded */
static uint8_t rounded(int32_t total, factor by, limits to)
{
    const int64_t q = scaled(total, by) + to.zero;
    return (uint8_t)(q < to.low ? to.low : q > to.high ? to.high : q);
}

/* @@ fixed_point_logit */
typedef int32_t logit;

static logit as_logit(int32_t total, factor by)
{
    return (logit)scaled(total, by);
}

/* @@ pixel_table */
/* q = the integer for each pixel value of a channel */
static void load(const uint8_t *image, int n, int C, const uint8_t *table, uint8_t *q)
{
    for (int k = 0; k < n; k++)
        q[k] = table[256 * (k % C) + image[k]];
}

/* @@ standardized */
/* q of (p - mean) / max(standard deviation, 1/sqrt(n)) of this image's n values; sums are exact */
static void load(const uint8_t *image, int n, float scale, int zero, uint8_t *q)
{
    uint64_t total = 0, squares = 0;
    for (int k = 0; k < n; k++) {
        total += image[k];
        squares += (uint64_t)image[k] * image[k];
    }
    const double mean = (double)total / n, n_squared = (double)n * n;
    const double variance = ((double)squares * n - (double)total * (double)total) / n_squared;
    const double factor_of_all = 1.0 / square_root(variance > 1.0 / n ? variance : 1.0 / n);
    for (int k = 0; k < n; k++) {
        float level = (float)((image[k] - mean) * factor_of_all) / scale;
        level = level < (float)-zero ? (float)-zero : level;
        level = level > (float)(255 - zero) ? (float)(255 - zero) : level;
        q[k] = (uint8_t)(nearest(level) + zero);
    }
}

/* @@ integer_standardized */
/* The largest integer whose square is not above v */
static uint64_t square_root(uint64_t v)
{
    uint64_t root = 0;
    for (uint64_t bit = (uint64_t)1 << 62; bit != 0; bit >>= 2) {
        if (v >= root + bit) {
            v -= root + bit;
            root = (root >> 1) + bit;
        } else {
            root >>= 1;
        }
    }
    return root;
}

/* The same in integers.  With the sums A of p and B of p * p over the n values of the image,
 * (p - mean) / deviation = (n p - A) / sqrt(D), D = n B - A * A, at least n.  root is sqrt(D) times
 * 2**k, and 1 / scale is numerator / 2**shift.  n is at most 2**20. */
static void load(const uint8_t *image, int n, factor one_over_scale, int zero, uint8_t *q)
{
    uint32_t total = 0;
    uint64_t squares = 0;
    for (int k = 0; k < n; k++) {
        total += image[k];
        squares += (uint32_t)image[k] * image[k];
    }
    uint64_t d = squares * (uint64_t)n - (uint64_t)total * total;
    int shift = 30 + (int)one_over_scale.shift;
    d = d < (uint64_t)n ? (uint64_t)n : d;
    for (; d < (uint64_t)1 << 60; d <<= 2)
        shift--;
    const int64_t by = (int64_t)(((uint64_t)one_over_scale.numerator << 30) / square_root(d));
    const int64_t half = (int64_t)1 << (shift - 1);
    uint8_t table[256];
    for (int p = 0; p < 256; p++) {
        const int64_t above_mean = (int64_t)n * p - (int64_t)total;
        const int64_t level = ((above_mean * by + half) >> shift) + zero;
        table[p] = (uint8_t)(level < 0 ? 0 : level > 255 ? 255 : level);
    }
    for (int k = 0; k < n; k++)
        q[k] = table[image[k]];
}

/* @@ layer */
/* A layer with weights.  factor: of each filter */
typedef struct {
    const int8_t *w;
    const int32_t *b;
    const factor *by;
    window over;
    shape from, into; /* the input, the output */
    int zero_x;       /* the integer of the input that means 0 */
    limits to;
} layer;

/* @@ four_sums */
/* total[f] += sum over k < n of (x[k] - zero_x) * w[k][f], for four filters f */
static void four_sums(const uint8_t *x, int n, int zero_x, const int8_t *w, int32_t *total)
{
    int32_t t0 = total[0], t1 = total[1], t2 = total[2], t3 = total[3];
    for (int k = 0; k < n; k++, w += 4) {
        const int32_t value = x[k] - zero_x;
        t0 += value * w[0];
        t1 += value * w[1];
        t2 += value * w[2];
        t3 += value * w[3];
    }
    total[0] = t0, total[1] = t1, total[2] = t2, total[3] = t3;
}

/* @@ convolution_row */
/* Row i of a convolution:
 * total[f] = b[f] + sum over a, e, c of (x[i*down - above + a][j*right - left + e][c] - zero_x)
 * * w[f / 4][a][e][c][f % 4], without the padding.  A dense layer is a convolution of one pixel. */
static void convolution_row(const layer *of, const uint8_t *x, int i, uint8_t *y)
{
    const window over = of->over;
    const int H = of->from.height, W = of->from.width, C = of->from.channels;
    const int F = of->into.channels, top = i * over.down - over.above;
    const int first_a = top < 0 ? -top : 0, last_a = H - top < over.height ? H - top : over.height;
    for (int j = 0; j < of->into.width; j++) {
        const int side = j * over.right - over.left;
        const int first_e = side < 0 ? -side : 0;
        const int last_e = W - side < over.width ? W - side : over.width;
        const int n = (last_e - first_e) * C;
        for (int f = 0; f < F; f += 4) {
            const int8_t *w = of->w + f * over.height * over.width * C;
            int32_t total[4];
            for (int k = 0; k < 4; k++)
                total[k] = f + k < F ? of->b[f + k] : 0;
            for (int a = first_a; n > 0 && a < last_a; a++)
                four_sums(x + ((top + a) * W + side + first_e) * C, n, of->zero_x,
                          w + (a * over.width + first_e) * C * 4, total);
            for (int k = 0; k < 4 && f + k < F; k++)
                *y++ = rounded(total[k], of->by[f + k], of->to);
        }
    }
}

/* @@ dense_logits */
/* The same for a dense layer whose output are the logits */
static void dense_logits(const layer *of, const uint8_t *x, logit *logits)
{
    const int n = of->from.channels, F = of->into.channels;
    for (int f = 0; f < F; f += 4) {
        int32_t total[4] = {0, 0, 0, 0};
        four_sums(x, n, of->zero_x, of->w + f * n, total);
        for (int k = 0; k < 4 && f + k < F; k++)
            logits[f + k] = as_logit(total[k] + of->b[f + k], of->by[f + k]);
    }
}

/* @@ depthwise_row */
/* The same for each channel by itself, with weights w[a][e][f]: channel f / n_filters of x, with
 * n_filters for each. */
static void depthwise_row(const layer *of, const uint8_t *x, int i, uint8_t *y)
{
    const window over = of->over;
    const int H = of->from.height, W = of->from.width, C = of->from.channels;
    const int F = of->into.channels, n_filters = F / C, top = i * over.down - over.above;
    for (int j = 0; j < of->into.width; j++) {
        const int side = j * over.right - over.left;
        for (int f = 0; f < F; f++) {
            int32_t total = of->b[f];
            for (int a = 0; a < over.height; a++)
                for (int e = 0; e < over.width; e++) {
                    const int h = top + a, v = side + e;
                    if (h < 0 || h >= H || v < 0 || v >= W)
                        continue;
                    total += (x[(h * W + v) * C + f / n_filters] - of->zero_x) *
                             of->w[(a * over.width + e) * F + f];
                }
            *y++ = rounded(total, of->by[f], of->to);
        }
    }
}

/* @@ convolution */
static void convolution(const layer *of, const uint8_t *x, uint8_t *y)
{
    const int n = of->into.width * of->into.channels;
    for (int i = 0; i < of->into.height; i++)
        convolution_row(of, x, i, y + i * n);
}

/* @@ depthwise */
static void depthwise(const layer *of, const uint8_t *x, uint8_t *y)
{
    const int n = of->into.width * of->into.channels;
    for (int i = 0; i < of->into.height; i++)
        depthwise_row(of, x, i, y + i * n);
}

/* @@ pooled_row */
/* y = max(y, the row's largest value in each window), for a row of C channels */
static void pooled_row(const uint8_t *row, int W, int C, window over, int n_windows, uint8_t *y)
{
    for (int j = 0; j < n_windows; j++, y += C)
        for (int e = 0; e < over.width; e++) {
            const int v = j * over.right - over.left + e;
            if (v < 0 || v >= W)
                continue;
            for (int c = 0; c < C; c++)
                y[c] = row[v * C + c] > y[c] ? row[v * C + c] : y[c];
        }
}

/* @@ max_pool */
/* The largest value of each window inside the picture. */
static void max_pool(const uint8_t *x, shape of_x, window over, uint8_t *y, shape of_y)
{
    const int n = of_x.width * of_x.channels, n_out = of_y.width * of_y.channels;
    for (int k = 0; k < of_y.height * n_out; k++)
        y[k] = 0;
    for (int i = 0; i < of_y.height; i++)
        for (int a = 0; a < over.height; a++) {
            const int h = i * over.down - over.above + a;
            if (h >= 0 && h < of_x.height)
                pooled_row(x + h * n, of_x.width, of_x.channels, over, of_y.width, y + i * n_out);
        }
}

/* @@ rows_max_pool */
/* The max-pooling of a convolution's output, of which only one row is kept at a time. */
typedef void rows_of(const layer *of, const uint8_t *x, int i, uint8_t *y);

static void rows_max_pool(const layer *of, rows_of *row_of, const uint8_t *x, uint8_t *row,
                          window over, uint8_t *y, shape of_y)
{
    const int C = of_y.channels, n_out = of_y.width * C;
    for (int k = 0; k < of_y.height * n_out; k++)
        y[k] = 0;
    for (int i = 0; i < of_y.height; i++)
        for (int a = 0; a < over.height; a++) {
            const int h = i * over.down - over.above + a;
            if (h < 0 || h >= of->into.height)
                continue;
            row_of(of, x, h, row);
            pooled_row(row, of->into.width, C, over, of_y.width, y + i * n_out);
        }
}

/* @@ average_pool */
/* The mean of each window.  Padding counts as zeros if count_padding is 1, and is left out if it is
 * 0.  by: the factor for `least` values in a window, and for each larger number of them */
static void average_pool(const uint8_t *x, shape of_x, int zero_x, const factor *by, int least,
                         window over, int count_padding, limits to, uint8_t *y, shape of_y)
{
    const int C = of_x.channels;
    for (int i = 0; i < of_y.height; i++)
        for (int j = 0; j < of_y.width; j++)
            for (int c = 0; c < C; c++) {
                int32_t total = 0;
                int counted = 0;
                for (int a = 0; a < over.height; a++)
                    for (int e = 0; e < over.width; e++) {
                        const int h = i * over.down - over.above + a;
                        const int v = j * over.right - over.left + e;
                        const int inside =
                            h >= 0 && h < of_x.height && v >= 0 && v < of_x.width;
                        counted += inside || count_padding;
                        if (inside)
                            total += x[(h * of_x.width + v) * C + c] - zero_x;
                    }
                y[(i * of_y.width + j) * C + c] = rounded(total, by[counted - least], to);
            }
}

/* @@ mean_logits */
/* logits[c] = the mean of a channel */
static void mean_logits(const uint8_t *x, shape of_x, int zero_x, const factor *by, logit *logits)
{
    const int C = of_x.channels, n = of_x.height * of_x.width;
    for (int c = 0; c < C; c++) {
        int32_t total = 0;
        for (int k = 0; k < n; k++)
            total += x[k * C + c] - zero_x;
        logits[c] = as_logit(total, *by);
    }
}

/* @@ add */
/* ((x - zero_x) * first + (x2 - zero_x2) * second + half) / 2**shift, rounded down, + zero */
static void add(const uint8_t *x, int zero_x, int32_t first, const uint8_t *x2, int zero_x2,
                int32_t second, int shift, limits to, int n, uint8_t *y)
{
    const int32_t unit = (int32_t)1 << shift;
    for (int k = 0; k < n; k++) {
        const int32_t total = (x[k] - zero_x) * first + (x2[k] - zero_x2) * second + unit / 2;
        const int32_t rest = (total % unit + unit) % unit;
        const int q = (total - rest) / unit + to.zero;
        y[k] = (uint8_t)(q < to.low ? to.low : q > to.high ? to.high : q);
    }
}

/* @@ table */
/* The table's entry for each value; C tables, one for each channel, or a single one. */
static void look_up(const uint8_t *x, int n, int C, const uint8_t *table, uint8_t *y)
{
    for (int k = 0; k < n; k++)
        y[k] = table[256 * (k % C) + x[k]];
}

/* @@ values */
/* scale * (q - zero) */
static void values(const uint8_t *q, int n, float scale, int zero, float *logits)
{
    for (int k = 0; k < n; k++)
        logits[k] = ((float)q[k] - (float)zero) * scale;
}

/* @@ integer_values */
/* q - zero */
static void values(const uint8_t *q, int n, int zero, int32_t *logits)
{
    for (int k = 0; k < n; k++)
        logits[k] = (int32_t)q[k] - zero;
}
