/* SPDX-License-Identifier: Apache-2.0
 * TCP connection tracking against RFC 7857 figure 1 and RFC 6146 3.5.2.2, cell by cell, and along
 * the sequences that RFC 5382 REQ-2 asks for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "mvt_tcp.h"

#define I   MVT_IN2OUT
#define O   MVT_OUT2IN
#define SYN MVT_TCP_SYN
#define ACK MVT_TCP_ACK
#define FIN MVT_TCP_FIN
#define RST MVT_TCP_RST
#define PSH MVT_TCP_PSH

/* The RFC's rules, one sentence each; the first that applies decides. This is the expectation:
 * written as rules, where the code is a table. */
static unsigned
by_the_rfc (unsigned state, unsigned dir, mvt_tcp_event_t event)
{
	int syn = event == MVT_TCP_EVENT_SYN, fin = event == MVT_TCP_EVENT_FIN;
	int rst = event == MVT_TCP_EVENT_RST;

	switch (state)
	{
	case MVT_TCP_CLOSED: /* a SYN opens; anything else is no session */
		return !syn ? MVT_TCP_CLOSED : dir == I ? MVT_TCP_INIT_IN2OUT : MVT_TCP_INIT_OUT2IN;
	case MVT_TCP_INIT_IN2OUT: /* "V6 INIT": a V4 SYN establishes, for others no change */
		return syn && dir == O ? MVT_TCP_ESTABLISHED : state;
	case MVT_TCP_INIT_OUT2IN: /* "V4 INIT" */
		return syn && dir == I ? MVT_TCP_ESTABLISHED : state;
	case MVT_TCP_ESTABLISHED:
		if (rst)
			return MVT_TCP_TRANS;
		if (fin)
			return dir == I ? MVT_TCP_FIN_IN2OUT : MVT_TCP_FIN_OUT2IN;
		return state;
	case MVT_TCP_FIN_IN2OUT: /* the other side's FIN closes; RFC 7857 2.2 for RST */
		return rst ? MVT_TCP_TRANS : fin && dir == O ? MVT_TCP_FIN_BOTH : state;
	case MVT_TCP_FIN_OUT2IN:
		return rst ? MVT_TCP_TRANS : fin && dir == I ? MVT_TCP_FIN_BOTH : state;
	case MVT_TCP_FIN_BOTH: /* stays until time ends it; a SYN is a new connection */
		return !syn ? state : dir == I ? MVT_TCP_INIT_IN2OUT : MVT_TCP_INIT_OUT2IN;
	case MVT_TCP_TRANS: /* "a packet other than a RST packet": back to ESTABLISHED */
		return rst ? state : MVT_TCP_ESTABLISHED;
	default:
		fail ();
		return 0;
	}
}

static void
every_cell_is_the_rfcs (void **unused)
{
	(void) unused;
	for (unsigned s = 0; s < MVT_TCP_STATE_N; s++)
		for (unsigned dir = 0; dir < 2; dir++)
			for (unsigned flags = 0; flags < 256; flags++)
			{
				mvt_tcp_event_t event = flags & RST   ? MVT_TCP_EVENT_RST
							: flags & SYN ? MVT_TCP_EVENT_SYN
							: flags & FIN ? MVT_TCP_EVENT_FIN
								      : MVT_TCP_EVENT_OTHER;
				if (mvt_tcp_next ((uint8_t) s, dir, (uint8_t) flags) !=
				    by_the_rfc (s, dir, event))
					fail_msg ("state %s dir %u flags %02x: %s",
						  mvt_tcp_state_name (s), dir, flags,
						  mvt_tcp_state_name (mvt_tcp_next (
							  (uint8_t) s, dir, (uint8_t) flags)));
			}
}

static void
quiet_means_that_nothing_changes (void **unused)
{
	unsigned quiet = 0;

	(void) unused;
	for (unsigned s = 0; s < MVT_TCP_STATE_N; s++)
		for (unsigned dir = 0; dir < 2; dir++)
			for (unsigned flags = 0; flags < 256; flags++)
				if (mvt_tcp_quiet ((uint8_t) s, (uint8_t) flags))
				{
					quiet++;
					assert_int_equal (s, mvt_tcp_next ((uint8_t) s, dir,
									   (uint8_t) flags));
				}
	assert_int_equal (quiet, 2 * 32); /* established, no SYN, FIN or RST */
	assert_true (mvt_tcp_quiet (MVT_TCP_ESTABLISHED, ACK | PSH));
}

