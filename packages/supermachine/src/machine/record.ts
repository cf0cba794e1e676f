import { StringDecoder } from "node:string_decoder";
import type { EventOptions, LogEntry, LogOptions, LogSource, MachineEvent } from "./config.js";
import { Journal } from "./journal.js";

/** UTF-16 code units of log that are kept, each entry counting as some more. */
const LOG_CAPACITY = 1 << 20;
const ENTRY_OVERHEAD = 64;
const EVENT_CAPACITY = 1000;

type WithoutTime<T> = T extends unknown ? Omit<T, "time"> : never;

/** What a machine has printed and what happened to it, from before its guest answers. */
export class MachineRecord {
  readonly #decoders = new Map<LogSource, StringDecoder>();
  readonly #log = new Journal<Omit<LogEntry, "cursor">>(
    LOG_CAPACITY,
    ({ text }) => text.length + ENTRY_OVERHEAD,
  );
  readonly #events = new Journal<MachineEvent>(EVENT_CAPACITY);

  log(source: LogSource, bytes: Uint8Array): void {
    const decoder = this.#decoders.get(source) ?? new StringDecoder("utf8");
    this.#decoders.set(source, decoder);
    const text = decoder.write(Buffer.from(bytes));
    if (text !== "") this.#log.append({ time: Date.now(), source, text });
  }

  event(event: WithoutTime<MachineEvent>): void {
    this.#events.append({ time: Date.now(), ...event });
  }

  /** Forgets everything: what comes is another guest's. */
  clear(): void {
    this.#decoders.clear();
    this.#log.clear();
    this.#events.clear();
  }

  /** Ends what follows the record; what is in it stays to be read. */
  close(): void {
    this.#log.close();
    this.#events.close();
  }

  async *logs({
    since = 0,
    follow = false,
    source,
    signal,
  }: LogOptions = {}): AsyncGenerator<LogEntry, void, undefined> {
    for await (const { cursor, entry } of this.#log.read(since, follow, signal)) {
      if (source === undefined || entry.source === source) yield { cursor, ...entry };
    }
  }

  async *events({ signal }: EventOptions = {}): AsyncGenerator<MachineEvent, void, undefined> {
    for await (const { entry } of this.#events.read(0, true, signal)) yield entry;
  }
}
