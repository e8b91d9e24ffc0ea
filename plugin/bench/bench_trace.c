/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1
#include "bench_trace.h"

#if defined(__x86_64__) && defined(__linux__)

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define TRAP_FLAG   0x100
#define REGIONS	    1024
#define LINES	    (1u << 20) /* places for written lines */
#define STACK	    (64u << 10)
#define OPEN_MAX    8 /* regions that one instruction may store to */
#define SPARE_PAGES 4096u
#define SELF_SIZE   (3 * 4096u)

typedef struct
{
	uintptr_t from, to;
} region_t;

struct trace
{
	region_t region[REGIONS];
	uint32_t n_regions;
	uint32_t open[OPEN_MAX], n_open; /* writable until the instruction is over */
	unsigned who;
	volatile int running;
	bool overflow;
	uint64_t instructions;
	uint64_t line[LINES]; /* address / 64 << 2 | who wrote it as bits; 0: empty */
	uintptr_t next;	      /* the line behind the store's; 0: none */
	uint64_t was[MVT_CACHE_LINE / 8];
	struct sigaction old_segv, old_trap;
	stack_t old_stack;
	uint8_t stack[STACK];
};

static trace_t *tracing; /* the handlers' */

static void
note (trace_t *t, uintptr_t addr)
{
	uint64_t line = addr / MVT_CACHE_LINE;
	uint32_t at = (uint32_t) (line * 0x9e3779b97f4a7c15ull >> 44);

	for (uint32_t tries = 0; tries < LINES; tries++, at = (at + 1) % LINES)
		if (!t->line[at] || t->line[at] >> 2 == line)
		{
			t->line[at] = line << 2 | (t->line[at] & 3) | 1u << t->who;
			return;
		}
	t->overflow = true;
}

/* The handlers call nothing but mprotect: a function's first call would have the loader write. */
static void
copy_line (uint64_t *to, uintptr_t from)
{
	for (unsigned i = 0; i < MVT_CACHE_LINE / 8; i++)
		to[i] = ((const volatile uint64_t *) from)[i];
}

static bool
line_is (const uint64_t *was, uintptr_t now)
{
	uint64_t differ = 0;

	for (unsigned i = 0; i < MVT_CACHE_LINE / 8; i++)
		differ |= was[i] ^ ((const volatile uint64_t *) now)[i];
	return !differ;
}

static uint32_t
region_of (const trace_t *t, uintptr_t addr)
{
	for (uint32_t i = 0; i < t->n_regions; i++)
		if (addr >= t->region[i].from && addr < t->region[i].to)
			return i;
	return MVT_NONE;
}

static void
protect (const trace_t *t, uint32_t i, int how)
{
	mprotect ((void *) t->region[i].from, t->region[i].to - t->region[i].from, how);
}

/* A store: note it, let it through. */
static void
on_fault (int sig, siginfo_t *info, void *context)
{
	trace_t *t = tracing;
	uintptr_t addr = (uintptr_t) info->si_addr;
	uint32_t i = region_of (t, addr);
	uintptr_t next = (addr | (MVT_CACHE_LINE - 1)) + 1;

	(void) context;
	if (i == MVT_NONE || t->n_open == OPEN_MAX)
	{
		/* a real fault: the default action when the instruction is tried again */
		signal (sig, SIG_DFL);
		return;
	}
	note (t, addr);
	t->open[t->n_open++] = i;
	protect (t, i, PROT_READ | PROT_WRITE);
	t->next = next < t->region[i].to ? next : 0;
	if (t->next)
		copy_line (t->was, next);
}

/* An instruction is over. */
static void
on_step (int sig, siginfo_t *info, void *context)
{
	trace_t *t = tracing;
	ucontext_t *u = context;

	(void) sig;
	(void) info;
	t->instructions++;
	if (t->next && !line_is (t->was, t->next))
		note (t, t->next);
	t->next = 0;
	while (t->n_open)
		protect (t, t->open[--t->n_open], t->running ? PROT_READ : PROT_READ | PROT_WRITE);
	if (t->running)
		u->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
	else
		u->uc_mcontext.gregs[REG_EFL] &= ~(greg_t) TRAP_FLAG;
}

static bool
add_region (trace_t *t, uintptr_t from, uintptr_t to)
{
	if (from >= to)
		return true;
	if (t->n_regions == REGIONS)
		return false;
	t->region[t->n_regions++] = (region_t){ from, to };
	return true;
}

