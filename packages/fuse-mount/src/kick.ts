import {
  addressOf,
  check,
  cLibrary,
  lazyFunction,
  type Pointer,
} from "@supermachine-internal/libc";
import { defineStruct } from "@supermachine-internal/struct";
import { FuseMountError } from "./error.js";

// A thread that waits in read(2) is woken by a signal, to look whether it should stop. The handler may
// run at any point of the thread, so it cannot be JavaScript: it is libc's abs(), which touches nothing
// but its argument register. Without SA_RESTART, so that the read fails with EINTR.

/** glibc's `struct sigaction` on x86-64 and arm64. */
export const sigaction = defineStruct("sigaction", 152, {
  sa_handler: "u64",
  sa_mask: { bytes: 128 },
  sa_flags: "u32",
  _pad: "u32",
  sa_restorer: "u64",
});

const SA_RESTART = 0x1000_0000;
/**
 * SIGURG, or else SIGIO: the kernel sends them only to who asks. Standard signals, since real-time ones
 * would queue. Taken only without another handler; one that restarts system calls is of no use.
 */
const CANDIDATES = [23, 29] as const;

const SYS_gettid = process.arch === "arm64" ? 178 : 186;
const SYS_tgkill = process.arch === "arm64" ? 131 : 234;

const sigactionNative = lazyFunction<
  (signal: number, action: Pointer, previous: Pointer) => number
>("int sigaction(int signum, const void *act, void *oldact)");
const syscallNative = lazyFunction<(number: number, a: number, b: number, c: number) => number>(
  "long syscall(long number, long a, long b, long c)",
);

let kickSignal: number | undefined;

/** Has a signal of this process end system calls. Throws {@link FuseMountError}. */
export function installKickSignal(): void {
  if (kickSignal !== undefined) return;
  const handler = addressOf(cLibrary().symbol("abs"));
  for (const signal of CANDIDATES) {
    const previous = Buffer.alloc(sigaction.size);
    check(sigactionNative(signal, null, previous), "sigaction", `signal ${signal}`);
    const { sa_handler: owner, sa_flags: flags } = sigaction.decode(previous);
    const ours = owner === handler && (flags & SA_RESTART) === 0;
    if (owner !== 0n && !ours) continue;
    const action = Buffer.alloc(sigaction.size);
    const fields = { sa_handler: handler, sa_flags: 0, sa_restorer: 0n };
    sigaction.encode({ ...fields, sa_mask: new Uint8Array(128), _pad: 0 }, action);
    check(sigactionNative(signal, action, null), "sigaction", `signal ${signal}`);
    kickSignal = signal;
    return;
  }
  throw new FuseMountError(
    "ERR_FUSE_MOUNT_SIGNAL",
    "threads need one of SIGURG and SIGIO, and this process handles both: mount without threads",
  );
}

/** Of the calling thread, for {@link kick}. */
export function currentThreadId(): number {
  return syscallNative(SYS_gettid, 0, 0, 0);
}

/** Wakes a thread of this process. It may have ended meanwhile, which is as good. */
export function kick(threadId: number): void {
  if (kickSignal !== undefined) syscallNative(SYS_tgkill, process.pid, threadId, kickSignal);
}
