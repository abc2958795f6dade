// SPDX-License-Identifier: Apache-2.0

package duck

/*
#include <stdlib.h>
#ifdef __GLIBC__
#include <malloc.h>
static void few_arenas(void) { mallopt(M_ARENA_MAX, 1); }
static void trim(void) { malloc_trim(0); }
#else
static void few_arenas(void) {}
static void trim(void) {}
#endif
*/
import "C"

import "sync"

// fewArenas keeps glibc from giving threads memory of their own to allocate from: calls come from all of Go's threads, and what each
// has freed is of no use to the others. Four threads that took turns at a statement of 128 MB had 430 MB.
var fewArenas = sync.OnceFunc(func() { C.few_arenas() })

// Trim gives memory back to the system that DuckDB has freed, where the C library keeps it.
func Trim() { C.trim() }
