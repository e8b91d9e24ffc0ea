/* SPDX-License-Identifier: Apache-2.0 */
#include "mvt_host.h"

#include "mvt_backed.h"

#include <string.h>

/* Links and bucket heads are an index plus one, so that the zeroed memory of the host is an empty
 * table and untouched buckets and records cost no physical page. */
struct mvt_hosts
{
	mvt_mem_t mem;
	mvt_secret_t secret;
	uint32_t *buckets; /* [mask + 1] */
	mvt_host_t *records;
	mvt_backed_t backed; /* records */
	uint32_t mask;
	uint32_t max;
	uint32_t count;
	uint32_t fresh; /* records from here on were never used */
	uint32_t free;	/* list of records that were */
};

static inline uint32_t *
hosts_bucket (const mvt_hosts_t *hosts, uint32_t addr, uint16_t realm)
{
	uint64_t key = (uint64_t) realm << 32 | addr;
	return &hosts->buckets[mvt_hash_u64 (key, &hosts->secret) & hosts->mask];
}

mvt_hosts_t *
mvt_hosts_new (uint32_t max_hosts, const mvt_secret_t *secret, const mvt_mem_t *mem)
{
	uint32_t n_buckets = 16;
	mvt_hosts_t *hosts;

	if (max_hosts == 0 || max_hosts > 1u << 30)
		return NULL;
	hosts = mvt_mem_alloc (mem, sizeof (*hosts), MVT_CACHE_LINE);
	if (!hosts)
		return NULL;
	while (n_buckets < max_hosts)
		n_buckets <<= 1;
	hosts->mem = *mem;
	hosts->secret = *secret;
	hosts->mask = n_buckets - 1;
	hosts->max = max_hosts;
	hosts->buckets =
		mvt_mem_alloc (mem, (size_t) n_buckets * sizeof (uint32_t), MVT_CACHE_LINE);
	hosts->records = mvt_mem_reserve (mem, (size_t) max_hosts * sizeof (mvt_host_t),
					  MVT_CACHE_LINE, true);
	if (!hosts->buckets || !hosts->records)
	{
		mvt_hosts_remove (hosts);
		return NULL;
	}
	/* any bucket may be the first one */
	mvt_mem_back (mem, hosts->buckets, (size_t) n_buckets * sizeof (uint32_t));
	mvt_backed_init (&hosts->backed, hosts->records, (size_t) max_hosts * sizeof (mvt_host_t),
			 mem);
	return hosts;
}

void
mvt_hosts_remove (mvt_hosts_t *hosts)
{
	mvt_mem_t mem;

	if (!hosts)
		return;
	mem = hosts->mem;
	mvt_mem_free (&mem, hosts->buckets, ((size_t) hosts->mask + 1) * sizeof (uint32_t));
	mvt_mem_free (&mem, hosts->records, (size_t) hosts->max * sizeof (mvt_host_t));
	mvt_mem_free (&mem, hosts, sizeof (*hosts));
}

void
mvt_hosts_prefetch (const mvt_hosts_t *hosts, uint32_t addr, uint16_t realm)
{
	__builtin_prefetch (hosts_bucket (hosts, addr, realm));
}

void
mvt_hosts_prefetch_record (const mvt_hosts_t *hosts, uint32_t addr, uint16_t realm)
{
	uint32_t link = *hosts_bucket (hosts, addr, realm);

	if (link)
		__builtin_prefetch (&hosts->records[link - 1], 1);
}

uint32_t
mvt_hosts_find (const mvt_hosts_t *hosts, uint32_t addr, uint16_t realm)
{
	uint32_t link = *hosts_bucket (hosts, addr, realm);

	while (link)
	{
		const mvt_host_t *h = &hosts->records[link - 1];
		if (h->addr == addr && h->realm == realm)
			return link - 1;
		link = h->next;
	}
	return MVT_NONE;
}

uint32_t
mvt_hosts_get (mvt_hosts_t *hosts, uint32_t addr, uint16_t realm, uint32_t now)
{
	uint32_t *bucket = hosts_bucket (hosts, addr, realm);
	uint32_t host = mvt_hosts_find (hosts, addr, realm);
	mvt_host_t *h;

	if (host != MVT_NONE)
		return host;
	if (hosts->free)
	{
		host = hosts->free - 1;
		hosts->free = hosts->records[host].next;
	}
	else if (hosts->fresh < hosts->max)
	{
		host = hosts->fresh++;
		mvt_backed_need (&hosts->backed, (size_t) hosts->fresh * sizeof (mvt_host_t));
	}
	else
		return MVT_NONE;

	h = &hosts->records[host];
	memset (h, 0, sizeof (*h));
	h->addr = addr;
	h->realm = realm;
	h->slot = MVT_NONE;
	h->blocks = MVT_NONE;
	h->since = now;
	h->live = 1;
	h->next = *bucket;
	*bucket = host + 1;
	hosts->count++;
	return host;
}

void
mvt_hosts_put (mvt_hosts_t *hosts, uint32_t host)
{
	mvt_host_t *h = &hosts->records[host];
	uint32_t *link = hosts_bucket (hosts, h->addr, h->realm);

	while (*link != host + 1)
		link = &hosts->records[*link - 1].next;
	*link = h->next;
	h->live = 0;
	h->next = hosts->free;
	hosts->free = host + 1;
	hosts->count--;
}

mvt_host_t *
mvt_hosts_at (mvt_hosts_t *hosts, uint32_t host)
{
	return &hosts->records[host];
}

bool
mvt_hosts_back_ahead (mvt_hosts_t *hosts)
{
	return mvt_backed_ahead (&hosts->backed, (size_t) hosts->fresh * sizeof (mvt_host_t),
				 2 * MVT_BACKED_STEP);
}

uint32_t
mvt_hosts_count (const mvt_hosts_t *hosts)
{
	return hosts->count;
}

uint32_t
mvt_hosts_walk (const mvt_hosts_t *hosts, mvt_prefix4_t prefix, uint16_t realm, uint32_t *cursor,
		uint32_t *out, uint32_t max, uint32_t budget)
{
	uint32_t mask = prefix.len ? 0xffffffffu << (32 - prefix.len) : 0;
	uint32_t n = 0;

	for (; *cursor < hosts->fresh && n < max && budget; ++*cursor, budget--)
	{
		const mvt_host_t *h = &hosts->records[*cursor];
		if (h->live && h->realm == realm && ((h->addr ^ prefix.addr) & mask) == 0)
			out[n++] = *cursor;
	}
	if (*cursor >= hosts->fresh)
		*cursor = MVT_NONE;
	return n;
}
