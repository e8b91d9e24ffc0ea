/* SPDX-License-Identifier: Apache-2.0
 *
 * Which lines of memory are written and read, and how many instructions it takes, exactly: the CPU
 * stops after every instruction (trap flag), and all writable memory is out of reach meanwhile, so
 * that each load and each store faults, is noted, and is let through. Stores of a value that was
 * there already count as well, which a comparison of memory before and after would miss: a lock,
 * for one.
 *
 * Watched is every private writable mapping of the process but the calling thread's stack, its
 * control block, and the trace's own. A store that crosses into the next line is noted there if it
 * changed it; a load that does is noted in the first alone. x86-64 Linux; a microsecond or two per
 * instruction, a hundred on some virtual machines, so for a few hundred packets.
 */
#ifndef BENCH_TRACE_H
#define BENCH_TRACE_H

#include "bench.h"

typedef struct trace trace_t;

/* Everything that is to be watched is mapped already. 0, MVT_ERR_UNSUPPORTED, MVT_ERR_NO_MEMORY. */
int trace_new (trace_t **trace);
void trace_remove (trace_t *trace);

/* What this thread does between the two is instance `who`'s, 0 or 1. => no system call */
void trace_begin (trace_t *trace, unsigned who);
void trace_end (trace_t *trace);

void trace_result (const trace_t *trace, uint64_t packets, bench_trace_t *out);

#endif /* BENCH_TRACE_H */
