/* What the three files of a session share: session.c has its connection and its time, session-process.c the commands
 * it runs, session-streams.c the bytes between the two. */
#ifndef SESSION_PRIVATE_H
#define SESSION_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "frame.h"
#include "loop.h"

enum {
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
	struct source connection, status, input, output, errors, stage;

	struct exec_request request;
	uint8_t *payload; /* what the request's strings point into */
	int command;      /* which of the request's commands runs */
	bool stopped;     /* no further command is to run */
	int group;        /* of cgroup.h, or -1 */
	pid_t pid;        /* 0 once reaped: then it may be another process's */
	uint64_t started_ns;
	int64_t deadline_ms; /* of the state, or the request's timeout; 0: none */
	int64_t timeout_ms;  /* when the request's time is over; 0: never */
	bool timed_out;
	bool hung_up; /* the terminal has nobody at its other end, while the process lives */
	/* Set when the grace period ends: bytes that were in the pipe then, all that is still taken from it. */
	bool limited;
	int output_left, errors_left;
	int wait_status;
	uint64_t peak_rss_kib, duration_us;

	uint8_t *in; /* a frame being received; larger than IN_CAPACITY only for FRAME_EXEC */
	size_t in_length, in_capacity;
	uint64_t stage_due, stage_left; /* bytes of staged files that are not yet received, and not yet handed on */
	size_t stdin_length;
	bool stdin_ends;
	uint32_t credit; /* bytes of stdin taken and not yet returned to the host */
	bool pong_owed;
	uint64_t pong_token;
	size_t out_length, out_sent;
	uint8_t stdin_bytes[STDIN_WINDOW];
	uint8_t out[OUT_CAPACITY];
};

/* session.c: what is owed to the host is queued and sent, and each fd is watched for what can happen next. To be called
 * after every event. Frees the session when it is over; the caller must not touch it afterwards. */
void session_update(struct session *s);

/* The session whose process has that id, or NULL. */
struct session *session_of(pid_t pid);

/* session-process.c */
void session_start(struct session *s, const uint8_t *payload, size_t length);
/* To the process group; SIGKILL to all that the request has started. */
void session_signal(struct session *s, int number);
/* The command has ended and its output is sent: reports it, and runs the next one or closes. */
void session_command_ended(struct session *s);

/* session-streams.c. Data waits until the buffer is empty, so there is always room for the few small frames. */
uint8_t *session_frame(struct session *s, enum frame_type type, size_t length);
/* An error is the last frame of a session. */
void session_fail(struct session *s, enum error_kind kind, int code, const char *message);
void session_close_streams(struct session *s);
/* Hands on what has been received of staged files and stdin. */
void session_feed(struct session *s);
void session_watch_streams(struct session *s);
void session_take_streams(struct session *s, int input, int output, int errors, int stage);
/* From now on only what has been written by now counts as output. */
void session_limit_output(struct session *s);

#endif
