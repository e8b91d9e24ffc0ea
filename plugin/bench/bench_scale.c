/* SPDX-License-Identifier: Apache-2.0
 *
 * Instances side by side, each with its own source of packets, on shards or on one pool.
 */
#define _GNU_SOURCE 1
#include "bench_plain.h"
#include "bench_private.h"
#include "bench_trace.h"
#include "engine_private.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define SLOT	      64u
#define PACKET	      46u /* 64 on Ethernet, without its header and checksum */
#define RING	      4u  /* batches that the packets' memory cycles through */
#define PORTS	      16u /* flows of a host, at first */
#define INSIDE	      0x0a000000u
#define POOL	      0xc6120000u /* 198.18.0.0/15, for benchmarks (RFC 2544) */
#define REMOTE	      0xcb007101u /* 203.0.113.1 */
#define PORTS_AN_ADDR 32768u	  /* half of what an address holds */
#define FLOWS_MAX     (1u << 24)
#define TRACED	      32u /* packets of a batch that is traced */
#define PAGE	      4096
#define CHAINS	      8u  /* more than a CPU adds at a time */
#define ROUNDS	      16u /* of all chains, in place of a packet */
#define PROBES	      5u
#define PROBE_TURNS   4u /* 10 us */

/* All begin when the last is ready, and end when the first is done: what is measured is the span in
 * which all run. */
typedef struct
{
	_Alignas (MVT_CACHE_LINE) _Atomic uint32_t ready;
	_Alignas (MVT_CACHE_LINE) _Atomic bool over;
} race_t;

/* On pages of its own: where one ended in the page in which the next begins, the CPU's prefetcher
 * ran on from one's packets into what the other writes for each of its own, and took 5 % of it. */
typedef struct
{
	_Alignas (PAGE) const bench_scale_t *c;
	race_t *race;
	pthread_t thread;
	int cpu;	    /* -1: any */
	mvt_nat44_t *nat;   /* HASHMVT, else NULL */
	plain_nat_t *plain; /* the others */
	uint32_t *hosts;
	uint32_t n_hosts;
	uint32_t made; /* flows so far */
	uint64_t random;
	uint8_t *packets;
	mvt_pkt_t pkts[MVT_BATCH_MAX];
	uint64_t wrong;
	uint32_t batches; /* that were done */
	uint64_t clocks;
	double begin, end, cpu_s;
	uint64_t probe; /* clocks, the longer one of before and after */
} runner_t;

typedef struct
{
	mvt_engine_t *engine;
	plain_pool_t *pool[MVT_HOME_INSTANCES];
	runner_t *runners;
} world_t;

/* ---- packets ---- */

/* Everything of a packet but its source, for the sums too. */
static void
prepare_packets (runner_t *r)
{
	for (uint32_t i = 0; i < RING * MVT_BATCH_MAX; i++)
	{
		uint8_t *p = r->packets + (size_t) i * SLOT;
		p[0] = 0x45;
		mvt_store16 (p + 2, PACKET);
		p[8] = 64;
		p[9] = MVT_IP_UDP;
		mvt_store32 (p + 16, REMOTE);
		mvt_store16 (p + 22, 443);
		mvt_store16 (p + 24, PACKET - 20);
	}
}

/* The packet's source is written, and with it both checksums: the last translation changed them. */
static inline void
write_packet (uint8_t *p, uint32_t addr, uint16_t port)
{
	uint32_t sum = 0x4500u + PACKET + (64u << 8 | MVT_IP_UDP) + (REMOTE >> 16) +
		       (REMOTE & 0xffff) + (addr >> 16) + (addr & 0xffff);

	sum = (sum & 0xffff) + (sum >> 16);
	mvt_store16 (p + 10, (uint16_t) ~((sum & 0xffff) + (sum >> 16)));
	mvt_store32 (p + 12, addr);
	mvt_store16 (p + 20, port);
	mvt_store16 (p + 26, 0x1234); /* updated, never verified: any value but 0 */
}

