/* SPDX-License-Identifier: Apache-2.0
 *
 * How control reaches an instance: a pointer in its mailbox, and a word that it sets when done.
 * While no thread runs (stepped, or not started) the caller does the work itself.
 */
#define _GNU_SOURCE 1
#include "engine_private.h"

static void
post (mailbox_t *box, mail_t *mail)
{
	pthread_mutex_lock (&box->post);
	while (!ring_put (box->ring, mail))
	{
		ring_publish (box->ring);
		sched_yield ();
	}
	ring_publish (box->ring);
	pthread_mutex_unlock (&box->post);
}

static void
post_instance (instance_t *instance, mail_t *mail)
{
	post (&instance->mail, mail);
	park_wake (&instance->park);
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
	instance_t *instance = &engine->instance[id];
	mail_t mail = { .op = MAIL_JOB, .job = job };

	if (!engine_has_nat (engine, id))
		return mail_spare_answer (job);
	if (!engine->running)
	{
		mvt_err_t err;
		do
			err = mvt_nat44_job (instance->nat, job, engine_tick (engine));
		while (err == MVT_ERR_AGAIN);
		return err;
	}
	post_instance (instance, &mail);
	park_wait_done (&mail.done);
	return job->result;
}

mvt_nat44_t *
mail_swap (mvt_engine_t *engine, uint32_t id, mvt_nat44_t *nat, bool retire)
{
	instance_t *instance = &engine->instance[id];
	mail_t mail = { .op = retire ? MAIL_RETIRE : MAIL_SWAP, .nat = nat };

	if (!engine->running)
		instance_swap (instance, &mail);
	else
	{
		post_instance (instance, &mail);
		park_wait_done (&mail.done);
	}
	return mail.nat;
}

void
mail_sync (mvt_engine_t *engine)
{
	mail_t mail[MVT_HOME_INSTANCES + 1] = { 0 };
	mvt_job_t job[MVT_HOME_INSTANCES] = { 0 };

	for (uint32_t i = 0; i < engine->n; i++)
	{
		job[i].op = MVT_JOB_SYNC;
		if (!engine->running)
		{
			mail_job (engine, i, &job[i]);
			continue;
		}
		/* to spare ones too: they may hold a packet of the time before */
		mail[i] = (mail_t){ .op = MAIL_JOB, .job = &job[i] };
		post_instance (&engine->instance[i], &mail[i]);
	}
	if (!engine->running)
		return;
	post (&engine->dispatch_mail, &mail[engine->n]);
	dispatch_wake (engine);
	for (uint32_t i = 0; i <= engine->n; i++)
		park_wait_done (&mail[i].done);
}
