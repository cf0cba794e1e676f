import { posix } from "node:path";
import { SupermachineError } from "../errors.js";

/** What is at a path, symbolic links followed. */
export type PathKind = "directory" | "other" | "missing";

/** A place that is copied from or to. */
export interface CopyPlace {
  /** Absolute, as the user wrote it otherwise: a slash or `/.` at its end means something. */
  readonly path: string;
  readonly kind: PathKind;
}

/**
 * A copy as an archive: its root is `name`, or `.` for the content alone, and it is unpacked in
 * `directory`.
 */
export interface CopyPlan {
  readonly directory: string;
  readonly name: string;
}

/** A path that was resolved, with what a slash or `/.` at the end of the original says. */
export function keepEnd(resolved: string, original: string): string {
  if (resolved === "/") return resolved;
  if (/(?:^|\/)\.$/.test(original)) return `${resolved}/.`;
  return original.endsWith("/") ? `${resolved}/` : resolved;
}

function refused(message: string): SupermachineError {
  return new SupermachineError("ERR_COPY_DESTINATION", message);
}

/** Whether a path means what is in a directory, not the directory: `directory/.` */
export function meansContent(path: string): boolean {
  return posix.basename(path) === "." || posix.normalize(path) === "/";
}

/** The name by which a path is known where it is copied to. */
export function copiedName(path: string): string {
  return meansContent(path) ? "." : posix.basename(posix.normalize(path));
}

/**
 * Where a copy goes, by the rules of `docker cp`: into a directory that exists, under its own name;
 * otherwise it becomes what the destination names. Of a source that ends in `/.` only the content is
 * copied.
 *
 * @throws {@link SupermachineError} ERR_COPY_DESTINATION
 */
export function planCopy(source: CopyPlace, destination: CopyPlace): CopyPlan {
  const { path } = destination;
  const isDirectory = source.kind === "directory";
  if (destination.kind === "directory") {
    return { directory: path, name: copiedName(source.path) };
  }
  if (destination.kind === "other" && isDirectory) {
    throw refused(`${path}: a directory cannot take the place of a file`);
  }
  if (!isDirectory && /\/\.?$/.test(path)) {
    throw refused(
      destination.kind === "missing" ? `${path}: no such directory` : `${path}: not a directory`,
    );
  }
  const normal = posix.normalize(path);
  return { directory: posix.dirname(normal), name: posix.basename(normal) };
}
