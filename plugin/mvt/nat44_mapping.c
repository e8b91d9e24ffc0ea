/* SPDX-License-Identifier: Apache-2.0
 *
 * Making and ending mappings; sessions and filtering.
 */
#include "nat44_private.h"

/* How many live sessions a revival compares: bounds what one packet can cost. */
#define REVIVE_LOOK 64u
/* Odd multiplier of the address hash; the secret is the key that is added. */
#define ADDRESS_MULTIPLIER 0x9e3779b97f4a7c15ull

/* ---- sessions ---- */

static uint32_t
session_find (const mvt_nat44_t *nat, const mvt_entry_t *e, uint64_t remote)
{
	return mvt_sessions_find (nat->sessions, e->sessions, mvt_pool_line_of (nat->pool, e),
				  remote);
}

static bool
session_expired (const mvt_nat44_t *nat, const mvt_entry_t *e, uint32_t place, uint32_t now)
{
	mvt_session_t s = mvt_sessions_get (nat->sessions, place);
	return nat44_idle_too_long (now, s.last, nat->timeouts[nat44_tclass (e, s.tclass)]);
}

/* A session that only says "this address was spoken to" (address-dependent filtering of TCP). It
 * lets packets in but keeps no mapping alive. */
static bool
is_permission (const mvt_entry_t *e, const mvt_session_t *s)
{
	return e->proto == MVT_PROTO_TCP && s->tcp_state == MVT_TCP_CLOSED;
}

void
nat44_prune (mvt_nat44_t *nat, mvt_entry_t *e, uint32_t now, uint32_t look)
{
	uint32_t *link = &e->sessions;

	while (*link != MVT_NONE && look)
	{
		if (session_expired (nat, e, *link, now))
		{
			mvt_sessions_unlink (nat->sessions, link);
			continue;
		}
		link = mvt_sessions_sibling (nat->sessions, *link);
		look--;
	}
}

/* The link of the session that has longest to live, of the first ones; NULL if there is none. */
static uint32_t *
longest_lived (mvt_nat44_t *nat, mvt_entry_t *e, uint32_t now)
{
	uint32_t *link = &e->sessions, *best = NULL;
	int64_t best_end = 0;

	for (uint32_t look = 0; *link != MVT_NONE && look < REVIVE_LOOK; look++)
	{
		mvt_session_t s = mvt_sessions_get (nat->sessions, *link);
		/* relative to now, so that a wrapping tick does not matter */
		int64_t end = (int64_t) nat->timeouts[nat44_tclass (e, s.tclass)] -
			      (int32_t) (now - s.last);
		if (!is_permission (e, &s) && (!best || end > best_end))
		{
			best = link;
			best_end = end;
		}
		link = mvt_sessions_sibling (nat->sessions, *link);
	}
	return best;
}

bool
nat44_revive (mvt_nat44_t *nat, mvt_entry_t *e, uint32_t now)
{
	if (e->state == MVT_ENTRY_STATIC)
	{
		e->last = now;
		return true;
	}
	nat44_prune (nat, e, now, REVIVE_LOOK);
	uint32_t *best = longest_lived (nat, e, now);
	if (!best)
		return false;

	mvt_session_t s = mvt_sessions_get (nat->sessions, *best);
	e->rem_addr = (uint32_t) s.remote;
	e->rem_port = (uint16_t) (s.remote >> 32);
	e->tcp_state = s.tcp_state;
	e->tclass = nat44_tclass (e, s.tclass);
	e->last = s.last;
	mvt_sessions_unlink (nat->sessions, best);
	return true;
}

uint32_t
nat44_sessions_of (mvt_nat44_t *nat, const mvt_entry_t *e)
{
	uint32_t n = e->rem_addr != 0;
	for (uint32_t i = e->sessions; i != MVT_NONE; i = *mvt_sessions_sibling (nat->sessions, i))
		n++;
	return n;
}

