import { randomUUID } from "node:crypto";
import type { BroadcastChannel } from "node:worker_threads";
import type { Notifier } from "@supermachine/fuse-server";
import type { Settings } from "../options.js";
import { ClientView } from "./client-view.js";
import { PosixWatcher } from "./posix-watcher.js";
import { listenTo, RemoteRegistry, type WatcherAddress } from "./remote-registry.js";
import { type WatchedNodes, WatchRecorder } from "./watch-recorder.js";

function watcherOf(nodes: WatchedNodes, view: ClientView, settings: Settings): PosixWatcher {
  return new PosixWatcher(nodes, view, {
    cachesAbsence: settings.negativeTimeoutMs > 0,
    followsLinks: settings.symlinks === "follow",
  });
}

/** The watching of a backend that alone serves its client. */
export function watchAlone(nodes: WatchedNodes, settings: Settings): WatchRecorder {
  const view = new ClientView();
  const watcher = watcherOf(nodes, view, settings);
  return new WatchRecorder(nodes, view, watcher, settings.maxWatches);
}

/** The watching of one of several backends that serve a client. */
export function watchFor(
  address: WatcherAddress,
  nodes: WatchedNodes,
  settings: Settings,
): WatchRecorder {
  const view = new ClientView(address.view);
  return new WatchRecorder(nodes, view, new RemoteRegistry(address), settings.maxWatches);
}

/** The watcher of a client that several threads serve, on the thread of this object, which has time for it. */
export class SharedWatch implements Disposable {
  readonly address: WatcherAddress;
  readonly #watcher: PosixWatcher;
  readonly #channel: BroadcastChannel;

  /** @throws `PosixBackendError` `ERR_POSIX_WATCH`. */
  constructor(nodes: WatchedNodes, settings: Settings) {
    const view = new ClientView();
    this.#watcher = watcherOf(nodes, view, settings);
    const channel = `supermachine-watch-${randomUUID()}`;
    this.address = { fd: this.#watcher.fd, view: view.memory, channel };
    this.#channel = listenTo(channel, this.#watcher);
  }

  /** A client is about to connect. */
  attach(notifier: Notifier): void {
    this.#watcher.attach(notifier);
    this.#watcher.start();
  }

  close(): void {
    this.#channel.close();
    this.#watcher.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
