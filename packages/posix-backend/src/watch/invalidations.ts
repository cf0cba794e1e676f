import type { Notifier } from "@supermachine/fuse-server";

/** Notifications that may wait to be sent. */
const CAPACITY = 65_536;

/** One notification; `name` belongs to those about an entry, `data` to those about an inode. */
type Notification =
  | { readonly kind: "inode"; readonly nodeid: number; readonly data: boolean }
  | {
      readonly kind: "entry";
      readonly parent: number;
      readonly name: string;
      readonly expireOnly: boolean;
    }
  | {
      readonly kind: "deleted";
      readonly parent: number;
      readonly child: number;
      readonly name: string;
    };

/**
 * Sends notifications one after the other: each may have to wait for an operation that the client's
 * kernel has under way, and waits on a thread that the process has few of. When more wait than fit, they
 * all give way to one that covers them.
 */
export class Invalidations {
  readonly #notifier: Notifier;
  readonly #invalidateAll: (send: Invalidations) => Promise<void>;
  #waiting: Notification[] = [];
  #all = false;
  #sending = false;
  #open = true;

  /** @param invalidateAll - Tells the client to forget all it caches. */
  constructor(notifier: Notifier, invalidateAll: (send: Invalidations) => Promise<void>) {
    this.#notifier = notifier;
    this.#invalidateAll = invalidateAll;
  }

  /** Drops cached attributes, and with `data` what is cached of the contents. */
  inode(nodeid: number, data: boolean): void {
    this.#add({ kind: "inode", nodeid, data });
  }

  /** Drops a cached name, or has it looked up again before its next use. */
  entry(parent: number, name: string, expireOnly: boolean): void {
    this.#add({ kind: "entry", parent, name, expireOnly });
  }

  /** Drops the cached name of something that is gone. */
  deleted(parent: number, child: number, name: string): void {
    this.#add({ kind: "deleted", parent, child, name });
  }

  everything(): void {
    this.#all = true;
    this.#waiting = [];
    this.#start();
  }

  /** Sends at once and in its turn; false when the client does not know this notification. */
  async now(send: (notifier: Notifier) => Promise<void>): Promise<boolean> {
    if (!this.#open) return true;
    try {
      await send(this.#notifier);
      return true;
    } catch (error) {
      return !(error instanceof Error && "code" in error && error.code === "EINVAL");
    }
  }

  close(): void {
    this.#open = false;
    this.#waiting = [];
  }

  #add(notification: Notification): void {
    if (this.#waiting.length >= CAPACITY) this.everything();
    else {
      this.#waiting.push(notification);
      this.#start();
    }
  }

  #start(): void {
    if (this.#sending || !this.#open) return;
    this.#sending = true;
    void this.#sendAll();
  }

  async #sendAll(): Promise<void> {
    while (this.#open && (this.#all || this.#waiting.length > 0)) {
      if (this.#all) {
        this.#all = false;
        await this.#invalidateAll(this);
        continue;
      }
      const batch = this.#waiting;
      this.#waiting = [];
      // ENOENT: the client does not know the node or name (any more). Others show at the transport, too.
      for (const notification of batch) {
        if (!this.#all) await this.now((notifier) => send(notifier, notification));
      }
    }
    this.#sending = false;
  }
}

function send(notifier: Notifier, notification: Notification): Promise<void> {
  switch (notification.kind) {
    case "inode":
      return notifier.invalidateInode(notification.nodeid, notification.data ? 0 : -1);
    case "entry": {
      const { parent, name, expireOnly } = notification;
      return notifier.invalidateEntry(parent, name, expireOnly);
    }
    case "deleted":
      return notifier.deleted(notification.parent, notification.child, notification.name);
  }
}
