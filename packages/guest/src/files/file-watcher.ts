import { AgentError } from "../errors.js";
import type { GuestProcess } from "../guest-process.js";
import { type WatchRecord, WatchRecordDecoder } from "./watch-record.js";

/** Something that happened to a file. */
export interface FileChange {
  /**
   * A file that is renamed is `removed` and `created`. `attributes`: mode, owner, times, number of
   * names. `overflow`: changes came faster than they were taken, or there are too many directories to
   * watch: look again.
   */
  readonly type: "created" | "modified" | "removed" | "attributes" | "overflow";
  /** Absolute path in the guest; for `overflow` the watched one. */
  readonly path: string;
}

/**
 * Changes below a path of the guest, from when `ready` resolves. Iterate over it once; the loop ends
 * when the watched path itself is gone, or after {@link FileWatcher.close}. What is not taken waits in
 * the guest, 16,384 changes at most.
 */
export class FileWatcher implements AsyncIterable<FileChange>, Disposable {
  /** Resolves when every later change will be seen. Rejects with what the loop throws. */
  readonly ready: Promise<void>;
  readonly #process: GuestProcess;
  readonly #path: string;
  readonly #records: AsyncGenerator<WatchRecord>;
  #closed = false;

  /** Use {@link GuestFiles.watch}. `ended` rejects when the watching process fails. */
  constructor(path: string, process: GuestProcess, ended: Promise<unknown>) {
    this.#path = path;
    this.#process = process;
    this.#records = records(process, ended);
    this.ready = this.#records.next().then(({ value }) => {
      if (this.#closed || value?.kind === "ready") return;
      throw new AgentError("ERR_AGENT_PROTOCOL", "the agent did not say that it watches");
    });
    this.ready.catch(() => {});
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<FileChange> {
    try {
      await this.ready;
      for await (const { kind, path } of this.#records) {
        if (this.#closed) return;
        if (kind === "ready") continue;
        yield { type: kind, path: path === "" ? this.#path : join(this.#path, path) };
      }
    } catch (error) {
      if (!this.#closed) throw error;
    } finally {
      this.close();
    }
  }

  /** Stops watching. Idempotent. */
  close(): void {
    this.#closed = true;
    this.#process.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

async function* records(
  process: GuestProcess,
  ended: Promise<unknown>,
): AsyncGenerator<WatchRecord> {
  const decoder = new WatchRecordDecoder();
  for await (const chunk of process.stdout) yield* decoder.push(chunk as Buffer);
  await ended;
}

function join(directory: string, path: string): string {
  return directory.endsWith("/") ? directory + path : `${directory}/${path}`;
}
