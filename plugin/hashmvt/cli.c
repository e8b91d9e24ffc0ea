/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands that change something. All are mp-safe: they do not stop the workers; what must
 * (features, routes) takes the barrier for itself.
 */
#include "cli.h"

#include <vnet/interface_funcs.h>

/* ---- refusals ---- */

clib_error_t *
hashmvt_cli_wrong (unformat_input_t *input, const char *expected)
{
	clib_error_t *error;
	u8 *word = 0;

	if (hashmvt_at_end (input))
		return clib_error_return (0, "something is missing: expected %s", expected);
	if (!unformat (input, "%s", &word))
		return clib_error_return (0, "expected %s", expected);
	/* over the binary API a line ends with a zero */
	vec_add1 (word, 0);
	error = clib_error_return (0, "unknown input `%s': expected %s", word, expected);
	vec_free (word);
	while (unformat_check_input (input) != UNFORMAT_END_OF_INPUT)
		unformat_get_input (input);
	return error;
}

clib_error_t *
hashmvt_cli_result (mvt_err_t err, const char *what, ...)
{
	clib_error_t *error;
	va_list args;
	u8 *s;

	if (!err)
		return 0;
	va_start (args, what);
	s = va_format (0, what, &args);
	va_end (args);
	error = clib_error_return (0, "%v: %s", s, mvt_err_text (err));
	vec_free (s);
	return error;
}

clib_error_t *
hashmvt_cli_enabled (void)
{
	return hashmvt_main.engine ? 0 : clib_error_return (0, "hashmvt is not enabled");
}

/* add or del, then the rest. Returns an error or NULL. */
static clib_error_t *
add_or_del (unformat_input_t *input, int *is_add)
{
	clib_error_t *error = hashmvt_cli_enabled ();

	if (error)
		return error;
	if (unformat (input, "%U", unformat_hashmvt_word, "add"))
		*is_add = 1;
	else if (unformat (input, "%U", unformat_hashmvt_word, "del"))
		*is_add = 0;
	else
		return hashmvt_cli_wrong (input, "add or del");
	return 0;
}

static clib_error_t *
at_end (unformat_input_t *input)
{
	return hashmvt_at_end (input) ? 0 : hashmvt_cli_wrong (input, "the end of the line");
}

/* ---- enable and disable ---- */

static clib_error_t *
enable_command (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
	hashmvt_settings_t settings = hashmvt_main.defaults;
	clib_error_t *error = 0;

	while (!hashmvt_at_end (input))
		if (!unformat_user (input, unformat_hashmvt_settings, &settings))
			return hashmvt_cli_wrong (input, cmd->short_help);
	hashmvt_enable (&settings, &error);
	return error;
}

VLIB_CLI_COMMAND (hashmvt_enable_command, static) = {
	.path = "hashmvt enable",
	.short_help =
		"hashmvt enable [instances N] [max-mappings N] [max-sessions N] [max-hosts N] "
		"[block-size N] [max-addresses N] [fragment-timeout N] [hold-down N] "
		"[allocation port|block] [log off|block|mapping] [clock system|manual] [ports N-N] "
		"[reserved-ports N-N] [frame-queue-nelts N]",
	.function = enable_command,
	.is_mp_safe = 1,
};

static clib_error_t *
disable_command (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
	clib_error_t *error = at_end (input);

	if (!error)
		error = hashmvt_cli_enabled ();
	if (!error)
		hashmvt_disable ();
	return error;
}

VLIB_CLI_COMMAND (hashmvt_disable_command, static) = {
	.path = "hashmvt disable",
	.short_help = "hashmvt disable",
	.function = disable_command,
	.is_mp_safe = 1,
};

/* ---- interfaces ---- */

