/* SPDX-License-Identifier: Apache-2.0
 *
 * mvt_engine_t: the embedded engine. Threads, rings, mailboxes and packet I/O around the core;
 * the dataplane of machines without VPP. With nat44.h this header is all that Python sees.
 *
 * Two modes, one code path. *Threaded*: a dispatcher thread reads the TUN devices and feeds
 * instances, one thread each, through single-producer rings; instances write to the devices
 * themselves and hand packets to each other through one ring per ordered pair. *Stepped*: no
 * thread; mvt_engine_step runs the dispatcher and all instances on the caller's thread until
 * nothing is left to do, in a fixed order, so that the same input gives the same output byte for
 * byte. Replay of captures, tests and models use it.
 *
 * Which thread may call what. Creation, start, stop and free: one thread, nothing else at the same
 * time. Packets in memory: one thread steps, or one injects and one collects. Everything else: any
 * thread, at any time in between; calls that change the engine wait for each other, and travel as
 * jobs through the instances' mailboxes while threads run. Return values: 0 or more is success,
 * negative is a mvt_err_t and nothing was changed; functions with an err also write one sentence
 * for people into it (MVT_ENGINE_ERR_LEN bytes, may not be NULL). Pointers that are passed in are
 * the caller's and are not kept, except where said.
 *
 * Nothing that the network sends allocates memory or ends a thread. Every packet that comes in
 * leaves, is counted as dropped under its reason, or is counted where a queue was full.
 */
#ifndef MVT_ENGINE_H
#define MVT_ENGINE_H

#include "nat44.h"

#define MVT_ENGINE_ERR_LEN 256

typedef struct mvt_engine mvt_engine_t;

typedef struct
{
	uint32_t instances_initial; /* active at the start; the pool is cut evenly among them */
	uint32_t instances_max;	    /* 1..64 */
	uint32_t max_mappings;	    /* per instance */
	uint32_t max_sessions, max_hosts; /* 0: the core's default */
	uint32_t block_size;		  /* power of two */
	uint32_t max_slots;	   /* slots of pool addresses are below; 0: twice the policy's */
	uint32_t fragment_timeout; /* seconds; 0: 2 */
	uint32_t hold_seconds, hold_share_1024; /* as in mvt_nat44_config_t */
	uint8_t by_host, log;			/* the same */
	uint8_t stepped;			/* 1: no threads, the clock is the caller's */
	uint8_t truncated_ok;			/* stepped: MVT_PKT_TRUNCATED_OK for every packet */
	uint8_t low_water_percent;		/* refill below this share of free blocks; 0: 10 */
	uint8_t pin_threads;			/* 1: instance i on the i-th allowed CPU */
	const uint64_t *allocatable;		/* [1024] bitmap of ports; NULL: 1024 to 65535 */
	const mvt_policy_desc_t *policy;	/* its secret is filled in here */
	uint64_t seed[4];			/* all zero: real entropy is taken */
	const char *tun_inside; /* threaded: device names; NULL: no device (inject only) */
	const char *tun_outside;
} mvt_engine_config_t;

/* Creates instances, cuts every address's blocks into equal runs for them, publishes the initial
 * home map and rules (a single <*> of one instance, or a bucket table over the initial ones; both
 * have version 0), opens the devices. A device that does not exist is created, brought up, and
 * removed at the end; a persistent one is used. Either may move to another network namespace
 * while it is open. Memory is checked against what is free, so that what cannot fit is refused
 * here. Returns NULL with *code and err on failure; nothing is left behind then. */
mvt_engine_t *mvt_engine_new (const mvt_engine_config_t *config, int *code, char *err);
/* Threaded: start and stop the threads, as often as liked; mappings stay. stop waits until rings
 * are empty or 1 s has passed. A stopped engine takes control calls. start: UNSUPPORTED when
 * stepped, NO_MEMORY when the system gives no thread. */
int mvt_engine_start (mvt_engine_t *engine);
/* HUNG: a thread did not end and is left to itself; the engine can only be freed then. */
int mvt_engine_stop (mvt_engine_t *engine);
/* Stops first. NULL is allowed. Where a thread hangs, its memory is left until the process ends. */
void mvt_engine_free (mvt_engine_t *engine);

/* ---- time ---- */
/* Tick of the engine: monotonic seconds plus what it was advanced by; stepped: 0 at first. */
uint32_t mvt_engine_now (mvt_engine_t *engine);
/* Move the clock forward by seconds (tests, Robot). Threaded: returns when every instance has seen
 * it. Stepped: returns when what had expired is gone. */
int mvt_engine_advance (mvt_engine_t *engine, uint32_t seconds);
int mvt_engine_set_tick (mvt_engine_t *engine, uint32_t tick); /* stepped only, never backwards */

