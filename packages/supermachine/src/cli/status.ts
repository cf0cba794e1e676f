/*
 * Exit statuses of the command, as `docker run` and timeout(1) use them. Anything else is the guest
 * command's own status, or 128 + n when signal n ended it.
 */
export const STATUS_USAGE = 125;
export const STATUS_FAILURE = 125;
export const STATUS_TIMED_OUT = 124;
export const STATUS_NOT_EXECUTABLE = 126;
export const STATUS_NOT_FOUND = 127;
export const SIGNAL_BASE = 128;
