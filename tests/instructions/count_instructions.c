/* SPDX-License-Identifier: Apache-2.0
 *
 * A fixed stretch of the packet path, for an instruction counter (scripts/check-instructions).
 *
 *   count_instructions CASE    does CASE; what counts is done inside counted(). Prints the packets
 *                              that went through it
 *   count_instructions         prints the compiler and the names of the cases
 *
 * Everything is the same in every run: seeds, flows, their order. Exit code 1 when a packet was not
 * translated, since what was counted is another path then.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nat44.h"

#define HOSTS	     1024u
#define FLOWS	     (16 * HOSTS)
#define BATCHES	     64u
#define SLOTS	     2u /* pool addresses; half their ports are used */
#define BLOCK_BITS   6u
#define BLOCKS	     (SLOTS << (16 - BLOCK_BITS))
#define PACKET	     46u
#define PACKET_SPACE 64u
#define INSIDE	     0x0a000000u
#define POOL	     0xc6120000u
#define REMOTE	     0xcb007101u
#define REMOTE_PORT  443u
#define LINES	     8u /* of housekeeping per batch, as a busy host asks for */

enum
{
	SYN = 0x02,
	ACK = 0x10
};

typedef struct
{
	const char *name;
	uint8_t proto, dir, fresh, remotes;
} case_t;

static const case_t cases[] = {
	{ "in2out_hit", MVT_PROTO_UDP, MVT_IN2OUT, 0, 1 },
	{ "out2in_hit", MVT_PROTO_UDP, MVT_OUT2IN, 0, 1 },
	{ "tcp_hit", MVT_PROTO_TCP, MVT_IN2OUT, 0, 1 },
	{ "sessions_hit", MVT_PROTO_TCP, MVT_IN2OUT, 0, 4 },
	{ "new_mapping", MVT_PROTO_UDP, MVT_IN2OUT, 1, 1 },
};

typedef struct
{
	uint32_t addr;
	uint16_t port;
} external_t;

static mvt_nat44_t *nat;
static mvt_pkt_t pkts[MVT_BATCH_MAX];
static uint8_t packets[MVT_BATCH_MAX][PACKET_SPACE];
static external_t external[FLOWS];
static uint64_t random_state = 88172645463325252ull;

static void *
take (void *ctx, size_t size, size_t align)
{
	void *p;
	(void) ctx;
	if (posix_memalign (&p, align < sizeof p ? sizeof p : align, size ? size : 1))
		abort ();
	return memset (p, 0, size);
}

static void
give (void *ctx, void *p, size_t size)
{
	(void) ctx;
	(void) size;
	free (p);
}

static const mvt_mem_t memory = { .alloc = take, .free = give };

static void
create (void)
{
	static mvt_shared_t shared;
	static uint64_t allocatable[1024];
	static uint32_t slots[SLOTS], blocks[BLOCKS];
	mvt_policy_t policy = { .timeout = { [MVT_TIMEOUT_UDP] = 300,
					     [MVT_TIMEOUT_TCP_ESTABLISHED] = 7440,
					     [MVT_TIMEOUT_TCP_TRANSITORY] = 240,
					     [MVT_TIMEOUT_TCP_INCOMING_SYN] = 6,
					     [MVT_TIMEOUT_ICMP] = 60 },
				.mappings_per_host_all = 1000,
				.new_per_second_per_host = 1000,
				.n_slots = SLOTS };
	mvt_policy_rule_t inside = { .inside = { .addr = INSIDE, .len = 8 } };
	mvt_pool_run_t run = { .first = POOL, .count = SLOTS };
	mvt_home_range_t everything = { .table = MVT_NONE };
	mvt_policy_desc_t policies = { .policies = &policy,
				       .n_policies = 1,
				       .slots = slots,
				       .n_slots = SLOTS,
				       .inside = &inside,
				       .n_inside = 1,
				       .runs = &run,
				       .n_runs = 1,
				       .secret = { 1, 2, 3, 4 } };
	mvt_home_desc_t home = { .ranges = &everything,
				 .n_ranges = 1,
				 .n_instances = 1,
				 .secret = { 5, 6, 7, 8 },
				 .bucket_key = 9 };
	mvt_nat44_config_t config = { .n_instances = 1,
				      .max_mappings = 4 * FLOWS,
				      .fragment_timeout = 2,
				      .hold_seconds = 120,
				      .hold_share_1024 = 102,
				      .allocatable = allocatable,
				      .seed = { 10, 11, 12, 13 },
				      .shared = &shared,
				      .mem = memory };
	mvt_job_t job = { .op = MVT_JOB_TAKE_BLOCKS, .n = BLOCKS, .out.blocks = blocks };
	mvt_err_t err;

	for (uint32_t i = 0; i < 1024; i++)
		allocatable[i] = i < 16 ? 0 : UINT64_MAX;
	for (uint32_t i = 0; i < SLOTS; i++)
		slots[i] = i;
	for (uint32_t i = 0; i < BLOCKS; i++)
		blocks[i] = i;
	shared.address_key = 14;
	shared.directory = mvt_directory_format (
		take (NULL, mvt_directory_footprint (SLOTS, BLOCK_BITS), MVT_CACHE_LINE), SLOTS,
		BLOCK_BITS);
	shared.policy = mvt_policy_set_new (&policies, &memory, &err);
	shared.home = mvt_home_new (&home, &memory, &err);
	nat = mvt_nat44_new (&config, &err);
	if (!shared.policy || !shared.home || !nat)
		abort ();
	while (mvt_nat44_job (nat, &job, 0) == MVT_ERR_AGAIN)
		;
}

