/* Commands about whole directories. */
#include "executor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

struct names {
	char **name;
	unsigned char *type;
	size_t count;
};

static void forget_names(struct names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->name[i]);
	free(names->name);
	free(names->type);
}

/* The names of a directory, sorted; takes over `fd`. False with errno set when it cannot be read. */
static int read_names(int fd, struct names *names)
{
	struct dirent *entry;
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);

	*names = (struct names){ 0 };
	if (directory == NULL) {
		int saved = errno;

		if (fd >= 0)
			close(fd);
		errno = saved;
		return 0;
	}
	errno = 0;
	while ((entry = readdir(directory)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		size_t at = names->count++;
		names->name = realloc(names->name, names->count * sizeof *names->name);
		names->type = realloc(names->type, names->count);
		for (; at > 0 && strcmp(names->name[at - 1], entry->d_name) > 0; at--) {
			names->name[at] = names->name[at - 1];
			names->type[at] = names->type[at - 1];
		}
		names->name[at] = strdup(entry->d_name);
		names->type[at] = entry->d_type;
	}
	int saved = errno;
	closedir(directory);
	errno = saved;
	if (saved != 0)
		forget_names(names);
	return saved == 0;
}

static char type_letter(unsigned char type)
{
	switch (type) {
	case DT_DIR: return '/';
	case DT_LNK: return '@';
	case DT_FIFO: return '|';
	case DT_SOCK: return '=';
	case DT_CHR: return '-';
	case DT_BLK: return '+';
	case DT_REG: return 0;
	default: return '?';
	}
}

/* Names with a mark of their type behind: / directory, @ link, | FIFO, = socket, - and + devices. */
static void run_readdir(char **arg, int args)
{
	struct place at = place_of(arg[0]);
	struct names names;

	(void)args;
	if (!read_names(openat(at.dirfd, at.path[0] == '\0' ? "." : at.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
			&names)) {
		answer_result(-1);
		return;
	}
	if (names.count == 0)
		answer("empty");
	for (size_t i = 0; i < names.count; i++) {
		char letter = type_letter(names.type[i]);

		answer("%s%s", i == 0 ? "" : " ", names.name[i]);
		if (letter != 0)
			answer("%c", letter);
	}
	forget_names(&names);
}

static void show_content(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	static unsigned char content[4 << 20];
	size_t total = 0;
	ssize_t count = 0;

	if (fd < 0) {
		answer("%s", strerrorname_np(errno));
		return;
	}
	while (total < sizeof content && (count = read(fd, content + total, sizeof content - total)) > 0)
		total += count;
	answer_bytes(content, total);
	close(fd);
}

static void show_xattrs(int dirfd, const char *name)
{
	char path[64 + 256], list[8192];
	unsigned char value[65536];

	snprintf(path, sizeof path, "/proc/self/fd/%d/%s", dirfd, name);
	ssize_t length = llistxattr(path, list, sizeof list);
	/* Sorted by repeated search for the next name: there are few. */
	for (const char *last = "";;) {
		const char *next = NULL;

		for (ssize_t at = 0; at < length; at += strlen(list + at) + 1)
			if (strncmp(list + at, "user.", 5) == 0 && strcmp(list + at, last) > 0 &&
			    (next == NULL || strcmp(list + at, next) < 0))
				next = list + at;
		if (next == NULL)
			return;
		ssize_t size = lgetxattr(path, next, value, sizeof value);
		answer(" %s=", next);
		answer_bytes(value, size < 0 ? 0 : size);
		last = next;
	}
}

static void show_below(int dirfd, const char *prefix)
{
	struct names names;

	if (!read_names(openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), &names)) {
		answer("[%s%s]", prefix, strerrorname_np(errno));
		return;
	}
	for (size_t i = 0; i < names.count; i++) {
		const char *name = names.name[i];
		struct stat stat;
		char target[4096];

		if (fstatat(dirfd, name, &stat, AT_SYMLINK_NOFOLLOW) < 0) {
			answer("[%s%s %s]", prefix, name, strerrorname_np(errno));
			continue;
		}
		answer("[%s%s %06o %ju %u:%u", prefix, name, stat.st_mode, (uintmax_t)stat.st_nlink,
		       stat.st_uid, stat.st_gid);
		if (S_ISREG(stat.st_mode)) {
			answer(" %jd ", (intmax_t)stat.st_size);
			show_content(dirfd, name);
		} else if (S_ISLNK(stat.st_mode)) {
			ssize_t length = readlinkat(dirfd, name, target, sizeof target);

			answer(" %.*s", (int)length, target);
		} else if (S_ISCHR(stat.st_mode) || S_ISBLK(stat.st_mode)) {
			answer(" %u:%u", major(stat.st_rdev), minor(stat.st_rdev));
		}
		show_xattrs(dirfd, name);
		answer("]");
		if (S_ISDIR(stat.st_mode)) {
			int below = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			char *longer;

			if (below >= 0 && asprintf(&longer, "%s%s/", prefix, name) > 0) {
				show_below(below, longer);
				free(longer);
			}
			close(below);
		}
	}
	forget_names(&names);
}

/* All that is below a directory: types, modes, links, owners, contents, extended attributes. */
static void run_tree(char **arg, int args)
{
	struct place at = place_of(args > 0 ? arg[0] : ".");
	int fd = openat(at.dirfd, at.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	answer("tree");
	if (fd < 0)
		answer_result(-1);
	else
		show_below(fd, "");
	close(fd);
}

void remove_below(int dirfd)
{
	struct names names;

	if (!read_names(openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), &names))
		return;
	for (size_t i = 0; i < names.count; i++) {
		if (unlinkat(dirfd, names.name[i], 0) == 0 || errno != EISDIR)
			continue;
		int below = openat(dirfd, names.name[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (below >= 0) {
			remove_below(below);
			close(below);
		}
		unlinkat(dirfd, names.name[i], AT_REMOVEDIR);
	}
	forget_names(&names);
}

/* fill DIRECTORY COUNT: makes files 0, 1, 2, ...; clear DIRECTORY removes all below it. */
static void run_fill(char **arg, int args)
{
	char name[32];
	int directory = openat(AT_FDCWD, arg[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	long count = number_of(arg[1]), made = 0;

	(void)args;
	for (; made < count; made++) {
		snprintf(name, sizeof name, "%ld", made);
		if (mknodat(directory, name, S_IFREG | 0644, 0) < 0)
			break;
	}
	close(directory);
	answer_result(made);
}

/* sweep DIRECTORY: removes each name as it is listed, as rm -r does; tells how many, and what is left. */
static void run_sweep(char **arg, int args)
{
	DIR *directory = opendir(arg[0]);
	struct dirent *entry;
	long removed = 0, left = 0;

	(void)args;
	if (directory == NULL) {
		answer_result(-1);
		return;
	}
	while ((entry = readdir(directory)) != NULL)
		if (entry->d_name[0] != '.' && unlinkat(dirfd(directory), entry->d_name, 0) == 0)
			removed++;
	rewinddir(directory);
	while ((entry = readdir(directory)) != NULL)
		left += entry->d_name[0] != '.';
	closedir(directory);
	answer("%ld %ld", removed, left);
}

const struct command tree_commands[] = {
	{ "readdir", run_readdir, 1, 1 }, { "tree", run_tree, 0, 1 }, { "fill", run_fill, 2, 2 },
	{ "sweep", run_sweep, 1, 1 },	  { 0 },
};
