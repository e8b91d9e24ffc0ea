/* SPDX-License-Identifier: Apache-2.0
 *
 * How control reaches an instance, and what the instance does with it: the same for every host of
 * instances. A mail has memory of its own, with copies of the job and of the job's array, because
 * whoever posted it may leave: an instance that has begun no loop for ENGINE_HANG_US hangs, and
 * nobody waits for it any longer. The mail's state says whose it is.
 *
 *   POSTED --owner--> TAKEN --owner--> DONE      the poster frees it (a dispatcher: at once)
 *   POSTED or TAKEN --poster--> LEFT             the owner frees it; what was not taken never runs
 */
#define _GNU_SOURCE 1
#include "engine_private.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum
{
	MAIL_POSTED,
	MAIL_TAKEN,
	MAIL_DONE,
	MAIL_LEFT
};

struct mail
{
	mail_op_t op;
	_Atomic uint32_t state;
	bool ran; /* begun; the owner's */
	mvt_nat44_t *nat;
	mvt_job_t job;
	_Alignas (16) uint8_t array[]; /* what job.out points to */
};

static bool
pass_on (mail_t *mail, uint32_t from, uint32_t to)
{
	return atomic_compare_exchange_strong (&mail->state, &from, to);
}

/* Work with `nat` from now on. Returns the old one, which has let its fragments go. Owner thread,
 * or control's. */
static mvt_nat44_t *
swap (instance_t *instance, mvt_nat44_t *nat)
{
	mvt_nat44_t *old = instance->nat;
	uint32_t now = engine_tick (instance->engine);

	if (old)
	{
		/* fragments must not stay behind in it: their time is over */
		while (mvt_nat44_background (old,
					     now + instance->engine->config.fragment_timeout + 1,
					     ENGINE_IDLE_LINES) > 0 &&
		       instance_released (instance, now) > 0)
			;
		instance_released (instance, now);
	}
	instance->nat = nat;
	instance->swept_tick = now;
	instance->swept_rounds = 0;
	return old;
}

/* ---- making one ---- */

static size_t
array_bytes (const mvt_job_t *job)
{
	switch (job->op)
	{
	case MVT_JOB_TAKE_BLOCKS:
		return job->n * sizeof *job->out.blocks;
	case MVT_JOB_GIVE_BLOCKS:
		return job->max * sizeof *job->out.blocks;
	case MVT_JOB_LIST_MAPPINGS:
		return job->max * sizeof *job->out.mappings;
	case MVT_JOB_LIST_HOSTS:
		return job->max * sizeof *job->out.hosts;
	case MVT_JOB_LIST_BLOCKS:
		return job->max * sizeof *job->out.block_infos;
	case MVT_JOB_MATCHES:
		return MVT_MATCH_N * sizeof *job->out.matches;
	case MVT_JOB_LIST_HITS:
		return job->max * sizeof *job->out.hits;
	default:
		return 0;
	}
}

static mail_t *
mail_new (mail_op_t op, const mvt_job_t *job, mvt_nat44_t *nat)
{
	size_t bytes = job ? array_bytes (job) : 0;
	mail_t *mail = malloc (sizeof *mail + bytes);

	if (!mail)
		return NULL;
	memset (mail, 0, sizeof *mail);
	mail->op = op;
	mail->nat = nat;
	if (job)
		mail->job = *job;
	if (bytes)
	{
		mail->job.out.blocks = (uint32_t *) (void *) mail->array;
		if (job->op == MVT_JOB_TAKE_BLOCKS)
			memcpy (mail->array, job->out.blocks, bytes);
	}
	return mail;
}

static void
read_answer (const mail_t *mail, mvt_job_t *job)
{
	mvt_job_t answer = mail->job;

	answer.out = job->out;
	if (job->op != MVT_JOB_TAKE_BLOCKS && answer.n)
	{
		mvt_job_t part = { .op = answer.op, .n = answer.n, .max = answer.n };
		memcpy (job->out.blocks, mail->array, array_bytes (&part));
	}
	*job = answer;
}

/* ---- patience ---- */

typedef struct
{
	uint64_t loops, since;
} patience_t;

static uint64_t
micros (void)
{
	struct timespec ts;

	clock_gettime (CLOCK_MONOTONIC, &ts);
	return (uint64_t) ts.tv_sec * 1000000u + (uint64_t) ts.tv_nsec / 1000u;
}

static mailbox_t *
box_of (mvt_engine_t *engine, uint32_t id)
{
	return id < engine->n ? &engine->instance[id].mail : &engine->dispatch_mail;
}

