/* SPDX-License-Identifier: Apache-2.0
 *
 * hashmvt show, and show hashmvt, which says the same.
 */
#include "cli.h"

#define PAGE	      128
#define PAGES_AT_ONCE 16 /* then others have a turn on the main thread */
#define LIMIT	      50

static const char *const state_names[] = { "spare", "active", "draining" };
static const char *const filter_names[] = { "endpoint-independent", "address-dependent",
					    "address-and-port-dependent" };

enum
{
#define _(name, text) COUNTER_##name,
	foreach_mvt_counter foreach_mvt_gauge
#undef _
};

/* ---- instances ---- */

static u64
sum (const uint64_t *v, u32 n)
{
	u64 all = 0;
	for (u32 i = 0; i < n; i++)
		all += v[i];
	return all;
}

static void
show_instances (vlib_main_t *vm, int verbose)
{
	static const char *const names[] = {
#define _(name, text) #name,
		foreach_mvt_counter foreach_mvt_gauge
#undef _
	};
	hashmvt_main_t *hm = &hashmvt_main;
	mvt_instance_snapshot_t all[MVT_HOME_INSTANCES], *s;

	hashmvt_snapshot (all, hm->n_instances);
	vlib_cli_output (vm, "%-4s%-10s%-8s%7s%12s%8s%8s%8s%14s%14s%12s%10s", "id", "state",
			 "thread", "load", "mappings", "free", "open", "closed", "in2out", "out2in",
			 "dropped", "handed");
	for (s = all; s < all + hm->n_instances; s++)
	{
		vlib_cli_output (
			vm, "%-4u%-10s%-8u%6.1f%%%12lu%8lu%8lu%8lu%14lu%14lu%12lu%10lu", s->id,
			state_names[s->state < 3 ? s->state : 0], hm->first_thread + s->id,
			s->cycles_total ? 100.0 * s->cycles_busy / s->cycles_total : 0.0,
			s->counters[COUNTER_mappings], s->counters[COUNTER_blocks_free],
			s->counters[COUNTER_blocks_open], s->counters[COUNTER_blocks_closed],
			s->counters[COUNTER_received_in2out], s->counters[COUNTER_received_out2in],
			sum (s->dropped, MVT_DROP_N), s->counters[COUNTER_handed_over]);
		if (!verbose)
			continue;
		for (u32 i = 0; i < ARRAY_LEN (names); i++)
			if (s->counters[i])
				vlib_cli_output (vm, "      %-24s%16lu", names[i], s->counters[i]);
		vlib_cli_output (vm, "      %-24s%16lu", "epoch", s->epoch);
		vlib_cli_output (vm, "      %-24s%16lu", "loops", s->loops);
	}
}

/* ---- pool ---- */

/* Says that a list was cut, where it was. */
static void
show_rest (vlib_main_t *vm, u32 all, u32 limit)
{
	if (all > limit)
		vlib_cli_output (vm, "  (%u more: use limit N)", all - limit);
}

static void
show_pool (vlib_main_t *vm, u32 limit)
{
	hashmvt_main_t *hm = &hashmvt_main;
	mvt_pool_run_t *runs = 0, *r;

	vec_validate (runs, hm->engine->n_slots);
	vec_set_len (runs, mvt_engine_slots (hm->engine, runs, vec_len (runs)));
	vlib_cli_output (vm, "%u of %u addresses, blocks of %u ports", hm->engine->n_slots_used,
			 hm->engine->n_slots, 1 << hm->engine->block_bits);
	for (r = runs; r < vec_end (runs) && r < runs + limit; r++)
	{
		if (r->count == 1)
			vlib_cli_output (vm, "  %U%s", format_hashmvt_address, r->first,
					 r->draining ? " draining" : "");
		else
			vlib_cli_output (vm, "  %U-%U%s", format_hashmvt_address, r->first,
					 format_hashmvt_address, r->first + r->count - 1,
					 r->draining ? " draining" : "");
	}
	show_rest (vm, vec_len (runs), limit);
	vec_free (runs);
}

