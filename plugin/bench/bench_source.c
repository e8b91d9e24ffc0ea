/* SPDX-License-Identifier: Apache-2.0
 *
 * A mix of flows as what a NIC would bring to each instance's queue, at a rate.
 *
 * Each instance's thread walks the whole mix and takes what is its own: so no line is shared but
 * the flows' outside endpoints, each of which is written once per life of its host. What is its
 * own it finds out anew a few times per second, since rules change and hosts come and go.
 */
#define _GNU_SOURCE 1
#include "bench_mix.h"
#include "bench_private.h"
#include "engine_private.h"

#include <stdlib.h>
#include <string.h>

#define PACKET	    46u /* 64 on Ethernet, without its header and checksum */
#define STRIDE	    (sizeof (buffer_t) + MVT_CACHE_LINE)
#define BUFFERS	    4096u	/* of each instance */
#define RING	    4096u	/* packets that a queue holds */
#define LOOK_S	    0.2		/* between two looks at which packets are an instance's own */
#define INSIDE	    0x0a000000u /* 10.0.0.0/12 */
#define ADDRESSES   (1u << 20)
#define REMOTE	    0xcb007100u /* 203.0.113.0/24 */
#define REMOTE_PORT 443u

enum
{
	LENT_OPENING = 2 /* its translation is the flow's outside endpoint, else 1 */
};

/* An instance's. */
typedef struct
{
	_Alignas (MVT_CACHE_LINE) uint32_t *mine; /* places in the mix */
	uint32_t n_mine, next;
	uint8_t *own; /* [flows] */
	bool looked;
	uint32_t epoch;	      /* of the last look */
	uint64_t version;     /* of the rules then */
	double last, waiting; /* seconds; packets that came and were not taken */
	double part;	      /* of an offered packet, not counted yet */
	uint8_t *buffers;
	uint32_t buffer;
	_Atomic uint64_t offered, lost;
	_Alignas (MVT_CACHE_LINE) _Atomic uint64_t translated, refused;
} queue_of_t;

struct bench_source
{
	source_t hooks; /* first: the engine knows no more */
	mvt_engine_t *engine;
	const bench_mix_t *mix;
	double lifetime, start;
	_Atomic uint64_t rate;
	_Atomic uint64_t *outside; /* [flows]: address << 32 | port << 16 | life, 0: none yet */
	uint32_t n;
	queue_of_t *queue;
};

/* ---- hosts ---- */

/* Which of its lives a host is in, from 1; hosts begin theirs one after the other. Whoever looks in
 * the same epoch sees the same. */
static uint32_t
life_of (const bench_source_t *s, uint32_t host, uint32_t epoch)
{
	double phase = (double) host / s->mix->info.hosts;
	return 1 + (uint32_t) (epoch * LOOK_S / s->lifetime + phase);
}

/* A host and those that come in its place are neighbours: what weighs much in one part of the
 * address space goes on weighing much there, as it does at a customer's. */
static uint32_t
address_of (const bench_source_t *s, uint32_t host, uint32_t life)
{
	uint32_t hosts = s->mix->info.hosts, each = hosts < ADDRESSES ? ADDRESSES / hosts : 1;
	return INSIDE | ((host * each + life % each) & (ADDRESSES - 1));
}

static uint8_t
proto_of (const bench_flow_t *flow)
{
	return flow->proto == MVT_IP_TCP ? MVT_PROTO_TCP : MVT_PROTO_UDP;
}

/* What the dispatcher's rules send to this instance, from the place in the mix on where it was. */
static void
look (bench_source_t *s, queue_of_t *q, uint16_t id, const mvt_home_t *rules)
{
	uint32_t at = q->n_mine ? q->mine[q->next] : 0, n = 0;

	for (uint32_t i = 0; i < s->mix->info.flows; i++)
	{
		const bench_flow_t *f = &s->mix->flows[i];
		uint32_t addr = address_of (s, f->host, life_of (s, f->host, q->epoch));
		q->own[i] = mvt_home_instance (rules, 0, addr, f->port, proto_of (f)) == id;
	}
	q->next = 0;
	for (uint32_t i = 0; i < s->mix->info.packets; i++)
	{
		if (!q->own[s->mix->packets[i] >> 1])
			continue;
		if (i <= at)
			q->next = n;
		q->mine[n++] = i;
	}
	q->n_mine = n;
}

