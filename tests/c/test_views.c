/* SPDX-License-Identifier: Apache-2.0
 * A thread's views on the shared prefix tables: what they count, and that an answer never comes
 * from a table that was replaced. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "counted_mem.h"
#include "mvt_shared.h"
#include "mvt_views.h"

static const mvt_policy_t policies[2];
static const uint32_t no_slots[1];

static mvt_policy_set_t *
policy_set (uint32_t inside_addr, uint32_t policy)
{
	const mvt_policy_rule_t inside = { .inside = { .addr = inside_addr, .len = 8 },
					   .policy = policy };
	const mvt_policy_desc_t desc = { .policies = policies,
					 .n_policies = 2,
					 .slots = no_slots,
					 .inside = &inside,
					 .n_inside = 1,
					 .secret = { 1, 2, 3, 4 } };
	mvt_err_t err;
	mvt_policy_set_t *set = mvt_policy_set_new (&desc, &counted_mem, &err);

	assert_non_null (set);
	return set;
}

static mvt_home_t *
two_ranges (uint16_t instance)
{
	const mvt_home_range_t ranges[] = {
		{ .table = MVT_NONE },
		{ .prefix = { .addr = 0x0a000000, .len = 8 },
		  .instance = instance,
		  .table = MVT_NONE },
	};
	const mvt_home_desc_t desc = {
		.ranges = ranges, .n_ranges = 2, .n_instances = 8, .secret = { 5, 6, 7, 8 }
	};
	mvt_err_t err;
	mvt_home_t *home = mvt_home_new (&desc, &counted_mem, &err);

	assert_non_null (home);
	return home;
}

static void
assert_counts (const mvt_views_t *views, mvt_match_t which, uint64_t lookups, uint64_t hits,
	       uint64_t cache_hits)
{
	mvt_match_info_t info[MVT_MATCH_N];

	mvt_views_info (views, info);
	assert_int_equal (info[which].match.lookups, lookups);
	assert_int_equal (info[which].match.hits, hits);
	assert_int_equal (info[which].match.cache_hits, cache_hits);
}

static void
test_counts (void **state)
{
	mvt_policy_set_t *set = policy_set (0x0a000000, 1);
	mvt_views_t *views = mvt_views_new (&counted_mem);
	mvt_match_info_t info[MVT_MATCH_N];
	(void) state;

	mvt_policy_attach (set, views);
	assert_int_equal (mvt_policy_of_by (set, views, 0x0a000001), 1);
	assert_int_equal (mvt_policy_of_by (set, views, 0x0a000001), 1);
	assert_int_equal (mvt_policy_of_by (set, views, 0x0b000001), MVT_NONE);
	assert_counts (views, MVT_MATCH_INSIDE, 3, 2, 1);
	/* who has no views is not counted, nor are other tables */
	assert_int_equal (mvt_policy_of (set, 0x0a000001), 1);
	assert_counts (views, MVT_MATCH_INSIDE, 3, 2, 1);
	assert_counts (views, MVT_MATCH_EXEMPT, 0, 0, 0);
	/* multicast is exempt, and looked up only where its bit is set */
	assert_true (mvt_policy_exempt_by (set, views, 0xe0000001));
	assert_false (mvt_policy_exempt_by (set, views, 0xc0000201));
	assert_counts (views, MVT_MATCH_EXEMPT, 1, 1, 0);
	mvt_views_info (views, info);
	assert_int_equal (info[MVT_MATCH_INSIDE].entries, 1);
	assert_int_equal (info[MVT_MATCH_RULES].entries, 0);

	mvt_views_remove (views);
	mvt_policy_set_remove (set);
	assert_int_equal (counted_mem_bytes, 0);
}

/* Each entry counts for itself, from the moment that its table is in force. */
static void
test_entries (void **state)
{
	mvt_home_t *home = two_ranges (3), *other = two_ranges (4);
	mvt_views_t *views = mvt_views_new (&counted_mem);
	mvt_entry_hits_t hits[4];
	uint32_t cursor = 0, ten;
	(void) state;

	mvt_home_attach (home, views, MVT_MATCH_HOME);
	for (uint32_t i = 0; i < 7; i++)
		mvt_home_lookup_by (home, views, 0, i < 5 ? 0x0a000001 : 0x0b000001, 1, 0,
				    &(mvt_home_answer_t){ 0 });
	assert_int_equal (mvt_views_hits (views, MVT_MATCH_HOME, &cursor, hits, 1), 1);
	assert_int_not_equal (cursor, MVT_NONE);
	assert_int_equal (mvt_views_hits (views, MVT_MATCH_HOME, &cursor, hits + 1, 3), 1);
	assert_int_equal (cursor, MVT_NONE);
	ten = hits[0].prefix.len == 8 ? 0 : 1;
	assert_int_equal (hits[ten].prefix.addr, 0x0a000000);
	assert_int_equal (hits[ten].hits, 5);
	assert_int_equal (hits[1 - ten].prefix.len, 0);
	assert_int_equal (hits[1 - ten].hits, 2);
	mvt_home_attach (other, views, MVT_MATCH_HOME);
	cursor = 0;
	assert_int_equal (mvt_views_hits (views, MVT_MATCH_HOME, &cursor, hits, 4), 2);
	assert_int_equal (hits[0].hits + hits[1].hits, 0);
	cursor = 0;
	assert_int_equal (mvt_views_hits (views, MVT_MATCH_RULES, &cursor, hits, 4), 0);
	assert_int_equal (cursor, MVT_NONE);

	mvt_views_remove (views);
	mvt_home_remove (home);
	mvt_home_remove (other);
	assert_int_equal (counted_mem_bytes, 0);
}

