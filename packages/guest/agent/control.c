#include "control.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel.h"
#include "frame.h"
#include "loop.h"

enum {
	FIRST_CONNECT_MS = 10000,
	/* After a restore the guest waits for the host, which waits for this connection: it is tried anew at once, and
	 * then often. */
	RETRY_MIN_MS = 1,
	RETRY_MAX_MS = 128,
	MESSAGE_MAX = 256,
};

static struct control_events handlers;
static struct source connection = {.fd = -1};
static bool connected, connected_once;
static uint64_t start_ns, ready_ns;
static int64_t retry_at_ms, give_up_ms;
static int retry_ms;
static char failure[160];

static uint8_t in[FRAME_HEADER + FRAME_SMALL_MAX];
static size_t in_length;
static uint8_t out[1024];
static size_t out_length;

static void retry_later(int code) {
	source_close(&connection);
	connected = false;
	in_length = out_length = 0;
	retry_at_ms = now_ms() + retry_ms;
	retry_ms = !retry_ms ? RETRY_MIN_MS : retry_ms * 2 < RETRY_MAX_MS ? retry_ms * 2 : RETRY_MAX_MS;
	bool no_device = code == ENODEV || code == EAFNOSUPPORT;
	if (!connected_once && (no_device || now_ms() >= give_up_ms))
		snprintf(failure, sizeof failure, "connect to the host, port %d: %s%s", CONTROL_PORT, strerror(code),
			no_device ? " (the machine has no vsock device)" : "");
}

static void flush(void) {
	while (connected && out_length) {
		ssize_t n = send(connection.fd, out, out_length, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			retry_later(errno);
			return;
		}
		out_length -= (size_t)n;
		memmove(out, out + n, out_length);
	}
	source_watch(&connection, EPOLLIN | (out_length || !connected ? (uint32_t)EPOLLOUT : 0));
}

/* NULL when the host sends requests and does not read the replies. */
static uint8_t *out_frame(enum frame_type type, size_t length) {
	if (out_length + FRAME_HEADER + length > sizeof out)
		return NULL;
	uint8_t *payload = put_frame_header(out + out_length, type, length);
	out_length += FRAME_HEADER + length;
	return payload;
}

static void say_hello(void) {
	connected = connected_once = true;
	retry_ms = 0;
	uint8_t *at = out_frame(FRAME_HELLO, 24);
	at = put_u32(put_u32(at, PROTOCOL_VERSION), handlers.frozen() ? HELLO_FROZEN : 0);
	put_u64(put_u64(at, start_ns), ready_ns);
}

void control_frozen(int code, const char *message) {
	size_t length = strnlen(message, MESSAGE_MAX);
	/* Nobody may be there to hear it: then hello tells. */
	uint8_t *at = connected ? out_frame(FRAME_FROZEN, 4 + length) : NULL;
	if (!at)
		return;
	memcpy(put_u32(at, (uint32_t)code), message, length);
	flush();
}

static bool handle_frame(const struct frame *frame) {
	uint8_t *reply;
	struct sync_request sync;
	switch (frame->type) {
	case FRAME_PING:
		if (frame->length != 8 || !(reply = out_frame(FRAME_PONG, 8)))
			return false;
		memcpy(reply, frame->payload, 8);
		return true;
	case FRAME_SYNC:
		if (!sync_request_parse(frame->payload, frame->length, &sync) || !out_frame(FRAME_SYNCED, 0))
			return false;
		handlers.sync(&sync);
		return true;
	case FRAME_FREEZE:
		if (frame->length != 4)
			return false;
		handlers.freeze(get_u32(frame->payload));
		return true;
	case FRAME_THAW:
		if (frame->length || !out_frame(FRAME_THAWED, 0))
			return false;
		handlers.thaw();
		return true;
	case FRAME_SHUTDOWN:
		if (frame->length != 4)
			return false;
		handlers.shutdown(get_u32(frame->payload));
		return true;
	default:
		return false;
	}
}

static bool handle_received(void) {
	size_t at = 0;
	for (;;) {
		struct frame frame;
		long size = frame_parse(in + at, in_length - at, &frame);
		if (size < 0 || size > (long)sizeof in)
			return false;
		if (!size || (size_t)size > in_length - at)
			break;
		if (!handle_frame(&frame))
			return false;
		at += (size_t)size;
	}
	in_length -= at;
	memmove(in, in + at, in_length);
	return true;
}

static void on_connection(struct source *source, uint32_t events) {
	if (!connected) {
		int code = 0;
		socklen_t size = sizeof code;
		getsockopt(source->fd, SOL_SOCKET, SO_ERROR, &code, &size);
		if (code) {
			retry_later(code);
			return;
		}
		say_hello();
	} else if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		ssize_t n = recv(source->fd, in + in_length, sizeof in - in_length, 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n > 0)
			in_length += (size_t)n;
		if (n <= 0 || !handle_received()) {
			retry_later(n < 0 ? errno : EPROTO);
			return;
		}
	}
	flush();
}

static void try_connect(void) {
	int fd = channel_connect(CONTROL_PORT);
	if (fd < 0) {
		retry_later(errno);
		return;
	}
	source_init(&connection, fd, on_connection);
	source_watch(&connection, EPOLLOUT);
}

void control_open(uint64_t agent_start_ns, const struct control_events *events) {
	handlers = *events;
	start_ns = agent_start_ns;
	ready_ns = now_ns();
	retry_ms = RETRY_MIN_MS;
	give_up_ms = now_ms() + FIRST_CONNECT_MS;
	try_connect();
}

int control_tick(void) {
	if (connection.fd < 0 && now_ms() >= retry_at_ms)
		try_connect();
	if (connection.fd >= 0)
		return -1;
	int64_t wait = retry_at_ms - now_ms();
	return wait > 0 ? (int)wait : 0;
}

const char *control_hopeless(void) { return *failure ? failure : NULL; }

void control_report_failure(const char *message) {
	int fd = channel_connect(CONTROL_PORT);
	struct pollfd pollfd = {.fd = fd, .events = POLLOUT};
	if (fd < 0 || poll(&pollfd, 1, 1000) != 1)
		return;
	uint8_t frame[FRAME_HEADER + 512];
	size_t length = strnlen(message, 512);
	memcpy(put_frame_header(frame, FRAME_FAILED, length), message, length);
	if (send(fd, frame, FRAME_HEADER + length, MSG_NOSIGNAL) < 0)
		return;
	/* The power goes off next: wait until the host has read it. */
	shutdown(fd, SHUT_WR);
	pollfd.events = POLLIN;
	poll(&pollfd, 1, 1000);
}
