import { StringDecoder } from "node:string_decoder";

/** UTF-16 code units of one line: what makes a foreign process cost no more memory than this. */
export const MAX_LINE = 1 << 20;

/** Cuts a stream of bytes into JSON values, one a line. */
export class JsonLines {
  readonly #onValue: (value: unknown) => void;
  readonly #maxLine: number;
  readonly #decoder = new StringDecoder("utf8");
  #partial: string[] = [];
  #partialLength = 0;

  constructor(onValue: (value: unknown) => void, maxLine = MAX_LINE) {
    this.#onValue = onValue;
    this.#maxLine = maxLine;
  }

  /** @throws SyntaxError for a line that is no JSON, or is too long. What follows is lost then. */
  push(bytes: Buffer): void {
    const lines = this.#decoder.write(bytes).split("\n");
    const rest = lines.pop() ?? "";
    for (const line of lines) {
      this.#keep(line);
      const whole = this.#partial.join("");
      this.#partial = [];
      this.#partialLength = 0;
      this.#onValue(JSON.parse(whole));
    }
    if (rest !== "") this.#keep(rest);
  }

  #keep(part: string): void {
    this.#partial.push(part);
    this.#partialLength += part.length;
    if (this.#partialLength > this.#maxLine) {
      throw new SyntaxError(`a line of over ${this.#maxLine} characters`);
    }
  }
}