static clib_error_t *
interface_command (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
	hashmvt_side_t side;
	u32 sw_if_index;
	int is_add = 0, rv;
	clib_error_t *error = add_or_del (input, &is_add);

	if (error)
		return error;
	if (!unformat_user (input, unformat_vnet_sw_interface, vnet_get_main (), &sw_if_index))
		return hashmvt_cli_wrong (input, "an interface");
	if (unformat (input, "%U", unformat_hashmvt_word, "in"))
		side = HASHMVT_SIDE_INSIDE;
	else if (unformat (input, "%U", unformat_hashmvt_word, "out"))
		side = HASHMVT_SIDE_OUTSIDE;
	else
		return hashmvt_cli_wrong (input, "in or out");
	error = at_end (input);
	if (error)
		return error;
	rv = hashmvt_interface (sw_if_index, side, is_add);
	switch (rv)
	{
	case 0:
		return 0;
	case VNET_API_ERROR_INVALID_INTERFACE:
		return clib_error_return (0, "%U carries no packets: name another interface",
					  format_vnet_sw_if_index_name, vnet_get_main (),
					  sw_if_index);
	case VNET_API_ERROR_VALUE_EXIST:
		return clib_error_return (0, "%U is so already", format_vnet_sw_if_index_name,
					  vnet_get_main (), sw_if_index);
	case VNET_API_ERROR_RSRC_IN_USE:
		return clib_error_return (0, "%U is on the other side: delete it there first",
					  format_vnet_sw_if_index_name, vnet_get_main (),
					  sw_if_index);
	case VNET_API_ERROR_NO_SUCH_ENTRY:
		return clib_error_return (0, "%U is not on that side", format_vnet_sw_if_index_name,
					  vnet_get_main (), sw_if_index);
	default:
		return clib_error_return (0, "%U: %U", format_vnet_sw_if_index_name,
					  vnet_get_main (), sw_if_index, format_vnet_api_errno, rv);
	}
}

VLIB_CLI_COMMAND (hashmvt_interface_command, static) = {
	.path = "hashmvt interface",
	.short_help = "hashmvt interface add|del INTERFACE in|out",
	.function = interface_command,
	.is_mp_safe = 1,
};

/* ---- pool, exemptions, static mappings ---- */

static clib_error_t *
pool_command (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
	u32 first, last;
	int is_add = 0, force = 0;
	clib_error_t *error = add_or_del (input, &is_add);

	if (error)
		return error;
	if (!unformat (input, "%U", unformat_hashmvt_range, &first, &last))
		return hashmvt_cli_wrong (input, "ADDRESS, ADDRESS-ADDRESS or PREFIX");
	if (!is_add && unformat (input, "%U", unformat_hashmvt_word, "force"))
		force = 1;
	error = at_end (input);
	if (error)
		return error;
	return hashmvt_cli_result (hashmvt_pool_add_del (first, last, is_add, force), "%U",
				   format_hashmvt_range, first, last);
}

VLIB_CLI_COMMAND (hashmvt_pool_command, static) = {
	.path = "hashmvt pool",
	.short_help = "hashmvt pool add|del ADDRESS|ADDRESS-ADDRESS|PREFIX [force]",
	.long_help = "A deleted address drains: nothing new, gone when its last mapping ends. With "
		     "force "
		     "its mappings end at once.",
	.function = pool_command,
	.is_mp_safe = 1,
};

static clib_error_t *
exempt_command (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
	mvt_prefix4_t prefix;
	int is_add = 0;
	clib_error_t *error = add_or_del (input, &is_add);

	if (error)
		return error;
	if (!unformat (input, "%U", unformat_hashmvt_prefix, &prefix))
		return hashmvt_cli_wrong (input, "a destination PREFIX");
	error = at_end (input);
	if (error)
		return error;
	return hashmvt_cli_result (hashmvt_exempt_add_del (prefix, is_add), "%U",
				   format_hashmvt_prefix, &prefix);
}

VLIB_CLI_COMMAND (hashmvt_exempt_command, static) = {
	.path = "hashmvt exempt",
	.short_help = "hashmvt exempt add|del PREFIX",
	.function = exempt_command,
	.is_mp_safe = 1,
};

static clib_error_t *
static_rule (unformat_input_t *input, int is_add)
{
	mvt_static_rule_t rule;
	clib_error_t *error;

	if (!unformat (input, "%U", unformat_hashmvt_prefix, &rule.inside))
		return hashmvt_cli_wrong (input, "an inside PREFIX");
	if (!unformat (input, "%U", unformat_hashmvt_prefix, &rule.outside))
		return hashmvt_cli_wrong (input, "an outside PREFIX");
	if (rule.inside.len != rule.outside.len)
		return clib_error_return (0, "%U and %U differ in length", format_hashmvt_prefix,
					  &rule.inside, format_hashmvt_prefix, &rule.outside);
	error = at_end (input);
	if (error)
		return error;
	return hashmvt_cli_result (hashmvt_rule_add_del (rule, is_add), "%U and %U",
				   format_hashmvt_prefix, &rule.inside, format_hashmvt_prefix,
				   &rule.outside);
}

static uword
unformat_port (unformat_input_t *input, va_list *args)
{
	u16 *port = va_arg (*args, u16 *);
	u32 n;

	if (!unformat (input, "%U", unformat_hashmvt_number, &n) || n > 65535)
		return 0;
	*port = n;
	return 1;
}

