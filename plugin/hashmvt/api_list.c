/* SPDX-License-Identifier: Apache-2.0
 *
 * Binary API: listings. Each call is answered with at most a page and a cursor, so that no listing
 * holds up an instance, the main thread or a client that reads slowly.
 *
 * Cursors of mappings, hosts and blocks are the instance in the top byte and its own place below;
 * those of what the main thread keeps are positions.
 */
#include "api.h"

#define PAGE_MAX   1024
#define PLACE_BITS 56
#define PLACE_MASK ((1ull << PLACE_BITS) - 1)

/* ---- what the main thread keeps ---- */

/* Sends details of items [cursor, end) of which `total` exist. The reply's EAGAIN says that there
 * are more. rp NULL: the client is gone. */
#define LIST_PLAIN(DETAILS, type, total, body)                                              \
	vl_api_registration_t *rp = vl_api_client_index_to_registration (mp->client_index); \
	u64 cursor = mp->cursor, sent = 0;                                                  \
	int rv = 0;                                                                         \
	if (!rp)                                                                            \
		return;                                                                     \
	if (!HASHMVT_ENABLED (rv))                                                          \
		for (; cursor < (total); cursor++)                                          \
		{                                                                           \
			type *rmp;                                                          \
			if (sent++ == PAGE_MAX || !vl_api_can_send_msg (rp))                \
			{                                                                   \
				rv = VNET_API_ERROR_EAGAIN;                                 \
				break;                                                      \
			}                                                                   \
			rmp = vl_msg_api_alloc_zero (sizeof *rmp);                          \
			rmp->_vl_msg_id = DETAILS + REPLY_MSG_ID_BASE;                      \
			rmp->context = mp->context;                                         \
			body;                                                               \
			type##_endian_ (rmp);                                               \
			vl_api_send_msg (rp, (u8 *) rmp);                                   \
		}

#define ENDIAN(name)                                                   \
	static inline void vl_api_hashmvt_##name##_details_t_endian_ ( \
		vl_api_hashmvt_##name##_details_t *m)                  \
	{                                                              \
		api_main_t *am = vlibapi_get_main ();                  \
		am->msg_data[m->_vl_msg_id].endian_handler (m, 1);     \
	}

ENDIAN (interface)
ENDIAN (pool)
ENDIAN (static_mapping)
ENDIAN (range)
ENDIAN (pin)
ENDIAN (policy)
ENDIAN (prefix)
ENDIAN (instance)
ENDIAN (mapping)
ENDIAN (host)
ENDIAN (block)
ENDIAN (match)
ENDIAN (hits)

void
vl_api_hashmvt_interface_get_t_handler (vl_api_hashmvt_interface_get_t *mp)
{
	hashmvt_main_t *hm = &hashmvt_main;
	u32 *some = 0;

	for (u32 i = 0; i < vec_len (hm->side); i++)
		if (hm->side[i])
			vec_add1 (some, i);
	{
		LIST_PLAIN (VL_API_HASHMVT_INTERFACE_DETAILS, vl_api_hashmvt_interface_details_t,
			    vec_len (some), ({
				    rmp->sw_if_index = some[cursor];
				    rmp->is_inside = hm->side[some[cursor]] == HASHMVT_SIDE_INSIDE;
			    }));
		vec_free (some);
		vl_api_hashmvt_interface_get_reply_t *rmp;
		REPLY_MACRO2_END (VL_API_HASHMVT_INTERFACE_GET_REPLY, ({ rmp->cursor = cursor; }));
	}
}

void
vl_api_hashmvt_pool_get_t_handler (vl_api_hashmvt_pool_get_t *mp)
{
	hashmvt_main_t *hm = &hashmvt_main;
	mvt_pool_run_t *runs = 0;

	if (hm->engine)
	{
		vec_validate (runs, hm->engine->n_slots);
		vec_set_len (runs, mvt_engine_slots (hm->engine, runs, vec_len (runs)));
	}
	{
		LIST_PLAIN (VL_API_HASHMVT_POOL_DETAILS, vl_api_hashmvt_pool_details_t,
			    vec_len (runs), ({
				    hashmvt_address_out (runs[cursor].first, &rmp->first);
				    rmp->count = runs[cursor].count;
				    rmp->slot = runs[cursor].slot;
				    rmp->draining = runs[cursor].draining != 0;
			    }));
		vec_free (runs);
		vl_api_hashmvt_pool_get_reply_t *rmp;
		REPLY_MACRO2_END (VL_API_HASHMVT_POOL_GET_REPLY, ({ rmp->cursor = cursor; }));
	}
}

