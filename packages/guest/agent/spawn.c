#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include "account.h"
#include "builtin.h"
#include "cgroup.h"
#include "freeze.h"
#include "stage.h"

#ifndef TIOCGPTPEER
#define TIOCGPTPEER 0x5441
#endif

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static int status_fd;

static _Noreturn __attribute__((format(printf, 3, 4))) void fail(enum error_kind kind, int code, const char *format, ...) {
	struct spawn_error error = {.kind = kind, .code = code};
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(error.message, sizeof error.message, format, arguments);
	va_end(arguments);
	while (write(status_fd, &error, sizeof error) < 0 && errno == EINTR)
		;
	_exit(127);
}

static const char *env_get(char *const *env, const char *name) {
	size_t length = strlen(name);
	for (; *env; env++)
		if (!strncmp(*env, name, length) && (*env)[length] == '=')
			return *env + length + 1;
	return NULL;
}

/* The request's environment, and what programs rely on where the request does not say. */
static char **complete_env(const struct exec_request *request, const struct account *account) {
	static char home[sizeof "HOME=" + ACCOUNT_HOME_MAX];
	size_t count = 0;
	while (request->env[count])
		count++;
	char **env = calloc(count + 4, sizeof *env);
	if (!env)
		fail(ERROR_RESOURCES, ENOMEM, "out of memory");
	memcpy(env, request->env, count * sizeof *env);
	if (!env_get(request->env, "PATH"))
		env[count++] = "PATH=" DEFAULT_PATH;
	if (!env_get(request->env, "HOME")) {
		snprintf(home, sizeof home, "HOME=%s", account->home);
		env[count++] = home;
	}
	if (request->flags & EXEC_TTY && !env_get(request->env, "TERM"))
		env[count++] = "TERM=xterm";
	return env;
}

/* Becomes the program, searched in PATH as execvp(3) does, except that the request's PATH counts. */
static _Noreturn void execute(char *const *argv, char *const *env) {
	const char *name = argv[0];
	int denied = 0;
	if (strchr(name, '/')) {
		execve(name, argv, env);
	} else {
		char path[4096];
		const char *search = env_get(env, "PATH");
		for (const char *end; search; search = *end ? end + 1 : NULL) {
			end = strchrnul(search, ':');
			int length = (int)(end - search);
			const char *separator = length ? "/" : "";
			if (end - search > 4000 || snprintf(path, sizeof path, "%.*s%s%s", length, search, separator, name) >= (int)sizeof path)
				continue;
			execve(path, argv, env);
			if (errno != ENOENT && errno != ENOTDIR && !denied)
				denied = errno;
		}
		errno = denied ? denied : ENOENT;
	}
	int code = errno;
	if (code == E2BIG)
		fail(ERROR_TOO_LARGE, code, "%s: its arguments and environment are more than a program can be given", name);
	/* EAGAIN: the user has as many processes as RLIMIT_NPROC allows. */
	if (code == EAGAIN || code == ENOMEM)
		fail(ERROR_RESOURCES, code, "%s: cannot be executed: %s", name, strerror(code));
	if (code != ENOENT && code != ENOTDIR)
		fail(ERROR_NOT_EXECUTABLE, code, "%s: cannot be executed: %s", name, strerror(code));
	/* The kernel says ENOENT also for a script or binary whose interpreter is missing. */
	bool exists = strchr(name, '/') && !access(name, F_OK);
	fail(ERROR_NOT_FOUND, code, exists ? "%s: its interpreter is not in the guest" : "%s: not found", name);
}

/* The ends that a child is given. */
struct ends {
	int in, out, err, stage, status;
};

/* Puts the status pipe at 3 and the staged files at 4, and closes all else. It is close-on-exec, but a builtin does not
 * exec: holding the other end of its own stdin, it would never see the end of it. */
static int place_ends(const struct ends *ends) {
	int status = fcntl(ends->status, F_DUPFD_CLOEXEC, 5);
	int stage = ends->stage < 0 ? -1 : fcntl(ends->stage, F_DUPFD_CLOEXEC, 5);
	if (status < 0 || (ends->stage >= 0 && stage < 0))
		fail(ERROR_RESOURCES, errno, "cannot set up its pipes: %s", strerror(errno));
	if (dup2(ends->in, 0) < 0 || dup2(ends->out, 1) < 0 || dup2(ends->err, 2) < 0)
		fail(ERROR_RESOURCES, errno, "cannot set up standard streams: %s", strerror(errno));
	status_fd = dup3(status, 3, O_CLOEXEC);
	if (stage >= 0)
		stage = dup3(stage, 4, O_CLOEXEC);
	syscall(SYS_close_range, stage < 0 ? 4 : 5, ~0u, 0);
	return stage;
}

static void stage(const struct exec_request *request, int fd, const struct account *account) {
	char message[256];
	int code = stage_files(fd, request->staged, account, message, sizeof message);
	if (*message)
		fail(code ? ERROR_FILE : ERROR_PROTOCOL, code, "%s", message);
	close(fd);
}

