/* SPDX-License-Identifier: Apache-2.0
 *
 * Measuring the core: instances on packets that are made here, outside the timed part. What is
 * timed is what an instance's thread spends on packets: mvt_nat44_process of a full batch and the
 * housekeeping that goes with it.
 */
#define _GNU_SOURCE 1
#include "engine_private.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define INTERRUPTED    4u  /* times the median of a batch */
#define PER_HOST       16u /* mappings; more where HOSTS_MAX hosts do not do */
#define HOSTS_MAX      65536u
#define NEW_SHARE      8u    /* new mappings are timed on top of this many times as many */
#define NEW_MIN	       4096u /* but no fewer than these */
#define TOUCH_BATCHES  1024u
#define TOUCH_AHEAD    16u	   /* packets between two steps of touch */
#define PER_BUCKET_10  62u	   /* tenths of an entry in a bucket of a full index */
#define SLOT	       64u	   /* bytes of a packet in memory */
#define PACKET	       46u	   /* 64 on Ethernet, without its header and checksum */
#define RING	       4u	   /* batches that the packets' memory cycles through */
#define REMOTE	       0xcb007101u /* 203.0.113.1 */
#define REMOTES_MAX    64u
#define REMOTE_PORT    443u
#define INSIDE	       0x0a000000u
#define INSIDE_LEN     14u	   /* of each instance: 64 of them are a /8 */
#define POOL	       0xc6120000u /* 198.18.0.0/15, for benchmarks (RFC 2544) */
#define POOL_MAX       131072u
#define FLOWS_PER_ADDR 32768u /* half of what an address holds */

typedef struct
{
	uint32_t in_addr, ext_addr;
	uint16_t in_port, ext_port;
} flow_key_t;

typedef struct bench
{
	const mvt_engine_config_t *config;
	mvt_bench_case_t *c;
	mvt_shared_t *shared;
	pthread_barrier_t *barrier;
	arena_t arena;
	uint32_t id, n;
	uint32_t n_slots; /* addresses of each instance */
	uint32_t block_bits;
	uint32_t hosts;
	uint32_t n_new; /* mappings that are timed, after c->flows that are not */
	uint64_t random;
	mvt_nat44_t *nat;
	flow_key_t *keys;
	uint8_t *packets;
	mvt_pkt_t pkts[MVT_BATCH_MAX];
	mvt_err_t err;
	pthread_t thread;
	uint64_t *samples; /* clocks of each batch */
	uint32_t n_samples;
	/* out */
	double clocks, touch_clocks; /* of a packet */
	uint64_t done, wrong, setup_wrong;
	uint32_t interrupted;
	double seconds;
} bench_t;

static uint32_t
remotes_of (const mvt_bench_case_t *c)
{
	return c->remotes ? c->remotes : 1;
}

/* Further sessions of a mapping; filtered by address, TCP keeps one for each address too. */
static uint32_t
sessions_of (const mvt_engine_config_t *config, const mvt_bench_case_t *c)
{
	const mvt_policy_desc_t *policy = config->policy;
	uint32_t further = remotes_of (c) - 1;
	uint8_t filter = c->filter;

	if (!filter && policy && policy->n_policies)
		filter = policy->policies[0].filter[c->proto];
	return c->proto == MVT_PROTO_TCP && filter == MVT_FILTER_AD ? further + remotes_of (c)
								    : further;
}

/* ---- packets ---- */

static void
write_packet (bench_t *b, uint8_t *p, const flow_key_t *key, unsigned dir, uint8_t tcp_flags,
	      uint32_t remote)
{
	bool out = dir == MVT_IN2OUT, tcp = b->c->proto == MVT_PROTO_TCP;
	uint32_t sum = 0;

	memset (p, 0, SLOT);
	p[0] = 0x45;
	mvt_store16 (p + 2, PACKET);
	p[8] = 64;
	p[9] = tcp ? MVT_IP_TCP : MVT_IP_UDP;
	mvt_store32 (p + 12, out ? key->in_addr : REMOTE + remote);
	mvt_store32 (p + 16, out ? REMOTE + remote : key->ext_addr);
	mvt_store16 (p + 20, out ? key->in_port : REMOTE_PORT);
	mvt_store16 (p + 22, out ? REMOTE_PORT : key->ext_port);
	if (tcp)
	{
		p[32] = 5 << 4;
		p[33] = tcp_flags;
		mvt_store16 (p + 36, 0x1234); /* updated, never verified: any value but 0 */
	}
	else
	{
		mvt_store16 (p + 24, PACKET - 20);
		mvt_store16 (p + 26, 0x1234);
	}
	for (unsigned i = 0; i < 20; i += 2)
		sum += mvt_load16 (p + i);
	sum = (sum & 0xffff) + (sum >> 16);
	mvt_store16 (p + 10, (uint16_t) ~((sum & 0xffff) + (sum >> 16)));
}

