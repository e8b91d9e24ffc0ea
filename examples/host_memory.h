/* SPDX-License-Identifier: Apache-2.0
 * What a host of the core must bring: memory. calloc's is zeroed and, when large, backed lazily. */
#ifndef HOST_MEMORY_H
#define HOST_MEMORY_H

#include <stdlib.h>
#include <string.h>

#include "mvt_types.h"

static inline void *
host_alloc (void *ctx, size_t size, size_t align)
{
	(void) ctx;
	/* room to align, and for the address to give back */
	char *raw = calloc (1, size + align + sizeof raw);
	if (!raw)
		return NULL;
	uintptr_t at = ((uintptr_t) raw + sizeof raw + align - 1) & ~((uintptr_t) align - 1);
	memcpy ((char *) at - sizeof raw, &raw, sizeof raw);
	return (void *) at;
}

static inline void
host_free (void *ctx, void *p, size_t size)
{
	char *raw;
	(void) ctx, (void) size;
	memcpy (&raw, (char *) p - sizeof raw, sizeof raw);
	free (raw);
}

static const mvt_mem_t host_memory = { .alloc = host_alloc, .free = host_free };

#endif /* HOST_MEMORY_H */
