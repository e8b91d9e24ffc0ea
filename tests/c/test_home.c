/* SPDX-License-Identifier: Apache-2.0
 * The home map: refusals, each rule of the answer, and a model: a scan over all ranges and pins. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "counted_mem.h"
#include "mvt_home.h"

#define N(array)      (sizeof (array) / sizeof ((array)[0]))
#define A(a, b, c, d) ((uint32_t) (a) << 24 | (b) << 16 | (c) << 8 | (d))

enum
{
	CLOSING = MVT_HOME_F_CLOSING,
	BY_ENDPOINT = MVT_HOME_F_BY_ENDPOINT,
	OPENED = MVT_HOME_F_OPENED,
};

static mvt_home_range_t
range (uint32_t addr, uint8_t len, uint16_t instance)
{
	return (mvt_home_range_t){ .prefix = { .addr = addr, .len = len },
				   .instance = instance,
				   .table = MVT_NONE };
}

static mvt_home_range_t
closing (uint32_t addr, uint8_t len, uint16_t from, uint16_t to)
{
	mvt_home_range_t r = range (addr, len, from);
	r.flags = CLOSING;
	r.from = from;
	r.to = to;
	return r;
}

static mvt_home_pin_t
pin (uint32_t addr, uint16_t port, uint8_t proto, uint16_t instance)
{
	return (mvt_home_pin_t){ .endpoint = { .addr = addr, .port = port, .proto = proto },
				 .instance = instance };
}

static mvt_home_desc_t
describe (const mvt_home_range_t *ranges, uint32_t n_ranges)
{
	return (mvt_home_desc_t){ .version = 7,
				  .ranges = ranges,
				  .n_ranges = n_ranges,
				  .n_instances = 8,
				  .secret = { 1, 2, 3, 4 },
				  .bucket_key = 99 };
}

static mvt_home_t *
build (const mvt_home_desc_t *d)
{
	mvt_err_t err = MVT_ERR_INVALID;
	mvt_home_t *home = mvt_home_new (d, &counted_mem, &err);
	assert_non_null (home);
	assert_int_equal (err, MVT_OK);
	assert_int_equal (mvt_home_version (home), d->version);
	return home;
}

static void
drop (mvt_home_t *home)
{
	mvt_home_remove (home);
	assert_int_equal (counted_mem_bytes, 0);
}

static mvt_home_answer_t
ask (const mvt_home_t *home, uint32_t addr, uint16_t port, uint8_t proto)
{
	mvt_home_answer_t answer;
	memset (&answer, 0xff, sizeof answer);
	mvt_home_lookup (home, 0, addr, port, proto, &answer);
	assert_int_equal (mvt_home_instance (home, 0, addr, port, proto), answer.instance);
	return answer;
}

/* ---- refusals ---- */

static void
refuse (const mvt_home_desc_t *d)
{
	mvt_err_t err = MVT_OK;
	assert_null (mvt_home_new (d, &counted_mem, &err));
	assert_int_equal (err, MVT_ERR_INVALID);
	assert_int_equal (counted_mem_bytes, 0);
}

static void
test_refused_ranges (void **state)
{
	mvt_home_range_t none = range (A (10, 0, 0, 0), 8, 1);
	mvt_home_range_t bad[] = {
		range (A (10, 0, 0, 0), 33, 0),	    /* length */
		range (A (10, 0, 0, 0), 8, 8),	    /* instance */
		range (0, 0, 1),		    /* <*> twice */
		closing (A (10, 0, 0, 0), 8, 8, 1), /* from */
		closing (A (10, 0, 0, 0), 8, 1, 8), /* to */
		closing (A (10, 0, 0, 0), 8, 1, 1), /* to itself */
		none,
		none,
		none,
		none,
		none,
	};
	(void) state;
	bad[6].flags = BY_ENDPOINT; /* without CLOSING */
	bad[7].flags = OPENED;	    /* no /32 */
	bad[7].ext_addr = 1;
	bad[8] = range (A (10, 0, 0, 1), 32, 1);
	bad[8].flags = OPENED; /* no address */
	bad[9].table = 1;      /* no such table */
	bad[10].flags = 1 << 3;

	for (size_t i = 0; i < N (bad); i++)
	{
		uint16_t table[MVT_HOME_BUCKETS] = { 0 };
		mvt_home_range_t ranges[] = { range (0, 0, 0), bad[i] };
		mvt_home_desc_t d = describe (ranges, 2);
		d.tables = table;
		d.n_tables = 1;
		refuse (&d);
	}
	mvt_home_desc_t d = describe (&none, 1); /* no default */
	refuse (&d);
	mvt_home_range_t other_realm = range (0, 0, 0);
	other_realm.realm = 1;
	d = describe (&other_realm, 1);
	refuse (&d);
	d = describe (NULL, 0);
	refuse (&d);

	/* equal below its length is the same range */
	mvt_home_range_t twice[] = { range (0, 0, 0), range (A (10, 1, 0, 0), 16, 0),
				     range (A (10, 1, 2, 3), 16, 1) };
	d = describe (twice, 3);
	refuse (&d);
}

