/* SPDX-License-Identifier: Apache-2.0
 *
 * What happens between batches: housekeeping, jobs for other threads, events, gauges, names.
 */
#include "nat44_private.h"

/* Entries taken from a walk at once. */
#define WALK_MAX 64u
/* Further sessions of one entry that a sweep looks at. */
#define SWEEP_SESSIONS 8u

/* ---- names ---- */

static const char *const drop_names[] = {
#define _(NAME, name, text) #name,
	foreach_mvt_drop
#undef _
};

static const char *const pass_names[] = {
#define _(NAME, name, text) #name,
	foreach_mvt_pass
#undef _
};

static const char *const event_names[] = {
#define _(NAME, name) #name,
	foreach_mvt_event
#undef _
};

const char *
mvt_drop_name (unsigned drop)
{
	return drop < MVT_DROP_N ? drop_names[drop] : "unknown";
}

const char *
mvt_pass_name (unsigned pass)
{
	return pass < MVT_PASS_N ? pass_names[pass] : "unknown";
}

const char *
mvt_event_name (unsigned type)
{
	return type < MVT_EVENT_N ? event_names[type] : "unknown";
}

const char *
mvt_err_text (int err)
{
	switch (err)
	{
	case MVT_OK:
		return "ok";
#define _(name, value, text) \
	case value:          \
		return text;
		foreach_mvt_err
#undef _
			default : return "unknown error";
	}
}

/* ---- events ---- */

/* The next place of the ring, NULL when the reader is behind: events are never worth a packet. */
static mvt_event_t *
event_claim (mvt_nat44_t *nat)
{
	uint32_t tail = atomic_load_explicit (&nat->event_tail, memory_order_relaxed);
	uint32_t head = atomic_load_explicit (&nat->event_head, memory_order_acquire);
	if (tail - head > nat->event_mask)
	{
		NAT44_COUNT (nat, events_lost);
		return NULL;
	}
	return &nat->events[tail & nat->event_mask];
}

static void
event_publish (mvt_nat44_t *nat)
{
	uint32_t tail = atomic_load_explicit (&nat->event_tail, memory_order_relaxed);
	atomic_store_explicit (&nat->event_tail, tail + 1, memory_order_release);
}

void
nat44_event_mapping (mvt_nat44_t *nat, mvt_event_type_t type, const mvt_entry_t *e, uint32_t now)
{
	if (mvt_likely (nat->log < 2))
		return;
	mvt_event_t *event = event_claim (nat);
	if (!event)
		return;
	*event = (mvt_event_t){
		.tick = now,
		.type = (uint8_t) type,
		.proto = e->proto,
		.realm = e->realm,
		.in_addr = e->in_addr,
		.in_port = e->in_port,
		.ext_addr = e->ext_addr,
		.ext_port = e->ext_port,
		.ports = 1,
		.instance = nat->instance,
	};
	event_publish (nat);
}

void
nat44_event_refused (mvt_nat44_t *nat, mvt_event_type_t type, const mvt_parsed_t *parsed,
		     mvt_drop_t drop, uint32_t now)
{
	if (!nat->log || nat->refused_tick[type] == now + 1)
		return;
	nat->refused_tick[type] = now + 1; /* 0 is "never" */
	mvt_event_t *event = event_claim (nat);
	if (!event)
		return;
	*event = (mvt_event_t){
		.tick = now,
		.type = (uint8_t) type,
		.proto = parsed->proto,
		.in_addr = parsed->src,
		.in_port = parsed->sport,
		.instance = nat->instance,
		.detail = drop,
	};
	event_publish (nat);
}

static void
events_of_blocks (mvt_nat44_t *nat, uint32_t now)
{
	mvt_pool_event_t block[16];
	const mvt_directory_t *dir = nat->shared->directory;
	uint32_t n;

	while ((n = mvt_pool_events (nat->pool, block, 16)))
		for (uint32_t i = 0; i < n; i++)
		{
			mvt_event_t *event = nat->log ? event_claim (nat) : NULL;
			if (!event)
				continue;
			uint32_t per_slot_bits = 16 - dir->block_bits;
			*event = (mvt_event_t){
				.tick = now,
				.type = block[i].assigned ? MVT_EVENT_BLOCK_ASSIGNED
							  : MVT_EVENT_BLOCK_RELEASED,
				.proto = MVT_PROTO_N,
				.realm = block[i].realm,
				.in_addr = block[i].host_addr,
				.ext_addr = mvt_policy_slot_addr (nat->policy,
								  block[i].block >> per_slot_bits),
				.ext_port = (uint16_t) (block[i].block << dir->block_bits),
				.ports = (uint16_t) (1u << dir->block_bits),
				.instance = nat->instance,
			};
			event_publish (nat);
		}
}