static void
make_key (const bench_t *b, uint32_t flow, flow_key_t *key)
{
	*key = (flow_key_t){
		.in_addr = (INSIDE | b->id << (32 - INSIDE_LEN)) + 1 + flow % b->hosts,
		.in_port = (uint16_t) (1024 + flow / b->hosts),
	};
}

/* A mapping that is not there yet, of a host that is. Hosts come in another order than they did at
 * first, so that their records are not met one after the other: the multiplier is a prime above
 * HOSTS_MAX, hence none of them twice. */
static void
make_new_key (const bench_t *b, uint32_t i, flow_key_t *key)
{
	uint32_t host = (uint32_t) (i * 2654435761ull % b->hosts);
	uint32_t ports = (b->c->flows + b->hosts - 1) / b->hosts;

	make_key (b, (ports + i / b->hosts) * b->hosts + host, key);
}

static void
batch_packet (bench_t *b, uint32_t batch, uint32_t i, const flow_key_t *key, unsigned dir,
	      uint8_t flags, uint32_t remote)
{
	uint8_t *p = b->packets + ((size_t) (batch % RING) * MVT_BATCH_MAX + i) * SLOT;

	write_packet (b, p, key, dir, flags, remote);
	/* as from a device: whoever forwards has verified the header (dispatch.c) */
	b->pkts[i] = (mvt_pkt_t){
		.l3 = p, .len = PACKET, .dir = (uint8_t) dir, .flags = MVT_PKT_CHECKSUM_DONE
	};
}

static uint64_t
count_wrong (const bench_t *b, uint32_t n)
{
	uint64_t wrong = 0;

	for (uint32_t i = 0; i < n; i++)
		wrong += b->pkts[i].verdict != MVT_VERDICT_TRANSLATED;
	return wrong;
}

/* ---- one instance ---- */

/* A batch of the flows from `first` on to or from one remote; keys learn the external endpoints. */
static void
set_up_batch (bench_t *b, uint32_t first, uint32_t n, uint32_t remote, unsigned dir, uint8_t flags)
{
	for (uint32_t i = 0; i < n; i++)
		batch_packet (b, 0, i, &b->keys[first + i], dir, flags, remote);
	mvt_nat44_process (b->nat, b->pkts, n, 0);
	mvt_nat44_background (b->nat, 0, ENGINE_BUSY_LINES);
	b->setup_wrong += count_wrong (b, n);
	for (uint32_t i = 0; i < n && dir == MVT_IN2OUT; i++)
	{
		b->keys[first + i].ext_addr = mvt_load32 (b->pkts[i].l3 + 12);
		b->keys[first + i].ext_port = mvt_load16 (b->pkts[i].l3 + 20);
	}
}

/* All mappings with all their sessions, TCP established by both SYNs. */
static void
set_up (bench_t *b)
{
	for (uint32_t flow = 0; flow < b->c->flows; flow += MVT_BATCH_MAX)
	{
		uint32_t left = b->c->flows - flow;
		uint32_t n = left < MVT_BATCH_MAX ? left : MVT_BATCH_MAX;

		for (uint32_t i = 0; i < n; i++)
			make_key (b, flow + i, &b->keys[flow + i]);
		for (uint32_t remote = 0; remote < remotes_of (b->c); remote++)
		{
			set_up_batch (b, flow, n, remote, MVT_IN2OUT, MVT_TCP_SYN);
			if (b->c->proto == MVT_PROTO_TCP)
				set_up_batch (b, flow, n, remote, MVT_OUT2IN,
					      MVT_TCP_SYN | MVT_TCP_ACK);
		}
	}
}

/* The clock once everything before is done. */
static uint64_t
ordered_cycles (void)
{
#if defined(__x86_64__)
	__builtin_ia32_mfence ();
	__builtin_ia32_lfence ();
#elif defined(__aarch64__)
	__asm__ volatile ("dsb sy; isb" ::: "memory");
#endif
	return engine_cycles ();
}

