/* SPDX-License-Identifier: Apache-2.0 */
#include "mvt_home.h"

#include "mvt_packet.h"
#include "mvt_table.h"

/* Fields, in network order as the tables want them: a range is realm, address; a pin is realm,
 * address, port, protocol. The realm is always matched whole, so realms never mix. Realm 0, which
 * is nearly always the only one, has a table of addresses alone: there the lengths present are
 * known by the address's top 16 bits, not by the realm. */
#define RANGE_BITS 48
#define REALM_BITS 16
#define PIN_BITS   72

struct mvt_home
{
	mvt_home_head_t head; /* first: the inlines read it */
	mvt_home_range_t *ranges;
	uint16_t *tables;
	uint32_t n_ranges, n_tables;
	uint32_t default_range; /* <*> of realm 0 */
	uint64_t bucket_key;
	mvt_t *realm0; /* address -> index of the range */
	mvt_t *realms; /* the others: realm, address -> index; NULL without */
	mvt_t *pins;   /* endpoint -> instance; NULL without */
	mvt_mem_t mem;
};

_Static_assert (offsetof (struct mvt_home, head) == 0, "mvt_home_head reads it there");

static void
range_key (uint8_t key[RANGE_BITS / 8], uint16_t realm, uint32_t addr)
{
	mvt_store16 (key, realm);
	mvt_store32 (key + 2, addr);
}

static void
pin_key (uint8_t key[PIN_BITS / 8], uint16_t realm, uint32_t addr, uint16_t port, uint8_t proto)
{
	mvt_store16 (key, realm);
	mvt_store32 (key + 2, addr);
	mvt_store16 (key + 6, port);
	key[8] = proto;
}

/* ---- build ---- */

static bool
is_default (const mvt_home_range_t *r)
{
	return r->realm == 0 && r->prefix.len == 0;
}

static bool
range_is_valid (const mvt_home_desc_t *d, const mvt_home_range_t *r)
{
	if (r->prefix.len > 32)
		return false;
	if (r->table == MVT_NONE ? r->instance >= d->n_instances : r->table >= d->n_tables)
		return false;
	if (r->flags &
	    ~(uint32_t) (MVT_HOME_F_CLOSING | MVT_HOME_F_BY_ENDPOINT | MVT_HOME_F_OPENED))
		return false;
	if (r->flags & MVT_HOME_F_CLOSING)
	{
		if (r->from >= d->n_instances || r->to >= d->n_instances || r->from == r->to)
			return false;
	}
	else if (r->flags & MVT_HOME_F_BY_ENDPOINT)
		return false;
	if (r->flags & MVT_HOME_F_OPENED)
		return r->prefix.len == 32 && r->ext_addr != 0;
	return true;
}

static bool
is_valid (const mvt_home_desc_t *d)
{
	bool has_default = false;

	if (d->n_instances == 0 || d->n_instances > MVT_HOME_INSTANCES)
		return false;
	for (uint32_t i = 0; i < d->n_ranges; i++)
	{
		if (!range_is_valid (d, &d->ranges[i]))
			return false;
		has_default = has_default || is_default (&d->ranges[i]);
	}
	for (size_t i = 0; i < (size_t) d->n_tables * MVT_HOME_BUCKETS; i++)
		if (d->tables[i] >= d->n_instances)
			return false;
	for (uint32_t i = 0; i < d->n_pins; i++)
		if (d->pins[i].instance >= d->n_instances ||
		    d->pins[i].endpoint.proto >= MVT_PROTO_N)
			return false;
	return has_default;
}

static mvt_t *
new_table (const mvt_home_desc_t *d, uint32_t field_bits, uint32_t n, unsigned which,
	   const mvt_mem_t *mem)
{
	mvt_config_t config = {
		.field_bits = field_bits,
		.max_entries = n,
		.seed = { d->secret[0] + which, d->secret[1] ^ d->secret[2 + which % 2] },
	};
	return mvt_new (&config, mem);
}

static mvt_err_t
add_ranges (mvt_home_t *home, const mvt_home_desc_t *d)
{
	for (uint32_t i = 0; i < d->n_ranges; i++)
	{
		const mvt_home_range_t *r = &d->ranges[i];
		uint8_t key[RANGE_BITS / 8];
		int err;
		home->ranges[i] = *r;
		if (is_default (r))
			home->default_range = i;
		range_key (key, r->realm, r->prefix.addr);
		if (r->realm == 0)
		{
			if (mvt_get4 (home->realm0, r->prefix.addr, r->prefix.len) != MVT_NONE)
				return MVT_ERR_INVALID;
			err = mvt_set4 (home->realm0, r->prefix.addr, r->prefix.len, i);
		}
		else
		{
			unsigned len = REALM_BITS + r->prefix.len;
			if (mvt_get (home->realms, key, len) != MVT_NONE)
				return MVT_ERR_INVALID;
			err = mvt_set (home->realms, key, len, i, 0, 0, NULL);
		}
		if (err)
			return (mvt_err_t) err;
	}
	return MVT_OK;
}

