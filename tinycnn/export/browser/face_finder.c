/* Finds the faces of a picture and cuts them out, as ferdata does; the same bits, but for the
 * rounding of a few means.  The rules and the reasons for them stand in ferdata/photos/detect.py,
 * faces.py and warp.py; the names here are the same.  A test compares the results. */

#define WINDOW_PX 24
#define SMALLEST_PX 24.0
#define SMALLEST_FRACTION (1.0 / 20)
#define MARGIN (1.0 / 8)
#define SEARCH_FACTOR 1.2
#define SEARCH_STEP_PX 2
#define SEARCH_STAGES 14
#define VERIFY_PX 4
#define VERIFY_STAGES 17
#define VOTES 11
#define VOTES_IF_LARGE 5
#define LARGE (1.0 / 5)
#define VOTES_TO_LOOK_AGAIN 2
#define MAX_CANDIDATES 200
#define SAME_PLACE 0.125
#define SAME_SIZE 1.3
#define OVERLAPPING 0.3
enum { N_VERIFY = 5, N_BANDS = 4, MOST_LEVELS = 64, MOST_WINDOWS = 65536, MOST_FACES = 1024 };
static const double VERIFY_FACTORS[N_VERIFY] = {1.0, 1.1, 1 / 1.1, 1.1 * 1.1, 1 / (1.1 * 1.1)};
static const double BANDS[N_BANDS] = {0.4, 0.2, 0.1, 0.0};

typedef struct {
    int votes;
    double x, y, px;
} face;

/* A window that passed so many stages; its centre in px of the picture; its level. */
typedef struct {
    int passed, level;
    double x, y;
} window;

typedef struct {
    const uint8_t *at;
    int height, width;
} grey_picture;

static double least(double a, double b) { return a < b ? a : b; }
static double most(double a, double b) { return a > b ? a : b; }
static int least_int(int a, int b) { return a < b ? a : b; }
static int most_int(int a, int b) { return a > b ? a : b; }
static double size_of(double v) { return v < 0 ? -v : v; }

/* ---- resizing: the fixed-point arithmetic of Pillow's Resample.c, row by row ---- */

#define BITS 22 /* of the weights */

/* The rows from top to bottom of a picture, resized to n_out rows of m pixels.
 * rows: the picture's rows from number first_row on, n_in of them, as many as are needed */
static uint8_t *resized_rows(const uint8_t *rows, int n_in, int m, int first_row, double top,
                             double bottom, int n_out)
{
    uint8_t *out = reserve(n_out * m);
    const double start = (double)(float)top;
    const double scale = (double)((float)bottom - (float)top) / n_out;
    const double support = most(scale, 1.0), narrow = 1.0 / support;
    double *weights = reserve((2 * (int)__builtin_ceil(support) + 1) * 8);
    int32_t *totals = reserve(4 * m);
    for (int i = 0; i < n_out; i++) {
        const double centre = start + (i + 0.5) * scale;
        const int first = most_int((int)(centre - support + 0.5), 0);
        const int n = least_int((int)(centre + support + 0.5), first_row + n_in) - first;
        double total = 0.0;
        for (int t = 0; t < n; t++) {
            weights[t] = most(1.0 - size_of((t + first - centre + 0.5) * narrow), 0.0);
            total += weights[t];
        }
        for (int c = 0; c < m; c++)
            totals[c] = 1 << (BITS - 1);
        for (int t = 0; t < n; t++) {
            const int32_t weight = (int32_t)(0.5 + weights[t] / total * (1 << BITS));
            const uint8_t *restrict row = rows + (first - first_row + t) * m;
            int32_t *restrict sums = totals;
            for (int c = 0; c < m; c++)
                sums[c] += (int32_t)row[c] * weight;
        }
        uint8_t *restrict to = out + i * m;
        for (int c = 0; c < m; c++) {
            const int32_t value = totals[c] >> BITS;
            to[c] = (uint8_t)(value > 255 ? 255 : value);
        }
    }
    give_back(weights);
    return out;
}

