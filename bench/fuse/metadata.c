/* How fast a file system is at metadata, one thread, one operation after the other.
 *
 *   metadata prepare DIR SET FILES [LISTED]   makes data set number SET below DIR, on the file system beneath
 *   metadata GROUP   DIR SET FILES            runs the phases of GROUP on that set, through the mount
 *   metadata remove  DIR
 *
 * LISTED names are in a directory of the listing groups: 10000, or 0 where they are not to run.
 * GROUP is lookups, listing, long-listing or changes. What a phase calls cold, the mount must never
 * have looked up: so each set serves once, and the kernel is made to forget between groups.
 * Prints a line a phase: its name, a tab, operations a second. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define DIRECTORIES 20
#define UNPACKED 5000

static const char *base;
static int set, files, listed;
static char content[32768];

/* A path below the base directory; a few may be in use at a time. */
static const char *at(const char *format, ...) {
	static char paths[4][4096];
	static int next;
	char *path = paths[next++ & 3];
	int length = snprintf(path, 2048, "%s/", base);
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(path + length, 2048, format, arguments);
	va_end(arguments);
	return path;
}

static void need(int condition, const char *what, const char *path) {
	if (condition) return;
	fprintf(stderr, "%s %s: %s\n", what, path, strerror(errno));
	exit(1);
}

static double started;