static mvt_err_t
add_pins (mvt_home_t *home, const mvt_home_desc_t *d)
{
	for (uint32_t i = 0; i < d->n_pins; i++)
	{
		const mvt_endpoint_t *e = &d->pins[i].endpoint;
		uint8_t key[PIN_BITS / 8];
		int err;
		pin_key (key, d->pins[i].realm, e->addr, e->port, e->proto);
		if (mvt_get (home->pins, key, PIN_BITS) != MVT_NONE)
			return MVT_ERR_INVALID;
		err = mvt_set (home->pins, key, PIN_BITS, d->pins[i].instance, 0, 0, NULL);
		if (err)
			return (mvt_err_t) err;
	}
	return MVT_OK;
}

static uint32_t
count_realm0 (const mvt_home_desc_t *d)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < d->n_ranges; i++)
		n += d->ranges[i].realm == 0;
	return n;
}

static size_t
tables_size (uint32_t n_tables)
{
	return (size_t) n_tables * MVT_HOME_BUCKETS * sizeof (uint16_t);
}

static mvt_err_t
fill (mvt_home_t *home, const mvt_home_desc_t *d)
{
	const mvt_mem_t *mem = &home->mem;
	uint32_t n_realm0 = count_realm0 (d);
	mvt_err_t err;

	home->ranges = mvt_mem_alloc (mem, d->n_ranges * sizeof (mvt_home_range_t), MVT_CACHE_LINE);
	home->realm0 = new_table (d, 32, n_realm0, 0, mem);
	if (!home->ranges || !home->realm0)
		return MVT_ERR_NO_MEMORY;
	if (n_realm0 < d->n_ranges)
	{
		home->realms = new_table (d, RANGE_BITS, d->n_ranges - n_realm0, 1, mem);
		if (!home->realms)
			return MVT_ERR_NO_MEMORY;
	}
	if (d->n_tables)
	{
		home->tables = mvt_mem_alloc (mem, tables_size (d->n_tables), MVT_CACHE_LINE);
		if (!home->tables)
			return MVT_ERR_NO_MEMORY;
		__builtin_memcpy (home->tables, d->tables, tables_size (d->n_tables));
	}
	if (d->n_pins)
	{
		home->pins = new_table (d, PIN_BITS, d->n_pins, 2, mem);
		if (!home->pins)
			return MVT_ERR_NO_MEMORY;
	}
	err = add_ranges (home, d);
	return err ? err : add_pins (home, d);
}

mvt_home_t *
mvt_home_new (const mvt_home_desc_t *desc, const mvt_mem_t *mem, mvt_err_t *err)
{
	const mvt_home_range_t *only = desc->ranges;
	mvt_home_t *home;

	*err = MVT_ERR_INVALID;
	if (!is_valid (desc))
		return NULL;
	*err = MVT_ERR_NO_MEMORY;
	home = mvt_mem_alloc (mem, sizeof *home, MVT_CACHE_LINE);
	if (!home)
		return NULL;
	home->mem = *mem;
	home->head.version = desc->version;
	home->head.n_pins = desc->n_pins;
	home->head.single = MVT_NONE;
	if (desc->n_ranges == 1 && desc->n_pins == 0 && only->table == MVT_NONE)
		home->head.single = only->instance;
	home->n_ranges = desc->n_ranges;
	home->n_tables = desc->n_tables;
	home->bucket_key = desc->bucket_key;
	*err = fill (home, desc);
	if (*err)
	{
		mvt_home_remove (home);
		return NULL;
	}
	return home;
}

void
mvt_home_remove (mvt_home_t *home)
{
	mvt_mem_t mem;
	if (!home)
		return;
	mem = home->mem;
	mvt_remove (home->realm0);
	mvt_remove (home->realms);
	mvt_remove (home->pins);
	mvt_mem_free (&mem, home->ranges, home->n_ranges * sizeof (mvt_home_range_t));
	mvt_mem_free (&mem, home->tables, tables_size (home->n_tables));
	mvt_mem_free (&mem, home, sizeof *home);
}

/* ---- ask ---- */