void
vl_api_hashmvt_static_mapping_get_t_handler (vl_api_hashmvt_static_mapping_get_t *mp)
{
	mvt_engine_t *e = hashmvt_main.engine;

	LIST_PLAIN (VL_API_HASHMVT_STATIC_MAPPING_DETAILS, vl_api_hashmvt_static_mapping_details_t,
		    e->n_statics, ({
			    const static_t *s = &e->statics[cursor];
			    hashmvt_endpoint_out (&s->in, &rmp->inside);
			    hashmvt_endpoint_out (&s->ext, &rmp->outside);
			    rmp->instance = s->instance;
			    rmp->realm = s->realm;
		    }));
	vl_api_hashmvt_static_mapping_get_reply_t *rmp;
	REPLY_MACRO2_END (VL_API_HASHMVT_STATIC_MAPPING_GET_REPLY, ({ rmp->cursor = cursor; }));
}

/* ---- maps ---- */

/* An empty one for a kind that is no map. */
static const home_copy_t *
map_of (u8 kind)
{
	static const home_copy_t none;
	mvt_engine_t *e = hashmvt_main.engine;

	return !e			   ? &none
	       : kind == HASHMVT_API_HOME  ? &e->home
	       : kind == HASHMVT_API_RULES ? &e->rules
					   : &none;
}

static int
map_error (u8 kind, int rv)
{
	return !rv && kind > HASHMVT_API_RULES ? VNET_API_ERROR_INVALID_VALUE_2 : rv;
}

void
vl_api_hashmvt_range_get_t_handler (vl_api_hashmvt_range_get_t *mp)
{
	const home_copy_t *map = map_of (mp->kind);

	LIST_PLAIN (VL_API_HASHMVT_RANGE_DETAILS, vl_api_hashmvt_range_details_t,
		    map->desc.n_ranges, ({
			    const mvt_home_range_t *r = &map->desc.ranges[cursor];
			    hashmvt_prefix_out (r->prefix, &rmp->range.prefix);
			    rmp->range.realm = r->realm;
			    rmp->range.instance = r->instance;
			    rmp->range.table = r->table;
			    rmp->range.from_instance = r->from;
			    rmp->range.to_instance = r->to;
			    rmp->range.flags = r->flags;
			    hashmvt_address_out (r->ext_addr, &rmp->range.external);
		    }));
	rv = map_error (mp->kind, rv);
	vl_api_hashmvt_range_get_reply_t *rmp;
	REPLY_MACRO2_END (VL_API_HASHMVT_RANGE_GET_REPLY, ({
				  rmp->cursor = cursor;
				  rmp->version = count_get (&map->version);
				  rmp->n_tables = map->desc.n_tables;
				  rmp->n_pins = map->desc.n_pins;
			  }));
}

void
vl_api_hashmvt_table_get_t_handler (vl_api_hashmvt_table_get_t *mp)
{
	const home_copy_t *map = map_of (mp->kind);
	vl_api_hashmvt_table_get_reply_t *rmp;
	int rv = 0;

	if (!HASHMVT_ENABLED (rv) && !(rv = map_error (mp->kind, rv)) &&
	    mp->table >= map->desc.n_tables)
		rv = VNET_API_ERROR_NO_SUCH_ENTRY;
	REPLY_MACRO2_END (VL_API_HASHMVT_TABLE_GET_REPLY, ({
				  clib_memset (rmp->table, 0, sizeof rmp->table);
				  if (!rv)
					  clib_memcpy (rmp->table,
						       map->desc.tables +
							       (u64) mp->table * MVT_HOME_BUCKETS,
						       sizeof rmp->table);
			  }));
}