/* Before the process gives up root: only root may raise a limit. */
static void limit(const struct exec_request *request) {
	for (int i = 0; i < request->limit_count; i++) {
		const struct exec_limit *limit = &request->limits[i];
		struct rlimit value = {.rlim_cur = limit->soft, .rlim_max = limit->hard};
		if (setrlimit(limit->resource, &value))
			fail(ERROR_RESOURCES, errno, "cannot set resource limit %d: %s", limit->resource, strerror(errno));
	}
}

static _Noreturn void child(const struct exec_request *request, char **argv, const struct ends *ends) {
	signal(SIGPIPE, SIG_DFL);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	status_fd = ends->status;
	int stage_fd = place_ends(ends);
	if (request->flags & EXEC_TTY && ioctl(0, TIOCSCTTY, 0))
		fail(ERROR_RESOURCES, errno, "cannot make the terminal the controlling one: %s", strerror(errno));

	static struct account account;
	if (account_resolve(request->user, &account))
		fail(ERROR_UNKNOWN_USER, 0, "user \"%s\" is not in the guest's /etc/passwd and /etc/group", request->user);
	if (request->flags & EXEC_TTY)
		(void)!fchown(0, account.uid, (gid_t)-1);
	umask(022);
	if (stage_fd >= 0)
		stage(request, stage_fd, &account);
	limit(request);
	/* An agent that is not root (as in tests) can only run processes as itself. */
	bool change = !geteuid() || account.uid != geteuid() || account.gid != getegid();
	if (change && (setgroups((size_t)account.group_count, account.groups) || setgid(account.gid) || setuid(account.uid)))
		fail(ERROR_RESOURCES, errno, "cannot become user \"%s\": %s", request->user, strerror(errno));
	if (chdir(*request->cwd ? request->cwd : "/"))
		fail(ERROR_CWD, errno, "working directory %s: %s", request->cwd, strerror(errno));
	if (request->flags & EXEC_BUILTIN) {
		int code = builtin_open(argv);
		if (code)
			fail(ERROR_FILE, code, "%s: %s", argv[1] ? argv[1] : argv[0], strerror(code));
		close(status_fd);
		_exit(builtin_run());
	}
	char **env = complete_env(request, &account);
	execute(argv, env);
}

static int open_terminal(const struct exec_request *request, int *peer) {
	int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (terminal < 0)
		return -1;
	struct winsize size = {.ws_col = request->columns, .ws_row = request->rows};
	int error = unlockpt(terminal) || ioctl(terminal, TIOCSWINSZ, &size);
	/* By descriptor, not by path: the guest may have mounted anything on /dev/pts. */
	*peer = error ? -1 : ioctl(terminal, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (*peer < 0) {
		int code = errno;
		close(terminal);
		errno = code;
		return -1;
	}
	return terminal;
}

/* A pipe whose end number `ours` (0 reads, 1 writes) does not block. */
static int open_pipe(int *agent_end, int *child_end, int ours) {
	int ends[2];
	if (pipe2(ends, O_CLOEXEC))
		return -1;
	*agent_end = ends[ours];
	*child_end = ends[!ours];
	return fcntl(*agent_end, F_SETFL, O_NONBLOCK);
}

static void close_if_open(int fd) {
	if (fd >= 0)
		close(fd);
}

static bool open_streams(const struct exec_request *request, bool first, struct spawned *out, struct ends *ends) {
	if (open_pipe(&out->status, &ends->status, 0))
		return false;
	if (first && request->staged && open_pipe(&out->stage, &ends->stage, 1))
		return false;
	if (request->flags & EXEC_TTY)
		return (out->output = open_terminal(request, &ends->in)) >= 0 &&
			(out->input = fcntl(out->output, F_DUPFD_CLOEXEC, 0)) >= 0 &&
			(ends->out = fcntl(ends->in, F_DUPFD_CLOEXEC, 0)) >= 0 &&
			(ends->err = fcntl(ends->in, F_DUPFD_CLOEXEC, 0)) >= 0;
	if (open_pipe(&out->output, &ends->out, 0) || open_pipe(&out->errors, &ends->err, 0))
		return false;
	if (request->flags & EXEC_STDIN)
		return !open_pipe(&out->input, &ends->in, 1);
	return (ends->in = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0;
}

int spawn(const struct exec_request *request, int command, int group, struct spawned *out) {
	*out = (struct spawned){.pid = -1, .input = -1, .output = -1, .errors = -1, .status = -1, .stage = -1};
	struct ends ends = {-1, -1, -1, -1, -1};
	bool ready = open_streams(request, !command, out, &ends);
	if (ready) {
		out->pid = freeze_fork(cgroup_directory(group));
		if (!out->pid)
			child(request, request->commands[command], &ends);
	}
	int code = errno;
	close_if_open(ends.in);
	close_if_open(ends.out);
	close_if_open(ends.err);
	close_if_open(ends.stage);
	close_if_open(ends.status);
	if (out->pid > 0)
		return 0;
	close_if_open(out->input);
	close_if_open(out->output);
	close_if_open(out->errors);
	close_if_open(out->status);
	close_if_open(out->stage);
	return code ? code : EIO;
}
