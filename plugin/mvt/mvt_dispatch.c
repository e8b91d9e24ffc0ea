/* SPDX-License-Identifier: Apache-2.0 */
#include "mvt_shared.h"

/* One end of a packet, or of the packet that an ICMP error quotes. */
typedef struct
{
	uint32_t addr;
	uint16_t port; /* or query id; 0 without has_port */
	uint8_t proto; /* mvt_proto_t; MVT_PROTO_OTHER without has_port: then no pin matches */
	uint8_t has_port;
} mvt_dispatch_end_t;

/* ---- any instance ---- */

static uint64_t
mix (uint64_t x)
{
	x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93ull;
	x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93ull;
	return x ^ (x >> 32);
}

/* The set of active instances may change between the two loads: then the answer is one that was
 * active a moment ago, which any host takes. */
static uint16_t
active_of (const mvt_shared_t *shared, uint64_t hash)
{
	uint32_t n = atomic_load_explicit (&shared->n_active, memory_order_acquire);
	uint16_t instance;
	if (n == 0)
		return 0;
	if (n > MVT_HOME_INSTANCES)
		n = MVT_HOME_INSTANCES;
	instance = atomic_load_explicit (&shared->active[((hash >> 32) * n) >> 32],
					 memory_order_relaxed);
	return instance < MVT_HOME_INSTANCES ? instance : 0;
}

uint16_t
mvt_dispatch_fragment (const mvt_shared_t *shared, uint32_t src, uint32_t dst, uint16_t id,
		       uint8_t ip_proto)
{
	uint64_t hash = mix (((uint64_t) src << 32 | dst) ^ shared->frag_key);
	return active_of (shared, mix (hash ^ ((uint64_t) id << 8 | ip_proto)));
}

/* Strays are spread over the instances by whatever can be read of them, so that a flood of them
 * is no flood of one instance. */
static uint16_t
any_active (const mvt_shared_t *shared, const mvt_pkt_t *pkt)
{
	uint64_t seen = pkt->len;
	if (pkt->len >= 20)
		seen = (uint64_t) mvt_load32 (pkt->l3 + 12) << 32 | mvt_load32 (pkt->l3 + 16);
	return active_of (shared, mix (seen ^ shared->frag_key));
}

/* ---- headers ---- */

/* Length of the IPv4 header at p, or 0 when there is none in the len bytes. */
static uint32_t
header_len (const uint8_t *p, uint32_t len)
{
	uint32_t header;
	if (len < 20 || p[0] >> 4 != 4)
		return 0;
	header = (uint32_t) (p[0] & 15) * 4;
	return header >= 20 && header <= len ? header : 0;
}

/* Ports or query id of the packet at p, when it is no later fragment and they are there.
 * => header is header_len (p, len) */
static void
read_port (const uint8_t *p, uint32_t header, uint32_t len, bool source, mvt_dispatch_end_t *end)
{
	const uint8_t *l4 = p + header;
	uint32_t readable = len - header;
	uint32_t proto, at;

	if (mvt_load16 (p + 6) & 0x1fff)
		return;
	switch (p[9])
	{
	case MVT_IP_UDP:
		proto = MVT_PROTO_UDP;
		at = source ? 0 : 2;
		break;
	case MVT_IP_TCP:
		proto = MVT_PROTO_TCP;
		at = source ? 0 : 2;
		break;
	case MVT_IP_ICMP:
		if (readable == 0 || !mvt_icmp_is_query (l4[0]))
			return;
		proto = MVT_PROTO_ICMP;
		at = 4;
		break;
	default:
		return;
	}
	if (readable < at + 2)
		return;
	end->port = mvt_load16 (l4 + at);
	end->proto = (uint8_t) proto;
	end->has_port = 1;
}

/* An end of the packet that the ICMP error at p quotes; it may be cut short after its addresses. */
static bool
read_quoted (const uint8_t *p, uint32_t header, uint32_t len, bool source, mvt_dispatch_end_t *end)
{
	const uint8_t *quoted = p + header + 8;
	uint32_t quoted_header;

	if (len - header < 8)
		return false;
	len -= header + 8;
	quoted_header = header_len (quoted, len);
	if (quoted_header == 0)
		return false;
	*end = (mvt_dispatch_end_t){ .addr = mvt_load32 (quoted + (source ? 12 : 16)),
				     .proto = MVT_PROTO_OTHER };
	read_port (quoted, quoted_header, len, source, end);
	return true;
}

static bool
is_icmp_error (const uint8_t *p, uint32_t header, uint32_t len, bool fragment)
{
	return p[9] == MVT_IP_ICMP && !fragment && len > header && mvt_icmp_is_error (p[header]);
}

/* ---- the two directions ---- */

