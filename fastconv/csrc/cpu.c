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
    bool amx_permitted, halves_512;
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

/* AMD tells how wide its units are, Zen 4's narrower than its vectors. Others are taken to have whole ones. */
static bool detect_halves_512(void) {
    enum { FP256 = 1 << 2, FP512 = 1 << 3 };
    unsigned a, b, c, d;
    return __get_cpuid(0x8000001a, &a, &b, &c, &d) && (a & FP256) && !(a & FP512);
}

/* The bytes of one data cache of a level, as its cores share it; 0: not told. Intel tells in leaf 4, AMD in a leaf of the
 * same form (sysconf, given the choice, adds up all third-level caches of an AMD package). */
static size_t cache_bytes(unsigned level) {
    static const unsigned leaves[] = {4, 0x8000001d};
    enum { MOST_CACHES = 8, INSTRUCTIONS = 2 };
    for (int leaf = 0; leaf < 2; leaf++)
        for (unsigned cache = 0; cache < MOST_CACHES; cache++) {
            unsigned a, b, c, d;
            if (!__get_cpuid_count(leaves[leaf], cache, &a, &b, &c, &d) || (a & 31) == 0)
                break;
            size_t ways = (b >> 22) + 1, partitions = ((b >> 12) & 1023) + 1, line = (b & 4095) + 1;
            if ((a >> 5 & 7) == level && (a & 31) != INSTRUCTIONS)
                return ways * partitions * line * ((size_t)c + 1);
        }
    return 0;
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
static bool detect_halves_512(void) { return false; }
static size_t cache_bytes(unsigned level) {
#if defined(_SC_LEVEL1_DCACHE_SIZE)
    static const int names[] = {0, _SC_LEVEL1_DCACHE_SIZE, _SC_LEVEL2_CACHE_SIZE, _SC_LEVEL3_CACHE_SIZE};
    long bytes = sysconf(names[level]);
    return bytes > 0 ? (size_t)bytes : 0;
#else
    (void)level;
    return 0;
#endif
}
#endif

static void detect_caches(fc_machine *m) {
    static const size_t usual[] = {0, 32 << 10, 512 << 10, 8 << 20};
    size_t *const to[] = {NULL, &m->l1d_bytes, &m->l2_bytes, &m->l3_bytes};
    for (unsigned level = 1; level <= 3; level++) {
        *to[level] = cache_bytes(level);
        if (*to[level] == 0)
            *to[level] = usual[level];
    }
}

static void detect(void) {
    cpu.found = detect_isa();
    fc_isa limit = fc_env_isa();
    cpu.allowed = cpu.found < limit ? cpu.found : limit;
    read_brand();
    cpu.halves_512 = detect_halves_512();
    detect_caches(&cpu.machine);
    fc_cost_rates(&cpu.machine);
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

bool fc_cpu_halves_512(void) {
    pthread_once(&cpu_once, detect);
    return cpu.halves_512;
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
