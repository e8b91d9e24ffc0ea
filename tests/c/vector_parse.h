/* SPDX-License-Identifier: Apache-2.0
 * Reads tests/vectors; docs/vectors.md describes the language. A mistake in a file ends the run
 * with its file and line. Everything read is kept in static arrays until the end. */
#ifndef VECTOR_PARSE_H
#define VECTOR_PARSE_H

#include <ctype.h>
#include <stdio.h>

#include "mvt_policy.h"
#include "vector_packet.h"

#define VECTOR_MAX	 512
#define VECTOR_STEPS	 4096
#define VECTOR_SPECS	 4096
#define VECTOR_VARIABLES 16
#define VECTOR_WORDS	 80
#define VECTOR_STATICS	 4

typedef enum
{
	SIDE_ACROSS, /* the other side than the one it came from */
	SIDE_INSIDE,
	SIDE_OUTSIDE
} side_t;

typedef struct
{
	uint8_t verdict, reason;
	side_t side;
	ends_t ends, about;
	bool has_about;
} want_t;

typedef enum
{
	STEP_PACKET,
	STEP_LATE,
	STEP_WAIT,
	STEP_COUNT,  /* expect NAME N */
	STEP_EQUAL,  /* expect $a = $b */
	STEP_UNLIKE, /* expect $a != $b */
	STEP_RANGE   /* expect $a in LOW-HIGH */
} step_kind_t;

typedef struct
{
	step_kind_t kind;
	int line;
	uint8_t dir;
	spec_t *spec;
	want_t want;
	char name[32];
	uint64_t count;
	term_t a, b, c;
} step_t;

typedef struct
{
	uint8_t ip_proto;
	end_t inside, outside;
} static_port_t;

typedef struct
{
	char name[96]; /* file/vector */
	int line;
	bool instances[5]; /* by number */
	bool said;	   /* there is a line that tells what it shows */
	uint32_t pool_bits, first_port, last_port, block_size, hold_seconds;
	uint32_t max_mappings, max_sessions, max_hosts;
	uint8_t by_block;
	mvt_policy_t policy;
	mvt_prefix4_t exempt[4];
	uint32_t n_exempt;
	mvt_static_rule_t rules[VECTOR_STATICS];
	uint32_t n_rules;
	static_port_t ports[VECTOR_STATICS];
	uint32_t n_ports;
	char variables[VECTOR_VARIABLES][16];
	uint32_t n_variables;
	step_t *steps;
	uint32_t n_steps;
} vector_t;

typedef struct
{
	const char *file;
	int line;
	char *word[VECTOR_WORDS + 1]; /* ends with NULL */
	uint32_t at, n;
	vector_t *vector;
} reader_t;

static vector_t vector_all[VECTOR_MAX];
static uint32_t vector_count;
static step_t vector_steps[VECTOR_STEPS];
static uint32_t vector_step_count;
static spec_t vector_specs[VECTOR_SPECS];
static uint32_t vector_spec_count;

static _Noreturn void
reader_fail (const reader_t *r, const char *what, const char *word)
{
	fprintf (stderr, "%s:%d: %s%s%s\n", r->file, r->line, what, word ? ": " : "",
		 word ? word : "");
	exit (2);
}

#define READER_CHECK(r, condition, what)               \
	do                                             \
		if (!(condition))                      \
			reader_fail ((r), what, NULL); \
	while (0)

/* ---- words ---- */

static const char *
next_word (reader_t *r)
{
	if (r->at >= r->n)
		reader_fail (r, "the line ends too early", NULL);
	return r->word[r->at++];
}

static bool
accept_word (reader_t *r, const char *word)
{
	if (r->at >= r->n || strcmp (r->word[r->at], word) != 0)
		return false;
	r->at++;
	return true;
}

static uint64_t
to_number (const reader_t *r, const char *text)
{
	char *end;
	uint64_t v = strtoull (text, &end, 0);
	if (!isdigit ((unsigned char) *text) || *end)
		reader_fail (r, "no number", text);
	return v;
}

