/* fastrnn kernels: the only header that Cython sees.
 *
 * Letters: B batch, T steps, I inputs, H hidden units, G gates, S values kept per unit for the backward pass.
 * W is the number of values in one vector of the instruction set; units are handled in blocks of W.
 *
 * Block order.  A user's row of G*H values is [gate][unit].  Inside fastrnn it is [block][gate][W]: all gates of W
 * units lie side by side, so that the product of those units can be followed at once by their gates.  The last block
 * is filled up with zeros: Hp is H rounded up to a multiple of W.  Weights packed in block order give products in it.
 *
 * The arithmetic of a row never depends on the rows beside it: out[j] = start[j] + a[0]*w[0][j] + a[1]*w[1][j] + ...,
 * always in this order, whatever the number of rows and whichever function computes it.
 *
 * Nothing here allocates, fails or keeps state.  `void *` is float * or double *, by the table that holds
 * the function.
 */
#ifndef FASTRNN_H
#define FASTRNN_H

#include <stddef.h>

typedef ptrdiff_t fastrnn_size;

/* ---- activations ------------------------------------------------------------------------------------------------- */

enum {
    FASTRNN_LINEAR,
    FASTRNN_TANH,
    FASTRNN_SIGMOID,
    FASTRNN_RELU,
    FASTRNN_HARD_SIGMOID,
    FASTRNN_HARD_TANH,
    FASTRNN_SOFTSIGN,
    FASTRNN_SOFTPLUS,
    FASTRNN_ELU,
    FASTRNN_SELU,
    FASTRNN_LEAKY_RELU,
    FASTRNN_THRESHOLDED_RELU,
    FASTRNN_GELU,
    FASTRNN_SILU,
    FASTRNN_EXPONENTIAL,
    FASTRNN_AFFINE,
    FASTRNN_SCALED_TANH,
    FASTRNN_ACTIVATIONS
};

typedef struct {
    int kind;
    int keeps_argument; /* 1: a step leaves the argument for the backward step, 0: the value */
    double alpha, beta;
} fastrnn_activation;

typedef struct {
    const char *name;
    int constants;      /* how many it takes */
    double alpha, beta; /* unless given */
    int needs_argument; /* 1: the derivative does not follow from the value */
} fastrnn_activation_spec;

extern const fastrnn_activation_spec fastrnn_activation_specs[FASTRNN_ACTIVATIONS];

/* ---- cells: what the engine, Python and the tests have to know of one -------------------------------------------- */

enum { FASTRNN_PRODUCT, FASTRNN_ELEMENTWISE, FASTRNN_NOTHING }; /* what meets h_prev: h_prev·w_h, h_prev∘w_h, nothing */
enum { FASTRNN_NO_NORM, FASTRNN_NORM_OF_SUM, FASTRNN_NORMS_APART }; /* layer norm of the sum of products, or of each */

typedef struct {
    const char *name;     /* in the registry */
    const char *function; /* public: <function>_forward */
    const char *layer;    /* public: the layer's class */
    const char *summary, *equations;
    const char *activation; /* unless given */
    int gates;              /* G: columns of w_x and w_h for each unit */
    int slots;              /* S >= G: values of each unit that the forward step leaves for the backward step */
    int cell_state;         /* 1: a cell state c is carried beside h */
    int additive;           /* 1: the gates see x·w_x + h_prev·w_h + b only; 0: they see the two products apart */
    int bias_rows;          /* 1: b is (G*H,); 2: (2, G*H), the second row beside h_prev·w_h */
    int gated;              /* 1: has a recurrent activation beside the activation */
    int candidate;          /* the gate that goes through the activation, all others go through the recurrent one */
    int recurrent;          /* FASTRNN_PRODUCT ... */
    int second; /* the last gates, whose product has to wait for the others: it takes what these make of h_prev */
    int norm;   /* FASTRNN_NO_NORM ... */
    int unit_parameters;   /* U: parameters of each unit by itself */
    const char *unit_name; /* their name; optional for cells with a product */
} fastrnn_cell;