/* Rows top to bottom, columns left to right of a picture with rows of `row` px, transposed. */
static uint8_t *transposed(const uint8_t *image, int row, int top, int bottom, int left, int right)
{
    enum { BLOCK = 16 };
    const int h = bottom - top, w = right - left;
    uint8_t *out = reserve(h * w);
    for (int r0 = 0; r0 < h; r0 += BLOCK)
        for (int c = 0; c < w; c++) {
            const int end = least_int(r0 + BLOCK, h);
            for (int r = r0; r < end; r++)
                out[c * h + r] = image[(top + r) * row + left + c];
        }
    return out;
}

/* ---- the cascade ---- */

enum { SIDE_BY_SIDE = 32, EIGHT = 8, MOST_TESTS = 512, MOST_STAGES = 32 };

/* As in ferdata/photos/cascade.py, from the packed form of program.py. */
static struct {
    int n_stages, n_tests;
    int first[MOST_STAGES + 1];
    float thresholds[MOST_STAGES];
    int blocks[MOST_TESTS][4];
    float leaves[MOST_TESTS][256];
} cascade;

/* packed: n_stages, n_tests, first (n_stages + 1), thresholds (n_stages, float32); then for each
 * test x, y, width, height, the leaf of a 0 and of a 1 (float32), and 8 words with a bit for each
 * code, the lowest bit first.  All of 32 bits.  Returns whether there is room for it. */
EXPORT int open_cascade(const int32_t *packed)
{
    const float *numbers = (const float *)packed;
    const int n_stages = packed[0], n_tests = packed[1];
    if (n_stages > MOST_STAGES || n_tests > MOST_TESTS)
        return 0;
    cascade.n_stages = n_stages;
    cascade.n_tests = n_tests;
    int at = 2;
    for (int k = 0; k <= n_stages; k++)
        cascade.first[k] = packed[at++];
    for (int k = 0; k < n_stages; k++)
        cascade.thresholds[k] = numbers[at++];
    for (int test = 0; test < n_tests; test++, at += 14) {
        for (int k = 0; k < 4; k++)
            cascade.blocks[test][k] = packed[at + k];
        for (int code = 0; code < 256; code++) {
            const int bit = (int)((uint32_t)packed[at + 6 + code / 32] >> (code % 32) & 1U);
            cascade.leaves[test][code] = numbers[at + 4 + bit];
        }
    }
    return 1;
}

/* The integral image of h x w pixels: the sum of the first r rows and c columns, written to
 * sums[(r * step + c % step) * part + c / step]. */
static void integral(const uint8_t *image, int row, int h, int w, int step, int part,
                     int32_t *sums)
{
    for (int r = 0; r < h; r++) {
        const uint8_t *from = image + r * row;
        int32_t of_row = 0;
        if (step == 1) {
            int32_t *here = sums + (r + 1) * part;
            for (int c = 0; c < w; c++) {
                of_row += from[c];
                here[c + 1] = here[c + 1 - part] + of_row;
            }
            continue;
        }
        int32_t *even = sums + (r + 1) * 2 * part, *odd = even + part;
        for (int c = 0; c < w; c++) {
            of_row += from[c];
            if (c % 2)
                even[(c + 1) / 2] = even[(c + 1) / 2 - 2 * part] + of_row;
            else
                odd[c / 2] = odd[c / 2 - 2 * part] + of_row;
        }
    }
}

/* The codes of n neighbouring windows, of which the first has its corner at `sums`.
 * spans: scratch, 12 * SIDE_BY_SIDE;  at: offsets of the 4x4 corners */
static void codes_of(const int32_t *restrict sums, const int *at, int n, int32_t *restrict spans,
                     int32_t *restrict codes)
{
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 3; k++) {
            const int32_t *a = sums + at[4 * i + k], *b = sums + at[4 * i + k + 1];
            int32_t *restrict line = spans + (3 * i + k) * SIDE_BY_SIDE;
            for (int j = 0; j < n; j++)
                line[j] = b[j] - a[j];
        }
