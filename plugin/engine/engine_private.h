/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of mvt_engine_t, shared by the files of this directory and nobody else.
 *
 *   engine.c    configuration, creation
 *   life.c      start, stop, time
 *   instance.c  an instance's thread: rings, processing, jobs, sleep
 *   dispatch.c  the dispatcher's thread: devices, buffers, which instance
 *   port.c      packets injected and collected in memory
 *   stepped.c   the same on the caller's thread, in a fixed order
 *   mail.c      how control reaches an instance, and how long it waits for one
 *   publish.c   home maps, rules, policies: build, publish, wait, free
 *   control.c   activate, drain, move blocks, jobs of callers
 *   statics.c   static mappings with ports
 *   house.c     refill and drain, every 10 ms
 *   snapshot.c  what can be seen from outside
 *   capture.c   link layers and broken records; replay.c: NAT of a capture
 *   bench.c     measuring one instance
 *   memory.c, tun.c, park.c
 *
 * Threads and locks. `control` is held by whoever changes the engine: one control function or one
 * round of the housekeeper at a time. `life` is held shared while a job of a caller travels, and
 * exclusively to start and stop threads. `stat` is held for moments, when an instance's nat is
 * replaced or looked at from outside. Order: control, life, post, stat. Threads of the packet
 * path take none of them.
 */
#ifndef ENGINE_PRIVATE_H
#define ENGINE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sched.h>

#include "engine.h"
#include "memory.h"
#include "park.h"
#include "ring.h"

#define ENGINE_RING	    2048u /* dispatcher -> instance; packets */
#define ENGINE_HANDOFF	    512u  /* instance -> instance */
#define ENGINE_COLLECT	    2048u
#define ENGINE_INJECT	    1024u
#define ENGINE_BUFFERS	    8192u /* besides what fragments and rings of instances may keep */
#define ENGINE_HELD	    8192u /* fragments held, all instances together */
#define ENGINE_MAIL	    32u
#define ENGINE_HOUSE_US	    10000u
#define ENGINE_GIVE	    4096u /* blocks per job */
#define ENGINE_BUSY_LINES   8u
#define ENGINE_IDLE_LINES   256u
#define ENGINE_FORGET_TICKS 5u	     /* between two looks at whether a removed address is empty */
#define ENGINE_HANG_US	    3000000u /* a thread that begins no loop for so long hangs */

/* ---- packets in flight ---- */

typedef struct
{
	mvt_pkt_t pkt;
	uint64_t cookie;
	uint16_t first_instance;
	uint16_t instance;
	_Atomic uint32_t lent; /* a source's own */
	_Alignas (MVT_CACHE_LINE) uint8_t data[];
} buffer_t;

_Static_assert (offsetof (buffer_t, data) == MVT_CACHE_LINE, "header in one line");

/* ---- a source of packets ---- */

typedef struct instance instance_t;

/* Instead of devices: each instance takes packets by itself, as from a queue of a NIC, and polls.
 * For measurements; both functions are called on instances' threads. */
typedef struct source
{
	/* At most max packets, whose ref is their buffer_t; how many. */
	uint32_t (*take) (struct source *source, instance_t *instance, mvt_pkt_t *pkts,
			  uint32_t max);
	/* A packet has its verdict, perhaps at another instance than the one that took it. */
	void (*done) (struct source *source, instance_t *instance, const mvt_pkt_t *pkt);
} source_t;

/* ---- mail ---- */

typedef enum
{
	MAIL_JOB,    /* a slice of job per turn until it is done */
	MAIL_SWAP,   /* from now on work with `nat`; the old one is left there */
	MAIL_RETIRE, /* the same once no packet waits; nat is NULL */
} mail_op_t;

typedef struct mail mail_t;

typedef struct
{
	ring_t *ring;
	pthread_mutex_t post;	  /* many may post, one at a time */
	_Atomic uint64_t hung_at; /* loops + 1 of its reader when somebody left; 0: never */
} mailbox_t;

/* ---- an instance ---- */

/* Counters of the engine itself, beside the core's; the owner writes plain stores. */
typedef struct
{
	_Atomic uint64_t loops, cycles_busy, cycles_total;
	_Atomic uint64_t io_errors;
	_Atomic uint64_t dropped[MVT_DROP_N];
} instance_count_t;

