/* SPDX-License-Identifier: Apache-2.0
 *
 * What the commands share: one way to refuse, and the filters of listings.
 */
#ifndef included_hashmvt_cli_h
#define included_hashmvt_cli_h

#include "hashmvt.h"

/* Every refusal names the word that is wrong, or says what is missing. Consumes the input. */
clib_error_t *hashmvt_cli_wrong (unformat_input_t *input, const char *expected);
/* NULL, or what the core says against it; what: a format, and the words that it is about. */
clib_error_t *hashmvt_cli_result (mvt_err_t err, const char *what, ...);
/* NULL when enabled. */
clib_error_t *hashmvt_cli_enabled (void);
/* Parses one word of a mapping filter: prefixes, ports, protocol, kind, instance. */
unformat_function_t unformat_hashmvt_filter; /* mvt_mapping_filter_t *, u32 *instance */
unformat_function_t unformat_hashmvt_settings;
clib_error_t *hashmvt_cli_show (vlib_main_t *vm, unformat_input_t *input);

#endif /* included_hashmvt_cli_h */