#define SPAN(line) spans[(line) * SIDE_BY_SIDE + j]
    for (int j = 0; j < n; j++) {
        const int32_t centre = SPAN(7) - SPAN(4);
        codes[j] = (SPAN(3) - SPAN(0) >= centre) << 7 | (SPAN(4) - SPAN(1) >= centre) << 6 |
                   (SPAN(5) - SPAN(2) >= centre) << 5 | (SPAN(8) - SPAN(5) >= centre) << 4 |
                   (SPAN(11) - SPAN(8) >= centre) << 3 | (SPAN(10) - SPAN(7) >= centre) << 2 |
                   (SPAN(9) - SPAN(6) >= centre) << 1 | (SPAN(6) - SPAN(3) >= centre);
    }
#undef SPAN
}

static int code_of(const int32_t *s, const int *at)
{
#define SUM(i, j)                                                                                  \
    (s[at[4 * (i) + (j)]] - s[at[4 * (i) + (j)-1]] - s[at[4 * (i) + (j)-4]] +                       \
     s[at[4 * (i) + (j)-5]])
    const int32_t centre = SUM(2, 2);
    return (SUM(1, 1) >= centre) << 7 | (SUM(1, 2) >= centre) << 6 | (SUM(1, 3) >= centre) << 5 |
           (SUM(2, 3) >= centre) << 4 | (SUM(3, 3) >= centre) << 3 | (SUM(3, 2) >= centre) << 2 |
           (SUM(3, 1) >= centre) << 1 | (SUM(2, 1) >= centre);
#undef SUM
}

/* How many stages each of n neighbouring windows passes before it fails one. */
static void pass_stages(const int32_t *sums, int (*offsets)[16], int n, int *passed)
{
    int32_t spans[12 * SIDE_BY_SIDE], codes[SIDE_BY_SIDE];
    float scores[SIDE_BY_SIDE];
    int which[SIDE_BY_SIDE];
    const int n_whole = (n + EIGHT - 1) / EIGHT * EIGHT;
    int n_in = n, stage = 0;
    for (int j = 0; j < n; j++) {
        which[j] = j;
        passed[j] = 0;
    }
    while (stage < cascade.n_stages && 4 * n_in > n) { /* all together */
        int n_still = 0;
        for (int j = 0; j < n; j++)
            scores[j] = 0.0F;
        for (int test = cascade.first[stage]; test < cascade.first[stage + 1]; test++) {
            codes_of(sums, offsets[test], n_whole, spans, codes);
            for (int j = 0; j < n; j++)
                scores[j] += cascade.leaves[test][codes[j]];
        }
        for (int k = 0; k < n_in; k++)
            if (scores[which[k]] >= cascade.thresholds[stage]) {
                passed[which[k]] = stage + 1;
                which[n_still++] = which[k];
            }
        n_in = n_still;
        stage++;
    }
    for (int k = 0; k < n_in; k++) { /* one by one */
        int own = stage;
        for (; own < cascade.n_stages; own++) {
            float score = 0.0F;
            for (int test = cascade.first[own]; test < cascade.first[own + 1]; test++)
                score += cascade.leaves[test][code_of(sums + which[k], offsets[test])];
            if (score < cascade.thresholds[own])
                break;
        }
        passed[which[k]] = own;
    }
}

typedef struct {
    double left, top, right, bottom;
} box;

typedef struct {
    int h, w;
} size;

/* Which windows are tested: those within `reach` px (of the level) of (x, y), or all if it is below
 * 0; every one or every second along each axis.  Kept are those that pass at_least stages.  If none
 * of the first level passes stop_below stages, the other levels are skipped. */
typedef struct {
    double x, y;
    int reach, step, at_least, stop_below;
} test_plan;

/* The 24x24 windows that pass: `windows` of ferdata/photos/detect_loops.py.  Returns how many; no
 * more than MOST_WINDOWS are kept. */
