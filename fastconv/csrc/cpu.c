/* CPU detection. An instruction set counts when CPUID has its features, the operating system saves its
 * registers (XCR0), and, for AMX, Linux grants the tile state to this process (arch_prctl). */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "cpu.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cgroup.h"
#include "cost.h"
#include "env.h"

static struct {
    fc_isa found, allowed;
    bool amx_permitted;
    char brand[49];
    fc_machine machine;
} cpu;
static pthread_once_t cpu_once = PTHREAD_ONCE_INIT;

const char *fc_isa_name(fc_isa isa) {
    static const char *const names[] = {
#define FC_ISA_ROW(name, lanes) #name,
#include "isa.inc"
#undef FC_ISA_ROW
    };
    return names[isa];
}

int fc_isa_lanes(fc_isa isa) {
    static const int lane_counts[] = {
#define FC_ISA_ROW(name, lanes) lanes,
#include "isa.inc"
#undef FC_ISA_ROW
    };
    return lane_counts[isa];
}

#if defined(__x86_64__)
#include <cpuid.h>

static unsigned long long read_xcr0(void) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return ((unsigned long long)high << 32) | low;
}

/* Linux hands out the 8 KB tile state per process on request; without it the first tile
 * instruction kills the process. */
static bool request_amx_permission(void) {
#if defined(__linux__) && defined(SYS_arch_prctl)
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
    return false;
#endif
}

static fc_isa detect_isa(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return FC_ISA_scalar;
    bool osxsave = c & (1u << 27), avx = c & (1u << 28), fma = c & (1u << 12), f16c = c & (1u << 29);
    if (!osxsave || !avx || !fma || !f16c)
        return FC_ISA_scalar;
    unsigned long long xcr0 = read_xcr0();
    unsigned b7, c7, d7;
    if ((xcr0 & 0x6) != 0x6 || !__get_cpuid_count(7, 0, &a, &b7, &c7, &d7) || !(b7 & (1u << 5)))
        return FC_ISA_scalar;
    bool avx512 = (b7 & (1u << 16)) && (b7 & (1u << 17)) && (b7 & (1u << 30)) && (b7 & (1u << 31));
    if (!avx512 || (xcr0 & 0xe6) != 0xe6)
        return FC_ISA_avx2;
#if FC_EMULATE_AMX
    return FC_ISA_amx; /* a build for tests, whose tiles are AVX-512 */
#endif
    bool tiles = (d7 & (1u << 22)) && (d7 & (1u << 24)) && (d7 & (1u << 25));
    unsigned a1 = 0, b1, c1, d1;
    bool bf16 = __get_cpuid_count(7, 1, &a1, &b1, &c1, &d1) && (a1 & (1u << 5));
    if (!tiles || !bf16 || (xcr0 & 0x60000) != 0x60000)
        return FC_ISA_avx512;
    cpu.amx_permitted = request_amx_permission();
    return cpu.amx_permitted ? FC_ISA_amx : FC_ISA_avx512;
}

static void read_brand(void) {
    unsigned *words = (unsigned *)cpu.brand;
    for (unsigned leaf = 0; leaf < 3; leaf++, words += 4)
        if (!__get_cpuid(0x80000002u + leaf, &words[0], &words[1], &words[2], &words[3]))
            return;
}
#else
static fc_isa detect_isa(void) { return FC_ISA_scalar; }
static void read_brand(void) { strcpy(cpu.brand, "unknown"); }
#endif

static size_t cache_bytes(int name, size_t fallback) {
    long bytes = sysconf(name);
    return bytes > 0 ? (size_t)bytes : fallback;
}

static void detect(void) {
    cpu.found = detect_isa();
    fc_isa limit = fc_env_isa();
    cpu.allowed = cpu.found < limit ? cpu.found : limit;
    read_brand();
    fc_machine *m = &cpu.machine;
#if defined(_SC_LEVEL1_DCACHE_SIZE)
    m->l1d_bytes = cache_bytes(_SC_LEVEL1_DCACHE_SIZE, 32 << 10);
    m->l2_bytes = cache_bytes(_SC_LEVEL2_CACHE_SIZE, 512 << 10);
    m->l3_bytes = cache_bytes(_SC_LEVEL3_CACHE_SIZE, 8 << 20);
#else
    m->l1d_bytes = 32 << 10, m->l2_bytes = 512 << 10, m->l3_bytes = 8 << 20;
#endif
    fc_cost_rates(m);
}

const fc_machine *fc_cpu_machine(void) {
    pthread_once(&cpu_once, detect);
    return &cpu.machine;
}
void fc_rates_use(const fc_rates *rates) {
    pthread_once(&cpu_once, detect);
    fc_cost_take_rates(&cpu.machine, cpu.allowed, rates);
}
fc_isa fc_cpu_isa_found(void) {
    pthread_once(&cpu_once, detect);
    return cpu.found;
}
fc_isa fc_cpu_isa_allowed(void) {
    pthread_once(&cpu_once, detect);
    return cpu.allowed;
}
bool fc_cpu_amx_permitted(void) {
    pthread_once(&cpu_once, detect);
    return cpu.amx_permitted;
}

int fc_cpu_affinity_cores(void) {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return CPU_COUNT(&set);
#endif
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores > 0 ? (int)cores : 1;
}

double fc_cpu_cgroup_cores(void) { return fc_cgroup_cores(""); }

fc_cpu_info fc_cpu_query(void) {
    const fc_machine *m = fc_cpu_machine();
    return (fc_cpu_info){.isa = fc_isa_name(cpu.allowed),
                         .isa_found = fc_isa_name(cpu.found),
                         .brand = cpu.brand,
                         .l1d_bytes = m->l1d_bytes,
                         .l2_bytes = m->l2_bytes,
                         .l3_bytes = m->l3_bytes,
                         .logical_cores = fc_cpu_affinity_cores(),
                         .cgroup_cores = fc_cpu_cgroup_cores(),
                         .openmp = FC_OPENMP,
                         .amx_permitted = cpu.amx_permitted};
}
