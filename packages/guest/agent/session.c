#include "session.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "frame.h"
#include "loop.h"
#include "spawn.h"

enum {
	SESSIONS_MAX = 1024,
	REQUEST_DEADLINE_MS = 10000,
	CLOSE_DEADLINE_MS = 5000,
	/* How long output of the process's own children is waited for once it has exited. */
	GRACE_MS = 250,
	IN_CAPACITY = FRAME_HEADER + FRAME_DATA_MAX,
	OUT_CAPACITY = FRAME_HEADER + FRAME_DATA_MAX + 1024,
};

enum state {
	REQUESTED, /* waiting for FRAME_EXEC */
	STARTING,  /* the child has not yet become the program */
	RUNNING,
	EXITED,  /* reaped; its output is being drained */
	CLOSING, /* the last frame is queued; waits until the host has closed, so that no byte is lost to a reset */
};

struct session {
	struct session *next;
	enum state state;
	struct source connection, status, input, output, errors;
	pid_t pid; /* 0 once reaped: then it may be another process's */
	uint32_t flags;
	uint64_t started_ns;
	int64_t deadline_ms; /* of the state, or the request's timeout; 0: none */
	bool timed_out;
	bool hung_up; /* the terminal has nobody at its other end, while the process lives */
	/* Set when the grace period ends: bytes that were in the pipe then, all that is still taken from it. */
	bool limited;
	int output_left, errors_left;
	int wait_status;
	uint64_t peak_rss_kib, duration_us;

	uint8_t *in; /* a frame being received; larger than IN_CAPACITY only for FRAME_EXEC */
	size_t in_length, in_capacity;
	size_t stdin_length;
	bool stdin_ends;
	uint32_t credit; /* bytes of stdin taken and not yet returned to the host */
	size_t out_length, out_sent;
	uint8_t stdin_bytes[STDIN_WINDOW];
	uint8_t out[OUT_CAPACITY];
};

static struct session *sessions;

int sessions_count(void) {
	int count = 0;
	for (struct session *s = sessions; s; s = s->next)
		count++;
	return count;
}

static void signal_group(const struct session *s, int number) {
	if (s->pid <= 0)
		return;
	/* Until its setsid() the child is still in the agent's group. */
	if (kill(-s->pid, number))
		kill(s->pid, number);
}

void sessions_signal(int number) {
	for (struct session *s = sessions; s; s = s->next)
		signal_group(s, number);
}

static void session_free(struct session *s) {
	for (struct session **at = &sessions; *at; at = &(*at)->next)
		if (*at == s) {
			*at = s->next;
			break;
		}
	source_close(&s->connection);
	source_close(&s->status);
	source_close(&s->input);
	source_close(&s->output);
	source_close(&s->errors);
	free(s->in);
	free(s);
}

/* -- Frames to the host. Data waits until the buffer is empty, so there is always room for the few small ones. */

static uint8_t *out_frame(struct session *s, enum frame_type type, size_t length) {
	uint8_t *payload = put_frame_header(s->out + s->out_length, type, length);
	s->out_length += FRAME_HEADER + length;
	return payload;
}

static void finish(struct session *s) {
	source_close(&s->input);
	source_close(&s->output);
	source_close(&s->errors);
	s->state = CLOSING;
	s->deadline_ms = now_ms() + CLOSE_DEADLINE_MS;
}

static void send_error(struct session *s, enum error_kind kind, int code, const char *message) {
	size_t length = strlen(message);
	uint8_t *at = out_frame(s, FRAME_ERROR, 8 + length);
	memcpy(put_u32(put_u32(at, kind), (uint32_t)code), message, length);
	finish(s);
}

static void send_exit(struct session *s) {
	bool killed = WIFSIGNALED(s->wait_status);
	uint8_t *at = out_frame(s, FRAME_EXIT, 32);
	at = put_u32(at, killed ? EXIT_KIND_SIGNAL : EXIT_KIND_CODE);
	at = put_u32(at, (uint32_t)(killed ? WTERMSIG(s->wait_status) : WEXITSTATUS(s->wait_status)));
	at = put_u32(put_u32(at, s->timed_out), 0);
	put_u64(put_u64(at, s->peak_rss_kib), s->duration_us);
	finish(s);
}

