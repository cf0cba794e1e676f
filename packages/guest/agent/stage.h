/* Files that a request brings along, written before its program starts. */
#ifndef STAGE_H
#define STAGE_H

#include <stddef.h>
#include <stdint.h>

#include "account.h"

/* In the new process, still as the agent's user: reads `bytes` bytes of staged files from `fd` and writes them, each
 * with the rights of its user, or of `account`. Missing directories are made. A file is filled under another name and
 * then takes its own. Returns 0, or an errno (0 with a message: bytes that are no files) and the message. */
int stage_files(int fd, uint64_t bytes, const struct account *account, char *message, size_t size);

#endif
