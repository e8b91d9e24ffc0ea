/* SPDX-License-Identifier: Apache-2.0
 *
 * NAT of a capture: records in, batches through a stepped engine, records out in their order.
 * Memory is one batch and the fragments that wait, whatever the size of the capture.
 */
#define _GNU_SOURCE 1
#include "engine_private.h"

#include <errno.h>
#include <pcap/pcap.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PROGRESS_BATCHES 64u

/* One record of the capture; its memory is kept for later ones. */
typedef struct record
{
	struct pcap_pkthdr header;
	uint8_t *frame;
	uint32_t room;
	uint32_t l3; /* offset, MVT_NONE: no IPv4 */
	bool filled; /* its header checksum was 0 */
	struct record *next;
} record_t;

typedef struct
{
	mvt_engine_t *engine;
	mvt_replay_result_t *result;
	pcap_t *in;
	pcap_dumper_t *out;
	const char *in_path, *out_path;
	int link;
	bool pipe; /* its position cannot be asked for */
	record_t *free;
	record_t *batch[MVT_BATCH_MAX];
	uint32_t n;
	record_t *next;	 /* read already: it belongs to the next second */
	int64_t first_s; /* of the capture */
	uint32_t base;	 /* tick of the first packet */
	uint64_t offset; /* where the next record begins */
} replay_t;

/* ---- records ---- */

static record_t *
record_get (replay_t *r, uint32_t len)
{
	record_t *record = r->free;
	uint8_t *frame;

	if (record)
		r->free = record->next;
	else if (!(record = calloc (1, sizeof *record)))
		return NULL;
	if (record->room < len || !record->frame)
	{
		uint32_t room = len < 2048 ? 2048 : len;
		frame = realloc (record->frame, room);
		if (!frame)
		{
			record->next = r->free;
			r->free = record;
			return NULL;
		}
		record->frame = frame;
		record->room = room;
	}
	return record;
}

static void
record_put (replay_t *r, record_t *record)
{
	record->next = r->free;
	r->free = record;
}

static void
record_write (replay_t *r, record_t *record)
{
	pcap_dump ((u_char *) r->out, &record->header, record->frame);
	r->result->out++;
}

/* ---- a batch ---- */

static unsigned
direction (replay_t *r, const record_t *record)
{
	const mvt_policy_set_t *policy = atomic_load (&r->engine->shared.policy);
	uint32_t src, outside;

	if (record->header.caplen < record->l3 + 20)
		return MVT_OUT2IN;
	src = mvt_load32 (record->frame + record->l3 + 12);
	if (mvt_policy_of (policy, src) != MVT_NONE)
		return MVT_IN2OUT;
	return mvt_policy_has_statics (policy) && mvt_policy_static_in2out (policy, src, &outside)
		       ? MVT_IN2OUT
		       : MVT_OUT2IN;
}

/* A capture on the sending host shows headers before the NIC has filled in their checksum: 0 there
 * is no damage. It is computed so that the packet can be judged, and taken back from a packet that
 * is passed unchanged. No header that is right has checksum 0. */
static void
checksum_fill (record_t *record)
{
	uint8_t *p = record->frame + record->l3;
	uint32_t len = record->header.caplen - record->l3, header = (p[0] & 15u) * 4, sum = 0;

	record->filled = len >= 20 && p[0] >> 4 == 4 && header >= 20 && header <= len &&
			 mvt_load16 (p + 10) == 0;
	if (!record->filled)
		return;
	for (uint32_t i = 0; i < header; i += 2)
		sum += mvt_load16 (p + i);
	sum = (sum & 0xffff) + (sum >> 16);
	mvt_store16 (p + 10, (uint16_t) ~(sum + (sum >> 16)));
}

/* A packet has its verdict: write it or count why not, and have its record back. */
static void
finish (replay_t *r, const mvt_engine_packet_t *packet, record_t *record)
{
	if (packet->verdict == MVT_VERDICT_DROPPED)
		r->result->dropped[packet->reason]++;
	else
	{
		if (packet->verdict == MVT_VERDICT_PASSED)
		{
			r->result->passed++;
			if (record->filled)
				mvt_store16 (record->frame + record->l3 + 10, 0);
		}
		r->result->truncated += mvt_load16 (record->frame + record->l3 + 2) >
					record->header.caplen - record->l3;
		record_write (r, record);
	}
	record_put (r, record);
}

/* Fragments of earlier batches that were let go. */
static void
finish_late (replay_t *r)
{
	mvt_engine_packet_t late[64];
	uint32_t n;

	while ((n = mvt_engine_late (r->engine, late, 64)) > 0)
		for (uint32_t i = 0; i < n; i++)
			finish (r, &late[i], (record_t *) (uintptr_t) late[i].cookie);
}

