/* SPDX-License-Identifier: Apache-2.0
 *
 * mvt_t: the match-value table, the abstraction that HashMVT is built on.
 *
 * A table is a set of entries e = <M(e), V(e)>. M(e) is a matching field: a value of 32 to 320 bits
 * (an IPv4 address, an endpoint, an IPv6 5-tuple) of which the leading `len` bits count; len 0 is
 * <*>. V(e) is a state value, a timestamp, a timeout, a validity flag and an auxiliary field. A
 * lookup finds the longest valid, unexpired entry whose leading bits are those of a full field.
 * Entries may nest; no two have the same field and length. A *row* is the handle of an entry; it
 * stays the same until the entry is deleted.
 *
 * Two match modes:
 *   MVT_MODE_DEFAULT  one flat hash (mvt_buckets.h) for all lengths; the length is part of the
 *                     key. A bitmap by the top 16 bits of the field tells which lengths exist
 *                     there, so only those are probed, longest first: one probe or two. Tables of
 *                     32-bit fields with room for 65,536 entries or more have a front besides:
 *                     the row of the longest match up to 24 bits of every /24, so that a lookup
 *                     reads one line and the row, and probes only where longer entries lie.
 *   MVT_MODE_PAPER    the paper's: lengths are rounded down to five classes (8, 16, 24, 30, 32 of
 *                     32 bits; width/4, /2, *3/4, -2, width in general) and what falls on one row
 *                     is chained, longest first. Slower on real tables; kept to reproduce.
 * A state cache keyed by the full field may stand in front of both. Each of its lines carries the
 * table's epoch, so every change that could alter an answer invalidates it without a walk; answers
 * "no match" follow the same rule. It helps skewed traffic and costs a few percent on uniform.
 *
 * Hashes are keyed with the table's secret (mvt_crc32c.h): chosen keys spread as random ones.
 * Places to look for a key are bounded; an insert that finds none is refused and counted.
 *
 * Memory is the host's, all of it reserved by mvt_new for max_entries; nothing is allocated later.
 * Time is an argument: `now` is a tick, u32, which may wrap. Expired iff now - last > timeout,
 * never early; timeout 0 is never. An expired entry matches nothing but stays until deleted
 * (mvt_sweep) or renewed.
 *
 * Threads: a table has one owner, who alone calls what takes a mvt_t *. What takes a const mvt_t *
 * writes nothing: any number of threads may call it as long as the owner changes nothing, as
 * with a table that is built, published and replaced whole. A reader that wants counters and a
 * cache of its own attaches a mvt_view_t. The fields' bytes are big-endian (network order);
 * the functions ending in 4 take 32-bit fields in host order.
 *
 * Cost: 32 bytes per entry for fields to 8 bytes, 64 for wider, + 10.3 for the buckets + about as
 * much for counting lengths; 256 KiB of bitmap per 32 bits of width, touched only where used. The
 * front is 64 MiB, touched only where used; an insert or delete of length len <= 24 reads the
 * 2^(24 - len) words of it that the entry covers: 1 us for a /16, some ms for a /1.
 */
#ifndef MVT_TABLE_H
#define MVT_TABLE_H

#include "mvt_buckets.h"
#include "mvt_crc32c.h"

#define MVT_FIELD_BITS_MIN 32
#define MVT_FIELD_BITS_MAX 320

typedef enum
{
	MVT_MODE_DEFAULT = 0,
	MVT_MODE_PAPER = 1,
} mvt_mode_t;

typedef struct
{
	uint32_t field_bits;  /* 32..320, a multiple of 8 */
	uint32_t max_entries; /* 1..2^27 */
	mvt_mode_t mode;
	uint32_t cache_lines; /* state cache: a power of two, or 0 for none */
	uint64_t seed[2]; /* the table's secret; unpredictable wherever fields come from outside */
} mvt_config_t;

/* V(e), and the length of M(e). */
typedef struct
{
	uint64_t state;
	uint32_t last;	  /* tick of the last set or renew */
	uint32_t timeout; /* ticks, 0: never expires */
	uint32_t aux;	  /* the user's own */
	uint16_t len;	  /* bits of the field that count */
	uint8_t valid;	  /* 0: the entry stays, but matches nothing */
	uint8_t used;	  /* the table's own */
} mvt_value_t;

_Static_assert (sizeof (mvt_value_t) == 24, "24 + 8 or + 40 bytes of field: half a line, or one");

typedef struct mvt mvt_t;

/* ---- table operations ---- */

/* Creates an empty table. NULL when the configuration is out of range or there is no memory. The
 * caller owns it until mvt_remove, which takes NULL too; mem is copied. */
mvt_t *mvt_new (const mvt_config_t *config, const mvt_mem_t *mem);
void mvt_remove (mvt_t *t);

/* Does the entry go to the second table? Called once per entry; may not touch the table. */
typedef bool (*mvt_pick_t) (const void *ctx, const void *field, unsigned len,
			    const mvt_value_t *value);

