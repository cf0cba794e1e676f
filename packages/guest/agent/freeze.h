/*
 * Stops every process of the guest but the agent, and lets them run on. A snapshot is taken while they are stopped:
 * what is restored from it has been given the time, new random numbers and new names before any of them runs.
 *
 * They live in control groups, whose freezer they do not notice (cgroup-v2.rst, "cgroup.freeze"), unlike SIGSTOP.
 */
#ifndef FREEZE_H
#define FREEZE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Makes the group of the processes that the agent starts. Without it freeze_start() fails. */
void freeze_open(void);

/* The directory of that group, or -1: groups below it are frozen with it. */
int freeze_directory(void);

/* fork(2) into a group below that group, or with -1 into itself: while it is frozen, the child does not run. */
pid_t freeze_fork(int subgroup_fd);

/* Begins to stop all processes. `done` is called, perhaps at once, with 0, or with an errno and what does not stop after
 * `timeout_ms`; all of them run again then. */
void freeze_start(uint32_t timeout_ms, void (*done)(int code, const char *message));

/* Lets all processes run that freeze_start() has stopped. */
void thaw(void);

bool frozen(void);

/* Does what is due. Returns the ms until the next such moment, or -1. */
int freeze_tick(void);

#endif
