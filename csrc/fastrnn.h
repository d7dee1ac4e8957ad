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

enum { FASTRNN_LINEAR, FASTRNN_TANH, FASTRNN_SIGMOID, FASTRNN_RELU, FASTRNN_ACTIVATIONS };

extern const char *const fastrnn_activation_names[FASTRNN_ACTIVATIONS];

/* ---- cells: what the engine, Python and the tests have to know of one -------------------------------------------- */

typedef struct {
    const char *name;
    int gates;      /* G: columns of w_x and w_h for each unit */
    int slots;      /* S >= G: values of each unit that the forward step leaves for the backward step */
    int cell_state; /* 1: a cell state c is carried beside h */
    int additive;   /* 1: the gates see x·w_x + h_prev·w_h + b only; 0: they see the two products apart */
    int gated;      /* 1: has a recurrent activation beside the activation */
} fastrnn_cell;

extern const int fastrnn_cell_count;
extern const fastrnn_cell fastrnn_cells[];

/* ---- arguments --------------------------------------------------------------------------------------------------- */

/* A user's matrix w (rows, gates*units) into panels in block order. */
typedef struct {
    fastrnn_size rows, units;
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

/* c (m, n) += aᵀ (m, rows) · b (rows, n), n a multiple of W; b and c are n columns of matrices with rows of `stride`.
 */
typedef struct {
    fastrnn_size rows, m, n, stride;
    const void *a;
    fastrnn_size a_stride;
    const void *b;
    void *c;
} fastrnn_gram;

/* One step forward of `rows` rows.  On entry `gates` holds x·w_x + b, on exit what the backward step wants. */
typedef struct {
    fastrnn_size rows, units;
    fastrnn_size first, last; /* the blocks of units to compute: whole panels; all of them without w_h */
    int activation, recurrent_activation;
    const void *h_prev; /* (rows, Hp) */
    const void *c_prev; /* (rows, Hp) */
    const void *w_h;    /* packed (H, G*Hp); NULL: the product is there already, in `products` or added to `gates` */
    const void *b_h;    /* (G*Hp,), cells that are not additive */
    void *products;     /* (rows, G*Hp): b_h + h_prev·w_h, cells that are not additive */
    void *gates;        /* (rows, S*Hp) */
    void *h;            /* (rows, Hp) */
    void *c;            /* (rows, Hp) */
} fastrnn_forward;

/* The gates' part of one step backward.  On entry dh, dc are the gradients by this step's states; on exit dc is that by
 * the previous cell state and dh the direct part of that by the previous state: dgh·w_hᵀ is still to be added. */
typedef struct {
    fastrnn_size rows, units;
    fastrnn_size first, last; /* the blocks of units to compute */
    int activation, recurrent_activation;
    const void *gates;  /* (rows, S*Hp), as the forward step left them */
    const void *h_prev; /* (rows, Hp) */
    const void *c_prev; /* (rows, Hp) */
    void *dh;           /* (rows, Hp) */
    void *dc;           /* (rows, Hp) */
    void *dgx;          /* (rows, G*Hp): gradient by x·w_x + b */
    void *dgh;          /* (rows, G*Hp): gradient by h_prev·w_h (+ b_h); additive cells: the same as dgx */
} fastrnn_backward;

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

/* ---- one table for each instruction set and type ----------------------------------------------------------------- */

typedef struct {
    int width;                                     /* W */
    int (*panel_vectors)(int gates);               /* vectors in a panel of packed weights */
    void (*pack)(const fastrnn_pack *);            /* w as it is: products with rows of `rows` values */
    void (*pack_transposed)(const fastrnn_pack *); /* its transpose: products with rows in block order */
    void (*to_blocks)(const void *row, void *blocks, fastrnn_size units, int gates, int slots);
    void (*from_blocks)(const void *blocks, void *w, fastrnn_size rows, fastrnn_size units, int gates);
    void (*product)(const fastrnn_product *);
    /* out (n,) = start (n,) + a (depth,) · w (depth, n), w as the user holds it: packing does not pay for few rows */
    void (*product_row)(const void *a, const void *w, const void *start, void *out, fastrnn_size depth, fastrnn_size n);
    void (*const *forward)(const fastrnn_forward *);   /* by cell */
    void (*const *backward)(const fastrnn_backward *); /* by cell */
    void (*gather)(const fastrnn_rows *);              /* and fill up with zeros to the padded matrix's stride */
    void (*gather_add)(const fastrnn_rows *);          /* add to what is there */
    void (*scatter)(const fastrnn_rows *);
    void (*add_gram)(const fastrnn_gram *);
    void (*add_column_sums)(const fastrnn_gram *); /* c (n,) += the columns of b */
    void (*activate)(int activation, const void *x, void *y, fastrnn_size n);
    /* dx = dy·phi'(x), from y = phi(x) */
    void (*activate_back)(int activation, const void *y, const void *dy, void *dx, fastrnn_size n);
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
