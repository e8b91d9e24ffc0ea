/* SPDX-License-Identifier: Apache-2.0
 *
 * mvt_frag_t: the bounded fragment store of one instance.
 *
 * Only the first fragment of a datagram has ports. The store remembers them for the others, and
 * keeps the ones that came too early until it is there (RFC 4787 REQ-14: in order and out of
 * order). It does not reassemble: fragments go on as fragments, in the order in which they came.
 *
 * A *record* stands for a datagram: (source, destination, IP id, protocol, direction). It is
 * *waiting*, with fragments held back, or *known*. Records are found through buckets of 8 tags, one
 * cache line, by a keyed hash, and taken from and given back to a fixed pool; all memory is taken
 * at creation, and what does not fit is refused and counted, never at the cost of what is live
 * (RFC 4787 REQ-14a). A record is given up only
 *   - when it is older than the timeout, counted from the datagram's first packet, so nobody can
 *     keep one alive; or
 *   - known and complete (as many bytes seen as the datagram has), when its place is needed or its
 *     IP id comes back with another port. So the store holds the datagrams that are under way, and
 *     not all those of the last two seconds.
 *
 * Overlaps (RFC 1858): a second first fragment must have the port of the first, otherwise it is
 * refused and the record stays as it is. What of a datagram's bytes may overlap an L4 header is
 * refused by mvt_packet_parse before.
 *
 * Owner thread only. O(1) per fragment; a first fragment touches what it releases, at most
 * max_held_per_datagram packets. 64 + 64 bytes per record, 48 per held packet.
 */
#ifndef MVT_FRAG_H
#define MVT_FRAG_H

#include "mvt_packet.h"

typedef struct
{
	uint32_t max_records;		/* datagrams; 0: 1,024; at most 2^20 */
	uint32_t max_held;		/* packets held, in all; 0: 4,096; at most 2^20 */
	uint32_t max_held_per_datagram; /* 0: 64; at most 8,191, as many as a datagram can have */
	uint32_t timeout;		/* ticks; 0: 2 (RFC 6146 FRAGMENT_MIN) */
	uint64_t seed[2];		/* entropy, secret */
} mvt_frag_config_t;

typedef struct mvt_frag mvt_frag_t;

typedef enum
{
	MVT_FRAG_KNOWN, /* go on: l4_port, rem_port, to and MVT_PKT_PORT_KNOWN are set */
	MVT_FRAG_HELD,	/* the store has a copy of the mvt_pkt_t; the packet (ref) is its until
			   mvt_frag_take gives it back. verdict is set */
	MVT_FRAG_DROP,	/* verdict and reason are set: FRAGMENT_OVERFLOW */
} mvt_frag_verdict_t;

/* Returns MVT_OK with *out, or MVT_ERR_INVALID (a limit is too large), MVT_ERR_NO_MEMORY.
 *  => mem is copied; its functions and ctx live as long as the store */
mvt_err_t mvt_frag_new (const mvt_frag_config_t *config, const mvt_mem_t *mem, mvt_frag_t **out);

/* Give all memory back. Held packets belong to the host again without being named: call
 * mvt_frag_flush and mvt_frag_take first. NULL is fine. */
void mvt_frag_remove (mvt_frag_t *frag);

/* A fragment without ports.
 *  => parsed->fragment && parsed->frag_off != 0
 *  => pkt->dir and addresses are those that mvt_frag_first is called with: before any rewrite */
mvt_frag_verdict_t mvt_frag_process (mvt_frag_t *frag, mvt_pkt_t *pkt, const mvt_parsed_t *parsed,
				     uint32_t now);

/* A first fragment, before its rewrite: remember its port (source in2out, destination out2in, and
 * the other one, which the filter asks for; for
 * ICMP queries the id) and the instance `to`, and release the fragments that waited for it.
 * Returns true, or false with *drop and nothing changed:
 *  FRAGMENT_INVALID   another first fragment of this datagram had another port
 *  FRAGMENT_OVERFLOW  no room for one more datagram, whose other fragments would fail too
 *  => parsed->fragment && parsed->has_l4
 *  => a repeated first fragment is fine and keeps the `to` of the first */
bool mvt_frag_first (mvt_frag_t *frag, const mvt_pkt_t *pkt, const mvt_parsed_t *parsed,
		     uint16_t to, uint32_t now, mvt_drop_t *drop);

/* Packets that the store gives back, oldest first, at most max. Verdict NONE: released, l4_port, to
 * and MVT_PKT_PORT_KNOWN are set; it is to be processed again. Verdict DROPPED, reason
 * FRAGMENT_TIMEOUT: it waited in vain. Returns how many. They count against max_held until taken,
 * so take after every batch. */
uint32_t mvt_frag_take (mvt_frag_t *frag, mvt_pkt_t *out, uint32_t max);

/* Give up expired records, at most budget of them, oldest first. Returns how many. */
uint32_t mvt_frag_expire (mvt_frag_t *frag, uint32_t now, uint32_t budget);

/* Give up all records: what is held comes out of mvt_frag_take as timed out. For a stop. */
void mvt_frag_flush (mvt_frag_t *frag);

/* In use: datagrams; packets held and not yet taken back; of these, ready for mvt_frag_take. */
uint32_t mvt_frag_records (const mvt_frag_t *frag);
uint32_t mvt_frag_held (const mvt_frag_t *frag);
uint32_t mvt_frag_ready (const mvt_frag_t *frag);

/* Invariants of buckets, records, lists and counts, for tests: 0 or the broken check's line. */
int mvt_frag_verify (const mvt_frag_t *frag);

#endif /* MVT_FRAG_H */
