/*
 * The guest agent. As PID 1 it sets the machine up, tells the host, and runs processes for it.
 * With `--sockets DIRECTORY` it is an ordinary process that only runs processes: for tests of the protocol.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "boot.h"
#include "cgroup.h"
#include "channel.h"
#include "control.h"
#include "frame.h"
#include "freeze.h"
#include "identity.h"
#include "loop.h"
#include "session.h"

static bool is_init;
static bool stopping;
static int64_t kill_at_ms, stop_at_ms;
static bool children_left;

static void say(const char *what, const char *detail) { dprintf(2, "supermachine: %s%s\n", what, detail); }

static void signal_all(int number) {
	if (is_init)
		kill(-1, number);
	else
		sessions_signal(number);
}

static void on_shutdown(uint32_t grace_ms) {
	enum { GRACE_MAX_MS = 60000, REAP_MS = 1000 };
	if (stopping)
		return;
	stopping = true;
	kill_at_ms = now_ms() + (grace_ms < GRACE_MAX_MS ? grace_ms : GRACE_MAX_MS);
	stop_at_ms = kill_at_ms + REAP_MS;
	signal_all(SIGTERM);
	/* Or they could not act on it. */
	thaw();
}

static void on_sync(const struct sync_request *request) {
	if (is_init)
		identity_sync(request);
}

static void on_freeze(uint32_t timeout_ms) { freeze_start(timeout_ms, control_frozen); }

static void reap(void) {
	struct rusage usage;
	int status;
	pid_t pid;
	while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0)
		session_child_exited(pid, status, &usage);
	children_left = pid == 0;
}

static void on_signal(struct source *source, uint32_t events) {
	(void)events;
	struct signalfd_siginfo info;
	while (read(source->fd, &info, sizeof info) > 0)
		;
	reap();
}

static void on_listener(struct source *source, uint32_t events) {
	(void)events;
	int fd = channel_accept(source->fd);
	if (fd >= 0)
		session_open(fd);
}

static _Noreturn void end(int code) {
	if (is_init)
		power_off();
	exit(code);
}

static _Noreturn void give_up(const char *message) {
	say("cannot start: ", message);
	control_report_failure(message);
	end(1);
}

/* Ends the machine once everything is gone, or its time is up. Returns the ms until the next step. */
static int shutdown_tick(void) {
	int64_t now = now_ms();
	if ((!children_left && !sessions_count()) || now >= stop_at_ms)
		end(0);
	if (now < kill_at_ms)
		return (int)(kill_at_ms - now);
	signal_all(SIGKILL);
	return 50;
}

static int sooner(int a, int b) { return a < 0 ? b : b < 0 || a < b ? a : b; }

static int watch_children(void) {
	sigset_t mask;
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	return signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* However many processes want to run, the agent answers. What it starts does not inherit that (sched(7)). */
static void put_first(void) {
	struct sched_param none = {0};
	/* musl's function of that name refuses to work. */
	if (!syscall(SYS_sched_setscheduler, 0, SCHED_OTHER | SCHED_RESET_ON_FORK, &none))
		setpriority(PRIO_PROCESS, 0, -20);
}

int main(int argc, char **argv) {
	uint64_t start_ns = now_ns();
	is_init = getpid() == 1;
	if (!is_init) {
		if (argc != 3 || strcmp(argv[1], "--sockets")) {
			say("usage: init --sockets DIRECTORY", "  (or as PID 1 of a virtual machine)");
			return 2;
		}
		channel_use_directory(argv[2]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	}

	/* The kernel starts PID 1 without standard streams when there is no console. Pipes made later must not get their numbers. */
	for (int fd; (fd = open("/dev/null", O_RDWR)) >= 0;)
		if (fd > 2) {
			close(fd);
			break;
		}

	static char error[512];
	if (is_init && boot(error, sizeof error))
		give_up(error);

	static struct source listener, signals;
	int listen_fd = channel_listen(EXEC_PORT);
	if (listen_fd < 0) {
		snprintf(error, sizeof error, "listen on port %d: %s", EXEC_PORT, strerror(errno));
		give_up(error);
	}
	loop_open();
	source_init(&listener, listen_fd, on_listener);
	source_watch(&listener, EPOLLIN);
	source_init(&signals, watch_children(), on_signal);
	source_watch(&signals, EPOLLIN);

	/* As an ordinary process it would stop this host. */
	if (is_init) {
		freeze_open();
		cgroups_open();
		put_first();
	}
	control_open(start_ns,
		&(struct control_events){
			.shutdown = on_shutdown, .sync = on_sync, .freeze = on_freeze, .thaw = thaw, .frozen = frozen});
	for (;;) {
		int wait = sooner(sooner(sessions_tick(), control_tick()), freeze_tick());
		const char *hopeless = control_hopeless();
		if (hopeless) {
			say("cannot start: ", hopeless);
			end(1);
		}
		if (stopping) {
			reap();
			wait = sooner(wait, shutdown_tick());
		}
		loop_turn(wait);
	}
}
