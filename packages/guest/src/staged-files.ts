import { AgentError } from "./errors.js";

/** A file that a request writes in the guest before its program starts. */
export interface StagedFile {
  /** Absolute path in the guest; missing directories are made. */
  readonly path: string;
  /** Content; strings as UTF-8. */
  readonly data: string | Uint8Array;
  /** Permission bits; 0o644 unless given. */
  readonly mode?: number;
  /** With whose rights it is written, and whose it then is; the request's user unless given. */
  readonly user?: string;
}

const HEAD_SIZE = 24;
const PATH_MAX = 4095;
const USER_MAX = 255;

/**
 * What follows an EXEC frame that stages files, as `struct stage_head` of agent/frame.h describes it. The data
 * is not copied.
 *
 * @throws {@link AgentError} ERR_EXEC_INVALID for a path, mode or user that cannot be expressed.
 */
export function encodeStagedFiles(files: readonly StagedFile[]): Uint8Array[] {
  return files.flatMap(({ path, data, mode = 0o644, user = "" }) => {
    const names = Buffer.from(path + user, "utf8");
    const pathLength = Buffer.byteLength(path);
    const userLength = names.length - pathLength;
    if (!path.startsWith("/") || path.endsWith("/") || pathLength > PATH_MAX) {
      throw invalid(`${JSON.stringify(path)} is no absolute path of a file`);
    }
    if (userLength > USER_MAX || names.includes(0)) {
      throw invalid(`a name of ${JSON.stringify(path)} is too long or contains a NUL character`);
    }
    if (!Number.isInteger(mode) || mode < 0 || mode > 0o7777) {
      throw invalid(`${path}: ${mode} are no permission bits`);
    }
    const bytes = typeof data === "string" ? Buffer.from(data, "utf8") : data;
    const head = Buffer.alloc(HEAD_SIZE);
    head.writeUInt32LE(mode, 0);
    head.writeUInt32LE(pathLength, 4);
    head.writeUInt32LE(userLength, 8);
    head.writeBigUInt64LE(BigInt(bytes.length), 16);
    return [Buffer.concat([head, names]), bytes];
  });
}

function invalid(message: string): AgentError {
  return new AgentError("ERR_EXEC_INVALID", `staged file: ${message}`);
}
