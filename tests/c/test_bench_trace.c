/* SPDX-License-Identifier: Apache-2.0
 * The trace sees who wrote and who read each line: what the counts of bench scale rest on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bench_trace.h"
#include "mvt_types.h"

typedef struct
{
	_Alignas (MVT_CACHE_LINE) volatile uint64_t word;
} line_t;

static line_t by_both, by_one, across, read_by_both, added_by_both, added_and_read;

static void
lines_and_who_used_them (void **state)
{
	bench_trace_t found;
	trace_t *trace;

	(void) state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	skip (); /* their own memory is written at every access */
#endif
	int err = trace_new (&trace);
	if (err == MVT_ERR_UNSUPPORTED)
		skip ();
	assert_int_equal (err, MVT_OK);
	trace_begin (trace, 0);
	by_both.word = 0; /* what was there already */
	by_one.word = 1;
	across.word = 1;
	(void) read_by_both.word;
	added_by_both.word += 1;
	(void) added_and_read.word;
	trace_end (trace);
	trace_begin (trace, 1);
	by_both.word = 0;
	(void) across.word;
	(void) read_by_both.word;
	added_by_both.word += 1;
	added_and_read.word += 1;
	trace_end (trace);
	trace_result (trace, 1, &found);
	trace_remove (trace);
	assert_int_equal (found.lines[0], 4);
	assert_int_equal (found.lines[1], 3);
	assert_int_equal (found.both, 2);
	assert_int_equal (found.across, 2);
	assert_true (found.instructions >= 11);
}

int
main (void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test (lines_and_who_used_them) };
	return cmocka_run_group_tests (tests, NULL, NULL);
}