static uint64_t
loops_of (const mvt_engine_t *engine, uint32_t id)
{
	return count_get (id < engine->n ? &engine->instance[id].count.loops
					 : &engine->dispatch_loops);
}

static patience_t
patience (const mvt_engine_t *engine, uint32_t id)
{
	return (patience_t){ loops_of (engine, id), micros () };
}

static bool
is_over (mvt_engine_t *engine, uint32_t id, patience_t *p)
{
	uint64_t loops = loops_of (engine, id), now = micros ();

	if (loops != p->loops)
		*p = (patience_t){ loops, now };
	if (now - p->since < ENGINE_HANG_US)
		return false;
	atomic_store (&box_of (engine, id)->hung_at, loops + 1);
	return true;
}

bool
mail_hangs (mvt_engine_t *engine, uint32_t id)
{
	uint64_t at = atomic_load (&box_of (engine, id)->hung_at);
	return at && at == loops_of (engine, id) + 1;
}

/* ---- post and wait ---- */

/* Takes the mail: false, and it is gone, when its reader hangs. */
static bool
post (mvt_engine_t *engine, uint32_t id, mail_t *mail)
{
	mailbox_t *box = box_of (engine, id);
	patience_t p = patience (engine, id);
	bool good = !mail_hangs (engine, id);

	pthread_mutex_lock (&box->post);
	while (good && !ring_put (box->ring, mail))
	{
		ring_publish (box->ring);
		host_wake (engine, id);
		sched_yield ();
		good = !is_over (engine, id, &p);
	}
	ring_publish (box->ring);
	pthread_mutex_unlock (&box->post);
	if (good)
		host_wake (engine, id);
	else
		free (mail);
	return good;
}

/* OK: done, and the mail is the caller's. HUNG: it never runs; AGAIN: it may have run, or will. */
static mvt_err_t
wait_for (mvt_engine_t *engine, uint32_t id, mail_t *mail)
{
	patience_t p = patience (engine, id);
	uint32_t again_us = host_wake (engine, id), state;

	while ((state = atomic_load_explicit (&mail->state, memory_order_acquire)) != MAIL_DONE)
	{
		if (is_over (engine, id, &p))
		{
			if (pass_on (mail, MAIL_POSTED, MAIL_LEFT))
				return MVT_ERR_HUNG;
			if (pass_on (mail, MAIL_TAKEN, MAIL_LEFT))
				return MVT_ERR_AGAIN;
			continue;
		}
		park_wait (&mail->state, state, again_us);
		again_us = host_wake (engine, id);
	}
	return MVT_OK;
}

mvt_err_t
mail_spare_answer (mvt_job_t *job)
{
	job->result = MVT_ERR_NOT_OWNER;
	job->n = 0;
	switch (job->op)
	{
	case MVT_JOB_LIST_MAPPINGS:
	case MVT_JOB_LIST_HOSTS:
	case MVT_JOB_LIST_BLOCKS:
	case MVT_JOB_LIST_HITS:
		job->cursor = UINT64_MAX;
		job->result = MVT_OK;
		break;
	case MVT_JOB_GIVE_BLOCKS:
	case MVT_JOB_DELETE_MAPPINGS:
	case MVT_JOB_MATCHES:
	case MVT_JOB_DRAIN_SLOT:
	case MVT_JOB_SYNC:
		job->result = MVT_OK;
		break;
	default:
		break;
	}
	return job->result;
}

mvt_err_t
mail_job (mvt_engine_t *engine, uint32_t id, mvt_job_t *job)
{
	mail_t *mail;
	mvt_err_t err;

	if (!engine_has_nat (engine, id))
		return mail_spare_answer (job);
	if (host_at_hand (engine, id))
	{
		do
			err = mvt_nat44_job (engine->instance[id].nat, job, engine_tick (engine));
		while (err == MVT_ERR_AGAIN);
		return err;
	}
	mail = mail_new (MAIL_JOB, job, NULL);
	if (!mail)
		err = MVT_ERR_NO_MEMORY;
	else if (!post (engine, id, mail))
		err = MVT_ERR_HUNG;
	else
		err = wait_for (engine, id, mail);
	if (err)
	{
		job->n = job->op == MVT_JOB_TAKE_BLOCKS ? job->n : 0;
		return job->result = err;
	}
	read_answer (mail, job);
	free (mail);
	return job->result;
}

