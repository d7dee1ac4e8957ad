/* activations.h for one instruction set, compiled once for each by run.sh with its flags, NAME and VECTOR_BYTES. */
#define ISA_NAME NAME
#include "isa.h"

#include "activations_probe.h"

#define PROBE(type, suffix)                                                                          \
    static void probe_##suffix(const probe_arguments *p) {                                           \
        const fastrnn_size width = VECTOR_BYTES / sizeof(type);                                      \
        for (fastrnn_size i = 0; i < p->n; i += width) {                                             \
            const vec_##suffix x = load_##suffix((const type *)p->x + i);                            \
            const vec_##suffix dy = load_##suffix((const type *)p->dy + i);                          \
            const vec_##suffix y = activate_##suffix(p->phi, x), kept = kept_##suffix(p->phi, x, y); \
            store_##suffix((type *)p->y + i, y);                                                     \
            store_##suffix((type *)p->again + i, activation_value_##suffix(p->phi, kept));           \
            store_##suffix((type *)p->dx + i, activate_back_##suffix(p->phi, kept, dy));             \
        }                                                                                            \
    }

PROBE(float, f32)
PROBE(double, f64)

#define PROBE_SYMBOL(name) PASTE(probe_, name)
extern const activations_probe PROBE_SYMBOL(NAME);
const activations_probe PROBE_SYMBOL(NAME) = {ISA_STRING(NAME), probe_f32, probe_f64};