/* ---- mappings ---- */

static void
show_mapping (vlib_main_t *vm, const mvt_mapping_info_t *m, int verbose)
{
	u8 *expires =
		m->is_static ? format (0, "static%c", 0) : format (0, "%us%c", m->expires_in, 0);

	vlib_cli_output (vm, "%U -> %U:%u instance %u expires %s packets %u/%u",
			 format_hashmvt_endpoint, &m->in, format_hashmvt_address, m->ext.addr,
			 m->ext.port, m->instance, expires, m->packets[0], m->packets[1]);
	if (verbose)
		vlib_cli_output (vm, "    remote %U sessions %u age %us idle %us policy %u %s",
				 format_hashmvt_endpoint, &m->remote, m->sessions, m->age, m->idle,
				 m->policy, filter_names[m->filter < 3 ? m->filter : 0]);
	vec_free (expires);
}

/* Let others have the main thread for a moment. False: the NAT is another one now, or none. */
static int
give_way (vlib_main_t *vm)
{
	u64 boot = hashmvt_main.boot;

	if (vlib_in_process_context (vm))
		vlib_process_suspend (vm, 1e-4);
	return hashmvt_main.engine && hashmvt_main.boot == boot;
}

/* A page at a time, so that neither the workers nor the main thread are held up, however many
 * mappings there are. */
static clib_error_t *
show_mappings (vlib_main_t *vm, unformat_input_t *input)
{
	hashmvt_main_t *hm = &hashmvt_main;
	mvt_mapping_filter_t filter = { 0 };
	mvt_mapping_info_t page[PAGE];
	u32 instance = MVT_NONE, limit = LIMIT, shown = 0, verbose = 0, count = 0, pages = 0;

	while (!hashmvt_at_end (input))
		if (unformat (input, "limit %U", unformat_hashmvt_number, &limit))
			;
		else if (unformat (input, "%U", unformat_hashmvt_word, "verbose"))
			verbose = 1;
		else if (unformat (input, "%U", unformat_hashmvt_word, "count"))
			count = 1;
		else if (!unformat_user (input, unformat_hashmvt_filter, &filter, &instance))
			return hashmvt_cli_wrong (input, "a filter, limit N, count or verbose");
	if (instance != MVT_NONE && instance >= hm->n_instances)
		return clib_error_return (0, "there is no instance %u: they are 0 to %u", instance,
					  hm->n_instances - 1);
	for (u32 i = 0; i < hm->n_instances && (count || shown < limit); i++)
	{
		mvt_job_t job = { .op = MVT_JOB_LIST_MAPPINGS,
				  .filter = filter,
				  .out.mappings = page };
		if (instance != MVT_NONE && instance != i)
			continue;
		while (job.cursor != UINT64_MAX && (count || shown < limit))
		{
			if (++pages % PAGES_AT_ONCE == 0 && !give_way (vm))
				return clib_error_return (0, "hashmvt was disabled meanwhile");
			job.max = count ? PAGE : clib_min (PAGE, limit - shown);
			if (mvt_engine_job (hm->engine, i, &job))
				break;
			for (u32 k = 0; k < job.n && !count; k++)
				show_mapping (vm, &page[k], verbose);
			shown += job.n;
		}
	}
	if (count)
		vlib_cli_output (vm, "%u mappings", shown);
	else if (shown == limit)
		vlib_cli_output (vm, "(no more than %u are shown: use limit N, filters, or count)",
				 limit);
	return 0;
}

/* ---- rules, policies, errors, memory ---- */

