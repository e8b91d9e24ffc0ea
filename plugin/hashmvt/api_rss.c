/* SPDX-License-Identifier: Apache-2.0
 *
 * Binary API: which receive queues RSS of an interface spreads over. VPP has a command for that,
 * and no message. Needs no NAT: it works while the plugin is disabled.
 */
#include "api.h"

#include <vnet/interface_funcs.h>

/* The hardware interface, or NULL. */
static vnet_hw_interface_t *
hardware_of (u32 sw_if_index)
{
	vnet_main_t *vnm = vnet_get_main ();

	if (pool_is_free_index (vnm->interface_main.sw_interfaces, sw_if_index))
		return 0;
	return vnet_get_sup_hw_interface (vnm, sw_if_index);
}

/* => queues is not empty, and each of them exists */
static int
set_queues (vnet_hw_interface_t *hi, u64 queues)
{
	vlib_main_t *vm = vlib_get_main ();
	clib_bitmap_t *bitmap = 0;
	clib_error_t *error;

	for (u32 i = 0; i < 64; i++)
		if (queues >> i & 1)
			bitmap = clib_bitmap_set (bitmap, i, 1);
	/* drivers expect what VPP's own command gives them */
	vlib_worker_thread_barrier_sync (vm);
	error = vnet_hw_interface_set_rss_queues (vnet_get_main (), hi, bitmap);
	vlib_worker_thread_barrier_release (vm);
	clib_bitmap_free (bitmap);
	if (!error)
		return 0;
	clib_error_free (error);
	return VNET_API_ERROR_SYSCALL_ERROR_1;
}

void
vl_api_hashmvt_rss_queues_set_t_handler (vl_api_hashmvt_rss_queues_set_t *mp)
{
	vl_api_hashmvt_rss_queues_set_reply_t *rmp;
	vnet_hw_interface_t *hi = hardware_of (mp->sw_if_index);
	u32 n = hi ? clib_min (vec_len (hi->rx_queue_indices), 64) : 0;
	u64 all = n ? ~0ull >> (64 - n) : 0;
	int rv = 0;

	if (!hi)
		rv = VNET_API_ERROR_INVALID_SW_IF_INDEX;
	else if (!vnet_get_device_class (vnet_get_main (), hi->dev_class_index)
			  ->set_rss_queues_function)
		rv = VNET_API_ERROR_UNSUPPORTED;
	else if ((mp->queues & ~all) || !all)
		rv = VNET_API_ERROR_INVALID_QUEUE;
	else
		rv = set_queues (hi, mp->queues ? mp->queues : all);
	REPLY_MACRO_END (VL_API_HASHMVT_RSS_QUEUES_SET_REPLY);
}

void
vl_api_hashmvt_rss_queues_get_t_handler (vl_api_hashmvt_rss_queues_get_t *mp)
{
	vl_api_hashmvt_rss_queues_get_reply_t *rmp;
	vnet_hw_interface_t *hi = hardware_of (mp->sw_if_index);
	u64 queues = 0;
	int rv = hi ? 0 : VNET_API_ERROR_INVALID_SW_IF_INDEX;

	for (u32 i = 0; hi && i < 64; i++)
		queues |= (u64) clib_bitmap_get (hi->rss_queues, i) << i;
	REPLY_MACRO2_END (VL_API_HASHMVT_RSS_QUEUES_GET_REPLY, ({
				  rmp->n_queues = hi ? vec_len (hi->rx_queue_indices) : 0;
				  rmp->queues = queues;
			  }));
}
