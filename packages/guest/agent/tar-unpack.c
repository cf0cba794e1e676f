/* A tar archive on stdin into a directory. Names are resolved as if that directory were the root (openat2(2),
 * RESOLVE_IN_ROOT): no `..` and no link, of the archive or there before, leads out of it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <linux/openat2.h>

#include "builtin.h"
#include "tar.h"

static int root;
static bool keeps_owners;
static struct tar_entry entry;

/* -- The archive */

static uint8_t input[64 << 10];
static size_t input_at, input_length;

/* Up to `max` bytes without copying; NULL with errno 0 at the end of the archive. */
static const uint8_t *take_some(size_t max, size_t *length) {
	while (input_at == input_length) {
		ssize_t n = read(0, input, sizeof input);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			errno = n < 0 ? errno : 0;
			return NULL;
		}
		input_at = 0;
		input_length = (size_t)n;
	}
	const uint8_t *at = input + input_at;
	*length = input_length - input_at < max ? input_length - input_at : max;
	input_at += *length;
	return at;
}

/* Returns 0 or an errno; EBADMSG when the archive ends before. */
static int take(uint8_t *out, size_t length) {
	for (size_t part; length; out += part, length -= part) {
		const uint8_t *bytes = take_some(length, &part);
		if (!bytes)
			return errno ? errno : EBADMSG;
		memcpy(out, bytes, part);
	}
	return 0;
}

/* Passes `size` bytes and their padding; the bytes go to `fd` unless it is -1. */
static int take_content(int fd, uint64_t size) {
	for (uint64_t left = size + -size % TAR_BLOCK, content = size; left;) {
		size_t part;
		const uint8_t *bytes = take_some(left < sizeof input ? (size_t)left : sizeof input, &part);
		if (!bytes)
			return errno ? errno : EBADMSG;
		size_t wanted = content < part ? (size_t)content : part;
		int code = fd >= 0 ? write_all(fd, bytes, wanted) : 0;
		if (code)
			return code;
		content -= wanted;
		left -= part;
	}
	return 0;
}

/* Reads up to the next entry of a file; ENODATA at the end. */
static int next_entry(void) {
	static struct tar_extension extension;
	memset(&extension, 0, sizeof extension);
	for (;;) {
		uint8_t block[TAR_BLOCK];
		size_t part;
		const uint8_t *first = take_some(sizeof block, &part);
		/* Not every archive has the blocks of zeros that should end it. */
		if (!first)
			return errno ? errno : ENODATA;
		memcpy(block, first, part);
		int code = take(block + part, sizeof block - part);
		if (!code)
			code = tar_parse_header(block, &entry);
		if (code)
			return code;
		if (!strchr("xgLK", entry.type)) {
			tar_extend(&entry, &extension);
			return 0;
		}
		if (entry.size > TAR_EXTENSION_MAX)
			return EBADMSG;
		size_t padded = (size_t)(entry.size + -entry.size % TAR_BLOCK);
		uint8_t *bytes = malloc(padded + 1);
		code = bytes ? take(bytes, padded) : ENOMEM;
		if (!code && entry.type == TAR_PAX)
			code = tar_parse_pax(bytes, (size_t)entry.size, &extension);
		else if (!code && entry.type != TAR_PAX_GLOBAL)
			code = tar_parse_gnu(entry.type, bytes, (size_t)entry.size, &extension);
		free(bytes);
		if (code)
			return code;
	}
}

/* -- Places below the root */

static int open_inside(const char *path, uint64_t flags) {
	struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	return (int)syscall(SYS_openat2, root, path, &how, sizeof how);
}

static int open_directory(const char *path) { return open_inside(*path ? path : ".", O_PATH | O_DIRECTORY); }

/* Takes leading and trailing slashes and `.` off, in place. Returns EINVAL for a name with `..`. */
static int normalize(char *path) {
	char *out = path;
	for (const char *at = path; *at;) {
		size_t length = strcspn(at, "/");
		if (length == 2 && !memcmp(at, "..", 2))
			return EINVAL;
		if (length && !(length == 1 && *at == '.')) {
			if (out != path)
				*out++ = '/';
			memmove(out, at, length);
			out += length;
		}
		at += length;
		at += *at == '/';
	}
	*out = 0;
	return 0;
}

/* Opens the directory that `path` is in, making what is missing of it; *name becomes the last component. */
static int open_parent(char *path, char **name) {
	char *slash = strrchr(path, '/');
	*name = slash ? slash + 1 : path;
	if (!slash)
		return open_directory("");
	*slash = 0;
	int fd = open_directory(path);
	if (fd < 0 && errno == ENOENT) {
		char *last;
		int parent = open_parent(path, &last);
		if (parent >= 0) {
			int failed = mkdirat(parent, last, 0755) && errno != EEXIST;
			int code = errno;
			close(parent);
			errno = code;
			fd = failed ? -1 : open_directory(path);
		}
	}
	*slash = '/';
	return fd;
}