/* Look when it is time, or when the rules have changed: as long as a NIC takes no time for it. */
static void
keep_looking (bench_source_t *s, queue_of_t *q, uint16_t id)
{
	const mvt_home_t *rules =
		atomic_load_explicit (&s->engine->shared.rules, memory_order_acquire);
	double now = bench_seconds ();
	uint32_t epoch = (uint32_t) ((now - s->start) / LOOK_S);

	if (mvt_likely (q->looked && epoch == q->epoch && mvt_home_version (rules) == q->version))
		return;
	q->looked = true;
	q->epoch = epoch;
	q->version = mvt_home_version (rules);
	look (s, q, id, rules);
	q->last += bench_seconds () - now;
}

/* ---- packets ---- */

static void
write_packet (uint8_t *p, const bench_flow_t *flow, const uint32_t addr[2], const uint16_t port[2],
	      bool opening)
{
	static const uint8_t header[20] = { 0x45, 0, 0, PACKET, [8] = 64 };

	memcpy (p, header, sizeof header);
	p[9] = flow->proto;
	mvt_store16 (p + 10, 0x1234); /* checksums are updated, never verified here: not 0 */
	mvt_store32 (p + 12, addr[0]);
	mvt_store32 (p + 16, addr[1]);
	mvt_store16 (p + 20, port[0]);
	mvt_store16 (p + 22, port[1]);
	memset (p + 24, 0, PACKET - 24);
	if (flow->proto == MVT_IP_UDP)
	{
		mvt_store16 (p + 24, PACKET - 20);
		mvt_store16 (p + 26, 0x1234);
		return;
	}
	p[32] = 5 << 4;
	p[33] = opening ? MVT_TCP_SYN : MVT_TCP_ACK;
	mvt_store16 (p + 36, 0x1234);
}

/* The next packet of the queue. A flow begins from inside, and what its answers are addressed to
 * is known once its first packet was translated. */
static void
next_packet (bench_source_t *s, queue_of_t *q, buffer_t *buffer, mvt_pkt_t *pkt)
{
	uint32_t entry = s->mix->packets[q->mine[q->next]], id = entry >> 1;
	const bench_flow_t *flow = &s->mix->flows[id];
	uint32_t life = life_of (s, flow->host, q->epoch);
	uint64_t outside = atomic_load_explicit (&s->outside[id], memory_order_relaxed);
	bool opening = !outside || (outside & 0xffff) != (life & 0xffff);
	uint32_t remote = REMOTE + (id & 0xff);

	q->next = q->next + 1 == q->n_mine ? 0 : q->next + 1;
	*pkt = (mvt_pkt_t){ .l3 = buffer->data,
			    .ref = (uintptr_t) buffer,
			    .len = PACKET,
			    .dir = MVT_IN2OUT,
			    .flags = MVT_PKT_CHECKSUM_DONE };
	if (entry & 1 && !opening)
	{
		pkt->dir = MVT_OUT2IN;
		write_packet (buffer->data, flow,
			      (uint32_t[]){ remote, (uint32_t) (outside >> 32) },
			      (uint16_t[]){ REMOTE_PORT, (uint16_t) (outside >> 16) }, false);
	}
	else
	{
		uint32_t addr = address_of (s, flow->host, life);
		write_packet (buffer->data, flow, (uint32_t[]){ addr, remote },
			      (uint16_t[]){ flow->port, REMOTE_PORT }, opening);
	}
	buffer->cookie = (uint64_t) id << 16 | (life & 0xffff);
	atomic_store_explicit (&buffer->lent, opening ? LENT_OPENING : 1, memory_order_relaxed);
}

/* NULL: all of them are on their way at other instances. */
static buffer_t *
free_buffer (queue_of_t *q)
{
	for (uint32_t i = 0; i < BUFFERS; i++)
	{
		buffer_t *buffer = (buffer_t *) (void *) (q->buffers + q->buffer * STRIDE);
		q->buffer = (q->buffer + 1) % BUFFERS;
		if (!atomic_load_explicit (&buffer->lent, memory_order_acquire))
			return buffer;
	}
	return NULL;
}

/* ---- what the engine calls ---- */

/* Let come what has come since; how many packets wait. */
static uint32_t
arrive (const bench_source_t *s, queue_of_t *q, double now)
{
	uint64_t rate = atomic_load_explicit (&s->rate, memory_order_relaxed), whole;
	double came;

	if (rate == BENCH_RATE_MOST && q->n_mine)
		came = MVT_BATCH_MAX - q->waiting;
	else
		came = rate == BENCH_RATE_MOST
			       ? 0
			       : (now - q->last) * (double) rate * q->n_mine / s->mix->info.packets;
	q->last = now;
	q->waiting += came;
	q->part += came;
	whole = (uint64_t) q->part;
	q->part -= (double) whole;
	count_add (&q->offered, whole);
	if (q->waiting > RING)
	{
		uint64_t lost = (uint64_t) (q->waiting - RING);
		count_add (&q->lost, lost);
		q->waiting -= (double) lost;
	}
	return rate && q->n_mine ? (uint32_t) q->waiting : 0;
}

