/* SPDX-License-Identifier: Apache-2.0
 * The dispatcher: each row of its table with hand-made packets, then the same packets cut and
 * broken. Packets lie at the end of memory of their own size, so that ASan sees a byte too far. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "counted_mem.h"
#include "mvt_shared.h"

#define N(array)      (sizeof (array) / sizeof ((array)[0]))
#define A(a, b, c, d) ((uint32_t) (a) << 24 | (b) << 16 | (c) << 8 | (d))

enum
{
	UDP = MVT_IP_UDP,
	TCP = MVT_IP_TCP,
	ICMP = MVT_IP_ICMP,
	GRE = 47,
	BLOCK_BITS = 6,
	ACTIVE_A = 50, /* active, and named by no rule and no block: where strays go */
	ACTIVE_B = 51,
};

#define REMOTE	   A (8, 8, 4, 4)
#define HOST	   A (10, 1, 0, 5)     /* rule 10.1/16 -> 1 */
#define OTHER_HOST A (10, 2, 0, 5)     /* rule 10.2/16 -> 2 */
#define PINNED	   A (10, 1, 0, 9)     /* port 4000 UDP, id 77 ICMP -> 3 */
#define POOL	   A (198, 51, 100, 0) /* 4 addresses; block b of each at instance b % 8 */
#define ONE_IN	   A (10, 2, 9, 9)
#define ONE_OUT	   A (192, 0, 2, 9) /* 1:1 of ONE_IN */

/* ---- a world ---- */

typedef struct
{
	mvt_shared_t shared;
	mvt_policy_set_t *policy;
	mvt_home_t *rules;
	void *directory;
} world_t;

static mvt_home_t *
make_rules (const mvt_home_range_t *ranges, uint32_t n, const mvt_home_pin_t *pins, uint32_t n_pins)
{
	mvt_home_desc_t d = { .version = 1,
			      .ranges = ranges,
			      .n_ranges = n,
			      .pins = pins,
			      .n_pins = n_pins,
			      .n_instances = 16,
			      .secret = { 5, 6, 7, 8 } };
	mvt_err_t err;
	mvt_home_t *home = mvt_home_new (&d, &counted_mem, &err);
	assert_non_null (home);
	return home;
}

static void
set_rules (world_t *w, mvt_home_t *rules)
{
	mvt_home_remove (w->rules);
	w->rules = rules;
	atomic_store (&w->shared.rules, rules);
}

static void
world_init (world_t *w, bool pins)
{
	static mvt_policy_t policy = { .n_slots = 4 };
	static const uint32_t slots[] = { 2, 3, 4, 5 };
	static const mvt_pool_run_t run = { .first = POOL, .count = 4, .slot = 2 };
	static const mvt_policy_rule_t inside = { { .addr = A (10, 0, 0, 0), .len = 8 }, 0 };
	static const mvt_static_rule_t one = { { .addr = ONE_IN, .len = 32 },
					       { .addr = ONE_OUT, .len = 32 } };
	mvt_policy_desc_t d = { .policies = &policy,
				.n_policies = 1,
				.slots = slots,
				.n_slots = 4,
				.inside = &inside,
				.n_inside = 1,
				.runs = &run,
				.n_runs = 1,
				.statics = &one,
				.n_statics = 1 };
	static const mvt_home_range_t ranges[] = {
		{ .prefix = { .len = 0 }, .instance = 9, .table = MVT_NONE },
		{ .prefix = { .addr = A (10, 1, 0, 0), .len = 16 },
		  .instance = 1,
		  .table = MVT_NONE },
		{ .prefix = { .addr = A (10, 2, 0, 0), .len = 16 },
		  .instance = 2,
		  .table = MVT_NONE },
	};
	static const mvt_home_pin_t pin[] = {
		{ .endpoint = { .addr = PINNED, .port = 4000, .proto = MVT_PROTO_UDP },
		  .instance = 3 },
		{ .endpoint = { .addr = PINNED, .port = 77, .proto = MVT_PROTO_ICMP },
		  .instance = 3 },
	};
	mvt_err_t err;

	memset (w, 0, sizeof *w);
	w->policy = mvt_policy_set_new (&d, &counted_mem, &err);
	assert_non_null (w->policy);
	atomic_store (&w->shared.policy, w->policy);
	set_rules (w, make_rules (ranges, N (ranges), pin, pins ? N (pin) : 0));
	w->directory = aligned_alloc (64, (mvt_directory_footprint (6, BLOCK_BITS) + 63) / 64 * 64);
	w->shared.directory = mvt_directory_format (w->directory, 6, BLOCK_BITS);
	for (uint32_t slot = 2; slot < 6; slot++)
		for (uint32_t port = 0; port < 65536; port += 1 << BLOCK_BITS)
			if (port / 64 != 999) /* a block without owner */
				mvt_directory_set_owner (w->shared.directory,
							 mvt_directory_block (w->shared.directory,
									      slot,
									      (uint16_t) port),
							 (uint16_t) ((port / 64 + slot) % 8));
	w->shared.frag_key = 0x1234567812345678;
	atomic_store (&w->shared.active[0], ACTIVE_A);
	atomic_store (&w->shared.active[1], ACTIVE_B);
	atomic_store (&w->shared.n_active, 2);
}