/* -- Directories get their mode and times at the end: until then files go into them. */

static struct directory {
	struct directory *next;
	uint32_t mode;
	int64_t mtime;
	char path[];
} * directories;

static int remember_directory(void) {
	struct directory *directory = malloc(sizeof *directory + strlen(entry.name) + 1);
	if (!directory)
		return ENOMEM;
	directory->mode = entry.mode;
	directory->mtime = entry.mtime;
	strcpy(directory->path, entry.name);
	directory->next = directories;
	directories = directory;
	return 0;
}

static int finish_directories(void) {
	for (const struct directory *at = directories; at; at = at->next) {
		int fd = open_inside(at->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
		struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = at->mtime}};
		/* Replaced by a later entry. */
		if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
			continue;
		int failed = fd < 0 || fchmod(fd, at->mode) || futimens(fd, times);
		int code = errno;
		if (fd >= 0)
			close(fd);
		if (failed) {
			snprintf(entry.name, sizeof entry.name, "%s", at->path);
			return code;
		}
	}
	return 0;
}

/* -- Entries */

static int make_link(int directory, const char *name) {
	char *target_name;
	int code = normalize(entry.link);
	int target = code ? -1 : open_parent(entry.link, &target_name);
	if (target < 0)
		return code ? code : errno;
	code = linkat(target, target_name, directory, name, 0) ? errno : 0;
	close(target);
	return code;
}

static int make_file(int directory, const char *name) {
	int fd = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno;
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = entry.mtime}};
	int code = take_content(fd, entry.size);
	/* The owner first: its change takes set-id bits away. */
	if (!code && ((keeps_owners && fchown(fd, entry.uid, entry.gid)) || fchmod(fd, entry.mode) || futimens(fd, times)))
		code = errno;
	close(fd);
	entry.size = 0;
	if (code)
		unlinkat(directory, name, 0);
	return code;
}

static int make_special(int directory, const char *name) {
	mode_t kind = entry.type == TAR_FIFO ? S_IFIFO : entry.type == TAR_CHARACTER ? S_IFCHR : S_IFBLK;
	dev_t device = makedev(entry.device_major, entry.device_minor);
	int failed = entry.type == TAR_SYMLINK ? symlinkat(entry.link, directory, name)
										   : mknodat(directory, name, kind | 0600, device);
	if (failed || (keeps_owners && fchownat(directory, name, entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW)))
		return errno;
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = entry.mtime}};
	if ((entry.type != TAR_SYMLINK && fchmodat(directory, name, entry.mode, 0)) ||
		utimensat(directory, name, times, AT_SYMLINK_NOFOLLOW))
		return errno;
	return 0;
}

/* A directory that is there stays as it is. */
static int make_directory(int directory, const char *name) {
	if (mkdirat(directory, name, 0700)) {
		int code = errno;
		int there = code == EEXIST ? open_directory(entry.name) : -1;
		if (there < 0)
			return code;
		close(there);
		return 0;
	}
	if (keeps_owners && fchownat(directory, name, entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW))
		return errno;
	return remember_directory();
}

static int make_entry(void) {
	int code = normalize(entry.name);
	if (code)
		return code;
	if (!*entry.name)
		return entry.type == TAR_DIRECTORY ? 0 : EISDIR;
	if (entry.type < TAR_FILE || entry.type > TAR_FIFO)
		return EOPNOTSUPP;
	char *name;
	int parent = open_parent(entry.name, &name);
	if (parent < 0)
		return errno;
	if (entry.type == TAR_DIRECTORY) {
		code = make_directory(parent, name);
	} else if (unlinkat(parent, name, 0) && errno != ENOENT) {
		code = errno;
	} else if (entry.type == TAR_FILE) {
		code = make_file(parent, name);
	} else if (entry.type == TAR_LINK) {
		code = make_link(parent, name);
	} else {
		code = make_special(parent, name);
	}
	close(parent);
	return code;
}

int tar_unpack(char *const *argv) {
	keeps_owners = strchr(argv[2], 'a');
	root = open(argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return builtin_failed(errno, argv[1]);
	int code;
	while (!(code = next_entry())) {
		code = make_entry();
		if (!code)
			code = take_content(-1, entry.size);
		if (code)
			break;
	}
	if (code == ENODATA)
		code = finish_directories();
	if (code)
		return builtin_failed(code, *entry.name ? entry.name : argv[1]);
	/* What follows the end is read, too, so that its writer is not told that the pipe is closed. */
	size_t length;
	while (take_some(sizeof input, &length))
		;
	return 0;
}
