#include "builtin.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "files.h"
#include "tar.h"
#include "watch.h"

static const struct builtin {
	const char *name;
	int arguments;
	int (*run)(char *const *argv);
} builtins[] = {
	{"read", 1, file_read},
	{"write", 3, file_write},
	{"stat", 2, file_stat},
	{"list", 1, file_list},
	{"remove", 2, file_remove},
	{"rename", 2, file_rename},
	{"mkdir", 3, file_mkdir},
	{"symlink", 2, file_symlink},
	{"chmod", 2, file_chmod},
	{"chown", 3, file_chown},
	{"watch", 2, watch_run},
	{"pack", 3, tar_pack},
	{"unpack", 2, tar_unpack},
};

static const struct builtin *chosen;
static char *const *arguments;

int builtin_open(char *const *argv) {
	int count = 0;
	while (argv[count + 1])
		count++;
	for (size_t i = 0; i < sizeof builtins / sizeof *builtins; i++)
		if (!strcmp(argv[0], builtins[i].name) && count == builtins[i].arguments)
			chosen = &builtins[i];
	arguments = argv;
	return chosen ? 0 : ENOSYS;
}

int builtin_run(void) { return chosen->run(arguments); }

int builtin_failed(int code, const char *path) {
	dprintf(2, "%d %s: %s\n", code, path, strerror(code));
	return 1;
}

int write_all(int fd, const void *bytes, size_t length) {
	for (size_t done = 0; done < length;) {
		ssize_t n = write(fd, (const char *)bytes + done, length - done);
		if (n < 0 && errno != EINTR)
			return errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}
