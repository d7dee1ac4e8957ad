# The C kernels as Cython sees them: csrc/fastrnn.h, declaration for declaration.

cimport numpy as cnp

cdef extern from "fastrnn.h" nogil:
    enum:
        FASTRNN_LINEAR
        FASTRNN_ACTIVATIONS
        FASTRNN_TANH
        FASTRNN_SIGMOID
        FASTRNN_RELU

    ctypedef struct fastrnn_activation:
        int kind
        int keeps_argument
        double alpha, beta

    ctypedef struct fastrnn_activation_spec:
        const char *name
        int constants
        double alpha, beta
        int needs_argument

    const fastrnn_activation_spec fastrnn_activation_specs[]

    enum:
        FASTRNN_PRODUCT
        FASTRNN_ELEMENTWISE
        FASTRNN_NOTHING
    enum:
        FASTRNN_NO_NORM
        FASTRNN_NORM_OF_SUM
        FASTRNN_NORMS_APART

    ctypedef struct fastrnn_cell:
        const char *name
        const char *function
        const char *layer
        const char *summary
        const char *equations
        const char *activation
        int gates
        int slots
        int cell_state
        int additive
        int bias_rows
        int gated
        int candidate
        int recurrent
        int second
        int norm
        int unit_parameters
        const char *unit_name

    const int fastrnn_cell_count
    const fastrnn_cell fastrnn_cells[]

    ctypedef struct fastrnn_pack:
        Py_ssize_t rows, units, row_size
        int gates
        const void *w
        void *packed

    ctypedef struct fastrnn_product:
        Py_ssize_t rows, depth, vectors
        Py_ssize_t first, last
        int panel
        const void *a
        Py_ssize_t a_stride
        const void *w
        const void *start
        Py_ssize_t start_stride, start_panel
        void *out
        Py_ssize_t out_stride, out_panel

    enum:
        FASTRNN_AS_THEY_ARE
        FASTRNN_FLOAT16
        FASTRNN_BFLOAT16
        FASTRNN_INT8

    ctypedef struct fastrnn_narrow:
        int format
        const void *scales

    ctypedef struct fastrnn_narrowing:
        Py_ssize_t depth, vectors
        int panel, format
        const void *w
        void *words
        void *scales

    ctypedef struct fastrnn_gram:
        Py_ssize_t rows, m, n, stride
        const void *a
        Py_ssize_t a_stride
        const void *b
        void *c

    ctypedef struct fastrnn_grouped:
        Py_ssize_t rows, taps, channels, filters
        Py_ssize_t width
        const void *x
        Py_ssize_t x_stride, tap_stride
        void *w
        Py_ssize_t w_stride
        const void *start
        void *y
        Py_ssize_t y_stride

    ctypedef struct fastrnn_options:
        fastrnn_activation activation, recurrent, output
        double clip
        double cell_clip
        int coupled
        int usual

    enum:
        FASTRNN_WHOLE
        FASTRNN_GATES_PART
        FASTRNN_OUTPUT_PART

    ctypedef struct fastrnn_forward:
        Py_ssize_t rows, units
        Py_ssize_t first, last
        int part
        const fastrnn_options *options
        const void *unit
        const void *input
        Py_ssize_t depth, input_stride
        const void *h_prev
        const void *c_prev
        const void *w_h
        const void *w_second
        const fastrnn_narrow *narrow_h
        const fastrnn_narrow *narrow_second
        const void *b_h
        void *products
        void *second
        const void *shown
        void *gates
        void *h
        void *c

    ctypedef struct fastrnn_backward:
        Py_ssize_t rows, units
        Py_ssize_t first, last
        int part
        const fastrnn_options *options
        const void *unit
        const void *gates
        const void *input
        Py_ssize_t input_stride
        const void *h_prev
        const void *c_prev
        const void *w_second
        const void *zeros
        void *dh
        void *dc
        void *dshown
        const void *dgates
        void *dinput
        void *dgx
        void *dgh
        void *dsecond
        void *second
        void *dunit
        Py_ssize_t dunit_stride

    ctypedef struct fastrnn_norm:
        Py_ssize_t rows, units
        int gates, slots
        int accumulate
        double epsilon
        const void *v
        void *hat
        void *scale
        const void *gain
        const void *add
        void *out

    ctypedef struct fastrnn_norm_back:
        Py_ssize_t rows, units
        int gates
        const void *hat
        const void *scale
        const void *gain
        const void *d
        void *dv
        void *dgain
        void *dadd
        Py_ssize_t extra_stride

    ctypedef struct fastrnn_rows:
        Py_ssize_t rows, columns
        void *padded
        Py_ssize_t stride
        void *user
        Py_ssize_t width
        const Py_ssize_t *origin
        Py_ssize_t shift

    ctypedef struct fastrnn_adam:
        Py_ssize_t n
        double rate, beta_1, beta_2, epsilon
        const void *gradient
        void *values
        void *m
        void *v

    ctypedef struct fastrnn_kernels:
        int width
        int (*panel_vectors)(int gates) noexcept nogil
        void (*pack)(const fastrnn_pack *) noexcept nogil
        void (*pack_transposed)(const fastrnn_pack *) noexcept nogil
        void (*to_blocks)(const void *row, void *blocks, Py_ssize_t units, int gates, int slots) noexcept nogil
        void (*from_blocks)(const fastrnn_pack *) noexcept nogil
        void (*product)(const fastrnn_product *) noexcept nogil
        void (*narrow)(const fastrnn_narrowing *) noexcept nogil
        void (*product_narrow)(const fastrnn_product *, const fastrnn_narrow *) noexcept nogil
        void (*product_row)(const void *a, const void *w, const void *start, void *out, Py_ssize_t depth,
                            Py_ssize_t n) noexcept nogil
        void (*dots)(const fastrnn_product *) noexcept nogil
        void (**forward)(const fastrnn_forward *) noexcept nogil
        void (**backward)(const fastrnn_backward *) noexcept nogil
        void (*gather)(const fastrnn_rows *) noexcept nogil
        void (*gather_add)(const fastrnn_rows *) noexcept nogil
        void (*scatter)(const fastrnn_rows *) noexcept nogil
        void (*add_gram)(const fastrnn_gram *) noexcept nogil
        void (*add_column_sums)(const fastrnn_gram *) noexcept nogil
        void (*grouped)(const fastrnn_grouped *) noexcept nogil
        void (*add_grouped_gram)(const fastrnn_grouped *) noexcept nogil
        void (*add_product_sums)(const fastrnn_gram *) noexcept nogil
        void (*norm)(const fastrnn_norm *) noexcept nogil
        void (*norm_back)(const fastrnn_norm_back *) noexcept nogil
        void (*multiply)(const void *a, const void *m, void *y, Py_ssize_t n) noexcept nogil
        void (*multiply_add)(const void *a, const void *m, void *y, Py_ssize_t n) noexcept nogil
        void (*blend)(const void *a, const void *m, Py_ssize_t m_step, void *y, Py_ssize_t n) noexcept nogil
        void (*blend_back)(const void *m, Py_ssize_t m_step, void *d, void *kept, Py_ssize_t n) noexcept nogil
        void (*add)(const void *a, void *y, Py_ssize_t n) noexcept nogil
        void (*activate)(const fastrnn_activation *, const void *x, void *y, Py_ssize_t n) noexcept nogil
        void (*activate_back)(const fastrnn_activation *, const void *kept, const void *dy, void *dx,
                              Py_ssize_t n) noexcept nogil
        void (*adam)(const fastrnn_adam *) noexcept nogil
        Py_ssize_t (*multiply_add_probe)(Py_ssize_t rounds, void *sink) noexcept nogil
        void (*read_probe)(const void *values, Py_ssize_t n, void *sink) noexcept nogil

    ctypedef struct fastrnn_isa:
        const char *name
        const fastrnn_kernels *f32
        const fastrnn_kernels *f64

    int fastrnn_isa_count()
    const fastrnn_isa *fastrnn_isa_at(int i)
    int fastrnn_isa_supported(int i)


# Of _kernels.pyx: the kernels of the instruction set in use, for the type of an array; a cell of the registry.
cdef const fastrnn_kernels *kernels_for(cnp.ndarray array)
cdef const fastrnn_cell *cell_at(Py_ssize_t index) noexcept nogil
cdef fastrnn_activation activation_of(given)


cdef extern from "team.h" nogil:
    ctypedef void (*fastrnn_task)(void *context, int member, int members) noexcept nogil
    ctypedef struct fastrnn_barrier:
        pass
    void fastrnn_team_run(fastrnn_task task, void *context, int most)
    void fastrnn_barrier_wait(fastrnn_barrier *barrier, int members)
