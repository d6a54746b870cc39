/* @@ head */
#if defined(__has_attribute)
#define HAS_ATTRIBUTE(name) __has_attribute(name)
#else
#define HAS_ATTRIBUTE(name) 0
#endif

/* `lanes` is a vector of as many float32 as the processor computes at once; one float for compilers
 * without vectors, and with -D@NAME@_PLAIN.  For x86-64 Linux, GCC and clang compile the layers
 * twice: for any processor and for one with FMA (since 2013).  The program chooses at its start. */
#if !defined(@NAME@_PLAIN) && HAS_ATTRIBUTE(vector_size)
#if HAS_ATTRIBUTE(target_clones) && defined(__x86_64__) && defined(__GLIBC__) && !defined(__AVX__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("default", "fma")))
#define LANES 8
#define conv2d @name@_conv2d /* clang exports functions compiled twice: avoid clashes */
#define depthwise_conv2d @name@_depthwise_conv2d
#define max_pool @name@_max_pool
#define average_pool @name@_average_pool
#define dense @name@_dense
#elif defined(__AVX__)
#define LANES 8
#elif defined(__SSE2__) || defined(__ARM_NEON) || defined(__wasm_simd128__)
#define LANES 4
#endif
#endif
#if defined(LANES)
typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
#else
#define LANES 1
typedef float lanes;
#endif
#ifndef FOR_EACH_PROCESSOR
#define FOR_EACH_PROCESSOR
#endif
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("fp-contract=fast") /* a*b + c in one instruction, as clang does anyway */
#endif

#define COLUMNS 6     /* output positions that are computed together */
#define PADDED_TO 16  /* rows of weights are filled up with zeros to a multiple of this */

/* A picture: `at` points to its first pixel, `row` is the distance in floats from one row to the
 * next.  There may be a border of zeros around it.  A vector is a picture of 1x1 pixels. */
typedef struct {
    float *at;
    int row, height, width, channels;
} picture;

/* @@ conv2d */
/* y[i][j][f] = b[f] + sum over a, e, c of x[i*SH - PT + a][j*SW - PL + e][c] * w[a][e][c][f]
 *
 * The array of x has the zeros around the picture that this reads.  The sums for COLUMNS positions
 * and 2*LANES filters stay in registers.  For one a, all e and c are contiguous in x and w. */
FOR_EACH_PROCESSOR
static void conv2d(const picture *input, const float *restrict w, const float *restrict b, int KH,
                   int KW, int SH, int SW, int PT, int PL, int relu, const picture *output)
{
    const int C = input->channels, F = output->channels, OW = output->width;
    const int n_taps = KW * C;
    const int w_row = (F + PADDED_TO - 1) / PADDED_TO * PADDED_TO;
    for (int i = 0; i < output->height; i++) {
        const float *restrict x = input->at + (i * SH - PT) * input->row - PL * C;
        float *restrict y = output->at + i * output->row;
        for (int f0 = 0; f0 < F; f0 += 2 * LANES) {
            const int n_filters = F - f0 < 2 * LANES ? F - f0 : 2 * LANES;
            for (int j0 = 0; j0 < OW; j0 += COLUMNS) {
                const float *from[COLUMNS];
                lanes low[COLUMNS], high[COLUMNS];
                for (int k = 0; k < COLUMNS; k++) { /* past the last: that again, unused */
                    from[k] = x + (j0 + k < OW ? j0 + k : OW - 1) * SW * C;
                    low[k] = *(const lanes *)(b + f0);
                    high[k] = *(const lanes *)(b + f0 + LANES);
                }
                for (int a = 0; a < KH; a++)
                    for (int t = 0; t < n_taps; t++) {
                        const float *weights = w + (a * n_taps + t) * w_row + f0;
                        const lanes w_low = *(const lanes *)weights;
                        const lanes w_high = *(const lanes *)(weights + LANES);
                        for (int k = 0; k < COLUMNS; k++) {
                            const float value = from[k][a * input->row + t];
                            low[k] += value * w_low;
                            high[k] += value * w_high;
                        }
                    }
                for (int k = 0; k < COLUMNS && j0 + k < OW; k++) {
                    float sums[2 * LANES];
                    *(lanes *)sums = low[k];
                    *(lanes *)(sums + LANES) = high[k];
                    for (int f = 0; f < n_filters; f++)
                        y[(j0 + k) * F + f0 + f] = relu && sums[f] < 0.0F ? 0.0F : sums[f];
                }
            }
        }
    }
}

