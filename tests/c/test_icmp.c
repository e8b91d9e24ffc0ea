/* SPDX-License-Identifier: Apache-2.0
 * ICMP errors, RFC 5508 section 4: whatever they embed, both packets come out byte for byte as if
 * they had been built with the new endpoint. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "mvt_icmp.h"
#include "packet_build.h"

#define INSIDE	 0x0a010203u
#define EXTERNAL 0xc6336407u
#define REMOTE	 0xcb007101u
#define ROUTER	 0xcb0071feu

static const uint8_t embedded_protocols[] = { 17, 6, 1, 47, 4, 132, 33, 136, 17, 6, 50, 41 };

static void
equal_or_say (const built_t *got, const built_t *expected, const char *name, unsigned round)
{
	assert_int_equal (got->len, expected->len);
	for (uint32_t i = 0; i < got->len; i++)
		if (got->p[i] != expected->p[i])
			fail_msg ("%s %u: byte %u of %u is %02x, not %02x", name, round, i,
				  got->len, got->p[i], expected->p[i]);
}

/* What can be read of an L4 header of which `keep` bytes are there. */
static bool
ports_readable (uint8_t ip_proto, uint32_t keep)
{
	return ip_proto == 1 ? keep >= 6 : (ip_proto == 6 || ip_proto == 17) && keep >= 4;
}

static uint32_t
csum_at (uint8_t ip_proto)
{
	return ip_proto == 6 ? 16 : ip_proto == 1 ? 2 : 6;
}

static bool
has_csum (uint8_t ip_proto)
{
	return ip_proto == 6 || ip_proto == 1 || ip_proto == 17 || ip_proto == 33 ||
	       ip_proto == 136;
}

typedef struct
{
	build_t outer, embedded; /* before */
	unsigned dir;
	uint8_t type;
	uint32_t keep_l4; /* bytes of the embedded packet after its IP header */
	uint32_t tail;
	uint32_t new_addr, new_outer;
	uint16_t new_port;
} error_t;

static built_t
error_before (const error_t *e)
{
	built_t inner = build_packet (&e->embedded);
	built_t out = build_error (&e->outer, e->type, &inner,
				   20u + e->embedded.options + e->keep_l4, e->tail);

	free (inner.p);
	return out;
}

static built_t
error_expected (const error_t *e)
{
	build_t outer = e->outer, embedded = e->embedded;
	uint32_t l4 = 20u + embedded.options, at = csum_at (embedded.ip_proto);
	built_t old = build_packet (&embedded);

	*(e->dir ? &outer.dst : &outer.src) = e->new_outer;
	*(e->dir ? &embedded.src : &embedded.dst) = e->new_addr;
	if (ports_readable (embedded.ip_proto, e->keep_l4))
		*(e->dir || embedded.ip_proto == 1 ? &embedded.sport : &embedded.dport) =
			e->new_port;
	built_t inner = build_packet (&embedded);
	if (has_csum (embedded.ip_proto) && at + 2 > e->keep_l4 && l4 + at + 2 <= old.len)
		memcpy (inner.p + l4 + at, old.p + l4 + at, 2);
	built_t out = build_error (&outer, e->type, &inner, l4 + e->keep_l4, e->tail);
	free (inner.p);
	free (old.p);
	return out;
}

static void
translate (const built_t *b, uint8_t flags, const error_t *e)
{
	mvt_pkt_t pkt = build_view (b, (uint8_t) e->dir, flags);
	mvt_parsed_t outer;
	mvt_embedded_t embedded;
	mvt_drop_t drop;

	assert_true (mvt_packet_parse (&pkt, &outer, &drop));
	assert_true (outer.icmp_error);
	assert_true (mvt_icmp_embedded (&pkt, &outer, &embedded, &drop));
	mvt_icmp_rewrite (&pkt, &outer, &embedded, e->dir, e->new_addr, e->new_port, e->new_outer);
}

