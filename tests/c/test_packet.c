/* SPDX-License-Identifier: Apache-2.0
 * The parse of packets: what is found, what is refused and why, and that neither parser reads a
 * byte that is not there or differs from the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "packet_build.h"

#define SRC 0x0a000001u
#define DST 0xc6336401u

static const build_t udp = { .src = SRC,
			     .dst = DST,
			     .sport = 1111,
			     .dport = 53,
			     .ip_id = 0xbeef,
			     .ip_proto = MVT_IP_UDP,
			     .fill = 3,
			     .payload = 24 };
static const build_t tcp = { .src = SRC,
			     .dst = DST,
			     .sport = 40000,
			     .dport = 443,
			     .ip_proto = MVT_IP_TCP,
			     .tcp_flags = 0x12,
			     .fill = 9,
			     .payload = 28 };
static const build_t echo = { .src = SRC,
			      .dst = DST,
			      .sport = 77,
			      .ip_proto = MVT_IP_ICMP,
			      .icmp_type = 8,
			      .fill = 1,
			      .payload = 32 };
static const build_t gre = { .src = SRC, .dst = DST, .ip_proto = 47, .fill = 1, .payload = 24 };

/* Change one 16-bit word at an offset, then repair the header checksum. */
typedef struct
{
	const char *name;
	const build_t *base;
	uint32_t len_less; /* cut so many bytes off the end */
	int32_t at;	   /* offset of the word that is changed, -1 none */
	uint32_t value;
	uint8_t options;
	uint16_t frag;
	uint8_t flags;
	uint8_t raw;  /* 1: do not repair the header checksum */
	int32_t drop; /* -1: parses */
} case_t;

#define OK  -1
#define BAD MVT_DROP_MALFORMED
#define FRG MVT_DROP_FRAGMENT_INVALID
#define TOK MVT_PKT_TRUNCATED_OK