/* ---- packets in memory ---- */
typedef struct
{
	uint8_t *data; /* IPv4 packet, rewritten in place when translated */
	uint32_t len;
	uint8_t dir;	 /* in: MVT_IN2OUT / MVT_OUT2IN; out: the side it leaves by: in2out leaves
			    outside; a hairpin that came from inside leaves inside (MVT_OUT2IN) */
	uint8_t verdict; /* TRANSLATED, PASSED, DROPPED; never HANDOFF or HELD at the end of a step,
			    except HELD for fragments that still wait */
	uint8_t reason;
	uint8_t flags;		 /* MVT_PKT_TRUNCATED_OK ... */
	uint16_t instance;	 /* that gave the verdict */
	uint16_t first_instance; /* that the dispatcher chose */
	uint64_t cookie;	 /* the caller's */
} mvt_engine_packet_t;

/* Stepped: bring packets through, in order; n may be 0. Refill, drains and the other housekeeping
 * happen after every 256 packets and at the end. A HELD fragment's data stays borrowed: its final
 * verdict is given by mvt_engine_late. Returns 0; UNSUPPORTED when threaded; NO_MEMORY with verdict
 * NONE in the packets that were not looked at. */
int mvt_engine_step (mvt_engine_t *engine, mvt_engine_packet_t *packets, uint32_t n);
/* Fragments held in earlier steps that have a verdict now, after a step or a move of the clock.
 * Returns how many were written; ask until 0. */
uint32_t mvt_engine_late (mvt_engine_t *engine, mvt_engine_packet_t *out, uint32_t max);
/* Threaded: copy packets in as if a device had delivered them, and collect what would have left by
 * a device that is not there (tests). inject returns how many were accepted, fewer than n when its
 * queue is full, 0 for a packet larger than the buffers (10 KiB without devices). collect returns
 * how many were written, at most max and as fit into buf, waiting up to timeout_ms for the first;
 * data of collected packets points into buf. What is not collected in time is counted in
 * io_errors. */
uint32_t mvt_engine_inject (mvt_engine_t *engine, const mvt_engine_packet_t *packets, uint32_t n);
uint32_t mvt_engine_collect (mvt_engine_t *engine, mvt_engine_packet_t *out, uint32_t max,
			     uint8_t *buf, uint32_t buf_len, uint32_t timeout_ms);

/* ---- snapshot ---- */
typedef enum
{
	MVT_INSTANCE_SPARE = 0, /* owns nothing, has no memory */
	MVT_INSTANCE_ACTIVE = 1,
	MVT_INSTANCE_DRAINING = 2, /* serves what it has, gives free blocks away */
} mvt_instance_state_t;

typedef struct
{
	uint32_t id;
	uint32_t state;			    /* mvt_instance_state_t */
	uint64_t cycles_busy, cycles_total; /* whole loop turns that moved packets; all of them */
	uint64_t loops;
	uint64_t epoch;	       /* ownership epoch */
	uint64_t ring_dropped; /* packets: the dispatcher found this instance's ring full */
	uint64_t io_errors;    /* packets: a device refused them */
	/* the core's, and the engine's own HANDOFF_CONGESTION and NO_OWNER; they outlive drains and
	 * resets */
	uint64_t counters[64]; /* in the order of foreach_mvt_counter, then foreach_mvt_gauge */
	uint64_t passed[8];
	uint64_t dropped[32];
	uint64_t free_blocks_by_slot_hint; /* the gauge starved_slot: slot + 1, 0 none */
} mvt_instance_snapshot_t;

/* Instances that hang, as a bit set, and whether the dispatcher does: a control call waited for
 * them in vain, and they have begun no loop since. Any thread. */
uint64_t mvt_engine_hung (mvt_engine_t *engine, int *dispatcher);
/* All instances, including spare ones. Returns how many were written. Any thread. */
uint32_t mvt_engine_snapshot (mvt_engine_t *engine, mvt_instance_snapshot_t *out, uint32_t max);

/* The dispatcher's side, by direction of what a device delivers ([MVT_IN2OUT]: inside device).
 * packets = given to instances or counted in ring_dropped + not_ipv4 + oversize. */
typedef struct
{
	uint64_t packets[2];  /* read */
	uint64_t not_ipv4[2]; /* of them, not looked at: the devices' IPv6 neighbour discovery */
	uint64_t oversize[2]; /* of them, dropped: larger than the device's MTU was at the start */
	uint64_t errors[2];   /* reads that failed */
	uint32_t failed[2];   /* errno after which a device is read no more; 0: all is well */
	uint64_t no_buffer;   /* times that reading paused because every buffer was in use */
} mvt_io_snapshot_t;