static uint32_t
next_number (reader_t *r)
{
	return (uint32_t) to_number (r, next_word (r));
}

static bool
to_address (const char *text, uint32_t *addr)
{
	unsigned a, b, c, d;
	char rest;
	if (sscanf (text, "%u.%u.%u.%u%c", &a, &b, &c, &d, &rest) != 4)
		return false;
	*addr = a << 24 | b << 16 | c << 8 | d;
	return a < 256 && b < 256 && c < 256 && d < 256;
}

/* A prefix, or an address as one of length 32. */
static mvt_prefix4_t
to_prefix (const reader_t *r, const char *text)
{
	char copy[32];
	mvt_prefix4_t prefix = { .len = 32 };
	snprintf (copy, sizeof copy, "%s", text);
	char *slash = strchr (copy, '/');
	if (slash)
	{
		*slash = 0;
		prefix.len = (uint8_t) to_number (r, slash + 1);
	}
	if (!to_address (copy, &prefix.addr) || prefix.len > 32)
		reader_fail (r, "no prefix", text);
	return prefix;
}

static term_t
to_term (reader_t *r, const char *text, bool port)
{
	term_t term = { .kind = TERM_NUMBER };
	vector_t *v = r->vector;

	if (*text == '$')
	{
		term.kind = TERM_VARIABLE;
		for (uint32_t i = 0; i < v->n_variables; i++)
			if (strcmp (v->variables[i], text) == 0)
			{
				term.value = i;
				return term;
			}
		READER_CHECK (r, v->n_variables < VECTOR_VARIABLES && strlen (text) < 16,
			      "too many variables, or too long a name");
		strcpy (v->variables[v->n_variables], text);
		term.value = v->n_variables++;
	}
	else if (port || !strchr (text, '.'))
		term.value = (uint32_t) to_number (r, text);
	else if (!to_address (text, &term.value))
		reader_fail (r, "no address", text);
	return term;
}

static end_t
to_end (reader_t *r, const char *text)
{
	char copy[64];
	end_t end = { { TERM_NONE, 0 }, { TERM_NONE, 0 } };
	snprintf (copy, sizeof copy, "%s", text);
	char *colon = strchr (copy, ':');
	if (colon)
	{
		*colon = 0;
		end.port = to_term (r, colon + 1, true);
	}
	end.addr = to_term (r, copy, false);
	return end;
}

static ends_t
next_ends (reader_t *r)
{
	ends_t ends;
	ends.src = to_end (r, next_word (r));
	if (!accept_word (r, ">"))
		reader_fail (r, "expected > between two endpoints", NULL);
	ends.dst = to_end (r, next_word (r));
	return ends;
}

static uint32_t
next_hex (reader_t *r, uint8_t *out, uint32_t max)
{
	const char *text = next_word (r);
	uint32_t n = 0;
	for (; text[0]; text += 2)
	{
		unsigned byte;
		if (!isxdigit ((unsigned char) text[0]) || !isxdigit ((unsigned char) text[1]) ||
		    n == max)
			reader_fail (r, "no hexadecimal bytes, or too many", text);
		sscanf (text, "%2x", &byte);
		out[n++] = (uint8_t) byte;
	}
	return n;
}

/* ---- packets ---- */

typedef struct
{
	const char *name;
	uint8_t value;
} named_t;

static int
by_name (const named_t *table, uint32_t n, const char *name)
{
	for (uint32_t i = 0; i < n; i++)
		if (strcmp (table[i].name, name) == 0)
			return table[i].value;
	return -1;
}

#define BY_NAME(table, name) by_name (table, sizeof table / sizeof table[0], name)

static const named_t vector_protocols[] = {
	{ "icmp", 1 }, { "igmp", 2 },  { "ipip", 4 },	{ "tcp", 6 },
	{ "udp", 17 }, { "dccp", 33 }, { "gre", 47 },	{ "esp", 50 },
	{ "ah", 51 },  { "ospf", 89 }, { "sctp", 132 }, { "udplite", 136 },
};