uint32_t
mvt_nat44_events_any (mvt_nat44_t *nat, mvt_event_t *out, uint32_t max)
{
	uint32_t head = atomic_load_explicit (&nat->event_head, memory_order_relaxed);
	uint32_t tail = atomic_load_explicit (&nat->event_tail, memory_order_acquire);
	uint32_t n = 0;

	for (; head != tail && n < max; head++)
		out[n++] = nat->events[head & nat->event_mask];
	atomic_store_explicit (&nat->event_head, head, memory_order_release);
	return n;
}

/* ---- housekeeping ---- */

void
nat44_gauges (mvt_nat44_t *nat)
{
	mvt_counters_t *c = &nat->counters;
	mvt_pool_stats_t pool;

	mvt_pool_stats (nat->pool, &pool);
	nat44_set (&c->mappings_udp, pool.in_use[MVT_PROTO_UDP]);
	nat44_set (&c->mappings_tcp, pool.in_use[MVT_PROTO_TCP]);
	nat44_set (&c->mappings_icmp, pool.in_use[MVT_PROTO_ICMP]);
	nat44_set (&c->mappings, (uint64_t) pool.in_use[MVT_PROTO_UDP] +
					 pool.in_use[MVT_PROTO_TCP] + pool.in_use[MVT_PROTO_ICMP]);
	nat44_set (&c->sessions, mvt_sessions_count (nat->sessions));
	nat44_set (&c->hosts, mvt_hosts_count (nat->hosts));
	nat44_set (&c->blocks, pool.blocks);
	nat44_set (&c->blocks_free, pool.blocks_free);
	nat44_set (&c->blocks_open, pool.blocks_open);
	nat44_set (&c->blocks_closed, pool.blocks_closed);
	nat44_set (&c->ports_held, pool.held);
	nat44_set (&c->max_mappings, nat->max_mappings);
	uint32_t starved = mvt_pool_starved (nat->pool);
	if (starved != MVT_NONE)
		nat44_set (&c->starved_slot, (uint64_t) starved + 1);
}

/* The sessions of entries that are looked at together, one of each at a time: their chains lead all
 * over the table, and following one after the other waits for every link. */
static void
ask_for_sessions (mvt_nat44_t *nat, mvt_entry_t *const *entries, uint32_t n)
{
	uint32_t at[WALK_MAX], going = 0;

	for (uint32_t i = 0; i < n; i++)
		if ((at[going] = entries[i]->sessions) != MVT_NONE)
			going++;
	for (uint32_t look = 0; look < SWEEP_SESSIONS && going; look++)
	{
		uint32_t left = 0;
		for (uint32_t i = 0; i < going; i++)
		{
			__builtin_prefetch (mvt_sessions_bucket (nat->sessions, at[i]));
			__builtin_prefetch (mvt_sessions_sibling (nat->sessions, at[i]));
		}
		for (uint32_t i = 0; i < going; i++)
			if ((at[left] = *mvt_sessions_sibling (nat->sessions, at[i])) != MVT_NONE)
				left++;
		going = left;
	}
}

/* Look at some entries in arena order and end the expired ones. The walk itself touches only the
 * slabs' bitmaps, so the entries can be asked for together. */
static uint32_t
sweep (mvt_nat44_t *nat, uint32_t now, uint32_t lines)
{
	mvt_entry_t *entries[WALK_MAX];
	uint32_t ended = 0;

	/* of a second round in one tick further sessions expect nothing: all were looked at */
	nat->swept &= nat->sweep_tick == now;
	while (lines)
	{
		uint32_t budget = lines < WALK_MAX ? lines : WALK_MAX;
		bool wrapped = false;
		uint32_t n =
			mvt_pool_walk (nat->pool, &nat->sweep, entries, budget, budget, &wrapped);
		for (uint32_t i = 0; i < n; i++)
			__builtin_prefetch (entries[i]);
		if (!nat->swept)
			ask_for_sessions (nat, entries, n);
		for (uint32_t i = 0; i < n; i++)
		{
			mvt_entry_t *e = entries[i];
			if (!nat44_expired (nat, e, now))
			{
				if (mvt_unlikely (e->sessions != MVT_NONE) && !nat->swept)
					nat44_prune (nat, e, now, SWEEP_SESSIONS);
				continue;
			}
			if (nat44_revive (nat, e, now))
				continue;
			NAT44_COUNT (nat, mappings_expired);
			nat44_end (nat, e, now);
			ended++;
		}
		if (wrapped)
		{
			NAT44_COUNT (nat, sweep_rounds);
			nat->swept = nat->sweep_tick == now;
			nat->sweep_tick = now;
			break;
		}
		lines -= budget;
	}
	return ended;
}