/* How each instance has matched in the tables [first, end). */
static void
show_matches (vlib_main_t *vm, u32 first, u32 end)
{
	hashmvt_main_t *hm = &hashmvt_main;

	vlib_cli_output (vm, "%-12s%-10s%10s%9s%16s%16s%18s", "table", "instance", "entries",
			 "chained", "lookups", "hits", "state-cache hits");
	for (u32 i = 0; i < hm->n_instances; i++)
	{
		mvt_match_info_t info[MVT_MATCH_N];
		mvt_job_t job = { .op = MVT_JOB_MATCHES, .out.matches = info };
		/* a spare instance has none */
		if (mvt_engine_job (hm->engine, i, &job) || job.n == 0)
			continue;
		for (u32 k = first; k < end; k++)
			vlib_cli_output (vm, "%-12s%-10u%10u%9u%16lu%16lu%18lu", mvt_match_name (k),
					 i, info[k].entries, info[k].chained, info[k].match.lookups,
					 info[k].match.hits, info[k].match.cache_hits);
	}
}

static uword
prefix_key (mvt_prefix4_t prefix)
{
	return (uword) prefix.addr << 8 | prefix.len;
}

/* A hash of prefix_key to the hits of that entry in all instances. */
static uword *
hits_in (mvt_match_t table)
{
	hashmvt_main_t *hm = &hashmvt_main;
	uword *hits = hash_create (0, sizeof (uword));

	for (u32 i = 0; i < hm->n_instances; i++)
	{
		mvt_entry_hits_t page[PAGE];
		mvt_job_t job = {
			.op = MVT_JOB_LIST_HITS, .match = table, .max = PAGE, .out.hits = page
		};
		while (job.cursor != UINT64_MAX && !mvt_engine_job (hm->engine, i, &job))
			for (u32 k = 0; k < job.n; k++)
			{
				uword key = prefix_key (page[k].prefix),
				      *had = hash_get (hits, key);
				hash_set (hits, key, (had ? *had : 0) + page[k].hits);
			}
	}
	return hits;
}

/* uword *hits, mvt_prefix4_t *prefix: nothing where the entry is not counted for itself. */
static u8 *
format_hits (u8 *s, va_list *args)
{
	uword *hits = va_arg (*args, uword *);
	mvt_prefix4_t *prefix = va_arg (*args, mvt_prefix4_t *);
	uword *found = hash_get (hits, prefix_key (*prefix));

	return found ? format (s, " hits %lu", *found) : s;
}

static void
show_map (vlib_main_t *vm, const char *what, const home_copy_t *map, mvt_match_t table, u32 limit)
{
	uword *hits = hits_in (table);

	vlib_cli_output (vm, "%s, version %lu: %u ranges, %u endpoint pins", what,
			 atomic_load (&map->version), map->desc.n_ranges, map->desc.n_pins);
	for (u32 i = 0; i < map->desc.n_ranges && i < limit; i++)
	{
		const mvt_home_range_t *r = &map->desc.ranges[i];
		if (r->table == MVT_NONE)
			vlib_cli_output (vm, "  %U -> instance %u%s%U", format_hashmvt_prefix,
					 &r->prefix, r->instance,
					 r->flags & MVT_HOME_F_CLOSING ? " closing" : "",
					 format_hits, hits, &r->prefix);
		else
			vlib_cli_output (vm, "  %U -> bucket table %u%U", format_hashmvt_prefix,
					 &r->prefix, r->table, format_hits, hits, &r->prefix);
	}
	show_rest (vm, map->desc.n_ranges, limit);
	hash_free (hits);
}

static void
show_rules (vlib_main_t *vm, u32 limit)
{
	show_map (vm, "home map", &hashmvt_main.engine->home, MVT_MATCH_HOME, limit);
	show_map (vm, "dispatcher rules", &hashmvt_main.engine->rules, MVT_MATCH_RULES, limit);
	show_matches (vm, MVT_MATCH_RULES, MVT_MATCH_HOME + 1);
}

