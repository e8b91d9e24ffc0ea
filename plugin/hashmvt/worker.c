/* SPDX-License-Identifier: Apache-2.0
 *
 * An instance's turn: what its thread does once in every loop, besides packets. Called at the top
 * of the loop, between frames, so no pointer of a batch is alive: whatever was published before is
 * seen by everything after.
 */
#include "hashmvt.h"

#define MAX_SKIPS 1024 /* turns in a row that do not look at files */

/* ---- fragments that the core lets go ---- */

static void
put_frame (vlib_main_t *vm, u32 node_index, u32 *buffers, u32 n)
{
	vlib_frame_t *f = vlib_get_frame_to_node (vm, node_index);

	vlib_buffer_copy_indices (vlib_frame_vector_args (f), buffers, n);
	f->n_vectors = n;
	vlib_put_frame_to_node (vm, node_index, f);
}

/* Those whose datagram is known now go through the nodes again, expired ones are dropped. */
uint32_t
instance_released (instance_t *instance, uint32_t now)
{
	vlib_main_t *vm = vlib_get_main ();
	vlib_node_t *node = vlib_get_node (vm, hashmvt_handoff_node.index);
	u32 again[64], dead[64], all = 0, n;
	mvt_pkt_t pkts[64];

	if (!instance->nat)
		return 0;
	while ((n = mvt_nat44_released (instance->nat, pkts, 64)) > 0)
	{
		u32 n_again = 0, n_dead = 0;
		for (u32 i = 0; i < n; i++)
		{
			u32 bi = (u32) pkts[i].ref;
			vlib_buffer_t *b = vlib_get_buffer (vm, bi);
			if (pkts[i].verdict == MVT_VERDICT_NONE)
			{
				hashmvt_carry (b, &pkts[i]);
				again[n_again++] = bi;
			}
			else
			{
				b->error = node->error_heap_index + HASHMVT_DROP_MALFORMED +
					   pkts[i].reason;
				dead[n_dead++] = bi;
			}
		}
		if (n_again)
			put_frame (vm, hashmvt_handoff_node.index, again, n_again);
		if (n_dead)
			put_frame (vm, vlib_get_node_by_name (vm, (u8 *) "error-drop")->index, dead,
				   n_dead);
		all += n;
	}
	return all;
}

/* Does anything wait for this thread that another one sent? */
bool
host_packets_wait (instance_t *instance)
{
	vlib_main_t *vm = vlib_get_main ();
	vlib_frame_queue_main_t *fqm = vec_elt_at_index (vlib_get_thread_main ()->frame_queue_mains,
							 hashmvt_main.frame_queue);
	vlib_frame_queue_t *fq = fqm->vlib_frame_queues[vm->thread_index];

	return fq->head != fq->tail || vec_len (vm->node_main.pending_frames) != 0;
}

/* ---- load ---- */

/* The turn that ended: busy when it moved packets. A turn in which the thread may have slept is
 * busy only from its first frame of ours on. Returns whether it was busy. */
static bool
account (vlib_main_t *vm, hashmvt_thread_t *me)
{
	instance_count_t *count = &me->instance->count;
	u64 now = clib_cpu_time_now ();
	bool moved = vm->internal_node_vectors != me->vectors;
	bool slept = (u32) vm->epoll_waits != me->file_polls;
	u64 from = slept ? me->first_frame : me->turn_start;

	count_add (&count->loops, 1);
	count_add (&count->cycles_total, now - me->turn_start);
	if (moved && from)
		count_add (&count->cycles_busy, now - from);
	me->turn_start = now;
	me->first_frame = 0;
	me->vectors = vm->internal_node_vectors;
	me->file_polls = (u32) vm->epoll_waits;
	return moved;
}

void
hashmvt_turn (vlib_main_t *vm, u64 t)
{
	hashmvt_thread_t *me = vec_elt_at_index (hashmvt_main.threads, vm->thread_index);
	instance_t *instance = me->instance;
	bool moved, worked, more = false;

	if (PREDICT_FALSE (!instance))
		return;
	moved = account (vm, me);
	me->tick = engine_tick (instance->engine);
	worked = mail_turn (instance, me->tick);
	if (instance->nat)
	{
		if (moved)
			mvt_nat44_background (instance->nat, me->tick, ENGINE_BUSY_LINES);
		else if (!worked)
			more = instance_sweep (instance, me->tick);
		instance_released (instance, me->tick);
	}
	/* the loop sleeps next if it finds nothing to do, and it does not look at frames that were
	 * put before it: of the frame queue, or here. Files must not starve, though. */
	if (vm->file_poll_skip_loops == 0 && me->skips < MAX_SKIPS &&
	    (more || instance->n_pending || vec_len (vm->node_main.pending_frames)))
	{
		vm->file_poll_skip_loops = 1;
		me->skips++;
	}
	else
		me->skips = 0;
}
