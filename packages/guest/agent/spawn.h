/* Starting a process for an exec request. */
#ifndef SPAWN_H
#define SPAWN_H

#include <stdint.h>
#include <sys/types.h>

#include "frame.h"

/* The agent's ends, all non-blocking and close-on-exec; -1 where there is none. */
struct spawned {
	pid_t pid;
	int input;  /* written: stdin, or the terminal */
	int output; /* read: stdout, or the terminal */
	int errors; /* read: stderr */
	int stage;  /* written: the staged files of the request, before the first command */
	int status; /* read: a struct spawn_error when the program could not be started, else end of file */
};

/* Written in one piece: it is smaller than PIPE_BUF. */
struct spawn_error {
	uint32_t kind; /* enum error_kind */
	int32_t code;  /* errno, or 0 */
	char message[256];
};

/* Runs one of the request's commands in a group of cgroup.h. Returns 0, or the errno for which no process could be made. All that may block or fail because of the guest's own
 * files (its user database, working directory, program) happens in the new process, so it holds up nobody else. */
int spawn(const struct exec_request *request, int command, int group, struct spawned *out);

#endif
