/* A file or a tree as a tar archive on stdout. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <linux/magic.h>

#include "builtin.h"
#include "tar.h"

/* The first name of each file that has several, by device and inode: an open-addressed table. */
static struct known_link {
	dev_t device;
	ino_t inode;
	char *name;
} * known_links;
static size_t known_count, known_capacity;

static struct known_link *find_link(dev_t device, ino_t inode) {
	size_t at = (size_t)(inode * 0x9e3779b97f4a7c15u ^ device) & (known_capacity - 1);
	while (known_links[at].name && (known_links[at].device != device || known_links[at].inode != inode))
		at = (at + 1) & (known_capacity - 1);
	return &known_links[at];
}

static int grow_links(void) {
	struct known_link *old = known_links;
	size_t old_capacity = known_capacity;
	known_capacity = old_capacity ? old_capacity * 2 : 1024;
	known_links = calloc(known_capacity, sizeof *known_links);
	if (!known_links)
		return ENOMEM;
	for (size_t i = 0; i < old_capacity; i++)
		if (old[i].name)
			*find_link(old[i].device, old[i].inode) = old[i];
	free(old);
	return 0;
}

/* The name under which the file is in the archive already; "" when it is not, and from now on has this one. */
static const char *earlier_name(const struct stat *st, const char *name) {
	if (known_count * 2 >= known_capacity && grow_links())
		return "";
	struct known_link *known = find_link(st->st_dev, st->st_ino);
	if (known->name)
		return known->name;
	*known = (struct known_link){st->st_dev, st->st_ino, strdup(name)};
	known_count += known->name != NULL;
	return "";
}

static struct tar_entry entry; /* its name is that of what is being packed */
static uint8_t block_buffer[64 << 10];

static int put_entry(const struct stat *st, char type) {
	static uint8_t bytes[TAR_FORMAT_MAX];
	entry.type = type;
	entry.mode = st->st_mode & 07777;
	entry.uid = st->st_uid;
	entry.gid = st->st_gid;
	entry.size = type == TAR_FILE ? (uint64_t)st->st_size : 0;
	entry.mtime = st->st_mtim.tv_sec;
	entry.device_major = type == TAR_CHARACTER || type == TAR_BLOCK_DEVICE ? major(st->st_rdev) : 0;
	entry.device_minor = type == TAR_CHARACTER || type == TAR_BLOCK_DEVICE ? minor(st->st_rdev) : 0;
	if (type != TAR_SYMLINK && type != TAR_LINK)
		*entry.link = 0;
	return write_all(1, bytes, tar_format(&entry, bytes));
}

/* Exactly `size` bytes, as the header has promised, and zeros up to the next block. */
static int put_content(int fd, uint64_t size) {
	for (uint64_t left = size; left;) {
		ssize_t n = read(fd, block_buffer, left < sizeof block_buffer ? (size_t)left : sizeof block_buffer);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? errno : ESTALE; /* it became shorter meanwhile */
		int code = write_all(1, block_buffer, (size_t)n);
		if (code)
			return code;
		left -= (uint64_t)n;
	}
	static const uint8_t zeros[TAR_BLOCK];
	return write_all(1, zeros, (size_t)(-size % TAR_BLOCK));
}

static int pack_file(int directory, const char *path, int flags) {
	int fd = openat(directory, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | flags);
	struct stat st;
	if (fd < 0 || fstat(fd, &st)) {
		int code = errno;
		if (fd >= 0)
			close(fd);
		return code;
	}
	/* A file that another took the place of meanwhile. */
	int code = S_ISREG(st.st_mode) ? put_entry(&st, TAR_FILE) : ESTALE;
	if (!code)
		code = put_content(fd, (uint64_t)st.st_size);
	close(fd);
	return code;
}

/* File systems that show the kernel, not files. */
static bool is_kernel_view(int fd) {
	struct statfs fs;
	if (fstatfs(fd, &fs))
		return false;
	switch ((unsigned long)fs.f_type) {
	case PROC_SUPER_MAGIC:
	case SYSFS_MAGIC:
	case CGROUP2_SUPER_MAGIC:
	case DEVPTS_SUPER_MAGIC:
		return true;
	default:
		return false;
	}
}

static int pack(int directory, const char *path, int flags);

static int pack_directory(int directory, const char *path, int flags) {
	int fd = openat(directory, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags);
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);
	struct stat st;
	if (!stream || fstat(fd, &st)) {
		int code = errno;
		if (stream)
			closedir(stream);
		else if (fd >= 0)
			close(fd);
		return code;
	}
	size_t length = strlen(entry.name);
	if (length + 1 < sizeof entry.name)
		strcpy(entry.name + length, "/");
	int code = put_entry(&st, TAR_DIRECTORY);
	bool is_tree = !is_kernel_view(fd);
	for (struct dirent *next; !code && is_tree && (errno = 0, next = readdir(stream));) {
		const char *name = next->d_name;
		if (!strcmp(name, ".") || !strcmp(name, ".."))
			continue;
		if (length + 1 + strlen(name) + 1 >= sizeof entry.name) {
			code = ENAMETOOLONG;
			break;
		}
		strcpy(entry.name + length + 1, name);
		code = pack(fd, name, O_NOFOLLOW);
		/* It may have gone since the directory was read. */
		if (code == ENOENT)
			code = 0;
		if (code)
			break;
	}
	closedir(stream);
	if (!code)
		entry.name[length] = 0;
	return code;
}

/* Packs `path` as entry.name, which after a failure names what failed. */
static int pack(int directory, const char *path, int flags) {
	struct stat st;
	if (fstatat(directory, path, &st, flags ? AT_SYMLINK_NOFOLLOW : 0))
		return errno;
	if (S_ISDIR(st.st_mode))
		return pack_directory(directory, path, flags);
	if (st.st_nlink > 1) {
		snprintf(entry.link, sizeof entry.link, "%s", earlier_name(&st, entry.name));
		if (*entry.link)
			return put_entry(&st, TAR_LINK);
	}
	switch (st.st_mode & S_IFMT) {
	case S_IFREG:
		return pack_file(directory, path, flags);
	case S_IFLNK: {
		ssize_t n = readlinkat(directory, path, entry.link, sizeof entry.link - 1);
		if (n < 0)
			return errno;
		entry.link[n] = 0;
		return put_entry(&st, TAR_SYMLINK);
	}
	case S_IFCHR:
		return put_entry(&st, TAR_CHARACTER);
	case S_IFBLK:
		return put_entry(&st, TAR_BLOCK_DEVICE);
	case S_IFIFO:
		return put_entry(&st, TAR_FIFO);
	default:
		return 0; /* a socket is nothing without its server */
	}
}

int tar_pack(char *const *argv) {
	static const uint8_t end[2 * TAR_BLOCK];
	int flags = strchr(argv[3], 'L') ? 0 : O_NOFOLLOW;
	if (snprintf(entry.name, sizeof entry.name, "%s", argv[2]) >= (int)sizeof entry.name - 1)
		return builtin_failed(ENAMETOOLONG, argv[1]);
	int code = pack(AT_FDCWD, argv[1], flags);
	if (code)
		return builtin_failed(code, strcmp(entry.name, argv[2]) ? entry.name : argv[1]);
	code = write_all(1, end, sizeof end);
	return code ? builtin_failed(code, argv[1]) : 0;
}
