/* SPDX-License-Identifier: Apache-2.0 */
#include "mvt_icmp.h"
#include "mvt_rewrite.h"

#define IP_MIN	     20u
#define ICMP_HEADER  8u
#define PORTS_MIN    4u /* both ports of TCP and UDP */
#define QUERY_ID_MIN 6u /* type to id of an ICMP query */

/* RFC 4884 puts its extensions 128 bytes behind the ICMP header or later. What is rewritten ends
 * before, whatever the length attribute says, so it need not be read. */
_Static_assert (60 + 18 <= 128, "longest IPv4 header and a TCP checksum lie before extensions");

/* Sum of a message's 16-bit words as they lie in memory; an odd last byte is padded with 0. */
static uint64_t
message_sum (const uint8_t *p, uint32_t len)
{
	uint64_t sum = 0;
	uint32_t i = 0;

	for (; i + 4 <= len; i += 4)
	{
		uint32_t w;
		__builtin_memcpy (&w, p + i, 4);
		sum += w;
	}
	if (i + 2 <= len)
	{
		sum += mvt_csum_load (p + i);
		i += 2;
	}
	return i < len ? sum + p[i] : sum;
}

static bool
outer_checksum_good (const mvt_pkt_t *pkt, const mvt_parsed_t *outer)
{
	if (mvt_load16 (pkt->l3 + 2) > pkt->len)
		return true; /* truncated: nobody can know */
	return mvt_csum_good (message_sum (pkt->l3 + outer->l4, outer->l4_len));
}

/* Ports or query id, where they can be read. Returns false for an embedded ICMP non-query. */
static bool
embedded_l4 (const uint8_t *l4, mvt_embedded_t *out)
{
	switch (out->proto)
	{
	case MVT_PROTO_UDP:
	case MVT_PROTO_TCP:
		if (out->l4_len < PORTS_MIN)
			return true;
		out->sport = mvt_load16 (l4);
		out->dport = mvt_load16 (l4 + 2);
		out->has_l4 = 1;
		return true;
	case MVT_PROTO_ICMP:
		if (out->l4_len == 0)
			return true;
		if (!mvt_icmp_is_query (l4[0]))
			return false;
		out->icmp_type = l4[0];
		if (out->l4_len < QUERY_ID_MIN)
			return true;
		out->sport = out->dport = mvt_load16 (l4 + 4);
		out->has_l4 = 1;
		return true;
	default:
		return true;
	}
}

bool
mvt_icmp_embedded (const mvt_pkt_t *pkt, const mvt_parsed_t *outer, mvt_embedded_t *out,
		   mvt_drop_t *drop)
{
	*out = (mvt_embedded_t){ 0 };
	*drop = MVT_DROP_ICMP_MALFORMED;

	if (!outer_checksum_good (pkt, outer))
		return false;
	if (outer->l4_len < ICMP_HEADER + IP_MIN)
		return false;

	const uint8_t *ip = pkt->l3 + outer->l4 + ICMP_HEADER;
	uint32_t readable = outer->l4_len - ICMP_HEADER;
	uint32_t header = (uint32_t) (ip[0] & 15) * 4;

	if (ip[0] >> 4 != 4 || header < IP_MIN || header > readable)
		return false;
	if (!mvt_csum_good (message_sum (ip, header)))
		return false;

	uint16_t frag = mvt_load16 (ip + 6);

	out->src = mvt_load32 (ip + 12);
	out->dst = mvt_load32 (ip + 16);
	out->ip = (uint16_t) (outer->l4 + ICMP_HEADER);
	out->l4 = (uint16_t) (out->ip + header);
	out->l4_len = (uint16_t) (readable - header);
	out->ip_proto = ip[9];
	out->proto = mvt_proto_of (ip[9]);
	out->fragment = (frag & 0x3fff) != 0;

	if (frag & 0x1fff)
	{
		/* what lies there is data; only the protocol is known */
		out->l4_len = 0;
		return true;
	}
	if (!embedded_l4 (ip + header, out))
	{
		*drop = MVT_DROP_ICMP_UNSUPPORTED;
		return false;
	}
	return true;
}