static void
write_packet (uint32_t i, uint32_t flow, uint32_t remote, uint8_t proto, uint8_t dir,
	      uint8_t tcp_flags)
{
	uint32_t in_addr = INSIDE + 1 + flow % HOSTS;
	uint16_t in_port = (uint16_t) (1024 + flow / HOSTS);
	bool out = dir == MVT_IN2OUT;
	uint8_t *p = packets[i];

	memset (p, 0, PACKET_SPACE);
	p[0] = 0x45;
	mvt_store16 (p + 2, PACKET);
	p[8] = 64;
	p[9] = proto == MVT_PROTO_TCP ? MVT_IP_TCP : MVT_IP_UDP;
	mvt_store32 (p + 12, out ? in_addr : REMOTE + remote);
	mvt_store32 (p + 16, out ? REMOTE + remote : external[flow].addr);
	mvt_store16 (p + 20, out ? in_port : REMOTE_PORT);
	mvt_store16 (p + 22, out ? REMOTE_PORT : external[flow].port);
	if (proto == MVT_PROTO_TCP)
	{
		p[32] = 5 << 4;
		p[33] = tcp_flags;
		mvt_store16 (p + 36, 0x1234);
	}
	else
	{
		mvt_store16 (p + 24, PACKET - 20);
		mvt_store16 (p + 26, 0x1234);
	}
	pkts[i] = (mvt_pkt_t){ .l3 = p, .len = PACKET, .dir = dir, .flags = MVT_PKT_CHECKSUM_DONE };
}

static void
all_translated (void)
{
	for (uint32_t i = 0; i < MVT_BATCH_MAX; i++)
		if (pkts[i].verdict != MVT_VERDICT_TRANSLATED)
		{
			fprintf (stderr, "a packet was not translated: verdict %u, reason %u\n",
				 pkts[i].verdict, pkts[i].reason);
			exit (1);
		}
}

/* The whole of what an instance does for a batch. */
static __attribute__ ((noinline)) void
counted (void)
{
	mvt_nat44_process (nat, pkts, MVT_BATCH_MAX, 0);
	mvt_nat44_background (nat, 0, LINES);
}

/* A batch of the flows from `first` on, to or from one remote. */
static void
set_up_batch (uint32_t first, uint32_t remote, uint8_t proto, uint8_t dir, uint8_t tcp_flags)
{
	for (uint32_t i = 0; i < MVT_BATCH_MAX; i++)
		write_packet (i, first + i, remote, proto, dir, tcp_flags);
	mvt_nat44_process (nat, pkts, MVT_BATCH_MAX, 0);
	all_translated ();
	for (uint32_t i = 0; i < MVT_BATCH_MAX && dir == MVT_IN2OUT; i++)
		external[first + i] =
			(external_t){ mvt_load32 (packets[i] + 12), mvt_load16 (packets[i] + 20) };
}

static void
set_up (const case_t *c)
{
	for (uint32_t flow = 0; flow < FLOWS; flow += MVT_BATCH_MAX)
		for (uint32_t remote = 0; remote < c->remotes; remote++)
		{
			set_up_batch (flow, remote, c->proto, MVT_IN2OUT, SYN);
			if (c->proto == MVT_PROTO_TCP)
				set_up_batch (flow, remote, c->proto, MVT_OUT2IN, SYN | ACK);
		}
	mvt_nat44_background (nat, 0,
			      4096); /* a growth of the index ends here, not in what counts */
}

int
main (int argc, char **argv)
{
	const case_t *c = NULL;

	if (argc == 1)
	{
#if defined(__clang__)
		printf ("clang %s\n", __clang_version__);
#else
		printf ("gcc %s\n", __VERSION__);
#endif
		for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
			printf ("%s\n", cases[i].name);
		return 0;
	}
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		if (strcmp (argv[1], cases[i].name) == 0)
			c = &cases[i];
	if (!c)
	{
		fprintf (stderr, "%s is no case; without an argument they are listed\n", argv[1]);
		return 2;
	}
	create ();
	set_up (c);
	for (uint32_t batch = 0; batch < BATCHES; batch++)
	{
		for (uint32_t i = 0; i < MVT_BATCH_MAX; i++)
		{
			uint32_t flow = c->fresh ? FLOWS + batch * MVT_BATCH_MAX + i
						 : mvt_random_below (&random_state, FLOWS);
			/* no draw where there is nothing to choose: the flows stay the same */
			uint32_t remote =
				c->remotes > 1 ? mvt_random_below (&random_state, c->remotes) : 0;
			write_packet (i, flow, remote, c->proto, c->dir, ACK);
		}
		counted ();
		all_translated ();
	}
	printf ("%u\n", BATCHES * MVT_BATCH_MAX);
	return 0;
}
