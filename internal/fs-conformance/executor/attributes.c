/* Commands about modes, owners, times and extended attributes. */
#include "executor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

/* Whether the open file itself is meant; with no file open calls on it say EBADF. */
static int is_open_file(struct place at)
{
	return at.dirfd != AT_FDCWD && (at.path[0] == '\0' || at.dirfd < 0);
}

/* For calls that know no directory to start from. */
static const char *path_of(struct place at)
{
	static char path[64 + 4096];

	if (at.dirfd == AT_FDCWD)
		return at.path;
	snprintf(path, sizeof path, "/proc/self/fd/%d/%s", at.dirfd, at.path);
	return path;
}

static void run_chmod(char **arg, int args)
{
	struct place at = place_of(arg[0]);
	mode_t mode = number_of(arg[1]);

	(void)args;
	answer_result(is_open_file(at) ? fchmod(at.dirfd, mode) : fchmodat(at.dirfd, at.path, mode, 0));
}

static void run_chown(char **arg, int args)
{
	struct place at = place_of(arg[0]);
	uid_t uid = number_of(arg[1]);
	gid_t gid = number_of(arg[2]);

	(void)args;
	answer_result(is_open_file(at) ? fchown(at.dirfd, uid, gid) :
					 fchownat(at.dirfd, at.path, uid, gid, 0));
}

static void run_lchown(char **arg, int args)
{
	struct place at = place_of(arg[0]);

	(void)args;
	answer_result(fchownat(at.dirfd, at.path, number_of(arg[1]), number_of(arg[2]),
			       AT_SYMLINK_NOFOLLOW));
}

static void run_truncate(char **arg, int args)
{
	struct place at = place_of(arg[0]);
	off_t size = number_of(arg[1]);

	(void)args;
	answer_result(is_open_file(at) ? ftruncate(at.dirfd, size) : truncate(path_of(at), size));
}

static struct timespec time_of(const char *text)
{
	struct timespec time = { 0, UTIME_NOW };
	long seconds, nanoseconds;

	if (strcmp(text, "omit") == 0)
		time.tv_nsec = UTIME_OMIT;
	else if (sscanf(text, "%ld.%ld", &seconds, &nanoseconds) == 2)
		time = (struct timespec){ seconds, nanoseconds };
	else if (strcmp(text, "now") != 0)
		exit(2);
	return time;
}

static void set_times(char **arg, int flags)
{
	struct place at = place_of(arg[0]);
	struct timespec times[2] = { time_of(arg[1]), time_of(arg[2]) };

	answer_result(is_open_file(at) ? futimens(at.dirfd, times) :
					 utimensat(at.dirfd, at.path, times, flags));
}

static void run_utimens(char **arg, int args)
{
	(void)args;
	set_times(arg, 0);
}

static void run_lutimens(char **arg, int args)
{
	(void)args;
	set_times(arg, AT_SYMLINK_NOFOLLOW);
}

static const char *type_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG: return "regular";
	case S_IFDIR: return "directory";
	case S_IFLNK: return "symlink";
	case S_IFIFO: return "fifo";
	case S_IFSOCK: return "socket";
	case S_IFCHR: return "char";
	case S_IFBLK: return "block";
	default: return "unknown";
	}
}

/* The present differs from run to run, so it is "now". */
static void answer_time(const struct stat *, struct timespec time)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (labs(now.tv_sec - time.tv_sec) < 3600)
		answer("now");
	else
		answer("%ld.%09ld", (long)time.tv_sec, time.tv_nsec);
}

