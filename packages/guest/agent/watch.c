#include "watch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "builtin.h"

/* Each costs the kernel about a kilobyte, and us its path. */
enum { WATCHES_MAX = 65536 };

static const uint32_t EVENTS = IN_CREATE | IN_MODIFY | IN_DELETE | IN_DELETE_SELF | IN_MOVE | IN_MOVE_SELF | IN_ATTRIB;

/* The watched directories in the order of their descriptors, which the kernel gives out in ascending order. */
static struct watch {
	int descriptor;
	char *path; /* below the watched one; "" is that itself */
} * watches;
static size_t watch_count, watch_capacity;
static int inotify;
static bool recursive;

static void say(enum watch_kind kind, const char *path) {
	struct watch_record record = {.kind = kind, .path_length = (uint32_t)strlen(path)};
	fwrite(&record, sizeof record, 1, stdout);
	fwrite(path, record.path_length, 1, stdout);
}

static struct watch *find_watch(int descriptor) {
	size_t low = 0, high = watch_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (watches[middle].descriptor < descriptor)
			low = middle + 1;
		else
			high = middle;
	}
	return low < watch_count && watches[low].descriptor == descriptor ? &watches[low] : NULL;
}

static void forget_watch(struct watch *watch) {
	free(watch->path);
	memmove(watch, watch + 1, (size_t)(watches + watch_count - watch - 1) * sizeof *watch);
	watch_count--;
}

/* Returns 0 or an errno. */
static int add_watch(const char *real_path, const char *path, uint32_t flags) {
	if (watch_count == WATCHES_MAX)
		return ENOSPC;
	if (watch_count == watch_capacity) {
		size_t capacity = watch_capacity ? watch_capacity * 2 : 64;
		struct watch *larger = realloc(watches, capacity * sizeof *watches);
		if (!larger)
			return ENOMEM;
		watches = larger;
		watch_capacity = capacity;
	}
	char *copy = strdup(path);
	int descriptor = copy ? inotify_add_watch(inotify, real_path, EVENTS | flags) : -1;
	struct watch *known = descriptor < 0 ? NULL : find_watch(descriptor);
	if (descriptor < 0 || known) {
		int code = errno;
		free(copy);
		return known ? 0 : code;
	}
	watches[watch_count++] = (struct watch){descriptor, copy};
	return 0;
}

/* Watches the directories below a directory, and says what is in them if they are `new`: that may have been made before
 * they were watched, and is then said twice. Returns 0 or an errno. */
static int add_tree(const char *real_path, const char *path, bool new) {
	DIR *directory = opendir(real_path);
	/* Gone again, or another user's. */
	if (!directory)
		return errno == ENOENT || errno == EACCES || errno == ENOTDIR ? 0 : errno;
	int code = 0;
	for (struct dirent *entry; !code && (entry = readdir(directory));) {
		const char *name = entry->d_name;
		if (!strcmp(name, ".") || !strcmp(name, ".."))
			continue;
		char real_inner[PATH_MAX], inner[PATH_MAX];
		if (snprintf(real_inner, sizeof real_inner, "%s/%s", real_path, name) >= (int)sizeof real_inner ||
			snprintf(inner, sizeof inner, "%s%s%s", path, *path ? "/" : "", name) >= (int)sizeof inner) {
			code = ENAMETOOLONG;
			break;
		}
		if (new)
			say(WATCH_CREATED, inner);
		struct stat st;
		if (entry->d_type != DT_DIR &&
			(entry->d_type != DT_UNKNOWN || lstat(real_inner, &st) || !S_ISDIR(st.st_mode)))
			continue;
		code = add_watch(real_inner, inner, IN_ONLYDIR | IN_DONT_FOLLOW);
		if (code == ENOENT || code == EACCES || code == ENOTDIR)
			code = 0;
		else if (!code)
			code = add_tree(real_inner, inner, new);
	}
	closedir(directory);
	return code;
}

/* A directory that was moved away: its watches would report under its old name. */
static void drop_tree(const char *path) {
	size_t length = strlen(path);
	for (size_t i = watch_count; i-- > 0;) {
		const char *at = watches[i].path;
		if (strncmp(at, path, length) || (at[length] && at[length] != '/'))
			continue;
		inotify_rm_watch(inotify, watches[i].descriptor);
		forget_watch(&watches[i]);
	}
}

/* Says what happened. Returns false when there is nothing left to watch. */
static bool handle(const struct inotify_event *event, const char *root) {
	if (event->mask & IN_Q_OVERFLOW) {
		say(WATCH_OVERFLOW, "");
		return true;
	}
	struct watch *watch = find_watch(event->wd);
	if (!watch)
		return true;
	bool is_root = !*watch->path;
	if (event->mask & IN_IGNORED) {
		forget_watch(watch);
		return !is_root;
	}
	/* Their parents report directories below; only the watched one has nobody else. */
	if (event->mask & (IN_DELETE_SELF | IN_MOVE_SELF)) {
		if (is_root)
			say(WATCH_REMOVED, "");
		return !is_root;
	}
	char path[PATH_MAX], real_path[PATH_MAX];
	const char *name = event->len ? event->name : "";
	if (!*name && !is_root)
		return true;
	if (snprintf(path, sizeof path, "%s%s%s", watch->path, is_root || !*name ? "" : "/", name) >= (int)sizeof path ||
		snprintf(real_path, sizeof real_path, "%s/%s", root, path) >= (int)sizeof real_path) {
		say(WATCH_OVERFLOW, "");
		return true;
	}
	bool directory = recursive && event->mask & IN_ISDIR;
	if (event->mask & (IN_CREATE | IN_MOVED_TO)) {
		say(WATCH_CREATED, path);
		if (directory && (add_watch(real_path, path, IN_ONLYDIR | IN_DONT_FOLLOW) || add_tree(real_path, path, true)))
			say(WATCH_OVERFLOW, "");
	} else if (event->mask & (IN_DELETE | IN_MOVED_FROM)) {
		say(WATCH_REMOVED, path);
		if (directory && event->mask & IN_MOVED_FROM)
			drop_tree(path);
	} else {
		say(event->mask & IN_MODIFY ? WATCH_MODIFIED : WATCH_ATTRIBUTES, path);
	}
	return true;
}

int watch_run(char *const *argv) {
	const char *root = argv[1];
	recursive = strchr(argv[2], 'r');
	inotify = inotify_init1(IN_CLOEXEC);
	if (inotify < 0)
		return builtin_failed(errno, root);
	struct stat st;
	int code = add_watch(root, "", 0);
	if (!code && recursive && !stat(root, &st) && S_ISDIR(st.st_mode))
		code = add_tree(root, "", false);
	if (code)
		return builtin_failed(code, root);
	say(WATCH_READY, "");
	while (!fflush(stdout)) {
		static char buffer[64 << 10] __attribute__((aligned(__alignof__(struct inotify_event))));
		ssize_t n = read(inotify, buffer, sizeof buffer);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return builtin_failed(errno, root);
		for (const char *at = buffer; at < buffer + n;) {
			const struct inotify_event *event = (const void *)at;
			at += sizeof *event + event->len;
			if (!handle(event, root))
				return fflush(stdout) ? 1 : 0;
		}
	}
	return builtin_failed(errno, root);
}
