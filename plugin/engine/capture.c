/* SPDX-License-Identifier: Apache-2.0
 *
 * Captures: link layers, and where exactly a file breaks off. libpcap reads and writes the files;
 * it tells that a file is cut, but not where, and a cut file from a broken one only by its words.
 */
#define _GNU_SOURCE 1
#include "engine_private.h"

#include <pcap/pcap.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define ETHERTYPE_IPV4 0x0800
#define VLAN_TAGS_MAX  4

#define PCAPNG_MAGIC 0x0a0d0d0au
#define PCAPNG_ORDER 0x1a2b3c4du

/* ---- link layers ---- */

static bool
is_vlan (uint16_t type)
{
	return type == 0x8100 || type == 0x88a8 || type == 0x9100;
}

/* From an ethertype on, over VLAN tags, to an IPv4 header. */
static uint32_t
after_ethertype (const uint8_t *frame, uint32_t len, uint32_t at)
{
	for (unsigned tags = 0; tags <= VLAN_TAGS_MAX; tags++)
	{
		if (len < at + 2)
			return MVT_NONE;
		if (mvt_load16 (frame + at) == ETHERTYPE_IPV4)
			return at + 2 < len ? at + 2 : MVT_NONE;
		if (!is_vlan (mvt_load16 (frame + at)))
			return MVT_NONE;
		at += 4;
	}
	return MVT_NONE;
}

bool
capture_link_known (int link)
{
	switch (link)
	{
	case DLT_EN10MB:
	case DLT_RAW:
	case DLT_IPV4:
	case DLT_LINUX_SLL:
	case DLT_LINUX_SLL2:
		return true;
	default:
		return false;
	}
}

uint32_t
capture_l3 (int link, const uint8_t *frame, uint32_t len)
{
	switch (link)
	{
	case DLT_EN10MB:
		return after_ethertype (frame, len, 12);
	case DLT_RAW:
	case DLT_IPV4:
		return len && frame[0] >> 4 == 4 ? 0 : MVT_NONE;
	case DLT_LINUX_SLL:
		return after_ethertype (frame, len, 14);
	case DLT_LINUX_SLL2:
		/* the type comes first, a tag's rest after the header of 20 bytes */
		if (len <= 20)
			return MVT_NONE;
		if (mvt_load16 (frame) == ETHERTYPE_IPV4)
			return 20;
		return is_vlan (mvt_load16 (frame)) ? after_ethertype (frame, len, 22) : MVT_NONE;
	default:
		return MVT_NONE;
	}
}

/* ---- files ---- */

/* A 32-bit word in the byte order of the file. */
static uint32_t
word (const uint8_t *p, bool swapped)
{
	uint32_t v;
	memcpy (&v, p, 4);
	return swapped ? __builtin_bswap32 (v) : v;
}

static bool
read_at (FILE *file, uint64_t offset, uint8_t *p, size_t n)
{
	return fseeko (file, (off_t) offset, SEEK_SET) == 0 && fread (p, 1, n, file) == n;
}

bool
capture_is_nano (const char *path)
{
	uint8_t head[4];
	FILE *file = fopen (path, "re");
	uint32_t magic;
	bool nano;

	if (!file)
		return false;
	nano = read_at (file, 0, head, 4);
	fclose (file);
	magic = nano ? word (head, false) : 0;
	return nano && (magic == 0xa1b23c4du || magic == 0x4d3cb2a1u || magic == PCAPNG_MAGIC);
}

/* Length of the record at offset, headers included; 0 when its own header is not all there. */
static uint64_t
record_len (FILE *file, uint64_t offset, bool pcapng, bool *swapped)
{
	uint8_t head[16];
	uint32_t len;

	if (!pcapng)
		return read_at (file, offset, head, 16) ? 16 + (uint64_t) word (head + 8, *swapped)
							: 0;
	if (!read_at (file, offset, head, 12))
		return 0;
	if (word (head, false) == PCAPNG_MAGIC) /* a section: byte order begins anew */
		*swapped = word (head + 8, false) != PCAPNG_ORDER;
	len = word (head + 4, *swapped);
	return len >= 12 ? ((uint64_t) len + 3) & ~(uint64_t) 3 : 0;
}

bool
capture_cut (const char *path, uint64_t from, uint64_t *offset)
{
	struct stat st;
	uint8_t head[12];
	FILE *file = fopen (path, "re");
	bool pcapng, swapped, cut = false;
	uint64_t size, at = from;

	if (!file)
		return false;
	if (fstat (fileno (file), &st) == 0 && S_ISREG (st.st_mode) && read_at (file, 0, head, 12))
	{
		size = (uint64_t) st.st_size;
		pcapng = word (head, false) == PCAPNG_MAGIC;
		swapped = pcapng ? word (head + 8, false) != PCAPNG_ORDER
				 : head[0] == 0xa1; /* big-endian a1b2c3d4, read on a little one */
		while (at < size && !cut)
		{
			uint64_t len = record_len (file, at, pcapng, &swapped);
			cut = len == 0 ? size - at < 16 : len > size - at;
			if (cut)
				*offset = at;
			else if (len == 0)
				break; /* broken, not cut */
			else
				at += len;
		}
	}
	fclose (file);
	return cut;
}