static void
world_clear (world_t *w)
{
	mvt_home_remove (w->rules);
	mvt_policy_set_remove (w->policy);
	free (w->directory);
	assert_int_equal (counted_mem_bytes, 0);
}

static uint16_t
owner (uint32_t addr, uint16_t port)
{
	return (uint16_t) ((port / 64 + (addr - POOL + 2)) % 8);
}

/* ---- packets ---- */

typedef struct
{
	uint8_t bytes[256];
	uint32_t len;
} frame_t;

/* An IPv4 header with `options` words of options, and l4 behind it. */
static frame_t
ip (uint32_t src, uint32_t dst, uint8_t proto, uint32_t options, const void *l4, uint32_t l4_len)
{
	frame_t f = { .len = 20 + 4 * options + l4_len };
	f.bytes[0] = (uint8_t) (0x45 + options);
	mvt_store16 (f.bytes + 2, (uint16_t) f.len);
	mvt_store16 (f.bytes + 4, 0xbeef);
	f.bytes[8] = 64;
	f.bytes[9] = proto;
	mvt_store32 (f.bytes + 12, src);
	mvt_store32 (f.bytes + 16, dst);
	memset (f.bytes + 20, 1, 4 * options); /* no-operation */
	memcpy (f.bytes + 20 + 4 * options, l4, l4_len);
	return f;
}

static frame_t
ports (uint8_t proto, uint32_t src, uint16_t sport, uint32_t dst, uint16_t dport, uint32_t options)
{
	uint8_t l4[20] = { 0 };
	mvt_store16 (l4, sport);
	mvt_store16 (l4 + 2, dport);
	l4[4] = 0;
	l4[5] = 8;
	l4[12] = proto == TCP ? 0x50 : 0;
	return ip (src, dst, proto, options, l4, proto == TCP ? 20 : 8);
}

static frame_t
icmp (uint8_t type, uint32_t src, uint32_t dst, uint16_t id)
{
	uint8_t l4[12] = { type };
	mvt_store16 (l4 + 4, id);
	return ip (src, dst, ICMP, 0, l4, sizeof l4);
}

static frame_t
error (uint8_t type, uint32_t src, uint32_t dst, const frame_t *quoted, uint32_t quoted_len)
{
	uint8_t l4[200] = { type };
	memcpy (l4 + 8, quoted->bytes, quoted_len);
	return ip (src, dst, ICMP, 0, l4, 8 + quoted_len);
}

static frame_t
fragment (frame_t f, uint16_t offset_and_flags)
{
	mvt_store16 (f.bytes + 6, offset_and_flags);
	return f;
}

