import { AgentError, GuestError } from "../errors.js";
import type { ExitStatus } from "../exec-connection.js";
import { linuxErrnoName } from "./linux-errno.js";

/**
 * A file operation that the guest's kernel refused, or that could not be done there; `code` is
 * `ERR_EXEC_FILE`.
 */
export class GuestFileError extends GuestError {
  override name = "GuestFileError";
  /** What was tried: `read`, `write`, `list`, ... */
  readonly operation: string;
  /** The path that was asked for. */
  readonly path: string;
  /** Name of the guest's errno: `ENOENT`, `EACCES`, ... */
  readonly errno: string;

  /** @param why the path that failed, if another, and the reason; the guest may have written it. */
  constructor(operation: string, path: string, errno: string, why: string) {
    super("ERR_EXEC_FILE", `cannot ${operation} ${why} (${errno})`);
    this.operation = operation;
    this.path = path;
    this.errno = errno;
  }
}

/** Most bytes of a builtin's stderr that are looked at: a path and a reason. */
export const MAX_COMPLAINT = 8192;

/** Control characters of a name would reach the terminal of whoever prints the message. */
function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Cs}]/gu,
    (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`,
  );
}

/**
 * The error of a builtin that did not end well, by its arguments and what it wrote to stderr: see
 * agent/builtin.h.
 */
export function fileError(
  [operation = "", path = ""]: readonly string[],
  { code, signal }: Pick<ExitStatus, "code" | "signal">,
  stderr: Uint8Array,
): GuestError {
  const complaint = Buffer.from(stderr.subarray(0, MAX_COMPLAINT)).toString("utf8").trimEnd();
  const match = /^(\d{1,4}) (.+)$/s.exec(complaint);
  if (match?.[1] === undefined || match[2] === undefined) {
    const how = signal === null ? `exit code ${code}` : `signal ${signal}`;
    return new AgentError(
      "ERR_EXEC_RESOURCES",
      `cannot ${operation} ${printable(path)}: the agent's process for it ended with ${how}`,
    );
  }
  return new GuestFileError(operation, path, linuxErrnoName(Number(match[1])), printable(match[2]));
}
