/* SPDX-License-Identifier: Apache-2.0
 * The fragment store: order of any kind, limits, time, overlaps, and that no packet is lost or
 * given back twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "counted_mem.h"
#include "mvt_crc32c.h"
#include "mvt_frag.h"
#include "packet_build.h"

#define SRC 0xcb007101u
#define DST 0xc6336401u

static mvt_frag_t *
store (uint32_t records, uint32_t held, uint32_t each, uint32_t timeout)
{
	mvt_frag_config_t config = { records, held, each, timeout, { 1, 2 } };
	mvt_frag_t *f = NULL;

	assert_int_equal (mvt_frag_new (&config, &counted_mem, &f), MVT_OK);
	assert_int_equal (mvt_frag_verify (f), 0);
	return f;
}

static void
done (mvt_frag_t *f)
{
	assert_int_equal (mvt_frag_verify (f), 0);
	mvt_frag_remove (f);
	assert_int_equal (counted_mem_bytes, 0);
}

/* Fragment number n of a datagram of 1,000-byte fragments; its parse as mvt_packet_parse has it. */
static mvt_parsed_t
piece (uint16_t ip_id, unsigned n, bool more, uint16_t port)
{
	return (mvt_parsed_t){ .src = SRC,
			       .dst = DST,
			       .sport = n ? 0 : 53,
			       .dport = n ? 0 : port,
			       .l4 = 20,
			       .l4_len = 1000,
			       .frag_off = (uint16_t) (n * 1000),
			       .ip_id = ip_id,
			       .ip_proto = 17,
			       .proto = MVT_PROTO_UDP,
			       .fragment = 1,
			       .has_l4 = n == 0,
			       .more = more };
}

static mvt_frag_verdict_t
later (mvt_frag_t *f, uint16_t ip_id, unsigned n, bool more, uint64_t ref, uint32_t now,
       mvt_pkt_t *pkt)
{
	mvt_parsed_t parsed = piece (ip_id, n, more, 0);

	*pkt = (mvt_pkt_t){ .ref = ref, .len = 1020, .dir = MVT_OUT2IN, .to = 99 };
	mvt_frag_verdict_t verdict = mvt_frag_process (f, pkt, &parsed, now);
	assert_int_equal (mvt_frag_verify (f), 0);
	return verdict;
}

static bool
first (mvt_frag_t *f, uint16_t ip_id, uint16_t port, uint16_t to, uint32_t now, mvt_drop_t *drop)
{
	mvt_parsed_t parsed = piece (ip_id, 0, true, port);
	mvt_pkt_t pkt = { .len = 1020, .dir = MVT_OUT2IN };
	bool good = mvt_frag_first (f, &pkt, &parsed, to, now, drop);

	assert_int_equal (mvt_frag_verify (f), 0);
	return good;
}

static void
in_order (void **unused)
{
	mvt_frag_t *f = store (0, 0, 0, 0);
	mvt_drop_t drop;
	mvt_pkt_t pkt;

	(void) unused;
	assert_true (first (f, 7, 5353, 3, 100, &drop));
	for (unsigned n = 1; n < 45; n++)
	{
		assert_int_equal (later (f, 7, n, n < 44, n, 100, &pkt), MVT_FRAG_KNOWN);
		assert_int_equal (pkt.l4_port, 5353);
		assert_int_equal (pkt.to, 3);
		assert_true (pkt.flags & MVT_PKT_PORT_KNOWN);
	}
	assert_int_equal (mvt_frag_held (f), 0);
	assert_int_equal (mvt_frag_take (f, &pkt, 1), 0);
	done (f);
}