/* Dispatch a copy that fills its memory to the last byte. */
static uint16_t
send (world_t *w, uint8_t dir, const frame_t *f, uint32_t len, uint8_t *flags)
{
	uint8_t *copy = malloc (len ? len : 1);
	memcpy (copy, f->bytes, len);
	mvt_pkt_t pkt = { .l3 = copy + (len ? 0 : 1), .len = len, .dir = dir };
	uint16_t instance = mvt_dispatch (&w->shared, &pkt);
	assert_memory_equal (copy, f->bytes, len);
	assert_true (instance < MVT_HOME_INSTANCES);
	if (flags)
		*flags = pkt.flags;
	free (copy);
	return instance;
}

static bool
is_stray (uint16_t instance)
{
	return instance == ACTIVE_A || instance == ACTIVE_B;
}

#define expect(w, dir, f, want)                                                                 \
	do                                                                                      \
	{                                                                                       \
		frame_t expect_f = (f);                                                         \
		uint8_t expect_flags;                                                           \
		assert_int_equal (send (w, dir, &expect_f, expect_f.len, &expect_flags), want); \
		assert_int_equal (expect_flags, 0);                                             \
	} while (0)

#define expect_stray(w, dir, f)                                                                 \
	do                                                                                      \
	{                                                                                       \
		frame_t expect_f = (f);                                                         \
		uint8_t expect_flags;                                                           \
		assert_true (is_stray (send (w, dir, &expect_f, expect_f.len, &expect_flags))); \
		assert_int_equal (expect_flags, 0);                                             \
	} while (0)

/* ---- in2out ---- */

static void
test_in2out (void **state)
{
	(void) state;
	for (int pins = 0; pins < 2; pins++)
	{
		world_t w;
		world_init (&w, pins);
		static const uint8_t protos[] = { UDP, TCP, ICMP, GRE };
		for (size_t i = 0; i < N (protos); i++)
			for (uint32_t options = 0; options < 11; options += 5)
			{
				uint8_t p = protos[i];
				expect (&w, MVT_IN2OUT, ports (p, HOST, 1, REMOTE, 2, options), 1);
				expect (&w, MVT_IN2OUT,
					ports (p, OTHER_HOST, 1, REMOTE, 2, options), 2);
				expect (&w, MVT_IN2OUT,
					ports (p, A (11, 0, 0, 1), 1, REMOTE, 2, options), 9);
				/* whatever the destination: also a pool address or a 1:1 one */
				expect (&w, MVT_IN2OUT, ports (p, HOST, 1, POOL, 2, options), 1);
			}
		expect (&w, MVT_IN2OUT, ports (UDP, ONE_IN, 1, REMOTE, 2, 0), 2);
		expect (&w, MVT_IN2OUT, icmp (8, HOST, REMOTE, 77), 1);

		/* pins: by endpoint; fragments, the first too, by source */
		uint16_t pinned = pins ? 3 : 1;
		expect (&w, MVT_IN2OUT, ports (UDP, PINNED, 4000, REMOTE, 2, 0), pinned);
		expect (&w, MVT_IN2OUT, ports (UDP, PINNED, 4000, REMOTE, 2, 10), pinned);
		expect (&w, MVT_IN2OUT, ports (UDP, PINNED, 2, REMOTE, 4000, 0), 1);
		expect (&w, MVT_IN2OUT, ports (TCP, PINNED, 4000, REMOTE, 2, 0), 1);
		expect (&w, MVT_IN2OUT, icmp (8, PINNED, REMOTE, 77), pinned);
		expect (&w, MVT_IN2OUT, icmp (0, PINNED, REMOTE, 77), pinned);
		expect (&w, MVT_IN2OUT, icmp (8, PINNED, REMOTE, 4000), 1);
		expect (&w, MVT_IN2OUT, icmp (9, PINNED, REMOTE, 77), 1); /* no query */
		expect (&w, MVT_IN2OUT, fragment (ports (UDP, PINNED, 4000, REMOTE, 2, 0), 0x2000),
			1);
		expect (&w, MVT_IN2OUT, fragment (ports (UDP, PINNED, 4000, REMOTE, 2, 0), 0x0010),
			1);
		/* DF is no fragment */
		expect (&w, MVT_IN2OUT, fragment (ports (UDP, PINNED, 4000, REMOTE, 2, 0), 0x4000),
			pinned);
		world_clear (&w);
	}
}

