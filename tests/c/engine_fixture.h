/* SPDX-License-Identifier: Apache-2.0
 * Engines for tests: a small pool, one policy, and packets through it. */
#ifndef ENGINE_FIXTURE_H
#define ENGINE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "engine.h"
#include "packet_build.h"

#define FX_POOL	  0xc6336400u /* 198.51.100.0 */
#define FX_INSIDE 0x0a000000u /* 10.0.0.0/8 */
#define FX_REMOTE 0xcb007100u /* 203.0.113.0 */

enum
{
	ICMP = 1,
	TCP = 6,
	UDP = 17
};

/* A policy description and the memory that it points to. */
typedef struct
{
	mvt_policy_t policy;
	mvt_policy_rule_t inside;
	mvt_pool_run_t runs[4];
	uint32_t slots[1024];
	mvt_policy_desc_t desc;
} fx_policy_t;

/* Addresses FX_POOL + first ... of slots first ... */
static inline void
fx_policy (fx_policy_t *p, uint64_t generation, uint32_t first, uint32_t n)
{
	memset (p, 0, sizeof *p);
	p->policy = (mvt_policy_t){ .timeout = { 300, 7440, 240, 6, 60 },
				    .n_slots = n,
				    .max_blocks_per_host = 64 };
	for (uint32_t i = 0; i < n; i++)
		p->slots[i] = first + i;
	p->inside = (mvt_policy_rule_t){ .inside = { FX_INSIDE, 8, { 0 } } };
	p->runs[0] = (mvt_pool_run_t){ .first = FX_POOL + first, .count = n, .slot = first };
	p->desc = (mvt_policy_desc_t){ .generation = generation,
				       .policies = &p->policy,
				       .n_policies = 1,
				       .slots = p->slots,
				       .n_slots = n,
				       .inside = &p->inside,
				       .n_inside = 1,
				       .runs = p->runs,
				       .n_runs = 1 };
}

static inline mvt_engine_config_t
fx_config (fx_policy_t *policy, uint32_t initial, uint32_t max)
{
	return (mvt_engine_config_t){ .instances_initial = initial,
				      .instances_max = max,
				      .max_mappings = 65536 * 2,
				      .max_sessions = 4096,
				      .max_hosts = 65536,
				      .block_size = 64,
				      .fragment_timeout = 2,
				      .log = 2,
				      .stepped = 1,
				      .policy = &policy->desc,
				      .seed = { 1, 2, 3, 4 } };
}

static inline mvt_engine_t *
fx_new (const mvt_engine_config_t *config)
{
	char err[MVT_ENGINE_ERR_LEN];
	int code;
	mvt_engine_t *engine = mvt_engine_new (config, &code, err);
	if (!engine)
		fprintf (stderr, "%s\n", err);
	assert_non_null (engine);
	assert_int_equal (code, MVT_OK);
	return engine;
}

static inline mvt_engine_packet_t
fx_packet (const built_t *b, uint8_t dir)
{
	return (mvt_engine_packet_t){ .data = b->p, .len = b->len, .dir = dir };
}

/* One packet through a stepped engine. */
static inline mvt_engine_packet_t
fx_send (mvt_engine_t *engine, const built_t *b, uint8_t dir)
{
	mvt_engine_packet_t packet = fx_packet (b, dir);
	assert_int_equal (mvt_engine_step (engine, &packet, 1), 0);
	return packet;
}

/* A UDP packet of an inside host; returns its verdict, *ext its external endpoint. */
static inline mvt_engine_packet_t
fx_udp (mvt_engine_t *engine, uint32_t host, uint16_t port, mvt_endpoint_t *ext)
{
	build_t b = { .src = FX_INSIDE + host,
		      .dst = FX_REMOTE + 1,
		      .sport = port,
		      .dport = 53,
		      .ip_proto = UDP,
		      .payload = 8 };
	built_t p = build_packet (&b);
	mvt_engine_packet_t packet = fx_send (engine, &p, MVT_IN2OUT);
	if (ext)
		*ext = (mvt_endpoint_t){ .addr = mvt_load32 (p.p + 12),
					 .port = mvt_load16 (p.p + 20),
					 .proto = MVT_PROTO_UDP };
	free (p.p);
	return packet;
}

/* An answer to an external endpoint; *in is where it went. */
static inline mvt_engine_packet_t
fx_answer (mvt_engine_t *engine, const mvt_endpoint_t *ext, mvt_endpoint_t *in)
{
	build_t b = { .src = FX_REMOTE + 1,
		      .dst = ext->addr,
		      .sport = 53,
		      .dport = ext->port,
		      .ip_proto = UDP,
		      .payload = 8 };
	built_t p = build_packet (&b);
	mvt_engine_packet_t packet = fx_send (engine, &p, MVT_OUT2IN);
	if (in)
		*in = (mvt_endpoint_t){ .addr = mvt_load32 (p.p + 16),
					.port = mvt_load16 (p.p + 22),
					.proto = MVT_PROTO_UDP };
	free (p.p);
	return packet;
}

/* Index of a counter or gauge in a snapshot, by name. */
static inline uint32_t
fx_index (const char *want)
{
	static const char *const names[] = {
#define _(name, text) #name,
		foreach_mvt_counter foreach_mvt_gauge
#undef _
	};
	for (uint32_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strcmp (names[i], want) == 0)
			return i;
	fail_msg ("no counter %s", want);
	return 0;
}

static inline mvt_instance_snapshot_t
fx_snapshot (mvt_engine_t *engine, uint32_t instance)
{
	mvt_instance_snapshot_t all[MVT_HOME_INSTANCES];
	assert_true (mvt_engine_snapshot (engine, all, MVT_HOME_INSTANCES) > instance);
	return all[instance];
}

static inline uint64_t
fx_count (mvt_engine_t *engine, uint32_t instance, const char *name)
{
	return fx_snapshot (engine, instance).counters[fx_index (name)];
}

static inline uint64_t
fx_sum (mvt_engine_t *engine, const char *name)
{
	mvt_instance_snapshot_t all[MVT_HOME_INSTANCES];
	uint32_t n = mvt_engine_snapshot (engine, all, MVT_HOME_INSTANCES);
	uint64_t sum = 0;
	for (uint32_t i = 0; i < n; i++)
		sum += all[i].counters[fx_index (name)];
	return sum;
}

static inline uint64_t
fx_dropped (mvt_engine_t *engine, mvt_drop_t reason)
{
	mvt_instance_snapshot_t all[MVT_HOME_INSTANCES];
	uint32_t n = mvt_engine_snapshot (engine, all, MVT_HOME_INSTANCES);
	uint64_t sum = 0;
	for (uint32_t i = 0; i < n; i++)
		sum += all[i].dropped[reason];
	return sum;
}

/* A home map of one instance for everything and prefixes of other instances. */
static inline int
fx_home (mvt_engine_t *engine, uint64_t version, uint16_t all, const mvt_home_range_t *more,
	 uint32_t n_more, int rules_too)
{
	mvt_home_range_t ranges[16] = { { .table = MVT_NONE, .instance = all } };
	mvt_home_desc_t desc = { .version = version, .ranges = ranges, .n_ranges = 1 + n_more };
	int rc;
	for (uint32_t i = 0; i < n_more; i++)
		ranges[1 + i] = more[i];
	rc = mvt_engine_set_home (engine, &desc);
	return rc || !rules_too ? rc : mvt_engine_set_rules (engine, &desc);
}

#endif /* ENGINE_FIXTURE_H */