static void answer_field(const struct stat *stat, const char *field)
{
	if (strcmp(field, "type") == 0) answer("%s", type_name(stat->st_mode));
	else if (strcmp(field, "mode") == 0) answer("%04o", stat->st_mode & 07777);
	else if (strcmp(field, "nlink") == 0) answer("%ju", (uintmax_t)stat->st_nlink);
	else if (strcmp(field, "uid") == 0) answer("%u", stat->st_uid);
	else if (strcmp(field, "gid") == 0) answer("%u", stat->st_gid);
	/* The size of a directory is the file system's own affair. */
	else if (strcmp(field, "size") == 0 && S_ISDIR(stat->st_mode)) answer("-");
	else if (strcmp(field, "size") == 0) answer("%jd", (intmax_t)stat->st_size);
	else if (strcmp(field, "blocks") == 0) answer("%jd", (intmax_t)stat->st_blocks);
	else if (strcmp(field, "rdev") == 0) answer("%u:%u", major(stat->st_rdev), minor(stat->st_rdev));
	else if (strcmp(field, "atime") == 0) answer_time(stat, stat->st_atim);
	else if (strcmp(field, "mtime") == 0) answer_time(stat, stat->st_mtim);
	else if (strcmp(field, "ctime") == 0) answer_time(stat, stat->st_ctim);
	else exit(2);
}

static void show_attributes(char **arg, int args, int flags)
{
	struct place at = place_of(arg[0]);
	struct stat stat;
	char *rest = NULL;

	if (fstatat(at.dirfd, at.path, &stat, flags | (is_open_file(at) ? AT_EMPTY_PATH : 0)) < 0) {
		answer_result(-1);
		return;
	}
	if (args == 1)
		answer("0");
	else
		for (char *field = strtok_r(arg[1], ",", &rest); field != NULL;) {
			answer_field(&stat, field);
			field = strtok_r(NULL, ",", &rest);
			if (field != NULL)
				answer(" ");
		}
}

static void run_stat(char **arg, int args)
{
	show_attributes(arg, args, 0);
}

static void run_lstat(char **arg, int args)
{
	show_attributes(arg, args, AT_SYMLINK_NOFOLLOW);
}

/* same A B: whether both names lead to one inode. */
static void run_same(char **arg, int args)
{
	struct place a = place_of(arg[0]), b = place_of(arg[1]);
	struct stat first, second;

	(void)args;
	if (fstatat(a.dirfd, a.path, &first, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) < 0 ||
	    fstatat(b.dirfd, b.path, &second, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) < 0)
		answer_result(-1);
	else
		answer(first.st_dev == second.st_dev && first.st_ino == second.st_ino ? "yes" : "no");
}

/* track SLOT PATH keeps the times of a file; changed SLOT PATH tells which are later now. */
static struct stat tracked[SLOTS];

static void run_track(char **arg, int args)
{
	struct place at = place_of(arg[1]);

	(void)args;
	answer_result(fstatat(at.dirfd, at.path, &tracked[slot_of(arg[0])],
			      AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH));
}

static int order(struct timespec before, struct timespec after)
{
	if (after.tv_sec != before.tv_sec)
		return after.tv_sec > before.tv_sec ? 1 : -1;
	return (after.tv_nsec > before.tv_nsec) - (after.tv_nsec < before.tv_nsec);
}

static void run_changed(char **arg, int args)
{
	struct place at = place_of(arg[1]);
	struct stat *before = &tracked[slot_of(arg[0])], after;

	(void)args;
	if (fstatat(at.dirfd, at.path, &after, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) < 0) {
		answer_result(-1);
		return;
	}
	const struct {
		const char *name;
		int order;
	} times[] = {
		{ "atime", order(before->st_atim, after.st_atim) },
		{ "mtime", order(before->st_mtim, after.st_mtim) },
		{ "ctime", order(before->st_ctim, after.st_ctim) },
	};
	const char *separator = "";
	for (int i = 0; i < 3; i++) {
		if (times[i].order == 0)
			continue;
		answer("%s%s%s", separator, times[i].order < 0 ? "earlier-" : "", times[i].name);
		separator = ",";
	}
	if (*separator == '\0')
		answer("none");
}

/*
 * Waits until the clock that file systems use has moved on, which it does every few ms; twice, since the
 * last time given may already be a fine-grained one of the current interval.
 */
