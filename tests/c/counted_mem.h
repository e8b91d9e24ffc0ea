/* SPDX-License-Identifier: Apache-2.0
 * A host's memory for tests: counts what is out, and can run dry. */
#ifndef COUNTED_MEM_H
#define COUNTED_MEM_H

#include <stdlib.h>
#include <string.h>

#include "mvt_types.h"

static size_t counted_mem_bytes;      /* allocated and not freed */
static unsigned counted_mem_calls;    /* allocations so far */
static unsigned counted_mem_fail = 0; /* n: the n-th allocation from now fails */

static void *
counted_mem_alloc (void *ctx, size_t size, size_t align)
{
	(void) ctx;
	if (counted_mem_fail && --counted_mem_fail == 0)
		return NULL;
	void *p = aligned_alloc (align, (size + align - 1) / align * align);
	if (p)
	{
		memset (p, 0, size);
		counted_mem_bytes += size;
		counted_mem_calls++;
	}
	return p;
}

static void
counted_mem_free (void *ctx, void *p, size_t size)
{
	(void) ctx;
	counted_mem_bytes -= size;
	free (p);
}

static const mvt_mem_t counted_mem = { counted_mem_alloc, counted_mem_free, NULL };

#endif /* COUNTED_MEM_H */