struct instance
{
	park_t park;
	mailbox_t mail;

	/* owner thread only, or control's while no thread runs */
	_Alignas (MVT_CACHE_LINE) mvt_nat44_t *nat; /* NULL: spare */
	struct mvt_engine *engine;
	uint16_t id;
	uint32_t swept_tick; /* the sweep has gone round since */
	uint64_t swept_rounds;
	mail_t *pending[ENGINE_MAIL];
	uint32_t n_pending, next_pending;
	uint32_t next_peer;
	uint64_t touched; /* peers with packets put and not published */
	uint64_t last_cycles;
	instance_count_t count;
	_Atomic (mvt_nat44_t *) void_nat; /* what it had when it was taken over */

	/* dispatcher writes */
	_Alignas (MVT_CACHE_LINE) _Atomic uint64_t ring_dropped;

	/* control writes */
	_Alignas (MVT_CACHE_LINE) _Atomic uint32_t state; /* mvt_instance_state_t */
	_Atomic uint64_t epoch;
	_Atomic uint32_t taken_over; /* it hung; until control has its nat back it serves nothing */
	mvt_nat44_t *nat_any;	     /* under stat: what readers of counters and events use */
	arena_t arena;
	uint64_t base_counters[64]; /* of nats that are gone; under stat */
	uint64_t base_passed[MVT_PASS_N], base_dropped[MVT_DROP_N];
	uint32_t drain_tick;
	uint32_t seed_count;	/* nats made so far: each has seeds of its own */
	uint64_t starved_until; /* house round: before it a refill would be as vain as the last */
	uint32_t starved_wait;
	uint64_t fed;	    /* house round in which it was given blocks last; 0: never */
	uint64_t used_then; /* blocks in use after the last house round */
	pthread_t thread;
	bool stuck; /* it hung when the threads were stopped */
};

/* ---- static mappings: what must outlive an instance's nat ---- */

typedef struct
{
	mvt_endpoint_t in, ext;
	uint16_t realm;
	uint16_t instance;
} static_t;

/* ---- a block that waits the hold-down after a takeover (rest.c) ---- */

typedef struct
{
	uint32_t block;
	uint32_t instance;
	uint32_t since; /* tick */
} rest_t;

/* ---- a home map or a set of rules as it was asked for ---- */

typedef struct
{
	mvt_home_desc_t desc;	  /* arrays are this copy's own */
	_Atomic uint64_t version; /* every thread has confirmed */
	uint64_t published;
	uint64_t named; /* instances that it sends anything to */
	bool set;
} home_copy_t;

/* ---- a snapshot that was replaced while a thread hung, which may still read it ---- */

typedef struct
{
	void *snapshot;
	void (*remove) (void *snapshot);
} kept_t;

/* ---- pool addresses ---- */

enum
{
	SLOT_NONE = 0,
	SLOT_ACTIVE,
	SLOT_DRAINING,	/* the operator says so */
	SLOT_FORGETTING /* gone from the configuration, its mappings still live */
};

/* ---- devices ---- */

typedef struct
{
	int fd; /* -1: none */
	_Atomic uint64_t packets, not_ipv4, oversize, errors;
	_Atomic uint32_t failed; /* errno that ended it */
} side_t;

/* ---- a packet of a running step, or a fragment that waits beyond it ---- */

typedef struct
{
	mvt_engine_packet_t rec;
	uint32_t index; /* in the running step's array, MVT_NONE: of an earlier step */
	uint32_t next_free;
} slot_t;

typedef struct
{
	mvt_pkt_t *pkt;
	uint32_t head, n, size;
} queue_t;

struct mvt_engine
{
	mvt_shared_t shared; /* first: nothing else of the packet path is here */