static void
test_refused_rest (void **state)
{
	mvt_home_range_t all = range (0, 0, 0);
	mvt_home_desc_t d = describe (&all, 1);
	uint16_t table[MVT_HOME_BUCKETS] = { 0 };
	(void) state;

	d.n_instances = 0;
	refuse (&d);
	d.n_instances = MVT_HOME_INSTANCES + 1;
	refuse (&d);
	d.n_instances = 8;

	table[MVT_HOME_BUCKETS - 1] = 8;
	d.tables = table;
	d.n_tables = 1;
	refuse (&d);
	d.n_tables = 0;

	mvt_home_pin_t pins[] = { pin (1, 1, MVT_PROTO_UDP, 8), pin (1, 1, MVT_PROTO_OTHER, 1),
				  pin (1, 1, MVT_PROTO_UDP, 1), pin (1, 1, MVT_PROTO_UDP, 2) };
	d.n_pins = 1;
	d.pins = &pins[0];
	refuse (&d);
	d.pins = &pins[1];
	refuse (&d);
	d.pins = &pins[2];
	d.n_pins = 2;
	refuse (&d);
}

static void
test_no_memory (void **state)
{
	mvt_home_range_t ranges[] = { range (0, 0, 0), range (A (10, 0, 0, 0), 8, 1) };
	mvt_home_pin_t p = pin (1, 1, MVT_PROTO_UDP, 1);
	uint16_t table[MVT_HOME_BUCKETS] = { 0 };
	mvt_home_desc_t d = describe (ranges, 2);
	(void) state;
	d.pins = &p;
	d.n_pins = 1;
	d.tables = table;
	d.n_tables = 1;

	unsigned before = counted_mem_calls;
	drop (build (&d));
	unsigned calls = counted_mem_calls - before;
	assert_true (calls >= 4);
	for (unsigned i = 1; i <= calls; i++)
	{
		mvt_err_t err = MVT_OK;
		counted_mem_fail = i;
		assert_null (mvt_home_new (&d, &counted_mem, &err));
		assert_int_equal (err, MVT_ERR_NO_MEMORY);
		assert_int_equal (counted_mem_bytes, 0);
	}
	counted_mem_fail = 0;
}

/* ---- rules of the answer ---- */

static void
test_single (void **state)
{
	mvt_home_range_t all = range (0, 0, 3);
	mvt_home_desc_t d = describe (&all, 1);
	mvt_home_t *home = build (&d);
	mvt_home_range_t covering;
	(void) state;

	assert_int_equal (mvt_home_head (home)->single, 3);
	assert_false (mvt_home_has_pins (home));
	mvt_home_answer_t a = ask (home, A (10, 0, 0, 1), 5, MVT_PROTO_TCP);
	assert_int_equal (a.instance, 3);
	assert_int_equal (a.flags, 0);
	assert_int_equal (a.pinned, 0);
	/* <*> of realm 0 serves all realms */
	assert_int_equal (mvt_home_instance (home, 9, 1, 0, 0), 3);
	assert_true (mvt_home_range_of (home, 9, 1, &covering));
	assert_int_equal (covering.instance, 3);
	drop (home);

	/* a closing <*> is single for the dispatcher, and closing for the instances */
	all = closing (0, 0, 3, 4);
	home = build (&d);
	assert_int_equal (mvt_home_head (home)->single, 3);
	a = ask (home, 1, 0, 0);
	assert_int_equal (a.flags, CLOSING);
	assert_int_equal (a.from, 3);
	assert_int_equal (a.to, 4);
	drop (home);

	/* with a pin it is single no more */
	mvt_home_pin_t p = pin (1, 80, MVT_PROTO_TCP, 5);
	all = range (0, 0, 3);
	d.pins = &p;
	d.n_pins = 1;
	home = build (&d);
	assert_int_equal (mvt_home_head (home)->single, MVT_NONE);
	assert_int_equal (ask (home, 1, 80, MVT_PROTO_TCP).instance, 5);
	assert_int_equal (ask (home, 1, 81, MVT_PROTO_TCP).instance, 3);
	drop (home);
}

