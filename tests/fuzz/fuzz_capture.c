/* SPDX-License-Identifier: Apache-2.0
 * A capture of any bytes through `replay`: it ends, with a sentence when it is refused, every
 * record that was read is written or counted, and nothing outside a record is touched.
 *
 * Input: the file. */
#define _GNU_SOURCE 1
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine.h"

#include "fuzz_input.h"

static mvt_engine_t *
engine_new (void)
{
	static mvt_policy_t policy = { .timeout = { 300, 7440, 240, 6, 60 }, .n_slots = 1 };
	static mvt_policy_rule_t inside = { .inside = { 0x0a000000, 8, { 0 } } };
	static mvt_pool_run_t run = { .first = 0xc6336401, .count = 1 };
	static uint32_t slot;
	static mvt_policy_desc_t desc = { .generation = 1,
					  .policies = &policy,
					  .n_policies = 1,
					  .slots = &slot,
					  .n_slots = 1,
					  .inside = &inside,
					  .n_inside = 1,
					  .runs = &run,
					  .n_runs = 1 };
	mvt_engine_config_t config = { .instances_initial = 2,
				       .instances_max = 2,
				       .max_mappings = 256,
				       .max_sessions = 64,
				       .max_hosts = 64,
				       .block_size = 4096,
				       .stepped = 1,
				       .policy = &desc,
				       .seed = { 1, 2, 3, 4 } };
	char err[MVT_ENGINE_ERR_LEN];
	int code;

	return mvt_engine_new (&config, &code, err);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
	char in[64], err[MVT_ENGINE_ERR_LEN] = "";
	mvt_replay_result_t result = { 0 };
	int file = memfd_create ("capture", 0), rc;
	mvt_engine_t *engine = engine_new ();
	uint64_t out;

	FUZZ_CHECK (file >= 0 && engine);
	FUZZ_CHECK (write (file, data, size) == (ssize_t) size);
	snprintf (in, sizeof in, "/proc/self/fd/%d", file);
	rc = mvt_engine_replay (engine, in, "/dev/null", &result, NULL, NULL, err);
	out = result.out;
	for (uint32_t i = 0; i < MVT_DROP_N; i++)
		out += result.dropped[i];
	if (rc == MVT_OK)
		FUZZ_CHECK (result.in == out);
	else
		FUZZ_CHECK (rc != MVT_ERR_NO_MEMORY && *err);
	FUZZ_CHECK (!result.cut || result.bytes_offset < size);
	mvt_engine_free (engine);
	close (file);
	return 0;
}