uint32_t
mvt_nat44_back_ahead (mvt_nat44_t *nat)
{
	uint32_t n = mvt_pool_back_ahead (nat->pool);
	n += mvt_hosts_back_ahead (nat->hosts);
	n += mvt_index_back_ahead (nat->index);
	if (nat->tracks_sessions)
		n += mvt_sessions_back_ahead (nat->sessions);
	return n;
}

uint32_t
mvt_nat44_background (mvt_nat44_t *nat, uint32_t now, uint32_t lines)
{
	nat44_load_snapshots (nat);
	uint32_t done = sweep (nat, now, lines);
	done += mvt_pool_release (nat->pool, now, lines);
	done += mvt_frag_expire (nat->frag, now, lines);
	done += mvt_nat44_back_ahead (nat);
	mvt_index_maintain (nat->index, lines);
	events_of_blocks (nat, now);
	nat44_gauges (nat);
	return done;
}

uint32_t
mvt_nat44_released (mvt_nat44_t *nat, mvt_pkt_t *out, uint32_t max)
{
	uint32_t n = mvt_frag_take (nat->frag, out, max);
	for (uint32_t i = 0; i < n; i++)
		if (out[i].verdict == MVT_VERDICT_DROPPED)
			nat44_add (&nat->counters.dropped[out[i].reason], 1);
	return n;
}

/* ---- jobs ---- */

static bool
in_prefix (mvt_prefix4_t prefix, uint32_t addr)
{
	return prefix.len == 0 || ((addr ^ prefix.addr) >> (32 - prefix.len)) == 0;
}

static bool
matches (const mvt_mapping_filter_t *f, const mvt_entry_t *e)
{
	return in_prefix (f->inside, e->in_addr) && in_prefix (f->external, e->ext_addr) &&
	       (!f->in_port || f->in_port == e->in_port) &&
	       (!f->ext_port || f->ext_port == e->ext_port) &&
	       (!f->proto_plus1 || f->proto_plus1 == e->proto + 1) && f->realm == e->realm &&
	       (!f->statics || (f->statics == 1) == (e->state == MVT_ENTRY_STATIC));
}

static void
describe (mvt_nat44_t *nat, const mvt_entry_t *e, uint32_t now, mvt_mapping_info_t *info)
{
	bool is_static = e->state == MVT_ENTRY_STATIC;
	int32_t left = (int32_t) (e->last + nat->timeouts[e->tclass] - now);

	*info = (mvt_mapping_info_t){
		.in = { .addr = e->in_addr, .port = e->in_port, .proto = e->proto },
		.ext = { .addr = e->ext_addr, .port = e->ext_port, .proto = e->proto },
		.remote = { .addr = e->rem_addr, .port = e->rem_port, .proto = e->proto },
		.realm = e->realm,
		.instance = nat->instance,
		.policy = e->policy,
		.is_static = is_static,
		.tcp_state = e->tcp_state,
		.filter = e->filter,
		.sessions = nat44_sessions_of (nat, e),
		.age = now - e->created,
		.idle = (int32_t) (now - e->last) > 0 ? now - e->last : 0,
		.expires_in = is_static	 ? MVT_NONE
			      : left > 0 ? (uint32_t) left
					 : 0,
		.packets = { e->packets[0], e->packets[1] },
	};
}

/* A filter that names one inside endpoint needs no walk. */
static bool
names_one (const mvt_mapping_filter_t *f)
{
	return f->inside.len == 32 && f->in_port && f->proto_plus1 && f->realm == 0;
}

