/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of mvt_t. Only the mvt_table_*.c files and their tests include it.
 */
#ifndef MVT_TABLE_PRIVATE_H
#define MVT_TABLE_PRIVATE_H

#include "mvt_table.h"

#define MVT_TABLE_MAX_ENTRIES (1u << 27)
#define MVT_CLASSES	      6	   /* <*> to the first class, then the paper's five */
#define MVT_CHAIN_MAX	      1024 /* entries on one row of PAPER mode, refused beyond */
#define MVT_AHEAD                                                                \
	2 /* hashes computed and prefetched before the first is compared: 4 of 5 \
	   * lookups in the global routing table end with these */

/* A field in host order: word 0 holds its first 64 bits, what is beyond the field is 0. */
typedef struct
{
	uint64_t word[MVT_KEY_WORDS_MAX];
} mvt_key_t;

/* Which lengths exist below each value of the field's top 16 bits. Bit len - 1 of a slot's bits
 * says that one does. A length of 16 or less is marked in every slot that it covers; it is alone
 * there. A longer one is counted per <slot, length>, so that its bit goes with the last of them. */
typedef struct
{
	uint32_t *bits; /* [65536][stride] */
	uint32_t stride;
	uint32_t free_mark, high_mark, n_marks;
	struct mvt_mark *marks;
	mvt_buckets_t counts; /* <slot, length> -> mark */
} mvt_lengths_t;

typedef struct mvt_mark
{
	uint32_t slot;
	uint32_t len;
	uint32_t count; /* of a free mark: the next free one */
} mvt_mark_t;

int mvt_lengths_init (mvt_lengths_t *l, uint32_t field_bits, uint32_t max, const mvt_mem_t *mem);
void mvt_lengths_exit (mvt_lengths_t *l, const mvt_mem_t *mem);
/* One more, one less entry of this length under slot. add: 0 or MVT_ERR_FULL. */
int mvt_lengths_add (mvt_lengths_t *l, const mvt_secret_t *s, uint32_t slot, uint32_t len);
void mvt_lengths_sub (mvt_lengths_t *l, const mvt_secret_t *s, uint32_t slot, uint32_t len);
/* Entries of this length under slot, lengths above 16 only; for verify. */
uint32_t mvt_lengths_count (const mvt_lengths_t *l, const mvt_secret_t *s, uint32_t slot,
			    uint32_t len);
int mvt_lengths_verify (const mvt_lengths_t *l, const mvt_secret_t *s);

/* The front of a large table of 32-bit fields: for each /24 the row of its longest match up to that
 * length + 1, 0 where there is none but <*>, and whether longer entries lie in it. So a lookup
 * reads one line here, its row, and seldom a bucket. */
#define MVT_FRONT_SIZE	 ((size_t) 1 << 24)
#define MVT_FRONT_MIN	 65536u /* entries that a table must have room for to have a front */
#define MVT_FRONT_ROW	 0x0fffffffu
#define MVT_FRONT_LONGER 0x80000000u

_Static_assert (MVT_TABLE_MAX_ENTRIES + 1 <= MVT_FRONT_ROW, "a row + 1 fits");

/* State cache. A line holds the answer for one full field in one epoch of the table. */
typedef struct
{
	uint64_t epoch; /* 0: empty */
	uint32_t row;	/* MVT_NONE: no match, which is an answer too */
	uint32_t key4;	/* fields of 4 bytes end here: 16 bytes a line */
	mvt_key_t key;
	uint64_t unused;
} mvt_cache_line_t;

_Static_assert (offsetof (mvt_cache_line_t, key) == 16, "a short line is a quarter");
_Static_assert (sizeof (mvt_cache_line_t) == MVT_CACHE_LINE, "a long line is one line");

typedef struct
{
	uint8_t *lines;
	uint32_t n, shift; /* number, log2 of a line's bytes */
} mvt_cache_t;

struct mvt
{
	/* what a lookup reads */
	uint8_t *rows;
	uint32_t row_shift;   /* log2 of a row's bytes: 5 or 6 */
	uint32_t words;	      /* of a field */
	uint64_t epoch;	      /* raised by every change that may alter an answer; from 1 */
	uint32_t default_row; /* of the entry <*>, MVT_NONE if there is none (DEFAULT) */
	uint32_t chain_mask;
	uint32_t *chain; /* PAPER: [chain_mask + 1] first row + 1, 0: empty */
	uint32_t *next;	 /* PAPER: [n_rows] next row + 1 in the chain */
	uint32_t *front; /* DEFAULT: [MVT_FRONT_SIZE], NULL for wide or small tables */
	mvt_secret_t secret;
	mvt_buckets_t buckets;
	mvt_lengths_t lengths;
	mvt_cache_t cache;
	mvt_match_stats_t match;
	uint16_t class_bits[MVT_CLASSES];
	uint32_t class_count[MVT_CLASSES];
	/* the rest */
	uint32_t entries, n_rows, high, free;
	uint64_t refused, same_key, same_hash, same_row;
	mvt_config_t config;
	mvt_mem_t mem;
};

/* ---- rows ---- */

static inline mvt_value_t *
mvt_row (const mvt_t *t, uint32_t row)
{
	return (mvt_value_t *) (void *) (t->rows + ((size_t) row << t->row_shift));
}

static inline uint8_t *
mvt_row_field (const mvt_t *t, uint32_t row)
{
	return (uint8_t *) (mvt_row (t, row) + 1);
}

static inline bool
mvt_row_live (const mvt_value_t *v, uint32_t now)
{
	return v->valid && !mvt_expired (v, now);
}

