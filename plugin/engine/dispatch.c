/* SPDX-License-Identifier: Apache-2.0
 *
 * The dispatcher's thread: reads the devices into buffers, asks mvt_dispatch and feeds the
 * instances. It owns every buffer that is not in use; they come back through one ring per
 * instance. When none is left it stops reading, and the kernel's own queue limits the sender.
 */
#define _GNU_SOURCE 1
#include "engine_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#define READ_QUOTA 64u /* packets per side and turn */
#define SLEEP_MS   500
#define PAUSE_US   200
#define OVERFLOW   65536u

/* Packets of a turn, sorted by instance. */
typedef struct
{
	buffer_t *buffer[MVT_HOME_INSTANCES][2 * READ_QUOTA];
	uint32_t n[MVT_HOME_INSTANCES];
	uint64_t some;		    /* instances with n > 0 */
	uint8_t overflow[OVERFLOW]; /* what a packet has beyond its buffer */
} stage_t;

/* ---- buffers ---- */

static void
recycle (mvt_engine_t *engine)
{
	for (uint32_t i = 0; i <= engine->n; i++)
		engine->n_free_buffers +=
			ring_dequeue (engine->give_back[i],
				      (void **) &engine->free_buffers[engine->n_free_buffers],
				      engine->n_buffers - engine->n_free_buffers);
	if (mvt_likely (!atomic_load_explicit (&engine->injecting, memory_order_relaxed)))
		return;
	/* the injector copies into buffers of ours */
	while (engine->n_free_buffers > engine->n_buffers / 2 &&
	       ring_put (engine->inject_free, engine->free_buffers[engine->n_free_buffers - 1]))
		engine->n_free_buffers--;
	ring_publish (engine->inject_free);
}

/* ---- to the instances ---- */

static void
stage (mvt_engine_t *engine, stage_t *s, buffer_t *buffer)
{
	uint16_t to = mvt_dispatch (&engine->shared, &buffer->pkt);
	if (to >= engine->n)
		to = 0;
	buffer->first_instance = to;
	s->buffer[to][s->n[to]++] = buffer;
	s->some |= 1ull << to;
}

static void
flush (mvt_engine_t *engine, stage_t *s)
{
	for (; s->some; s->some &= s->some - 1)
	{
		uint32_t to = (uint32_t) __builtin_ctzll (s->some);
		uint32_t n = s->n[to];
		uint32_t sent = ring_enqueue (engine->to_instance[to], (void **) s->buffer[to], n);

		park_wake (&engine->instance[to].park);
		count_add (&engine->instance[to].ring_dropped, n - sent);
		while (sent < n)
			engine->free_buffers[engine->n_free_buffers++] = s->buffer[to][sent++];
		s->n[to] = 0;
	}
}

/* ---- from the devices ---- */

static void
give_up (mvt_engine_t *engine, side_t *side, int error)
{
	atomic_store_explicit (&side->failed, (uint32_t) error, memory_order_relaxed);
	epoll_ctl (engine->dispatch_epoll, EPOLL_CTL_DEL, side->fd, NULL);
}

/* At most READ_QUOTA packets; returns how many came. */
static uint32_t
read_side (mvt_engine_t *engine, stage_t *s, unsigned dir)
{
	side_t *side = &engine->side[dir];
	uint32_t n = 0;

	if (side->fd < 0 || atomic_load_explicit (&side->failed, memory_order_relaxed))
		return 0;
	while (n < READ_QUOTA && engine->n_free_buffers)
	{
		buffer_t *buffer = engine->free_buffers[engine->n_free_buffers - 1];
		struct iovec into[2] = { { buffer->data, engine->buffer_room },
					 { s->overflow, OVERFLOW } };
		ssize_t got = readv (side->fd, into, 2);

		if (got < 0)
		{
			if (errno == EINTR)
				continue;
			if (errno != EAGAIN)
			{
				count_add (&side->errors, 1);
				/* down for now, or gone for good */
				if (errno == EIO || errno == ENETDOWN)
					usleep (PAUSE_US);
				else
					give_up (engine, side, errno);
			}
			break;
		}
		n++;
		count_add (&side->packets, 1);
		if (got == 0 || buffer->data[0] >> 4 != 4)
			count_add (&side->not_ipv4, 1);
		else if ((size_t) got > engine->buffer_room)
			count_add (&side->oversize, 1);
		else
		{
			engine->n_free_buffers--;
			/* the kernel has verified or made the header checksum of what it routes
			 * into a device; whoever writes there past it gets a header out that is
			 * as wrong as it was, which the kernel drops */
			buffer->pkt = (mvt_pkt_t){ .l3 = buffer->data,
						   .ref = (uintptr_t) buffer,
						   .len = (uint32_t) got,
						   .dir = (uint8_t) dir,
						   .flags = MVT_PKT_CHECKSUM_DONE };
			buffer->cookie = 0;
			stage (engine, s, buffer);
		}
	}
	return n;
}

