/* SPDX-License-Identifier: Apache-2.0 */
#include "mvt_packet.h"

#define IP_MIN	     20u
#define UDP_MIN	     8u
#define TCP_MIN	     20u
#define TCP_TO_FLAGS 14u /* enough of a TCP header to track and to rewrite its ports */
#define ICMP_MIN     8u

/* Sum of the header's 32-bit words as they lie in memory. => len is a multiple of 4 */
static uint64_t
header_sum (const uint8_t *p, uint32_t len)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < len; i += 4)
	{
		uint32_t w;
		__builtin_memcpy (&w, p + i, 4);
		sum += w;
	}
	return sum;
}

/* RFC 791, 1858, 3128: refuse a fragment that no honest sender makes.
 * `payload` is by the header's total length, not by what a capture kept. */
static bool
fragment_is_sane (const mvt_parsed_t *out, uint32_t payload)
{
	if (payload == 0 || out->l4 + out->frag_off + payload > 65535)
		return false;
	if (out->more && payload % 8)
		return false;
	if (out->ip_proto != MVT_IP_TCP)
		return out->frag_off || out->proto == MVT_PROTO_OTHER || payload >= UDP_MIN;
	/* ports and flags must lie in the first fragment and nowhere else */
	return out->frag_off ? out->frag_off >= TCP_MIN : payload >= TCP_MIN;
}

_Static_assert (UDP_MIN == ICMP_MIN, "fragment_is_sane takes one for the other");

static bool
parse_udp (const uint8_t *p, uint32_t payload, uint8_t flags, mvt_parsed_t *out)
{
	if (out->l4_len < UDP_MIN)
		return false;
	out->sport = mvt_load16 (p);
	out->dport = mvt_load16 (p + 2);
	out->has_l4 = 1;

	uint32_t length = mvt_load16 (p + 4);
	if (length < UDP_MIN)
		return false;
	/* of a first fragment the length says nothing: it is the whole datagram's */
	return length <= payload || out->more || (flags & MVT_PKT_TRUNCATED_OK);
}

static bool
parse_tcp (const uint8_t *p, uint32_t payload, uint8_t flags, mvt_parsed_t *out)
{
	if (out->l4_len < ((flags & MVT_PKT_TRUNCATED_OK) ? TCP_TO_FLAGS : TCP_MIN))
		return false;
	out->sport = mvt_load16 (p);
	out->dport = mvt_load16 (p + 2);
	out->tcp_flags = p[13];
	out->has_l4 = 1;

	uint32_t header = (uint32_t) (p[12] >> 4) * 4;
	/* of a first fragment, the options may go on in the second; they are not rewritten */
	return header >= TCP_MIN && (header <= payload || out->more);
}

static bool
parse_icmp (const uint8_t *p, mvt_parsed_t *out, mvt_drop_t *drop)
{
	if (out->l4_len < ICMP_MIN)
	{
		*drop = MVT_DROP_MALFORMED;
		return false;
	}
	out->icmp_type = p[0];
	if (mvt_icmp_is_query (p[0]))
	{
		out->sport = out->dport = mvt_load16 (p + 4);
		out->has_l4 = 1;
		return true;
	}
	if (!mvt_icmp_is_error (p[0]))
	{
		*drop = MVT_DROP_ICMP_UNSUPPORTED;
		return false;
	}
	if (out->fragment)
	{
		*drop = MVT_DROP_ICMP_MALFORMED;
		return false;
	}
	out->icmp_error = 1;
	return true;
}

bool
mvt_packet_parse (const mvt_pkt_t *pkt, mvt_parsed_t *out, mvt_drop_t *drop)
{
	const uint8_t *p = pkt->l3;

	*out = (mvt_parsed_t){ 0 };
	*drop = MVT_DROP_MALFORMED;

	if (pkt->len < IP_MIN || p[0] >> 4 != 4)
		return false;

	uint32_t header = (uint32_t) (p[0] & 15) * 4;
	uint32_t total = mvt_load16 (p + 2);
	if (header < IP_MIN || header > pkt->len || header > total)
		return false;
	if (total > pkt->len && !(pkt->flags & MVT_PKT_TRUNCATED_OK))
		return false;
	if (!(pkt->flags & MVT_PKT_CHECKSUM_DONE) && !mvt_csum_good (header_sum (p, header)))
	{
		*drop = MVT_DROP_BAD_CHECKSUM;
		return false;
	}

	uint32_t payload = total - header;
	uint32_t readable = total < pkt->len ? total : pkt->len;
	uint16_t frag = mvt_load16 (p + 6);

	out->src = mvt_load32 (p + 12);
	out->dst = mvt_load32 (p + 16);
	out->l4 = (uint16_t) header;
	out->l4_len = (uint16_t) (readable - header);
	out->frag_off = (uint16_t) ((frag & 0x1fff) * 8);
	out->more = (frag & 0x2000) != 0;
	out->fragment = out->more || out->frag_off;
	out->ip_id = mvt_load16 (p + 4);
	out->ip_proto = p[9];
	out->proto = mvt_proto_of (p[9]);

	if (out->fragment && !fragment_is_sane (out, payload))
	{
		*drop = MVT_DROP_FRAGMENT_INVALID;
		return false;
	}
	if (out->frag_off)
		return true;

	switch (out->proto)
	{
	case MVT_PROTO_UDP:
		return parse_udp (p + header, payload, pkt->flags, out);
	case MVT_PROTO_TCP:
		return parse_tcp (p + header, payload, pkt->flags, out);
	case MVT_PROTO_ICMP:
		return parse_icmp (p + header, out, drop);
	default:
		return true;
	}
}
