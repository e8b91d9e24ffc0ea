/* SPDX-License-Identifier: Apache-2.0
 * A host's memory for fuzz targets, in the place of counted_mem.h: tables are larger than what one
 * input touches, so large ones are mapped and cost only the pages that are used. A page without
 * rights stands behind them; small ones are the sanitizer's. */
#ifndef FUZZ_MEM_H
#define FUZZ_MEM_H

#ifdef COUNTED_MEM_H
#error "include fuzz_mem.h before what includes counted_mem.h"
#endif
#define COUNTED_MEM_H

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "mvt_types.h"

#define FUZZ_MEM_PAGE  ((size_t) 4096)
#define FUZZ_MEM_LARGE ((size_t) 32768)

static size_t counted_mem_bytes; /* allocated and not freed */

static size_t
fuzz_mem_pages (size_t size)
{
	return (size + FUZZ_MEM_PAGE - 1) / FUZZ_MEM_PAGE * FUZZ_MEM_PAGE;
}

static void *
fuzz_mem_alloc (void *ctx, size_t size, size_t align)
{
	size_t pages = fuzz_mem_pages (size);
	(void) ctx;
	counted_mem_bytes += size;
	if (size < FUZZ_MEM_LARGE)
	{
		void *p = aligned_alloc (align, (size + align - 1) / align * align);
		return p ? memset (p, 0, size) : NULL;
	}
	uint8_t *p = mmap (NULL, pages + FUZZ_MEM_PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED || mprotect (p + pages, FUZZ_MEM_PAGE, PROT_NONE))
		abort ();
	return p;
}

static void
fuzz_mem_free (void *ctx, void *p, size_t size)
{
	(void) ctx;
	counted_mem_bytes -= size;
	if (size < FUZZ_MEM_LARGE)
		free (p);
	else
		munmap (p, fuzz_mem_pages (size) + FUZZ_MEM_PAGE);
}

static const mvt_mem_t counted_mem = { .alloc = fuzz_mem_alloc, .free = fuzz_mem_free };

#endif /* FUZZ_MEM_H */
