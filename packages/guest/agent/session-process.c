#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cgroup.h"
#include "session-private.h"
#include "session.h"
#include "spawn.h"

/* How long output of the process's own children is waited for once it has exited. */
enum { GRACE_MS = 250 };

void session_signal(struct session *s, int number) {
	if (number == SIGKILL) {
		cgroup_kill(s->group);
		s->stopped = true;
	}
	/* Between two commands nobody else is there to end. */
	if (s->state == EXITED)
		s->stopped = true;
	if (s->pid <= 0)
		return;
	/* Until its setsid() the child is still in the agent's group. */
	if (kill(-s->pid, number))
		kill(s->pid, number);
}

/* The status pipe ended: the child has become the program, or says why it could not. */
static void settle_start(struct session *s) {
	struct spawn_error error;
	ssize_t n = read(s->status.fd, &error, sizeof error);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	source_close(&s->status);
	if (n == (ssize_t)sizeof error) {
		error.message[sizeof error.message - 1] = 0;
		session_fail(s, error.kind, error.code, error.message);
		return;
	}
	if (s->state == STARTING)
		s->state = RUNNING;
	if (s->connection.fd >= 0)
		put_u32(session_frame(s, FRAME_STARTED, 4), (uint32_t)s->pid);
}

static void on_status(struct source *source, uint32_t events) {
	(void)events;
	struct session *s = OWNER(source, struct session, status);
	settle_start(s);
	session_update(s);
}

static void start_command(struct session *s) {
	struct spawned spawned;
	int code = spawn(&s->request, s->command, s->group, &spawned);
	if (code) {
		char message[128];
		snprintf(message, sizeof message, "cannot make a process: %s", strerror(code));
		session_fail(s, ERROR_RESOURCES, code, message);
		return;
	}
	s->pid = spawned.pid;
	s->state = STARTING;
	s->started_ns = now_ns();
	s->deadline_ms = s->timeout_ms;
	source_init(&s->status, spawned.status, on_status);
	session_take_streams(s, spawned.input, spawned.output, spawned.errors, spawned.stage);
}

void session_start(struct session *s, const uint8_t *payload, size_t length) {
	s->payload = malloc(length);
	if (!s->payload) {
		session_fail(s, ERROR_RESOURCES, ENOMEM, "out of memory");
		return;
	}
	memcpy(s->payload, payload, length);
	const char *wrong = exec_request_parse(s->payload, length, &s->request);
	if (wrong) {
		session_fail(s, ERROR_PROTOCOL, 0, wrong);
		return;
	}
	s->stage_due = s->stage_left = s->request.staged;
	s->timeout_ms = s->request.timeout_ms ? now_ms() + s->request.timeout_ms : 0;
	s->group = cgroup_take();
	start_command(s);
}

void session_command_ended(struct session *s) {
	bool killed = WIFSIGNALED(s->wait_status);
	bool more = s->command + 1 < s->request.command_count && !s->stopped && !s->timed_out && !s->wait_status;
	uint8_t *at = session_frame(s, FRAME_EXIT, 32);
	at = put_u32(at, killed ? EXIT_KIND_SIGNAL : EXIT_KIND_CODE);
	at = put_u32(at, (uint32_t)(killed ? WTERMSIG(s->wait_status) : WEXITSTATUS(s->wait_status)));
	at = put_u32(put_u32(at, s->timed_out), more);
	put_u64(put_u64(at, s->peak_rss_kib), s->duration_us);
	if (!more) {
		session_close_streams(s);
		return;
	}
	s->command++;
	start_command(s);
}

void session_child_exited(pid_t pid, int wait_status, const struct rusage *usage) {
	struct session *s = session_of(pid);
	if (!s)
		return;
	s->duration_us = (now_ns() - s->started_ns) / 1000u;
	s->peak_rss_kib = (uint64_t)usage->ru_maxrss;
	s->wait_status = wait_status;
	/* Being dead it has written all it ever will, so this settles. */
	if (s->status.fd >= 0)
		settle_start(s);
	source_close(&s->status);
	s->pid = 0;
	s->hung_up = false;
	if (s->state != CLOSING) {
		s->state = EXITED;
		s->deadline_ms = now_ms() + GRACE_MS;
	}
	source_close(&s->input);
	source_close(&s->stage);
	session_feed(s);
	session_update(s);
}
