/* SPDX-License-Identifier: Apache-2.0
 *
 * Packets that are no plain hit: first packets, hand-offs, ICMP errors, fragments, 1:1 rules,
 * hairpins, and everything that is passed or dropped by policy.
 */
#include "mvt_icmp.h"
#include "nat44_private.h"

/* ---- hand-off ---- */

static void
hand_over (mvt_nat44_t *nat, mvt_pkt_t *pkt, const mvt_parsed_t *parsed, uint16_t to)
{
	bool longer = parsed->fragment || (pkt->flags & MVT_PKT_HAIRPIN);

	if (to == MVT_NO_INSTANCE)
		nat44_drop (nat, pkt, MVT_DROP_NO_OWNER);
	else if (to == nat->instance ||
		 pkt->hops >= (longer ? NAT44_MAX_HOPS_LONGER : NAT44_MAX_HOPS))
		nat44_drop (nat, pkt, MVT_DROP_HANDOFF_LOOP);
	else
	{
		pkt->verdict = MVT_VERDICT_HANDOFF;
		pkt->to = to;
		NAT44_COUNT (nat, handed_over);
	}
}

/* ---- what leads back inside ---- */

bool
nat44_is_ours (const mvt_nat44_t *nat, uint32_t dst)
{
	uint32_t inside;
	return mvt_unlikely (mvt_policy_special (nat->policy, dst)) &&
	       (mvt_policy_slot_of (nat->policy, dst, NULL) != MVT_NONE ||
		(mvt_policy_has_statics (nat->policy) &&
		 mvt_policy_static_out2in_by (nat->policy, nat->views, dst, &inside)));
}

void
nat44_hairpin (mvt_nat44_t *nat, mvt_pkt_t *pkt, mvt_parsed_t *parsed, uint32_t now)
{
	NAT44_COUNT (nat, hairpinned);
	pkt->dir = MVT_OUT2IN;
	pkt->verdict = MVT_VERDICT_NONE;
	pkt->flags |= MVT_PKT_HAIRPIN;
	/* from here on it is another datagram, from another source */
	pkt->flags &= (uint8_t) ~(MVT_PKT_PORT_KNOWN | MVT_PKT_MARKED_NEW);
	nat44_slow_out2in (nat, pkt, parsed, now);
}

/* ---- 1:1 rules: stateless, all protocols ---- */

static void
translate_static (mvt_nat44_t *nat, mvt_pkt_t *pkt, mvt_parsed_t *parsed, unsigned dir,
		  uint32_t inside, uint32_t outside, uint32_t now)
{
	uint16_t delta = mvt_delta_addr (inside, outside);
	uint16_t port = dir == MVT_IN2OUT ? parsed->sport : parsed->dport;
	uint32_t to = dir == MVT_IN2OUT ? outside : inside;
	uint16_t delta_l4 = mvt_delta_l4 (parsed->proto, inside, port, outside, port);

	mvt_rewrite (pkt, parsed, dir, to, port, delta, delta_l4);
	pkt->verdict = MVT_VERDICT_TRANSLATED;
	if (dir == MVT_OUT2IN)
	{
		NAT44_COUNT (nat, translated_out2in);
		return;
	}
	NAT44_COUNT (nat, translated_in2out);
	if (nat44_is_ours (nat, parsed->dst))
	{
		mvt_parsed_translated (parsed, MVT_IN2OUT, to, port);
		nat44_hairpin (nat, pkt, parsed, now);
	}
}

/* ---- in2out ---- */

/* A packet without mapping: who makes one? The home map's answer, or the three beats' while a
 * range is changing hands (DESIGN 5). Returns true, with host and policy left to the caller, when
 * it is this instance. */
static bool
mine_to_create (mvt_nat44_t *nat, mvt_pkt_t *pkt, const mvt_parsed_t *parsed, nat44_leave_t *leave)
{
	mvt_home_answer_t answer;

	leave->lasting = false;
	/* the old owner has promised that it has none; it names the host's address, if any */
	if (pkt->flags & MVT_PKT_MARKED_NEW)
	{
		pkt->flags &= (uint8_t) ~MVT_PKT_MARKED_NEW;
		leave->ext_addr = pkt->hash;
		return true;
	}
	mvt_home_lookup_by (nat->home, nat->views, 0, parsed->src, parsed->sport, parsed->proto,
			    &answer);
	leave->ext_addr = answer.flags & MVT_HOME_F_OPENED ? answer.ext_addr : 0;
	if (!(answer.flags & MVT_HOME_F_CLOSING))
	{
		leave->lasting = !answer.flags && !mvt_home_has_pins (nat->home);
		if (answer.instance == nat->instance)
			return true;
		hand_over (nat, pkt, parsed, answer.instance);
		return false;
	}
	if (answer.from != nat->instance)
	{
		hand_over (nat, pkt, parsed, answer.from);
		return false;
	}
	uint32_t host = mvt_hosts_find (nat->hosts, parsed->src, 0);
	if (host != MVT_NONE && !(answer.flags & MVT_HOME_F_BY_ENDPOINT))
		return true;
	pkt->flags |= MVT_PKT_MARKED_NEW;
	pkt->hash = 0;
	if (host != MVT_NONE)
		pkt->hash =
			mvt_policy_slot_addr (nat->policy, mvt_hosts_at (nat->hosts, host)->slot);
	hand_over (nat, pkt, parsed, answer.to);
	return false;
}