static const named_t vector_icmp_types[] = {
	{ "echo-reply", 0 },	 { "unreachable", 3 },
	{ "source-quench", 4 },	 { "redirect", 5 },
	{ "echo", 8 },		 { "router-advertisement", 9 },
	{ "time-exceeded", 11 }, { "parameter", 12 },
	{ "timestamp", 13 },	 { "timestamp-reply", 14 },
	{ "info", 15 },		 { "info-reply", 16 },
	{ "mask", 17 },		 { "mask-reply", 18 },
};

static const named_t vector_tcp_flags[] = {
	{ "fin", 1 }, { "syn", 2 }, { "rst", 4 }, { "psh", 8 }, { "ack", 16 }, { "urg", 32 },
};

static void
next_patch (reader_t *r, spec_t *s, bool spoil)
{
	READER_CHECK (r, s->n_patches < VECTOR_PATCHES, "too many patches");
	patch_t *patch = &s->patches[s->n_patches++];
	patch->spoil = spoil;
	patch->at = next_number (r);
	patch->len = next_hex (r, patch->bytes, sizeof patch->bytes);
}

static spec_t *next_packet (reader_t *r);

/* One word, and what belongs to it, after the endpoints of a packet. */
static void
next_attribute (reader_t *r, spec_t *s)
{
	const char *word = next_word (r);
	int flag = BY_NAME (vector_tcp_flags, word);

#define NUMBER(text, field)                                         \
	if (strcmp (word, text) == 0)                               \
	{                                                           \
		s->field = (__typeof__ (s->field)) next_number (r); \
		return;                                             \
	}
#define MARK(text, field, to)         \
	if (strcmp (word, text) == 0) \
	{                             \
		s->field = to;        \
		return;               \
	}
	NUMBER ("payload", payload)
	NUMBER ("fill", fill)
	NUMBER ("options", options)
	NUMBER ("id", ip_id)
	NUMBER ("ttl", ttl)
	NUMBER ("code", icmp_code)
	NUMBER ("wrong", wrong)
	NUMBER ("rest", rest)
	NUMBER ("keep", keep)
	NUMBER ("tail", tail)
	NUMBER ("truncate", truncate)
	NUMBER ("cut", cut)
	NUMBER ("piece", piece)
	MARK ("df", dont_fragment, 1)
	MARK ("no-checksum", no_checksum, 1)
	MARK ("reverse", reverse, 1)
	MARK ("zero-sum-in", zero_sum, ZERO_SUM_IN)
	MARK ("zero-sum-out", zero_sum, ZERO_SUM_OUT)
#undef NUMBER
#undef MARK
	if (strcmp (word, "set") == 0 || strcmp (word, "spoil") == 0)
		next_patch (r, s, word[1] == 'p');
	else if (strcmp (word, "about") == 0)
		s->about = next_packet (r);
	else if (s->ip_proto == 6 && flag >= 0)
		s->tcp_flags |= (uint8_t) flag;
	else
		reader_fail (r, "unknown word in a packet", word);
}

static void
check_packet (const reader_t *r, const spec_t *s)
{
	READER_CHECK (r, s->cut % 8 == 0, "pieces are multiples of 8 bytes");
	READER_CHECK (r, !s->piece || s->cut, "piece without cut");
	READER_CHECK (r, s->options % 4 == 0 && s->options <= 40, "options are 0, 4, ... 40 bytes");
	READER_CHECK (r, !s->zero_sum || (s->ip_proto == 17 && s->payload >= 2),
		      "zero-sum needs udp and a payload of 2 bytes");
}