/* -- After every event: what is owed to the host is queued and sent, and each fd is watched for what can happen next.
 * Frees the session when it is over; the caller must not touch it afterwards. */

static void feed_stdin(struct session *s);

static void lose_connection(struct session *s) {
	if (s->flags & EXEC_KEEP && (s->state == STARTING || s->state == RUNNING)) {
		source_close(&s->connection);
		s->stdin_ends = true;
		feed_stdin(s);
		return;
	}
	signal_group(s, SIGKILL);
	s->state = CLOSING;
	source_close(&s->connection);
}

static void flush(struct session *s) {
	while (s->connection.fd >= 0 && s->out_sent < s->out_length) {
		ssize_t n = send(s->connection.fd, s->out + s->out_sent, s->out_length - s->out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			lose_connection(s);
		if (n < 0)
			break;
		s->out_sent += (size_t)n;
	}
	if (s->out_sent == s->out_length || s->connection.fd < 0)
		s->out_sent = s->out_length = 0;
}

static void update(struct session *s) {
	if (s->state == EXITED && s->output.fd < 0 && s->errors.fd < 0 && s->status.fd < 0)
		send_exit(s);
	flush(s);
	/* Only now, when output has left: no later event is sure to come back for a credit that had to wait. */
	if (s->credit && !s->out_length && s->state < CLOSING) {
		put_u32(out_frame(s, FRAME_STDIN_CREDIT, 4), s->credit);
		s->credit = 0;
		flush(s);
	}
	if (s->connection.fd < 0 && s->state == CLOSING) {
		session_free(s);
		return;
	}
	if (s->state == CLOSING && !s->out_length)
		shutdown(s->connection.fd, SHUT_WR);
	source_watch(&s->connection, EPOLLIN | (s->out_length ? (uint32_t)EPOLLOUT : 0));
	source_watch(&s->status, EPOLLIN);
	source_watch(&s->output, s->out_length || s->hung_up ? 0 : EPOLLIN);
	source_watch(&s->errors, s->out_length ? 0 : EPOLLIN);
	source_watch(&s->input, s->stdin_length ? EPOLLOUT : 0);
}

/* -- The process */

static void feed_stdin(struct session *s) {
	while (s->input.fd >= 0 && s->stdin_length) {
		ssize_t n = write(s->input.fd, s->stdin_bytes, s->stdin_length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			source_close(&s->input);
			break;
		}
		s->credit += (uint32_t)n;
		s->stdin_length -= (size_t)n;
		memmove(s->stdin_bytes, s->stdin_bytes + n, s->stdin_length);
	}
	if (s->input.fd < 0) {
		/* Nobody reads it any more: it is taken and dropped, or the host would wait for its credit. */
		s->credit += (uint32_t)s->stdin_length;
		s->stdin_length = 0;
	} else if (s->stdin_ends) {
		/* A terminal has no end; its reader is told by the end-of-file character at the start of a line. */
		if (s->flags & EXEC_TTY)
			(void)!write(s->input.fd, "\004", 1);
		source_close(&s->input);
	}
}

/* Moves one piece of output into the empty buffer. */
static void take_output(struct session *s, struct source *from, enum frame_type type, int *left) {
	size_t room = FRAME_DATA_MAX;
	if (s->limited && (size_t)*left < room)
		room = (size_t)*left;
	ssize_t n = room ? read(from->fd, s->out + FRAME_HEADER, room) : 0;
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	/* EIO is how a terminal says that nobody has its other end open. Programs close their streams shortly before they
	 * exit: closing the terminal now would kill them with SIGHUP on their way out. */
	if (n < 0 && errno == EIO && s->state < EXITED) {
		s->hung_up = true;
		return;
	}
	if (n <= 0) {
		source_close(from);
		return;
	}
	if (s->limited)
		*left -= (int)n;
	if (s->connection.fd >= 0)
		out_frame(s, type, (size_t)n);
}

static void on_output(struct source *source, uint32_t events) {
	(void)events;
	struct session *s = OWNER(source, struct session, output);
	if (!s->out_length)
		take_output(s, source, FRAME_STDOUT, &s->output_left);
	update(s);
}

static void on_errors(struct source *source, uint32_t events) {
	(void)events;
	struct session *s = OWNER(source, struct session, errors);
	if (!s->out_length)
		take_output(s, source, FRAME_STDERR, &s->errors_left);
	update(s);
}

static void on_input(struct source *source, uint32_t events) {
	(void)events;
	struct session *s = OWNER(source, struct session, input);
	feed_stdin(s);
	update(s);
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
		send_error(s, error.kind, error.code, error.message);
		return;
	}
	if (s->state == STARTING)
		s->state = RUNNING;
	if (s->connection.fd >= 0)
		put_u32(out_frame(s, FRAME_STARTED, 4), (uint32_t)s->pid);
}