static void
write_batch (runner_t *r, uint32_t batch, bool all_new)
{
	uint8_t *p = r->packets + (size_t) (batch % RING) * MVT_BATCH_MAX * SLOT;

	for (uint32_t i = 0; i < MVT_BATCH_MAX; i++, p += SLOT)
	{
		bool fresh = all_new || bench_below (&r->random, 1024) < r->c->new_per_1024;
		uint32_t flow = fresh ? r->made++ : bench_below (&r->random, r->made);
		write_packet (p, r->hosts[flow % r->n_hosts],
			      (uint16_t) (1024 + flow / r->n_hosts));
		r->pkts[i] = (mvt_pkt_t){
			.l3 = p, .len = PACKET, .dir = MVT_IN2OUT, .flags = MVT_PKT_CHECKSUM_DONE
		};
	}
}

static inline void
process (runner_t *r, uint32_t n)
{
	if (r->nat)
	{
		mvt_nat44_process (r->nat, r->pkts, n, 0);
		mvt_nat44_background (r->nat, 0, ENGINE_BUSY_LINES);
	}
	else
		plain_nat_process (r->plain, r->pkts, n, 0);
}

/* Independent chains of one-clock operations, which keep all of a CPU's adders busy: what two
 * threads of one core would have to share. The compiler must neither join them to vectors nor leave
 * some out. */
static void
calculate (runner_t *r)
{
	uint64_t x[CHAINS], salt = r->random;

	for (uint32_t k = 0; k < CHAINS; k++)
		x[k] = salt + k;
	for (uint32_t i = 0; i < MVT_BATCH_MAX * ROUNDS; i++)
		for (uint32_t k = 0; k < CHAINS; k++)
		{
			x[k] = k % 2 ? x[k] ^ salt : x[k] + salt;
			__asm__ volatile ("" : "+r"(x[k]));
		}
	r->random += x[0];
}

/* What a piece of arithmetic takes now, the least of a few: an interrupt lengthens one of them, who
 * uses the same core's other thread all. */
static uint64_t
probe (runner_t *r)
{
	uint64_t least = UINT64_MAX;

	for (uint32_t i = 0; i < PROBES; i++)
	{
		uint64_t start = bench_clocks (), took;
		for (uint32_t k = 0; k < PROBE_TURNS; k++)
			calculate (r);
		took = bench_clocks () - start;
		least = took < least ? took : least;
	}
	return least;
}

static void
count_wrong (runner_t *r)
{
	for (uint32_t i = 0; i < MVT_BATCH_MAX; i++)
		r->wrong += r->pkts[i].verdict != MVT_VERDICT_TRANSLATED;
}

static void
make_flows (runner_t *r)
{
	prepare_packets (r);
	while (r->made < r->c->flows)
	{
		write_batch (r, 0, true);
		process (r, MVT_BATCH_MAX);
		count_wrong (r);
	}
}

static void
turn (runner_t *r)
{
	if (r->c->nat == BENCH_NAT_NONE)
	{
		calculate (r);
		return;
	}
	write_batch (r, r->batches, false);
	process (r, MVT_BATCH_MAX);
	count_wrong (r);
}

/* Of the CPU, as far as this thread had it: what other threads and, where the kernel knows, other
 * virtual machines took is left out. */
