/* SPDX-License-Identifier: Apache-2.0
 * Every vector of tests/vectors through the core: with each number of instances that it allows,
 * dispatched as a host does and by a dispatcher that is always wrong, with housekeeping at every
 * step and with none. The verdict, the side and every byte must be the same each time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>

#include "nat44_world.h"
#include "vector_parse.h"

#define LATE_MAX 256

/* How a vector is run. */
typedef struct
{
	uint16_t instances;
	bool misdirect; /* begin at a random instance, whatever the dispatcher says */
	bool sweep;	/* housekeeping after every wait */
} way_t;

typedef struct
{
	built_t built;
	const spec_t *spec;
	uint32_t piece; /* from 0 */
	uint8_t dir;	/* as it came */
} sent_t;

typedef struct
{
	const vector_t *v;
	way_t way;
	world_t world;
	uint32_t values[VECTOR_VARIABLES];
	bool bound[VECTOR_VARIABLES];
	uint64_t random;
	const step_t *step;
	sent_t *sent; /* by all steps so far: held fragments are still used; index: pkt.ref */
	uint32_t n_sent;
	mvt_pkt_t late[LATE_MAX];
	uint32_t late_at, late_n;
} run_t;

static const char *
verdict_name (uint8_t verdict)
{
	static const char *const names[] = { "none",	"translated", "passed",
					     "dropped", "handoff",    "held" };
	return names[verdict];
}

#define RUN_FAIL(run, ...)                                                                        \
	do                                                                                        \
	{                                                                                         \
		char text_[256];                                                                  \
		snprintf (text_, sizeof text_, __VA_ARGS__);                                      \
		fail_msg ("%s, line %d (%u instances%s%s): %s", (run)->v->name,                   \
			  (run)->step ? (run)->step->line : (run)->v->line, (run)->way.instances, \
			  (run)->way.misdirect ? ", misdirected" : "",                            \
			  (run)->way.sweep ? ", swept" : "", text_);                              \
	} while (0)

/* ---- variables and flows ---- */

static uint32_t
value_of (const run_t *run, term_t term)
{
	if (term.kind == TERM_VARIABLE && !run->bound[term.value])
		RUN_FAIL (run, "%s has no value yet", run->v->variables[term.value]);
	return term.kind == TERM_VARIABLE ? run->values[term.value] : term.value;
}

static void
bind (run_t *run, term_t term, uint32_t value)
{
	if (term.kind != TERM_VARIABLE || run->bound[term.value])
		return;
	run->bound[term.value] = true;
	run->values[term.value] = value;
}

static flow_t
flow_of (const run_t *run, const spec_t *s, const ends_t *ends)
{
	flow_t flow = { .src = value_of (run, ends->src.addr),
			.dst = value_of (run, ends->dst.addr) };
	term_t sport = ends->src.port, dport = ends->dst.port;

	if (s->ip_proto == 1) /* one id, written on either side */
	{
		if (sport.kind == TERM_NONE)
			sport = dport;
		dport = sport;
	}
	flow.sport = sport.kind == TERM_NONE ? 0 : (uint16_t) value_of (run, sport);
	flow.dport = dport.kind == TERM_NONE ? 0 : (uint16_t) value_of (run, dport);
	return flow;
}

/* The flows of a packet and of what it embeds, three deep at most. */
static void
flows_in (const run_t *run, const spec_t *s, flow_t flows[3])
{
	if (s->raw_len)
		return;
	for (uint32_t i = 0; s && i < 3; i++, s = s->about)
		flows[i] = flow_of (run, s, &s->ends);
}

