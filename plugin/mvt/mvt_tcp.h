/* SPDX-License-Identifier: Apache-2.0
 *
 * TCP connection tracking of one session, and the timeout classes of every session.
 *
 * The states and transitions are figure 1 of RFC 7857, which is RFC 6146 section 3.5.2.2 with
 * inside for "V6/client" and outside for "V4/server": one table of 8 states x 2 directions x 4
 * events. It tracks flags only, no sequence numbers: a NAT that guesses at windows breaks valid
 * TCP (RFC 5382 REQ-2). The table differs from the figure where the RFC's text, or experience,
 * asks for it, and nowhere else:
 *
 *   RST in a FIN state    goes to TRANS. RFC 7857 section 2.2 gives four minutes after a RST in
 *                         whatever state; the figure draws it from ESTABLISHED only and would
 *                         keep a connection ended by FIN and RST for over two hours.
 *   SYN after both FINs   opens again: a client that uses a port a second time gets a new
 *                         connection and its timeouts, not the end of the old one.
 *
 * A session never ends by a segment, only by time, so a forged RST or FIN cannot cut a
 * connection: TRANS goes back to ESTABLISHED on the next segment that is no RST.
 *
 * Pure functions over one byte of state; any thread. mvt_tcp_quiet is the hot path's question.
 */
#ifndef MVT_TCP_H
#define MVT_TCP_H

#include "mvt_types.h"

/* Timeout classes. A policy has MVT_TIMEOUT_N timeouts; an entry's tclass is
 * policy * MVT_TIMEOUT_N + class, so N is a power of two. */
enum
{
	MVT_TIMEOUT_UDP = 0,		  /* RFC 4787 REQ-5: 300 s */
	MVT_TIMEOUT_TCP_ESTABLISHED = 1,  /* RFC 5382 REQ-5: 7,440 s */
	MVT_TIMEOUT_TCP_TRANSITORY = 2,	  /* RFC 5382 REQ-5, RFC 7857 2.2: 240 s */
	MVT_TIMEOUT_TCP_INCOMING_SYN = 3, /* RFC 5382 REQ-4: 6 s */
	MVT_TIMEOUT_ICMP = 4,		  /* RFC 5508 REQ-2: 60 s */
	MVT_TIMEOUT_N = 8
};

typedef enum
{
	MVT_TCP_CLOSED = 0,	 /* no session yet */
	MVT_TCP_INIT_IN2OUT = 1, /* the inside sent SYN */
	MVT_TCP_INIT_OUT2IN = 2, /* the outside sent SYN */
	MVT_TCP_ESTABLISHED = 3, /* SYNs of both, in either order or crossing (RFC 5382 REQ-2a) */
	MVT_TCP_FIN_IN2OUT = 4,	 /* the inside sent FIN: half-closed, data may still come */
	MVT_TCP_FIN_OUT2IN = 5,	 /* the outside sent FIN */
	MVT_TCP_FIN_BOTH = 6,
	MVT_TCP_TRANS = 7, /* a RST was seen */
	MVT_TCP_STATE_N = 8
} mvt_tcp_state_t;

enum
{
	MVT_TCP_FIN = 0x01,
	MVT_TCP_SYN = 0x02,
	MVT_TCP_RST = 0x04,
	MVT_TCP_PSH = 0x08,
	MVT_TCP_ACK = 0x10,
	MVT_TCP_URG = 0x20,
};

typedef enum
{
	MVT_TCP_EVENT_OTHER = 0,
	MVT_TCP_EVENT_FIN = 1,
	MVT_TCP_EVENT_SYN = 2, /* with or without ACK */
	MVT_TCP_EVENT_RST = 3,
	MVT_TCP_EVENT_N = 4
} mvt_tcp_event_t;

/* next state by [state][direction][event] */
extern const uint8_t mvt_tcp_table[MVT_TCP_STATE_N][2][MVT_TCP_EVENT_N];
/* MVT_TIMEOUT_* by state */
extern const uint8_t mvt_tcp_timeouts[MVT_TCP_STATE_N];

/* The event that a segment's flags mean. RST decides before SYN, SYN before FIN. */
static inline mvt_tcp_event_t
mvt_tcp_event (uint8_t tcp_flags)
{
	if (tcp_flags & MVT_TCP_RST)
		return MVT_TCP_EVENT_RST;
	if (tcp_flags & MVT_TCP_SYN)
		return MVT_TCP_EVENT_SYN;
	return tcp_flags & MVT_TCP_FIN ? MVT_TCP_EVENT_FIN : MVT_TCP_EVENT_OTHER;
}

/* State after a segment.
 *  => state < MVT_TCP_STATE_N, dir is MVT_IN2OUT or MVT_OUT2IN */
static inline uint8_t
mvt_tcp_next (uint8_t state, unsigned dir, uint8_t tcp_flags)
{
	return mvt_tcp_table[state][dir][mvt_tcp_event (tcp_flags)];
}

/* MVT_TIMEOUT_* of a state. */
static inline uint8_t
mvt_tcp_timeout (uint8_t state)
{
	return mvt_tcp_timeouts[state];
}

/* True when a segment changes neither state nor timeout class, for the hot path: it need not ask
 * mvt_tcp_next. False does not mean that something changes. */
static inline bool
mvt_tcp_quiet (uint8_t state, uint8_t tcp_flags)
{
	return ((tcp_flags & (MVT_TCP_FIN | MVT_TCP_SYN | MVT_TCP_RST)) |
		(state ^ MVT_TCP_ESTABLISHED)) == 0;
}

/* True for the one kind of segment that may open a connection: SYN without ACK, RST or FIN. */
static inline bool
mvt_tcp_opens (uint8_t tcp_flags)
{
	return (tcp_flags & (MVT_TCP_FIN | MVT_TCP_SYN | MVT_TCP_RST | MVT_TCP_ACK)) == MVT_TCP_SYN;
}

const char *mvt_tcp_state_name (unsigned state);

#endif /* MVT_TCP_H */