static void
each_state_has_its_timeout (void **unused)
{
	static const uint8_t expected[MVT_TCP_STATE_N] = {
		[MVT_TCP_CLOSED] = MVT_TIMEOUT_TCP_TRANSITORY,
		[MVT_TCP_INIT_IN2OUT] = MVT_TIMEOUT_TCP_TRANSITORY,
		[MVT_TCP_INIT_OUT2IN] = MVT_TIMEOUT_TCP_INCOMING_SYN,
		[MVT_TCP_ESTABLISHED] = MVT_TIMEOUT_TCP_ESTABLISHED,
		[MVT_TCP_FIN_IN2OUT] = MVT_TIMEOUT_TCP_ESTABLISHED,
		[MVT_TCP_FIN_OUT2IN] = MVT_TIMEOUT_TCP_ESTABLISHED,
		[MVT_TCP_FIN_BOTH] = MVT_TIMEOUT_TCP_TRANSITORY,
		[MVT_TCP_TRANS] = MVT_TIMEOUT_TCP_TRANSITORY,
	};

	(void) unused;
	for (unsigned s = 0; s < MVT_TCP_STATE_N; s++)
		assert_int_equal (expected[s], mvt_tcp_timeout ((uint8_t) s));
}

typedef struct
{
	const char *name;
	struct
	{
		uint8_t dir, flags, after;
	} step[12]; /* until flags is 0 */
} sequence_t;

