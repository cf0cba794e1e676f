/* Commands that make, find, move and remove names. */
#include "executor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void run_mkdir(char **arg, int args)
{
	struct place at = place_of(arg[0]);

	answer_result(mkdirat(at.dirfd, at.path, args > 1 ? number_of(arg[1]) : 0755));
}

static void run_rmdir(char **arg, int args)
{
	struct place at = place_of(arg[0]);

	(void)args;
	answer_result(unlinkat(at.dirfd, at.path, AT_REMOVEDIR));
}

static void run_unlink(char **arg, int args)
{
	struct place at = place_of(arg[0]);

	(void)args;
	answer_result(unlinkat(at.dirfd, at.path, 0));
}

static void run_rename(char **arg, int args)
{
	struct place from = place_of(arg[0]), to = place_of(arg[1]);

	answer_result(renameat2(from.dirfd, from.path, to.dirfd, to.path,
				args > 2 ? number_of(arg[2]) : 0));
}

static void run_link(char **arg, int args)
{
	struct place from = place_of(arg[0]), to = place_of(arg[1]);

	answer_result(linkat(from.dirfd, from.path, to.dirfd, to.path,
			     args > 2 ? number_of(arg[2]) : 0));
}

/* Gives an open file a name: linkfd SLOT NAME. As open(2) says for O_TMPFILE. */
static void run_linkfd(char **arg, int args)
{
	char path[64];
	struct place to = place_of(arg[1]);

	(void)args;
	snprintf(path, sizeof path, "/proc/self/fd/%d", slots[slot_of(arg[0])]);
	answer_result(linkat(AT_FDCWD, path, to.dirfd, to.path, AT_SYMLINK_FOLLOW));
}

static void run_symlink(char **arg, int args)
{
	struct place at = place_of(arg[1]);

	(void)args;
	answer_result(symlinkat(arg[0], at.dirfd, at.path));
}

static void run_readlink(char **arg, int args)
{
	struct place at = place_of(arg[0]);
	char target[8192];
	size_t room = args > 1 ? (size_t)number_of(arg[1]) : sizeof target;
	ssize_t length = readlinkat(at.dirfd, at.path, target, room);

	if (length < 0)
		answer_result(length);
	else
		answer("%.*s", (int)length, target);
}

static void run_mknod(char **arg, int args)
{
	struct place at = place_of(arg[0]);
	dev_t device = args > 3 ? makedev(number_of(arg[2]), number_of(arg[3])) : 0;

	answer_result(mknodat(at.dirfd, at.path, number_of(arg[1]), device));
}

static int bind_socket(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof address.sun_path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(address.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	int result = bind(fd, (struct sockaddr *)&address, sizeof address);
	int saved = errno;
	close(fd);
	errno = saved;
	return result;
}

static void run_bind(char **arg, int args)
{
	(void)args;
	answer_result(bind_socket(arg[0]));
}

/* make TYPE NAME: something of that type with mode 0644, a directory with 0755. */
static void run_make(char **arg, int args)
{
	struct place at = place_of(arg[1]);
	const char *type = arg[0];

	(void)args;
	if (strcmp(type, "directory") == 0)
		answer_result(mkdirat(at.dirfd, at.path, 0755));
	else if (strcmp(type, "symlink") == 0)
		answer_result(symlinkat("nowhere", at.dirfd, at.path));
	else if (strcmp(type, "fifo") == 0)
		answer_result(mknodat(at.dirfd, at.path, S_IFIFO | 0644, 0));
	else if (strcmp(type, "socket") == 0)
		answer_result(mknodat(at.dirfd, at.path, S_IFSOCK | 0644, 0));
	else if (strcmp(type, "char") == 0)
		answer_result(mknodat(at.dirfd, at.path, S_IFCHR | 0644, makedev(1, 3)));
	else if (strcmp(type, "block") == 0)
		answer_result(mknodat(at.dirfd, at.path, S_IFBLK | 0644, makedev(7, 0)));
	else
		answer_result(mknodat(at.dirfd, at.path, S_IFREG | 0644, 0));
}

/* The exit status of a program in the tree, or why it does not start. */
static void run_exec(char **arg, int args)
{
	int report[2], error = 0, status;

	(void)args;
	if (pipe2(report, O_CLOEXEC) < 0)
		exit(2);
	pid_t child = fork();
	if (child == 0) {
		execl(arg[0], arg[0], (char *)NULL);
		error = errno;
		if (write(report[1], &error, sizeof error) < 0)
			_exit(126);
		_exit(127);
	}
	close(report[1]);
	ssize_t length = read(report[0], &error, sizeof error);
	close(report[0]);
	waitpid(child, &status, 0);
	if (length > 0) {
		errno = error;
		answer_result(-1);
	} else {
		answer("%d", WEXITSTATUS(status));
	}
}

const struct command name_commands[] = {
	{ "mkdir", run_mkdir, 1, 2 },	    { "rmdir", run_rmdir, 1, 1 },
	{ "unlink", run_unlink, 1, 1 },	    { "rename", run_rename, 2, 3 },
	{ "link", run_link, 2, 3 },	    { "linkfd", run_linkfd, 2, 2 },
	{ "symlink", run_symlink, 2, 2 },   { "readlink", run_readlink, 1, 2 },
	{ "mknod", run_mknod, 2, 4 },	    { "bind", run_bind, 1, 1 },
	{ "make", run_make, 2, 2 },	    { "exec", run_exec, 1, 1 },
	{ 0 },
};
