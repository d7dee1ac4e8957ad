/* x86-64 with AVX-512 (F, BW, DQ, VL). */
#define ISA_NAME avx512
#define VECTOR_BYTES 64
#include "isa.h"
