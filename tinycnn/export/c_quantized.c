/* @@ integers */
/* Values are integers q of 0..255 and mean scale * (q - zero); weights are integers of -127..127.
 * Sums are exact.  -ffast-math must not be used: it may round differently. */
typedef struct {
    int height, width, channels;
} shape; /* of a picture; a vector is a picture of 1x1 pixels */

typedef struct {
    int height, width, down, right, above, left; /* size, strides, padding */
} window;

typedef struct {
    int low, high, zero; /* limits of the output, and the integer that means 0 */
} limits;

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

/* round(total * factor) + zero, within the limits */
static uint8_t rounded(int32_t total, float factor, limits to)
{
    const float least = (float)(to.low - to.zero), most = (float)(to.high - to.zero);
    float scaled = (float)total * factor;
    scaled = scaled < least ? least : scaled;
    scaled = scaled > most ? most : scaled;
    return (uint8_t)(nearest(scaled) + to.zero);
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
    const double factor = 1.0 / square_root(variance > 1.0 / n ? variance : 1.0 / n);
    for (int k = 0; k < n; k++) {
        float level = (float)((image[k] - mean) * factor) / scale;
        level = level < (float)-zero ? (float)-zero : level;
        level = level > (float)(255 - zero) ? (float)(255 - zero) : level;
        q[k] = (uint8_t)(nearest(level) + zero);
    }
}

/* @@ convolution */
/* total[f] = b[f] + sum over a, e, c of (x[i*down - above + a][j*right - left + e][c] - zero_x)
 * * w[a][e][c][f], without the padding.  A dense layer is a convolution of one pixel. */
static void convolution(const uint8_t *x, shape of_x, int zero_x, const int8_t *w,
                        const int32_t *b, const float *factor, window over, limits to, uint8_t *y,
                        shape of_y)
{
    const int C = of_x.channels, F = of_y.channels;
    static int32_t total[@MOST_FILTERS@];
    for (int i = 0; i < of_y.height; i++)
        for (int j = 0; j < of_y.width; j++) {
            for (int f = 0; f < F; f++)
                total[f] = b[f];
            for (int a = 0; a < over.height; a++)
                for (int e = 0; e < over.width; e++) {
                    const int h = i * over.down - over.above + a;
                    const int v = j * over.right - over.left + e;
                    if (h < 0 || h >= of_x.height || v < 0 || v >= of_x.width)
                        continue;
                    for (int c = 0; c < C; c++) {
                        const int32_t value = x[(h * of_x.width + v) * C + c] - zero_x;
                        const int8_t *row = w + ((a * over.width + e) * C + c) * F;
                        for (int f = 0; f < F; f++)
                            total[f] += value * row[f];
                    }
                }
            for (int f = 0; f < F; f++)
                y[(i * of_y.width + j) * F + f] = rounded(total[f], factor[f], to);
        }
}

/* @@ dense_logits */
/* logits[f] = factor[f] * (b[f] + sum over k of (x[k] - zero_x) * w[k][f]) */
static void dense_logits(const uint8_t *x, int n, int zero_x, const int8_t *w, const int32_t *b,
                         const float *factor, int F, float *logits)
{
    for (int f = 0; f < F; f++) {
        int32_t total = b[f];
        for (int k = 0; k < n; k++)
            total += (x[k] - zero_x) * w[k * F + f];
        logits[f] = (float)total * factor[f];
    }
}

/* @@ depthwise */
/* The same for each channel by itself: channel f / n_filters of x, with n_filters for each. */
static void depthwise(const uint8_t *x, shape of_x, int zero_x, const int8_t *w, const int32_t *b,
                      const float *factor, window over, limits to, uint8_t *y, shape of_y)
{
    const int C = of_x.channels, F = of_y.channels, n_filters = F / C;
    for (int i = 0; i < of_y.height; i++)
        for (int j = 0; j < of_y.width; j++)
            for (int f = 0; f < F; f++) {
                int32_t total = b[f];
                for (int a = 0; a < over.height; a++)
                    for (int e = 0; e < over.width; e++) {
                        const int h = i * over.down - over.above + a;
                        const int v = j * over.right - over.left + e;
                        if (h < 0 || h >= of_x.height || v < 0 || v >= of_x.width)
                            continue;
                        total += (x[(h * of_x.width + v) * C + f / n_filters] - zero_x) *
                                 w[(a * over.width + e) * F + f];
                    }
                y[(i * of_y.width + j) * F + f] = rounded(total, factor[f], to);
            }
}

/* @@ max_pool */
/* The largest value of each window inside the picture. */
static void max_pool(const uint8_t *x, shape of_x, window over, uint8_t *y, shape of_y)
{
    const int C = of_x.channels;
    for (int i = 0; i < of_y.height; i++)
        for (int j = 0; j < of_y.width; j++)
            for (int c = 0; c < C; c++) {
                uint8_t largest = 0;
                for (int a = 0; a < over.height; a++)
                    for (int e = 0; e < over.width; e++) {
                        const int h = i * over.down - over.above + a;
                        const int v = j * over.right - over.left + e;
                        if (h >= 0 && h < of_x.height && v >= 0 && v < of_x.width &&
                            x[(h * of_x.width + v) * C + c] > largest)
                            largest = x[(h * of_x.width + v) * C + c];
                    }
                y[(i * of_y.width + j) * C + c] = largest;
            }
}

/* @@ average_pool */
/* The mean of each window.  Padding counts as zeros if count_padding is 1, and is left out if it is
 * 0. */
static void average_pool(const uint8_t *x, shape of_x, int zero_x, float factor, window over,
                         int count_padding, limits to, uint8_t *y, shape of_y)
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
                const float of_one = factor / (float)counted;
                y[(i * of_y.width + j) * C + c] = rounded(total, of_one, to);
            }
}

/* @@ mean_logits */
/* logits[c] = the mean of a channel */
static void mean_logits(const uint8_t *x, shape of_x, int zero_x, float factor, float *logits)
{
    const int C = of_x.channels, n = of_x.height * of_x.width;
    const float of_one = factor / (float)n;
    for (int c = 0; c < C; c++) {
        int32_t total = 0;
        for (int k = 0; k < n; k++)
            total += x[k * C + c] - zero_x;
        logits[c] = (float)total * of_one;
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
