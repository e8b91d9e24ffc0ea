/* SPDX-License-Identifier: Apache-2.0
 *
 * One's complement arithmetic and the rewrite of one endpoint in a packet's headers.
 *
 * Checksums are updated incrementally by RFC 1624 equation 3, HC' = ~(~HC + ~m + m'), which unlike
 * RFC 1141 never turns a checksum into the other zero. The part ~m + m' depends on the mapping
 * alone, so it is computed once, when the mapping is made, and kept in its entry as a *delta*. The
 * complement of a delta is the delta of the way back. Deltas and checksums are kept as they lie in
 * memory, not in host order: the sum commutes with the byte order (RFC 1071 2(B)), and so the hot
 * path never swaps them. They are opaque; only the functions here make and use them.
 *
 * Everything reads the packet's bytes, never the parse's idea of them, so a hairpinned packet is
 * rewritten twice in a row, source then destination, with the parse of its arrival.
 *
 * Checksums are neither verified nor repaired here: a packet that came with a wrong L4 checksum
 * leaves with an equally wrong one. Stateless; any thread; a dozen clocks.
 */
#ifndef MVT_REWRITE_H
#define MVT_REWRITE_H

#include "mvt_packet.h"

/* A checksum field as it lies in memory. */
static inline uint16_t
mvt_csum_load (const uint8_t *p)
{
	uint16_t v;
	__builtin_memcpy (&v, p, 2);
	return v;
}

static inline void
mvt_csum_store (uint8_t *p, uint16_t csum)
{
	__builtin_memcpy (p, &csum, 2);
}

/* One's complement sum of two 16-bit words. */
static inline uint16_t
mvt_csum_add (uint16_t a, uint16_t b)
{
	uint32_t sum = (uint32_t) a + b;
	return (uint16_t) (sum + (sum >> 16));
}

/* A checksum after a change described by a delta (RFC 1624 equation 3): ~(~HC + delta) in one's
 * complement is HC - delta with the borrow taken off again, zeros included. */
static inline uint16_t
mvt_csum_apply (uint16_t csum, uint16_t delta)
{
	uint16_t changed;
	bool borrow = __builtin_sub_overflow (csum, delta, &changed);
	return (uint16_t) (changed - borrow);
}

/* The same where a zero in the field means "no checksum" (UDP, RFC 768): zero stays zero, and a
 * computed zero is sent as its other representation. */
static inline uint16_t
mvt_csum_apply_udp (uint16_t csum, uint16_t delta)
{
	uint16_t changed = mvt_csum_apply (csum, delta);
	if (changed == 0)
		changed = 0xffff;
	return csum ? changed : csum;
}

/* Delta of a 16-bit field (port, query id) that changes; values in host order. */
static inline uint16_t
mvt_delta_port (uint16_t from, uint16_t to)
{
	return mvt_csum_add ((uint16_t) ~__builtin_bswap16 (from), __builtin_bswap16 (to));
}

/* Delta of an address that changes; values in host order. */
static inline uint16_t
mvt_delta_addr (uint32_t from, uint32_t to)
{
	return mvt_csum_add (mvt_delta_port ((uint16_t) (from >> 16), (uint16_t) (to >> 16)),
			     mvt_delta_port ((uint16_t) from, (uint16_t) to));
}

/* Delta of two changes. */
static inline uint16_t
mvt_delta_add (uint16_t a, uint16_t b)
{
	return mvt_csum_add (a, b);
}

/* Delta of the way back. */
static inline uint16_t
mvt_delta_reverse (uint16_t delta)
{
	return (uint16_t) ~delta;
}

/* The L4 delta of an endpoint's change: what mvt_entry_t.delta_l4 holds. The ICMP checksum covers
 * no address (RFC 792), so only the id counts there. */
static inline uint16_t
mvt_delta_l4 (uint8_t proto, uint32_t from_addr, uint16_t from_port, uint32_t to_addr,
	      uint16_t to_port)
{
	uint16_t port = mvt_delta_port (from_port, to_port);
	return proto == MVT_PROTO_ICMP ? port
				       : mvt_delta_add (mvt_delta_addr (from_addr, to_addr), port);
}

/* Offset of the checksum in an L4 header, by mvt_proto_t: UDP 6, TCP 16, ICMP 2. */
static inline uint32_t
mvt_l4_csum_offset (uint8_t proto)
{
	return (0x00021006u >> (proto * 8)) & 0xff;
}

/* Protocols without ports for us, whose checksum covers the addresses all the same: DCCP
 * (RFC 4340 9.1) and UDP-Lite (RFC 3828 3.1), both at offset 6. Only 1:1 translation gets here. */
