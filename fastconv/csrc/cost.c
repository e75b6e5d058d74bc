/* The shared terms of the cost model: cost.h describes it. */
#include "cost.h"

#include "plan.h"

void fc_cost_rates(fc_machine *m) {
    /* Two vector FMAs a cycle at a usual clock; wide vectors run at a lower one. The portable kernels
     * multiply and add apart, with 128-bit vectors. */
    m->vector_fma_rate[FC_ISA_scalar] = 2.5e9;
    m->vector_fma_rate[FC_ISA_avx2] = 6.4e9;
    m->vector_fma_rate[FC_ISA_avx512] = m->vector_fma_rate[FC_ISA_amx] = 5.6e9;
    for (int each = 0; each < FC_ISA_COUNT; each++)
        m->fma_per_cycle[each] = 2;
    m->tile_flops = 11 * 32 * m->vector_fma_rate[FC_ISA_amx];
    /* Bytes from each level of the memory, read and written in turn. */
    m->l1_rate = 200e9, m->l2_rate = 80e9, m->l3_rate = 20e9, m->memory_rate = 10e9;
    m->pack_rate = 7e9; /* from L2 to L2; dense weights, turned around */
    m->call_seconds = 1e-6, m->task_seconds = 0.3e-6;
}

/* The other instruction sets, whose kernels run only when asked for by name, are as much faster or slower. */
void fc_cost_take_rates(fc_machine *m, fc_isa isa, const fc_rates *rates) {
    if (rates->fma_flops > 0) {
        double faster = rates->fma_flops / (2 * fc_isa_lanes(isa) * m->vector_fma_rate[isa]);
        for (int each = 0; each < FC_ISA_COUNT; each++)
            m->vector_fma_rate[each] *= faster;
        m->pack_rate *= faster;
    }
    if (rates->fma_per_cycle > 0)
        m->fma_per_cycle[isa] = rates->fma_per_cycle;
    const double given[] = {rates->tile_flops, rates->l1_bytes, rates->l2_bytes, rates->l3_bytes, rates->memory_bytes};
    double *const taken[] = {&m->tile_flops, &m->l1_rate, &m->l2_rate, &m->l3_rate, &m->memory_rate};
    for (size_t rate = 0; rate < sizeof given / sizeof *given; rate++)
        if (given[rate] > 0)
            *taken[rate] = given[rate];
}

fc_rates fc_rates_used(void) {
    const fc_machine *m = fc_cpu_machine();
    fc_isa isa = fc_cpu_isa_allowed();
    return (fc_rates){.fma_flops = 2 * fc_isa_lanes(isa) * m->vector_fma_rate[isa],
                      .tile_flops = isa >= FC_ISA_amx ? m->tile_flops : 0,
                      .l1_bytes = m->l1_rate,
                      .l2_bytes = m->l2_rate,
                      .l3_bytes = m->l3_rate,
                      .memory_bytes = m->memory_rate,
                      .fma_per_cycle = m->fma_per_cycle[isa]};
}

double fc_cost_light(const fc_machine *machine, fc_isa isa) { return machine->fma_per_cycle[isa] / 2; }

double fc_cost_mixed(const fc_machine *machine, fc_isa isa) { return (1 + fc_cost_light(machine, isa)) / 2; }

/* The columns of x that come along with those read: all of a dense row's, and of pixels of whole lines their own. */
static double columns_touched(const fc_part *part) {
    const fc_axis *width = &part->axis[2];
    bool lines = part->problem.x_channels_last && part->problem.in_ch * (int64_t)fc_storage_size(part->problem.dtype) >= 64;
    int64_t apart = lines ? fc_axis_unit(width) : 1;
    return (double)((width->in + apart - 1) / apart);
}

/* Bytes of out, and of the rows of x that a part reads, whole: those between the columns of a stride come along. */
static double bytes_touched(const fc_part *part) {
    const fc_problem *p = &part->problem;
    double read = (double)p->in_ch * columns_touched(part), written = (double)(p->out_ch * part->out_pixels);
    for (int i = 0; i < 2; i++) {
        const fc_axis *axis = &part->axis[i];
        int64_t reached = axis->out * (axis->kernel < axis->stride ? axis->kernel : axis->stride);
        read *= (double)(reached < axis->in ? reached : axis->in);
    }
    return (double)fc_storage_size(p->dtype) * (read + written);
}

double fc_cost_beyond_l2(const fc_part *part, const fc_machine *machine) {
    const double room = 0.75; /* the rest holds weights and scratch */
    double beyond = bytes_touched(part) / (double)machine->l2_bytes - room;
    return beyond < 0 ? 0 : beyond < 1 ? beyond : 1;
}

/* Of what L2 does not hold: half of L3 is others'. */
static double far_rate(double bytes, const fc_machine *machine) {
    return bytes < (double)machine->l3_bytes / 2 ? machine->l3_rate : machine->memory_rate;
}

bool fc_cost_leaves_l3(const fc_part *part, const fc_machine *machine) {
    return bytes_touched(part) >= (double)machine->l3_bytes / 2;
}

double fc_cost_far_rate(const fc_part *part, const fc_machine *machine) { return far_rate(bytes_touched(part), machine); }

