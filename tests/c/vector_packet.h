/* SPDX-License-Identifier: Apache-2.0
 * Packets of the vectors: what a packet line says, and the bytes that it means.
 *
 * Built from scratch with full checksums; the expected packet is the same description with other
 * endpoints, so whatever the core changes incrementally must equal what is computed here. */
#ifndef VECTOR_PACKET_H
#define VECTOR_PACKET_H

#include "packet_build.h"

#define VECTOR_PATCHES 4
#define VECTOR_RAW     128
#define VECTOR_PIECES  64

/* A number, a variable (value is its index), or nothing. */
typedef struct
{
	enum
	{
		TERM_NONE,
		TERM_NUMBER,
		TERM_VARIABLE
	} kind;
	uint32_t value;
} term_t;

typedef struct
{
	term_t addr, port;
} end_t;

typedef struct
{
	end_t src, dst;
} ends_t;

/* Endpoints with every variable resolved. The id of an ICMP query is in both ports. */
typedef struct
{
	uint32_t src, dst;
	uint16_t sport, dport;
} flow_t;

typedef struct
{
	uint32_t at, len;
	uint8_t bytes[16];
	bool spoil; /* leaves the header checksum as it was */
} patch_t;

typedef enum
{
	ZERO_SUM_NO,
	ZERO_SUM_IN, /* the checksum computes to 0 as it comes */
	ZERO_SUM_OUT /* as it leaves */
} zero_sum_t;

typedef struct spec
{
	ends_t ends;
	uint8_t ip_proto, icmp_type, icmp_code, tcp_flags;
	uint8_t options, fill, ttl, dont_fragment, no_checksum, reverse;
	zero_sum_t zero_sum;
	uint16_t ip_id, wrong;
	uint32_t rest;				/* second word of an ICMP error's header */
	uint32_t payload, tail, keep, truncate; /* keep, truncate: 0 means all */
	uint32_t cut, piece;			/* piece: from 1; 0 means all */
	uint32_t n_patches, raw_len;
	patch_t patches[VECTOR_PATCHES];
	uint8_t raw[VECTOR_RAW];
	struct spec *about; /* what an ICMP error embeds */
} spec_t;

static inline uint32_t
vector_l4 (const uint8_t *p)
{
	return (p[0] & 15u) * 4;
}

/* The checksum of the L4 part, and where it is; 0 when the protocol has none. */
static inline uint32_t
vector_checksum_at (uint8_t ip_proto)
{
	switch (ip_proto)
	{
	case 1:
		return 2;
	case 6:
		return 16;
	case 17:
	case 33:
	case 136:
		return 6;
	default:
		return 0;
	}
}

static inline uint16_t
vector_checksum (const uint8_t *p, uint32_t l4_len)
{
	uint32_t sum = p[9] == 1 ? 0 : build_sum (0, p + 12, 8) + p[9] + l4_len;
	return (uint16_t) build_csum (sum, p + vector_l4 (p), l4_len);
}

/* Ports, flags, types: the L4 header without its checksum. */
static inline void
vector_l4_header (const spec_t *s, const flow_t *flow, uint8_t *l4, uint32_t l4_len)
{
	switch (s->ip_proto)
	{
	case 17:
	case 136:
		build_put16 (l4 + 4, l4_len);
		/* fall through */
	case 33:
		build_put16 (l4, flow->sport);
		build_put16 (l4 + 2, flow->dport);
		break;
	case 6:
		build_put16 (l4, flow->sport);
		build_put16 (l4 + 2, flow->dport);
		build_put32 (l4 + 4, 0x01020304u + s->fill);
		l4[12] = 0x50;
		l4[13] = s->tcp_flags;
		build_put16 (l4 + 14, 0xffff);
		break;
	case 1:
		l4[0] = s->icmp_type;
		l4[1] = s->icmp_code;
		if (s->about)
			build_put32 (l4 + 4, s->rest);
		else
		{
			build_put16 (l4 + 4, flow->sport);
			build_put16 (l4 + 6, s->fill);
		}
		break;
	default:
		break;
	}
}

static inline void
vector_patch (const spec_t *s, built_t *b)
{
	for (uint32_t i = 0; i < s->n_patches; i++)
	{
		const patch_t *patch = &s->patches[i];
		if (patch->at + patch->len > b->len)
			continue;
		memcpy (b->p + patch->at, patch->bytes, patch->len);
		if (!patch->spoil)
			build_fill_ip (b->p);
	}
}

/* A whole datagram, not yet cut, patched or truncated. flows[0] is its own, flows[1] that of what
 * it embeds; `word` stands at the beginning of the payload when the checksum is to be 0. */