/* Remember a further remote endpoint. With endpoint-independent filtering a full table is no reason
 * to refuse: the mapping goes on with the state it has. */
static bool
session_add (mvt_nat44_t *nat, mvt_entry_t *e, uint64_t remote, uint8_t tcp_state, unsigned tclass,
	     uint32_t now, mvt_drop_t *drop)
{
	uint32_t s = mvt_sessions_add (nat->sessions, &e->sessions, mvt_pool_line_of (nat->pool, e),
				       remote, false);
	if (s != MVT_NONE)
	{
		mvt_sessions_set (nat->sessions, s, tcp_state, tclass, now);
		NAT44_COUNT (nat, sessions_created);
		return true;
	}
	if (e->filter == MVT_FILTER_EI)
	{
		NAT44_COUNT (nat, sessions_untracked);
		nat44_touch (e, now);
		return true;
	}
	*drop = MVT_DROP_OUT_OF_SESSIONS;
	return false;
}

/* ---- filtering: RFC 4787 section 5, RFC 5382 section 4.3 ---- */

/* The remote endpoint that tells sessions of a mapping apart: without its port for an ICMP query,
 * which names none (RFC 5508 REQ-1), and where UDP is filtered by address alone. */
static uint64_t
session_remote (const mvt_entry_t *e, uint32_t rem_addr, uint16_t rem_port)
{
	bool by_address = e->proto == MVT_PROTO_ICMP ||
			  (e->proto == MVT_PROTO_UDP && e->filter == MVT_FILTER_AD);
	return mvt_session_remote (rem_addr, by_address ? 0 : rem_port);
}

static bool
is_inline (const mvt_entry_t *e, uint64_t remote)
{
	return mvt_session_remote (e->rem_addr, e->rem_port) == remote;
}

static bool
admit_datagram (mvt_nat44_t *nat, mvt_entry_t *e, uint64_t remote, unsigned dir, uint32_t now,
		mvt_drop_t *drop)
{
	if (e->filter == MVT_FILTER_EI || is_inline (e, remote))
	{
		nat44_touch (e, now);
		return true;
	}
	uint32_t s = session_find (nat, e, remote);
	if (dir == MVT_OUT2IN && (s == MVT_NONE || session_expired (nat, e, s, now)))
	{
		*drop = MVT_DROP_FILTERED;
		return false;
	}
	if (s != MVT_NONE)
	{
		mvt_sessions_touch (nat->sessions, s, now);
		return true;
	}
	return session_add (nat, e, remote, 0, e->tclass % MVT_TIMEOUT_N, now, drop);
}

/* Address-dependent filtering lets any port of an address in that the host has spoken to. Sessions
 * are by port, so the address has a record of its own, which every tracked segment renews but those
 * of the hit path: what they belong to, the inline session, lives as long and speaks for itself.
 * When the table is full the address stays unknown: connections from there are refused, those from
 * inside go on. */
static void
permit_address (mvt_nat44_t *nat, mvt_entry_t *e, uint32_t rem_addr, uint32_t now)
{
	uint64_t remote = mvt_session_remote (rem_addr, 0);
	uint32_t s = session_find (nat, e, remote);
	if (s == MVT_NONE)
		s = mvt_sessions_add (nat->sessions, &e->sessions, mvt_pool_line_of (nat->pool, e),
				      remote, true);
	if (s != MVT_NONE)
		mvt_sessions_set (nat->sessions, s, MVT_TCP_CLOSED, MVT_TIMEOUT_TCP_ESTABLISHED,
				  now);
}

static bool
address_permitted (mvt_nat44_t *nat, const mvt_entry_t *e, uint32_t rem_addr, uint32_t now)
{
	uint32_t s = session_find (nat, e, mvt_session_remote (rem_addr, 0));
	return s != MVT_NONE && !session_expired (nat, e, s, now);
}