/* Of a static mapping: a query id may be 0, a port may not. */
static uword
unformat_static_port (unformat_input_t *input, va_list *args)
{
	mvt_endpoint_t *end = va_arg (*args, mvt_endpoint_t *);

	return unformat (input, "%U", unformat_port, &end->port) &&
	       (end->port || end->proto == MVT_PROTO_ICMP);
}

static clib_error_t *
static_command (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
	mvt_endpoint_t in = { 0 }, ext = { 0 };
	int is_add = 0;
	clib_error_t *error = add_or_del (input, &is_add);

	if (error)
		return error;
	if (unformat (input, "%U", unformat_hashmvt_word, "prefix"))
		return static_rule (input, is_add);
	if (!unformat (input, "%U", unformat_hashmvt_proto, &ext.proto))
		return hashmvt_cli_wrong (input, "udp, tcp, icmp or prefix");
	in.proto = ext.proto;
	if (is_add)
	{
		if (!unformat (input, "%U", unformat_hashmvt_address, &in.addr))
			return hashmvt_cli_wrong (input, "the inside ADDRESS");
		if (!unformat (input, "%U", unformat_static_port, &in))
			return hashmvt_cli_wrong (input, "the inside PORT");
	}
	if (!unformat (input, "%U", unformat_hashmvt_address, &ext.addr))
		return hashmvt_cli_wrong (input, "the outside ADDRESS");
	if (!unformat (input, "%U", unformat_static_port, &ext))
		return hashmvt_cli_wrong (input, "the outside PORT");
	error = at_end (input);
	if (error)
		return error;
	return hashmvt_cli_result (hashmvt_static_add_del (&in, &ext, is_add), "%U",
				   format_hashmvt_endpoint, &ext);
}

VLIB_CLI_COMMAND (hashmvt_static_command, static) = {
	.path = "hashmvt static",
	.short_help =
		"hashmvt static add udp|tcp|icmp ADDRESS PORT OUTSIDE-ADDRESS PORT | "
		"del udp|tcp|icmp OUTSIDE-ADDRESS PORT | add|del prefix PREFIX OUTSIDE-PREFIX",
	.function = static_command,
	.is_mp_safe = 1,
};

/* ---- policies ---- */

static uword
unformat_filtering (unformat_input_t *input, va_list *args)
{
	mvt_policy_t *p = va_arg (*args, mvt_policy_t *);
	u8 filter, proto;
	int only = 0;

	if (!unformat (input, "filtering"))
		return 0;
	if (unformat (input, "%U", unformat_hashmvt_proto, &proto))
		only = 1;
	if (unformat (input, "%U", unformat_hashmvt_word, "endpoint-independent"))
		filter = MVT_FILTER_EI;
	else if (unformat (input, "%U", unformat_hashmvt_word, "address-dependent"))
		filter = MVT_FILTER_AD;
	else if (unformat (input, "%U", unformat_hashmvt_word, "address-and-port-dependent"))
		filter = MVT_FILTER_APD;
	else
		return 0;
	for (u8 i = 0; i < MVT_PROTO_N; i++)
		if (!only || proto == i)
			p->filter[i] = filter;
	return 1;
}

/* A year is the longest. */
static uword
unformat_seconds (unformat_input_t *input, va_list *args)
{
	u32 *seconds = va_arg (*args, u32 *);
	u32 n;

	if (!unformat (input, "%U", unformat_hashmvt_number, &n) || n == 0 || n > MVT_TIMEOUT_MAX)
		return 0;
	*seconds = n;
	return 1;
}

