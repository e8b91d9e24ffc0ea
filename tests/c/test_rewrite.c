/* SPDX-License-Identifier: Apache-2.0
 * The rewrite of endpoints: byte for byte what a packet built with the new endpoint would be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "mvt_rewrite.h"
#include "packet_build.h"

#define INSIDE	 0x0a010203u
#define EXTERNAL 0xc6336407u
#define REMOTE	 0xcb007101u

static void
rewrite_one (const built_t *b, uint8_t flags, unsigned dir, uint32_t in_addr, uint16_t in_port,
	     uint32_t ext_addr, uint16_t ext_port)
{
	mvt_pkt_t pkt = build_view (b, (uint8_t) dir, flags);
	mvt_parsed_t parsed;
	mvt_drop_t drop;

	assert_true (mvt_packet_parse (&pkt, &parsed, &drop));
	uint16_t delta_ip = mvt_delta_addr (in_addr, ext_addr);
	uint16_t delta_l4 = mvt_delta_l4 (parsed.proto, in_addr, in_port, ext_addr, ext_port);
	if (dir == MVT_IN2OUT)
		mvt_rewrite (&pkt, &parsed, MVT_IN2OUT, ext_addr, ext_port, delta_ip, delta_l4);
	else
		mvt_rewrite (&pkt, &parsed, MVT_OUT2IN, in_addr, in_port, delta_ip, delta_l4);
}

/* b as it is seen inside (from INSIDE) or outside (from EXTERNAL); replies the other way round. */
static build_t
seen (const build_t *b, unsigned dir, uint32_t addr, uint16_t port)
{
	build_t out = *b;

	if (dir == MVT_IN2OUT)
	{
		out.src = addr;
		out.sport = port;
		return out;
	}
	out.dst = addr;
	if (b->ip_proto == MVT_IP_ICMP)
		out.sport = port;
	else
		out.dport = port;
	return out;
}

static void
equal_or_say (const built_t *got, const built_t *expected, const char *name)
{
	assert_int_equal (got->len, expected->len);
	for (uint32_t i = 0; i < got->len; i++)
		if (got->p[i] != expected->p[i])
			fail_msg ("%s: byte %u is %02x, not %02x", name, i, got->p[i],
				  expected->p[i]);
}

/* The hit path's own parse and rewrite, on a copy, where they take the packet. */
static void
plain_one (const built_t *b, const built_t *expected, unsigned dir, uint32_t in_addr,
	   uint16_t in_port, uint32_t ext_addr, uint16_t ext_port)
{
	built_t copy = { malloc (b->len), b->len };
	mvt_pkt_t pkt = build_view (&copy, (uint8_t) dir, 0);
	mvt_parsed_t parsed;
	mvt_plain_t plain = { 0 };
	mvt_drop_t drop;

	memcpy (copy.p, b->p, b->len);
	assert_true (mvt_packet_parse (&pkt, &parsed, &drop));
	assert_int_equal (mvt_packet_plain (&pkt, &plain), parsed.l4 == 20 && parsed.proto < 2);
	if (parsed.l4 == 20 && parsed.proto < 2)
	{
		uint16_t delta_ip = mvt_delta_addr (in_addr, ext_addr);
		uint16_t delta_l4 =
			mvt_delta_l4 (plain.proto, in_addr, in_port, ext_addr, ext_port);

		assert_true (plain.addrs == ((uint64_t) parsed.src << 32 | parsed.dst));
		assert_true (plain.ports == ((uint32_t) parsed.sport << 16 | parsed.dport));
		assert_int_equal (plain.proto, parsed.proto);
		assert_int_equal (plain.tcp_flags, parsed.tcp_flags);
		if (dir == MVT_IN2OUT)
			mvt_rewrite_plain (copy.p, plain.proto, MVT_IN2OUT, ext_addr, ext_port,
					   delta_ip, delta_l4);
		else
			mvt_rewrite_plain (copy.p, plain.proto, MVT_OUT2IN, in_addr, in_port,
					   delta_ip, delta_l4);
		equal_or_say (&copy, expected, "plain");
	}
	free (copy.p);
}

