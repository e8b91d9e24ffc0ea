/* SPDX-License-Identifier: Apache-2.0 */
#include "mvt_tcp.h"

/* Short names, so that the table reads like the figure. */
enum
{
	CLOSED = MVT_TCP_CLOSED,
	INIT_I = MVT_TCP_INIT_IN2OUT,
	INIT_O = MVT_TCP_INIT_OUT2IN,
	ESTAB = MVT_TCP_ESTABLISHED,
	FIN_I = MVT_TCP_FIN_IN2OUT,
	FIN_O = MVT_TCP_FIN_OUT2IN,
	FIN_IO = MVT_TCP_FIN_BOTH,
	TRANS = MVT_TCP_TRANS,
};

_Static_assert (MVT_IN2OUT == 0 && MVT_OUT2IN == 1, "order of the two columns below");
_Static_assert ((MVT_TIMEOUT_N & (MVT_TIMEOUT_N - 1)) == 0, "a class is taken off by a mask");

/* clang-format off */
const uint8_t mvt_tcp_table[MVT_TCP_STATE_N][2][MVT_TCP_EVENT_N] = {
	/*     in2out: other   FIN     SYN     RST    out2in: other   FIN     SYN     RST */
	[CLOSED] = { { CLOSED, CLOSED, INIT_I, CLOSED },          { CLOSED, CLOSED, INIT_O, CLOSED } },
	[INIT_I] = { { INIT_I, INIT_I, INIT_I, INIT_I },          { INIT_I, INIT_I, ESTAB,  INIT_I } },
	[INIT_O] = { { INIT_O, INIT_O, ESTAB,  INIT_O },          { INIT_O, INIT_O, INIT_O, INIT_O } },
	[ESTAB]  = { { ESTAB,  FIN_I,  ESTAB,  TRANS  },          { ESTAB,  FIN_O,  ESTAB,  TRANS  } },
	[FIN_I]  = { { FIN_I,  FIN_I,  FIN_I,  TRANS  },          { FIN_I,  FIN_IO, FIN_I,  TRANS  } },
	[FIN_O]  = { { FIN_O,  FIN_IO, FIN_O,  TRANS  },          { FIN_O,  FIN_O,  FIN_O,  TRANS  } },
	[FIN_IO] = { { FIN_IO, FIN_IO, INIT_I, FIN_IO },          { FIN_IO, FIN_IO, INIT_O, FIN_IO } },
	[TRANS]  = { { ESTAB,  ESTAB,  ESTAB,  TRANS  },          { ESTAB,  ESTAB,  ESTAB,  TRANS  } },
};
/* clang-format on */

const uint8_t mvt_tcp_timeouts[MVT_TCP_STATE_N] = {
	[MVT_TCP_CLOSED] = MVT_TIMEOUT_TCP_TRANSITORY,
	[MVT_TCP_INIT_IN2OUT] = MVT_TIMEOUT_TCP_TRANSITORY,
	/* partial open from outside is what a SYN flood looks like; RFC 7857 2.1 allows less than
	 * four minutes for it */
	[MVT_TCP_INIT_OUT2IN] = MVT_TIMEOUT_TCP_INCOMING_SYN,
	[MVT_TCP_ESTABLISHED] = MVT_TIMEOUT_TCP_ESTABLISHED,
	[MVT_TCP_FIN_IN2OUT] = MVT_TIMEOUT_TCP_ESTABLISHED,
	[MVT_TCP_FIN_OUT2IN] = MVT_TIMEOUT_TCP_ESTABLISHED,
	[MVT_TCP_FIN_BOTH] = MVT_TIMEOUT_TCP_TRANSITORY,
	[MVT_TCP_TRANS] = MVT_TIMEOUT_TCP_TRANSITORY,
};

const char *
mvt_tcp_state_name (unsigned state)
{
	static const char *const names[MVT_TCP_STATE_N] = {
		[MVT_TCP_CLOSED] = "closed",	       [MVT_TCP_INIT_IN2OUT] = "init-in2out",
		[MVT_TCP_INIT_OUT2IN] = "init-out2in", [MVT_TCP_ESTABLISHED] = "established",
		[MVT_TCP_FIN_IN2OUT] = "fin-in2out",   [MVT_TCP_FIN_OUT2IN] = "fin-out2in",
		[MVT_TCP_FIN_BOTH] = "fin-both",       [MVT_TCP_TRANS] = "trans",
	};

	return state < MVT_TCP_STATE_N ? names[state] : "invalid";
}
