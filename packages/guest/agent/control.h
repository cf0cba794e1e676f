/* The control connection: says hello when the machine is ready, then serves PING, SYNC, FREEZE, THAW and SHUTDOWN. It
 * is opened again whenever it breaks, as it does when a snapshot is restored. */
#ifndef CONTROL_H
#define CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "sync.h"

struct control_events {
	void (*shutdown)(uint32_t grace_ms);
	/* Wall clock, entropy and names from the host: at the start, and after a restore. */
	void (*sync)(const struct sync_request *request);
	/* Answered by control_frozen(). */
	void (*freeze)(uint32_t timeout_ms);
	void (*thaw)(void);
	bool (*frozen)(void);
};

void control_open(uint64_t agent_start_ns, const struct control_events *events);

/* The answer to FREEZE: 0, or an errno and what did not stop. */
void control_frozen(int code, const char *message);

/* Does what is due. Returns the ms until the next such moment, or -1. */
int control_tick(void);

/* Why the host was not reached in the time given to it at the start, or NULL while there is hope. */
const char *control_hopeless(void);

/* Tells the host, if it listens, why there will be no hello. Takes a second or two at most. */
void control_report_failure(const char *message);

#endif
