/* SPDX-License-Identifier: MIT */
#ifndef MOON_BASE_SLAB_H
#define MOON_BASE_SLAB_H
/*
 * Small pieces that live briefly and go in about the order they came, as records on their way to the store: they lie
 * side by side in slabs, and a slab is freed when all of its pieces were given back. One thread uses them.
 */
#include <moonlet/tool.h>

typedef struct moon__slab moon__slab;
typedef struct moon__slabs {
    moon__slab *open; /* which the next piece comes from; NULL: none yet */
} moon__slabs;

/* n bytes, aligned for anything; NULL: no memory. */
void *moon__slabs_take(moon__slabs *slabs, size_t n);
/* NULL is fine. The slabs themselves need not be there any more. */
void moon__slabs_give(void *piece);
/* Pieces that are still out stay good. */
void moon__slabs_fini(moon__slabs *slabs);
#endif
