/* SPDX-License-Identifier: Apache-2.0
 * The policy set: refusals, the pool's slots, 1:1 rules, exempt destinations, and a model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "counted_mem.h"
#include "mvt_policy.h"

#define N(array)      (sizeof (array) / sizeof ((array)[0]))
#define A(a, b, c, d) ((uint32_t) (a) << 24 | (b) << 16 | (c) << 8 | (d))
#define P(a, b, c, d, l)                           \
	{                                          \
		.addr = A (a, b, c, d), .len = (l) \
	}

static uint64_t seed = 0x9876543;

static uint32_t
below (uint32_t n)
{
	return mvt_random_below (&seed, n);
}

static uint32_t
mask (uint8_t len)
{
	return len ? ~0u << (32 - len) : 0;
}

static bool
in_prefix (mvt_prefix4_t p, uint32_t addr)
{
	return ((p.addr ^ addr) & mask (p.len)) == 0;
}

/* A good description; tests spoil or extend it. */
static mvt_policy_t policies[2];
static const uint32_t slots[] = { 0, 1, 2, 3, 8, 9 };
static const mvt_policy_rule_t inside[] = {
	{ P (10, 0, 0, 0, 8), 0 },
	{ P (10, 1, 0, 0, 16), 1 },
	{ P (192, 168, 7, 9, 32), 1 },
};
static const mvt_pool_run_t runs[] = {
	{ .first = A (203, 0, 113, 8), .count = 2, .slot = 8, .draining = 1 },
	{ .first = A (198, 51, 100, 0), .count = 4, .slot = 0 },
};
static const mvt_static_rule_t statics[] = {
	{ P (10, 2, 0, 0, 24), P (192, 0, 2, 0, 24) },
	{ P (10, 2, 0, 7, 32), P (192, 0, 3, 7, 32) },	 /* 10.2.0.7 leaves by another address */
	{ P (172, 16, 0, 1, 32), P (192, 0, 2, 9, 32) }, /* 192.0.2.9 is not 10.2.0.9's */
};
static const mvt_prefix4_t exempt[] = { P (192, 0, 0, 0, 16), P (8, 8, 8, 8, 32),
					P (192, 0, 3, 7, 32) };

static mvt_policy_desc_t
good (void)
{
	for (uint32_t i = 0; i < 2; i++)
	{
		policies[i] = (mvt_policy_t){ .slots_first = i * 4, .n_slots = i ? 2 : 4 };
		for (uint32_t k = 0; k < MVT_TIMEOUT_N; k++)
			policies[i].timeout[k] = 100 * i + k;
	}
	return (mvt_policy_desc_t){
		.generation = 42,
		.policies = policies,
		.n_policies = 2,
		.slots = slots,
		.n_slots = N (slots),
		.inside = inside,
		.n_inside = N (inside),
		.runs = runs,
		.n_runs = N (runs),
		.exempt = exempt,
		.n_exempt = N (exempt),
		.statics = statics,
		.n_statics = N (statics),
		.secret = { 11, 12, 13, 14 },
	};
}

static mvt_policy_set_t *
build (const mvt_policy_desc_t *d)
{
	mvt_err_t err = MVT_ERR_INVALID;
	mvt_policy_set_t *set = mvt_policy_set_new (d, &counted_mem, &err);
	if (!set)
		fail_msg ("refused with %d", err);
	assert_int_equal (err, MVT_OK);
	return set;
}

static void
drop (mvt_policy_set_t *set)
{
	mvt_policy_set_remove (set);
	assert_int_equal (counted_mem_bytes, 0);
}

static void
refuse (const mvt_policy_desc_t *d, mvt_err_t want)
{
	mvt_err_t err = MVT_OK;
	assert_null (mvt_policy_set_new (d, &counted_mem, &err));
	assert_int_equal (err, want);
	assert_int_equal (counted_mem_bytes, 0);
}

/* ---- refusals ---- */

