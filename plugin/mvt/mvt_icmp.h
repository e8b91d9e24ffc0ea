/* SPDX-License-Identifier: Apache-2.0
 *
 * ICMP errors: the packet they embed, and the rewrite of both (RFC 5508 section 4, REQ-3 to 5).
 *
 * An error is about a packet that passed here the other way. It is translated by that packet:
 *
 *   out2in  the embedded packet went out, so its *source* is an external endpoint. It gets back
 *           the inside endpoint, and the outer destination becomes the inside address.
 *   in2out  the embedded packet came in, so its *destination* is an inside endpoint. It gets back
 *           the external endpoint, and the outer source becomes an external address.
 *
 * A hairpinned error (REQ-7) is rewritten in2out, parsed again and rewritten out2in: cold enough.
 *
 * Nothing about the embedded packet is trusted but its bounds. It may be cut after its IP header,
 * carry options, be a fragment, GRE, IP-in-IP, anything. Where no port can be read, addresses are
 * all that there is (proto OTHER or has_l4 0): 1:1 mappings can use them, others cannot.
 * Errors neither refresh nor end a mapping (REQ-6); that is the caller's to keep.
 *
 * Not here: making ICMP errors; mappings. Stateless; any thread. About 100 clocks, plus the sum
 * over the message in mvt_icmp_embedded.
 */
#ifndef MVT_ICMP_H
#define MVT_ICMP_H

#include "mvt_packet.h"

/* Offsets are from l3 of the outer packet. */
typedef struct
{
	uint32_t src, dst;     /* addresses of the embedded packet */
	uint16_t sport, dport; /* for ICMP queries both are the query id */
	uint16_t ip;	       /* offset of the embedded IPv4 header */
	uint16_t l4;	       /* offset of what follows it, options skipped */
	uint16_t l4_len;       /* readable bytes there, 0 or more */
	uint8_t ip_proto;
	uint8_t proto;	   /* mvt_proto_t; OTHER: addresses only */
	uint8_t has_l4;	   /* ports are valid */
	uint8_t fragment;  /* any fragment; of a later one has_l4 is 0 */
	uint8_t icmp_type; /* of an embedded query */
} mvt_embedded_t;

/* Read the packet that an error embeds. Returns true with *out filled, otherwise false with *drop:
 *  ICMP_MALFORMED    the outer ICMP checksum is wrong (REQ-3; not asked of a truncated capture),
 *                    the embedded IPv4 header is not all here, no IPv4, or its checksum is wrong
 *                    (REQ-3a). Its total length is not looked at: old stacks mangle it.
 *  ICMP_UNSUPPORTED  the embedded packet is ICMP but no query: an error is never answered by an
 *                    error (RFC 1122 3.2.2), so this one is forged
 *  => outer is the parse of pkt, with icmp_error set */
bool mvt_icmp_embedded (const mvt_pkt_t *pkt, const mvt_parsed_t *outer, mvt_embedded_t *out,
			mvt_drop_t *drop);

/* Rewrite an error in direction dir: the embedded source (out2in) or destination (in2out) becomes
 * addr and port, the outer destination (out2in) or source (in2out) becomes outer_addr. Both IPv4
 * checksums, the embedded L4 checksum where it is readable (an embedded UDP checksum of 0 stays),
 * and the outer ICMP checksum follow, byte for byte as a full computation would have them. Type,
 * code, the rest of the ICMP header and RFC 4884 extensions stay (REQ-4, REQ-5).
 *  => embedded is what mvt_icmp_embedded returned true for
 *  => without embedded->has_l4, port is not used
 *  => in2out, outer_addr is the external address of addr's own mapping when the host itself
 *     speaks, otherwise one of the NAT's external addresses (REQ-5) */
void mvt_icmp_rewrite (const mvt_pkt_t *pkt, const mvt_parsed_t *outer,
		       const mvt_embedded_t *embedded, unsigned dir, uint32_t addr, uint16_t port,
		       uint32_t outer_addr);

#endif /* MVT_ICMP_H */