static void
test_in2out_error (void **state)
{
	world_t w;
	world_init (&w, true);
	(void) state;

	/* a router inside (not the host) reports about a packet that came in for the host */
	uint32_t router = A (10, 77, 0, 1);
	static const uint8_t errors[] = { 3, 4, 11, 12 };
	for (size_t i = 0; i < N (errors); i++)
	{
		frame_t q = ports (UDP, REMOTE, 9, OTHER_HOST, 5, 0);
		expect (&w, MVT_IN2OUT, error (errors[i], router, REMOTE, &q, 28), 2);
		q = ports (UDP, REMOTE, 9, PINNED, 4000, 6);
		expect (&w, MVT_IN2OUT, error (errors[i], router, REMOTE, &q, 52), 3);
		q = ports (UDP, REMOTE, 4000, PINNED, 9, 0);
		expect (&w, MVT_IN2OUT, error (errors[i], router, REMOTE, &q, 28), 1);
		q = icmp (0, REMOTE, PINNED, 77);
		expect (&w, MVT_IN2OUT, error (errors[i], router, REMOTE, &q, 28), 3);
		q = ip (REMOTE, OTHER_HOST, GRE, 0, "", 0);
		expect (&w, MVT_IN2OUT, error (errors[i], router, REMOTE, &q, 20), 2);
		q = fragment (ports (UDP, REMOTE, 9, PINNED, 4000, 0), 0x0010);
		expect (&w, MVT_IN2OUT, error (errors[i], router, REMOTE, &q, 28), 1);
	}
	/* not an error that NAT translates: by source, the quoted packet is no business of ours */
	frame_t q = ports (UDP, REMOTE, 9, OTHER_HOST, 5, 0);
	expect (&w, MVT_IN2OUT, error (5, router, REMOTE, &q, 28), 9);
	expect (&w, MVT_IN2OUT, fragment (error (3, router, REMOTE, &q, 28), 0x0010), 9);
	world_clear (&w);
}

/* One rule for everything: not a byte of the packet is read. */
static void
test_single (void **state)
{
	static const mvt_home_range_t all = { .instance = 6, .table = MVT_NONE };
	world_t w;
	mvt_pkt_t pkt = { .l3 = NULL, .len = 60, .dir = MVT_IN2OUT };
	(void) state;
	world_init (&w, true);
	set_rules (&w, make_rules (&all, 1, NULL, 0));
	assert_int_equal (mvt_dispatch (&w.shared, &pkt), 6);
	expect (&w, MVT_OUT2IN, ports (UDP, REMOTE, 1, ONE_OUT, 2, 0), 6);
	world_clear (&w);
}

/* ---- out2in ---- */

