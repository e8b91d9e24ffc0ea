/* SPDX-License-Identifier: Apache-2.0
 * NAT of captures: formats, link layers, order, time, and files that are broken, cut or missing.
 * Files are written and read here byte by byte, without the library that the engine uses. */
#include "engine_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum
{
	EN10MB = 1,
	RAW = 101,
	SLL = 113,
	IPV4 = 228,
	SLL2 = 276
};

typedef struct
{
	uint8_t *p;
	size_t n, room;
} bytes_t;

static char dir[] = "/tmp/test_engine_replay.XXXXXX";
static char in_path[64], out_path[64];

static void
put (bytes_t *b, const void *p, size_t n)
{
	if (b->n + n > b->room)
	{
		b->room = (b->n + n) * 2;
		b->p = realloc (b->p, b->room);
		assert_non_null (b->p);
	}
	memcpy (b->p + b->n, p, n);
	b->n += n;
}

static void
put32 (bytes_t *b, uint32_t v, bool swap)
{
	v = swap ? __builtin_bswap32 (v) : v;
	put (b, &v, 4);
}

static void
put16 (bytes_t *b, uint16_t v, bool swap)
{
	v = swap ? __builtin_bswap16 (v) : v;
	put (b, &v, 2);
}

static void
save (const char *path, const bytes_t *b)
{
	FILE *f = fopen (path, "wb");
	assert_non_null (f);
	assert_int_equal (fwrite (b->p, 1, b->n, f), b->n);
	fclose (f);
}

static bytes_t
load (const char *path)
{
	bytes_t b = { 0 };
	uint8_t chunk[4096];
	FILE *f = fopen (path, "rb");
	size_t n;
	assert_non_null (f);
	while ((n = fread (chunk, 1, sizeof chunk, f)) > 0)
		put (&b, chunk, n);
	fclose (f);
	return b;
}

/* ---- files in ---- */

typedef struct
{
	bytes_t b;
	uint32_t link;
	bool nano, swap, ng;
} file_t;

static file_t
begin (uint32_t link, bool nano, bool swap, bool ng)
{
	file_t f = { .link = link, .nano = nano, .swap = swap, .ng = ng };
	if (ng)
	{
		put32 (&f.b, 0x0a0d0d0a, swap);
		put32 (&f.b, 28, swap);
		put32 (&f.b, 0x1a2b3c4d, swap);
		put16 (&f.b, 1, swap);
		put16 (&f.b, 0, swap);
		put32 (&f.b, 0xffffffff, swap);
		put32 (&f.b, 0xffffffff, swap);
		put32 (&f.b, 28, swap);
		put32 (&f.b, 1, swap); /* interface, microseconds */
		put32 (&f.b, 20, swap);
		put16 (&f.b, (uint16_t) link, swap);
		put16 (&f.b, 0, swap);
		put32 (&f.b, 65535, swap);
		put32 (&f.b, 20, swap);
		return f;
	}
	put32 (&f.b, nano ? 0xa1b23c4d : 0xa1b2c3d4, swap);
	put16 (&f.b, 2, swap);
	put16 (&f.b, 4, swap);
	put32 (&f.b, 0, swap);
	put32 (&f.b, 0, swap);
	put32 (&f.b, 65535, swap);
	put32 (&f.b, link, swap);
	return f;
}

static void
add (file_t *f, uint32_t s, uint32_t sub, const uint8_t *p, uint32_t caplen, uint32_t len)
{
	if (f->ng)
	{
		uint64_t ts = (uint64_t) s * 1000000 + sub;
		uint32_t padded = (caplen + 3) & ~3u;
		put32 (&f->b, 6, f->swap);
		put32 (&f->b, 32 + padded, f->swap);
		put32 (&f->b, 0, f->swap);
		put32 (&f->b, (uint32_t) (ts >> 32), f->swap);
		put32 (&f->b, (uint32_t) ts, f->swap);
		put32 (&f->b, caplen, f->swap);
		put32 (&f->b, len, f->swap);
		put (&f->b, p, caplen);
		put (&f->b, "\0\0\0", padded - caplen);
		put32 (&f->b, 32 + padded, f->swap);
		return;
	}
	put32 (&f->b, s, f->swap);
	put32 (&f->b, sub, f->swap);
	put32 (&f->b, caplen, f->swap);
	put32 (&f->b, len, f->swap);
	put (&f->b, p, caplen);
}