extern const int fastrnn_cell_count;
extern const fastrnn_cell fastrnn_cells[];

/* ---- arguments --------------------------------------------------------------------------------------------------- */

/* `gates` gates of a user's matrix w (rows, row_size) into panels in block order; w points to the first of them. */
typedef struct {
    fastrnn_size rows, units, row_size;
    int gates;
    const void *w;
    void *packed;
} fastrnn_pack;

/* out (rows, vectors*W) = start + a (rows, depth) · w (depth, vectors*W), w packed in panels of `panel` vectors. */
typedef struct {
    fastrnn_size rows, depth, vectors;
    fastrnn_size first, last; /* the vectors to compute: whole panels */
    int panel;
    const void *a;
    fastrnn_size a_stride;
    const void *w;
    const void *start; /* start_stride 0: one row for all */
    fastrnn_size start_stride, start_panel;
    void *out; /* ..._stride: from row to row; ..._panel: from panel to panel */
    fastrnn_size out_stride, out_panel;
} fastrnn_product;

/* Packed weights in fewer bits (narrow.h): how they are stored, and the scales that belong to them. */
enum { FASTRNN_AS_THEY_ARE, FASTRNN_FLOAT16, FASTRNN_BFLOAT16, FASTRNN_INT8, FASTRNN_FORMATS };

typedef struct {
    int format;
    const void *scales; /* float16: one; int8: of each column, (vectors*W,) */
} fastrnn_narrow;

/* Panels of w (depth, vectors*W) into panels in fewer bits; float alone. */
typedef struct {
    fastrnn_size depth, vectors;
    int panel, format;
    const void *w;
    void *words; /* vectors*W for every two rows, for int8 every four */
    void *scales;
} fastrnn_narrowing;

/* c (m, n) += aᵀ (m, rows) · b (rows, n), n a multiple of W; b and c are n columns of matrices with rows of `stride`.
 */
typedef struct {
    fastrnn_size rows, m, n, stride;
    const void *a;
    fastrnn_size a_stride;
    const void *b;
    void *c;
} fastrnn_gram;

/* A convolution of many groups of C channels and F filters (grouped.h): F is W, or a part of it and the same as C.
 *     y (rows, width) = start (width,) + the sum over taps k and channels c of x(k, c)∘w[k, c]
 * A row may be several steps side by side. */
typedef struct {
    fastrnn_size rows, taps, channels, filters; /* C and F */
    fastrnn_size width;                         /* whole groups, or whole vectors of them */
    const void *x;
    fastrnn_size x_stride, tap_stride; /* from row to row, from tap to tap */
    void *w;                           /* (taps*C, width) in rows of w_stride */
    fastrnn_size w_stride;
    const void *start;
    void *y;
    fastrnn_size y_stride;
} fastrnn_grouped;

/* What a cell does beyond its equations; the same for all steps of a call.  A clip of 0 is none. */
typedef struct {
    fastrnn_activation activation, recurrent, output;
    double clip;      /* of all arguments of activations */
    double cell_clip; /* of the cell state */
    int coupled;      /* f = 1 - i */
    int usual;        /* 1: tanh, sigmoid, tanh and none of these; the same result, sooner */
} fastrnn_options;

/* A step as a whole, or up to the new cell state and then from what `shown` makes of it. */
enum { FASTRNN_WHOLE, FASTRNN_GATES_PART, FASTRNN_OUTPUT_PART };

