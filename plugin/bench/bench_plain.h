/* SPDX-License-Identifier: Apache-2.0
 *
 * A plain NAT to compare with: what a good engineer writes who lets all threads share one pool of
 * external ports. It stands for the paper's VigorNAT, whose code is not at hand: like that one it
 * keeps the ports in the order of their last use, so that the oldest can expire.
 *
 * Flows go to threads by host, so each thread has an index of its own over the pool's entries, and
 * an entry is one cache line. The threads share the pool and nothing else:
 *   OWN     each thread has its own pool, without lock: what the others are to be compared with
 *   LOCK    one pool under a spinlock, which every packet takes to move its port to the young end
 *   ATOMIC  one pool without lock or order: free ports are bits taken by compare-and-swap,
 * beginning where a shared counter points; a hit writes nothing but its entry Only what an in2out
 * UDP packet needs is there; nothing expires while it is measured. So it does less than the core,
 * and its figures flatter it.
 */
#ifndef BENCH_PLAIN_H
#define BENCH_PLAIN_H

#include "bench.h"
#include "mvt_packet.h"

typedef struct plain_pool plain_pool_t;
typedef struct plain_nat plain_nat_t;

/* => nat is none of HashMVT; NULL: no memory */
plain_pool_t *plain_pool_new (bench_nat_t nat, uint32_t ports);
void plain_pool_remove (plain_pool_t *pool);

plain_nat_t *plain_nat_new (plain_pool_t *pool, uint32_t max_flows, uint64_t seed);
void plain_nat_remove (plain_nat_t *nat);

/* As mvt_nat44_process, for in2out alone. */
void plain_nat_process (plain_nat_t *nat, mvt_pkt_t *pkts, uint32_t n, uint32_t now);

#endif /* BENCH_PLAIN_H */