static int windows(grey_picture picture, box area, const size *sizes, int n_levels, test_plan plan,
                   window *found)
{
    int finest = 0, n_found = 0, most_passed = 0;
    for (int k = 0; k < n_levels; k++)
        finest = sizes[k].h > sizes[finest].h ? k : finest;
    const int H = sizes[finest].h, W = sizes[finest].w, step = plan.step;
    const double far_x = most((area.right - area.left) / W, 1.0);
    const double far_y = most((area.bottom - area.top) / H, 1.0);
    const int begin_x = most_int((int)(area.left - far_x), 0);
    const int begin_y = most_int((int)(area.top - far_y), 0);
    const int end_x = least_int((int)(area.right + far_x) + 1, picture.width);
    const int end_y = least_int((int)(area.bottom + far_y) + 1, picture.height);
    const int rows = end_y - begin_y;
    uint8_t *columns =
        transposed(picture.at, picture.width, begin_y, end_y, begin_x, end_x);
    void *mark = columns;
    columns = resized_rows(columns, end_x - begin_x, rows, begin_x, area.left, area.right, W);
    uint8_t *source = transposed(columns, rows, 0, W, 0, rows);
    source = resized_rows(source, rows, W, begin_y, area.top, area.bottom, H);
    columns = transposed(source, W, 0, H, 0, W);

    const int part = W / step + 1, n_sums = (H + 1) * step * part + SIDE_BY_SIDE;
    int32_t *sums = reserve(4 * n_sums);
    int(*offsets)[16] = reserve(cascade.n_tests * (int)sizeof *offsets);
    for (int k = 0; k < n_sums; k++)
        sums[k] = 0;
    for (int test = 0; test < cascade.n_tests; test++)
        for (int k = 0; k < 16; k++) {
            const int *block = cascade.blocks[test];
            const int line = block[1] + k / 4 * block[3], column = block[0] + k % 4 * block[2];
            offsets[test][k] = (line * step + column % step) * part + column / step;
        }
    for (int k = 0; k < n_levels; k++) {
        if (k == 1 && most_passed < plan.stop_below)
            break;
        int h = sizes[k].h, w = sizes[k].w, row_0 = 0, column_0 = 0;
        const int row = w;
        const double px_x = (area.right - area.left) / w, px_y = (area.bottom - area.top) / h;
        uint8_t *level = source, *of_level = reserve(0);
        if (k != finest) {
            level = resized_rows(columns, W, H, 0, 0.0, W, w);
            level = transposed(level, H, 0, w, 0, H);
            level = resized_rows(level, H, w, 0, 0.0, H, h);
        }
        if (plan.reach >= 0) {
            const double half = WINDOW_PX / 2.0, reach = plan.reach;
            const double x = (plan.x - area.left) / px_x - half - reach;
            const double y = (plan.y - area.top) / px_y - half - reach;
            column_0 = most_int((int)__builtin_rint(x), 0);
            row_0 = most_int((int)__builtin_rint(y), 0);
            h = least_int(h - row_0, WINDOW_PX + 2 * plan.reach);
            w = least_int(w - column_0, WINDOW_PX + 2 * plan.reach);
        }
        if (h >= WINDOW_PX && w >= WINDOW_PX) {
            const int n_columns = (w - WINDOW_PX) / step + 1;
            integral(level + row_0 * row + column_0, row, h, w, step, part, sums);
            for (int i = 0; i < (h - WINDOW_PX) / step + 1; i++)
                for (int j_0 = 0; j_0 < n_columns; j_0 += SIDE_BY_SIDE) {
                    const int n = least_int(SIDE_BY_SIDE, n_columns - j_0);
                    int passed[SIDE_BY_SIDE];
                    pass_stages(sums + i * step * step * part + j_0, offsets, n, passed);
                    for (int j = 0; j < n; j++) {
                        most_passed = most_int(most_passed, passed[j]);
                        if (passed[j] < plan.at_least || n_found == MOST_WINDOWS)
                            continue;
                        const double x = column_0 + (j_0 + j) * step + WINDOW_PX / 2.0;
                        const double y = row_0 + i * step + WINDOW_PX / 2.0;
                        const window passing = {passed[j], k, area.left + x * px_x,
                                                area.top + y * px_y};
                        found[n_found++] = passing;
                    }
                }
        }
        give_back(of_level);
    }
    give_back(mark);
    return n_found;
}

/* ---- from windows to faces ---- */

static size at_least_a_window(double h, double w)
{
    const size made = {(int)most(__builtin_rint(h), WINDOW_PX),
                       (int)most(__builtin_rint(w), WINDOW_PX)};
    return made;
}