static void
test_out2in (void **state)
{
	world_t w;
	world_init (&w, true);
	(void) state;
	for (uint32_t a = 0; a < 4; a++)
		for (uint32_t port = 0; port < 65536; port += 31)
		{
			uint32_t dst = POOL + a;
			uint16_t p = (uint16_t) port;
			if (port / 64 == 999)
				continue;
			expect (&w, MVT_OUT2IN, ports (UDP, REMOTE, 1, dst, p, 0), owner (dst, p));
			expect (&w, MVT_OUT2IN, ports (TCP, REMOTE, 1, dst, p, 10), owner (dst, p));
			expect (&w, MVT_OUT2IN, icmp (0, REMOTE, dst, p), owner (dst, p));
			expect (&w, MVT_OUT2IN, icmp (8, REMOTE, dst, p), owner (dst, p));
			expect (&w, MVT_OUT2IN,
				fragment (ports (UDP, REMOTE, 1, dst, p, 0), 0x4000),
				owner (dst, p));
		}
	expect_stray (&w, MVT_OUT2IN, ports (UDP, REMOTE, 1, POOL, 999 * 64, 0)); /* no owner */
	expect_stray (&w, MVT_OUT2IN, ports (GRE, REMOTE, 1, POOL, 64, 0));
	expect_stray (&w, MVT_OUT2IN, icmp (9, REMOTE, POOL, 64));
	expect_stray (&w, MVT_OUT2IN, ports (UDP, REMOTE, 1, POOL + 4, 64, 0)); /* not ours */
	expect_stray (&w, MVT_OUT2IN, ports (UDP, REMOTE, 1, HOST, 64, 0));

	/* 1:1: the rule of the inside address, whatever the protocol */
	expect (&w, MVT_OUT2IN, ports (UDP, REMOTE, 1, ONE_OUT, 64, 0), 2);
	expect (&w, MVT_OUT2IN, ports (GRE, REMOTE, 1, ONE_OUT, 64, 0), 2);
	expect (&w, MVT_OUT2IN, icmp (8, REMOTE, ONE_OUT, 64), 2);
	expect (&w, MVT_OUT2IN, fragment (ports (UDP, REMOTE, 1, ONE_OUT, 64, 0), 0x2010), 2);
	expect (&w, MVT_OUT2IN, fragment (ports (UDP, REMOTE, 1, ONE_OUT, 64, 0), 0x2000), 2);
	world_clear (&w);
}

static void
test_out2in_error (void **state)
{
	world_t w;
	world_init (&w, false);
	(void) state;
	for (uint32_t port = 1; port < 63000; port += 777)
	{
		uint16_t p = (uint16_t) port;
		/* the outer destination has a port's worth of nothing to say */
		frame_t q = ports (UDP, POOL + 1, p, REMOTE, 53, 0);
		expect (&w, MVT_OUT2IN, error (3, A (9, 9, 9, 9), POOL + 1, &q, 28),
			owner (POOL + 1, p));
		q = ports (TCP, POOL + 1, p, REMOTE, 53, 3);
		expect (&w, MVT_OUT2IN, error (11, A (9, 9, 9, 9), POOL + 1, &q, 40),
			owner (POOL + 1, p));
		q = icmp (8, POOL + 1, REMOTE, p);
		expect (&w, MVT_OUT2IN, error (11, A (9, 9, 9, 9), POOL + 1, &q, 28),
			owner (POOL + 1, p));
	}
	frame_t q = ports (UDP, ONE_OUT, 5, REMOTE, 53, 0);
	expect (&w, MVT_OUT2IN, error (3, REMOTE, ONE_OUT, &q, 28), 2);
	q = ip (ONE_OUT, REMOTE, GRE, 0, "", 0);
	expect (&w, MVT_OUT2IN, error (3, REMOTE, ONE_OUT, &q, 20), 2);
	q = ip (POOL, REMOTE, GRE, 0, "", 0);
	expect_stray (&w, MVT_OUT2IN, error (3, REMOTE, POOL, &q, 20));
	q = fragment (ports (UDP, POOL, 5, REMOTE, 53, 0), 0x0010);
	expect_stray (&w, MVT_OUT2IN, error (3, REMOTE, POOL, &q, 28));
	q = error (3, POOL, REMOTE, &q, 28); /* an error about an error */
	expect_stray (&w, MVT_OUT2IN, error (3, REMOTE, POOL, &q, 28));
	q = ports (UDP, A (77, 0, 0, 1), 5, REMOTE, 53, 0); /* about somebody else's packet */
	expect_stray (&w, MVT_OUT2IN, error (3, REMOTE, POOL, &q, 28));
	world_clear (&w);
}