void mvt_engine_io_snapshot (mvt_engine_t *engine, mvt_io_snapshot_t *out);

/* ---- control; each is idempotent ----
 *
 * A thread that begins no loop for 3 seconds although it is called hangs. A call that needs it ends
 * with HUNG then, and so do later ones, at once, until it comes back or was taken over
 * (mvt_engine_reset_instance). mvt_engine_hung names it. */

/* Make an instance active. A spare one gets memory (NO_MEMORY) but no block and no range: that is
 * shard's and set_home's. INVALID: no such instance. */
int mvt_engine_activate (mvt_engine_t *engine, uint32_t instance);
/* Marks it draining: it is no longer among `active`, gives its free blocks away as they become
 * free (while the home map names it, it keeps what new hosts need), and turns SPARE once home map
 * and rules no longer name it and it has no mapping but static ones and no port in hold-down; then
 * its static mappings go on at other instances. IN_USE: it is the last active one. */
int mvt_engine_drain (mvt_engine_t *engine, uint32_t instance);
/* Move up to n free blocks (of slot, or of any for MVT_NONE) to an active instance. Returns how
 * many were moved; INVALID when one of the two does not serve. */
int mvt_engine_transfer (mvt_engine_t *engine, uint32_t from, uint32_t to, uint32_t slot,
			 uint32_t n);
/* shard: percent of from's free blocks, evenly over all slots. Returns how many were moved. */
int mvt_engine_shard (mvt_engine_t *engine, uint32_t from, uint32_t to, uint32_t percent);
/* Publish; returns when every thread has begun a loop with it. n_instances, secret and bucket_key
 * of desc are filled in by the engine; so are pins for static mappings. STALE when version is older
 * than the one in force; the same version again is a no-op; INVALID as in mvt_home_new, and when
 * a spare instance is named. Home map and rules have versions of their own.
 * HUNG: an instance could not confirm. It was found before anything was published, or, if it began
 * to hang in that very moment, the others have the map already: the same version again confirms
 * it. Rules are hints, and only a dispatcher that hangs is in their way. */
int mvt_engine_set_home (mvt_engine_t *engine, const mvt_home_desc_t *desc);
int mvt_engine_set_rules (mvt_engine_t *engine, const mvt_home_desc_t *desc);
/* Generation as version above. Slots that are new get their blocks, dealt evenly to the active
 * instances. Addresses that vanished drain until no mapping is left, then are gone; with force
 * their mappings, static ones too, end at once. IN_USE: a slot that is in force, or drains, would
 * become another address. FULL: a slot is not below max_slots. Otherwise as mvt_policy_set_new. */
int mvt_engine_set_policy (mvt_engine_t *engine, const mvt_policy_desc_t *desc, int force);
uint64_t mvt_engine_home_version (mvt_engine_t *engine);
/* hash(host) -> bucket under this engine's key. */
uint32_t mvt_engine_bucket (mvt_engine_t *engine, uint16_t realm, uint32_t addr);
/* The bucket table of 0.0.0.0/0 in the home map; one instance for all reads as a table of it. */
int mvt_engine_bucket_table (mvt_engine_t *engine, uint16_t *table /* [256] */);
/* The pool's addresses in force and their slots, those that drain included: a slot or address that
 * is listed must not be given another address or slot. Returns how many runs were written. */
uint32_t mvt_engine_slots (mvt_engine_t *engine, mvt_pool_run_t *out, uint32_t max);
/* Run one job at its owner and wait. The job's op, inputs and output arrays are the caller's; n is
 * set to 0 first. For the LIST ops, DELETE_MAPPINGS, MATCHES and SYNC; a spare instance's lists are
 * empty.
 * For STATIC_ADD and STATIC_DEL the instance is found from the external endpoint (pass
 * MVT_NO_INSTANCE): NOT_FOUND when it is no pool address or has no static mapping; ADD ends dynamic
 * mappings of the inside endpoint at all instances; EXISTS: the inside endpoint has another static
 * mapping; IN_USE: the external one is taken. Other ops: UNSUPPORTED, they have functions here. */
int mvt_engine_job (mvt_engine_t *engine, uint32_t instance, mvt_job_t *job);
/* Events of all instances, oldest first per instance. */
uint32_t mvt_engine_events (mvt_engine_t *engine, mvt_event_t *out, uint32_t max);
/* Raise an instance's ownership epoch: it drops its mappings before its next packet (takeover).
 * They end as deleted, with their events; blocks and static mappings stay. Needs the memory of a
 * second instance for a moment (NO_MEMORY: nothing was changed).
 * One that hangs becomes SPARE instead: its static mappings go on at the active instances, its
 * blocks come to them after the hold-down, and its mappings end when its thread comes back. Until
 * then it cannot be activated (HUNG). HUNG also when nobody else is active. */