/* Whether a comes before b: more votes first, then the larger x, y, px. */
static int before(face a, face b)
{
    if (a.votes != b.votes)
        return a.votes > b.votes;
    if (a.x != b.x)
        return a.x > b.x;
    return a.y != b.y ? a.y > b.y : a.px > b.px;
}

/* Heap sort. */
static void sort_faces(face *faces, int n)
{
    for (int begin = n / 2, end = n; end > 1;) {
        if (begin > 0) {
            begin--;
        } else {
            end--;
            const face last = faces[end];
            faces[end] = faces[0];
            faces[0] = last;
        }
        for (int root = begin, child; (child = 2 * root + 1) < end; root = child) {
            if (child + 1 < end && before(faces[child], faces[child + 1]))
                child++;
            if (!before(faces[root], faces[child]))
                break;
            const face moved = faces[root];
            faces[root] = faces[child];
            faces[child] = moved;
        }
    }
}

/* Step 1: candidates, best first; their votes are the number of stages passed.  sizes_px: of the
 * faces, from large to small */
static int search(grey_picture picture, const double *sizes_px, int n_sizes, face *kept)
{
    size sizes[MOST_LEVELS];
    int n_kept = 0;
    window *found = reserve(MOST_WINDOWS * (int)sizeof(window));
    const box area = {0.0, 0.0, picture.width, picture.height};
    const test_plan plan = {0.0, 0.0, -1, SEARCH_STEP_PX, SEARCH_STAGES, 0};
    for (int k = 0; k < n_sizes; k++) {
        const double px = sizes_px[n_sizes - 1 - k];
        sizes[k] = at_least_a_window((double)picture.height * WINDOW_PX / px,
                                     (double)picture.width * WINDOW_PX / px);
    }
    const int n_found = windows(picture, area, sizes, n_sizes, plan, found);
    face *faces = reserve(n_found * (int)sizeof(face));
    for (int k = 0; k < n_found; k++) {
        const window w = found[k];
        const face made = {w.passed, w.x, w.y, sizes_px[n_sizes - 1 - w.level]};
        faces[k] = made;
    }
    sort_faces(faces, n_found);
    for (int k = 0; k < n_found && n_kept < MAX_CANDIDATES; k++) {
        const face one = faces[k];
        int same = 0;
        for (int i = 0; i < n_kept && !same; i++) {
            const face other = kept[i];
            const double away = most(size_of(one.x - other.x), size_of(one.y - other.y));
            same = away < SAME_PLACE * other.px && other.px / SAME_SIZE < one.px &&
                   one.px < other.px * SAME_SIZE;
        }
        if (!same)
            kept[n_kept++] = one;
    }
    give_back(found);
    return n_kept;
}

/* Step 2: the mean of the windows near a candidate that pass all stages. */
static face verified(grey_picture picture, face candidate)
{
    const double window_px = candidate.px / WINDOW_PX;
    const double reach = window_px * VERIFY_FACTORS[3] * (WINDOW_PX / 2.0 + VERIFY_PX);
    const box area = {most(candidate.x - reach, 0.0), most(candidate.y - reach, 0.0),
                      least(candidate.x + reach, picture.width),
                      least(candidate.y + reach, picture.height)};
    const double side_y = area.bottom - area.top, side_x = area.right - area.left;
    size sizes[N_VERIFY];
    for (int k = 0; k < N_VERIFY; k++)
        sizes[k] = at_least_a_window(side_y / (window_px * VERIFY_FACTORS[k]),
                                     side_x / (window_px * VERIFY_FACTORS[k]));
    const test_plan plan = {candidate.x, candidate.y, VERIFY_PX, 1, cascade.n_stages,
                            VERIFY_STAGES};
    window *found = reserve(N_VERIFY * 81 * (int)sizeof(window));
    const int n = windows(picture, area, sizes, N_VERIFY, plan, found);
    face mean = {n, 0.0, 0.0, 0.0};
    for (int k = 0; k < n; k++) {
        const size level = sizes[found[k].level];
        mean.x += found[k].x;
        mean.y += found[k].y;
        mean.px += (side_y / level.h + side_x / level.w) / 2 * WINDOW_PX;
    }
    give_back(found);
    if (!n) {
        candidate.votes = 0;
        return candidate;
    }
    mean.x /= n;
    mean.y /= n;
    mean.px /= n;
    return mean;
}

