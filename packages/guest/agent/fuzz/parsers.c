/* libFuzzer target for everything the agent parses: frames and requests of the host, the kernel command line, the
 * image's user database. Built and run by test/agent-parsers.test.ts. */
#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../account.h"
#include "../cmdline.h"
#include "../frame.h"
#include "../sync.h"

static void fuzz_frames(const uint8_t *data, size_t size) {
	uint8_t *copy = malloc(size + 1);
	memcpy(copy, data, size);
	for (size_t at = 0;;) {
		struct frame frame;
		long length = frame_parse(copy + at, size - at, &frame);
		assert(length <= (long)(FRAME_HEADER + FRAME_EXEC_MAX));
		if (length <= 0 || (size_t)length > size - at)
			break;
		struct exec_request request;
		if (frame.type == FRAME_EXEC && !exec_request_parse(copy + at + FRAME_HEADER, frame.length, &request)) {
			size_t total = strlen(request.cwd) + strlen(request.user);
			for (int i = 0; i < request.command_count; i++) {
				assert(*request.commands[i] && **request.commands[i]);
				for (char **string = request.commands[i]; *string; string++)
					total += strlen(*string);
			}
			for (char **string = request.env; *string; string++)
				total += strlen(*string);
			for (int i = 0; i < request.limit_count; i++)
				assert(request.limits[i].resource < 16 && request.limits[i].soft <= request.limits[i].hard);
			assert(total < frame.length);
			exec_request_free(&request);
		}
		struct sync_request sync;
		if (frame.type == FRAME_SYNC && sync_request_parse(copy + at + FRAME_HEADER, frame.length, &sync))
			assert(sync.entropy_length + strlen(sync.hostname) + strlen(sync.machine_id) + 18 == frame.length);
		at += (size_t)length;
	}
	free(copy);
}

/* The files of a request, as stage.c walks them. */
static void fuzz_staged(const uint8_t *data, size_t size) {
	for (size_t left = size; left >= STAGE_HEAD;) {
		struct stage_head head;
		const uint8_t *at = data + (size - left);
		if (stage_head_parse(at, left - STAGE_HEAD, &head))
			break;
		uint64_t record = STAGE_HEAD + head.path_length + head.user_length + head.size;
		assert(head.path_length <= STAGE_PATH_MAX && head.user_length <= STAGE_USER_MAX && record <= left);
		left -= record;
	}
}

static void fuzz_cmdline(const uint8_t *data, size_t size) {
	static struct cmdline cmdline;
	if (cmdline_parse((const char *)data, size, &cmdline))
		return;
	for (int i = 0; i < cmdline.mount_count; i++)
		assert(*cmdline.mounts[i].target == '/' && *cmdline.mounts[i].source && strlen(cmdline.mounts[i].type));
}

/* The first line is what is looked up in the rest. */
static void fuzz_account(const uint8_t *data, size_t size) {
	static int fd = -1;
	static char path[64];
	if (fd < 0) {
		fd = memfd_create("account", 0);
		strcpy(path, "/proc/self/fd/");
		path[14] = (char)('0' + fd / 10 % 10);
		path[15] = (char)('0' + fd % 10);
		assert(fd < 100);
	}
	const uint8_t *newline = memchr(data, '\n', size);
	size_t length = newline ? (size_t)(newline - data) : size;
	char *spec = calloc(1, length + 1);
	memcpy(spec, data, length);
	assert(!ftruncate(fd, 0) && pwrite(fd, data + length, size - length, 0) == (ssize_t)(size - length));
	struct account account;
	if (!account_resolve_in(spec, path, path, &account)) {
		assert(account.group_count >= 0 && account.group_count <= ACCOUNT_GROUPS_MAX);
		assert(memchr(account.home, 0, sizeof account.home) && account.uid != (uid_t)-1 && account.gid != (gid_t)-1);
	}
	free(spec);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	if (!size)
		return 0;
	switch (*data % 5) {
	case 0:
		fuzz_account(data + 1, size - 1);
		break;
	case 1:
		fuzz_cmdline(data + 1, size - 1);
		break;
	case 2:
		fuzz_staged(data + 1, size - 1);
		break;
	default:
		fuzz_frames(data + 1, size - 1);
	}
	return 0;
}