/* May this instance make the mapping? What its host's record remembers, or else the policies and
 * the home map. False: the packet has its verdict. */
static bool
leave_to_create (mvt_nat44_t *nat, mvt_pkt_t *pkt, const mvt_parsed_t *parsed, nat44_leave_t *leave)
{
	uint32_t host = mvt_hosts_find (nat->hosts, parsed->src, 0);

	if (mvt_likely (host != MVT_NONE && !(pkt->flags & MVT_PKT_MARKED_NEW)))
	{
		const mvt_host_t *h = mvt_hosts_at (nat->hosts, host);
		if (mvt_likely (h->epoch == nat->epoch))
		{
			*leave = (nat44_leave_t){ host, h->policy, 0, true };
			return true;
		}
	}
	leave->host = host;
	leave->policy = mvt_policy_of_by (nat->policy, nat->views, parsed->src);
	if (leave->policy != MVT_NONE)
		return mine_to_create (nat, pkt, parsed, leave);
	nat44_pass (nat, pkt, MVT_PASS_NOT_INSIDE);
	return false;
}

/* May a packet such as this one make a mapping? */
static bool
may_create (const mvt_parsed_t *parsed, mvt_drop_t *drop)
{
	/* without its SYN a connection was set up elsewhere; any mapping that it got now would show
	 * the remote another port than before (RFC 6146 3.5.2.2, CLOSED) */
	*drop = MVT_DROP_TCP_NOT_SYN;
	if (parsed->proto == MVT_PROTO_TCP)
		return mvt_tcp_opens (parsed->tcp_flags);
	*drop = MVT_DROP_NO_MAPPING;
	return parsed->proto != MVT_PROTO_ICMP || mvt_icmp_is_request (parsed->icmp_type);
}

/* A later fragment is judged by its datagram's ports, so that the filter holds for every piece. */
static void
ports_of_datagram (const mvt_pkt_t *pkt, mvt_parsed_t *parsed, unsigned dir)
{
	if (parsed->has_l4)
		return;
	parsed->sport = dir == MVT_IN2OUT ? pkt->l4_port : pkt->rem_port;
	parsed->dport = dir == MVT_IN2OUT ? pkt->rem_port : pkt->l4_port;
}

/* A packet from an inside endpoint. */
static void
endpoint_in2out (mvt_nat44_t *nat, mvt_pkt_t *pkt, mvt_parsed_t *parsed, uint32_t now)
{
	nat44_leave_t leave;
	mvt_drop_t drop;

	ports_of_datagram (pkt, parsed, MVT_IN2OUT);
	mvt_entry_t *e = nat44_find_inside (nat, parsed->src, parsed->sport, parsed->proto, now);
	if (!e)
	{
		if (!leave_to_create (nat, pkt, parsed, &leave))
			return;
		drop = MVT_DROP_NO_MAPPING;
		if (parsed->has_l4 && may_create (parsed, &drop))
			e = nat44_create (nat, parsed, &leave, now, &drop);
	}
	else if (parsed->has_l4 && !nat44_admit (nat, e, parsed, MVT_IN2OUT, now, &drop))
		e = NULL;
	if (!e)
	{
		nat44_drop (nat, pkt, drop);
		return;
	}
	nat44_translate (nat, pkt, parsed, e, MVT_IN2OUT, now);
}

/* ---- fragments ---- */

/* Give a fragment its datagram's port. False: it is held or dropped. Every fragment of a datagram
 * comes to the same store: in2out that of its source's instance, out2in that of its hash, and a
 * hairpin's that of the instance which translated its source. */