static void
test_refused_policies (void **state)
{
	mvt_policy_desc_t d = good ();
	(void) state;
	d.n_policies = 0;
	refuse (&d, MVT_ERR_INVALID);
	d.n_policies = MVT_POLICY_MAX + 1;
	refuse (&d, MVT_ERR_INVALID);

	d = good ();
	policies[1].filter[MVT_PROTO_ICMP] = MVT_FILTER_APD + 1;
	refuse (&d, MVT_ERR_INVALID);
	d = good ();
	policies[1].timeout[MVT_TIMEOUT_ICMP] = MVT_TIMEOUT_MAX + 1;
	refuse (&d, MVT_ERR_INVALID);
	d = good ();
	policies[1].n_slots = 3; /* beyond the list */
	refuse (&d, MVT_ERR_INVALID);
	d = good ();
	policies[1].slots_first = 7;
	policies[1].n_slots = 0;
	refuse (&d, MVT_ERR_INVALID);
	d = good ();
	policies[1].slots_first = MVT_NONE; /* the sum wraps */
	refuse (&d, MVT_ERR_INVALID);

	static const uint32_t unknown[] = { 0, 1, 2, 3, 8, 4 };
	d = good ();
	d.slots = unknown; /* slot 4 has no address */
	refuse (&d, MVT_ERR_INVALID);

	static const mvt_policy_rule_t bad[][2] = {
		{ { P (10, 0, 0, 0, 33), 0 }, { P (11, 0, 0, 0, 8), 0 } },
		{ { P (10, 0, 0, 0, 8), 2 }, { P (11, 0, 0, 0, 8), 0 } },
		{ { P (10, 0, 0, 0, 8), 0 }, { P (10, 9, 9, 9, 8), 0 } },  /* one prefix twice */
		{ { P (10, 0, 0, 0, 8), 0 }, { P (198, 0, 0, 0, 8), 0 } }, /* the pool is inside */
		{ { P (10, 0, 0, 0, 8), 0 }, { P (198, 51, 100, 3, 32), 0 } },
		{ { P (10, 0, 0, 0, 8), 0 }, { P (198, 51, 100, 0, 32), 0 } },
		{ { P (10, 0, 0, 0, 8), 0 }, { P (192, 0, 2, 5, 32), 0 } }, /* 1:1 outside is */
		{ { P (10, 0, 0, 0, 8), 0 }, { P (192, 0, 0, 0, 8), 0 } },
		{ { P (10, 0, 0, 0, 8), 0 }, { P (0, 0, 0, 0, 0), 0 } },
	};
	for (size_t i = 0; i < N (bad); i++)
	{
		d = good ();
		d.inside = bad[i];
		d.n_inside = 2;
		refuse (&d, MVT_ERR_INVALID);
	}
	static const mvt_prefix4_t too_long = P (1, 1, 1, 1, 33);
	d = good ();
	d.exempt = &too_long;
	d.n_exempt = 1;
	refuse (&d, MVT_ERR_INVALID);
}

static void
test_refused_pool (void **state)
{
	static const mvt_pool_run_t bad[] = {
		{ .first = A (198, 51, 100, 8), .count = 0, .slot = 20 },
		{ .first = A (198, 51, 100, 3), .count = 1, .slot = 20 }, /* addresses overlap */
		{ .first = A (198, 51, 99, 255), .count = 2, .slot = 20 },
		{ .first = A (198, 51, 0, 0), .count = 65536, .slot = 20 },
		{ .first = A (198, 51, 101, 0), .count = 1, .slot = 3 }, /* slots do */
		{ .first = A (198, 51, 101, 0), .count = 5, .slot = 4 },
		{ .first = A (198, 51, 101, 0), .count = 2, .slot = MVT_POLICY_SLOTS - 1 },
		{ .first = A (198, 51, 101, 0), .count = 1, .slot = MVT_NONE },
		{ .first = A (255, 255, 255, 255), .count = 1, .slot = 20 },
		{ .first = A (255, 255, 255, 255), .count = 2, .slot = 20 }, /* wraps */
		{ .first = A (223, 255, 255, 255), .count = 2, .slot = 20 },
		{ .first = A (223, 255, 255, 255), .count = MVT_NONE, .slot = 20 }, /* wraps */
		{ .first = A (0, 255, 255, 255), .count = 2, .slot = 20 },
		{ .first = A (126, 255, 255, 255), .count = 2, .slot = 20 },
		{ .first = A (127, 255, 255, 255), .count = 2, .slot = 20 },
		{ .first = A (172, 16, 0, 0), .count = 2, .slot = 20 }, /* a 1:1 inside host */
	};
	(void) state;
	for (size_t i = 0; i < N (bad); i++)
	{
		mvt_pool_run_t three[] = { runs[0], runs[1], bad[i] };
		mvt_policy_desc_t d = good ();
		d.runs = three;
		d.n_runs = 3;
		refuse (&d, MVT_ERR_INVALID);
	}
	/* the edges of what is allowed */
	mvt_pool_run_t edges[] = {
		runs[0],
		runs[1],
		{ .first = A (198, 51, 100, 4), .count = 1, .slot = 4 },
		{ .first = A (126, 255, 255, 255), .count = 1, .slot = 20 },
		{ .first = A (128, 0, 0, 0), .count = 1, .slot = 21 },
		{ .first = A (223, 255, 255, 255), .count = 1, .slot = MVT_POLICY_SLOTS - 1 }
	};
	mvt_policy_desc_t d = good ();
	d.runs = edges;
	d.n_runs = N (edges);
	mvt_policy_set_t *set = build (&d);
	assert_int_equal (mvt_policy_slot_of (set, A (223, 255, 255, 255), NULL),
			  MVT_POLICY_SLOTS - 1);
	drop (set);
}

