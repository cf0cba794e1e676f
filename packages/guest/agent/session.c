#include "session.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "cgroup.h"
#include "session-private.h"

enum { SESSIONS_MAX = 1024, REQUEST_DEADLINE_MS = 10000 };

static struct session *sessions;

int sessions_count(void) {
	int count = 0;
	for (struct session *s = sessions; s; s = s->next)
		count++;
	return count;
}

struct session *session_of(pid_t pid) {
	struct session *s = sessions;
	while (s && s->pid != pid)
		s = s->next;
	return s;
}

void sessions_signal(int number) {
	for (struct session *s = sessions; s; s = s->next) {
		s->stopped = true;
		session_signal(s, number);
	}
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
	source_close(&s->stage);
	cgroup_give_back(s->group);
	exec_request_free(&s->request);
	free(s->payload);
	free(s->in);
	free(s);
}

static void lose_connection(struct session *s) {
	source_close(&s->connection);
	/* The rest of its files will not come, so a request without them does not go on. */
	if (s->request.flags & EXEC_KEEP && (s->state == STARTING || s->state == RUNNING || s->state == EXITED) && !s->stage_due) {
		s->stdin_ends = true;
		session_feed(s);
		return;
	}
	/* What a command that has ended and been reported left behind may stay. */
	if (s->state < CLOSING)
		session_signal(s, SIGKILL);
	s->state = CLOSING;
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

/* Only when output has left: no later event is sure to come back for what had to wait. */
static void pay_debts(struct session *s) {
	if (s->out_length || s->state >= CLOSING)
		return;
	if (s->credit)
		put_u32(session_frame(s, FRAME_STDIN_CREDIT, 4), s->credit);
	if (s->pong_owed)
		put_u64(session_frame(s, FRAME_PONG, 8), s->pong_token);
	s->credit = 0;
	s->pong_owed = false;
	flush(s);
}

void session_update(struct session *s) {
	flush(s);
	/* Each command of a request leaves a few frames; all of them together would not fit. */
	while (s->state == EXITED && s->output.fd < 0 && s->errors.fd < 0 && s->status.fd < 0 && !s->out_length) {
		session_command_ended(s);
		flush(s);
	}
	pay_debts(s);
	if (s->connection.fd < 0 && s->state == CLOSING) {
		session_free(s);
		return;
	}
	if (s->state == CLOSING && !s->out_length)
		shutdown(s->connection.fd, SHUT_WR);
	source_watch(&s->connection, EPOLLIN | (s->out_length ? (uint32_t)EPOLLOUT : 0));
	source_watch(&s->status, EPOLLIN);
	session_watch_streams(s);
}

static void resize(struct session *s, const uint8_t *payload) {
	struct winsize size = {.ws_col = get_u16(payload), .ws_row = get_u16(payload + 2)};
	if (s->request.flags & EXEC_TTY && s->output.fd >= 0)
		ioctl(s->output.fd, TIOCSWINSZ, &size);
}

/* -- Frames from the host */

static const char *take_input(struct session *s, const struct frame *frame) {
	bool staged = frame->type == FRAME_STAGE;
	if (frame->length > sizeof s->stdin_bytes - s->stdin_length)
		return "more STDIN than the window allows";
	if (staged ? frame->length > s->stage_due : s->stage_due || s->stdin_ends)
		return staged ? "more staged bytes than the request says" : "STDIN before the staged files, or after its end";
	if (staged)
		s->stage_due -= frame->length;
	memcpy(s->stdin_bytes + s->stdin_length, frame->payload, frame->length);
	s->stdin_length += frame->length;
	session_feed(s);
	return NULL;
}

/* Returns what is wrong with the frame, or NULL. */
static const char *handle_frame(struct session *s, const struct frame *frame) {
	if (s->state == REQUESTED) {
		if (frame->type != FRAME_EXEC)
			return "the first frame is not EXEC";
		session_start(s, frame->payload, frame->length);
		return NULL;
	}
	uint32_t number;
	switch (frame->type) {
	case FRAME_STDIN:
	case FRAME_STAGE:
		return take_input(s, frame);
	case FRAME_STDIN_CLOSE:
		if (s->stage_due)
			return "STDIN_CLOSE before the staged files";
		s->stdin_ends = true;
		session_feed(s);
		return NULL;
	case FRAME_SIGNAL:
		number = frame->length == 4 ? get_u32(frame->payload) : 0;
		if (number < 1 || number > 64)
			return "no such signal";
		session_signal(s, (int)number);
		return NULL;
	case FRAME_RESIZE:
		if (frame->length != 4)
			return "RESIZE of another length";
		resize(s, frame->payload);
		return NULL;
	case FRAME_PING:
		if (frame->length != 8)
			return "PING of another length";
		s->pong_owed = true;
		s->pong_token = get_u64(frame->payload);
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
			session_signal(s, SIGKILL);
			session_fail(s, ERROR_PROTOCOL, 0, wrong);
		}
	}
	session_update(s);
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
	s->group = -1;
	s->deadline_ms = now_ms() + REQUEST_DEADLINE_MS;
	s->status.fd = s->input.fd = s->output.fd = s->errors.fd = s->stage.fd = -1;
	source_init(&s->connection, connection, on_connection);
	s->next = sessions;
	sessions = s;
	session_update(s);
}

/* -- Time */

static void on_deadline(struct session *s) {
	s->deadline_ms = 0;
	switch (s->state) {
	case REQUESTED:
		session_fail(s, ERROR_PROTOCOL, 0, "no request came");
		break;
	case STARTING:
	case RUNNING:
		s->timed_out = true;
		session_signal(s, SIGKILL);
		break;
	case EXITED:
		/* A process left behind holds the pipe open. What it has written by now still counts. */
		session_limit_output(s);
		break;
	case CLOSING:
		source_close(&s->connection);
		break;
	}
	session_update(s);
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
