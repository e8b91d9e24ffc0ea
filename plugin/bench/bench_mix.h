/* SPDX-License-Identifier: Apache-2.0
 *
 * A mix of flows: which flow each of many packets belongs to, in their order, and nothing else of
 * them. Immutable once it was made.
 */
#ifndef BENCH_MIX_H
#define BENCH_MIX_H

#include "bench.h"

typedef struct
{
	uint32_t host;
	uint16_t port; /* of the host's: each flow has its own */
	uint8_t proto; /* MVT_IP_UDP or MVT_IP_TCP */
} bench_flow_t;

struct bench_mix
{
	bench_mix_info_t info;
	uint32_t *packets; /* flow << 1 | 1 when it goes to the host that began the flow */
	bench_flow_t *flows;
};

#endif /* BENCH_MIX_H */