static void
test_refused_statics (void **state)
{
	static const struct
	{
		mvt_static_rule_t rule;
		mvt_err_t err;
	} bad[] = {
		{ { P (10, 3, 0, 0, 24), P (192, 0, 4, 0, 25) }, MVT_ERR_INVALID },
		{ { P (10, 3, 0, 0, 33), P (192, 0, 4, 0, 33) }, MVT_ERR_INVALID },
		{ { P (10, 2, 0, 99, 24), P (192, 0, 4, 0, 24) }, MVT_ERR_EXISTS },
		{ { P (10, 3, 0, 0, 24), P (192, 0, 2, 0, 24) }, MVT_ERR_EXISTS },
		{ { P (10, 3, 0, 0, 32), P (198, 51, 100, 3, 32) }, MVT_ERR_IN_USE },
		{ { P (10, 3, 0, 0, 32), P (203, 0, 113, 9, 32) }, MVT_ERR_IN_USE }, /* draining */
		{ { P (10, 3, 0, 0, 24), P (203, 0, 113, 0, 24) }, MVT_ERR_IN_USE },
		{ { P (10, 3, 0, 0, 32), P (10, 4, 0, 0, 32) }, MVT_ERR_INVALID }, /* inside */
		{ { P (10, 3, 0, 0, 32), P (10, 3, 0, 0, 32) }, MVT_ERR_INVALID },
		{ { P (172, 17, 0, 0, 32), P (172, 16, 0, 1, 32) }, MVT_ERR_INVALID },
		{ { P (192, 0, 3, 7, 32), P (192, 0, 9, 1, 32) }, MVT_ERR_INVALID },
		{ { P (198, 51, 100, 1, 32), P (192, 0, 9, 1, 32) }, MVT_ERR_INVALID }, /* pool */
		{ { P (10, 3, 0, 0, 32), P (224, 0, 0, 9, 32) }, MVT_ERR_INVALID },
		{ { P (10, 3, 0, 0, 32), P (127, 0, 0, 9, 32) }, MVT_ERR_INVALID },
		{ { P (10, 3, 0, 0, 32), P (0, 0, 0, 0, 32) }, MVT_ERR_INVALID },
		{ { P (0, 0, 0, 0, 0), P (0, 0, 0, 0, 0) }, MVT_ERR_INVALID },
	};
	(void) state;
	for (size_t i = 0; i < N (bad); i++)
	{
		mvt_static_rule_t rules[N (statics) + 1];
		mvt_policy_desc_t d = good ();
		memcpy (rules, statics, sizeof statics);
		rules[N (statics)] = bad[i].rule;
		d.statics = rules;
		d.n_statics = N (rules);
		refuse (&d, bad[i].err);
	}
}

static void
test_no_memory (void **state)
{
	mvt_policy_desc_t d = good ();
	unsigned before = counted_mem_calls;
	(void) state;
	drop (build (&d));
	unsigned calls = counted_mem_calls - before;
	for (unsigned i = 1; i <= calls; i++)
	{
		counted_mem_fail = i;
		refuse (&d, MVT_ERR_NO_MEMORY);
		counted_mem_fail = 0;
	}
}

/* ---- what a good set says ---- */

