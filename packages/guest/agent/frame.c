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
	case FRAME_STAGE:
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

/* Points `strings` at the next `count` strings and a NULL; returns what is behind them, NULL when some are missing. */
static char **take_strings(char **strings, uint32_t count, uint8_t **at, const uint8_t *end) {
	for (uint32_t i = 0; i < count; i++)
		if (!(*strings++ = take_string(at, end)))
			return NULL;
	*strings++ = NULL;
	return strings;
}

static const char *parse_limits(const uint8_t *at, uint32_t count, struct exec_request *out) {
	enum { RESOURCES = 16 };
	for (; out->limit_count < (int)count; out->limit_count++, at += 24) {
		struct exec_limit limit = {.soft = get_u64(at + 8), .hard = get_u64(at + 16)};
		if (get_u32(at) >= RESOURCES || limit.soft > limit.hard)
			return "no such limit";
		limit.resource = (int)get_u32(at);
		out->limits[out->limit_count] = limit;
	}
	return NULL;
}

static const char *parse_strings(uint8_t *at, const uint8_t *end, const uint8_t *counts, uint32_t envc, struct exec_request *out) {
	uint32_t commands = (uint32_t)out->command_count;
	uint64_t strings = (uint64_t)envc + 1;
	for (uint32_t i = 0; i < commands; i++) {
		uint32_t argc = get_u32(counts + 4 * i);
		strings += (uint64_t)argc + 1;
		/* Every string takes a byte at least: this bounds the allocation below by the size of the frame. */
		if (argc < 1 || strings > (uint64_t)(end - at) + commands + 1)
			return "number of arguments out of range";
	}
	out->cwd = take_string(&at, end);
	out->user = out->cwd ? take_string(&at, end) : NULL;
	if (!out->user)
		return "request cut short";
	out->commands = calloc(commands, sizeof *out->commands);
	char **next = calloc(strings, sizeof *next);
	if (!out->commands || !next) {
		free(next);
		return "out of memory";
	}
	for (uint32_t i = 0; i < commands; i++) {
		out->commands[i] = next;
		next = take_strings(next, get_u32(counts + 4 * i), &at, end);
		if (!next)
			return "request cut short";
		if (!*out->commands[i][0])
			return "empty program name";
	}
	out->env = next;
	if (!take_strings(next, envc, &at, end))
		return "request cut short";
	return at == end ? NULL : "bytes after the last string";
}

const char *exec_request_parse(uint8_t *payload, size_t length, struct exec_request *out) {
	enum { FIXED = 40, LIMIT = 24 };
	memset(out, 0, sizeof *out);
	if (length < 4 || get_u32(payload) != PROTOCOL_VERSION)
		return "other protocol version";
	if (length < FIXED)
		return "request cut short";
	out->flags = get_u32(payload + 4);
	out->timeout_ms = get_u32(payload + 8);
	out->columns = get_u16(payload + 12);
	out->rows = get_u16(payload + 14);
	uint32_t commands = get_u32(payload + 16), envc = get_u32(payload + 20), limits = get_u32(payload + 24);
	out->staged = get_u64(payload + 32);
	if (out->flags & ~(uint32_t)EXEC_FLAGS_ALL)
		return "unknown flags";
	if (commands < 1 || commands > EXEC_COMMANDS_MAX || limits > EXEC_LIMITS_MAX || envc > length)
		return "counts out of range";
	/* Where the stdin or the terminal of several commands would go, nobody could say. */
	if (commands > 1 && out->flags & (EXEC_TTY | EXEC_STDIN | EXEC_BUILTIN))
		return "stdin, a terminal or a builtin for several commands";
	if (length < FIXED + limits * LIMIT + commands * 4)
		return "request cut short";
	out->command_count = (int)commands;
	uint8_t *counts = payload + FIXED + limits * LIMIT;
	const char *wrong = parse_limits(payload + FIXED, limits, out);
	if (!wrong)
		wrong = parse_strings(counts + commands * 4, payload + length, counts, envc, out);
	if (wrong)
		exec_request_free(out);
	return wrong;
}

void exec_request_free(struct exec_request *request) {
	/* All strings' pointers are one allocation, that of the first command. */
	if (request->commands)
		free(request->commands[0]);
	free(request->commands);
	request->commands = NULL;
	request->env = NULL;
}

const char *stage_head_parse(const uint8_t *bytes, uint64_t left, struct stage_head *out) {
	*out = (struct stage_head){.mode = get_u32(bytes),
		.path_length = get_u32(bytes + 4),
		.user_length = get_u32(bytes + 8),
		.size = get_u64(bytes + 16)};
	if (out->mode > 07777 || !out->path_length || out->path_length > STAGE_PATH_MAX || out->user_length > STAGE_USER_MAX)
		return "a staged file has no such mode, path or user";
	uint64_t names = out->path_length + out->user_length;
	return names > left || out->size > left - names ? "a staged file is cut short" : NULL;
}
