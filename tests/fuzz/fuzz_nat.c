/* SPDX-License-Identifier: Apache-2.0
 * A NAT of two instances under everything at once: packets of all kinds and broken ones, time,
 * housekeeping, jobs, ranges and blocks that change hands, a dispatcher that is sometimes wrong.
 * The pool, tables and stores are small, so that they run full.
 *
 * Input: configuration, then operations of a few bytes each. What is checked: every packet gets a
 * verdict; what is translated has right checksums and leads where it must; an inside endpoint
 * never has two mappings; invariants hold and all memory comes back. */
#include "fuzz_mem.h"
#include "nat44_world.h"

#include "fuzz_input.h"

#define SENT_MAX 4096u
#define EXT_MAX	 16u

typedef struct
{
	uint32_t addr;
	uint16_t port;
	uint8_t ip_proto;
} ext_t;

typedef struct
{
	fuzz_input_t in;
	world_t world;
	built_t sent[SENT_MAX]; /* by ref; held fragments are the core's until they come back */
	uint32_t n_sent;
	ext_t ext[EXT_MAX]; /* external endpoints seen last */
	uint32_t n_ext;
	uint32_t beat; /* of a range that changes hands */
} fuzz_t;

static const uint8_t protocols[] = { 17, 17, 17, 6, 6, 6, 1, 1, 47, 132, 33 };
static const uint8_t icmp_types[] = { 8, 0, 3, 11, 12, 4, 13, 14, 5, 40 };

/* ---- making packets ---- */

static uint32_t
some_inside (fuzz_t *f)
{
	return WORLD_INSIDE + (fuzz_u8 (&f->in) & 7);
}

static ext_t
some_outside (fuzz_t *f)
{
	uint8_t which = fuzz_u8 (&f->in);
	if (which & 0x80 || !f->n_ext)
		return (ext_t){ WORLD_POOL + (which & 1), (uint16_t) (1024 + (which & 63) * 8),
				17 };
	return f->ext[which % (f->n_ext < EXT_MAX ? f->n_ext : EXT_MAX)];
}

static void
some_fragment (fuzz_t *f, build_t *b)
{
	static const uint16_t fields[] = { 0x2000, 0x2000, 0x0003, 0x2003, 0x0001, 0x3fff };
	uint8_t which = fuzz_u8 (&f->in);
	b->frag = fields[which % 6];
	b->ip_id = which >> 6;
	if (b->frag & 0x1fff) /* a later piece is payload only */
		b->payload += build_l4_header (b->ip_proto);
}

static build_t
some_packet (fuzz_t *f, uint8_t dir)
{
	build_t b = { .ip_proto = protocols[fuzz_u8 (&f->in) % sizeof protocols] };
	uint8_t how = fuzz_u8 (&f->in);
	ext_t ext = some_outside (f);

	if (dir == MVT_IN2OUT)
	{
		b.src = some_inside (f);
		b.sport = 1 + (how & 3);
		b.dst = how & 4 ? ext.addr : WORLD_REMOTE + (how >> 6);
		b.dport = how & 4 ? ext.port : 53;
	}
	else
	{
		b.src = WORLD_REMOTE + (how >> 6);
		b.sport = how & 4 ? 54 : 53;
		b.dst = ext.addr;
		b.dport = ext.port;
		b.ip_proto = how & 8 ? b.ip_proto : ext.ip_proto;
	}
	b.icmp_type = icmp_types[(how >> 3) % sizeof icmp_types];
	if (b.ip_proto == 1 && dir == MVT_OUT2IN)
		b.sport = b.dport;
	b.tcp_flags = b.ip_proto == 6 ? fuzz_u8 (&f->in) & 0x17 : 0;
	b.payload = fuzz_u8 (&f->in) & 0x38;
	b.options = how & 16 ? 8 : 0;
	b.no_udp_csum = how & 32 ? 1 : 0;
	return b;
}

/* ---- checking what comes out ---- */

static bool
l4_right (const uint8_t *p, uint32_t len)
{
	uint32_t header = (p[0] & 15u) * 4, l4_len = len - header;
	if (p[9] == 1)
		return build_csum (0, p + header, l4_len) == 0;
	if (p[9] == 17 && (p[header + 6] | p[header + 7]) == 0)
		return true;
	uint32_t sum = build_sum (0, p + 12, 8) + p[9] + l4_len;
	return build_csum (sum, p + header, l4_len) == 0;
}