static double
thread_seconds (void)
{
	struct timespec t;
	clock_gettime (CLOCK_THREAD_CPUTIME_ID, &t);
	return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static void *
runner_main (void *arg)
{
	runner_t *r = arg;
	race_t *race = r->race;
	cpu_set_t cpus;
	bench_watch_t start;
	uint64_t after;

	if (r->cpu >= 0)
	{
		CPU_ZERO (&cpus);
		CPU_SET ((size_t) r->cpu, &cpus);
		pthread_setaffinity_np (pthread_self (), sizeof cpus, &cpus);
	}
	if (r->c->nat != BENCH_NAT_NONE)
		make_flows (r);
	atomic_fetch_add (&race->ready, 1);
	while (atomic_load (&race->ready) < r->c->instances)
		sched_yield (); /* awake, or it would begin late */
	r->probe = probe (r);
	r->cpu_s = thread_seconds ();
	start = bench_start ();
	for (; r->batches < r->c->batches &&
	       !atomic_load_explicit (&race->over, memory_order_relaxed);
	     r->batches++)
		turn (r);
	atomic_store (&race->over, true);
	r->clocks = bench_clocks () - start.clocks;
	r->begin = start.seconds;
	r->end = bench_seconds ();
	r->cpu_s = thread_seconds () - r->cpu_s;
	after = probe (r);
	r->probe = after > r->probe ? after : r->probe;
	return NULL;
}

/* ---- the world ---- */

static uint32_t
flows_in_all (const bench_scale_t *c)
{
	/* new ones are as many as chance has it: twice the mean is out of reach */
	return c->flows + MVT_BATCH_MAX +
	       (uint32_t) ((uint64_t) c->batches * MVT_BATCH_MAX * c->new_per_1024 / 512);
}

static mvt_engine_t *
make_engine (const bench_scale_t *c, int *err)
{
	uint32_t n_slots = c->instances * (flows_in_all (c) / PORTS_AN_ADDR + 1);
	uint32_t *slots = malloc (n_slots * sizeof *slots);
	char sentence[MVT_ENGINE_ERR_LEN];
	mvt_policy_t policy = { .timeout = { [MVT_TIMEOUT_UDP] = 300 }, .n_slots = n_slots };
	mvt_pool_run_t run = { .first = POOL, .count = n_slots };
	mvt_policy_rule_t inside = { .inside = { .addr = INSIDE, .len = 8 } };
	mvt_policy_desc_t desc = { .policies = &policy,
				   .n_policies = 1,
				   .slots = slots,
				   .n_slots = n_slots,
				   .inside = &inside,
				   .n_inside = 1,
				   .runs = &run,
				   .n_runs = 1 };
	mvt_engine_config_t config = { .instances_initial = c->instances,
				       .instances_max = c->instances,
				       .max_mappings = flows_in_all (c),
				       .block_size = 64,
				       .stepped = 1,
				       .pin_threads = 1, /* memory next to each one's CPU */
				       .policy = &desc,
				       .seed = { c->seed, 1, 2, 3 } };
	mvt_engine_t *engine;

	*err = MVT_ERR_NO_MEMORY;
	if (!slots)
		return NULL;
	for (uint32_t i = 0; i < n_slots; i++)
		slots[i] = i;
	engine = mvt_engine_new (&config, err, sentence);
	free (slots);
	return engine;
}

/* Hosts of 10/8 are dealt to the runners as the home map has them. */
static bool
deal_hosts (world_t *w, uint32_t n)
{
	uint16_t table[MVT_HOME_BUCKETS] = { 0 };
	uint32_t want = w->runners[0].c->flows / PORTS + 1, full = 0;

	if (w->engine && n > 1)
		mvt_engine_bucket_table (w->engine, table);
	for (uint32_t i = 0; i < n; i++)
		if (!(w->runners[i].hosts = malloc (want * sizeof *w->runners[i].hosts)))
			return false;
	for (uint32_t addr = INSIDE + 1; full < n; addr++)
	{
		uint32_t i = w->engine ? table[mvt_engine_bucket (w->engine, 0, addr)] : addr % n;
		runner_t *r = &w->runners[i];
		if (r->n_hosts == want)
			continue;
		r->hosts[r->n_hosts++] = addr;
		full += r->n_hosts == want;
	}
	return true;
}

static void
world_exit (world_t *w, uint32_t n)
{
	for (uint32_t i = 0; w->runners && i < n; i++)
	{
		plain_nat_remove (w->runners[i].plain);
		free (w->runners[i].hosts);
		free (w->runners[i].packets);
	}
	for (uint32_t i = 0; i < n; i++)
		plain_pool_remove (w->pool[i]);
	mvt_engine_free (w->engine);
	free (w->runners);
}

static bool
make_plain (world_t *w, const bench_scale_t *c, uint32_t i)
{
	bool own = c->nat == BENCH_NAT_OWN;
	uint32_t ports = flows_in_all (c) * (own ? 1 : c->instances);

	if (own || i == 0)
		w->pool[i] = plain_pool_new (c->nat, ports);
	plain_pool_t *pool = w->pool[own ? i : 0];
	if (pool)
		w->runners[i].plain = plain_nat_new (pool, flows_in_all (c), c->seed + i);
	return w->runners[i].plain != NULL;
}

static int
world_init (world_t *w, const bench_scale_t *c)
{
	int err = MVT_ERR_NO_MEMORY;

	*w = (world_t){ 0 };
	if (c->nat >= BENCH_NAT_N || !c->instances || c->instances > MVT_HOME_INSTANCES ||
	    !c->flows || c->flows > FLOWS_MAX || c->new_per_1024 > 1024 || !c->batches ||
	    flows_in_all (c) / (c->flows / PORTS + 1) > 60000)
		return MVT_ERR_INVALID;
	if (posix_memalign ((void **) &w->runners, PAGE, c->instances * sizeof *w->runners))
		return err;
	memset (w->runners, 0, c->instances * sizeof *w->runners);
	if (c->nat == BENCH_NAT_HASHMVT && !(w->engine = make_engine (c, &err)))
		return err;
	for (uint32_t i = 0; i < c->instances; i++)
	{
		runner_t *r = &w->runners[i];
		r->c = c;
		r->cpu = engine_cpu_of (i);
		r->random = c->seed + 1000 + i;
		if (posix_memalign ((void **) &r->packets, PAGE, RING * MVT_BATCH_MAX * SLOT))
			return MVT_ERR_NO_MEMORY;
		memset (r->packets, 0, RING * MVT_BATCH_MAX * SLOT);
		if (w->engine)
			r->nat = w->engine->instance[i].nat;
		else if (c->nat != BENCH_NAT_NONE && !make_plain (w, c, i))
			return MVT_ERR_NO_MEMORY;
	}
	return deal_hosts (w, c->instances) ? MVT_OK : MVT_ERR_NO_MEMORY;
}

/* What the runners did, together and each. */
static void
sum_up (const world_t *w, bench_scale_t *c)
{
	double begin = w->runners[0].begin, end = w->runners[0].end, seconds = 0, clocks = 0;

	for (uint32_t i = 0; i < c->instances; i++)
	{
		const runner_t *r = &w->runners[i];
		double others = 1 - r->cpu_s / (r->end - r->begin);
		begin = r->begin < begin ? r->begin : begin;
		end = r->end > end ? r->end : end;
		clocks += (double) r->clocks;
		seconds += r->end - r->begin;
		c->disturbed = others > c->disturbed ? others : c->disturbed;
		c->probe = r->probe > c->probe ? r->probe : c->probe;
		c->packets += (uint64_t) r->batches * MVT_BATCH_MAX;
		c->created += r->made;
		c->wrong += r->wrong;
	}
	c->mpps = (double) c->packets / (end - begin) / 1e6;
	c->cost = (bench_cost_t){ .clocks = clocks / (double) c->packets,
				  .ns = seconds * 1e9 / (double) c->packets };
}

int
bench_scale (bench_scale_t *c)
{
	race_t race = { 0 };
	world_t w;
	int err = world_init (&w, c);

	c->mpps = c->disturbed = 0;
	c->packets = c->created = c->wrong = c->probe = 0;
	c->cost = (bench_cost_t){ 0 };
	for (uint32_t i = 0; i < c->instances && !err; i++)
	{
		w.runners[i].race = &race;
		/* they are few: one that could not be made would leave the others waiting */
		while (pthread_create (&w.runners[i].thread, NULL, runner_main, &w.runners[i]))
			sched_yield ();
	}
	for (uint32_t i = 0; i < c->instances && !err; i++)
		pthread_join (w.runners[i].thread, NULL);
	if (!err)
		sum_up (&w, c);
	world_exit (&w, c->instances);
	return err;
}

int
bench_scale_trace (const bench_scale_t *c, bench_trace_t *out)
{
	trace_t *trace = NULL;
	world_t w;
	bool good = c->instances == 2 && c->nat != BENCH_NAT_NONE;
	int err = good ? world_init (&w, c) : MVT_ERR_INVALID;

	if (!good)
		return err;
	*out = (bench_trace_t){ 0 };
	for (uint32_t i = 0; i < 2 && !err; i++)
		make_flows (&w.runners[i]);
	if (!err)
		err = trace_new (&trace);
	for (uint32_t batch = 0; batch < 2 * c->batches && !err; batch++)
	{
		runner_t *r = &w.runners[batch % 2];
		write_batch (r, batch / 2, false);
		trace_begin (trace, batch % 2);
		process (r, TRACED);
		trace_end (trace);
	}
	if (!err)
		trace_result (trace, (uint64_t) c->batches * 2 * TRACED, out);
	trace_remove (trace);
	world_exit (&w, 2);
	return err;
}

/* ---- the agent's part ---- */

static int
by_value (const void *a, const void *b)
{
	double x = *(const double *) a, y = *(const double *) b;
	return x < y ? -1 : x > y;
}

static double
median (double *samples, uint32_t n)
{
	qsort (samples, n, sizeof *samples, by_value);
	return samples[n / 2];
}

/* One turn as instance_main does it, with a look at the clock between its parts. */
static void
timed_turn (runner_t *r, instance_t *instance, uint32_t batch, uint64_t at[6])
{
	at[0] = bench_clocks ();
	mail_turn (instance, 0);
	at[1] = bench_clocks ();
	write_batch (r, batch, false);
	mvt_nat44_process (r->nat, r->pkts, MVT_BATCH_MAX, 0);
	count_wrong (r);
	at[2] = bench_clocks ();
	mvt_nat44_background (r->nat, 0, ENGINE_BUSY_LINES);
	at[3] = bench_clocks ();
	count_add (&instance->count.loops, 1);
	uint64_t now = engine_cycles (), spent = engine_cycles () - now;
	count_add (&instance->count.cycles_busy, spent);
	count_add (&instance->count.cycles_total, spent);
	at[4] = bench_clocks ();
	at[5] = bench_clocks (); /* what looking at the clock costs */
}

int
bench_scale_agent (const bench_scale_t *c, bench_agent_t *out)
{
	bool good = c->nat == BENCH_NAT_HASHMVT && c->instances == 1;
	double *samples[5] = { NULL };
	world_t w;
	int err = good ? world_init (&w, c) : MVT_ERR_INVALID;

	if (!good)
		return err;
	for (unsigned k = 0; k < 5 && !err; k++)
		if (!(samples[k] = malloc (c->batches * sizeof **samples)))
			err = MVT_ERR_NO_MEMORY;
	if (!err)
		make_flows (&w.runners[0]);
	for (uint32_t batch = 0; batch < c->batches && !err; batch++)
	{
		uint64_t at[6];
		timed_turn (&w.runners[0], &w.engine->instance[0], batch, at);
		for (unsigned k = 0; k < 5; k++)
			samples[k][batch] = (double) (at[k + 1] - at[k]);
	}
	if (!err)
	{
		double clock = median (samples[4], c->batches), part[4];
		for (unsigned k = 0; k < 4; k++)
		{
			part[k] = median (samples[k], c->batches) - clock;
			part[k] = part[k] > 0 ? part[k] : 0;
		}
		*out = (bench_agent_t){ .turn = part[0] + part[1] + part[2] + part[3],
					.mailbox = part[0],
					.sweep = part[2],
					.load = part[3] };
	}
	for (unsigned k = 0; k < 5; k++)
		free (samples[k]);
	world_exit (&w, 1);
	return err;
}
