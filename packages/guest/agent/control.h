/* The control connection: says hello when the machine is ready, then serves PING, SYNC and SHUTDOWN. It is opened
 * again whenever it breaks, as it does when a snapshot is restored. */
#ifndef CONTROL_H
#define CONTROL_H

#include <stdbool.h>
#include <stdint.h>

struct control_events {
	void (*shutdown)(uint32_t grace_ms);
	/* The host's wall clock and entropy: at the start, and after a restore. */
	void (*sync)(uint64_t realtime_ns, const uint8_t *entropy, uint32_t entropy_length);
};

void control_open(uint64_t agent_start_ns, const struct control_events *events);

/* Does what is due. Returns the ms until the next such moment, or -1. */
int control_tick(void);

/* Why the host was not reached in the time given to it at the start, or NULL while there is hope. */
const char *control_hopeless(void);

/* Tells the host, if it listens, why there will be no hello. Takes a second or two at most. */
void control_report_failure(const char *message);

#endif
