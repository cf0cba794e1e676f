import type { LogEntry } from "../machine/config.js";
import { Vm } from "../vm.js";

/** The flags of `supermachine logs`, as parsed. */
export interface LogFlags {
  readonly follow: boolean;
  readonly tail?: number;
  readonly console: boolean;
  readonly timestamps: boolean;
}

/** A piece of a log that ends with its line, or where another stream cuts in. */
interface Line extends LogEntry {
  /** Whether it begins a line, not goes on with one. */
  readonly fresh: boolean;
}

/** Cuts entries where their lines end. */
async function* lines(entries: AsyncIterable<LogEntry>): AsyncGenerator<Line> {
  const open = new Map<LogEntry["source"], boolean>();
  for await (const entry of entries) {
    for (const text of entry.text.split(/(?<=\n)/)) {
      yield { ...entry, text, fresh: open.get(entry.source) !== true };
      open.set(entry.source, !text.endsWith("\n"));
    }
  }
}

function print({ text, source, time, fresh }: Line, timestamps: boolean): Promise<void> {
  const prefix = timestamps && fresh ? `${new Date(time).toISOString()} ` : "";
  const stream = source === "stderr" ? process.stderr : process.stdout;
  return new Promise((resolve) => {
    // A reader that is slow is waited for; one that is gone is not.
    if (stream.write(`${prefix}${text}`) || stream.destroyed) resolve();
    else stream.once("drain", resolve).once("close", resolve);
  });
}

/** `supermachine logs` */
export async function showLogs(machine: string, flags: LogFlags): Promise<void> {
  const { follow, tail = Number.POSITIVE_INFINITY, timestamps } = flags;
  const vm = await Vm.connect(machine);
  const closed = new AbortController();
  process.stdout.once("close", () => closed.abort());
  const wantsConsole = flags.console || vm.description.command === undefined;
  const wanted = ({ source }: LogEntry) => (source === "console") === wantsConsole;
  try {
    const kept: Line[] = [];
    let fresh = 0;
    let since = 0;
    for await (const line of lines(vm.logs())) {
      since = line.cursor;
      if (!wanted(line)) continue;
      kept.push(line);
      if (line.fresh) fresh += 1;
      while (fresh > tail) {
        if (kept.shift()?.fresh) fresh -= 1;
        while (kept[0]?.fresh === false) kept.shift();
      }
    }
    for (const line of kept) await print(line, timestamps);
    if (!follow) return;
    for await (const line of lines(vm.logs({ since, follow, signal: closed.signal }))) {
      if (wanted(line)) await print(line, timestamps);
    }
  } finally {
    vm.close();
  }
}
