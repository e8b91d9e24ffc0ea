/* SPDX-License-Identifier: Apache-2.0 */
#include "mvt_frag.h"
#include "mvt_crc32c.h"

#define WAYS		8u
#define LIMIT		(1u << 20)
#define DATAGRAM_LIMIT	8191u
#define DEFAULT_RECORDS 1024u
#define DEFAULT_HELD	4096u
#define DEFAULT_EACH	64u
#define DEFAULT_TIMEOUT 2u

typedef struct
{
	uint32_t tag[WAYS]; /* 0: free */
	uint32_t record[WAYS];
} bucket_t;

_Static_assert (sizeof (bucket_t) == MVT_CACHE_LINE, "a lookup reads one line of tags");

enum
{
	UNUSED = 0,
	WAITING, /* port unknown, fragments held */
	KNOWN,
	COMPLETE, /* known, and all of its bytes were seen */
};

typedef struct
{
	uint32_t src, dst;
	uint16_t ip_id;
	uint8_t ip_proto;
	uint8_t dir;
} datagram_t;

typedef struct
{
	datagram_t key;
	uint32_t born;	     /* tick of the datagram's first packet */
	uint32_t seen;	     /* bytes; a duplicate counts twice, so only a hint */
	uint32_t end;	     /* bytes of the whole, once the last fragment was seen; else 0 */
	uint32_t first_held; /* oldest held packet */
	uint32_t last_held;
	uint32_t prev, next; /* in `live` or `done`; next also in the free list */
	uint32_t place;	     /* bucket * WAYS + way */
	uint16_t held;
	uint16_t port;
	uint16_t rem_port;
	uint16_t to;
	uint8_t state;
	uint8_t pad;
} record_t;

typedef struct
{
	mvt_pkt_t pkt;
	uint32_t next;
	uint32_t pad;
} held_t;

typedef struct
{
	uint32_t head, tail;
} list_t;

/* Free indices: those given back, chained, and those never used, from `fresh` on, so that memory
 * which was never needed is never touched. */
typedef struct
{
	uint32_t head, fresh, max, used;
} stock_t;

struct mvt_frag
{
	bucket_t *buckets;
	record_t *records;
	held_t *held;
	uint32_t bucket_mask;
	uint32_t max_each;
	uint32_t timeout;
	uint32_t n_ready;
	stock_t record_stock, held_stock;
	list_t live;  /* WAITING and KNOWN, oldest first: one timeout for all keeps it sorted */
	list_t done;  /* COMPLETE */
	list_t ready; /* packets for mvt_frag_take */
	mvt_secret_t secret;
	mvt_mem_t mem;
	size_t size;
};

/* ---- lists ---- */

static list_t *
list_of (mvt_frag_t *f, const record_t *r)
{
	return r->state == COMPLETE ? &f->done : &f->live;
}

static void
list_append (mvt_frag_t *f, record_t *r)
{
	list_t *list = list_of (f, r);
	uint32_t index = (uint32_t) (r - f->records);

	r->prev = list->tail;
	r->next = MVT_NONE;
	if (list->tail == MVT_NONE)
		list->head = index;
	else
		f->records[list->tail].next = index;
	list->tail = index;
}

static void
list_remove (mvt_frag_t *f, record_t *r)
{
	list_t *list = list_of (f, r);

	if (r->prev == MVT_NONE)
		list->head = r->next;
	else
		f->records[r->prev].next = r->next;
	if (r->next == MVT_NONE)
		list->tail = r->prev;
	else
		f->records[r->next].prev = r->prev;
}

static void
ready_append (mvt_frag_t *f, uint32_t index)
{
	f->held[index].next = MVT_NONE;
	if (f->ready.tail == MVT_NONE)
		f->ready.head = index;
	else
		f->held[f->ready.tail].next = index;
	f->ready.tail = index;
	f->n_ready++;
}

/* ---- records ---- */

static uint32_t
hash_of (const mvt_frag_t *f, const datagram_t *key)
{
	uint64_t words[2] = {
		(uint64_t) key->src << 32 | key->dst,
		(uint64_t) key->ip_id << 16 | (uint64_t) key->ip_proto << 8 | key->dir,
	};
	uint32_t hash = mvt_hash_words (words, 2, 0, &f->secret);

	return hash ? hash : 1;
}

static datagram_t
key_of (const mvt_pkt_t *pkt, const mvt_parsed_t *parsed)
{
	return (datagram_t){ .src = parsed->src,
			     .dst = parsed->dst,
			     .ip_id = parsed->ip_id,
			     .ip_proto = parsed->ip_proto,
			     .dir = pkt->dir };
}

static bool
key_equal (const datagram_t *a, const datagram_t *b)
{
	return a->src == b->src && a->dst == b->dst && a->ip_id == b->ip_id &&
	       a->ip_proto == b->ip_proto && a->dir == b->dir;
}