static error_t
error_random (uint64_t *state)
{
	uint32_t r = build_random (state);
	error_t e = { .dir = r & 1, .type = (uint8_t[]){ 3, 4, 11, 12 }[r >> 1 & 3] };

	e.embedded = (build_t){ .src = build_random (state),
				.dst = build_random (state),
				.sport = (uint16_t) build_random (state),
				.dport = (uint16_t) build_random (state),
				.ip_id = (uint16_t) r,
				.frag = r & 8 ? 0x4000 : 0,
				.ip_proto = embedded_protocols[build_random (state) % 12],
				.options = (uint8_t) ((r >> 4 & 1) * (r >> 5 & 7) * 4),
				.tcp_flags = 0x10,
				.icmp_type = r & 0x100 ? 8 : 0,
				.no_udp_csum = (r >> 9 & 3) == 0,
				.fill = (uint8_t) (r >> 11),
				.payload = build_random (state) & 255 };
	e.outer = (build_t){ .src = ROUTER,
			     .dst = build_random (state),
			     .options = (uint8_t) ((r >> 20 & 3) * 4) };
	e.new_addr = build_random (state);
	e.new_port = (uint16_t) build_random (state);
	e.new_outer = build_random (state);
	if (r & 0x1000000)
		e.new_addr = e.new_outer = 0xffff0000;
	uint32_t l4_len = build_l4_header (e.embedded.ip_proto) + e.embedded.payload;
	e.keep_l4 = r & 0x2000000 ? l4_len : build_random (state) % 40;
	if (e.keep_l4 > l4_len)
		e.keep_l4 = l4_len;
	if (20u + e.embedded.options + e.keep_l4 >= 128 && (r & 0x4000000))
		e.tail = 12; /* an RFC 4884 extension */
	return e;
}

static void
random_errors_are_as_if_built_anew (void **unused)
{
	uint64_t state = 5;

	(void) unused;
	for (unsigned round = 0; round < 100000; round++)
	{
		error_t e = error_random (&state);
		built_t got = error_before (&e), expected = error_expected (&e);
		translate (&got, 0, &e);
		equal_or_say (&got, &expected, "random", round);
		free (got.p);
		free (expected.p);
	}
}

/* The one that crashed a NAT in production, spelled out: an error about GRE and IP-in-IP. */
static void
tunnels_inside_errors (void **unused)
{
	(void) unused;
	for (uint32_t keep = 0; keep <= 32; keep++)
		for (unsigned proto = 0; proto < 256; proto++)
		{
			if (proto == 1)
				continue;
			error_t e = { .dir = MVT_OUT2IN,
				      .type = 3,
				      .embedded = { .src = EXTERNAL,
						    .dst = REMOTE,
						    .ip_proto = (uint8_t) proto,
						    .payload = 32 },
				      .outer = { .src = ROUTER, .dst = EXTERNAL },
				      .keep_l4 = keep,
				      .new_addr = INSIDE,
				      .new_port = 5000,
				      .new_outer = INSIDE };
			built_t got = error_before (&e), expected = error_expected (&e);
			mvt_pkt_t pkt = build_view (&got, MVT_OUT2IN, 0);
			mvt_parsed_t outer;
			mvt_embedded_t embedded;
			mvt_drop_t drop;
			assert_true (mvt_packet_parse (&pkt, &outer, &drop));
			assert_true (mvt_icmp_embedded (&pkt, &outer, &embedded, &drop));
			assert_int_equal (embedded.proto, proto == 17  ? MVT_PROTO_UDP
							  : proto == 6 ? MVT_PROTO_TCP
								       : MVT_PROTO_OTHER);
			assert_int_equal (embedded.has_l4,
					  (proto == 17 || proto == 6) && keep >= 4);
			assert_int_equal (embedded.src, EXTERNAL);
			assert_int_equal (embedded.dst, REMOTE);
			translate (&got, 0, &e);
			equal_or_say (&got, &expected, "protocol", proto);
			free (got.p);
			free (expected.p);
		}
}