	/* fixed at creation */
	_Alignas (MVT_CACHE_LINE) uint32_t n; /* instances_max */
	bool stepped;
	bool manual_clock; /* only mvt_engine_advance and mvt_engine_set_tick move the tick */
	bool by_device[2]; /* leaves by a device, else to collect */
	mvt_engine_config_t config; /* pointers are not valid after creation */
	uint64_t allocatable[1024];
	uint64_t seed[4];
	uint64_t secret[4];
	uint64_t bucket_key;
	uint32_t block_bits;
	uint32_t n_slots;
	uint32_t fragment_held;
	instance_t *instance;
	arena_t arena;	     /* shared tables, rings, buffers */
	side_t side[2];	     /* by direction of what is read there: [MVT_IN2OUT] is inside */
	uint32_t max_blocks; /* in all */
	_Atomic (source_t *) source; /* NULL: packets come from the dispatcher */

	/* rings; threaded only */
	ring_t **to_instance; /* [n] dispatcher -> instance */
	ring_t **handoff;     /* [from * n + to] */
	ring_t **give_back;   /* [n + 1] instance or collector -> dispatcher: empty buffers */
	ring_t **collect;     /* [n] */
	ring_t *inject_free;  /* dispatcher -> injector: empty buffers */
	ring_t *inject;	      /* injector -> dispatcher */
	uint8_t *buffers;
	uint32_t n_buffers, buffer_stride, buffer_room;
	void *ring_memory;
	size_t ring_memory_size, buffers_size, directory_size;

	/* time */
	_Atomic uint32_t tick_offset; /* manual clock: the tick; else added to monotonic seconds */

	/* threads */
	bool running;
	_Atomic uint32_t stop_reading, quit, house_quit;
	pthread_t dispatcher, housekeeper;
	mailbox_t dispatch_mail;
	_Atomic uint64_t dispatch_loops;
	bool dispatch_stuck;
	park_t dispatch_park;
	int dispatch_event, dispatch_epoll;
	void *stage;		 /* dispatch.c's */
	buffer_t **free_buffers; /* dispatcher's own stack */
	uint32_t n_free_buffers;
	_Atomic uint32_t injecting;
	_Atomic uint64_t no_buffer;
	park_t collect_park, house_park;
	pthread_mutex_t inject_lock, collect_lock;
	uint32_t spin;

	pthread_mutex_t control, stat;
	pthread_rwlock_t life;

	/* control's: under `control` */
	home_copy_t home, rules;
	mvt_policy_desc_t policy; /* deep copy, without the runs that are kept for draining */
	uint8_t *slot_state;
	uint8_t *slot_drained; /* pools were told to allocate nothing there */
	uint32_t *slot_addr;
	uint32_t n_slots_used; /* configured or draining */
	uint32_t n_forgetting;
	uint32_t forget_tick;
	static_t *statics;
	uint32_t n_statics, size_statics;
	uint64_t house_rounds;
	rest_t *rest;
	uint32_t n_rest, size_rest;
	kept_t *kept;
	uint32_t n_kept, size_kept;

	/* events of nats that are gone; under stat */
	mvt_event_t *late_events;
	uint32_t n_late_events;

	/* stepped */
	queue_t *queue; /* [n] */
	slot_t *slots;
	uint32_t slots_size, slot_free;
	mvt_engine_packet_t *step_packets;
	mvt_engine_packet_t *late;
	uint32_t late_head, n_late, late_size;
};

/* ---- plain stores of an only writer ---- */

static inline void
count_add (_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit (counter, atomic_load_explicit (counter, memory_order_relaxed) + n,
			       memory_order_relaxed);
}

static inline uint64_t
count_get (const _Atomic uint64_t *counter)
{
	return atomic_load_explicit (counter, memory_order_relaxed);
}

/* ---- clocks ---- */

uint64_t engine_cycles (void);
uint32_t engine_tick (const mvt_engine_t *engine);

static inline void
cpu_relax (void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause ();
#elif defined(__aarch64__)
	__asm__ volatile ("yield");
#endif
}

/* ---- engine.c ---- */

void engine_error (char *err, const char *format, ...) __attribute__ ((format (printf, 2, 3)));
mvt_nat44_t *engine_nat_new (mvt_engine_t *engine, uint32_t id, mvt_err_t *error);
uint64_t engine_mix (uint64_t *state);
/* The CPU that instance i is to run on when instances are pinned; -1: any. */
int engine_cpu_of (uint32_t i);
bool engine_has_nat (const mvt_engine_t *engine, uint32_t id);

