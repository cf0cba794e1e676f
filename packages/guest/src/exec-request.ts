import { AgentError } from "./errors.js";
import { FRAME_EXEC_MAX, PROTOCOL_VERSION } from "./frames.js";

/** Size of a terminal in character cells. */
export interface TerminalSize {
  columns: number;
  rows: number;
}

/** A process to start in the guest. */
export interface ExecRequest {
  /** Program and arguments. A program without a slash is searched in the PATH of `env`. */
  argv: readonly string[];
  /** The whole environment. PATH, HOME and (with a terminal) TERM are added where missing. */
  env?: Readonly<Record<string, string>>;
  /** Working directory; `/` unless given. */
  cwd?: string;
  /** `name`, `uid`, `name:group` or `uid:gid`, looked up in the guest's own files; root unless given. */
  user?: string;
  /** Runs on a pseudo-terminal: all output comes on stdout. Implies `stdin`. `true` means 80 by 24. */
  tty?: boolean | TerminalSize;
  /** Connects {@link GuestProcess.stdin}; otherwise the process reads end-of-file. */
  stdin?: boolean;
  /** Milliseconds after which the process group is killed. */
  timeoutMs?: number;
  /** The process survives the loss of its connection, and so a snapshot; its output is dropped from then on. */
  keep?: boolean;
  /** Kills the process group when aborted; `exited` then rejects with ERR_EXEC_ABORTED. */
  signal?: AbortSignal;
}

const EXEC_TTY = 1;
const EXEC_STDIN = 2;
const EXEC_KEEP = 4;
/** `argv` names a function of the agent (agent/builtin.h) instead of a program. */
export const EXEC_BUILTIN = 8;

const FIXED_SIZE = 24;

/**
 * Payload of an EXEC frame, as agent/frame.h describes it.
 *
 * @throws {@link AgentError} ERR_EXEC_INVALID for a request that cannot be expressed or is over 1 MiB.
 */
export function encodeExecRequest(request: ExecRequest, extraFlags = 0): Buffer {
  const { argv, env = {}, tty = false, timeoutMs = 0 } = request;
  if (!argv[0]) throw invalid("argv needs a program name that is not empty");
  if (!Number.isInteger(timeoutMs) || timeoutMs < 0 || timeoutMs > 0xffff_ffff) {
    throw invalid(`timeoutMs must be a whole number of milliseconds, not ${timeoutMs}`);
  }
  const variables = Object.entries(env).map(([name, value]) => {
    if (!name || name.includes("=")) throw invalid(`"${name}" cannot name a variable`);
    return `${name}=${value}`;
  });
  const strings = [request.cwd ?? "", request.user ?? "", ...argv, ...variables];
  for (const string of strings) {
    if (string.includes("\0")) throw invalid("a string contains a NUL character");
  }
  const text = Buffer.from(`${strings.join("\0")}\0`, "utf8");
  const size = FIXED_SIZE + text.length;
  if (size > FRAME_EXEC_MAX) {
    throw invalid(`arguments and environment are ${size} bytes; at most ${FRAME_EXEC_MAX} fit`);
  }

  const terminal = typeof tty === "object" ? tty : { columns: 80, rows: 24 };
  const flags =
    extraFlags |
    (tty ? EXEC_TTY | EXEC_STDIN : 0) |
    (request.stdin ? EXEC_STDIN : 0) |
    (request.keep ? EXEC_KEEP : 0);
  const payload = Buffer.alloc(size);
  payload.writeUInt32LE(PROTOCOL_VERSION, 0);
  payload.writeUInt32LE(flags, 4);
  payload.writeUInt32LE(timeoutMs, 8);
  encodeTerminalSize(terminal).copy(payload, 12);
  payload.writeUInt32LE(argv.length, 16);
  payload.writeUInt32LE(variables.length, 20);
  text.copy(payload, FIXED_SIZE);
  return payload;
}

/** Payload of a RESIZE frame. */
export function encodeTerminalSize({ columns, rows }: TerminalSize): Buffer {
  for (const cells of [columns, rows]) {
    if (!Number.isInteger(cells) || cells < 1 || cells > 0xffff) {
      throw invalid(`a terminal cannot be ${columns} by ${rows}`);
    }
  }
  const payload = Buffer.alloc(4);
  payload.writeUInt16LE(columns, 0);
  payload.writeUInt16LE(rows, 2);
  return payload;
}

function invalid(message: string): AgentError {
  return new AgentError("ERR_EXEC_INVALID", `exec request: ${message}`);
}
