#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "session-private.h"

enum { CLOSE_DEADLINE_MS = 5000 };

uint8_t *session_frame(struct session *s, enum frame_type type, size_t length) {
	uint8_t *payload = put_frame_header(s->out + s->out_length, type, length);
	s->out_length += FRAME_HEADER + length;
	return payload;
}

void session_close_streams(struct session *s) {
	source_close(&s->input);
	source_close(&s->stage);
	source_close(&s->output);
	source_close(&s->errors);
	s->state = CLOSING;
	s->deadline_ms = now_ms() + CLOSE_DEADLINE_MS;
}

void session_fail(struct session *s, enum error_kind kind, int code, const char *message) {
	size_t length = strlen(message);
	uint8_t *at = session_frame(s, FRAME_ERROR, 8 + length);
	memcpy(put_u32(put_u32(at, kind), (uint32_t)code), message, length);
	session_close_streams(s);
}

/* Takes bytes off the front of what was received. */
static void consume(struct session *s, size_t length) {
	s->credit += (uint32_t)length;
	s->stdin_length -= length;
	memmove(s->stdin_bytes, s->stdin_bytes + length, s->stdin_length);
}

/* Writes up to `length` bytes; returns how many were taken, 0 when the other end has to read first. Where nobody reads
 * any more they are taken and dropped, or the host would wait for its credit. */
static size_t feed_into(struct session *s, struct source *to, size_t length) {
	while (to->fd >= 0) {
		ssize_t n = write(to->fd, s->stdin_bytes, length);
		if (n >= 0) {
			consume(s, (size_t)n);
			return (size_t)n;
		}
		if (errno == EAGAIN)
			return 0;
		if (errno != EINTR)
			source_close(to);
	}
	consume(s, length);
	return length;
}

static bool feed_stage(struct session *s) {
	while (s->stage_left && s->stdin_length) {
		size_t length = s->stage_left < s->stdin_length ? (size_t)s->stage_left : s->stdin_length;
		size_t taken = feed_into(s, &s->stage, length);
		if (!taken)
			return false;
		s->stage_left -= taken;
	}
	if (!s->stage_left)
		source_close(&s->stage);
	return !s->stage_left;
}

void session_feed(struct session *s) {
	if (!feed_stage(s))
		return;
	while (s->stdin_length)
		if (!feed_into(s, &s->input, s->stdin_length))
			return;
	if (s->stdin_ends && s->input.fd >= 0) {
		/* A terminal has no end; its reader is told by the end-of-file character at the start of a line. */
		if (s->request.flags & EXEC_TTY)
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
		session_frame(s, type, (size_t)n);
}

static void on_output(struct source *source, uint32_t events) {
	(void)events;
	struct session *s = OWNER(source, struct session, output);
	if (!s->out_length)
		take_output(s, source, FRAME_STDOUT, &s->output_left);
	session_update(s);
}

static void on_errors(struct source *source, uint32_t events) {
	(void)events;
	struct session *s = OWNER(source, struct session, errors);
	if (!s->out_length)
		take_output(s, source, FRAME_STDERR, &s->errors_left);
	session_update(s);
}

static void on_input(struct source *source, uint32_t events) {
	(void)events;
	struct session *s = OWNER(source, struct session, input);
	session_feed(s);
	session_update(s);
}

static void on_stage(struct source *source, uint32_t events) {
	(void)events;
	struct session *s = OWNER(source, struct session, stage);
	session_feed(s);
	session_update(s);
}

void session_take_streams(struct session *s, int input, int output, int errors, int stage) {
	s->hung_up = s->limited = false;
	source_init(&s->input, input, on_input);
	source_init(&s->output, output, on_output);
	source_init(&s->errors, errors, on_errors);
	source_init(&s->stage, stage, on_stage);
}

void session_watch_streams(struct session *s) {
	source_watch(&s->output, s->out_length || s->hung_up ? 0 : EPOLLIN);
	source_watch(&s->errors, s->out_length ? 0 : EPOLLIN);
	source_watch(&s->stage, s->stdin_length ? EPOLLOUT : 0);
	source_watch(&s->input, s->stdin_length && !s->stage_left ? EPOLLOUT : 0);
}

static int bytes_in(const struct source *source) {
	int bytes = 0;
	return source->fd < 0 || ioctl(source->fd, FIONREAD, &bytes) ? 0 : bytes;
}

void session_limit_output(struct session *s) {
	s->limited = true;
	s->output_left = bytes_in(&s->output);
	s->errors_left = bytes_in(&s->errors);
	if (!s->output_left)
		source_close(&s->output);
	if (!s->errors_left)
		source_close(&s->errors);
}