/* ---- instance.c ---- */

void *instance_main (void *instance);
/* Process n packets and everything that follows from them; both modes. */
void instance_process (instance_t *instance, mvt_pkt_t *pkts, uint32_t n, uint32_t now);
/* Fragments that the core lets go. Returns how many came. */
uint32_t instance_released (instance_t *instance, uint32_t now);
/* Idle work: each second the sweep goes round once, and memory is backed ahead whenever mappings
 * have used some; a bounded part of it per call. True when some is left. */
bool instance_sweep (instance_t *instance, uint32_t now);
/* A packet that no core was asked about, or that has no way on. */
void instance_drop (instance_t *instance, mvt_pkt_t *pkt, mvt_drop_t reason);

/* ---- the host of the instances' threads: instance.c here, host.c in VPP ---- */

/* May the caller do the work of thread i itself: no thread runs, or it is this one? */
bool host_at_hand (mvt_engine_t *engine, uint32_t i);
/* Make thread i look at its mail. Returns after how many microseconds that may be due again. */
uint32_t host_wake (mvt_engine_t *engine, uint32_t i);
/* Threads that read snapshots: the instances, and perhaps a dispatcher as number engine->n. */
uint32_t host_threads (const mvt_engine_t *engine);
/* Is there a packet for the instance that it has not taken yet? */
bool host_packets_wait (instance_t *instance);

/* ---- dispatch.c ---- */

void *dispatch_main (void *engine);
bool dispatch_prepare (mvt_engine_t *engine, char *err);
void dispatch_cleanup (mvt_engine_t *engine);
void dispatch_wake (mvt_engine_t *engine);

/* ---- stepped.c ---- */

/* Where a packet of a step goes after an instance gave its verdict. */
void stepped_settle (instance_t *instance, mvt_pkt_t *pkt);
void stepped_free (mvt_engine_t *engine);
/* Sweeps, fragment timeouts and refill after the clock moved. => control is held */
void stepped_background (mvt_engine_t *engine, bool whole_round);

/* ---- mail.c ---- => control or life is held */

/* What an instance without a nat answers: lists are empty, changes are refused with NOT_OWNER. */
mvt_err_t mail_spare_answer (mvt_job_t *job);
/* Run a job at its owner and wait. HUNG: the owner hangs, the job did not and will not run. AGAIN:
 * the owner hangs in the job; it may end later. In both cases the job's memory is free again. */
mvt_err_t mail_job (mvt_engine_t *engine, uint32_t id, mvt_job_t *job);
/* Replace the nat; *old is the one before. retire: only once no packet waits for it. HUNG: nothing
 * happened. AGAIN: the owner hangs in it, and will undo it; `nat` stays its own. */
mvt_err_t mail_swap (mvt_engine_t *engine, uint32_t id, mvt_nat44_t *nat, bool retire,
		     mvt_nat44_t **old);
/* Wait until every thread has begun a loop since: it sees all that was published. HUNG: one that
 * was not taken over has not. *all: those that were taken over have, too. */
mvt_err_t mail_sync (mvt_engine_t *engine, bool *all);
/* Was the last one who waited for this thread left waiting, and has it begun no loop since? */
bool mail_hangs (mvt_engine_t *engine, uint32_t id);
/* The owner, at the top of each loop: one slice of one mail. True when there was one. */
bool mail_turn (instance_t *instance, uint32_t now);
/* A dispatcher at the top of each loop, which is all that its mails ask for. */
void mail_seen (mailbox_t *box);

/* ---- publish.c ---- => control is held */

mvt_err_t publish_home (mvt_engine_t *engine, const mvt_home_desc_t *desc);
mvt_err_t publish_rules (mvt_engine_t *engine, const mvt_home_desc_t *desc);
mvt_err_t publish_policy (mvt_engine_t *engine, const mvt_policy_desc_t *desc, bool force);
mvt_err_t publish_initial (mvt_engine_t *engine, const mvt_policy_desc_t *policy);
/* Home map and rules again, because the static mappings' pins changed. */
mvt_err_t publish_pins (mvt_engine_t *engine);
/* Addresses that have become empty are gone. */
void publish_forget (mvt_engine_t *engine);
void publish_free (mvt_engine_t *engine);
/* Tell a new nat, which no thread has yet, which addresses drain. */
void publish_drained_to (mvt_engine_t *engine, mvt_nat44_t *nat);

