/* What the compiler takes without being asked: SSE2 on x86-64, NEON on aarch64, plain C elsewhere. */
#define ISA_NAME baseline
#define VECTOR_BYTES 16
#include "isa.h"