static bool
fragment_port (mvt_nat44_t *nat, mvt_pkt_t *pkt, const mvt_parsed_t *parsed, uint32_t now)
{
	mvt_drop_t drop;

	if (pkt->flags & MVT_PKT_PORT_KNOWN)
		return true;
	if (parsed->frag_off == 0)
	{
		if (!mvt_frag_first (nat->frag, pkt, parsed, nat->instance, now, &drop))
		{
			nat44_drop (nat, pkt, drop);
			return false;
		}
		pkt->flags |= MVT_PKT_PORT_KNOWN;
		pkt->l4_port = pkt->dir == MVT_IN2OUT ? parsed->sport : parsed->dport;
		pkt->rem_port = pkt->dir == MVT_IN2OUT ? parsed->dport : parsed->sport;
		return true;
	}
	switch (mvt_frag_process (nat->frag, pkt, parsed, now))
	{
	case MVT_FRAG_KNOWN:
		return true;
	case MVT_FRAG_HELD:
		NAT44_COUNT (nat, fragments_held);
		return false;
	default:
		nat44_drop (nat, pkt, (mvt_drop_t) pkt->reason);
		return false;
	}
}

/* ---- ICMP errors (RFC 5508 section 4): translated by what they embed; they refresh nothing ----
 */

static void
finish_icmp (mvt_nat44_t *nat, mvt_pkt_t *pkt, mvt_parsed_t *parsed, unsigned dir, uint32_t now)
{
	mvt_drop_t drop;

	pkt->verdict = MVT_VERDICT_TRANSLATED;
	if (dir == MVT_OUT2IN)
	{
		NAT44_COUNT (nat, translated_out2in);
		return;
	}
	NAT44_COUNT (nat, translated_in2out);
	if (!nat44_is_ours (nat, parsed->dst))
		return;
	if (mvt_packet_parse (pkt, parsed, &drop))
		nat44_hairpin (nat, pkt, parsed, now);
	else
		nat44_drop (nat, pkt, drop);
}

static void
icmp_in2out (mvt_nat44_t *nat, mvt_pkt_t *pkt, mvt_parsed_t *parsed, uint32_t now)
{
	mvt_embedded_t emb;
	mvt_drop_t drop;
	uint32_t outside;
	nat44_leave_t leave;

	if (!mvt_icmp_embedded (pkt, parsed, &emb, &drop))
	{
		nat44_drop (nat, pkt, drop);
		return;
	}
	if (mvt_policy_has_statics (nat->policy) &&
	    mvt_policy_static_in2out_by (nat->policy, nat->views, emb.dst, &outside))
	{
		mvt_icmp_rewrite (pkt, parsed, &emb, MVT_IN2OUT, outside, emb.dport, outside);
		finish_icmp (nat, pkt, parsed, MVT_IN2OUT, now);
		return;
	}
	if (mvt_policy_of_by (nat->policy, nat->views, emb.dst) == MVT_NONE)
	{
		nat44_pass (nat, pkt, MVT_PASS_NOT_INSIDE);
		return;
	}
	if (!emb.has_l4)
	{
		nat44_drop (nat, pkt, MVT_DROP_ICMP_NO_MAPPING);
		return;
	}
	const mvt_entry_t *e = nat44_find_inside (nat, emb.dst, emb.dport, emb.proto, now);
	if (e)
	{
		mvt_icmp_rewrite (pkt, parsed, &emb, MVT_IN2OUT, e->ext_addr, e->ext_port,
				  e->ext_addr);
		finish_icmp (nat, pkt, parsed, MVT_IN2OUT, now);
		return;
	}
	/* who would make its mapping now is the last who could have it */
	mvt_parsed_t about = *parsed;
	about.src = emb.dst;
	about.sport = emb.dport;
	about.proto = emb.proto;
	if (mine_to_create (nat, pkt, &about, &leave))
		nat44_drop (nat, pkt, MVT_DROP_ICMP_NO_MAPPING);
}

static void
icmp_out2in (mvt_nat44_t *nat, mvt_pkt_t *pkt, mvt_parsed_t *parsed, uint32_t now)
{
	mvt_embedded_t emb;
	mvt_drop_t drop;
	uint32_t inside;

	if (!nat44_is_ours (nat, parsed->dst))
	{
		nat44_pass (nat, pkt, MVT_PASS_NOT_POOL);
		return;
	}
	if (!mvt_icmp_embedded (pkt, parsed, &emb, &drop))
	{
		nat44_drop (nat, pkt, drop);
		return;
	}
	uint32_t slot = mvt_policy_slot_of (nat->policy, emb.src, NULL);
	if (slot == MVT_NONE && mvt_policy_has_statics (nat->policy) &&
	    mvt_policy_static_out2in_by (nat->policy, nat->views, emb.src, &inside))
	{
		mvt_icmp_rewrite (pkt, parsed, &emb, MVT_OUT2IN, inside, emb.sport, inside);
		finish_icmp (nat, pkt, parsed, MVT_OUT2IN, now);
		return;
	}
	/* who reports an error about our packet sends it to that packet's source */
	if (slot == MVT_NONE || !emb.has_l4 || emb.src != parsed->dst)
	{
		nat44_drop (nat, pkt, MVT_DROP_ICMP_NO_MAPPING);
		return;
	}
	uint32_t block = mvt_directory_block (nat->shared->directory, slot, emb.sport);
	uint16_t owner = mvt_directory_owner (nat->shared->directory, block);
	if (owner != nat->instance)
	{
		hand_over (nat, pkt, parsed, owner);
		return;
	}
	const mvt_entry_t *e = nat44_find_outside (nat, block, emb.sport, emb.proto, now);
	if (!e)
	{
		nat44_drop (nat, pkt, MVT_DROP_ICMP_NO_MAPPING);
		return;
	}
	mvt_icmp_rewrite (pkt, parsed, &emb, MVT_OUT2IN, e->in_addr, e->in_port, e->in_addr);
	finish_icmp (nat, pkt, parsed, MVT_OUT2IN, now);
}