/* One step forward of `rows` rows.  On entry `gates` holds x·w_x + b, on exit what the backward step wants. */
typedef struct {
    fastrnn_size rows, units;
    fastrnn_size first, last; /* the blocks of units to compute: whole panels; all of them without w_h */
    int part;
    const fastrnn_options *options;
    const void *unit;  /* (U*Hp,), or NULL */
    const void *input; /* (rows, input_stride): h_prev on its way into the product; masks and projections differ */
    fastrnn_size depth, input_stride;
    const void *h_prev;   /* (rows, Hp) */
    const void *c_prev;   /* (rows, Hp) */
    const void *w_h;      /* packed (depth, (G - second)*Hp); NULL: the product is there, in `products` or in `gates` */
    const void *w_second; /* packed (Hp, second*Hp) */
    const fastrnn_narrow *narrow_h, *narrow_second; /* how w_h and w_second are stored; NULL: as they are */
    const void *b_h;                                /* (G*Hp,), cells that are not additive */
    void *products;                                 /* (rows, G*Hp): b_h + h_prev·w_h, cells that are not additive */
    void *second;                                   /* (rows, Hp): what the second product takes */
    const void *shown;                              /* (rows, Hp): what h sees of the cell state, the output part */
    void *gates;                                    /* (rows, S*Hp) */
    void *h;                                        /* (rows, Hp) */
    void *c;                                        /* (rows, Hp) */
} fastrnn_forward;

/* The gates' part of one step backward.  On entry dh, dc are the gradients by this step's states; on exit dc is that by
 * the previous cell state and dh the direct part of that by the previous state: dgh·w_hᵀ is still to be added. */
typedef struct {
    fastrnn_size rows, units;
    fastrnn_size first, last; /* the blocks of units to compute */
    int part;
    const fastrnn_options *options;
    const void *unit;  /* (U*Hp,), or NULL */
    const void *gates; /* (rows, S*Hp), as the forward step left them */
    const void *input; /* (rows, input_stride), as in the forward step */
    fastrnn_size input_stride;
    const void *h_prev;   /* (rows, Hp) */
    const void *c_prev;   /* (rows, Hp) */
    const void *w_second; /* packed transpose (second*Hp, Hp) */
    const void *zeros;    /* (Hp,) */
    void *dh;             /* (rows, Hp) */
    void *dc;             /* (rows, Hp) */
    void *dshown;         /* (rows, Hp): the parts' gradient by `shown`, or by c through it; NULL for the whole step */
    const void *dgates;   /* (rows, G*Hp): gradient by the gates themselves, or NULL */
    void *dinput;         /* (rows, Hp): gains the gradient by `input` that does not go through w_h; may be dh */
    void *dgx;            /* (rows, G*Hp): gradient by x·w_x + b */
    void *dgh;            /* (rows, (G - second)*Hp): gradient by h_prev·w_h (+ b_h); additive cells: the same as dgx */
    void *dsecond;        /* (rows, second*Hp): gradient by the second product */
    void *second;         /* (rows, Hp): what the second product took */
    void *dunit;          /* (rows, dunit_stride), U*Hp of each: gradient by the units' parameters */
    fastrnn_size dunit_stride;
} fastrnn_backward;

/* Layer norm of rows in block order, over the gates*units values of each:
 *     hat = (v - mean) / sqrt(variance + epsilon),   out = (out or add) + hat∘gain
 */
typedef struct {
    fastrnn_size rows, units;
    int gates, slots; /* vectors from block to block in v and hat; in out */
    int accumulate;   /* 1: out itself is what hat∘gain is added to */
    double epsilon;
    const void *v;    /* (rows, gates*Hp), may be hat */
    void *hat;        /* (rows, gates*Hp), zero in the padding */
    void *scale;      /* (rows,): 1 / sqrt(variance + epsilon) */
    const void *gain; /* (gates*Hp,) */
    const void *add;  /* (gates*Hp,), or NULL */
    void *out;        /* (rows, slots*Hp) */
} fastrnn_norm;

/* dv = the gradient by v from d, that by out; dgain and dadd rows are what the gradients by these sum up. */
typedef struct {
    fastrnn_size rows, units;
    int gates;
    const void *hat, *scale, *gain;
    const void *d; /* (rows, gates*Hp) */
    void *dv;      /* (rows, gates*Hp), may be d */
    void *dgain;   /* (rows, extra_stride), or NULL */
    void *dadd;    /* (rows, extra_stride), or NULL */
    fastrnn_size extra_stride;
} fastrnn_norm_back;

/* Rows r of a padded matrix beside rows origin[r] + shift of a user's (..., width) array; `columns` values of each. */
typedef struct {
    fastrnn_size rows, columns;
    void *padded;
    fastrnn_size stride;
    void *user;
    fastrnn_size width;
    const fastrnn_size *origin;
    fastrnn_size shift;
} fastrnn_rows;