/* Store a 16-bit word as it lies in memory and add its change to the message's delta. */
static void
put16 (uint8_t *p, uint16_t word, uint16_t *message)
{
	*message = mvt_delta_add (*message, mvt_csum_add ((uint16_t) ~mvt_csum_load (p), word));
	mvt_csum_store (p, word);
}

static void
put_addr (uint8_t *p, uint32_t addr, uint16_t *message)
{
	put16 (p, __builtin_bswap16 ((uint16_t) (addr >> 16)), message);
	put16 (p + 2, __builtin_bswap16 ((uint16_t) addr), message);
}

/* The embedded L4 checksum, which nobody verifies (REQ-3c) but a host may compare (REQ-4). */
static void
put_l4_csum (uint8_t *l4, const mvt_embedded_t *embedded, uint16_t addr_delta, uint16_t port_delta,
	     uint16_t *message)
{
	uint16_t delta = embedded->proto == MVT_PROTO_ICMP ? port_delta
							   : mvt_delta_add (addr_delta, port_delta);
	uint32_t at;

	if (embedded->proto != MVT_PROTO_OTHER)
		at = mvt_l4_csum_offset (embedded->proto);
	else if (embedded->ip_proto == MVT_IP_DCCP || embedded->ip_proto == MVT_IP_UDPLITE)
		at = 6;
	else
		return;
	if (at + 2 > embedded->l4_len)
		return;

	uint16_t old = mvt_csum_load (l4 + at);
	bool zero_is_none =
		embedded->ip_proto == MVT_IP_UDP || embedded->ip_proto == MVT_IP_UDPLITE;
	put16 (l4 + at,
	       zero_is_none ? mvt_csum_apply_udp (old, delta) : mvt_csum_apply (old, delta),
	       message);
}

void
mvt_icmp_rewrite (const mvt_pkt_t *pkt, const mvt_parsed_t *outer, const mvt_embedded_t *embedded,
		  unsigned dir, uint32_t addr, uint16_t port, uint32_t outer_addr)
{
	uint8_t *ip = pkt->l3 + embedded->ip;
	uint8_t *l4 = pkt->l3 + embedded->l4;
	uint8_t *message_csum = pkt->l3 + outer->l4 + 2;
	uint8_t *embedded_addr = ip + (dir == MVT_OUT2IN ? 12 : 16);
	uint8_t *outer_at = pkt->l3 + (dir == MVT_OUT2IN ? 16 : 12);
	uint16_t message = 0, addr_delta, port_delta = 0;

	addr_delta = mvt_delta_addr (mvt_load32 (embedded_addr), addr);
	put_addr (embedded_addr, addr, &message);
	put16 (ip + 10, mvt_csum_apply (mvt_csum_load (ip + 10), addr_delta), &message);

	if (embedded->has_l4)
	{
		uint32_t side = dir == MVT_OUT2IN ? 0 : 2;
		uint8_t *at = l4 + (embedded->proto == MVT_PROTO_ICMP ? 4 : side);
		port_delta = mvt_delta_port (mvt_load16 (at), port);
		put16 (at, __builtin_bswap16 (port), &message);
	}
	put_l4_csum (l4, embedded, addr_delta, port_delta, &message);
	mvt_csum_store (message_csum, mvt_csum_apply (mvt_csum_load (message_csum), message));

	uint16_t outer_delta = mvt_delta_addr (mvt_load32 (outer_at), outer_addr);
	mvt_store32 (outer_at, outer_addr);
	mvt_csum_store (pkt->l3 + 10, mvt_csum_apply (mvt_csum_load (pkt->l3 + 10), outer_delta));
}