/* @@ depthwise_conv2d */
/* y[i][j][f] = b[f] + sum over a, e of x[i*SH - PT + a][j*SW - PL + e][f / D] * w[a][e][f]
 *
 * over a < KH and e < KW inside the picture.  D: filters for each channel of x */
FOR_EACH_PROCESSOR
static void depthwise_conv2d(const picture *input, const float *restrict w, const float *restrict b,
                             int KH, int KW, int SH, int SW, int PT, int PL, int relu,
                             const picture *output)
{
    const int C = input->channels, F = output->channels, D = F / C;
    const int w_row = (F + PADDED_TO - 1) / PADDED_TO * PADDED_TO;
    for (int i = 0; i < output->height; i++)
        for (int j = 0; j < output->width; j++) {
            float *restrict y = output->at + i * output->row + j * F;
            for (int f = 0; f < F; f++)
                y[f] = b[f];
            for (int a = 0; a < KH; a++)
                for (int e = 0; e < KW; e++) {
                    const int h = i * SH - PT + a, v = j * SW - PL + e;
                    if (h < 0 || h >= input->height || v < 0 || v >= input->width)
                        continue;
                    const float *restrict x = input->at + h * input->row + v * C;
                    const float *restrict weights = w + (a * KW + e) * w_row;
                    if (D == 1)
                        for (int f = 0; f < F; f++)
                            y[f] += x[f] * weights[f];
                    else
                        for (int f = 0; f < F; f++)
                            y[f] += x[f / D] * weights[f];
                }
            for (int f = 0; relu && f < F; f++)
                y[f] = y[f] < 0.0F ? 0.0F : y[f];
        }
}

/* @@ average_pool */
/* y[i][j][c] = the mean of x[i*SH - PT + a][j*SW - PL + e][c] over a < KH and e < KW.  Positions
 * outside the picture count as zeros if count_padding is 1, and are left out if it is 0.  The sums
 * of rows are added, which rounds less than one long sum. */
FOR_EACH_PROCESSOR
static void average_pool(const picture *input, int KH, int KW, int SH, int SW, int PT, int PL,
                         int count_padding, const picture *output)
{
    const int C = input->channels;
    for (int i = 0; i < output->height; i++)
        for (int j = 0; j < output->width; j++) {
            const int first_h = i * SH > PT ? i * SH - PT : 0;
            const int first_v = j * SW > PL ? j * SW - PL : 0;
            const int after_h = i * SH - PT + KH, after_v = j * SW - PL + KW;
            const int end_h = after_h < input->height ? after_h : input->height;
            const int end_v = after_v < input->width ? after_v : input->width;
            const int counted = count_padding ? KH * KW : (end_h - first_h) * (end_v - first_v);
            for (int c = 0; c < C; c++) {
                float sum = 0.0F;
                for (int h = first_h; h < end_h; h++) {
                    float of_row = 0.0F;
                    for (int v = first_v; v < end_v; v++)
                        of_row += input->at[h * input->row + v * C + c];
                    sum += of_row;
                }
                output->at[i * output->row + j * C + c] = sum / (float)counted;
            }
        }
}

/* @@ max_pool */
/* y[i][j][c] = the largest of x[i*SH - PT + a][j*SW - PL + e][c] over a < KH and e < KW inside the
 * picture */
FOR_EACH_PROCESSOR
static void max_pool(const picture *input, int KH, int KW, int SH, int SW, int PT, int PL,
                     const picture *output)
{
    const int C = input->channels;
    for (int i = 0; i < output->height; i++)
        for (int j = 0; j < output->width; j++) {
            float *restrict y = output->at + i * output->row + j * C;
            const int top = i * SH > PT ? i * SH - PT : 0, left = j * SW > PL ? j * SW - PL : 0;
            for (int c = 0; c < C; c++)
                y[c] = input->at[top * input->row + left * C + c];
            for (int h = top; h < i * SH - PT + KH && h < input->height; h++)
                for (int w = left; w < j * SW - PL + KW && w < input->width; w++) {
                    const float *restrict x = input->at + h * input->row + w * C;
                    for (int c = 0; c < C; c++)
                        y[c] = x[c] > y[c] ? x[c] : y[c];
                }
        }
}

