/* SPDX-License-Identifier: Apache-2.0
 * What the tests of the NAT44 instance say to it: whole packets, built and checked without the
 * core's code. */
#ifndef NAT44_PACKETS_H
#define NAT44_PACKETS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "nat44_world.h"

enum
{
	ICMP = 1,
	TCP = 6,
	UDP = 17,
	SYN = 2,
	ACK = 16,
	FIN = 1,
	RST = 4,
};

static inline uint32_t
host (uint32_t n)
{
	return WORLD_INSIDE + n;
}

/* Build, send, and give back the packet; the caller frees it. */
static inline built_t
send (world_t *w, uint8_t dir, const build_t *b, mvt_pkt_t *pkt)
{
	built_t built = build_packet (b);
	*pkt = build_view (&built, dir, 0);
	world_send (w, pkt);
	return built;
}

static inline uint16_t
at16 (const built_t *b, uint32_t off)
{
	return mvt_load16 (b->p + off);
}

static inline uint32_t
at32 (const built_t *b, uint32_t off)
{
	return mvt_load32 (b->p + off);
}

/* The packet must be byte for byte what building it with other endpoints gives. */
static inline void
assert_is (const built_t *got, const build_t *want)
{
	built_t w = build_packet (want);
	assert_int_equal (got->len, w.len);
	assert_memory_equal (got->p, w.p, w.len);
	free (w.p);
}

/* Open a UDP mapping and say where it is outside. */
static inline void
open_mapping (world_t *w, uint8_t proto, uint32_t in, uint16_t port, uint32_t remote,
	      uint16_t rport, uint32_t *ext, uint16_t *ext_port)
{
	mvt_pkt_t pkt;
	build_t b = { .src = in,
		      .dst = remote,
		      .sport = port,
		      .dport = rport,
		      .ip_proto = proto,
		      .tcp_flags = SYN,
		      .icmp_type = 8,
		      .payload = 4 };
	built_t p = send (w, MVT_IN2OUT, &b, &pkt);
	assert_int_equal (pkt.verdict, MVT_VERDICT_TRANSLATED);
	*ext = at32 (&p, 12);
	*ext_port = at16 (&p, proto == ICMP ? 24 : 20);
	free (p.p);
}

static inline mvt_err_t
job_at_owner (world_t *w, mvt_job_t *job)
{
	mvt_err_t err = MVT_ERR_NOT_OWNER;
	for (uint16_t i = 0; i < w->n && err == MVT_ERR_NOT_OWNER; i++)
		while ((err = mvt_nat44_job (w->nat[i], job, w->now)) == MVT_ERR_AGAIN)
			;
	return err;
}

/* Send one packet from outside and give its verdict; *reason when dropped. */
static inline uint8_t
from_outside (world_t *w, uint8_t proto, uint32_t remote, uint16_t rport, uint32_t ext,
	      uint16_t port, uint8_t flags, uint8_t *reason)
{
	build_t b = { .src = remote,
		      .dst = ext,
		      .sport = rport,
		      .dport = port,
		      .ip_proto = proto,
		      .tcp_flags = flags };
	mvt_pkt_t pkt;
	free (send (w, MVT_OUT2IN, &b, &pkt).p);
	*reason = pkt.reason;
	return pkt.verdict;
}

#endif /* NAT44_PACKETS_H */