/* RFC 4787 REQ-14: 45 fragments, the last one first. */
static void
in_reverse_order (void **unused)
{
	mvt_frag_t *f = store (0, 0, 0, 0);
	mvt_drop_t drop;
	mvt_pkt_t pkt, out[64];

	(void) unused;
	for (unsigned n = 44; n > 0; n--)
	{
		assert_int_equal (later (f, 7, n, n < 44, n, 100, &pkt), MVT_FRAG_HELD);
		assert_int_equal (pkt.verdict, MVT_VERDICT_HELD);
	}
	assert_int_equal (mvt_frag_held (f), 44);
	assert_int_equal (mvt_frag_ready (f), 0);
	assert_true (first (f, 7, 5353, 3, 101, &drop));
	assert_int_equal (mvt_frag_ready (f), 44);
	assert_int_equal (mvt_frag_take (f, out, 10), 10);
	assert_int_equal (mvt_frag_verify (f), 0);
	assert_int_equal (mvt_frag_take (f, out + 10, 54), 34);
	for (unsigned i = 0; i < 44; i++)
	{
		assert_int_equal (out[i].ref, 44 - i); /* as they came */
		assert_int_equal (out[i].verdict, MVT_VERDICT_NONE);
		assert_int_equal (out[i].l4_port, 5353);
		assert_int_equal (out[i].to, 3);
		assert_int_equal (out[i].len, 1020);
		assert_true (out[i].flags & MVT_PKT_PORT_KNOWN);
	}
	assert_int_equal (mvt_frag_held (f), 0);
	done (f);
}

static void
first_in_the_middle (void **unused)
{
	mvt_frag_t *f = store (0, 0, 0, 0);
	mvt_drop_t drop;
	mvt_pkt_t pkt;

	(void) unused;
	assert_int_equal (later (f, 7, 2, false, 2, 100, &pkt), MVT_FRAG_HELD);
	assert_true (first (f, 7, 80, 0, 100, &drop));
	assert_int_equal (later (f, 7, 1, true, 1, 100, &pkt), MVT_FRAG_KNOWN);
	assert_int_equal (mvt_frag_take (f, &pkt, 1), 1);
	assert_int_equal (pkt.ref, 2);
	done (f);
}

static void
source_port_in2out_destination_port_out2in (void **unused)
{
	(void) unused;
	for (unsigned dir = 0; dir < 2; dir++)
	{
		mvt_frag_t *f = store (0, 0, 0, 0);
		mvt_parsed_t a = piece (7, 0, true, 5353), b = piece (7, 1, false, 0);
		mvt_pkt_t pkt = { .dir = (uint8_t) dir };
		mvt_drop_t drop;

		assert_true (mvt_frag_first (f, &pkt, &a, 1, 0, &drop));
		assert_int_equal (mvt_frag_process (f, &pkt, &b, 0), MVT_FRAG_KNOWN);
		assert_int_equal (pkt.l4_port, dir == MVT_IN2OUT ? 53 : 5353);
		done (f);
	}
}

/* Every part of the key tells datagrams apart. */
static void
strangers_do_not_mix (void **unused)
{
	mvt_frag_t *f = store (0, 0, 0, 0);
	mvt_drop_t drop;
	mvt_parsed_t base = piece (7, 1, true, 0);

	(void) unused;
	assert_true (first (f, 7, 5353, 3, 100, &drop));
	for (unsigned i = 0; i < 6; i++)
	{
		mvt_parsed_t parsed = base;
		mvt_pkt_t pkt = { .dir = i == 5 ? MVT_IN2OUT : MVT_OUT2IN };
		parsed.src += i == 1;
		parsed.dst += i == 2;
		parsed.ip_id = (uint16_t) (parsed.ip_id + (i == 3));
		parsed.ip_proto = i == 4 ? 6 : 17;
		assert_int_equal (mvt_frag_process (f, &pkt, &parsed, 100),
				  i == 0 ? MVT_FRAG_KNOWN : MVT_FRAG_HELD);
	}
	assert_int_equal (mvt_frag_records (f), 6);
	done (f);
}

/* Expired iff now - born > timeout, whatever happened in between. */
static void
time_is_counted_from_the_first_packet (void **unused)
{
	mvt_frag_t *f = store (0, 0, 0, 5);
	mvt_drop_t drop;
	mvt_pkt_t pkt;

	(void) unused;
	assert_true (first (f, 7, 80, 0, 100, &drop));
	assert_int_equal (later (f, 8, 1, true, 81, 100, &pkt), MVT_FRAG_HELD);
	for (uint32_t now = 101; now <= 105; now++)
	{
		assert_int_equal (later (f, 7, 1, true, 1, now, &pkt), MVT_FRAG_KNOWN);
		assert_int_equal (later (f, 8, 2, true, 82, now, &pkt), MVT_FRAG_HELD);
		assert_int_equal (mvt_frag_expire (f, now, 100), 0);
	}
	/* found too late without a sweep: as if it were not there */
	assert_int_equal (later (f, 7, 1, true, 71, 106, &pkt), MVT_FRAG_HELD);
	assert_int_equal (mvt_frag_expire (f, 106, 100), 1);
	for (unsigned i = 0; i < 6; i++)
	{
		assert_int_equal (mvt_frag_take (f, &pkt, 1), 1);
		assert_int_equal (pkt.ref, i == 0 ? 81 : 82);
		assert_int_equal (pkt.verdict, MVT_VERDICT_DROPPED);
		assert_int_equal (pkt.reason, MVT_DROP_FRAGMENT_TIMEOUT);
		assert_false (pkt.flags & MVT_PKT_PORT_KNOWN);
	}
	assert_int_equal (mvt_frag_take (f, &pkt, 1), 0);
	assert_int_equal (mvt_frag_held (f), 1);
	done (f);
}