static double now(void) {
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static void start(void) { started = now(); }

static void report(const char *phase, int operations) {
	printf("%s\t%.1f\n", phase, operations / (now() - started));
}

static void make_directory(const char *path) {
	need(mkdir(path, 0755) == 0 || errno == EEXIST, "mkdir", path);
}

static void make_file(const char *path, int size) {
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
	need(fd >= 0, "create", path);
	if (size > 0) need(write(fd, content, size) == size, "write", path);
	close(fd);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where) {
	(void)status, (void)type, (void)where;
	need(remove(path) == 0, "remove", path);
	return 0;
}

static void remove_tree(const char *path) {
	if (access(path, F_OK) != 0) return;
	need(nftw(path, remove_one, 64, FTW_DEPTH | FTW_PHYS) == 0, "walk", path);
}

static const char *small_file(int i) {
	return at("set%d/tree/%02d/file%05d", set, i % DIRECTORIES, i);
}

static void prepare(void) {
	make_directory(base);
	make_directory(at("set%d", set));
	make_directory(at("set%d/tree", set));
	for (int i = 0; i < DIRECTORIES; i++) make_directory(at("set%d/tree/%02d", set, i));
	for (int i = 0; i < files; i++) make_file(small_file(i), 1000);
	make_directory(at("set%d/list", set));
	make_directory(at("set%d/long", set));
	for (int i = 0; i < listed; i++) {
		make_file(at("set%d/list/entry-%05d", set, i), 0);
		make_file(at("set%d/long/entry-%05d", set, i), 0);
	}
}

static void lookups(void) {
	struct stat status;
	/* Directories first: then each file of the cold pass costs one lookup. */
	for (int i = 0; i < DIRECTORIES; i++) {
		const char *path = at("set%d/tree/%02d", set, i);
		need(stat(path, &status) == 0, "stat", path);
	}
	for (int warm = 0; warm < 2; warm++) {
		start();
		for (int i = 0; i < files; i++) need(stat(small_file(i), &status) == 0, "stat", small_file(i));
		report(warm ? "stat warm" : "stat cold", files);
	}
	start();
	for (int i = 0; i < files; i++) {
		const char *path = at("set%d/tree/00/absent-%d", set, i);
		need(stat(path, &status) == -1, "absence of", path);
	}
	report("stat ENOENT", files);
	start();
	for (int i = 0; i < files; i++) {
		int fd = open(small_file(i), O_RDONLY | O_CLOEXEC);
		need(fd >= 0, "open", small_file(i));
		close(fd);
	}
	report("open+close", files);
	start();
	for (int i = 0; i < files; i++) {
		int fd = open(small_file(i), O_RDONLY | O_CLOEXEC);
		need(fd >= 0, "open", small_file(i));
		need(read(fd, content, 4096) == 1000, "read", small_file(i));
		close(fd);
	}
	report("open+read 1 KiB+close", files);
	start();
	for (int i = 0; i < files; i++) {
		ssize_t length = getxattr(small_file(i), "user.absent", content, 100);
		need(length == -1, "absence of an attribute of", small_file(i));
	}
	report("getxattr absent", files);
}

static int list(const char *path, int attributes) {
	DIR *directory = opendir(path);
	need(directory != NULL, "opendir", path);
	int entries = 0;
	for (struct dirent *entry; (entry = readdir(directory)) != NULL; entries++) {
		struct stat status;
		if (!attributes || entry->d_name[0] == '.') continue;
		int result = fstatat(dirfd(directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW);
		need(result == 0, "stat", entry->d_name);
	}
	closedir(directory);
	return entries;
}

static void listing(void) {
	for (int warm = 0; warm < 2; warm++) {
		start();
		int entries = list(at("set%d/list", set), 0);
		report(warm ? "readdir 10k warm" : "readdir 10k cold", entries);
	}
}

static void long_listing(void) {
	start();
	report("ls -l 10k cold", list(at("set%d/long", set), 1));
}

/* What tar(1) does for each file. */
static void unpack(const char *path, int size) {
	static const struct timespec times[2] = {{1700000000, 0}, {1700000000, 0}};
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	need(fd >= 0, "create", path);
	need(write(fd, content, size) == size, "write", path);
	need(futimens(fd, times) == 0, "futimens", path);
	need(fchown(fd, 0, 0) == 0, "fchown", path);
	need(fchmod(fd, 0644) == 0, "fchmod", path);
	close(fd);
}

static void changes(void) {
	make_directory(at("set%d/made", set));
	start();
	for (int i = 0; i < files; i++) make_file(at("set%d/made/a%d", set, i), 0);
	report("create+close", files);
	start();
	for (int i = 0; i < files; i++) {
		const char *path = at("set%d/made/a%d", set, i);
		need(rename(path, at("set%d/made/b%d", set, i)) == 0, "rename", path);
	}
	report("rename", files);
	start();
	for (int i = 0; i < files; i++) {
		const char *path = at("set%d/made/b%d", set, i);
		need(unlink(path) == 0, "unlink", path);
	}
	report("unlink", files);
	const char *one = strdup(at("set%d/made/one", set));
	start();
	for (int i = 0; i < files; i++) {
		make_file(one, 0);
		need(unlink(one) == 0, "unlink", one);
	}
	report("create+unlink", files);
	start();
	for (int i = 0; i < files; i++) {
		need(mkdir(one, 0755) == 0, "mkdir", one);
		need(rmdir(one) == 0, "rmdir", one);
	}
	report("mkdir+rmdir", files);

	start();
	make_directory(at("set%d/unpacked", set));
	for (int i = 0; i < UNPACKED / 50; i++) make_directory(at("set%d/unpacked/%02d", set, i));
	for (int i = 0; i < UNPACKED; i++) {
		int size = 100 + (int)((unsigned)i * 2654435761u % 8000u) + (i % 17 == 0 ? 8000 : 0);
		unpack(at("set%d/unpacked/%02d/file-%d", set, i / 50, i), size);
	}
	report("untar-like", UNPACKED);
	start();
	remove_tree(at("set%d/unpacked", set));
	report("rm -rf", UNPACKED);
}

int main(int count, char **arguments) {
	if (count < 3) {
		fprintf(stderr, "Usage: metadata prepare|lookups|listing|long-listing|changes|remove DIR SET FILES\n");
		return 2;
	}
	const char *group = arguments[1];
	base = arguments[2];
	set = count > 3 ? atoi(arguments[3]) : 0;
	files = count > 4 ? atoi(arguments[4]) : 0;
	listed = count > 5 ? atoi(arguments[5]) : 10000;
	memset(content, 'x', sizeof content);
	if (strcmp(group, "remove") == 0) remove_tree(base);
	else if (files < 1 || files > 99999) return 2;
	else if (strcmp(group, "prepare") == 0) prepare();
	else if (strcmp(group, "lookups") == 0) lookups();
	else if (strcmp(group, "listing") == 0) listing();
	else if (strcmp(group, "long-listing") == 0) long_listing();
	else if (strcmp(group, "changes") == 0) changes();
	else return 2;
	return 0;
}