static mvt_entry_t *
find_one (mvt_nat44_t *nat, const mvt_mapping_filter_t *f, uint32_t now)
{
	mvt_entry_t *e = nat44_find_inside (nat, f->inside.addr, f->in_port,
					    (uint8_t) (f->proto_plus1 - 1), now);
	return e && matches (f, e) ? e : NULL;
}

static mvt_err_t
list_mappings (mvt_nat44_t *nat, mvt_job_t *job, uint32_t now)
{
	mvt_entry_t *entries[WALK_MAX];
	bool wrapped = false;

	if (names_one (&job->filter))
	{
		mvt_entry_t *e = job->max ? find_one (nat, &job->filter, now) : NULL;
		if (e)
			describe (nat, e, now, &job->out.mappings[job->n++]);
		job->cursor = UINT64_MAX;
		return MVT_OK;
	}
	for (uint32_t looked = 0; looked < NAT44_JOB_LINES && !wrapped; looked += WALK_MAX)
	{
		uint32_t room = job->max - job->n;
		if (!room)
			return MVT_OK;
		uint32_t n = mvt_pool_walk (nat->pool, &job->cursor, entries,
					    room < WALK_MAX ? room : WALK_MAX, WALK_MAX, &wrapped);
		for (uint32_t i = 0; i < n; i++)
		{
			if (!matches (&job->filter, entries[i]) ||
			    (nat44_expired (nat, entries[i], now) &&
			     !nat44_revive (nat, entries[i], now)))
				continue;
			describe (nat, entries[i], now, &job->out.mappings[job->n++]);
		}
	}
	if (!wrapped)
		return MVT_ERR_AGAIN;
	job->cursor = UINT64_MAX;
	return MVT_OK;
}

static mvt_err_t
delete_mappings (mvt_nat44_t *nat, mvt_job_t *job, uint32_t now)
{
	mvt_entry_t *entries[WALK_MAX];
	bool wrapped = false;

	if (names_one (&job->filter))
	{
		mvt_entry_t *e = find_one (nat, &job->filter, now);
		if (e)
		{
			NAT44_COUNT (nat, mappings_deleted);
			nat44_end (nat, e, now);
			job->n++;
		}
		return MVT_OK;
	}
	for (uint32_t looked = 0; looked < NAT44_JOB_LINES && !wrapped; looked += WALK_MAX)
	{
		uint32_t n = mvt_pool_walk (nat->pool, &job->cursor, entries, WALK_MAX, WALK_MAX,
					    &wrapped);
		for (uint32_t i = 0; i < n; i++)
		{
			if (!matches (&job->filter, entries[i]))
				continue;
			NAT44_COUNT (nat, mappings_deleted);
			nat44_end (nat, entries[i], now);
			job->n++;
		}
	}
	return wrapped ? MVT_OK : MVT_ERR_AGAIN;
}

static mvt_err_t
list_hosts (mvt_nat44_t *nat, mvt_job_t *job)
{
	uint32_t found[WALK_MAX];
	uint32_t cursor = (uint32_t) job->cursor;

	for (uint32_t looked = 0; looked < NAT44_JOB_LINES && cursor != MVT_NONE;
	     looked += WALK_MAX)
	{
		uint32_t room = job->max - job->n;
		if (!room)
			break;
		uint32_t n =
			mvt_hosts_walk (nat->hosts, job->filter.inside, job->filter.realm, &cursor,
					found, room < WALK_MAX ? room : WALK_MAX, WALK_MAX);
		for (uint32_t i = 0; i < n; i++)
		{
			const mvt_host_t *host = mvt_hosts_at (nat->hosts, found[i]);
			job->out.hosts[job->n++] = (mvt_host_info_t){
				.addr = host->addr,
				.realm = host->realm,
				.instance = nat->instance,
				.ext_addr =
					host->slot == MVT_NONE
						? 0
						: mvt_policy_slot_addr (nat->policy, host->slot),
				.mappings = { host->count[0], host->count[1], host->count[2] },
				.blocks = host->n_blocks,
			};
		}
	}
	job->cursor = cursor == MVT_NONE ? UINT64_MAX : cursor;
	return cursor == MVT_NONE || job->n == job->max ? MVT_OK : MVT_ERR_AGAIN;
}

