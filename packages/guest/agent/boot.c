#include "boot.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/fs.h>

#include "cmdline.h"
#include "identity.h"

enum { DEVICE_WAIT_MS = 2000 };

static struct cmdline cmdline;
static int writable_fd = -1; /* root of the overlay's own disk, which no path leads to later */
static char *error_text;
static size_t error_size;

static __attribute__((format(printf, 1, 2))) int fail(const char *format, ...) {
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(error_text, error_size, format, arguments);
	va_end(arguments);
	return -1;
}

static int mkdir_all(const char *path) {
	char copy[4096];
	if (snprintf(copy, sizeof copy, "%s", path) >= (int)sizeof copy)
		return errno = ENAMETOOLONG, -1;
	for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		if (mkdir(copy, 0755) && errno != EEXIST)
			return -1;
		*slash = '/';
	}
	return mkdir(copy, 0755) && errno != EEXIST ? -1 : 0;
}

/* mount(2), on a directory made where it is missing. */
static int mount_on(const char *source, const char *target, const char *type, unsigned long flags, const char *data) {
	/* On a read-only root the directory cannot be made, but may be there: let mount(2) tell. */
	(void)mkdir_all(target);
	if (mount(source, target, type, flags, data))
		return fail("mount %s (%s) on %s: %s", source, type, target, strerror(errno));
	return 0;
}

/* Takes `ro` out of a comma-separated option list, since it is a flag of mount(2) and no file system's option. */
static unsigned long take_flags(const char *options, char *rest, size_t size) {
	unsigned long flags = 0;
	size_t used = 0;
	*rest = 0;
	for (const char *end; *options; options = *end ? end + 1 : end) {
		end = strchrnul(options, ',');
		int length = (int)(end - options);
		if (length == 2 && !strncmp(options, "ro", 2))
			flags |= MS_RDONLY;
		else if (used < size)
			used += (size_t)snprintf(rest + used, size - used, "%s%.*s", used ? "," : "", length, options);
	}
	return flags;
}

static int wait_for_device(const char *path) {
	for (int waited = 0; access(path, F_OK); waited += 5) {
		if (waited >= DEVICE_WAIT_MS)
			return fail("device %s did not appear within %d ms", path, DEVICE_WAIT_MS);
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	}
	return 0;
}

static int read_cmdline(void) {
	char text[CMDLINE_MAX];
	int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
	if (fd >= 0)
		close(fd);
	if (n < 0)
		return fail("read /proc/cmdline: %s", strerror(errno));
	const char *wrong = cmdline_parse(text, (size_t)n, &cmdline);
	return wrong ? fail("kernel command line: %s", wrong) : 0;
}