static void
sweep_keeps_to_its_budget (void **unused)
{
	mvt_frag_t *f = store (0, 0, 0, 0);
	mvt_pkt_t pkt;

	(void) unused;
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal (later (f, (uint16_t) i, 1, true, i, 100, &pkt), MVT_FRAG_HELD);
	assert_int_equal (mvt_frag_expire (f, 102, 100), 0);
	assert_int_equal (mvt_frag_expire (f, 103, 4), 4);
	assert_int_equal (mvt_frag_expire (f, 103, 0), 0);
	assert_int_equal (mvt_frag_records (f), 6);
	assert_int_equal (mvt_frag_expire (f, 103, 100), 6);
	assert_int_equal (mvt_frag_ready (f), 10);
	done (f);
}

static void
one_datagram_holds_its_share_only (void **unused)
{
	mvt_frag_t *f = store (0, 0, 3, 0);
	mvt_drop_t drop;
	mvt_pkt_t pkt;

	(void) unused;
	for (unsigned n = 1; n <= 3; n++)
		assert_int_equal (later (f, 7, n, true, n, 100, &pkt), MVT_FRAG_HELD);
	assert_int_equal (later (f, 7, 4, true, 4, 100, &pkt), MVT_FRAG_DROP);
	assert_int_equal (pkt.verdict, MVT_VERDICT_DROPPED);
	assert_int_equal (pkt.reason, MVT_DROP_FRAGMENT_OVERFLOW);
	assert_int_equal (later (f, 8, 1, true, 81, 100, &pkt), MVT_FRAG_HELD);
	assert_true (first (f, 7, 80, 0, 100, &drop)); /* what is held still goes on */
	assert_int_equal (mvt_frag_ready (f), 3);
	done (f);
}

static void
all_datagrams_hold_the_limit_only (void **unused)
{
	mvt_frag_t *f = store (0, 5, 0, 0);
	mvt_drop_t drop;
	mvt_pkt_t pkt;

	(void) unused;
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal (later (f, (uint16_t) i, 1, true, i, 100, &pkt), MVT_FRAG_HELD);
	assert_int_equal (later (f, 9, 1, true, 9, 100, &pkt), MVT_FRAG_DROP);
	assert_int_equal (pkt.reason, MVT_DROP_FRAGMENT_OVERFLOW);
	assert_int_equal (mvt_frag_records (f), 5); /* none for the refused one */
	/* released packets count until taken */
	assert_true (first (f, 0, 80, 0, 100, &drop));
	assert_int_equal (later (f, 9, 1, true, 9, 100, &pkt), MVT_FRAG_DROP);
	assert_int_equal (mvt_frag_take (f, &pkt, 1), 1);
	assert_int_equal (later (f, 9, 1, true, 9, 100, &pkt), MVT_FRAG_HELD);
	done (f);
}

