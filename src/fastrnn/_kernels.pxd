# The C kernels as Cython sees them: csrc/fastrnn.h, declaration for declaration.

cimport numpy as cnp

cdef extern from "fastrnn.h" nogil:
    enum:
        FASTRNN_LINEAR
        FASTRNN_ACTIVATIONS

    const char *fastrnn_activation_names[]

    ctypedef struct fastrnn_cell:
        const char *name
        int gates
        int slots
        int cell_state
        int additive
        int gated

    const int fastrnn_cell_count
    const fastrnn_cell fastrnn_cells[]

    ctypedef struct fastrnn_pack:
        Py_ssize_t rows, units
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

    ctypedef struct fastrnn_gram:
        Py_ssize_t rows, m, n, stride
        const void *a
        Py_ssize_t a_stride
        const void *b
        void *c

    ctypedef struct fastrnn_forward:
        Py_ssize_t rows, units
        Py_ssize_t first, last
        int activation, recurrent_activation
        const void *h_prev
        const void *c_prev
        const void *w_h
        const void *b_h
        void *products
        void *gates
        void *h
        void *c

    ctypedef struct fastrnn_backward:
        Py_ssize_t rows, units
        Py_ssize_t first, last
        int activation, recurrent_activation
        const void *gates
        const void *h_prev
        const void *c_prev
        void *dh
        void *dc
        void *dgx
        void *dgh

    ctypedef struct fastrnn_rows:
        Py_ssize_t rows, columns
        void *padded
        Py_ssize_t stride
        void *user
        Py_ssize_t width
        const Py_ssize_t *origin
        Py_ssize_t shift

    ctypedef struct fastrnn_kernels:
        int width
        int (*panel_vectors)(int gates) noexcept nogil
        void (*pack)(const fastrnn_pack *) noexcept nogil
        void (*pack_transposed)(const fastrnn_pack *) noexcept nogil
        void (*to_blocks)(const void *row, void *blocks, Py_ssize_t units, int gates, int slots) noexcept nogil
        void (*from_blocks)(const void *blocks, void *w, Py_ssize_t rows, Py_ssize_t units, int gates) noexcept nogil
        void (*product)(const fastrnn_product *) noexcept nogil
        void (*product_row)(const void *a, const void *w, const void *start, void *out, Py_ssize_t depth,
                            Py_ssize_t n) noexcept nogil
        void (**forward)(const fastrnn_forward *) noexcept nogil
        void (**backward)(const fastrnn_backward *) noexcept nogil
        void (*gather)(const fastrnn_rows *) noexcept nogil
        void (*gather_add)(const fastrnn_rows *) noexcept nogil
        void (*scatter)(const fastrnn_rows *) noexcept nogil
        void (*add_gram)(const fastrnn_gram *) noexcept nogil
        void (*add_column_sums)(const fastrnn_gram *) noexcept nogil
        void (*activate)(int activation, const void *x, void *y, Py_ssize_t n) noexcept nogil
        void (*activate_back)(int activation, const void *y, const void *dy, void *dx, Py_ssize_t n) noexcept nogil
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


cdef extern from "team.h" nogil:
    ctypedef void (*fastrnn_task)(void *context, int member, int members) noexcept nogil
    ctypedef struct fastrnn_barrier:
        pass
    void fastrnn_team_run(fastrnn_task task, void *context, int most)
    void fastrnn_barrier_wait(fastrnn_barrier *barrier, int members)