/* Clocks of one batch. */
static uint64_t
timed (bench_t *b, uint32_t n)
{
	uint64_t before = ordered_cycles ();

	mvt_nat44_process (b->nat, b->pkts, n, 0);
	mvt_nat44_background (b->nat, 0, ENGINE_BUSY_LINES);
	return ordered_cycles () - before;
}

static int
by_value (const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;
	return x < y ? -1 : x > y;
}

/* Clocks of a packet, the mean of all batches but those that took many times the median: they were
 * not alone on their CPU, the time is another process's or the hypervisor's. Begins afresh. */
static double
sum_up (bench_t *b, uint32_t *interrupted)
{
	uint32_t n = b->n_samples;
	uint64_t clocks = 0;

	*interrupted = 0;
	if (n == 0)
		return 0;
	qsort (b->samples, n, sizeof *b->samples, by_value);
	while (b->samples[n - 1] > INTERRUPTED * b->samples[b->n_samples / 2])
		n--;
	for (uint32_t i = 0; i < n; i++)
		clocks += b->samples[i];
	*interrupted = b->n_samples - n;
	b->n_samples = 0;
	return (double) clocks / (double) n / MVT_BATCH_MAX;
}

/* What the memory costs, whatever the program: two lines per packet, the second known by the first,
 * both asked for ahead. There are as many lines of each kind as the instance has buckets and
 * entries. Returns the sum of what was read, so that the reading cannot be left out. */
static uint64_t
touch (const uint64_t *first, const uint64_t *second, const uint32_t *keys)
{
	const uint32_t line = MVT_CACHE_LINE / sizeof *first;
	uint64_t at[MVT_BATCH_MAX], sum = 0;

	for (uint32_t i = 0; i < MVT_BATCH_MAX + 2 * TOUCH_AHEAD; i++)
	{
		uint32_t k = i;
		if (k < MVT_BATCH_MAX)
			__builtin_prefetch (&first[keys[k] * line]);
		k = i - TOUCH_AHEAD;
		if (k < MVT_BATCH_MAX)
		{
			at[k] = first[keys[k] * line];
			__builtin_prefetch (&second[at[k] * line]);
		}
		k -= TOUCH_AHEAD;
		if (k < MVT_BATCH_MAX)
			sum += second[at[k] * line];
	}
	return sum;
}

static void
measure_touch (bench_t *b)
{
	uint32_t flows = b->c->flows, n = (uint32_t) (flows * 10ull / PER_BUCKET_10) + 1;
	size_t size[2] = { (size_t) n * MVT_CACHE_LINE, (size_t) flows * MVT_CACHE_LINE };
	uint64_t *first = mvt_mem_alloc (&b->arena.mem, size[0], MVT_CACHE_LINE);
	uint64_t *second = mvt_mem_alloc (&b->arena.mem, size[1], MVT_CACHE_LINE);
	uint32_t keys[MVT_BATCH_MAX], interrupted;
	volatile uint64_t sum = 0;

	for (size_t i = 0; first && i < n; i++)
		first[i * MVT_CACHE_LINE / sizeof *first] = mvt_random_below (&b->random, flows);
	if (second)
		memset (second, 1, size[1]);
	for (uint32_t batch = 0; first && second && batch < 2 * TOUCH_BATCHES; batch++)
	{
		uint64_t before;

		for (uint32_t i = 0; i < MVT_BATCH_MAX; i++)
			keys[i] = mvt_random_below (&b->random, n);
		before = ordered_cycles ();
		sum += touch (first, second, keys);
		if (batch >= TOUCH_BATCHES)
			b->samples[b->n_samples++] = ordered_cycles () - before;
	}
	b->touch_clocks = sum_up (b, &interrupted);
	mvt_mem_free (&b->arena.mem, first, size[0]);
	mvt_mem_free (&b->arena.mem, second, size[1]);
}

