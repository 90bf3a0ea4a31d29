/* SPDX-License-Identifier: MIT */
#include "slab.h"

#include <stddef.h>
#include <stdlib.h>

enum { SLAB_BYTES = 32 << 10, ALIGN = _Alignof(max_align_t) };

struct moon__slab {
    size_t room, used, out; /* bytes, bytes, pieces */
    bool open;
    _Alignas(max_align_t) unsigned char bytes[];
};

/* Before each piece stands whose it is. */
typedef union head {
    moon__slab *slab;
    max_align_t align;
} head;

static void leave(moon__slab *slab) {
    if (!slab) return;
    slab->open = false;
    if (!slab->out) free(slab);
}

void *moon__slabs_take(moon__slabs *slabs, size_t n) {
    if (n > SIZE_MAX / 2) return NULL;
    size_t need = sizeof(head) + (n + ALIGN - 1) / ALIGN * ALIGN;
    moon__slab *slab = slabs->open;
    if (!slab || slab->room - slab->used < need) {
        bool own = need > SLAB_BYTES / 4; /* a large piece has a slab to itself, and the open one stays */
        size_t room = own ? need : SLAB_BYTES;
        slab = malloc(sizeof *slab + room);
        if (!slab) return NULL;
        *slab = (moon__slab){.room = room, .open = !own};
        if (!own) {
            leave(slabs->open);
            slabs->open = slab;
        }
    }
    head *piece = (head *)(void *)(slab->bytes + slab->used);
    piece->slab = slab;
    slab->used += need;
    slab->out++;
    return piece + 1;
}

void moon__slabs_give(void *piece) {
    if (!piece) return;
    moon__slab *slab = ((head *)piece - 1)->slab;
    if (--slab->out) return;
    if (slab->open)
        slab->used = 0;
    else
        free(slab);
}

void moon__slabs_fini(moon__slabs *slabs) {
    leave(slabs->open);
    slabs->open = NULL;
}
