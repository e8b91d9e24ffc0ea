/* SPDX-License-Identifier: Apache-2.0
 *
 * Mixes of flows, from captures and made up.
 */
#define _GNU_SOURCE 1
#include "bench_mix.h"
#include "bench_private.h"
#include "engine_private.h"

#include <math.h>
#include <pcap/pcap.h>
#include <stdlib.h>

#define PORT_FIRST 1024u
#define PORTS	   60000u /* flows of a host beyond share them */
#define READ_MAX   (1u << 24)

/* Made up: as many flows, hosts and packets of a flow as a mix of many sites has. */
#define MADE_FLOWS     8192u
#define MADE_HOSTS     3072u
#define MADE_PACKETS   12u /* of a flow, on average */
#define MADE_TCP_SHARE 2u  /* one flow in so many */

/* A packet's two ends, address << 16 | port, the lower one first. */
typedef struct
{
	uint64_t end[2];
	uint32_t at; /* its place in the mix */
	uint8_t from;
	uint8_t proto;
} seen_t;

typedef struct
{
	uint32_t addr, flow;
} begun_t;

static int
by_flow (const void *a, const void *b)
{
	const seen_t *x = a, *y = b;

	for (unsigned i = 0; i < 2; i++)
		if (x->end[i] != y->end[i])
			return x->end[i] < y->end[i] ? -1 : 1;
	if (x->proto != y->proto)
		return x->proto < y->proto ? -1 : 1;
	return x->at < y->at ? -1 : x->at > y->at;
}

static int
by_host (const void *a, const void *b)
{
	const begun_t *x = a, *y = b;

	if (x->addr != y->addr)
		return x->addr < y->addr ? -1 : 1;
	return x->flow < y->flow ? -1 : x->flow > y->flow;
}

/* False: no TCP or UDP packet with ports. */
static bool
see (const uint8_t *p, uint32_t len, seen_t *seen)
{
	uint32_t header = (p[0] & 15u) * 4;
	uint64_t end[2];

	if (header < 20 || len < header + 4 || mvt_load16 (p + 6) & 0x1fff ||
	    (p[9] != MVT_IP_UDP && p[9] != MVT_IP_TCP))
		return false;
	for (unsigned i = 0; i < 2; i++)
		end[i] = (uint64_t) mvt_load32 (p + 12 + 4 * i) << 16 |
			 mvt_load16 (p + header + 2 * i);
	seen->from = end[0] > end[1];
	seen->end[0] = end[seen->from];
	seen->end[1] = end[!seen->from];
	seen->proto = p[9];
	return true;
}

static bench_mix_t *
mix_new (uint32_t packets, uint32_t flows)
{
	bench_mix_t *mix = calloc (1, sizeof *mix);

	if (!mix)
		return NULL;
	mix->info = (bench_mix_info_t){ .packets = packets, .flows = flows };
	mix->packets = calloc (packets, sizeof *mix->packets);
	mix->flows = calloc (flows, sizeof *mix->flows);
	if (mix->packets && mix->flows)
		return mix;
	bench_mix_remove (mix);
	return NULL;
}

void
bench_mix_remove (bench_mix_t *mix)
{
	if (!mix)
		return;
	free (mix->packets);
	free (mix->flows);
	free (mix);
}

const bench_mix_info_t *
bench_mix_info (const bench_mix_t *mix)
{
	return &mix->info;
}

/* Numbers hosts and gives every flow a port. begun: by host. */
static void
give_ports (bench_mix_t *mix, const begun_t *begun)
{
	uint32_t of_host = 0;

	for (uint32_t i = 0; i < mix->info.flows; i++)
	{
		bool same = i && begun[i].addr == begun[i - 1].addr;
		of_host = same ? of_host + 1 : 0;
		mix->info.hosts += !same;
		mix->flows[begun[i].flow].host = mix->info.hosts - 1;
		mix->flows[begun[i].flow].port = (uint16_t) (PORT_FIRST + of_host % PORTS);
	}
}

