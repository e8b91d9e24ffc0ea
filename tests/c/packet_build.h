/* SPDX-License-Identifier: Apache-2.0
 * IPv4 packets for tests, built from scratch with full checksums. It shares no code with the core:
 * what the core changes incrementally must equal what this computes from every byte. */
#ifndef PACKET_BUILD_H
#define PACKET_BUILD_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mvt_packet.h"

#define BUILD_MAX 2048

typedef struct
{
	uint32_t src, dst;
	uint16_t sport, dport; /* ICMP query: sport is the id */
	uint16_t ip_id;
	uint16_t frag; /* flags and offset as in the header */
	uint8_t ip_proto;
	uint8_t options; /* bytes of IP options, multiple of 4, at most 40 */
	uint8_t tcp_flags;
	uint8_t icmp_type;
	uint8_t no_udp_csum; /* 1: the UDP checksum is absent */
	uint8_t fill;	     /* seed of the payload's bytes */
	uint32_t payload;    /* bytes after the L4 header */
} build_t;

typedef struct
{
	uint8_t *p; /* exactly len bytes of the heap: ASan sees a byte too far */
	uint32_t len;
} built_t;

static inline void
build_put16 (uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t) (v >> 8);
	p[1] = (uint8_t) v;
}

static inline void
build_put32 (uint8_t *p, uint32_t v)
{
	build_put16 (p, v >> 16);
	build_put16 (p + 2, v & 0xffff);
}

static inline uint32_t
build_sum (uint32_t sum, const uint8_t *p, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
	{
		sum += i & 1 ? p[i] : (uint32_t) p[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

static inline uint32_t
build_csum (uint32_t sum, const uint8_t *p, uint32_t len)
{
	return ~build_sum (sum, p, len) & 0xffff;
}

/* Fill the header checksum of the IPv4 packet at p. */
static inline void
build_fill_ip (uint8_t *p)
{
	build_put16 (p + 10, 0);
	build_put16 (p + 10, build_csum (0, p, (p[0] & 15u) * 4));
}

/* Fill the L4 checksum of a whole packet at p, `len` L4 bytes. */
static inline void
build_fill_l4 (uint8_t *p, uint32_t len, int no_udp_csum)
{
	uint8_t *l4 = p + (p[0] & 15u) * 4;
	uint8_t proto = p[9];
	uint32_t at = proto == 6				   ? 16
		      : proto == 1				   ? 2
		      : proto == 17 || proto == 33 || proto == 136 ? 6
								   : 0;
	uint32_t sum = 0, csum;

	if (at == 0 || at + 2 > len)
		return;
	if (proto != 1)
	{
		sum = build_sum (0, p + 12, 8);
		sum += proto + len;
	}
	build_put16 (l4 + at, 0);
	csum = build_csum (sum, l4, len);
	if (csum == 0 && (proto == 17 || proto == 136))
		csum = 0xffff;
	if (proto == 17 && no_udp_csum)
		csum = 0;
	build_put16 (l4 + at, csum);
}

static inline uint32_t
build_l4_header (uint8_t ip_proto)
{
	return ip_proto == 6					    ? 20
	       : ip_proto == 17 || ip_proto == 1 || ip_proto == 136 ? 8
	       : ip_proto == 33					    ? 12
								    : 0;
}

static inline built_t
build_packet (const build_t *b)
{
	uint32_t header = 20u + b->options, l4_header = build_l4_header (b->ip_proto);
	uint32_t l4_len = l4_header + b->payload, len = header + l4_len;
	uint8_t *p = calloc (1, len), *l4 = p + header;

	p[0] = (uint8_t) (0x40 | header / 4);
	build_put16 (p + 2, len);
	build_put16 (p + 4, b->ip_id);
	build_put16 (p + 6, b->frag);
	p[8] = 64;
	p[9] = b->ip_proto;
	build_put32 (p + 12, b->src);
	build_put32 (p + 16, b->dst);
	for (uint32_t i = 0; i < b->options; i++)
		p[20 + i] = i + 1 == b->options ? 0 : 1; /* no operation ... end */

	for (uint32_t i = 0; i < b->payload; i++)
		l4[l4_header + i] = (uint8_t) (b->fill + i * 7);
	switch (b->ip_proto)
	{
	case 17:
	case 136:
		build_put16 (l4 + 4, l4_len);
		/* fall through */
	case 33:
		build_put16 (l4, b->sport);
		build_put16 (l4 + 2, b->dport);
		break;
	case 6:
		build_put16 (l4, b->sport);
		build_put16 (l4 + 2, b->dport);
		build_put32 (l4 + 4, 0x01020304u * b->fill);
		l4[12] = 0x50;
		l4[13] = b->tcp_flags;
		build_put16 (l4 + 14, 0xffff);
		break;
	case 1:
		l4[0] = b->icmp_type;
		build_put16 (l4 + 4, b->sport);
		build_put16 (l4 + 6, b->fill);
		break;
	default:
		break;
	}
	build_fill_ip (p);
	build_fill_l4 (p, l4_len, b->no_udp_csum);
	return (built_t){ p, len };
}

/* An ICMP error about the first `keep` bytes of a packet; its own options as in outer->options,
 * `tail` bytes of extension after it. */
static inline built_t
build_error (const build_t *outer, uint8_t type, const built_t *embedded, uint32_t keep,
	     uint32_t tail)
{
	build_t b = *outer;
	built_t out;

	if (keep > embedded->len)
		keep = embedded->len;
	b.ip_proto = 1;
	b.icmp_type = type;
	b.sport = 0;
	b.fill = 0;
	b.payload = keep + tail;
	out = build_packet (&b);
	uint8_t *l4 = out.p + 20 + b.options;
	memcpy (l4 + 8, embedded->p, keep);
	for (uint32_t i = 0; i < tail; i++)
		l4[8 + keep + i] = (uint8_t) (0xa0 + i);
	build_fill_l4 (out.p, out.len - 20 - b.options, 0);
	return out;
}

static inline mvt_pkt_t
build_view (const built_t *b, uint8_t dir, uint8_t flags)
{
	return (mvt_pkt_t){ .l3 = b->p, .len = b->len, .dir = dir, .flags = flags };
}

static inline uint32_t
build_random (uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t) (*state >> 32);
}

#endif /* PACKET_BUILD_H */
