/* SPDX-License-Identifier: Apache-2.0
 * The benchmark measures what it says: every packet translated, as many as asked for. Its figures
 * are no test. */
#include "engine_fixture.h"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SHADOW 8 /* the sanitizer's memory for each byte is resident too */
#else
#define SHADOW 1
#endif

#define BACKED_AHEAD (2u << 20) /* for mappings to come */

static void
every_case_translates_all (void **state)
{
	(void) state;
	for (unsigned i = 0; i < 32; i++)
	{
		mvt_engine_config_t config = { .max_mappings = 4096, .block_size = 64 };
		mvt_bench_case_t c = { .flows = 3000,
				       .batches = 20,
				       .direction = i & 1,
				       .proto = i >> 1 & 1,
				       .random_order = i >> 2 & 1,
				       .new_flows = i >> 3 & 1,
				       .instances = i >> 4 ? 2 : 0,
				       .count_memory = true,
				       .remotes = i & 1 ? 3 : 0,
				       .filter = (uint8_t) (i % 3),
				       .seed = i };
		uint32_t n = i >> 4 ? 2 : 1;
		char err[MVT_ENGINE_ERR_LEN];

		assert_int_equal (mvt_engine_bench (&config, &c, err), 0);
		assert_int_equal (c.wrong, 0);
		/* 4,096 new mappings are 16 batches */
		assert_int_equal (c.packets, (uint64_t) n * (c.new_flows ? 16 : 20) * 256);
		assert_true (c.clocks_per_packet > 1);
		assert_true (c.new_flows ? c.touch_clocks == 0 : c.touch_clocks > 0);
		assert_true (c.seconds > 0);
		assert_true (c.interrupted <= n * 20);
		assert_in_range (c.memory_bytes, 3000 * 64,
				 (3000 * 64 * 12 + BACKED_AHEAD) * SHADOW);
		assert_true (c.resident > n * 3000 * 64);
		assert_true (c.resident_reserved + c.resident_transparent <= c.resident);
	}
}

static void
impossible_cases_are_refused (void **state)
{
	(void) state;
	mvt_engine_config_t config = { .max_mappings = 4096, .block_size = 64 };
	mvt_bench_case_t no_flows = { .batches = 1 }, many = { .flows = 1, .instances = 65 };
	mvt_bench_case_t large = { .flows = UINT32_MAX };
	char err[MVT_ENGINE_ERR_LEN] = "";

	assert_int_equal (mvt_engine_bench (&config, &no_flows, err), MVT_ERR_INVALID);
	assert_non_null (strstr (err, "cannot be measured"));
	assert_int_equal (mvt_engine_bench (&config, &many, err), MVT_ERR_INVALID);
	assert_int_not_equal (mvt_engine_bench (&config, &large, err), 0);
	config.block_size = 3;
	no_flows.flows = 1;
	assert_int_equal (mvt_engine_bench (&config, &no_flows, err), MVT_ERR_INVALID);
}

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (every_case_translates_all),
		cmocka_unit_test (impossible_cases_are_refused),
	};
	return cmocka_run_group_tests (tests, NULL, NULL);
}
