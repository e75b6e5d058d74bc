/* Lines of out that products ask for while they multiply, before the block of rows at hand is stored to them. A panel's
 * lines are some hundred bytes to 3 KB of each channel's plane: the CPU's prefetchers start anew at each, and stores to
 * what L2 does not hold wait for L3 (two taps, dilation 64, 64->128 channels: 4.8 ms without, 3.3 with). Asking for the
 * next panel's x as well gained nothing. */
#ifndef FC_WINOGRAD_AHEAD_H
#define FC_WINOGRAD_AHEAD_H

#include "kernels/winograd/segments.h"

typedef struct ahead {
    uintptr_t channel;
    int64_t channels, step; /* left to ask for, and bytes from one to the next */
    const ahead_run *runs;
    int64_t count, run, byte; /* and where in the channel this is */
    int64_t at_once;          /* lines after each register tile */
} ahead;

/* What the tiles of `segments` are stored to, `rows` channels from `channel` on, asked for over `tiles` register tiles. */
static ahead ahead_of(const fc_part *part, const shape *s, const fc_tensor *out, int64_t n, int64_t channel,
                      int64_t rows, const segment *segments, int64_t segment_count, int64_t tiles, ahead_run *runs) {
    const fc_axis *axis = part->axis;
    int64_t count = 0, lines = 0, element = sizeof(stor);
    for (int64_t k = 0; k < segment_count; k++) {
        const segment *g = &segments[k];
        fc_pixel pixel = {g->d, g->out_h, g->out_w};
        for (int64_t i = 0; i < s->h.step && pixel.h < axis[1].out; i++, next_line(s, &pixel)) {
            int64_t pixels = line_outputs(part, s, g, pixel);
            if (pixels <= 0)
                continue;
            int64_t first = element * fc_tensor_offset(out, 0, 0, pixel);
            runs[count] = (ahead_run){first, first + element * ((pixels - 1) * s->w.apart + 1)};
            lines += divide_up(runs[count].end - first, 64);
            count++;
        }
    }
    stor *from = (stor *)out->data + fc_tensor_offset(out, n, channel, (fc_pixel){0, 0, 0});
    return (ahead){(uintptr_t)from, count > 0 ? rows : 0, element * out->stride[1], runs, count, 0,
                   count > 0 ? runs->first : 0, divide_up(lines * rows, tiles)};
}

/* Asks for the next lines. */
static __attribute__((noinline)) void ask_ahead(ahead *a) {
    for (int64_t left = a->at_once; a->channels > 0;) {
        for (int64_t end = a->runs[a->run].end; a->byte < end; a->byte += 64) {
            if (left-- == 0)
                return;
            __builtin_prefetch((const void *)(a->channel + (uintptr_t)a->byte), 0, 2);
        }
        if (++a->run == a->count)
            a->run = 0, a->channels--, a->channel += (uintptr_t)a->step;
        a->byte = a->runs[a->run].first;
    }
}

#endif