/* Nothing live makes room (RFC 4787 REQ-14a, RFC 6888 REQ-11); what is expired or complete does. */
static void
records_are_bounded (void **unused)
{
	mvt_frag_t *f = store (8, 0, 0, 0);
	mvt_drop_t drop;
	mvt_pkt_t pkt;

	(void) unused;
	for (unsigned i = 0; i < 7; i++)
		assert_true (first (f, (uint16_t) i, 80, 0, 100, &drop));
	assert_int_equal (later (f, 7, 1, true, 7, 101, &pkt), MVT_FRAG_HELD);
	assert_int_equal (later (f, 8, 1, true, 8, 101, &pkt), MVT_FRAG_DROP);
	assert_int_equal (pkt.reason, MVT_DROP_FRAGMENT_OVERFLOW);
	assert_false (first (f, 8, 80, 0, 101, &drop));
	assert_int_equal (drop, MVT_DROP_FRAGMENT_OVERFLOW);

	/* datagram 3 becomes complete: its record serves its stragglers until it is needed */
	assert_int_equal (later (f, 3, 1, false, 0, 101, &pkt), MVT_FRAG_KNOWN);
	assert_int_equal (later (f, 3, 1, false, 0, 101, &pkt), MVT_FRAG_KNOWN);
	assert_true (first (f, 8, 80, 0, 101, &drop));
	assert_int_equal (mvt_frag_records (f), 8);
	assert_int_equal (later (f, 3, 1, true, 0, 101, &pkt), MVT_FRAG_DROP);
	for (unsigned i = 0; i < 7; i++)
		if (i != 3)
			assert_int_equal (later (f, (uint16_t) i, 1, true, 0, 101, &pkt),
					  MVT_FRAG_KNOWN);

	/* at 103 the seven of tick 100 are too old, and make room one by one */
	assert_true (first (f, 20, 80, 0, 103, &drop));
	assert_true (first (f, 21, 80, 0, 103, &drop));
	assert_int_equal (mvt_frag_records (f), 8);
	done (f);
}

/* Nine datagrams in one bucket of eight: the same rules hold there, long before the store is full.
 * Their choice needs the secret, which is why nobody else can make it. */
static void
a_full_bucket_is_a_full_store (void **unused)
{
	mvt_frag_t *f = store (16, 0, 0, 0);
	mvt_secret_t secret;
	mvt_drop_t drop;
	mvt_pkt_t pkt;
	uint16_t ids[10];
	unsigned n = 0;

	(void) unused;
	mvt_secret_init (&secret, (uint64_t[]){ 1, 2 });
	for (uint32_t id = 0; n < 10; id++)
	{
		uint64_t words[2] = { (uint64_t) SRC << 32 | DST, id << 16 | 17 << 8 | MVT_OUT2IN };
		assert_true (id < 65536);
		if ((mvt_hash_words (words, 2, 0, &secret) & 15) == 3)
			ids[n++] = (uint16_t) id;
	}
	for (unsigned i = 0; i < 8; i++)
		assert_true (first (f, ids[i], 80, 0, 100, &drop));
	assert_false (first (f, ids[8], 80, 0, 100, &drop));
	assert_int_equal (drop, MVT_DROP_FRAGMENT_OVERFLOW);
	assert_int_equal (later (f, ids[8], 1, true, 0, 100, &pkt), MVT_FRAG_DROP);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal (later (f, ids[i], 1, i != 5, 0, 100, &pkt), MVT_FRAG_KNOWN);
	assert_true (first (f, ids[8], 81, 0, 102, &drop)); /* for 5, which was complete */
	assert_false (first (f, ids[9], 82, 0, 102, &drop));
	assert_true (first (f, ids[9], 82, 0, 103, &drop)); /* for one that is too old */
	assert_int_equal (mvt_frag_records (f), 8);
	assert_int_equal (later (f, ids[8], 1, true, 0, 103, &pkt), MVT_FRAG_KNOWN);
	assert_int_equal (pkt.l4_port, 81);
	done (f);
}

static void
a_second_first_fragment_must_agree (void **unused)
{
	mvt_frag_t *f = store (0, 0, 0, 0);
	mvt_drop_t drop;
	mvt_pkt_t pkt;

	(void) unused;
	assert_true (first (f, 7, 5353, 3, 100, &drop));
	assert_true (first (f, 7, 5353, 4, 100, &drop));
	assert_false (first (f, 7, 5354, 4, 100, &drop));
	assert_int_equal (drop, MVT_DROP_FRAGMENT_INVALID);
	assert_int_equal (later (f, 7, 5, true, 0, 100, &pkt), MVT_FRAG_KNOWN);
	assert_int_equal (pkt.l4_port, 5353);
	assert_int_equal (pkt.to, 3);
	done (f);
}