/* The image's file system on /new, with a writable layer over it unless told otherwise. */
static int mount_root(void) {
	bool overlay = strcmp(cmdline.overlay, "none") != 0;
	const char *lower = overlay ? "/lower" : "/new";
	char options[512];
	unsigned long flags = take_flags(cmdline.root_options, options, sizeof options) | (overlay ? MS_RDONLY : 0);
	/* A root that is a path is a device; one that is a plain word is a tag of virtio-fs. */
	if ((*cmdline.root == '/' && wait_for_device(cmdline.root)) || mount_on(cmdline.root, lower, cmdline.root_type, flags, options))
		return -1;
	if (!overlay)
		return 0;
	if (!strcmp(cmdline.overlay, "tmpfs")) {
		if (mount_on("tmpfs", "/writable", "tmpfs", 0, "mode=755"))
			return -1;
	} else if (wait_for_device(cmdline.overlay) || mount_on(cmdline.overlay, "/writable", "ext4", 0, "")) {
		return -1;
	} else {
		writable_fd = open("/writable", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (mkdir_all("/writable/upper") || mkdir_all("/writable/work"))
		return fail("make the upper directory of the overlay: %s", strerror(errno));
	return mount_on("overlay", "/new", "overlay", 0, "lowerdir=/lower,upperdir=/writable/upper,workdir=/writable/work");
}

/* As switch_root(8): the initramfs cannot be unmounted, so the new root is moved over it. */
static int enter_root(void) {
	unlink("/init");
	if (chdir("/new") || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		return fail("enter the new root: %s", strerror(errno));
	return 0;
}

static int mount_system(void) {
	const unsigned long secure = MS_NOSUID | MS_NODEV | MS_NOEXEC;
	if (mount_on("proc", "/proc", "proc", secure, "") || mount_on("sysfs", "/sys", "sysfs", secure, "") ||
		mount_on("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=755") ||
		mount_on("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=620,ptmxmode=666") ||
		mount_on("shm", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777") ||
		mount_on("mqueue", "/dev/mqueue", "mqueue", secure, "") ||
		mount_on("cgroup2", "/sys/fs/cgroup", "cgroup2", secure, "nsdelegate"))
		return -1;
	/* devtmpfs has no links; shells and scripts expect these. An existing one is fine. */
	(void)!symlink("/proc/self/fd", "/dev/fd");
	(void)!symlink("/proc/self/fd/0", "/dev/stdin");
	(void)!symlink("/proc/self/fd/1", "/dev/stdout");
	(void)!symlink("/proc/self/fd/2", "/dev/stderr");
	return 0;
}

static int mount_requested(void) {
	for (int i = 0; i < cmdline.mount_count; i++) {
		const struct mount_request *request = &cmdline.mounts[i];
		char options[512];
		unsigned long flags = take_flags(request->options, options, sizeof options);
		if ((*request->source == '/' && wait_for_device(request->source)) ||
			mount_on(request->source, request->target, request->type, flags, options))
			return -1;
	}
	return 0;
}

/* A failure here leaves a machine that still works. */
static void set_up_loopback(void) {
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	if (fd >= 0) {
		ioctl(fd, SIOCSIFFLAGS, &request);
		close(fd);
	}
}

int boot(char *error, size_t size) {
	error_text = error;
	error_size = size;
	if (mount_on("proc", "/proc", "proc", 0, "") || mount_on("devtmpfs", "/dev", "devtmpfs", 0, "") || read_cmdline())
		return -1;
	if (cmdline.root) {
		if (mount_root() || enter_root())
			return -1;
	}
	if ((cmdline.root && mount_system()) || mount_requested())
		return -1;
	identity_open(cmdline.hostname);
	set_up_loopback();
	setrlimit(RLIMIT_NOFILE, &(struct rlimit){.rlim_cur = 65536, .rlim_max = 1048576});
	return 0;
}

/* Leaves the file systems as unmounting them would. */
static void flush(void) {
	sync();
	for (int i = cmdline.mount_count; i-- > 0;)
		umount2(cmdline.mounts[i].target, 0);
	mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL);
	/* The overlay keeps its disk mounted; freezing it leaves the same clean file system that unmounting would. */
	if (writable_fd >= 0)
		ioctl(writable_fd, (int)FIFREEZE, 0);
}

/* A file system whose server does not answer blocks whoever flushes it, for ever: another process does it. */
static void flush_for(int timeout_ms) {
	pid_t pid = fork();
	if (pid <= 0) {
		flush();
		if (!pid)
			_exit(0);
		return;
	}
	enum { STEP_MS = 2 };
	for (int waited = 0; waited < timeout_ms && !waitpid(pid, NULL, WNOHANG); waited += STEP_MS)
		nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000L}, NULL);
}

_Noreturn void power_off(void) {
	enum { FLUSH_MS = 10000 };
	flush_for(FLUSH_MS);
	const char *how = cmdline.power_off ? cmdline.power_off : "reboot";
	if (!strcmp(how, "poweroff"))
		reboot(RB_POWER_OFF);
	if (!strcmp(how, "halt"))
		reboot((int)RB_HALT_SYSTEM);
	reboot(RB_AUTOBOOT);
	/* Only without CAP_SYS_BOOT; the end of PID 1 makes the kernel panic, which ends the machine too. */
	_exit(1);
}
