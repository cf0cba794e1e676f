/*
 * The agent protocol on the wire: frames of { u32 payload length, u8 type, payload }, little-endian.
 * src/frames.ts is the host's half of this file; a change here is a new PROTOCOL_VERSION.
 */
#ifndef FRAME_H
#define FRAME_H

#include <stddef.h>
#include <stdint.h>

#define PROTOCOL_VERSION 2

#define CONTROL_PORT 1024 /* the host listens, the agent connects once it is ready */
#define EXEC_PORT 1025    /* the agent listens, one connection per process */

#define FRAME_HEADER 5
#define FRAME_EXEC_MAX (1u << 20)
#define FRAME_DATA_MAX (64u << 10)
#define FRAME_SMALL_MAX 512u

/* Bytes of stdin the host may send beyond what STDIN_CREDIT has returned to it. */
#define STDIN_WINDOW (128u << 10)

enum frame_type {
	/* exec connection, host to guest */
	FRAME_EXEC = 0x01,        /* see struct exec_request */
	FRAME_STDIN = 0x02,       /* bytes */
	FRAME_STDIN_CLOSE = 0x03, /* empty */
	FRAME_SIGNAL = 0x04,      /* u32 signal number, sent to the process group */
	FRAME_RESIZE = 0x05,      /* u16 columns, u16 rows */
	/* control connection, host to guest */
	FRAME_PING = 0x11,     /* u64 token */
	FRAME_SHUTDOWN = 0x12, /* u32 ms between SIGTERM and SIGKILL */
	FRAME_SYNC = 0x13,     /* see sync.h */
	FRAME_FREEZE = 0x14,   /* u32 ms in which all processes must have stopped */
	FRAME_THAW = 0x15,     /* empty */
	/* exec connection, guest to host */
	FRAME_STARTED = 0x41,      /* u32 pid */
	FRAME_STDOUT = 0x42,       /* bytes; of a terminal, all output */
	FRAME_STDERR = 0x43,       /* bytes */
	FRAME_EXIT = 0x44,         /* u32 exit_kind, u32 code or signal, u32 timed out, u32 0, u64 KiB, u64 us */
	FRAME_ERROR = 0x45,        /* u32 error_kind, u32 errno, message */
	FRAME_STDIN_CREDIT = 0x46, /* u32 bytes taken by the process */
	/* control connection, guest to host */
	FRAME_HELLO = 0x51,  /* u32 version, u32 hello_flags, u64 ns since boot at agent start, u64 ns when ready */
	FRAME_PONG = 0x52,   /* u64 token */
	FRAME_FAILED = 0x53, /* message: why the machine could not be set up */
	FRAME_SYNCED = 0x54, /* empty */
	FRAME_FROZEN = 0x55, /* u32 0, or errno and a message: what did not stop; everything runs again then */
	FRAME_THAWED = 0x56, /* empty */
};

enum hello_flags { HELLO_FROZEN = 1 /* the processes of the guest are stopped: a snapshot was taken, or restored */ };

enum exit_kind { EXIT_KIND_CODE = 0, EXIT_KIND_SIGNAL = 1 };

enum error_kind {
	ERROR_PROTOCOL = 1,
	ERROR_NOT_FOUND = 2,
	ERROR_NOT_EXECUTABLE = 3,
	ERROR_UNKNOWN_USER = 4,
	ERROR_CWD = 5,
	ERROR_RESOURCES = 6,
	ERROR_FILE = 7,
};

enum exec_flags {
	EXEC_TTY = 1,
	EXEC_STDIN = 2,
	EXEC_KEEP = 4,    /* survives the loss of its connection; output is dropped from then on */
	EXEC_BUILTIN = 8, /* argv names a function of the agent, see builtin.c */
	EXEC_FLAGS_ALL = 15,
};

struct frame {
	uint8_t type;
	uint32_t length;
	const uint8_t *payload;
};

/* Payload: u32 version, u32 flags, u32 timeout in ms (0: none), u16 columns, u16 rows, u32 argc, u32 envc,
 * then NUL-terminated strings: cwd, user, argv, env. */
struct exec_request {
	uint32_t flags;
	uint32_t timeout_ms;
	uint16_t columns, rows;
	char *cwd, *user;
	char **argv, **env; /* NULL-terminated; one allocation, see exec_request_free */
};

/* Size of the whole frame at the start of `bytes`, 0 when its header is not complete, -1 when no such frame may be
 * sent to the agent. The frame is all there when the result is at most `length`; only then `out->payload` is set. */
long frame_parse(const uint8_t *bytes, size_t length, struct frame *out);

/* Parses the payload of FRAME_EXEC. Strings point into `payload`. Returns NULL, or what is wrong with it. */
const char *exec_request_parse(uint8_t *payload, size_t length, struct exec_request *out);
void exec_request_free(struct exec_request *request);

uint16_t get_u16(const uint8_t *at);
uint32_t get_u32(const uint8_t *at);
uint64_t get_u64(const uint8_t *at);
uint8_t *put_u32(uint8_t *at, uint32_t value); /* both return the next byte */
uint8_t *put_u64(uint8_t *at, uint64_t value);
uint8_t *put_frame_header(uint8_t *at, enum frame_type type, size_t length);

#endif