static uword
unformat_policy (unformat_input_t *input, va_list *args)
{
	mvt_policy_t *p = va_arg (*args, mvt_policy_t *);

	if (unformat (input, "udp-timeout %U", unformat_seconds, &p->timeout[MVT_TIMEOUT_UDP]) ||
	    unformat (input, "tcp-established-timeout %U", unformat_seconds,
		      &p->timeout[MVT_TIMEOUT_TCP_ESTABLISHED]) ||
	    unformat (input, "tcp-transitory-timeout %U", unformat_seconds,
		      &p->timeout[MVT_TIMEOUT_TCP_TRANSITORY]) ||
	    unformat (input, "tcp-incoming-syn-timeout %U", unformat_seconds,
		      &p->timeout[MVT_TIMEOUT_TCP_INCOMING_SYN]) ||
	    unformat (input, "icmp-timeout %U", unformat_seconds, &p->timeout[MVT_TIMEOUT_ICMP]) ||
	    unformat (input, "mappings-per-host %U", unformat_hashmvt_number,
		      &p->mappings_per_host_all) ||
	    unformat (input, "udp-mappings-per-host %U", unformat_hashmvt_number,
		      &p->mappings_per_host[MVT_PROTO_UDP]) ||
	    unformat (input, "tcp-mappings-per-host %U", unformat_hashmvt_number,
		      &p->mappings_per_host[MVT_PROTO_TCP]) ||
	    unformat (input, "icmp-mappings-per-host %U", unformat_hashmvt_number,
		      &p->mappings_per_host[MVT_PROTO_ICMP]) ||
	    unformat (input, "new-per-second-per-host %U", unformat_hashmvt_number,
		      &p->new_per_second_per_host) ||
	    unformat (input, "max-blocks-per-host %U", unformat_hashmvt_number,
		      &p->max_blocks_per_host))
		return 1;
	if (unformat (input, "%U", unformat_hashmvt_word, "paired-only"))
	{
		p->paired_only = 1;
		return 1;
	}
	return unformat_user (input, unformat_filtering, p);
}

static clib_error_t *
policy_command (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
	mvt_prefix4_t prefix;
	mvt_policy_t options;
	int is_add = 0, is_default = 0, some = 0;
	clib_error_t *error = add_or_del (input, &is_add);

	if (error)
		return error;
	if (is_add && unformat (input, "%U", unformat_hashmvt_word, "default"))
		is_default = 1;
	else if (!unformat (input, "%U", unformat_hashmvt_prefix, &prefix))
		return hashmvt_cli_wrong (input, "an inside PREFIX, or default");
	options = hashmvt_main.model.policies[0];
	while (is_add && !hashmvt_at_end (input))
		if (unformat_user (input, unformat_policy, &options))
			some = 1;
		else
			return hashmvt_cli_wrong (
				input, "an option of the policy, see `hashmvt policy ?'");
	error = at_end (input);
	if (error)
		return error;
	if (is_default)
		return hashmvt_cli_result (hashmvt_policy_default (&options), "default");
	return hashmvt_cli_result (hashmvt_policy_add_del (prefix, some ? &options : 0, is_add),
				   "%U", format_hashmvt_prefix, &prefix);
}

VLIB_CLI_COMMAND (hashmvt_policy_command, static) = {
	.path = "hashmvt policy",
	.short_help =
		"hashmvt policy add PREFIX|default [udp-timeout N] [tcp-established-timeout N] "
		"[tcp-transitory-timeout N] [tcp-incoming-syn-timeout N] [icmp-timeout N] "
		"[filtering [udp|tcp|icmp] endpoint-independent|address-dependent|"
		"address-and-port-dependent] [mappings-per-host N] [udp|tcp|icmp-mappings-per-host "
		"N] "
		"[new-per-second-per-host N] [max-blocks-per-host N] [paired-only] | del PREFIX",
	.long_help = "Hosts of PREFIX are inside hosts; without options the default policy is "
		     "theirs. The "
		     "longest prefix wins.",
	.function = policy_command,
	.is_mp_safe = 1,
};

/* ---- instances and blocks ---- */

static clib_error_t *
instance_command (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
	int (*call) (mvt_engine_t *, uint32_t);
	clib_error_t *error = hashmvt_cli_enabled ();
	u32 instance;
	int rv;

	if (error)
		return error;
	if (unformat (input, "%U", unformat_hashmvt_word, "activate"))
		call = mvt_engine_activate;
	else if (unformat (input, "%U", unformat_hashmvt_word, "drain"))
		call = mvt_engine_drain;
	else if (unformat (input, "%U", unformat_hashmvt_word, "reset"))
		call = mvt_engine_reset_instance;
	else
		return hashmvt_cli_wrong (input, "activate, drain or reset");
	if (!unformat (input, "%U", unformat_hashmvt_number, &instance))
		return hashmvt_cli_wrong (input, "the number of an instance");
	error = at_end (input);
	if (error)
		return error;
	if (instance >= hashmvt_main.n_instances)
		return clib_error_return (0, "there is no instance %u: they are 0 to %u", instance,
					  hashmvt_main.n_instances - 1);
	rv = call (hashmvt_main.engine, instance);
	return hashmvt_cli_result (rv, "instance %u", instance);
}

VLIB_CLI_COMMAND (hashmvt_instance_command, static) = {
	.path = "hashmvt instance",
	.short_help = "hashmvt instance activate|drain|reset N",
	.function = instance_command,
	.is_mp_safe = 1,
};