static void
random_packets_are_as_if_built_anew (void **unused)
{
	static const uint8_t protocols[] = { 17, 6, 1, 17, 47, 132, 33, 136 };
	uint64_t state = 99;

	(void) unused;
	for (unsigned round = 0; round < 100000; round++)
	{
		uint32_t r = build_random (&state);
		unsigned dir = r & 1;
		uint32_t in_addr = build_random (&state), ext_addr = build_random (&state);
		uint16_t in_port = (uint16_t) build_random (&state);
		uint16_t ext_port = (uint16_t) build_random (&state);
		build_t b = { .src = REMOTE,
			      .dst = REMOTE,
			      .sport = (uint16_t) build_random (&state),
			      .dport = (uint16_t) build_random (&state),
			      .ip_id = (uint16_t) r,
			      .ip_proto = protocols[r >> 1 & 7],
			      .options = (uint8_t) ((r >> 4 & 3) * 4),
			      .tcp_flags = 0x10,
			      .icmp_type = r & 0x40 ? 8 : 0,
			      .no_udp_csum = (r >> 7 & 7) == 0,
			      .fill = (uint8_t) (r >> 16),
			      .payload = r >> 24 & 63 };
		if (r & 0x1000) /* extreme words: both zeros of one's complement */
		{
			ext_addr |= r & 0x2000 ? 0xffff0000 : 0xffff;
			in_addr &= r & 0x4000 ? 0xffff0000 : 0xffff;
		}
		build_t from = seen (&b, dir, dir ? ext_addr : in_addr, dir ? ext_port : in_port);
		build_t to = seen (&b, dir, dir ? in_addr : ext_addr, dir ? in_port : ext_port);
		if (b.ip_proto == 33 || b.ip_proto == 136) /* 1:1: the ports stay */
		{
			to.sport = from.sport;
			to.dport = from.dport;
		}
		built_t got = build_packet (&from), expected = build_packet (&to);
		plain_one (&got, &expected, dir, in_addr, in_port, ext_addr, ext_port);
		rewrite_one (&got, 0, dir, in_addr, in_port, ext_addr, ext_port);
		equal_or_say (&got, &expected, "random");
		/* and back is what it was */
		if (dir == MVT_IN2OUT)
		{
			build_t back = from;
			back.src = REMOTE;
			back.dst = ext_addr;
			if (b.ip_proto != 1)
			{
				back.sport = b.dport;
				back.dport = ext_port;
			}
			else
				back.sport = ext_port;
			build_t home = back;
			home.dst = in_addr;
			if (b.ip_proto != 33 && b.ip_proto != 136)
				*(b.ip_proto == 1 ? &home.sport : &home.dport) = in_port;
			built_t reply = build_packet (&back), wanted = build_packet (&home);
			rewrite_one (&reply, 0, MVT_OUT2IN, in_addr, in_port, ext_addr, ext_port);
			equal_or_say (&reply, &wanted, "back");
			free (reply.p);
			free (wanted.p);
		}
		free (got.p);
		free (expected.p);
	}
}

/* RFC 768: for every external port, so the computed checksum passes through 0. */
static void
udp_checksum_is_never_computed_to_zero (void **unused)
{
	build_t b = { .src = INSIDE,
		      .dst = REMOTE,
		      .sport = 5000,
		      .dport = 53,
		      .ip_proto = MVT_IP_UDP,
		      .fill = 1,
		      .payload = 4 };
	unsigned ffff = 0;

	(void) unused;
	for (unsigned port = 0; port < 65536; port++)
	{
		build_t to = b;
		to.src = EXTERNAL;
		to.sport = (uint16_t) port;
		built_t got = build_packet (&b), expected = build_packet (&to);
		rewrite_one (&got, 0, MVT_IN2OUT, INSIDE, 5000, EXTERNAL, (uint16_t) port);
		equal_or_say (&got, &expected, "port");
		ffff += got.p[26] == 0xff && got.p[27] == 0xff;
		assert_false (got.p[26] == 0 && got.p[27] == 0);
		/* and out of 0xffff, which stands for zero, back to the first checksum */
		built_t first = build_packet (&b);
		mvt_pkt_t pkt = build_view (&got, MVT_IN2OUT, 0);
		mvt_parsed_t parsed;
		mvt_drop_t drop;
		assert_true (mvt_packet_parse (&pkt, &parsed, &drop));
		mvt_rewrite (&pkt, &parsed, MVT_IN2OUT, INSIDE, 5000,
			     mvt_delta_reverse (mvt_delta_addr (INSIDE, EXTERNAL)),
			     mvt_delta_reverse (mvt_delta_l4 (MVT_PROTO_UDP, INSIDE, 5000, EXTERNAL,
							      (uint16_t) port)));
		equal_or_say (&got, &first, "port, back");
		free (got.p);
		free (expected.p);
		free (first.p);
	}
	assert_true (ffff >= 1);
}

