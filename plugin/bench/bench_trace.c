/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1
#include "bench_trace.h"

#if defined(__x86_64__) && defined(__linux__)

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>

#define PAGE	    4096
#define TRAP_FLAG   0x100
#define FAULT_WRITE 2 /* of a page fault's error code */
#define REGIONS	    1024
#define LINES	    (1u << 20) /* places for lines; 0: empty */
#define STACK	    (64u << 10)
#define OPEN_MAX    8 /* accesses that one instruction may have stopped for */
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
	uint32_t open[OPEN_MAX], n_open; /* accessible until the instruction is over */
	unsigned who;
	volatile int running;
	bool overflow;
	uint64_t instructions;
	uint64_t line[LINES]; /* address / 64 << 4 | who read it << 2 | who wrote it, as bits */
	uintptr_t next;	      /* the line behind the store's; 0: none */
	uint64_t was[MVT_CACHE_LINE / 8];
	struct sigaction old_segv, old_trap;
	stack_t old_stack;
	uint8_t stack[STACK];
};

/* The handlers', on a page of its own, which is not watched. */
static union
{
	trace_t *trace;
	uint8_t page[PAGE];
} tracing __attribute__ ((aligned (PAGE)));

static void
note (trace_t *t, uintptr_t addr, bool write)
{
	uint64_t line = addr / MVT_CACHE_LINE;
	uint32_t at = (uint32_t) (line * 0x9e3779b97f4a7c15ull >> 44);

	for (uint32_t tries = 0; tries < LINES; tries++, at = (at + 1) % LINES)
		if (!t->line[at] || t->line[at] >> 4 == line)
		{
			t->line[at] =
				line << 4 | (t->line[at] & 15) | 1u << (t->who + (write ? 0 : 2));
			return;
		}
	t->overflow = true;
}

/* The handlers call no function of another library: its address lies where they may not read. */
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
	long rc = SYS_mprotect;

	__asm__ volatile ("syscall"
			  : "+a"(rc)
			  : "D"(t->region[i].from), "S"(t->region[i].to - t->region[i].from),
			    "d"((long) how)
			  : "rcx", "r11", "memory");
}

/* A load or a store: note it, let it through. An instruction that does both faults as a store, or
 * once more. */
static void
on_fault (int sig, siginfo_t *info, void *context)
{
	trace_t *t = tracing.trace;
	const ucontext_t *u = context;
	uintptr_t addr = (uintptr_t) info->si_addr;
	bool write = u->uc_mcontext.gregs[REG_ERR] & FAULT_WRITE;
	uint32_t i = region_of (t, addr);
	uintptr_t next = (addr | (MVT_CACHE_LINE - 1)) + 1;

	if (i == MVT_NONE || t->n_open == OPEN_MAX)
	{
		/* a real fault: the default action when the instruction is tried again */
		signal (sig, SIG_DFL);
		return;
	}
	note (t, addr, write);
	t->open[t->n_open++] = i;
	protect (t, i, write ? PROT_READ | PROT_WRITE : PROT_READ);
	if (!write)
		return;
	t->next = next < t->region[i].to ? next : 0;
	if (t->next)
		copy_line (t->was, next);
}

/* An instruction is over. */
static void
on_step (int sig, siginfo_t *info, void *context)
{
	trace_t *t = tracing.trace;
	ucontext_t *u = context;

	(void) sig;
	(void) info;
	t->instructions++;
	if (t->next && !line_is (t->was, t->next))
		note (t, t->next, true);
	t->next = 0;
	while (t->n_open)
		protect (t, t->open[--t->n_open], t->running ? PROT_NONE : PROT_READ | PROT_WRITE);
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

/* A mapping without a piece that is not watched. */
static bool
add_around (trace_t *t, uintptr_t from, uintptr_t to, uintptr_t hole, uintptr_t end)
{
	return add_region (t, from, to < hole ? to : hole) &&
	       add_region (t, from > end ? from : end, to);
}

/* The writable mappings of the process, but this stack, the trace, what the handlers read, and the
 * pages of this thread's control block: the kernel writes there at every signal (rseq). */
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
		uintptr_t hole = (uintptr_t) &tracing, end = hole + PAGE;
		if (hole < from || hole >= to)
		{
			hole = self;
			end = self + SELF_SIZE;
		}
		fits = add_around (t, from, to, hole, end);
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

	tracing.trace = trace;
	trace->who = who;
	trace->running = 1;
	sigfillset (&fault.sa_mask);
	sigfillset (&step.sa_mask);
	sigaltstack (&stack, &trace->old_stack);
	sigaction (SIGSEGV, &fault, &trace->old_segv);
	sigaction (SIGTRAP, &step, &trace->old_trap);
	for (uint32_t i = 0; i < trace->n_regions; i++)
		protect (trace, i, PROT_NONE);
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
		unsigned wrote = trace->line[i] & 3, read = trace->line[i] >> 2 & 3;
		out->both += wrote == 3;
		out->across += (wrote == 1 && read & 2) || (wrote == 2 && read & 1);
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