/* n values and what Adam remembers of each, the gradient apart from all of them. */
typedef struct {
    fastrnn_size n;
    double rate, beta_1, beta_2, epsilon;
    const void *gradient;
    void *values, *m, *v;
} fastrnn_adam;

/* ---- one table for each instruction set and type ----------------------------------------------------------------- */

typedef struct {
    int width;                                     /* W */
    int (*panel_vectors)(int gates);               /* vectors in a panel of packed weights */
    void (*pack)(const fastrnn_pack *);            /* w as it is: products with rows of `rows` values */
    void (*pack_transposed)(const fastrnn_pack *); /* its transpose: products with rows in block order */
    void (*to_blocks)(const void *row, void *blocks, fastrnn_size units, int gates, int slots);
    void (*from_blocks)(const fastrnn_pack *); /* the way back: from `packed`, rows in block order, to w */
    void (*product)(const fastrnn_product *);
    void (*narrow)(const fastrnn_narrowing *); /* NULL for double, as the next one */
    void (*product_narrow)(const fastrnn_product *, const fastrnn_narrow *);
    /* out (n,) = start (n,) + a (depth,) · w (depth, n), w as the user holds it: packing does not pay for few rows */
    void (*product_row)(const void *a, const void *w, const void *start, void *out, fastrnn_size depth, fastrnn_size n);
    /* a product with a single column, w (depth,) and out one value for each row; the depth runs through the lanes */
    void (*dots)(const fastrnn_product *);
    void (*const *forward)(const fastrnn_forward *);   /* by cell */
    void (*const *backward)(const fastrnn_backward *); /* by cell */
    void (*gather)(const fastrnn_rows *);              /* and fill up with zeros to the padded matrix's stride */
    void (*gather_add)(const fastrnn_rows *);          /* add to what is there */
    void (*scatter)(const fastrnn_rows *);
    void (*add_gram)(const fastrnn_gram *);
    void (*add_column_sums)(const fastrnn_gram *); /* c (n,) += the columns of b; any n */
    void (*grouped)(const fastrnn_grouped *);
    void (*add_grouped_gram)(const fastrnn_grouped *); /* w += the gradient by it, where y is that by y; F < W */
    void (*add_product_sums)(const fastrnn_gram *);    /* c (n,) += the columns of a∘b, both (rows, n) */
    void (*norm)(const fastrnn_norm *);
    void (*norm_back)(const fastrnn_norm_back *);
    /* rows of n values: y = a∘m;  y += a∘m;  y = m∘a + (1 - m)∘y;  kept = m∘d, d = (1 - m)∘d.  m_step 0: a constant */
    void (*multiply)(const void *a, const void *m, void *y, fastrnn_size n);
    void (*multiply_add)(const void *a, const void *m, void *y, fastrnn_size n);
    void (*blend)(const void *a, const void *m, fastrnn_size m_step, void *y, fastrnn_size n);
    void (*blend_back)(const void *m, fastrnn_size m_step, void *d, void *kept, fastrnn_size n);
    void (*add)(const void *a, void *y, fastrnn_size n);
    void (*activate)(const fastrnn_activation *, const void *x, void *y, fastrnn_size n);
    void (*activate_back)(const fastrnn_activation *, const void *kept, const void *dy, void *dx, fastrnn_size n);
    void (*adam)(const fastrnn_adam *);
    fastrnn_size (*multiply_add_probe)(fastrnn_size rounds, void *sink); /* sink: W values */
    void (*read_probe)(const void *values, fastrnn_size n, void *sink);
} fastrnn_kernels;

typedef struct {
    const char *name;
    const fastrnn_kernels *f32, *f64;
} fastrnn_isa;

/* Instruction sets compiled in, slowest first; `supported` says whether this machine has one. */
int fastrnn_isa_count(void);
const fastrnn_isa *fastrnn_isa_at(int i);
int fastrnn_isa_supported(int i);

#endif
