import { StringDecoder } from "node:string_decoder";

const PANIC = "Kernel panic - not syncing";

/** The last lines of a console, for messages to people: bounded however much a guest prints. */
export class ConsoleLog {
  readonly #decoder = new StringDecoder("utf8");
  readonly #lines: string[] = [];
  readonly #maxLines: number;
  /** In UTF-16 code units. */
  readonly #maxLineLength: number;
  #partial = "";
  #panic: string | undefined;

  constructor(maxLines = 100, maxLineLength = 1000) {
    this.#maxLines = maxLines;
    this.#maxLineLength = maxLineLength;
  }

  append(bytes: Uint8Array): void {
    const text = this.#partial + this.#decoder.write(Buffer.from(bytes));
    const lines = text.split("\n");
    // An endless line keeps its beginning: a panic message has its reason there.
    this.#partial = (lines.pop() ?? "").slice(0, this.#maxLineLength);
    for (const line of lines) this.#add(line.replace(/\r$/, "").slice(0, this.#maxLineLength));
  }

  /** Forgets everything: what comes next is another machine's. */
  clear(): void {
    this.#decoder.end();
    this.#lines.length = 0;
    this.#partial = "";
    this.#panic = undefined;
  }

  /** Oldest first, the unfinished last line included. */
  lines(): string[] {
    const lines = this.#partial === "" ? this.#lines : [...this.#lines, this.#partial];
    return lines.slice(-this.#maxLines);
  }

  /** The line in which the guest's kernel said that it panicked. */
  get panic(): string | undefined {
    return this.#panic;
  }

  #add(line: string): void {
    if (line.includes(PANIC)) this.#panic ??= line;
    this.#lines.push(line);
    if (this.#lines.length > this.#maxLines) this.#lines.shift();
  }
}