static void
udp_without_checksum_stays_so (void **unused)
{
	build_t b = { .src = INSIDE,
		      .dst = REMOTE,
		      .sport = 5000,
		      .dport = 53,
		      .ip_proto = MVT_IP_UDP,
		      .no_udp_csum = 1,
		      .payload = 4 };

	(void) unused;
	built_t got = build_packet (&b);
	rewrite_one (&got, 0, MVT_IN2OUT, INSIDE, 5000, EXTERNAL, 1024);
	assert_int_equal (mvt_load16 (got.p + 26), 0);
	assert_int_equal (mvt_load16 (got.p + 20), 1024);
	free (got.p);
}

/* The address alone changes; whatever lies where ports would be is data. */
static void
later_fragments_change_their_address_only (void **unused)
{
	(void) unused;
	for (unsigned dir = 0; dir < 2; dir++)
		for (unsigned proto = 0; proto < 4; proto++)
		{
			build_t b = { .src = dir ? REMOTE : INSIDE,
				      .dst = dir ? EXTERNAL : REMOTE,
				      .sport = 5000,
				      .dport = 6000,
				      .frag = 0x2000 | 100,
				      .ip_proto = (uint8_t[]){ 17, 6, 1, 136 }[proto],
				      .payload = proto == 1 ? 28 : 24 };
			built_t got = build_packet (&b), expected = build_packet (&b);
			build_put32 (expected.p + (dir ? 16 : 12), dir ? INSIDE : EXTERNAL);
			build_fill_ip (expected.p);
			rewrite_one (&got, 0, dir, INSIDE, 5000, EXTERNAL, 1024);
			equal_or_say (&got, &expected, "fragment");
			free (got.p);
			free (expected.p);
		}
}

/* Every length that parses, in memory of exactly that length: what is there is right. */
static void
truncated_captures_are_right_as_far_as_they_go (void **unused)
{
	(void) unused;
	for (unsigned proto = 0; proto < 3; proto++)
	{
		build_t b = { .src = INSIDE,
			      .dst = REMOTE,
			      .sport = 5000,
			      .dport = 6000,
			      .ip_proto = (uint8_t[]){ 17, 6, 1 }[proto],
			      .icmp_type = 8,
			      .payload = 16 };
		build_t to = b;
		to.src = EXTERNAL;
		to.sport = 1024;
		built_t whole = build_packet (&b), expected = build_packet (&to);
		unsigned parsed_ok = 0;
		for (uint32_t len = 0; len <= whole.len; len++)
		{
			built_t got = { malloc (len), len };
			memcpy (got.p, whole.p, len);
			mvt_pkt_t pkt = build_view (&got, MVT_IN2OUT, MVT_PKT_TRUNCATED_OK);
			mvt_parsed_t parsed;
			mvt_drop_t drop;
			if (mvt_packet_parse (&pkt, &parsed, &drop))
			{
				built_t part = { expected.p, len };
				rewrite_one (&got, MVT_PKT_TRUNCATED_OK, MVT_IN2OUT, INSIDE, 5000,
					     EXTERNAL, 1024);
				if (proto == 1 && len < 38)
					/* only half of the checksum is there: left as it came */
					for (uint32_t i = 36; i < len; i++)
						got.p[i] = expected.p[i];
				equal_or_say (&got, &part, "truncated");
				parsed_ok++;
			}
			free (got.p);
		}
		assert_int_equal (parsed_ok, proto == 1 ? 16 + 20 - 14 + 1 : 17);
		free (whole.p);
		free (expected.p);
	}
}

