/* SPDX-License-Identifier: Apache-2.0 */
#include "mvt_policy.h"

#include "mvt_table.h"

/* The tail search alone is cheaper than a 256 KiB index while the runs fill a line or two. */
#define SPANS_WITHOUT_INDEX 16u
#define SPAN_INDEX_SIZE	    (65536u + 1u)

struct mvt_policy_set
{
	mvt_policy_head_t head; /* first: the inlines read it */
	uint64_t generation;
	mvt_policy_t *policies;
	uint32_t *timeouts;
	uint32_t *slots;
	uint32_t *slot_addr;
	mvt_static_rule_t *statics;
	uint32_t n_policies, n_slots, n_statics, n_spans;
	uint32_t n_slot_addr;
	mvt_t *inside;	   /* -> policy */
	mvt_t *exempt;	   /* -> EXEMPT or NOT_EXEMPT */
	mvt_t *static_in;  /* inside prefix -> rule */
	mvt_t *static_out; /* outside prefix -> rule */
	uint32_t *span_first;
	mvt_policy_span_t *spans;
	uint32_t *span_index;
	mvt_mem_t mem;
};

_Static_assert (offsetof (struct mvt_policy_set, head) == 0, "mvt_policy_head reads it there");

enum
{
	NOT_EXEMPT = 0, /* the outside of a 1:1 rule */
	EXEMPT = 1,
};

/* Destinations that no NAT may touch, whatever is configured: "this network", loopback,
 * multicast, and class E, which holds the broadcast address. */
static const mvt_prefix4_t always_exempt[] = {
	{ .addr = 0x00000000, .len = 8 },
	{ .addr = 0x7f000000, .len = 8 },
	{ .addr = 0xe0000000, .len = 4 },
	{ .addr = 0xf0000000, .len = 4 },
};

static uint32_t
prefix_mask (uint8_t len)
{
	return len == 0 ? 0 : ~0u << (32 - len);
}

static mvt_prefix4_t
prefix_masked (mvt_prefix4_t p)
{
	return (mvt_prefix4_t){ .addr = p.addr & prefix_mask (p.len), .len = p.len };
}

static uint32_t
prefix_last (mvt_prefix4_t p)
{
	return p.addr | ~prefix_mask (p.len);
}

/* Can an external address lie in [first, last]? */
static bool
is_routable (uint32_t first, uint32_t last)
{
	return first >= 0x01000000 && last < 0xe0000000 &&
	       (last < 0x7f000000 || first >= 0x80000000);
}

static void *
zeroed (mvt_policy_set_t *set, size_t n, size_t size)
{
	/* one more, so that an empty array is no special case */
	return mvt_mem_alloc (&set->mem, (n + 1) * size, MVT_CACHE_LINE);
}

static void
release (mvt_policy_set_t *set, void *array, size_t n, size_t size)
{
	mvt_mem_free (&set->mem, array, (n + 1) * size);
}

/* ---- validation of what needs no table ---- */

static mvt_err_t
check_policies (const mvt_policy_desc_t *d)
{
	if (d->n_policies == 0 || d->n_policies > MVT_POLICY_MAX)
		return MVT_ERR_INVALID;
	for (uint32_t i = 0; i < d->n_policies; i++)
	{
		const mvt_policy_t *p = &d->policies[i];
		if (p->slots_first > d->n_slots || p->n_slots > d->n_slots - p->slots_first)
			return MVT_ERR_INVALID;
		for (uint32_t proto = 0; proto < MVT_PROTO_N; proto++)
			if (p->filter[proto] > MVT_FILTER_APD)
				return MVT_ERR_INVALID;
		for (uint32_t k = 0; k < MVT_TIMEOUT_N; k++)
			if (p->timeout[k] > MVT_TIMEOUT_MAX)
				return MVT_ERR_INVALID;
	}
	for (uint32_t i = 0; i < d->n_inside; i++)
		if (d->inside[i].inside.len > 32 || d->inside[i].policy >= d->n_policies)
			return MVT_ERR_INVALID;
	for (uint32_t i = 0; i < d->n_exempt; i++)
		if (d->exempt[i].len > 32)
			return MVT_ERR_INVALID;
	for (uint32_t i = 0; i < d->n_runs; i++)
	{
		const mvt_pool_run_t *r = &d->runs[i];
		if (r->count == 0 || r->count - 1 > ~r->first ||
		    !is_routable (r->first, r->first + (r->count - 1)) ||
		    r->slot >= MVT_POLICY_SLOTS || r->count > MVT_POLICY_SLOTS - r->slot)
			return MVT_ERR_INVALID;
	}
	for (uint32_t i = 0; i < d->n_statics; i++)
	{
		const mvt_static_rule_t *r = &d->statics[i];
		mvt_prefix4_t outside;
		if (r->inside.len > 32 || r->inside.len != r->outside.len)
			return MVT_ERR_INVALID;
		outside = prefix_masked (r->outside);
		if (!is_routable (outside.addr, prefix_last (outside)))
			return MVT_ERR_INVALID;
	}
	return MVT_OK;
}