void
vl_api_hashmvt_pin_get_t_handler (vl_api_hashmvt_pin_get_t *mp)
{
	const home_copy_t *map = map_of (mp->kind);

	LIST_PLAIN (VL_API_HASHMVT_PIN_DETAILS, vl_api_hashmvt_pin_details_t, map->desc.n_pins, ({
			    const mvt_home_pin_t *p = &map->desc.pins[cursor];
			    hashmvt_endpoint_out (&p->endpoint, &rmp->pin.endpoint);
			    rmp->pin.realm = p->realm;
			    rmp->pin.instance = p->instance;
		    }));
	rv = map_error (mp->kind, rv);
	vl_api_hashmvt_pin_get_reply_t *rmp;
	REPLY_MACRO2_END (VL_API_HASHMVT_PIN_GET_REPLY, ({ rmp->cursor = cursor; }));
}

/* ---- policies ---- */

static void
send_policy (vl_api_registration_t *rp, u32 context, u32 index)
{
	hashmvt_model_t *m = &hashmvt_main.model;
	u32 n = vec_len (m->slots[index]);
	vl_api_hashmvt_policy_details_t *rmp =
		vl_msg_api_alloc_zero (sizeof *rmp + n * sizeof rmp->slots[0]);

	rmp->_vl_msg_id = VL_API_HASHMVT_POLICY_DETAILS + REPLY_MSG_ID_BASE;
	rmp->context = context;
	rmp->index = index;
	hashmvt_policy_out (&m->policies[index], &rmp->policy);
	rmp->n = n;
	for (u32 i = 0; i < n; i++)
		rmp->slots[i] = m->slots[index][i];
	vl_api_hashmvt_policy_details_t_endian_ (rmp);
	vl_api_send_msg (rp, (u8 *) rmp);
}

void
vl_api_hashmvt_policy_get_t_handler (vl_api_hashmvt_policy_get_t *mp)
{
	hashmvt_model_t *m = &hashmvt_main.model;
	vl_api_registration_t *rp = vl_api_client_index_to_registration (mp->client_index);
	vl_api_hashmvt_policy_get_reply_t *rmp;
	u64 cursor = mp->cursor, slots = 0;
	int rv = 0;

	if (!rp)
		return;
	if (!HASHMVT_ENABLED (rv))
		for (; cursor < vec_len (m->policies); cursor++)
		{
			if (slots > PAGE_MAX || !vl_api_can_send_msg (rp))
			{
				rv = VNET_API_ERROR_EAGAIN;
				break;
			}
			slots += 1 + vec_len (m->slots[cursor]);
			send_policy (rp, mp->context, cursor);
		}
	REPLY_MACRO2_END (VL_API_HASHMVT_POLICY_GET_REPLY, ({
				  rmp->cursor = cursor;
				  rmp->generation = m->generation;
			  }));
}

static u32
part_len (u8 part)
{
	const hashmvt_model_t *m = &hashmvt_main.model;

	return part == 0   ? vec_len (m->inside)
	       : part == 1 ? vec_len (m->exempt)
	       : part == 2 ? vec_len (m->statics)
	       : part == 3 ? vec_len (m->runs)
			   : 0;
}

static void
part_out (u8 part, u32 i, vl_api_hashmvt_prefix_details_t *d)
{
	const hashmvt_model_t *m = &hashmvt_main.model;

	switch (part)
	{
	case 0:
		hashmvt_prefix_out (m->inside[i].inside, &d->prefix);
		d->value = m->inside[i].policy;
		break;
	case 1:
		hashmvt_prefix_out (m->exempt[i], &d->prefix);
		break;
	case 2:
		hashmvt_prefix_out (m->statics[i].inside, &d->prefix);
		hashmvt_prefix_out (m->statics[i].outside, &d->outside);
		break;
	default:
		hashmvt_address_out (m->runs[i].first, &d->prefix.address);
		d->prefix.len = 32;
		d->value = m->runs[i].slot;
		d->count = m->runs[i].count;
		d->draining = m->runs[i].draining;
	}
}