static clib_error_t *
shard_command (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
	clib_error_t *error = hashmvt_cli_enabled ();
	u32 from, to, percent = MVT_NONE, blocks = 0;
	int moved;

	if (error)
		return error;
	if (!unformat (input, "%U", unformat_hashmvt_number, &from))
		return hashmvt_cli_wrong (input, "the number of the instance that gives");
	if (!unformat (input, "%U", unformat_hashmvt_number, &to))
		return hashmvt_cli_wrong (input, "the number of the instance that takes");
	if (!unformat (input, "percent %U", unformat_hashmvt_number, &percent) &&
	    !unformat (input, "blocks %U", unformat_hashmvt_number, &blocks))
		return hashmvt_cli_wrong (input, "percent N or blocks N");
	error = at_end (input);
	if (error)
		return error;
	moved = percent != MVT_NONE
			? mvt_engine_shard (hashmvt_main.engine, from, to, percent)
			: mvt_engine_transfer (hashmvt_main.engine, from, to, MVT_NONE, blocks);
	if (moved < 0)
		return hashmvt_cli_result (moved, "from %u to %u", from, to);
	vlib_cli_output (vm, "%d blocks moved", moved);
	return 0;
}

VLIB_CLI_COMMAND (hashmvt_shard_command, static) = {
	.path = "hashmvt shard",
	.short_help = "hashmvt shard FROM TO percent N|blocks N",
	.function = shard_command,
	.is_mp_safe = 1,
};

/* ---- clear ---- */

uword
unformat_hashmvt_filter (unformat_input_t *input, va_list *args)
{
	mvt_mapping_filter_t *f = va_arg (*args, mvt_mapping_filter_t *);
	u32 *instance = va_arg (*args, u32 *);
	u8 proto;

	if (unformat (input, "inside %U", unformat_hashmvt_prefix, &f->inside) ||
	    unformat (input, "outside %U", unformat_hashmvt_prefix, &f->external) ||
	    unformat (input, "inside-port %U", unformat_port, &f->in_port) ||
	    unformat (input, "outside-port %U", unformat_port, &f->ext_port) ||
	    unformat (input, "instance %U", unformat_hashmvt_number, instance))
		return 1;
	if (unformat (input, "inside %U", unformat_hashmvt_address, &f->inside.addr))
		f->inside.len = 32;
	else if (unformat (input, "outside %U", unformat_hashmvt_address, &f->external.addr))
		f->external.len = 32;
	else if (unformat (input, "%U", unformat_hashmvt_proto, &proto))
		f->proto_plus1 = proto + 1;
	else if (unformat (input, "%U", unformat_hashmvt_word, "static"))
		f->statics = 1;
	else if (unformat (input, "%U", unformat_hashmvt_word, "dynamic"))
		f->statics = 2;
	else
		return 0;
	return 1;
}

static clib_error_t *
clear_command (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
	hashmvt_main_t *hm = &hashmvt_main;
	mvt_mapping_filter_t filter = { 0 };
	clib_error_t *error = hashmvt_cli_enabled ();
	u32 instance = MVT_NONE, ended = 0;

	if (error)
		return error;
	if (!unformat (input, "%U", unformat_hashmvt_word, "mappings"))
		return hashmvt_cli_wrong (input, "mappings");
	filter.statics = 2;
	while (!hashmvt_at_end (input))
		if (!unformat_user (input, unformat_hashmvt_filter, &filter, &instance))
			return hashmvt_cli_wrong (input, "a filter, see `hashmvt clear ?'");
	if (filter.statics == 1)
		return clib_error_return (0, "static: use `hashmvt static del'");
	if (instance != MVT_NONE && instance >= hm->n_instances)
		return clib_error_return (0, "there is no instance %u: they are 0 to %u", instance,
					  hm->n_instances - 1);
	for (u32 i = 0; i < hm->n_instances; i++)
	{
		mvt_job_t job = { .op = MVT_JOB_DELETE_MAPPINGS, .filter = filter };
		if (instance == MVT_NONE || instance == i)
		{
			mvt_engine_job (hm->engine, i, &job);
			ended += job.n;
		}
	}
	vlib_cli_output (vm, "%u mappings ended", ended);
	return 0;
}

VLIB_CLI_COMMAND (hashmvt_clear_command, static) = {
	.path = "hashmvt clear",
	.short_help = "hashmvt clear mappings [inside PREFIX] [outside PREFIX] [inside-port N] "
		      "[outside-port N] [udp|tcp|icmp] [instance N]",
	.function = clear_command,
	.is_mp_safe = 1,
};