static void
measure (bench_t *b)
{
	mvt_bench_case_t *c = b->c;
	uint32_t warm = c->new_flows ? 0 : c->batches / 8 + RING, flow = 0;
	struct timespec from, to;

	for (uint32_t batch = 0; batch < warm + c->batches; batch++)
	{
		uint64_t clocks;

		if (c->new_flows && flow + MVT_BATCH_MAX > b->n_new)
			break;
		for (uint32_t i = 0; i < MVT_BATCH_MAX; i++)
		{
			flow_key_t key;
			uint32_t which = flow++;
			if (!c->new_flows && flow == c->flows)
				flow = 0;
			if (!c->new_flows && c->random_order)
				which = mvt_random_below (&b->random, c->flows);
			/* inside endpoints are computed, so that a list of them does not push the
			 * table out of the caches: no real packet comes from such a list */
			if (c->new_flows)
				make_new_key (b, which, &key);
			else if (c->direction == MVT_IN2OUT)
				make_key (b, which, &key);
			else
				key = b->keys[which];
			batch_packet (b, batch, i, &key, c->new_flows ? MVT_IN2OUT : c->direction,
				      c->new_flows ? MVT_TCP_SYN : MVT_TCP_ACK,
				      mvt_random_below (&b->random, remotes_of (c)));
		}
		clock_gettime (CLOCK_MONOTONIC, &from);
		clocks = timed (b, MVT_BATCH_MAX);
		clock_gettime (CLOCK_MONOTONIC, &to);
		if (batch < warm)
			continue;
		b->samples[b->n_samples++] = clocks;
		b->seconds += (double) (to.tv_sec - from.tv_sec) +
			      (double) (to.tv_nsec - from.tv_nsec) / 1e9;
		b->done += MVT_BATCH_MAX;
		b->wrong += count_wrong (b, MVT_BATCH_MAX);
	}
	b->clocks = sum_up (b, &b->interrupted);
}

/* The instance with its blocks and c->flows mappings; b->err where it cannot be. */
static void
create (bench_t *b)
{
	const mvt_engine_config_t *c = b->config;
	uint32_t most = b->c->flows + b->n_new, sessions = most * sessions_of (c, b->c);
	uint32_t per_slot = 65536u >> b->block_bits, n = b->n_slots * per_slot;
	uint32_t *blocks = malloc (n * sizeof *blocks);
	uint64_t allocatable[1024];
	mvt_nat44_config_t config = {
		.instance = (uint16_t) b->id,
		.n_instances = (uint16_t) b->n,
		.max_mappings = c->max_mappings > most ? c->max_mappings : most,
		.max_sessions = sessions > c->max_sessions ? sessions : c->max_sessions,
		.max_hosts = c->max_hosts,
		.fragment_timeout = c->fragment_timeout ? c->fragment_timeout : 2,
		.hold_seconds = c->hold_seconds,
		.hold_share_1024 = c->hold_share_1024,
		.by_host = c->by_host,
		.log = c->log,
		.allocatable = allocatable,
		.shared = b->shared,
		.mem = b->arena.mem,
	};

	for (uint32_t i = 0; i < 1024; i++)
		allocatable[i] = c->allocatable ? c->allocatable[i] : i < 16 ? 0 : UINT64_MAX;
	for (unsigned i = 0; i < 4; i++)
		config.seed[i] = engine_mix (&b->random);
	b->nat = blocks ? mvt_nat44_new (&config, &b->err) : NULL;
	if (b->nat)
	{
		mvt_job_t take = { .op = MVT_JOB_TAKE_BLOCKS, .n = n, .out.blocks = blocks };
		for (uint32_t i = 0; i < n; i++)
			blocks[i] = b->id * n + i;
		while (mvt_nat44_job (b->nat, &take, 0) == MVT_ERR_AGAIN)
			;
		set_up (b);
	}
	else if (!b->err)
		b->err = MVT_ERR_NO_MEMORY;
	free (blocks);
}

static void *
bench_main (void *arg)
{
	bench_t *b = arg;

	create (b);
	pthread_barrier_wait (b->barrier); /* the resident set is read here */
	pthread_barrier_wait (b->barrier);
	if (b->nat)
		measure (b);
	pthread_barrier_wait (b->barrier);
	if (b->nat && !b->c->new_flows)
		measure_touch (b);
	return NULL;
}

/* What the mappings of an instance take, page by page. In huge pages it is hidden by what is
 * reserved beside it, so this instance is one of its own, on small ones. */
static void
count_memory (bench_t *b)
{
	arena_t arena = b->arena;
	uint64_t before = memory_use ().resident, after;

	arena_init (&b->arena, -1, arena.budget);
	b->arena.small_pages = true;
	create (b);
	after = memory_use ().resident;
	b->c->memory_bytes = after > before ? after - before : 0;
	mvt_nat44_remove (b->nat);
	b->nat = NULL;
	b->setup_wrong = 0;
	b->arena = arena;
}

/* ---- all of them ---- */