/* A segment of a connection that is not known, or expired and still at `old`. */
static bool
admit_tcp_new (mvt_nat44_t *nat, mvt_entry_t *e, const mvt_parsed_t *parsed, uint32_t old,
	       uint64_t remote, unsigned dir, uint32_t now, mvt_drop_t *drop)
{
	bool opens = mvt_tcp_opens (parsed->tcp_flags);
	uint32_t rem_addr = (uint32_t) remote;
	uint8_t state;

	if (dir == MVT_OUT2IN)
	{
		if (e->filter == MVT_FILTER_APD ||
		    (e->filter == MVT_FILTER_AD && e->rem_addr != rem_addr &&
		     !address_permitted (nat, e, rem_addr, now)))
		{
			*drop = MVT_DROP_FILTERED;
			return false;
		}
		/* allowed by its filtering, but nothing to track and no reason to live longer */
		if (!opens)
			return true;
	}
	/* The inside may go on with a connection whose session is gone; it gets the transitory time
	 * to prove itself. */
	state = opens ? mvt_tcp_next (MVT_TCP_CLOSED, dir, parsed->tcp_flags) : MVT_TCP_TRANS;
	uint8_t tclass = mvt_tcp_timeout (state);
	if (e->filter == MVT_FILTER_AD)
		permit_address (nat, e, rem_addr, now);
	if (old != MVT_NONE)
	{
		mvt_sessions_set (nat->sessions, old, state, tclass, now);
		return true;
	}
	return session_add (nat, e, remote, state, tclass, now, drop);
}

static bool
admit_tcp (mvt_nat44_t *nat, mvt_entry_t *e, const mvt_parsed_t *parsed, uint64_t remote,
	   unsigned dir, uint32_t now, mvt_drop_t *drop)
{
	if (is_inline (e, remote))
	{
		e->tcp_state = mvt_tcp_next (e->tcp_state, dir, parsed->tcp_flags);
		e->tclass = nat44_tclass (e, mvt_tcp_timeout (e->tcp_state));
		nat44_touch (e, now);
	}
	else
	{
		uint32_t s = session_find (nat, e, remote);
		if (s == MVT_NONE || session_expired (nat, e, s, now))
			return admit_tcp_new (nat, e, parsed, s, remote, dir, now, drop);
		uint8_t state = mvt_tcp_next (mvt_sessions_get (nat->sessions, s).tcp_state, dir,
					      parsed->tcp_flags);
		mvt_sessions_set (nat->sessions, s, state, mvt_tcp_timeout (state), now);
	}
	if (e->filter == MVT_FILTER_AD)
		permit_address (nat, e, (uint32_t) remote, now);
	return true;
}

bool
nat44_admit (mvt_nat44_t *nat, mvt_entry_t *e, const mvt_parsed_t *parsed, unsigned dir,
	     uint32_t now, mvt_drop_t *drop)
{
	uint64_t remote = dir == MVT_IN2OUT ? session_remote (e, parsed->dst, parsed->dport)
					    : session_remote (e, parsed->src, parsed->sport);

	if (e->state == MVT_ENTRY_STATIC)
	{
		nat44_touch (e, now);
		return true;
	}
	if (e->proto == MVT_PROTO_TCP)
		return admit_tcp (nat, e, parsed, remote, dir, now, drop);
	return admit_datagram (nat, e, remote, dir, now, drop);
}

bool
nat44_refresh_session (mvt_nat44_t *nat, mvt_entry_t *e, uint64_t remote, uint8_t tcp_flags,
		       uint32_t now)
{
	bool tcp = e->proto == MVT_PROTO_TCP;

	/* an expired inline session is to be replaced */
	if (nat44_expired (nat, e, now))
		return false;
	if (is_inline (e, remote))
	{
		if (tcp && !mvt_tcp_quiet (e->tcp_state, tcp_flags))
			return false;
		nat44_touch (e, now);
		return true;
	}
	uint32_t place = session_find (nat, e, remote);
	if (place == MVT_NONE || session_expired (nat, e, place, now))
		return false;
	mvt_session_t s = mvt_sessions_get (nat->sessions, place);
	/* the first segment of a further one in a tick renews the permission of its address too */
	if (tcp && (!mvt_tcp_quiet (s.tcp_state, tcp_flags) ||
		    (e->filter == MVT_FILTER_AD && s.last != now)))
		return false;
	mvt_sessions_touch (nat->sessions, place, now);
	return true;
}