void
vl_api_hashmvt_prefix_get_t_handler (vl_api_hashmvt_prefix_get_t *mp)
{
	LIST_PLAIN (VL_API_HASHMVT_PREFIX_DETAILS, vl_api_hashmvt_prefix_details_t,
		    part_len (mp->part), ({ part_out (mp->part, cursor, rmp); }));
	if (!rv && mp->part > 3)
		rv = VNET_API_ERROR_INVALID_VALUE_2;
	vl_api_hashmvt_prefix_get_reply_t *rmp;
	REPLY_MACRO2_END (VL_API_HASHMVT_PREFIX_GET_REPLY, ({ rmp->cursor = cursor; }));
}

/* ---- instances ---- */

static void
instance_out (const mvt_instance_snapshot_t *s, vl_api_hashmvt_instance_details_t *d)
{
	hashmvt_main_t *hm = &hashmvt_main;
	const hashmvt_thread_t *thread = &hm->threads[hm->first_thread + s->id];

	d->instance = s->id;
	d->state = s->state;
	d->thread = hm->first_thread + s->id;
	d->epoch = s->epoch;
	d->loops = s->loops;
	d->cycles_busy = s->cycles_busy;
	d->cycles_total = s->cycles_total;
	d->handoff_congestion = s->ring_dropped;
	for (u32 i = 0; i < MVT_DROP_N; i++)
		d->to_router += thread->to_router[i];
	d->numa_node = hm->engine->instance[s->id].arena.node;
	d->memory = hm->engine->instance[s->id].arena.reserved;
	clib_memcpy (d->counters, s->counters, sizeof d->counters);
	clib_memcpy (d->passed, s->passed, sizeof d->passed);
	clib_memcpy (d->dropped, s->dropped, sizeof d->dropped);
}

void
vl_api_hashmvt_instance_get_t_handler (vl_api_hashmvt_instance_get_t *mp)
{
	hashmvt_main_t *hm = &hashmvt_main;
	mvt_instance_snapshot_t all[MVT_HOME_INSTANCES];

	if (hm->engine)
		hashmvt_snapshot (all, hm->n_instances);
	{
		LIST_PLAIN (VL_API_HASHMVT_INSTANCE_DETAILS, vl_api_hashmvt_instance_details_t,
			    hm->n_instances, ({ instance_out (&all[cursor], rmp); }));
		vl_api_hashmvt_instance_get_reply_t *rmp;
		REPLY_MACRO2_END (VL_API_HASHMVT_INSTANCE_GET_REPLY, ({ rmp->cursor = cursor; }));
	}
}

/* ---- prefix matching ---- */

typedef struct
{
	u32 instance, table;
	mvt_match_info_t info;
} match_t;

static match_t *
matches (void)
{
	hashmvt_main_t *hm = &hashmvt_main;
	match_t *all = 0;

	for (u32 i = 0; hm->engine && i < hm->n_instances; i++)
	{
		mvt_match_info_t info[MVT_MATCH_N];
		mvt_job_t job = { .op = MVT_JOB_MATCHES, .out.matches = info };
		/* a spare instance has none */
		if (mvt_engine_job (hm->engine, i, &job))
			continue;
		for (u32 k = 0; k < job.n; k++)
		{
			match_t m = { .instance = i, .table = k, .info = info[k] };
			vec_add1 (all, m);
		}
	}
	return all;
}

void
vl_api_hashmvt_match_get_t_handler (vl_api_hashmvt_match_get_t *mp)
{
	match_t *all = matches ();
	{
		LIST_PLAIN (VL_API_HASHMVT_MATCH_DETAILS, vl_api_hashmvt_match_details_t,
			    vec_len (all), ({
				    const match_t *m = &all[cursor];
				    rmp->instance = m->instance;
				    rmp->table = m->table;
				    rmp->entries = m->info.entries;
				    rmp->chained = m->info.chained;
				    rmp->lookups = m->info.match.lookups;
				    rmp->hits = m->info.match.hits;
				    rmp->cache_hits = m->info.match.cache_hits;
			    }));
		vec_free (all);
		vl_api_hashmvt_match_get_reply_t *rmp;
		REPLY_MACRO2_END (VL_API_HASHMVT_MATCH_GET_REPLY, ({ rmp->cursor = cursor; }));
	}
}

/* ---- what the instances keep ---- */