mvt_err_t
mail_swap (mvt_engine_t *engine, uint32_t id, mvt_nat44_t *nat, bool retire, mvt_nat44_t **old)
{
	mail_t *mail;
	mvt_err_t err;

	*old = NULL;
	if (host_at_hand (engine, id))
	{
		*old = swap (&engine->instance[id], nat);
		return MVT_OK;
	}
	mail = mail_new (retire ? MAIL_RETIRE : MAIL_SWAP, NULL, nat);
	if (!mail)
		return MVT_ERR_NO_MEMORY;
	if (!post (engine, id, mail))
		return MVT_ERR_HUNG;
	err = wait_for (engine, id, mail);
	if (err)
		return err;
	*old = mail->nat;
	free (mail);
	return MVT_OK;
}

mvt_err_t
mail_sync (mvt_engine_t *engine, bool *all)
{
	mail_t *mail[MVT_HOME_INSTANCES + 1] = { 0 };
	mvt_job_t job = { .op = MVT_JOB_SYNC };
	uint32_t n = host_threads (engine);
	mvt_err_t err = MVT_OK;

	*all = true;
	for (uint32_t i = 0; i < n; i++)
		/* to spare ones too: they may hold a packet of the time before */
		if (host_at_hand (engine, i))
		{
			/* it must not know a snapshot that is freed now: another may get its place
			 */
			if (i < engine->n)
				mail_job (engine, i, &job);
		}
		else
		{
			mail[i] = mail_new (MAIL_JOB, &job, NULL);
			if (!mail[i])
				err = MVT_ERR_NO_MEMORY;
			else if (!post (engine, i, mail[i]))
				mail[i] = NULL;
		}
	for (uint32_t i = 0; i < n; i++)
	{
		if (host_at_hand (engine, i))
			continue;
		if (mail[i] && wait_for (engine, i, mail[i]) == MVT_OK)
		{
			free (mail[i]);
			continue;
		}
		*all = false;
		/* whoever was taken over does nothing of what it knew when it comes back */
		if (!err && (i >= engine->n || !atomic_load (&engine->instance[i].taken_over)))
			err = MVT_ERR_HUNG;
	}
	return err;
}

/* ---- the reader's side ---- */

/* Whoever asked has left meanwhile: undo what only makes sense with an answer. */
static void
undo (instance_t *instance, mail_t *mail, uint32_t now)
{
	if (mail->op != MAIL_JOB)
		swap (instance, mail->nat);
	else if (mail->job.op == MVT_JOB_GIVE_BLOCKS && mail->job.n && instance->nat)
	{
		mail->job.op = MVT_JOB_TAKE_BLOCKS;
		mvt_nat44_job (instance->nat, &mail->job, now);
	}
}

/* True when nothing of it is left to do. */
static bool
work (instance_t *instance, mail_t *mail, uint32_t now)
{
	if (atomic_load (&mail->state) != MAIL_LEFT && mail->op == MAIL_RETIRE &&
	    host_packets_wait (instance))
		return false;
	if (!pass_on (mail, MAIL_POSTED, MAIL_TAKEN) && atomic_load (&mail->state) == MAIL_LEFT)
		return true;
	mail->ran = true;
	if (mail->op != MAIL_JOB)
		mail->nat = swap (instance, mail->nat);
	else if (!instance->nat) /* it retired while the job travelled */
		mail_spare_answer (&mail->job);
	else
		return mvt_nat44_job (instance->nat, &mail->job, now) != MVT_ERR_AGAIN;
	return true;
}

bool
mail_turn (instance_t *instance, uint32_t now)
{
	mail_t *mail;

	if (mvt_unlikely (atomic_load_explicit (&instance->taken_over, memory_order_acquire)) &&
	    instance->nat)
		atomic_store (&instance->void_nat, swap (instance, NULL));
	instance->n_pending += ring_dequeue (instance->mail.ring,
					     (void **) &instance->pending[instance->n_pending],
					     ENGINE_MAIL - instance->n_pending);
	if (instance->n_pending == 0)
		return false;
	if (instance->next_pending >= instance->n_pending)
		instance->next_pending = 0;
	mail = instance->pending[instance->next_pending];
	if (!work (instance, mail, now))
	{
		instance->next_pending++;
		return true;
	}
	instance->n_pending--;
	memmove (&instance->pending[instance->next_pending],
		 &instance->pending[instance->next_pending + 1],
		 (instance->n_pending - instance->next_pending) * sizeof (mail_t *));
	if (pass_on (mail, MAIL_TAKEN, MAIL_DONE))
	{
		park_wake_waiter (&mail->state);
		return true;
	}
	if (mail->ran)
		undo (instance, mail, now);
	free (mail);
	return true;
}

void
mail_seen (mailbox_t *box)
{
	mail_t *mail;

	while (ring_dequeue (box->ring, (void **) &mail, 1))
	{
		if (pass_on (mail, MAIL_POSTED, MAIL_DONE))
			park_wake_waiter (&mail->state);
		else
			free (mail);
	}
}