static bool
expired (const mvt_frag_t *f, const record_t *r, uint32_t now)
{
	return now - r->born > f->timeout;
}

/* What a record holds becomes ready: released when its port is known, else timed out. */
static void
hand_back (mvt_frag_t *f, record_t *r)
{
	for (uint32_t i = r->first_held, next; i != MVT_NONE; i = next)
	{
		mvt_pkt_t *pkt = &f->held[i].pkt;

		next = f->held[i].next;
		if (r->state == WAITING)
		{
			pkt->verdict = MVT_VERDICT_DROPPED;
			pkt->reason = MVT_DROP_FRAGMENT_TIMEOUT;
		}
		else
		{
			pkt->verdict = MVT_VERDICT_NONE;
			pkt->l4_port = r->port;
			pkt->rem_port = r->rem_port;
			pkt->to = r->to;
			pkt->flags |= MVT_PKT_PORT_KNOWN;
		}
		ready_append (f, i);
	}
	r->first_held = r->last_held = MVT_NONE;
	r->held = 0;
}

static void
give_up (mvt_frag_t *f, record_t *r)
{
	hand_back (f, r);
	list_remove (f, r);
	f->buckets[r->place / WAYS].tag[r->place % WAYS] = 0;
	r->state = UNUSED;
	r->next = f->record_stock.head;
	f->record_stock.head = (uint32_t) (r - f->records);
	f->record_stock.used--;
}

static record_t *
record_find (mvt_frag_t *f, const datagram_t *key, uint32_t hash, uint32_t now)
{
	const bucket_t *bucket = &f->buckets[hash & f->bucket_mask];

	for (uint32_t i = 0; i < WAYS; i++)
	{
		if (bucket->tag[i] != hash)
			continue;
		record_t *r = &f->records[bucket->record[i]];
		if (!key_equal (&r->key, key))
			continue;
		if (!expired (f, r, now))
			return r;
		give_up (f, r);
		return NULL;
	}
	return NULL;
}

/* A free way of a bucket, if need be that of a record that may be given up; or WAYS. */
static uint32_t
bucket_room (mvt_frag_t *f, bucket_t *bucket, uint32_t now)
{
	for (uint32_t i = 0; i < WAYS; i++)
		if (bucket->tag[i] == 0)
			return i;
	for (uint32_t i = 0; i < WAYS; i++)
	{
		record_t *r = &f->records[bucket->record[i]];
		if (r->state == COMPLETE || expired (f, r, now))
		{
			give_up (f, r);
			return i;
		}
	}
	return WAYS;
}

/* An index from the stock, or MVT_NONE. */
static uint32_t
record_take (mvt_frag_t *f)
{
	stock_t *stock = &f->record_stock;
	uint32_t index = stock->head;

	if (index != MVT_NONE)
		stock->head = f->records[index].next;
	else if (stock->fresh < stock->max)
		index = stock->fresh++;
	else
		return MVT_NONE;
	stock->used++;
	return index;
}

static uint32_t
held_take (mvt_frag_t *f)
{
	stock_t *stock = &f->held_stock;
	uint32_t index = stock->head;

	if (index != MVT_NONE)
		stock->head = f->held[index].next;
	else if (stock->fresh < stock->max)
		index = stock->fresh++;
	else
		return MVT_NONE;
	stock->used++;
	return index;
}

/* A new record, in no list yet; NULL when everything is live. */
static record_t *
record_new (mvt_frag_t *f, const datagram_t *key, uint32_t hash, uint32_t now)
{
	uint32_t b = hash & f->bucket_mask;
	uint32_t way = bucket_room (f, &f->buckets[b], now);
	if (way == WAYS)
		return NULL;

	uint32_t index = record_take (f);
	if (index == MVT_NONE)
	{
		uint32_t oldest = f->done.head != MVT_NONE ? f->done.head : f->live.head;
		record_t *r = &f->records[oldest];
		if (r->state != COMPLETE && !expired (f, r, now))
			return NULL;
		give_up (f, r);
		index = record_take (f);
	}

	record_t *r = &f->records[index];
	*r = (record_t){ .key = *key,
			 .born = now,
			 .first_held = MVT_NONE,
			 .last_held = MVT_NONE,
			 .place = b * WAYS + way };
	f->buckets[b].tag[way] = hash;
	f->buckets[b].record[way] = index;
	return r;
}

/* Count a fragment's bytes. */
static void
account (record_t *r, const mvt_parsed_t *parsed)
{
	r->seen += parsed->l4_len;
	if (!parsed->more)
		r->end = (uint32_t) parsed->frag_off + parsed->l4_len;
}

static void
settle (mvt_frag_t *f, record_t *r)
{
	if (r->state != KNOWN || r->end == 0 || r->seen < r->end)
		return;
	list_remove (f, r);
	r->state = COMPLETE;
	list_append (f, r);
}