/* @@ relu */
/* min(max(x, 0), max_value), in place */
static void relu(const picture *x, float max_value)
{
    for (int i = 0; i < x->height; i++)
        for (int k = 0; k < x->width * x->channels; k++) {
            if (x->at[i * x->row + k] < 0.0F)
                x->at[i * x->row + k] = 0.0F;
            if (x->at[i * x->row + k] > max_value)
                x->at[i * x->row + k] = max_value;
        }
}

/* @@ leaky_relu */
/* x where it is above 0, else slope * x, in place */
static void leaky_relu(const picture *x, float slope)
{
    for (int i = 0; i < x->height; i++)
        for (int k = 0; k < x->width * x->channels; k++)
            if (!(x->at[i * x->row + k] > 0.0F))
                x->at[i * x->row + k] *= slope;
}

/* @@ prelu */
/* x where it is above 0, else alpha * x with an alpha for each channel, in place */
static void prelu(const picture *x, const float *alpha)
{
    const int C = x->channels;
    for (int i = 0; i < x->height; i++)
        for (int k = 0; k < x->width * C; k++)
            if (!(x->at[i * x->row + k] > 0.0F))
                x->at[i * x->row + k] *= alpha[k % C];
}

/* @@ scale_shift */
/* scale * x + shift with a scale and a shift for each channel, in place */
static void scale_shift(const picture *x, const float *scale, const float *shift)
{
    const int C = x->channels;
    for (int i = 0; i < x->height; i++)
        for (int k = 0; k < x->width * C; k++)
            x->at[i * x->row + k] = scale[k % C] * x->at[i * x->row + k] + shift[k % C];
}

/* @@ add */
/* y = x + x2, pictures of the same shape */
static void add(const picture *x, const picture *x2, int relu, const picture *y)
{
    for (int i = 0; i < y->height; i++)
        for (int k = 0; k < y->width * y->channels; k++) {
            const float sum = x->at[i * x->row + k] + x2->at[i * x2->row + k];
            y->at[i * y->row + k] = relu && sum < 0.0F ? 0.0F : sum;
        }
}

/* @@ copy */
/* Copies a picture to one of the same shape, or to a vector: the pixels follow one another. */
static void copy(const picture *x, const picture *y)
{
    const int n_row = x->width * x->channels, y_row = y->height == x->height ? y->row : n_row;
    for (int i = 0; i < x->height; i++)
        for (int k = 0; k < n_row; k++)
            y->at[i * y_row + k] = x->at[i * x->row + k];
}

/* @@ dense */
/* y[u] = b[u] + sum over k of x[k] * w[k][u], as four sums that are added at the end.  x must have
 * no zeros around it. */
FOR_EACH_PROCESSOR
static void dense(const picture *input, const float *restrict w, const float *restrict b,
                  int relu, const picture *output)
{
    const int fan_in = input->height * input->row, units = output->channels;
    const int w_row = (units + PADDED_TO - 1) / PADDED_TO * PADDED_TO;
    const float *restrict x = input->at;
    for (int u0 = 0; u0 < units; u0 += 2 * LANES) {
        const lanes zeros = {0};
        lanes low[4] = {*(const lanes *)(b + u0), zeros, zeros, zeros};
        lanes high[4] = {*(const lanes *)(b + u0 + LANES), zeros, zeros, zeros};
        float sums[2 * LANES];
        for (int k = 0; k < fan_in - 3; k += 4)
            for (int p = 0; p < 4; p++) {
                const float *weights = w + (k + p) * w_row + u0;
                low[p] += x[k + p] * *(const lanes *)weights;
                high[p] += x[k + p] * *(const lanes *)(weights + LANES);
            }
        for (int k = fan_in - fan_in % 4; k < fan_in; k++) {
            const float *weights = w + k * w_row + u0;
            low[0] += x[k] * *(const lanes *)weights;
            high[0] += x[k] * *(const lanes *)(weights + LANES);
        }
        *(lanes *)sums = (low[0] + low[1]) + (low[2] + low[3]);
        *(lanes *)(sums + LANES) = (high[0] + high[1]) + (high[2] + high[3]);
        for (int u = 0; u < 2 * LANES && u0 + u < units; u++)
            output->at[u0 + u] = relu && sums[u] < 0.0F ? 0.0F : sums[u];
    }
}

