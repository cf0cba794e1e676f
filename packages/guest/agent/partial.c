#include "partial.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char partial_path[PATH_MAX];
static bool partial_is_named;

static void on_sigterm(int signal_number) {
	(void)signal_number;
	unlink(partial_path);
	_exit(1);
}

int partial_open(const char *path) {
	const char *slash = strrchr(path, '/');
	char directory[PATH_MAX] = ".";
	if (slash)
		snprintf(directory, sizeof directory, "%.*s", slash == path ? 1 : (int)(slash - path), path);
	if (snprintf(partial_path, sizeof partial_path, "%s/.supermachine-%d.partial", directory, (int)getpid()) >=
		(int)sizeof partial_path)
		return errno = ENAMETOOLONG, -1;
	/* A file without a name goes with its process, however that ends. */
	int fd = open(directory, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	partial_is_named = fd < 0;
	if (fd >= 0)
		return fd;
	/* Not every file system has such files. Then the name is removed at the end and on SIGTERM, but not on SIGKILL. */
	unlink(partial_path);
	signal(SIGTERM, on_sigterm);
	return open(partial_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
}

int partial_replace(int fd, const char *path) {
	if (!partial_is_named) {
		char by_descriptor[64];
		snprintf(by_descriptor, sizeof by_descriptor, "/proc/self/fd/%d", fd);
		unlink(partial_path);
		if (linkat(AT_FDCWD, by_descriptor, AT_FDCWD, partial_path, AT_SYMLINK_FOLLOW))
			return errno;
	}
	if (!rename(partial_path, path))
		return 0;
	int code = errno;
	unlink(partial_path);
	return code;
}

void partial_remove(void) {
	if (partial_is_named)
		unlink(partial_path);
}
