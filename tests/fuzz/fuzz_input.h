/* SPDX-License-Identifier: Apache-2.0
 * What fuzz targets share: taking values from the input, and a check that ends the run. */
#ifndef FUZZ_INPUT_H
#define FUZZ_INPUT_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FUZZ_CHECK(condition)                                                                    \
	do                                                                                       \
		if (!(condition))                                                                \
		{                                                                                \
			fprintf (stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
			abort ();                                                                \
		}                                                                                \
	while (0)

typedef struct
{
	const uint8_t *p;
	size_t left;
} fuzz_input_t;

/* The next bytes of the input, zeros when it has ended. */
static inline uint8_t
fuzz_u8 (fuzz_input_t *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->p++;
}

static inline uint16_t
fuzz_u16 (fuzz_input_t *in)
{
	uint16_t high = fuzz_u8 (in);
	return (uint16_t) (high << 8 | fuzz_u8 (in));
}

static inline uint32_t
fuzz_u32 (fuzz_input_t *in)
{
	uint32_t high = fuzz_u16 (in);
	return high << 16 | fuzz_u16 (in);
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

#endif /* FUZZ_INPUT_H */