static void
later_fragments_have_addresses_only (void **unused)
{
	(void) unused;
	for (unsigned i = 0; i < 3; i++)
	{
		error_t e = { .dir = MVT_OUT2IN,
			      .type = 11,
			      .embedded = { .src = EXTERNAL,
					    .dst = REMOTE,
					    .ip_proto = (uint8_t[]){ 17, 6, 1 }[i],
					    .frag = 0x2000 | 185,
					    .payload = 20 },
			      .outer = { .src = ROUTER, .dst = EXTERNAL },
			      .keep_l4 = 28,
			      .new_addr = INSIDE,
			      .new_port = 5000,
			      .new_outer = INSIDE };
		built_t inner = build_packet (&e.embedded);
		memset (inner.p + 20, 3,
			inner.len - 20); /* data, even if it looks like an ICMP error */
		built_t got = build_error (&e.outer, 11, &inner, inner.len, 0);
		mvt_pkt_t pkt = build_view (&got, MVT_OUT2IN, 0);
		mvt_parsed_t outer;
		mvt_embedded_t embedded;
		mvt_drop_t drop;

		assert_true (mvt_packet_parse (&pkt, &outer, &drop));
		assert_true (mvt_icmp_embedded (&pkt, &outer, &embedded, &drop));
		assert_int_equal (embedded.has_l4, 0);
		assert_int_equal (embedded.fragment, 1);
		assert_int_equal (embedded.proto, i == 0   ? MVT_PROTO_UDP
						  : i == 1 ? MVT_PROTO_TCP
							   : MVT_PROTO_ICMP);
		translate (&got, 0, &e);
		build_put32 (inner.p + 12, INSIDE);
		build_fill_ip (inner.p);
		e.outer.dst = INSIDE;
		built_t expected = build_error (&e.outer, 11, &inner, inner.len, 0);
		equal_or_say (&got, &expected, "fragment", i);
		free (inner.p);
		free (got.p);
		free (expected.p);
	}
}

typedef struct
{
	const char *name;
	uint32_t keep; /* bytes of the embedded packet */
	int32_t at;    /* word of the embedded packet that changes, -1 none */
	uint32_t value;
	uint8_t repair; /* the embedded header checksum */
	uint8_t break_outer;
	uint8_t embedded_icmp; /* 0: UDP; else an ICMP packet of type embedded_icmp - 1 */
	int32_t drop;
} refused_t;

static const refused_t refused[] = {
	{ "good", 48, -1, .drop = -1 },
	{ "nothing embedded", 0, -1, .drop = MVT_DROP_ICMP_MALFORMED },
	{ "half an embedded header", 19, -1, .drop = MVT_DROP_ICMP_MALFORMED },
	{ "a bare embedded header", 20, -1, .drop = -1 },
	{ "embedded options cut off", 48, 0, 0x4f00, .repair = 1, .drop = MVT_DROP_ICMP_MALFORMED },
	{ "embedded IPv6", 48, 0, 0x6500, .repair = 1, .drop = MVT_DROP_ICMP_MALFORMED },
	{ "embedded IHL 4", 48, 0, 0x4400, .drop = MVT_DROP_ICMP_MALFORMED },
	{ "embedded header checksum", 48, 10, 0x1111, .drop = MVT_DROP_ICMP_MALFORMED },
	{ "embedded total length mangled", 48, 2, 20, .repair = 1, .drop = -1 },
	{ "embedded total length huge", 48, 2, 65535, .repair = 1, .drop = -1 },
	{ "embedded UDP length nonsense", 48, 24, 0, .drop = -1 },
	{ "outer checksum", 48, -1, .break_outer = 1, .drop = MVT_DROP_ICMP_MALFORMED },
	{ "embedded echo", 48, -1, .embedded_icmp = 9, .drop = -1 },
	{ "embedded echo reply", 48, -1, .embedded_icmp = 1, .drop = -1 },
	{ "embedded unreachable", 48, -1, .embedded_icmp = 4, .drop = MVT_DROP_ICMP_UNSUPPORTED },
	{ "embedded time exceeded", 48, -1, .embedded_icmp = 12,
	  .drop = MVT_DROP_ICMP_UNSUPPORTED },
	{ "embedded redirect", 48, -1, .embedded_icmp = 6, .drop = MVT_DROP_ICMP_UNSUPPORTED },
	{ "embedded unreachable, one byte", 21, -1, .embedded_icmp = 4,
	  .drop = MVT_DROP_ICMP_UNSUPPORTED },
	{ "embedded ICMP without a byte", 20, -1, .embedded_icmp = 4, .drop = -1 },
};