static void
test_out2in_fragments (void **state)
{
	world_t w;
	uint32_t met[2] = { 0, 0 };
	(void) state;
	world_init (&w, true);
	for (uint32_t id = 0; id < 400; id++)
	{
		static const uint16_t parts[] = { 0x2000, 0x20b9, 0x0172 };
		uint16_t first = 0;
		for (size_t i = 0; i < N (parts); i++)
		{
			frame_t f = fragment (
				ports (UDP, REMOTE, (uint16_t) i, POOL, (uint16_t) (64 * i), 0),
				parts[i]);
			uint8_t flags;
			mvt_store16 (f.bytes + 4, (uint16_t) id);
			uint16_t instance = send (&w, MVT_OUT2IN, &f, f.len, &flags);
			assert_int_equal (flags, MVT_PKT_FRAG_HOME);
			assert_true (is_stray (instance));
			if (i == 0)
				first = instance;
			assert_int_equal (instance, first);
			assert_int_equal (instance, mvt_dispatch_fragment (&w.shared, REMOTE, POOL,
									   (uint16_t) id, UDP));
		}
		met[first == ACTIVE_B]++;
	}
	assert_in_range (met[0], 150, 250);

	/* of another protocol, source or destination: another datagram */
	uint32_t differ[3] = { 0 };
	for (uint16_t id = 0; id < 200; id++)
	{
		uint16_t here = mvt_dispatch_fragment (&w.shared, REMOTE, POOL, id, UDP);
		differ[0] += here != mvt_dispatch_fragment (&w.shared, REMOTE, POOL, id, TCP);
		differ[1] += here != mvt_dispatch_fragment (&w.shared, REMOTE + 1, POOL, id, UDP);
		differ[2] += here != mvt_dispatch_fragment (&w.shared, REMOTE, POOL + 1, id, UDP);
	}
	for (int i = 0; i < 3; i++)
		assert_in_range (differ[i], 60, 140);

	/* known port: straight to the owner */
	frame_t f = fragment (ports (UDP, REMOTE, 0, POOL, 0, 0), 0x0010);
	mvt_pkt_t pkt = { .l3 = f.bytes,
			  .len = f.len,
			  .dir = MVT_OUT2IN,
			  .flags = MVT_PKT_PORT_KNOWN,
			  .l4_port = 640 };
	assert_int_equal (mvt_dispatch (&w.shared, &pkt), owner (POOL, 640));
	assert_int_equal (pkt.flags, MVT_PKT_PORT_KNOWN);
	/* not to the pool: nobody waits for its first fragment */
	expect_stray (&w, MVT_OUT2IN, fragment (ports (UDP, REMOTE, 0, HOST, 0, 0), 0x0010));
	world_clear (&w);
}

/* ---- what is missing or broken ---- */

static void
test_malformed (void **state)
{
	world_t w;
	world_init (&w, true);
	(void) state;
	for (uint8_t dir = 0; dir < 2; dir++)
	{
		frame_t good = dir == MVT_IN2OUT ? ports (UDP, HOST, 1, REMOTE, 2, 0)
						 : ports (UDP, REMOTE, 1, POOL, 640, 0);
		frame_t f = good;
		f.bytes[0] = 0x65; /* version */
		expect_stray (&w, dir, f);
		f.bytes[0] = 0x44; /* header too short */
		expect_stray (&w, dir, f);
		f.bytes[0] = 0x4f; /* longer than the packet */
		expect_stray (&w, dir, f);
		f = good;
		mvt_store16 (f.bytes + 2, 19); /* total length below the header */
		expect_stray (&w, dir, f);
		for (uint32_t len = 0; len < 20; len++)
			assert_true (is_stray (send (&w, dir, &good, len, NULL)));
	}
	/* ports that lie behind the packet's end are not its ports */
	frame_t f = ports (UDP, REMOTE, 1, POOL, 640, 0);
	mvt_store16 (f.bytes + 2, 23);
	expect_stray (&w, MVT_OUT2IN, f);
	mvt_store16 (f.bytes + 2, 24);
	expect (&w, MVT_OUT2IN, f, owner (POOL, 640));
	world_clear (&w);
}

/* Each good packet cut at each length: never a byte too far (ASan), always an instance; and then
 * random bytes in it, a few thousand times. */
