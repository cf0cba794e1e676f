import { signalThread, takeSignal } from "@supermachine-internal/libc";
import { FuseMountError } from "./error.js";

/**
 * SIGURG, or else SIGIO: the kernel sends them only to who asks. Standard signals, since real-time ones
 * would queue. A read must end, so another's handler that restarts system calls is of no use.
 */
const CANDIDATES = [23, 29] as const;

let kickSignal: number | undefined;

/** Has a signal of this process end system calls. Throws {@link FuseMountError}. */
export function installKickSignal(): void {
  kickSignal ??= CANDIDATES.find((signal) => takeSignal(signal, "ends calls"));
  if (kickSignal !== undefined) return;
  throw new FuseMountError(
    "ERR_FUSE_MOUNT_SIGNAL",
    "threads need one of SIGURG and SIGIO, and this process handles both: mount without threads",
  );
}

/** Wakes a thread that waits in read(2), to look whether it should stop. */
export function kick(threadId: number): void {
  if (kickSignal !== undefined) signalThread(threadId, kickSignal);
}