/* The writable mappings of the process, but this stack, the trace, and the pages of this thread's
 * control block: the kernel writes there at every signal (rseq). */
static bool
find_regions (trace_t *t)
{
	FILE *maps = fopen ("/proc/self/maps", "re");
	char line[512], mode[8];
	uintptr_t here = (uintptr_t) &maps;
	uintptr_t self = ((uintptr_t) __builtin_thread_pointer () & ~4095ul) - 4096;
	bool fits = true;

	if (!maps)
		return false;
	while (fits && fgets (line, sizeof line, maps))
	{
		uintptr_t from, to;
		if (sscanf (line, "%" SCNxPTR "-%" SCNxPTR " %7s", &from, &to, mode) != 3 ||
		    mode[0] != 'r' || mode[1] != 'w' || mode[3] != 'p' ||
		    (here >= from && here < to) || strstr (line, "[stack]") ||
		    ((uintptr_t) t >= from && (uintptr_t) t < to))
			continue;
		fits = add_region (t, from, to < self ? to : self) &&
		       add_region (t, from > self + SELF_SIZE ? from : self + SELF_SIZE, to);
	}
	fclose (maps);
	return fits;
}

int
trace_new (trace_t **trace)
{
	/* between pages that nobody has, so that it is a mapping of its own */
	size_t size = (sizeof (trace_t) + 4095) / 4096 * 4096 + 2 * SPARE_PAGES;
	uint8_t *p = mmap (NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	trace_t *t = (trace_t *) (void *) (p + SPARE_PAGES);

	*trace = NULL;
	if (p == MAP_FAILED)
		return MVT_ERR_NO_MEMORY;
	if (mprotect (t, size - 2 * SPARE_PAGES, PROT_READ | PROT_WRITE) || !find_regions (t))
	{
		munmap (p, size);
		return MVT_ERR_NO_MEMORY;
	}
	*trace = t;
	return MVT_OK;
}

void
trace_remove (trace_t *trace)
{
	size_t size = (sizeof (trace_t) + 4095) / 4096 * 4096 + 2 * SPARE_PAGES;

	if (trace)
		munmap ((uint8_t *) trace - SPARE_PAGES, size);
}

void
trace_begin (trace_t *trace, unsigned who)
{
	struct sigaction fault = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	struct sigaction step = { .sa_sigaction = on_step, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	stack_t stack = { .ss_sp = trace->stack, .ss_size = sizeof trace->stack };

	tracing = trace;
	trace->who = who;
	trace->running = 1;
	sigfillset (&fault.sa_mask);
	sigfillset (&step.sa_mask);
	sigaltstack (&stack, &trace->old_stack);
	sigaction (SIGSEGV, &fault, &trace->old_segv);
	sigaction (SIGTRAP, &step, &trace->old_trap);
	for (uint32_t i = 0; i < trace->n_regions; i++)
		protect (trace, i, PROT_READ);
	__asm__ volatile ("int3" ::: "memory");
}

void
trace_end (trace_t *trace)
{
	trace->running = 0;
	__asm__ volatile ("nop" ::: "memory");
	for (uint32_t i = 0; i < trace->n_regions; i++)
		protect (trace, i, PROT_READ | PROT_WRITE);
	sigaction (SIGSEGV, &trace->old_segv, NULL);
	sigaction (SIGTRAP, &trace->old_trap, NULL);
	sigaltstack (&trace->old_stack, NULL);
}

void
trace_result (const trace_t *trace, uint64_t packets, bench_trace_t *out)
{
	*out = (bench_trace_t){ .instructions = (double) trace->instructions / (double) packets };
	for (uint32_t i = 0; i < LINES; i++)
	{
		out->lines[0] += trace->line[i] & 1;
		out->lines[1] += trace->line[i] >> 1 & 1;
		out->both += (trace->line[i] & 3) == 3;
	}
}

#else

int
trace_new (trace_t **trace)
{
	*trace = NULL;
	return MVT_ERR_UNSUPPORTED;
}

void
trace_remove (trace_t *trace)
{
	(void) trace;
}

void
trace_begin (trace_t *trace, unsigned who)
{
	(void) trace;
	(void) who;
}

void
trace_end (trace_t *trace)
{
	(void) trace;
}

void
trace_result (const trace_t *trace, uint64_t packets, bench_trace_t *out)
{
	(void) trace;
	(void) packets;
	*out = (bench_trace_t){ 0 };
}

#endif
