import type { VcpuKickToken } from "@supermachine/hypervisor";
import {
  addressOf,
  currentThreadId,
  signalThread,
  takeSignal,
  viewAt,
} from "@supermachine-internal/libc";
import { kvm_run } from "./abi.js";
import { KvmError } from "./errors.js";

// How a kick works. KVM_RUN ends with EINTR when a signal arrives while it runs; when the signal comes
// too early, before the thread is in the kernel, kvm_run.immediate_exit makes the next KVM_RUN end at
// once.

/**
 * The kick signal unless the driver is told otherwise: SIGURG. Not a real-time signal, because those
 * queue: kicks would pile up, and at RLIMIT_SIGPENDING fail. Nobody else needs it (the kernel sends it
 * for out-of-band data, and only to who asks), debuggers pass it on, and without a handler it is ignored.
 */
export const DEFAULT_KICK_SIGNAL = 23;

const installed = new Set<number>();

/** Takes over `signal` for kicks. System calls of a kicked thread go on; KVM_RUN ends all the same. */
function installHandler(signal: number): void {
  if (installed.has(signal)) return;
  if (!takeSignal(signal, "restarts calls")) {
    throw new KvmError(
      "ERR_KVM_SIGNAL_IN_USE",
      `signal ${signal} has a handler already: pass another kickSignal to new Kvm()`,
    );
  }
  installed.add(signal);
}

/** Words of the memory that the vCPU's thread and its kickers share. */
const CLOSED = 0;
/** Kickers that may be touching the run page right now. */
const KICKERS = 1;
/** A kick that run() has not reported yet. */
const PENDING = 2;

const MAX_WAIT_MS = 1000;

interface KvmKickToken extends VcpuKickToken {
  readonly hypervisor: "kvm";
  readonly processId: number;
  readonly threadId: number;
  readonly signal: number;
  readonly runPage: bigint;
  readonly state: SharedArrayBuffer;
}

const IMMEDIATE_EXIT = kvm_run.offsets.immediate_exit;

/** The vCPU's side of kicks. Made on the thread that runs the vCPU. */
export class KickTarget {
  readonly token: VcpuKickToken;
  readonly #state: Int32Array;
  readonly #page: Uint8Array;

  constructor(page: ArrayBuffer, signal: number) {
    installHandler(signal);
    const state = new SharedArrayBuffer(3 * Int32Array.BYTES_PER_ELEMENT);
    this.#state = new Int32Array(state);
    this.#page = new Uint8Array(page);
    const token: KvmKickToken = {
      hypervisor: "kvm",
      processId: process.pid,
      threadId: currentThreadId(),
      signal,
      runPage: addressOf(page),
      state,
    };
    this.token = token;
  }

  /**
   * Called when KVM_RUN was interrupted. `immediate_exit` goes before `PENDING`: a kick between the two
   * only makes the next run end at once as well.
   */
  acknowledge(): void {
    Atomics.store(this.#page, IMMEDIATE_EXIT, 0);
    Atomics.store(this.#state, PENDING, 0);
  }

  /** Makes the next KVM_RUN return before its first instruction, until {@link disarm}. */
  arm(): void {
    Atomics.store(this.#page, IMMEDIATE_EXIT, 1);
  }

  /** Ends {@link arm}, but keeps a kick that came meanwhile for the next run. */
  disarm(): void {
    Atomics.store(this.#page, IMMEDIATE_EXIT, 0);
    if (Atomics.load(this.#state, PENDING) !== 0) Atomics.store(this.#page, IMMEDIATE_EXIT, 1);
  }

  /**
   * After this no kicker touches the run page. Waits for those under way, which takes microseconds,
   * but not for ever: a worker terminated in the middle of a kick never leaves it.
   */
  close(): void {
    Atomics.store(this.#state, CLOSED, 1);
    for (let waited = 0; waited < MAX_WAIT_MS; waited++) {
      const kickers = Atomics.load(this.#state, KICKERS);
      if (kickers === 0) return;
      Atomics.wait(this.#state, KICKERS, kickers, 1);
    }
  }
}

interface Kicker {
  readonly state: Int32Array;
  readonly page: Uint8Array;
}

/** Views per vCPU, because making one costs a microsecond. Never touched once the vCPU is closed. */
const kickers = new WeakMap<SharedArrayBuffer, Kicker>();

/** Kicks the vCPU that `token` names: see {@link VmHandle.kick}. */
export function kick(token: VcpuKickToken): void {
  const target = token as Partial<KvmKickToken> & VcpuKickToken;
  const { state: shared, runPage, threadId, signal } = target;
  if (
    target.hypervisor !== "kvm" ||
    target.processId !== process.pid ||
    !(shared instanceof SharedArrayBuffer) ||
    runPage === undefined ||
    threadId === undefined ||
    signal === undefined
  ) {
    throw new KvmError("ERR_KVM_TOKEN", "the kick token is not of a KVM vCPU of this process");
  }
  let kicker = kickers.get(shared);
  const state = kicker?.state ?? new Int32Array(shared);
  // Enter first, then look: close() sets CLOSED first, then waits for those who have entered.
  Atomics.add(state, KICKERS, 1);
  try {
    if (Atomics.load(state, CLOSED) !== 0) return;
    if (kicker === undefined) {
      kicker = { state, page: new Uint8Array(viewAt(runPage, kvm_run.size)) };
      kickers.set(shared, kicker);
    }
    Atomics.store(state, PENDING, 1);
    Atomics.store(kicker.page, IMMEDIATE_EXIT, 1);
    signalThread(threadId, signal);
  } finally {
    Atomics.sub(state, KICKERS, 1);
    Atomics.notify(state, KICKERS);
  }
}
