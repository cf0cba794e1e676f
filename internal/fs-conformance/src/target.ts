import type { Executor } from "./executor.js";

/**
 * What a file system may leave out on purpose; cases that need it are not run there.
 *
 * - `devices`: device nodes can be made.
 * - `whiteout`: RENAME_WHITEOUT, which makes one.
 * - `tmpfile`: O_TMPFILE.
 * - `collapse`: fallocate(2) takes ranges out of files and puts them in.
 * - `zero-range`: and makes them zeros (tmpfs does not).
 * - `same-holes`: holes are where the native file system has them.
 * - `trusted`: root has `trusted.*` extended attributes.
 * - `groups`: whoever checks a write knows all groups of the writer; a server knows the first.
 * - `kernel`: a kernel stands between program and file system: it resolves paths, checks permissions,
 *   keeps locks and pages.
 */
export type Feature =
  | "devices"
  | "whiteout"
  | "tmpfile"
  | "collapse"
  | "zero-range"
  | "same-holes"
  | "trusted"
  | "groups"
  | "kernel";

/** A file system under test. */
export interface Target {
  /** For names of tests. */
  readonly name: string;
  readonly lacks?: readonly Feature[];
  /** When not undefined: the commands that its executor knows, as root and in one process. */
  readonly commands?: ReadonlySet<string>;
  /** Makes an empty file system and an executor in it; disposing of that one ends both. */
  start(): Promise<Executor>;
}

/** Whether a command can be run on a target. */
export function knows(target: Target, command: string): boolean {
  return target.commands?.has(command.split(" ", 1)[0] ?? "") ?? true;
}