static mvt_policy_t
default_policy (void)
{
	return (mvt_policy_t){ .timeout = { [MVT_TIMEOUT_UDP] = 300,
					    [MVT_TIMEOUT_TCP_ESTABLISHED] = 7440,
					    [MVT_TIMEOUT_TCP_TRANSITORY] = 240,
					    [MVT_TIMEOUT_TCP_INCOMING_SYN] = 6,
					    [MVT_TIMEOUT_ICMP] = 60 },
			       .max_blocks_per_host = 65536 };
}

static mvt_err_t
share (const mvt_engine_config_t *config, uint8_t filter, mvt_shared_t *shared, arena_t *arena,
       uint32_t n, uint32_t n_slots, uint64_t *random)
{
	mvt_policy_t policy = config->policy && config->policy->n_policies
				      ? config->policy->policies[0]
				      : default_policy ();
	uint32_t all = n * n_slots, *slots = malloc (all * sizeof *slots);
	mvt_pool_run_t run = { .first = POOL, .count = all };
	mvt_policy_rule_t inside = { .inside = { .addr = INSIDE, .len = 8 } };
	mvt_home_range_t ranges[MVT_HOME_INSTANCES + 1] = { { .table = MVT_NONE } };
	mvt_policy_desc_t desc = { .policies = &policy,
				   .n_policies = 1,
				   .slots = slots,
				   .n_slots = all,
				   .inside = &inside,
				   .n_inside = 1,
				   .runs = &run,
				   .n_runs = 1 };
	mvt_home_desc_t home = { .ranges = ranges,
				 .n_ranges = n > 1 ? n + 1 : 1,
				 .n_instances = (uint16_t) n };
	mvt_err_t err = MVT_ERR_NO_MEMORY;

	if (!slots)
		return err;
	if (filter)
		memset (policy.filter, filter, sizeof policy.filter);
	for (uint32_t i = 0; i < all; i++)
		slots[i] = i;
	policy.slots_first = 0;
	policy.n_slots = all;
	for (uint32_t i = 0; i < n; i++)
		ranges[i + 1] =
			(mvt_home_range_t){ .prefix = { .addr = INSIDE | i << (32 - INSIDE_LEN),
							.len = INSIDE_LEN },
					    .instance = (uint16_t) i,
					    .table = MVT_NONE };
	for (unsigned i = 0; i < 4; i++)
		desc.secret[i] = home.secret[i] = engine_mix (random);
	home.bucket_key = engine_mix (random);
	shared->frag_key = engine_mix (random);
	shared->address_key = engine_mix (random);
	shared->policy = mvt_policy_set_new (&desc, &arena->mem, &err);
	if (shared->policy)
		shared->home = shared->rules = mvt_home_new (&home, &arena->mem, &err);
	free (slots);
	for (uint32_t i = 0; i < n; i++)
		shared->active[i] = (uint16_t) i;
	shared->n_active = n;
	return shared->home ? MVT_OK : err;
}

static void
run_all (bench_t *b, uint32_t n, mvt_bench_case_t *c)
{
	pthread_barrier_t barrier;
	memory_use_t before = memory_use (), after;

	pthread_barrier_init (&barrier, NULL, n + 1);
	for (uint32_t i = 0; i < n; i++)
	{
		b[i].barrier = &barrier;
		/* n is small and memory is there: a failure would leave the others at the barrier
		 */
		while (pthread_create (&b[i].thread, NULL, bench_main, &b[i]) != 0)
			sched_yield ();
	}
	pthread_barrier_wait (&barrier);
	after = memory_use ();
	c->resident = after.resident - before.resident;
	c->resident_reserved = after.reserved - before.reserved;
	c->resident_transparent = after.transparent - before.transparent;
	pthread_barrier_wait (&barrier);
	pthread_barrier_wait (&barrier);
	for (uint32_t i = 0; i < n; i++)
	{
		pthread_join (b[i].thread, NULL);
		c->clocks_per_packet += b[i].clocks / n;
		c->touch_clocks += b[i].touch_clocks / n;
		c->interrupted += b[i].interrupted;
		c->packets += b[i].done;
		c->wrong += b[i].wrong + b[i].setup_wrong;
		if (b[i].seconds > c->seconds)
			c->seconds = b[i].seconds;
	}
	pthread_barrier_destroy (&barrier);
}

static uint32_t
hosts_of (uint32_t flows)
{
	uint32_t hosts = (flows + PER_HOST - 1) / PER_HOST;

	return hosts < HOSTS_MAX ? hosts : HOSTS_MAX;
}