/* ---- fields as words ---- */

static inline void
mvt_key_load (mvt_key_t *key, const uint8_t *field, uint32_t bytes)
{
	uint32_t i = 0;
	for (; bytes >= 8; bytes -= 8, field += 8)
		key->word[i++] = mvt_load64 (field);
	if (bytes)
	{
		uint64_t w = 0;
		for (uint32_t b = 0; b < bytes; b++)
			w |= (uint64_t) field[b] << (56 - 8 * b);
		key->word[i++] = w;
	}
	for (; i < MVT_KEY_WORDS_MAX; i++)
		key->word[i] = 0;
}

static inline uint32_t
mvt_key_slot (const mvt_key_t *key)
{
	return (uint32_t) (key->word[0] >> 48);
}

/* Leading len bits of a 64-bit word; len 0..64 */
static inline uint64_t
mvt_mask64 (uint32_t len)
{
	return len ? ~0ull << (64 - len) : 0;
}

static inline uint32_t
mvt_mask32 (uint32_t len)
{
	return len ? ~0u << (32 - len) : 0;
}

static inline void
mvt_key_mask (mvt_key_t *out, const mvt_key_t *key, uint32_t len, uint32_t words)
{
	uint32_t i = 0;
	do
	{
		uint32_t bits = len > 64 * i ? len - 64 * i : 0;
		out->word[i] = key->word[i] & mvt_mask64 (bits < 64 ? bits : 64);
	} while (++i < words);
	for (; i < MVT_KEY_WORDS_MAX; i++)
		out->word[i] = 0;
}

/* Hash of a masked key and its length, or its class in PAPER mode. The two functions agree where
 * a field has one word. */
static inline uint32_t
mvt_prefix_hash (const mvt_t *t, const mvt_key_t *masked, uint32_t len)
{
	return mvt_hash_words (masked->word, len > 64 ? (len + 63) / 64 : 1, len, &t->secret);
}

static inline uint32_t
mvt_prefix_hash4 (const mvt_t *t, uint32_t masked, uint32_t len)
{
	uint64_t word = (uint64_t) masked << 32;
	return mvt_hash_words (&word, 1, len, &t->secret);
}

/* Are the leading len bits of the row's field those of key? => masked to len */
static inline bool
mvt_row_is (const mvt_t *t, uint32_t row, const mvt_key_t *masked, uint32_t len)
{
	const uint8_t *field = mvt_row_field (t, row);
	uint64_t differ = mvt_row (t, row)->len ^ len;
	for (uint32_t i = 0; i < t->words; i++)
		differ |= mvt_load64 (field + 8 * i) ^ masked->word[i];
	return differ == 0;
}

/* Fills *key with the row's field. */
static inline void
mvt_row_key (const mvt_t *t, uint32_t row, mvt_key_t *key)
{
	mvt_key_load (key, mvt_row_field (t, row), t->config.field_bits / 8);
}

/* ---- lengths ---- */

/* The longest length below `limit` in a slot's bits, 0 when there is none. */
static inline uint32_t
mvt_lengths_below (const uint32_t *bits, uint32_t limit)
{
	uint32_t top = limit - 1; /* lengths 1..top are bits 0..top-1 */
	for (uint32_t i = (top + 31) / 32; i-- > 0; top = 32 * i)
	{
		uint32_t n = top - 32 * i;
		uint32_t word = bits[i] & (n < 32 ? (1u << n) - 1 : ~0u);
		if (word)
			return 32 * i + 32 - (uint32_t) __builtin_clz (word);
	}
	return 0;
}

/* ---- DEFAULT mode ---- */

/* Row with exactly this field and length, MVT_NONE. mvt_table.c */
uint32_t mvt_default_get (const mvt_t *t, const mvt_key_t *key, uint32_t len);

/* The front, mvt_table_front.c. add: the entry is in buckets and lengths; sub: no longer. */
int mvt_front_init (mvt_t *t);
void mvt_front_exit (mvt_t *t);
void mvt_front_add (mvt_t *t, uint32_t row, const mvt_key_t *masked, uint32_t len);
void mvt_front_sub (mvt_t *t, uint32_t row, const mvt_key_t *masked, uint32_t len);
int mvt_front_verify (const mvt_t *t);

/* ---- PAPER mode, mvt_table_paper.c ---- */

int mvt_paper_init (mvt_t *t);
void mvt_paper_exit (mvt_t *t);
int mvt_paper_link (mvt_t *t, uint32_t row);
void mvt_paper_unlink (mvt_t *t, uint32_t row);
uint32_t mvt_paper_get (const mvt_t *t, const mvt_key_t *masked, uint32_t len);
uint32_t mvt_paper_find (const mvt_t *t, const mvt_key_t *key, uint32_t now);
void mvt_paper_prefetch (const mvt_t *t, const mvt_key_t *key);
void mvt_paper_stats (const mvt_t *t, mvt_stats_t *stats);
int mvt_paper_verify (const mvt_t *t);

/* ---- the state cache, mvt_table_match.c ---- */

int mvt_cache_init (mvt_cache_t *c, uint32_t lines, uint32_t field_bits, const mvt_mem_t *mem);
void mvt_cache_exit (mvt_cache_t *c, const mvt_mem_t *mem);

/* ---- whole entries, mvt_table.c ---- */

/* Inserts <field, len> with all of *v; used by the table operations.
 * 0 or MVT_ERR_FULL. => no entry has this field and length */
int mvt_put (mvt_t *t, const mvt_key_t *key, const mvt_value_t *v, uint32_t *row);

#endif /* MVT_TABLE_PRIVATE_H */
