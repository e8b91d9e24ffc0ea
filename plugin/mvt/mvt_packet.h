/* SPDX-License-Identifier: Apache-2.0
 *
 * mvt_pkt_t: the core's view of one IPv4 packet, and its bounds-checked parse.
 *
 * A view, never a buffer: the host fills l3, len, dir (and ref) and reads verdict, reason, to and
 * flags afterwards. The rest travels with the packet on a hand-off, so the next instance does not
 * parse or hash again what the first one knew.
 *
 * Two parsers, one result. mvt_packet_parse takes anything the network may send.
 * mvt_packet_parse_fast takes what nearly every packet is (no options, no fragment, TCP or UDP,
 * lengths in order) in a few loads and no data-dependent branch between TCP and UDP; it never
 * refuses a packet, it only leaves it to the other. mvt_packet_parse_inline tries both;
 * mvt_packet_plain is the fast one with less to write, for the hit path.
 */
#ifndef MVT_PACKET_H
#define MVT_PACKET_H

#include "mvt_types.h"

enum
{
	MVT_PKT_MARKED_NEW = 1 << 0,   /* range is closing: its old owner has no mapping for it */
	MVT_PKT_TRUNCATED_OK = 1 << 1, /* captures: fewer bytes than the header's total length */
	MVT_PKT_PORT_KNOWN = 1 << 2,   /* fragment: l4_port and rem_port are its first fragment's */
	MVT_PKT_HAIRPIN = 1 << 3, /* translated in2out already, now out2in to another inside host */
	MVT_PKT_FRAG_HOME = 1 << 4, /* this instance was chosen by the datagram's fragment hash */
	MVT_PKT_CHECKSUM_DONE = 1 << 5, /* the host has verified the IPv4 header checksum */
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
	uint8_t hops;	  /* hand-offs so far */
	uint8_t verdict;  /* mvt_verdict_t */
	uint8_t reason;	  /* mvt_drop_t or mvt_pass_t */
	uint8_t flags;	  /* MVT_PKT_* */
	uint8_t pad;
	uint16_t rem_port; /* fragments: the other port, for the filter */
} mvt_pkt_t;

_Static_assert (sizeof (mvt_pkt_t) == 40, "three packets in two cache lines, or say why not");

/* Protocol numbers that the core knows by name. */
enum
{
	MVT_IP_ICMP = 1,
	MVT_IP_TCP = 6,
	MVT_IP_UDP = 17,
	MVT_IP_DCCP = 33,
	MVT_IP_UDPLITE = 136,
};

static inline uint8_t
mvt_proto_of (uint8_t ip_proto) /* mvt_proto_t */
{
	switch (ip_proto)
	{
	case MVT_IP_UDP:
		return MVT_PROTO_UDP;
	case MVT_IP_TCP:
		return MVT_PROTO_TCP;
	case MVT_IP_ICMP:
		return MVT_PROTO_ICMP;
	default:
		return MVT_PROTO_OTHER;
	}
}

/* ICMP types. Queries carry an id and are translated like ports (RFC 5508 section 3); errors are
 * translated by the packet that they embed (section 4). Everything else is ICMP_UNSUPPORTED.
 * Redirect (5) is one of those although it embeds a packet: it speaks of the next hop on the link
 * it was sent on, a host believes it only from its first-hop router (RFC 1122 3.2.2.2), and
 * RFC 5508 REQ-10 asks only for unreachable and time exceeded; a translated redirect would name a
 * gateway of the other realm. */
enum
{
	MVT_ICMP_ECHO_REPLY = 0,
	MVT_ICMP_UNREACHABLE = 3,
	MVT_ICMP_SOURCE_QUENCH = 4,
	MVT_ICMP_REDIRECT = 5,
	MVT_ICMP_ECHO = 8,
	MVT_ICMP_TIME_EXCEEDED = 11,
	MVT_ICMP_PARAMETER = 12,
	MVT_ICMP_TIMESTAMP = 13,
	MVT_ICMP_TIMESTAMP_REPLY = 14,
	MVT_ICMP_INFO = 15,
	MVT_ICMP_INFO_REPLY = 16,
	MVT_ICMP_MASK = 17,
	MVT_ICMP_MASK_REPLY = 18,
};

