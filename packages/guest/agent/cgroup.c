#include "cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "freeze.h"

enum { GROUPS_MAX = 1024 };

/* Made one after the other as they are needed, and then kept: making one takes longer than a small process. */
static struct group {
	int directory;
	bool taken, occupied;
} groups[GROUPS_MAX];
static int group_count;

static void write_file(int directory, const char *name, const char *text) {
	int fd = openat(directory, name, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)!write(fd, text, strlen(text));
	close(fd);
}

static int read_number(const char *path) {
	char text[32] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, text, sizeof text - 1) < 0)
		*text = 0;
	if (fd >= 0)
		close(fd);
	return atoi(text);
}

static bool is_occupied(const struct group *group) {
	char text[128] = "";
	int fd = openat(group->directory, "cgroup.events", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t n = read(fd, text, sizeof text - 1);
	close(fd);
	return n > 0 && strstr(text, "populated 1");
}

/* Half of all the processes that the guest can have for each request, and never all of them for all: the kernel and the
 * agent want some, too. */
static char group_limit[32];

void cgroups_open(void) {
	int parent = freeze_directory();
	int threads = read_number("/proc/sys/kernel/threads-max");
	if (parent < 0 || threads <= 0)
		return;
	const char *controllers[] = {"+pids", "+cpu"};
	for (int i = 0; i < 2; i++) {
		write_file(parent, "../cgroup.subtree_control", controllers[i]);
		write_file(parent, "cgroup.subtree_control", controllers[i]);
	}
	char all[32];
	snprintf(all, sizeof all, "%d", threads - threads / 4);
	snprintf(group_limit, sizeof group_limit, "%d", threads / 2);
	write_file(parent, "pids.max", all);
}

static bool make(struct group *group, int number) {
	char name[16];
	snprintf(name, sizeof name, "%d", number);
	if (mkdirat(freeze_directory(), name, 0755) && errno != EEXIST)
		return false;
	group->directory = openat(freeze_directory(), name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (group->directory < 0)
		return false;
	write_file(group->directory, "pids.max", group_limit);
	return true;
}

int cgroup_take(void) {
	if (freeze_directory() < 0)
		return -1;
	for (int i = 0; i < group_count; i++) {
		struct group *group = &groups[i];
		group->occupied = !group->taken && group->occupied && is_occupied(group);
		if (group->taken || group->occupied)
			continue;
		group->taken = true;
		return i;
	}
	if (group_count == GROUPS_MAX || !make(&groups[group_count], group_count))
		return -1;
	groups[group_count].taken = true;
	return group_count++;
}

void cgroup_give_back(int number) {
	if (number < 0)
		return;
	groups[number].taken = false;
	groups[number].occupied = is_occupied(&groups[number]);
}

int cgroup_directory(int number) { return number < 0 ? -1 : groups[number].directory; }

void cgroup_kill(int number) {
	if (number >= 0)
		write_file(groups[number].directory, "cgroup.kill", "1");
}