/* ---- the two entrances ---- */

void
nat44_slow_in2out (mvt_nat44_t *nat, mvt_pkt_t *pkt, mvt_parsed_t *parsed, uint32_t now)
{
	uint32_t outside;

	if (mvt_policy_exempt_by (nat->policy, nat->views, parsed->dst))
	{
		nat44_pass (nat, pkt, MVT_PASS_EXEMPT);
		return;
	}
	if (parsed->icmp_error)
	{
		icmp_in2out (nat, pkt, parsed, now);
		return;
	}
	if (mvt_policy_has_statics (nat->policy) &&
	    mvt_policy_static_in2out_by (nat->policy, nat->views, parsed->src, &outside))
	{
		translate_static (nat, pkt, parsed, MVT_IN2OUT, parsed->src, outside, now);
		return;
	}
	bool plain = parsed->proto != MVT_PROTO_OTHER && !parsed->fragment;
	if (!plain && mvt_policy_of_by (nat->policy, nat->views, parsed->src) == MVT_NONE)
		nat44_pass (nat, pkt, MVT_PASS_NOT_INSIDE);
	else if (parsed->proto == MVT_PROTO_OTHER)
		nat44_drop (nat, pkt, MVT_DROP_UNSUPPORTED_PROTOCOL);
	else if (plain || fragment_port (nat, pkt, parsed, now))
		endpoint_in2out (nat, pkt, parsed, now);
}

static void
endpoint_out2in (mvt_nat44_t *nat, mvt_pkt_t *pkt, mvt_parsed_t *parsed, uint32_t slot,
		 uint32_t now)
{
	ports_of_datagram (pkt, parsed, MVT_OUT2IN);
	uint16_t port = parsed->dport;
	uint32_t block = mvt_directory_block (nat->shared->directory, slot, port);
	uint16_t owner = mvt_directory_owner (nat->shared->directory, block);
	mvt_drop_t drop = MVT_DROP_NO_MAPPING;

	if (owner != nat->instance)
	{
		hand_over (nat, pkt, parsed, owner);
		return;
	}
	mvt_entry_t *e = nat44_find_outside (nat, block, port, parsed->proto, now);
	if (e && parsed->has_l4 && !nat44_admit (nat, e, parsed, MVT_OUT2IN, now, &drop))
		e = NULL;
	else if (e && !parsed->has_l4 && !nat44_filter_allows (nat, e, parsed, now))
	{
		drop = MVT_DROP_FILTERED;
		e = NULL;
	}
	if (!e)
	{
		nat44_drop (nat, pkt, drop);
		return;
	}
	nat44_translate (nat, pkt, parsed, e, MVT_OUT2IN, now);
}

void
nat44_slow_out2in (mvt_nat44_t *nat, mvt_pkt_t *pkt, mvt_parsed_t *parsed, uint32_t now)
{
	uint32_t inside;

	if (parsed->icmp_error)
	{
		icmp_out2in (nat, pkt, parsed, now);
		return;
	}
	uint32_t slot = mvt_policy_slot_of (nat->policy, parsed->dst, NULL);
	if (slot == MVT_NONE)
	{
		if (mvt_policy_has_statics (nat->policy) &&
		    mvt_policy_static_out2in_by (nat->policy, nat->views, parsed->dst, &inside))
			translate_static (nat, pkt, parsed, MVT_OUT2IN, inside, parsed->dst, now);
		else
			nat44_pass (nat, pkt, MVT_PASS_NOT_POOL);
	}
	else if (parsed->proto == MVT_PROTO_OTHER)
		nat44_drop (nat, pkt, MVT_DROP_UNSUPPORTED_PROTOCOL);
	else if (!parsed->fragment || fragment_port (nat, pkt, parsed, now))
		endpoint_out2in (nat, pkt, parsed, slot, now);
}
