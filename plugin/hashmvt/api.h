/* SPDX-License-Identifier: Apache-2.0
 *
 * What the API's three files share: conversions between messages and the core's values. Messages
 * arrive and leave in host order (autoendian); addresses inside them are bytes.
 */
#ifndef included_hashmvt_api_h
#define included_hashmvt_api_h

#include "hashmvt.h"

#include <vlibmemory/api.h>

#include <hashmvt.api_enum.h>
#include <hashmvt.api_types.h>

#define REPLY_MSG_ID_BASE (hashmvt_main.msg_id_base)
#include <vlibapi/api_helper_macros.h>

/* 0, or INVALID_ADDRESS_FAMILY. */
int hashmvt_address_in (const vl_api_address_t *from, u32 *to);
/* 0, INVALID_ADDRESS_FAMILY, or INVALID_VALUE for a length above 32. */
int hashmvt_prefix_in (const vl_api_prefix_t *from, mvt_prefix4_t *to);
/* 0, INVALID_ADDRESS_FAMILY or INVALID_PROTOCOL. */
int hashmvt_endpoint_in (const vl_api_hashmvt_endpoint_t *from, mvt_endpoint_t *to);
void hashmvt_address_out (u32 from, vl_api_address_t *to);
void hashmvt_prefix_out (mvt_prefix4_t from, vl_api_prefix_t *to);
void hashmvt_endpoint_out (const mvt_endpoint_t *from, vl_api_hashmvt_endpoint_t *to);
int hashmvt_policy_in (const vl_api_hashmvt_policy_t *from, mvt_policy_t *to);
void hashmvt_policy_out (const mvt_policy_t *from, vl_api_hashmvt_policy_t *to);
/* MVT_NONE for all. */
static inline u32
hashmvt_instance_in (u16 from)
{
	return from == 0xffff ? MVT_NONE : from;
}
/* 0, INVALID_ADDRESS_FAMILY, INVALID_VALUE, INVALID_PROTOCOL or NO_SUCH_FIB; *instance: MVT_NONE
 * for all. */
int hashmvt_filter_in (const vl_api_hashmvt_filter_t *from, mvt_mapping_filter_t *to,
		       u32 *instance);

/* Answers that are remembered by generation. */
typedef struct
{
	u64 generation;
	i32 retval;
	u32 value;
} hashmvt_answer_t;

/* The remembered answer, or NULL: carry it out and remember. STALE if it is older than what is
 * remembered. */
const hashmvt_answer_t *hashmvt_answered (u64 generation);
void hashmvt_remember (u64 generation, i32 retval, u32 value);
void hashmvt_forget_answers (void);

/* The enabled check of every handler. */
#define HASHMVT_ENABLED(rv) (hashmvt_main.engine ? 0 : ((rv) = VNET_API_ERROR_FEATURE_DISABLED))

void hashmvt_changes_reap (u32 client_index);

#endif /* included_hashmvt_api_h */
