/* The kernels for one instruction set.  An isa_<name>.c defines ISA_NAME and VECTOR_BYTES and includes this file;
 * setup.py compiles it with the flags of that set. */
#include <stdint.h>
#include <string.h>

#include "fastrnn.h"

#define INLINE static inline __attribute__((always_inline))
#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)

#define REAL float
#define REAL_BITS 32
#define INT int32_t
#define FN(name) PASTE(name, _f32)
#include "kernels.h"
#undef REAL
#undef REAL_BITS
#undef INT
#undef FN

#define REAL double
#define REAL_BITS 64
#define INT int64_t
#define FN(name) PASTE(name, _f64)
#include "kernels.h"

#define ISA_SYMBOL(name) PASTE(fastrnn_isa_, name)
#define ISA_STRING_(name) #name
#define ISA_STRING(name) ISA_STRING_(name)

extern const fastrnn_isa ISA_SYMBOL(ISA_NAME);
const fastrnn_isa ISA_SYMBOL(ISA_NAME) = {ISA_STRING(ISA_NAME), &kernels_f32, &kernels_f64};