static void
each_case_has_its_verdict (void **unused)
{
	(void) unused;
	for (size_t i = 0; i < sizeof (refused) / sizeof (refused[0]); i++)
	{
		const refused_t *c = &refused[i];
		build_t b = { .src = EXTERNAL,
			      .dst = REMOTE,
			      .sport = 9,
			      .dport = 53,
			      .ip_proto = 17,
			      .payload = 20 };
		build_t o = { .src = ROUTER, .dst = EXTERNAL };
		if (c->embedded_icmp)
		{
			b.ip_proto = 1;
			b.icmp_type = (uint8_t) (c->embedded_icmp - 1);
		}
		built_t inner = build_packet (&b);
		if (c->at >= 0)
			build_put16 (inner.p + c->at, c->value);
		if (c->repair)
		{
			uint8_t vhl = inner.p[0], longest[60] = { 0 };
			memcpy (longest, inner.p, inner.len);
			build_fill_ip (longest);
			memcpy (inner.p, longest, 20);
			inner.p[0] = vhl;
		}
		built_t error = build_error (&o, 3, &inner, c->keep, 0);
		if (c->break_outer)
			error.p[22] ^= 1;
		mvt_pkt_t pkt = build_view (&error, MVT_OUT2IN, 0);
		mvt_parsed_t outer;
		mvt_embedded_t embedded;
		mvt_drop_t drop = MVT_DROP_N;
		assert_true (mvt_packet_parse (&pkt, &outer, &drop));
		bool good = mvt_icmp_embedded (&pkt, &outer, &embedded, &drop);
		if (good != (c->drop == -1) || (!good && (int) drop != c->drop))
			fail_msg ("%s: good %d, drop %d", c->name, good, (int) drop);
		free (inner.p);
		free (error.p);
	}
}

static void
what_is_found (void **unused)
{
	build_t b = { .src = EXTERNAL,
		      .dst = REMOTE,
		      .sport = 9,
		      .dport = 53,
		      .ip_proto = 6,
		      .options = 12,
		      .payload = 40 };
	build_t o = { .src = ROUTER, .dst = EXTERNAL, .options = 4 };
	built_t inner = build_packet (&b), error = build_error (&o, 11, &inner, 40, 0);
	mvt_pkt_t pkt = build_view (&error, MVT_OUT2IN, 0);
	mvt_parsed_t outer;
	mvt_embedded_t embedded;
	mvt_drop_t drop;

	(void) unused;
	assert_true (mvt_packet_parse (&pkt, &outer, &drop));
	assert_true (mvt_icmp_embedded (&pkt, &outer, &embedded, &drop));
	assert_int_equal (embedded.ip, 32);
	assert_int_equal (embedded.l4, 64);
	assert_int_equal (embedded.l4_len, 8);
	assert_int_equal (embedded.sport, 9);
	assert_int_equal (embedded.dport, 53);
	assert_int_equal (embedded.ip_proto, 6);
	assert_int_equal (embedded.has_l4, 1);
	free (inner.p);
	free (error.p);
}

/* A capture keeps part of the packet. What the capture kept, put over the whole packet, must give
 * a packet whose ICMP checksum is right: the update did not count what it could not change. */
static void
truncated_captures_stay_consistent (void **unused)
{
	uint64_t state = 11;

	(void) unused;
	for (unsigned round = 0; round < 2000; round++)
	{
		error_t e = error_random (&state);
		built_t whole = error_before (&e);
		uint32_t l4 = 20u + e.outer.options;
		uint32_t least = l4 + 8 + 20 + e.embedded.options;
		uint32_t len = least + build_random (&state) % (whole.len - least + 1);
		built_t cut = { malloc (len), len };
		memcpy (cut.p, whole.p, len);
		translate (&cut, MVT_PKT_TRUNCATED_OK, &e);
		memcpy (whole.p, cut.p, len);
		assert_int_equal (build_sum (0, whole.p, l4), 0xffff);
		assert_int_equal (build_sum (0, whole.p + l4, whole.len - l4), 0xffff);
		assert_int_equal (build_sum (0, whole.p + l4 + 8, 20u + e.embedded.options),
				  0xffff);
		free (whole.p);
		free (cut.p);
	}
}