uint64_t
mvt_home_version (const mvt_home_t *home)
{
	return home->head.version;
}

/* A multiplication by a secret odd number each way round: the top bits depend on every bit of the
 * host, and on the key in a way that no choice of hosts undoes. */
uint32_t
mvt_home_bucket (uint64_t bucket_key, uint16_t realm, uint32_t addr)
{
	uint64_t x = ((uint64_t) realm << 32 | addr) + 0x9e3779b97f4a7c15ull;
	x *= bucket_key | 1;
	x ^= x >> 32;
	x *= (bucket_key ^ 0xd1342543de82ef95ull) | 1;
	x ^= x >> 29;
	x *= 0xda942042e4dd58b5ull;
	return (uint32_t) (x >> 56);
}

void
mvt_home_attach (const mvt_home_t *home, mvt_views_t *views, mvt_match_t which)
{
	mvt_views_attach (views, which, home ? home->realm0 : NULL);
}

static const mvt_home_range_t *
range_of (const mvt_home_t *home, mvt_views_t *views, mvt_match_t which, uint16_t realm,
	  uint32_t addr)
{
	const mvt_t *table = home->realm0;
	uint32_t row;

	if (home->n_ranges == 1)
		return &home->ranges[home->default_range];
	if (mvt_likely (realm == 0))
		row = mvt_views_find (views, which, table, addr);
	else
	{
		uint8_t key[RANGE_BITS / 8];
		table = home->realms;
		if (!table)
			return &home->ranges[home->default_range];
		range_key (key, realm, addr);
		row = mvt_lookup_shared (table, key, 0);
	}
	if (row == MVT_NONE)
		return &home->ranges[home->default_range];
	return &home->ranges[mvt_value (table, row)->state];
}

static uint16_t
resolve (const mvt_home_t *home, const mvt_home_range_t *r, uint16_t realm, uint32_t addr)
{
	if (r->table == MVT_NONE)
		return r->instance;
	return home->tables[r->table * MVT_HOME_BUCKETS +
			    mvt_home_bucket (home->bucket_key, realm, addr)];
}

/* Instance that the endpoint is pinned to, or MVT_NO_INSTANCE. */
static uint16_t
pinned_to (const mvt_home_t *home, uint16_t realm, uint32_t addr, uint16_t port, uint8_t proto)
{
	uint8_t key[PIN_BITS / 8];
	uint32_t row;
	if (mvt_likely (!home->pins) || proto >= MVT_PROTO_N)
		return MVT_NO_INSTANCE;
	pin_key (key, realm, addr, port, proto);
	row = mvt_lookup_shared (home->pins, key, 0);
	return row == MVT_NONE ? MVT_NO_INSTANCE : (uint16_t) mvt_value (home->pins, row)->state;
}

uint16_t
mvt_home_instance_slow (const mvt_home_t *home, mvt_views_t *views, uint16_t realm, uint32_t addr,
			uint16_t port, uint8_t proto)
{
	uint16_t pinned = pinned_to (home, realm, addr, port, proto);
	if (pinned != MVT_NO_INSTANCE)
		return pinned;
	return resolve (home, range_of (home, views, MVT_MATCH_RULES, realm, addr), realm, addr);
}

void
mvt_home_lookup_by (const mvt_home_t *home, mvt_views_t *views, uint16_t realm, uint32_t addr,
		    uint16_t port, uint8_t proto, mvt_home_answer_t *answer)
{
	const mvt_home_range_t *r = range_of (home, views, MVT_MATCH_HOME, realm, addr);
	uint16_t pinned = pinned_to (home, realm, addr, port, proto);

	*answer = (mvt_home_answer_t){ 0 };
	answer->pinned = pinned != MVT_NO_INSTANCE;
	answer->instance = answer->pinned ? pinned : resolve (home, r, realm, addr);
	if ((r->flags & MVT_HOME_F_CLOSING) && r->from == answer->instance &&
	    (!answer->pinned || r->prefix.len == 32))
	{
		answer->flags = r->flags & (MVT_HOME_F_CLOSING | MVT_HOME_F_BY_ENDPOINT);
		answer->from = r->from;
		answer->to = r->to;
	}
	if (r->flags & MVT_HOME_F_OPENED)
	{
		answer->flags |= MVT_HOME_F_OPENED;
		answer->ext_addr = r->ext_addr;
	}
}

bool
mvt_home_range_of (const mvt_home_t *home, uint16_t realm, uint32_t addr, mvt_home_range_t *range)
{
	*range = *range_of (home, NULL, MVT_MATCH_HOME, realm, addr);
	return true;
}
