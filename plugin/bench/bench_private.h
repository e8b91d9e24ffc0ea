/* SPDX-License-Identifier: Apache-2.0
 *
 * What the experiments share: clocks and random numbers.
 */
#ifndef BENCH_PRIVATE_H
#define BENCH_PRIVATE_H

#include <time.h>

#include "bench.h"

static inline double
bench_seconds (void)
{
	struct timespec t;
	clock_gettime (CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

/* The time stamp counter once everything before is done. */
static inline uint64_t
bench_clocks (void)
{
#if defined(__x86_64__)
	__builtin_ia32_mfence ();
	__builtin_ia32_lfence ();
	return __builtin_ia32_rdtsc ();
#elif defined(__aarch64__)
	uint64_t t;
	__asm__ volatile ("dsb sy; isb; mrs %0, cntvct_el0" : "=r"(t)::"memory");
	return t;
#else
	return (uint64_t) (bench_seconds () * 1e9);
#endif
}

typedef struct
{
	uint64_t clocks;
	double seconds;
} bench_watch_t;

static inline bench_watch_t
bench_start (void)
{
	return (bench_watch_t){ .seconds = bench_seconds (), .clocks = bench_clocks () };
}

/* Time since start, per item. */
static inline bench_cost_t
bench_stop (bench_watch_t start, uint64_t items)
{
	uint64_t clocks = bench_clocks () - start.clocks;
	double seconds = bench_seconds () - start.seconds;
	return (bench_cost_t){ .clocks = (double) clocks / (double) items,
			       .ns = seconds * 1e9 / (double) items };
}

/* splitmix64 */
static inline uint64_t
bench_random (uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static inline uint32_t
bench_below (uint64_t *state, uint32_t n)
{
	return (uint32_t) (((bench_random (state) >> 32) * n) >> 32);
}

#endif /* BENCH_PRIVATE_H */
