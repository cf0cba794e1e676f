/* Contents of files, from and to the host. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "builtin.h"
#include "files.h"
#include "partial.h"

static int transfer(int from, int to) {
	static char buffer[64 << 10];
	for (;;) {
		ssize_t got = read(from, buffer, sizeof buffer);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? errno : 0;
		int code = write_all(to, buffer, (size_t)got);
		if (code)
			return code;
	}
}

int file_read(char *const *argv) {
	/* Without O_NONBLOCK the open of a FIFO would wait for a writer. */
	int fd = open(argv[1], O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	if (fd < 0 || fstat(fd, &st))
		return builtin_failed(errno, argv[1]);
	if (!S_ISREG(st.st_mode))
		return builtin_failed(S_ISDIR(st.st_mode) ? EISDIR : EINVAL, argv[1]);
	int code = transfer(fd, 1);
	return code ? builtin_failed(code, argv[1]) : 0;
}

/* A new file is filled and then takes the name, so that readers see the old content or the new. What is no regular file
 * is written to; so is a file whose directory takes no new ones, as in /proc, /sys or a directory of another user.
 * Without a MODE it keeps that of the file it replaces, else it is 644. The owner stays if the user may give it. */
static int write_new(const char *path, const char *mode_text) {
	static char resolved[PATH_MAX];
	/* The file is replaced, not the symbolic links that lead to it. */
	if (realpath(path, resolved))
		path = resolved;
	struct stat st;
	bool exists = !stat(path, &st);
	if (exists && S_ISDIR(st.st_mode))
		return EISDIR;
	bool in_place = exists && !S_ISREG(st.st_mode);
	int fd = in_place ? -1 : partial_open(path);
	if (fd < 0 && exists) {
		in_place = true;
		/* A FIFO that nobody reads is an error, not a reason to wait. */
		fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
		if (fd >= 0)
			fcntl(fd, F_SETFL, 0);
	}
	if (fd < 0)
		return errno;
	int code = transfer(0, fd);
	if (in_place)
		return code;
	mode_t mode = *mode_text != '-' ? (mode_t)strtoul(mode_text, NULL, 8) & 07777 : exists ? st.st_mode & 07777 : 0644;
	/* Before the mode: a change of owner takes set-id bits away. */
	if (!code && exists)
		(void)!fchown(fd, st.st_uid, st.st_gid);
	if (!code && fchmod(fd, mode))
		code = errno;
	if (!code)
		return partial_replace(fd, path);
	partial_remove();
	return code;
}

static int append(const char *path, const char *mode_text) {
	mode_t mode = *mode_text == '-' ? 0644 : (mode_t)strtoul(mode_text, NULL, 8) & 07777;
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, mode);
	if (fd < 0)
		return errno;
	fcntl(fd, F_SETFL, O_APPEND);
	return transfer(0, fd);
}

int file_write(char *const *argv) {
	const char *path = argv[1], *mode = argv[2];
	int code = strcmp(argv[3], "append") ? write_new(path, mode) : append(path, mode);
	return code ? builtin_failed(code, path) : 0;
}