/* A frame of the file's link type around an IPv4 packet. */
static void
add_ip (file_t *f, uint32_t s, uint32_t sub, const built_t *ip, uint32_t tags, uint32_t cut)
{
	uint8_t frame[2100] = { 0 };
	uint32_t at = 0;

	switch (f->link)
	{
	case EN10MB:
		at = 12;
		for (uint32_t i = 0; i < tags; i++, at += 4)
			build_put32 (frame + at, (i + 1 < tags ? 0x88a80000u : 0x81000000u) | 5);
		build_put16 (frame + at, 0x800);
		at += 2;
		break;
	case SLL:
		build_put16 (frame + 14, 0x800);
		at = 16;
		break;
	case SLL2:
		build_put16 (frame, 0x800);
		at = 20;
		break;
	default:
		break;
	}
	memcpy (frame + at, ip->p, ip->len);
	add (f, s, sub, frame, at + ip->len - cut, at + ip->len);
}

static void
add_udp (file_t *f, uint32_t s, uint32_t sub, uint32_t host, uint32_t tags, uint32_t cut)
{
	build_t b = { .src = FX_INSIDE + host,
		      .dst = FX_REMOTE + 1,
		      .sport = 1000,
		      .dport = 53,
		      .ip_proto = UDP,
		      .payload = 30 };
	built_t p = build_packet (&b);
	add_ip (f, s, sub, &p, tags, cut);
	free (p.p);
}

/* ---- files out: classic, of this machine's byte order ---- */

typedef struct
{
	uint32_t magic, link, n;
	struct
	{
		uint32_t s, sub, caplen, len;
		const uint8_t *p;
	} record[64];
	bytes_t b;
} result_t;

static result_t
read_back (void)
{
	result_t r = { .b = load (out_path) };
	uint32_t words[4];

	assert_true (r.b.n >= 24);
	memcpy (&r.magic, r.b.p, 4);
	memcpy (&r.link, r.b.p + 20, 4);
	for (size_t at = 24; at < r.b.n;)
	{
		assert_true (r.n < 64 && at + 16 <= r.b.n);
		memcpy (words, r.b.p + at, 16);
		r.record[r.n].s = words[0];
		r.record[r.n].sub = words[1];
		r.record[r.n].caplen = words[2];
		r.record[r.n].len = words[3];
		r.record[r.n++].p = r.b.p + at + 16;
		at += 16 + words[2];
		assert_true (at <= r.b.n);
	}
	return r;
}

static int
replay (file_t *f, uint32_t instances, mvt_replay_result_t *result, char *err)
{
	fx_policy_t policy;
	fx_policy (&policy, 1, 0, 2);
	mvt_engine_config_t config = fx_config (&policy, instances, instances);
	mvt_engine_t *e = fx_new (&config);
	int rc;

	if (f)
	{
		save (in_path, &f->b);
		free (f->b.p);
	}
	rc = mvt_engine_replay (e, in_path, out_path, result, NULL, NULL, err);
	mvt_engine_free (e);
	return rc;
}

/* ---- tests ---- */