static void
show_policy (vlib_main_t *vm, u32 i)
{
	const hashmvt_model_t *m = &hashmvt_main.model;
	const mvt_policy_t *q = &m->policies[i];

	vlib_cli_output (vm,
			 "policy %u: %u addresses; timeouts udp %u tcp %u/%u/%u icmp %u; filtering "
			 "%s, %s, %s; mappings per host %u, new per second %u, blocks per host %u",
			 i, vec_len (m->slots[i]), q->timeout[MVT_TIMEOUT_UDP],
			 q->timeout[MVT_TIMEOUT_TCP_ESTABLISHED],
			 q->timeout[MVT_TIMEOUT_TCP_TRANSITORY],
			 q->timeout[MVT_TIMEOUT_TCP_INCOMING_SYN], q->timeout[MVT_TIMEOUT_ICMP],
			 filter_names[q->filter[0] % 3], filter_names[q->filter[1] % 3],
			 filter_names[q->filter[2] % 3], q->mappings_per_host_all,
			 q->new_per_second_per_host, q->max_blocks_per_host);
}

static void
show_policies (vlib_main_t *vm, u32 limit)
{
	const hashmvt_model_t *m = &hashmvt_main.model;
	uword *inside = hits_in (MVT_MATCH_INSIDE), *exempt = hits_in (MVT_MATCH_EXEMPT);
	uword *in = hits_in (MVT_MATCH_STATIC_IN), *out = hits_in (MVT_MATCH_STATIC_OUT);

	vlib_cli_output (vm, "generation %lu", m->generation);
	for (u32 i = 0; i < vec_len (m->policies) && i < limit; i++)
		show_policy (vm, i);
	show_rest (vm, vec_len (m->policies), limit);
	for (u32 i = 0; i < vec_len (m->inside) && i < limit; i++)
		vlib_cli_output (vm, "  inside %U -> policy %u%U", format_hashmvt_prefix,
				 &m->inside[i].inside, m->inside[i].policy, format_hits, inside,
				 &m->inside[i].inside);
	show_rest (vm, vec_len (m->inside), limit);
	for (u32 i = 0; i < vec_len (m->exempt) && i < limit; i++)
		vlib_cli_output (vm, "  exempt %U%U", format_hashmvt_prefix, &m->exempt[i],
				 format_hits, exempt, &m->exempt[i]);
	show_rest (vm, vec_len (m->exempt), limit);
	for (u32 i = 0; i < vec_len (m->statics) && i < limit; i++)
		vlib_cli_output (vm, "  static %U%U <-> %U%U", format_hashmvt_prefix,
				 &m->statics[i].inside, format_hits, in, &m->statics[i].inside,
				 format_hashmvt_prefix, &m->statics[i].outside, format_hits, out,
				 &m->statics[i].outside);
	show_rest (vm, vec_len (m->statics), limit);
	hash_free (inside);
	hash_free (exempt);
	hash_free (in);
	hash_free (out);
	show_matches (vm, MVT_MATCH_INSIDE, MVT_MATCH_N);
}

static void
show_errors (vlib_main_t *vm)
{
	hashmvt_main_t *hm = &hashmvt_main;
	mvt_instance_snapshot_t all[MVT_HOME_INSTANCES];

	hashmvt_snapshot (all, hm->n_instances);
	vlib_cli_output (vm, "%-24s%-10s%16s", "reason", "instance", "packets");
	for (u32 i = 0; i < hm->n_instances; i++)
	{
		for (u32 r = 0; r < MVT_PASS_N; r++)
			if (all[i].passed[r])
				vlib_cli_output (vm, "passed %-17s%-10u%16lu", mvt_pass_name (r), i,
						 all[i].passed[r]);
		for (u32 r = 0; r < MVT_DROP_N; r++)
			if (all[i].dropped[r])
				vlib_cli_output (vm, "%-24s%-10u%16lu", mvt_drop_name (r), i,
						 all[i].dropped[r]);
	}
}

static void
show_memory (vlib_main_t *vm)
{
	mvt_engine_t *engine = hashmvt_main.engine;

	vlib_cli_output (vm, "shared tables: %U reserved", format_memory_size,
			 engine->arena.reserved);
	for (u32 i = 0; i < engine->n; i++)
		vlib_cli_output (vm, "instance %u: %U reserved, node %d", i, format_memory_size,
				 engine->instance[i].arena.reserved,
				 engine->instance[i].arena.node);
	vlib_cli_output (vm, "outside VPP's heap; pages are taken when they are first used");
}

