import koffi from "koffi";
import { check, lastErrno, SystemCallError } from "./errno.js";
import { lazyFunction } from "./native.js";

const EAGAIN = process.platform === "darwin" ? 35 : 11;
const EFD_CLOEXEC = 0x80000;
const EFD_NONBLOCK = 0x800;

const eventfdNative = lazyFunction<(initial: number, flags: number) => number>(
  "int eventfd(unsigned int initval, int flags)",
);
const readNative = lazyFunction<(fd: number, buffer: Uint8Array, length: number) => number>(
  "intptr_t read(int fd, void *buf, size_t count)",
);
const writeNative = lazyFunction<(fd: number, buffer: Uint8Array, length: number) => number>(
  "intptr_t write(int fd, const void *buf, size_t count)",
);

const closeNative = lazyFunction<(fd: number) => number>("int close(int fd)");

/**
 * Closes a file descriptor that Node.js did not open. (In worker threads `fs.closeSync` warns about
 * those, and Node.js closes at exit those that `fs.openSync` gave: close each as it was opened.)
 */
export function closeFd(fd: number): void {
  check(closeNative(fd), "close", `fd ${fd}`);
}

const fcntlNative = lazyFunction<
  (fd: number, command: number, type: "int", argument: number) => number
>("int fcntl(int fd, int cmd, ...)");

const F_GETFL = 3;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;

/** Whether reads and writes of the open file `fd` return instead of waiting, for everyone who has it. */
export function setNonBlocking(fd: number, nonBlocking = true): void {
  const flags = check(fcntlNative(fd, F_GETFL, "int", 0), "fcntl", `fd ${fd}`);
  const wanted = nonBlocking ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
  check(fcntlNative(fd, F_SETFL, "int", wanted), "fcntl", `fd ${fd}`);
}

interface PollHandle {
  close(): void;
  ref(): void;
  unref(): void;
}

interface KoffiNode {
  poll(fd: number, options: { readable: boolean }, callback: () => void): PollHandle;
}

/** A watch of a file descriptor on this thread's event loop. */
export interface Watch extends Disposable {
  /** Ends the watch; call it before closing the fd. */
  close(): void;
  /** Lets the event loop end although the watch is active. */
  unref(): void;
}

/** koffi ends a watch whose handle nothing refers to any more. */
const openWatches = new Set<PollHandle>();

/**
 * Calls `onReadable` from this thread's event loop while `fd` is readable (level-triggered).
 * Works for eventfds, sockets, pipes and /dev/fuse; about 3 us an event.
 */
export function watchReadable(fd: number, onReadable: () => void): Watch {
  const handle = (koffi as unknown as { node: KoffiNode }).node.poll(
    fd,
    { readable: true },
    onReadable,
  );
  openWatches.add(handle);
  const close = () => {
    if (openWatches.delete(handle)) handle.close();
  };
  return { close, unref: () => handle.unref(), [Symbol.dispose]: close };
}

const one = new Uint8Array(new BigUint64Array([1n]).buffer);
const drained = new Uint8Array(8);

/** An eventfd(2) counter: the doorbell between threads, processes, KVM and vhost-user peers. */
export class EventFd implements Disposable {
  readonly fd: number;
  #open = true;

  /** Takes ownership of an existing eventfd, or makes a new non-blocking one. */
  constructor(fd?: number) {
    this.fd = fd ?? check(eventfdNative(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd");
  }

  /** Adds one to the counter. */
  signal(): void {
    // EAGAIN means that the counter is at its maximum: the signal is pending already.
    if (writeNative(this.fd, one, 8) === -1 && lastErrno() !== EAGAIN) {
      throw new SystemCallError("write", lastErrno(), "to an eventfd");
    }
  }

  /** Resets the counter; tells whether it was signalled. */
  drain(): boolean {
    return readNative(this.fd, drained, 8) === 8;
  }

  /** Drains the counter and calls `onSignal`, on this thread's event loop, whenever it is signalled. */
  watch(onSignal: () => void): Watch {
    return watchReadable(this.fd, () => {
      if (this.drain()) onSignal();
    });
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeFd(this.fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