static void
every_link_and_format_goes_through (void **state)
{
	(void) state;
	static const struct
	{
		uint32_t link, tags, header;
		bool nano, swap, ng;
	} cases[] = {
		{ EN10MB, 0, 14, 0, 0, 0 }, { EN10MB, 0, 14, 1, 0, 0 }, { EN10MB, 0, 14, 0, 1, 0 },
		{ EN10MB, 1, 18, 0, 0, 0 }, { EN10MB, 2, 22, 1, 1, 0 }, { EN10MB, 0, 14, 0, 0, 1 },
		{ EN10MB, 2, 22, 0, 1, 1 }, { RAW, 0, 0, 0, 0, 0 },	{ RAW, 0, 0, 0, 0, 1 },
		{ IPV4, 0, 0, 0, 0, 0 },    { SLL, 0, 16, 0, 0, 0 },	{ SLL2, 0, 20, 0, 0, 0 },
		{ SLL2, 0, 20, 0, 0, 1 },
	};
	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
	{
		file_t f = begin (cases[i].link, cases[i].nano, cases[i].swap, cases[i].ng);
		mvt_replay_result_t result;
		char err[MVT_ENGINE_ERR_LEN];
		uint32_t scale = cases[i].ng ? 1000 : 1;

		for (uint32_t h = 1; h <= 5; h++)
			add_udp (&f, 100 + h, 7 * h, h, cases[i].tags, 0);
		if (replay (&f, 2, &result, err))
			fail_msg ("case %u: %s", i, err);
		result_t r = read_back ();
		assert_int_equal (result.in, 5);
		assert_int_equal (result.out, 5);
		assert_int_equal (result.skipped + result.passed + result.held, 0);
		assert_int_equal (r.n, 5);
		assert_int_equal (r.link, cases[i].link);
		assert_int_equal (r.magic, cases[i].nano || cases[i].ng ? 0xa1b23c4d : 0xa1b2c3d4);
		for (uint32_t h = 1; h <= 5; h++)
		{
			const uint8_t *ip = r.record[h - 1].p + cases[i].header;
			assert_int_equal (r.record[h - 1].s, 100 + h);
			assert_int_equal (r.record[h - 1].sub, 7 * h * scale);
			assert_int_equal (r.record[h - 1].caplen, cases[i].header + 58);
			assert_int_equal (mvt_load32 (ip + 12) & ~1u, FX_POOL);
			assert_int_equal (build_sum (0, ip, 20), 0xffff);
		}
		free (r.b.p);
	}
}

static void
what_is_no_ipv4_goes_through_unchanged (void **state)
{
	(void) state;
	file_t f = begin (EN10MB, 0, 0, 0);
	uint8_t arp[42] = { [12] = 0x08, [13] = 0x06, [20] = 1 };
	uint8_t vlan_only[14] = { [12] = 0x81 };
	uint8_t ipv6[54] = { [12] = 0x86, [13] = 0xdd, [14] = 0x60 };
	mvt_replay_result_t result;
	char err[MVT_ENGINE_ERR_LEN];

	add (&f, 1, 0, arp, sizeof arp, sizeof arp);
	add_udp (&f, 1, 1, 1, 0, 0);
	add (&f, 1, 2, ipv6, sizeof ipv6, sizeof ipv6);
	add (&f, 1, 3, vlan_only, sizeof vlan_only, sizeof vlan_only);
	add (&f, 1, 4, arp, 5, 42);
	add (&f, 1, 5, arp, 0, 42);
	assert_int_equal (replay (&f, 1, &result, err), 0);
	result_t r = read_back ();
	assert_int_equal (result.in, 6);
	assert_int_equal (result.out, 6);
	assert_int_equal (result.skipped, 5);
	assert_int_equal (r.n, 6);
	assert_memory_equal (r.record[0].p, arp, sizeof arp);
	assert_memory_equal (r.record[2].p, ipv6, sizeof ipv6);
	assert_int_equal (r.record[4].caplen, 5);
	assert_int_equal (r.record[4].len, 42);
	assert_int_equal (r.record[5].caplen, 0);
	for (uint32_t i = 0; i < 6; i++)
		assert_int_equal (r.record[i].sub, i);
	free (r.b.p);
}

/* Captured before the NIC filled it in: a header checksum of 0 is computed. A wrong one stays
 * wrong, and a packet that is only passed keeps what it had. */
