/* The weights as given, where a task reads them: packed for the call, or, where one panel of tiles is all that reads
 * them, a chunk of a block of rows at a time into L2 when the task multiplies it. */
#ifndef FC_WINOGRAD_GIVEN_H
#define FC_WINOGRAD_GIVEN_H

#include "kernels/common/at_use.h"
#include "kernels/winograd/weights.h"

static bool images_pack_at_use(const fc_part *part, const shape *s, int64_t images) {
    return part->problem.pack_per_call && images * s->panels <= 1;
}

static bool packs_at_use(const fc_part *part, const shape *s) {
    return images_pack_at_use(part, s, part->problem.batch);
}

/* One group's weights as packed. */
typedef struct given_weights {
    const fc_part *part;
    const shape *s;
    const real *packed; /* NULL: packed at use into `room` */
    fc_weight_view plain;
    int64_t group;
    real *room;
} given_weights;

static given_weights given_weights_of(const fc_part *part, const shape *s, const void *packed, int64_t group,
                                      real *room) {
    given_weights w = {.part = part, .s = s, .group = group, .room = room};
    if (packs_at_use(part, s))
        memcpy(&w.plain, packed, sizeof w.plain);
    else
        w.packed = (const real *)packed + group * round_up(part->group_out_ch, PANEL_ROWS) * s->steps * s->taps;
    return w;
}

/* Steps [begin, end) of `panels` panels from out channel `row` on, a panel's first: [panel][step][tap][row], panels
 * `given_pitch` apart. They are there until the next are asked for. */
FC_INLINE int64_t given_pitch(const given_weights *w, int64_t begin, int64_t end) {
    return (w->packed != NULL ? w->s->steps : end - begin) * w->s->taps * PANEL_ROWS;
}

static const real *given_at(const given_weights *w, int64_t row, int64_t panels, int64_t begin, int64_t end) {
    int64_t per_step = w->s->taps * PANEL_ROWS, pitch = given_pitch(w, begin, end);
    if (w->packed != NULL)
        return w->packed + row * w->s->steps * w->s->taps + begin * per_step;
    for (int64_t panel = 0; panel < panels; panel++, row += PANEL_ROWS)
        pack_panel(w->part, w->s, &w->plain, w->group, row, smaller(PANEL_ROWS, w->part->group_out_ch - row), begin,
                   end, w->room + panel * pitch);
    return w->room;
}

#endif
