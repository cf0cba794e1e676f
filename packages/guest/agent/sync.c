#include "sync.h"

#include <string.h>

#include "frame.h"

static bool is_machine_id(const char *text) {
	size_t length = strlen(text);
	return !length || (length == SYNC_MACHINE_ID && strspn(text, "0123456789abcdef") == length);
}

bool sync_request_parse(const uint8_t *payload, size_t length, struct sync_request *out) {
	enum { FIXED = 16 };
	if (length < FIXED)
		return false;
	out->realtime_ns = get_u64(payload);
	out->flags = get_u32(payload + 8);
	out->entropy_length = get_u32(payload + 12);
	if (out->flags & ~(uint32_t)SYNC_COPY || out->entropy_length > SYNC_ENTROPY_MAX || out->entropy_length > length - FIXED)
		return false;
	out->entropy = payload + FIXED;

	const char *hostname = (const char *)out->entropy + out->entropy_length, *end = (const char *)payload + length;
	const char *nul = memchr(hostname, 0, (size_t)(end - hostname));
	const char *machine_id = nul ? nul + 1 : end;
	nul = memchr(machine_id, 0, (size_t)(end - machine_id));
	if (!nul || nul + 1 != end)
		return false;
	out->hostname = hostname;
	out->machine_id = machine_id;
	return strlen(hostname) <= SYNC_HOSTNAME_MAX && is_machine_id(machine_id);
}