static void
checksums_left_to_the_nic_are_filled_in (void **state)
{
	(void) state;
	static const struct
	{
		uint32_t src;
		uint16_t csum;
		uint16_t options;
	} rows[] = { { FX_INSIDE + 1, 0, 0 },
		     { FX_INSIDE + 1, 0, 8 },
		     { FX_INSIDE + 1, 0x1234, 0 },
		     { FX_REMOTE + 9, 0, 0 } };
	file_t f = begin (RAW, 0, 0, 0);
	mvt_replay_result_t result;
	char err[MVT_ENGINE_ERR_LEN];

	for (unsigned i = 0; i < 4; i++)
	{
		build_t b = { .src = rows[i].src,
			      .dst = FX_REMOTE + 1,
			      .sport = 1000,
			      .dport = 53,
			      .ip_proto = UDP,
			      .options = (uint8_t) rows[i].options };
		built_t p = build_packet (&b);
		build_put16 (p.p + 10, rows[i].csum);
		add_ip (&f, 1, i, &p, 0, 0);
		free (p.p);
	}
	assert_int_equal (replay (&f, 1, &result, err), 0);
	result_t r = read_back ();
	assert_int_equal (result.dropped[MVT_DROP_BAD_CHECKSUM], 1);
	assert_int_equal (result.passed, 1);
	assert_int_equal (r.n, 3);
	assert_int_equal (build_sum (0, r.record[0].p, 20), 0xffff);
	assert_int_equal (build_sum (0, r.record[1].p, 28), 0xffff);
	assert_int_equal (mvt_load32 (r.record[1].p + 12) & ~1u, FX_POOL);
	assert_int_equal (mvt_load16 (r.record[2].p + 10), 0);
	free (r.b.p);
}

/* Answers, passed and dropped ones; in = out + dropped. */
static void
directions_and_counts_are_right (void **state)
{
	(void) state;
	file_t f = begin (RAW, 0, 0, 0);
	mvt_replay_result_t result;
	char err[MVT_ENGINE_ERR_LEN];
	build_t b = { .src = FX_REMOTE + 1,
		      .dst = FX_POOL,
		      .sport = 53,
		      .dport = 1024,
		      .ip_proto = UDP,
		      .payload = 4 };
	built_t p = build_packet (&b);
	uint64_t dropped = 0;

	add_udp (&f, 1, 0, 1, 0, 0);
	add_ip (&f, 1, 1, &p, 0, 0); /* to a port without mapping, most likely */
	free (p.p);
	b.dst = 0x08080808; /* not ours */
	p = build_packet (&b);
	add_ip (&f, 1, 2, &p, 0, 0);
	free (p.p);
	b.src = FX_INSIDE + 1;
	b.dst = FX_INSIDE + 2; /* between inside hosts */
	p = build_packet (&b);
	add_ip (&f, 1, 3, &p, 0, 0);
	p.p[0] = 0x41; /* header length of 4 bytes */
	add_ip (&f, 1, 4, &p, 0, 0);
	free (p.p);
	assert_int_equal (replay (&f, 2, &result, err), 0);
	for (uint32_t i = 0; i < 32; i++)
		dropped += result.dropped[i];
	assert_int_equal (result.in, 5);
	assert_int_equal (result.out, 3);
	assert_int_equal (result.passed, 2);
	assert_int_equal (dropped, 2);
	assert_int_equal (result.dropped[MVT_DROP_MALFORMED], 1);
	assert_int_equal (result.dropped[MVT_DROP_NO_MAPPING], 1);
	result_t r = read_back ();
	assert_int_equal (r.n, 3);
	assert_int_equal (r.record[1].sub, 2);
	assert_int_equal (r.record[2].sub, 3);
	free (r.b.p);
}

/* Headers only: translated like whole packets. */
static void
snapped_packets_are_translated (void **state)
{
	(void) state;
	file_t f = begin (RAW, 0, 0, 0);
	mvt_replay_result_t result;
	char err[MVT_ENGINE_ERR_LEN];

	add_udp (&f, 1, 0, 1, 0, 30);
	assert_int_equal (replay (&f, 1, &result, err), 0);
	assert_int_equal (result.out, 1);
	assert_int_equal (result.truncated, 1);
	result_t r = read_back ();
	assert_int_equal (r.record[0].caplen, 28);
	assert_int_equal (r.record[0].len, 58);
	assert_int_equal (mvt_load32 (r.record[0].p + 12) & ~1u, FX_POOL);
	free (r.b.p);
}

