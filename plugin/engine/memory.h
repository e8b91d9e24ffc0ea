/* SPDX-License-Identifier: Apache-2.0
 *
 * arena_t: the mvt_mem_t of an instance, and of the engine itself.
 *
 * Small pieces come from the C library. From ARENA_MAP_MIN on, a piece is mapped on its own: 1 GiB
 * pages where little of the last one is wasted, else 2 MiB pages, else 4 KiB pages with
 * MADV_HUGEPAGE. Huge pages are backed at once, because a limit on them (hugetlb cgroup) shows only
 * then, and to who touches them as a signal; 4 KiB pages are zero and backed when used.
 *
 * What is reserved is backed bit by bit. Dense: the same pages, but those of 2 MiB are only set
 * aside; they are backed as the core asks for it, and where a limit bites, 4 KiB pages take their
 * place. Not dense: 4 KiB pages, with MADV_HUGEPAGE only from ARENA_SPARSE_MIN on, since huge ones
 * would mostly be empty.
 *
 * What is mapped lazily is checked against the memory that is free, so that a configuration which
 * cannot fit is refused here and does not end a process later.
 *
 * Control paths only, but for arena_t.mem.back. One thread at a time.
 */
#ifndef ENGINE_MEMORY_H
#define ENGINE_MEMORY_H

#include "mvt_types.h"

#define ARENA_MAP_MIN	 ((size_t) 256 << 10)
#define ARENA_SPARSE_MIN ((size_t) 64 << 20)

typedef struct
{
	mvt_mem_t mem;	 /* give this to the core; ctx is the arena */
	int node;	 /* NUMA node that memory is preferred on, -1: where it is first used */
	uint64_t budget; /* bytes that may be reserved, UINT64_MAX: no check */
	uint64_t reserved;
	uint64_t asked;	   /* of the request that failed, 0 if none did */
	bool small_pages;  /* 4 KiB pages only, backed when used; set before the first request */
	bool can_populate; /* the kernel backs memory on request */
} arena_t;

void arena_init (arena_t *arena, int node, uint64_t budget);

/* Bytes that this process may still take: MemAvailable, or less in a memory cgroup. */
uint64_t memory_free (void);
/* Resident set of this process in bytes: in all, of it in huge pages that were reserved, of it in
 * transparent ones. */
typedef struct
{
	uint64_t resident, reserved, transparent;
} memory_use_t;
memory_use_t memory_use (void);
/* NUMA node of a CPU, -1 when unknown or when there is only one. */
int memory_node_of_cpu (int cpu);

#endif /* ENGINE_MEMORY_H */
