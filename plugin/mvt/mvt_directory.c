/* SPDX-License-Identifier: Apache-2.0 */
#include "mvt_shared.h"

size_t
mvt_directory_footprint (uint32_t n_slots, uint32_t block_bits)
{
	size_t blocks = (size_t) n_slots << (16 - block_bits);
	size_t size = offsetof (mvt_directory_t, owner) + blocks * sizeof (_Atomic uint16_t);
	return (size + MVT_CACHE_LINE - 1) & ~(size_t) (MVT_CACHE_LINE - 1);
}

mvt_directory_t *
mvt_directory_format (void *mem, uint32_t n_slots, uint32_t block_bits)
{
	mvt_directory_t *dir = mem;
	size_t blocks = (size_t) n_slots << (16 - block_bits);

	dir->n_slots = n_slots;
	dir->block_bits = block_bits;
	for (size_t i = 0; i < blocks; i++)
		atomic_init (&dir->owner[i], MVT_NO_INSTANCE);
	return dir;
}
