/* SPDX-License-Identifier: Apache-2.0
 *
 * Packets in memory for a threaded engine: what would have come from a device, and what would have
 * left by one that is not there. Bounded on both ends.
 */
#define _GNU_SOURCE 1
#include "engine_private.h"

#include <string.h>
#include <time.h>

uint32_t
mvt_engine_inject (mvt_engine_t *engine, const mvt_engine_packet_t *packets, uint32_t n)
{
	uint32_t done = 0;

	if (engine->stepped)
		return 0;
	pthread_mutex_lock (&engine->inject_lock);
	if (!atomic_load_explicit (&engine->injecting, memory_order_relaxed))
	{
		atomic_store_explicit (&engine->injecting, 1, memory_order_relaxed);
		dispatch_wake (engine);
	}
	for (; done < n; done++)
	{
		const mvt_engine_packet_t *in = &packets[done];
		buffer_t *buffer;

		if (in->len > engine->buffer_room || in->len == 0 || in->dir > MVT_OUT2IN ||
		    ring_count_any (engine->inject) > ENGINE_INJECT - 1 ||
		    !ring_dequeue (engine->inject_free, (void **) &buffer, 1))
			break;
		memcpy (buffer->data, in->data, in->len);
		buffer->pkt = (mvt_pkt_t){
			.l3 = buffer->data,
			.ref = (uintptr_t) buffer,
			.len = in->len,
			.dir = in->dir,
			.flags = in->flags & MVT_PKT_TRUNCATED_OK,
		};
		buffer->cookie = in->cookie;
		ring_put (engine->inject, buffer);
	}
	if (ring_publish (engine->inject))
		dispatch_wake (engine);
	pthread_mutex_unlock (&engine->inject_lock);
	return done;
}

static uint32_t
collect_once (mvt_engine_t *engine, mvt_engine_packet_t *out, uint32_t max, uint8_t **buf,
	      uint32_t *room)
{
	uint32_t n = 0;
	buffer_t *buffer;

	for (uint32_t i = 0; i < engine->n; i++)
		while (n < max && (buffer = ring_peek (engine->collect[i])) != NULL &&
		       buffer->pkt.len <= *room)
		{
			ring_dequeue (engine->collect[i], (void **) &buffer, 1);
			memcpy (*buf, buffer->pkt.l3, buffer->pkt.len);
			out[n++] = (mvt_engine_packet_t){
				.data = *buf,
				.len = buffer->pkt.len,
				.dir = buffer->pkt.dir,
				.verdict = buffer->pkt.verdict,
				.reason = buffer->pkt.reason,
				.flags = buffer->pkt.flags,
				.instance = buffer->instance,
				.first_instance = buffer->first_instance,
				.cookie = buffer->cookie,
			};
			*buf += buffer->pkt.len;
			*room -= buffer->pkt.len;
			ring_put (engine->give_back[engine->n], buffer);
		}
	ring_publish (engine->give_back[engine->n]);
	return n;
}

static bool
collect_ready (mvt_engine_t *engine)
{
	for (uint32_t i = 0; i < engine->n; i++)
		if (ring_ready (engine->collect[i]))
			return true;
	return false;
}

static uint64_t
now_us (void)
{
	struct timespec ts;
	clock_gettime (CLOCK_MONOTONIC, &ts);
	return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}

uint32_t
mvt_engine_collect (mvt_engine_t *engine, mvt_engine_packet_t *out, uint32_t max, uint8_t *buf,
		    uint32_t buf_len, uint32_t timeout_ms)
{
	uint64_t until = now_us () + (uint64_t) timeout_ms * 1000, now;
	uint32_t n = 0;

	if (engine->stepped)
		return 0;
	pthread_mutex_lock (&engine->collect_lock);
	while ((n = collect_once (engine, out, max, &buf, &buf_len)) == 0)
	{
		now = now_us ();
		if (now >= until || collect_ready (engine))
			break;
		park_announce (&engine->collect_park);
		if (collect_ready (engine))
			park_cancel (&engine->collect_park);
		else
			park_sleep (&engine->collect_park, (uint32_t) (until - now));
	}
	pthread_mutex_unlock (&engine->collect_lock);
	return n;
}