static const case_t cases[] = {
	{ "udp", &udp, .at = -1, .drop = OK },
	{ "tcp", &tcp, .at = -1, .drop = OK },
	{ "echo", &echo, .at = -1, .drop = OK },
	{ "gre", &gre, .at = -1, .drop = OK },
	{ "options", &tcp, .at = -1, .options = 40, .drop = OK },
	{ "version 6", &udp, .at = 0, .value = 0x6500, .drop = BAD },
	{ "IHL 4", &udp, .at = 0, .value = 0x4400, .drop = BAD },
	{ "IHL beyond the packet", &udp, .len_less = 28, .at = 0, .value = 0x4f00, .raw = 1,
	  .drop = BAD },
	{ "total length below the header", &udp, .at = 2, .value = 19, .drop = BAD },
	{ "total length beyond the packet", &udp, .at = 2, .value = 53, .drop = BAD },
	{ "UDP cut below its header by total length", &udp, .at = 2, .value = 27, .drop = BAD },
	{ "truncated without leave", &udp, .len_less = 1, .at = -1, .drop = BAD },
	{ "truncated", &udp, .len_less = 24, .at = -1, .flags = TOK, .drop = OK },
	{ "truncated into the UDP header", &udp, .len_less = 25, .at = -1, .flags = TOK,
	  .drop = BAD },
	{ "truncated to TCP flags", &tcp, .len_less = 34, .at = -1, .flags = TOK, .drop = OK },
	{ "truncated before TCP flags", &tcp, .len_less = 35, .at = -1, .flags = TOK, .drop = BAD },
	{ "truncated into the IP header", &tcp, .len_less = 49, .at = -1, .flags = TOK,
	  .drop = BAD },
	{ "header checksum", &udp, .at = 10, .value = 0x1234, .raw = 1,
	  .drop = MVT_DROP_BAD_CHECKSUM },
	{ "header checksum 0", &udp, .at = 10, .value = 0, .raw = 1,
	  .drop = MVT_DROP_BAD_CHECKSUM },
	{ "header checksum, options", &udp, .at = 22, .value = 0x0102, .raw = 1, .options = 8,
	  .drop = MVT_DROP_BAD_CHECKSUM },
	{ "header checksum verified by the host", &udp, .at = 10, .value = 0x1234, .raw = 1,
	  .flags = MVT_PKT_CHECKSUM_DONE, .drop = OK },
	{ "UDP length 7", &udp, .at = 24, .value = 7, .drop = BAD },
	{ "UDP length 0", &udp, .at = 24, .value = 0, .drop = BAD },
	{ "UDP length beyond the payload", &udp, .at = 24, .value = 33, .drop = BAD },
	{ "UDP length beyond, capture", &udp, .at = 24, .value = 33, .flags = TOK, .drop = OK },
	{ "UDP length less: trailer", &udp, .at = 24, .value = 31, .drop = OK },
	{ "TCP offset 4", &tcp, .at = 32, .value = 0x4010, .drop = BAD },
	{ "TCP offset to the end", &tcp, .at = 32, .value = 0xc010, .drop = OK },
	{ "TCP offset beyond the end", &tcp, .at = 32, .value = 0xd010, .drop = BAD },
	{ "TCP 19 bytes", &tcp, .at = 2, .value = 39, .drop = BAD },
	{ "ICMP 7 bytes", &echo, .at = 2, .value = 27, .drop = BAD },
	{ "DF", &udp, .at = -1, .frag = 0x4000, .drop = OK },
	{ "evil bit", &udp, .at = -1, .frag = 0x8000, .drop = OK },
	{ "first fragment, UDP", &udp, .at = 24, .value = 5000, .frag = 0x2000, .drop = OK },
	{ "first fragment, UDP length 7", &udp, .at = 24, .value = 7, .frag = 0x2000, .drop = BAD },
	{ "first fragment, not a multiple of 8", &udp, .at = 2, .value = 51, .frag = 0x2000,
	  .drop = FRG },
	{ "first fragment, empty", &gre, .at = 2, .value = 20, .frag = 0x2000, .drop = FRG },
	{ "tiny first fragment, TCP 16", &tcp, .at = 2, .value = 36, .frag = 0x2000, .drop = FRG },
	{ "first fragment, TCP 24", &tcp, .at = 2, .value = 44, .frag = 0x2000, .drop = OK },
	{ "first fragment, TCP options go on in the next", &tcp, .at = 32, .value = 0xf002,
	  .frag = 0x2000, .drop = OK },
	{ "first fragment, UDP 8", &udp, .at = 2, .value = 28, .frag = 0x2000, .drop = OK },
	{ "middle fragment", &udp, .at = -1, .frag = 0x2000 | 185, .drop = OK },
	{ "last fragment", &udp, .at = 2, .value = 21, .frag = 185, .drop = OK },
	{ "last fragment, empty", &udp, .at = 2, .value = 20, .frag = 185, .drop = FRG },
	{ "TCP fragment over the flags, RFC 3128", &tcp, .at = -1, .frag = 1, .drop = FRG },
	{ "TCP fragment over the checksum", &tcp, .at = -1, .frag = 2, .drop = FRG },
	{ "TCP fragment at 24", &tcp, .at = -1, .frag = 3, .drop = OK },
	{ "UDP fragment at 8", &udp, .at = -1, .frag = 1, .drop = OK },
	{ "last byte at 65,535", &udp, .at = 2, .value = 20 + 7, .frag = 8188, .drop = OK },
	{ "last byte beyond 65,535", &udp, .at = -1, .frag = 8188, .drop = FRG },
	{ "truncated tiny first fragment", &tcp, .len_less = 10, .at = 2, .value = 36,
	  .frag = 0x2000, .flags = TOK, .drop = FRG },
	{ "last byte beyond 65,535 with the header", &udp, .at = 2, .value = 20 + 24, .frag = 8187,
	  .drop = FRG },
};

static built_t
make (const case_t *c)
{
	build_t b = *c->base;
	built_t out;

	b.options = c->options;
	b.frag = c->frag;
	out = build_packet (&b);
	if (c->at >= 0)
		build_put16 (out.p + c->at, c->value);
	if (!c->raw && (out.p[0] & 15) >= 5)
		build_fill_ip (out.p);
	uint8_t *cut = malloc (out.len - c->len_less);
	memcpy (cut, out.p, out.len - c->len_less);
	free (out.p);
	return (built_t){ cut, out.len - c->len_less };
}