static void run_tick(char **arg, int args)
{
	struct timespec start, now;

	(void)arg;
	(void)args;
	for (int moved = 0; moved < 2; moved++) {
		clock_gettime(CLOCK_REALTIME_COARSE, &start);
		do {
			usleep(1000);
			clock_gettime(CLOCK_REALTIME_COARSE, &now);
		} while (order(start, now) <= 0);
	}
	answer("0");
}

static void run_access(char **arg, int args)
{
	struct place at = place_of(arg[0]);

	(void)args;
	answer_result(faccessat(at.dirfd, at.path, number_of(arg[1]), 0));
}

static void run_setxattr(char **arg, int args)
{
	struct place at = place_of(arg[0]);
	struct data value = data_of(arg[2]);
	int flags = args > 3 ? number_of(arg[3]) : 0;

	answer_result(is_open_file(at) ?
			      fsetxattr(at.dirfd, arg[1], value.bytes, value.length, flags) :
			      lsetxattr(path_of(at), arg[1], value.bytes, value.length, flags));
}

static void run_getxattr(char **arg, int args)
{
	struct place at = place_of(arg[0]);
	static unsigned char value[65536];
	size_t room = args > 2 ? (size_t)number_of(arg[2]) : sizeof value;
	ssize_t length = is_open_file(at) ? fgetxattr(at.dirfd, arg[1], value, room) :
					    lgetxattr(path_of(at), arg[1], value, room);

	if (length < 0 || room == 0)
		answer_result(length);
	else
		answer_bytes(value, length);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names that start with PREFIX, sorted; a security module may add its own. */
static void run_listxattr(char **arg, int args)
{
	struct place at = place_of(arg[0]);
	static char list[65536];
	char *names[1024];
	size_t count = 0;
	const char *prefix = args > 1 ? arg[1] : "user.";
	ssize_t length = is_open_file(at) ? flistxattr(at.dirfd, list, sizeof list) :
					    llistxattr(path_of(at), list, sizeof list);

	if (length < 0) {
		answer_result(length);
		return;
	}
	for (char *name = list; name < list + length && count < 1024; name += strlen(name) + 1)
		if (strncmp(name, prefix, strlen(prefix)) == 0)
			names[count++] = name;
	qsort(names, count, sizeof names[0], by_name);
	if (count == 0)
		answer("none");
	for (size_t i = 0; i < count; i++)
		answer("%s%s", i == 0 ? "" : " ", names[i]);
}

static void run_removexattr(char **arg, int args)
{
	struct place at = place_of(arg[0]);

	(void)args;
	answer_result(is_open_file(at) ? fremovexattr(at.dirfd, arg[1]) : lremovexattr(path_of(at), arg[1]));
}

static void run_umask(char **arg, int args)
{
	(void)args;
	umask(number_of(arg[0]));
	answer("0");
}

static void run_statvfs(char **arg, int args)
{
	struct statvfs found;

	(void)args;
	if (statvfs(arg[0], &found) < 0)
		answer_result(-1);
	else
		answer("%lu %s", found.f_namemax, found.f_bfree <= found.f_blocks ? "sane" : "insane");
}

const struct command attribute_commands[] = {
	{ "chmod", run_chmod, 2, 2 },	    { "chown", run_chown, 3, 3 },
	{ "lchown", run_lchown, 3, 3 },	    { "truncate", run_truncate, 2, 2 },
	{ "utimens", run_utimens, 3, 3 },   { "lutimens", run_lutimens, 3, 3 },
	{ "stat", run_stat, 1, 2 },	    { "lstat", run_lstat, 1, 2 },
	{ "same", run_same, 2, 2 },	    { "track", run_track, 2, 2 },
	{ "changed", run_changed, 2, 2 },   { "tick", run_tick, 0, 0 },
	{ "access", run_access, 2, 2 },	    { "setxattr", run_setxattr, 3, 4 },
	{ "getxattr", run_getxattr, 2, 3 }, { "listxattr", run_listxattr, 1, 2 },
	{ "removexattr", run_removexattr, 2, 2 },
	{ "umask", run_umask, 1, 1 },	    { "statvfs", run_statvfs, 1, 1 },
	{ 0 },
};