/* The picture shrunk by k (means of k x k pixels, rounded as by Pillow), then padded by repeating
 * its edge pixels. */
static grey_picture reduced(grey_picture grey, int k, int margin)
{
    const int H = (grey.height + k - 1) / k, W = (grey.width + k - 1) / k;
    const int height = H + 2 * margin, width = W + 2 * margin;
    uint8_t *out = reserve(height * width);
    for (int i = 0; i < H; i++) {
        uint8_t *row = out + (i + margin) * width;
        const int n_rows = least_int(k, grey.height - i * k);
        for (int j = 0; j < W; j++) {
            const uint8_t *from = grey.at + i * k * grey.width + j * k;
            const int n_columns = least_int(k, grey.width - j * k);
            const uint32_t n = (uint32_t)(n_rows * n_columns);
            uint32_t sum = n / 2;
            if (k == 1) {
                row[margin + j] = *from;
                continue;
            }
            for (int r = 0; r < n_rows; r++)
                for (int c = 0; c < n_columns; c++)
                    sum += from[r * grey.width + c];
            row[margin + j] = (uint8_t)(sum * (uint32_t)(4294967296.0 / (256.0 * n)) >> 24);
        }
        for (int j = 0; j < margin; j++) {
            row[j] = row[margin];
            row[margin + W + j] = row[margin + W - 1];
        }
    }
    for (int i = 0; i < margin; i++)
        for (int j = 0; j < width; j++) {
            out[i * width + j] = out[margin * width + j];
            out[(margin + H + i) * width + j] = out[(margin + H - 1) * width + j];
        }
    const grey_picture made = {out, height, width};
    return made;
}

static face on(face one, int k, int margin)
{
    const face made = {one.votes, (one.x - margin) * k, (one.y - margin) * k, one.px * k};
    return made;
}

static int votes_needed(face one, int shortest)
{
    return one.px >= LARGE * shortest ? VOTES_IF_LARGE : VOTES;
}

static int overlap(face a, face b)
{
    const double reach = (a.px + b.px) / 2, smaller = least(a.px, b.px);
    const double shared_x = least(reach - size_of(a.x - b.x), smaller);
    const double shared_y = least(reach - size_of(a.y - b.y), smaller);
    return least(shared_x, shared_y) > 0 && shared_x * shared_y > OVERLAPPING * (smaller * smaller);
}

static int is_within(face candidate, face one)
{
    return most(size_of(candidate.x - one.x), size_of(candidate.y - one.y)) < one.px / 4;
}

/* The faces of one band of sizes, added to the `n_kept` that are found already; the new number. */
static int faces_of_band(grey_picture grey, const double *sizes, int n_sizes, double least_score,
                         face *kept, int n_kept)
{
    const int shortest = least_int(grey.height, grey.width);
    const int k = most_int((int)(sizes[n_sizes - 1] * VERIFY_FACTORS[4] / WINDOW_PX), 1);
    const int margin = (int)(shortest * MARGIN / k), n_before = n_kept;
    const grey_picture picture = reduced(grey, k, margin);
    double sizes_px[MOST_LEVELS];
    face candidates[MAX_CANDIDATES], found[MAX_CANDIDATES];
    int n_found = 0;
    for (int i = 0; i < n_sizes; i++)
        sizes_px[i] = sizes[i] / k;
    const int n = search(picture, sizes_px, n_sizes, candidates);
    for (int c = 0; c < n; c++) {
        const face here = on(candidates[c], k, margin);
        int seen = 0;
        for (int i = 0; i < n_before && !seen; i++)
            seen = is_within(here, kept[i]);
        for (int i = 0; i < n_found && !seen; i++)
            seen = is_within(here, found[i]);
        if (seen)
            continue;
        face one = verified(picture, candidates[c]);
        while (one.votes >= VOTES_TO_LOOK_AGAIN && one.votes < VOTES) {
            const face again = verified(picture, one);
            if (again.votes <= one.votes)
                break;
            one = again;
        }
        one = on(one, k, margin);
        if (one.votes && one.votes >= least_score * votes_needed(one, shortest))
            found[n_found++] = one;
    }
    sort_faces(found, n_found);
    for (int c = 0; c < n_found && n_kept < MOST_FACES; c++) {
        int seen = 0;
        for (int i = 0; i < n_kept && !seen; i++)
            seen = overlap(found[c], kept[i]);
        if (!seen)
            kept[n_kept++] = found[c];
    }
    give_back((void *)picture.at);
    return n_kept;
}

