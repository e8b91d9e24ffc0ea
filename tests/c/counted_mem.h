/* SPDX-License-Identifier: Apache-2.0
 * A host's memory for tests: counts what is out, and can run dry. What is reserved faults when it
 * is touched before it was backed. */
#ifndef COUNTED_MEM_H
#define COUNTED_MEM_H

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

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

#define COUNTED_MEM_PAGE   4096u
#define COUNTED_MEM_MAPPED 256u

static void *counted_mem_mapped[COUNTED_MEM_MAPPED];
static unsigned counted_mem_backs; /* calls of back so far */

static void *
counted_mem_reserve (void *ctx, size_t size, size_t align, bool dense)
{
	if (!dense)
		return counted_mem_alloc (ctx, size, align);
	if (counted_mem_fail && --counted_mem_fail == 0)
		return NULL;
	void *p = mmap (NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (unsigned i = 0; p != MAP_FAILED && i < COUNTED_MEM_MAPPED; i++)
		if (!counted_mem_mapped[i])
		{
			counted_mem_mapped[i] = p;
			counted_mem_bytes += size;
			counted_mem_calls++;
			return p;
		}
	return NULL;
}

static void
counted_mem_back (void *ctx, void *p, size_t size)
{
	(void) ctx;
	uintptr_t from = (uintptr_t) p & ~(uintptr_t) (COUNTED_MEM_PAGE - 1);
	counted_mem_backs++;
	/* memory that is not dense may be touched as it is */
	mprotect ((void *) from, (uintptr_t) p + size - from, PROT_READ | PROT_WRITE);
}

static void
counted_mem_free (void *ctx, void *p, size_t size)
{
	(void) ctx;
	counted_mem_bytes -= size;
	for (unsigned i = 0; i < COUNTED_MEM_MAPPED; i++)
		if (counted_mem_mapped[i] == p)
		{
			counted_mem_mapped[i] = NULL;
			munmap (p, size);
			return;
		}
	free (p);
}

static const mvt_mem_t counted_mem = { .alloc = counted_mem_alloc,
				       .free = counted_mem_free,
				       .reserve = counted_mem_reserve,
				       .back = counted_mem_back };

#endif /* COUNTED_MEM_H */