/* A fragment that waits for longer than a batch is written with its own stamp when its first one
 * has come; one that waits in vain is dropped, also at the end. */
static void
fragments_wait_across_batches (void **state)
{
	(void) state;
	file_t f = begin (RAW, 0, 0, 0);
	mvt_replay_result_t result;
	char err[MVT_ENGINE_ERR_LEN];
	build_t b = { .src = FX_INSIDE + 5,
		      .dst = FX_REMOTE,
		      .sport = 99,
		      .dport = 53,
		      .ip_id = 77,
		      .ip_proto = UDP,
		      .payload = 16,
		      .frag = 3 };
	built_t p = build_packet (&b);

	add_ip (&f, 10, 1, &p, 0, 0);
	b.ip_id = 78;
	free (p.p);
	p = build_packet (&b);
	add_ip (&f, 10, 2, &p, 0, 0);
	b.ip_id = 77;
	b.frag = 0x2000;
	free (p.p);
	p = build_packet (&b);
	add_ip (&f, 11, 3, &p, 0, 0); /* another second: another batch */
	free (p.p);
	assert_int_equal (replay (&f, 2, &result, err), 0);
	assert_int_equal (result.in, 3);
	assert_int_equal (result.out, 2);
	assert_int_equal (result.held, 2);
	assert_int_equal (result.dropped[MVT_DROP_FRAGMENT_TIMEOUT], 1);
	result_t r = read_back ();
	assert_int_equal (r.n, 2);
	assert_int_equal (r.record[0].sub + r.record[1].sub, 4);
	assert_int_equal (mvt_load32 (r.record[0].p + 12), mvt_load32 (r.record[1].p + 12));
	free (r.b.p);
}

/* Time is the packets': a mapping expires between them, and stamps that go back do not hurt. */
static void
time_is_of_the_packets (void **state)
{
	(void) state;
	static const struct
	{
		uint32_t at;
		uint32_t mappings;
	} cases[] = { { 1300, 1 }, { 1301, 2 }, { 900, 1 } };

	for (unsigned i = 0; i < 3; i++)
	{
		file_t f = begin (RAW, 0, 0, 0);
		fx_policy_t policy;
		fx_policy (&policy, 1, 0, 2);
		mvt_engine_config_t config = fx_config (&policy, 1, 1);
		mvt_engine_t *e = fx_new (&config);
		mvt_replay_result_t result;
		char err[MVT_ENGINE_ERR_LEN];

		add_udp (&f, 1000, 0, 1, 0, 0);
		add_udp (&f, cases[i].at, 0, 1, 0, 0);
		save (in_path, &f.b);
		free (f.b.p);
		assert_int_equal (
			mvt_engine_replay (e, in_path, out_path, &result, NULL, NULL, err), 0);
		assert_int_equal (result.out, 2);
		assert_int_equal (fx_sum (e, "mappings_created"), cases[i].mappings);
		mvt_engine_free (e);
	}
}

static file_t
many (bool ng)
{
	file_t f = begin (EN10MB, 0, 0, ng);
	for (uint32_t i = 0; i < 1500; i++)
		add_udp (&f, 1000 + i / 400, i, 1 + i % 700, 0, 0);
	return f;
}

static void
same_input_same_output (void **state)
{
	(void) state;
	mvt_replay_result_t result;
	char err[MVT_ENGINE_ERR_LEN];
	file_t f = many (false);
	assert_int_equal (replay (&f, 3, &result, err), 0);
	bytes_t first = load (out_path);
	f = many (false);
	assert_int_equal (replay (&f, 3, &result, err), 0);
	bytes_t second = load (out_path);
	assert_int_equal (result.out, 1500);
	assert_int_equal (first.n, second.n);
	assert_memory_equal (first.p, second.p, first.n);
	free (first.p);
	free (second.p);
}

