/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1
#include "memory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE_1G ((size_t) 1 << 30)
#define PAGE_2M ((size_t) 2 << 20)
#define PAGE_4K ((size_t) 4096)

#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT 26
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif
#define MPOL_PREFERRED 1 /* of linux/mempolicy.h */

static size_t
round_up (size_t size, size_t unit)
{
	return (size + unit - 1) & ~(unit - 1);
}

/* How a piece of this size is mapped if everything goes well; free does the same sum, so the unit
 * must follow from the size alone. */
static size_t
unit_of (size_t size)
{
	if (size >= PAGE_1G && round_up (size, PAGE_1G) - size <= size / 16)
		return PAGE_1G;
	return size >= PAGE_2M ? PAGE_2M : PAGE_4K;
}

static void
prefer_node (void *p, size_t size, int node)
{
#ifdef SYS_mbind
	unsigned long mask[16] = { 0 };
	if (node < 0 || node >= 1000)
		return;
	mask[node / 64] = 1ul << (node % 64);
	/* a preference, not an order: memory elsewhere is better than none */
	syscall (SYS_mbind, p, size, MPOL_PREFERRED, mask, sizeof mask * 8, 0);
#else
	(void) p;
	(void) size;
	(void) node;
#endif
}

/* Does the kernel back memory on request (Linux 5.14)? Without it no huge page is used, since a
 * limit on them would show as a signal. */
