/* Changes of files as they happen, by inotify(7). */
#ifndef WATCH_H
#define WATCH_H

#include <stdint.h>

enum watch_kind {
	WATCH_READY = 0, /* first: from now on changes are seen */
	WATCH_CREATED = 1,
	WATCH_MODIFIED = 2,
	WATCH_REMOVED = 3,
	WATCH_ATTRIBUTES = 4,
	WATCH_OVERFLOW = 5, /* changes were missed */
};

/* What `watch` prints, little-endian; src/files/watch-record.ts is the host's half. The bytes of a path below the watched
 * one follow, none where it is that itself. A file that is renamed is removed and created. */
struct watch_record {
	uint32_t kind;
	uint32_t path_length;
};

int watch_run(char *const *argv);

#endif
