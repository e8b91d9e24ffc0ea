/* SPDX-License-Identifier: Apache-2.0
 *
 * What an instance does while it has no packets. */
#include "nat44_packets.h"

#include "engine_private.h"
#include "mvt_session.h"

#define FLOWS 4096u

static void
first_packet (world_t *w, uint32_t flow, uint32_t remote)
{
	build_t b = { .src = host (1 + flow % 256),
		      .dst = WORLD_REMOTE + remote,
		      .sport = (uint16_t) (1024 + flow / 256),
		      .dport = 80,
		      .ip_proto = TCP,
		      .tcp_flags = SYN };
	built_t built = build_packet (&b);
	mvt_pkt_t pkt = build_view (&built, MVT_IN2OUT, 0);

	mvt_nat44_process (w->nat[0], &pkt, 1, w->now);
	assert_int_equal (pkt.verdict, MVT_VERDICT_TRANSLATED);
	free (built.p);
}

/* An instance that had gone round in this second left the memory of further sessions, which a full
 * bucket asks for, to the next busy turns, or to a packet: it did nothing more while it was idle.
 */
static void
memory_is_backed_although_the_sweep_has_gone_round (void **state)
{
	(void) state;
	static world_t w;
	static instance_t instance;
	unsigned before;

	world_defaults (&w);
	w.n_addresses = 8;
	w.max_mappings = 1 << 18;
	w.log = 0;
	world_start (&w);
	instance.nat = w.nat[0];

	while (instance_sweep (&instance, w.now))
		;
	for (uint32_t flow = 0; flow < FLOWS; flow++)
		first_packet (&w, flow, 1);
	while (instance_sweep (&instance, w.now))
		;
	for (uint32_t remote = 2; remote < 2 + MVT_SESSION_SLOTS; remote++)
		first_packet (&w, 0, remote);
	before = counted_mem_backs;
	while (instance_sweep (&instance, w.now))
		;
	assert_true (counted_mem_backs > before);
	before = counted_mem_backs;
	first_packet (&w, 0, 2 + MVT_SESSION_SLOTS);
	assert_int_equal (WORLD_SUM (&w, sessions_created), MVT_SESSION_SLOTS + 1);
	assert_int_equal (counted_mem_backs, before);

	/* and comes to rest */
	assert_false (instance_sweep (&instance, w.now));
	assert_int_equal (counted_mem_backs, before);
	world_stop (&w);
}

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (memory_is_backed_although_the_sweep_has_gone_round),
	};
	return cmocka_run_group_tests (tests, NULL, NULL);
}