int mvt_engine_reset_instance (mvt_engine_t *engine, uint32_t instance);

/* ---- captures ---- */

/* in = out + all of dropped. Fragments that were held are in out or dropped as well. */
typedef struct
{
	uint64_t in;	       /* records read */
	uint64_t out;	       /* records written */
	uint64_t passed;       /* of them, IPv4 packets that policy lets through untranslated */
	uint64_t held;	       /* fragments that waited longer than a batch for their first one */
	uint64_t dropped[32];  /* by mvt_drop_t: not written */
	uint64_t skipped;      /* of out, records that hold no IPv4 packet, written unchanged */
	uint64_t truncated;    /* of out, packets longer than their record: translated so far */
	uint64_t bytes_offset; /* of the broken record, when cut */
	uint8_t cut;	       /* the capture ends in the middle of a record */
	uint8_t pad[7];
} mvt_replay_result_t;

/* NAT a capture (pcap or pcapng; Ethernet with VLAN tags, raw IP, Linux cooked v1 and v2)
 * through a stepped engine that has seen no packet yet. Direction: from inside when the source is
 * an inside host. The output is a pcap file of the input's link type and precision. Packets are
 * written in input order with their time stamps; fragments that had to wait, once they are let go.
 * Time is the packets', from the engine's tick on; it never goes back. Memory does not grow with
 * the capture. progress may be NULL; it is called now and then with bytes read and total (0 and 0
 * where the input is a pipe), and stops the replay by returning nonzero (AGAIN).
 * Returns 0, or a negative mvt_err_t with one sentence in err that names the file: NOT_FOUND,
 * INVALID (no capture, broken, not readable or writable), UNSUPPORTED (link type), NO_MEMORY. A cut
 * capture is not an error here: result->cut is set and everything before was written. */
int mvt_engine_replay (mvt_engine_t *engine, const char *in_path, const char *out_path,
		       mvt_replay_result_t *result,
		       int (*progress) (void *ctx, uint64_t done, uint64_t total), void *ctx,
		       char *err);

/* ---- measuring ---- */
typedef struct
{
	uint32_t flows;	   /* of each instance; at most 2^26 in all */
	uint32_t batches;  /* of 256 packets, of each instance, besides a warm-up */
	uint8_t direction; /* of the packets that are timed: MVT_IN2OUT or MVT_OUT2IN */
	uint8_t random_order;
	uint8_t proto;	   /* MVT_PROTO_UDP or TCP */
	uint8_t new_flows; /* measure making mappings instead of hits: on top of those flows, an
			      eighth of them more, at least 4,096, for the same hosts in another
			      order */
	uint64_t seed;
	double clocks_per_packet; /* out: TSC clocks in mvt_nat44_process and background alone; the
				     mean of all batches but the interrupted ones */
	double touch_clocks;	  /* out: the same of a loop that only reads, for each packet, a
				     random line and the one that it names, both asked for ahead,
				     out of as many lines as the instance has buckets and entries:
				     what the memory costs here. 0 with new_flows */
	double seconds;		  /* out: that were timed, of the slowest instance */
	uint64_t packets;	  /* out: of all instances */
	uint64_t wrong;		  /* out: packets whose verdict was not TRANSLATED */
	uint64_t memory_bytes;	  /* out, with count_memory: what one instance with its flows takes
				     in pages of 4 KiB */
	uint64_t resident;	  /* out: of the timed instances, all pages; of these */
	uint64_t resident_reserved;    /* in huge pages that were reserved (hugetlb) */
	uint64_t resident_transparent; /* in transparent ones */
	uint32_t instances;	       /* in: threads side by side, each its own instance; 0: one */
	uint32_t interrupted;	       /* out: batches that took over four times the median */
	uint8_t remotes; /* in: that each flow talks with in turn, at random; 0: one, at most 64 */
	uint8_t count_memory; /* in: makes all mappings once more, on an instance of its own */
	uint8_t filter;	      /* in: mvt_filter_t of all protocols; EI: what config says */
} mvt_bench_case_t;

/* Instances of their own on packets of 46 bytes (64 on Ethernet), written outside the timed part:
 * the core without I/O. Inside hosts are of 10/8, with 16 mappings each, or more where 65,536 hosts
 * do not do; half the pool is used; of config, the limits, timeouts (policy 0; NULL: the defaults),
 * block size and modes are used. One call is one run: medians are the caller's. */
int mvt_engine_bench (const mvt_engine_config_t *config, mvt_bench_case_t *bench, char *err);

#endif /* MVT_ENGINE_H */
