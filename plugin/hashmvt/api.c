#include "hashmvt.h"
clib_error_t *hashmvt_api_init (vlib_main_t *vm) { return 0; }
void hashmvt_api_events (const mvt_event_t *events, u32 n) {}
void hashmvt_changes_flush (void) {}