/* Wherever a file breaks off: all before is written, and the place is named. */
static void
cut_captures_tell_where (void **state)
{
	(void) state;
	for (unsigned ng = 0; ng < 2; ng++)
	{
		size_t head = ng ? 48 : 24, record = ng ? 32 + 72 : 16 + 72;
		for (size_t cut = head + 1; cut < head + 3 * record; cut += 13)
		{
			file_t f = begin (EN10MB, 0, 0, ng);
			mvt_replay_result_t result;
			char err[MVT_ENGINE_ERR_LEN];
			size_t whole = (cut - head) / record;

			for (uint32_t i = 0; i < 3; i++)
				add_udp (&f, 1, i, 1, 0, 0);
			assert_int_equal (f.b.n, head + 3 * record);
			f.b.n = cut;
			if (replay (&f, 1, &result, err))
				fail_msg ("cut at %zu: %s", cut, err);
			assert_int_equal (result.cut, cut != head + whole * record);
			assert_int_equal (result.out, whole);
			if (result.cut)
				assert_int_equal (result.bytes_offset, head + whole * record);
			result_t r = read_back ();
			assert_int_equal (r.n, whole);
			free (r.b.p);
		}
	}
}

static void
bad_files_are_told_in_one_sentence (void **state)
{
	(void) state;
	mvt_replay_result_t result;
	char err[MVT_ENGINE_ERR_LEN], good_in[64], good_out[64];
	file_t f;
	bytes_t junk = { 0 };

	memcpy (good_in, in_path, sizeof good_in);
	memcpy (good_out, out_path, sizeof good_out);
	unlink (in_path);
	assert_int_equal (replay (NULL, 1, &result, err), MVT_ERR_NOT_FOUND);
	assert_non_null (strstr (err, "No such file"));
	assert_non_null (strstr (err, in_path));

	put (&junk, "this is no capture at all, just text", 36);
	save (in_path, &junk);
	free (junk.p);
	assert_int_equal (replay (NULL, 1, &result, err), MVT_ERR_INVALID);
	assert_non_null (strstr (err, "no pcap or pcapng"));

	f = begin (147 /* user */, 0, 0, 0);
	assert_int_equal (replay (&f, 1, &result, err), MVT_ERR_UNSUPPORTED);
	assert_non_null (strstr (err, "not supported"));

	strcpy (in_path, dir);
	assert_int_equal (replay (NULL, 1, &result, err), MVT_ERR_INVALID);
	assert_non_null (strstr (err, "directory"));
	memcpy (in_path, good_in, sizeof good_in);

	f = many (false);
	snprintf (out_path, sizeof out_path, "%s/no/such", dir);
	assert_int_equal (replay (&f, 1, &result, err), MVT_ERR_INVALID);
	assert_non_null (strstr (err, "cannot be written: No such file"));

	f = many (false);
	memcpy (out_path, in_path, sizeof out_path);
	assert_int_equal (replay (&f, 1, &result, err), MVT_ERR_INVALID);
	assert_non_null (strstr (err, "same file"));

	if (access ("/dev/full", W_OK) == 0)
	{
		f = many (false);
		strcpy (out_path, "/dev/full");
		assert_int_equal (replay (&f, 1, &result, err), MVT_ERR_INVALID);
		assert_non_null (strstr (err, "/dev/full: cannot be written"));
	}
	memcpy (out_path, good_out, sizeof good_out);

	/* broken in the middle, not cut: an absurd length, and more behind it */
	f = begin (RAW, 0, 0, 0);
	add_udp (&f, 1, 0, 1, 0, 0);
	put32 (&f.b, 1, 0);
	put32 (&f.b, 0, 0);
	put32 (&f.b, 2000000, 0);
	put32 (&f.b, 2000000, 0);
	f.b.p = realloc (f.b.p, f.b.n + 3000000);
	memset (f.b.p + f.b.n, 0, 3000000);
	f.b.n += 3000000;
	f.b.room = f.b.n;
	assert_int_equal (replay (&f, 1, &result, err), MVT_ERR_INVALID);
	assert_non_null (strstr (err, "byte 98"));
	assert_int_equal (result.out, 1);
}

