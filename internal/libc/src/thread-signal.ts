import { defineStruct } from "@supermachine-internal/struct";
import { check, lastErrno, SystemCallError } from "./errno.js";
import { addressOf } from "./memory.js";
import { cLibrary, lazyFunction, type Pointer } from "./native.js";

// A thread that waits in a system call is woken by a signal. The handler may run at any point of any
// thread, so it cannot be JavaScript: it is libc's abs(), which touches nothing but its argument register.

/** glibc's `struct sigaction` on x86-64 and arm64. */
export const sigaction = defineStruct("sigaction", 152, {
  sa_handler: "u64",
  sa_mask: { bytes: 128 },
  sa_flags: "u32",
  _pad: "u32",
  sa_restorer: "u64",
});

const SA_RESTART = 0x1000_0000;
const ESRCH = 3;
const SYS_gettid = process.arch === "arm64" ? 178 : 186;
const SYS_tgkill = process.arch === "arm64" ? 131 : 234;

const sigactionNative = lazyFunction<
  (signal: number, action: Pointer, previous: Pointer) => number
>("int sigaction(int signum, const void *act, void *oldact)");
const syscallNative = lazyFunction<(number: number, a: number, b: number, c: number) => number>(
  "long syscall(long number, long a, long b, long c)",
);

/**
 * Has `signal` wake threads of this process. A signal belongs to the whole process, and another handler is
 * never replaced: then this returns false.
 *
 * @param effect - Whether system calls that wait end with EINTR (those that always do aside), or are restarted. Who
 * wants them restarted is content with a signal that ends them.
 */
export function takeSignal(signal: number, effect: "ends calls" | "restarts calls"): boolean {
  const handler = addressOf(cLibrary().symbol("abs"));
  const bytes = Buffer.alloc(sigaction.size);
  check(sigactionNative(signal, null, bytes), "sigaction", `signal ${signal}`);
  const previous = sigaction.decode(bytes);
  if (previous.sa_handler !== 0n) {
    const restarts = (previous.sa_flags & SA_RESTART) !== 0;
    return previous.sa_handler === handler && (effect === "restarts calls" || !restarts);
  }
  sigaction.encode(
    {
      sa_handler: handler,
      sa_mask: new Uint8Array(128),
      sa_flags: effect === "restarts calls" ? SA_RESTART : 0,
      _pad: 0,
      sa_restorer: 0n,
    },
    bytes,
  );
  check(sigactionNative(signal, bytes, null), "sigaction", `signal ${signal}`);
  return true;
}

/** Of the calling thread, for {@link signalThread}. */
export function currentThreadId(): number {
  return syscallNative(SYS_gettid, 0, 0, 0);
}

/** Sends a signal to a thread of this process. One that has ended is nobody to wake. */
export function signalThread(threadId: number, signal: number): void {
  const result = syscallNative(SYS_tgkill, process.pid, threadId, signal);
  if (result === -1 && lastErrno() !== ESRCH) throw new SystemCallError("tgkill", lastErrno());
}