static void
each_case_has_its_verdict (void **unused)
{
	(void) unused;
	for (size_t i = 0; i < sizeof (cases) / sizeof (cases[0]); i++)
	{
		const case_t *c = &cases[i];
		built_t b = make (c);
		mvt_pkt_t pkt = build_view (&b, MVT_IN2OUT, c->flags);
		mvt_parsed_t slow, fast;
		mvt_drop_t drop = MVT_DROP_N;
		bool good = mvt_packet_parse (&pkt, &slow, &drop);

		if (good != (c->drop == OK) || (!good && (int) drop != c->drop))
			fail_msg ("%s: good %d drop %d", c->name, good, (int) drop);
		if (mvt_packet_parse_fast (&pkt, &fast))
		{
			if (!good)
				fail_msg ("%s: the fast parse takes it", c->name);
			assert_memory_equal (&fast, &slow, sizeof (fast));
		}
		free (b.p);
	}
}

static void
what_is_found (void **unused)
{
	mvt_parsed_t parsed;
	mvt_drop_t drop;
	built_t b = build_packet (&udp);
	mvt_pkt_t pkt = build_view (&b, MVT_IN2OUT, 0);

	(void) unused;
	assert_true (mvt_packet_parse (&pkt, &parsed, &drop));
	mvt_parsed_t expected = { .src = SRC,
				  .dst = DST,
				  .sport = 1111,
				  .dport = 53,
				  .l4 = 20,
				  .l4_len = 32,
				  .ip_id = 0xbeef,
				  .ip_proto = 17,
				  .proto = MVT_PROTO_UDP,
				  .has_l4 = 1 };
	assert_memory_equal (&parsed, &expected, sizeof (parsed));
	assert_true (mvt_packet_parse_fast (&pkt, &parsed));
	assert_memory_equal (&parsed, &expected, sizeof (parsed));
	free (b.p);

	build_t with = tcp;
	with.options = 12;
	b = build_packet (&with);
	pkt = build_view (&b, MVT_IN2OUT, 0);
	assert_false (mvt_packet_parse_fast (&pkt, &parsed));
	assert_true (mvt_packet_parse_inline (&pkt, &parsed, &drop));
	expected = (mvt_parsed_t){ .src = SRC,
				   .dst = DST,
				   .sport = 40000,
				   .dport = 443,
				   .l4 = 32,
				   .l4_len = 48,
				   .ip_proto = 6,
				   .proto = MVT_PROTO_TCP,
				   .tcp_flags = 0x12,
				   .has_l4 = 1 };
	assert_memory_equal (&parsed, &expected, sizeof (parsed));
	free (b.p);

	with = udp;
	with.frag = 0x2000 | 185;
	b = build_packet (&with);
	pkt = build_view (&b, MVT_IN2OUT, 0);
	assert_true (mvt_packet_parse (&pkt, &parsed, &drop));
	expected = (mvt_parsed_t){ .src = SRC,
				   .dst = DST,
				   .l4 = 20,
				   .l4_len = 32,
				   .frag_off = 1480,
				   .ip_id = 0xbeef,
				   .ip_proto = 17,
				   .proto = MVT_PROTO_UDP,
				   .fragment = 1,
				   .more = 1 };
	assert_memory_equal (&parsed, &expected, sizeof (parsed));
	free (b.p);

	b = build_packet (&gre);
	pkt = build_view (&b, MVT_IN2OUT, 0);
	assert_true (mvt_packet_parse (&pkt, &parsed, &drop));
	assert_int_equal (parsed.proto, MVT_PROTO_OTHER);
	assert_int_equal (parsed.has_l4, 0);
	free (b.p);
}