static void
test_closing_and_pins (void **state)
{
	uint32_t in = A (10, 1, 0, 1), pinned_host = A (10, 1, 0, 2), opened = A (10, 1, 0, 3),
		 opening = A (10, 1, 0, 4), away = A (10, 1, 0, 5);
	mvt_home_range_t ranges[] = {
		range (0, 0, 0),
		closing (A (10, 1, 0, 0), 16, 1, 2),
		range (pinned_host, 32, 1),
		range (opened, 32, 2),
		closing (opening, 32, 1, 2),
		range (away, 32, 3),
	};
	ranges[3].flags = OPENED;
	ranges[3].ext_addr = A (198, 51, 100, 7);
	ranges[4].flags |= BY_ENDPOINT;
	mvt_home_pin_t pins[] = {
		pin (in, 80, MVT_PROTO_TCP, 1),	     /* in a closing /16: longer than it */
		pin (opened, 80, MVT_PROTO_TCP, 1),  /* an opened host's live endpoint */
		pin (opening, 80, MVT_PROTO_TCP, 1), /* of a host whose own /32 is closing */
		pin (opening, 81, MVT_PROTO_TCP, 4), /* the same, of an instance not concerned */
	};
	mvt_home_desc_t d = describe (ranges, N (ranges));
	d.pins = pins;
	d.n_pins = N (pins);
	mvt_home_t *home = build (&d);
	(void) state;
	assert_true (mvt_home_has_pins (home));
	assert_int_equal (mvt_home_head (home)->single, MVT_NONE);

	static const struct
	{
		uint8_t host; /* 10.1.0.x */
		uint16_t port;
		uint8_t proto;
		uint16_t instance, pinned;
		uint32_t flags;
	} rows[] = {
		{ 9, 1, MVT_PROTO_UDP, 1, 0, CLOSING },
		{ 1, 80, MVT_PROTO_TCP, 1, 1, 0 },
		{ 1, 80, MVT_PROTO_UDP, 1, 0, CLOSING },
		{ 1, 81, MVT_PROTO_TCP, 1, 0, CLOSING },
		{ 2, 80, MVT_PROTO_TCP, 1, 0, 0 },
		{ 3, 80, MVT_PROTO_TCP, 1, 1, OPENED },
		{ 3, 81, MVT_PROTO_TCP, 2, 0, OPENED },
		{ 3, 80, MVT_PROTO_OTHER, 2, 0, OPENED },
		{ 4, 80, MVT_PROTO_TCP, 1, 1, CLOSING | BY_ENDPOINT },
		{ 4, 81, MVT_PROTO_TCP, 4, 1, 0 },
		{ 4, 82, MVT_PROTO_TCP, 1, 0, CLOSING | BY_ENDPOINT },
		{ 5, 80, MVT_PROTO_TCP, 3, 0, 0 },
	};
	for (size_t i = 0; i < N (rows); i++)
	{
		mvt_home_answer_t a =
			ask (home, A (10, 1, 0, rows[i].host), rows[i].port, rows[i].proto);
		if (a.instance != rows[i].instance || a.pinned != rows[i].pinned ||
		    a.flags != rows[i].flags)
			fail_msg ("row %zu: instance %u pinned %u flags %u", i, a.instance,
				  a.pinned, a.flags);
		assert_int_equal (a.from, a.flags & CLOSING ? 1 : 0);
		assert_int_equal (a.to, a.flags & CLOSING ? 2 : 0);
		assert_int_equal (a.ext_addr, a.flags & OPENED ? A (198, 51, 100, 7) : 0);
	}
	drop (home);
}

