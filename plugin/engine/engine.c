/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1
#include "engine_private.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#define ROOM_MIN    2048u
#define ROOM_MEMORY 10240u /* without devices: jumbo frames fit */

enum
{
	DOMAIN_SECRET,
	DOMAIN_KEYS,
	DOMAIN_NAT /* + number of the nat */
};

/* ---- small things ---- */

void
engine_error (char *err, const char *format, ...)
{
	va_list args;

	if (!err)
		return;
	va_start (args, format);
	/* clang-tidy 15 forgets va_start from its second file on */
	/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
	vsnprintf (err, MVT_ENGINE_ERR_LEN, format, args);
	va_end (args);
}

uint64_t
engine_cycles (void)
{
#if defined(__x86_64__)
	return __rdtsc ();
#elif defined(__aarch64__)
	uint64_t value;
	__asm__ volatile ("mrs %0, cntvct_el0" : "=r"(value));
	return value;
#else
	struct timespec ts;
	clock_gettime (CLOCK_MONOTONIC, &ts);
	return (uint64_t) ts.tv_sec * 1000000000u + (uint64_t) ts.tv_nsec;
#endif
}

uint32_t
engine_tick (const mvt_engine_t *engine)
{
	uint32_t offset = atomic_load_explicit (&engine->tick_offset, memory_order_relaxed);
	struct timespec ts;

	if (engine->manual_clock)
		return offset;
	clock_gettime (CLOCK_MONOTONIC_COARSE, &ts);
	return (uint32_t) ts.tv_sec + offset;
}

