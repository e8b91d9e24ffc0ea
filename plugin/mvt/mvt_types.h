/* SPDX-License-Identifier: Apache-2.0
 *
 * Words that every file of the core shares: errors, verdicts, reasons, protocols, memory.
 *
 * The X-macros below are the one source of these names. The counters, the engine, VPP's error
 * strings, the Python enums and Robot's words are all generated from them, so a reason exists
 * everywhere or nowhere.
 *
 * Everything is in host byte order, except packet headers and names that end in _be.
 */
#ifndef MVT_TYPES_H
#define MVT_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MVT_CACHE_LINE 64
#define MVT_BATCH_MAX  256 /* packets per call; VPP's frame size */

#define MVT_NO_INSTANCE 0xffffu	    /* "nobody": no owner, no home */
#define MVT_NONE	0xffffffffu /* "no such index" for u32 indices */

/* ---- errors of control calls: 0 or negative ---- */
#define foreach_mvt_err                                                    \
	_ (INVALID, -1, "invalid argument")                                \
	_ (NO_MEMORY, -2, "out of memory")                                 \
	_ (EXISTS, -3, "exists already")                                   \
	_ (NOT_FOUND, -4, "no such entry")                                 \
	_ (FULL, -5, "table is full")                                      \
	_ (IN_USE, -6, "in use")                                           \
	_ (NOT_SIBLINGS, -7, "entries are not siblings with equal values") \
	_ (STALE, -8, "an older generation than the one in force")         \
	_ (AGAIN, -9, "not finished, call again")                          \
	_ (UNSUPPORTED, -10, "not supported")                              \
	_ (NOT_OWNER, -11, "belongs to another instance")                  \
	_ (HUNG, -12, "an instance hangs")

typedef enum
{
	MVT_OK = 0,
#define _(name, value, text) MVT_ERR_##name = value,
	foreach_mvt_err
#undef _
} mvt_err_t;

/* ---- what becomes of a packet ---- */
typedef enum
{
	MVT_VERDICT_NONE = 0,
	MVT_VERDICT_TRANSLATED, /* send it on */
	MVT_VERDICT_PASSED,	/* send it on unchanged; pkt->reason is a mvt_pass_t */
	MVT_VERDICT_DROPPED,	/* free it; pkt->reason is a mvt_drop_t */
	MVT_VERDICT_HANDOFF,	/* give it to instance pkt->to */
	MVT_VERDICT_HELD,	/* the core keeps pkt->ref until it comes back as released */
} mvt_verdict_t;

#define foreach_mvt_drop                                                                        \
	_ (MALFORMED, malformed, "IPv4 or L4 header is cut short or inconsistent")              \
	_ (BAD_CHECKSUM, bad_checksum, "IPv4 header checksum is wrong (RFC 1812 5.2.2)")        \
	_ (UNSUPPORTED_PROTOCOL, unsupported_protocol, "protocol cannot share an address")      \
	_ (NO_MAPPING, no_mapping, "to a pool endpoint that has no mapping")                    \
	_ (FILTERED, filtered, "remote endpoint is not allowed by the filtering behaviour")     \
	_ (TCP_NOT_SYN, tcp_not_syn, "first TCP packet of a flow is no SYN")                    \
	_ (OUT_OF_PORTS, out_of_ports, "no free external port")                                 \
	_ (OUT_OF_MAPPINGS, out_of_mappings, "max_mappings reached")                            \
	_ (OUT_OF_SESSIONS, out_of_sessions, "session table is full")                           \
	_ (OUT_OF_HOSTS, out_of_hosts, "host table is full")                                    \
	_ (HOST_LIMIT, host_limit, "mappings_per_host reached")                                 \
	_ (BLOCK_LIMIT, block_limit, "max_blocks_per_host reached")                             \
	_ (RATE_LIMIT, rate_limit, "new_per_second_per_host reached")                           \
	_ (INDEX_FULL, index_full, "hash bucket and stash are full")                            \
	_ (ICMP_MALFORMED, icmp_malformed, "ICMP error whose embedded packet cannot be parsed") \
	_ (ICMP_NO_MAPPING, icmp_no_mapping, "ICMP error about a packet of no mapping")         \
	_ (ICMP_UNSUPPORTED, icmp_unsupported, "ICMP type that is neither query nor error")     \
	_ (FRAGMENT_TIMEOUT, fragment_timeout, "first fragment did not come in time")           \
	_ (FRAGMENT_OVERFLOW, fragment_overflow, "fragment store is full")                      \
	_ (FRAGMENT_INVALID, fragment_invalid, "tiny first fragment or impossible offset")      \
	_ (HANDOFF_LOOP, handoff_loop, "handed over too often")                                 \
	_ (HANDOFF_CONGESTION, handoff_congestion, "ring to another instance is full")          \
	_ (NO_OWNER, no_owner, "block or range belongs to no instance")

typedef enum
{
#define _(NAME, name, text) MVT_DROP_##NAME,
	foreach_mvt_drop
#undef _
		MVT_DROP_N
} mvt_drop_t;