/* What the expected endpoints leave open is read from the packet, once. */
static void
bind_ends (run_t *run, const ends_t *ends, const uint8_t *p, uint32_t len, bool has_ports)
{
	const uint8_t *l4 = p + vector_l4 (p);
	uint32_t readable = (uint32_t) (p + len - l4);

	bind (run, ends->src.addr, mvt_load32 (p + 12));
	bind (run, ends->dst.addr, mvt_load32 (p + 16));
	if (!has_ports)
		return;
	if (p[9] == 1 && readable >= 6)
	{
		bind (run, ends->src.port, mvt_load16 (l4 + 4));
		bind (run, ends->dst.port, mvt_load16 (l4 + 4));
	}
	else if (p[9] != 1 && readable >= 4)
	{
		bind (run, ends->src.port, mvt_load16 (l4));
		bind (run, ends->dst.port, mvt_load16 (l4 + 2));
	}
}

/* ---- packets ---- */

/* The packet as it should leave, byte for byte. */
static void
check_bytes (run_t *run, const want_t *want, const mvt_pkt_t *pkt)
{
	const spec_t *s = run->sent[pkt->ref].spec;
	uint32_t piece = run->sent[pkt->ref].piece;
	flow_t in[3], out[3];
	built_t expected[VECTOR_PIECES];

	flows_in (run, s, in);
	memcpy (out, in, sizeof out);
	if (want->verdict == MVT_VERDICT_TRANSLATED && !s->raw_len)
	{
		bind_ends (run, &want->ends, pkt->l3, pkt->len, piece == 0);
		out[0] = flow_of (run, s, &want->ends);
		if (!want->has_about != !s->about)
			RUN_FAIL (run, "packet and expectation must both say `about`");
		if (s->about)
		{
			const uint8_t *embedded = pkt->l3 + vector_l4 (pkt->l3) + 8;
			bind_ends (run, &want->about, embedded,
				   (uint32_t) (pkt->l3 + pkt->len - embedded), true);
			out[1] = flow_of (run, s->about, &want->about);
		}
	}
	uint32_t n = vector_build (s, out, &in[0], &out[0], expected);
	if (pkt->len != expected[piece].len)
		RUN_FAIL (run, "%u bytes, not %u", pkt->len, expected[piece].len);
	for (uint32_t i = 0; i < pkt->len; i++)
		if (pkt->l3[i] != expected[piece].p[i])
			RUN_FAIL (run,
				  "byte %u is %02x, not %02x (source %08x:%u, destination "
				  "%08x:%u)",
				  i, pkt->l3[i], expected[piece].p[i], mvt_load32 (pkt->l3 + 12),
				  mvt_load16 (pkt->l3 + vector_l4 (pkt->l3)),
				  mvt_load32 (pkt->l3 + 16),
				  mvt_load16 (pkt->l3 + vector_l4 (pkt->l3) + 2));
	for (uint32_t i = 0; i < n; i++)
		free (expected[i].p);
}

static const char *
reason_name (uint8_t verdict, uint8_t reason)
{
	if (verdict == MVT_VERDICT_DROPPED)
		return mvt_drop_name (reason);
	return verdict == MVT_VERDICT_PASSED ? mvt_pass_name (reason) : "";
}

static void
check_packet_is (run_t *run, const want_t *want, const mvt_pkt_t *pkt)
{
	bool reasoned = want->verdict == MVT_VERDICT_DROPPED || want->verdict == MVT_VERDICT_PASSED;

	if (pkt->verdict != want->verdict || (reasoned && pkt->reason != want->reason))
		RUN_FAIL (run, "%s %s, not %s %s", verdict_name (pkt->verdict),
			  reason_name (pkt->verdict, pkt->reason), verdict_name (want->verdict),
			  reason_name (want->verdict, want->reason));
	if (want->verdict == MVT_VERDICT_TRANSLATED)
	{
		uint8_t leaves = want->side == SIDE_ACROSS    ? run->sent[pkt->ref].dir
				 : want->side == SIDE_OUTSIDE ? MVT_IN2OUT
							      : MVT_OUT2IN;
		if (pkt->dir != leaves)
			RUN_FAIL (run, "it leaves %s",
				  pkt->dir == MVT_IN2OUT ? "outside" : "inside");
	}
	if (want->verdict == MVT_VERDICT_TRANSLATED || want->verdict == MVT_VERDICT_PASSED)
		check_bytes (run, want, pkt);
}

