/* Commands for locks; they never wait. */
#include "executor.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

static void run_flock(char **arg, int args)
{
	(void)args;
	answer_result(flock(slots[slot_of(arg[0])], number_of(arg[1]) | LOCK_NB));
}

static struct flock range_of(char **arg)
{
	return (struct flock){
		.l_type = number_of(arg[1]),
		.l_whence = SEEK_SET,
		.l_start = number_of(arg[2]),
		.l_len = number_of(arg[3]),
	};
}

/* lock SLOT TYPE START LENGTH: the record lock of a process. */
static void run_lock(char **arg, int args)
{
	struct flock range = range_of(arg);

	(void)args;
	answer_result(fcntl(slots[slot_of(arg[0])], F_SETLK, &range));
}

/* The record lock of an open file description. */
static void run_ofd_lock(char **arg, int args)
{
	struct flock range = range_of(arg);

	(void)args;
	answer_result(fcntl(slots[slot_of(arg[0])], F_OFD_SETLK, &range));
}

/* What stands in the way of a lock. */
static void run_getlk(char **arg, int args)
{
	struct flock range = range_of(arg);

	(void)args;
	if (fcntl(slots[slot_of(arg[0])], F_GETLK, &range) < 0)
		answer_result(-1);
	else if (range.l_type == F_UNLCK)
		answer("free");
	else
		answer("%s %jd %jd", range.l_type == F_WRLCK ? "write" : "read", (intmax_t)range.l_start,
		       (intmax_t)range.l_len);
}

const struct command lock_commands[] = {
	{ "flock", run_flock, 2, 2 },
	{ "lock", run_lock, 4, 4 },
	{ "ofdlock", run_ofd_lock, 4, 4 },
	{ "getlk", run_getlk, 4, 4 },
	{ 0 },
};
