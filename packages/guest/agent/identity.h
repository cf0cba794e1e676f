/* What makes a machine another than its twin: names and ids, the wall clock, random numbers. */
#ifndef IDENTITY_H
#define IDENTITY_H

#include "sync.h"

/* Names the machine, also in /etc/hosts. */
void identity_open(const char *hostname);

/* Takes over what the host gives: at the start, and after a restore. */
void identity_sync(const struct sync_request *request);

#endif