/* One bit per type below 32; types from 32 on are neither. */
static inline bool
mvt_icmp_is_request (uint8_t type)
{
	return type < 32 && (1u << type & (1u << 8 | 1u << 13 | 1u << 15 | 1u << 17)) != 0;
}

static inline bool
mvt_icmp_is_query (uint8_t type) /* request or reply */
{
	return type < 32 && (1u << type & (1u << 0 | 1u << 8 | 0x3fu << 13)) != 0;
}

static inline bool
mvt_icmp_is_error (uint8_t type)
{
	return type < 32 && (1u << type & (1u << 3 | 1u << 4 | 1u << 11 | 1u << 12)) != 0;
}

/* What a parse finds. Offsets are from l3. All fields are set by both parsers; what does not apply
 * is 0. proto is MVT_PROTO_OTHER for everything but TCP, UDP and ICMP, and then has_l4 is 0: such
 * a packet parses well, whether it is translated is policy. */
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
	uint8_t fragment;   /* any fragment: offset != 0 or more-fragments */
	uint8_t has_l4;	    /* ports are valid: whole packet or first fragment; 0 for ICMP errors */
	uint8_t icmp_error; /* ICMP error, whole: translate by the embedded packet (mvt_icmp.h) */
	uint8_t more;	    /* more-fragments */
} mvt_parsed_t;

_Static_assert (sizeof (mvt_parsed_t) == 28, "written whole by every parse");

/* True when a checksum is right, given the plain sum of the covered 16- or 32-bit words, checksum
 * included, as they lie in memory: 2^16 = 2^32 = 1 modulo 65,535, so their one's complement sum is
 * all ones when the plain sum is a multiple of it. Compilers make a multiplication of this.
 * => sum is not 0, which a header with a version cannot have */
static inline bool
mvt_csum_good (uint64_t sum)
{
	return sum % 0xffff == 0;
}

/* Parse and check one packet. Returns true when *out is good. Otherwise false with *drop set to
 * MVT_DROP_MALFORMED, BAD_CHECKSUM, FRAGMENT_INVALID, ICMP_MALFORMED or ICMP_UNSUPPORTED, and
 * *out is not to be used.
 *  => every length is checked against pkt->len before a byte is read
 *  => the header checksum is verified unless MVT_PKT_CHECKSUM_DONE
 *  => with MVT_PKT_TRUNCATED_OK the header's total length may exceed len, and a UDP length its
 *     datagram; without it that is MALFORMED. The L4 bytes that are rewritten (ports and, where
 *     present in len, the checksum) must be readable for a packet that has_l4: UDP 8, TCP 20 (14
 *     with TRUNCATED_OK), ICMP 8.
 *  => a first fragment too small for its L4 header is FRAGMENT_INVALID (RFC 1858), as are a TCP
 *     fragment that would overwrite a first one's header (RFC 3128), an empty one, one that is
 *     not the last and no multiple of 8 bytes (RFC 791), and a last byte beyond 65,535
 *  => a fragmented ICMP error is ICMP_MALFORMED: its embedded packet is not all here, and no
 *     sane one is larger than 576 bytes (RFC 1812 4.3.2.3) */
bool mvt_packet_parse (const mvt_pkt_t *pkt, mvt_parsed_t *out, mvt_drop_t *drop);

/* The common packet and no other: IHL 5, no fragment, TCP or UDP, whole, lengths consistent,
 * checksum right; and the little that a hit needs of it, two words as they come. */
typedef struct
{
	uint64_t addrs; /* source << 32 | destination */
	uint32_t ports; /* source << 16 | destination */
	uint8_t proto;
	uint8_t tcp_flags; /* 0 for UDP */
} mvt_plain_t;