/* Owner of an external end, or MVT_NO_INSTANCE. */
static uint16_t
owner_of (const mvt_shared_t *shared, mvt_views_t *views, const mvt_policy_set_t *policy,
	  uint32_t slot, const mvt_dispatch_end_t *end)
{
	const mvt_directory_t *dir = shared->directory;
	uint32_t inside;

	if (mvt_likely (slot != MVT_NONE))
	{
		if (!end->has_port || !dir || slot >= dir->n_slots)
			return MVT_NO_INSTANCE;
		return mvt_directory_owner (dir, mvt_directory_block (dir, slot, end->port));
	}
	if (mvt_policy_has_statics (policy) &&
	    mvt_policy_static_out2in_by (policy, views, end->addr, &inside))
	{
		const mvt_home_t *rules =
			atomic_load_explicit (&shared->rules, memory_order_acquire);
		if (rules)
			return mvt_home_instance_by (rules, views, 0, inside, end->port,
						     end->proto);
	}
	return MVT_NO_INSTANCE;
}

static uint16_t
dispatch_out2in (const mvt_shared_t *shared, mvt_views_t *views, mvt_pkt_t *pkt, uint32_t header,
		 uint32_t len)
{
	const mvt_policy_set_t *policy =
		atomic_load_explicit (&shared->policy, memory_order_acquire);
	const uint8_t *p = pkt->l3;
	bool fragment = (mvt_load16 (p + 6) & 0x3fff) != 0;
	mvt_dispatch_end_t end = { .addr = mvt_load32 (p + 16), .proto = MVT_PROTO_OTHER };
	uint32_t slot;

	if (mvt_unlikely (!policy))
		return MVT_NO_INSTANCE;
	if (mvt_unlikely (is_icmp_error (p, header, len, fragment)))
	{
		if (!read_quoted (p, header, len, true, &end))
			return MVT_NO_INSTANCE;
	}
	else if (mvt_likely (!fragment))
		read_port (p, header, len, false, &end);
	else if (pkt->flags & MVT_PKT_PORT_KNOWN)
	{
		end.port = pkt->l4_port;
		end.has_port = 1;
	}

	slot = mvt_policy_slot_of (policy, end.addr, NULL);
	if (mvt_unlikely (fragment && slot != MVT_NONE && !end.has_port))
	{
		pkt->flags |= MVT_PKT_FRAG_HOME;
		return mvt_dispatch_fragment (shared, mvt_load32 (p + 12), end.addr,
					      mvt_load16 (p + 4), p[9]);
	}
	return owner_of (shared, views, policy, slot, &end);
}

/* Fragments go by the source alone, the first one too although it has ports: where endpoints are
 * pinned, the first and the later ones would part. */
static uint16_t
dispatch_in2out (const mvt_home_t *rules, mvt_views_t *views, const mvt_pkt_t *pkt, uint32_t header,
		 uint32_t len)
{
	const uint8_t *p = pkt->l3;
	bool fragment = (mvt_load16 (p + 6) & 0x3fff) != 0;
	mvt_dispatch_end_t end = { .addr = mvt_load32 (p + 12), .proto = MVT_PROTO_OTHER };

	if (mvt_unlikely (is_icmp_error (p, header, len, fragment)))
	{
		if (!read_quoted (p, header, len, false, &end))
			return MVT_NO_INSTANCE;
	}
	else if (!fragment && mvt_home_has_pins (rules))
		read_port (p, header, len, true, &end);
	return mvt_home_instance_by (rules, views, 0, end.addr, end.port, end.proto);
}

uint16_t
mvt_dispatch_by (const mvt_shared_t *shared, mvt_views_t *views, mvt_pkt_t *pkt)
{
	const mvt_home_t *rules = NULL;
	uint16_t instance = MVT_NO_INSTANCE;
	uint32_t header, len, total;

	if (pkt->dir == MVT_IN2OUT)
	{
		rules = atomic_load_explicit (&shared->rules, memory_order_acquire);
		if (mvt_likely (rules && mvt_home_head (rules)->single != MVT_NONE))
			return (uint16_t) mvt_home_head (rules)->single;
	}
	len = pkt->len;
	header = header_len (pkt->l3, len);
	if (mvt_likely (header != 0))
	{
		/* what follows the packet in the buffer is not part of it */
		total = mvt_load16 (pkt->l3 + 2);
		if (total < len)
			len = total;
		if (mvt_unlikely (len < header))
			instance = MVT_NO_INSTANCE;
		else if (pkt->dir != MVT_IN2OUT)
			instance = dispatch_out2in (shared, views, pkt, header, len);
		else if (rules)
			instance = dispatch_in2out (rules, views, pkt, header, len);
	}
	return mvt_likely (instance < MVT_HOME_INSTANCES) ? instance : any_active (shared, pkt);
}
