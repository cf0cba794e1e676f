#include "stage.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "builtin.h"
#include "frame.h"
#include "partial.h"

static bool read_fully(int fd, void *into, size_t length) {
	for (uint8_t *at = into; length;) {
		ssize_t n = read(fd, at, length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		length -= (size_t)n;
	}
	return true;
}

/* Takes on an account's rights for files, or gives them up again with NULL. An agent that is not root has none to take. */
static int act_as(const struct account *account) {
	if (geteuid() && getuid())
		return 0;
	if (!account)
		return seteuid(0) || setegid(0) || setgroups(0, NULL) ? errno : 0;
	return setgroups((size_t)account->group_count, account->groups) || setegid(account->gid) || seteuid(account->uid)
		? errno
		: 0;
}

static int make_parents(char *path) {
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		/* On a read-only file system, or without a right to write, an existing directory is still fine. */
		struct stat st;
		int code = mkdir(path, 0755) ? errno : 0;
		bool exists = code == EEXIST || !stat(path, &st);
		*slash = '/';
		if (!exists)
			return code;
	}
	return 0;
}

static int copy(int from, int to, uint64_t size, bool *cut_short) {
	static uint8_t buffer[FRAME_DATA_MAX];
	while (size) {
		size_t part = size < sizeof buffer ? (size_t)size : sizeof buffer;
		*cut_short = !read_fully(from, buffer, part);
		int code = *cut_short ? EPROTO : write_all(to, buffer, part);
		if (code)
			return code;
		size -= part;
	}
	return 0;
}

static int write_file(int from, char *path, mode_t mode, uint64_t size, bool *cut_short) {
	static char resolved[PATH_MAX];
	int code = make_parents(path);
	if (code)
		return code;
	/* The file is replaced, not the symbolic links that lead to it. */
	const char *target = realpath(path, resolved) ? resolved : path;
	struct stat st;
	if (!stat(target, &st) && S_ISDIR(st.st_mode))
		return EISDIR;
	int fd = partial_open(target);
	if (fd < 0)
		return errno;
	code = copy(from, fd, size, cut_short);
	if (!code && fchmod(fd, mode))
		code = errno;
	if (code)
		partial_remove();
	else
		code = partial_replace(fd, target);
	close(fd);
	return code;
}

int stage_files(int fd, uint64_t left, const struct account *account, char *message, size_t size) {
	static struct account other;
	char path[STAGE_PATH_MAX + 1], user[STAGE_USER_MAX + 1];
	uint8_t bytes[STAGE_HEAD];
	*message = 0;
	while (left) {
		struct stage_head head;
		const char *wrong = "a staged file is cut short";
		if (left >= STAGE_HEAD && read_fully(fd, bytes, STAGE_HEAD))
			wrong = stage_head_parse(bytes, left - STAGE_HEAD, &head);
		if (!wrong && (!read_fully(fd, path, head.path_length) || !read_fully(fd, user, head.user_length)))
			wrong = "a staged file is cut short";
		if (wrong) {
			snprintf(message, size, "%s", wrong);
			return 0;
		}
		path[head.path_length] = user[head.user_length] = 0;
		left -= STAGE_HEAD + head.path_length + head.user_length + head.size;
		if (head.user_length && account_resolve(user, &other)) {
			snprintf(message, size, "%.180s: user \"%.40s\" is not in the guest", path, user);
			return EINVAL;
		}
		bool cut_short = false;
		int code = act_as(head.user_length ? &other : account);
		if (!code)
			code = write_file(fd, path, (mode_t)head.mode, head.size, &cut_short);
		int back = act_as(NULL);
		if (code || back) {
			snprintf(message, size, "%.180s: %s", path, cut_short ? "cut short" : strerror(code ? code : back));
			return cut_short ? 0 : code ? code : back;
		}
	}
	return 0;
}