static void
show_summary (vlib_main_t *vm)
{
	hashmvt_main_t *hm = &hashmvt_main;

	for (u32 i = 0; i < vec_len (hm->side); i++)
		if (hm->side[i])
			vlib_cli_output (vm, "%U %s", format_vnet_sw_if_index_name,
					 vnet_get_main (), i,
					 hm->side[i] == HASHMVT_SIDE_INSIDE ? "in" : "out");
	show_pool (vm, LIMIT);
	show_instances (vm, 0);
}

static clib_error_t *
at_end (unformat_input_t *input)
{
	return hashmvt_at_end (input) ? 0 : hashmvt_cli_wrong (input, "the end of the line");
}

/* The lists that `limit N` cuts. */
static clib_error_t *
show_list (vlib_main_t *vm, unformat_input_t *input, void (*show) (vlib_main_t *vm, u32 limit))
{
	u32 limit = LIMIT;

	if (unformat (input, "%U", unformat_hashmvt_word, "limit") &&
	    !unformat (input, "%U", unformat_hashmvt_number, &limit))
		return hashmvt_cli_wrong (input, "a number");
	if (!hashmvt_at_end (input))
		return hashmvt_cli_wrong (input, "limit N or the end of the line");
	show (vm, limit);
	return 0;
}

clib_error_t *
hashmvt_cli_show (vlib_main_t *vm, unformat_input_t *input)
{
	static const struct
	{
		const char *name;
		void (*show) (vlib_main_t *vm, u32 limit);
	} lists[] = { { "pool", show_pool },
		      { "rules", show_rules },
		      { "policies", show_policies } };
	static const struct
	{
		const char *name;
		void (*show) (vlib_main_t *vm);
	} wholes[] = { { "errors", show_errors }, { "memory", show_memory } };
	clib_error_t *error = hashmvt_cli_enabled ();
	int verbose;

	if (error)
		return error;
	if (hashmvt_at_end (input))
	{
		show_summary (vm);
		return 0;
	}
	if (unformat (input, "%U", unformat_hashmvt_word, "mappings"))
		return show_mappings (vm, input);
	if (unformat (input, "%U", unformat_hashmvt_word, "instances"))
	{
		verbose = unformat (input, "%U", unformat_hashmvt_word, "verbose");
		error = at_end (input);
		if (!error)
			show_instances (vm, verbose);
		return error;
	}
	for (u32 i = 0; i < ARRAY_LEN (lists); i++)
		if (unformat (input, "%U", unformat_hashmvt_word, lists[i].name))
			return show_list (vm, input, lists[i].show);
	for (u32 i = 0; i < ARRAY_LEN (wholes); i++)
		if (unformat (input, "%U", unformat_hashmvt_word, wholes[i].name))
		{
			error = at_end (input);
			if (!error)
				wholes[i].show (vm);
			return error;
		}
	return hashmvt_cli_wrong (input,
				  "instances, pool, mappings, rules, policies, errors or memory");
}

static clib_error_t *
show_command (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
	return hashmvt_cli_show (vm, input);
}

#define SHOW_HELP                                                                                  \
	" [instances [verbose]|pool [limit N]|mappings [inside PREFIX] [outside PREFIX] "          \
	"[inside-port N] "                                                                         \
	"[outside-port N] [udp|tcp|icmp] [static|dynamic] [instance N] [limit N|count] [verbose]|" \
	"rules [limit N]|policies [limit N]|errors|memory]"

VLIB_CLI_COMMAND (hashmvt_show_command, static) = {
	.path = "hashmvt show",
	.short_help = "hashmvt show" SHOW_HELP,
	.function = show_command,
	.is_mp_safe = 1,
};

VLIB_CLI_COMMAND (show_hashmvt_command, static) = {
	.path = "show hashmvt",
	.short_help = "show hashmvt" SHOW_HELP,
	.function = show_command,
	.is_mp_safe = 1,
};