static double faces_found[MOST_FACES][4];

/* The faces of the last search, largest first: x, y, side in whole px, and score, of each. */
EXPORT const double *faces(void)
{
    return &faces_found[0][0];
}

/* Searches a part of a picture for faces; returns their number.
 * smallest_px: 24 or more; 0: 24, or a twentieth of the part's short side if that is more */
EXPORT int find_faces(const uint8_t *at, int width, int left, int top, int right, int bottom,
                      double smallest_px, double least_score)
{
    const int h = bottom - top, w = right - left, shortest = least_int(h, w);
    uint8_t *part = reserve(h * w);
    const grey_picture grey = {part, h, w};
    face kept[MOST_FACES];
    int n_kept = 0;
    double next = shortest;
    for (int i = 0; i < h; i++)
        for (int j = 0; j < w; j++)
            part[i * w + j] = at[(top + i) * width + left + j];
    if (smallest_px <= 0)
        smallest_px = most(SMALLEST_FRACTION * shortest, SMALLEST_PX);
    for (int band = 0; band < N_BANDS; band++) {
        double sizes[MOST_LEVELS];
        int n_sizes = 0;
        while (next >= most(BANDS[band] * shortest, smallest_px) && n_sizes < MOST_LEVELS) {
            sizes[n_sizes++] = next;
            next /= SEARCH_FACTOR;
        }
        if (n_sizes)
            n_kept = faces_of_band(grey, sizes, n_sizes, least_score, kept, n_kept);
    }
    give_back(part);
    for (int k = 0; k < n_kept; k++) { /* insertion: by side, largest first, then by x */
        const face one = kept[k];
        const double made[4] = {__builtin_floor(one.x - one.px / 2 + left + 0.5),
                                __builtin_floor(one.y - one.px / 2 + top + 0.5),
                                __builtin_floor(one.px + 0.5),
                                (double)one.votes / votes_needed(one, shortest)};
        int to = k;
        for (; to > 0; to--) {
            const double *other = faces_found[to - 1];
            if (other[2] > made[2] || (other[2] == made[2] && other[0] <= made[0]))
                break;
            for (int i = 0; i < 4; i++)
                faces_found[to][i] = other[i];
        }
        for (int i = 0; i < 4; i++)
            faces_found[to][i] = made[i];
    }
    return n_kept;
}

/* ---- from a picture and a box to a face ---- */

/* Grey pixels from RGBA: luma of ITU-R BT.601, as Pillow rounds it. */
EXPORT void to_grey(const uint8_t *rgba, int n_pixels, uint8_t *grey)
{
    for (int k = 0; k < n_pixels; k++) {
        const uint32_t r = rgba[4 * k], g = rgba[4 * k + 1], b = rgba[4 * k + 2];
        grey[k] = (uint8_t)((r * 19595U + g * 38470U + b * 7471U + 32768U) >> 16);
    }
}

