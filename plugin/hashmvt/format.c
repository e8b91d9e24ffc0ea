/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading and printing of the values that commands and traces speak of.
 */
#include "hashmvt.h"

static const char *const proto_names[] = { "udp", "tcp", "icmp", "other" };
static const char *const verdict_names[] = { "none",	"translated", "passed",
					     "dropped", "handed-off", "held" };

u8 *
format_hashmvt_address (u8 *s, va_list *args)
{
	u32 addr = clib_host_to_net_u32 (va_arg (*args, u32));
	return format (s, "%U", format_ip4_address, &addr);
}

u8 *
format_hashmvt_prefix (u8 *s, va_list *args)
{
	const mvt_prefix4_t *p = va_arg (*args, mvt_prefix4_t *);
	return format (s, "%U/%u", format_hashmvt_address, p->addr, p->len);
}

u8 *
format_hashmvt_endpoint (u8 *s, va_list *args)
{
	const mvt_endpoint_t *e = va_arg (*args, mvt_endpoint_t *);
	return format (s, "%s %U:%u", proto_names[e->proto & 3], format_hashmvt_address, e->addr,
		       e->port);
}

u8 *
format_hashmvt_trace (u8 *s, va_list *args)
{
	CLIB_UNUSED (vlib_main_t * vm) = va_arg (*args, vlib_main_t *);
	CLIB_UNUSED (vlib_node_t * node) = va_arg (*args, vlib_node_t *);
	hashmvt_trace_t *t = va_arg (*args, hashmvt_trace_t *);
	u32 indent = format_get_indent (s);

	s = format (s, "%s %s", t->dir == MVT_IN2OUT ? "in2out" : "out2in",
		    verdict_names[t->verdict < ARRAY_LEN (verdict_names) ? t->verdict : 0]);
	if (t->is_router)
		s = format (s, " reason %s, for the router itself", mvt_drop_name (t->reason));
	else if (t->verdict == MVT_VERDICT_DROPPED)
		s = format (s, " reason %s", mvt_drop_name (t->reason));
	else if (t->verdict == MVT_VERDICT_PASSED)
		s = format (s, " reason %s", mvt_pass_name (t->reason));
	s = format (s, " instance %u", t->instance);
	if (t->entry != MVT_NONE)
		s = format (s, " entry %u", t->entry);
	s = format (s, " hops %u", t->hops);
	s = format (s, "\n%U%U -> %U", format_white_space, indent, format_hashmvt_endpoint,
		    &t->src[0], format_hashmvt_endpoint, &t->dst[0]);
	if (t->verdict == MVT_VERDICT_TRANSLATED ||
	    (t->verdict == MVT_VERDICT_HANDOFF && memcmp (t->src, t->src + 1, sizeof t->src[0])))
		s = format (s, "\n%U%U -> %U", format_white_space, indent, format_hashmvt_endpoint,
			    &t->src[1], format_hashmvt_endpoint, &t->dst[1]);
	return s;
}

u8 *
format_hashmvt_range (u8 *s, va_list *args)
{
	u32 first = va_arg (*args, u32), last = va_arg (*args, u32);

	s = format (s, "%U", format_hashmvt_address, first);
	return first == last ? s : format (s, "-%U", format_hashmvt_address, last);
}

/* VPP's own matching takes the beginning of a longer word. */
uword
unformat_hashmvt_word (unformat_input_t *input, va_list *args)
{
	const char *word = va_arg (*args, const char *);
	u8 *said;
	int same;

	if (!unformat (input, "%v", &said))
		return 0;
	same = vec_len (said) == strlen (word) && !memcmp (said, word, vec_len (said));
	vec_free (said);
	return same;
}

/* VPP's own %u takes what is too large modulo 2^32. */
uword
unformat_hashmvt_number (unformat_input_t *input, va_list *args)
{
	u32 *number = va_arg (*args, u32 *);
	int digits = 0;
	u64 n = 0;
	uword c;

	unformat_skip_white_space (input);
	while ((c = unformat_get_input (input)) >= '0' && c <= '9')
	{
		n = n * 10 + c - '0';
		if (n > ~(u32) 0)
			return 0;
		digits++;
	}
	if (c != UNFORMAT_END_OF_INPUT)
		unformat_put_input (input);
	*number = (u32) n;
	return digits;
}

uword
unformat_hashmvt_address (unformat_input_t *input, va_list *args)
{
	u32 *addr = va_arg (*args, u32 *);
	ip4_address_t a;

	if (!unformat (input, "%U", unformat_ip4_address, &a))
		return 0;
	*addr = clib_net_to_host_u32 (a.as_u32);
	return 1;
}

uword
unformat_hashmvt_prefix (unformat_input_t *input, va_list *args)
{
	mvt_prefix4_t *p = va_arg (*args, mvt_prefix4_t *);
	u32 addr, len;

	if (!unformat (input, "%U/%u", unformat_hashmvt_address, &addr, &len) || len > 32)
		return 0;
	*p = (mvt_prefix4_t){ .addr = len ? addr & (~0u << (32 - len)) : 0, .len = len };
	return 1;
}

uword
unformat_hashmvt_range (unformat_input_t *input, va_list *args)
{
	u32 *first = va_arg (*args, u32 *), *last = va_arg (*args, u32 *);
	mvt_prefix4_t p;

	if (unformat (input, "%U", unformat_hashmvt_prefix, &p))
	{
		*first = p.addr;
		*last = p.addr + (p.len ? (1u << (32 - p.len)) - 1 : ~0u);
		return 1;
	}
	if (unformat (input, "%U-%U", unformat_hashmvt_address, first, unformat_hashmvt_address,
		      last))
		return *first <= *last;
	if (!unformat (input, "%U", unformat_hashmvt_address, first))
		return 0;
	*last = *first;
	return 1;
}

uword
unformat_hashmvt_proto (unformat_input_t *input, va_list *args)
{
	u8 *proto = va_arg (*args, u8 *);

	for (u8 i = 0; i < MVT_PROTO_N; i++)
		if (unformat (input, "%U", unformat_hashmvt_word, proto_names[i]))
		{
			*proto = i;
			return 1;
		}
	return 0;
}