/* splitmix64 */
uint64_t
engine_mix (uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15ull;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

/* Words of their own for every use of the one seed. */
static void
derive (const mvt_engine_t *engine, uint64_t domain, uint64_t out[4])
{
	for (uint64_t i = 0; i < 4; i++)
	{
		uint64_t where = domain * 4 + i, state = engine->seed[i] ^ engine_mix (&where);
		out[i] = engine_mix (&state);
		out[i] += out[i] == 0;
	}
}

int
engine_cpu_of (uint32_t i)
{
	cpu_set_t set;
	uint32_t n;

	if (sched_getaffinity (0, sizeof set, &set) != 0 || (n = (uint32_t) CPU_COUNT (&set)) == 0)
		return -1;
	for (int cpu = 0, k = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET ((size_t) cpu, &set) && (uint32_t) k++ == i % n)
			return cpu;
	return -1;
}

/* ---- an instance's nat ---- */

mvt_nat44_t *
engine_nat_new (mvt_engine_t *engine, uint32_t id, mvt_err_t *error)
{
	const mvt_engine_config_t *c = &engine->config;
	instance_t *instance = &engine->instance[id];
	mvt_nat44_config_t config = {
		.instance = (uint16_t) id,
		.n_instances = (uint16_t) engine->n,
		.max_mappings = c->max_mappings,
		.max_sessions = c->max_sessions,
		.max_hosts = c->max_hosts,
		.fragment_timeout = c->fragment_timeout,
		.fragment_held = engine->fragment_held,
		.hold_seconds = c->hold_seconds,
		.hold_share_1024 = c->hold_share_1024,
		.by_host = c->by_host,
		.log = c->log,
		.allocatable = engine->allocatable,
		.shared = &engine->shared,
		.mem = instance->arena.mem,
	};
	uint64_t reserved = engine->arena.reserved;

	for (uint32_t i = 0; i < engine->n; i++)
		reserved += engine->instance[i].arena.reserved -
			    (i == id ? instance->arena.reserved : 0);
	instance->arena.budget =
		engine->arena.budget > reserved ? engine->arena.budget - reserved : 0;
	derive (engine, DOMAIN_NAT + id + (uint64_t) instance->seed_count++ * MVT_HOME_INSTANCES,
		config.seed);
	return mvt_nat44_new (&config, error);
}

/* ---- creation ---- */

static bool
check (const mvt_engine_config_t *c, char *err)
{
	if (c->instances_max < 1 || c->instances_max > MVT_HOME_INSTANCES)
		engine_error (err, "instances: max must be 1 to %u, not %u", MVT_HOME_INSTANCES,
			      c->instances_max);
	else if (c->instances_initial < 1 || c->instances_initial > c->instances_max)
		engine_error (err, "instances: initial must be 1 to max (%u), not %u",
			      c->instances_max, c->instances_initial);
	else if (c->max_mappings == 0)
		engine_error (err, "max_mappings must be at least 1");
	else if (c->block_size == 0 || c->block_size > 32768 ||
		 (c->block_size & (c->block_size - 1)) != 0)
		engine_error (err, "block_size must be a power of two up to 32768, not %u",
			      c->block_size);
	else if (!c->policy)
		engine_error (err, "a policy is needed");
	else if (c->low_water_percent > 100)
		engine_error (err, "low_water_percent must be at most 100");
	else if (c->stepped && (c->tun_inside || c->tun_outside))
		engine_error (err, "a stepped engine has no devices");
	else
		return true;
	return false;
}

static uint32_t
slots_needed (const mvt_policy_desc_t *policy)
{
	uint32_t last = 0;

	for (uint32_t i = 0; i < policy->n_runs; i++)
		if (policy->runs[i].count &&
		    policy->runs[i].slot + (uint64_t) policy->runs[i].count > last)
			last = policy->runs[i].slot + policy->runs[i].count;
	return last;
}

static bool
take_config (mvt_engine_t *engine, const mvt_engine_config_t *c)
{
	uint32_t needed = slots_needed (c->policy);

	engine->config = *c;
	engine->n = c->instances_max;
	engine->stepped = engine->manual_clock = c->stepped;
	engine->block_bits = (uint32_t) __builtin_ctz (c->block_size);
	engine->n_slots = c->max_slots ? c->max_slots : 2 * needed < 64 ? 64 : 2 * needed;
	if (engine->n_slots > MVT_POLICY_SLOTS)
		engine->n_slots = MVT_POLICY_SLOTS;
	if (!engine->config.fragment_timeout)
		engine->config.fragment_timeout = 2;
	if (!engine->config.low_water_percent)
		engine->config.low_water_percent = 10;
	engine->fragment_held = ENGINE_HELD / engine->n;
	if (engine->fragment_held > 4096)
		engine->fragment_held = 4096;
	for (uint32_t port = 0; port < 65536; port += 64)
		engine->allocatable[port / 64] = c->allocatable ? c->allocatable[port / 64]
						 : port < 1024	? 0
								: UINT64_MAX;
	memcpy (engine->seed, c->seed, sizeof engine->seed);
	if (!(c->seed[0] | c->seed[1] | c->seed[2] | c->seed[3]))
		return getrandom (engine->seed, sizeof engine->seed, 0) == sizeof engine->seed;
	return true;
}

static bool
make_rings (mvt_engine_t *engine)
{
	uint32_t n = engine->n, all = ENGINE_MAIL;
	size_t pointers = ((size_t) n * (n + 3) + 1) * sizeof (void *);
	size_t size;
	uint8_t *at;
	ring_t **p;

	engine->n_buffers = ENGINE_BUFFERS + ENGINE_HELD;
	while (all < engine->n_buffers)
		all *= 2;
	pointers = (pointers + MVT_CACHE_LINE - 1) & ~(size_t) (MVT_CACHE_LINE - 1);
	size = pointers + n * ring_footprint (ENGINE_RING) +
	       (size_t) n * n * ring_footprint (ENGINE_HANDOFF) + (n + 1) * ring_footprint (all) +
	       n * ring_footprint (ENGINE_COLLECT) + 2 * ring_footprint (ENGINE_INJECT);
	engine->ring_memory = at = mvt_mem_alloc (&engine->arena.mem, size, MVT_CACHE_LINE);
	engine->ring_memory_size = size;
	if (!at)
		return false;
	p = (ring_t **) (void *) at;
	at += pointers;
#define RINGS(field, count, capacity)                                           \
	engine->field = p;                                                      \
	for (uint32_t i = 0; i < (count); i++, at += ring_footprint (capacity)) \
		*p++ = ring_format (at, capacity);
	RINGS (to_instance, n, ENGINE_RING)
	RINGS (handoff, n * n, ENGINE_HANDOFF)
	RINGS (give_back, n + 1, all)
	RINGS (collect, n, ENGINE_COLLECT)
#undef RINGS
	engine->inject = ring_format (at, ENGINE_INJECT);
	engine->inject_free = ring_format (at + ring_footprint (ENGINE_INJECT), ENGINE_INJECT);
	return true;
}

static bool
make_buffers (mvt_engine_t *engine, uint32_t mtu)
{
	uint32_t lines = ((mtu > ROOM_MIN ? mtu : ROOM_MIN) + 63) / 64 + 1;

	/* an odd number of lines: headers spread over all sets of the caches */
	lines |= 1;
	engine->buffer_stride = lines * 64;
	engine->buffer_room = engine->buffer_stride - (uint32_t) offsetof (buffer_t, data);
	engine->buffers_size = (size_t) engine->n_buffers * engine->buffer_stride;
	engine->buffers = mvt_mem_alloc (&engine->arena.mem, engine->buffers_size, MVT_CACHE_LINE);
	engine->free_buffers = calloc (engine->n_buffers, sizeof (void *));
	if (!engine->buffers || !engine->free_buffers)
		return false;
	for (uint32_t i = engine->n_buffers; i-- > 0;)
		engine->free_buffers[engine->n_free_buffers++] =
			(buffer_t *) (void *) (engine->buffers +
					       (size_t) i * engine->buffer_stride);
	while (ring_count_any (engine->inject_free) < ENGINE_INJECT &&
	       ring_put (engine->inject_free, engine->free_buffers[engine->n_free_buffers - 1]))
	{
		engine->n_free_buffers--;
		ring_publish (engine->inject_free);
	}
	return true;
}

static bool
make_mailbox (mailbox_t *box)
{
	void *memory = NULL;

	if (posix_memalign (&memory, MVT_CACHE_LINE, ring_footprint (ENGINE_MAIL)))
		return false;
	memset (memory, 0, ring_footprint (ENGINE_MAIL));
	box->ring = ring_format (memory, ENGINE_MAIL);
	return true;
}

static bool
make_tables (mvt_engine_t *engine)
{
	void *directory, *instances = NULL;
	uint64_t keys[4];

	engine->directory_size = mvt_directory_footprint (engine->n_slots, engine->block_bits);
	directory = mvt_mem_alloc (&engine->arena.mem, engine->directory_size, MVT_CACHE_LINE);
	if (!directory)
		return false;
	engine->shared.directory =
		mvt_directory_format (directory, engine->n_slots, engine->block_bits);
	derive (engine, DOMAIN_KEYS, keys);
	derive (engine, DOMAIN_SECRET, engine->secret);
	engine->shared.frag_key = keys[0];
	engine->shared.address_key = keys[1];
	engine->bucket_key = keys[2];

	engine->slot_state = calloc (engine->n_slots, 1);
	engine->slot_drained = calloc (engine->n_slots, 1);
	engine->slot_addr = calloc (engine->n_slots, sizeof *engine->slot_addr);
	if (!engine->slot_state || !engine->slot_drained || !engine->slot_addr ||
	    posix_memalign (&instances, MVT_CACHE_LINE, engine->n * sizeof (instance_t)))
		return false;
	memset (instances, 0, engine->n * sizeof (instance_t));
	engine->instance = instances;
	for (uint32_t i = 0; i < engine->n; i++)
	{
		instance_t *instance = &engine->instance[i];
		instance->engine = engine;
		instance->id = (uint16_t) i;
		atomic_store (&instance->epoch, 1);
		pthread_mutex_init (&instance->mail.post, NULL);
		arena_init (&instance->arena,
			    engine->config.pin_threads ? memory_node_of_cpu (engine_cpu_of (i))
						       : -1,
			    0);
		if (!make_mailbox (&instance->mail))
			return false;
	}
	pthread_mutex_init (&engine->dispatch_mail.post, NULL);
	if (!make_mailbox (&engine->dispatch_mail))
		return false;
	engine->slot_free = MVT_NONE;
	engine->queue = calloc (engine->n, sizeof *engine->queue);
	return engine->queue != NULL;
}

static mvt_err_t
no_memory (mvt_engine_t *engine, const char *what, char *err)
{
	engine_error (err,
		      "%s need more memory than there is (%.1f MiB free): lower max_mappings, the "
		      "number of instances or the size of the pool",
		      what, (double) engine->arena.budget / 1048576.0);
	return MVT_ERR_NO_MEMORY;
}

static mvt_err_t
make_devices (mvt_engine_t *engine, char *err)
{
	const char *name[2] = { engine->config.tun_inside, engine->config.tun_outside };
	uint32_t mtu[2] = { 0, 0 }, room = 0;

	for (unsigned dir = 0; dir < 2; dir++)
	{
		if (!name[dir])
		{
			room = ROOM_MEMORY;
			continue;
		}
		engine->side[dir].fd = tun_open (name[dir], &mtu[dir], err);
		if (engine->side[dir].fd < 0)
			return MVT_ERR_INVALID;
		engine->by_device[dir] = true;
		if (mtu[dir] > room)
			room = mtu[dir];
	}
	if (!make_rings (engine) || !make_buffers (engine, room))
		return no_memory (engine, "the packet buffers", err);
	return dispatch_prepare (engine, err) ? MVT_OK : MVT_ERR_INVALID;
}

static mvt_err_t
make_instances (mvt_engine_t *engine, char *err)
{
	mvt_err_t error;
	char what[32];

	for (uint32_t i = 0; i < engine->config.instances_initial; i++)
	{
		error = control_start_nat (engine, i);
		if (error == MVT_ERR_NO_MEMORY)
		{
			snprintf (what, sizeof what, "%u instances", i + 1);
			return no_memory (engine, what, err);
		}
		if (error)
		{
			engine_error (err, "instance %u cannot be made: %s", i,
				      mvt_err_text (error));
			return error;
		}
		atomic_store (&engine->instance[i].state, MVT_INSTANCE_ACTIVE);
	}
	control_publish_active (engine);
	error = publish_initial (engine, engine->config.policy);
	if (error == MVT_ERR_NO_MEMORY)
		return no_memory (engine, "the tables of policies and addresses", err);
	if (error)
		engine_error (err, "the policy is not accepted: %s", mvt_err_text (error));
	return error;
}

static void
init_locks (mvt_engine_t *engine)
{
	pthread_mutex_init (&engine->control, NULL);
	pthread_mutex_init (&engine->stat, NULL);
	pthread_mutex_init (&engine->inject_lock, NULL);
	pthread_mutex_init (&engine->collect_lock, NULL);
	pthread_rwlock_init (&engine->life, NULL);
}

mvt_engine_t *
mvt_engine_new (const mvt_engine_config_t *config, int *code, char *err)
{
	mvt_engine_t *engine = NULL;
	mvt_err_t error = MVT_ERR_INVALID;

	*err = 0;
	*code = error;
	if (!check (config, err))
		return NULL;
	*code = MVT_ERR_NO_MEMORY;
	if (posix_memalign ((void **) &engine, MVT_CACHE_LINE, sizeof *engine))
	{
		engine_error (err, "out of memory");
		return NULL;
	}
	memset (engine, 0, sizeof *engine);
	engine->side[0].fd = engine->side[1].fd = -1;
	engine->dispatch_event = engine->dispatch_epoll = -1;
	arena_init (&engine->arena, -1, memory_free ());
	init_locks (engine);
	error = MVT_OK;
	if (!take_config (engine, config))
	{
		engine_error (err, "the system gives no random numbers");
		error = MVT_ERR_INVALID;
	}
	else if (!make_tables (engine))
		error = no_memory (engine, "the tables of the pool", err);
	if (!error && !engine->stepped)
		error = make_devices (engine, err);
	if (!error)
		error = make_instances (engine, err);
	engine->config.policy = NULL;
	engine->config.allocatable = NULL;
	engine->config.tun_inside = engine->config.tun_outside = NULL;
	*code = error;
	if (!error)
		return engine;
	mvt_engine_free (engine);
	return NULL;
}

void
mvt_engine_free (mvt_engine_t *engine)
{
	if (!engine)
		return;
	if (mvt_engine_stop (engine) != MVT_OK)
		return; /* a thread may still be working with all of it */
	if (engine->instance)
		for (uint32_t i = 0; i < engine->n; i++)
		{
			instance_t *instance = &engine->instance[i];
			mvt_nat44_remove (instance->nat);
			free (instance->mail.ring);
			pthread_mutex_destroy (&instance->mail.post);
		}
	publish_free (engine);
	stepped_free (engine);
	dispatch_cleanup (engine);
	free (engine->dispatch_mail.ring);
	free (engine->free_buffers);
	mvt_mem_free (&engine->arena.mem, engine->buffers, engine->buffers_size);
	mvt_mem_free (&engine->arena.mem, engine->ring_memory, engine->ring_memory_size);
	mvt_mem_free (&engine->arena.mem, engine->shared.directory, engine->directory_size);
	free (engine->instance);
	free (engine->slot_state);
	free (engine->slot_drained);
	free (engine->slot_addr);
	free (engine->late_events);
	pthread_mutex_destroy (&engine->control);
	pthread_mutex_destroy (&engine->stat);
	pthread_mutex_destroy (&engine->inject_lock);
	pthread_mutex_destroy (&engine->collect_lock);
	pthread_rwlock_destroy (&engine->life);
	free (engine);
}