/* RFC 4963: at high rates an IP id is back within the timeout. */
static void
an_ip_id_comes_round (void **unused)
{
	mvt_frag_t *f = store (0, 0, 0, 0);
	mvt_drop_t drop;
	mvt_pkt_t pkt;

	(void) unused;
	assert_true (first (f, 7, 5353, 3, 100, &drop));
	assert_int_equal (later (f, 7, 1, false, 0, 100, &pkt), MVT_FRAG_KNOWN);
	assert_true (first (f, 7, 80, 4, 102, &drop));
	assert_int_equal (mvt_frag_records (f), 1);
	assert_int_equal (later (f, 7, 1, false, 0, 104, &pkt), MVT_FRAG_KNOWN); /* a new life */
	assert_int_equal (pkt.l4_port, 80);
	assert_int_equal (pkt.to, 4);
	done (f);
}

static void
a_flush_gives_everything_back (void **unused)
{
	mvt_frag_t *f = store (0, 0, 0, 0);
	mvt_drop_t drop;
	mvt_pkt_t pkt, out[8];

	(void) unused;
	assert_int_equal (later (f, 7, 1, true, 1, 100, &pkt), MVT_FRAG_HELD);
	assert_int_equal (later (f, 8, 1, true, 2, 100, &pkt), MVT_FRAG_HELD);
	assert_true (first (f, 8, 80, 0, 100, &drop));
	assert_int_equal (later (f, 9, 1, false, 3, 100, &pkt), MVT_FRAG_HELD);
	assert_true (first (f, 9, 80, 0, 100, &drop));
	mvt_frag_flush (f);
	assert_int_equal (mvt_frag_verify (f), 0);
	assert_int_equal (mvt_frag_records (f), 0);
	assert_int_equal (mvt_frag_take (f, out, 8), 3);
	assert_int_equal (out[0].ref, 2);
	assert_int_equal (out[0].verdict, MVT_VERDICT_NONE);
	assert_int_equal (out[1].ref, 3);
	assert_int_equal (out[2].ref, 1);
	assert_int_equal (out[2].reason, MVT_DROP_FRAGMENT_TIMEOUT);
	done (f);
}

static void
memory_is_taken_once (void **unused)
{
	mvt_frag_config_t config = { .seed = { 1, 2 } };
	mvt_frag_t *f = NULL;
	mvt_drop_t drop;
	mvt_pkt_t pkt;

	(void) unused;
	config.max_records = (1u << 20) + 1;
	assert_int_equal (mvt_frag_new (&config, &counted_mem, &f), MVT_ERR_INVALID);
	config.max_records = 0;
	config.max_held = (1u << 20) + 1;
	assert_int_equal (mvt_frag_new (&config, &counted_mem, &f), MVT_ERR_INVALID);
	config.max_held = 0;
	config.max_held_per_datagram = 8192;
	assert_int_equal (mvt_frag_new (&config, &counted_mem, &f), MVT_ERR_INVALID);
	config.max_held_per_datagram = 0;
	counted_mem_fail = 1;
	assert_int_equal (mvt_frag_new (&config, &counted_mem, &f), MVT_ERR_NO_MEMORY);
	assert_null (f);
	assert_int_equal (counted_mem_bytes, 0);
	mvt_frag_remove (NULL);

	f = store (0, 0, 0, 0);
	unsigned calls = counted_mem_calls;
	unsigned held = 0, overflows = 0;
	for (unsigned i = 0; i < 100000; i++)
	{
		mvt_parsed_t parsed = piece ((uint16_t) i, 1, true, 0);
		parsed.src += i >> 4;
		pkt = (mvt_pkt_t){ .dir = MVT_OUT2IN };
		mvt_frag_verdict_t verdict = mvt_frag_process (f, &pkt, &parsed, 100);
		held += verdict == MVT_FRAG_HELD;
		overflows += verdict == MVT_FRAG_DROP;
	}
	assert_int_equal (held, 1024); /* full use: no bucket was full before the store was */
	assert_int_equal (overflows, 100000 - 1024);
	assert_false (first (f, 60000, 1, 1, 100, &drop));
	assert_int_equal (counted_mem_calls, calls);
	done (f);
}

/* Random datagrams against a model that knows only the rules: every held packet comes back once,
 * released with its datagram's port or timed out after its time. */
#define MODEL_IDS  24
#define MODEL_REFS 60000

typedef struct
{
	uint16_t ip_id;
	uint32_t at;
	uint8_t out; /* 1 held, 2 back */
} model_ref_t;