static mvt_err_t
list_blocks (mvt_nat44_t *nat, mvt_job_t *job)
{
	const mvt_directory_t *dir = nat->shared->directory;
	uint32_t per_slot_bits = 16 - dir->block_bits;
	mvt_pool_block_t found[WALK_MAX];
	bool wrapped = false;

	for (uint32_t looked = 0; looked < NAT44_JOB_LINES && !wrapped; looked += WALK_MAX)
	{
		uint32_t room = job->max - job->n;
		if (!room)
			return MVT_OK;
		uint32_t n = mvt_pool_walk_blocks (nat->pool, &job->cursor, found,
						   room < WALK_MAX ? room : WALK_MAX, WALK_MAX,
						   &wrapped);
		for (uint32_t i = 0; i < n; i++)
		{
			mvt_block_info_t *info = &job->out.block_infos[job->n++];
			*info = (mvt_block_info_t){
				.ext_addr = mvt_policy_slot_addr (nat->policy,
								  found[i].block >> per_slot_bits),
				.first_port = (uint16_t) (found[i].block << dir->block_bits),
				.instance = nat->instance,
				.in_use = { found[i].in_use[0], found[i].in_use[1],
					    found[i].in_use[2] },
			};
			if (found[i].holder != MVT_NONE)
				info->holder = mvt_hosts_at (nat->hosts, found[i].holder)->addr;
		}
	}
	if (!wrapped)
		return MVT_ERR_AGAIN;
	job->cursor = UINT64_MAX;
	return MVT_OK;
}

static mvt_err_t
take_blocks (mvt_nat44_t *nat, mvt_job_t *job)
{
	uint32_t left = job->n - (uint32_t) job->cursor;
	uint32_t n = left < NAT44_JOB_LINES ? left : NAT44_JOB_LINES;

	mvt_pool_take (nat->pool, job->out.blocks + job->cursor, n);
	job->cursor += n;
	nat44_set (&nat->counters.starved_slot, 0);
	return n == left ? MVT_OK : MVT_ERR_AGAIN;
}

static mvt_err_t
give_blocks (mvt_nat44_t *nat, mvt_job_t *job)
{
	uint32_t left = job->max - job->n;
	uint32_t ask = left < NAT44_JOB_LINES ? left : NAT44_JOB_LINES;

	if (job->to == nat->instance)
		return MVT_ERR_INVALID;
	uint32_t n = mvt_pool_give (nat->pool, job->slot, job->to, job->out.blocks + job->n, ask);
	job->n += n;
	return n < ask || job->n == job->max ? MVT_OK : MVT_ERR_AGAIN;
}

static mvt_err_t
static_delete (mvt_nat44_t *nat, const mvt_job_t *job, uint32_t now)
{
	const mvt_endpoint_t *ext = &job->external_endpoint;
	uint32_t slot = mvt_policy_slot_of (nat->policy, ext->addr, NULL);

	if (slot == MVT_NONE || ext->proto >= MVT_PROTO_N)
		return MVT_ERR_NOT_FOUND;
	uint32_t block = mvt_directory_block (nat->shared->directory, slot, ext->port);
	if (mvt_directory_owner (nat->shared->directory, block) != nat->instance)
		return MVT_ERR_NOT_OWNER;
	mvt_entry_t *e = nat44_find_outside (nat, block, ext->port, ext->proto, now);
	if (!e || e->state != MVT_ENTRY_STATIC)
		return MVT_ERR_NOT_FOUND;
	NAT44_COUNT (nat, mappings_deleted);
	nat44_end (nat, e, now);
	return MVT_OK;
}

static mvt_err_t
list_hits (mvt_nat44_t *nat, mvt_job_t *job)
{
	uint32_t left = job->max - job->n, cursor = (uint32_t) job->cursor, n;

	if (job->match >= MVT_MATCH_N)
		return MVT_ERR_INVALID;
	if (left > NAT44_JOB_LINES)
		left = NAT44_JOB_LINES;
	n = mvt_views_hits (nat->views, (mvt_match_t) job->match, &cursor, job->out.hits + job->n,
			    left);
	job->n += n;
	job->cursor = cursor == MVT_NONE ? UINT64_MAX : cursor;
	return job->cursor == UINT64_MAX || job->n == job->max ? MVT_OK : MVT_ERR_AGAIN;
}