/* Flows are what has the same two ends; the host that sent the first packet has begun it. */
static bench_mix_t *
mix_of (seen_t *seen, uint32_t n)
{
	begun_t *begun = malloc (n * sizeof *begun);
	bench_mix_t *mix = mix_new (n, n);
	uint64_t first = 0;
	uint32_t flow = 0;

	if (!begun || !mix)
	{
		free (begun);
		bench_mix_remove (mix);
		return NULL;
	}
	qsort (seen, n, sizeof *seen, by_flow);
	for (uint32_t i = 0; i < n; i++)
	{
		const seen_t *s = &seen[i];
		bool same = i && s->end[0] == s[-1].end[0] && s->end[1] == s[-1].end[1] &&
			    s->proto == s[-1].proto;
		if (!same)
		{
			flow = i ? flow + 1 : 0;
			first = s->end[s->from];
			begun[flow] = (begun_t){ (uint32_t) (first >> 16), flow };
			mix->flows[flow].proto = s->proto;
		}
		mix->packets[s->at] = flow << 1 | (s->end[s->from] != first);
	}
	mix->info.flows = flow + 1;
	qsort (begun, mix->info.flows, sizeof *begun, by_host);
	give_ports (mix, begun);
	free (begun);
	return mix;
}

bench_mix_t *
bench_mix_read (const char *path, char *err)
{
	char why[PCAP_ERRBUF_SIZE];
	pcap_t *in = pcap_open_offline (path, why);
	struct pcap_pkthdr *header;
	const u_char *frame;
	bench_mix_t *mix = NULL;
	seen_t *seen = NULL;
	uint32_t n = 0, room = 0;
	bool full = false;
	int got = 0;

	*err = 0;
	if (!in)
	{
		engine_error (err, "%s cannot be read: %s", path, why);
		return NULL;
	}
	while (n < READ_MAX && (got = pcap_next_ex (in, &header, &frame)) == 1)
	{
		uint32_t l3 = capture_l3 (pcap_datalink (in), frame, header->caplen);
		if (n == room)
		{
			room = room ? 2 * room : 65536;
			seen_t *more = realloc (seen, room * sizeof *seen);
			if (!more)
			{
				full = true;
				break;
			}
			seen = more;
		}
		if (l3 == MVT_NONE || header->caplen < l3 + 20 ||
		    !see (frame + l3, header->caplen - l3, &seen[n]))
			continue;
		seen[n].at = n;
		n++;
	}
	if (got == PCAP_ERROR)
		engine_error (err, "%s cannot be read: %s", path, pcap_geterr (in));
	else if (!n && !full)
		engine_error (err, "%s holds no IPv4 packet with TCP or UDP ports", path);
	else if (full || !(mix = mix_of (seen, n)))
		engine_error (err, "%s: no memory for a mix of %u packets", path, n);
	free (seen);
	pcap_close (in);
	return mix;
}

/* Sizes of flows after Zipf, exponent 1; the flows' first packets are spread over the mix. */
bench_mix_t *
bench_mix_make (uint64_t seed)
{
	bench_mix_t *mix = mix_new (MADE_FLOWS * MADE_PACKETS, MADE_FLOWS);
	uint64_t random = seed;

	if (!mix)
		return NULL;
	mix->info.hosts = MADE_HOSTS;
	for (uint32_t i = 0; i < MADE_FLOWS; i++)
		mix->flows[i] = (bench_flow_t){
			.host = i % MADE_HOSTS,
			.port = (uint16_t) (PORT_FIRST + i / MADE_HOSTS),
			.proto = i % MADE_TCP_SHARE ? MVT_IP_UDP : MVT_IP_TCP,
		};
	for (uint32_t i = 0; i < mix->info.packets; i++)
	{
		double u = (double) (bench_random (&random) >> 11) * 0x1p-53;
		uint32_t rank = (uint32_t) (exp (u * log (MADE_FLOWS + 1.0)) - 1.0);
		uint32_t flow = i % MADE_PACKETS ? rank % MADE_FLOWS : i / MADE_PACKETS;
		mix->packets[i] = flow << 1 | (uint32_t) (bench_random (&random) & 1);
	}
	return mix;
}
