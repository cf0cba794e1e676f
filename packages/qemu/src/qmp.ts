import type { Duplex } from "node:stream";
import { QemuError } from "./error.js";

/** The most that an answer may take, in characters; those to our commands have a few dozen. */
const MAX_LINE_LENGTH = 1 << 20;
/** How long QEMU may take for a command. To stop the rings of a device takes it up to 2 s each. */
const TIMEOUT_MS = 30_000;

interface Command {
  readonly name: string;
  readonly timer: NodeJS.Timeout;
  settle(answer: unknown): void;
  reject(error: QemuError): void;
}

/**
 * QEMU's monitor (docs/interop/qmp-spec.txt of QEMU): JSON, one value a line. It greets, answers commands in their
 * order, and tells of events in between, which are not listened to. Commands wait for the greeting.
 */
export class QmpClient {
  readonly #channel: Duplex;
  readonly #waiting: Command[] = [];
  #received = "";
  #end: QemuError | undefined;

  /** Takes ownership of `channel`. */
  constructor(channel: Duplex) {
    this.#channel = channel;
    channel.setEncoding("utf8").on("data", (text: string) => this.#receive(text));
    channel.on("error", (cause) => this.#fail(ended(cause)));
    channel.on("close", () => this.#fail(ended()));
    // Until this is sent QEMU takes no other command.
    this.execute("qmp_capabilities").catch(() => {});
  }

  /**
   * Runs a command; gives what it returns.
   *
   * @throws {@link QemuError} ERR_QEMU_ENDED, or ERR_QEMU_COMMAND with what QEMU says
   */
  execute(name: string): Promise<unknown> {
    if (this.#end !== undefined) return Promise.reject(this.#end);
    return new Promise((resolve, reject) => {
      const late = () => this.#fail(refused(name, `it did not answer in ${TIMEOUT_MS / 1000} s`));
      const timer = setTimeout(late, TIMEOUT_MS).unref();
      this.#waiting.push({ name, timer, settle: resolve, reject });
      this.#channel.write(`${JSON.stringify({ execute: name })}\n`);
    });
  }

  #receive(text: string): void {
    const lines = (this.#received + text).split("\n");
    this.#received = lines.pop() ?? "";
    for (const line of lines) this.#read(line);
    if (this.#received.length > MAX_LINE_LENGTH) this.#fail(garbled("a line without an end"));
  }

  #read(line: string): void {
    if (line.trim() === "" || this.#end !== undefined) return;
    let answer: unknown;
    try {
      answer = JSON.parse(line);
    } catch {
      // Told below, as is a value that is no object.
    }
    if (typeof answer !== "object" || answer === null) {
      this.#fail(garbled(line));
    } else if ("return" in answer || "error" in answer) {
      this.#answer(answer, line);
    } else if (!("QMP" in answer || "event" in answer)) {
      this.#fail(garbled(line));
    }
  }

  #answer(answer: { return?: unknown } | { error: unknown }, line: string): void {
    const command = this.#waiting.shift();
    if (command === undefined) {
      this.#fail(garbled(line));
      return;
    }
    clearTimeout(command.timer);
    if ("error" in answer) command.reject(refused(command.name, description(answer.error)));
    else command.settle(answer.return);
  }

  /** After a fault nobody knows any more which answer belongs to what. */
  #fail(error: QemuError): void {
    this.#end ??= error;
    for (const { timer, reject } of this.#waiting.splice(0)) {
      clearTimeout(timer);
      reject(error);
    }
    this.#channel.destroy();
  }
}

function ended(cause?: Error): QemuError {
  return new QemuError("ERR_QEMU_ENDED", "the machine has ended", { cause });
}

function refused(command: string, why: string): QemuError {
  return new QemuError("ERR_QEMU_COMMAND", `QEMU's monitor refused "${command}": ${why}`);
}

function garbled(line: string): QemuError {
  const shown = JSON.stringify(line.slice(0, 100));
  return new QemuError(
    "ERR_QEMU_COMMAND",
    `QEMU's monitor said what is not of its protocol: ${shown}`,
  );
}

function description(error: unknown): string {
  const isObject = typeof error === "object" && error !== null;
  return isObject && "desc" in error ? String(error.desc) : JSON.stringify(error);
}