static void
padding_is_no_payload (void **unused)
{
	mvt_parsed_t slow, fast;
	mvt_drop_t drop;
	build_t b = udp;

	(void) unused;
	b.payload = 1;
	built_t small = build_packet (&b);
	uint8_t padded[46] = { 0 };
	memcpy (padded, small.p, small.len);
	mvt_pkt_t pkt = { .l3 = padded, .len = sizeof (padded) };
	assert_true (mvt_packet_parse_fast (&pkt, &fast));
	assert_true (mvt_packet_parse (&pkt, &slow, &drop));
	assert_memory_equal (&fast, &slow, sizeof (fast));
	assert_int_equal (fast.l4_len, 9);
	free (small.p);
}

/* RFC 5508: queries by id, errors by what they embed, the rest not at all. */
static void
icmp_types_fall_into_three (void **unused)
{
	static const uint8_t queries[] = { 0, 8, 13, 14, 15, 16, 17, 18 };
	static const uint8_t errors[] = { 3, 4, 11, 12 };

	(void) unused;
	for (unsigned type = 0; type < 256; type++)
	{
		build_t with = echo;
		with.icmp_type = (uint8_t) type;
		built_t b = build_packet (&with);
		mvt_pkt_t pkt = build_view (&b, MVT_IN2OUT, 0);
		mvt_parsed_t parsed;
		mvt_drop_t drop;
		bool query = memchr (queries, (int) type, sizeof (queries)) != NULL;
		bool error = memchr (errors, (int) type, sizeof (errors)) != NULL;
		bool good = mvt_packet_parse (&pkt, &parsed, &drop);

		assert_int_equal (good, query || error);
		if (!good)
			assert_int_equal (drop, MVT_DROP_ICMP_UNSUPPORTED);
		else
		{
			assert_int_equal (parsed.icmp_type, type);
			assert_int_equal (parsed.icmp_error, error);
			assert_int_equal (parsed.has_l4, query);
			assert_int_equal (parsed.sport, query ? 77 : 0);
			assert_int_equal (parsed.dport, query ? 77 : 0);
		}
		assert_int_equal (mvt_icmp_is_request ((uint8_t) type),
				  type == 8 || type == 13 || type == 15 || type == 17);

		/* a query's first fragment has the id, an error must not be fragmented */
		build_put16 (b.p + 6, 0x2000);
		build_fill_ip (b.p);
		good = mvt_packet_parse (&pkt, &parsed, &drop);
		assert_int_equal (good, query);
		if (error)
			assert_int_equal (drop, MVT_DROP_ICMP_MALFORMED);
		free (b.p);
	}
}

/* mvt_csum_good against the definition, for every checksum field and several headers. */
static void
checksum_test_is_exact (void **unused)
{
	uint64_t state = 7;

	(void) unused;
	for (int round = 0; round < 8; round++)
	{
		uint8_t h[20];
		for (int i = 0; i < 20; i++)
			h[i] = round == 0 ? 0xff : round == 1 ? 0 : (uint8_t) build_random (&state);
		h[0] = 0x45;
		for (uint32_t csum = 0; csum < 65536; csum++)
		{
			uint64_t sum = 0;
			build_put16 (h + 10, csum);
			for (int i = 0; i < 20; i += 4)
			{
				uint32_t w;
				memcpy (&w, h + i, 4);
				sum += w;
			}
			if (mvt_csum_good (sum) != (build_sum (0, h, 20) == 0xffff))
				fail_msg ("round %d checksum %04x", round, csum);
		}
	}
}

/* Every length from 0 to all, for several packets, in memory of exactly that length. */
static void
no_length_reads_too_far (void **unused)
{
	const build_t *bases[] = { &udp, &tcp, &echo, &gre };

	(void) unused;
	for (size_t i = 0; i < 4; i++)
		for (unsigned options = 0; options <= 40; options += 20)
			for (unsigned flags = 0; flags < 64; flags++)
			{
				build_t with = *bases[i];
				with.options = (uint8_t) options;
				built_t whole = build_packet (&with);
				for (uint32_t len = 0; len <= whole.len; len++)
				{
					built_t b = { malloc (len), len };
					memcpy (b.p, whole.p, len);
					mvt_pkt_t pkt =
						build_view (&b, MVT_IN2OUT, (uint8_t) flags);
					mvt_parsed_t parsed, fast;
					mvt_drop_t drop;
					bool good = mvt_packet_parse (&pkt, &parsed, &drop);
					if (mvt_packet_parse_fast (&pkt, &fast))
						assert_memory_equal (&fast, &parsed, sizeof (fast));
					if (good && parsed.has_l4)
						assert_true (parsed.l4 + 8u <= len);
					free (b.p);
				}
				free (whole.p);
			}
}