static spec_t *
next_packet (reader_t *r)
{
	READER_CHECK (r, vector_spec_count < VECTOR_SPECS, "too many packets: raise VECTOR_SPECS");
	spec_t *s = &vector_specs[vector_spec_count++];
	const char *word = next_word (r);

	*s = (spec_t){ .ttl = 64 };
	if (strcmp (word, "raw") == 0)
	{
		s->raw_len = next_hex (r, s->raw, sizeof s->raw);
		return s;
	}
	int proto =
		strcmp (word, "ip") == 0 ? (int) next_number (r) : BY_NAME (vector_protocols, word);
	if (proto < 0 || proto > 255)
		reader_fail (r, "unknown protocol", word);
	s->ip_proto = (uint8_t) proto;
	if (proto == 1)
	{
		word = next_word (r);
		int type = strcmp (word, "type") == 0 ? (int) next_number (r)
						      : BY_NAME (vector_icmp_types, word);
		if (type < 0 || type > 255)
			reader_fail (r, "unknown ICMP type", word);
		s->icmp_type = (uint8_t) type;
	}
	s->ends = next_ends (r);
	while (r->at < r->n)
		next_attribute (r, s);
	check_packet (r, s);
	return s;
}

/* ---- expectations ---- */

static const char *const vector_drops[] = {
#define _(NAME, name, text) #name,
	foreach_mvt_drop
#undef _
};

static const char *const vector_passes[] = {
#define _(NAME, name, text) #name,
	foreach_mvt_pass
#undef _
};

static uint8_t
next_reason (reader_t *r, const char *const *names, uint32_t n)
{
	const char *word = next_word (r);
	for (uint32_t i = 0; i < n; i++)
		if (strcmp (names[i], word) == 0)
			return (uint8_t) i;
	reader_fail (r, "unknown reason", word);
}

static want_t
next_want (reader_t *r)
{
	want_t want = { .verdict = MVT_VERDICT_TRANSLATED };

	if (accept_word (r, "held"))
		want.verdict = MVT_VERDICT_HELD;
	else if (accept_word (r, "dropped"))
	{
		want.verdict = MVT_VERDICT_DROPPED;
		want.reason = next_reason (r, vector_drops, MVT_DROP_N);
	}
	else if (accept_word (r, "passed"))
	{
		want.verdict = MVT_VERDICT_PASSED;
		want.reason = next_reason (r, vector_passes, MVT_PASS_N);
	}
	else
	{
		if (accept_word (r, "inside"))
			want.side = SIDE_INSIDE;
		else if (accept_word (r, "outside"))
			want.side = SIDE_OUTSIDE;
		want.ends = next_ends (r);
		want.has_about = accept_word (r, "about");
		if (want.has_about)
			want.about = next_ends (r);
	}
	READER_CHECK (r, r->at == r->n, "words left over at the end of the line");
	return want;
}

/* ---- the lines of a vector ---- */

static void
read_filtering (reader_t *r, mvt_policy_t *p)
{
	static const named_t modes[] = {
		{ "endpoint-independent", MVT_FILTER_EI },
		{ "address-dependent", MVT_FILTER_AD },
		{ "address-and-port-dependent", MVT_FILTER_APD },
	};
	const char *word = next_word (r);
	int mode = BY_NAME (modes, word);
	if (mode < 0)
		reader_fail (r, "unknown filtering", word);
	memset (p->filter, mode, sizeof p->filter);
}

static void
read_static (reader_t *r, vector_t *v)
{
	int proto = BY_NAME (vector_protocols, r->word[r->at]);
	if (proto >= 0)
	{
		READER_CHECK (r, v->n_ports < VECTOR_STATICS, "too many static mappings");
		static_port_t *s = &v->ports[v->n_ports++];
		r->at++;
		s->ip_proto = (uint8_t) proto;
		s->inside = to_end (r, next_word (r));
		s->outside = to_end (r, next_word (r));
		return;
	}
	READER_CHECK (r, v->n_rules < VECTOR_STATICS, "too many 1:1 rules");
	mvt_static_rule_t *rule = &v->rules[v->n_rules++];
	rule->inside = to_prefix (r, next_word (r));
	rule->outside = to_prefix (r, next_word (r));
}

