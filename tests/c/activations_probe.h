/* The activations of one instruction set as functions on arrays; see activations_probe.c. */
#include "fastrnn.h"

/* y = phi(x), again = y from what is kept for the backward pass, dx = dy·phi'(x); n values, a multiple of the width. */
typedef struct {
    const fastrnn_activation *phi;
    fastrnn_size n;
    const void *x, *dy;
    void *y, *again, *dx;
} probe_arguments;

typedef struct {
    const char *name; /* of the instruction set */
    void (*f32)(const probe_arguments *);
    void (*f64)(const probe_arguments *);
} activations_probe;
