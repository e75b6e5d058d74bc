/* What the machine is: features the CPU and the operating system both grant, cache sizes, cores. */
#ifndef FC_CPU_H
#define FC_CPU_H

#include "fastconv.h"

typedef enum fc_isa {
#define FC_ISA_ROW(name, lanes) FC_ISA_##name,
#include "isa.inc"
#undef FC_ISA_ROW
    FC_ISA_COUNT
} fc_isa;

/* Constants the cost functions read; sizes in bytes, rates per second on one core. */
typedef struct fc_machine {
    size_t l1d_bytes, l2_bytes, l3_bytes;
    double vector_fma_rate[FC_ISA_COUNT]; /* vector FMA instructions */
    double fma_per_cycle[FC_ISA_COUNT];   /* of these, a clock cycle */
    double tile_flops;                    /* of bfloat16 tile products */
    double l1_rate, l2_rate, l3_rate, memory_rate; /* bytes */
    double pack_rate;                     /* bytes of packed weights written */
    double call_seconds;                  /* one plan run, without its work */
    double task_seconds;                  /* handing out one task */
} fc_machine;

/* Detected once, on first use; safe from any thread. */
const fc_machine *fc_cpu_machine(void);
fc_isa fc_cpu_isa_found(void);   /* by the CPU */
fc_isa fc_cpu_isa_allowed(void); /* the same, cut by FASTCONV_ISA */
const char *fc_isa_name(fc_isa isa);
int fc_isa_lanes(fc_isa isa);    /* of float32 */
bool fc_cpu_amx_permitted(void);
bool fc_cpu_halves_512(void);    /* vectors of 512 bits go through units of 256, in halves */

/* Cores of the affinity mask, and the cgroup's quota in cores (0: none). */
int fc_cpu_affinity_cores(void);
double fc_cpu_cgroup_cores(void);

#endif