/* @@ scale_raw */
/* x = p */
static void scale(const uint8_t *image, const picture *x)
{
    for (int i = 0; i < x->height; i++)
        for (int k = 0; k < x->width * x->channels; k++)
            x->at[i * x->row + k] = (float)image[i * x->width * x->channels + k];
}

/* @@ scale_unit */
/* x = p / 255 */
static void scale(const uint8_t *image, const picture *x)
{
    for (int i = 0; i < x->height; i++)
        for (int k = 0; k < x->width * x->channels; k++)
            x->at[i * x->row + k] = (float)image[i * x->width * x->channels + k] / 255.0F;
}

/* @@ scale_channels */
/* x = (p - shift) * factor, with a shift and a factor for each channel */
static void scale(const uint8_t *image, const double *shift, const double *factor,
                  const picture *x)
{
    const int C = x->channels, n_row = x->width * C;
    for (int i = 0; i < x->height; i++)
        for (int k = 0; k < n_row; k++)
            x->at[i * x->row + k] = (float)((image[i * n_row + k] - shift[k % C]) * factor[k % C]);
}

/* @@ square_root */
/* The square root of v >= 0 by Newton's method: the values fall from above until they are right. */
static double square_root(double v)
{
    double root = v > 1.0 ? v : 1.0, next = 0.5 * (root + v / root);
    while (next < root) {
        root = next;
        next = 0.5 * (root + v / root);
    }
    return root;
}

/* @@ scale_standardized */
/* x = (p - mean) / max(standard deviation, 1/sqrt(n)) of this image's n values; sums are exact */
static void scale(const uint8_t *image, const picture *x)
{
    const int n_row = x->width * x->channels, n = n_row * x->height;
    uint64_t total = 0, squares = 0;
    for (int k = 0; k < n; k++) {
        total += image[k];
        squares += (uint64_t)image[k] * image[k];
    }
    const double mean = (double)total / n;
    const double n_squared = (double)n * n;
    const double variance = ((double)squares * n - (double)total * (double)total) / n_squared;
    const double factor = 1.0 / square_root(variance > 1.0 / n ? variance : 1.0 / n);
    for (int i = 0; i < x->height; i++)
        for (int k = 0; k < n_row; k++)
            x->at[i * x->row + k] = (float)((image[i * n_row + k] - mean) * factor);
}

/* @@ exponential */
/* e**x for x <= 0: 2**-n * e**r with r in (-ln 2, 0], where e**r is summed as a power series */
static double exponential(double x)
{
    double term = 1.0, sum = 1.0, power = 1.0;
    if (x < -700.0)
        return 0.0;
    while (x <= -0.6931471805599453) {
        x += 0.6931471805599453;
        power *= 0.5;
    }
    for (int k = 1; k < 16; k++) {
        term *= x / k;
        sum += term;
    }
    return power * sum;
}

/* @@ sigmoid */
/* 1 / (1 + exp(-x)), in place; with e = exp(-|x|) nothing overflows */
static void sigmoid(const picture *x)
{
    for (int i = 0; i < x->height; i++)
        for (int k = 0; k < x->width * x->channels; k++) {
            const double v = x->at[i * x->row + k], e = exponential(v < 0.0 ? v : -v);
            x->at[i * x->row + k] = (float)((v < 0.0 ? e : 1.0) / (1.0 + e));
        }
}

/* @@ hyperbolic_tangent */
/* (1 - e) / (1 + e) with e = exp(-2|x|) and the sign of x, in place; near 0 it is x itself */
static void hyperbolic_tangent(const picture *x)
{
    for (int i = 0; i < x->height; i++)
        for (int k = 0; k < x->width * x->channels; k++) {
            const double v = x->at[i * x->row + k], e = exponential(v < 0.0 ? 2.0 * v : -2.0 * v);
            const double size = (1.0 - e) / (1.0 + e);
            if (v < -1e-4 || v > 1e-4)
                x->at[i * x->row + k] = (float)(v < 0.0 ? -size : size);
        }
}
