/* SPDX-License-Identifier: Apache-2.0
 *
 * What an instance without packets does: it sweeps, and backs memory ahead. The same for every host
 * of instances.
 */
#include "engine_private.h"

#define IDLE_SLICES 16u /* of ENGINE_IDLE_LINES, per call */

bool
instance_sweep (instance_t *instance, uint32_t now)
{
	const mvt_counters_t *counters;

	if (!instance->nat)
		return false;
	if (instance->swept_tick == now)
		return mvt_nat44_back_ahead (instance->nat) > 0;
	counters = mvt_nat44_counters_any (instance->nat);
	for (uint32_t i = 0; i < IDLE_SLICES; i++)
	{
		bool quiet = mvt_nat44_background (instance->nat, now, ENGINE_IDLE_LINES) == 0;
		uint64_t rounds = count_get (&counters->sweep_rounds);
		/* the second end of a round is the end of a whole one */
		if (quiet && rounds > instance->swept_rounds + 1)
		{
			instance->swept_tick = now;
			instance->swept_rounds = rounds;
			return false;
		}
	}
	return true;
}