/* A hairpinned packet gets both endpoints changed, with the parse of its arrival. */
static void
hairpin_is_two_rewrites (void **unused)
{
	const uint32_t other = 0x0a020304u;

	(void) unused;
	for (unsigned proto = 0; proto < 3; proto++)
	{
		build_t b = { .src = INSIDE,
			      .dst = EXTERNAL,
			      .sport = 5000,
			      .dport = 2000,
			      .ip_proto = (uint8_t[]){ 17, 6, 1 }[proto],
			      .icmp_type = 8,
			      .payload = 5 };
		build_t to = b;
		to.src = EXTERNAL;
		to.dst = other;
		to.sport = proto == 2 ? 7000 : 1024;
		to.dport = 7000;
		built_t got = build_packet (&b), expected = build_packet (&to);
		mvt_pkt_t pkt = build_view (&got, MVT_IN2OUT, 0);
		mvt_parsed_t parsed;
		mvt_drop_t drop;

		assert_true (mvt_packet_parse (&pkt, &parsed, &drop));
		uint8_t p = parsed.proto;
		mvt_rewrite (&pkt, &parsed, MVT_IN2OUT, EXTERNAL, 1024,
			     mvt_delta_addr (INSIDE, EXTERNAL),
			     mvt_delta_l4 (p, INSIDE, 5000, EXTERNAL, 1024));
		mvt_parsed_translated (&parsed, MVT_IN2OUT, EXTERNAL, 1024);
		mvt_parsed_t again;
		assert_true (mvt_packet_parse (&pkt, &again, &drop));
		assert_memory_equal (&parsed, &again, sizeof (parsed));

		uint16_t ext_port = parsed.dport; /* 2000, or the query's new id */
		mvt_rewrite (&pkt, &parsed, MVT_OUT2IN, other, 7000,
			     mvt_delta_addr (other, EXTERNAL),
			     mvt_delta_l4 (p, other, 7000, EXTERNAL, ext_port));
		mvt_parsed_translated (&parsed, MVT_OUT2IN, other, 7000);
		equal_or_say (&got, &expected, "hairpin");
		assert_true (mvt_packet_parse (&pkt, &again, &drop));
		assert_memory_equal (&parsed, &again, sizeof (parsed));
		free (got.p);
		free (expected.p);
	}
}

/* Equation 3 for every pair of the words that matter and all checksums. */
static void
incremental_equals_full (void **unused)
{
	static const uint16_t words[] = { 0, 1, 0x00ff, 0x7fff, 0x8000, 0xfffe, 0xffff };

	(void) unused;
	for (unsigned i = 0; i < 7; i++)
		for (unsigned k = 0; k < 7; k++)
			for (uint32_t rest = 1; rest < 65536; rest++)
			{
				uint8_t m[4];
				build_put16 (m, rest);
				build_put16 (m + 2, words[i]);
				uint16_t before = (uint16_t) build_csum (0, m, 4);
				build_put16 (m + 2, words[k]);
				uint16_t after = (uint16_t) build_csum (0, m, 4);
				uint16_t got = __builtin_bswap16 (
					mvt_csum_apply (__builtin_bswap16 (before),
							mvt_delta_port (words[i], words[k])));
				if (got != after)
					fail_msg ("%04x: %04x to %04x gives %04x, not %04x", rest,
						  words[i], words[k], got, after);
				got = __builtin_bswap16 (mvt_csum_apply (
					__builtin_bswap16 (after),
					mvt_delta_reverse (mvt_delta_port (words[i], words[k]))));
				if (got != before)
					fail_msg ("%04x: %04x to %04x and back", rest, words[i],
						  words[k]);
			}
}

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (incremental_equals_full),
		cmocka_unit_test (random_packets_are_as_if_built_anew),
		cmocka_unit_test (udp_checksum_is_never_computed_to_zero),
		cmocka_unit_test (udp_without_checksum_stays_so),
		cmocka_unit_test (later_fragments_change_their_address_only),
		cmocka_unit_test (truncated_captures_are_right_as_far_as_they_go),
		cmocka_unit_test (hairpin_is_two_rewrites),
	};

	return cmocka_run_group_tests_name ("rewrite", tests, NULL, NULL);
}
