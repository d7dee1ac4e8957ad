/* x86-64 with AVX2 and FMA. */
#define ISA_NAME avx2
#define VECTOR_BYTES 32
#include "isa.h"
