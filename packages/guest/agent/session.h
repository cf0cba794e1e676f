/* One exec connection and the process it started. */
#ifndef SESSION_H
#define SESSION_H

#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

/* Takes over a connected, non-blocking socket; closes it when there are too many sessions. */
void session_open(int connection);

/* A child was reaped. Children that belong to no session are orphans of the guest's; nothing to do for them. */
void session_child_exited(pid_t pid, int wait_status, const struct rusage *usage);

/* Does what is due (timeouts, grace periods). Returns the ms until the next such moment, or -1. */
int sessions_tick(void);

/* Sends a signal to the process group of every session. */
void sessions_signal(int signal_number);
int sessions_count(void);

#endif