static void
test_policies (void **state)
{
	mvt_policy_desc_t d = good ();
	mvt_policy_set_t *set = build (&d);
	(void) state;

	memset (policies, 0xff, sizeof policies); /* everything was copied */
	assert_int_equal (mvt_policy_generation (set), 42);
	assert_int_equal (mvt_policy_count (set), 2);
	assert_int_equal (mvt_policy_of (set, A (10, 0, 0, 1)), 0);
	assert_int_equal (mvt_policy_of (set, A (10, 1, 255, 255)), 1);
	assert_int_equal (mvt_policy_of (set, A (192, 168, 7, 9)), 1);
	assert_int_equal (mvt_policy_of (set, A (192, 168, 7, 8)), MVT_NONE);
	assert_int_equal (mvt_policy_of (set, A (11, 0, 0, 0)), MVT_NONE);
	for (uint32_t i = 0; i < 2; i++)
		for (uint32_t k = 0; k < MVT_TIMEOUT_N; k++)
			assert_int_equal (mvt_policy_timeouts (set)[i * MVT_TIMEOUT_N + k],
					  100 * i + k);
	assert_int_equal (mvt_policy_at (set, 1)->n_slots, 2);
	assert_int_equal (mvt_policy_slot (set, 0, 3), 3);
	assert_int_equal (mvt_policy_slot (set, 1, 1), 9);
	drop (set);

	/* nothing but a policy is a set, too */
	d = good ();
	d = (mvt_policy_desc_t){ .policies = policies, .n_policies = 1 };
	policies[0].n_slots = 0;
	set = build (&d);
	assert_int_equal (mvt_policy_of (set, 1), MVT_NONE);
	assert_int_equal (mvt_policy_slot_of (set, A (1, 2, 3, 4), NULL), MVT_NONE);
	assert_int_equal (mvt_policy_slot_addr (set, 0), 0);
	assert_false (mvt_policy_has_statics (set));
	uint32_t out;
	assert_false (mvt_policy_static_in2out (set, 1, &out));
	assert_false (mvt_policy_exempt (set, A (8, 8, 8, 8)));
	drop (set);
	mvt_policy_set_remove (NULL);
}

static void
test_slots (void **state)
{
	mvt_policy_desc_t d = good ();
	mvt_policy_set_t *set = build (&d);
	bool draining;
	(void) state;

	for (uint32_t i = 0; i < 4; i++)
	{
		draining = true;
		assert_int_equal (mvt_policy_slot_of (set, A (198, 51, 100, i), &draining), i);
		assert_false (draining);
		assert_int_equal (mvt_policy_slot_addr (set, i), A (198, 51, 100, i));
	}
	assert_int_equal (mvt_policy_slot_of (set, A (203, 0, 113, 9), &draining), 9);
	assert_true (draining);
	static const uint32_t outside[] = { 0,
					    A (198, 51, 99, 255),
					    A (198, 51, 100, 4),
					    A (203, 0, 113, 7),
					    A (203, 0, 113, 10),
					    0xffffffff };
	for (size_t i = 0; i < N (outside); i++)
		assert_int_equal (mvt_policy_slot_of (set, outside[i], NULL), MVT_NONE);
	assert_int_equal (mvt_policy_slot_addr (set, 4), 0);
	assert_int_equal (mvt_policy_slot_addr (set, 10), 0);
	assert_int_equal (mvt_policy_slot_addr (set, MVT_NONE), 0);
	drop (set);
}

/* n runs in random order, some of them long enough to cross a /16, with and without the index. */
static void
test_slots_model (void **state)
{
	static const uint32_t sizes[] = { 1, 2, 3, 16, 17, 100, 5000 };
	static mvt_pool_run_t many[5000];
	(void) state;

	for (size_t s = 0; s < N (sizes); s++)
	{
		uint32_t n = sizes[s], at = A (20, 0, 255, 0), slot = 0;
		for (uint32_t i = 0; i < n; i++)
		{
			uint32_t count = 1 + below (i % 50 == 0 ? 3000 : 4);
			at += below (4) ? below (3) : below (200000);
			many[i] = (mvt_pool_run_t){ .first = at,
						    .count = count,
						    .slot = slot,
						    .draining = (uint8_t) below (2) };
			at += count;
			slot += count + below (2);
		}
		for (uint32_t i = n; i-- > 1;)
		{
			uint32_t k = below (i + 1);
			mvt_pool_run_t swap = many[i];
			many[i] = many[k];
			many[k] = swap;
		}
		mvt_policy_desc_t d = good ();
		d.runs = many;
		d.n_runs = n;
		d.n_slots = 0;
		policies[0].n_slots = policies[1].n_slots = policies[1].slots_first = 0;
		d.n_statics = 0;
		mvt_policy_set_t *set = build (&d);
		for (int i = 0; i < 3000; i++)
		{
			const mvt_pool_run_t *r = &many[below (n)];
			uint32_t addr = r->first + below (r->count + 4) - 2;
			uint32_t want = MVT_NONE;
			bool want_draining = false, draining = false;
			for (uint32_t k = 0; k < n; k++)
				if (addr - many[k].first < many[k].count)
				{
					want = many[k].slot + addr - many[k].first;
					want_draining = many[k].draining;
				}
			assert_int_equal (mvt_policy_slot_of (set, addr, &draining), want);
			assert_int_equal (draining, want_draining);
			if (want != MVT_NONE)
				assert_int_equal (mvt_policy_slot_addr (set, want), addr);
		}
		drop (set);
	}
}

