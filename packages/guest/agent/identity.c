#include "identity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <linux/random.h>

#define BOOT_ID "/proc/sys/kernel/random/boot_id"

enum { HOSTS_MAX = 512, UUID_LENGTH = 36 };

static char hosts[HOSTS_MAX]; /* what /etc/hosts says when the image has none */
static int random_fd = -1;
static int boot_id_fd = -1;

/* A guest may have put a FIFO in the place of any of these files: the agent must not wait for its reader. */
static int open_file(const char *path, int flags) { return open(path, flags | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0644); }

/* Failures are not reported: a read-only root has no /etc to write. */
static void write_file(const char *path, int flags, const char *text) {
	int fd = open_file(path, O_WRONLY | O_TRUNC | flags);
	if (fd < 0)
		return;
	(void)!write(fd, text, strlen(text));
	close(fd);
}

static size_t read_file(const char *path, char *text, size_t size) {
	int fd = open_file(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
	if (fd >= 0)
		close(fd);
	n = n < 0 ? 0 : n;
	text[n] = 0;
	return (size_t)n;
}

static void set_hostname(const char *hostname) {
	sethostname(hostname, strlen(hostname));
	char found[HOSTS_MAX];
	read_file("/etc/hosts", found, sizeof found);
	bool ours = !strcmp(found, hosts); /* also where both are empty */
	snprintf(hosts, sizeof hosts, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t%s\n", hostname);
	if (ours)
		write_file("/etc/hosts", O_CREAT, hosts);
}

/* machine-id(5): what an image, or a disk that outlives the machine, says stays, unless this is a copy. */
static void set_machine_id(const char *machine_id, bool copy) {
	char line[SYNC_MACHINE_ID + 2];
	size_t length = read_file("/etc/machine-id", line, sizeof line);
	if (length && !copy && strncmp(line, "uninitialized", 13))
		return;
	snprintf(line, sizeof line, "%s\n", machine_id);
	write_file("/etc/machine-id", O_CREAT, line);
	/* Some images keep the file that D-Bus had before, and not as a link. */
	struct stat st;
	if (!lstat("/var/lib/dbus/machine-id", &st) && S_ISREG(st.st_mode))
		write_file("/var/lib/dbus/machine-id", 0, line);
}

/* The kernel makes its boot id once and keeps it. A file over it, as containers have it, makes it another. */
static void renew_boot_id(void) {
	static const char path[] = "/dev/.boot_id";
	char uuid[UUID_LENGTH + 2];
	if (read_file("/proc/sys/kernel/random/uuid", uuid, sizeof uuid) != UUID_LENGTH + 1)
		return;
	if (boot_id_fd < 0) {
		boot_id_fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
		if (boot_id_fd < 0)
			return;
		if (mount(path, BOOT_ID, NULL, MS_BIND, NULL) ||
			mount(NULL, BOOT_ID, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL)) {
			close(boot_id_fd);
			boot_id_fd = -1;
		}
		unlink(path);
	}
	(void)!pwrite(boot_id_fd, uuid, UUID_LENGTH + 1, 0);
}

/* Credited, and mixed in at once: two machines restored from one snapshot must not share their next random bytes. */
static void add_entropy(const uint8_t *entropy, uint32_t length) {
	struct {
		struct rand_pool_info info;
		uint8_t bytes[SYNC_ENTROPY_MAX];
	} pool = {.info = {.entropy_count = (int)length * 8, .buf_size = (int)length}};
	if (!length || length > sizeof pool.bytes)
		return;
	memcpy(pool.info.buf, entropy, length);
	ioctl(random_fd, RNDADDENTROPY, &pool);
	ioctl(random_fd, RNDRESEEDCRNG);
}

void identity_open(const char *hostname) {
	random_fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
	(void)mkdir("/etc", 0755);
	set_hostname(hostname);
}

void identity_sync(const struct sync_request *request) {
	struct timespec time = {
		.tv_sec = (time_t)(request->realtime_ns / 1000000000u), .tv_nsec = (long)(request->realtime_ns % 1000000000u)};
	if (request->realtime_ns)
		clock_settime(CLOCK_REALTIME, &time);
	/* First: the boot id is random. */
	add_entropy(request->entropy, request->entropy_length);
	if (*request->hostname)
		set_hostname(request->hostname);
	if (*request->machine_id)
		set_machine_id(request->machine_id, request->flags & SYNC_COPY);
	if (request->flags & SYNC_COPY)
		renew_boot_id();
}
