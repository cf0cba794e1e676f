// @ts-check
// Running another program from a script: output kept for the error message, nothing hidden.
import { spawn } from "node:child_process";

/** A program that could not be started or ended unsuccessfully; the message is one sentence. */
export class CommandError extends Error {
  /**
   * @param {string} message
   * @param {string} output what the program wrote, for a person to read
   * @param {number | null} [status] the program's exit status; null when it has none
   */
  constructor(message, output, status = null) {
    super(message);
    this.name = "CommandError";
    this.output = output;
    this.status = status;
  }
}

/**
 * Run a program to its end and return what it wrote to its standard output.
 *
 * @param {string} command
 * @param {readonly string[]} [args]
 * @param {import("node:child_process").SpawnOptions & { inherit?: boolean, input?: string }} [options]
 *   `inherit` shows the output instead of returning it; `input` is written to standard input.
 * @returns {Promise<string>}
 * @throws {CommandError} when it cannot be started, ends with a status other than 0 or by a signal
 */
export function run(command, args = [], { inherit = false, input, ...options } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      ...options,
      stdio: inherit ? "inherit" : [input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    });
    let stdout = "";
    let all = "";
    child.stdout?.setEncoding("utf8").on("data", (text) => {
      stdout += text;
      all += text;
    });
    child.stderr?.setEncoding("utf8").on("data", (text) => {
      all += text;
    });
    child.stdin?.on("error", () => {}); // EPIPE: the exit status below tells the story
    child.stdin?.end(input);
    child.once("error", (cause) => {
      reject(new CommandError(`${command} could not be started: ${cause.message}`, ""));
    });
    child.once("close", (status, signal) => {
      if (status === 0) return resolve(stdout);
      const how = signal === null ? `ended with status ${status}` : `was ended by ${signal}`;
      const last = all.trimEnd().split("\n").at(-1);
      reject(
        new CommandError(
          `\`${[command, ...args].join(" ")}\` ${how}${last ? `: ${last}` : ""}`,
          all,
          status,
        ),
      );
    });
  });
}

/**
 * The path of a program, or undefined where it is not installed. Looks in the system directories
 * as well: `/usr/sbin` is not in everybody's PATH.
 *
 * @param {string} name
 * @returns {Promise<string | undefined>}
 */
export async function findProgram(name) {
  const { access, constants } = await import("node:fs/promises");
  const path = `${process.env.PATH ?? ""}:/usr/sbin:/sbin:/usr/bin:/bin`;
  for (const directory of path.split(":")) {
    if (directory === "") continue;
    const candidate = `${directory}/${name}`;
    if (
      await access(candidate, constants.X_OK).then(
        () => true,
        () => false,
      )
    )
      return candidate;
  }
  return undefined;
}