static inline built_t
vector_datagram (const spec_t *s, const flow_t *flows, uint32_t word)
{
	built_t embedded = { NULL, 0 };
	uint32_t keep = 0, header = 20u + s->options, l4_header = build_l4_header (s->ip_proto);

	if (s->about)
	{
		embedded = vector_datagram (s->about, flows + 1, 0);
		vector_patch (s->about, &embedded);
		keep = s->about->keep && s->about->keep < embedded.len ? s->about->keep
								       : embedded.len;
	}
	uint32_t payload = s->about ? keep + s->tail : s->payload;
	uint32_t l4_len = l4_header + payload, len = header + l4_len;
	uint8_t *p = calloc (1, len), *l4 = p + header, *data = l4 + l4_header;

	p[0] = (uint8_t) (0x40 | header / 4);
	build_put16 (p + 2, len);
	build_put16 (p + 4, s->ip_id);
	build_put16 (p + 6, s->dont_fragment ? 0x4000 : 0);
	p[8] = s->ttl;
	p[9] = s->ip_proto;
	build_put32 (p + 12, flows->src);
	build_put32 (p + 16, flows->dst);
	for (uint32_t i = 0; i < s->options; i++)
		p[20 + i] = i + 1 == s->options ? 0 : 1; /* no operation ... end of list */
	for (uint32_t i = 0; i < payload; i++)
		data[i] = (uint8_t) (s->fill + i * 7);
	if (s->about)
		memcpy (data, embedded.p, keep);
	free (embedded.p);
	if (s->zero_sum)
		build_put16 (data, word);
	vector_l4_header (s, flows, l4, l4_len);
	build_fill_ip (p);

	uint32_t at = vector_checksum_at (s->ip_proto);
	if (at && !s->no_checksum)
	{
		uint32_t sum = vector_checksum (p, l4_len);
		if (sum == 0 && (s->ip_proto == 17 || s->ip_proto == 136))
			sum = 0xffff;
		sum += s->wrong;
		build_put16 (l4 + at, (sum & 0xffff) + (sum >> 16));
	}
	return (built_t){ p, len };
}

/* The payload's first word that makes the checksum of this flow compute to 0. */
static inline uint32_t
vector_zero_word (const spec_t *s, const flow_t *flow)
{
	built_t b = vector_datagram (s, flow, 0);
	uint32_t at = vector_l4 (b.p) + vector_checksum_at (s->ip_proto);
	build_put16 (b.p + at, 0);
	uint32_t word = vector_checksum (b.p, b.len - vector_l4 (b.p));
	free (b.p);
	return word;
}

/* Piece i of a datagram cut into pieces of s->cut bytes. */
static inline built_t
vector_piece (const spec_t *s, const built_t *whole, uint32_t i)
{
	uint32_t header = vector_l4 (whole->p), at = i * s->cut, left = whole->len - header - at;
	uint32_t n = left < s->cut ? left : s->cut;
	uint8_t *p = malloc (header + n);

	memcpy (p, whole->p, header);
	memcpy (p + header, whole->p + header + at, n);
	build_put16 (p + 2, header + n);
	build_put16 (p + 6, (n < left ? 0x2000u : 0) | at / 8);
	build_fill_ip (p);
	return (built_t){ p, header + n };
}

/* The packets that a description means, at most VECTOR_PIECES; returns how many. `out` is the flow
 * as it leaves, for zero-sum. The caller frees what it gets. */
static inline uint32_t
vector_build (const spec_t *s, const flow_t *flows, const flow_t *in, const flow_t *out,
	      built_t *packets)
{
	uint32_t n = 1;

	if (s->raw_len)
	{
		packets[0] = (built_t){ malloc (s->raw_len), s->raw_len };
		memcpy (packets[0].p, s->raw, s->raw_len);
		return 1;
	}
	uint32_t word =
		s->zero_sum ? vector_zero_word (s, s->zero_sum == ZERO_SUM_IN ? in : out) : 0;
	packets[0] = vector_datagram (s, flows, word);
	if (s->cut)
	{
		built_t whole = packets[0];
		n = (whole.len - vector_l4 (whole.p) + s->cut - 1) / s->cut;
		if (n > VECTOR_PIECES)
			n = VECTOR_PIECES;
		for (uint32_t i = 0; i < n; i++)
			packets[i] = vector_piece (s, &whole, i);
		free (whole.p);
	}
	for (uint32_t i = 0; i < n; i++)
	{
		vector_patch (s, &packets[i]);
		if (s->truncate && s->truncate < packets[i].len)
		{
			packets[i].len = s->truncate;
			packets[i].p = realloc (packets[i].p, s->truncate);
		}
	}
	return n;
}

#endif /* VECTOR_PACKET_H */
