/* The payload of FRAME_SYNC: u64 wall clock in ns since 1970 (0: leave it), u32 flags, u32 bytes of entropy, the entropy,
 * then two NUL-terminated strings, empty where nothing is to change: host name, machine id (32 hexadecimal digits). */
#ifndef SYNC_H
#define SYNC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SYNC_ENTROPY_MAX = 256, SYNC_HOSTNAME_MAX = 64, SYNC_MACHINE_ID = 32 };

enum sync_flags { SYNC_COPY = 1 /* others may have been restored from the same snapshot: be another machine */ };

struct sync_request {
	uint64_t realtime_ns;
	uint32_t flags;
	uint32_t entropy_length;
	const uint8_t *entropy;
	const char *hostname, *machine_id;
};

/* What `out` points to lies in the payload. False when it is malformed. */
bool sync_request_parse(const uint8_t *payload, size_t length, struct sync_request *out);

#endif