static void
collect_late (run_t *run)
{
	if (run->late_at == run->late_n)
		run->late_at = run->late_n = 0;
	run->late_n += world_late (&run->world, run->late + run->late_n, LATE_MAX - run->late_n);
}

static mvt_pkt_t
send_packet (run_t *run, built_t built, const spec_t *s, uint32_t piece, uint8_t dir)
{
	world_t *w = &run->world;

	run->sent = realloc (run->sent, (run->n_sent + 1) * sizeof *run->sent);
	run->sent[run->n_sent] = (sent_t){ built, s, piece, dir };
	mvt_pkt_t pkt = build_view (&built, dir, 0);
	pkt.ref = run->n_sent++;
	uint16_t to = mvt_dispatch (&w->shared, &pkt);
	/* fragments must meet at one store; a host's rules for them may not differ by packet */
	if (run->way.misdirect && !s->cut)
		to = (uint16_t) (build_random (&run->random) % w->n);
	world_carry (w, &pkt, to);
	if (w->hops > (s->cut ? 3 : 2))
		RUN_FAIL (run, "handed over %u times", w->hops);
	return pkt;
}

static void
step_packet (run_t *run)
{
	const step_t *step = run->step;
	const spec_t *s = step->spec;
	flow_t in[3], out = { 0 };
	built_t built[VECTOR_PIECES];

	flows_in (run, s, in);
	if (s->zero_sum == ZERO_SUM_OUT)
		out = flow_of (run, s, &step->want.ends);
	uint32_t n = vector_build (s, in, &in[0], &out, built), done = 0, held = 0;
	for (uint32_t k = 0; k < n; k++)
	{
		uint32_t i = s->reverse ? n - 1 - k : k;
		if (s->piece && i + 1 != s->piece)
		{
			free (built[i].p);
			continue;
		}
		mvt_pkt_t pkt = send_packet (run, built[i], s, i, step->dir);
		collect_late (run);
		if (pkt.verdict == MVT_VERDICT_HELD && step->want.verdict != MVT_VERDICT_HELD)
		{
			held++;
			continue;
		}
		check_packet_is (run, &step->want, &pkt);
		done++;
	}
	if (s->piece && !done && !held)
		RUN_FAIL (run, "there is no piece %u", s->piece);
	/* what waited for the first piece has come by now */
	for (; held; held--)
	{
		if (run->late_at == run->late_n)
			RUN_FAIL (run, "%u pieces are still held", held);
		check_packet_is (run, &step->want, &run->late[run->late_at++]);
	}
}

/* ---- the other steps ---- */

/* Housekeeping until a whole round is done. */
static void
settle (run_t *run)
{
	world_t *w = &run->world;
	for (uint16_t i = 0; i < w->n; i++)
	{
		const mvt_counters_t *c = mvt_nat44_counters_any (w->nat[i]);
		uint64_t rounds = c->sweep_rounds;
		while (mvt_nat44_background (w->nat[i], w->now, 256) ||
		       c->sweep_rounds < rounds + 2)
			;
	}
	collect_late (run);
}

