/* SPDX-License-Identifier: Apache-2.0
 *
 * The lines and the commands. VPP stops the workers for each command, none of them is mp-safe.
 */
#include "touch.h"

#include <vlib/threads.h>
#include <vnet/feature/feature.h>
#include <vnet/plugin/plugin.h>
#include <vnet/vnet.h>
#include <vpp/app/version.h>

#define HUGE_PAGE ((size_t) 2 << 20)

touch_main_t touch_main;

/* ---- lines ---- */

static void
fill (touch_first_t *first, u32 n_first, touch_second_t *second, u32 n_second)
{
	u64 random = 0x9e3779b97f4a7c15ull;

	for (u32 i = 0; i < n_first; i++)
		for (u32 k = 0; k < TOUCH_NAMES; k++)
			first[i].name[k] = mvt_random_below (&random, n_second);
	for (u32 i = 0; i < n_second; i++)
		second[i].one = 1;
}

static clib_error_t *
set_lines (u32 n)
{
	touch_main_t *tm = &touch_main;
	u32 n_first = (u32) (n * 10ull / TOUCH_PER_FIRST_10) + 1;
	size_t first_size = n_first * sizeof (touch_first_t);
	/* never less than a huge page, for HashMVT's tables of any size lie in such pages */
	size_t size = round_pow2 (first_size + n * sizeof (touch_second_t), HUGE_PAGE);
	u32 thread = vlib_num_workers () ? 1 : 0;
	arena_t arena;
	void *memory;

	arena_init (&arena, memory_node_of_cpu (vlib_worker_threads[thread].cpu_id),
		    memory_free ());
	memory = mvt_mem_alloc (&arena.mem, size, MVT_CACHE_LINE);
	if (!memory)
		return clib_error_return (0, "%u lines take %U, more than there is", n,
					  format_memory_size, size);
	mvt_mem_free (&tm->arena.mem, (void *) tm->first, tm->size);
	tm->arena = arena;
	tm->arena.mem.ctx = &tm->arena;
	tm->size = size;
	tm->first = memory;
	tm->second = memory + first_size;
	tm->n_first = n_first;
	fill (memory, n_first, memory + first_size, n);
	return 0;
}

static clib_error_t *
lines_command (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
	u64 n = 0;

	if (!unformat (input, "%llu", &n) || !unformat (input, "%U", unformat_eof) || n == 0 ||
	    n > TOUCH_LINES_MAX)
		return clib_error_return (0, "expected `%s', N from 1 to %u", cmd->short_help,
					  TOUCH_LINES_MAX);
	return set_lines ((u32) n);
}

VLIB_CLI_COMMAND (touch_lines_command, static) = {
	.path = "touch lines",
	.short_help = "touch lines N",
	.function = lines_command,
};

/* ---- interfaces ---- */

static void
set_feature (const char *node, u32 sw_if_index, int on)
{
	/* VPP counts features, so each is switched once */
	if ((vnet_feature_is_enabled ("ip4-unicast", node, sw_if_index) == 1) != on)
		vnet_feature_enable_disable ("ip4-unicast", node, sw_if_index, on, 0, 0);
}

static clib_error_t *
interface_command (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
	u32 sw_if_index;
	int in, out = 0, off = 0;

	if (!unformat_user (input, unformat_vnet_sw_interface, vnet_get_main (), &sw_if_index) ||
	    !((in = unformat (input, "in")) || (out = unformat (input, "out")) ||
	      (off = unformat (input, "off"))) ||
	    !unformat (input, "%U", unformat_eof))
		return clib_error_return (0, "expected `%s'", cmd->short_help);
	if (!touch_main.first && !off)
		return clib_error_return (0, "there are no lines to touch: `touch lines N' first");
	set_feature ("touch-in2out", sw_if_index, in);
	set_feature ("touch-out2in", sw_if_index, out);
	return 0;
}

VLIB_CLI_COMMAND (touch_interface_command, static) = {
	.path = "touch interface",
	.short_help = "touch interface INTERFACE in|out|off",
	.function = interface_command,
};

VLIB_PLUGIN_REGISTER () = {
	.version = TOUCH_VERSION,
	.version_required = VPP_BUILD_VER,
	.description = "touch: two dependent reads of memory for each packet, for benchmarks",
	.default_disabled = 1,
};