bool
nat44_filter_allows (mvt_nat44_t *nat, const mvt_entry_t *e, const mvt_parsed_t *parsed,
		     uint32_t now)
{
	uint64_t remote = session_remote (e, parsed->src, parsed->sport);

	if (e->state == MVT_ENTRY_STATIC || e->filter == MVT_FILTER_EI || is_inline (e, remote))
		return true;
	uint32_t s = session_find (nat, e, remote);
	if (s != MVT_NONE && !session_expired (nat, e, s, now))
		return true;
	return e->proto == MVT_PROTO_TCP && e->filter == MVT_FILTER_AD &&
	       address_permitted (nat, e, parsed->src, now);
}

/* ---- finding ---- */

static mvt_entry_t *
still_alive (mvt_nat44_t *nat, mvt_entry_t *e, uint32_t now)
{
	if (mvt_likely (!nat44_expired (nat, e, now)) || nat44_revive (nat, e, now))
		return e;
	NAT44_COUNT (nat, mappings_expired);
	nat44_end (nat, e, now);
	return NULL;
}

mvt_entry_t *
nat44_find_inside (mvt_nat44_t *nat, uint32_t addr, uint16_t port, uint8_t proto, uint32_t now)
{
	uint32_t hash = mvt_index_hash (nat->index, addr, port, proto, 0);
	uint32_t line = mvt_index_find (nat->index, mvt_pool_line (nat->pool, 0), hash, addr, port,
					proto, 0);
	return line == MVT_NONE ? NULL : still_alive (nat, mvt_pool_line (nat->pool, line), now);
}

mvt_entry_t *
nat44_find_outside (mvt_nat44_t *nat, uint32_t block, uint16_t port, uint8_t proto, uint32_t now)
{
	mvt_entry_t *e = mvt_pool_place (nat->pool, block, proto, port);
	if (!e || (e->state != MVT_ENTRY_DYNAMIC && e->state != MVT_ENTRY_STATIC))
		return NULL;
	return still_alive (nat, e, now);
}

/* ---- making ---- */

static bool
within_limits (const mvt_policy_t *policy, mvt_host_t *host, uint8_t proto, uint32_t now,
	       mvt_drop_t *drop)
{
	uint64_t all = (uint64_t) host->count[0] + host->count[1] + host->count[2];

	if ((policy->mappings_per_host[proto] &&
	     host->count[proto] >= policy->mappings_per_host[proto]) ||
	    (policy->mappings_per_host_all && all >= policy->mappings_per_host_all))
	{
		*drop = MVT_DROP_HOST_LIMIT;
		return false;
	}
	if (host->rate_tick != now)
	{
		host->rate_tick = now;
		host->rate_count = 0;
	}
	if (policy->new_per_second_per_host && host->rate_count >= policy->new_per_second_per_host)
	{
		*drop = MVT_DROP_RATE_LIMIT;
		return false;
	}
	return true;
}

/* May new mappings use this slot? */
static bool
slot_usable (const mvt_nat44_t *nat, uint32_t slot, uint32_t *addr)
{
	bool draining = false;
	*addr = mvt_policy_slot_addr (nat->policy, slot);
	return *addr && mvt_policy_slot_of (nat->policy, *addr, &draining) == slot && !draining;
}

/* The address that a host gets, by a hash that is independent of the one that chooses its home
 * (DESIGN 4.2: in nat44-ed both come from one sum, and most of the pool cannot be reached). The
 * key is shared, so every instance gives a host the same address. */
