import { encodeName } from "@supermachine-internal/file-name";
import { AgentError } from "./errors.js";
import { FRAME_EXEC_MAX, PROTOCOL_VERSION } from "./frames.js";
import { encodeResourceLimits, LIMIT_SIZE, type ResourceLimits } from "./resource-limits.js";
import type { StagedFile } from "./staged-files.js";

/** Size of a terminal in character cells. */
export interface TerminalSize {
  columns: number;
  rows: number;
}

/** What the processes of a request get. */
export interface ExecOptions {
  /** The whole environment. PATH, HOME and (with a terminal) TERM are added where missing. */
  env?: Readonly<Record<string, string>>;
  /** Working directory; `/` unless given. */
  cwd?: string;
  /** `name`, `uid`, `name:group` or `uid:gid`, looked up in the guest's own files; root unless given. */
  user?: string;
  /** Resource limits, set before the process gives up root: they may be higher than the guest's own. */
  rlimits?: ResourceLimits;
  /** Files that are written before the process starts, in the same round trip. */
  stageFiles?: readonly StagedFile[];
  /** Milliseconds after which everything that the request started is killed. */
  timeoutMs?: number;
  /** The process survives the loss of its connection, and so a snapshot; its output is dropped from then on. */
  keep?: boolean;
  /** Kills everything that the request started when aborted; it then rejects with ERR_EXEC_ABORTED. */
  signal?: AbortSignal;
}

/** A process to start in the guest. */
export interface ExecRequest extends ExecOptions {
  /** Program and arguments. A program without a slash is searched in the PATH of `env`. */
  argv: readonly string[];
  /** Runs on a pseudo-terminal: all output comes on stdout. Implies `stdin`. `true` means 80 by 24. */
  tty?: boolean | TerminalSize;
  /** Connects {@link GuestProcess.stdin}; otherwise the process reads end-of-file. */
  stdin?: boolean;
}

/** Processes to start one after the other. */
export interface ChainRequest extends ExecOptions {
  /** 1 to 256 commands, each a program and its arguments. */
  commands: readonly (readonly string[])[];
}

const EXEC_TTY = 1;
const EXEC_STDIN = 2;
const EXEC_KEEP = 4;
/** `argv` names a function of the agent (agent/builtin.h) instead of a program. */
export const EXEC_BUILTIN = 8;

const FIXED_SIZE = 40;
const COMMANDS_MAX = 256;

/**
 * Payload of an EXEC frame, as agent/frame.h describes it.
 *
 * @param stagedBytes how many bytes of staged files follow.
 * @throws {@link AgentError} ERR_EXEC_INVALID for a request that cannot be expressed or is over 1 MiB.
 */
export function encodeExecRequest(
  request: ExecRequest | ChainRequest,
  stagedBytes = 0,
  extraFlags = 0,
): Buffer {
  const { env = {}, timeoutMs = 0, rlimits = {} } = request;
  const chain = "commands" in request;
  const commands = chain ? request.commands : [request.argv];
  const { tty = false, stdin = false } = chain ? {} : request;
  if (commands.length < 1 || commands.length > COMMANDS_MAX) {
    throw invalid(`${commands.length} commands: give 1 to ${COMMANDS_MAX}`);
  }
  if (!commands.every((argv) => argv[0])) {
    throw invalid("argv needs a program name that is not empty");
  }
  if (!Number.isInteger(timeoutMs) || timeoutMs < 0 || timeoutMs > 0xffff_ffff) {
    throw invalid(`timeoutMs must be a whole number of milliseconds, not ${timeoutMs}`);
  }
  const variables = Object.entries(env).map(([name, value]) => {
    if (!name || name.includes("=")) throw invalid(`"${name}" cannot name a variable`);
    return `${name}=${value}`;
  });
  const strings = [request.cwd ?? "", request.user ?? "", ...commands.flat(), ...variables];
  for (const string of strings) {
    if (string.includes("\0")) throw invalid("a string contains a NUL character");
  }
  const limits = encodeResourceLimits(rlimits);
  // A path may have bytes that are not UTF-8.
  const text = encodeName(`${strings.join("\0")}\0`);
  const textAt = FIXED_SIZE + limits.length + 4 * commands.length;
  const size = textAt + text.length;
  if (size > FRAME_EXEC_MAX) {
    throw invalid(
      `arguments and environment are ${size} bytes; at most ${FRAME_EXEC_MAX} fit: use stdin or a staged file`,
    );
  }

  const terminal = typeof tty === "object" ? tty : { columns: 80, rows: 24 };
  const flags =
    extraFlags |
    (tty ? EXEC_TTY | EXEC_STDIN : 0) |
    (stdin ? EXEC_STDIN : 0) |
    (request.keep ? EXEC_KEEP : 0);
  const payload = Buffer.alloc(size);
  payload.writeUInt32LE(PROTOCOL_VERSION, 0);
  payload.writeUInt32LE(flags, 4);
  payload.writeUInt32LE(timeoutMs, 8);
  encodeTerminalSize(terminal).copy(payload, 12);
  payload.writeUInt32LE(commands.length, 16);
  payload.writeUInt32LE(variables.length, 20);
  payload.writeUInt32LE(limits.length / LIMIT_SIZE, 24);
  payload.writeBigUInt64LE(BigInt(stagedBytes), 32);
  limits.copy(payload, FIXED_SIZE);
  commands.forEach((argv, index) => {
    payload.writeUInt32LE(argv.length, FIXED_SIZE + limits.length + 4 * index);
  });
  payload.set(text, textAt);
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