static void
read_config (reader_t *r, vector_t *v)
{
	mvt_policy_t *p = &v->policy;
	const char *key = next_word (r);
	const struct
	{
		const char *name;
		uint32_t *to;
	} numbers[] = {
		{ "block_size", &v->block_size },
		{ "max_mappings", &v->max_mappings },
		{ "max_sessions", &v->max_sessions },
		{ "max_hosts", &v->max_hosts },
		{ "max_blocks_per_host", &p->max_blocks_per_host },
		{ "hold_down.seconds", &v->hold_seconds },
		{ "timeouts.udp", &p->timeout[0] },
		{ "timeouts.tcp_established", &p->timeout[1] },
		{ "timeouts.tcp_transitory", &p->timeout[2] },
		{ "timeouts.tcp_incoming_syn", &p->timeout[3] },
		{ "timeouts.icmp", &p->timeout[4] },
		{ "limits.mappings_per_host", &p->mappings_per_host_all },
		{ "limits.mappings_per_host.udp", &p->mappings_per_host[MVT_PROTO_UDP] },
		{ "limits.mappings_per_host.tcp", &p->mappings_per_host[MVT_PROTO_TCP] },
		{ "limits.mappings_per_host.icmp", &p->mappings_per_host[MVT_PROTO_ICMP] },
		{ "limits.new_per_second_per_host", &p->new_per_second_per_host },
	};

	for (uint32_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
		if (strcmp (key, numbers[i].name) == 0)
		{
			*numbers[i].to = next_number (r);
			return;
		}
	if (strcmp (key, "filtering") == 0)
		read_filtering (r, p);
	else if (strcmp (key, "allocation") == 0)
		v->by_block = strcmp (next_word (r), "block") == 0;
	else if (strcmp (key, "fallback") == 0)
		p->paired_only = strcmp (next_word (r), "false") == 0;
	else if (strcmp (key, "pool") == 0)
	{
		mvt_prefix4_t pool = to_prefix (r, next_word (r));
		READER_CHECK (r, pool.addr == 0xc6336400u && pool.len >= 24,
			      "the pool is 198.51.100.0/24 or a part of it from its beginning");
		v->pool_bits = 32u - pool.len;
	}
	else if (strcmp (key, "ports") == 0)
	{
		if (sscanf (next_word (r), "%u-%u", &v->first_port, &v->last_port) != 2)
			reader_fail (r, "ports are FIRST-LAST", NULL);
	}
	else if (strcmp (key, "exempt") == 0)
	{
		READER_CHECK (r, v->n_exempt < 4, "too many exempt prefixes");
		v->exempt[v->n_exempt++] = to_prefix (r, next_word (r));
	}
	else if (strcmp (key, "static") == 0)
		read_static (r, v);
	else
		reader_fail (r, "unknown configuration", key);
}

static void
read_expect (reader_t *r, step_t *s)
{
	const char *word = next_word (r);

	if (*word != '$')
	{
		s->kind = STEP_COUNT;
		READER_CHECK (r, strlen (word) < sizeof s->name, "too long a name");
		strcpy (s->name, word);
		s->count = next_number (r);
		return;
	}
	s->a = to_term (r, word, false);
	if (accept_word (r, "in"))
	{
		char copy[64];
		snprintf (copy, sizeof copy, "%s", next_word (r));
		char *dash = strchr (copy, '-');
		READER_CHECK (r, dash != NULL, "a range is LOW-HIGH");
		*dash = 0;
		s->kind = STEP_RANGE;
		s->b = to_term (r, copy, false);
		s->c = to_term (r, dash + 1, false);
		return;
	}
	s->kind = accept_word (r, "!=") ? STEP_UNLIKE : STEP_EQUAL;
	if (s->kind == STEP_EQUAL && !accept_word (r, "="))
		reader_fail (r, "expected =, != or in", NULL);
	s->b = to_term (r, next_word (r), false);
}

static step_t *
new_step (reader_t *r, step_kind_t kind)
{
	READER_CHECK (r, vector_step_count < VECTOR_STEPS, "too many steps: raise VECTOR_STEPS");
	step_t *s = &vector_steps[vector_step_count++];
	*s = (step_t){ .kind = kind, .line = r->line };
	r->vector->n_steps++;
	return s;
}

static void
new_vector (reader_t *r)
{
	const char *base = strrchr (r->file, '/');
	READER_CHECK (r, vector_count < VECTOR_MAX, "too many vectors: raise VECTOR_MAX");
	vector_t *v = r->vector = &vector_all[vector_count++];
	*v = (vector_t){
		.line = r->line,
		.instances = { [1] = true, [2] = true, [4] = true },
		.pool_bits = 2,
		.first_port = 1024,
		.last_port = 65535,
		.block_size = 64,
		.max_mappings = 4096,
		.policy.timeout = { 300, 7440, 240, 6, 60 },
		.steps = &vector_steps[vector_step_count],
	};
	snprintf (v->name, sizeof v->name, "%.40s/%.50s", base ? base + 1 : r->file, next_word (r));
	for (uint32_t i = 0; i + 1 < vector_count; i++)
		if (strcmp (vector_all[i].name, v->name) == 0)
			reader_fail (r, "a vector of this name exists", v->name);
}

static void
read_line (reader_t *r)
{
	const char *word = next_word (r);
	step_t *last =
		r->vector && r->vector->n_steps ? &vector_steps[vector_step_count - 1] : NULL;

	if (strcmp (word, "vector") == 0)
		new_vector (r);
	else if (!r->vector)
		reader_fail (r, "a file begins with a vector", word);
	else if (strcmp (word, "shows") == 0)
	{
		r->vector->said = true;
		r->at = r->n;
	}
	else if (strcmp (word, "instances") == 0)
	{
		memset (r->vector->instances, 0, sizeof r->vector->instances);
		while (r->at < r->n)
			r->vector->instances[next_number (r) % 5] = true;
	}
	else if (strcmp (word, "config") == 0)
		read_config (r, r->vector);
	else if (strcmp (word, "wait") == 0)
		new_step (r, STEP_WAIT)->count = next_number (r);
	else if (strcmp (word, "expect") == 0)
		read_expect (r, new_step (r, STEP_COUNT));
	else if (strcmp (word, "in2out") == 0 || strcmp (word, "out2in") == 0)
	{
		step_t *s = new_step (r, STEP_PACKET);
		s->dir = word[0] == 'i' ? MVT_IN2OUT : MVT_OUT2IN;
		s->spec = next_packet (r);
	}
	else if (strcmp (word, "late") == 0)
	{
		step_t *s = new_step (r, STEP_LATE);
		READER_CHECK (r, accept_word (r, "=>"), "expected => after late");
		s->want = next_want (r);
	}
	else if (strcmp (word, "=>") == 0)
	{
		READER_CHECK (r, last && last->kind == STEP_PACKET && !last->want.verdict,
			      "=> belongs to the packet on the line above");
		last->want = next_want (r);
	}
	else
		reader_fail (r, "unknown line", word);
	READER_CHECK (r, r->at == r->n, "words left over at the end of the line");
}

static void
read_vectors (const char *path)
{
	char line[1024];
	uint32_t first_step = vector_step_count, first_vector = vector_count;
	reader_t r = { .file = path };
	FILE *f = fopen (path, "r");

	READER_CHECK (&r, f != NULL, "cannot be read");
	while (fgets (line, sizeof line, f))
	{
		char *save = NULL;
		r.line++;
		READER_CHECK (&r, strchr (line, '\n') != NULL, "too long a line");
		line[strcspn (line, "#\n")] = 0;
		r.at = r.n = 0;
		for (char *w = strtok_r (line, " \t", &save); w; w = strtok_r (NULL, " \t", &save))
		{
			READER_CHECK (&r, r.n < VECTOR_WORDS, "too many words");
			r.word[r.n++] = w;
		}
		r.word[r.n] = NULL;
		if (r.n)
			read_line (&r);
	}
	fclose (f);
	for (uint32_t i = first_vector; i < vector_count; i++)
	{
		r.line = vector_all[i].line;
		READER_CHECK (&r, vector_all[i].said, "a vector says what it shows");
	}
	for (uint32_t i = first_step; i < vector_step_count; i++)
	{
		r.line = vector_steps[i].line;
		READER_CHECK (&r,
			      vector_steps[i].kind != STEP_PACKET || vector_steps[i].want.verdict,
			      "a packet without =>");
	}
}

#endif /* VECTOR_PARSE_H */