/* Returns true with *out. False says nothing about the packet: ask mvt_packet_parse. */
static inline bool
mvt_packet_plain (const mvt_pkt_t *pkt, mvt_plain_t *out)
{
	const uint8_t *p = pkt->l3;
	uint64_t w0, w1, addrs;
	uint32_t w2, ports;

	if (mvt_unlikely (pkt->len < 28))
		return false;
	__builtin_memcpy (&w0, p, 8); /* version to fragment offset */
	__builtin_memcpy (&addrs, p + 12, 8);
	__builtin_memcpy (&ports, p + 20, 4);

	/* version 4, IHL 5; more-fragments and offset 0 (bytes 6 and 7, less DF and the evil bit)
	 */
	if (mvt_unlikely ((w0 & 0xff3f0000000000ffull) != 0x45))
		return false;

	/* 28 <= total <= len */
	uint32_t total = mvt_load16 (p + 2);
	if (mvt_unlikely (total - 28 > pkt->len - 28))
		return false;
	out->addrs = __builtin_bswap64 (addrs);
	out->ports = __builtin_bswap32 (ports);
	if (p[9] == MVT_IP_UDP)
	{
		/* one that leaves bytes of its packet unused is legal, and left to the other */
		if (mvt_unlikely (mvt_load16 (p + 24) + 20u != total))
			return false;
		out->proto = MVT_PROTO_UDP;
		out->tcp_flags = 0;
	}
	else if (mvt_likely (p[9] == MVT_IP_TCP))
	{
		if (mvt_unlikely (total < 40 || (p[32] & 0xf0) < 0x50 ||
				  20 + (p[32] >> 4) * 4u > total))
			return false;
		out->proto = MVT_PROTO_TCP;
		out->tcp_flags = p[33];
	}
	else
		return false;
	if (mvt_likely (pkt->flags & MVT_PKT_CHECKSUM_DONE))
		return true;
	__builtin_memcpy (&w1, p + 8, 8);  /* TTL to source */
	__builtin_memcpy (&w2, p + 16, 4); /* destination */
	/* 2^64 is 1 too: carries go back in below */
	uint64_t sum = w0 + w1;
	sum += sum < w1;
	sum += w2;
	sum += sum < w2;
	return mvt_likely (mvt_csum_good (sum));
}

/* A plain packet, as mvt_packet_parse would have it. => mvt_packet_plain has said true */
static inline void
mvt_packet_parse_plain (const mvt_pkt_t *pkt, mvt_parsed_t *out)
{
	const uint8_t *p = pkt->l3;
	bool tcp = p[9] == MVT_IP_TCP;

	*out = (mvt_parsed_t){
		.src = mvt_load32 (p + 12),
		.dst = mvt_load32 (p + 16),
		.sport = mvt_load16 (p + 20),
		.dport = mvt_load16 (p + 22),
		.l4 = 20,
		.l4_len = (uint16_t) (mvt_load16 (p + 2) - 20),
		.ip_id = mvt_load16 (p + 4),
		.ip_proto = p[9],
		.proto = tcp ? MVT_PROTO_TCP : MVT_PROTO_UDP,
		.tcp_flags = tcp ? p[33] : 0,
		.has_l4 = 1,
	};
}

/* The common packet, as mvt_packet_parse would have it; false says nothing. */
static inline bool
mvt_packet_parse_fast (const mvt_pkt_t *pkt, mvt_parsed_t *out)
{
	mvt_plain_t plain;

	if (mvt_unlikely (!mvt_packet_plain (pkt, &plain)))
		return false;
	mvt_packet_parse_plain (pkt, out);
	return true;
}

/* mvt_packet_parse with the common packet inline. */
static inline bool
mvt_packet_parse_inline (const mvt_pkt_t *pkt, mvt_parsed_t *out, mvt_drop_t *drop)
{
	if (mvt_likely (mvt_packet_parse_fast (pkt, out)))
		return true;
	return mvt_packet_parse (pkt, out, drop);
}

#endif /* MVT_PACKET_H */