static uint32_t
read_injected (mvt_engine_t *engine, stage_t *s)
{
	buffer_t *buffers[READ_QUOTA];
	uint32_t n = ring_dequeue (engine->inject, (void **) buffers, READ_QUOTA);

	for (uint32_t i = 0; i < n; i++)
		stage (engine, s, buffers[i]);
	return n;
}

/* ---- the thread ---- */

void
dispatch_wake (mvt_engine_t *engine)
{
	uint64_t one = 1;
	if (atomic_load_explicit (&engine->dispatch_park.asleep, memory_order_seq_cst) &&
	    write (engine->dispatch_event, &one, sizeof one) < 0)
		return; /* the counter is full: it is awake */
}

static void
sleep_until_packets (mvt_engine_t *engine)
{
	struct epoll_event events[3];
	uint64_t count;
	int timeout = SLEEP_MS;

	if (engine->n_free_buffers == 0)
	{
		count_add (&engine->no_buffer, 1);
		usleep (PAUSE_US);
		return;
	}
	park_announce (&engine->dispatch_park);
	if (ring_ready (engine->inject) || ring_ready (engine->dispatch_mail.ring) ||
	    atomic_load_explicit (&engine->stop_reading, memory_order_relaxed))
		timeout = 0;
	/* an injector waits for buffers that come back without a wake-up */
	else if (atomic_load_explicit (&engine->injecting, memory_order_relaxed))
		timeout = 1;
	epoll_wait (engine->dispatch_epoll, events, 3, timeout);
	park_cancel (&engine->dispatch_park);
	if (read (engine->dispatch_event, &count, sizeof count) < 0)
		return; /* it was not that */
}

void *
dispatch_main (void *arg)
{
	mvt_engine_t *engine = arg;
	stage_t *s = engine->stage;

	for (;;)
	{
		bool stop = atomic_load_explicit (&engine->stop_reading, memory_order_acquire);
		uint32_t n;

		count_add (&engine->dispatch_loops, 1);
		mail_seen (&engine->dispatch_mail);
		recycle (engine);
		n = read_injected (engine, s);
		if (!stop)
		{
			n += read_side (engine, s, MVT_IN2OUT);
			flush (engine, s);
			n += read_side (engine, s, MVT_OUT2IN);
		}
		flush (engine, s);
		if (n)
			continue;
		if (stop)
			break;
		sleep_until_packets (engine);
	}
	return NULL;
}

bool
dispatch_prepare (mvt_engine_t *engine, char *err)
{
	struct epoll_event event = { .events = EPOLLIN };

	engine->stage = calloc (1, sizeof (stage_t));
	engine->dispatch_event = eventfd (0, EFD_NONBLOCK | EFD_CLOEXEC);
	engine->dispatch_epoll = epoll_create1 (EPOLL_CLOEXEC);
	if (!engine->stage || engine->dispatch_event < 0 || engine->dispatch_epoll < 0 ||
	    epoll_ctl (engine->dispatch_epoll, EPOLL_CTL_ADD, engine->dispatch_event, &event))
		goto failed;
	for (unsigned dir = 0; dir < 2; dir++)
		if (engine->side[dir].fd >= 0 &&
		    epoll_ctl (engine->dispatch_epoll, EPOLL_CTL_ADD, engine->side[dir].fd, &event))
			goto failed;
	return true;
failed:
	engine_error (err, "the dispatcher cannot wait for its devices: %s", strerror (errno));
	return false;
}

void
dispatch_cleanup (mvt_engine_t *engine)
{
	free (engine->stage);
	if (engine->dispatch_event >= 0)
		close (engine->dispatch_event);
	if (engine->dispatch_epoll >= 0)
		close (engine->dispatch_epoll);
	for (unsigned dir = 0; dir < 2; dir++)
		if (engine->side[dir].fd >= 0)
			close (engine->side[dir].fd);
}