static void
random_datagrams_against_a_model (void **unused)
{
	static model_ref_t refs[MODEL_REFS];
	mvt_frag_t *f = store (16, 64, 8, 2);
	uint64_t state = 3;
	uint32_t now = 1000, n_refs = 0, held = 0, released = 0, timed_out = 0, refused = 0;

	(void) unused;
	memset (refs, 0, sizeof (refs));
	while (n_refs < MODEL_REFS)
	{
		uint32_t r = build_random (&state);
		uint16_t ip_id = (uint16_t) (r % MODEL_IDS);
		uint16_t port = (uint16_t) (1000 + ip_id);
		mvt_pkt_t pkt, out[8];
		mvt_drop_t drop;

		switch (r >> 16 & 15)
		{
		case 0:
			now++;
			break;
		case 1:
			mvt_frag_expire (f, now, 4);
			break;
		case 2:
		case 3:
			if (!first (f, ip_id, port, ip_id, now, &drop))
				assert_int_equal (drop, MVT_DROP_FRAGMENT_OVERFLOW);
			break;
		default:
		{
			unsigned n = 1 + (r >> 20 & 3);
			mvt_parsed_t parsed = piece (ip_id, n, n < 4, 0);
			pkt = (mvt_pkt_t){ .ref = n_refs, .dir = MVT_OUT2IN };
			switch (mvt_frag_process (f, &pkt, &parsed, now))
			{
			case MVT_FRAG_KNOWN:
				assert_int_equal (pkt.l4_port, port);
				assert_int_equal (pkt.to, ip_id);
				break;
			case MVT_FRAG_HELD:
				refs[n_refs] = (model_ref_t){ ip_id, now, 1 };
				held++;
				break;
			default:
				assert_int_equal (pkt.reason, MVT_DROP_FRAGMENT_OVERFLOW);
				refused++;
			}
			n_refs++;
		}
		}
		uint32_t n = mvt_frag_take (f, out, r >> 28 & 7);
		for (uint32_t i = 0; i < n; i++)
		{
			model_ref_t *m = &refs[out[i].ref];
			assert_int_equal (m->out, 1);
			m->out = 2;
			if (out[i].verdict == MVT_VERDICT_NONE)
			{
				assert_int_equal (out[i].l4_port, 1000 + m->ip_id);
				assert_true (out[i].flags & MVT_PKT_PORT_KNOWN);
				released++;
			}
			else
			{
				assert_int_equal (out[i].reason, MVT_DROP_FRAGMENT_TIMEOUT);
				timed_out++;
			}
		}
		assert_int_equal (mvt_frag_held (f), held - released - timed_out);
		assert_true (mvt_frag_held (f) <= 64 && mvt_frag_records (f) <= 16);
		if ((n_refs & 63) == 0)
			assert_int_equal (mvt_frag_verify (f), 0);
	}
	assert_true (released > 1000 && timed_out > 1000 && refused > 1000);
	mvt_frag_flush (f);
	mvt_pkt_t out;
	while (mvt_frag_take (f, &out, 1))
	{
		assert_int_equal (refs[out.ref].out, 1);
		refs[out.ref].out = 2;
	}
	for (uint32_t i = 0; i < MODEL_REFS; i++)
		assert_int_not_equal (refs[i].out, 1);
	done (f);
}

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (in_order),
		cmocka_unit_test (in_reverse_order),
		cmocka_unit_test (first_in_the_middle),
		cmocka_unit_test (source_port_in2out_destination_port_out2in),
		cmocka_unit_test (strangers_do_not_mix),
		cmocka_unit_test (time_is_counted_from_the_first_packet),
		cmocka_unit_test (sweep_keeps_to_its_budget),
		cmocka_unit_test (one_datagram_holds_its_share_only),
		cmocka_unit_test (all_datagrams_hold_the_limit_only),
		cmocka_unit_test (records_are_bounded),
		cmocka_unit_test (a_full_bucket_is_a_full_store),
		cmocka_unit_test (a_second_first_fragment_must_agree),
		cmocka_unit_test (an_ip_id_comes_round),
		cmocka_unit_test (a_flush_gives_everything_back),
		cmocka_unit_test (memory_is_taken_once),
		cmocka_unit_test (random_datagrams_against_a_model),
	};

	return cmocka_run_group_tests_name ("frag", tests, NULL, NULL);
}