static inline void
mvt_rewrite_other_csum (uint8_t *l4, uint32_t l4_len, uint8_t ip_proto, uint16_t delta_addr)
{
	if (l4_len < 8 || (ip_proto != MVT_IP_DCCP && ip_proto != MVT_IP_UDPLITE))
		return;
	uint16_t csum = mvt_csum_load (l4 + 6);
	mvt_csum_store (l4 + 6, ip_proto == MVT_IP_UDPLITE ? mvt_csum_apply_udp (csum, delta_addr)
							   : mvt_csum_apply (csum, delta_addr));
}

/* Give a packet its new source (dir MVT_IN2OUT) or destination (MVT_OUT2IN): address, port or
 * query id, header checksum, L4 checksum.
 *  => pkt and parsed are what a parse returned true for
 *  => dir is a constant where speed matters
 *  => delta_ip, delta_l4 are the in2out deltas, from the inside to the external endpoint, whatever
 *     dir is: those of the entry. The way back is taken here.
 *  => without has_l4 (later fragments, other protocols, ICMP errors) only the address changes, and
 *     the checksum of DCCP and UDP-Lite. ICMP errors go through mvt_icmp_rewrite instead.
 *  => an L4 checksum that a capture has cut off is left out */
static inline void
mvt_rewrite (const mvt_pkt_t *pkt, const mvt_parsed_t *parsed, unsigned dir, uint32_t addr,
	     uint16_t port, uint16_t delta_ip, uint16_t delta_l4)
{
	uint8_t *p = pkt->l3;
	uint8_t *l4 = p + parsed->l4;
	uint8_t proto = parsed->proto;

	if (dir == MVT_OUT2IN)
	{
		delta_ip = mvt_delta_reverse (delta_ip);
		delta_l4 = mvt_delta_reverse (delta_l4);
	}

	mvt_store32 (p + (dir == MVT_OUT2IN ? 16 : 12), addr);
	mvt_csum_store (p + 10, mvt_csum_apply (mvt_csum_load (p + 10), delta_ip));

	if (mvt_unlikely (!parsed->has_l4))
	{
		if (parsed->frag_off == 0)
			mvt_rewrite_other_csum (l4, parsed->l4_len, parsed->ip_proto, delta_ip);
		return;
	}

	uint32_t csum_at = mvt_l4_csum_offset (proto);
	uint32_t port_at = proto == MVT_PROTO_ICMP ? 4 : dir == MVT_OUT2IN ? 2 : 0;

	mvt_store16 (l4 + port_at, port);
	if (mvt_unlikely (csum_at + 2 > parsed->l4_len))
		return;

	/* computed for all protocols, chosen without a branch: traffic is a mixture */
	uint16_t old = mvt_csum_load (l4 + csum_at);
	uint16_t plain = mvt_csum_apply (old, delta_l4);
	uint16_t udp = mvt_csum_apply_udp (old, delta_l4);
	mvt_csum_store (l4 + csum_at, proto == MVT_PROTO_UDP ? udp : plain);
}

/* The same for a plain packet (mvt_packet_plain): header of 20 bytes, TCP or UDP, checksum there.
 * => dir is a constant */
static inline void
mvt_rewrite_plain (uint8_t *p, uint8_t proto, unsigned dir, uint32_t addr, uint16_t port,
		   uint16_t delta_ip, uint16_t delta_l4)
{
	if (dir == MVT_OUT2IN)
	{
		delta_ip = mvt_delta_reverse (delta_ip);
		delta_l4 = mvt_delta_reverse (delta_l4);
	}
	mvt_store32 (p + (dir == MVT_OUT2IN ? 16 : 12), addr);
	mvt_store16 (p + (dir == MVT_OUT2IN ? 22 : 20), port);
	mvt_csum_store (p + 10, mvt_csum_apply (mvt_csum_load (p + 10), delta_ip));

	if (proto == MVT_PROTO_TCP)
	{
		mvt_csum_store (p + 36, mvt_csum_apply (mvt_csum_load (p + 36), delta_l4));
		return;
	}
	uint16_t csum = mvt_csum_load (p + 26);
	if (csum != 0)
	{
		csum = mvt_csum_apply (csum, delta_l4);
		mvt_csum_store (p + 26, (uint16_t) (csum - (csum == 0)));
	}
}

/* What the parse of a translated packet would be, for the next lookup of a hairpinned one: its
 * source is external now. The id of an ICMP query is one field that serves as both ports. */
static inline void
mvt_parsed_translated (mvt_parsed_t *parsed, unsigned dir, uint32_t addr, uint16_t port)
{
	if (dir == MVT_OUT2IN)
		parsed->dst = addr;
	else
		parsed->src = addr;
	if (!parsed->has_l4)
		return;
	if (dir == MVT_OUT2IN || parsed->proto == MVT_PROTO_ICMP)
		parsed->dport = port;
	if (dir == MVT_IN2OUT || parsed->proto == MVT_PROTO_ICMP)
		parsed->sport = port;
}

#endif /* MVT_REWRITE_H */