#define foreach_mvt_pass                                             \
	_ (EXEMPT, exempt, "destination is exempt from translation") \
	_ (NOT_INSIDE, not_inside, "source is not an inside host")   \
	_ (NOT_POOL, not_pool, "destination is not a pool address")

typedef enum
{
#define _(NAME, name, text) MVT_PASS_##NAME,
	foreach_mvt_pass
#undef _
		MVT_PASS_N
} mvt_pass_t;

/* ---- integers in network order, at any address ---- */

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "headers are read in whole words: x86-64 and Armv8 in little-endian mode only"
#endif

static inline uint16_t
mvt_load16 (const uint8_t *p)
{
	uint16_t v;
	__builtin_memcpy (&v, p, 2);
	return __builtin_bswap16 (v);
}

static inline uint32_t
mvt_load32 (const uint8_t *p)
{
	uint32_t v;
	__builtin_memcpy (&v, p, 4);
	return __builtin_bswap32 (v);
}

static inline uint64_t
mvt_load64 (const uint8_t *p)
{
	uint64_t v;
	__builtin_memcpy (&v, p, 8);
	return __builtin_bswap64 (v);
}

static inline void
mvt_store16 (uint8_t *p, uint16_t v)
{
	v = __builtin_bswap16 (v);
	__builtin_memcpy (p, &v, 2);
}

static inline void
mvt_store32 (uint8_t *p, uint32_t v)
{
	v = __builtin_bswap32 (v);
	__builtin_memcpy (p, &v, 4);
}

/* ---- protocols with endpoints; the index of every per-protocol array ---- */
typedef enum
{
	MVT_PROTO_UDP = 0,
	MVT_PROTO_TCP = 1,
	MVT_PROTO_ICMP = 2, /* the "port" is the query id */
	MVT_PROTO_N = 3,
	MVT_PROTO_OTHER = 3, /* no endpoint: 1:1 translation only */
} mvt_proto_t;

enum
{
	MVT_IN2OUT = 0,
	MVT_OUT2IN = 1
};

/* Filtering behaviour, RFC 4787 section 5. */
typedef enum
{
	MVT_FILTER_EI = 0,  /* endpoint-independent */
	MVT_FILTER_AD = 1,  /* address-dependent */
	MVT_FILTER_APD = 2, /* address-and-port-dependent */
} mvt_filter_t;

typedef struct
{
	uint32_t addr;
	uint16_t port; /* or ICMP query id */
	uint8_t proto; /* mvt_proto_t */
	uint8_t pad;
} mvt_endpoint_t;

typedef struct
{
	uint32_t addr;
	uint8_t len; /* 0..32 */
	uint8_t pad[3];
} mvt_prefix4_t;

/* Memory of the host. alloc is called from control paths only, never for a packet, and returns
 * zeroed memory that may be backed lazily; NULL when there is none. size is repeated to free.
 *
 * reserve is for what is used little by little. Dense: from the start on, and no byte may be
 * touched before back was called for it, which must succeed. Not dense: here and there; back only
 * spares who touches it the wait. Both NULL: reserve is alloc, and there is nothing to back. */
typedef struct
{
	void *(*alloc) (void *ctx, size_t size, size_t align);
	void (*free) (void *ctx, void *p, size_t size);
	void *ctx;
	void *(*reserve) (void *ctx, size_t size, size_t align, bool dense);
	void (*back) (void *ctx, void *p, size_t size);
} mvt_mem_t;

static inline void *
mvt_mem_alloc (const mvt_mem_t *mem, size_t size, size_t align)
{
	return mem->alloc (mem->ctx, size, align);
}

static inline void *
mvt_mem_reserve (const mvt_mem_t *mem, size_t size, size_t align, bool dense)
{
	return mem->reserve ? mem->reserve (mem->ctx, size, align, dense)
			    : mem->alloc (mem->ctx, size, align);
}

static inline void
mvt_mem_back (const mvt_mem_t *mem, void *p, size_t size)
{
	if (mem->back)
		mem->back (mem->ctx, p, size);
}

static inline void
mvt_mem_free (const mvt_mem_t *mem, void *p, size_t size)
{
	if (p)
		mem->free (mem->ctx, p, size);
}

/* xorshift64*: randomness for ports and blocks, seeded by the host with real entropy. State is
 * one word of the instance; never 0. Ports must be hard to guess (RFC 6056), not cryptographic. */
static inline uint32_t
mvt_random (uint64_t *state)
{
	uint64_t x = *state;
	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return (uint32_t) ((x * 0x2545f4914f6cdd1dull) >> 32);
}

/* Uniform in [0, n), n > 0, by multiplication (no division). */
static inline uint32_t
mvt_random_below (uint64_t *state, uint32_t n)
{
	return (uint32_t) (((uint64_t) mvt_random (state) * n) >> 32);
}

#define mvt_likely(x)	__builtin_expect (!!(x), 1)
#define mvt_unlikely(x) __builtin_expect (!!(x), 0)

#endif /* MVT_TYPES_H */