static void
test_table (void **state)
{
	uint16_t table[MVT_HOME_BUCKETS];
	for (uint32_t i = 0; i < MVT_HOME_BUCKETS; i++)
		table[i] = (uint16_t) (i % 4);
	mvt_home_range_t all = closing (0, 0, 2, 5);
	mvt_home_desc_t d = describe (&all, 1);
	uint32_t hosts[4] = { 0 };
	(void) state;
	all.table = 0;
	all.instance = MVT_NO_INSTANCE; /* not read */
	d.tables = table;
	d.n_tables = 1;
	mvt_home_t *home = build (&d);
	memset (table, 0xff, sizeof table); /* it was copied */
	all.table = MVT_NONE;
	assert_int_equal (mvt_home_head (home)->single, MVT_NONE);
	for (uint32_t i = 0; i < 4096; i++)
	{
		uint32_t addr = A (10, 0, 0, 0) + i;
		mvt_home_answer_t a = ask (home, addr, 0, 0);
		assert_int_equal (a.instance, mvt_home_bucket (99, 0, addr) % 4);
		assert_int_equal (a.flags, a.instance == 2 ? CLOSING : 0);
		hosts[a.instance]++;
	}
	for (int i = 0; i < 4; i++)
		assert_in_range (hosts[i], 900, 1150);
	drop (home);
	/* keyed, and by realm */
	uint32_t same_key = 0, same_realm = 0;
	for (uint32_t i = 0; i < 4096; i++)
	{
		same_key += mvt_home_bucket (1, 0, i) == mvt_home_bucket (2, 0, i);
		same_realm += mvt_home_bucket (1, 0, i) == mvt_home_bucket (1, 1, i);
		assert_true (mvt_home_bucket (1, 0, i) < MVT_HOME_BUCKETS);
	}
	assert_in_range (same_key, 1, 60);
	assert_in_range (same_realm, 1, 60);
}

/* ---- the model ---- */

static uint64_t seed = 0x1234567;

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

/* Few distinct addresses, so that ranges nest and pins are met. */
static uint32_t
random_addr (void)
{
	return A (10, below (3), below (4), below (6)) ^ (below (16) == 0 ? 0x80000000 : 0);
}

static mvt_home_answer_t
model (const mvt_home_desc_t *d, uint16_t realm, uint32_t addr, uint16_t port, uint8_t proto)
{
	const mvt_home_range_t *best = NULL;
	for (uint32_t i = 0; i < d->n_ranges; i++)
	{
		const mvt_home_range_t *r = &d->ranges[i];
		if (r->realm == realm && ((r->prefix.addr ^ addr) & mask (r->prefix.len)) == 0 &&
		    (!best || r->prefix.len > best->prefix.len))
			best = r;
	}
	for (uint32_t i = 0; !best; i++)
		if (d->ranges[i].realm == 0 && d->ranges[i].prefix.len == 0)
			best = &d->ranges[i];
	mvt_home_answer_t a = { .instance = best->instance };
	if (best->table != MVT_NONE)
		a.instance = d->tables[best->table * MVT_HOME_BUCKETS +
				       mvt_home_bucket (d->bucket_key, realm, addr)];
	for (uint32_t i = 0; i < d->n_pins; i++)
		if (d->pins[i].realm == realm && d->pins[i].endpoint.addr == addr &&
		    d->pins[i].endpoint.port == port && d->pins[i].endpoint.proto == proto)
		{
			a.instance = d->pins[i].instance;
			a.pinned = 1;
		}
	if ((best->flags & CLOSING) && best->from == a.instance &&
	    (!a.pinned || best->prefix.len == 32))
	{
		a.flags |= best->flags & (CLOSING | BY_ENDPOINT);
		a.from = best->from;
		a.to = best->to;
	}
	if (best->flags & OPENED)
	{
		a.flags |= OPENED;
		a.ext_addr = best->ext_addr;
	}
	return a;
}

static bool
known_range (const mvt_home_range_t *ranges, uint32_t n, const mvt_home_range_t *r)
{
	for (uint32_t i = 0; i < n; i++)
		if (ranges[i].realm == r->realm && ranges[i].prefix.len == r->prefix.len &&
		    ((ranges[i].prefix.addr ^ r->prefix.addr) & mask (r->prefix.len)) == 0)
			return true;
	return false;
}