static void on_status(struct source *source, uint32_t events) {
	(void)events;
	struct session *s = OWNER(source, struct session, status);
	settle_start(s);
	update(s);
}

void session_child_exited(pid_t pid, int wait_status, const struct rusage *usage) {
	struct session *s = sessions;
	while (s && s->pid != pid)
		s = s->next;
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
	feed_stdin(s);
	update(s);
}

static void start(struct session *s, uint8_t *payload, size_t length) {
	struct exec_request request;
	const char *wrong = exec_request_parse(payload, length, &request);
	if (wrong) {
		send_error(s, ERROR_PROTOCOL, 0, wrong);
		return;
	}
	struct spawned spawned;
	int code = spawn(&request, &spawned);
	s->flags = request.flags;
	s->deadline_ms = request.timeout_ms ? now_ms() + request.timeout_ms : 0;
	exec_request_free(&request);
	if (code) {
		char message[128];
		snprintf(message, sizeof message, "cannot make a process: %s", strerror(code));
		send_error(s, ERROR_RESOURCES, code, message);
		return;
	}
	s->pid = spawned.pid;
	s->state = STARTING;
	s->started_ns = now_ns();
	source_init(&s->status, spawned.status, on_status);
	source_init(&s->input, spawned.input, on_input);
	source_init(&s->output, spawned.output, on_output);
	source_init(&s->errors, spawned.errors, on_errors);
}

static void resize(struct session *s, const uint8_t *payload) {
	struct winsize size = {.ws_col = get_u16(payload), .ws_row = get_u16(payload + 2)};
	if (s->flags & EXEC_TTY && s->output.fd >= 0)
		ioctl(s->output.fd, TIOCSWINSZ, &size);
}

/* -- Frames from the host */

/* Returns what is wrong with the frame, or NULL. */
static const char *handle_frame(struct session *s, const struct frame *frame) {
	if (s->state == REQUESTED) {
		if (frame->type != FRAME_EXEC)
			return "the first frame is not EXEC";
		start(s, s->in + FRAME_HEADER, frame->length);
		return NULL;
	}
	uint32_t number;
	switch (frame->type) {
	case FRAME_STDIN:
		if (frame->length > sizeof s->stdin_bytes - s->stdin_length || s->stdin_ends)
			return s->stdin_ends ? "STDIN after STDIN_CLOSE" : "more STDIN than the window allows";
		memcpy(s->stdin_bytes + s->stdin_length, frame->payload, frame->length);
		s->stdin_length += frame->length;
		feed_stdin(s);
		return NULL;
	case FRAME_STDIN_CLOSE:
		s->stdin_ends = true;
		feed_stdin(s);
		return NULL;
	case FRAME_SIGNAL:
		number = frame->length == 4 ? get_u32(frame->payload) : 0;
		if (number < 1 || number > 64)
			return "no such signal";
		signal_group(s, (int)number);
		return NULL;
	case FRAME_RESIZE:
		if (frame->length != 4)
			return "RESIZE of another length";
		resize(s, frame->payload);
		return NULL;
	default:
		return "this frame does not belong on an exec connection";
	}
}