/* Fill one page from one instance after the other. Returns items; *cursor is where to go on, *more
 * says whether to. */
static u32
fill_page (mvt_job_t *job, u32 max, u32 only, u64 *cursor, int *more, int *rv)
{
	hashmvt_main_t *hm = &hashmvt_main;
	u32 at = *cursor >> PLACE_BITS, last = hm->n_instances - 1;
	u64 place = *cursor & PLACE_MASK;

	if (only != MVT_NONE && only > last)
	{
		*rv = VNET_API_ERROR_INVALID_VALUE_2;
		return 0;
	}
	if (only != MVT_NONE)
	{
		place = at == only ? place : 0;
		at = clib_max (at, only);
		last = only;
	}
	while (at <= last)
	{
		mvt_err_t err;
		job->max = max;
		job->cursor = place;
		job->n = 0;
		err = mvt_engine_job (hm->engine, at, job);
		if (err)
		{
			*rv = hashmvt_error_to_api (err);
			break;
		}
		if (job->cursor == UINT64_MAX)
		{
			at++;
			place = 0;
		}
		else
			place = job->cursor;
		if (job->n)
			break;
	}
	*more = at <= last;
	*cursor = (u64) at << PLACE_BITS | place;
	return *rv ? 0 : job->n;
}

static void
mapping_out (const mvt_mapping_info_t *m, vl_api_hashmvt_mapping_details_t *d)
{
	hashmvt_endpoint_out (&m->in, &d->inside);
	hashmvt_endpoint_out (&m->ext, &d->external);
	hashmvt_endpoint_out (&m->remote, &d->remote);
	d->realm = m->realm;
	d->instance = m->instance;
	d->policy = m->policy;
	d->is_static = m->is_static;
	d->tcp_state = m->tcp_state;
	d->filtering = m->filter;
	d->sessions = m->sessions;
	d->age = m->age;
	d->idle = m->idle;
	d->expires_in = m->expires_in;
	d->packets_in2out = m->packets[0];
	d->packets_out2in = m->packets[1];
}

static void
host_out (const mvt_host_info_t *h, vl_api_hashmvt_host_details_t *d)
{
	hashmvt_address_out (h->addr, &d->address);
	hashmvt_address_out (h->ext_addr, &d->external);
	d->realm = h->realm;
	d->instance = h->instance;
	for (u32 i = 0; i < MVT_PROTO_N; i++)
		d->mappings[i] = h->mappings[i];
	d->blocks = h->blocks;
}

static void
block_out (const mvt_block_info_t *b, vl_api_hashmvt_block_details_t *d)
{
	hashmvt_address_out (b->ext_addr, &d->external);
	hashmvt_address_out (b->holder, &d->holder);
	d->first_port = b->first_port;
	d->instance = b->instance;
	for (u32 i = 0; i < MVT_PROTO_N; i++)
		d->in_use[i] = b->in_use[i];
}

static void
hits_out (const mvt_entry_hits_t *h, vl_api_hashmvt_hits_details_t *d)
{
	hashmvt_prefix_out (h->prefix, &d->prefix);
	d->hits = h->hits;
}

/* The answer: details of a page, then the reply. The page is sent whole even where the client's
 * queue is nearly full: that is bounded by `max`, and its items are no longer anywhere else. */
