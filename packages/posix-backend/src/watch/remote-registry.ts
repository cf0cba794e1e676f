import { BroadcastChannel } from "node:worker_threads";
import type { Notifier } from "@supermachine/fuse-server";
import type { PosixWatcher } from "./posix-watcher.js";
import type { WatchRegistry } from "./watch-recorder.js";

/** What a serving thread needs to know of the watcher, which is on another. It can be posted. */
export interface WatcherAddress {
  /** The inotify instance: descriptors are the process's. */
  readonly fd: number;
  /** Of the `ClientView`. */
  readonly view: SharedArrayBuffer;
  /** The name of the channel that the watcher listens to. */
  readonly channel: string;
}

/** A watch that was added to a directory, or that the client forgot (no wd). */
type Report = readonly [nodeid: number, wd?: number];

/**
 * Stands in for the watcher on a serving thread. Its messages need no turn of this thread's event loop, which may
 * never come: the thread waits for requests.
 */
export class RemoteRegistry implements WatchRegistry {
  readonly fd: number;
  readonly active = true;
  readonly #channel: BroadcastChannel;

  constructor(address: WatcherAddress) {
    this.fd = address.fd;
    this.#channel = new BroadcastChannel(address.channel);
    this.#channel.unref();
  }

  // The thread of the watcher is told of clients itself.
  attach(_notifier: Notifier): void {}
  start(): void {}
  stop(): void {}

  watched(nodeid: number, wd: number): void {
    this.#channel.postMessage([nodeid, wd] satisfies Report);
  }

  forgotten(nodeid: number): void {
    this.#channel.postMessage([nodeid] satisfies Report);
  }

  close(): void {
    this.#channel.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Passes what the {@link RemoteRegistry}s of serving threads report to the watcher; close it at the end. */
export function listenTo(channelName: string, watcher: PosixWatcher): BroadcastChannel {
  const channel = new BroadcastChannel(channelName);
  channel.onmessage = (event) => {
    const [nodeid, wd] = (event as { data: Report }).data;
    if (wd === undefined) watcher.forgotten(nodeid);
    else watcher.watched(nodeid, wd);
  };
  channel.unref();
  return channel;
}