/* ---- the public part ---- */

static size_t
align_up (size_t n)
{
	return (n + MVT_CACHE_LINE - 1) / MVT_CACHE_LINE * MVT_CACHE_LINE;
}

mvt_err_t
mvt_frag_new (const mvt_frag_config_t *config, const mvt_mem_t *mem, mvt_frag_t **out)
{
	uint32_t records = config->max_records ? config->max_records : DEFAULT_RECORDS;
	uint32_t held = config->max_held ? config->max_held : DEFAULT_HELD;
	uint32_t each =
		config->max_held_per_datagram ? config->max_held_per_datagram : DEFAULT_EACH;

	if (records > LIMIT || held > LIMIT || each > DATAGRAM_LIMIT)
		return MVT_ERR_INVALID;

	uint32_t buckets = 1;
	while (buckets < records)
		buckets *= 2;

	size_t at_buckets = align_up (sizeof (mvt_frag_t));
	size_t at_records = at_buckets + buckets * sizeof (bucket_t);
	size_t at_held = at_records + align_up (records * sizeof (record_t));
	size_t size = at_held + align_up (held * sizeof (held_t));

	uint8_t *p = mvt_mem_alloc (mem, size, MVT_CACHE_LINE);
	if (!p)
		return MVT_ERR_NO_MEMORY;

	mvt_frag_t *f = (mvt_frag_t *) p;
	*f = (mvt_frag_t){
		.buckets = (bucket_t *) (p + at_buckets),
		.records = (record_t *) (p + at_records),
		.held = (held_t *) (p + at_held),
		.bucket_mask = buckets - 1,
		.max_each = each,
		.timeout = config->timeout ? config->timeout : DEFAULT_TIMEOUT,
		.record_stock = { .head = MVT_NONE, .max = records },
		.held_stock = { .head = MVT_NONE, .max = held },
		.live = { MVT_NONE, MVT_NONE },
		.done = { MVT_NONE, MVT_NONE },
		.ready = { MVT_NONE, MVT_NONE },
		.mem = *mem,
		.size = size,
	};
	mvt_secret_init (&f->secret, config->seed);
	*out = f;
	return MVT_OK;
}

void
mvt_frag_remove (mvt_frag_t *f)
{
	if (!f)
		return;
	mvt_mem_t mem = f->mem;
	mvt_mem_free (&mem, f, f->size);
}

static mvt_frag_verdict_t
overflow (mvt_pkt_t *pkt)
{
	pkt->verdict = MVT_VERDICT_DROPPED;
	pkt->reason = MVT_DROP_FRAGMENT_OVERFLOW;
	return MVT_FRAG_DROP;
}

mvt_frag_verdict_t
mvt_frag_process (mvt_frag_t *f, mvt_pkt_t *pkt, const mvt_parsed_t *parsed, uint32_t now)
{
	datagram_t key = key_of (pkt, parsed);
	uint32_t hash = hash_of (f, &key);
	record_t *r = record_find (f, &key, hash, now);

	if (r && r->state != WAITING)
	{
		pkt->l4_port = r->port;
		pkt->rem_port = r->rem_port;
		pkt->to = r->to;
		pkt->flags |= MVT_PKT_PORT_KNOWN;
		account (r, parsed);
		settle (f, r);
		return MVT_FRAG_KNOWN;
	}

	if (r && r->held >= f->max_each)
		return overflow (pkt);
	if (f->held_stock.used == f->held_stock.max)
		return overflow (pkt);
	if (!r)
	{
		r = record_new (f, &key, hash, now);
		if (!r)
			return overflow (pkt);
		r->state = WAITING;
		list_append (f, r);
	}

	uint32_t index = held_take (f);
	pkt->verdict = MVT_VERDICT_HELD;
	f->held[index] = (held_t){ .pkt = *pkt, .next = MVT_NONE };
	if (r->last_held == MVT_NONE)
		r->first_held = index;
	else
		f->held[r->last_held].next = index;
	r->last_held = index;
	r->held++;
	account (r, parsed);
	return MVT_FRAG_HELD;
}