static void
test_model (void **state)
{
	static mvt_home_range_t ranges[120];
	static mvt_home_pin_t pins[60];
	static uint16_t tables[2 * MVT_HOME_BUCKETS];
	uint32_t pinned = 0, closed = 0, opened = 0;
	(void) state;

	for (int round = 0; round < 60; round++)
	{
		uint32_t n = 1, n_pins = 0, want = below (N (ranges)), want_pins = below (N (pins));
		ranges[0] = range (0, 0, (uint16_t) below (8));
		for (uint32_t i = 0; i < N (tables); i++)
			tables[i] = (uint16_t) below (8);
		for (uint32_t tries = 0; n < want && tries < 1000; tries++)
		{
			static const uint8_t lens[] = {
				0, 1, 8, 12, 15, 16, 17, 22, 24, 29, 31, 32
			};
			mvt_home_range_t r = range (random_addr (), lens[below (N (lens))],
						    (uint16_t) below (8));
			r.realm = (uint16_t) (below (4) == 0 ? 0x0a00 : 0);
			if (below (3) == 0)
				r.table = below (2);
			if (below (3) == 0)
			{
				r.flags |= CLOSING | (below (4) == 0 ? BY_ENDPOINT : 0);
				r.from = below (2) && r.table == MVT_NONE ? r.instance
									  : (uint16_t) below (8);
				r.to = (uint16_t) ((r.from + 1 + below (7)) % 8);
			}
			if (r.prefix.len == 32 && below (2))
			{
				r.flags |= OPENED;
				r.ext_addr = 1 + below (1000);
			}
			if (!known_range (ranges, n, &r))
				ranges[n++] = r;
		}
		for (uint32_t i = 0; i < want_pins; i++)
		{
			mvt_home_pin_t p = pin (random_addr (), (uint16_t) below (3),
						(uint8_t) below (3), (uint16_t) below (8));
			p.realm = (uint16_t) (below (4) == 0 ? 0x0a00 : 0);
			bool known = false;
			for (uint32_t k = 0; k < n_pins; k++)
				known = known || (pins[k].realm == p.realm &&
						  !memcmp (&pins[k].endpoint, &p.endpoint,
							   sizeof p.endpoint));
			if (!known)
				pins[n_pins++] = p;
		}
		mvt_home_desc_t d = describe (ranges, n);
		d.tables = tables;
		d.n_tables = 2;
		d.pins = pins;
		d.n_pins = n_pins;
		d.secret[0] = (uint64_t) round;
		mvt_home_t *home = build (&d);
		for (int i = 0; i < 3000; i++)
		{
			static const uint16_t realms[] = { 0, 0, 0, 0x0a00, 1 };
			uint16_t realm = realms[below (N (realms))], port = (uint16_t) below (3);
			uint32_t addr = random_addr ();
			uint8_t proto = (uint8_t) below (4);
			mvt_home_answer_t want_a = model (&d, realm, addr, port, proto), a;
			memset (&a, 0xff, sizeof a);
			mvt_home_lookup (home, realm, addr, port, proto, &a);
			if (memcmp (&a, &want_a, sizeof a))
				fail_msg ("round %d realm %u addr %08x port %u proto %u: instance "
					  "%u not %u, flags %u not %u, pinned %u not %u",
					  round, realm, addr, port, proto, a.instance,
					  want_a.instance, a.flags, want_a.flags, a.pinned,
					  want_a.pinned);
			assert_int_equal (mvt_home_instance (home, realm, addr, port, proto),
					  a.instance);
			pinned += a.pinned;
			closed += (a.flags & CLOSING) != 0;
			opened += (a.flags & OPENED) != 0;

			mvt_home_range_t covering;
			assert_true (mvt_home_range_of (home, realm, addr, &covering));
			assert_true (known_range (ranges, n, &covering));
			assert_int_equal (
				(covering.prefix.addr ^ addr) & mask (covering.prefix.len), 0);
		}
		drop (home);
	}
	/* the model met what it is there for */
	assert_true (pinned > 1000 && closed > 1000 && opened > 1000);
}

/* As many host pins as a scale-out of a busy range makes. */
static void
test_many (void **state)
{
	uint32_t n = 20000;
	mvt_home_range_t *ranges = malloc (n * sizeof *ranges);
	(void) state;
	ranges[0] = range (0, 0, 0);
	for (uint32_t i = 1; i < n; i++)
		ranges[i] = range (A (10, 0, 0, 0) + 3 * i, 32, (uint16_t) (1 + i % 7));
	mvt_home_desc_t d = describe (ranges, n);
	mvt_home_t *home = build (&d);
	for (uint32_t i = 1; i < n; i++)
	{
		assert_int_equal (ask (home, A (10, 0, 0, 0) + 3 * i, 0, 0).instance, 1 + i % 7);
		assert_int_equal (ask (home, A (10, 0, 0, 0) + 3 * i + 1, 0, 0).instance, 0);
	}
	drop (home);
	free (ranges);
}

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (test_refused_ranges),
		cmocka_unit_test (test_refused_rest),
		cmocka_unit_test (test_no_memory),
		cmocka_unit_test (test_single),
		cmocka_unit_test (test_closing_and_pins),
		cmocka_unit_test (test_table),
		cmocka_unit_test (test_model),
		cmocka_unit_test (test_many),
	};
	return cmocka_run_group_tests (tests, NULL, NULL);
}
