/* SPDX-License-Identifier: Apache-2.0
 *
 * mvt_pkt_t: the core's view of one IPv4 packet, and its bounds-checked parse.
 *
 * A view, never a buffer: the host fills l3, len, dir (and ref) and reads verdict, reason, to and
 * flags afterwards. The rest travels with the packet on a hand-off, so the next instance does not
 * parse or hash again what the first one knew.
 */
#ifndef MVT_PACKET_H
#define MVT_PACKET_H

#include "mvt_types.h"

enum
{
	MVT_PKT_MARKED_NEW = 1 << 0,  /* range is closing: its old owner has no mapping for it */
	MVT_PKT_TRUNCATED_OK = 1 << 1, /* captures: fewer bytes than the header's total length */
	MVT_PKT_PORT_KNOWN = 1 << 2,  /* fragment: l4_port below is its first fragment's port */
	MVT_PKT_HAIRPIN = 1 << 3,     /* translated in2out already, now out2in to another inside host */
	MVT_PKT_FRAG_HOME = 1 << 4,   /* this instance was chosen by the datagram's fragment hash */
};

typedef struct
{
	uint8_t *l3;	  /* first byte of the IPv4 header */
	uint64_t ref;	  /* the host's own: buffer index or pointer; never read by the core */
	uint32_t len;	  /* bytes readable at l3 */
	uint32_t hash;	  /* scratch that survives a hand-off */
	uint16_t to;	  /* verdict HANDOFF: the instance */
	uint16_t l4_port; /* fragments: source port in2out, destination port out2in */
	uint8_t dir;	  /* MVT_IN2OUT or MVT_OUT2IN; a hairpin turns it */
	uint8_t verdict;  /* mvt_verdict_t */
	uint8_t reason;	  /* mvt_drop_t or mvt_pass_t */
	uint8_t hops;	  /* hand-offs so far */
	uint8_t flags;	  /* MVT_PKT_* */
	uint8_t pad[3];
} mvt_pkt_t;

_Static_assert (sizeof (mvt_pkt_t) == 40, "three packets in two cache lines, or say why not");

/* What a parse finds. Offsets are from l3. All zero-initialised by mvt_packet_parse. */
typedef struct
{
	uint32_t src, dst;     /* addresses */
	uint16_t sport, dport; /* ports; for ICMP queries both are the query id */
	uint16_t l4;	       /* offset of the L4 header = IPv4 header length */
	uint16_t l4_len;       /* readable L4 bytes: min (total length, len) - l4 */
	uint16_t frag_off;     /* in bytes */
	uint16_t ip_id;
	uint8_t ip_proto; /* as in the header */
	uint8_t proto;	  /* mvt_proto_t */
	uint8_t tcp_flags;
	uint8_t icmp_type;
	uint8_t fragment; /* any fragment: offset != 0 or more-fragments */
	uint8_t has_l4;	  /* ports are valid: whole packet or first fragment */
	uint8_t icmp_error; /* ICMP error: translate by the embedded packet */
	uint8_t more;	  /* more-fragments */
} mvt_parsed_t;

static inline uint16_t
mvt_load16 (const uint8_t *p)
{
	uint16_t v;
	__builtin_memcpy (&v, p, 2);
	return __builtin_bswap16 (v);
}

static inline uint32_t
mvt_load32 (const uint8_t *p)
{
	uint32_t v;
	__builtin_memcpy (&v, p, 4);
	return __builtin_bswap32 (v);
}

static inline void
mvt_store16 (uint8_t *p, uint16_t v)
{
	v = __builtin_bswap16 (v);
	__builtin_memcpy (p, &v, 2);
}

static inline void
mvt_store32 (uint8_t *p, uint32_t v)
{
	v = __builtin_bswap32 (v);
	__builtin_memcpy (p, &v, 4);
}

/* Parse and check one packet. Returns true when *out is good. Otherwise false with *drop set to
 * MVT_DROP_MALFORMED, BAD_CHECKSUM, FRAGMENT_INVALID, ICMP_MALFORMED or ICMP_UNSUPPORTED.
 *  => every length is checked against pkt->len before a byte is read
 *  => with MVT_PKT_TRUNCATED_OK the header's total length may exceed len; without it that is
 *     MALFORMED. The L4 bytes that are rewritten (ports and, where present in len, the checksum)
 *     must be readable for a packet that has_l4: UDP 8, TCP 20 (14 with TRUNCATED_OK), ICMP 8.
 *  => a first fragment too small for its L4 header is FRAGMENT_INVALID (RFC 1858), as is a last
 *     byte beyond 65,535. */
bool mvt_packet_parse (const mvt_pkt_t *pkt, mvt_parsed_t *out, mvt_drop_t *drop);

#endif /* MVT_PACKET_H */
