/* SPDX-License-Identifier: Apache-2.0
 *
 * Pool addresses are the router's: a receive entry for each makes ARP answer for it and keeps what
 * has no mapping from going back to the upstream router. And the addresses of its interfaces.
 */
#include "hashmvt.h"

#include <vnet/fib/fib_table.h>
#include <vnet/fib/ip4_fib.h>
#include <vnet/ip/ip_interface.h>

#define ROUTES_AT_ONCE 128

/* ---- addresses of interfaces ---- */

static int
cmp_u32 (void *a, void *b)
{
	u32 x = *(u32 *) a, y = *(u32 *) b;
	return x < y ? -1 : x > y;
}

void
hashmvt_local_addresses_refresh (void)
{
	hashmvt_main_t *hm = &hashmvt_main;
	ip_lookup_main_t *lm = &ip4_main.lookup_main;
	ip_interface_address_t *ia;
	u32 *old = hm->local_addresses, *new = 0;
	bool all = true;

	pool_foreach (ia, lm->if_address_pool)
	{
		ip4_address_t *a = ip_interface_address_get_address (lm, ia);
		vec_add1 (new, clib_net_to_host_u32 (a->as_u32));
	}
	vec_sort_with_function (new, cmp_u32);
	CLIB_MEMORY_STORE_BARRIER ();
	hm->local_addresses = new;
	if (hm->engine)
		mail_sync (hm->engine, &all);
	if (all) /* else somebody who hangs may still read it */
		vec_free (old);
}

/* VPP has changed its own tables before it calls. */
static void
address_changed (ip4_main_t *im, uword opaque, u32 sw_if_index, ip4_address_t *address, u32 length,
		 u32 if_address_index, u32 is_delete)
{
	hashmvt_main_t *hm = &hashmvt_main;

	if (!hm->engine)
		return;
	hashmvt_local_addresses_refresh ();
	if (hashmvt_model_republish ())
		vlib_log_err (hm->log_class,
			      "the router's addresses changed, but no memory is left to exempt "
			      "them from translation");
}

void
hashmvt_fib_init (void)
{
	ip4_add_del_interface_address_callback_t cb = { .function = address_changed };

	vec_add1 (ip4_main.add_del_interface_address_callbacks, cb);
	hashmvt_main.fib_source =
		fib_source_allocate ("hashmvt", FIB_SOURCE_PRIORITY_LOW, FIB_SOURCE_BH_SIMPLE);
}

/* ---- routes ---- */

/* The outside interface whose subnet holds the address, else the first one; ~0: there is none. */
static u32
interface_for (u32 addr)
{
	hashmvt_main_t *hm = &hashmvt_main;
	ip_lookup_main_t *lm = &ip4_main.lookup_main;
	ip_interface_address_t *ia;
	u32 first = ~0;

	for (u32 i = 0; i < vec_len (hm->side); i++)
	{
		if (hm->side[i] != HASHMVT_SIDE_OUTSIDE)
			continue;
		if (first == ~0)
			first = i;
		foreach_ip_interface_address (
			lm, ia, i, 1 /* honor unnumbered */, ({
				ip4_address_t *a = ip_interface_address_get_address (lm, ia);
				u32 mask =
					ia->address_length ? ~0u << (32 - ia->address_length) : 0;
				if (((clib_net_to_host_u32 (a->as_u32) ^ addr) & mask) == 0)
					return i;
			}));
	}
	return first;
}

/* One route for each address: ARP answers with the route's own address. */
static void
want_run (hashmvt_route_t **wanted, u32 first, u32 count)
{
	for (u32 addr = first; addr - first < count; addr++)
	{
		hashmvt_route_t r = { .sw_if_index = interface_for (addr) };

		if (r.sw_if_index == ~0 || hashmvt_is_local (addr))
			continue;
		r.prefix.fp_proto = FIB_PROTOCOL_IP4;
		r.prefix.fp_len = 32;
		r.prefix.fp_addr.ip4.as_u32 = clib_host_to_net_u32 (addr);
		r.fib_index = ip4_fib_table_get_index_for_sw_if_index (r.sw_if_index);
		vec_add1 (*wanted, r);
	}
}

/* The rules' outside addresses; rules that are too large get none: their outside is routed here by
 * the upstream, and as every address of it is translated nothing goes back. */