static void
test_statics (void **state)
{
	mvt_policy_desc_t d = good ();
	mvt_policy_set_t *set = build (&d);
	static const struct
	{
		uint32_t in, out; /* 0: no rule */
	} rows[] = {
		{ A (10, 2, 0, 0), A (192, 0, 2, 0) },
		{ A (10, 2, 0, 255), A (192, 0, 2, 255) },
		{ A (10, 2, 0, 7), A (192, 0, 3, 7) },
		{ 0, A (192, 0, 2, 7) },
		{ A (172, 16, 0, 1), A (192, 0, 2, 9) },
		{ A (10, 2, 0, 9), 0 },
		{ A (10, 2, 1, 0), 0 },
		{ 0, A (192, 0, 3, 0) },
		{ 0, A (198, 51, 100, 0) },
	};
	(void) state;
	assert_true (mvt_policy_has_statics (set));
	for (size_t i = 0; i < N (rows); i++)
	{
		uint32_t got = 0;
		if (rows[i].in)
		{
			assert_int_equal (mvt_policy_static_in2out (set, rows[i].in, &got),
					  rows[i].out != 0);
			assert_int_equal (got, rows[i].out);
		}
		got = 0;
		if (rows[i].out)
		{
			assert_int_equal (mvt_policy_static_out2in (set, rows[i].out, &got),
					  rows[i].in != 0);
			assert_int_equal (got, rows[i].in);
		}
	}
	drop (set);
}

static void
test_exempt (void **state)
{
	mvt_policy_desc_t d = good ();
	mvt_policy_set_t *set = build (&d);
	static const struct
	{
		uint32_t dst;
		bool exempt;
	} rows[] = {
		{ A (8, 8, 8, 8), true },	   { A (8, 8, 8, 9), false },
		{ A (8, 9, 8, 8), false },	   { A (10, 200, 0, 1), true }, /* inside */
		{ A (192, 168, 7, 9), true },	   { A (192, 168, 7, 8), false },
		{ A (172, 16, 0, 1), true }, /* the inside of a 1:1 rule */
		{ A (172, 16, 0, 2), false },	   { A (192, 0, 1, 255), true }, /* configured */
		{ A (192, 0, 2, 5), false }, /* but it holds a 1:1 outside */
		{ A (192, 0, 3, 7), false },	   { A (192, 0, 3, 8), true },
		{ A (198, 51, 100, 1), false },	   { A (0, 0, 0, 0), true },
		{ A (0, 255, 255, 255), true },	   { A (1, 0, 0, 0), false },
		{ A (126, 255, 255, 255), false }, { A (127, 0, 0, 1), true },
		{ A (127, 255, 255, 255), true },  { A (128, 0, 0, 0), false },
		{ A (223, 255, 255, 255), false }, { A (224, 0, 0, 0), true },
		{ A (239, 255, 255, 255), true },  { A (240, 0, 0, 0), true },
		{ A (255, 255, 255, 255), true },
	};
	(void) state;
	for (size_t i = 0; i < N (rows); i++)
		if (mvt_policy_exempt (set, rows[i].dst) != rows[i].exempt)
			fail_msg ("row %zu: %08x", i, rows[i].dst);
	drop (set);
}

/* ---- the model: scans over the description ---- */

static const mvt_policy_rule_t *
model_inside (const mvt_policy_desc_t *d, uint32_t addr)
{
	const mvt_policy_rule_t *best = NULL;
	for (uint32_t i = 0; i < d->n_inside; i++)
		if (in_prefix (d->inside[i].inside, addr) &&
		    (!best || d->inside[i].inside.len > best->inside.len))
			best = &d->inside[i];
	return best;
}

static bool
model_exempt (const mvt_policy_desc_t *d, uint32_t dst)
{
	bool found = dst >> 24 == 0 || dst >> 24 == 127 || dst >> 28 >= 14 ||
		     model_inside (d, dst) != NULL;
	for (uint32_t i = 0; i < d->n_exempt; i++)
		found = found || in_prefix (d->exempt[i], dst);
	return found;
}