/* shard (T) => {T1, T2}: creates *second with the same configuration and moves there what pick
 * chooses; t keeps the rest, and M(T) = M(T1) u M(T2). Values move unchanged. 0,
 * MVT_ERR_NO_MEMORY or MVT_ERR_FULL; errors leave t as it was and *second NULL. The caller owns
 * *second. Linear in the entries. */
int mvt_shard (mvt_t *t, mvt_pick_t pick, const void *ctx, mvt_t **second);

/* Picks for mvt_shard. By prefixes: entries inside (not above) one of the n prefixes. */
typedef struct
{
	const void *field; /* big-endian, of the table's width */
	unsigned len;
} mvt_prefix_t;

typedef struct
{
	const mvt_prefix_t *prefix;
	unsigned n;
} mvt_pick_prefixes_t;

bool mvt_pick_prefixes (const void *ctx, const void *field, unsigned len, const mvt_value_t *value);

/* By share: about share/65536 of the entries, the same ones for the same seed. */
typedef struct
{
	uint32_t share; /* 0..65536 */
	uint32_t seed;
	uint32_t field_bytes;
} mvt_pick_share_t;

bool mvt_pick_share (const void *ctx, const void *field, unsigned len, const mvt_value_t *value);

/* combine (T1, T2): moves all entries of other to t. 0 and other is empty, still the caller's.
 * MVT_ERR_EXISTS when both hold an entry with the same field and length (whatever the values),
 * MVT_ERR_FULL when they do not fit, MVT_ERR_INVALID when the widths differ or t is other. Errors
 * leave both as they were. Rows in other become invalid. Linear in the entries. */
int mvt_combine (mvt_t *t, mvt_t *other);

typedef enum
{
	MVT_SPLIT_COPY = 0,   /* both halves get the state value: a policy, an owner */
	MVT_SPLIT_DIVIDE = 1, /* it is divided, the odd one to the first half: a counter */
} mvt_split_t;

/* split (e): replaces the entry by its two halves, one bit longer, disjoint and together equal to
 * it: half[0] has the next bit 0, half[1] has it 1. Timestamp, timeout, validity and aux are
 * copied. 0; MVT_ERR_INVALID when it has full length; MVT_ERR_EXISTS when a half is an entry
 * already; MVT_ERR_FULL. Errors change nothing. half may be NULL. => row is in use */
int mvt_split (mvt_t *t, uint32_t row, mvt_split_t how, uint32_t half[2]);

/* merge (e1, e2): replaces two siblings with equal values by their parent, one bit shorter. Equal
 * means state, timeout, validity and aux; the later timestamp is kept. 0 with *merged (may be
 * NULL) the parent's row; MVT_ERR_NOT_SIBLINGS when they are no siblings or differ;
 * MVT_ERR_EXISTS when the parent is an entry already; MVT_ERR_FULL. Errors change nothing.
 * => the rows are in use */
int mvt_merge (mvt_t *t, uint32_t a, uint32_t b, uint32_t *merged);

/* ---- entry operations ---- */

/* Row of the entry with exactly this field and length, expired or not; MVT_NONE. Bits of field
 * below len are ignored, here and everywhere. */
uint32_t mvt_get (const mvt_t *t, const void *field, unsigned len);

/* What a row holds. Valid until the entry is deleted. => row is in use */
const mvt_value_t *mvt_value (const mvt_t *t, uint32_t row);
/* M(e): field_bits / 8 bytes, big-endian, bits below value->len are 0. */
const uint8_t *mvt_field (const mvt_t *t, uint32_t row);

/* Inserts an entry, or gives an existing one the new state and timeout; it is valid and its
 * timestamp is now; aux is kept, 0 at first. *row (may be NULL) is its row. 0; MVT_ERR_INVALID when
 * len is too long; MVT_ERR_FULL, counted. Errors change nothing. */
int mvt_set (mvt_t *t, const void *field, unsigned len, uint64_t state, uint32_t timeout,
	     uint32_t now, uint32_t *row);

/* Removes one entry. => row is in use */
void mvt_delete (mvt_t *t, uint32_t row);

/* Adds to the state value, modulo 2^64; returns the new one. The timestamp stays.
 * => row is in use */
uint64_t mvt_inc (mvt_t *t, uint32_t row, uint64_t delta);
/* Replaces the state value only; the cheap set of a known row. => row is in use */
void mvt_store (mvt_t *t, uint32_t row, uint64_t state);
void mvt_timeout (mvt_t *t, uint32_t row, uint32_t timeout);
/* Timestamp = now; an expired entry lives again. */
void mvt_renew (mvt_t *t, uint32_t row, uint32_t now);
void mvt_set_valid (mvt_t *t, uint32_t row, bool valid);
void mvt_set_aux (mvt_t *t, uint32_t row, uint32_t aux);

static inline bool
mvt_expired (const mvt_value_t *value, uint32_t now)
{
	return value->timeout && now - value->last > value->timeout;
}

/* ---- matching ---- */

/* Longest match for a full field, through the state cache; counts. Row or MVT_NONE. */
uint32_t mvt_lookup (mvt_t *t, const void *field, uint32_t now);

/* The same for n fields that lie one after the other (field_bits / 8 bytes each), in stages so
 * that memory accesses overlap. Goes past the state cache, and takes a step of a growth under
 * way. => n <= MVT_BATCH_MAX */