static bool
can_populate (void)
{
	void *p = mmap (NULL, PAGE_4K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool can = p != MAP_FAILED && madvise (p, PAGE_4K, MADV_POPULATE_WRITE) == 0;

	if (p != MAP_FAILED)
		munmap (p, PAGE_4K);
	return can;
}

/* at_once: backed, or none. Else only set aside. */
static void *
map_huge (size_t size, int log2, int node, bool at_once)
{
	void *p = mmap (NULL, size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | log2 << MAP_HUGE_SHIFT, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	prefer_node (p, size, node);
	if (!at_once || madvise (p, size, MADV_POPULATE_WRITE) == 0)
		return p;
	munmap (p, size);
	return NULL;
}

/* 2 MiB aligned, so that transparent huge pages fit and munmap of the rounded size is exact. */
static void *
map_small (size_t size, int node, bool huge)
{
	size_t slack = size >= PAGE_2M ? PAGE_2M : 0;
	char *p = mmap (NULL, size + slack, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t before;

	if (p == MAP_FAILED)
		return NULL;
	if (slack)
	{
		before = round_up ((size_t) p, PAGE_2M) - (size_t) p;
		if (before)
			munmap (p, before);
		p += before;
		if (slack - before)
			munmap (p + size, slack - before);
		madvise (p, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	}
	prefer_node (p, size, node);
	return p;
}

typedef enum
{
	AT_ONCE,
	DENSE,
	SPARSE,
} use_t;

static void *
map (const arena_t *arena, size_t size, use_t use)
{
	size_t unit = unit_of (size);
	size_t rounded = round_up (size, unit);
	bool huge = !arena->small_pages, reserved = huge && use != SPARSE && arena->can_populate;
	int node = arena->node;
	void *p = NULL;

	if (reserved && unit == PAGE_1G)
		p = map_huge (rounded, 30, node, true);
	if (reserved && !p && unit >= PAGE_2M)
		p = map_huge (rounded, 21, node, use == AT_ONCE);
	return p ? p
		 : map_small (rounded, node, huge && (use != SPARSE || size >= ARENA_SPARSE_MIN));
}

static void *
take (arena_t *arena, size_t size, size_t align, use_t use)
{
	void *p = NULL;

	if (size == 0)
		size = 1;
	if (size > arena->budget || arena->reserved > arena->budget - size)
	{
		arena->asked = size;
		return NULL;
	}
	if (size >= ARENA_MAP_MIN)
		p = map (arena, size, use);
	else if (posix_memalign (&p, align < sizeof (void *) ? sizeof (void *) : align, size) == 0)
		memset (p, 0, size);
	if (!p)
	{
		arena->asked = size;
		return NULL;
	}
	arena->reserved += size;
	return p;
}

static void *
arena_alloc (void *ctx, size_t size, size_t align)
{
	return take (ctx, size, align, AT_ONCE);
}

static void *
arena_reserve (void *ctx, size_t size, size_t align, bool dense)
{
	return take (ctx, size, align, dense ? DENSE : SPARSE);
}

/* Where there is no huge page after all, as a signal would say to who touches it, small ones take
 * its place; nothing can be in it yet. Every other failure is left to whoever touches the memory:
 * the kernel may just be too old. */
static void
arena_back (void *ctx, void *p, size_t size)
{
	const arena_t *arena = ctx;
	char *from = (char *) ((size_t) p & ~(PAGE_4K - 1));
	char *to = (char *) round_up ((size_t) p + size, PAGE_4K);

	if (madvise (from, (size_t) (to - from), MADV_POPULATE_WRITE) == 0 || errno != EFAULT)
		return;
	from = (char *) ((size_t) from & ~(PAGE_2M - 1));
	for (; from < to; from += PAGE_2M)
		if (madvise (from, PAGE_2M, MADV_POPULATE_WRITE) != 0 && errno == EFAULT &&
		    mmap (from, PAGE_2M, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
			  0) != MAP_FAILED)
			prefer_node (from, PAGE_2M, arena->node);
}

static void
arena_free (void *ctx, void *p, size_t size)
{
	arena_t *arena = ctx;

	if (size == 0)
		size = 1;
	arena->reserved -= size;
	if (size >= ARENA_MAP_MIN)
		munmap (p, round_up (size, unit_of (size)));
	else
		free (p);
}

void
arena_init (arena_t *arena, int node, uint64_t budget)
{
	*arena = (arena_t){
		.mem = { .alloc = arena_alloc,
			 .free = arena_free,
			 .ctx = arena,
			 .reserve = arena_reserve,
			 .back = arena_back },
		.node = node,
		.budget = budget,
		.can_populate = can_populate (),
	};
}

/* ---- what the system has ---- */

/* The number that follows key in a file of /proc, or in the whole file when key is empty. */
static bool
read_number (const char *path, const char *key, uint64_t *value)
{
	char line[256];
	FILE *file = fopen (path, "re");
	bool found = false;

	if (!file)
		return false;
	while (!found && fgets (line, sizeof line, file))
		if (strncmp (line, key, strlen (key)) == 0)
		{
			char *end, *at = line + strlen (key);
			*value = strtoull (at, &end, 10);
			found = end != at;
		}
	fclose (file);
	return found;
}

uint64_t
memory_free (void)
{
	uint64_t available, huge = 0, huge_size = 0, limit, used;
	char path[512], dir[256] = "";
	FILE *file;

	if (!read_number ("/proc/meminfo", "MemAvailable:", &available))
		return UINT64_MAX;
	available <<= 10;
	if (read_number ("/proc/meminfo", "HugePages_Free:", &huge) &&
	    read_number ("/proc/meminfo", "Hugepagesize:", &huge_size))
		available += huge * (huge_size << 10);

	file = fopen ("/proc/self/cgroup", "re");
	if (file)
	{
		while (fgets (path, sizeof path, file))
			if (strncmp (path, "0::/", 4) == 0)
			{
				path[strcspn (path, "\n")] = 0;
				snprintf (dir, sizeof dir, "%.200s", path + 3);
			}
		fclose (file);
	}
	/* a limit may stand at any level above */
	while (*dir)
	{
		snprintf (path, sizeof path, "/sys/fs/cgroup%s/memory.max", dir);
		if (read_number (path, "", &limit))
		{
			snprintf (path, sizeof path, "/sys/fs/cgroup%s/memory.current", dir);
			if (read_number (path, "", &used) &&
			    limit - (used < limit ? used : limit) < available)
				available = limit - (used < limit ? used : limit);
		}
		*strrchr (dir, '/') = 0;
	}
	return available;
}

memory_use_t
memory_use (void)
{
	uint64_t rss = 0, reserved = 0, transparent = 0;
	read_number ("/proc/self/status", "VmRSS:", &rss);
	read_number ("/proc/self/status", "HugetlbPages:", &reserved);
	read_number ("/proc/self/smaps_rollup", "AnonHugePages:", &transparent);
	return (memory_use_t){ .resident = (rss + reserved) << 10,
			       .reserved = reserved << 10,
			       .transparent = transparent << 10 };
}

int
memory_node_of_cpu (int cpu)
{
	char path[96];
	int found = -1, nodes = 0;

	for (int node = 0; node < 64; node++)
	{
		snprintf (path, sizeof path, "/sys/devices/system/node/node%d", node);
		if (access (path, F_OK) != 0)
			continue;
		nodes++;
		snprintf (path, sizeof path, "/sys/devices/system/node/node%d/cpu%d", node, cpu);
		if (access (path, F_OK) == 0)
			found = node;
	}
	return nodes > 1 ? found : -1;
}
