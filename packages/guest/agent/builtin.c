#include "builtin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int source_fd, target_fd;
static const char *target_path;
static char partial_path[4096];
static mode_t target_mode;

static int open_for_read(const char *path) {
	/* Without O_NONBLOCK the open of a FIFO would wait for a writer. */
	source_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	target_fd = 1;
	struct stat st;
	if (source_fd < 0 || fstat(source_fd, &st))
		return errno;
	return S_ISDIR(st.st_mode) ? EISDIR : S_ISREG(st.st_mode) ? 0 : EINVAL;
}

static int open_for_write(const char *path, const char *mode) {
	char *end;
	unsigned long bits = strtoul(mode, &end, 8);
	struct stat st;
	if (!*mode || *end || bits > 07777)
		return EINVAL;
	if (!stat(path, &st) && S_ISDIR(st.st_mode))
		return EISDIR;
	if (snprintf(partial_path, sizeof partial_path, "%s.%d.partial", path, (int)getpid()) >= (int)sizeof partial_path)
		return ENAMETOOLONG;
	source_fd = 0;
	target_fd = open(partial_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	target_path = path;
	target_mode = (mode_t)bits;
	return target_fd < 0 ? errno : 0;
}

int builtin_open(char *const *argv) {
	if (!strcmp(argv[0], "read") && argv[1] && !argv[2])
		return open_for_read(argv[1]);
	if (!strcmp(argv[0], "write") && argv[1] && argv[2] && !argv[3])
		return open_for_write(argv[1], argv[2]);
	return ENOSYS;
}

static int transfer(void) {
	static char buffer[64 << 10];
	for (;;) {
		ssize_t got = read(source_fd, buffer, sizeof buffer);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? errno : 0;
		for (ssize_t done = 0; done < got;) {
			ssize_t n = write(target_fd, buffer + done, (size_t)(got - done));
			if (n < 0 && errno != EINTR)
				return errno;
			done += n > 0 ? n : 0;
		}
	}
}

int builtin_run(void) {
	int code = transfer();
	if (target_path && !code && (fchmod(target_fd, target_mode) || rename(partial_path, target_path)))
		code = errno;
	if (!code)
		return 0;
	if (target_path)
		unlink(partial_path);
	dprintf(2, "%s\n", strerror(code));
	return 1;
}
