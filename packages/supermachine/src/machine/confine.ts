import { check, lazyFunction } from "@supermachine-internal/libc";

// <linux/prctl.h>, <bits/resource.h>
const PR_SET_DUMPABLE = 4;
const PR_SET_NO_NEW_PRIVS = 38;
const RLIMIT_CORE = 4;

const prctl = lazyFunction<
  (option: number, arg2: number, arg3: number, arg4: number, arg5: number) => number
>(
  "int prctl(int option, unsigned long arg2, unsigned long arg3, unsigned long arg4, unsigned long arg5)",
);
const setrlimit = lazyFunction<(resource: number, limit: BigUint64Array) => number>(
  "int setrlimit(int resource, const void *limit)",
);

/**
 * Takes from a machine's process what it never needs, for the time when its guest has broken out: programs
 * that it starts gain no rights (no_new_privs), and neither other processes of its user nor a core file
 * show the guest's memory. On Linux; elsewhere nothing.
 *
 * @throws SystemCallError
 */
export function confineMachineProcess(): void {
  if (process.platform !== "linux") return;
  check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl", "PR_SET_NO_NEW_PRIVS");
  check(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl", "PR_SET_DUMPABLE");
  check(setrlimit(RLIMIT_CORE, new BigUint64Array(2)), "setrlimit", "RLIMIT_CORE");
}