static void
want_rules (hashmvt_route_t **wanted)
{
	hashmvt_main_t *hm = &hashmvt_main;
	mvt_static_rule_t *rule;
	u64 left = HASHMVT_MAX_ROUTES;

	vec_foreach (rule, hm->model.statics)
	{
		u64 count = 1ull << (32 - rule->outside.len);
		if (count > left)
		{
			vlib_log_warn (hm->log_class,
				       "ARP is not answered for the outside of 1:1 rules beyond %u "
				       "addresses, so not for %U: route it here",
				       HASHMVT_MAX_ROUTES, format_hashmvt_prefix, &rule->outside);
			continue;
		}
		left -= count;
		want_run (wanted, rule->outside.addr, (u32) count);
	}
}

static hashmvt_route_t *
wanted_routes (void)
{
	hashmvt_main_t *hm = &hashmvt_main;
	hashmvt_route_t *wanted = 0;
	mvt_pool_run_t *runs = 0, *r;
	u32 n;

	vec_validate (runs, hm->engine->n_slots);
	n = mvt_engine_slots (hm->engine, runs, vec_len (runs));
	vec_set_len (runs, n);
	vec_foreach (r, runs) want_run (&wanted, r->first, r->count);
	vec_free (runs);
	want_rules (&wanted);
	return wanted;
}

static int
cmp_route (void *a, void *b)
{
	hashmvt_route_t *x = a, *y = b;
	u32 p = clib_net_to_host_u32 (x->prefix.fp_addr.ip4.as_u32);
	u32 q = clib_net_to_host_u32 (y->prefix.fp_addr.ip4.as_u32);

	if (p != q)
		return p < q ? -1 : 1;
	if (x->prefix.fp_len != y->prefix.fp_len)
		return (int) x->prefix.fp_len - (int) y->prefix.fp_len;
	return x->sw_if_index < y->sw_if_index ? -1 : x->sw_if_index > y->sw_if_index;
}

static void
route_add (const hashmvt_route_t *r)
{
	fib_table_entry_update_one_path (
		r->fib_index, &r->prefix, hashmvt_main.fib_source,
		FIB_ENTRY_FLAG_CONNECTED | FIB_ENTRY_FLAG_LOCAL | FIB_ENTRY_FLAG_EXCLUSIVE,
		DPO_PROTO_IP4, NULL, r->sw_if_index, ~0, 1, NULL, FIB_ROUTE_PATH_FLAG_NONE);
}

static void
route_del (const hashmvt_route_t *r)
{
	fib_table_entry_delete (r->fib_index, &r->prefix, hashmvt_main.fib_source);
}

/* A few at a time, so that the workers stand still for moments only. */
static void
change_routes (const hashmvt_route_t *routes, void (*change) (const hashmvt_route_t *))
{
	vlib_main_t *vm = vlib_get_main ();

	for (u32 i = 0; i < vec_len (routes);)
	{
		vlib_worker_thread_barrier_sync (vm);
		for (u32 n = 0; n < ROUTES_AT_ONCE && i < vec_len (routes); n++)
			change (&routes[i++]);
		vlib_worker_thread_barrier_release (vm);
	}
}

void
hashmvt_fib_sync (void)
{
	hashmvt_main_t *hm = &hashmvt_main;
	hashmvt_route_t *wanted, *gone = 0, *new = 0;
	u32 i = 0, k = 0;

	if (!hm->engine || (!hm->routes_stale && hm->routed_slots == hm->engine->n_slots_used))
		return;
	hm->routes_stale = 0;
	hm->routed_slots = hm->engine->n_slots_used;
	wanted = wanted_routes ();
	vec_sort_with_function (wanted, cmp_route);
	while (i < vec_len (hm->routes) || k < vec_len (wanted))
	{
		int order = i == vec_len (hm->routes) ? 1
			    : k == vec_len (wanted)   ? -1
						      : cmp_route (&hm->routes[i], &wanted[k]);
		if (order < 0)
			vec_add1 (gone, hm->routes[i++]);
		else if (order > 0)
			vec_add1 (new, wanted[k++]);
		else
		{
			i++;
			k++;
		}
	}
	change_routes (gone, route_del);
	change_routes (new, route_add);
	vec_free (gone);
	vec_free (new);
	vec_free (hm->routes);
	hm->routes = wanted;
}

/* => the barrier is held */
void
hashmvt_fib_flush (void)
{
	hashmvt_main_t *hm = &hashmvt_main;

	for (u32 i = 0; i < vec_len (hm->routes); i++)
		route_del (&hm->routes[i]);
	vec_free (hm->routes);
}
