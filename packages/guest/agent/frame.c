#include "frame.h"

#include <stdlib.h>
#include <string.h>

uint16_t get_u16(const uint8_t *at) { return (uint16_t)(at[0] | at[1] << 8); }

uint32_t get_u32(const uint8_t *at) { return get_u16(at) | (uint32_t)get_u16(at + 2) << 16; }

uint64_t get_u64(const uint8_t *at) { return get_u32(at) | (uint64_t)get_u32(at + 4) << 32; }

uint8_t *put_u32(uint8_t *at, uint32_t value) {
	for (int i = 0; i < 4; i++, value >>= 8)
		*at++ = (uint8_t)value;
	return at;
}

uint8_t *put_u64(uint8_t *at, uint64_t value) {
	return put_u32(put_u32(at, (uint32_t)value), (uint32_t)(value >> 32));
}

uint8_t *put_frame_header(uint8_t *at, enum frame_type type, size_t length) {
	at = put_u32(at, (uint32_t)length);
	*at++ = (uint8_t)type;
	return at;
}

/* The longest payload of each type that the host may send; -1 for types it may not. */
static long payload_limit(uint8_t type) {
	switch (type) {
	case FRAME_EXEC:
		return FRAME_EXEC_MAX;
	case FRAME_STDIN:
		return FRAME_DATA_MAX;
	case FRAME_STDIN_CLOSE:
	case FRAME_SIGNAL:
	case FRAME_RESIZE:
	case FRAME_PING:
	case FRAME_SHUTDOWN:
	case FRAME_SYNC:
	case FRAME_FREEZE:
	case FRAME_THAW:
		return FRAME_SMALL_MAX;
	default:
		return -1;
	}
}

long frame_parse(const uint8_t *bytes, size_t length, struct frame *out) {
	if (length < FRAME_HEADER)
		return 0;
	out->length = get_u32(bytes);
	out->type = bytes[4];
	long limit = payload_limit(out->type);
	if (limit < 0 || out->length > (uint32_t)limit)
		return -1;
	long size = FRAME_HEADER + (long)out->length;
	if (length >= (size_t)size)
		out->payload = bytes + FRAME_HEADER;
	return size;
}

/* The string at *at, moving *at behind its NUL; NULL when there is no NUL before `end`. */
static char *take_string(uint8_t **at, const uint8_t *end) {
	uint8_t *nul = memchr(*at, 0, (size_t)(end - *at));
	if (!nul)
		return NULL;
	char *string = (char *)*at;
	*at = nul + 1;
	return string;
}

const char *exec_request_parse(uint8_t *payload, size_t length, struct exec_request *out) {
	enum { FIXED = 24 };
	memset(out, 0, sizeof *out);
	if (length < 4 || get_u32(payload) != PROTOCOL_VERSION)
		return "other protocol version";
	if (length < FIXED)
		return "request cut short";
	out->flags = get_u32(payload + 4);
	out->timeout_ms = get_u32(payload + 8);
	out->columns = get_u16(payload + 12);
	out->rows = get_u16(payload + 14);
	uint32_t argc = get_u32(payload + 16), envc = get_u32(payload + 20);
	if (out->flags & ~(uint32_t)EXEC_FLAGS_ALL)
		return "unknown flags";
	/* Every string takes a byte at least: this bounds the allocation below by the size of the frame. */
	if (argc < 1 || argc > length || envc > length)
		return "number of arguments out of range";

	uint8_t *at = payload + FIXED, *end = payload + length;
	out->cwd = take_string(&at, end);
	out->user = out->cwd ? take_string(&at, end) : NULL;
	if (!out->user)
		return "request cut short";
	char **strings = calloc((size_t)argc + envc + 2, sizeof *strings);
	if (!strings)
		return "out of memory";
	out->argv = strings;
	out->env = strings + argc + 1;
	for (uint32_t i = 0; i < argc + envc; i++) {
		char *string = take_string(&at, end);
		if (!string) {
			exec_request_free(out);
			return "request cut short";
		}
		strings[i < argc ? i : i + 1] = string;
	}
	if (at != end || !out->argv[0][0]) {
		const char *why = at != end ? "bytes after the last string" : "empty program name";
		exec_request_free(out);
		return why;
	}
	return NULL;
}

void exec_request_free(struct exec_request *request) {
	free(request->argv);
	request->argv = request->env = NULL;
}