/* Handles the complete frames received so far. */
static const char *handle_received(struct session *s) {
	size_t at = 0;
	const char *wrong = NULL;
	while (!wrong && s->state < CLOSING) {
		struct frame frame;
		long size = frame_parse(s->in + at, s->in_length - at, &frame);
		if (size < 0) {
			wrong = "malformed frame";
		} else if (!size || (size_t)size > s->in_length - at) {
			if ((size_t)size > s->in_capacity) {
				uint8_t *larger = realloc(s->in, (size_t)size);
				if (!larger)
					return "out of memory";
				s->in = larger;
				s->in_capacity = (size_t)size;
			}
			break;
		} else {
			/* start() takes its frame at the front of the buffer: EXEC is the first one by protocol. */
			wrong = handle_frame(s, &frame);
			at += (size_t)size;
		}
	}
	s->in_length -= at;
	memmove(s->in, s->in + at, s->in_length);
	return wrong;
}

static void on_connection(struct source *source, uint32_t events) {
	(void)events;
	struct session *s = OWNER(source, struct session, connection);
	bool discard = s->state == CLOSING;
	ssize_t n = recv(source->fd, s->in + (discard ? 0 : s->in_length), s->in_capacity - (discard ? 0 : s->in_length), 0);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		lose_connection(s);
	} else if (n > 0 && !discard) {
		s->in_length += (size_t)n;
		const char *wrong = handle_received(s);
		if (wrong) {
			signal_group(s, SIGKILL);
			send_error(s, ERROR_PROTOCOL, 0, wrong);
		}
	}
	update(s);
}

void session_open(int connection) {
	struct session *s = sessions_count() < SESSIONS_MAX ? calloc(1, sizeof *s) : NULL;
	uint8_t *in = s ? malloc(IN_CAPACITY) : NULL;
	if (!in) {
		free(s);
		close(connection);
		return;
	}
	s->in = in;
	s->in_capacity = IN_CAPACITY;
	s->state = REQUESTED;
	s->deadline_ms = now_ms() + REQUEST_DEADLINE_MS;
	s->status.fd = s->input.fd = s->output.fd = s->errors.fd = -1;
	source_init(&s->connection, connection, on_connection);
	s->next = sessions;
	sessions = s;
	update(s);
}

/* -- Time */

static int bytes_in(const struct source *source) {
	int bytes = 0;
	return source->fd < 0 || ioctl(source->fd, FIONREAD, &bytes) ? 0 : bytes;
}

static void on_deadline(struct session *s) {
	s->deadline_ms = 0;
	switch (s->state) {
	case REQUESTED:
		send_error(s, ERROR_PROTOCOL, 0, "no request came");
		break;
	case STARTING:
	case RUNNING:
		s->timed_out = true;
		signal_group(s, SIGKILL);
		break;
	case EXITED:
		/* A process left behind holds the pipe open. What it has written by now still counts. */
		s->limited = true;
		s->output_left = bytes_in(&s->output);
		s->errors_left = bytes_in(&s->errors);
		if (!s->output_left)
			source_close(&s->output);
		if (!s->errors_left)
			source_close(&s->errors);
		break;
	case CLOSING:
		source_close(&s->connection);
		break;
	}
	update(s);
}

int sessions_tick(void) {
	int64_t now = now_ms(), next = INT64_MAX;
	for (struct session *s = sessions, *following; s; s = following) {
		following = s->next;
		if (s->deadline_ms && s->deadline_ms <= now)
			on_deadline(s);
	}
	for (struct session *s = sessions; s; s = s->next)
		if (s->deadline_ms && s->deadline_ms < next)
			next = s->deadline_ms;
	return next == INT64_MAX ? -1 : next > now ? (int)(next - now) : 0;
}