static void
test_model (void **state)
{
	static mvt_policy_rule_t rules[200];
	static mvt_prefix4_t exempts[50];
	uint32_t exempted = 0, translated = 0;
	(void) state;

	for (int round = 0; round < 40; round++)
	{
		static const uint8_t lens[] = { 4, 7, 8, 12, 15, 16, 17, 20, 24, 30, 31, 32 };
		mvt_policy_desc_t d = good ();
		uint32_t n = 0;
		for (uint32_t tries = below (N (rules)); tries > 0; tries--)
		{
			mvt_policy_rule_t r = { { .addr = A (10, below (4), below (4), below (8)),
						  .len = lens[below (N (lens))] },
						below (2) };
			bool known = false;
			for (uint32_t k = 0; k < n; k++)
				known = known || (rules[k].inside.len == r.inside.len &&
						  in_prefix (rules[k].inside, r.inside.addr));
			if (!known)
				rules[n++] = r;
		}
		for (uint32_t i = 0; i < N (exempts); i++)
			exempts[i] = (mvt_prefix4_t){
				.addr = A (100, below (8), below (4), below (8)),
				.len = lens[3 + below (N (lens) - 3)],
			};
		d.inside = rules;
		d.n_inside = n;
		d.exempt = exempts;
		d.n_exempt = below (N (exempts));
		d.n_statics = 0;
		d.secret[1] = (uint64_t) round;
		mvt_policy_set_t *set = build (&d);
		for (int i = 0; i < 3000; i++)
		{
			uint32_t addr = A (below (2) ? 10 : 100, below (8), below (5), below (9));
			if (below (8) == 0)
				addr = mvt_random (&seed);
			const mvt_policy_rule_t *r = model_inside (&d, addr);
			assert_int_equal (mvt_policy_of (set, addr), r ? r->policy : MVT_NONE);
			assert_int_equal (mvt_policy_exempt (set, addr), model_exempt (&d, addr));
			exempted += model_exempt (&d, addr);
			translated += !model_exempt (&d, addr);
		}
		drop (set);
	}
	assert_true (exempted > 10000 && translated > 10000);
}

/* The cheap test never misses an address that matters, and lets the neighbours of a few go. */
static void
test_special (void **state)
{
	static const mvt_pool_run_t run = { .first = A (100, 64, 255, 3),
					    .count = 70000,
					    .slot = 16 };
	mvt_policy_desc_t d = good ();
	uint32_t near = 0;
	(void) state;

	d.runs = &run;
	d.n_runs = 1;
	d.n_slots = 0;
	policies[0].n_slots = policies[1].n_slots = policies[1].slots_first = 0;
	mvt_policy_set_t *set = build (&d);
	for (uint32_t i = 0; i < run.count; i++)
		assert_true (mvt_policy_special (set, run.first + i));
	for (uint32_t i = 0; i < 65536; i++)
	{
		uint32_t out, addr = A (192, 0, 0, 0) + i;
		assert_true (mvt_policy_special (set, addr)); /* exempt as a whole */
		addr = A (10, 0, 0, 0) + below (1u << 24);
		assert_true (mvt_policy_special (set, addr));
		addr = A (8, 8, 0, 0) + i;
		near += mvt_policy_special (set, addr);
		assert_false (mvt_policy_special (set, A (9, 9, 0, 0) + i));
		addr = (uint32_t) mvt_random (&seed);
		if (mvt_policy_exempt_slow (set, NULL, addr) ||
		    mvt_policy_static_out2in (set, addr, &out))
			assert_true (mvt_policy_special (set, addr));
	}
	assert_true (mvt_policy_special (set, A (8, 8, 8, 8)));
	/* a lone address in its /16: few others are taken for special */
	assert_in_range (near, 1, 65536 / 20);
	drop (set);
}

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (test_refused_policies), cmocka_unit_test (test_refused_pool),
		cmocka_unit_test (test_refused_statics),  cmocka_unit_test (test_no_memory),
		cmocka_unit_test (test_policies),	  cmocka_unit_test (test_slots),
		cmocka_unit_test (test_slots_model),	  cmocka_unit_test (test_statics),
		cmocka_unit_test (test_exempt),		  cmocka_unit_test (test_model),
		cmocka_unit_test (test_special),
	};
	return cmocka_run_group_tests (tests, NULL, NULL);
}