static int
stop_at_once (void *ctx, uint64_t done, uint64_t total)
{
	uint64_t *seen = ctx;
	assert_true (done <= total);
	seen[0]++;
	return seen[1] && done < total;
}

static void
progress_is_told_and_may_stop (void **state)
{
	(void) state;
	for (uint64_t stop = 0; stop < 2; stop++)
	{
		file_t f = begin (EN10MB, 0, 0, 0);
		fx_policy_t policy;
		fx_policy (&policy, 1, 0, 2);
		mvt_engine_config_t config = fx_config (&policy, 1, 1);
		mvt_engine_t *e = fx_new (&config);
		mvt_replay_result_t result;
		char err[MVT_ENGINE_ERR_LEN];
		uint64_t seen[2] = { 0, stop };

		for (uint32_t i = 0; i < 40000; i++)
			add_udp (&f, 1000, i, 1 + i % 700, 0, 0);
		save (in_path, &f.b);
		free (f.b.p);
		assert_int_equal (
			mvt_engine_replay (e, in_path, out_path, &result, stop_at_once, seen, err),
			stop ? MVT_ERR_AGAIN : 0);
		assert_true (stop ? seen[0] == 1 : seen[0] >= 2);
		assert_true (stop ? result.out < 40000 : result.out == 40000);
		mvt_engine_free (e);
	}
}

static int
set_up (void **state)
{
	(void) state;
	if (!mkdtemp (dir))
		return -1;
	snprintf (in_path, sizeof in_path, "%s/in.pcap", dir);
	snprintf (out_path, sizeof out_path, "%s/out.pcap", dir);
	return 0;
}

static int
tear_down (void **state)
{
	(void) state;
	unlink (in_path);
	unlink (out_path);
	return rmdir (dir);
}

/* libpcap gives up where a second interface of a pcapng file has another link type. */
static void
interfaces_that_differ_are_named (void **state)
{
	(void) state;
	mvt_replay_result_t result;
	char err[MVT_ENGINE_ERR_LEN];
	bytes_t ng = { 0 };

	put32 (&ng, 0x0a0d0d0a, false); /* section */
	put32 (&ng, 28, false);
	put32 (&ng, 0x1a2b3c4d, false);
	put32 (&ng, 1, false); /* version 1.0 */
	put32 (&ng, UINT32_MAX, false);
	put32 (&ng, UINT32_MAX, false);
	put32 (&ng, 28, false);
	for (uint32_t link = 1; link <= 101; link += 100) /* Ethernet, raw IP */
	{
		put32 (&ng, 1, false); /* interface */
		put32 (&ng, 20, false);
		put32 (&ng, link, false);
		put32 (&ng, 65535, false);
		put32 (&ng, 20, false);
	}
	save (in_path, &ng);
	free (ng.p);
	assert_int_equal (replay (NULL, 1, &result, err), MVT_ERR_UNSUPPORTED);
	assert_non_null (strstr (err, "interfaces differ in link type"));
	assert_non_null (strstr (err, in_path));
}

int
main (void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test (every_link_and_format_goes_through),
		cmocka_unit_test (what_is_no_ipv4_goes_through_unchanged),
		cmocka_unit_test (checksums_left_to_the_nic_are_filled_in),
		cmocka_unit_test (directions_and_counts_are_right),
		cmocka_unit_test (snapped_packets_are_translated),
		cmocka_unit_test (fragments_wait_across_batches),
		cmocka_unit_test (time_is_of_the_packets),
		cmocka_unit_test (same_input_same_output),
		cmocka_unit_test (cut_captures_tell_where),
		cmocka_unit_test (bad_files_are_told_in_one_sentence),
		cmocka_unit_test (progress_is_told_and_may_stop),
		cmocka_unit_test (interfaces_that_differ_are_named),
	};
	return cmocka_run_group_tests (tests, set_up, tear_down);
}
