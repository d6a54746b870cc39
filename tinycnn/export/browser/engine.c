/* The engine of the page that `tinycnn export --to html` writes: it runs any network that is given
 * to it as a list of calls (`program.py` makes the list).
 *
 * build_engine.py puts these together and compiles them to WebAssembly: memory.c, the functions of
 * the layers (c_program.c, as in an exported C program), this file, and face_finder.c. */

/* One call of a function of c_program.c.  The order of the fields is that of program.py.
 *
 * input, second, output  numbers of pictures;  w, b: places of its parameters among the weights
 * number                 the slope of a leaky ReLU, the largest value of a ReLU */
typedef struct {
    int operation, input, second, output, w, b;
    int KH, KW, SH, SW, PT, PL;
    int relu, count_padding;
    float number;
    int unused;
} call;

enum {
    CONV2D,
    DEPTHWISE_CONV2D,
    MAX_POOL,
    AVERAGE_POOL,
    RELU,
    LEAKY_RELU,
    PRELU,
    SIGMOID,
    TANH,
    DENSE,
    SCALE_SHIFT,
    ADD,
    COPY
};

enum { RAW, UNIT, STANDARDIZED, CHANNELS };

/* n_values: of memory for the outputs of all layers.  n_normalization: of the numbers that follow,
 * the shift and the factor of each channel; 0: none */
typedef struct {
    int n_pictures, n_calls, n_values, n_classes;
    int input, output, scaling, n_normalization;
} header;

/* A picture as program.py gives it; `start`: the place of its first pixel among the values */
typedef struct {
    int start, row, height, width, channels;
} place;

static struct {
    header head;
    const double *normalization;
    picture *pictures;
    const call *calls;
    const float *weights;
    float *logits;
} network;

/* program: a header, the normalization (float64), the places, the calls.  It begins at a multiple
 * of 8 bytes, and it and the weights stay where they are. */
EXPORT void open_network(const void *program, const float *weights)
{
    const header *head = program;
    const double *normalization = (const double *)(head + 1);
    const place *places = (const place *)(normalization + head->n_normalization);
    float *values = reserve(4 * head->n_values);
    network.head = *head;
    network.normalization = normalization;
    network.calls = (const call *)(places + head->n_pictures);
    network.weights = weights;
    network.logits = reserve(4 * head->n_classes);
    network.pictures = reserve((int)sizeof(picture) * head->n_pictures);
    for (int k = 0; k < head->n_values; k++)
        values[k] = 0.0F;
    for (int k = 0; k < head->n_pictures; k++) {
        const picture made = {values + places[k].start, places[k].row, places[k].height,
                              places[k].width, places[k].channels};
        network.pictures[k] = made;
    }
}

static void run_call(const call *c)
{
    const picture *x = network.pictures + c->input, *x2 = network.pictures + c->second;
    const picture *y = network.pictures + c->output;
    const float *w = network.weights + c->w, *b = network.weights + c->b;
    switch (c->operation) {
    case CONV2D:
        conv2d(x, w, b, c->KH, c->KW, c->SH, c->SW, c->PT, c->PL, c->relu, y);
        break;
    case DEPTHWISE_CONV2D:
        depthwise_conv2d(x, w, b, c->KH, c->KW, c->SH, c->SW, c->PT, c->PL, c->relu, y);
        break;
    case MAX_POOL:
        max_pool(x, c->KH, c->KW, c->SH, c->SW, c->PT, c->PL, y);
        break;
    case AVERAGE_POOL:
        average_pool(x, c->KH, c->KW, c->SH, c->SW, c->PT, c->PL, c->count_padding, y);
        break;
    case RELU:
        relu(x, c->number);
        break;
    case LEAKY_RELU:
        leaky_relu(x, c->number);
        break;
    case PRELU:
        prelu(x, w);
        break;
    case SIGMOID:
        sigmoid(x);
        break;
    case TANH:
        hyperbolic_tangent(x);
        break;
    case DENSE:
        dense(x, w, b, c->relu, y);
        break;
    case SCALE_SHIFT:
        scale_shift(x, w, b);
        break;
    case ADD:
        add(x, x2, c->relu, y);
        break;
    case COPY:
        copy(x, y);
        break;
    }
}

/* The logits of one image: height x width x channels bytes.  They are overwritten by the next. */
EXPORT const float *logits(const uint8_t *image)
{
    const picture *input = network.pictures + network.head.input;
    const picture *output = network.pictures + network.head.output;
    const double *shift = network.normalization;
    switch (network.head.scaling) {
    case RAW:
        scale_raw(image, input);
        break;
    case UNIT:
        scale_unit(image, input);
        break;
    case STANDARDIZED:
        scale_standardized(image, input);
        break;
    case CHANNELS:
        scale_channels(image, shift, shift + network.head.n_normalization / 2, input);
        break;
    }
    for (int k = 0; k < network.head.n_calls; k++)
        run_call(network.calls + k);
    for (int k = 0; k < network.head.n_classes; k++)
        network.logits[k] = output->at[k];
    return network.logits;
}
