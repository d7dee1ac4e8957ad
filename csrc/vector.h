/* Vectors of one type for one instruction set, by GCC's and clang's vector extensions.
 *
 * Included once for float and once for double by isa.h, which defines REAL, INT, FN (a name with the type's suffix) and
 * VECTOR_BYTES.  The compiler turns the operators into the instruction set's own; there are no intrinsics.
 */
typedef REAL FN(vec) __attribute__((vector_size(VECTOR_BYTES)));
typedef INT FN(ivec) __attribute__((vector_size(VECTOR_BYTES)));
typedef REAL FN(vec_any) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));

#define VEC FN(vec)
#define IVEC FN(ivec)
#define W ((fastrnn_size)(VECTOR_BYTES / sizeof(REAL)))

INLINE VEC FN(load)(const REAL *p) { return *(const FN(vec_any) *)p; }
INLINE void FN(store)(REAL *p, VEC v) { *(FN(vec_any) *)p = v; }
INLINE VEC FN(all)(REAL v) { return v - (VEC){0}; }
INLINE VEC FN(select)(IVEC mask, VEC yes, VEC no) { return (VEC)((mask & (IVEC)yes) | (~mask & (IVEC)no)); }

/* The first n < W values of a vector, the others zero. */
INLINE VEC FN(load_part)(const REAL *p, fastrnn_size n) {
    VEC v = {0};
    memcpy(&v, p, (size_t)n * sizeof(REAL));
    return v;
}
INLINE void FN(store_part)(REAL *p, VEC v, fastrnn_size n) { memcpy(p, &v, (size_t)n * sizeof(REAL)); }

#define LOAD FN(load)
#define STORE FN(store)
#define ALL(v) FN(all)((REAL)(v))
#define SELECT FN(select)