static mvt_err_t
run (mvt_nat44_t *nat, mvt_job_t *job, uint32_t now)
{
	switch (job->op)
	{
	case MVT_JOB_TAKE_BLOCKS:
		return take_blocks (nat, job);
	case MVT_JOB_GIVE_BLOCKS:
		return give_blocks (nat, job);
	case MVT_JOB_LIST_MAPPINGS:
		return list_mappings (nat, job, now);
	case MVT_JOB_LIST_HOSTS:
		return list_hosts (nat, job);
	case MVT_JOB_DELETE_MAPPINGS:
		return delete_mappings (nat, job, now);
	case MVT_JOB_STATIC_ADD:
		return nat44_create_static (nat, &job->inside_endpoint, &job->external_endpoint,
					    now);
	case MVT_JOB_STATIC_DEL:
		return static_delete (nat, job, now);
	case MVT_JOB_DRAIN_SLOT:
		mvt_pool_drain_slot (nat->pool, job->slot, job->drain != 0);
		return MVT_OK;
	case MVT_JOB_LIST_BLOCKS:
		return list_blocks (nat, job);
	case MVT_JOB_MATCHES:
		mvt_views_info (nat->views, job->out.matches);
		job->n = MVT_MATCH_N;
		return MVT_OK;
	case MVT_JOB_LIST_HITS:
		return list_hits (nat, job);
	case MVT_JOB_SYNC:
		return MVT_OK;
	default:
		return MVT_ERR_INVALID;
	}
}

mvt_err_t
mvt_nat44_job (mvt_nat44_t *nat, mvt_job_t *job, uint32_t now)
{
	nat44_load_snapshots (nat);
	job->result = run (nat, job, now);
	if (job->result != MVT_ERR_AGAIN)
		nat44_gauges (nat);
	return job->result;
}

/* ---- invariants ---- */

int
mvt_nat44_verify (const mvt_nat44_t *nat)
{
	mvt_nat44_t *n = (mvt_nat44_t *) (uintptr_t) nat; /* the walks take a mutable part */
	const mvt_entry_t *lines = mvt_pool_line (nat->pool, 0);
	uint64_t cursor = 0, entries = 0, sessions = 0, hosts = 0;
	bool wrapped = false;
	int rc;

	if ((rc = mvt_pool_verify (nat->pool)) || (rc = mvt_index_verify (nat->index, lines)) ||
	    (rc = mvt_sessions_verify (nat->sessions)) || (rc = mvt_frag_verify (nat->frag)))
		return rc;
	while (!wrapped)
	{
		mvt_entry_t *found[WALK_MAX];
		uint32_t k =
			mvt_pool_walk (nat->pool, &cursor, found, WALK_MAX, WALK_MAX, &wrapped);
		for (uint32_t i = 0; i < k; i++)
		{
			const mvt_entry_t *e = found[i];
			uint32_t hash = mvt_index_hash (nat->index, e->in_addr, e->in_port,
							e->proto, e->realm);
			if (mvt_index_find (nat->index, lines, hash, e->in_addr, e->in_port,
					    e->proto, e->realm) != mvt_pool_line_of (nat->pool, e))
				return __LINE__;
			const mvt_host_t *host = mvt_hosts_at (n->hosts, e->host);
			if (host->addr != e->in_addr || !host->count[e->proto])
				return __LINE__;
			for (uint32_t s = e->sessions; s != MVT_NONE;
			     s = *mvt_sessions_sibling (n->sessions, s))
			{
				sessions++;
				if (!mvt_sessions_is_of (n->sessions, s, e->sessions,
							 mvt_pool_line_of (nat->pool, e)))
					return __LINE__;
			}
			entries++;
		}
	}
	mvt_prefix4_t all = { 0 };
	for (uint32_t at = 0; at != MVT_NONE;)
	{
		uint32_t found[WALK_MAX];
		uint32_t k = mvt_hosts_walk (nat->hosts, all, 0, &at, found, WALK_MAX, WALK_MAX);
		for (uint32_t i = 0; i < k; i++)
		{
			const mvt_host_t *host = mvt_hosts_at (n->hosts, found[i]);
			hosts += (uint64_t) host->count[0] + host->count[1] + host->count[2];
		}
	}
	mvt_pool_stats_t stats;
	mvt_pool_stats (nat->pool, &stats);
	if (entries != (uint64_t) stats.in_use[0] + stats.in_use[1] + stats.in_use[2])
		return __LINE__;
	if (hosts != entries || sessions != mvt_sessions_count (nat->sessions))
		return __LINE__;
	return 0;
}