static void
check (fuzz_t *f, const mvt_pkt_t *pkt, bool l4_was_right)
{
	const uint8_t *p = pkt->l3;

	FUZZ_CHECK (pkt->verdict >= MVT_VERDICT_TRANSLATED && pkt->verdict <= MVT_VERDICT_DROPPED);
	if (pkt->verdict == MVT_VERDICT_DROPPED)
		FUZZ_CHECK (pkt->reason < MVT_DROP_N && pkt->reason != MVT_DROP_HANDOFF_CONGESTION);
	if (pkt->verdict != MVT_VERDICT_TRANSLATED)
		return;
	uint32_t header = (p[0] & 15u) * 4, src = mvt_load32 (p + 12), dst = mvt_load32 (p + 16);
	FUZZ_CHECK (build_csum (0, p, header) == 0);
	bool fragment = (mvt_load16 (p + 6) & 0x3fff) != 0;
	if (l4_was_right && !fragment)
		FUZZ_CHECK (l4_right (p, pkt->len));
	if (pkt->dir == MVT_OUT2IN)
	{
		FUZZ_CHECK (dst >> 24 == 10);
		FUZZ_CHECK (src >> 24 != 10);
		return;
	}
	FUZZ_CHECK (src - WORLD_POOL < f->world.n_addresses);
	if (fragment || (p[9] == 1 && mvt_icmp_is_error (p[header])) || pkt->len < header + 8)
		return;
	f->ext[f->n_ext++ % EXT_MAX] =
		(ext_t){ src, mvt_load16 (p + header + (p[9] == 1 ? 4 : 0)), p[9] };
}

/* ---- operations ---- */

static void
collect (fuzz_t *f)
{
	mvt_pkt_t late[32];
	uint32_t n;
	while ((n = world_late (&f->world, late, 32)))
		for (uint32_t i = 0; i < n; i++)
			if (late[i].verdict != MVT_VERDICT_HELD)
			{
				check (f, &late[i], false);
				free (f->sent[late[i].ref].p);
				f->sent[late[i].ref].p = NULL;
			}
}

static void
send (fuzz_t *f, built_t b, uint8_t dir, bool l4_right_now)
{
	world_t *w = &f->world;
	uint8_t how = fuzz_u8 (&f->in);

	if (how & 0x40 && b.len) /* break it, and perhaps repair the header's checksum */
	{
		for (unsigned i = how & 3; i < 4; i++)
			b.p[fuzz_u16 (&f->in) % b.len] = fuzz_u8 (&f->in);
		if (how & 0x20 && (b.p[0] & 15u) * 4 <= b.len && (b.p[0] & 15u) >= 5)
			build_fill_ip (b.p);
		l4_right_now = false;
	}
	mvt_pkt_t pkt = build_view (&b, dir, how & 0x10 ? MVT_PKT_TRUNCATED_OK : 0);
	if (how & 0x08 && b.len)
	{
		b.len = pkt.len = fuzz_u8 (&f->in) % b.len;
		b.p = pkt.l3 = realloc (b.p, b.len ? b.len : 1);
		l4_right_now = false;
	}
	pkt.ref = f->n_sent;
	f->sent[f->n_sent++] = b;
	uint16_t to = mvt_dispatch (&w->shared, &pkt);
	FUZZ_CHECK (to < w->n);
	world_carry (w, &pkt, how & 0x80 ? how & 1 : to);
	if (pkt.verdict != MVT_VERDICT_HELD)
	{
		check (f, &pkt, l4_right_now);
		free (b.p);
		f->sent[pkt.ref].p = NULL;
	}
	collect (f);
}

static void
do_packet (fuzz_t *f, uint8_t dir, bool fragment)
{
	build_t b = some_packet (f, dir);
	uint8_t later = 0;
	if (fragment)
	{
		some_fragment (f, &b);
		if (b.frag & 0x1fff) /* built as payload of no known protocol */
		{
			later = b.ip_proto;
			b.ip_proto = 255;
		}
	}
	built_t built = build_packet (&b);
	if (later)
	{
		built.p[9] = later;
		build_fill_ip (built.p);
	}
	send (f, built, dir, !fragment);
}

