#include "files.h"

#include <dirent.h>
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

static int result(int failed, const char *path) { return failed ? builtin_failed(errno, path) : 0; }

static bool parse_mode(const char *text, mode_t *mode) {
	char *end;
	unsigned long bits = strtoul(text, &end, 8);
	*mode = (mode_t)bits;
	return *text && !*end && bits <= 07777;
}

/* -- What files are */

/* Prints what the file is. Returns -1 with errno. */
static int print_record(int directory, const char *name, int flags, const char *printed_name) {
	static char target[PATH_MAX];
	struct stat st;
	if (fstatat(directory, name, &st, flags))
		return -1;
	ssize_t target_length = S_ISLNK(st.st_mode) ? readlinkat(directory, name, target, sizeof target) : 0;
	if (target_length < 0)
		return -1;
	struct file_record record = {
		.size = (uint64_t)st.st_size,
		.mtime_ns = st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec,
		.mode = st.st_mode,
		.uid = st.st_uid,
		.gid = st.st_gid,
		.links = (uint32_t)st.st_nlink,
		.name_length = (uint16_t)strlen(printed_name),
		.target_length = (uint16_t)target_length,
	};
	fwrite(&record, sizeof record, 1, stdout);
	fwrite(printed_name, record.name_length, 1, stdout);
	fwrite(target, record.target_length, 1, stdout);
	return 0;
}

int file_stat(char *const *argv) {
	int flags = strcmp(argv[2], "nofollow") ? 0 : AT_SYMLINK_NOFOLLOW;
	return result(print_record(AT_FDCWD, argv[1], flags, "") || fflush(stdout), argv[1]);
}

int file_list(char *const *argv) {
	DIR *directory = opendir(argv[1]);
	if (!directory)
		return builtin_failed(errno, argv[1]);
	for (struct dirent *entry; errno = 0, (entry = readdir(directory));) {
		const char *name = entry->d_name;
		if (!strcmp(name, ".") || !strcmp(name, ".."))
			continue;
		/* It may have gone since it was read. */
		if (print_record(dirfd(directory), name, AT_SYMLINK_NOFOLLOW, name) && errno != ENOENT)
			return builtin_failed(errno, name);
	}
	return result(errno || fflush(stdout), argv[1]);
}

/* -- What files are made to be */

int file_rename(char *const *argv) { return result(rename(argv[1], argv[2]), argv[1]); }

int file_symlink(char *const *argv) { return result(symlink(argv[2], argv[1]), argv[1]); }

int file_chmod(char *const *argv) {
	mode_t mode;
	if (!parse_mode(argv[2], &mode))
		return builtin_failed(EINVAL, argv[1]);
	return result(chmod(argv[1], mode), argv[1]);
}

int file_chown(char *const *argv) {
	uid_t uid = (uid_t)strtoul(argv[2], NULL, 10);
	gid_t gid = (gid_t)strtoul(argv[3], NULL, 10);
	return result(lchown(argv[1], uid, gid), argv[1]);
}

/* Makes the directories on the way to `path`. */
static int make_parents(const char *path) {
	char *copy = strdup(path);
	for (char *slash = copy ? strchr(copy + 1, '/') : NULL; slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		if (mkdir(copy, 0755) && errno != EEXIST)
			return -1;
		*slash = '/';
	}
	return copy ? 0 : -1;
}

int file_mkdir(char *const *argv) {
	const char *path = argv[1];
	bool parents = strchr(argv[3], 'p');
	mode_t mode;
	if (!parse_mode(argv[2], &mode))
		return builtin_failed(EINVAL, path);
	if (parents && *path && make_parents(path))
		return builtin_failed(errno, path);
	if (!mkdir(path, mode))
		return result(chmod(path, mode), path); /* whatever the umask is */
	int code = errno;
	struct stat st;
	bool there = code == EEXIST && parents && !stat(path, &st) && S_ISDIR(st.st_mode);
	return there ? 0 : builtin_failed(code, path);
}

/* Empties a directory, whose descriptor it takes over. Follows no links, so it stays below it whatever others do. */
static int remove_contents(int fd) {
	DIR *directory = fdopendir(fd);
	if (!directory) {
		close(fd);
		return -1;
	}
	int code = 0;
	for (struct dirent *entry; !code && (errno = 0, entry = readdir(directory));) {
		const char *name = entry->d_name;
		if (!strcmp(name, ".") || !strcmp(name, "..") || !unlinkat(dirfd(directory), name, 0) || errno == ENOENT)
			continue;
		/* POSIX says EPERM of unlink() on a directory, Linux EISDIR. */
		code = errno;
		if (code != EISDIR && code != EPERM)
			break;
		int inner = openat(dirfd(directory), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (inner < 0) {
			code = errno == ENOTDIR ? code : errno;
			break;
		}
		code = remove_contents(inner) || unlinkat(dirfd(directory), name, AT_REMOVEDIR) ? errno : 0;
	}
	if (!code)
		code = errno;
	closedir(directory);
	errno = code;
	return code ? -1 : 0;
}

int file_remove(char *const *argv) {
	const char *path = argv[1];
	bool contents = strchr(argv[2], 'r'), may_be_missing = strchr(argv[2], 'f');
	struct stat st;
	int failed = lstat(path, &st);
	if (!failed && S_ISDIR(st.st_mode)) {
		int fd = contents ? open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
		failed = (contents && (fd < 0 || remove_contents(fd))) || rmdir(path);
	} else if (!failed) {
		failed = unlink(path);
	}
	return failed && may_be_missing && errno == ENOENT ? 0 : result(failed, path);
}
