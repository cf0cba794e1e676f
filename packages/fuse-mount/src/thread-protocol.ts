import type { FsBackend, SessionInfo, SessionOptions } from "@supermachine/fuse-server";
import type { StrayInterrupts } from "./stray-interrupts.js";

// What a serving thread and the thread that started it tell each other.

/** Words of the memory they share. */
export const STOP = 0;
export const STATE = 1;
export const THREAD_ID = 2;
/** The fd of the device, and that of the ring or -1. */
export const DEVICE_FD = 3;
export const RING_FD = 4;
/** 1 while the thread watches, and so gets messages. */
export const WATCHING = 5;
export const CONTROL_WORDS = 6;

// Values of STATE.
export const STARTING = 0;
export const SERVING = 1;
/** The thread does not touch its descriptor any more. */
export const ENDED = 2;

/** The `workerData` of a serving thread. */
export interface ThreadData {
  /** URL of the module that exports `createBackend`. */
  readonly module: string;
  /** For `createBackend`. */
  readonly data: unknown;
  readonly control: SharedArrayBuffer;
  readonly options: Omit<SessionOptions, "logger" | "passthrough">;
  /**
   * The CPUs whose requests this thread takes through io_uring; undefined: none asks for io_uring. It
   * is the first thread that also serves what comes to the device then.
   */
  readonly queues: readonly number[] | undefined;
  /** Memory of {@link StrayInterrupts}. */
  readonly interrupts: SharedArrayBuffer;
  /** Memory for the open modes of the connection, when files may be passed through. */
  readonly ioModes: SharedArrayBuffer | undefined;
}

/** To the thread. */
export type ThreadCommand =
  /** Serve this descriptor; `info` is what INIT agreed on at another thread. */
  | { readonly kind: "serve"; readonly fd: number; readonly info: SessionInfo | undefined }
  /** There are new stray interrupts. Only sent while the thread watches. */
  | { readonly kind: "interrupted" }
  | { readonly kind: "stop" };

/** From the thread. */
export type ThreadReport =
  /** The backend is made. */
  | { readonly kind: "ready" }
  /** INIT is answered. */
  | { readonly kind: "initialized"; readonly info: SessionInfo }
  /** An interrupt is for another thread. */
  | { readonly kind: "interrupted" }
  | { readonly kind: "warning"; readonly message: string; readonly cause: string | undefined }
  /** The connection is gone, or the thread was told to stop. */
  | { readonly kind: "ended"; readonly error: Error | undefined };

/** What a module exports for {@link mountModule}. */
export interface BackendModule {
  /** Called on each thread. What it returns may be disposable. */
  createBackend(data: unknown): unknown;
  /** A backend of the same kind over nothing, to practise on; disposed after that. See `practise`. */
  createPracticeBackend?(): FsBackend & Disposable;
}