static void
test_cut_and_noise (void **state)
{
	world_t w;
	uint64_t seed = 0xabcdef;
	frame_t q = ports (TCP, POOL, 640, REMOTE, 53, 4), r = icmp (8, POOL, REMOTE, 7),
		s = ports (UDP, REMOTE, 53, PINNED, 4000, 2);
	frame_t frames[] = {
		ports (UDP, PINNED, 4000, POOL, 640, 0),
		ports (TCP, PINNED, 4000, POOL, 640, 10),
		icmp (8, PINNED, POOL, 77),
		ports (GRE, PINNED, 4000, POOL, 640, 0),
		fragment (ports (UDP, PINNED, 4000, POOL, 640, 0), 0x2000),
		error (3, PINNED, POOL, &q, 56),
		error (3, PINNED, POOL, &r, 32),
		error (3, PINNED, POOL, &s, 36),
		ports (UDP, REMOTE, 1, ONE_OUT, 2, 0),
	};
	(void) state;
	world_init (&w, true);
	for (size_t i = 0; i < N (frames); i++)
		for (uint8_t dir = 0; dir < 2; dir++)
			for (uint32_t len = 0; len <= frames[i].len; len++)
			{
				frame_t f = frames[i];
				send (&w, dir, &f, len, NULL);
				if (len >= 20)
					mvt_store16 (f.bytes + 2, (uint16_t) len);
				send (&w, dir, &f, len, NULL);
			}
	for (int n = 0; n < 50000; n++)
	{
		frame_t f = frames[mvt_random_below (&seed, N (frames))];
		for (uint32_t k = mvt_random_below (&seed, 6); k > 0; k--)
			f.bytes[mvt_random_below (&seed, f.len)] = (uint8_t) mvt_random (&seed);
		send (&w, (uint8_t) (n & 1), &f, mvt_random_below (&seed, f.len + 1), NULL);
		send (&w, (uint8_t) (n & 1), &f, f.len, NULL);
	}
	world_clear (&w);
}

/* Before anything is configured, with broken words, and with a directory that is too small. */
static void
test_unset (void **state)
{
	world_t w;
	frame_t out = ports (UDP, HOST, 1, REMOTE, 2, 0), in = ports (UDP, REMOTE, 1, POOL, 640, 0),
		one = ports (UDP, REMOTE, 1, ONE_OUT, 640, 0);
	(void) state;

	world_init (&w, true);
	atomic_store (&w.shared.rules, NULL);
	expect_stray (&w, MVT_IN2OUT, out);
	expect_stray (&w, MVT_OUT2IN, one);
	atomic_store (&w.shared.policy, NULL);
	expect_stray (&w, MVT_OUT2IN, in);
	atomic_store (&w.shared.policy, w.policy);
	w.shared.directory = NULL;
	expect_stray (&w, MVT_OUT2IN, in);

	w.shared.directory = mvt_directory_format (w.directory, 2, BLOCK_BITS);
	expect_stray (&w, MVT_OUT2IN, in); /* slot 2 of 2 */

	atomic_store (&w.shared.n_active, 1000);
	for (int i = 0; i < 64; i++)
		atomic_store (&w.shared.active[i], MVT_NO_INSTANCE);
	expect (&w, MVT_OUT2IN, in, 0);
	atomic_store (&w.shared.n_active, 0);
	expect (&w, MVT_OUT2IN, in, 0);
	expect (&w, MVT_OUT2IN, one, 0);
	world_clear (&w);
}

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (test_in2out),	      cmocka_unit_test (test_in2out_error),
		cmocka_unit_test (test_single),	      cmocka_unit_test (test_out2in),
		cmocka_unit_test (test_out2in_error), cmocka_unit_test (test_out2in_fragments),
		cmocka_unit_test (test_malformed),    cmocka_unit_test (test_cut_and_noise),
		cmocka_unit_test (test_unset),
	};
	return cmocka_run_group_tests (tests, NULL, NULL);
}