static mvt_err_t
process (replay_t *r)
{
	mvt_engine_packet_t packets[MVT_BATCH_MAX];
	uint32_t n = 0, at = 0;
	mvt_err_t err;

	for (uint32_t i = 0; i < r->n; i++)
	{
		record_t *record = r->batch[i];
		if (record->l3 == MVT_NONE)
			continue;
		checksum_fill (record);
		packets[n++] = (mvt_engine_packet_t){
			.data = record->frame + record->l3,
			.len = record->header.caplen - record->l3,
			.dir = (uint8_t) direction (r, record),
			.flags = r->engine->config.truncated_ok ||
						 record->header.caplen < record->header.len
					 ? MVT_PKT_TRUNCATED_OK
					 : 0,
			.cookie = (uintptr_t) record,
		};
	}
	err = mvt_engine_step (r->engine, packets, n);
	if (err)
		return err;
	finish_late (r);
	for (uint32_t i = 0; i < r->n; i++)
	{
		record_t *record = r->batch[i];
		if (record->l3 == MVT_NONE)
		{
			r->result->skipped++;
			record_write (r, record);
			record_put (r, record);
			continue;
		}
		if (packets[at].verdict == MVT_VERDICT_HELD)
			r->result->held++;
		else
			finish (r, &packets[at], record);
		at++;
	}
	r->n = 0;
	return MVT_OK;
}

/* ---- reading ---- */

static uint64_t
position (replay_t *r)
{
	off_t at = r->pipe ? -1 : ftello (pcap_file (r->in));
	return at < 0 ? 0 : (uint64_t) at;
}

/* The tick that a record belongs to; stamps that go back do not turn time back. */
static uint32_t
tick_of (replay_t *r, const record_t *record)
{
	int64_t seconds = record->header.ts.tv_sec - r->first_s;
	uint32_t now = engine_tick (r->engine);

	if (seconds < 0 || (uint64_t) seconds > UINT32_MAX - r->base)
		return now;
	return r->base + (uint32_t) seconds > now ? r->base + (uint32_t) seconds : now;
}

/* Fill the batch with records of one second. 1: go on; 0: the end; negative: an error. */
static int
fill (replay_t *r, char *err)
{
	struct pcap_pkthdr *header;
	const u_char *data;
	int got = 1;

	if (r->next)
	{
		r->batch[r->n++] = r->next;
		r->next = NULL;
		mvt_engine_set_tick (r->engine, tick_of (r, r->batch[0]));
	}
	while (r->n < MVT_BATCH_MAX)
	{
		record_t *record;

		r->offset = position (r);
		got = pcap_next_ex (r->in, &header, &data);
		if (got != 1)
			break;
		record = record_get (r, header->caplen);
		if (!record)
		{
			engine_error (err, "%s: no memory for a record of %u bytes", r->in_path,
				      header->caplen);
			return MVT_ERR_NO_MEMORY;
		}
		record->header = *header;
		memcpy (record->frame, data, header->caplen);
		record->l3 = capture_l3 (r->link, record->frame, header->caplen);
		if (r->first_s < 0)
			r->first_s = header->ts.tv_sec;
		r->result->in++;
		if (tick_of (r, record) != engine_tick (r->engine))
		{
			r->next = record;
			return 1;
		}
		r->batch[r->n++] = record;
	}
	if (got == 1)
		return 1;
	if (got == PCAP_ERROR_BREAK)
		return 0;
	if (capture_cut (r->in_path, r->offset, &r->result->bytes_offset))
	{
		r->result->cut = 1;
		return 0;
	}
	/* libpcap reads a pcapng file as if it had one interface, or gives up */
	if (strstr (pcap_geterr (r->in), "of the first interface"))
	{
		engine_error (err,
			      "%s: its interfaces differ in link type or snapshot length: split it "
			      "by interface first (tshark -r FILE -Y frame.interface_id==0 -w ONE)",
			      r->in_path);
		return MVT_ERR_UNSUPPORTED;
	}
	engine_error (err, "%s: cannot be read on from byte %llu: %s", r->in_path,
		      (unsigned long long) r->offset, pcap_geterr (r->in));
	return MVT_ERR_INVALID;
}

/* ---- files ---- */