static const sequence_t sequences[] = {
	{ "opened and closed by the inside",
	  { { I, SYN, MVT_TCP_INIT_IN2OUT },
	    { O, SYN | ACK, MVT_TCP_ESTABLISHED },
	    { I, ACK, MVT_TCP_ESTABLISHED },
	    { I, FIN | ACK, MVT_TCP_FIN_IN2OUT },
	    { O, ACK, MVT_TCP_FIN_IN2OUT },
	    { O, FIN | ACK, MVT_TCP_FIN_BOTH },
	    { I, ACK, MVT_TCP_FIN_BOTH } } },
	{ "opened and closed by the outside",
	  { { O, SYN, MVT_TCP_INIT_OUT2IN },
	    { O, SYN, MVT_TCP_INIT_OUT2IN },
	    { I, SYN | ACK, MVT_TCP_ESTABLISHED },
	    { O, ACK, MVT_TCP_ESTABLISHED },
	    { O, FIN | ACK, MVT_TCP_FIN_OUT2IN },
	    { I, FIN | ACK, MVT_TCP_FIN_BOTH },
	    { O, ACK, MVT_TCP_FIN_BOTH } } },
	{ "simultaneous open, RFC 5382 REQ-2a, inside first",
	  { { I, SYN, MVT_TCP_INIT_IN2OUT },
	    { O, SYN, MVT_TCP_ESTABLISHED },
	    { I, SYN | ACK, MVT_TCP_ESTABLISHED },
	    { O, SYN | ACK, MVT_TCP_ESTABLISHED } } },
	{ "simultaneous open, outside first",
	  { { O, SYN, MVT_TCP_INIT_OUT2IN },
	    { I, SYN, MVT_TCP_ESTABLISHED },
	    { O, SYN | ACK, MVT_TCP_ESTABLISHED } } },
	{ "half-closed: data goes on against the FIN",
	  { { I, SYN, MVT_TCP_INIT_IN2OUT },
	    { O, SYN | ACK, MVT_TCP_ESTABLISHED },
	    { I, FIN | ACK, MVT_TCP_FIN_IN2OUT },
	    { O, ACK | PSH, MVT_TCP_FIN_IN2OUT },
	    { I, ACK, MVT_TCP_FIN_IN2OUT },
	    { I, FIN | ACK, MVT_TCP_FIN_IN2OUT }, /* sent again */
	    { O, FIN | ACK | PSH, MVT_TCP_FIN_BOTH } } },
	{ "connection refused, then tried again",
	  { { I, SYN, MVT_TCP_INIT_IN2OUT },
	    { O, RST | ACK, MVT_TCP_INIT_IN2OUT },
	    { I, SYN, MVT_TCP_INIT_IN2OUT },
	    { O, SYN | ACK, MVT_TCP_ESTABLISHED } } },
	{ "a RST is not the end: a forged one does no harm",
	  { { I, SYN, MVT_TCP_INIT_IN2OUT },
	    { O, SYN | ACK, MVT_TCP_ESTABLISHED },
	    { O, RST, MVT_TCP_TRANS },
	    { O, RST, MVT_TCP_TRANS },
	    { I, ACK, MVT_TCP_ESTABLISHED } } },
	{ "FIN answered by RST is transitory at once",
	  { { I, SYN, MVT_TCP_INIT_IN2OUT },
	    { O, SYN | ACK, MVT_TCP_ESTABLISHED },
	    { O, FIN | ACK, MVT_TCP_FIN_OUT2IN },
	    { I, ACK, MVT_TCP_FIN_OUT2IN },
	    { I, RST | ACK, MVT_TCP_TRANS } } },
	{ "the port is used again after both FINs",
	  { { I, SYN, MVT_TCP_INIT_IN2OUT },
	    { O, SYN | ACK, MVT_TCP_ESTABLISHED },
	    { I, FIN | ACK, MVT_TCP_FIN_IN2OUT },
	    { O, FIN | ACK, MVT_TCP_FIN_BOTH },
	    { I, ACK, MVT_TCP_FIN_BOTH },
	    { O, RST, MVT_TCP_FIN_BOTH },
	    { I, SYN, MVT_TCP_INIT_IN2OUT },
	    { O, SYN | ACK, MVT_TCP_ESTABLISHED } } },
	{ "RST beats SYN and FIN in one segment",
	  { { I, SYN | RST, MVT_TCP_CLOSED },
	    { I, SYN | FIN, MVT_TCP_INIT_IN2OUT },
	    { O, SYN | ACK, MVT_TCP_ESTABLISHED },
	    { O, FIN | RST | ACK, MVT_TCP_TRANS } } },
};

static void
sequences_go_as_drawn (void **unused)
{
	(void) unused;
	for (size_t i = 0; i < sizeof (sequences) / sizeof (sequences[0]); i++)
	{
		const sequence_t *q = &sequences[i];
		uint8_t state = MVT_TCP_CLOSED;
		for (size_t k = 0; k < 12 && q->step[k].flags; k++)
		{
			state = mvt_tcp_next (state, q->step[k].dir, q->step[k].flags);
			if (state != q->step[k].after)
				fail_msg ("%s, step %zu: %s", q->name, k,
					  mvt_tcp_state_name (state));
		}
	}
}

static void
only_a_bare_syn_opens (void **unused)
{
	(void) unused;
	for (unsigned flags = 0; flags < 256; flags++)
		assert_int_equal (mvt_tcp_opens ((uint8_t) flags),
				  (flags & SYN) && !(flags & (ACK | RST | FIN)));
}

static void
every_state_has_a_name (void **unused)
{
	(void) unused;
	for (unsigned s = 0; s < MVT_TCP_STATE_N; s++)
		for (unsigned t = 0; t < s; t++)
			assert_string_not_equal (mvt_tcp_state_name (s), mvt_tcp_state_name (t));
	assert_string_equal (mvt_tcp_state_name (MVT_TCP_STATE_N), "invalid");
}

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (every_cell_is_the_rfcs),
		cmocka_unit_test (quiet_means_that_nothing_changes),
		cmocka_unit_test (each_state_has_its_timeout),
		cmocka_unit_test (sequences_go_as_drawn),
		cmocka_unit_test (only_a_bare_syn_opens),
		cmocka_unit_test (every_state_has_a_name),
	};

	return cmocka_run_group_tests_name ("tcp", tests, NULL, NULL);
}