static uint32_t
hashed_slot (const mvt_nat44_t *nat, uint32_t policy, uint32_t n_slots, uint32_t addr)
{
	uint64_t h = mvt_mix (addr, nat->shared->address_key, ADDRESS_MULTIPLIER);
	return mvt_policy_slot (nat->policy, policy, (uint32_t) ((h >> 32) * n_slots >> 32));
}

static mvt_err_t
try_slot (mvt_nat44_t *nat, uint32_t slot, uint8_t proto, uint32_t host, uint32_t max_blocks,
	  uint32_t now, mvt_entry_t **e)
{
	uint32_t addr;
	if (slot == MVT_NONE || !slot_usable (nat, slot, &addr))
		return MVT_ERR_FULL;
	return mvt_pool_alloc (nat->pool, slot, addr, proto, nat->hosts, host, max_blocks, now, e);
}

/* An exhausted address: look through the policy's others, from where the last one found ports. */
static mvt_err_t
try_others (mvt_nat44_t *nat, uint32_t policy, const mvt_policy_t *p, uint8_t proto, uint32_t host,
	    uint32_t now, mvt_entry_t **e)
{
	uint32_t n = p->n_slots < NAT44_FALLBACK_TRIES ? p->n_slots : NAT44_FALLBACK_TRIES;
	for (uint32_t i = 0; i < n; i++)
	{
		uint32_t at = (nat->fallback + i) % p->n_slots;
		mvt_err_t err = try_slot (nat, mvt_policy_slot (nat->policy, policy, at), proto,
					  host, p->max_blocks_per_host, now, e);
		if (err != MVT_ERR_FULL)
		{
			nat->fallback = at;
			return err;
		}
	}
	nat->fallback = (nat->fallback + n) % (p->n_slots ? p->n_slots : 1);
	return MVT_ERR_FULL;
}

static mvt_err_t
allocate (mvt_nat44_t *nat, const nat44_leave_t *leave, const mvt_policy_t *p, uint8_t proto,
	  uint32_t host_index, uint32_t now, mvt_entry_t **e)
{
	mvt_host_t *host = mvt_hosts_at (nat->hosts, host_index);
	uint32_t slot = host->slot, max_blocks = p->max_blocks_per_host, addr;
	mvt_err_t err;

	if (leave->ext_addr) /* an opened host keeps the address that it has elsewhere */
	{
		slot = mvt_policy_slot_of (nat->policy, leave->ext_addr, NULL);
		err = try_slot (nat, slot, proto, host_index, max_blocks, now, e);
		if (err != MVT_ERR_FULL)
			host->slot = slot;
		host->epoch = 0;
		return err;
	}
	if (mvt_likely (leave->lasting && host->epoch == nat->epoch && host->ext_addr))
		err = mvt_pool_alloc (nat->pool, slot, host->ext_addr, proto, nat->hosts,
				      host_index, max_blocks, now, e);
	else
	{
		if (!p->n_slots)
			return MVT_ERR_FULL;
		if (slot == MVT_NONE || !slot_usable (nat, slot, &addr))
			slot = hashed_slot (nat, leave->policy, p->n_slots, host->addr);
		err = try_slot (nat, slot, proto, host_index, max_blocks, now, e);
	}
	addr = err == MVT_OK ? (*e)->ext_addr : 0;
	if (err == MVT_ERR_FULL && !p->paired_only)
	{
		err = try_others (nat, leave->policy, p, proto, host_index, now, e);
		/* a host without mappings is bound to the address that serves it now */
		bool idle = host->count[0] + host->count[1] + host->count[2] == 0;
		if (err == MVT_OK && idle)
		{
			addr = (*e)->ext_addr;
			slot = mvt_policy_slot_of (nat->policy, addr, NULL);
		}
	}
	if (err != MVT_OK)
		return err;
	host->slot = slot;
	host->epoch = leave->lasting ? nat->epoch : 0;
	host->policy = leave->policy;
	host->ext_addr = addr;
	return MVT_OK;
}

