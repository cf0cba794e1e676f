#include "freeze.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/sched.h>

#include "loop.h"

#define HIERARCHY "/sys/fs/cgroup"
#define GROUP "supermachine"
#define OTHERS "others"

enum { GROUPS_MAX = 256, TIMEOUT_MAX_MS = 60000, RECHECK_MS = 1 };

static int hierarchy_fd = -1, group_fd = -1;
/* Below the group, for what has no group of its own there: the group itself shares out CPU time among those below it,
 * so it may not have processes (cgroup-v2.rst, "No Internal Process Constraint"). */
static int others_fd = -1;
static enum { RUNNING, FREEZING, FROZEN } state;
static int64_t deadline_ms;
static void (*on_done)(int code, const char *message);

/* cgroup.freeze of every group that was not frozen before, by a container runtime in the guest. */
static int stopped[GROUPS_MAX];
static int stopped_count;

static int open_group(int parent, const char *name) {
	if (mkdirat(parent, name, 0755) && errno != EEXIST)
		return -1;
	return openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void restore_group(int *group, int parent, const char *name) {
	if (mkdirat(parent, name, 0755))
		return;
	if (*group >= 0)
		close(*group);
	*group = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

void freeze_open(void) {
	hierarchy_fd = open(HIERARCHY, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (hierarchy_fd < 0)
		return;
	group_fd = open_group(hierarchy_fd, GROUP);
	others_fd = open_group(group_fd, OTHERS);
}

int freeze_directory(void) { return group_fd; }

pid_t freeze_fork(int subgroup_fd) {
	struct clone_args arguments = {.flags = CLONE_INTO_CGROUP,
		.exit_signal = SIGCHLD,
		.cgroup = (uint64_t)(unsigned)(subgroup_fd < 0 ? others_fd : subgroup_fd)};
	if (others_fd < 0)
		return fork();
	long pid = syscall(SYS_clone3, &arguments, sizeof arguments);
	/* The guest may have removed the group while it was empty. */
	return pid < 0 && errno == ENODEV && state == RUNNING ? fork() : (pid_t)pid;
}

/* Reads a small file of a control group as a string; empty when the group is gone. */
static void read_file(int directory, const char *group, const char *file, char *text, size_t size) {
	char path[NAME_MAX + 32];
	snprintf(path, sizeof path, "%s/%s", group, file);
	int fd = openat(directory, path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
	text[n < 0 ? 0 : n] = 0;
	if (fd >= 0)
		close(fd);
}

/* Asks one group to stop; true when all of it has. */
static bool freeze_group(const char *group) {
	char text[128];
	read_file(hierarchy_fd, group, "cgroup.freeze", text, sizeof text);
	if (*text == '0') {
		char path[NAME_MAX + 32];
		snprintf(path, sizeof path, "%s/cgroup.freeze", group);
		int fd = stopped_count < GROUPS_MAX ? openat(hierarchy_fd, path, O_WRONLY | O_CLOEXEC) : -1;
		if (fd < 0)
			return errno == ENOENT;
		stopped[stopped_count++] = fd;
		if (write(fd, "1", 1) < 0)
			return errno == ENODEV;
	}
	read_file(hierarchy_fd, group, "cgroup.events", text, sizeof text);
	return !*text || strstr(text, "frozen 1");
}

static bool freeze_groups(void) {
	int fd = openat(hierarchy_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	if (!directory) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	bool all = true;
	for (struct dirent *entry; (entry = readdir(directory));)
		if (entry->d_type == DT_DIR && *entry->d_name != '.')
			all = freeze_group(entry->d_name) && all;
	closedir(directory);
	return all;
}

/* The root of the hierarchy cannot be frozen: what has moved there, moves back. True when there was nothing. */
static bool empty_root(void) {
	bool empty = true;
	int from = openat(hierarchy_fd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	int to = openat(others_fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	FILE *list = from < 0 || to < 0 ? NULL : fdopen(from, "r");
	pid_t pid;
	while (list && fscanf(list, "%d", &pid) == 1) {
		/* Threads of the kernel are in session 0. Whatever the agent starts has a session of its own. */
		if (pid == getpid() || getsid(pid) <= 0)
			continue;
		dprintf(to, "%d", pid);
		empty = false;
	}
	empty = empty && list;
	if (list)
		fclose(list);
	else if (from >= 0)
		close(from);
	if (to >= 0)
		close(to);
	return empty;
}

/* A process in an uninterruptible wait, which is what keeps a group from stopping. */
static void find_stuck(char *message, size_t size) {
	snprintf(message, size, "the processes of the guest did not stop in time");
	DIR *directory = opendir("/proc");
	for (struct dirent *entry; directory && (entry = readdir(directory));) {
		char text[256], name[64];
		int pid = atoi(entry->d_name);
		if (pid <= 1 || getsid(pid) <= 0)
			continue;
		read_file(AT_FDCWD, "/proc", strcat(strcpy(name, entry->d_name), "/stat"), text, sizeof text);
		char *end = strrchr(text, ')'), *start = strchr(text, '(');
		if (!start || !end || strncmp(end, ") D", 3))
			continue;
		snprintf(message, size, "process %d %.*s waits for a device or a file system and cannot be stopped", pid,
			(int)(end + 1 - start), start);
		break;
	}
	if (directory)
		closedir(directory);
}

static void try(void) {
	char message[128] = "";
	/* In this order: what moves out of the root joins a group that is frozen already. */
	if (freeze_groups() && empty_root()) {
		state = FROZEN;
		on_done(0, "");
	} else if (now_ms() >= deadline_ms) {
		find_stuck(message, sizeof message);
		thaw();
		on_done(ETIMEDOUT, message);
	}
}

void freeze_start(uint32_t timeout_ms, void (*done)(int code, const char *message)) {
	if (state == FROZEN) {
		done(0, "");
		return;
	}
	if (group_fd < 0) {
		done(ENODEV, "the guest has no control groups in " HIERARCHY);
		return;
	}
	/* The guest may have removed them; the processes of the root move there. */
	restore_group(&group_fd, hierarchy_fd, GROUP);
	restore_group(&others_fd, group_fd, OTHERS);
	on_done = done;
	state = FREEZING;
	deadline_ms = now_ms() + (timeout_ms < TIMEOUT_MAX_MS ? timeout_ms : TIMEOUT_MAX_MS);
	try();
}

void thaw(void) {
	state = RUNNING;
	while (stopped_count) {
		int fd = stopped[--stopped_count];
		(void)!write(fd, "0", 1);
		close(fd);
	}
}

bool frozen(void) { return state != RUNNING; }

int freeze_tick(void) {
	if (state == FREEZING)
		try();
	return state == FREEZING ? RECHECK_MS : -1;
}