static mvt_err_t
open_input (replay_t *r, uint64_t *size, char *err)
{
	bool standard = strcmp (r->in_path, "-") == 0, nano;
	char why[PCAP_ERRBUF_SIZE] = "";
	struct stat st;

	if (!standard && stat (r->in_path, &st) != 0)
	{
		engine_error (err, "%s: %s", r->in_path, strerror (errno));
		return MVT_ERR_NOT_FOUND;
	}
	if (!standard && S_ISDIR (st.st_mode))
	{
		engine_error (err, "%s: is a directory, not a capture", r->in_path);
		return MVT_ERR_INVALID;
	}
	r->pipe = standard || !S_ISREG (st.st_mode);
	*size = r->pipe ? 0 : (uint64_t) st.st_size;
	nano = r->pipe || capture_is_nano (r->in_path);
	errno = 0;
	r->in = pcap_open_offline_with_tstamp_precision (
		r->in_path, nano ? PCAP_TSTAMP_PRECISION_NANO : PCAP_TSTAMP_PRECISION_MICRO, why);
	if (!r->in)
	{
		if (errno == EACCES)
			engine_error (err, "%s: no permission to read it", r->in_path);
		else
			engine_error (err, "%s: is no pcap or pcapng capture: %s", r->in_path, why);
		return MVT_ERR_INVALID;
	}
	r->link = pcap_datalink (r->in);
	if (!capture_link_known (r->link))
	{
		const char *name = pcap_datalink_val_to_name (r->link);
		engine_error (
			err,
			"%s: link type %s is not supported: use Ethernet, raw IP or Linux cooked",
			r->in_path, name ? name : "without a name");
		return MVT_ERR_UNSUPPORTED;
	}
	return MVT_OK;
}

static mvt_err_t
open_output (replay_t *r, char *err)
{
	struct stat in, out;

	if (!r->pipe && stat (r->in_path, &in) == 0 && stat (r->out_path, &out) == 0 &&
	    in.st_dev == out.st_dev && in.st_ino == out.st_ino)
	{
		engine_error (err, "%s: input and output are the same file: name another output",
			      r->out_path);
		return MVT_ERR_INVALID;
	}
	errno = 0;
	r->out = pcap_dump_open (r->in, r->out_path);
	if (r->out)
		return MVT_OK;
	engine_error (err, "%s: cannot be written: %s", r->out_path,
		      errno ? strerror (errno) : pcap_geterr (r->in));
	return MVT_ERR_INVALID;
}

static mvt_err_t
write_failed (replay_t *r, char *err)
{
	engine_error (err, "%s: cannot be written: %s", r->out_path,
		      errno ? strerror (errno) : "the file took no more");
	return MVT_ERR_INVALID;
}

static void
free_all (replay_t *r)
{
	if (r->next)
		record_put (r, r->next);
	for (uint32_t i = 0; i < r->n; i++)
		record_put (r, r->batch[i]);
	while (r->free)
	{
		record_t *record = r->free;
		r->free = record->next;
		free (record->frame);
		free (record);
	}
	if (r->out)
		pcap_dump_close (r->out);
	if (r->in)
		pcap_close (r->in);
}

/* Fragments that still wait have waited long enough: the capture is over. */
static void
flush_held (replay_t *r)
{
	for (uint32_t i = 0; i <= r->engine->config.fragment_timeout + 1; i++)
		mvt_engine_set_tick (r->engine, engine_tick (r->engine) + 1);
	finish_late (r);
}

int
mvt_engine_replay (mvt_engine_t *engine, const char *in_path, const char *out_path,
		   mvt_replay_result_t *result,
		   int (*progress) (void *ctx, uint64_t done, uint64_t total), void *ctx, char *err)
{
	replay_t r = { .engine = engine,
		       .result = result,
		       .in_path = in_path,
		       .out_path = out_path,
		       .first_s = -1,
		       .base = engine_tick (engine) };
	uint64_t total = 0;
	mvt_err_t error;
	int more = 1;

	*err = 0;
	memset (result, 0, sizeof *result);
	if (!engine->stepped)
	{
		engine_error (err, "a capture needs a stepped engine");
		return MVT_ERR_UNSUPPORTED;
	}
	error = open_input (&r, &total, err);
	if (!error)
		error = open_output (&r, err);
	for (uint32_t batches = 1; more > 0 && !error; batches++)
	{
		more = fill (&r, err);
		error = process (&r);
		if (error && !*err)
			engine_error (err, "%s: %s", in_path, mvt_err_text (error));
		errno = 0;
		if (!error && ferror (pcap_dump_file (r.out)))
			error = write_failed (&r, err);
		if (!error && progress && batches % PROGRESS_BATCHES == 0 &&
		    progress (ctx, position (&r), total))
		{
			engine_error (err, "%s: stopped", in_path);
			error = MVT_ERR_AGAIN;
		}
	}
	if (!error && more < 0)
		error = (mvt_err_t) more;
	if (r.out)
	{
		/* after an error too: the engine must not keep what is freed here */
		flush_held (&r);
		errno = 0;
		if (pcap_dump_flush (r.out) != 0 && !error)
			error = write_failed (&r, err);
		if (!error && progress)
			progress (ctx, total, total);
	}
	free_all (&r);
	return error;
}