/* RFC 5508 REQ-7: A sends to B's external endpoint, B answers by an error; it is translated to the
 * outside and back in, and A sees B's external endpoint in the packet that A sent. */
static void
hairpinned_error (void **unused)
{
	const uint32_t a = INSIDE, b = 0x0a020304u, ext_a = EXTERNAL, ext_b = EXTERNAL + 1;
	error_t to_outside = { .dir = MVT_IN2OUT,
			       .type = 3,
			       .embedded = { .src = ext_a,
					     .dst = b,
					     .sport = 1024,
					     .dport = 7000,
					     .ip_proto = 17,
					     .payload = 30 },
			       .outer = { .src = b, .dst = ext_a },
			       .keep_l4 = 38,
			       .new_addr = ext_b,
			       .new_port = 2000,
			       .new_outer = ext_b };
	error_t to_inside = { .dir = MVT_OUT2IN, .new_addr = a, .new_port = 5000, .new_outer = a };
	error_t wanted = to_outside;

	(void) unused;
	built_t got = error_before (&to_outside);
	translate (&got, 0, &to_outside);
	translate (&got, 0, &to_inside);
	wanted.embedded.src = a;
	wanted.embedded.sport = 5000;
	wanted.embedded.dst = ext_b;
	wanted.embedded.dport = 2000;
	wanted.outer.src = ext_b;
	wanted.outer.dst = a;
	built_t expected = error_before (&wanted);
	equal_or_say (&got, &expected, "hairpin", 0);
	free (got.p);
	free (expected.p);
}

/* Mutated errors in memory of exactly their length. */
static void
noise_is_survived (void **unused)
{
	uint64_t state = 77;
	unsigned taken = 0;

	(void) unused;
	for (unsigned round = 0; round < 200000; round++)
	{
		error_t e = error_random (&state);
		uint32_t r = build_random (&state);
		built_t whole = error_before (&e);
		uint32_t len = r & 1 ? build_random (&state) % (whole.len + 1) : whole.len;
		built_t b = { malloc (len), len };
		memcpy (b.p, whole.p, len);
		for (unsigned k = r >> 1 & 3; k && len; k--)
			b.p[build_random (&state) % len] = (uint8_t) build_random (&state);
		uint32_t ip = 20u + e.outer.options + 8;
		if ((r & 8) && len >= ip + 60)
		{
			/* any length of embedded header, with a right checksum */
			b.p[ip] = (uint8_t) (0x40 | (r >> 4 & 15));
			if ((b.p[ip] & 15) >= 5)
				build_fill_ip (b.p + ip);
		}
		mvt_pkt_t pkt = build_view (&b, (uint8_t) e.dir,
					    MVT_PKT_TRUNCATED_OK | MVT_PKT_CHECKSUM_DONE);
		mvt_parsed_t outer;
		mvt_embedded_t embedded;
		mvt_drop_t drop = MVT_DROP_N;
		if (mvt_packet_parse (&pkt, &outer, &drop) && outer.icmp_error)
		{
			drop = MVT_DROP_N;
			if (mvt_icmp_embedded (&pkt, &outer, &embedded, &drop))
			{
				assert_true ((uint32_t) embedded.l4 + embedded.l4_len <= len);
				mvt_icmp_rewrite (&pkt, &outer, &embedded, e.dir, e.new_addr,
						  e.new_port, e.new_outer);
				taken++;
			}
			else
				assert_true (drop == MVT_DROP_ICMP_MALFORMED ||
					     drop == MVT_DROP_ICMP_UNSUPPORTED);
		}
		free (b.p);
		free (whole.p);
	}
	assert_true (taken > 20000);
}

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (random_errors_are_as_if_built_anew),
		cmocka_unit_test (tunnels_inside_errors),
		cmocka_unit_test (later_fragments_have_addresses_only),
		cmocka_unit_test (each_case_has_its_verdict),
		cmocka_unit_test (what_is_found),
		cmocka_unit_test (truncated_captures_stay_consistent),
		cmocka_unit_test (hairpinned_error),
		cmocka_unit_test (noise_is_survived),
	};

	return cmocka_run_group_tests_name ("icmp", tests, NULL, NULL);
}