static mvt_drop_t
refusal (mvt_err_t err)
{
	switch (err)
	{
	case MVT_ERR_NO_MEMORY:
		return MVT_DROP_OUT_OF_MAPPINGS;
	case MVT_ERR_UNSUPPORTED:
		return MVT_DROP_BLOCK_LIMIT;
	default:
		return MVT_DROP_OUT_OF_PORTS;
	}
}

static void
put_host_if_idle (mvt_nat44_t *nat, uint32_t index)
{
	const mvt_host_t *host = mvt_hosts_at (nat->hosts, index);
	if (host->count[0] + host->count[1] + host->count[2] == 0 && host->blocks == MVT_NONE)
		mvt_hosts_put (nat->hosts, index);
}

static void
fill (mvt_entry_t *e, uint32_t in_addr, uint16_t in_port, uint32_t now)
{
	e->in_addr = in_addr;
	e->in_port = in_port;
	e->realm = 0;
	e->delta_ip = mvt_delta_addr (in_addr, e->ext_addr);
	e->delta_l4 = mvt_delta_l4 (e->proto, in_addr, in_port, e->ext_addr, e->ext_port);
	e->last = now;
	e->created = now;
	e->sessions = MVT_NONE;
}

static bool
index_entry (mvt_nat44_t *nat, const mvt_entry_t *e)
{
	uint32_t hash = mvt_index_hash (nat->index, e->in_addr, e->in_port, e->proto, e->realm);
	return mvt_index_insert (nat->index, hash, mvt_pool_line_of (nat->pool, e)) == 0;
}

/* Policy, filtering, timeout class and the first session of a fresh dynamic mapping. */
static void
start_session (mvt_nat44_t *nat, mvt_entry_t *e, const mvt_policy_t *p, uint32_t policy,
	       const mvt_parsed_t *parsed)
{
	static const uint8_t classes[MVT_PROTO_N] = {
		[MVT_PROTO_UDP] = MVT_TIMEOUT_UDP,
		[MVT_PROTO_ICMP] = MVT_TIMEOUT_ICMP,
	};

	e->policy = (uint16_t) policy;
	e->filter = p->filter[e->proto];
	nat->tracks_sessions |= e->proto == MVT_PROTO_TCP || e->filter != MVT_FILTER_EI;
	e->rem_addr = parsed->dst;
	e->rem_port = (uint16_t) (session_remote (e, parsed->dst, parsed->dport) >> 32);
	if (e->proto == MVT_PROTO_TCP)
	{
		e->tcp_state = mvt_tcp_next (MVT_TCP_CLOSED, MVT_IN2OUT, parsed->tcp_flags);
		e->tclass = nat44_tclass (e, mvt_tcp_timeout (e->tcp_state));
	}
	else
		e->tclass = nat44_tclass (e, classes[e->proto]);
}

mvt_entry_t *
nat44_create (mvt_nat44_t *nat, const mvt_parsed_t *parsed, const nat44_leave_t *leave,
	      uint32_t now, mvt_drop_t *drop)
{
	const mvt_policy_t *p = mvt_policy_at (nat->policy, leave->policy);
	uint8_t proto = parsed->proto;
	mvt_entry_t *e = NULL;

	uint32_t index = leave->host;
	if (index == MVT_NONE)
		index = mvt_hosts_get (nat->hosts, parsed->src, 0, now);
	if (index == MVT_NONE)
	{
		*drop = MVT_DROP_OUT_OF_HOSTS;
		return NULL;
	}
	mvt_host_t *host = mvt_hosts_at (nat->hosts, index);
	if (!within_limits (p, host, proto, now, drop))
	{
		nat44_event_refused (nat, MVT_EVENT_HOST_LIMIT, parsed, *drop, now);
		put_host_if_idle (nat, index);
		return NULL;
	}
	mvt_err_t err = allocate (nat, leave, p, proto, index, now, &e);
	if (err != MVT_OK)
	{
		*drop = refusal (err);
		nat44_event_refused (nat, MVT_EVENT_EXHAUSTED, parsed, *drop, now);
		put_host_if_idle (nat, index);
		return NULL;
	}
	fill (e, parsed->src, parsed->sport, now);
	start_session (nat, e, p, leave->policy, parsed);
	if (!index_entry (nat, e))
	{
		mvt_pool_free (nat->pool, nat->hosts, e, false, now);
		put_host_if_idle (nat, index);
		*drop = MVT_DROP_INDEX_FULL;
		return NULL;
	}
	if (proto == MVT_PROTO_TCP && e->filter == MVT_FILTER_AD)
		permit_address (nat, e, parsed->dst, now);
	host->count[proto]++;
	host->rate_count++;
	NAT44_COUNT (nat, mappings_created);
	nat44_event_mapping (nat, MVT_EVENT_MAPPING_CREATED, e, now);
	return e;
}