double fc_cost_traffic(const fc_part *part, const fc_machine *machine) {
    double bytes = bytes_touched(part), beyond = fc_cost_beyond_l2(part, machine);
    double far = far_rate(bytes, machine);
    return bytes * (beyond / far + (1 - beyond) / machine->l2_rate);
}

double fc_cost_weights(double bytes, const fc_machine *machine) {
    double kept = (double)machine->l2_bytes / 2, far = far_rate(bytes, machine);
    return bytes > kept ? (bytes - kept) / far : 0;
}

double fc_cost_inside(const fc_axis *axis) {
    int64_t inside = 0, all = axis->kernel * axis->out;
    for (int64_t k = 0; k < axis->kernel; k++) {
        /* Outputs o with 0 <= o * stride + place < in. */
        int64_t place = k * axis->dilation - axis->pad_before;
        int64_t begin = place >= 0 ? 0 : (axis->stride - 1 - place) / axis->stride;
        int64_t end = place >= axis->in ? 0 : (axis->in - place + axis->stride - 1) / axis->stride;
        end = end < axis->out ? end : axis->out;
        inside += end > begin ? end - begin : 0;
    }
    return all > 0 ? (double)inside / (double)all : 0;
}

/* What comes along with a group's piece of a pixel: a piece of n bytes lies in 1 + (n - element) / 64 lines of 64 bytes, on
 * average, but no more than the other groups' channels. */
static double bytes_beside(int64_t channels, int64_t group_channels, double element) {
    double others = (double)(channels - group_channels) * element;
    return others < 64 - element ? others : 64 - element;
}

double fc_cost_passes(const fc_part *part, const fc_machine *machine) {
    const fc_problem *p = &part->problem;
    double element = (double)fc_storage_size(p->dtype), groups = (double)p->groups, bytes = 0;
    if (p->groups == 1)
        return 0;
    if (p->x_channels_last)
        bytes += (double)(part->axis[0].in * part->axis[1].in) * columns_touched(part) * groups *
                 bytes_beside(p->in_ch, p->in_ch / p->groups, element);
    if (p->out_channels_last)
        bytes += 0.6 * (double)part->out_pixels * groups * bytes_beside(p->out_ch, p->out_ch / p->groups, element);
    double beyond = fc_cost_beyond_l2(part, machine);
    double far = fc_cost_far_rate(part, machine);
    /* Of what comes from afar, half was seen to take time. */
    return bytes * (0.5 * beyond / far + (1 - beyond) / machine->l2_rate);
}

double fc_cost_run(const fc_kernel *kernel, const fc_part *part) { return kernel->seconds(part, fc_cpu_machine()); }

double fc_cost_pack(const fc_kernel *kernel, const fc_part *part) {
    const fc_machine *m = fc_cpu_machine();
    if (!part->problem.pack_per_call)
        return 0;
    fc_part one = *part; /* a kernel may pack for many images what it packs at use for few */
    one.problem.batch = 1;
    double bytes = (double)kernel->packed_bytes(&one);
    return bytes / m->pack_rate + (bytes > (double)m->l2_bytes / 2 ? bytes / m->l3_rate : 0);
}

/* A plan's seconds for one image on another machine, packing and call left out. */
static double run_seconds(const fc_plan *plan, const fc_machine *machine) {
    double seconds = 0;
    for (int index = 0; index < plan->part_count; index++)
        seconds += plan->parts[index].kernel->seconds(&plan->parts[index], machine);
    return seconds;
}

/* Of `whole` seconds, those that fall in proportion to 1 / rate. The rate is of `machine`, and is put back. */
static double share_of(const fc_plan *plan, double whole, fc_machine *machine, double *rates, int count) {
    static const double faster = 1 + 1e-5;
    fc_machine before = *machine;
    for (int index = 0; index < count; index++)
        rates[index] *= faster;
    double share = (whole - run_seconds(plan, machine)) * faster / (faster - 1);
    *machine = before;
    return share > 0 ? share : 0;
}

fc_cost fc_plan_cost(const fc_plan *plan) {
    fc_machine m = *fc_cpu_machine();
    double whole = run_seconds(plan, &m), images = (double)plan->problem.batch;
    fc_cost cost = {.core = share_of(plan, whole, &m, m.vector_fma_rate, FC_ISA_COUNT) +
                            share_of(plan, whole, &m, &m.tile_flops, 1),
                    .l1 = share_of(plan, whole, &m, &m.l1_rate, 1),
                    .l2 = share_of(plan, whole, &m, &m.l2_rate, 1),
                    .l3 = share_of(plan, whole, &m, &m.l3_rate, 1),
                    .memory = share_of(plan, whole, &m, &m.memory_rate, 1)};
    /* What no rate explains is the handing out of tasks. */
    double rest = whole - cost.core - cost.l1 - cost.l2 - cost.l3 - cost.memory;
    cost.core *= images, cost.l1 *= images, cost.l2 *= images, cost.l3 *= images, cost.memory *= images;
    for (int index = 0; index < plan->part_count; index++)
        cost.packing += fc_cost_pack(plan->parts[index].kernel, &plan->parts[index]);
    cost.calls = m.call_seconds + (rest > 1e-3 * whole ? rest * images : 0);
    return cost;
}
