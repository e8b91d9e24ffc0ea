/* SPDX-License-Identifier: Apache-2.0
 * Parse, embedded packets of ICMP errors, and rewrite, of any bytes: nothing outside the packet is
 * read or written, both parsers agree, a right header checksum stays right, and the way back gives
 * what there was.
 *
 * Input: flags, options of this target, address, port, then the packet. */
#include "mvt_icmp.h"
#include "mvt_rewrite.h"
#include "packet_build.h"

#include "fuzz_input.h"

enum
{
	REPAIR = 1 << 0,   /* make the checksums right, so that the fuzzer gets past them */
	OUTBOUND = 1 << 1, /* direction */
};

/* Checksums of the packet, and of what an ICMP error embeds, where they can be. */
static void
repair (uint8_t *p, uint32_t len)
{
	uint32_t header = len >= 20 ? (p[0] & 15u) * 4 : 0;

	if (header < 20 || header > len)
		return;
	uint32_t total = mvt_load16 (p + 2), end = total < len ? total : len;
	build_fill_ip (p);
	if (p[9] != MVT_IP_ICMP || end < header + 8)
		return;
	uint8_t *icmp = p + header;
	if (end >= header + 28)
	{
		uint32_t inner = (icmp[8] & 15u) * 4;
		if (inner >= 20 && header + 8 + inner <= end)
			build_fill_ip (icmp + 8);
	}
	build_put16 (icmp + 2, 0);
	build_put16 (icmp + 2, build_csum (0, icmp, end - header));
}

static uint32_t
header_sum (const uint8_t *p)
{
	return build_csum (0, p, (p[0] & 15u) * 4);
}

/* Equal, where 0 and 0xffff are the same checksum. */
static bool
same_but_for_zeros (const uint8_t *a, const uint8_t *b, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		if (a[i] != b[i] && !((a[i] == 0 && b[i] == 0xff) || (a[i] == 0xff && b[i] == 0)))
			return false;
	return true;
}

static void
check_plain (mvt_pkt_t *pkt, mvt_parsed_t *parsed, uint32_t addr, uint16_t port,
	     const uint8_t *before)
{
	bool out = pkt->dir == MVT_IN2OUT;
	uint32_t old_addr = out ? parsed->src : parsed->dst;
	uint16_t old_port = out ? parsed->sport : parsed->dport;
	uint32_t inside = out ? old_addr : addr, outside = out ? addr : old_addr;
	uint16_t in_port = out ? old_port : port, out_port = out ? port : old_port;
	uint16_t delta_ip = mvt_delta_addr (inside, outside);
	uint16_t delta_l4 = mvt_delta_l4 (parsed->proto, inside, in_port, outside, out_port);
	mvt_parsed_t again;
	mvt_drop_t drop;

	mvt_rewrite (pkt, parsed, pkt->dir, addr, port, delta_ip, delta_l4);
	if (!(pkt->flags & MVT_PKT_CHECKSUM_DONE))
		FUZZ_CHECK (header_sum (pkt->l3) == 0);
	FUZZ_CHECK (mvt_packet_parse (pkt, &again, &drop));
	FUZZ_CHECK ((out ? again.src : again.dst) == addr);
	FUZZ_CHECK (!parsed->has_l4 || (out ? again.sport : again.dport) == port);
	mvt_parsed_translated (parsed, pkt->dir, addr, port);
	FUZZ_CHECK (memcmp (parsed, &again, sizeof again) == 0);

	/* back: the same entry's deltas from old to new, taken the other way */
	delta_ip = mvt_delta_reverse (delta_ip);
	delta_l4 = mvt_delta_reverse (delta_l4);
	mvt_rewrite (pkt, &again, pkt->dir, old_addr, old_port, delta_ip, delta_l4);
	FUZZ_CHECK (same_but_for_zeros (pkt->l3, before, pkt->len));
}

static void
check_error (mvt_pkt_t *pkt, const mvt_parsed_t *parsed, uint32_t addr, uint16_t port,
	     const uint8_t *before)
{
	mvt_embedded_t emb, again;
	mvt_parsed_t outer;
	mvt_drop_t drop;

	if (!mvt_icmp_embedded (pkt, parsed, &emb, &drop))
		return;
	bool out = pkt->dir == MVT_IN2OUT;
	uint32_t old_addr = out ? emb.dst : emb.src, old_outer = out ? parsed->src : parsed->dst;
	uint16_t old_port = out ? emb.dport : emb.sport;

	mvt_icmp_rewrite (pkt, parsed, &emb, pkt->dir, addr, port, addr ^ 1);
	if (!(pkt->flags & MVT_PKT_CHECKSUM_DONE))
		FUZZ_CHECK (header_sum (pkt->l3) == 0);
	/* right before, so right after: the message's checksum and the embedded header's */
	FUZZ_CHECK (mvt_packet_parse (pkt, &outer, &drop));
	FUZZ_CHECK (mvt_icmp_embedded (pkt, &outer, &again, &drop));
	FUZZ_CHECK ((out ? again.dst : again.src) == addr);
	FUZZ_CHECK ((out ? outer.src : outer.dst) == (addr ^ 1));
	FUZZ_CHECK (!emb.has_l4 || (out ? again.dport : again.sport) == port);

	mvt_icmp_rewrite (pkt, &outer, &again, pkt->dir, old_addr, old_port, old_outer);
	FUZZ_CHECK (same_but_for_zeros (pkt->l3, before, pkt->len));
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
	fuzz_input_t in = { data, size };
	uint8_t flags = fuzz_u8 (&in), how = fuzz_u8 (&in);
	uint32_t addr = fuzz_u32 (&in);
	uint16_t port = fuzz_u16 (&in);
	uint32_t len = (uint32_t) (in.left < 65536 ? in.left : 65536);
	/* blocks of exactly the packet's size: the sanitizer sees one byte too far */
	uint8_t *p = malloc (len), *before = malloc (len);
	mvt_parsed_t parsed, fast;
	mvt_drop_t drop = MVT_DROP_N;

	if (len)
		memcpy (p, in.p, len);
	if (how & REPAIR)
		repair (p, len);
	if (len)
		memcpy (before, p, len);
	mvt_pkt_t pkt = { .l3 = p,
			  .len = len,
			  .dir = how & OUTBOUND ? MVT_IN2OUT : MVT_OUT2IN,
			  .flags = flags & (MVT_PKT_TRUNCATED_OK | MVT_PKT_CHECKSUM_DONE) };

	bool good = mvt_packet_parse (&pkt, &parsed, &drop);
	if (mvt_packet_parse_fast (&pkt, &fast))
		FUZZ_CHECK (good && memcmp (&parsed, &fast, sizeof fast) == 0);
	if (!good)
		FUZZ_CHECK (drop < MVT_DROP_N);
	else if (parsed.icmp_error)
		check_error (&pkt, &parsed, addr, port, before);
	else
		check_plain (&pkt, &parsed, addr, port, before);
	free (p);
	free (before);
	return 0;
}
