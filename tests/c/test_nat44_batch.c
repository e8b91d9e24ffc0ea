/* SPDX-License-Identifier: Apache-2.0
 *
 * A batch is nothing but its packets in order: whatever its size and mixture, two equal instances,
 * one of which gets the packets one by one, end with the same verdicts, bytes and counters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "nat44_world.h"

#define ROUNDS 2000u
#define LEN    60u

static void
start (world_t *w, mvt_filter_t filter)
{
	world_defaults (w);
	memset (w->policy.filter, (int) filter, sizeof w->policy.filter);
	w->n_addresses = 2;
	w->max_mappings = 300;
	w->hold_seconds = 3;
	world_start (w);
}

/* From few hosts and ports, so that mappings are made, hit, ended and made again within one batch;
 * outside packets go to addresses and ports that may or may not be mapped. */
static built_t
random_packet (uint64_t *state, unsigned dir)
{
	uint32_t r = build_random (state), kind = build_random (state) % 32;
	uint32_t inside = WORLD_INSIDE + 1 + r % 24, remote = WORLD_REMOTE + (r >> 8 & 1);
	/* some mappings get more sessions than four */
	if (inside % 4 == 0)
		remote += build_random (state) % 8;
	uint32_t pool = WORLD_POOL + (r >> 9) % 3;
	build_t b = {
		.ip_proto = r >> 12 & 1 ? 17 : 6,
		.src = dir == MVT_IN2OUT ? inside : remote,
		.dst = dir == MVT_IN2OUT ? remote : pool,
		.sport = (uint16_t) (dir == MVT_IN2OUT ? 2000 + (r >> 16) % 16 : 53),
		.dport = (uint16_t) (dir == MVT_IN2OUT ? 53 : 1024 + build_random (state) % 64512),
		.tcp_flags = r >> 20 & 3   ? 0x10
			     : r >> 22 & 1 ? 0x02
					   : 0x04,
		.payload = 8,
	};
	if (dir == MVT_IN2OUT && kind == 0)
		b.dst = WORLD_INSIDE + 7; /* exempt */
	if (dir == MVT_IN2OUT && kind == 1)
		b.dst = pool; /* hairpin */
	built_t built = build_packet (&b);
	if (kind == 2)
		built.p[10] ^= 1; /* header checksum */
	if (kind == 3)
		built.p[6] |= 0x20; /* more fragments: the checksum is wrong too */
	return built;
}

static void
same_as_one_by_one (mvt_filter_t filter)
{
	static world_t a, b;
	static uint8_t bytes[2][MVT_BATCH_MAX][LEN];
	uint64_t state = 20;
	/* endpoints that were given lately: what packets from outside aim at */
	static uint32_t ext_addr[256];
	static uint16_t ext_port[256];
	uint32_t known = 0, translated = 0;
	uint64_t received[2] = { 0, 0 }, handed_in = 0;

	start (&a, filter);
	start (&b, filter);
	for (uint32_t round = 0; round < ROUNDS; round++)
	{
		uint32_t n = build_random (&state) % (round % 4 ? 40 : MVT_BATCH_MAX + 1);
		uint32_t mix = build_random (&state) % 3;
		mvt_pkt_t batch[MVT_BATCH_MAX];

		if (build_random (&state) % 16 == 0)
			a.now = b.now += build_random (&state) % 400;
		for (uint32_t i = 0; i < n; i++)
		{
			unsigned dir = mix == 2 ? build_random (&state) & 1 : mix;
			built_t p = random_packet (&state, dir);
			uint32_t k = build_random (&state) % 256;

			assert_true (p.len <= LEN);
			if (dir == MVT_OUT2IN && ext_addr[k] && (k & 7))
			{
				build_put32 (p.p + 16, ext_addr[k]);
				build_put16 (p.p + 22, ext_port[k]);
				build_fill_ip (p.p);
			}
			memcpy (bytes[0][i], p.p, p.len);
			memcpy (bytes[1][i], p.p, p.len);
			batch[i] = (mvt_pkt_t){ .l3 = bytes[0][i],
						.len = p.len,
						.dir = (uint8_t) dir,
						.hops = build_random (&state) % 16 == 0 };
			free (p.p);
		}
		for (uint32_t i = 0; i < n; i++)
		{
			mvt_pkt_t one = batch[i];
			one.l3 = bytes[1][i];
			mvt_nat44_process (b.nat[0], &one, 1, b.now);
			batch[i].hash = one.verdict << 8 | one.reason; /* to compare below */
		}
		uint32_t want[MVT_BATCH_MAX];
		for (uint32_t i = 0; i < n; i++)
		{
			want[i] = batch[i].hash;
			batch[i].hash = 0;
			received[batch[i].dir]++;
			handed_in += batch[i].hops;
		}
		mvt_nat44_process (a.nat[0], batch, n, a.now);
		for (uint32_t i = 0; i < n; i++)
		{
			assert_int_equal (batch[i].verdict << 8 | batch[i].reason, want[i]);
			assert_memory_equal (bytes[0][i], bytes[1][i], batch[i].len);
			if (batch[i].verdict != MVT_VERDICT_TRANSLATED)
				continue;
			translated++;
			if (batch[i].dir != MVT_IN2OUT)
				continue;
			ext_addr[known % 256] = mvt_load32 (bytes[0][i] + 12);
			ext_port[known++ % 256] = mvt_load16 (bytes[0][i] + 20);
		}
		mvt_nat44_background (a.nat[0], a.now, 8);
		mvt_nat44_background (b.nat[0], b.now, 8);
		/* fragments that are held wait in both; nothing releases them here but time */
		mvt_pkt_t out[MVT_BATCH_MAX];
		assert_int_equal (mvt_nat44_released (a.nat[0], out, MVT_BATCH_MAX),
				  mvt_nat44_released (b.nat[0], out, MVT_BATCH_MAX));
		assert_memory_equal (mvt_nat44_counters_any (a.nat[0]),
				     mvt_nat44_counters_any (b.nat[0]), sizeof (mvt_counters_t));
	}
	const mvt_counters_t *c = mvt_nat44_counters_any (a.nat[0]);
	assert_int_equal (c->received_in2out, received[MVT_IN2OUT]);
	assert_int_equal (c->received_out2in, received[MVT_OUT2IN]);
	assert_int_equal (c->handed_in, handed_in);
	assert_true (translated > ROUNDS * 10);
	assert_int_equal (mvt_nat44_verify (a.nat[0]), 0);
	world_stop (&a);
	world_stop (&b);
}

static void
test_every_filtering (void **unused)
{
	(void) unused;
	same_as_one_by_one (MVT_FILTER_EI);
	same_as_one_by_one (MVT_FILTER_AD);
	same_as_one_by_one (MVT_FILTER_APD);
}

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (test_every_filtering),
	};
	return cmocka_run_group_tests (tests, NULL, NULL);
}
