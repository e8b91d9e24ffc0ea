/* SPDX-License-Identifier: Apache-2.0
 *
 * Registration, initialisation, and the section `hashmvt { }` of startup.conf.
 */
#include "hashmvt.h"

#include <vnet/plugin/plugin.h>
#include <vpp/app/version.h>

hashmvt_main_t hashmvt_main;

static clib_error_t *
hashmvt_init (vlib_main_t *vm)
{
	hashmvt_main_t *hm = &hashmvt_main;

	hm->frame_queue = ~0;
	hm->log_class = vlib_log_register_class ("hashmvt", 0);
	hashmvt_settings_default (&hm->defaults);
	vec_validate_aligned (hm->threads, vlib_get_thread_main ()->n_vlib_mains,
			      CLIB_CACHE_LINE_BYTES);
	hashmvt_fib_init ();
	hashmvt_stats_init ();
	return hashmvt_api_init (vm);
}

VLIB_INIT_FUNCTION (hashmvt_init);

/* Ports that dynamic mappings may use. */
static void
set_ports (u64 *bitmap, u32 first, u32 last, int on)
{
	for (u32 port = first; port <= last; port++)
		if (on)
			bitmap[port / 64] |= 1ULL << (port % 64);
		else
			bitmap[port / 64] &= ~(1ULL << (port % 64));
}

static uword
unformat_ports (unformat_input_t *input, va_list *args)
{
	u32 *first = va_arg (*args, u32 *), *last = va_arg (*args, u32 *);

	return unformat (input, "%U-%U", unformat_hashmvt_number, first, unformat_hashmvt_number,
			 last) &&
	       *first <= *last && *last < 65536;
}

uword
unformat_hashmvt_settings (unformat_input_t *input, va_list *args)
{
	hashmvt_settings_t *s = va_arg (*args, hashmvt_settings_t *);
	u32 first, last;

	if (unformat (input, "instances %U", unformat_hashmvt_number, &s->instances) ||
	    unformat (input, "max-mappings %U", unformat_hashmvt_number, &s->max_mappings) ||
	    unformat (input, "max-sessions %U", unformat_hashmvt_number, &s->max_sessions) ||
	    unformat (input, "max-hosts %U", unformat_hashmvt_number, &s->max_hosts) ||
	    unformat (input, "block-size %U", unformat_hashmvt_number, &s->block_size) ||
	    unformat (input, "max-addresses %U", unformat_hashmvt_number, &s->max_addresses) ||
	    unformat (input, "fragment-timeout %U", unformat_hashmvt_number,
		      &s->fragment_timeout) ||
	    unformat (input, "hold-down %U", unformat_hashmvt_number, &s->hold_seconds) ||
	    unformat (input, "frame-queue-nelts %U", unformat_hashmvt_number,
		      &s->frame_queue_nelts))
		return 1;
	if (unformat (input, "allocation %U", unformat_hashmvt_word, "port"))
		s->by_host = 0;
	else if (unformat (input, "allocation %U", unformat_hashmvt_word, "block"))
		s->by_host = 1;
	else if (unformat (input, "log %U", unformat_hashmvt_word, "off"))
		s->log = 0;
	else if (unformat (input, "log %U", unformat_hashmvt_word, "block"))
		s->log = 1;
	else if (unformat (input, "log %U", unformat_hashmvt_word, "mapping"))
		s->log = 2;
	else if (unformat (input, "clock %U", unformat_hashmvt_word, "system"))
		s->manual_clock = 0;
	else if (unformat (input, "clock %U", unformat_hashmvt_word, "manual"))
		s->manual_clock = 1;
	else if (unformat (input, "ports %U", unformat_ports, &first, &last))
	{
		clib_memset (s->allocatable, 0, sizeof s->allocatable);
		set_ports (s->allocatable, first, last, 1);
	}
	else if (unformat (input, "reserved-ports %U", unformat_ports, &first, &last))
		set_ports (s->allocatable, first, last, 0);
	else
		return 0;
	return 1;
}

static clib_error_t *
hashmvt_config (vlib_main_t *vm, unformat_input_t *input)
{
	hashmvt_main_t *hm = &hashmvt_main;
	u8 *word;

	hashmvt_settings_default (&hm->defaults);
	while (!hashmvt_at_end (input))
	{
		if (unformat_user (input, unformat_hashmvt_settings, &hm->defaults))
			continue;
		if (unformat (input, "%s", &word))
			return clib_error_return (0, "hashmvt: unknown or incomplete setting `%s'",
						  word);
	}
	return hashmvt_settings_check (&hm->defaults);
}

VLIB_CONFIG_FUNCTION (hashmvt_config, "hashmvt");

VLIB_PLUGIN_REGISTER () = {
	.version = HASHMVT_VERSION,
	.version_required = VPP_BUILD_VER,
	.description = "HashMVT: NAT44 on match-value tables",
};
