/* PID 1 of a guest that measures its virtio-fs "fs": the groups of metadata.c on the data set that the host has
 * prepared in /mnt/data, then reading and writing of file data. Prints what metadata.c prints, a line a phase:
 * its name, a tab, operations (or MiB) a second; "done" at the end. The kernel's command line has
 * FILES=, MIB= and PHASES=, groups between commas: it makes them the environment of PID 1. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB (1 << 20)
#define RANDOM_OPERATIONS 1500

static char *buffer;
static double started;

static double now(void) {
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static void report(const char *phase, int operations) {
	printf("%s\t%.1f\n", phase, operations / (now() - started));
}

static void need(int condition, const char *what) {
	if (condition) return;
	printf("failed: %s: %s\n", what, strerror(errno));
	reboot(RB_AUTOBOOT);
}

/* Makes the guest's kernel forget names, attributes and data. */
static void remount(void) {
	umount("/mnt");
	need(mount("fs", "/mnt", "virtiofs", 0, NULL) == 0, "mount");
}

static void run(char *group, char *files) {
	pid_t child = fork();
	if (child == 0) {
		execl("/metadata", "metadata", group, "/mnt/data", "0", files, NULL);
		_exit(1);
	}
	int status;
	waitpid(child, &status, 0);
	need(status == 0, group);
}

static void random_io(const char *phase, int fd, int mib, int writes) {
	unsigned state = 1;
	started = now();
	for (int i = 0; i < RANDOM_OPERATIONS; i++) {
		state = state * 1103515245 + 12345;
		off_t at = (off_t)(state >> 8) % (mib * 256) * 4096;
		need((writes ? pwrite(fd, buffer, 4096, at) : pread(fd, buffer, 4096, at)) == 4096, phase);
	}
	report(phase, RANDOM_OPERATIONS);
}

static void data(int mib) {
	remount();
	int fd = open("/mnt/file", O_CREAT | O_TRUNC | O_RDWR, 0600);
	need(fd >= 0, "create");
	started = now();
	for (int i = 0; i < mib; i++) need(write(fd, buffer, MIB) == MIB, "write");
	report("write 1 MiB, MiB/s", mib);
	close(fd);
	remount();
	fd = open("/mnt/file", O_RDONLY);
	started = now();
	for (int i = 0; i < mib; i++) need(read(fd, buffer, MIB) == MIB, "read");
	report("read 1 MiB, MiB/s", mib);
	close(fd);
	fd = open("/mnt/file", O_RDWR | O_DIRECT);
	need(fd >= 0, "open O_DIRECT");
	random_io("read 4 KiB at random, direct", fd, mib, 0);
	random_io("write 4 KiB at random, direct", fd, mib, 1);
	close(fd);
}

int main(void) {
	char *files = getenv("FILES"), *mib = getenv("MIB"), *groups = getenv("PHASES");
	mkdir("/dev", 0755), mkdir("/mnt", 0755);
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	int console = open("/dev/console", O_RDWR);
	if (console >= 0) dup2(console, 0), dup2(console, 1), dup2(console, 2);
	setvbuf(stdout, NULL, _IOLBF, 0);
	need(files && mib && groups && posix_memalign((void **)&buffer, 4096, MIB) == 0, "arguments");
	memset(buffer, 'x', MIB);
	for (char *group = strtok(groups, ","); group; group = strtok(NULL, ",")) {
		remount();
		run(group, files);
	}
	data(atoi(mib));
	umount("/mnt");
	printf("done\n");
	reboot(RB_AUTOBOOT);
	return 1;
}