/* ---- the pool ---- */

static void
sift_down (mvt_policy_span_t *heap, uint32_t root, uint32_t n)
{
	for (uint32_t child; (child = 2 * root + 1) < n; root = child)
	{
		mvt_policy_span_t swap;
		if (child + 1 < n && heap[child + 1].first > heap[child].first)
			child++;
		if (heap[root].first >= heap[child].first)
			return;
		swap = heap[root];
		heap[root] = heap[child];
		heap[child] = swap;
	}
}

/* Heapsort: in place, and no input makes it slow. */
static void
sort_spans (mvt_policy_span_t *spans, uint32_t n)
{
	for (uint32_t i = n / 2; i-- > 0;)
		sift_down (spans, i, n);
	for (uint32_t i = n; i-- > 1;)
	{
		mvt_policy_span_t top = spans[0];
		spans[0] = spans[i];
		spans[i] = top;
		sift_down (spans, 0, i);
	}
}

static mvt_err_t
build_slots (mvt_policy_set_t *set, const mvt_policy_desc_t *d)
{
	for (uint32_t i = 0; i < d->n_runs; i++)
		for (uint32_t k = 0; k < d->runs[i].count; k++)
		{
			uint32_t *addr = &set->slot_addr[d->runs[i].slot + k];
			if (*addr != 0)
				return MVT_ERR_INVALID;
			*addr = d->runs[i].first + k;
		}
	for (uint32_t i = 0; i < d->n_slots; i++)
	{
		if (mvt_policy_slot_addr (set, d->slots[i]) == 0)
			return MVT_ERR_INVALID;
		set->slots[i] = d->slots[i];
	}
	return MVT_OK;
}

static mvt_err_t
build_spans (mvt_policy_set_t *set, const mvt_policy_desc_t *d)
{
	uint32_t n = d->n_runs;
	for (uint32_t i = 0; i < n; i++)
		set->spans[i] = (mvt_policy_span_t){
			.first = d->runs[i].first,
			.count = d->runs[i].count,
			.slot = d->runs[i].slot,
			.draining = d->runs[i].draining,
		};
	sort_spans (set->spans, n);
	for (uint32_t i = 0; i < n; i++)
	{
		set->span_first[i] = set->spans[i].first;
		if (i > 0 &&
		    set->spans[i].first - set->spans[i - 1].first < set->spans[i - 1].count)
			return MVT_ERR_INVALID;
	}
	if (set->span_index)
		for (uint32_t top = 0, i = 0; top < SPAN_INDEX_SIZE; top++)
		{
			while (i < n && set->span_first[i] >> 16 < top)
				i++;
			set->span_index[top] = i;
		}
	set->head.span_first = set->span_first;
	set->head.spans = set->spans;
	set->head.span_index = set->span_index;
	set->head.n_spans = n;
	for (uint32_t i = 0; i < n; i++)
		if (set->spans[i].count > set->head.widest.count)
			set->head.widest = set->spans[i];
	return MVT_OK;
}