static uint64_t
counter (const run_t *run, const char *name)
{
	world_t *w = (world_t *) (uintptr_t) &run->world;
#define _(field, text)                  \
	if (strcmp (name, #field) == 0) \
		return WORLD_SUM (w, field);
	foreach_mvt_counter foreach_mvt_gauge
#undef _
		RUN_FAIL (run, "no counter is called %s", name);
	return 0;
}

static void
step_expect (run_t *run)
{
	const step_t *s = run->step;
	uint64_t value;

	switch (s->kind)
	{
	case STEP_COUNT:
		settle (run);
		value = counter (run, s->name);
		if (value != s->count)
			RUN_FAIL (run, "%s is %llu, not %llu", s->name, (unsigned long long) value,
				  (unsigned long long) s->count);
		break;
	case STEP_RANGE:
		value = value_of (run, s->a);
		if (value < value_of (run, s->b) || value > value_of (run, s->c))
			RUN_FAIL (run, "%s is %08x", run->v->variables[s->a.value],
				  (unsigned) value);
		break;
	default:
		if ((value_of (run, s->a) == value_of (run, s->b)) != (s->kind == STEP_EQUAL))
			RUN_FAIL (run, "%s is %08x", run->v->variables[s->a.value],
				  value_of (run, s->a));
	}
}

static void
step_late (run_t *run)
{
	if (run->late_at == run->late_n)
		settle (run);
	if (run->late_at == run->late_n)
		RUN_FAIL (run, "nothing came out of the fragment store");
	check_packet_is (run, &run->step->want, &run->late[run->late_at++]);
}

static void
run_steps (run_t *run)
{
	for (uint32_t i = 0; i < run->v->n_steps; i++)
	{
		run->step = &run->v->steps[i];
		switch (run->step->kind)
		{
		case STEP_PACKET:
			step_packet (run);
			break;
		case STEP_LATE:
			step_late (run);
			break;
		case STEP_WAIT:
			run->world.now += (uint32_t) run->step->count;
			if (run->way.sweep)
				settle (run);
			break;
		default:
			step_expect (run);
		}
		world_verify (&run->world);
	}
	if (run->late_at != run->late_n)
		RUN_FAIL (run, "a fragment came out of the store that no `late` line expects");
}

/* ---- a run ---- */

/* At the owner of its external endpoint; returns the pin that brings its packets there. */
static mvt_home_pin_t
add_static (run_t *run, const static_port_t *s)
{
	world_t *w = &run->world;
	uint8_t proto = mvt_proto_of (s->ip_proto);
	mvt_err_t err = MVT_ERR_NOT_OWNER;
	uint16_t owner = 0;
	mvt_job_t job = { .op = MVT_JOB_STATIC_ADD };

	job.inside_endpoint = (mvt_endpoint_t){ .addr = s->inside.addr.value,
						.port = (uint16_t) s->inside.port.value,
						.proto = proto };
	job.external_endpoint = (mvt_endpoint_t){ .addr = s->outside.addr.value,
						  .port = (uint16_t) s->outside.port.value,
						  .proto = proto };
	for (uint16_t i = 0; i < w->n && err == MVT_ERR_NOT_OWNER; i++)
	{
		owner = i;
		while ((err = mvt_nat44_job (w->nat[i], &job, w->now)) == MVT_ERR_AGAIN)
			;
	}
	if (err != MVT_OK)
		RUN_FAIL (run, "static mapping: %s", mvt_err_text (err));
	return (mvt_home_pin_t){ .endpoint = job.inside_endpoint, .instance = owner };
}

static void
run_start (run_t *run)
{
	const vector_t *v = run->v;
	world_t *w = &run->world;

	world_defaults (w);
	w->n = w->active = run->way.instances;
	w->n_addresses = 1u << v->pool_bits;
	w->block_size = v->block_size;
	w->first_port = (uint16_t) v->first_port;
	w->last_port = (uint16_t) v->last_port;
	w->max_mappings = v->max_mappings;
	w->max_sessions = v->max_sessions;
	w->max_hosts = v->max_hosts;
	w->hold_seconds = v->hold_seconds;
	w->by_host = v->by_block;
	w->policy = v->policy;
	memcpy (w->exempt, v->exempt, sizeof w->exempt);
	w->n_exempt = v->n_exempt;
	memcpy (w->statics, v->rules, sizeof w->statics);
	w->n_statics = v->n_rules;
	world_start (w);

	mvt_home_pin_t pins[VECTOR_STATICS];
	for (uint32_t i = 0; i < v->n_ports; i++)
		pins[i] = add_static (run, &v->ports[i]);
	if (v->n_ports)
		world_publish_home (w, NULL, 0, pins, v->n_ports, false);
}

static void
run_vector (const vector_t *v, way_t way)
{
	run_t run = { .v = v, .way = way, .random = way.instances };
	size_t before = counted_mem_bytes;

	run_start (&run);
	run_steps (&run);
	world_stop (&run.world);
	for (uint32_t i = 0; i < run.n_sent; i++)
		free (run.sent[i].built.p);
	free (run.sent);
	assert_int_equal (counted_mem_bytes, before);
}

static void
test_vector (void **state)
{
	const vector_t *v = *state;
	for (uint16_t n = 1; n <= 4; n++)
		for (unsigned how = 0; v->instances[n] && how < (n > 1 ? 4 : 2); how++)
			run_vector (v, (way_t){ n, (how & 2) != 0, (how & 1) != 0 });
}

/* ---- the reasons ---- */

static bool
is_shown (uint8_t verdict, unsigned reason)
{
	for (uint32_t i = 0; i < vector_step_count; i++)
		if (vector_steps[i].want.verdict == verdict &&
		    vector_steps[i].want.reason == reason)
			return true;
	return false;
}

static void
test_every_reason_is_shown (void **state)
{
	/* what no sequence of packets can bring about with a consistent home map */
	static const struct
	{
		mvt_drop_t reason;
		const char *why;
	} never[] = {
		{ MVT_DROP_INDEX_FULL, "needs keys that collide under a secret: test_index" },
		{ MVT_DROP_HANDOFF_LOOP, "needs home maps that contradict each other" },
		{ MVT_DROP_HANDOFF_CONGESTION, "the host's rings, not the core: engine tests" },
		{ MVT_DROP_NO_OWNER, "needs a block that belongs to nobody: takeover" },
	};
	(void) state;
	for (unsigned reason = 0; reason < MVT_DROP_N; reason++)
	{
		bool excused = false;
		for (unsigned i = 0; i < sizeof never / sizeof never[0]; i++)
			excused |= never[i].reason == reason;
		if (is_shown (MVT_VERDICT_DROPPED, reason) == excused)
			fail_msg ("drop reason %s: %s", mvt_drop_name (reason),
				  excused ? "shown, so needs no excuse" : "in no vector");
	}
	for (unsigned reason = 0; reason < MVT_PASS_N; reason++)
		if (!is_shown (MVT_VERDICT_PASSED, reason))
			fail_msg ("pass reason %s: in no vector", mvt_pass_name (reason));
}

/* ---- all of them ---- */

static int
by_name_order (const struct dirent **a, const struct dirent **b)
{
	return strcmp ((*a)->d_name, (*b)->d_name);
}

static int
is_vector_file (const struct dirent *entry)
{
	const char *dot = strrchr (entry->d_name, '.');
	return dot && strcmp (dot, ".vec") == 0;
}

int
main (int argc, char **argv)
{
	static struct CMUnitTest tests[VECTOR_MAX + 1];
	struct dirent **files;
	char folder[512], path[1024];

	snprintf (folder, sizeof folder, "%s", argc > 1 ? argv[1] : __FILE__);
	if (argc < 2) /* tests/c/test_vectors.c -> tests/vectors */
		snprintf (strstr (folder, "/c/test_vectors.c"), 16, "/vectors");
	int n = scandir (folder, &files, is_vector_file, by_name_order);
	for (int i = 0; i < n; i++)
	{
		snprintf (path, sizeof path, "%s/%s", folder, files[i]->d_name);
		read_vectors (path);
		free (files[i]);
	}
	if (n <= 0 || vector_count == 0)
	{
		fprintf (stderr, "%s: no vectors\n", folder);
		return 2;
	}
	free (files);
	for (uint32_t i = 0; i < vector_count; i++)
		tests[i] = (struct CMUnitTest){ .name = vector_all[i].name,
						.test_func = test_vector,
						.initial_state = &vector_all[i] };
	tests[vector_count] = (struct CMUnitTest) cmocka_unit_test (test_every_reason_is_shown);
	return _cmocka_run_group_tests ("vectors", tests, vector_count + 1, NULL, NULL);
}