/* The counters go on when a set is replaced, answers do not; a set that the views do not look at
 * is matched all the same. */
static void
test_replaced (void **state)
{
	mvt_policy_set_t *old = policy_set (0x0a000000, 1);
	mvt_policy_set_t *new = policy_set (0x0b000000, 0);
	mvt_views_t *views = mvt_views_new (&counted_mem);
	(void) state;

	mvt_policy_attach (old, views);
	assert_int_equal (mvt_policy_of_by (old, views, 0x0a000001), 1);
	assert_int_equal (mvt_policy_of_by (new, views, 0x0a000001), MVT_NONE);
	assert_counts (views, MVT_MATCH_INSIDE, 1, 1, 0);
	mvt_policy_attach (new, views);
	assert_int_equal (mvt_policy_of_by (new, views, 0x0a000001), MVT_NONE);
	assert_int_equal (mvt_policy_of_by (new, views, 0x0b000001), 0);
	assert_counts (views, MVT_MATCH_INSIDE, 3, 2, 0);

	mvt_views_remove (views);
	mvt_policy_set_remove (old);
	mvt_policy_set_remove (new);
	assert_int_equal (counted_mem_bytes, 0);
}

/* Rules and home map are looked at apart, though they may be one snapshot. */
static void
test_rules_and_home (void **state)
{
	mvt_home_t *home = two_ranges (3);
	mvt_views_t *views = mvt_views_new (&counted_mem);
	mvt_home_answer_t answer;
	(void) state;

	mvt_home_attach (home, views, MVT_MATCH_RULES);
	mvt_home_attach (home, views, MVT_MATCH_HOME);
	assert_int_equal (mvt_home_instance_by (home, views, 0, 0x0a000001, 0, 0), 3);
	assert_counts (views, MVT_MATCH_RULES, 1, 1, 0);
	assert_counts (views, MVT_MATCH_HOME, 0, 0, 0);
	mvt_home_lookup_by (home, views, 0, 0x0a000001, 0, 0, &answer);
	assert_int_equal (answer.instance, 3);
	mvt_home_lookup_by (home, views, 0, 0x0a000001, 0, 0, &answer);
	assert_counts (views, MVT_MATCH_HOME, 2, 2, 1);

	/* a dispatcher that uses them counts its rules */
	mvt_shared_t shared = { 0 };
	uint8_t header[20] = { 0x45, 0, 0, 20, [8] = 64, [9] = 17, [12] = 10, [15] = 1 };
	mvt_pkt_t pkt = { .l3 = header, .len = sizeof header, .dir = MVT_IN2OUT };
	atomic_store (&shared.rules, home);
	assert_int_equal (mvt_dispatch_by (&shared, views, &pkt), 3);
	assert_int_equal (mvt_dispatch (&shared, &pkt), 3);
	assert_counts (views, MVT_MATCH_RULES, 2, 2, 1);

	mvt_views_remove (views);
	mvt_home_remove (home);
	assert_int_equal (counted_mem_bytes, 0);
}

static void
test_no_memory (void **state)
{
	(void) state;
	for (unsigned i = 1; i <= 1 + 2 * MVT_MATCH_N; i++)
	{
		counted_mem_fail = i;
		assert_null (mvt_views_new (&counted_mem));
		assert_int_equal (counted_mem_bytes, 0);
	}
	counted_mem_fail = 0;
	mvt_views_remove (NULL);
}

static void
test_names (void **state)
{
	(void) state;
	assert_string_equal (mvt_match_name (MVT_MATCH_STATIC_IN), "static_in");
	assert_string_equal (mvt_match_name (MVT_MATCH_N), "unknown");
}

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (test_counts),	   cmocka_unit_test (test_entries),
		cmocka_unit_test (test_replaced),  cmocka_unit_test (test_rules_and_home),
		cmocka_unit_test (test_no_memory), cmocka_unit_test (test_names),
	};
	return cmocka_run_group_tests (tests, NULL, NULL);
}
