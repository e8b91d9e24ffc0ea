/* SPDX-License-Identifier: Apache-2.0
 *
 * mvt_index_t: the exact in2out index of one instance, inside endpoint -> line of an mvt_entry_t.
 *
 * in2out hashes (inside address, port or query id, protocol, realm) to a bucket of one cache line
 * (mvt_buckets.h) and goes from there to the entry, whose own first bytes are the key. out2in needs
 * no index. A hit costs the bucket's line and the entry's, which NAT touches anyway; a miss costs
 * the bucket's.
 *
 * Only the owning instance touches it. Nothing is allocated after creation; 10.3 bytes per entry
 * at full size. The number of places where an entry may lie is bounded; an insert that finds none
 * is refused and counted, so crafted endpoints cannot make lookups slow. The hash is keyed
 * (mvt_crc32c.h).
 */
#ifndef MVT_INDEX_H
#define MVT_INDEX_H

#include "mvt_buckets.h"
#include "mvt_crc32c.h"
#include "mvt_entry.h"

typedef struct
{
	mvt_buckets_t buckets; /* count, refused, displaced, stashed, grown are its counters */
	mvt_secret_t secret;
	mvt_mem_t mem;
} mvt_index_t;

/* Creates an index for up to max_entries lines (at most 2^28) under a copy of the secret; all
 * memory is reserved now. NULL when max_entries is out of range or there is no memory. The caller
 * owns it until mvt_index_remove, which takes NULL too. */
mvt_index_t *mvt_index_new (uint32_t max_entries, const mvt_secret_t *secret, const mvt_mem_t *mem);
void mvt_index_remove (mvt_index_t *ix);

/* Maps an endpoint to the line that it stands in. 0, or MVT_ERR_FULL when there is no place,
 * counted in buckets.refused; that changes nothing.
 * => hash is mvt_index_hash of the endpoint; no line has it yet: a find has just said so */
int mvt_index_insert (mvt_index_t *ix, uint32_t hash, uint32_t line);

/* Removes the line. 0 or MVT_ERR_NOT_FOUND. The entry itself is not read. */
int mvt_index_delete (mvt_index_t *ix, uint32_t hash, uint32_t line);

/* Goes on with a growth under way by at most n buckets; call it once per batch. About 20 ns a
 * bucket, nothing when no growth is under way. */
static inline void
mvt_index_maintain (mvt_index_t *ix, uint32_t n)
{
	if (mvt_unlikely (mvt_buckets_growing (&ix->buckets)))
		mvt_buckets_maintain (&ix->buckets, n);
}

/* Between batches: a step towards memory for the next growth, true if it took one. */
static inline bool
mvt_index_back_ahead (mvt_index_t *ix)
{
	return mvt_buckets_back_ahead (&ix->buckets);
}

/* For tests: 0, or a negative number that names the broken invariant. Reads every entry. */
int mvt_index_verify (const mvt_index_t *ix, const mvt_entry_t *lines);

/* ---- hot path ---- */

/* The first word of an entry: what an inside endpoint is known by. */
static inline uint64_t
mvt_index_word (uint32_t addr, uint16_t port, uint16_t realm)
{
	return addr | (uint64_t) port << 32 | (uint64_t) realm << 48;
}

/* The protocol picks the word of the secret, since address, port and realm fill the 64 bits. */
static inline uint32_t
mvt_index_hash_word (const mvt_index_t *ix, uint64_t word, uint8_t proto)
{
	unsigned w = proto & 3;
	return mvt_crc32c_u64 (0, mvt_mix (word, ix->secret.word[w].add, ix->secret.word[w].mul));
}

static inline uint32_t
mvt_index_hash (const mvt_index_t *ix, uint32_t addr, uint16_t port, uint8_t proto, uint16_t realm)
{
	return mvt_index_hash_word (ix, mvt_index_word (addr, port, realm), proto);
}

/* The primary bucket, for a batch that keeps it from stage to stage (mvt_bucket_first). Valid
 * until the next insert, delete or maintain; afterwards still safe to read. */
static inline const mvt_bucket_t *
mvt_index_bucket (const mvt_index_t *ix, uint32_t hash)
{
	return &ix->buckets.bucket[mvt_buckets_place (&ix->buckets, hash)];
}

typedef struct
{
	const mvt_entry_t *lines;
	uint32_t addr;
	uint16_t port, realm;
	uint8_t proto;
} mvt_index_key_t;

static inline bool
mvt_index_key_equal (const void *ctx, uint32_t line)
{
	const mvt_index_key_t *key = ctx;
	const mvt_entry_t *e = &key->lines[line];
	return e->in_addr == key->addr && e->in_port == key->port && e->realm == key->realm &&
	       e->proto == key->proto;
}

/* The line of this inside endpoint, or MVT_NONE. Whether the entry is in use, or expired, is the
 * caller's to ask. */
static inline uint32_t
mvt_index_find (const mvt_index_t *ix, const mvt_entry_t *lines, uint32_t hash, uint32_t addr,
		uint16_t port, uint8_t proto, uint16_t realm)
{
	mvt_index_key_t key = { lines, addr, port, realm, proto };
	return mvt_buckets_find (&ix->buckets, hash, mvt_index_key_equal, &key);
}

#endif /* MVT_INDEX_H */
