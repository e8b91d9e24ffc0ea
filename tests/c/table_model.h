/* SPDX-License-Identifier: Apache-2.0
 * The match-value table as a list of entries and linear search: the model that tests compare with.
 * Nothing in it is shared with the table's code. */
#ifndef TABLE_MODEL_H
#define TABLE_MODEL_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define MODEL_MAX   4096
#define MODEL_BYTES 40

typedef struct
{
	uint8_t field[MODEL_BYTES];
	unsigned len;
	uint64_t state;
	uint32_t last, timeout;
	bool valid;
} model_entry_t;

typedef struct
{
	unsigned bits, n;
	model_entry_t e[MODEL_MAX];
} model_t;

static inline bool
model_bit (const uint8_t *field, unsigned i)
{
	return field[i / 8] >> (7 - i % 8) & 1;
}

static inline bool
model_covers (const model_entry_t *e, const uint8_t *field)
{
	for (unsigned i = 0; i < e->len; i++)
		if (model_bit (e->field, i) != model_bit (field, i))
			return false;
	return true;
}

static inline model_entry_t *
model_get (model_t *m, const uint8_t *field, unsigned len)
{
	for (unsigned i = 0; i < m->n; i++)
		if (m->e[i].len == len && model_covers (&m->e[i], field))
			return &m->e[i];
	return NULL;
}

static inline model_entry_t *
model_lookup (model_t *m, const uint8_t *field, uint32_t now)
{
	model_entry_t *best = NULL;
	for (unsigned i = 0; i < m->n; i++)
	{
		model_entry_t *e = &m->e[i];
		bool expired = e->timeout != 0 && (uint32_t) (now - e->last) > e->timeout;
		if (e->valid && !expired && model_covers (e, field) &&
		    (!best || e->len > best->len))
			best = e;
	}
	return best;
}

static inline void
model_set (model_t *m, const uint8_t *field, unsigned len, uint64_t state, uint32_t timeout,
	   uint32_t now)
{
	model_entry_t *e = model_get (m, field, len);
	if (!e)
	{
		e = &m->e[m->n++];
		memcpy (e->field, field, m->bits / 8);
		e->len = len;
	}
	e->state = state;
	e->timeout = timeout;
	e->last = now;
	e->valid = true;
}

static inline void
model_delete (model_t *m, model_entry_t *e)
{
	*e = m->e[--m->n];
}

#endif /* TABLE_MODEL_H */