mvt_err_t
nat44_create_static (mvt_nat44_t *nat, const mvt_endpoint_t *in, const mvt_endpoint_t *ext,
		     uint32_t now)
{
	uint32_t slot = mvt_policy_slot_of (nat->policy, ext->addr, NULL);
	mvt_entry_t *e;

	if (slot == MVT_NONE || in->proto >= MVT_PROTO_N || in->proto != ext->proto)
		return MVT_ERR_INVALID;
	e = nat44_find_inside (nat, in->addr, in->port, in->proto, now);
	if (e && e->state == MVT_ENTRY_STATIC)
		return e->ext_addr == ext->addr && e->ext_port == ext->port ? MVT_OK
									    : MVT_ERR_EXISTS;
	uint32_t host = mvt_hosts_get (nat->hosts, in->addr, 0, now);
	if (host == MVT_NONE)
		return MVT_ERR_NO_MEMORY;
	if (e)
	{
		/* the external endpoint must be free, or taken by the very mapping that ends now */
		mvt_hosts_at (nat->hosts, host)->count[in->proto]++;
		NAT44_COUNT (nat, mappings_deleted);
		nat44_end (nat, e, now);
		mvt_hosts_at (nat->hosts, host)->count[in->proto]--;
	}
	mvt_err_t err =
		mvt_pool_alloc_static (nat->pool, slot, ext->addr, in->proto, ext->port, &e);
	if (err != MVT_OK)
	{
		put_host_if_idle (nat, host);
		return err;
	}
	fill (e, in->addr, in->port, now);
	e->host = host;
	e->filter = MVT_FILTER_EI;
	e->tclass = MVT_TIMEOUT_TCP_ESTABLISHED;
	if (!index_entry (nat, e))
	{
		mvt_pool_free (nat->pool, nat->hosts, e, false, now);
		put_host_if_idle (nat, host);
		return MVT_ERR_FULL;
	}
	mvt_hosts_at (nat->hosts, host)->count[in->proto]++;
	NAT44_COUNT (nat, mappings_created);
	nat44_event_mapping (nat, MVT_EVENT_MAPPING_CREATED, e, now);
	return MVT_OK;
}

/* ---- ending ---- */

void
nat44_end (mvt_nat44_t *nat, mvt_entry_t *e, uint32_t now)
{
	uint32_t host = e->host;
	/* RFC 6888 REQ-8: not after tracked TCP, not where filtering depends on the remote */
	bool hold = e->proto != MVT_PROTO_TCP && e->filter == MVT_FILTER_EI;

	nat44_event_mapping (nat, MVT_EVENT_MAPPING_ENDED, e, now);
	mvt_index_delete (nat->index,
			  mvt_index_hash (nat->index, e->in_addr, e->in_port, e->proto, e->realm),
			  mvt_pool_line_of (nat->pool, e));
	while (e->sessions != MVT_NONE)
		mvt_sessions_unlink (nat->sessions, &e->sessions);
	mvt_hosts_at (nat->hosts, host)->count[e->proto]--;
	mvt_pool_free (nat->pool, nat->hosts, e, hold, now);
	put_host_if_idle (nat, host);
}
