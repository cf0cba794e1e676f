import { StringDecoder } from "node:string_decoder";

const PANIC = "Kernel panic - not syncing";
const MAX_LINES = 100;
const MAX_LINE_LENGTH = 1000;

/** The last 100 lines of a console, for messages to people: bounded however much a guest prints. */
export class ConsoleLog {
  readonly #decoder = new StringDecoder("utf8");
  readonly #lines: string[] = [];
  #partial = "";
  #panic: string | undefined;

  append(bytes: Uint8Array): void {
    const text = this.#partial + this.#decoder.write(Buffer.from(bytes));
    const lines = text.split("\n");
    // An endless line keeps its beginning: a panic message has its reason there.
    this.#partial = (lines.pop() ?? "").slice(0, MAX_LINE_LENGTH);
    for (const line of lines) this.#add(line.replace(/\r$/, "").slice(0, MAX_LINE_LENGTH));
  }

  /** Oldest first, the unfinished last line included. */
  lines(): string[] {
    return this.#partial === "" ? [...this.#lines] : [...this.#lines, this.#partial];
  }

  /** The line in which the guest's kernel said that it panicked. */
  get panic(): string | undefined {
    return this.#panic;
  }

  #add(line: string): void {
    if (line.includes(PANIC)) this.#panic ??= line;
    this.#lines.push(line);
    if (this.#lines.length > MAX_LINES) this.#lines.shift();
  }
}