/* An area of a picture, resized to n_out x n_out; outside the picture its edge pixels repeat. */
static uint8_t *resized(grey_picture grey, int n_out, box area)
{
    const int x0 = (int)__builtin_floor(area.left), y0 = (int)__builtin_floor(area.top);
    const int x1 = (int)__builtin_ceil(area.right), y1 = (int)__builtin_ceil(area.bottom);
    const int h = y1 - y0, w = x1 - x0;
    uint8_t *out = reserve(n_out * n_out), *columns = reserve(h * w), *rows;
    for (int j = 0; j < w; j++) {
        const int c = least_int(most_int(x0 + j, 0), grey.width - 1);
        for (int i = 0; i < h; i++) {
            const int r = least_int(most_int(y0 + i, 0), grey.height - 1);
            columns[j * h + i] = grey.at[r * grey.width + c];
        }
    }
    rows = resized_rows(columns, w, h, 0, area.left - x0, area.right - x0, n_out);
    rows = transposed(rows, h, 0, n_out, 0, h);
    rows = resized_rows(rows, h, n_out, 0, area.top - y0, area.bottom - y0, n_out);
    for (int k = 0; k < n_out * n_out; k++)
        out[k] = rows[k];
    give_back(columns);
    return out;
}

/* A square of n_in px, in rows of `row` px, to n_out px by plain bilinear interpolation. */
static void interpolated(const uint8_t *in, int row, int n_in, int n_out, uint8_t *out)
{
    const double scale = (double)n_in / n_out, offset = 0.5 * scale - 0.5;
    const float last = (float)(n_in - 1);
    for (int i = 0; i < n_out; i++) {
        const float row_y = (float)(scale * i + offset);
        const float y = row_y < 0.0F ? 0.0F : row_y > last ? last : row_y;
        const int r = (int)y, below = least_int(r + 1, n_in - 1);
        const float fy = y - (float)r;
        for (int j = 0; j < n_out; j++) {
            const float column_x = (float)offset + (float)scale * (float)j;
            const float x = column_x < 0.0F ? 0.0F : column_x > last ? last : column_x;
            const int c = (int)x, right = least_int(c + 1, n_in - 1);
            const float fx = x - (float)c;
            const float s00 = in[r * row + c], s01 = in[r * row + right];
            const float s10 = in[below * row + c], s11 = in[below * row + right];
            const float above = s00 + fx * (s01 - s00), under = s10 + fx * (s11 - s10);
            out[i * n_out + j] = (uint8_t)(int)(above + fy * (under - above) + 0.5F);
        }
    }
}

/* One face, size_px x size_px: framing "paper" (1) or "fer2013" (0). */
EXPORT void cut_face(const uint8_t *at, int height, int width, double x, double y, double side,
                     int paper, int size_px, uint8_t *out)
{
    enum { FER2013_PX = 48, PAPER_PX = 256, PAPER_FIRST = 32, PAPER_CROP_PX = 224, PAPER_OUT = 84 };
    const grey_picture grey = {at, height, width};
    uint8_t *mark;
    if (paper) {
        const box area = {x, y, x + side, y + side};
        mark = resized(grey, PAPER_PX, area);
        const uint8_t *crop = mark + PAPER_FIRST * PAPER_PX + PAPER_FIRST;
        if (size_px == PAPER_OUT) {
            interpolated(crop, PAPER_PX, PAPER_CROP_PX, size_px, out);
        } else {
            uint8_t *own = reserve(PAPER_CROP_PX * PAPER_CROP_PX);
            for (int k = 0; k < PAPER_CROP_PX * PAPER_CROP_PX; k++)
                own[k] = crop[k / PAPER_CROP_PX * PAPER_PX + k % PAPER_CROP_PX];
            const grey_picture part = {own, PAPER_CROP_PX, PAPER_CROP_PX};
            const box whole = {0.0, 0.0, PAPER_CROP_PX, PAPER_CROP_PX};
            const uint8_t *made = resized(part, size_px, whole);
            for (int k = 0; k < size_px * size_px; k++)
                out[k] = made[k];
        }
    } else {
        const double half = side * (1 / 0.983) / 2, middle_x = x + side / 2;
        const double middle_y = y + side / 2;
        const box area = {middle_x - half, middle_y - half, middle_x + half, middle_y + half};
        mark = resized(grey, FER2013_PX, area);
        if (size_px == FER2013_PX)
            for (int k = 0; k < FER2013_PX * FER2013_PX; k++)
                out[k] = mark[k];
        else
            interpolated(mark, FER2013_PX, FER2013_PX, size_px, out);
    }
    give_back(mark);
}
