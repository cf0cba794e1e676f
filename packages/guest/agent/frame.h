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
	FRAME_STAGE = 0x06,       /* bytes of the staged files; goes against the credit of stdin, and before it */
	/* either connection, host to guest */
	FRAME_PING = 0x11, /* u64 token */
	/* control connection, host to guest */
	FRAME_SHUTDOWN = 0x12, /* u32 ms between SIGTERM and SIGKILL */
	FRAME_SYNC = 0x13,     /* see sync.h */
	FRAME_FREEZE = 0x14,   /* u32 ms in which all processes must have stopped */
	FRAME_THAW = 0x15,     /* empty */
	/* exec connection, guest to host */
	FRAME_STARTED = 0x41,      /* u32 pid */
	FRAME_STDOUT = 0x42,       /* bytes; of a terminal, all output */
	FRAME_STDERR = 0x43,       /* bytes */
	FRAME_EXIT = 0x44,         /* u32 exit_kind, u32 code or signal, u32 timed out, u32 1 if another command follows,
	                            * u64 peak KiB, u64 us */
	FRAME_ERROR = 0x45,        /* u32 error_kind, u32 errno, message */
	FRAME_STDIN_CREDIT = 0x46, /* u32 bytes of STDIN and STAGE taken by the process */
	/* control connection, guest to host */
	FRAME_HELLO = 0x51,  /* u32 version, u32 hello_flags, u64 ns since boot at agent start, u64 ns when ready */
	FRAME_PONG = 0x52,   /* u64 token; on either connection */
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
	ERROR_TOO_LARGE = 8, /* arguments and environment, for execve(2) */
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

/* An rlimit of the request, by the numbers of Linux; RLIM_INFINITY is all ones. */
struct exec_limit {
	int resource;
	uint64_t soft, hard;
};

enum { EXEC_LIMITS_MAX = 16, EXEC_COMMANDS_MAX = 256 };

/* Payload: u32 version, u32 flags, u32 timeout in ms (0: none), u16 columns, u16 rows, u32 commands, u32 envc,
 * u32 limits, u32 0, u64 staged bytes, then for each limit u32 resource, u32 0, u64 soft, u64 hard, then for each
 * command u32 argc, then NUL-terminated strings: cwd, user, argv of each command, env. */
struct exec_request {
	uint32_t flags;
	uint32_t timeout_ms;
	uint16_t columns, rows;
	uint64_t staged; /* bytes of FRAME_STAGE that follow the request */
	int limit_count, command_count;
	struct exec_limit limits[EXEC_LIMITS_MAX];
	char *cwd, *user;
	char ***commands; /* run one after the other, as long as they succeed */
	char **env;       /* NULL-terminated, as every argv; see exec_request_free */
};

/* Head of one staged file: u32 mode, u32 length of path, u32 length of user, u32 0, u64 size; path, user and the
 * file's bytes follow. */
enum { STAGE_HEAD = 24, STAGE_PATH_MAX = 4095, STAGE_USER_MAX = 255 };

struct stage_head {
	uint32_t mode, path_length, user_length;
	uint64_t size;
};

/* Size of the whole frame at the start of `bytes`, 0 when its header is not complete, -1 when no such frame may be
 * sent to the agent. The frame is all there when the result is at most `length`; only then `out->payload` is set. */
long frame_parse(const uint8_t *bytes, size_t length, struct frame *out);

/* Parses the STAGE_HEAD bytes before a file, of which `left` bytes of the request follow. Returns NULL, or what is wrong. */
const char *stage_head_parse(const uint8_t *bytes, uint64_t left, struct stage_head *out);

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