/* Runs are disjoint and sorted: the last one that begins in or below p is the only candidate. */
static bool
overlaps_pool (const mvt_policy_set_t *set, mvt_prefix4_t p)
{
	uint32_t lo = 0, hi = set->head.n_spans;
	while (lo < hi)
	{
		uint32_t mid = lo + (hi - lo) / 2;
		if (set->spans[mid].first <= prefix_last (p))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo > 0 && (set->spans[lo - 1].first >= p.addr ||
			  p.addr - set->spans[lo - 1].first < set->spans[lo - 1].count);
}

/* ---- the match-value tables ---- */

static mvt_t *
new_table (const mvt_policy_desc_t *d, size_t n, unsigned which, const mvt_mem_t *mem)
{
	mvt_config_t config = {
		.field_bits = 32,
		.max_entries = (uint32_t) (n ? n : 1),
		.seed = { d->secret[which], d->secret[(which + 1) % 4] + which },
	};
	return n > MVT_NONE ? NULL : mvt_new (&config, mem);
}

static mvt_err_t
put (mvt_t *table, mvt_prefix4_t p, uint64_t state)
{
	return (mvt_err_t) mvt_set4 (table, p.addr, p.len, state);
}

static mvt_err_t
put_new (mvt_t *table, mvt_prefix4_t p, uint64_t state, mvt_err_t twice)
{
	return mvt_get4 (table, p.addr, p.len) != MVT_NONE ? twice : put (table, p, state);
}

static mvt_err_t
build_inside (mvt_policy_set_t *set, const mvt_policy_desc_t *d)
{
	for (uint32_t i = 0; i < d->n_inside; i++)
	{
		mvt_prefix4_t p = prefix_masked (d->inside[i].inside);
		mvt_err_t err;
		if (overlaps_pool (set, p))
			return MVT_ERR_INVALID;
		err = put_new (set->inside, p, d->inside[i].policy, MVT_ERR_INVALID);
		if (err)
			return err;
	}
	return MVT_OK;
}

static mvt_err_t
build_statics (mvt_policy_set_t *set, const mvt_policy_desc_t *d)
{
	for (uint32_t i = 0; i < d->n_statics; i++)
	{
		mvt_static_rule_t *r = &set->statics[i];
		mvt_err_t err;
		r->inside = prefix_masked (d->statics[i].inside);
		r->outside = prefix_masked (d->statics[i].outside);
		if (overlaps_pool (set, r->outside))
			return MVT_ERR_IN_USE;
		if (overlaps_pool (set, r->inside))
			return MVT_ERR_INVALID;
		err = put_new (set->static_in, r->inside, i, MVT_ERR_EXISTS);
		if (!err)
			err = put_new (set->static_out, r->outside, i, MVT_ERR_EXISTS);
		if (err)
			return err;
	}
	/* Two prefixes overlap when one holds the other's first address. */
	for (uint32_t i = 0; i < d->n_statics; i++)
	{
		uint32_t outside = set->statics[i].outside.addr;
		uint32_t inside = set->statics[i].inside.addr;
		if (mvt_lookup4_shared (set->inside, outside, 0) != MVT_NONE ||
		    mvt_lookup4_shared (set->static_in, outside, 0) != MVT_NONE ||
		    mvt_lookup4_shared (set->static_out, inside, 0) != MVT_NONE)
			return MVT_ERR_INVALID;
	}
	for (uint32_t i = 0; d->n_statics && i < d->n_inside; i++)
	{
		uint32_t inside = prefix_masked (d->inside[i].inside).addr;
		if (mvt_lookup4_shared (set->static_out, inside, 0) != MVT_NONE)
			return MVT_ERR_INVALID;
	}
	set->head.has_statics = d->n_statics != 0;
	return MVT_OK;
}

static void
set_bit (uint64_t *bits, uint32_t at)
{
	bits[at / 64] |= 1ull << (at % 64);
}

/* The whole /16s, whole /24s and single addresses that [first, last] is made of. */
static void
mark_special (mvt_policy_set_t *set, uint32_t first, uint32_t last)
{
	mvt_policy_head_t *head = &set->head;
	uint32_t addr = first, left;

	do
	{
		uint32_t step = 1;

		left = last - addr;
		set_bit (head->special_bits, __builtin_bswap16 ((uint16_t) (addr >> 16)));
		if ((addr & 0xffff) == 0 && left >= 0xffff)
		{
			step = 0x10000;
			set_bit (head->whole_bits, addr >> 16);
		}
		else if ((addr & 0xff) == 0 && left >= 0xff)
		{
			step = 0x100;
			set_bit (head->near_bits, mvt_policy_near (addr, 24));
		}
		else
			set_bit (head->near_bits, mvt_policy_near (addr, 32));
		addr += step;
		left -= step - 1;
	} while (left > 0);
}

static mvt_err_t
exempt (mvt_policy_set_t *set, mvt_prefix4_t p)
{
	p = prefix_masked (p);
	mark_special (set, p.addr, prefix_last (p));
	return put (set->exempt, p, EXEMPT);
}

static mvt_err_t
build_exempt (mvt_policy_set_t *set, const mvt_policy_desc_t *d)
{
	mvt_err_t err = MVT_OK;
	for (size_t i = 0; !err && i < sizeof always_exempt / sizeof always_exempt[0]; i++)
		err = exempt (set, always_exempt[i]);
	for (uint32_t i = 0; !err && i < d->n_inside; i++)
		err = exempt (set, d->inside[i].inside);
	for (uint32_t i = 0; !err && i < d->n_statics; i++)
		err = exempt (set, d->statics[i].inside);
	for (uint32_t i = 0; !err && i < d->n_exempt; i++)
		err = exempt (set, d->exempt[i]);
	for (uint32_t i = 0; !err && i < d->n_statics; i++)
	{
		mvt_prefix4_t outside = set->statics[i].outside;
		mark_special (set, outside.addr, prefix_last (outside));
		err = put (set->exempt, outside, NOT_EXEMPT);
	}
	for (uint32_t i = 0; i < d->n_runs; i++)
		mark_special (set, d->runs[i].first, d->runs[i].first + d->runs[i].count - 1);
	return err;
}

/* ---- life ---- */

static uint32_t
slots_used (const mvt_policy_desc_t *d)
{
	uint32_t end = 0;
	for (uint32_t i = 0; i < d->n_runs; i++)
		if (d->runs[i].slot + d->runs[i].count > end)
			end = d->runs[i].slot + d->runs[i].count;
	return end;
}

static bool
alloc_all (mvt_policy_set_t *set, const mvt_policy_desc_t *d)
{
	size_t n_exempt = sizeof always_exempt / sizeof always_exempt[0] + (size_t) d->n_inside +
			  (size_t) d->n_exempt + 2 * (size_t) d->n_statics;
	uint32_t n_spans = d->n_runs;

	set->policies = zeroed (set, set->n_policies, sizeof *set->policies);
	set->timeouts = zeroed (set, MVT_POLICY_MAX, MVT_TIMEOUT_N * sizeof *set->timeouts);
	set->slots = zeroed (set, set->n_slots, sizeof *set->slots);
	set->slot_addr = zeroed (set, set->n_slot_addr, sizeof *set->slot_addr);
	set->statics = zeroed (set, set->n_statics, sizeof *set->statics);
	set->span_first = zeroed (set, n_spans, sizeof *set->span_first);
	set->spans = zeroed (set, n_spans, sizeof *set->spans);
	set->inside = new_table (d, d->n_inside, 0, &set->mem);
	set->exempt = new_table (d, n_exempt, 1, &set->mem);
	set->static_in = new_table (d, d->n_statics, 2, &set->mem);
	set->static_out = new_table (d, d->n_statics, 3, &set->mem);
	if (n_spans > SPANS_WITHOUT_INDEX)
	{
		set->span_index = zeroed (set, SPAN_INDEX_SIZE, sizeof *set->span_index);
		if (!set->span_index)
			return false;
	}
	return set->policies && set->timeouts && set->slots && set->slot_addr && set->statics &&
	       set->span_first && set->spans && set->inside && set->exempt && set->static_in &&
	       set->static_out;
}

static mvt_err_t
build (mvt_policy_set_t *set, const mvt_policy_desc_t *d)
{
	mvt_err_t err;
	for (uint32_t i = 0; i < d->n_policies; i++)
		set->policies[i] = d->policies[i];
	for (uint32_t i = 0; i < MVT_POLICY_MAX; i++)
		for (uint32_t k = 0; k < MVT_TIMEOUT_N; k++)
			set->timeouts[i * MVT_TIMEOUT_N + k] =
				d->policies[i < d->n_policies ? i : 0].timeout[k];
	err = build_slots (set, d);
	if (!err)
		err = build_spans (set, d);
	if (!err)
		err = build_inside (set, d);
	if (!err)
		err = build_statics (set, d);
	return err ? err : build_exempt (set, d);
}

mvt_policy_set_t *
mvt_policy_set_new (const mvt_policy_desc_t *desc, const mvt_mem_t *mem, mvt_err_t *err)
{
	mvt_policy_set_t *set;

	*err = check_policies (desc);
	if (*err)
		return NULL;
	*err = MVT_ERR_NO_MEMORY;
	set = mvt_mem_alloc (mem, sizeof *set, MVT_CACHE_LINE);
	if (!set)
		return NULL;
	set->mem = *mem;
	set->generation = desc->generation;
	set->n_policies = desc->n_policies;
	set->n_slots = desc->n_slots;
	set->n_statics = desc->n_statics;
	set->n_slot_addr = slots_used (desc);
	set->n_spans = desc->n_runs;
	if (alloc_all (set, desc))
		*err = build (set, desc);
	if (*err)
	{
		mvt_policy_set_remove (set);
		return NULL;
	}
	return set;
}

void
mvt_policy_set_remove (mvt_policy_set_t *set)
{
	mvt_mem_t mem;
	if (!set)
		return;
	mem = set->mem;
	mvt_remove (set->inside);
	mvt_remove (set->exempt);
	mvt_remove (set->static_in);
	mvt_remove (set->static_out);
	release (set, set->policies, set->n_policies, sizeof *set->policies);
	release (set, set->timeouts, MVT_POLICY_MAX, MVT_TIMEOUT_N * sizeof *set->timeouts);
	release (set, set->slots, set->n_slots, sizeof *set->slots);
	release (set, set->slot_addr, set->n_slot_addr, sizeof *set->slot_addr);
	release (set, set->statics, set->n_statics, sizeof *set->statics);
	release (set, set->span_first, set->n_spans, sizeof *set->span_first);
	release (set, set->spans, set->n_spans, sizeof *set->spans);
	release (set, set->span_index, SPAN_INDEX_SIZE, sizeof *set->span_index);
	mvt_mem_free (&mem, set, sizeof *set);
}

/* ---- ask ---- */

uint64_t
mvt_policy_generation (const mvt_policy_set_t *set)
{
	return set->generation;
}

void
mvt_policy_attach (const mvt_policy_set_t *set, mvt_views_t *views)
{
	mvt_views_attach (views, MVT_MATCH_INSIDE, set ? set->inside : NULL);
	mvt_views_attach (views, MVT_MATCH_EXEMPT, set ? set->exempt : NULL);
	mvt_views_attach (views, MVT_MATCH_STATIC_IN, set ? set->static_in : NULL);
	mvt_views_attach (views, MVT_MATCH_STATIC_OUT, set ? set->static_out : NULL);
}

uint32_t
mvt_policy_of_by (const mvt_policy_set_t *set, mvt_views_t *views, uint32_t addr)
{
	uint32_t row = mvt_views_find (views, MVT_MATCH_INSIDE, set->inside, addr);
	return row == MVT_NONE ? MVT_NONE : (uint32_t) mvt_value (set->inside, row)->state;
}

const mvt_policy_t *
mvt_policy_at (const mvt_policy_set_t *set, uint32_t policy)
{
	return &set->policies[policy];
}

uint32_t
mvt_policy_count (const mvt_policy_set_t *set)
{
	return set->n_policies;
}

const uint32_t *
mvt_policy_timeouts (const mvt_policy_set_t *set)
{
	return set->timeouts;
}

uint32_t
mvt_policy_slot (const mvt_policy_set_t *set, uint32_t policy, uint32_t i)
{
	return set->slots[set->policies[policy].slots_first + i];
}

uint32_t
mvt_policy_slot_addr (const mvt_policy_set_t *set, uint32_t slot)
{
	return slot < set->n_slot_addr ? set->slot_addr[slot] : 0;
}

bool
mvt_policy_special_near (const mvt_policy_set_t *set, uint32_t dst)
{
	const mvt_policy_head_t *head = &set->head;

	return mvt_policy_bit (head->whole_bits, dst >> 16) |
	       mvt_policy_bit (head->near_bits, mvt_policy_near (dst, 24)) |
	       mvt_policy_bit (head->near_bits, mvt_policy_near (dst, 32));
}

bool
mvt_policy_exempt_slow (const mvt_policy_set_t *set, mvt_views_t *views, uint32_t dst)
{
	uint32_t row = mvt_views_find (views, MVT_MATCH_EXEMPT, set->exempt, dst);
	return row != MVT_NONE && mvt_value (set->exempt, row)->state == EXEMPT;
}

/* The rule that addr belongs to on one side, if its image belongs to the same rule. */
static bool
translate (const mvt_policy_set_t *set, mvt_views_t *views, bool in2out, uint32_t addr,
	   uint32_t *out)
{
	const mvt_t *table = in2out ? set->static_in : set->static_out;
	const mvt_t *back = in2out ? set->static_out : set->static_in;
	uint32_t row, image;
	uint64_t rule;
	const mvt_static_rule_t *r;

	if (!set->head.has_statics)
		return false;
	row = mvt_views_find (views, in2out ? MVT_MATCH_STATIC_IN : MVT_MATCH_STATIC_OUT, table,
			      addr);
	if (row == MVT_NONE)
		return false;
	rule = mvt_value (table, row)->state;
	r = &set->statics[rule];
	image = (in2out ? r->outside.addr : r->inside.addr) | (addr & ~prefix_mask (r->inside.len));
	row = mvt_lookup4_shared (back, image, 0);
	if (row == MVT_NONE || mvt_value (back, row)->state != rule)
		return false;
	*out = image;
	return true;
}

bool
mvt_policy_static_in2out_by (const mvt_policy_set_t *set, mvt_views_t *views, uint32_t addr,
			     uint32_t *out)
{
	return translate (set, views, true, addr, out);
}

bool
mvt_policy_static_out2in_by (const mvt_policy_set_t *set, mvt_views_t *views, uint32_t addr,
			     uint32_t *out)
{
	return translate (set, views, false, addr, out);
}