/* An error about a packet that went the other way, or about nothing. */
static void
do_error (fuzz_t *f, uint8_t dir)
{
	build_t about = some_packet (f, dir == MVT_IN2OUT ? MVT_OUT2IN : MVT_IN2OUT);
	ext_t ext = some_outside (f);
	build_t outer = { .src = WORLD_REMOTE + 9, .dst = ext.addr, .options = 0 };

	if (dir == MVT_OUT2IN)
	{
		about.src = ext.addr;
		about.sport = ext.port;
		about.ip_proto = ext.ip_proto;
	}
	else
	{
		about.dst = some_inside (f);
		about.dport = 1;
		outer.src = about.dst;
		outer.dst = about.src;
		if (about.ip_proto == 1)
			about.sport = 1;
	}
	built_t embedded = build_packet (&about);
	uint8_t keep = fuzz_u8 (&f->in);
	built_t error = build_error (&outer, icmp_types[2 + (keep & 3)], &embedded,
				     keep & 4 ? 28 : keep, keep & 8 ? 12 : 0);
	free (embedded.p);
	send (f, error, dir, true);
}

static mvt_err_t
job_at (fuzz_t *f, uint16_t i, mvt_job_t *job)
{
	mvt_err_t err;
	while ((err = mvt_nat44_job (f->world.nat[i], job, f->world.now)) == MVT_ERR_AGAIN)
		;
	return err;
}

static void
do_job (fuzz_t *f)
{
	uint16_t i = fuzz_u8 (&f->in) & 1;
	uint32_t blocks[64];
	mvt_mapping_info_t mappings[8];
	mvt_host_info_t hosts[4];
	mvt_block_info_t infos[4];
	ext_t ext = some_outside (f);
	mvt_job_t job = { .max = 4 };

	switch (fuzz_u8 (&f->in) % 8)
	{
	case 0:
		job.op = MVT_JOB_LIST_MAPPINGS;
		job.max = 8;
		job.out.mappings = mappings;
		break;
	case 1:
		job.op = MVT_JOB_LIST_HOSTS;
		job.out.hosts = hosts;
		break;
	case 2:
		job.op = MVT_JOB_LIST_BLOCKS;
		job.out.block_infos = infos;
		break;
	case 3:
		job.op = MVT_JOB_DELETE_MAPPINGS;
		job.filter.inside = (mvt_prefix4_t){ some_inside (f), 32, { 0 } };
		break;
	case 4:
		job.op = MVT_JOB_STATIC_ADD;
		job.inside_endpoint = (mvt_endpoint_t){ some_inside (f), 1, 0, 0 };
		job.external_endpoint = (mvt_endpoint_t){ ext.addr, ext.port, 0, 0 };
		break;
	case 5:
		job.op = MVT_JOB_STATIC_DEL;
		job.external_endpoint = (mvt_endpoint_t){ ext.addr, ext.port, 0, 0 };
		break;
	case 6:
		job.op = MVT_JOB_DRAIN_SLOT;
		job.slot = fuzz_u8 (&f->in) & 1;
		job.drain = fuzz_u8 (&f->in) & 1;
		break;
	default:
		job.op = MVT_JOB_GIVE_BLOCKS;
		job.to = !i;
		job.slot = MVT_NONE;
		job.max = fuzz_u8 (&f->in) & 63;
		job.out.blocks = blocks;
		if (job_at (f, i, &job) == MVT_OK && job.n)
		{
			mvt_job_t take = { .op = MVT_JOB_TAKE_BLOCKS,
					   .n = job.n,
					   .out.blocks = blocks };
			FUZZ_CHECK (job_at (f, !i, &take) == MVT_OK);
		}
		return;
	}
	(void) job_at (f, i, &job);
}

/* The next of the three beats by which 10.0.0.0/30 goes from one instance to the other and back
 * (DESIGN 5): close, then read and swap. The rules may stay behind. */
static void
do_beat (fuzz_t *f)
{
	uint16_t from = f->beat / 2 & 1, to = !from;
	bool stale = fuzz_u8 (&f->in) & 1;
	mvt_home_range_t ranges[5] = { { .prefix = { WORLD_INSIDE, 30, { 0 } },
					 .table = MVT_NONE,
					 .instance = from,
					 .from = from,
					 .to = to,
					 .flags = MVT_HOME_F_CLOSING } };
	uint32_t n = 1;

	if (f->beat++ & 1)
	{
		mvt_host_info_t hosts[4];
		mvt_job_t live = { .op = MVT_JOB_LIST_HOSTS,
				   .max = 4,
				   .filter.inside = ranges[0].prefix,
				   .out.hosts = hosts };
		FUZZ_CHECK (job_at (f, from, &live) == MVT_OK);
		ranges[0] = (mvt_home_range_t){ .prefix = ranges[0].prefix,
						.table = MVT_NONE,
						.instance = to };
		for (uint32_t i = 0; i < live.n; i++)
			ranges[n++] = (mvt_home_range_t){ .prefix = { hosts[i].addr, 32, { 0 } },
							  .table = MVT_NONE,
							  .instance = from };
	}
	world_publish_home (&f->world, ranges, n, NULL, 0, stale);
}