#define LIST_PAGE(name, NAME, page)                                                                \
	do                                                                                         \
	{                                                                                          \
		for (u32 i = 0; i < n; i++)                                                        \
		{                                                                                  \
			vl_api_hashmvt_##name##_details_t *d = vl_msg_api_alloc_zero (sizeof *d);  \
			d->_vl_msg_id = VL_API_HASHMVT_##NAME##_DETAILS + REPLY_MSG_ID_BASE;       \
			d->context = mp->context;                                                  \
			name##_out (&page[i], d);                                                  \
			vl_api_hashmvt_##name##_details_t_endian_ (d);                             \
			vl_api_send_msg (rp, (u8 *) d);                                            \
		}                                                                                  \
		vec_free (page);                                                                   \
		if (!rv && more)                                                                   \
			rv = VNET_API_ERROR_EAGAIN;                                                \
		REPLY_MACRO2_END (VL_API_HASHMVT_##NAME##_GET_REPLY, ({ rmp->cursor = cursor; })); \
	} while (0)

static u32
page_size (u32 asked)
{
	return asked == 0 || asked > PAGE_MAX ? PAGE_MAX : asked;
}

void
vl_api_hashmvt_mapping_get_t_handler (vl_api_hashmvt_mapping_get_t *mp)
{
	vl_api_registration_t *rp = vl_api_client_index_to_registration (mp->client_index);
	vl_api_hashmvt_mapping_get_reply_t *rmp;
	mvt_job_t job = { .op = MVT_JOB_LIST_MAPPINGS };
	mvt_mapping_info_t *page = 0;
	u32 max = page_size (mp->max), n = 0, instance;
	u64 cursor = mp->cursor;
	int rv = 0, more = 0;

	if (!rp)
		return;
	if (!HASHMVT_ENABLED (rv) &&
	    !(rv = hashmvt_filter_in (&mp->filter, &job.filter, &instance)))
	{
		vec_validate (page, max - 1);
		job.out.mappings = page;
		n = fill_page (&job, max, instance, &cursor, &more, &rv);
	}
	LIST_PAGE (mapping, MAPPING, page);
}

void
vl_api_hashmvt_host_get_t_handler (vl_api_hashmvt_host_get_t *mp)
{
	vl_api_registration_t *rp = vl_api_client_index_to_registration (mp->client_index);
	vl_api_hashmvt_host_get_reply_t *rmp;
	mvt_job_t job = { .op = MVT_JOB_LIST_HOSTS };
	mvt_host_info_t *page = 0;
	u32 max = page_size (mp->max), n = 0;
	u64 cursor = mp->cursor;
	int rv = 0, more = 0;

	if (!rp)
		return;
	if (!HASHMVT_ENABLED (rv) && !(rv = hashmvt_prefix_in (&mp->inside, &job.filter.inside)))
	{
		if (mp->realm)
			rv = VNET_API_ERROR_NO_SUCH_FIB;
		else
		{
			vec_validate (page, max - 1);
			job.out.hosts = page;
			n = fill_page (&job, max, hashmvt_instance_in (mp->instance), &cursor,
				       &more, &rv);
		}
	}
	LIST_PAGE (host, HOST, page);
}

void
vl_api_hashmvt_block_get_t_handler (vl_api_hashmvt_block_get_t *mp)
{
	vl_api_registration_t *rp = vl_api_client_index_to_registration (mp->client_index);
	vl_api_hashmvt_block_get_reply_t *rmp;
	mvt_job_t job = { .op = MVT_JOB_LIST_BLOCKS };
	mvt_block_info_t *page = 0;
	u32 max = page_size (mp->max), n = 0;
	u64 cursor = mp->cursor;
	int rv = 0, more = 0;

	if (!rp)
		return;
	if (!HASHMVT_ENABLED (rv))
	{
		vec_validate (page, max - 1);
		job.out.block_infos = page;
		n = fill_page (&job, max, hashmvt_instance_in (mp->instance), &cursor, &more, &rv);
	}
	LIST_PAGE (block, BLOCK, page);
}

void
vl_api_hashmvt_hits_get_t_handler (vl_api_hashmvt_hits_get_t *mp)
{
	vl_api_registration_t *rp = vl_api_client_index_to_registration (mp->client_index);
	vl_api_hashmvt_hits_get_reply_t *rmp;
	mvt_job_t job = { .op = MVT_JOB_LIST_HITS, .match = mp->table };
	mvt_entry_hits_t *page = 0;
	u32 max = page_size (mp->max), n = 0;
	u64 cursor = mp->cursor;
	int rv = 0, more = 0;

	if (!rp)
		return;
	if (!HASHMVT_ENABLED (rv) && mp->table >= MVT_MATCH_N)
		rv = VNET_API_ERROR_INVALID_VALUE;
	if (!rv)
	{
		vec_validate (page, max - 1);
		job.out.hits = page;
		n = fill_page (&job, max, hashmvt_instance_in (mp->instance), &cursor, &more, &rv);
	}
	LIST_PAGE (hits, HITS, page);
}