bool
mvt_frag_first (mvt_frag_t *f, const mvt_pkt_t *pkt, const mvt_parsed_t *parsed, uint16_t to,
		uint32_t now, mvt_drop_t *drop)
{
	datagram_t key = key_of (pkt, parsed);
	uint32_t hash = hash_of (f, &key);
	uint16_t port = pkt->dir == MVT_IN2OUT ? parsed->sport : parsed->dport;
	uint16_t rem_port = pkt->dir == MVT_IN2OUT ? parsed->dport : parsed->sport;
	record_t *r = record_find (f, &key, hash, now);

	if (r && r->state == COMPLETE)
	{
		/* the IP id has come round (RFC 4963): a new datagram */
		give_up (f, r);
		r = NULL;
	}
	if (r && r->state == KNOWN && (r->port != port || r->rem_port != rem_port))
	{
		*drop = MVT_DROP_FRAGMENT_INVALID;
		return false;
	}
	if (!r)
	{
		r = record_new (f, &key, hash, now);
		if (!r)
		{
			*drop = MVT_DROP_FRAGMENT_OVERFLOW;
			return false;
		}
		r->state = WAITING;
		list_append (f, r);
	}
	if (r->state == WAITING)
	{
		r->state = KNOWN;
		r->port = port;
		r->rem_port = rem_port;
		r->to = to;
		hand_back (f, r);
	}
	account (r, parsed);
	settle (f, r);
	return true;
}

uint32_t
mvt_frag_take (mvt_frag_t *f, mvt_pkt_t *out, uint32_t max)
{
	uint32_t n = 0;

	while (n < max && f->ready.head != MVT_NONE)
	{
		uint32_t index = f->ready.head;
		held_t *h = &f->held[index];

		out[n++] = h->pkt;
		f->ready.head = h->next;
		h->next = f->held_stock.head;
		f->held_stock.head = index;
		f->held_stock.used--;
	}
	if (f->ready.head == MVT_NONE)
		f->ready.tail = MVT_NONE;
	f->n_ready -= n;
	return n;
}

uint32_t
mvt_frag_expire (mvt_frag_t *f, uint32_t now, uint32_t budget)
{
	uint32_t n = 0;

	for (list_t *list = &f->live; list; list = list == &f->live ? &f->done : NULL)
	{
		while (n < budget && list->head != MVT_NONE &&
		       expired (f, &f->records[list->head], now))
		{
			give_up (f, &f->records[list->head]);
			n++;
		}
	}
	return n;
}

void
mvt_frag_flush (mvt_frag_t *f)
{
	while (f->live.head != MVT_NONE)
		give_up (f, &f->records[f->live.head]);
	while (f->done.head != MVT_NONE)
		give_up (f, &f->records[f->done.head]);
}

uint32_t
mvt_frag_records (const mvt_frag_t *f)
{
	return f->record_stock.used;
}

uint32_t
mvt_frag_held (const mvt_frag_t *f)
{
	return f->held_stock.used;
}

uint32_t
mvt_frag_ready (const mvt_frag_t *f)
{
	return f->n_ready;
}

/* ---- invariants ---- */

#define CHECK(condition)                 \
	do                               \
	{                                \
		if (!(condition))        \
			return __LINE__; \
	} while (0)

static int
verify_list (const mvt_frag_t *f, const list_t *list, bool done, uint32_t *n, uint32_t *held)
{
	uint32_t prev = MVT_NONE;

	for (uint32_t i = list->head; i != MVT_NONE; prev = i, i = f->records[i].next)
	{
		const record_t *r = &f->records[i];
		const bucket_t *bucket = &f->buckets[r->place / WAYS];
		uint32_t packets = 0, last = MVT_NONE;

		CHECK (++*n <= f->record_stock.used);
		CHECK (r->prev == prev);
		CHECK (done ? r->state == COMPLETE : r->state == WAITING || r->state == KNOWN);
		CHECK (bucket->tag[r->place % WAYS] == hash_of (f, &r->key));
		CHECK (bucket->record[r->place % WAYS] == i);
		for (uint32_t h = r->first_held; h != MVT_NONE; last = h, h = f->held[h].next)
			CHECK (++packets <= r->held);
		CHECK (packets == r->held && last == r->last_held);
		CHECK (r->held <= f->max_each);
		CHECK ((r->state == WAITING) == (r->held != 0));
		*held += packets;
	}
	CHECK (list->tail == prev);
	return 0;
}

int
mvt_frag_verify (const mvt_frag_t *f)
{
	uint32_t n = 0, held = 0, tags = 0, ready = 0, last = MVT_NONE;
	int line = verify_list (f, &f->live, false, &n, &held);

	if (line == 0)
		line = verify_list (f, &f->done, true, &n, &held);
	if (line)
		return line;
	for (uint32_t i = 0; i <= f->bucket_mask; i++)
		for (uint32_t w = 0; w < WAYS; w++)
			tags += f->buckets[i].tag[w] != 0;
	for (uint32_t h = f->ready.head; h != MVT_NONE; last = h, h = f->held[h].next)
		CHECK (++ready <= f->n_ready);
	CHECK (last == f->ready.tail && ready == f->n_ready);
	CHECK (n == f->record_stock.used && n == tags);
	CHECK (held + ready == f->held_stock.used);
	CHECK (f->held_stock.used <= f->held_stock.max);
	CHECK (f->record_stock.used <= f->record_stock.max);
	return 0;
}