void mvt_lookup_batch (mvt_t *t, const void *fields, unsigned n, uint32_t now, uint32_t *rows);

/* Longest match that writes nothing: no cache, no counters. */
uint32_t mvt_lookup_shared (const mvt_t *t, const void *field, uint32_t now);
void mvt_lookup_batch_shared (const mvt_t *t, const void *fields, unsigned n, uint32_t now,
			      uint32_t *rows);

/* Rows whose hits a view counts each for itself; the first ones, so all of most tables. */
#define MVT_VIEW_ROWS 4096u

/* A reader's own cache and counters over a table that others read too. Belongs to one thread. */
typedef struct mvt_view mvt_view_t;

/* NULL when cache_lines is neither 0 nor a power of two, or there is no memory. The caller owns the
 * view until mvt_view_remove. => t outlives the view or its next mvt_view_attach; NULL: a table of
 * 32-bit fields is attached before the first lookup */
mvt_view_t *mvt_view_new (const mvt_t *t, uint32_t cache_lines, const mvt_mem_t *mem);
void mvt_view_remove (mvt_view_t *view);
/* Turns the view to another table of the same width, as when a snapshot is replaced. What was
 * cached is forgotten, and hits of rows begin at 0; other counters go on. MVT_ERR_INVALID when the
 * widths differ. */
int mvt_view_attach (mvt_view_t *view, const mvt_t *t);
uint32_t mvt_view_lookup (mvt_view_t *view, const void *field, uint32_t now);
/* Lookups since the last attach that this row was the answer of. => row < MVT_VIEW_ROWS */
uint64_t mvt_view_hits (const mvt_view_t *view, uint32_t row);

/* ---- walks, counters, checks ---- */

/* The next entry from *cursor on (0 to begin): true with *row, false at the end. Each entry that
 * exists throughout is seen once; any entry may be deleted on the way. */
bool mvt_iterate (const mvt_t *t, uint32_t *cursor, uint32_t *row);

/* Deletes expired entries among the next n rows from *cursor on, which wraps to 0 at the end;
 * the number deleted. A few rows per batch age a table without a stall. */
uint32_t mvt_sweep (mvt_t *t, uint32_t *cursor, uint32_t n, uint32_t now);

typedef struct
{
	uint64_t lookups, hits; /* hits include cache_hits */
	uint64_t cache_hits;	/* answered by the state cache, negative answers too */
} mvt_match_stats_t;

typedef struct
{
	mvt_match_stats_t match;
	uint32_t entries;
	uint64_t refused; /* MVT_ERR_FULL */
	/* DEFAULT */
	uint32_t buckets;    /* now */
	uint32_t stashed;    /* entries in the stash now */
	uint32_t alternates; /* entries in their alternate bucket now */
	uint64_t grown;	     /* doublings */
	/* PAPER: rows in use and what is chained on them */
	uint32_t rows;	    /* in use or not */
	uint32_t chains;    /* rows in use */
	uint32_t chain_max; /* longest chain */
	uint64_t
		chain_squares; /* of the chains' lengths; by entries: what a mean entry's row has */
	uint64_t same_key;     /* inserts that met an entry with the same class and masked key */
	uint64_t same_hash;    /* of the others: met an equal 32-bit hash */
	uint64_t same_row;     /* of the others: met an occupied row */
} mvt_stats_t;

/* Counters of the table. Walks all rows (PAPER) or buckets (DEFAULT). */
void mvt_stats (const mvt_t *t, mvt_stats_t *stats);
void mvt_view_stats (const mvt_view_t *view, mvt_match_stats_t *stats);

const mvt_config_t *mvt_config (const mvt_t *t);
uint32_t mvt_entries (const mvt_t *t);

/* For tests: checks every invariant. 0, or a negative number that names the broken one. */
int mvt_verify (const mvt_t *t);

/* ---- 32-bit fields in host order ---- => the table's field_bits is 32 */

uint32_t mvt_lookup4 (mvt_t *t, uint32_t addr, uint32_t now);
uint32_t mvt_lookup4_shared (const mvt_t *t, uint32_t addr, uint32_t now);
uint32_t mvt_view_lookup4 (mvt_view_t *view, uint32_t addr, uint32_t now);
void mvt_lookup4_batch (mvt_t *t, const uint32_t *addrs, unsigned n, uint32_t now, uint32_t *rows);

static inline int
mvt_set4 (mvt_t *t, uint32_t addr, unsigned len, uint64_t state)
{
	uint8_t field[4] = { (uint8_t) (addr >> 24), (uint8_t) (addr >> 16), (uint8_t) (addr >> 8),
			     (uint8_t) addr };
	return mvt_set (t, field, len, state, 0, 0, NULL);
}

static inline uint32_t
mvt_get4 (const mvt_t *t, uint32_t addr, unsigned len)
{
	uint8_t field[4] = { (uint8_t) (addr >> 24), (uint8_t) (addr >> 16), (uint8_t) (addr >> 8),
			     (uint8_t) addr };
	return mvt_get (t, field, len);
}

#endif /* MVT_TABLE_H */