static void
do_policy (fuzz_t *f)
{
	world_t *w = &f->world;
	uint8_t how = fuzz_u8 (&f->in);
	w->draining = how & 3 ? 0 : 1 + (how >> 2 & 1);
	memset (w->policy.filter, (how >> 3) % 3, sizeof w->policy.filter);
	w->policy.mappings_per_host_all = how & 0x40 ? 6 : 0;
	w->policy.new_per_second_per_host = how & 0x80 ? 2 : 0;
	world_publish_policy (w);
}

/* ---- the end ---- */

/* EIM: one mapping per inside endpoint, wherever its host has moved. Static ones are placed by the
 * host, which keeps them apart from the others; here nobody does. */
static void
check_unique (fuzz_t *f)
{
	static mvt_mapping_info_t all[2 * 4096];
	uint32_t n = 0;
	for (uint16_t i = 0; i < f->world.n; i++)
	{
		mvt_job_t job = { .op = MVT_JOB_LIST_MAPPINGS,
				  .max = 4096,
				  .filter.statics = 2,
				  .out.mappings = all + n };
		FUZZ_CHECK (job_at (f, i, &job) == MVT_OK && job.cursor == UINT64_MAX);
		n += job.n;
	}
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t j = 0; j < i; j++)
		{
			FUZZ_CHECK (memcmp (&all[i].in, &all[j].in, sizeof all[i].in) != 0);
			FUZZ_CHECK (memcmp (&all[i].ext, &all[j].ext, sizeof all[i].ext) != 0);
		}
}

static void
finish (fuzz_t *f)
{
	world_t *w = &f->world;

	w->now += 60; /* what is still held is given up */
	for (uint16_t i = 0; i < w->n; i++)
		for (unsigned k = 0; k < 64; k++)
			mvt_nat44_background (w->nat[i], w->now, 64);
	collect (f);
	for (uint32_t i = 0; i < f->n_sent; i++)
		FUZZ_CHECK (f->sent[i].p == NULL);
	world_verify (w);
	world_stop (w);
	FUZZ_CHECK (counted_mem_bytes == 0);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
	static fuzz_t fuzz;
	fuzz_t *f = &fuzz;
	world_t *w = &f->world;

	*f = (fuzz_t){ .in = { data, size } };
	uint8_t how = fuzz_u8 (&f->in);
	world_defaults (w);
	w->n = w->active = 2;
	w->n_addresses = 2;
	w->block_size = how & 1 ? 64 : 256; /* few: verifying walks them all */
	w->first_port = 1024;
	w->last_port = 1024 + 511;
	w->max_mappings = how & 2 ? 32 : 512;
	w->max_sessions = how & 4 ? 8 : 64;
	w->max_hosts = how & 8 ? 4 : 64;
	w->hold_seconds = how & 16 ? 120 : 0;
	w->by_host = how & 32 ? 1 : 0;
	w->now = how & 64 ? UINT32_MAX - 400 : 1000;
	if (how & 128)
		w->exempt[w->n_exempt++] = (mvt_prefix4_t){ WORLD_REMOTE + 3, 32, { 0 } };
	world_start (w);
	while (f->in.left && f->n_sent + 1 < SENT_MAX)
	{
		uint8_t op = fuzz_u8 (&f->in);
		switch (op % 16)
		{
		case 0:
			w->now += (op >> 4) * (op & 0x80 ? 40u : 1u);
			break;
		case 1:
			(void) mvt_nat44_background (w->nat[op >> 4 & 1], w->now, 64);
			collect (f);
			break;
		case 2:
			do_job (f);
			break;
		case 3:
			do_beat (f);
			break;
		case 4:
			do_policy (f);
			break;
		case 5:
		case 6:
			do_error (f, op >> 4 & 1);
			break;
		case 7:
		case 8:
			do_packet (f, op >> 4 & 1, true);
			break;
		default:
			do_packet (f, op >> 4 & 1, false);
		}
	}
	check_unique (f);
	finish (f);
	return 0;
}