/* Random and mutated packets. The parse must keep its promises about offsets, and the fast one
 * must agree with the other whenever it takes a packet. */
static void
noise_is_survived (void **unused)
{
	const build_t *bases[] = { &udp, &tcp, &echo, &gre };
	uint64_t state = 42;
	unsigned taken = 0, fast_taken = 0;

	(void) unused;
	for (unsigned round = 0; round < 200000; round++)
	{
		uint32_t r = build_random (&state);
		build_t with = *bases[r & 3];
		with.options = (uint8_t) ((r >> 2 & 1) * 8);
		with.payload = r >> 8 & 63;
		built_t whole = build_packet (&with);
		uint32_t len = r & 0x10 ? build_random (&state) % (whole.len + 1) : whole.len;
		built_t b = { malloc (len), len };
		memcpy (b.p, whole.p, len);
		for (unsigned k = r >> 5 & 3; k && len; k--)
			b.p[build_random (&state) % (k == 1	? len
						     : len < 44 ? len
								: 44)] =
				(uint8_t) build_random (&state);
		if ((r & 0x80) && len >= 20 && (b.p[0] & 15) >= 5 && (b.p[0] & 15u) * 4 <= len)
			build_fill_ip (b.p);

		mvt_pkt_t pkt = build_view (&b, MVT_IN2OUT, (uint8_t) (r >> 16 & 0x22));
		mvt_parsed_t parsed, fast;
		mvt_drop_t drop = MVT_DROP_N;
		bool good = mvt_packet_parse (&pkt, &parsed, &drop);
		if (mvt_packet_parse_fast (&pkt, &fast))
		{
			assert_true (good);
			assert_memory_equal (&fast, &parsed, sizeof (fast));
			fast_taken++;
		}
		else if (good) /* it leaves nothing common to the other */
			assert_true (parsed.l4 != 20 || parsed.fragment || parsed.proto > 1 ||
				     (pkt.flags & MVT_PKT_TRUNCATED_OK) ||
				     (parsed.proto == MVT_PROTO_UDP &&
				      mvt_load16 (b.p + 24) != parsed.l4_len));
		if (good)
		{
			taken++;
			assert_true (parsed.l4 >= 20 && parsed.l4 <= 60);
			assert_true ((uint32_t) parsed.l4 + parsed.l4_len <= len);
			if (parsed.has_l4 || parsed.icmp_error)
				assert_true (parsed.l4_len >= 8 && parsed.frag_off == 0);
			assert_false (parsed.has_l4 && parsed.icmp_error);
		}
		else
			assert_true (drop == MVT_DROP_MALFORMED || drop == MVT_DROP_BAD_CHECKSUM ||
				     drop == MVT_DROP_FRAGMENT_INVALID ||
				     drop == MVT_DROP_ICMP_MALFORMED ||
				     drop == MVT_DROP_ICMP_UNSUPPORTED);
		free (b.p);
		free (whole.p);
	}
	assert_true (taken > 20000 && fast_taken > 10000); /* else the noise was too loud to test */
}

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (each_case_has_its_verdict),
		cmocka_unit_test (what_is_found),
		cmocka_unit_test (padding_is_no_payload),
		cmocka_unit_test (icmp_types_fall_into_three),
		cmocka_unit_test (checksum_test_is_exact),
		cmocka_unit_test (no_length_reads_too_far),
		cmocka_unit_test (noise_is_survived),
	};

	return cmocka_run_group_tests_name ("packet", tests, NULL, NULL);
}