/* Memory that is not the instances': touched before their growth is measured. */
static bool
prepare (bench_t *b, mvt_bench_case_t *c)
{
	size_t keys = c->flows, samples = c->batches > TOUCH_BATCHES ? c->batches : TOUCH_BATCHES;

	b->keys = malloc (keys * sizeof *b->keys);
	b->packets = NULL;
	if (posix_memalign ((void **) &b->packets, 4096, (size_t) RING * MVT_BATCH_MAX * SLOT))
		b->packets = NULL;
	b->samples = calloc (samples, sizeof *b->samples);
	if (!b->keys || !b->packets || !b->samples)
		return false;
	memset (b->keys, 1, keys * sizeof *b->keys);
	memset (b->packets, 0, (size_t) RING * MVT_BATCH_MAX * SLOT);
	return true;
}

int
mvt_engine_bench (const mvt_engine_config_t *config, mvt_bench_case_t *c, char *err)
{
	uint32_t n = c->instances ? c->instances : 1, block_size = config->block_size;
	uint32_t n_slots = c->flows / FLOWS_PER_ADDR + 1;
	mvt_shared_t *shared = NULL;
	mvt_directory_t *dir = NULL;
	bench_t *b = calloc (n, sizeof *b);
	arena_t arena;
	uint64_t random = c->seed;
	size_t dir_size = 0;
	mvt_err_t error = MVT_ERR_INVALID;

	*err = 0;
	c->clocks_per_packet = c->touch_clocks = c->seconds = 0;
	c->packets = c->wrong = c->memory_bytes = 0;
	c->interrupted = 0;
	if (block_size == 0)
		block_size = 64;
	if (!c->flows || n > MVT_HOME_INSTANCES || (uint64_t) n * n_slots > POOL_MAX ||
	    c->proto > MVT_PROTO_TCP || c->direction > MVT_OUT2IN || c->remotes > REMOTES_MAX ||
	    c->filter > MVT_FILTER_APD || (block_size & (block_size - 1)) || block_size > 32768 ||
	    (c->flows > HOSTS_MAX && c->flows / HOSTS_MAX > 64000))
	{
		engine_error (err,
			      "this case cannot be measured: flows, instances, remotes, protocol "
			      "or block size out of range");
		free (b);
		return error;
	}
	arena_init (&arena, -1, memory_free ());
	dir_size = mvt_directory_footprint (n * n_slots, (uint32_t) __builtin_ctz (block_size));
	shared = mvt_mem_alloc (&arena.mem, sizeof *shared, MVT_CACHE_LINE);
	dir = mvt_mem_alloc (&arena.mem, dir_size, MVT_CACHE_LINE);
	error = MVT_ERR_NO_MEMORY;
	if (b && shared && dir)
	{
		shared->directory = mvt_directory_format (dir, n * n_slots,
							  (uint32_t) __builtin_ctz (block_size));
		error = share (config, c->filter, shared, &arena, n, n_slots, &random);
	}
	for (uint32_t i = 0; i < n && !error; i++)
	{
		b[i].config = config;
		b[i].c = c;
		b[i].shared = shared;
		b[i].id = i;
		b[i].n = n;
		b[i].n_slots = n_slots;
		b[i].block_bits = (uint32_t) __builtin_ctz (block_size);
		b[i].hosts = hosts_of (c->flows);
		if (c->new_flows)
			b[i].n_new =
				c->flows / NEW_SHARE > NEW_MIN ? c->flows / NEW_SHARE : NEW_MIN;
		b[i].random = engine_mix (&random) | 1;
		arena_init (&b[i].arena, -1, arena.budget / n);
		if (!prepare (&b[i], c))
			error = MVT_ERR_NO_MEMORY;
	}
	if (!error && c->count_memory)
		count_memory (&b[0]);
	if (!error)
		error = b[0].err;
	if (!error)
		run_all (b, n, c);
	for (uint32_t i = 0; b && i < n; i++)
	{
		if (!error)
			error = b[i].err;
		mvt_nat44_remove (b[i].nat);
		free (b[i].keys);
		free (b[i].packets);
		free (b[i].samples);
	}
	if (shared)
	{
		mvt_home_remove ((mvt_home_t *) (uintptr_t) shared->home);
		mvt_policy_set_remove ((mvt_policy_set_t *) (uintptr_t) shared->policy);
	}
	mvt_mem_free (&arena.mem, dir, dir_size);
	mvt_mem_free (&arena.mem, shared, sizeof *shared);
	free (b);
	if (error)
		engine_error (err, "%u instances with %u flows cannot be measured: %s", n, c->flows,
			      mvt_err_text (error));
	return error;
}