/* ---- control.c ---- => control is held */

uint32_t control_move (mvt_engine_t *engine, uint32_t from, uint32_t to, uint32_t slot, uint32_t n);
/* Bring every block that belongs to nobody, or to `from`, and lies in slots [first, first + n), to
 * the active instances, in equal contiguous runs. */
mvt_err_t control_deal (mvt_engine_t *engine, uint32_t first_slot, uint32_t n_slots, uint16_t from);
uint32_t control_active (const mvt_engine_t *engine, uint16_t *active);
void control_publish_active (mvt_engine_t *engine);
/* The thread of an instance that was taken over has come back: it is an ordinary spare one. */
void control_returned (mvt_engine_t *engine, uint32_t id);
/* A new nat for a spare instance. */
mvt_err_t control_start_nat (mvt_engine_t *engine, uint32_t id);
/* The instance's nat goes: counters and events are kept, static mappings go to new owners. */
mvt_err_t control_retire (mvt_engine_t *engine, uint32_t id);

/* ---- statics.c ---- => control is held */

/* How many an instance has. */
uint32_t statics_of (const mvt_engine_t *engine, uint32_t id);
mvt_err_t statics_add (mvt_engine_t *engine, mvt_job_t *job);
mvt_err_t statics_del (mvt_engine_t *engine, mvt_job_t *job);
/* Those of an instance into a nat that is to be its new one. */
void statics_to (mvt_engine_t *engine, uint32_t id, mvt_nat44_t *nat);
/* Those of an instance that is gone go to the owners of their blocks. */
mvt_err_t statics_move (mvt_engine_t *engine, uint32_t from);
/* Those of outside addresses that are gone. */
void statics_forget (mvt_engine_t *engine, mvt_prefix4_t outside);

/* ---- house.c ---- => control is held */

void house_round (mvt_engine_t *engine);
/* Stepped: before a batch of an instance without a free block, which the next round would come too
 * late for: half of what the richest one has. */
void house_feed (mvt_engine_t *engine, uint32_t id);

/* ---- rest.c: under `control` ---- */

/* After a takeover: `id`'s blocks go to its new nat, those that `old` (which no thread works with
 * any more) had in use only when the hold-down is over. */
void rest_after (mvt_engine_t *engine, uint32_t id, mvt_nat44_t *old);
/* After the takeover of an instance that hangs: nobody owns its blocks now; they go to the active
 * instances when the hold-down is over, those with static mappings at once. */
void rest_all (mvt_engine_t *engine, uint32_t id);
void rest_round (mvt_engine_t *engine);
void rest_free (mvt_engine_t *engine);
void *house_main (void *engine);

/* ---- snapshot.c ---- */

uint64_t snapshot_gauge (mvt_engine_t *engine, uint32_t id, size_t offset);
#define GAUGE(engine, id, name) snapshot_gauge (engine, id, offsetof (mvt_counters_t, name))
/* Add what a nat has counted to its instance's base and keep its events. => stat is held */
void snapshot_keep (instance_t *instance, mvt_nat44_t *nat);

/* ---- capture.c ---- */

/* Where the IPv4 header of a captured frame begins; MVT_NONE when it holds none. */
uint32_t capture_l3 (int link, const uint8_t *frame, uint32_t len);
bool capture_link_known (int link);
/* Does the capture end in the middle of the record or block that begins at or after `from`? Then
 * *offset is where that one begins. */
bool capture_cut (const char *path, uint64_t from, uint64_t *offset);
/* Do the time stamps of the file have nanoseconds? pcapng: yes. */
bool capture_is_nano (const char *path);

/* ---- tun.c ---- */

/* Open or create a TUN device. Returns the descriptor (non-blocking) or -1 with one sentence in
 * err; *mtu is set. */
int tun_open (const char *name, uint32_t *mtu, char *err);

#endif /* ENGINE_PRIVATE_H */
