/* SPDX-License-Identifier: Apache-2.0
 *
 * A plugin for tests: `create rss-device` makes an interface of four receive queues whose driver
 * can choose among them, as a card's can. It takes no packets, and refuses queue 3 alone.
 */
#include <vnet/vnet.h>
#include <vnet/ethernet/ethernet.h>
#include <vnet/interface/rx_queue_funcs.h>
#include <vnet/plugin/plugin.h>
#include <vpp/app/version.h>

#define QUEUES 4

static clib_error_t *
set_rss_queues (vnet_main_t *vnm, vnet_hw_interface_t *hi, clib_bitmap_t *queues)
{
	if (clib_bitmap_count_set_bits (queues) == 1 && clib_bitmap_get (queues, 3))
		return clib_error_return (0, "not queue 3 alone");
	return 0;
}

VNET_DEVICE_CLASS (rss_device_class) = {
	.name = "rss-device",
	.set_rss_queues_function = set_rss_queues,
};

VNET_DEVICE_CLASS_TX_FN (rss_device_class)
(vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame)
{
	vlib_buffer_free (vm, vlib_frame_vector_args (frame), frame->n_vectors);
	return frame->n_vectors;
}

static clib_error_t *
create (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
	static const u8 address[6] = { 2, 0xfe, 0, 0, 0, 0x77 };
	vnet_main_t *vnm = vnet_get_main ();
	vnet_eth_interface_registration_t eir = {
		.dev_class_index = rss_device_class.index,
		.address = address,
	};
	u32 hw_if_index = vnet_eth_register_interface (vnm, &eir);

	for (u32 queue = 0; queue < QUEUES; queue++)
		vnet_hw_if_register_rx_queue (vnm, hw_if_index, queue, VNET_HW_IF_RXQ_THREAD_ANY);
	vlib_cli_output (vm, "%u", vnet_get_hw_interface (vnm, hw_if_index)->sw_if_index);
	return 0;
}

VLIB_CLI_COMMAND (create_rss_device_command, static) = {
	.path = "create rss-device",
	.short_help = "create rss-device",
	.function = create,
};

VLIB_PLUGIN_REGISTER () = {
	.version = "1",
	.version_required = VPP_BUILD_VER,
	.description = "an interface whose driver can choose receive queues",
};