static uint32_t
take (source_t *source, instance_t *instance, mvt_pkt_t *pkts, uint32_t max)
{
	bench_source_t *s = (bench_source_t *) (void *) source;
	queue_of_t *q = &s->queue[instance->id];
	uint32_t n = 0, waiting;

	keep_looking (s, q, instance->id);
	waiting = arrive (s, q, bench_seconds ());
	if (waiting < MVT_BATCH_MAX)
		return 0;
	for (; n < max && n < waiting; n++)
	{
		buffer_t *buffer = free_buffer (q);
		if (!buffer)
			break;
		next_packet (s, q, buffer, &pkts[n]);
	}
	q->waiting -= n;
	return n;
}

static void
done (source_t *source, instance_t *instance, const mvt_pkt_t *pkt)
{
	bench_source_t *s = (bench_source_t *) (void *) source;
	queue_of_t *q = &s->queue[instance->id];
	buffer_t *buffer = (buffer_t *) (uintptr_t) pkt->ref;
	bool translated = pkt->verdict == MVT_VERDICT_TRANSLATED;

	count_add (translated ? &q->translated : &q->refused, 1);
	if (translated &&
	    atomic_load_explicit (&buffer->lent, memory_order_relaxed) == LENT_OPENING)
		atomic_store_explicit (&s->outside[buffer->cookie >> 16],
				       (uint64_t) mvt_load32 (buffer->data + 12) << 32 |
					       (uint64_t) mvt_load16 (buffer->data + 20) << 16 |
					       (buffer->cookie & 0xffff),
				       memory_order_relaxed);
	atomic_store_explicit (&buffer->lent, 0, memory_order_release);
}

/* ---- from outside ---- */

bench_source_t *
bench_source_new (mvt_engine_t *engine, const bench_mix_t *mix, double lifetime_s)
{
	bench_source_t *s = calloc (1, sizeof *s);
	bool good = s != NULL;

	if (!good)
		return NULL;
	*s = (bench_source_t){ .hooks = { take, done },
			       .engine = engine,
			       .mix = mix,
			       .lifetime = lifetime_s,
			       .start = bench_seconds (),
			       .n = engine->n };
	s->outside = calloc (mix->info.flows, sizeof *s->outside);
	if (posix_memalign ((void **) &s->queue, MVT_CACHE_LINE, s->n * sizeof *s->queue))
		s->queue = NULL;
	good = s->outside && s->queue;
	if (s->queue)
		memset (s->queue, 0, s->n * sizeof *s->queue);
	for (uint32_t i = 0; good && i < s->n; i++)
	{
		queue_of_t *q = &s->queue[i];
		q->last = s->start;
		q->own = malloc (mix->info.flows);
		q->mine = malloc (mix->info.packets * sizeof *q->mine);
		if (posix_memalign ((void **) &q->buffers, MVT_CACHE_LINE, BUFFERS * STRIDE))
			q->buffers = NULL;
		good = q->own && q->mine && q->buffers;
		if (good)
			memset (q->buffers, 0, BUFFERS * STRIDE);
	}
	if (!good)
	{
		bench_source_remove (s);
		return NULL;
	}
	atomic_store_explicit (&engine->source, &s->hooks, memory_order_release);
	for (uint32_t i = 0; i < engine->n; i++)
		park_wake (&engine->instance[i].park);
	return s;
}

void
bench_source_remove (bench_source_t *s)
{
	if (!s)
		return;
	for (uint32_t i = 0; s->queue && i < s->n; i++)
	{
		free (s->queue[i].own);
		free (s->queue[i].mine);
		free (s->queue[i].buffers);
	}
	free (s->queue);
	free ((void *) s->outside);
	free (s);
}

void
bench_source_rate (bench_source_t *s, uint64_t rate)
{
	atomic_store_explicit (&s->rate, rate, memory_order_relaxed);
}

double
bench_source_read (const bench_source_t *s, bench_source_count_t *counts, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		counts[i] = (bench_source_count_t){
			.offered = count_get (&s->queue[i].offered),
			.lost = count_get (&s->queue[i].lost),
			.translated = count_get (&s->queue[i].translated),
			.refused = count_get (&s->queue[i].refused),
		};
	return bench_seconds ();
}
